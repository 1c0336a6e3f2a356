"""The hub of ASP.NET Core SignalR on a real server: negotiation, subscriptions, events, ends."""

import asyncio
import os
import socket
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from api import sockets
from api.anywherenow import hub
from api.anywherenow.hub import Ids
from api.anywherenow.ucc import correlation_id
from config.dialects import AnywhereNow
from siprec.session import Action, Actor, LiveSession
from tests.api.anywherenow.desk import Desk, open_desk
from tests.api.anywherenow.listening import (
    CORRELATION,
    HANDSHAKE,
    HUB,
    SHOP,
    WAIT_S,
    Client,
    connected,
    event,
)

ADMIN = Actor("admin desk")


# negotiation


async def test_a_connection_is_negotiated_and_made_once(idle_desk: Desk) -> None:
    desk = idle_desk
    for asked, version in (("", 0), ("0", 0), ("1", 1), ("2", 1)):
        query = f"?negotiateVersion={asked}" if asked else ""
        said = await desk.ask("POST", f"{HUB}/negotiate{query}")
        assert said.status == 200
        assert said.headers["Content-Type"] == "application/json; charset=utf-8"
        found = said.json
        assert found.pop("availableTransports") == [
            {"transport": "WebSockets", "transferFormats": ["Text"]}
        ]
        assert found.pop("negotiateVersion") == version
        assert len({*found.values()}) == len(found) == 1 + version
        token = found["connectionToken" if version else "connectionId"]
        async with connected(desk, query=f"?id={token}"):
            assert await refused(desk, f"?id={token}") == 409
        async with asyncio.timeout(WAIT_S):
            while await refused(desk, f"?id={token}") == 409:
                await asyncio.sleep(0)
        assert await refused(desk, f"?id={token}") == 404
    said = await desk.ask("POST", f"{HUB}/negotiate?negotiateVersion=-1")
    assert said.json == {"error": "The client requested an invalid protocol version '-1'"}
    assert await refused(desk, "?id=made-up") == 404


async def refused(desk: Desk, query: str = "", who: str | None = SHOP) -> int:
    """The status that a connection is refused with."""
    with pytest.raises(WSServerHandshakeError) as caught:
        async with connected(desk, who, query=query):
            pass
    return caught.value.status


async def test_who_may_connect(idle_desk: Desk) -> None:
    desk = idle_desk
    assert await refused(desk, who=None) == 401
    assert await refused(desk, "?access_token=wrong", None) == 401
    for path in (HUB, f"{HUB}/negotiate"):
        said = await desk.ask("POST" if "negotiate" in path else "GET", path, None)
        assert (said.status, said.body) == (401, b"")
        assert "WWW-Authenticate" in said.headers
    for query in ("access_token", "negotiateVersion=1&access_token"):
        said = await desk.ask("POST", f"{HUB}/negotiate?{query}={await desk.token(SHOP)}", None)
        assert said.status == 200
    async with connected(desk, None, query=f"?access_token={await desk.token(SHOP)}"):
        pass


async def test_known_hosts_need_no_token_if_that_is_said(tmp_path: Path, migrated: Path) -> None:
    section = AnywhereNow(auth="none", hub="/recording-events")
    async with open_desk(tmp_path, migrated, section, is_idle=True) as desk:
        said = await desk.ask("POST", "/recording-events/negotiate", None)
        assert said.status == 200
        url = f"{desk.node.server.url}/recording-events"
        async with desk.http.ws_connect(url) as opened:
            client = Client(opened)
            await opened.send_bytes(HANDSHAKE)
            assert await client.message() == {}
            assert await client.call("Subscribe", "ucc-bank") is None


def test_negotiations_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "NEGOTIATED", 2)
    ids = Ids()
    first, second, third = ids.new(), ids.new(), ids.new()
    assert ids.refusal(first) is HTTPStatus.NOT_FOUND
    assert ids.refusal(second) is ids.refusal(third) is None
    monkeypatch.setattr(hub, "CONNECT_S", -1.0)
    assert ids.refusal(ids.new()) is HTTPStatus.NOT_FOUND


# subscriptions


