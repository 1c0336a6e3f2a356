"""One RTP source: packets as they arrived -> stretches in sequence order, on one clock each.

Sequence numbers put reordered packets right, find duplicates and count what is missing (RFC 3550
A.1, A.3); timestamps say when each packet plays. A stretch (`Segment`) ends where the timestamp
jumps: where its step agrees neither with the sequence numbers nor with the arrival times, or where
arrival falls behind it for good, as with a clock that stood still during a hold. Where segments go
on the recording's line is the business of `media.track`.

Everything here counts in ticks of the 8 kHz RTP clock of G.711 and is vectorised over packets.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

DISAGREEMENT = 4_000
"""Half a second: more than jitter and reordering explain."""
PERSISTENCE = 3_000
"""Packets (60 s of 20 ms) within which a burst after a stall has caught up."""
MAX_JUMPS = 1_000
"""A source with more has no clock to speak of."""
MAX_HELD = 10_000
"""A clock that stands still in each pause of speech does so once in some seconds, for hours."""
MAX_DROPOUT = 3_000
"""Missing sequence numbers beyond which a source has restarted (RFC 3550 A.1)."""
MIN_STEPS = 8
"""Packets needed to judge a clock by."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The packets of one source, in the order they were received."""

    sequence_number: NDArray[np.uint16]
    timestamp: NDArray[np.uint32]
    position: Ints
    """Arrival in samples since the start of the recording."""
    size: Ints
    """Samples each packet holds; 0 if it is not audio."""
    audio: Flags
    """False for telephone events and comfort noise."""
    epoch: Ints
    """Pauses begun before the packet: nothing is missing between two epochs."""

    def take(self, rows: Ints | slice) -> "Arrivals":
        """The given rows, in the given order."""
        return Arrivals(
            self.sequence_number[rows],
            self.timestamp[rows],
            self.position[rows],
            self.size[rows],
            self.audio[rows],
            self.epoch[rows],
        )


@dataclass(frozen=True, slots=True)
class Segment:
    """The distinct audio packets of one stretch, in sequence order."""

    rows: Ints
    """Indices into the source's arrivals."""
    arrivals: Arrivals
    """Those rows."""
    times: Ints
    """Samples since the first packet, by timestamp."""
    bridged: Flags
    """Up to the next packet nothing is missing: events or comfort noise were sent instead."""
    lost: int
    duplicates: int


def unwrap(counter: NDArray[np.uint16] | NDArray[np.uint32]) -> Ints:
    """A wrapping counter as int64[n], each step taken the shorter way round."""
    signed = np.int16 if counter.dtype == np.uint16 else np.int32
    steps = np.diff(counter).view(signed)
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(steps, dtype=np.int64)))


def segments(source: Arrivals) -> tuple[list[Segment], bool]:
    """Split a source (at least one packet) into segments; also whether its clock is plausible.

    Timestamps that stand still, or lead nowhere, are replaced by counting sequence numbers.
    """
    if not source.audio.any():
        return [], True
    heard = source if source.audio.all() else source.take(np.flatnonzero(source.audio))
    plausible = _plausible(heard)
    clock = None if plausible else int(np.median(heard.size))
    edges = _edges(heard, clock)
    if not len(edges):
        return [_segment(source, np.arange(len(source.size)), clock)], plausible
    members = _identities(heard, edges)[np.maximum(np.cumsum(source.audio) - 1, 0)]
    parts = np.cumsum(np.bincount(members))[:-1]
    stretches = np.split(np.argsort(members, kind="stable"), parts)
    stretches = [rows for rows in stretches if source.audio[rows].sum() > 1] or stretches
    return [_segment(source.take(rows), rows, clock) for rows in stretches], plausible


def _steps(heard: Arrivals, clock: int | None) -> tuple[Ints, Ints, Ints, Ints]:
    """Between neighbours: steps of time, sequence and arrival, and the former one's size."""
    sequence = np.diff(heard.sequence_number).view(np.int16).astype(np.int64)
    time = np.diff(heard.timestamp).view(np.int32).astype(np.int64)
    if clock is not None:
        time = sequence * clock
    return time, sequence, np.diff(heard.position), heard.size[:-1]


def _plausible(heard: Arrivals) -> bool:
    """Whether the timestamps mostly advance as packets follow each other, and jump now and then."""
    time, sequence, arrival, size = _steps(heard, None)
    if len(time) < MIN_STEPS:
        return True
    steady = 2 * np.abs(time - size) <= size
    silent = (time > size) & (4 * np.abs(time - arrival) <= time)
    good = (steady | silent)[sequence == 1]
    jumps = np.count_nonzero((np.abs(time - arrival) > DISAGREEMENT) & ~steady)
    return bool(2 * np.count_nonzero(good) >= len(good) and jumps <= min(MAX_JUMPS, len(time) / 2))


