"""The hub of ASP.NET SignalR 2 on a real server, and its messages."""

import asyncio
import json
import os
from base64 import urlsafe_b64encode
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from aiohttp import WSServerHandshakeError
from hypothesis import given
from hypothesis import strategies as st

from api import sockets
from api.anywherenow import classic as module
from api.anywherenow.classic import (
    GROUPS_BYTES,
    _Malformed,
    groups,
    groups_token,
    hub_names,
    parse,
    protocol_version,
    returned,
)
from tests.api.anywherenow.desk import Desk
from tests.api.anywherenow.listening import CLASSIC, CORRELATION, SHOP, WAIT_S, classic, event

DATA = '[{"name":"recordinghub"}]'


async def test_negotiation(idle_desk: Desk) -> None:
    query = urlencode({"clientProtocol": "2.1", "connectionData": DATA, "_": "1"})
    for method in ("GET", "POST"):
        said = await idle_desk.ask(method, f"{CLASSIC}/negotiate?{query}")
        found = said.json
        assert said.headers["Content-Type"] == "application/json; charset=utf-8"
        assert len(found.pop("ConnectionToken")) > len(found.pop("ConnectionId")) > 16
        assert found == {
            "Url": "/attendantservice/signalr",
            "KeepAliveTimeout": 20.0,
            "DisconnectTimeout": 30.0,
            "ConnectionTimeout": 110.0,
            "TryWebSockets": True,
            "ProtocolVersion": "2.1",
            "TransportConnectTimeout": 5.0,
            "LongPollDelay": 0.0,
        }


async def test_what_is_asked_besides(idle_desk: Desk) -> None:
    for method, path, status, body in (
        ("GET", "start?transport=webSockets", 200, '{"Response":"started"}'),
        ("GET", "ping", 200, '{"Response":"pong"}'),
        ("POST", "abort?connectionToken=unknown", 200, ""),
        ("GET", "abort", 405, "not this method"),
        ("POST", "connect", 405, "not this method"),
        ("GET", "hubs", 404, "nothing is here"),
        ("POST", "send", 404, "nothing is here"),
    ):
        said = await idle_desk.ask(method, f"{CLASSIC}/{path}")
        assert (said.status, said.body.decode()) == (status, body), path
        assert (await idle_desk.ask(method, f"{CLASSIC}/{path}", None)).status in {401, 404, 405}
    good = {"transport": "webSockets", "connectionToken": "x"}
    for query, status, body in (
        ({"connectionToken": "x"}, 400, "Protocol error: Unknown transport."),
        ({**good, "transport": "longPolling"}, 400, "Protocol error: Unknown transport."),
        ({"transport": "webSockets"}, 400, "Protocol error: Missing connection token."),
        (
            {**good, "connectionData": '[{"name":"chat"}]'},
            400,
            "Protocol error: 'chat' Hub could not be resolved.",
        ),
        (
            {**good, "connectionData": "{"},
            400,
            "Protocol error: connectionData is no list of hubs",
        ),
        (good, 426, ""),
    ):
        for path in ("connect", "reconnect"):
            said = await idle_desk.ask("GET", f"{CLASSIC}/{path}?{urlencode(query)}")
            assert (said.status, said.body.decode()) == (status, body)
    with pytest.raises(WSServerHandshakeError) as caught:
        async with classic(idle_desk, access_token="wrong"):
            pass
    assert caught.value.status == 401


async def test_subscriptions_and_events(idle_desk: Desk) -> None:
    publish = idle_desk.node.services.feed.publish
    async with classic(idle_desk) as client:
        publish(event())
        for method, arguments, error in (
            ("Subscribe", ("ucc-none",), "UCC with name:'ucc-none' was not found."),
            ("Subscribe", ("ucc-bank",), "UCC with name:'ucc-bank' was not found."),
            ("Subscribe", (), "'Subscribe' method could not be resolved."),
            ("Subscribe", (1,), "'Subscribe' method could not be resolved."),
            ("Send", ("x",), "'Send' method could not be resolved."),
            ("Unsubscribe", ("ucc-shop",), None),
        ):
            assert await client.call(method, *arguments) == error
        error = "'chat' Hub could not be resolved."
        assert await client.call("Subscribe", "ucc-shop", hub="chat") == error
        await client.subscribe("UCC-Shop")
        publish(event())
        publish(event("recording.resumed"))
        publish(event("recording.resumed", 200, 20))
        assert await client.told() == ("ucc-shop", CORRELATION, 3)
        assert await client.told() == ("ucc-shop", CORRELATION, 1)
        await client.socket.send_json({"H": "RecordingHub", "M": "Unsubscribe", "A": ["ucc-shop"]})
        assert groups((await client.message())["G"]) == []
        publish(event())
        assert await client.call("Unsubscribe", "ucc-shop") is None


