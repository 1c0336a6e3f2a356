"""Release 6.4: a call is one recording of several segments; release 6.1 knows nothing of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.dialects import Face
from siprec.session import SYSTEM, Action
from storage.records import Digit, Pause, Recording
from tests.api.oracle_face.desk import Desk, open_desk
from tests.api.oracle_face.test_media import NO_FILE, STARTED, fetch, said, stored

DETAILS, SPLIT = "audioRecording/details", "audioRecording/split"
SEGMENT = "audioRecording/segment"
JSON = {"Accept": "application/json"}
INVALID = (200, 5, "Invalid Command")


@pytest.fixture
async def later(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """A desk of release 6.4."""
    async with open_desk(tmp_path, migrated, face=Face(release="6.4")) as opened:
        yield opened


async def split_call(desk: Desk) -> tuple[Recording, Recording]:
    """A finished call of two segments, in the catalogue only."""
    call: dict[str, Any] = {"ani": "1234", "dnis": "8675309", "ucid": "U1"}
    began, at = STARTED + timedelta(seconds=5), STARTED + timedelta(seconds=2)
    first = await stored(
        desk,
        "r1",
        **call,
        filename="8675309-U1-seg0.wav",
        duration_ms=5000,
        paused_ms=250,
        pauses=(Pause(at, at + timedelta(milliseconds=250), "silence"),),
        custom={"testCustomData1": "one", "otherName": "kept"},
        digits=(Digit("#", 1337, "caller"),),
    )
    second = await stored(
        desk,
        "r2",
        **call,
        filename="8675309-U1-seg1.wav",
        segment=2,
        started_at=began,
        ended_at=began + timedelta(seconds=1),
        duration_ms=1000,
        sensitive=True,
        agent_id="007",
        custom={"testCustomData1": "two"},
    )
    return first, second


def shown_segment(row: Recording, first: Recording, **elements: Any) -> dict[str, Any]:
    """What is said of a segment of that call, in this order."""
    start = f"{row.started_at:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    assert row.ended_at
    said = {
        "segmentId": row.number,
        "recordingId": first.number,
        "sequence": row.segment,
        "filename": row.filename,
        "fileStatus": 0,
        "locationId": 2,
        "accountId": 100,
        "routeId": 13,
        "start": start,
        "end": f"{row.ended_at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
        "checksumMismatch": False,
        "agentId": row.agent_id,
        "pauseLength": row.paused_ms,
        "pausedWithSilence": bool(row.pauses),
        "securedMedia": False,
        "hasVideo": False,
        "archived": 1,
        "archivalFailCount": 0,
        "archiverMode": "Primary",
        "archiverAction": 0,
        "conversionStatus": 0,
        "customDataSets": [{"customData": {"name": n, "value": v}} for n, v in row.custom.items()],
        "dtmfDigits": [
            {"dtmfDigit": {"key": each.key, "offsetMs": each.offset_ms, "origin": each.origin}}
            for each in row.digits
        ],
        "siprecDataSets": [],
    }
    return {name: value for name, value in {**said, **elements}.items() if value != ""}


async def test_details_show_a_call_with_its_segments(later: Desk) -> None:
    first, second = await split_call(later)
    recording = {
        "recordingId": first.number,
        "ani": "1234",
        "dnis": "8675309",
        "account": "100",
        "duration": 6000,
        "startTime": "2026-11-22 14:05:06.789",
        "route": 13,
        "sensitive": 1,
        "deleteFlag": False,
        "isrUcid": "U1",
        "ingressCallId": "call-1@src",
        "customDataSets": [
            {"customData": {"name": "testCustomData1", "value": "two"}},
            {"customData": {"name": "otherName", "value": "kept"}},
        ],
        "segments": [
            {"segment": shown_segment(first, first)},
            {"segment": shown_segment(second, first)},
        ],
    }
    whole = msgspec.json.encode({"result": {"code": 0, "message": "ACK", "recording": recording}})
    ways: list[dict[str, Any]] = [{"recordingId": row.number} for row in (first, second)]
    ways += [{"isrUcid": "U1"}, {"filename": second.filename}, {"testCustomData1": "one"}, {}]
    for way in ways:
        answer = await later.get(DETAILS, **way, headers=JSON)
        assert answer.body == whole
    xml = (await later.get(DETAILS, isrUcid="U1")).text
    assert xml.startswith(
        '<?xml version="1.0" encoding="UTF-8"?><result><code>0</code><message>ACK</message>'
        f"<recording><recordingId>{first.number}</recordingId><ani>1234</ani>"
    )
    assert f"<segments><segment><segmentId>{first.number}</segmentId>" in xml
    other = await stored(later, "r3", session_id="s3", segment=1, started_at=second.started_at)
    listed = (await later.get(DETAILS)).matches
    assert [each["recordingId"] for each in listed] == [str(first.number), str(other.number)]


async def test_segments_by_themselves(later: Desk) -> None:
    first, second = await split_call(later)
    later.node.services.blobs.put(second.files[0].key, _other(later))
    for row in (first, second):
        for name in ("segmentId", "recordingId"):
            way: dict[str, Any] = {name: row.number}
            answer = await later.get(f"{SEGMENT}/details", **way, headers=JSON)
            shown = shown_segment(row, row)
            whole = {"result": {"code": 0, "message": "ACK", "segment": shown}}
            assert answer.body == msgspec.json.encode(whole)
    for row, audio in ((first, bytes(range(256))), (second, b"other")):
        whole_file = await later.get(f"{SEGMENT}/download", segmentId=row.number)
        assert (whole_file.status, whole_file.body) == (200, audio)
        elsewhere = await later.get(f"{SEGMENT}/redirect", filename=row.filename)
        assert elsewhere.status == 302
        assert (await fetch(later, elsewhere.headers["Location"])).body == audio
    for verb in ("details", "download", "redirect"):
        several = await later.get(f"{SEGMENT}/{verb}", isrUcid="U1")
        assert len(several.matches) == 2
        odd = await later.get(f"{SEGMENT}/{verb}", segmentId="x")
        assert said(odd) == (200, -1, "Invalid Parameter - segmentId")
        wrong = await later.post(f"{SEGMENT}/{verb}", segmentId=first.number)
        assert said(wrong) == (405, 5, "Invalid Command")
    assert said(await later.get(f"{SEGMENT}/download", segmentId=999)) == NO_FILE
    assert (await later.get(f"{SEGMENT}/details", segmentId=999)).code == 19
    assert said(await later.get(f"{SEGMENT}/delete", segmentId=1)) == INVALID
    assert said(await later.get(SEGMENT)) == INVALID


def _other(desk: Desk) -> Path:
    source = desk.node.folder / "other"
    source.write_bytes(b"other")
    return source


async def test_audio_of_several_segments_is_not_one_file(later: Desk) -> None:
    first, second = await split_call(later)
    alone = await stored(later, "r3", session_id="s3")
    for verb in ("download", "redirect"):
        text = f"The recording has several segments, use audioRecording/segment/{verb}"
        for way in ({"isrUcid": "U1"}, {"recordingId": second.number}):
            assert said(await later.get(f"audioRecording/{verb}", **way)) == (200, -1, text)
        one = await later.get(f"audioRecording/{verb}", recordingId=alone.number, redirects=True)
        assert one.body == bytes(range(256))
    renamed = await later.post(DETAILS, isrUcid="U1", body={"filename": "a.wav"})
    assert said(renamed) == (200, -1, "Cannot rename a recording of several segments")
    assert (await later.node.services.library.get("r1")).filename == first.filename
    changed = await later.post(DETAILS, isrUcid="U1", body={"testCustomData1": "both"})
    sets = [each["segment"]["customDataSets"] for each in changed.recording["segments"]]
    assert [each[0]["customData"]["value"] for each in sets] == ["both", "both"]


async def test_a_call_is_deleted_with_all_its_segments(later: Desk) -> None:
    first, second = await split_call(later)
    blobs, catalog = later.node.services.blobs, later.node.services.catalog
    await catalog.save(replace(second, hold=True))
    held = await later.ask("DELETE", DETAILS, filename=first.filename)
    assert held.code == -1
    assert blobs.exists(first.files[0].key)
    await catalog.save(replace(second, hold=False))
    assert said(await later.ask("DELETE", DETAILS, filename=first.filename)) == (
        200,
        0,
        "delete command returned successfully",
    )
    assert not [each for row in (first, second) for each in row.files if blobs.exists(each.key)]
    assert (await later.get(DETAILS, isrUcid="U1")).code == 26


async def test_a_live_call_is_split(later: Desk) -> None:
    live = await later.call(ucid="U1")
    assert live.recording
    before = live.recording.id
    await later.calls[live.id].play(0.1)
    answer = await later.post(SPLIT, isrUcid="U1", body={"agentId": "007"})
    row = live.recording
    assert row.id != before
    (opened,) = (each["segment"] for each in answer.recording["segments"])
    assert (opened["sequence"], opened["filename"]) == ("2", row.filename)
    assert (opened["agentId"], "segmentId" in opened) == ("007", False)
    ended = await later.node.services.library.finished(before)
    shown = (await later.get(DETAILS, isrUcid="U1")).recording
    segments = [each["segment"] for each in shown["segments"]]
    assert [each["sequence"] for each in segments] == ["1", "2"]
    assert "end" in segments[0]
    assert "end" not in segments[1]
    one = await later.get(f"{SEGMENT}/download", filename=ended.filename)
    assert one.body[:4] == b"RIFF"
    assert said(await later.get(f"{SEGMENT}/download", filename=row.filename)) == NO_FILE
    await later.recorded(live, 0.1)
    shown = (await later.get(DETAILS, isrUcid="U1")).recording
    files = [each["segment"]["filename"] for each in shown["segments"]]
    assert files == ["8675309-U1.wav", "8675309-U1-1.wav"]
    assert said(await later.post(SPLIT, isrUcid="U1")) == (
        200,
        26,
        "No session or file was found matching the provided UCID",
    )


async def test_a_split_needs_what_is_being_recorded(later: Desk) -> None:
    await later.call(dnis="777", ucid="U1")
    live = await later.call(ucid="U2")
    text = "Recording is started by another session or not started, cannot split recording."
    assert said(await later.post(SPLIT, isrUcid="U1")) == (200, 12, text)
    await later.post("audioRecording/pause", isrUcid="U2")
    text = "Recording is paused, cannot split recording."
    assert said(await later.post(SPLIT, isrUcid="U2")) == (200, 12, text)
    assert live.segments == 1
    assert said(await later.post(SPLIT)) == (200, 3, "Parameter Missing")
    assert said(await later.get(SPLIT, isrUcid="U2")) == (405, 5, "Invalid Command")


async def test_release_6_1_has_recordings_only(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    for path in (SPLIT, *(f"{SEGMENT}/{verb}" for verb in ("details", "download", "redirect"))):
        for ask in (desk.get, desk.post):
            assert said(await ask(path, isrUcid="U1")) == INVALID
    assert live.segments == 1
    unknown = await desk.get(DETAILS, segmentId=1)
    assert said(unknown) == (200, -1, "Invalid Parameter - segmentId")
    await desk.calls[live.id].play(0.1)
    await desk.node.services.recorder.control(live.id, Action.SPLIT, SYSTEM)
    await desk.recorded(live, 0.1)
    listed = (await desk.get(DETAILS, isrUcid="U1")).matches
    names = [each["filename"] for each in listed]
    assert names == ["8675309-U1.wav", "8675309-U1-1.wav"]
    for each in listed:
        shown = (await desk.get(DETAILS, recordingId=each["recordingId"])).recording
        assert (shown["filename"], "segments" in shown) == (each["filename"], False)
        one = await desk.get("audioRecording/download", recordingId=each["recordingId"])
        assert one.body[:4] == b"RIFF"
