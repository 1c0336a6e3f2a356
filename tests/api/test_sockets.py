"""Writing to many WebSockets at once: who hears what, who is dropped, and that nobody waits."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSCloseCode, WSMsgType, web
from structlog.testing import capture_logs

from api import sockets
from api.listener import Limits, Listener
from api.problem import ApiError
from api.sockets import BATCH, UNSENT_BYTES, Ending, Fanout, Reader, frame
from siprec.feed import EventFeed, FeedEvent

AT = datetime(2026, 11, 22, tzinfo=UTC)
WAIT_S = 30
"""For what takes milliseconds, on a machine that is busy."""
GOOD_BYE = Ending(WSCloseCode.GOING_AWAY, "bye", b"good bye")


@dataclass
class Person:
    """Hears of one account, or of all; what they say comes back."""

    account: int
    told: list[str] = field(default_factory=list)
    """Of whom `tell` was asked."""
    until: Callable[[], Ending | None] = lambda: None
    name: str = "ann"

    @property
    def group(self) -> int:
        return self.account

    def tell(self, event: FeedEvent) -> bytes:
        self.told.append(event.session_id)
        return event.session_id.encode() if self.account in {0, event.account} else b""

    def heard(self, data: bytes, reader: Reader) -> Ending | None:
        if data == b"leave":
            return GOOD_BYE
        reader.send(b"heard " + data)
        return None

    async def look(self, now: float, reader: Reader) -> Ending | None:
        return self.until()

    def stopped(self) -> Ending:
        return GOOD_BYE


@dataclass
class House:
    """A server on which everybody may read."""

    url: str
    feed: EventFeed
    fanout: Fanout
    client: ClientSession
    people: list[Person] = field(default_factory=list)

    async def enter(self, account: int = 0) -> ClientWebSocketResponse:
        return await self.client.ws_connect(f"/?account={account}", receive_timeout=None)

    def publish(self, name: str, account: int = 1) -> None:
        self.feed.publish(FeedEvent("session.updated", AT, name, account=account))

    async def count(self, readers: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.fanout.readers != readers:
                await asyncio.sleep(0)


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    feed = EventFeed()
    fanout = Fanout(feed)
    people: list[Person] = []

    async def enter(request: web.Request) -> web.StreamResponse:
        person = Person(int(request.query["account"]))
        people.append(person)
        try:
            return await fanout.serve(request, person, 4096)
        except ApiError as error:
            return web.Response(status=error.status, headers=error.headers)

    application = web.Application()
    application.router.add_get("/", enter)
    listener = Listener("127.0.0.1:0", application, Limits(stop_s=1))
    await listener.start()
    try:
        async with ClientSession(listener.url) as client:
            yield House(listener.url, feed, fanout, client, people)
    finally:
        await fanout.close()
        await listener.stop()


async def texts(stream: ClientWebSocketResponse, count: int) -> list[str]:
    return [await stream.receive_str(timeout=WAIT_S) for _ in range(count)]


async def test_everybody_hears_what_they_are_to_hear_in_order(house: House) -> None:
    everything, one = await house.enter(), await house.enter(1)
    for number in range(6):
        house.publish(str(number), number % 2)
    assert await texts(everything, 6) == [*"012345"]
    assert await texts(one, 3) == [*"135"]


async def test_what_a_group_hears_is_made_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SLICE", 2)
    streams = [await house.enter(1) for _ in range(5)]
    house.publish("a")
    for stream in streams:
        assert await texts(stream, 1) == ["a"]
    assert [name for person in house.people for name in person.told] == ["a"]


async def test_a_burst_arrives_whole(house: House) -> None:
    streams = [await house.enter() for _ in range(3)]
    for number in range(BATCH * 10 + 1):
        house.publish(f"{number:0200}")
    for stream in streams:
        assert [*map(int, await texts(stream, BATCH * 10 + 1))] == [*range(BATCH * 10 + 1)]


async def test_events_before_the_first_reader_are_nobodys(house: House) -> None:
    house.publish("early")
    stream = await house.enter()
    house.publish("late")
    assert await texts(stream, 1) == ["late"]


async def test_what_readers_say_is_heard(house: House) -> None:
    stream = await house.enter()
    await stream.send_str("this")
    await stream.send_bytes(b"that")
    assert await texts(stream, 2) == ["heard this", "heard that"]


async def test_a_party_that_ends_is_told_why(house: House) -> None:
    stream = await house.enter()
    await stream.send_str("leave")
    assert await texts(stream, 1) == ["good bye"]
    assert (await stream.receive(timeout=WAIT_S)).extra == "bye"
    assert stream.close_code == WSCloseCode.GOING_AWAY
    await house.count(0)


async def test_a_party_is_looked_after(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CHECK_S", 0.01)
    stream = await house.enter()
    house.people[0].until = lambda: GOOD_BYE
    assert await texts(stream, 1) == ["good bye"]
    assert (await stream.receive(timeout=WAIT_S)).type is WSMsgType.CLOSE


async def test_a_message_too_large_ends_it(house: House) -> None:
    stream = await house.enter()
    await stream.send_bytes(os.urandom(4097))
    await stream.receive(timeout=WAIT_S)
    assert stream.close_code == WSCloseCode.MESSAGE_TOO_BIG
    await house.count(0)


@asynccontextmanager
async def sleeper(house: House) -> AsyncIterator[socket.socket]:
    """A reader that never reads, with little room in its own kernel."""
    host, port = house.url.removeprefix("http://").split(":")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, (host, int(port)))
        head = (
            "GET /?account=0 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        )
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        readers = house.fanout.readers
        await loop.sock_sendall(raw, (head + key).encode())
        await house.count(readers + 1)
        yield raw


async def test_who_never_reads_is_dropped_and_nobody_waits_for_them(house: House) -> None:
    stream = await house.enter()
    with capture_logs() as logs:
        async with sleeper(house):
            for number in range(UNSENT_BYTES // 100):
                house.publish(f"{number:0300}")
                assert int((await texts(stream, 1))[0]) == number
                if house.fanout.readers == 1:
                    break
            await house.count(1)
    dropped = [each for each in logs if each["event"] == "event_reader_dropped"]
    assert [each["actor"] for each in dropped] == ["ann"]
    assert UNSENT_BYTES < dropped[0]["unsent"] < 2 * UNSENT_BYTES
    house.publish("still here")
    assert await texts(stream, 1) == ["still here"]


async def test_little_of_what_is_not_read_is_out_of_sight(house: House) -> None:
    stream = await house.enter()
    async with sleeper(house):
        sent = 0
        while house.fanout.readers == 2:
            house.publish("x" * 1000)
            await texts(stream, 1)
            sent += 1004
        assert sent < UNSENT_BYTES * 2.5


async def test_when_the_server_stops_everybody_is_told_and_nobody_let_in(house: House) -> None:
    streams = [await house.enter() for _ in range(3)]
    async with sleeper(house), asyncio.timeout(WAIT_S):
        await house.fanout.close()
    for stream in streams:
        assert await texts(stream, 1) == ["good bye"]
        assert (await stream.receive(timeout=WAIT_S)).type is WSMsgType.CLOSE
    async with house.client.get(
        "/?account=1",
        headers={
            "Upgrade": "websocket",
            "Connection": "upgrade",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version": "13",
        },
    ) as response:
        assert response.status == 503


async def test_a_plain_request_is_told_to_upgrade(house: House) -> None:
    async with house.client.get("/?account=1") as response:
        assert (response.status, response.headers["Upgrade"]) == (426, "websocket")


async def test_who_leaves_is_forgotten(house: House) -> None:
    stream = await house.enter()
    await stream.close()
    await house.count(0)
    house.publish("x")


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f" + struct.pack("!Q", 65_536)),
    ],
)
def test_frames_are_those_of_the_standard(size: int, head: bytes) -> None:
    assert frame(b"x" * size) == head + b"x" * size


async def test_frames_of_every_size_are_read_by_others(house: House) -> None:
    stream = await house.enter()
    for size in (1, 125, 126, 65_535, 65_536):
        house.publish("x" * size)
        assert await texts(stream, 1) == ["x" * size]
