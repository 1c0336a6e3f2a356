"""The recording's line: from a spool's columns to sample positions, the same line for all streams.

The line begins at the `start` event and runs by the wall clock, 8,000 samples a second, pauses
included; so whatever one stream lacks, the others stay aligned. Pauses that are to be cut come out
of the line of all streams at once, and never take a received sample with them.

Pure: a function of the columns, vectorised over packets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from media.clock import steadied
from media.codecs import CODECS
from media.reorder import Arrivals, Ints
from media.spec import Gap
from media.spool import Spool, SpoolEvent
from media.track import NOTHING, Frames, Placed, place

SAMPLE_RATE_HZ = 8_000
SAMPLES_PER_MS = 8
NS_PER_SAMPLE = 125_000
MAX_OVERHANG = 8_000
"""One second: as far as a file may outlast the wall clock."""
MIN_GAP = 160
"""20 ms: shorter holes are not worth telling."""
MIN_EDGE_GAP = 800
"""100 ms: a stream's first packet after start or resume is not late before that."""
MAX_GAPS = 1_000
MAX_SIZE = 65_535
"""Samples of the largest packet."""
ENCODINGS = tuple(CODECS)
"""An encoding is told by its index here."""
NO_AUDIO = len(ENCODINGS)
"""Instead of one: telephone events, comfort noise (RFC 4733, RFC 3389), what cannot be decoded."""


NO_POSITIONS = np.zeros(0, np.int64)
Switches = Sequence[tuple[SpoolEvent, bool]]
"""Events and whether each switches something off."""


@dataclass(frozen=True, slots=True)
class Track:
    """One stream on the line."""

    stream_id: str
    label: str
    encoding: str
    """Name of the most packets, empty if there are none."""
    layers: tuple[Frames, ...]
    """Overlapping sources lie on different layers, to be added up."""
    packets: int
    lost: int
    duplicates: int
    gaps: tuple[Gap, ...]
    """On the line without what is cut."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where everything in a spool plays."""

    length: int
    """Samples, nothing cut."""
    cuts: Ints
    """int64[n, 2]: from, to, in samples; ascending; in no track is there anything inside."""
    tracks: tuple[Track, ...]
    """By stream index."""
    encodings: NDArray[np.uint8]
    """uint8[rows of the spool]: index in ENCODINGS, or NO_AUDIO."""
    paused: int
    """Samples between pause and resume, by the wall clock."""
    warnings: tuple[str, ...]

    @property
    def samples(self) -> int:
        """Length of the file, with the cuts gone."""
        return self.length - int((self.cuts[:, 1] - self.cuts[:, 0]).sum())


@dataclass(frozen=True, slots=True)
class _Span:
    """A pause, or one stream being inactive."""

    at_ns: int
    begin: int
    end: int
    fill: bool


@dataclass(slots=True)
class _Stream:
    """What becomes of one stream while the line is built."""

    event: SpoolEvent
    """Its last declaration."""
    rows: Ints
    quiet: list[_Span] = field(default_factory=list)
    """When nothing of it was to be recorded."""
    placed: Placed = NOTHING


def build(spool: Spool) -> Timeline:
    """Place every packet of a spool."""
    spool = steadied(spool)
    origin = _origin(spool)
    wall = _wall(spool, origin)
    pauses = _spans(_pausing(spool.events), origin, wall)
    streams, encodings = _streams(spool)
    for stream in streams:
        stream.quiet = pauses + _spans(_resting(spool.events, stream.event), origin, wall)
        stream.placed = _place(spool, stream, encodings, origin, wall)
    layers = [frames for stream in streams for frames in stream.placed.layers]
    length = max([wall, *(int((f.start + f.size).max()) for f in layers)])
    cuts = _cuts(spool, pauses, layers)
    return Timeline(
        length=length,
        cuts=cuts,
        tracks=tuple(_track(stream, encodings, cuts, length) for stream in streams),
        encodings=encodings,
        paused=sum(pause.end - pause.begin for pause in pauses),
        warnings=_warnings(spool, streams),
    )


def _origin(spool: Spool) -> int:
    """Nanoseconds of position 0: the `start` event, or what comes first without one."""
    starts = [event.at_ns for event in spool.events if event.kind == "start"]
    others = [event.at_ns for event in spool.events] + spool.packets["arrival_ns"][:1].tolist()
    return (starts or others or [0])[0]


