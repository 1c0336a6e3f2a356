"""RTCP between real sockets."""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from media import reporter
from media.reporter import Reporter
from media.spec import StreamSpec
from media.stream import MediaStream, StreamTable
from tests.media.datagrams import datagram, parsed, sender_report

CNAME = b"0123456789abcdef"


class Peer:
    """A sender of one stream, with its RTCP port, and the stream on our side."""

    def __init__(self, stack: ExitStack, table: StreamTable, *, told: bool) -> None:
        ours, self.socket, rtp = (
            stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(3)
        )
        for each in (ours, self.socket):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        host, port = self.socket.getsockname() if told else ("", 0)
        spec = StreamSpec("a", "1", {0: "PCMU"}, rtcp_host=host, rtcp_port=port)
        self.stream = MediaStream(spec, 0, 0, rtp, ours)
        table.add(self.stream, CNAME, 1)

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.stream.rtcp.getsockname())

    def received(self) -> tuple[bytes, tuple[str, int]] | None:
        try:
            return self.socket.recvfrom(2_048)
        except BlockingIOError:
            return None


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def table() -> StreamTable:
    return StreamTable()


@pytest.fixture
def agent(table: StreamTable) -> Reporter:
    return Reporter(table)


def test_a_due_report_leaves_from_the_rtcp_port_and_is_due_again_later(
    stack: ExitStack, table: StreamTable, agent: Reporter
) -> None:
    peer = Peer(stack, table, told=True)
    agent.add(peer.stream)
    agent.send_due()
    report, source = peer.received() or (b"", None)
    assert source == peer.stream.rtcp.getsockname()
    assert report[:4] == struct.pack("!BBH", 0x80, 201, 1)
    assert CNAME in report
    agent.send_due()
    assert peer.received() is None


def test_a_report_follows_rtcp_when_nobody_said_where_to(
    stack: ExitStack, table: StreamTable, agent: Reporter
) -> None:
    peer = Peer(stack, table, told=False)
    agent.add(peer.stream)
    agent.send_due()
    table.columns["report_due_ns"] = 1
    peer.send(b"\x80")
    agent.receive()
    table.columns["report_due_ns"][1:] = 0
    agent.send_due()
    assert peer.received() is not None


def test_a_report_answers_the_last_sender_report(
    stack: ExitStack, table: StreamTable, agent: Reporter
) -> None:
    peer = Peer(stack, table, told=True)
    agent.add(peer.stream)
    batch = parsed([datagram(1, ssrc=7)], [peer.stream.slot])
    table.stats.count(batch, batch.valid)
    peer.send(sender_report(7, 0x1111222233334444))
    agent.receive()
    agent.send_due()
    report, _ = peer.received() or (b"", None)
    ssrc, lsr, dlsr = struct.unpack("!I12xII", report[8:32])
    assert (ssrc, lsr) == (7, 0x22223333)
    assert dlsr < 65_536 * 60


def test_goodbye_and_noise_end_nothing(
    stack: ExitStack, table: StreamTable, agent: Reporter
) -> None:
    peer = Peer(stack, table, told=True)
    agent.add(peer.stream)
    for data in (struct.pack("!BBHI", 0x81, 203, 1, 7), b"", bytes(1_400), b"\xff" * 60_000):
        peer.send(data)
        agent.receive()
    agent.send_due()
    assert peer.received() is not None


def test_a_report_that_cannot_leave_is_left_out(
    stack: ExitStack, table: StreamTable, agent: Reporter
) -> None:
    lost, peer = Peer(stack, table, told=True), Peer(stack, table, told=True)
    lost.stream.spec = StreamSpec("x", "", {}, rtcp_host="2001:db8::1", rtcp_port=9)
    for each in (lost, peer):
        agent.add(each.stream)
    agent.send_due()
    assert peer.received() is not None


def test_removed_streams_are_not_listened_to(
    stack: ExitStack, table: StreamTable, agent: Reporter
) -> None:
    gone, peer = Peer(stack, table, told=False), Peer(stack, table, told=False)
    for each in (gone, peer):
        agent.add(each.stream)
        each.send(b"\x80")
    agent.remove(gone.stream)
    agent.receive()
    assert gone.stream.rtcp_source is None
    assert peer.stream.rtcp_source == peer.socket.getsockname()


def test_intervals_are_random_around_five_seconds_and_half_before_the_first() -> None:
    later = [reporter.interval_ns() / 1e9 for _ in range(300)]
    first = [reporter.interval_ns(first=True) / 1e9 for _ in range(300)]
    assert min(later) >= 2.5
    assert max(later) <= 7.5
    assert max(later) - min(later) > 3
    assert min(first) >= 1.25
    assert max(first) <= 3.75
