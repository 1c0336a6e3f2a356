"""Recordings over HTTP: who sees, finds, changes, hears and deletes what."""

from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientSession

from api.native import recording as json
from storage.records import Participant
from tests.api.native.asking import get, speak, status_of, until
from tests.api.node import PEAKS, STARTED, Node

RECORDINGS = "/srs/v1/recordings"
OPERATIONS = (
    ("GET", "", {}),
    ("POST", "", {"note": "mine"}),
    ("GET", "/media", {}),
    ("GET", "/media?format=mp3", {}),
    ("GET", "/peaks", {}),
    ("DELETE", "", {}),
)
"""Everything that can be done with one recording."""


async def test_a_recording_from_its_call_to_its_files(calling: Node) -> None:
    live = await calling.call()
    assert live.recording
    path = f"{RECORDINGS}/{live.recording.id}"
    async with calling.client() as client:
        with calling.services.feed.subscribe() as events:
            speak(live.streams[0].port.rtp_port, 10)
            growing = await get(client, path, json.Recording)
            assert (growing.status, growing.ended_at) == ("recording", None)
            assert await status_of(client, "GET", f"{path}/media") == 409
            assert await status_of(client, "GET", f"{path}/peaks") == 409
            assert await status_of(client, "DELETE", path) == 409
            calling.services.recorder.end("dialog call-1@src", "bye")
            await until(events, "recording.complete")
        done = await get(client, path, json.Recording)
        assert (done.status, done.reason) == ("complete", "")
        assert [stream.packets for stream in done.streams] == [10, 0]
        assert [entry.action for entry in done.history] == ["start", "stop"]
        files = {file.format: file for file in done.files}
        assert set(files) == {"wav", "peaks"}
        async with client.get(files["wav"].url) as response:
            wav = await response.read()
            assert (wav[:4], len(wav)) == (b"RIFF", files["wav"].size_bytes)
        await get(client, files["peaks"].url, json.Peaks)
        async with client.get(f"{path}/media", params={"format": "mp3"}) as response:
            assert (response.status, response.content_type) == (200, "audio/mpeg")
            mp3 = await response.read()
        done = await get(client, path, json.Recording)
        assert {file.format: file.size_bytes for file in done.files}["mp3"] == len(mp3)


async def test_a_live_recording_has_its_duration_of_now(calling: Node) -> None:
    live = await calling.call(received_at=STARTED)
    await calling.services.writer.stored(live.recording.id if live.recording else "")
    async with calling.client() as client:
        listed = await get(client, RECORDINGS, json.RecordingList, status="recording")
        assert listed.items[0].duration_ms > 0
        one = await get(client, f"{RECORDINGS}/{listed.items[0].id}", json.Recording)
        assert one.duration_ms >= listed.items[0].duration_ms


async def test_recordings_are_filtered_and_paged(node: Node, client: ClientSession) -> None:
    hour = timedelta(hours=1)
    carol = (Participant("p", "sip:carol@example.com", "Carol"),)
    await node.stored("r1", call_id="c1", session_id="s1")
    await node.stored("r2", started_at=STARTED + hour, status="failed", reason="no_media")
    await node.stored("r3", started_at=STARTED + 2 * hour, participants=carol)

    async def found(**query: Any) -> list[str]:
        page = await get(client, RECORDINGS, json.RecordingList, **query)
        return [row.id for row in page.items]

    assert await found() == ["r3", "r2", "r1"]
    assert await found(status="failed") == ["r2"]
    assert await found(call_id="c1") == await found(session_id="s1", call_id="c1") == ["r1"]
    assert await found(aor="sip:carol@example.com") == ["r3"]
    assert await found(started_after="2026-11-22T16:05:06+01:00") == ["r3", "r2"]
    assert await found(started_before="2026-11-22T15:05:06.789Z") == ["r1"]
    first = await get(client, RECORDINGS, json.RecordingList, limit=2)
    rest = await get(client, RECORDINGS, json.RecordingList, limit=2, cursor=first.next)
    assert ([r.id for r in rest.items], rest.next) == (["r1"], None)


async def test_peaks_are_the_stored_ones(node: Node, client: ClientSession) -> None:
    await node.stored()
    async with client.get(f"{RECORDINGS}/r1/peaks") as response:
        assert await response.read() == PEAKS


async def test_what_has_no_file_is_404(node: Node, client: ClientSession) -> None:
    await node.stored(status="failed", files=())
    for path in ("media", "media?format=mp3", "peaks"):
        assert await status_of(client, "GET", f"{RECORDINGS}/r1/{path}") == 404


async def test_deleting_takes_row_and_files(node: Node, client: ClientSession) -> None:
    row = await node.stored()
    with node.services.feed.subscribe() as events:
        assert await status_of(client, "DELETE", f"{RECORDINGS}/r1") == 204
        await until(events, "recording.deleted")
    assert await status_of(client, "GET", f"{RECORDINGS}/r1") == 404
    assert await status_of(client, "DELETE", f"{RECORDINGS}/r1") == 404
    assert not any(node.services.blobs.exists(file.key) for file in row.files)


async def test_a_database_that_is_gone_is_503(node: Node, client: ClientSession) -> None:
    (node.folder / "siprecd.db").rename(node.folder / "away.db")
    async with client.get(RECORDINGS) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert str(node.folder) not in await response.text()
    (node.folder / "away.db").rename(node.folder / "siprecd.db")
    assert await status_of(client, "GET", RECORDINGS) == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_can_be_got_can_be_asked_about(node: Node, method: str) -> None:
    await node.stored()
    async with node.client("operator") as client:
        for path in ("", "/r1", "/r1/media", "/r1/peaks"):
            async with client.request(method, RECORDINGS + path) as response:
                assert response.status == 200
                length = len(await response.read())
                assert length == (response.content_length if method == "GET" else 0)
                assert response.content_length