def _wall(spool: Spool, origin: int) -> int:
    """Stop minus start; for a cut-off recording up to the last thing known of it."""
    stops = [event.at_ns for event in spool.events if event.kind == "stop"]
    known = [event.at_ns for event in spool.events]
    if len(spool.packets):
        known.append(int(spool.packets["arrival_ns"].max()))
    return _position(stops[-1] if stops else max(known, default=origin), origin)


def _position(at_ns: int, origin: int) -> int:
    return max(0, at_ns - origin) // NS_PER_SAMPLE


def _pausing(events: Sequence[SpoolEvent]) -> Switches:
    return [(e, e.kind == "pause") for e in events if e.kind in {"pause", "resume", "stop"}]


def _resting(events: Sequence[SpoolEvent], stream: SpoolEvent) -> Switches:
    return [
        (e, e.kind == "stream" and not e.active)
        for e in events
        if e.kind == "stop" or (e.kind == "stream" and e.stream_id == stream.stream_id)
    ]


def _spans(switches: Switches, origin: int, wall: int) -> list[_Span]:
    """Spans from each event that switches something off to the one that ends it."""
    spans: list[_Span] = []
    opened: SpoolEvent | None = None
    for event, off in switches:
        if off and opened is None:
            opened = event
        elif not off and opened is not None:
            spans.append(_span(opened, _position(event.at_ns, origin), origin))
            opened = None
    return spans if opened is None else [*spans, _span(opened, wall, origin)]


def _span(event: SpoolEvent, end: int, origin: int) -> _Span:
    begin = _position(event.at_ns, origin)
    return _Span(event.at_ns, begin, max(begin, end), event.fill)


def _streams(spool: Spool) -> tuple[list[_Stream], NDArray[np.uint8]]:
    """Every stream by its index, and the encoding of every row.

    A declaration holds for the rows of its index that arrived from then on, the first one for
    those before as well.
    """
    encodings = np.full(len(spool.packets), NO_AUDIO, np.uint8)
    rows: dict[str, list[Ints]] = {}
    last: dict[str, SpoolEvent] = {}
    events = [event for event in spool.events if event.kind == "stream"]
    for index in sorted({event.stream for event in events}):
        of_index = sorted((e for e in events if e.stream == index), key=lambda e: e.at_ns)
        members = np.flatnonzero(spool.packets["stream"] == index)
        arrival = spool.packets["arrival_ns"][members]
        since = np.searchsorted([e.at_ns for e in of_index], arrival, side="right") - 1
        for number, event in enumerate(of_index):
            mine = members[np.maximum(since, 0) == number]
            encodings[mine] = _table(event)[spool.packets["payload_type"][mine] & 127]
            rows.setdefault(event.stream_id, []).append(mine)
            last[event.stream_id] = event
    encodings[spool.packets["length"] == 0] = NO_AUDIO
    joined = (np.sort(np.concatenate(parts)) for parts in rows.values())
    return [_Stream(e, r) for e, r in zip(last.values(), joined, strict=True)], encodings


def _table(event: SpoolEvent) -> NDArray[np.uint8]:
    """uint8[128]: payload type -> encoding."""
    table = np.full(128, NO_AUDIO, np.uint8)
    for payload_type, name in event.formats.items():
        if name.upper() in ENCODINGS:
            table[payload_type & 127] = ENCODINGS.index(name.upper())
    return table


def _place(
    spool: Spool, stream: _Stream, encodings: NDArray[np.uint8], origin: int, wall: int
) -> Placed:
    packets = spool.packets.take(stream.rows)
    audio = encodings[stream.rows] < NO_AUDIO
    begun = np.array(sorted(span.at_ns for span in stream.quiet), np.int64)
    arrivals = Arrivals(
        sequence_number=packets["sequence_number"],
        timestamp=packets["timestamp"],
        position=(packets["arrival_ns"] - origin) // NS_PER_SAMPLE,
        size=np.where(audio, packets["length"], 0).astype(np.int64),
        audio=audio,
        epoch=np.searchsorted(begun, packets["arrival_ns"], side="right"),
    )
    return place(arrivals, packets["ssrc"], stream.rows, wall + MAX_OVERHANG)


