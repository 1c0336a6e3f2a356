"""Real sockets, swept."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from media import receiver
from media.ports import SO_TIMESTAMPNS
from media.receiver import RtpReceiver
from media.rtp import PacketBatch
from tests.media.datagrams import datagram, stamped_arrivals


class Ends:
    """Bound sockets to be swept, and one that sends to them."""

    def __init__(self, count: int, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sender = socket.socket(family, socket.SOCK_DGRAM)
        self.sender.bind((host, 0))
        self.sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(count)]
        for each in self.sockets:
            each.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            each.bind((host, 0))
        self.descriptors = [each.fileno() for each in self.sockets]
        self.streams = np.arange(100, 100 + count, dtype=np.int32)

    def send(self, index: int, data: bytes) -> None:
        self.sender.sendto(data, self.sockets[index].getsockname())

    def sweep(
        self, area: RtpReceiver, *, header_only: bool = False
    ) -> list[tuple[int, int, bytes]]:
        """Stream, sequence number and payload of all valid rows."""
        found = []
        for swept in area.sweep(self.descriptors, self.streams, header_only=header_only):
            batch = swept.take(swept.valid)
            payload = b"" if header_only else batch.payloads().tobytes()
            for row in range(len(batch)):
                length = 0 if header_only else int(batch.payload_length[row])
                found.append(
                    (int(batch.stream[row]), int(batch.sequence_number[row]), payload[:length])
                )
                payload = payload[length:]
        return found


@pytest.fixture(autouse=True, scope="module")
def stamps() -> Iterator[None]:
    with stamped_arrivals():
        yield


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def ends(stack: ExitStack, count: int, host: str = "127.0.0.1") -> Ends:
    made = Ends(count, host)
    for each in [made.sender, *made.sockets]:
        stack.enter_context(each)
    return made


def only(area: RtpReceiver, of: Ends) -> PacketBatch:
    """The one batch of a sweep."""
    (batch,) = [b for b in area.sweep(of.descriptors, of.streams) if len(b)]
    return batch


def test_a_sweep_takes_what_came_in_order(stack: ExitStack) -> None:
    sockets = ends(stack, 3)
    sent = [(i, n, bytes([i, n]) * size) for n, size in enumerate((80, 0, 1)) for i in (2, 0)]
    for index, number, payload in sent:
        sockets.send(index, datagram(number, payload))
    area = RtpReceiver()
    expected = sorted((100 + index, number, payload) for index, number, payload in sent)
    assert sockets.sweep(area) == expected
    assert sockets.sweep(area) == []


def test_arrival_is_the_kernels_clock_and_not_the_sweeps(stack: ExitStack) -> None:
    sockets = ends(stack, 1)
    before_ns = time.time_ns()
    sockets.send(0, datagram(0))
    between_ns = time.time_ns()
    sockets.send(0, datagram(1))
    first, second = only(RtpReceiver(), sockets).arrival_ns.tolist()
    assert before_ns <= first <= between_ns <= second <= time.time_ns()


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
)
def test_the_source_address_is_told(stack: ExitStack, host: str, family: int) -> None:
    sockets = ends(stack, 1, host)
    sockets.send(0, datagram(0))
    source = only(RtpReceiver(), sockets).source[0].tobytes()
    assert int.from_bytes(source[:2], "little") == family
    assert int.from_bytes(source[2:4], "big") == sockets.sender.getsockname()[1]
    at = slice(4, 8) if family == socket.AF_INET else slice(8, 24)
    assert source[at] == socket.inet_pton(family, host)


def test_sweeps_leave_nothing_behind_for_the_next(stack: ExitStack) -> None:
    area = RtpReceiver()
    plain, wide = ends(stack, 1), ends(stack, 1, "::1")
    plain.sockets[0].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 0)
    plain.send(0, datagram(1))
    assert len(only(area, plain)) == 1
    before_ns = time.time_ns()
    wide.send(0, datagram(2))
    batch = only(area, wide)
    assert before_ns <= batch.arrival_ns[0] <= time.time_ns()
    assert batch.source[0, 8:24].tobytes() == socket.inet_pton(socket.AF_INET6, "::1")


def test_a_full_area_is_worked_off_and_the_sweep_goes_on(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "CAPACITY", 40)
    sockets = ends(stack, 5)
    sent = [(100 + i, n, bytes([i]) * 20) for i in range(5) for n in range(35 if i == 3 else 13)]
    for stream, number, payload in sent:
        sockets.send(stream - 100, datagram(number, payload))
    assert sorted(sockets.sweep(RtpReceiver())) == sent


def test_a_socket_with_more_than_a_call_returns_is_asked_again(stack: ExitStack) -> None:
    sockets = ends(stack, 2)
    for number in range(2 * receiver.PER_CALL + 3):
        sockets.send(1, datagram(number))
    found = sockets.sweep(RtpReceiver())
    assert [number for _, number, _ in found] == list(range(2 * receiver.PER_CALL + 3))
    assert {stream for stream, _, _ in found} == {101}


def test_a_flood_on_one_socket_has_to_wait_for_the_next_sweep(stack: ExitStack) -> None:
    sockets = ends(stack, 1)
    most = receiver.PER_CALL * receiver.PASSES
    sockets.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    for number in range(most + 5):
        sockets.send(0, datagram(number))
    area = RtpReceiver()
    assert len(sockets.sweep(area)) == most
    assert [number for _, number, _ in sockets.sweep(area)] == list(range(most, most + 5))


def test_too_long_a_datagram_is_not_valid_and_the_next_one_is(stack: ExitStack) -> None:
    sockets = ends(stack, 1)
    for size in (receiver.SLOT_OCTETS - 12, receiver.SLOT_OCTETS - 11, 65_495):
        sockets.send(0, datagram(size, bytes(size)))
    sockets.send(0, datagram(3, b"abc"))
    batch = only(RtpReceiver(), sockets)
    assert batch.valid.tolist() == [True, False, False, True]


def test_a_header_sweep_leaves_payloads_in_the_kernel(stack: ExitStack) -> None:
    sockets = ends(stack, 1)
    sockets.send(0, datagram(1, b"secret" * 20))
    sockets.send(0, b"\x80\x00\x00")
    sockets.send(0, datagram(2, b"secret" * 400))
    (batch,) = RtpReceiver().sweep(sockets.descriptors, sockets.streams, header_only=True)
    assert batch.valid.tolist() == [True, False, True]
    assert batch.payload_length.tolist() == [120, -9, 2_400]
    assert batch.sequence_number[[0, 2]].tolist() == [1, 2]
    assert not batch.octets[:, 12:].any()
    assert sockets.sweep(RtpReceiver()) == []


def test_header_and_whole_sweeps_may_take_turns(stack: ExitStack) -> None:
    sockets = ends(stack, 1)
    area = RtpReceiver()
    for number in range(6):
        sockets.send(0, datagram(number, b"payload"))
        header_only = number % 2 == 1
        assert sockets.sweep(area, header_only=header_only) == [
            (100, number, b"" if header_only else b"payload")
        ]


def test_a_closed_descriptor_is_passed_over(stack: ExitStack) -> None:
    sockets = ends(stack, 2)
    sockets.send(1, datagram(5))
    sockets.descriptors[0] = -1
    assert sockets.sweep(RtpReceiver()) == [(101, 5, b"")]
