"""Statistics of whole batches against RFC 3550 A.1, A.3 and A.8 done packet by packet."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import rtcp
from media.rtcp import ReceptionStats
from tests.media.datagrams import datagram, parsed, sender_report

MS = 1_000_000
START_NS = 1_790_000_000_000_000_000


@dataclass(frozen=True)
class Arrival:
    sequence_number: int
    stream: int = 0
    ssrc: int = 1
    timestamp: int = 0
    at_ms: int = 0

    def datagram(self) -> bytes:
        return datagram(self.sequence_number, b"12345", timestamp=self.timestamp, ssrc=self.ssrc)


@dataclass
class Oracle:
    """One stream, one packet at a time, in the words of RFC 3550."""

    ssrc: int | None = None
    base: int = 0
    max_seq: int = 0
    cycles: int = 0
    received: int = 0
    seen: set[int] = field(default_factory=set)
    repeats: int = 0
    duplicates: int = 0
    lost_before: int = 0
    candidate: tuple[int, int] | None = None
    jitter: float = 0.0
    transit: int = 0

    @property
    def expected(self) -> int:
        return self.cycles + self.max_seq - self.base + 1

    @property
    def lost(self) -> int:
        return self.lost_before + self.missing

    @property
    def missing(self) -> int:
        return max(0, self.expected - (self.received - self.repeats)) if self.ssrc else 0

    def take(self, packet: Arrival) -> None:
        number = packet.sequence_number
        ahead = (number - self.max_seq) & 0xFFFF
        if self.ssrc is None:
            self.begin(packet, 1)
        elif self.ssrc == packet.ssrc and ahead < 3_000:
            self.cycles += 0x10000 if number < self.max_seq else 0
            self.max_seq = number
            self.again(self.cycles + number)
            self.time(packet)
        elif self.ssrc == packet.ssrc and ahead > 0x10000 - 100:
            extended = self.cycles + self.max_seq - (0x10000 - ahead)
            self.again(extended if 0x10000 - ahead < 64 else None)
            self.time(packet)
        elif self.candidate == (packet.ssrc, number):
            self.lost_before += self.missing
            self.begin(packet, 2)
        else:
            self.candidate = (packet.ssrc, (number + 1) & 0xFFFF)

    def begin(self, packet: Arrival, packets: int) -> None:
        number = packet.sequence_number
        self.ssrc, self.max_seq, self.received = packet.ssrc, number, packets
        self.base = (number + 1 - packets) & 0xFFFF
        self.cycles = 0x10000 if self.base > number else 0
        self.seen = {self.cycles + number - i for i in range(packets)}
        self.repeats, self.jitter, self.candidate = 0, 0.0, None
        self.transit = self.transit_of(packet)

    def again(self, extended: int | None) -> None:
        self.received += 1
        if extended is not None and extended in self.seen:
            self.repeats += 1
            self.duplicates += 1
        self.seen.add(extended or 0)

    def transit_of(self, packet: Arrival) -> int:
        return (START_NS // 125_000 + packet.at_ms * 8 - packet.timestamp) & 0xFFFFFFFF

    def time(self, packet: Arrival) -> None:
        transit = self.transit_of(packet)
        change = (transit - self.transit + 0x80000000) % 0x100000000 - 0x80000000
        self.jitter += (abs(change) - self.jitter) / 16
        self.transit = transit


def feed(stats: ReceptionStats, arrivals: Sequence[Arrival]) -> None:
    """Count one batch; rows of a stream are put together, in their order."""
    rows = sorted(arrivals, key=lambda a: a.stream)
    batch = parsed(
        [a.datagram() for a in rows],
        [a.stream for a in rows],
        [START_NS + a.at_ms * MS for a in rows],
    )
    stats.count(batch, batch.valid)


steps = st.one_of(
    st.just(1),
    st.integers(-80, 80),
    st.sampled_from([0, 2, 63, 64, 65, -63, -64, -99, -100, 2_999, 3_000, 3_001, 30_000]),
)
stretches = st.lists(
    st.tuples(
        steps,
        st.integers(1, 30),
        st.integers(0, 2),
        st.sampled_from([1, 1, 1, 2]),
        st.integers(-400, 400),
    ),
    max_size=20,
)
"""A step of the sequence number, the packets that follow it in order, stream, SSRC, drift."""


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 65_535), stretches, st.lists(st.integers(1, 60), min_size=20, max_size=20))
def test_batches_count_as_packets_one_by_one(
    first: int, moves: list[tuple[int, int, int, int, int]], sizes: list[int]
) -> None:
    numbers = {0: first, 1: 65_530, 2: 0}
    packets: list[Arrival] = []
    for step, count, stream, ssrc, drift in moves:
        numbers[stream] += step - 1
        for each in range(count):
            numbers[stream] += 1
            stamp = (2**32 - 320 + numbers[stream] * 160 + drift * (each % 3)) & 0xFFFFFFFF
            number = numbers[stream] & 0xFFFF
            packets.append(Arrival(number, stream, ssrc, stamp, len(packets) * 7))
    stats, oracles = ReceptionStats(4), [Oracle() for _ in range(3)]
    for packet in packets:
        oracles[packet.stream].take(packet)
    for size in [*sizes, len(packets)]:
        feed(stats, packets[:size])
        packets = packets[size:]
    for oracle, source in zip(oracles, stats.sources, strict=False):
        assert source["heard"] == (oracle.ssrc is not None)
        assert rtcp.lost(source.reshape(1))[0] == oracle.lost
        assert source["duplicates"] == oracle.duplicates
        assert source["received"] == oracle.received
        if oracle.ssrc is not None:
            assert source["ssrc"] == oracle.ssrc
            assert source["cycles"] + source["max_seq"] - source["base"] + 1 == oracle.expected
            assert source["jitter"] == pytest.approx(oracle.jitter, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(("size", "total"), [(1, 400), (20, 20_000), (90, 1_000)])
def test_loss_over_a_wrap_is_exact(size: int, total: int) -> None:
    first = 50_000 if total > 1_000 else 65_300
    kept = [n for n in range(total) if n % 50 not in (3, 4)]
    stats = ReceptionStats(1)
    for begin in range(0, len(kept), size):
        feed(stats, [Arrival((first + n) & 0xFFFF) for n in kept[begin : begin + size]])
    assert rtcp.lost(stats.sources).tolist() == [total - len(kept)]
    assert stats.sources["received"].tolist() == [len(kept)]


def test_sequence_numbers_may_go_round_twice() -> None:
    stats, numbers = ReceptionStats(1), range(65_000, 200_000, 2_500)
    for begin in range(0, len(numbers), 7):
        feed(stats, [Arrival(n & 0xFFFF) for n in numbers[begin : begin + 7]])
    assert rtcp.lost(stats.sources).tolist() == [numbers[-1] + 1 - numbers[0] - len(numbers)]
    assert stats.sources["cycles"].tolist() == [0x30000]


def test_every_packet_twice_is_no_loss_and_as_many_duplicates() -> None:
    stats = ReceptionStats(1)
    feed(stats, [Arrival(n // 2) for n in range(200) if n // 2 != 50])
    assert stats.sources["duplicates"].tolist() == [99]
    assert rtcp.lost(stats.sources).tolist() == [1]


def test_a_new_source_keeps_the_totals_of_the_stream() -> None:
    stats = ReceptionStats(1)
    feed(stats, [Arrival(n) for n in (1, 2, 4)])
    feed(stats, [Arrival(n, ssrc=9) for n in (60_000, 60_001, 60_002)])
    assert stats.sources["ssrc"].tolist() == [9]
    assert rtcp.lost(stats.sources).tolist() == [1]
    assert stats.sources["packets"].tolist() == [6]
    assert stats.sources["octets"].tolist() == [30]
    assert stats.sources["received"].tolist() == [3]


def test_a_stray_packet_of_another_source_changes_nothing() -> None:
    stats = ReceptionStats(1)
    feed(stats, [Arrival(1), Arrival(2), Arrival(77, ssrc=9), Arrival(3)])
    assert stats.sources["ssrc"].tolist() == [1]
    assert rtcp.lost(stats.sources).tolist() == [0]
    assert stats.sources["packets"].tolist() == [4]


def test_what_is_not_accepted_is_discarded_and_counted() -> None:
    stats = ReceptionStats(2)
    batch = parsed([datagram(1), b"stun", datagram(2)], [0, 0, 1])
    stats.count(batch, batch.valid & (batch.stream == 1))
    assert stats.sources["discarded"].tolist() == [2, 0]
    assert stats.sources["packets"].tolist() == [0, 1]


def test_a_slot_can_be_used_again_and_more_be_added() -> None:
    stats = ReceptionStats(1)
    feed(stats, [Arrival(1), Arrival(5)])
    stats.grow(3)
    feed(stats, [Arrival(6), Arrival(7, stream=2)])
    assert rtcp.lost(stats.sources).tolist() == [3, 0, 0]
    stats.clear(0)
    assert stats.sources["packets"].tolist() == [0, 0, 1]
    assert rtcp.lost(stats.sources).tolist() == [0, 0, 0]


def reports(stats: ReceptionStats, now_ns: int = 0, slots: int = 1) -> list[bytes]:
    return rtcp.receiver_reports(
        stats,
        np.arange(slots),
        np.arange(slots, dtype=np.uint32) + 0xABCD,
        np.array([b"0123456789abcdef"] * slots, "S16"),
        now_ns,
    )


SDES = struct.pack("!BBHI", 0x81, 202, 6, 0xABCD) + b"\x01\x10" + b"0123456789abcdef" + bytes(2)


def test_before_any_rtp_the_report_is_empty() -> None:
    assert reports(ReceptionStats(1)) == [struct.pack("!BBHI", 0x80, 201, 1, 0xABCD) + SDES]


def block(report: bytes) -> tuple[int, ...]:
    """ssrc, fraction, cumulative lost, highest, jitter, LSR, DLSR of the one block."""
    assert report[:8] == struct.pack("!BBHI", 0x81, 201, 7, 0xABCD)
    assert report[32:] == SDES
    ssrc, lost, highest, jitter, lsr, dlsr = struct.unpack("!IIIIII", report[8:32])
    return ssrc, lost >> 24, ((lost & 0xFFFFFF) ^ 0x800000) - 0x800000, highest, jitter, lsr, dlsr


def test_a_report_block_says_loss_since_the_last_one_and_in_all() -> None:
    stats = ReceptionStats(1)
    feed(stats, [Arrival(65_530 + n) for n in range(6)])
    assert block(reports(stats)[0]) == (1, 0, 0, 65_535, 0, 0, 0)
    feed(stats, [Arrival(n) for n in (0, 1, 3, 4, 5, 7)])
    assert block(reports(stats)[0]) == (1, 64, 2, 0x10007, 0, 0, 0)
    assert block(reports(stats)[0])[1:3] == (0, 2)


def test_duplicates_make_the_cumulative_loss_negative() -> None:
    stats = ReceptionStats(1)
    feed(stats, [Arrival(1)] * 5)
    assert block(reports(stats)[0])[1:4] == (0, -4, 1)


def test_the_cumulative_loss_stays_within_24_bits() -> None:
    stats = ReceptionStats(1)
    feed(stats, [Arrival(1)])
    stats.sources["cycles"] = 1 << 25
    assert block(reports(stats)[0])[1:3] == (255, 0x7FFFFF)
    stats.sources["cycles"], stats.sources["received"] = 0, 1 << 25
    assert block(reports(stats)[0])[1:3] == (0, -0x800000)


def test_a_report_names_the_last_sender_report_of_its_source() -> None:
    stats = ReceptionStats(1)
    feed(stats, [Arrival(1, ssrc=7)])
    stats.hear(0, 8, 0x11223344, 1_000 * MS)
    assert block(reports(stats, 2_000 * MS)[0])[5:] == (0, 0)
    stats.hear(0, 7, 0x11223344, 1_000 * MS)
    assert block(reports(stats, 2_500 * MS)[0])[5:] == (0x11223344, 0x18000)


def test_reports_are_each_streams_own() -> None:
    stats = ReceptionStats(3)
    feed(stats, [Arrival(1), Arrival(9, stream=2, ssrc=5)])
    first, second, third = reports(stats, slots=3)
    assert (len(first), len(second), len(third)) == (60, 36, 60)
    assert [each[4:8] for each in (first, second, third)] == [
        struct.pack("!I", 0xABCD + n) for n in range(3)
    ]
    assert struct.unpack_from("!I", third, 8) == (5,)


def test_jitter_is_told_in_timestamp_units() -> None:
    stats = ReceptionStats(1)
    feed(stats, [Arrival(1, at_ms=0), Arrival(2, at_ms=36, timestamp=160)])
    assert stats.sources["jitter"].tolist() == [8.0]
    assert block(reports(stats)[0])[4] == 8


def test_sender_reports_are_found_in_compound_packets() -> None:
    sdes = struct.pack("!BBHI", 0x81, 202, 1, 7)
    bye = struct.pack("!BBHI", 0x81, 203, 1, 7)
    found = rtcp.sender_reports(
        sender_report(7, 0x1111222233334444) + sdes + bye + sender_report(8, 5 << 16, blocks=2)
    )
    assert found == [(7, 0x22223333), (8, 5)]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x80\xc8",
        sender_report(7, 1)[:27],
        struct.pack("!BBHI", 0x80, 200, 65_535, 7) + bytes(1_000),
        struct.pack("!BBHI", 0x80, 200, 1, 7) + bytes(20),
        struct.pack("!BBHI", 0x40, 200, 6, 7) + bytes(20),
        struct.pack("!BBHI", 0x81, 203, 1, 7),
        struct.pack("!BBHI", 0x80, 207, 1, 7),
    ],
    ids=["empty", "2 octets", "cut", "length", "too short for SR", "version", "BYE", "XR"],
)
def test_what_is_no_sender_report_says_nothing(damaged: bytes) -> None:
    assert rtcp.sender_reports(damaged) == []
    assert rtcp.sender_reports(sender_report(3, 0x1_0000) + damaged) == [(3, 1)]


@given(st.binary(max_size=300))
def test_no_datagram_upsets_the_reader(data: bytes) -> None:
    for ssrc, ntp in rtcp.sender_reports(data):
        assert 0 <= ssrc < 2**32
        assert 0 <= ntp < 2**32
