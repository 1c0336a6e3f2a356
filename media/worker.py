"""The media process: one loop that collects RTP, keeps what the gates let through, and obeys.

    python -m media.worker DESCRIPTOR FOLDER TICK_MS

DESCRIPTOR is one end of a SOCK_SEQPACKET pair, the other is `media.engine`'s. Between two sweeps
the process waits on it, and so takes a command within milliseconds. It ends when the pipe does.
"""

import gc
import resource
import select
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from cffi import FFI

from media import reporter, wire
from media.collector import Collector
from media.gate import MediaSession
from media.spec import DISCARD, StreamReport
from media.spooler import Synchroniser
from media.stream import MediaStream, StreamTable

FLUSH_NS = 800_000_000
"""Age at which what is pending is written."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_OCTETS = 64 << 20

Reports = list[tuple[str, StreamReport]]


class Worker:
    """The loop and the commands."""

    def __init__(self, pipe: socket.socket, folder: Path, tick_ms: int) -> None:
        self._pipe = pipe
        self._folder = folder
        self._tick_ns = tick_ms * 1_000_000
        self._unsent: deque[bytes] = deque()
        self._readable = select.poll()
        self._readable.register(pipe, select.POLLIN)
        self._table = StreamTable()
        self._collector = Collector(self._table, max(1, FLUSH_NS // self._tick_ns))
        self._sessions = self._collector.sessions
        self._numbers = count()
        self._reporter = reporter.Reporter(self._table)
        self._synchroniser = Synchroniser(folder)

    def run(self) -> None:
        """Work until the pipe closes, then write what is pending."""
        self._send(wire.Ready())
        due_ns = time.monotonic_ns()
        while self._obey(due_ns):
            self._collector.tick()
            self._synchroniser.wanted |= bool(self._sessions)
            self._reporter.receive()
            self._reporter.send_due()
            due_ns = max(due_ns + self._tick_ns, time.monotonic_ns())
        self._collector.sweep_open()
        for session in self._sessions.values():
            session.close(None)
            for stream in session.streams.values():
                stream.close()
        self._synchroniser.close()

    def _obey(self, due_ns: int) -> bool:
        """Take commands until `due_ns`, at least those that wait: False once the pipe closed."""
        while True:
            self._send_unsent()
            if not self._readable.poll(max(0.0, (due_ns - time.monotonic_ns()) / 1_000_000)):
                return True
            try:
                record, descriptors, _, _ = socket.recv_fds(
                    self._pipe, wire.RECORD_OCTETS, 2 * wire.STREAMS_PER_MESSAGE
                )
            except ConnectionError:
                return False
            if not record:
                return False
            self._carry_out(wire.decode_command(record), descriptors)

    def _carry_out(self, command: wire.AnyCommand, descriptors: list[int]) -> None:
        """Do what a command says, and say so."""
        reports: Reports = []
        match command:
            case wire.Open():
                self._open(command, descriptors)
            case wire.Report():
                for session_id in command.session_ids:
                    reports += self._reports(session_id)
            case _:
                reports = self._cut(command)
        if not isinstance(command, wire.Report):
            self._collector.changed = self._synchroniser.wanted = True
        self._answer(command.number, reports)

    def _open(self, command: wire.Open, descriptors: list[int]) -> None:
        """Take over the sockets of streams; a session not known yet begins with them."""
        session = self._sessions.get(command.session_id)
        if session is None:
            session = MediaSession(next(self._numbers), self._folder, self._trouble)
            self._sessions[command.session_id] = session
            session.retarget(command.target, command.at_ns)
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        pairs = zip(command.streams, sockets[::2], sockets[1::2], strict=True)
        for (index, spec), rtp, rtcp in pairs:
            stream = MediaStream(spec, index, session.number, rtp, rtcp)
            first_report_ns = time.monotonic_ns() + reporter.interval_ns(first=True)
            self._table.add(stream, command.cname, first_report_ns)
            self._reporter.add(stream)
            session.streams[spec.stream_id] = stream
            session.declare(stream, command.at_ns)

    def _cut(self, command: wire.AnyCut) -> Reports:
        """Sweep the session now, and let the command take effect at its time."""
        session = self._sessions.get(command.session_id)
        if session is None:
            return []
        swept = self._collector.sweep_session(session)
        session.cut(command.at_ns, swept, partial(self._change, session, command))
        reports: Reports = []
        if isinstance(command, wire.Switch | wire.End):
            reports = self._reports(command.session_id)
        if isinstance(command, wire.End):
            for stream_id in list(session.streams):
                self._drop(session, stream_id)
            del self._sessions[command.session_id]
        return reports

    def _change(self, session: MediaSession, command: wire.AnyCut) -> None:
        """What changes at the moment of a cut."""
        match command:
            case wire.Update():
                for spec in command.streams:
                    stream = session.streams.get(spec.stream_id)
                    if stream is None:
                        continue
                    self._table.change(stream, spec)
                    session.declare(stream, command.at_ns)
            case wire.CloseStreams():
                for stream_id in set(command.stream_ids) & set(session.streams):
                    stream = session.streams[stream_id]
                    stream.spec = replace(stream.spec, active=False)
                    session.declare(stream, command.at_ns)
                    session.closed.append(self._table.report(stream))
                    self._drop(session, stream_id)
            case wire.Switch():
                session.retarget(command.target, command.at_ns)
            case wire.End():
                session.retarget(DISCARD, command.at_ns)

    def _drop(self, session: MediaSession, stream_id: str) -> None:
        """Forget a stream."""
        stream = session.streams.pop(stream_id)
        self._reporter.remove(stream)
        self._table.remove(stream)
        stream.close()

    def _reports(self, session_id: str) -> Reports:
        """Reports of all streams the session has or had; none if it is gone."""
        session = self._sessions.get(session_id)
        if session is None:
            return []
        live = [self._table.report(stream) for stream in session.streams.values()]
        return [(session_id, report) for report in session.closed + live]

    # the pipe

    def _answer(self, number: int, reports: Reports) -> None:
        """Acknowledge a command, in as many parts as its reports take."""
        size = wire.REPORTS_PER_MESSAGE
        while len(reports) > size:
            self._send(wire.Done(number, reports[:size], last=False))
            reports = reports[size:]
        self._send(wire.Done(number, reports))

    def _trouble(self, recording_id: str, code: str) -> None:
        self._send(wire.Trouble(recording_id, code))

    def _send(self, answer: wire.AnyAnswer) -> None:
        self._unsent.append(wire.encode(answer))
        self._send_unsent()

    def _send_unsent(self) -> None:
        """Send what the pipe takes; a control process that is gone shows when we read."""
        try:
            while self._unsent:
                self._pipe.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            return
        except ConnectionError:
            self._unsent.clear()


def _keep_memory() -> None:
    """Have the C library keep what is freed: every tick needs as much again, faults cost time."""
    ffi = FFI()
    ffi.cdef("int mallopt(int parameter, int value);")
    libc: Any = ffi.dlopen(None)
    libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_OCTETS)
    libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_OCTETS)


def main() -> None:
    """Run from the command line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    descriptor, folder, tick_ms = sys.argv[1:]
    pipe = socket.socket(fileno=int(descriptor))
    pipe.setblocking(False)
    _keep_memory()
    worker = Worker(pipe, Path(folder), int(tick_ms))
    gc.collect()
    gc.freeze()
    gc.disable()
    worker.run()


if __name__ == "__main__":
    main()
