"""From rows to JSON, and from what is asked to queries and changes."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec

from api.native import recording as json
from storage import records

AT = datetime(2026, 11, 22, 14, 5, 6, 789_654, UTC)


def test_a_recording() -> None:
    gap, key = records.Gap(5, 20), "2026-11-22/14/05/r1"
    row = records.Recording(
        "r1",
        "s1",
        "c1",
        "partial",
        AT,
        reason="crash",
        ended_at=AT,
        duration_ms=7,
        paused_ms=3,
        streams=(records.StreamRecord("st1", "1", 1, "PCMU", "p1", 9, 2, 1, (gap,)),),
        files=(
            records.FileRecord("wav", f"{key}.wav", 44, "ab", 2, 8000),
            records.FileRecord("peaks", f"{key}.peaks.json", 10, "cd"),
        ),
        history=(records.AuditEntry("r1", 1, AT, "desk", "pause", "card"),),
    )
    found = msgspec.to_builtins(json.recording(row))
    at = "2026-11-22T14:05:06.789Z"
    assert found["streams"][0]["gaps"] == [{"start_ms": 5, "duration_ms": 20}]
    assert [file["url"] for file in found["files"]] == [
        "/srs/v1/recordings/r1/media?format=wav",
        "/srs/v1/recordings/r1/peaks",
    ]
    assert not any("key" in file for file in found["files"])
    assert found["history"] == [{"at": at, "actor": "desk", "action": "pause", "reason": "card"}]
    assert (found["status"], found["reason"], found["ended_at"]) == ("partial", "crash", at)
    assert msgspec.convert(found, json.Recording) == json.recording(row)


def test_a_query_is_in_utc_and_empty_where_nothing_is_asked() -> None:
    ahead = datetime(2026, 11, 22, 16, 0, tzinfo=timezone(timedelta(hours=2)))
    found = json.query(json.FindRecordings(status="failed", started_after=ahead, limit=7))
    assert found == records.RecordingQuery(
        status="failed", started_after=datetime(2026, 11, 22, 14, tzinfo=UTC), limit=7
    )