async def test_calls_and_their_answers(idle_desk: Desk) -> None:
    unknown = "An unexpected error occurred invoking 'Subscribe' on the server. HubException: "
    wrong = "Failed to invoke 'Subscribe' due to an error on the server. "
    wants = "InvalidDataException: it takes one argument, the name of a UCC."
    async with connected(idle_desk) as client:
        for target, arguments, error in (
            ("Subscribe", ("ucc-shop",), None),
            ("subscribe", ("UCC-Shop",), None),
            ("Subscribe", ("Sales",), None),
            ("Unsubscribe", ("ucc-shop",), None),
            ("Unsubscribe", ("nothing",), None),
            ("Subscribe", ("ucc-none",), f"{unknown}UCC with name:'ucc-none' was not found."),
            ("Subscribe", ("ucc-bank",), f"{unknown}UCC with name:'ucc-bank' was not found."),
            ("Subscribe", ("",), f"{unknown}UCC with name:'' was not found."),
            ("Subscribe", (), wrong + wants),
            ("Subscribe", ("a", "b"), wrong + wants),
            ("Subscribe", (1,), wrong + wants),
            ("Subscribe", (["ucc-shop"],), wrong + wants),
            ("Send", ("x",), "Unknown hub method 'Send'"),
            ("__init__", (), "Unknown hub method '__init__'"),
        ):
            assert await client.call(target, *arguments) == error, (target, arguments)
        said = {"type": 4, "invocationId": "s", "target": "Subscribe", "arguments": ["ucc-shop"]}
        await client.send(said, {**said, "target": "Other"}, {"type": 5, "invocationId": "s"})
        how = "The client attempted to invoke the non-streaming 'Subscribe' method"
        for error in (f"{how} with a streaming invocation.", "Unknown hub method 'Other'"):
            answer = await client.message()
            assert answer == {"type": 3, "invocationId": "s", "error": error}
        assert await client.call("Unsubscribe", "x") is None


async def test_what_wants_no_answer_gets_none(idle_desk: Desk) -> None:
    async with connected(idle_desk) as client:
        silent = [
            {"type": 1, "target": "Subscribe", "arguments": ["ucc-shop"]},
            {"type": 1, "target": "Nothing", "arguments": []},
            {"type": 2, "invocationId": "9", "item": 1},
            {"type": 3, "invocationId": "9"},
            {"type": 5, "invocationId": "9"},
            {"type": 6},
            {"type": 8, "sequenceId": 1},
            {"type": 99, "new": True},
        ]
        await client.send(*silent)
        assert await client.call("Unsubscribe", "x") is None
        idle_desk.node.services.feed.publish(event())
        assert await client.told() == ("ucc-shop", CORRELATION, 3)


async def test_a_thousand_subscriptions(idle_desk: Desk) -> None:
    async with connected(idle_desk) as client:
        for number in range(1000):
            await client.send(
                {
                    "type": 1,
                    "invocationId": str(number),
                    "target": "Subscribe",
                    "arguments": [("ucc-shop", "Sales", f"ucc-{number}")[number % 3]],
                }
            )
        for number in range(1000):
            answer = await client.message()
            assert answer["invocationId"] == str(number)
            assert ("error" in answer) == (number % 3 == 2)
        idle_desk.node.services.feed.publish(event())
        assert await client.told() == ("ucc-shop", CORRELATION, 3)
        assert await client.call("Unsubscribe", "x") is None


async def test_who_hears_what(idle_desk: Desk) -> None:
    """Each hears only of the UCCs they subscribed to, and nobody of what is not theirs."""
    publish = idle_desk.node.services.feed.publish
    async with (
        connected(idle_desk) as shop,
        connected(idle_desk, "isr@system.example") as everybody,
        connected(idle_desk, "eve@shop.example") as eve,
    ):
        publish(event())
        assert await shop.call("Subscribe", "Sales") is None
        assert await everybody.call("Subscribe", "UCC-bank") is None
        assert await everybody.call("Subscribe", "ucc-shop") is None
        assert await eve.call("Subscribe", "ucc-shop") is None
        for account, route in ((100, 10), (100, 11), (200, 20), (300, 30)):
            publish(event("recording.marked", account, route))
        assert await shop.told() == ("Sales", CORRELATION, 6)
        assert await eve.told() == ("ucc-shop", CORRELATION, 6)
        for name in ("ucc-shop", "ucc-shop", "ucc-bank"):
            assert await everybody.told() == (name, CORRELATION, 6)
        assert await shop.call("Unsubscribe", "sales") is None
        publish(event())
        assert await shop.call("Unsubscribe", "x") is None
        assert await eve.told() == await everybody.told() == ("ucc-shop", CORRELATION, 3)


# events


async def test_a_call_from_its_beginning_to_its_end(desk: Desk) -> None:
    """One event for each change, whoever made it; a failure is none, and neither is a split."""
    recorder = desk.node.services.recorder
    async with connected(desk) as client:
        assert await client.call("Subscribe", "ucc-shop") is None
        live = await desk.call("777")
        id_ = correlation_id(live.id)
        assert (await desk.set("Start", id_)).error is None
        assert await client.told() == ("ucc-shop", id_, 1)
        assert (await desk.set("Start", id_)).error is not None
        await recorder.control(live.id, Action.PAUSE, ADMIN)
        assert await client.told() == ("ucc-shop", id_, 3)
        assert (await desk.set("Start", id_)).error is None
        assert await client.told() == ("ucc-shop", id_, 1)
        await recorder.control(live.id, Action.SPLIT, ADMIN)
        for action, number in (("Save", 4), ("Delete", 5), ("Mark", 6), ("UnMark", 7)):
            assert (await desk.set(action, id_)).error is None
            assert await client.told() == ("ucc-shop", id_, number)
        assert (await desk.set("Stop", id_)).error is None
        assert await client.told() == ("ucc-shop", id_, 2)
        assert (await desk.set("Start", id_)).error is None
        assert await client.told() == ("ucc-shop", id_, 1)
        hang_up(desk, live)
        assert await client.told() == ("ucc-shop", id_, 2)
        idle = await desk.call("777")
        hang_up(desk, idle)
        recorded = await desk.call()
        assert await client.told() == ("ucc-shop", correlation_id(recorded.id), 1)


