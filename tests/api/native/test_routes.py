"""The native interface against a real recorder: live sessions."""

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import Any

import msgspec
from aiohttp import ClientSession

from api.native import wire
from api.native.routes import ROUTES
from siprec.session import LiveSession
from storage.entries import KINDS
from tests.api.native.asking import get, speak, status_of
from tests.api.node import Node

SESSIONS = "/srs/v1/sessions"


LEAST_ROLE = {
    ("GET", "/srs/v1/sessions"): "control",
    ("GET", "/srs/v1/sessions/{session_id}"): "control",
    ("POST", "/srs/v1/sessions/{session_id}/{action}"): "control",
    ("GET", "/srs/v1/events"): "control",
    ("POST", "/srs/v1/events/raise"): "control",
    ("GET", "/srs/v1/platforms"): "operator",
    ("GET", "/metrics"): "control",
    ("GET", "/srs/v1/recordings"): "operator",
    ("GET", "/srs/v1/recordings/{recording_id}"): "operator",
    ("GET", "/srs/v1/recordings/{recording_id}/media"): "operator",
    ("GET", "/srs/v1/recordings/{recording_id}/peaks"): "operator",
    ("GET", "/srs/v1/playback"): "operator",
    ("GET", "/srs/v1/playback/audio"): "operator",
    ("POST", "/srs/v1/recordings/{recording_id}"): "operator",
    ("DELETE", "/srs/v1/recordings/{recording_id}"): "operator",
    ("GET", "/srs/v1/notifications"): "admin",
    ("POST", "/srs/v1/notifications/replay"): "admin",
    ("POST", "/srs/v1/notifications/{sequence}/replay"): "admin",
    ("POST", "/srs/v1/login"): None,
    ("POST", "/srs/v1/logout"): "control",
    ("POST", "/srs/v1/directory/users/{email}/password"): "control",
    ("POST", "/srs/v1/directory/users/{email}/unlock"): "admin",
    **{("GET", f"/srs/v1/directory/{kind}"): "admin" for kind in KINDS},
    **{
        (method, f"/srs/v1/directory/{kind}/{{key}}"): "admin"
        for kind in KINDS
        for method in ("GET", "PUT", "DELETE")
    },
}


async def _post(
    client: ClientSession, live: LiveSession, action: str, **body: str
) -> tuple[int, Any]:
    async with client.post(f"{SESSIONS}/{live.id}/{action}", json=body) as response:
        return response.status, json.loads(await response.read())


def test_who_may_do_what() -> None:
    assert {(route.method, route.path): route.role for route in ROUTES} == LEAST_ROLE


async def test_a_live_session_is_listed_and_found(calling: Node) -> None:
    live = await calling.call()
    async with calling.client("control") as client:
        found = await get(client, f"{SESSIONS}/{live.id}", wire.Session)
        listed = await get(client, SESSIONS, wire.SessionList)
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
    speak(live.streams[0].port.rtp_port, 5)
    async with asyncio.timeout(10), calling.client() as client:
        packets: int | None = 0
        while packets != 5:
            found = await get(client, f"{SESSIONS}/{live.id}", wire.Session)
            packets = found.streams[0].packets
        assert found.streams[0].lost == 0
        assert found.streams[1].packets == 0


async def test_sessions_are_paged_and_filtered(calling: Node) -> None:
    calls = [await calling.call(f"call-{number}") for number in range(3)]
    newest = [live.id for live in reversed(calls)]
    async with calling.client() as client:
        first = await get(client, SESSIONS, wire.SessionList, limit=2)
        rest = await get(client, SESSIONS, wire.SessionList, limit=2, cursor=first.next)
        assert [s.id for s in (*first.items, *rest.items)] == newest
        assert rest.next is None
        one = await get(client, SESSIONS, wire.SessionList, call_id="call-1")
        assert [s.id for s in one.items] == [calls[1].id]
        none = await get(client, SESSIONS, wire.SessionList, state="paused")
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
        assert await status_of(client, "POST", f"{SESSIONS}/nobody/pause") == 404
        assert await status_of(client, "POST", f"{SESSIONS}/{live.id}/listen") == 404


async def test_a_pause_needs_no_database(calling: Node) -> None:
    live = await calling.call()
    with closing(sqlite3.connect(calling.folder / "siprecd.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with calling.client("control") as client:
            status, found = await _post(client, live, "pause", reason="card")
            assert (status, found["state"]) == (200, "paused")
            assert calling.services.writer.pending == 1
        other.execute("ROLLBACK")
