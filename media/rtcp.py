"""Reception statistics and receiver reports for all streams at once (RFC 3550 6, A.1, A.3, A.8).

Columns over streams instead of objects: a batch is worked off in as many steps as its busiest
stream has packets, however many streams there are. Sends nothing; `media.reporter` does.
"""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from media.rtp import PacketBatch, runs

CLOCK_HZ = 8_000
"""RTP clock of every format taken so far (RFC 3551 6)."""
MAX_DROPOUT = 3_000
MAX_MISORDER = 100
CNAME_OCTETS = 16
"""Length of our CNAMEs: 96 random bits in base64 (RFC 7022 4.2)."""
INTERVAL_S = 5.0
"""Mean time between two reports of a stream (RFC 3550 6.2)."""

_SEEN = 64
_LONGEST_RUN = 20
"""So few packets, each less than `MAX_DROPOUT` ahead, cannot go round the sequence numbers."""
_WEIGHTS = (15 / 16) ** np.arange(_LONGEST_RUN + 1) / 16
_SENDER_REPORT = 200

SOURCE = np.dtype(
    [
        ("packets", "i8"),
        ("octets", "i8"),
        ("discarded", "i8"),
        ("duplicates", "i8"),
        ("lost_before", "i8"),
        ("last_arrival_ns", "i8"),
        ("seen", "u8"),
        ("cycles", "i8"),
        ("received", "i8"),
        ("repeats", "i8"),
        ("expected_prior", "i8"),
        ("received_prior", "i8"),
        ("jitter", "f8"),
        ("report_ntp", "u4"),
        ("report_ssrc", "u4"),
        ("report_at_ns", "i8"),
        ("ssrc", "u4"),
        ("candidate_ssrc", "u4"),
        ("candidate_sequence", "i4"),
        ("base", "i4"),
        ("max_seq", "i4"),
        ("transit", "u4"),
        ("heard", "?"),
    ]
)
"""One stream. `packets` to `last_arrival_ns` count since the stream was opened, the rest since its
present source began. `seen`: bit k is sequence number `max_seq - k`; `candidate_*`: the packet that
would prove another source or a restart; `report_*`: middle NTP bits and arrival of the last SR."""

Source = NDArray[np.void]
_OPAQUE = np.dtype((np.void, SOURCE.itemsize))


