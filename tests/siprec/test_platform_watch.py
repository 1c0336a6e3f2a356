"""Whether platforms answer: the table, the request, and real peers that do and do not."""

import asyncio
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.schema import Sip
from siprec import platform_watch
from siprec.platform_watch import (
    Look,
    PlatformWatch,
    Standing,
    State,
    is_answer,
    options,
    stood,
)
from siprec.server import SipServer
from siprec.sip.events import Flow
from siprec.sip.message import Request, parse
from storage.database import Database
from storage.directory import Directory
from storage.entries import Entry
from storage.platforms import RecordingPlatform, RecordingProperties
from tests.api.node import Node, running

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
DOWN, UP, UNKNOWN = State.DOWN, State.UP, State.UNKNOWN


def platform(port: int, kind: str = "UDP", name: str = "p", **changes: Any) -> RecordingPlatform:
    fields = {
        "net_address": "127.0.0.1",
        "media_stream": "Dual",
        "transport_protocol": kind,
        "schema_version": "3.0",
        "support_video_recording": False,
        "port": port,
    }
    return RecordingPlatform(name, **{**fields, **changes})


@pytest.mark.parametrize(
    ("state", "failures", "answers", "most", "after", "counted"),
    [
        (UNKNOWN, 0, True, 1, UP, 0),
        (UNKNOWN, 0, False, 1, DOWN, 1),
        (UNKNOWN, 0, False, 2, UNKNOWN, 1),
        (UNKNOWN, 1, False, 2, DOWN, 2),
        (UP, 0, True, 1, UP, 0),
        (UP, 0, False, 3, UP, 1),
        (UP, 2, False, 3, DOWN, 3),
        (UP, 2, True, 3, UP, 0),
        (DOWN, 3, False, 3, DOWN, 4),
        (DOWN, 9, False, 10, DOWN, 10),
        (DOWN, 4, True, 3, UP, 0),
    ],
)
def test_what_a_look_means(
    state: State, failures: int, answers: bool, most: int, after: State, counted: int
) -> None:
    before = Standing(NOW, state, NOW, 1.5, failures)
    look = Look(rtt_ms=2.5) if answers else Look(cause="no answer")
    found = stood(before, look, LATER, most)
    assert (found.state, found.failures) == (after, counted)
    assert found.since == (NOW if after is state else LATER)
    assert found.answered_at == (LATER if answers else NOW)
    assert (found.rtt_ms, found.cause) == ((2.5, "") if answers else (1.5, "no answer"))


@pytest.mark.parametrize(
    ("status", "is_there"),
    [
        *((status, True) for status in (200, 302, 404, 405, 499)),
        *((status, False) for status in (408, 500, 503, 603)),
    ],
)
def test_which_responses_say_that_somebody_is_there(status: int, is_there: bool) -> None:
    assert is_answer(status) is is_there


@pytest.mark.parametrize(
    ("entry", "kind", "uri"),
    [
        ({}, "udp", "sip:127.0.0.1:5070"),
        ({"port": None, "net_address": "srs.example"}, "udp", "sip:srs.example"),
        ({"net_address": "2001:db8::7"}, "tcp", "sip:[2001:db8::7]:5070;transport=tcp"),
        ({"net_address": "[2001:db8::7]"}, "udp", "sip:[2001:db8::7]:5070"),
    ],
)
def test_the_request_is_one_by_rfc_3261(entry: dict[str, Any], kind: str, uri: str) -> None:
    numbers = count(1)
    flow = Flow(kind, ("192.0.2.1", 40_000), ("192.0.2.9", 5070))
    made = options(platform(**{"port": 5070, **entry}), flow, lambda: f"t{next(numbers)}")
    again = parse(bytes(made))
    assert isinstance(again, Request) and (again.method, again.uri) == ("OPTIONS", uri)
    assert again.via.branch == "z9hG4bKt1" and again.from_.tag == "t2" and again.to.tag == ""
    assert f"SIP/2.0/{kind.upper()} 192.0.2.1:40000;rport" in again.vias[0]
    assert again.get("Max-Forwards") == "70" and again.get("Content-Length") == "0"


