"""One stream on the recording's line: where each packet of each of its sources plays.

A source begins where its least delayed early packet arrived and then follows its own timestamps.
A new source, or one whose clock jumped, goes on exactly where the one before it stopped if that is
within 40 ms of when it arrived, and never begins earlier. Sources that talk at the same time lie on
different layers, to be added up: with a translator as recording client (RFC 7866 8.1.5, RFC 3550
7.1) they are different people on one m-line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.reorder import DISAGREEMENT, Arrivals, Flags, Ints, Segment, segments

MAX_SOURCES = 32
"""Sources kept of one stream: the ones with the most packets."""
MAX_SEGMENTS = 20_000
"""Beyond, no further source of a stream is looked at."""
ANCHOR = 8_000
"""One second of arrivals decides where a segment begins."""
SNAP = 320
"""40 ms: as far as jitter moves the first packet of a new source."""
YIELD = 800
"""100 ms: how long stragglers of a source that has ended may still come."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Packets that play one after the other, by position."""

    rows: Ints
    """Indices into the rows of the spool."""
    start: Ints
    """Sample position on the recording's line."""
    size: Ints
    """Samples."""

    def take(self, keep: Flags | Ints | slice) -> "Frames":
        """The chosen packets."""
        return Frames(self.rows[keep], self.start[keep], self.size[keep])


@dataclass(frozen=True, slots=True)
class Placed:
    """What the packets of a stream come to."""

    layers: tuple[Frames, ...]
    bridges: Ints
    """int64[n, 2]: from, to: silence the source announced by events or comfort noise."""
    lost: int
    duplicates: int
    warnings: tuple[str, ...]


NOTHING = Placed((), np.zeros((0, 2), np.int64), 0, 0, ())
"""No packets."""


@dataclass(slots=True)
class _Stretch:
    """A segment with its arrivals, on its way to a position."""

    segment: Segment
    rows: Ints
    """Indices into the rows of the spool."""
    start: Ints

    @property
    def first(self) -> int:
        """When it began to arrive."""
        return int(self.segment.arrivals.position.min())

    @property
    def last(self) -> int:
        """When its last packet arrived."""
        return int(self.segment.arrivals.position.max())

    def end(self, arrived: int) -> int:
        """Where it had got to with what had arrived by then (at least one packet)."""
        gone = self.segment.arrivals.position <= arrived
        return int((self.start + self.segment.arrivals.size)[gone].max())

    def rests(self, since: int, until: int) -> bool:
        """Whether it had begun, and nothing of it arrived in that span."""
        at = self.segment.arrivals.position
        return bool((at <= since).any() and not ((at > since) & (at <= until)).any())


def place(stream: Arrivals, ssrc: NDArray[np.uint32], rows: Ints, limit: int) -> Placed:
    """Place the packets of one stream: `ssrc` and `rows` (in the spool) go with its arrivals.

    What would play beyond `limit` (samples) is left out.
    """
    sources, flood = _sources(ssrc)
    stretches: list[_Stretch] = []
    warnings = {"ssrc_flood"} if flood else set()
    lost = duplicates = 0
    for members in sources:
        if len(stretches) > MAX_SEGMENTS:
            warnings.add("timestamps_implausible")
            break
        source = stream.take(members)
        found, plausible = segments(source)
        warnings |= set() if plausible else {"timestamps_implausible"}
        lost += sum(segment.lost for segment in found)
        duplicates += sum(segment.duplicates for segment in found)
        stretches += [_anchored(segment, rows[members]) for segment in found]
    stretches.sort(key=lambda stretch: (stretch.first, int(stretch.rows.min())))
    _settle(stretches)
    bridges = [_bridges(stretch) for stretch in stretches]
    kept = [_sound(stretch, limit) for stretch in stretches]
    if any(len(frames.rows) < len(s.rows) for frames, s in zip(kept, stretches, strict=True)):
        warnings.add("timestamps_implausible")
    return Placed(
        layers=_layers([frames for frames in kept if len(frames.rows)]),
        bridges=np.concatenate([NOTHING.bridges, *bridges]),
        lost=lost,
        duplicates=duplicates,
        warnings=tuple(sorted(warnings)),
    )


def _sources(ssrc: NDArray[np.uint32]) -> tuple[Sequence[Ints | slice], bool]:
    """Rows of each synchronisation source, and whether there were more than are kept."""
    if not len(ssrc):
        return [], False
    if (ssrc == ssrc[0]).all():
        return [slice(None)], False
    _, inverse, counts = np.unique(ssrc, return_inverse=True, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MAX_SOURCES]
    return [np.flatnonzero(inverse == source) for source in most], len(counts) > MAX_SOURCES


def _anchored(segment: Segment, rows: Ints) -> _Stretch:
    arrival = segment.arrivals.position
    early = arrival <= arrival.min() + ANCHOR
    offset = (arrival - segment.times)[early].min()
    start = offset + segment.times
    start += min(max(0, -int(start.min())), DISAGREEMENT)
    return _Stretch(segment, rows[segment.rows], start)


def _settle(stretches: list[_Stretch]) -> None:
    """Move each segment to where the one before it ended, if it would overlap or nearly touch.

    The one before is what had ended, or for a while sent nothing, when the segment began.
    """
    lasts, ends = (np.zeros(len(stretches), np.int64) for _ in range(2))
    for index, stretch in enumerate(stretches):
        late = stretch.first + YIELD
        over = lasts[:index] <= late
        before = [int(ends[:index][over].max())] if over.any() else []
        running = (stretches[other] for other in np.flatnonzero(~over))
        before += [other.end(late) for other in running if other.rests(late, late + 2 * YIELD)]
        begin = int(stretch.start.min())
        if before and begin - max(before) <= SNAP:
            stretch.start += max(before) - begin
        lasts[index], ends[index] = stretch.last, stretch.end(stretch.last)


def _sound(stretch: _Stretch, limit: int) -> Frames:
    """The packets that play within the recording."""
    frames = Frames(stretch.rows, stretch.start, stretch.segment.arrivals.size)
    keep = (frames.start >= 0) & (frames.start + frames.size <= limit)
    return frames if keep.all() else frames.take(keep)


def _bridges(stretch: _Stretch) -> Ints:
    at = np.flatnonzero(stretch.segment.bridged)
    ends = stretch.start[at] + stretch.segment.arrivals.size[at]
    return np.stack((ends, stretch.start[at + 1]), axis=1)


def _layers(stretches: list[Frames]) -> tuple[Frames, ...]:
    """Share segments out to as few layers as keep them from overlapping."""
    layers: list[list[Frames]] = []
    ends: list[int] = []
    for frames in sorted(stretches, key=lambda each: int(each.start.min())):
        begin, end = int(frames.start.min()), int((frames.start + frames.size).max())
        free = [i for i, until in enumerate(ends) if until <= begin]
        if not free:
            layers.append([])
            ends.append(0)
        at = free[0] if free else -1
        layers[at].append(frames)
        ends[at] = end
    return tuple(_merged(layer) for layer in layers)


def _merged(parts: list[Frames]) -> Frames:
    if len(parts) == 1:
        frames = parts[0]
    else:
        columns = zip(*((part.rows, part.start, part.size) for part in parts), strict=True)
        frames = Frames(*(np.concatenate(column) for column in columns))
    if (np.diff(frames.start) >= 0).all():
        return frames
    return frames.take(np.argsort(frames.start, kind="stable"))
