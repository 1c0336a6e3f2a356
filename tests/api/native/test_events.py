"""The event stream over a real WebSocket."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from api import sockets
from siprec.feed import FeedEvent
from tests.api.node import Node

AT = datetime(2026, 11, 22, 14, 5, 6, 789_000, UTC)
URL = "/srs/v1/events"


def _event(number: int) -> FeedEvent:
    return FeedEvent("session.updated", AT, f"s{number}", "r", "c", "desk", "why")


async def test_events_come_as_they_happen(node: Node, client: ClientSession) -> None:
    async with client.ws_connect(URL) as one, client.ws_connect(URL) as two:
        node.services.feed.publish(_event(1))
        node.services.feed.publish(_event(2))
        for stream in (one, two):
            assert await stream.receive_json(timeout=30) == {
                "type": "session.updated",
                "at": "2026-11-22T14:05:06.789Z",
                "session_id": "s1",
                "recording_id": "r",
                "call_id": "c",
                "actor": "desk",
                "reason": "why",
                "account": 1,
            }
            assert (await stream.receive_json(timeout=30))["session_id"] == "s2"


async def test_only_those_whose_call_it_is_are_told(node: Node) -> None:
    services = node.services
    key = await services.keys.add("tenant", "control", 100)
    client = ClientSession(node.server.url, headers={"Authorization": f"Bearer {key}"})
    async with client, client.ws_connect(URL) as stream:
        services.feed.publish(_event(1))
        services.feed.publish(replace(_event(2), account=100, route=10))
        assert (await stream.receive_json(timeout=30))["session_id"] == "s2"


async def test_a_stream_ends_with_the_key_it_was_opened_with(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CHECK_S", 0.02)
    services = node.services
    key = await services.keys.add("leaver", "control")
    client = ClientSession(node.server.url, headers={"Authorization": f"Bearer {key}"})
    async with client, client.ws_connect(URL) as stream:
        await services.keys.remove("leaver")
        assert (await stream.receive(timeout=30)).data == 1008


async def test_an_event_nobody_knows_is_not_found(client: ClientSession) -> None:
    for body, status in (
        ({"event": "Nothing"}, 404),
        ({"event": "Audio Recording"}, 400),
        ({"event": "AudioRecordingStarted"}, 200),
        ({"event": "AudioRecordingStarted", "ucid": "x", "called_aors": ["sip:a@b"]}, 200),
        ({"event": "AudioRecordingStarted", "called_aors": "sip:a@b"}, 400),
        ({}, 400),
    ):
        async with client.post(f"{URL}/raise", json=body) as response:
            assert response.status == status, await response.text()


async def test_a_reader_that_keeps_up_misses_nothing(node: Node, client: ClientSession) -> None:
    async with client.ws_connect(URL) as stream:
        for number in range(1000):
            node.services.feed.publish(_event(number))
        seen = [(await stream.receive_json(timeout=30))["session_id"] for _ in range(1000)]
        assert seen == [f"s{number}" for number in range(1000)]


async def test_a_stream_is_closed_when_the_server_stops(node: Node, client: ClientSession) -> None:
    async with client.ws_connect(URL) as stream, asyncio.timeout(30):
        await node.server.stop()
        assert (await stream.receive()).data == 1001


async def test_what_readers_send_is_ignored(node: Node, client: ClientSession) -> None:
    async with client.ws_connect(URL) as stream:
        await stream.send_str("hello")
        await stream.send_bytes(b"\x00" * 100)
        node.services.feed.publish(_event(1))
        assert json.loads(await stream.receive_str(timeout=30))["session_id"] == "s1"


async def test_a_plain_request_is_told_to_upgrade(client: ClientSession) -> None:
    async with client.get(URL) as response:
        assert response.status == 426
        assert response.headers["Upgrade"] == "websocket"


async def test_without_a_key_there_are_no_events(node: Node) -> None:
    queries: tuple[dict[str, str], ...] = ({}, {"access_token": "x"}, {"since": "1"})
    async with node.client(None) as client:
        for query in queries:
            with pytest.raises(WSServerHandshakeError) as caught:
                await client.ws_connect(URL, params=query)
            assert caught.value.status == 401
