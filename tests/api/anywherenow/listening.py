"""Clients of both hubs, as bytes on a WebSocket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType

from siprec.feed import FeedEvent
from tests.api.anywherenow.desk import PREFIX, Desk

HUB = f"{PREFIX}/hubs/recording"
CLASSIC = f"{PREFIX}/signalr"
SHOP = "pay@shop.example"
SESSION = "0123456789abcdef0123456789abcdef"
CORRELATION = "01234567-89ab-cdef-0123-456789abcdef"
WAIT_S = 30
"""For what takes milliseconds, on a machine that is busy."""
AT = datetime(2026, 11, 22, tzinfo=UTC)
HANDSHAKE = b'{"protocol":"json","version":1}\x1e'


def event(kind: str = "recording.paused", account: int = 100, route: int = 10) -> FeedEvent:
    """An event of a call of the shop's."""
    return FeedEvent(kind, AT, SESSION, "r1", "c1", "desk", "", account, route)


@dataclass
class Client:
    """Somebody at the hub."""

    socket: ClientWebSocketResponse
    waiting: list[dict[str, Any]] = field(default_factory=list)
    """Messages that came in one frame with others."""

    async def send(self, *messages: object) -> None:
        """Send messages of the protocol, in one frame."""
        await self.socket.send_bytes(b"".join(json.dumps(m).encode() + b"\x1e" for m in messages))

    async def message(self) -> dict[str, Any]:
        """The next message that is no ping."""
        while not self.waiting:
            text = await self.socket.receive_str(timeout=WAIT_S)
            assert text.endswith("\x1e"), text
            messages = map(json.loads, text.split("\x1e")[:-1])
            self.waiting += [each for each in messages if each != {"type": 6}]
        return self.waiting.pop(0)

    async def call(self, target: str, *arguments: object, id_: str = "1") -> str | None:
        """The error in the answer to a call; None without."""
        said = {"type": 1, "invocationId": id_, "target": target, "arguments": arguments}
        await self.send(said)
        answer = await self.message()
        assert (answer["type"], answer["invocationId"]) == (3, id_)
        return answer.get("error")

    async def told(self) -> tuple[str, str, int]:
        """UCC, correlation id and action of the next event."""
        said = await self.message()
        assert (said["type"], said["target"]) == (1, "RecordingStateChangedEvent")
        (argument,) = said["arguments"]
        assert [*argument] == ["UccName", "CorrelationId", "StateAction"]
        return argument["UccName"], argument["CorrelationId"], argument["StateAction"]

    async def closed(self) -> tuple[dict[str, Any], int]:
        """The last message, and the code of the close frame."""
        last = await self.message()
        closing = await self.socket.receive(timeout=WAIT_S)
        assert closing.type is WSMsgType.CLOSE
        return last, closing.data


@asynccontextmanager
async def connected(
    desk: Desk, who: str | None = SHOP, *, query: str = "", handshake: bytes = HANDSHAKE
) -> AsyncIterator[Client]:
    """A client with the token of `who`; without a `handshake` nothing was said yet."""
    headers = {"Authorization": f"Bearer {await desk.token(who)}"} if who else {}
    url = f"{desk.node.server.url}{HUB}{query}"
    async with desk.http.ws_connect(url, headers=headers) as socket:
        client = Client(socket)
        if handshake:
            await socket.send_bytes(handshake)
            assert await client.message() == {}
        yield client


@dataclass
class ClassicClient:
    """Somebody at the hub of ASP.NET SignalR 2."""

    socket: ClientWebSocketResponse
    groups_token: str = ""

    async def message(self) -> dict[str, Any]:
        """The next message that is no keep-alive."""
        while True:
            said = json.loads(await self.socket.receive_str(timeout=WAIT_S))
            self.groups_token = said.get("G", self.groups_token)
            if said:
                return dict(said)

    async def call(self, method: str, *arguments: object, hub: str = "recordinghub") -> str | None:
        """The error in the answer to a call; None without. Of a success the groups token too."""
        await self.socket.send_json({"H": hub, "M": method, "A": arguments, "I": 7})
        answer = await self.message()
        assert answer["I"] == "7"
        return answer.get("E")

    async def subscribe(self, name: str) -> None:
        """Subscribe for the first time."""
        assert await self.call("Subscribe", name) is None
        assert (await self.message())["G"]

    async def told(self) -> tuple[str, str, int]:
        """UCC, correlation id and action of the next event."""
        said = await self.message()
        assert said["C"]
        (call,) = said["M"]
        assert (call["H"], call["M"]) == ("RecordingHub", "RecordingStateChangedEvent")
        (argument,) = call["A"]
        return argument["UccName"], argument["CorrelationId"], argument["StateAction"]


@asynccontextmanager
async def classic(
    desk: Desk,
    who: str = SHOP,
    *,
    command: str = "connect",
    data: str = '[{"name":"recordinghub"}]',
    **query: str,
) -> AsyncIterator[ClassicClient]:
    """A connected client with the token of `who`."""
    given = {
        "transport": "webSockets",
        "clientProtocol": "2.1",
        "connectionToken": "c" * 43,
        "connectionData": data,
        "access_token": await desk.token(who),
        **query,
    }
    url = f"{desk.node.server.url}{CLASSIC}/{command}"
    async with desk.http.ws_connect(url, params=given) as socket:
        client = ClassicClient(socket)
        if command == "connect":
            said = await client.message()
            assert (said["S"], said["M"]) == (1, [])
        yield client