async def test_who_named_no_hub_hears_of_nothing(idle_desk: Desk) -> None:
    async with classic(idle_desk, data="[]") as client:
        await client.subscribe("ucc-shop")
        idle_desk.node.services.feed.publish(event())
        assert await client.call("Unsubscribe", "x") is None


async def test_who_reconnects_brings_their_subscriptions_along(idle_desk: Desk) -> None:
    publish = idle_desk.node.services.feed.publish
    async with classic(idle_desk) as client:
        await client.subscribe("ucc-shop")
        token = client.groups_token
    async with classic(idle_desk, command="reconnect", groupsToken=token, messageId="d-1") as again:
        assert await again.socket.receive_str(timeout=WAIT_S) == "{}"
        publish(event())
        assert await again.told() == ("ucc-shop", CORRELATION, 3)
    stolen = groups_token(["ucc-bank", "sales", "nothing"])
    async with classic(idle_desk, command="reconnect", groupsToken=stolen) as other:
        assert await other.socket.receive_str(timeout=WAIT_S) == "{}"
        publish(event(account=200, route=20))
        publish(event())
        assert await other.told() == ("Sales", CORRELATION, 3)


async def test_who_aborts_is_closed(idle_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CHECK_S", 0.02)
    async with classic(idle_desk, connectionToken="mine") as client:
        other = await idle_desk.ask(
            "POST", f"{CLASSIC}/abort?connectionToken=mine", "pay@bank.example"
        )
        assert other.status == 200
        assert await client.call("Unsubscribe", "x") is None
        assert (await idle_desk.ask("POST", f"{CLASSIC}/abort?connectionToken=mine")).status == 200
        assert (await client.socket.receive(timeout=WAIT_S)).data == 1000


async def test_keep_alive(idle_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CHECK_S", 0.02)
    monkeypatch.setattr(module, "KEEP_ALIVE_S", 0.05)
    async with classic(idle_desk) as client:
        for _ in range(3):
            assert await client.socket.receive_str(timeout=WAIT_S) == "{}"


async def test_ends(idle_desk: Desk) -> None:
    """A token that ends closes within two seconds; a server that stops, at once."""
    async with classic(idle_desk, "isr@system.example") as other:
        async with classic(idle_desk) as client, asyncio.timeout(WAIT_S):
            await idle_desk.node.services.users.logout(await idle_desk.token(SHOP))
            assert await client.message() == {"E": "the token holds no longer"}
            assert (await client.socket.receive()).data == 1008
        async with asyncio.timeout(WAIT_S):
            stopping = asyncio.gather(idle_desk.node.server.stop())
            assert (await other.socket.receive()).data == 1001
            await stopping


async def test_a_broken_protocol_closes(idle_desk: Desk) -> None:
    for said in (b"garbage", b"[]", b'{"H":"x"}', os.urandom(30_000), b"[" * 30_000):
        async with classic(idle_desk) as client:
            await client.socket.send_bytes(said)
            error = "Protocol error: the message is no call of a method"
            assert await client.message() == {"E": error}
            assert (await client.socket.receive(timeout=WAIT_S)).data == 1008
    async with classic(idle_desk) as client:
        await client.socket.send_bytes(os.urandom(64 * 1024))
        assert (await client.socket.receive(timeout=WAIT_S)).data == 1009


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [
        ("1.5", "1.5"),
        ("2.0", "2.0"),
        ("2.1", "2.1"),
        ("2.2", "2.1"),
        ("3.0", "2.1"),
        ("1.1", "1.2"),
        ("", "1.2"),
        ("x", "1.2"),
        ("1", "1.2"),
        ("1.²", "1.2"),
        ("9" * 5000, "1.2"),
    ],
)
def test_the_version_spoken(asked: str, spoken: str) -> None:
    assert protocol_version(asked) == spoken


def test_answers() -> None:
    assert returned(0) == b'{"I":"0"}'
    assert json.loads(returned("a", "no")) == {"I": "a", "E": "no", "H": True}


def test_groups_tokens() -> None:
    for names in ([], ["a"], ["straße", "ucc \u0001 '\""]):
        assert groups(groups_token(names)) == sorted(names)
    assert groups_token(["x" * GROUPS_BYTES]) == ""
    for made_up in ("", "!", "W10", urlsafe_b64encode(b"[1]").decode(), "ü", "[" * 9000):
        assert groups(made_up) == []


def test_hubs_of_a_client() -> None:
    assert hub_names('[{"Name":"RecordingHub"}]') == {"recordinghub"}
    assert hub_names("") == hub_names("[]") == set()
    for wrong in ("[1]", "[{}]", '{"name":"recordinghub"}', '[{"name":1}]', "[" * 5000):
        with pytest.raises(_Malformed):
            hub_names(wrong)


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_whatever_comes_is_a_call_or_malformed(data: bytes) -> None:
    with suppress(_Malformed):
        assert parse(data).hub is not None