class ReceptionStats:
    """Statistics of `capacity` streams by slot."""

    def __init__(self, capacity: int) -> None:
        self.sources = np.zeros(capacity, SOURCE)

    def grow(self, capacity: int) -> None:
        """Make room for slots up to `capacity`."""
        self.sources = np.concatenate(
            [self.sources, np.zeros(capacity - len(self.sources), SOURCE)]
        )

    def clear(self, slot: int) -> None:
        """Begin anew with the slot."""
        self.sources[slot] = np.zeros((), SOURCE)

    def count(self, batch: PacketBatch, accepted: NDArray[np.bool_]) -> None:
        """Count the rows of a batch, of which `accepted` (bool[n]) are RTP of their stream."""
        if not accepted.all():
            refused = np.bincount(batch.stream[~accepted], minlength=len(self.sources))
            self.sources["discarded"] += refused
            batch = batch.take(accepted)
        self._follow(batch)

    def _follow(self, batch: PacketBatch) -> None:
        """Advance the sources: whole runs where they are in order, packet by packet elsewhere."""
        starts, counts = runs(batch.stream)
        steady = self._steady(batch, starts, counts)
        if steady.all():
            self._put(batch, starts, _advance_runs(self._get(batch, starts), batch, starts, counts))
            return
        if steady.any():
            self._follow(batch.take(np.repeat(steady, counts)))
            batch = batch.take(~np.repeat(steady, counts))
        for rows in _ranks(*runs(batch.stream)):
            self._put(batch, rows, _advance(self._get(batch, rows), batch, rows))

    def _get(self, batch: PacketBatch, rows: NDArray[np.intp]) -> Source:
        """Copy of the sources of some rows; taken as opaque octets, which is far quicker."""
        return self.sources.view(_OPAQUE)[batch.stream[rows]].view(SOURCE)

    def _put(self, batch: PacketBatch, rows: NDArray[np.intp], source: Source) -> None:
        self.sources.view(_OPAQUE)[batch.stream[rows]] = source.view(_OPAQUE)

    def _steady(
        self, batch: PacketBatch, starts: NDArray[np.intp], counts: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Which runs go on with the same source and ascend without a jump: bool[len(starts)]."""
        source = self._get(batch, starts)
        before = np.empty_like(batch.sequence_number)
        before[1:] = batch.sequence_number[:-1]
        before[starts] = source["max_seq"]
        ascends = batch.sequence_number - before - np.uint16(1) < MAX_DROPOUT - 1
        ascends &= batch.ssrc == np.repeat(source["ssrc"], counts)
        heard: NDArray[np.bool_] = source["heard"]
        if not len(starts):
            return heard
        return np.logical_and.reduceat(ascends, starts) & heard & (counts <= _LONGEST_RUN)

    def hear(self, slot: int, ssrc: int, ntp: int, arrival_ns: int) -> None:
        """Take note of a sender report: `ntp` is the middle 32 bits of its NTP time stamp."""
        source = self.sources[slot]
        source["report_ssrc"], source["report_ntp"] = ssrc, ntp
        source["report_at_ns"] = arrival_ns


def lost(source: Source) -> NDArray[np.int64]:
    """Packets missing of each stream (SOURCE[n]) since it was opened: int64[n], never negative."""
    before: NDArray[np.int64] = source["lost_before"]
    return before + _missing(source)


def _ranks(starts: NDArray[np.intp], counts: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Row numbers so that each step holds a stream at most once, in row order."""
    for rank in range(int(counts.max(initial=0))):
        yield starts[counts > rank] + rank


def _expected(source: Source) -> NDArray[np.int64]:
    highest: NDArray[np.int64] = source["cycles"] + source["max_seq"]
    expected: NDArray[np.int64] = (highest - source["base"] + 1) * source["heard"]
    return expected


def _missing(source: Source) -> NDArray[np.int64]:
    """Expected minus distinct packets of the present source."""
    distinct: NDArray[np.int64] = source["received"] - source["repeats"]
    missing: NDArray[np.int64] = np.maximum(_expected(source) - distinct, 0)
    return missing


def _advance_runs(
    source: Source, batch: PacketBatch, starts: NDArray[np.intp], counts: NDArray[np.intp]
) -> Source:
    """Let a steady run of packets of each source (SOURCE[n], changed in place) take effect.

    The jitter filter of A.8 over a run is a sum with weights that are powers of 15/16.
    """
    if not len(starts):
        return source
    ends = starts + counts - 1
    source["packets"] += counts
    source["octets"] += np.add.reduceat(batch.payload_length, starts)
    sequence = batch.sequence_number
    last = sequence[ends]
    behind = np.repeat(last, counts) - sequence
    step = (last - source["max_seq"].astype(np.uint16)).astype(np.uint64)
    bits = np.where(behind < _SEEN, np.uint64(1) << np.minimum(behind, _SEEN - 1), np.uint64(0))
    seen = np.where(step < _SEEN, source["seen"] << np.minimum(step, _SEEN - 1), 0)
    source["seen"] = seen | np.bitwise_or.reduceat(bits, starts)
    source["cycles"] += np.where(last < source["max_seq"], 0x10000, 0)
    source["max_seq"] = last
    source["received"] += counts
    transit = _clock(batch.arrival_ns) - batch.timestamp
    change = _change(transit, np.concatenate([transit[:1], transit[:-1]]))
    change[starts] = _change(transit[starts], source["transit"])
    weight = _WEIGHTS[np.repeat(ends, counts) - np.arange(len(sequence))]
    source["jitter"] *= 16 * _WEIGHTS[counts]
    source["jitter"] += np.add.reduceat(weight * change, starts)
    source["transit"] = transit[ends]
    source["last_arrival_ns"] = batch.arrival_ns[ends]
    return source


def _advance(source: Source, batch: PacketBatch, rows: NDArray[np.intp]) -> Source:
    """Let one packet of each source (SOURCE[n], changed in place) take effect.

    As RFC 3550 A.1, but the two packets that prove a source both count, the first source of a
    stream is believed at once (its ports were negotiated), and another SSRC has to prove itself
    like a jump of the sequence number.
    """
    source["packets"] += 1
    source["octets"] += batch.payload_length[rows]
    ssrc, sequence = batch.ssrc[rows], batch.sequence_number[rows].astype(np.int32)
    same = source["heard"] & (source["ssrc"] == ssrc)
    ahead = (sequence - source["max_seq"]) & 0xFFFF
    forward = same & (ahead < MAX_DROPOUT)
    late = same & (ahead > 0x10000 - MAX_MISORDER)
    proven = (
        ~(forward | late)
        & (source["candidate_ssrc"] == ssrc)
        & (source["candidate_sequence"] == sequence)
        & source["heard"]
    )
    begun = proven | ~source["heard"]
    _follow(source, forward, ahead, sequence)
    _fill_in(source, late, 0x10000 - ahead)
    strange = ~(forward | late | begun)
    if strange.any():
        source["candidate_ssrc"][strange] = ssrc[strange]
        source["candidate_sequence"][strange] = sequence[strange] + 1 & 0xFFFF
    if begun.any():
        source[begun] = _begin(source[begun], ssrc[begun], sequence[begun])
    _time(source, batch.arrival_ns[rows], batch.timestamp[rows], ~strange, begun)
    return source


def _follow(
    source: Source,
    forward: NDArray[np.bool_],
    ahead: NDArray[np.int32],
    sequence: NDArray[np.int32],
) -> None:
    """The next packet, or one after a loss, or the last one again."""
    again = forward & (ahead == 0)
    source["cycles"] += np.where(forward & (sequence < source["max_seq"]), 0x10000, 0)
    source["max_seq"] = np.where(forward, sequence, source["max_seq"])
    step = np.where(forward, np.minimum(ahead, _SEEN - 1), 0).astype(np.uint64)
    seen = np.where(ahead < _SEEN, source["seen"] << step, 0)
    source["seen"] = np.where(forward, seen | 1, source["seen"])
    source["received"] += forward
    source["repeats"] += again
    source["duplicates"] += again


def _fill_in(source: Source, late: NDArray[np.bool_], behind: NDArray[np.int32]) -> None:
    """A packet older than the newest: reordered, or again; told apart for the last 64."""
    if not late.any():
        return
    bit = np.uint64(1) << np.minimum(behind, _SEEN - 1).astype(np.uint64)
    recent = late & (behind < _SEEN)
    again = recent & (source["seen"] & bit != 0)
    source["seen"] = np.where(recent, source["seen"] | bit, source["seen"])
    source["received"] += late
    source["repeats"] += again
    source["duplicates"] += again


def _begin(source: Source, ssrc: NDArray[np.uint32], sequence: NDArray[np.int32]) -> Source:
    """Sources that start over: their first packet, or the second of two that proved them."""
    packets = 1 + source["heard"].astype(np.int64)
    base = (sequence + 1 - packets) & 0xFFFF
    source["lost_before"] += _missing(source)
    source["received"], source["seen"] = packets, 2 ** packets.astype(np.uint64) - 1
    source["ssrc"], source["max_seq"], source["base"] = ssrc, sequence, base
    source["cycles"] = np.where(base > sequence, 0x10000, 0)
    source["candidate_sequence"] = -1
    source["heard"] = True
    for name in ("repeats", "expected_prior", "received_prior", "jitter"):
        source[name] = 0
    return source


def _time(
    source: Source,
    arrival_ns: NDArray[np.int64],
    timestamp: NDArray[np.uint32],
    counted: NDArray[np.bool_],
    begun: NDArray[np.bool_],
) -> None:
    """Arrival time and interarrival jitter in timestamp units (RFC 3550 A.8)."""
    transit = _clock(arrival_ns) - timestamp
    change = _change(transit, source["transit"])
    steady = counted & ~begun
    source["jitter"] += np.where(steady, (change - source["jitter"]) / 16, 0)
    source["transit"] = np.where(counted, transit, source["transit"])
    source["last_arrival_ns"] = arrival_ns


def _clock(arrival_ns: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Arrival times in timestamp units."""
    return (arrival_ns // (1_000_000_000 // CLOCK_HZ)).astype(np.uint32)


def _change(transit: NDArray[np.uint32], before: NDArray[np.uint32]) -> NDArray[np.float64]:
    """By how much two relative transit times differ, in timestamp units."""
    return np.abs((transit - before).view(np.int32).astype(np.float64))


_SDES = [
    ("sdes", "u1", 4),
    ("chunk_ssrc", ">u4"),
    ("item", "u1", 2),
    ("cname", f"S{CNAME_OCTETS}"),
    ("end", "u1", 2),
]
_EMPTY_REPORT = np.dtype([("report", "u1", 4), ("ssrc", ">u4"), *_SDES])
_REPORT = np.dtype(
    [
        ("report", "u1", 4),
        ("ssrc", ">u4"),
        ("source", ">u4"),
        ("fraction", "u1"),
        ("lost", "u1", 3),
        ("highest", ">u4"),
        ("jitter", ">u4"),
        ("lsr", ">u4"),
        ("dlsr", ">u4"),
        *_SDES,
    ]
)


def receiver_reports(
    stats: ReceptionStats,
    slots: NDArray[np.intp],
    own_ssrc: NDArray[np.uint32],
    cname: NDArray[np.bytes_],
    now_ns: int,
) -> list[bytes]:
    """One compound packet, RR and SDES CNAME, for each of `slots` (RFC 3550 6.4.2, 6.5.1).

    `own_ssrc`: uint32[n], `cname`: S16[n]; `now_ns`: the clock of `ReceptionStats.hear`. A stream
    nothing was heard of gets a report without a block. Begins the next report interval.
    """
    source = stats.sources[slots]
    report = np.zeros(len(slots), _REPORT)
    report["report"] = (0x81, 201, 0, 7)
    report["ssrc"] = report["chunk_ssrc"] = own_ssrc
    report["sdes"] = (0x81, 202, 0, 6)
    report["item"] = (1, CNAME_OCTETS)
    report["cname"] = cname
    _fill_blocks(report, source, now_ns)
    empty = np.zeros(len(slots), _EMPTY_REPORT)
    for name in _EMPTY_REPORT.names or ():
        empty[name] = report[name]
    empty["report"] = (0x80, 201, 0, 1)
    stats.sources["expected_prior"][slots] = _expected(source)
    stats.sources["received_prior"][slots] = source["received"]
    heard = source["heard"].tolist()
    return [(report if heard[i] else empty)[i].tobytes() for i in range(len(slots))]


def _fill_blocks(report: NDArray[np.void], source: Source, now_ns: int) -> None:
    """The report blocks (RFC 3550 6.4.1, A.3)."""
    expected = _expected(source)
    interval = expected - source["expected_prior"]
    missing = interval - (source["received"] - source["received_prior"])
    fraction = np.clip(missing, 0, None) * 256 // np.maximum(interval, 1)
    report["source"] = source["ssrc"]
    report["fraction"] = np.minimum(fraction, 255)
    total = np.clip(expected - source["received"], -0x800000, 0x7FFFFF).astype(">i4")
    report["lost"] = total.view("u1").reshape(-1, 4)[:, 1:]
    report["highest"] = (source["cycles"] + source["max_seq"]) & 0xFFFFFFFF
    report["jitter"] = source["jitter"].astype(np.int64) & 0xFFFFFFFF
    known = (source["report_at_ns"] > 0) & (source["report_ssrc"] == source["ssrc"])
    since = (now_ns - source["report_at_ns"]) * 65_536 // 1_000_000_000
    report["lsr"] = np.where(known, source["report_ntp"], 0)
    report["dlsr"] = np.where(known, since & 0xFFFFFFFF, 0)


def sender_reports(datagram: bytes) -> list[tuple[int, int]]:
    """SSRC and middle NTP bits of each sender report in a compound packet (RFC 3550 6.4.1).

    Whatever is wrong with a datagram, the packets before the fault are read and the rest is not;
    BYE, SDES, APP and anything else have no effect on a recording.
    """
    found = []
    at = 0
    while at + 8 <= len(datagram):
        flags, kind, words, ssrc = struct.unpack_from("!BBHI", datagram, at)
        after = at + 4 * (words + 1)
        if flags >> 6 != 2 or after > len(datagram):
            break
        if kind == _SENDER_REPORT and after - at >= 28:
            found.append((ssrc, int.from_bytes(datagram[at + 10 : at + 14], "big")))
        at = after
    return found
