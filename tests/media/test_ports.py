"""Port pairs on the loopback address."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from media.ports import QUARANTINE_S, PortPair, RtpPortPool
from media.spec import PortsExhausted


def free_range(count: int) -> int:
    """An even port with `count` free ones from it on, as far as one can know."""
    for first in range(30_000, 60_000, 2 * count):
        sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(count)]
        try:
            for port, each in enumerate(sockets, first):
                each.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
        return first
    raise AssertionError("no free ports")


@pytest.fixture
def first() -> int:
    return free_range(10)


@pytest.fixture
def taken() -> Iterator[list[PortPair]]:
    pairs: list[PortPair] = []
    yield pairs
    for pair in pairs:
        pair.close()


def test_pairs_are_even_and_the_next(first: int, taken: list[PortPair]) -> None:
    pool = RtpPortPool("127.0.0.1", first, first + 9)
    taken += pool.take(5, 0)
    assert {pair.port for pair in taken} == set(range(first, first + 10, 2))
    for pair in taken:
        assert pair.rtp.getsockname() == ("127.0.0.1", pair.port)
        assert pair.rtcp.getsockname() == ("127.0.0.1", pair.port + 1)
        assert not pair.rtp.getblocking()


def test_a_range_may_begin_odd_and_end_even(first: int, taken: list[PortPair]) -> None:
    pool = RtpPortPool("127.0.0.1", first + 1, first + 6)
    taken += pool.take(2, 0)
    assert {pair.port for pair in taken} == {first + 2, first + 4}
    with pytest.raises(PortsExhausted):
        pool.take(1, 0)


def test_all_or_none(first: int, taken: list[PortPair]) -> None:
    pool = RtpPortPool("127.0.0.1", first, first + 5)
    with pytest.raises(PortsExhausted, match="4 pairs of RTP ports wanted, 3 free"):
        pool.take(4, 0)
    taken += pool.take(3, 0)
    assert len(taken) == 3


def test_given_back_ports_rest_before_they_are_used_again(
    first: int, taken: list[PortPair]
) -> None:
    pool = RtpPortPool("127.0.0.1", first, first + 1)
    (pair,) = pool.take(1, 100)
    pool.give_back(pair, 100)
    assert pair.rtp.fileno() == pair.rtcp.fileno() == -1
    with pytest.raises(PortsExhausted):
        pool.take(1, 100 + QUARANTINE_S - 0.1)
    taken += pool.take(1, 100 + QUARANTINE_S)


@pytest.mark.parametrize("offset", [0, 1])
def test_ports_other_programs_hold_are_passed_over(
    first: int, taken: list[PortPair], offset: int
) -> None:
    pool = RtpPortPool("127.0.0.1", first, first + 3)
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as other:
        other.bind(("127.0.0.1", first + offset))
        taken += pool.take(1, 0)
        assert taken[0].port == first + 2
        with pytest.raises(PortsExhausted):
            pool.take(1, 0)
    taken += pool.take(1, 0)
    assert taken[1].port == first


def test_ports_come_in_no_order_one_could_guess() -> None:
    orders = set()
    for _ in range(3):
        pairs = RtpPortPool("127.0.0.1", 30_000, 60_000).take(8, 0)
        orders.add(tuple(pair.port for pair in pairs))
        for pair in pairs:
            pair.close()
    assert len(orders) == 3


def test_ipv6(taken: list[PortPair]) -> None:
    taken += RtpPortPool("::1", 30_000, 60_000).take(1, 0)
    assert taken[0].rtp.getsockname()[:2] == ("::1", taken[0].port)
