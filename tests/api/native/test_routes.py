"""The native interface against a real recorder: live sessions, recordings, files."""

import asyncio
import json
import socket
import sqlite3
import struct
from contextlib import closing
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import ClientSession

from api.native import wire
from api.native.routes import ROUTES
from siprec.feed import Subscription
from siprec.session import LiveSession
from storage.records import Participant
from tests.api.node import PEAKS, STARTED, Node

T = TypeVar("T")
SESSIONS, RECORDINGS = "/srs/v1/sessions", "/srs/v1/recordings"


LEAST_ROLE = {
    ("GET", "/srs/v1/sessions"): "control",
    ("GET", "/srs/v1/sessions/{session_id}"): "control",
    ("POST", "/srs/v1/sessions/{session_id}/{action}"): "control",
    ("GET", "/srs/v1/events"): "control",
    ("GET", "/srs/v1/recordings"): "operator",
    ("GET", "/srs/v1/recordings/{recording_id}"): "operator",
    ("GET", "/srs/v1/recordings/{recording_id}/media"): "operator",
    ("GET", "/srs/v1/recordings/{recording_id}/peaks"): "operator",
    ("DELETE", "/srs/v1/recordings/{recording_id}"): "admin",
}


async def _get(client: ClientSession, path: str, kind: type[T], **query: Any) -> T:
    """What is answered, having exactly the members `kind` has."""
    async with client.get(path, params=query) as response:
        body = await response.read()
        assert response.status == 200, body
        assert response.content_type == "application/json"
    found = msgspec.json.decode(body, type=kind)
    assert msgspec.to_builtins(found) == json.loads(body)
    return found


async def _post(
    client: ClientSession, live: LiveSession, action: str, **body: str
) -> tuple[int, Any]:
    async with client.post(f"{SESSIONS}/{live.id}/{action}", json=body) as response:
        return response.status, json.loads(await response.read())


async def _status(client: ClientSession, method: str, path: str) -> int:
    async with client.request(method, path) as response:
        await response.read()
        return response.status


