"""Streams and their columns."""

import socket
from collections.abc import Callable, Iterator

import pytest

from media.spec import StreamReport, StreamSpec
from media.stream import MediaStream, StreamTable
from tests.media.datagrams import datagram, parsed

CNAME = b"0123456789abcdef"
Make = Callable[..., MediaStream]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes streams with sockets of their own."""
    made: list[MediaStream] = []

    def one(
        stream_id: str = "a", formats: dict[int, str] | None = None, **kwargs: object
    ) -> MediaStream:
        spec = StreamSpec(stream_id, "1", formats or {0: "PCMU"}, **kwargs)  # type: ignore[arg-type]
        rtp, rtcp = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        made.append(MediaStream(spec, len(made), 3, rtp, rtcp))
        return made[-1]

    yield one
    for stream in made:
        stream.close()


def accepted(table: StreamTable, stream: MediaStream) -> set[int]:
    return {kind for kind in range(128) if table.columns["accepts"][stream.slot, kind]}


def test_slots_are_distinct_and_used_again(make: Make) -> None:
    table = StreamTable()
    streams = [make(str(n)) for n in range(300)]
    for stream in streams:
        table.add(stream, CNAME, 1)
    assert len({stream.slot for stream in streams}) == 300
    assert {s.slot: s for s in streams} == table.streams
    assert [table.columns["index"][s.slot] for s in streams] == list(range(300))
    gone = streams[17]
    table.remove(gone)
    assert table.columns["report_due_ns"][gone.slot] == 0
    again = make("again")
    table.add(again, CNAME, 1)
    assert again.slot == gone.slot


def test_a_slot_used_again_remembers_nothing(make: Make) -> None:
    table, first, second = StreamTable(), make("a", {8: "PCMA"}), make("b")
    table.add(first, CNAME, 1)
    batch = parsed([datagram(5)], [first.slot])
    table.stats.count(batch, batch.valid)
    assert table.report(first).packets == 1
    table.remove(first)
    table.add(second, CNAME, 1)
    assert table.report(second) == StreamReport("b")
    assert accepted(table, second) == {0}


def test_only_negotiated_payload_types_and_never_rtcp(make: Make) -> None:
    table = StreamTable()
    stream = make("a", {0: "PCMU", 101: "telephone-event", 72: "PCMA", 128: "PCMA", -1: "PCMA"})
    table.add(stream, CNAME, 1)
    assert accepted(table, stream) == {0, 101}
    table.change(stream, StreamSpec("a", "1", {8: "PCMA", 127: "CN"}))
    assert accepted(table, stream) == {8, 127}


def test_a_report_is_in_milliseconds(make: Make) -> None:
    table, stream = StreamTable(), make("a")
    table.add(stream, CNAME, 1)
    sent = [datagram(n, b"x" * 160, timestamp=0, ssrc=77) for n in (1, 4)]
    batch = parsed([*sent, b"keepalive"], [stream.slot] * 3, [0, 32_000_000, 0])
    table.stats.count(batch, batch.valid)
    assert table.report(stream) == StreamReport(
        "a", 2, 320, lost=2, discarded=1, jitter_ms=2.0, ssrc=77, last_arrival_ns=32_000_000
    )


def test_where_receiver_reports_go(make: Make) -> None:
    stream = make("a")
    assert stream.rtcp_destination is None
    stream.rtcp_source = ("192.0.2.9", 4_000)
    assert stream.rtcp_destination == ("192.0.2.9", 4_000)
    told = make("b", rtcp_host="192.0.2.1", rtcp_port=5_001)
    told.rtcp_source = ("192.0.2.9", 4_000)
    assert told.rtcp_destination == ("192.0.2.1", 5_001)
    assert make("c", rtcp_host="2001:db8::1", rtcp_port=1).rtcp_destination == ("2001:db8::1", 1)


@pytest.mark.parametrize(("host", "port"), [("pbx.example.com", 5_001), ("192.0.2.1", 0)])
def test_a_name_is_no_destination(make: Make, host: str, port: int) -> None:
    assert make("a", rtcp_host=host, rtcp_port=port).rtcp_destination is None