def _cuts(spool: Spool, pauses: list[_Span], layers: list[Frames]) -> Ints:
    cuts = [_cut(spool, pause, layers) for pause in pauses if not pause.fill]
    kept = [(begin, end) for begin, end in cuts if end > begin]
    return np.array(kept, np.int64).reshape(-1, 2)


def _cut(spool: Spool, pause: _Span, layers: list[Frames]) -> tuple[int, int]:
    """The first stretch of a pause, after all that arrived before it, in which nothing plays."""
    near = [
        frames.take(slice(*np.searchsorted(frames.start, [pause.begin - MAX_SIZE, pause.end])))
        for frames in layers
    ]
    starts = np.concatenate([NO_POSITIONS, *(frames.start for frames in near)])
    ends = starts + np.concatenate([NO_POSITIONS, *(frames.size for frames in near)])
    rows = np.concatenate([NO_POSITIONS, *(frames.rows for frames in near)])
    before = spool.packets["arrival_ns"][rows] < pause.at_ns
    begin = max([pause.begin, *ends[before].tolist()])
    order = np.argsort(starts, kind="stable")
    reach = np.maximum.accumulate(np.append(begin, ends[order]))
    until = np.append(starts[order], pause.end)
    free = np.flatnonzero(until > reach)[:1]
    return (int(reach[free[0]]), int(until[free[0]])) if len(free) else (pause.end, pause.end)


def _gaps(stream: _Stream, cuts: Ints, length: int) -> tuple[Gap, ...]:
    """Holes of the stream, in milliseconds of the file; where it starts, ends or is paused only
    the longer ones.
    """
    quiet = np.array([(span.begin, span.end) for span in stream.quiet], np.int64).reshape(-1, 2)
    heard = [np.stack((f.start, f.start + f.size), axis=1) for f in stream.placed.layers]
    begins, ends = _holes(np.concatenate([quiet, stream.placed.bridges, *heard]), length)
    edge = np.isin(begins, [0, *quiet[:, 1]]) | np.isin(ends, [length, *quiet[:, 0]])
    keep = np.flatnonzero(ends - begins >= np.where(edge, MIN_EDGE_GAP, MIN_GAP))
    keep = np.sort(keep[np.argsort(begins[keep] - ends[keep], kind="stable")[:MAX_GAPS]])
    starts = (begins - _removed(begins, cuts))[keep] // SAMPLES_PER_MS
    durations = (ends - begins)[keep] // SAMPLES_PER_MS
    return tuple(map(Gap, starts.tolist(), durations.tolist()))


def _holes(spans: Ints, length: int) -> tuple[Ints, Ints]:
    """What of 0 to `length` none of the spans (int64[n, 2]) covers, ascending."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    begins = np.append(0, np.maximum.accumulate(spans[:, 1]))
    ends = np.append(spans[:, 0], length)
    open_ = ends > begins
    return begins[open_], ends[open_]


def _removed(positions: Ints, cuts: Ints) -> Ints:
    """Samples cut out before each position (none of which lies inside a cut)."""
    total = np.append(0, np.cumsum(cuts[:, 1] - cuts[:, 0]))
    return total[np.searchsorted(cuts[:, 0], positions, side="right")]


def _track(stream: _Stream, encodings: NDArray[np.uint8], cuts: Ints, length: int) -> Track:
    placed = stream.placed
    used = np.zeros(len(ENCODINGS), np.int64)
    for frames in placed.layers:
        used += np.bincount(encodings[frames.rows], minlength=len(ENCODINGS))
    return Track(
        stream_id=stream.event.stream_id,
        label=stream.event.label,
        encoding=ENCODINGS[int(np.argmax(used))] if used.any() else "",
        layers=placed.layers,
        packets=int(used.sum()),
        lost=placed.lost,
        duplicates=placed.duplicates,
        gaps=_gaps(stream, cuts, length),
    )


def _warnings(spool: Spool, streams: list[_Stream]) -> tuple[str, ...]:
    found = {warning for stream in streams for warning in stream.placed.warnings}
    if not spool.complete:
        found.add("spool_truncated")
    if any(event.dropped for event in spool.events):
        found.add("packets_dropped")
    return tuple(sorted(found))
