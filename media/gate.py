"""The gate: which packets of a session are kept, in which recording, from which moment on.

Start, pause, resume, stop, split and a stream falling silent are all the same `cut` at a point in
time: rows that arrived earlier follow the old rule, later ones the new. The rule then in force is a
state, not a time: no step of the clock opens a gate again.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media import spool
from media.rtp import PacketBatch, runs
from media.spec import DISCARD, StreamReport, Target
from media.spooler import Spooler
from media.stream import MediaStream

Trouble = Callable[[str, str], None]
"""Called with a recording id and the code of what is wrong with it."""

Piece = tuple[memoryview, memoryview]
"""Packets on their way to a spool, what a sweep brought for one session: octets of `spool.ROW`
records, and their payloads end to end."""


def part(
    batch: PacketBatch, index: NDArray[np.uint16], session: NDArray[np.int32]
) -> Iterable[tuple[int, Piece]]:
    """Copy a batch out of the receive area, parted by session: session numbers and pieces.

    `index`: uint16[n], what each row carries as its stream; `session`: int32[n].
    """
    rows = np.empty(len(batch), spool.ROW)
    rows["arrival_ns"], rows["stream"] = batch.arrival_ns, index
    rows["length"] = batch.payload_length
    for name in ("timestamp", "ssrc", "sequence_number", "payload_type", "marker"):
        rows[name] = getattr(batch, name)
    starts, _ = runs(session)
    ends = np.append(0, np.cumsum(batch.payload_length))
    row_octets = _slices(rows.view(np.uint8).data, starts * spool.ROW.itemsize)
    payloads = _slices(batch.payloads().data, ends[starts])
    return zip(session[starts].tolist(), zip(row_octets, payloads, strict=True), strict=True)


def _slices(octets: memoryview, starts: NDArray[np.int64]) -> list[memoryview]:
    """Cut up `octets` at `starts`."""
    edges = [*starts.tolist(), len(octets)]
    return [octets[begin:end] for begin, end in pairwise(edges)]


@dataclass(slots=True, eq=False)
class MediaSession:
    """One session in the media process."""

    number: int
    folder: Path
    """Where spools are."""
    trouble: Trouble
    target: Target = DISCARD
    streams: dict[str, MediaStream] = field(default_factory=dict)
    """By stream id."""
    closed: list[StreamReport] = field(default_factory=list)
    """Last reports of streams that are gone."""
    pending: list[Piece] = field(default_factory=list)
    """Kept, not yet written: less than a second's worth, or what the target holds in memory."""
    spooler: Spooler | None = None

    @property
    def keeps(self) -> bool:
        """Is anything recorded now, or held?"""
        recorded = self.target.recording_id is not None and not self.target.paused
        return recorded or self.target.holds

    def live(self) -> list[MediaStream]:
        """The streams whose packets are kept now."""
        return [s for s in self.streams.values() if s.spec.active] if self.keeps else []

    def flush(self) -> None:
        """Write what is pending as one block; of what is only held, forget what is too old."""
        if self.target.holds:
            self._forget(time.time_ns() - self.target.prebuffer_ms * 1_000_000)
        elif self.pending:
            kept, self.pending = self.pending, []
            self._write([rows for rows, _ in kept], [payload for _, payload in kept])

    def _forget(self, since_ns: int) -> None:
        """Let go of pieces of which nothing arrived at `since_ns` or later."""
        self.pending = [piece for piece in self.pending if _newest_ns(piece) >= since_ns]

    def cut(self, at_ns: int, swept: list[Piece], change: Callable[[], None]) -> None:
        """Let `change` take effect for what arrived at or after `at_ns`.

        `swept` is all that was waiting in the sockets of the session, whatever the old rule: rows
        that are pending or swept are kept as the rule of their own time says, and nothing else is.
        What belongs before the change is in the file when this returns.
        """
        held = self.pending if self.target.holds else []
        judged = sum(len(rows) for rows, _ in held) // spool.ROW.itemsize
        found = self.pending + swept
        rows = np.frombuffer(b"".join([octets for octets, _ in found]), spool.ROW)
        payload = np.frombuffer(b"".join([octets for _, octets in found]), np.uint8)
        before = rows["arrival_ns"] < at_ns
        kept = before & self._kept(rows)
        kept[:judged] = before[:judged]
        if not self.target.holds:
            self.pending = [_chosen(rows, payload, kept)]
            self.flush()
            kept[:] = False
        change()
        # What was held goes over to the new rule as far as that wants it.
        kept &= rows["arrival_ns"] >= self._wanted_since(at_ns)
        kept &= np.isin(rows["stream"], [stream.index for stream in self.streams.values()])
        self.pending = [_chosen(rows, payload, kept | (~before & self._kept(rows)))]
        if self.target.since_ns:
            self.flush()

    def _wanted_since(self, at_ns: int) -> int:
        """Since when packets that were held at a change at `at_ns` are wanted after it."""
        if self.target.holds:
            return at_ns - self.target.prebuffer_ms * 1_000_000
        return self.target.since_ns or at_ns

    def retarget(self, target: Target, at_ns: int) -> None:
        """Make `target` the rule, and say so in the spools at once."""
        old, self.target = self.target, target
        if old.recording_id != target.recording_id:
            self.close(spool.SpoolEvent("stop", at_ns))
            if target.recording_id is not None:
                self._begin(target.recording_id, target.since_ns or at_ns, at_ns)
            old = DISCARD
        if old.paused and (not target.paused or old.fill != target.fill):
            self._note(spool.SpoolEvent("resume", at_ns))
            old = DISCARD
        if target.paused and not old.paused:
            self._note(spool.SpoolEvent("pause", at_ns, fill=target.fill))

    def declare(self, stream: MediaStream, at_ns: int, *, active: bool | None = None) -> None:
        """Say in the spool what the rows of `stream` are."""
        spec = stream.spec
        event = spool.SpoolEvent(
            "stream",
            at_ns,
            stream=stream.index,
            stream_id=spec.stream_id,
            label=spec.label,
            formats=spec.formats,
            active=spec.active if active is None else active,
        )
        self._note(event)

    def close(self, last: spool.SpoolEvent | None) -> None:
        """Write all that is pending and the event `last`, and close the spool, if there is one."""
        self.flush()
        if self.spooler is not None:
            self._tell(self.spooler.close(last))
            self.spooler = None

    def _begin(self, recording_id: str, since_ns: int, at_ns: int) -> None:
        """Open the spool of a recording; one that is there already goes on.

        A stream that rests now may have been heard since `since_ns`.
        """
        self.spooler = Spooler(spool.path_of(self.folder, recording_id))
        if not self.spooler.open():
            self._note(spool.SpoolEvent("start", since_ns, recording_id=recording_id))
        for stream in self.streams.values():
            self.declare(stream, since_ns, active=stream.spec.active or since_ns < at_ns)
            if not stream.spec.active and since_ns < at_ns:
                self.declare(stream, at_ns)

    def _kept(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Which rows (ROW[n]) the present rule keeps: bool[n]."""
        return np.isin(rows["stream"], [stream.index for stream in self.live()])

    def _note(self, event: spool.SpoolEvent) -> None:
        if self.spooler is not None:
            self._tell(self.spooler.append(spool.encode_event(event), 0))

    def _write(self, rows: list[memoryview], payloads: list[memoryview]) -> None:
        count = sum(map(len, rows)) // spool.ROW.itemsize
        if self.spooler is not None and count:
            block = spool.encode_body(count, b"".join(rows + payloads), time.time_ns())
            self._tell(self.spooler.append(block, count))

    def _tell(self, code: str) -> None:
        if code and self.spooler is not None:
            self.trouble(self.spooler.path.stem, code)


def _newest_ns(piece: Piece) -> int:
    """When the last packet of a piece arrived; 0 for an empty one."""
    rows = np.frombuffer(piece[0], spool.ROW)
    return int(rows["arrival_ns"].max(initial=0))


def _chosen(rows: NDArray[np.void], payload: NDArray[np.uint8], keep: NDArray[np.bool_]) -> Piece:
    """The rows (ROW[n]) where `keep` (bool[n]) is true, and of `payload` theirs."""
    octets = payload[np.repeat(keep, rows["length"])]
    return rows[keep].view(np.uint8).data, octets.data