def _speak(port: int, packets: int, ssrc: int = 7) -> None:
    """PCMU packets of 20 ms to a port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for number in range(packets):
            head = struct.pack("!BBHII", 0x80, 0, number, number * 160, ssrc)
            peer.sendto(head + b"\x55" * 160, ("127.0.0.1", port))


async def _until(subscription: Subscription, kind: str) -> None:
    async with asyncio.timeout(15):
        async for change in subscription:
            if change.type == kind:
                return


def test_who_may_do_what() -> None:
    assert {(route.method, route.path): route.role for route in ROUTES} == LEAST_ROLE


async def test_a_live_session_is_listed_and_found(calling: Node) -> None:
    live = await calling.call()
    async with calling.client("control") as client:
        found = await _get(client, f"{SESSIONS}/{live.id}", wire.Session)
        listed = await _get(client, SESSIONS, wire.SessionList)
    assert [session.id for session in listed.items] == [found.id] == [live.id]
    assert listed.next is None
    assert (found.call_id, found.state.value) == ("call-1@src", "recording")
    assert found.recording_id == (live.recording and live.recording.id)
    assert [stream.label for stream in found.streams] == ["1", "2"]
    assert found.streams[0].encodings == ["PCMU", "telephone-event"]
    assert [stream.port for stream in found.streams] == [s.port.rtp_port for s in live.streams]
    assert found.from_aor == "sip:alice@example.com"


async def test_packet_figures_are_live(calling: Node) -> None:
    live = await calling.call()
    _speak(live.streams[0].port.rtp_port, 5)
    async with asyncio.timeout(10), calling.client() as client:
        packets: int | None = 0
        while packets != 5:
            found = await _get(client, f"{SESSIONS}/{live.id}", wire.Session)
            packets = found.streams[0].packets
        assert found.streams[0].lost == 0
        assert found.streams[1].packets == 0


async def test_sessions_are_paged_and_filtered(calling: Node) -> None:
    calls = [await calling.call(f"call-{number}") for number in range(3)]
    newest = [live.id for live in reversed(calls)]
    async with calling.client() as client:
        first = await _get(client, SESSIONS, wire.SessionList, limit=2)
        rest = await _get(client, SESSIONS, wire.SessionList, limit=2, cursor=first.next)
        assert [s.id for s in (*first.items, *rest.items)] == newest
        assert rest.next is None
        one = await _get(client, SESSIONS, wire.SessionList, call_id="call-1")
        assert [s.id for s in one.items] == [calls[1].id]
        none = await _get(client, SESSIONS, wire.SessionList, state="paused")
        assert none.items == []


async def test_every_command(calling: Node) -> None:
    live = await calling.call()
    async with calling.client("control") as client:
        status, found = await _post(client, live, "pause", fill="cut", reason="card")
        assert (status, found["state"], found["pauses"][0]["fill"]) == (200, "paused", "cut")
        assert found["pauses"][0]["ended_at"] is None
        status, again = await _post(client, live, "pause")
        assert (status, again["state"], len(again["pauses"])) == (200, "paused", 1)
        status, refused = await _post(client, live, "split")
        assert (status, refused["state"]) == (409, "paused")
        status, found = await _post(client, live, "resume")
        assert (status, found["state"]) == (200, "recording")
        status, found = await _post(client, live, "mark", text="here", reason="why")
        assert (status, found["marks"][0]["text"]) == (200, "here")
        first = found["recording_id"]
        status, found = await _post(client, live, "split")
        assert (status, found["state"]) == (200, "recording")
        assert found["recording_id"] not in {first, None}
        status, found = await _post(client, live, "stop")
        assert (status, found["state"], found["recording_id"]) == (200, "stopped", None)
        status, found = await _post(client, live, "start")
        assert (status, found["state"]) == (200, "recording")
        assert msgspec.convert(found, wire.Session).id == live.id


async def test_a_command_for_nobody_and_an_unknown_command_are_404(calling: Node) -> None:
    live = await calling.call()
    async with calling.client() as client:
        assert await _status(client, "POST", f"{SESSIONS}/nobody/pause") == 404
        assert await _status(client, "POST", f"{SESSIONS}/{live.id}/listen") == 404


async def test_a_pause_needs_no_database(calling: Node) -> None:
    live = await calling.call()
    with closing(sqlite3.connect(calling.folder / "siprecd.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with calling.client("control") as client:
            status, found = await _post(client, live, "pause", reason="card")
            assert (status, found["state"]) == (200, "paused")
            assert calling.services.writer.pending == 1
        other.execute("ROLLBACK")


async def test_a_recording_from_its_call_to_its_files(calling: Node) -> None:
    live = await calling.call()
    assert live.recording
    path = f"{RECORDINGS}/{live.recording.id}"
    async with calling.client() as client:
        with calling.services.feed.subscribe() as events:
            _speak(live.streams[0].port.rtp_port, 10)
            growing = await _get(client, path, wire.Recording)
            assert (growing.status, growing.ended_at) == ("recording", None)
            assert await _status(client, "GET", f"{path}/media") == 409
            assert await _status(client, "GET", f"{path}/peaks") == 409
            assert await _status(client, "DELETE", path) == 409
            calling.services.recorder.end("dialog call-1@src", "bye")
            await _until(events, "recording.complete")
        done = await _get(client, path, wire.Recording)
        assert (done.status, done.reason) == ("complete", "")
        assert [stream.packets for stream in done.streams] == [10, 0]
        assert [entry.action for entry in done.history] == ["start", "stop"]
        files = {file.format: file for file in done.files}
        assert set(files) == {"wav", "peaks"}
        async with client.get(files["wav"].url) as response:
            wav = await response.read()
            assert (wav[:4], len(wav)) == (b"RIFF", files["wav"].size_bytes)
        await _get(client, files["peaks"].url, wire.Peaks)
        async with client.get(f"{path}/media", params={"format": "mp3"}) as response:
            assert (response.status, response.content_type) == (200, "audio/mpeg")
            mp3 = await response.read()
        done = await _get(client, path, wire.Recording)
        assert {file.format: file.size_bytes for file in done.files}["mp3"] == len(mp3)


async def test_a_live_recording_has_its_duration_of_now(calling: Node) -> None:
    live = await calling.call(received_at=STARTED)
    await calling.services.writer.stored(live.recording.id if live.recording else "")
    async with calling.client() as client:
        listed = await _get(client, RECORDINGS, wire.RecordingList, status="recording")
        assert listed.items[0].duration_ms > 0
        one = await _get(client, f"{RECORDINGS}/{listed.items[0].id}", wire.Recording)
        assert one.duration_ms >= listed.items[0].duration_ms


async def test_recordings_are_filtered_and_paged(node: Node, client: ClientSession) -> None:
    hour = timedelta(hours=1)
    carol = (Participant("p", "sip:carol@example.com", "Carol"),)
    await node.stored("r1", call_id="c1", session_id="s1")
    await node.stored("r2", started_at=STARTED + hour, status="failed", reason="no_media")
    await node.stored("r3", started_at=STARTED + 2 * hour, participants=carol)

    async def found(**query: Any) -> list[str]:
        page = await _get(client, RECORDINGS, wire.RecordingList, **query)
        return [row.id for row in page.items]

    assert await found() == ["r3", "r2", "r1"]
    assert await found(status="failed") == ["r2"]
    assert await found(call_id="c1") == await found(session_id="s1", call_id="c1") == ["r1"]
    assert await found(aor="sip:carol@example.com") == ["r3"]
    assert await found(started_after="2026-11-22T16:05:06+01:00") == ["r3", "r2"]
    assert await found(started_before="2026-11-22T15:05:06.789Z") == ["r1"]
    first = await _get(client, RECORDINGS, wire.RecordingList, limit=2)
    rest = await _get(client, RECORDINGS, wire.RecordingList, limit=2, cursor=first.next)
    assert ([r.id for r in rest.items], rest.next) == (["r1"], None)


async def test_peaks_are_the_stored_ones(node: Node, client: ClientSession) -> None:
    await node.stored()
    async with client.get(f"{RECORDINGS}/r1/peaks") as response:
        assert await response.read() == PEAKS


async def test_what_has_no_file_is_404(node: Node, client: ClientSession) -> None:
    await node.stored(status="failed", files=())
    for path in ("media", "media?format=mp3", "peaks"):
        assert await _status(client, "GET", f"{RECORDINGS}/r1/{path}") == 404


async def test_deleting_takes_row_and_files(node: Node, client: ClientSession) -> None:
    row = await node.stored()
    with node.services.feed.subscribe() as events:
        assert await _status(client, "DELETE", f"{RECORDINGS}/r1") == 204
        await _until(events, "recording.deleted")
    assert await _status(client, "GET", f"{RECORDINGS}/r1") == 404
    assert await _status(client, "DELETE", f"{RECORDINGS}/r1") == 404
    assert not any(node.services.blobs.exists(file.key) for file in row.files)


async def test_a_database_that_is_gone_is_503(node: Node, client: ClientSession) -> None:
    (node.folder / "siprecd.db").rename(node.folder / "away.db")
    async with client.get(RECORDINGS) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert str(node.folder) not in await response.text()
    (node.folder / "away.db").rename(node.folder / "siprecd.db")
    assert await _status(client, "GET", RECORDINGS) == 200


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
