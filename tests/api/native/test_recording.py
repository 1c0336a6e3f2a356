"""From rows to JSON, and from what is asked to queries and changes."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.native import recording as json
from siprec.logbook import Changes
from storage import records
from tests.storage.recordings import recording

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


def test_nothing_of_a_recording_is_left_out() -> None:
    row = recording(account=100, deleting=True)
    found = msgspec.to_builtins(json.recording(row))
    assert {each.name for each in fields(records.Recording)} - {"paused_at_end"} <= set(found)
    assert {name for name, value in found.items() if not value} == {"never_expire", "hold"}
    assert found["directory"] == "/2026-03-04/05/06"
    assert (found["account"], found["route"], found["segment"]) == (100, 13, 2)
    assert found["siprec_sessions"] == [
        {
            "session_id": "hVpd7YQgRW2nD22h7q60JQ==",
            "started_at": "2026-03-04T05:06:07.891Z",
            "extensions": [{"name": "apkt:realm", "values": ["peer1"]}],
        }
    ]
    assert found["participants"][0] == {
        "participant_id": "p1",
        "aor": "sip:ann@example.com",
        "name": 'Ann "Ä" O\'Neil',
        "calling": True,
        "extensions": [{"name": "apkt:request-uri", "values": ["sip:1@a", "sip:2@b"]}],
    }
    assert found["streams"][0]["siprec_stream_id"] == "x=="
    assert found["streams"][1]["extensions"] == [{"name": "acme:side", "values": ["callee"]}]
    assert found["digits"] == [{"key": "#", "offset_ms": 1337, "origin": "caller"}]
    assert found["supplemental_files"] == [
        {"number": 1, "kind": "video", "filename": "x.mp4", "size_bytes": 4, "sha256": "cd" * 32}
    ]
    assert found["custom"] == row.custom and found["has_video"]
    assert "key" not in str(found["files"])


def test_every_criterion_of_a_query_can_be_asked_for() -> None:
    plain: dict[str, Any] = {
        name: name
        for name in (
            *("call_id", "egress_call_id", "ucid", "any_ucid", "session_id", "siprec_session_id"),
            *("third_party_id", "ani", "dnis", "filename", "agent_id", "realm", "aor", "cursor"),
            *("owner", "local_party", "remote_party", "remote_party_contains"),
        )
    }
    plain |= {"status": "failed", "number": 7, "has_video": True, "audio_only": False}
    plain |= {"limit": 3, "oldest_first": True, "direction": "incoming"}
    times: dict[str, Any] = dict.fromkeys(
        ("started_after", "started_before", "ended_after", "ended_before"), AT
    )
    asked = plain | {
        "account": 100,
        "route": 7,
        "custom": ["case=47=11", "empty="],
        "extension": ["apkt:realm=peer 1"],
        "statuses": ["failed", "partial"],
        **times,
    }
    found = json.query(msgspec.convert(asked, json.FindRecordings))
    assert found == records.RecordingQuery(
        **plain,
        accounts=frozenset({100}),
        routes=frozenset({7}),
        custom={"case": "47=11", "empty": ""},
        extensions={"apkt:realm": "peer 1"},
        statuses=frozenset({"failed", "partial"}),
        **times,
    )
    untouched = records.RecordingQuery()
    for each in fields(records.RecordingQuery):
        if each.name == "offset":  # moves with what is added: cursors do not
            continue
        assert getattr(found, each.name) != getattr(untouched, each.name), each.name


@pytest.mark.parametrize(
    "asked",
    [
        {"custom": ["no equals sign"]},
        {"custom": ["=x"]},
        {"custom": ["a=" + "x" * 1025]},
        {"extension": ["a=1"] * 17},
        {"account": [1]},
        {"account": 0},
        {"route": 7.5},
        {"number": 0},
        {"status": "lost"},
        {"ani": ""},
        {"limit": 1001},
        {"hold": True},
    ],
)
def test_what_cannot_be_asked_for(asked: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(asked, json.FindRecordings)


def test_a_name_has_one_value() -> None:
    with pytest.raises(records.InvalidQuery, match="case"):
        json.query(json.FindRecordings(custom=["case=1", "case=2"]))
    assert json.query(json.FindRecordings(custom=["case=1", "case=1"])).custom == {"case": "1"}


def test_a_time_outside_the_calendar_is_refused() -> None:
    late = datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5)))
    with pytest.raises(records.InvalidQuery):
        json.query(json.FindRecordings(started_before=late))


def test_what_is_not_mentioned_is_not_changed() -> None:
    assert json.changes(json.ChangeRecording("r1")) == Changes()
    asked = {
        "recording_id": "r1",
        "filename": "x",
        "agent_id": "",
        "sensitive": False,
        "hold": True,
        "custom": {"case": ""},
    }
    found = json.changes(msgspec.convert(asked, json.ChangeRecording))
    assert found == Changes(
        filename="x", agent_id="", sensitive=False, hold=True, custom={"case": ""}
    )


@pytest.mark.parametrize(
    "asked",
    [
        *({name: "x"} for name in ("account", "route", "status", "files", "deleting", "sha256")),
        *({name: None} for name in ("note", "hold", "custom", "filename")),
        {"hold": "true"},
        {"hold": 1},
        {"custom": {"case": 7}},
        {"custom": {"case": "x" * 1025}},
        {"custom": {str(number): "" for number in range(101)}},
        {"note": "x" * 1025},
        {"filename": ""},
        {"retention_days": 0},
    ],
)
def test_what_cannot_be_changed(asked: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"recording_id": "r1", **asked}, json.ChangeRecording)


@given(st.lists(st.text(), max_size=3))
def test_any_pairs_are_a_query_or_refused(pairs: list[str]) -> None:
    try:
        ask = msgspec.convert({"custom": pairs, "extension": pairs}, json.FindRecordings)
        assert json.query(ask).custom == json.query(ask).extensions
    except (msgspec.ValidationError, records.InvalidQuery):
        pass