def reply(request: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [line for line in request.split(b"\r\n") if re.match(rb"(Via|From|To|Call|CSeq)", line)]
    return b"\r\n".join([b"SIP/2.0 " + status, *lines, b"Content-Length: 0", b"", b""])


Answer = Callable[[bytes], list[bytes]]


class Peer(asyncio.DatagramProtocol):
    """A platform at the end of a UDP port: what it says is `answer` of what it gets."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.heard = answer, list[bytes]()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        for said in self.answer(data):
            self.transport.sendto(said, addr)


@asynccontextmanager
async def peer(answer: Answer) -> AsyncIterator[Peer]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(
        lambda: Peer(answer), local_addr=("127.0.0.1", 0)
    )
    with closing(transport):
        yield made


@asynccontextmanager
async def tcp_peer(answer: Answer) -> AsyncIterator[int]:
    """The same on TCP; its port. It hangs up if it has nothing to say."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            for said in answer(await reader.readuntil(b"\r\n\r\n")):
                writer.write(said)
                await writer.drain()
            if answer(b""):
                await reader.read()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def node(tmp_path: Path, migrated: Path) -> AsyncIterator[Node]:
    """A node without its media process."""
    async with running(tmp_path, migrated) as started:
        yield started


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[PlatformWatch]:
    """One that knows no directory but an empty one."""
    database = Database(f"sqlite:///{tmp_path}/none.db")
    made = PlatformWatch(Directory(database), list)
    yield made
    made.close()
    await database.close()


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (lambda data: [reply(data)], ""),
        (lambda data: [reply(data, b"100 Trying"), reply(data, b"405 No")], ""),
        (lambda data: [b"\xff not SIP", b"\r\n", data, reply(data)], ""),
        (lambda data: [reply(data).replace(b"z9hG4bK", b"z9hG4bKx"), reply(data)], ""),
        (lambda data: [reply(data, b"503 Busy")], "status 503"),
        (lambda data: [reply(data, b"408 Late")], "status 408"),
        (lambda data: [reply(data, b"180 Ringing")], "no answer"),
        (lambda data: [], "no answer"),
    ],
)
async def test_a_look_over_udp(alone: PlatformWatch, answer: Answer, cause: str) -> None:
    async with peer(answer) as there:
        found = await alone.look(platform(there.port), 5.0 if cause != "no answer" else 0.2)
        assert found.cause == cause and (found.rtt_ms is None) is bool(cause)


async def test_a_lost_request_is_sent_again_and_the_same(alone: PlatformWatch) -> None:
    heard: list[bytes] = []

    def deaf_at_first(data: bytes) -> list[bytes]:
        heard.append(data)
        return [reply(data)] if len(heard) > 1 else []

    async with peer(deaf_at_first) as there:
        found = await alone.look(platform(there.port), 5.0)
    assert found.rtt_ms is not None and found.rtt_ms > 400
    assert heard[0] == heard[1]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (lambda data: [reply(data)], ""),
        (lambda data: [b"\r\n", reply(data)[:20], reply(data)[20:]], ""),
        (lambda data: [reply(data, b"503 Busy")], "status 503"),
        (lambda data: [], "Connection reset by peer"),
        (lambda data: [b"HTTP/1.1 400 Bad Request\r\n\r\n"], "what answers does not speak SIP"),
        (lambda data: [b"a" * 80_000], "what answers does not speak SIP"),
    ],
)
async def test_a_look_over_tcp(alone: PlatformWatch, answer: Answer, cause: str) -> None:
    async with tcp_peer(answer) as port:
        found = await alone.look(platform(port, "TCP"), 5.0)
        assert (found.rtt_ms is None) is bool(cause)
        assert found.cause in {cause, "the connection was closed"} if cause else not found.cause


@pytest.mark.parametrize("kind", ["UDP", "TCP"])
async def test_nobody_there(alone: PlatformWatch, kind: str) -> None:
    sort = socket.SOCK_DGRAM if kind == "UDP" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, sort) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "refused" in (await alone.look(platform(port, kind), 5.0)).cause


async def test_a_name_without_an_address(alone: PlatformWatch) -> None:
    found = await alone.look(platform(5060, net_address="no-such-host.invalid"), 5.0)
    assert found.rtt_ms is None and found.cause
    found = await alone.look(platform(5060, net_address="a" * 70 + ".example"), 5.0)
    assert found.rtt_ms is None and found.cause


async def test_a_name_with_one(alone: PlatformWatch) -> None:
    async with peer(lambda data: [reply(data)]) as there:
        found = await alone.look(platform(there.port, net_address="localhost"), 5.0)
        assert found.cause == "" or "refused" in found.cause  # localhost may be ::1 first


