"""One sweep a tick over the sockets of all sessions: what is kept goes to its session.

Streams behind a shut gate are swept as well, seldom and without their payload, so that their
statistics go on and their sockets are empty when the gate opens.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from media import gate
from media.gate import MediaSession, Piece
from media.receiver import RtpReceiver
from media.rtp import PacketBatch
from media.stream import MediaStream, StreamTable


class Collector:
    """Sweeps the sockets of all sessions."""

    def __init__(self, table: StreamTable, shards: int) -> None:
        self.sessions: dict[str, MediaSession] = {}
        self.changed = True
        """Some gate opened or closed, or a stream came or went."""
        self._table = table
        self._shards = shards
        self._turn = 0
        self._receiver = RtpReceiver()
        self._numbers: dict[int, MediaSession] = {}
        self._open: tuple[list[int], NDArray[np.int32]] = _sockets([])
        self._shut: list[MediaStream] = []

    def tick(self) -> None:
        """Write first, sweep then: what is written has had a tick's time to be withdrawn."""
        self._turn = (self._turn + 1) % self._shards
        for session in self.sessions.values():
            if session.number % self._shards == self._turn:
                session.flush()
        self.sweep_open()
        self._sweep_shut()

    def sweep_open(self) -> None:
        """Collect what came for streams that are recorded."""
        if self.changed:
            self._sort()
        for batch in self._receiver.sweep(*self._open):
            for number, piece in self._pieces(batch):
                self._numbers[number].pending.append(piece)

    def sweep_session(self, session: MediaSession) -> list[Piece]:
        """All that waits for one session, for its gate to judge."""
        found: list[Piece] = []
        for batch in self._receiver.sweep(*_sockets(list(session.streams.values()))):
            found += [piece for _, piece in self._pieces(batch)]
        return found

    def _sort(self) -> None:
        """Tell streams whose packets are kept from those that are only counted."""
        self._numbers = {session.number: session for session in self.sessions.values()}
        live = [stream for session in self.sessions.values() for stream in session.live()]
        slots = {stream.slot for stream in live}
        self._open = _sockets(live)
        self._shut = [s for s in self._table.streams.values() if s.slot not in slots]
        self.changed = False

    def _sweep_shut(self) -> None:
        """Count what comes for shut gates; its payload never leaves the kernel."""
        streams = [s for s in self._shut if s.slot % self._shards == self._turn]
        for batch in self._receiver.sweep(*_sockets(streams), header_only=True):
            self._table.stats.count(batch, self._accepted(batch))

    def _pieces(self, batch: PacketBatch) -> Iterable[tuple[int, Piece]]:
        """Count a batch, and part what is RTP by session number."""
        accepted = self._accepted(batch)
        self._table.stats.count(batch, accepted)
        batch = batch.take(accepted)
        columns = self._table.columns
        return gate.part(batch, columns["index"][batch.stream], columns["session"][batch.stream])

    def _accepted(self, batch: PacketBatch) -> NDArray[np.bool_]:
        """Which rows are RTP of a negotiated payload type: bool[n]."""
        known: NDArray[np.bool_] = self._table.columns["accepts"][batch.stream, batch.payload_type]
        return batch.valid & known


def _sockets(streams: list[MediaStream]) -> tuple[list[int], NDArray[np.int32]]:
    """Descriptors and slots, as the receiver wants them."""
    slots = np.array([stream.slot for stream in streams], np.int32)
    return [stream.rtp.fileno() for stream in streams], slots