def hang_up(desk: Desk, live: LiveSession) -> None:
    desk.node.services.recorder.end(live.dialog_id, "bye")


# ends


@pytest.mark.parametrize(
    ("said", "last"),
    [
        (b"garbage\x1e", "the message is no JSON"),
        (b'{"type":1,"target":"Subscribe"}\x1e', "an invocation needs target and arguments"),
        (b"x" * 40_000, "The maximum message size of 32768B was exceeded."),
    ],
)
async def test_a_broken_protocol_closes(idle_desk: Desk, said: bytes, last: str) -> None:
    async with connected(idle_desk) as client:
        await client.socket.send_bytes(said)
        error = f"Connection closed with an error. {last}"
        assert await client.closed() == ({"type": 7, "error": error}, 1008)
    async with connected(idle_desk, handshake=b"") as client:
        await client.socket.send_bytes(b'{"protocol":"messagepack","version":1}\x1e')
        error = "The protocol 'messagepack' is not supported."
        assert await client.closed() == ({"error": error}, 1008)


async def test_garbage_of_64_kb(idle_desk: Desk) -> None:
    for size, code in ((64 * 1024 - 1, 1008), (64 * 1024, 1009)):
        for handshake in (b"", HANDSHAKE):
            async with connected(idle_desk, handshake=handshake) as client:
                await client.socket.send_bytes(os.urandom(size))
                async with asyncio.timeout(WAIT_S):
                    while (said := await client.socket.receive()).type is not WSMsgType.CLOSE:
                        pass
                assert said.data == code


async def test_a_client_that_says_good_bye(idle_desk: Desk) -> None:
    async with connected(idle_desk) as client:
        await client.send({"type": 7})
        assert (await client.socket.receive(timeout=WAIT_S)).data == 1000


async def test_pings_and_silence(idle_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CHECK_S", 0.02)
    monkeypatch.setattr(hub, "PING_S", 0.05)
    monkeypatch.setattr(hub, "SILENCE_S", 0.3)
    async with connected(idle_desk) as client:
        for _ in range(3):
            assert await client.socket.receive_str(timeout=WAIT_S) == '{"type":6}\x1e'
        last, code = await client.closed()
        said = {"error": "nothing was heard for 0.3 s", "allowReconnect": True}
        assert (last, code) == ({"type": 7, **said}, 1001)


async def test_a_handshake_that_does_not_come(
    idle_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CHECK_S", 0.02)
    monkeypatch.setattr(hub, "HANDSHAKE_S", 0.05)
    async with connected(idle_desk, handshake=b"") as client:
        assert await client.closed() == ({"error": "Handshake was canceled."}, 1008)


async def test_a_token_that_ends_closes_within_two_seconds(idle_desk: Desk) -> None:
    assert sockets.CHECK_S <= 1
    users = idle_desk.node.services.users
    async with connected(idle_desk) as client, asyncio.timeout(WAIT_S):
        await users.logout(await idle_desk.token(SHOP))
        said = {"type": 7, "error": "the token holds no longer"}
        assert await client.closed() == (said, 1008)


async def test_the_server_closes_the_hub_at_once_when_it_stops(idle_desk: Desk) -> None:
    async with connected(idle_desk) as client, connected(idle_desk, handshake=b"") as shy:
        async with asyncio.timeout(WAIT_S):
            stopping = asyncio.gather(idle_desk.node.server.stop())
            said = {"type": 7, "error": "the server stops", "allowReconnect": True}
            assert await client.closed() == (said, 1001)
            assert await shy.closed() == ({"error": "the server stops"}, 1001)
            await stopping


async def test_who_never_reads_is_dropped_and_others_are_not_delayed(
    idle_desk: Desk,
) -> None:
    feed = idle_desk.node.services.feed
    async with connected(idle_desk) as client, connected(idle_desk) as sleeper:
        for each in (client, sleeper):
            assert await each.call("Subscribe", "ucc-shop") is None
        deafen(sleeper.socket)
        fanout = idle_desk.node.server._fanout
        async with asyncio.timeout(WAIT_S):
            while fanout.readers == 2:
                for _ in range(50):
                    feed.publish(replace(event(), session_id=os.urandom(16).hex()))
                for _ in range(50):
                    assert (await client.told())[0] == "ucc-shop"
        feed.publish(event())
        assert await client.told() == ("ucc-shop", CORRELATION, 3)
        transport_of(sleeper.socket).abort()


def transport_of(opened: ClientWebSocketResponse) -> asyncio.Transport:
    connection = opened._response.connection
    assert connection and isinstance(connection.transport, asyncio.Transport)
    return connection.transport


def deafen(opened: ClientWebSocketResponse) -> None:
    """Read nothing any more, and leave the kernel little room."""
    transport = transport_of(opened)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    transport.pause_reading()