async def test_a_name_server_that_hangs_costs_nobody_else_anything(alone: PlatformWatch) -> None:
    held = threading.Event()
    try:
        for _ in range(platform_watch.RESOLVERS):
            alone._resolvers.submit(held.wait)
        named = await alone.look(platform(5060, net_address="somewhere.invalid"), 0.1)
        assert named.cause == "no answer"
        async with peer(lambda data: [reply(data)]) as there:
            assert (await alone.look(platform(there.port), 5.0)).rtt_ms is not None
        assert await asyncio.to_thread(lambda: 1) == 1
    finally:
        held.set()


async def test_only_so_many_are_asked_at_once(alone: PlatformWatch) -> None:
    async with peer(lambda data: []) as there:
        more = platform_watch.AT_ONCE + 4
        asked = [alone.look(platform(there.port), 0.8) for _ in range(more)]
        looks = asyncio.gather(*asked)
        while len(there.heard) < platform_watch.AT_ONCE:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert len(there.heard) == platform_watch.AT_ONCE
        assert {look.cause for look in await looks} == {"no answer"}
        assert len({data.split(b"branch=")[1][:30] for data in there.heard}) == more


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.01)


async def put(node: Node, *entries: Entry) -> None:
    for entry in entries:
        await node.services.directory.put(entry)


async def test_changes_of_the_directory_are_followed(node: Node) -> None:
    watch = node.services.platforms

    def state(name: str) -> State:
        return watch.standing(name).state

    async with (
        peer(lambda data: [reply(data)]) as well,
        peer(lambda data: [reply(data, b"503 Busy")]) as ill,
        asyncio.TaskGroup() as group,
    ):
        with capture_logs() as logs:
            running = group.create_task(watch.run(first_s=0.01, follow_s=0.01), name="watch")
            await put(node, platform(well.port, name="one"), platform(ill.port, name="two"))
            await until(lambda: (state("one"), state("two")) == (UP, DOWN))
            shown = {view.entry.name: view for view in watch.view()}
            assert [*shown] == ["one", "two"] and shown["two"].standing.failures == 1
            assert shown["two"].standing.cause == "status 503"
            assert shown["one"].standing.rtt_ms and not shown["one"].is_default
            # who moves is somebody else
            await put(node, platform(well.port, name="two"))
            assert state("two") is UNKNOWN
            await until(lambda: state("two") is UP)
            # who only changes otherwise is not
            since = watch.standing("one").since
            await put(node, platform(well.port, name="one", description="new"))
            await put(node, RecordingProperties("one"))
            assert watch.standing("one").since == since
            assert watch.view()[0].is_default
            await node.services.directory.remove("platforms", "two")
            await until(lambda: [view.entry.name for view in watch.view()] == ["one"])
            assert not running.done()
            running.cancel()
    told = [(each["event"], each["platform"]) for each in logs if "platform" in each]
    assert sorted(told) == [
        ("platform_down", "two"),
        ("platform_up", "one"),
        ("platform_up", "two"),
    ]


async def test_which_platform_is_this_recorder(alone: PlatformWatch) -> None:
    alone.listeners = ["udp://127.0.0.1:5066", "tcp://0.0.0.0:5077", "udp://[::1]:5088"]
    for entry, ours in (
        (platform(5066), True),
        (platform(5066, "Unspecified"), True),
        (platform(5066, "TCP"), False),
        (platform(5077, "TCP"), True),
        (platform(5077, "UDP"), False),
        (platform(5077, "TCP", net_address="192.0.2.1"), False),
        (platform(5077, "TCP", net_address="srs.example"), False),
        (platform(5088, net_address="::1"), True),
        (platform(5099), False),
    ):
        assert alone.is_ours(entry) is ours, entry


async def test_our_own_listener_answers_and_so_we_are_up(node: Node) -> None:
    watch = node.services.platforms
    server = SipServer(
        Sip(listen=["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]), node.services.recorder
    )
    await server.start()
    try:
        watch.listeners = server.addresses
        for url, kind in zip(server.addresses, ("UDP", "TCP"), strict=True):
            us = platform(int(url.rpartition(":")[2]), kind)
            assert watch.is_ours(us) and (await watch.look(us, 5.0)).cause == ""
        node.services.recorder.accepting = False
        assert (await watch.look(us, 5.0)).cause == "status 503"
    finally:
        await server.stop()
