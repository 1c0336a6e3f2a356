"""The recording's line: from a spool's columns to sample positions, the same line for all streams.

The line begins at the `start` event and runs by the wall clock, 8,000 samples a second, pauses
included; so whatever one stream lacks, the others stay aligned. Pauses that are to be cut come out
of the line of all streams at once, and never take a received sample with them.

Pure: a function of the columns, vectorised over packets.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.codecs import CODECS
from media.reorder import Arrivals, Ints
from media.spec import Gap
from media.spool import Spool, SpoolEvent
from media.track import Frames, Placed, place

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
EVENTS_ONLY = frozenset({"TELEPHONE-EVENT", "CN"})
"""Encodings in the sequence of a source that are not audio (RFC 4733, RFC 3389)."""
MAX_SIZE = 65_535
"""Samples of the largest packet."""
ENCODINGS = tuple(CODECS)
"""`Frames` and tracks name an encoding by its index here."""
_EVENT, _UNKNOWN = len(ENCODINGS), len(ENCODINGS) + 1


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
    """uint8[rows of the spool]: index in ENCODINGS; beyond it: not audio."""
    paused: int
    """Samples between pause and resume, by the wall clock."""
    warnings: tuple[str, ...]

    @property
    def samples(self) -> int:
        """Length of the file, with the cuts gone."""
        return self.length - int((self.cuts[:, 1] - self.cuts[:, 0]).sum())


@dataclass(frozen=True, slots=True)
class _Pause:
    at_ns: int
    begin: int
    end: int
    fill: bool


def build(spool: Spool) -> Timeline:
    """Place every packet of a spool."""
    origin = _origin(spool)
    wall = _wall(spool, origin)
    pauses = _pauses(spool.events, origin, wall)
    declared, members, encodings = _streams(spool)
    placed = [_place(spool, rows, encodings, origin, wall, pauses) for rows in members]
    layers = [frames for each in placed for frames in each.layers]
    length = max([wall, *(int((f.start + f.size).max()) for f in layers)])
    cuts = _cuts(spool, pauses, layers)
    return Timeline(
        length=length,
        cuts=cuts,
        tracks=tuple(
            _track(event, each, encodings, _gaps(each, pauses, cuts, length))
            for event, each in zip(declared, placed, strict=True)
        ),
        encodings=encodings,
        paused=sum(pause.end - pause.begin for pause in pauses),
        warnings=_warnings(spool, placed),
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


def _pauses(events: tuple[SpoolEvent, ...], origin: int, wall: int) -> list[_Pause]:
    """Spans between a pause and what ends it; a pause within a pause changes nothing."""
    pauses: list[_Pause] = []
    opened: SpoolEvent | None = None
    for event in events:
        if event.kind == "pause" and opened is None:
            opened = event
        elif event.kind in {"resume", "stop"} and opened is not None:
            pauses.append(_pause(opened, _position(event.at_ns, origin), origin))
            opened = None
    if opened is not None:
        pauses.append(_pause(opened, wall, origin))
    return pauses


def _pause(event: SpoolEvent, end: int, origin: int) -> _Pause:
    begin = _position(event.at_ns, origin)
    return _Pause(event.at_ns, begin, max(begin, end), event.fill)


def _streams(spool: Spool) -> tuple[list[SpoolEvent], list[Ints], NDArray[np.uint8]]:
    """Last declaration and rows of each stream, and the encoding of every row.

    A declaration holds for the rows of its index that arrived from then on, the first one for
    those before as well.
    """
    encodings = np.full(len(spool.packets), _UNKNOWN, np.uint8)
    streams: dict[str, list[Ints]] = {}
    last: dict[str, SpoolEvent] = {}
    events = [event for event in spool.events if event.kind == "stream"]
    for index in sorted({event.stream for event in events}):
        of_index = sorted((e for e in events if e.stream == index), key=lambda e: e.at_ns)
        rows = np.flatnonzero(spool.packets["stream"] == index)
        arrival = spool.packets["arrival_ns"][rows]
        since = np.searchsorted([e.at_ns for e in of_index], arrival, side="right") - 1
        for number, event in enumerate(of_index):
            mine = rows[np.maximum(since, 0) == number]
            encodings[mine] = _table(event)[spool.packets["payload_type"][mine] & 127]
            streams.setdefault(event.stream_id, []).append(mine)
            last[event.stream_id] = event
    encodings[spool.packets["length"] == 0] = _EVENT
    return list(last.values()), [_joined(parts) for parts in streams.values()], encodings


def _joined(parts: list[Ints]) -> Ints:
    return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))


def _table(event: SpoolEvent) -> NDArray[np.uint8]:
    """uint8[128]: payload type -> encoding."""
    table = np.full(128, _UNKNOWN, np.uint8)
    for payload_type, name in event.formats.items():
        if name.upper() in ENCODINGS:
            table[payload_type & 127] = ENCODINGS.index(name.upper())
        elif name.upper() in EVENTS_ONLY:
            table[payload_type & 127] = _EVENT
    return table


def _place(
    spool: Spool,
    rows: Ints,
    encodings: NDArray[np.uint8],
    origin: int,
    wall: int,
    pauses: list[_Pause],
) -> Placed:
    rows = rows[encodings[rows] != _UNKNOWN]
    packets = spool.packets[rows]
    audio = encodings[rows] < _EVENT
    arrivals = Arrivals(
        sequence_number=packets["sequence_number"],
        timestamp=packets["timestamp"],
        position=(packets["arrival_ns"] - origin) // NS_PER_SAMPLE,
        size=np.where(audio, packets["length"], 0).astype(np.int64),
        audio=audio,
        epoch=np.searchsorted([p.at_ns for p in pauses], packets["arrival_ns"], side="right"),
    )
    return place(arrivals, packets["ssrc"], rows, wall + MAX_OVERHANG)


def _cuts(spool: Spool, pauses: list[_Pause], layers: list[Frames]) -> Ints:
    cuts = [_cut(spool, pause, layers) for pause in pauses if not pause.fill]
    kept = [(begin, end) for begin, end in cuts if end > begin]
    return np.array(kept, np.int64).reshape(-1, 2)


def _cut(spool: Spool, pause: _Pause, layers: list[Frames]) -> tuple[int, int]:
    """The part of a pause between the last packet before it and the first one after it."""
    begin, end = pause.begin, pause.end
    for frames in layers:
        low, high = np.searchsorted(frames.start, [pause.begin - MAX_SIZE, pause.end])
        near = frames.take(slice(low, high))
        near = near.take(near.start + near.size > pause.begin)
        arrival = spool.packets["arrival_ns"][near.rows]
        before = (arrival < pause.at_ns) | (near.start <= pause.begin)
        begin = max([begin, *(near.start + near.size)[before].tolist()])
        end = min([end, *near.start[~before].tolist()])
    return begin, end


def _gaps(placed: Placed, pauses: list[_Pause], cuts: Ints, length: int) -> tuple[Gap, ...]:
    """Holes of the stream, in milliseconds of the file; where the stream starts, ends or is
    paused only the longer ones.
    """
    spans = [np.array([(p.begin, p.end) for p in pauses], np.int64).reshape(-1, 2), placed.bridges]
    spans += [np.stack((f.start, f.start + f.size), axis=1) for f in placed.layers]
    begins, ends = _holes(np.concatenate(spans), length)
    edge = np.isin(begins, [0, *(p.end for p in pauses)])
    edge |= np.isin(ends, [length, *(p.begin for p in pauses)])
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


def _track(
    event: SpoolEvent, placed: Placed, encodings: NDArray[np.uint8], gaps: tuple[Gap, ...]
) -> Track:
    used = sum(
        np.bincount(encodings[frames.rows], minlength=len(ENCODINGS)) for frames in placed.layers
    )
    return Track(
        stream_id=event.stream_id,
        label=event.label,
        encoding=ENCODINGS[int(np.argmax(used))] if placed.layers else "",
        layers=placed.layers,
        packets=int(np.sum(used)),
        lost=placed.lost,
        duplicates=placed.duplicates,
        gaps=gaps,
    )


def _warnings(spool: Spool, placed: list[Placed]) -> tuple[str, ...]:
    found = {warning for each in placed for warning in each.warnings}
    if not spool.complete:
        found.add("spool_truncated")
    if any(event.dropped for event in spool.events):
        found.add("packets_dropped")
    return tuple(sorted(found))