def _edges(heard: Arrivals, clock: int | None) -> Ints:
    """Rows that begin a new stretch."""
    time, sequence, arrival, size = _steps(heard, clock)
    behind = arrival - time
    off = np.abs(behind) > DISAGREEMENT
    if not off.any():
        return np.zeros(0, np.int64)
    jump = off & (np.abs(time - sequence * size) > DISAGREEMENT)
    edges: list[int] = [0, *(np.flatnonzero(jump) + 1).tolist(), len(heard.size)]
    lag = np.concatenate((np.zeros(1, np.int64), np.cumsum(behind)))
    for row in (np.flatnonzero(off & ~jump & (behind > 0)) + 1).tolist()[:MAX_HELD]:
        if _held(lag, edges, row):
            insort(edges, row)
    return np.array(edges[1:-1], np.int64)


def _held(lag: Ints, edges: list[int], row: int) -> bool:
    """Whether packets from `row` on stay later than those before it: the clock stood still."""
    at = bisect_right(edges, row)
    before = lag[max(edges[at - 1], row - PERSISTENCE) : row]
    after = lag[row : min(edges[at], row + PERSISTENCE)]
    return bool(after.min() - before.min() > DISAGREEMENT)


def _identities(heard: Arrivals, edges: Ints) -> Ints:
    """int64[n]: the segment of each row. A stretch that goes on where an earlier one, other than
    its neighbour, would be by now belongs to it: what came between was a stray or a straggler.
    """
    begins, ends = [0, *edges.tolist()], [*edges.tolist(), len(heard.size)]
    lasts: list[int] = []
    ids: list[int] = []
    for begin, end in zip(begins, ends, strict=True):
        known = [i for i in range(max(0, len(lasts) - 4), len(lasts)) if i != ids[-1]]
        same = [i for i in known if _goes_on(heard, lasts[i], begin)]
        if not same:
            lasts.append(0)
        ids.append(same[-1] if same else len(lasts) - 1)
        lasts[ids[-1]] = end - 1
    return np.repeat(ids, np.subtract(ends, begins))


def _goes_on(heard: Arrivals, last: int, row: int) -> bool:
    time = int(np.int64(heard.timestamp[row]) - np.int64(heard.timestamp[last]))
    time = (time + 2**31) % 2**32 - 2**31
    return abs(time - int(heard.position[row] - heard.position[last])) <= DISAGREEMENT


def _segment(stretch: Arrivals, rows: Ints, clock: int | None) -> Segment:
    """`stretch` are the arrivals of `rows`, of which there is audio."""
    received = len(rows)
    extended = unwrap(stretch.sequence_number)
    if not (np.diff(extended) > 0).all():
        order = _distinct(stretch, extended, counted=clock is not None)
        extended, stretch, rows = extended[order], stretch.take(order), rows[order]
    audio = np.flatnonzero(stretch.audio)
    heard = stretch if len(audio) == len(rows) else stretch.take(audio)
    times = unwrap(heard.timestamp) if clock is None else extended[audio] * clock
    return Segment(
        rows=rows[audio],
        arrivals=heard,
        times=times - times[0],
        bridged=_bridged(extended, audio),
        lost=_lost(extended, stretch, audio, times),
        duplicates=received - len(rows),
    )


def _distinct(stretch: Arrivals, extended: Ints, *, counted: bool) -> Ints:
    """Rows in sequence order, of duplicates the first. A number that comes again with another
    timestamp is not a duplicate but a sender that counts anew, unless its timestamps are worthless
    and the numbers counted instead.
    """
    order = np.argsort(extended, kind="stable")
    again = np.diff(extended[order]) == 0
    again &= np.diff(stretch.audio[order]) == 0
    if not counted:
        again &= np.diff(stretch.timestamp[order]) == 0
    distinct: Ints = order[np.append(True, ~again)]
    return distinct


def _bridged(extended: Ints, audio: Ints) -> Flags:
    between = np.diff(audio)
    whole = (between > 1) & (np.diff(extended[audio]) == between)
    return np.append(whole, False)


def _lost(extended: Ints, kept: Arrivals, audio: Ints, times: Ints) -> int:
    """Missing sequence numbers, except where the clock leaves no room for them or a pause lay."""
    missing = np.diff(extended) - 1
    holes = np.flatnonzero((missing > 0) & (np.diff(kept.epoch) == 0))
    if not len(holes):
        return 0
    time = np.full(len(extended), np.nan)
    time[audio] = times
    room = time[holes + 1] - time[holes]
    needed = missing[holes] * kept.size[holes]
    counted = np.where(np.isnan(room), missing[holes] < MAX_DROPOUT, needed - room <= DISAGREEMENT)
    return int(missing[holes][counted].sum())
