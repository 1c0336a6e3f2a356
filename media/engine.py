"""The media room's door in the control process: sessions, their streams and where they go.

Sockets are bound here and lent to the media process, so that a call is answered without waiting
for it, and packets are held by the kernel when it has to be started again.
"""

import asyncio
import re
import resource
import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from config.schema import Media
from media import wire
from media.ports import SO_TIMESTAMPNS, PortPair, RtpPortPool
from media.process import MediaProcess, Order, Reports
from media.spec import (
    MAX_PREBUFFER_MS,
    MediaError,
    MediaUnavailable,
    PortsExhausted,
    StreamPort,
    StreamReport,
    StreamSpec,
    Target,
)

RESERVED_DESCRIPTORS = 256
"""Kept for everything that is not a call."""

_SESSIONS_PER_MESSAGE = 1_000
_RECORDING_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(slots=True, eq=False)
class _Stream:
    index: int
    """What its rows carry in spools."""
    spec: StreamSpec
    pair: PortPair
    known: bool = False
    """The media process acknowledged it."""


def _cname() -> bytes:
    """A canonical name nobody else has, the same for all streams of a session (RFC 7022 4.2)."""
    return b64encode(secrets.token_bytes(12))


@dataclass(slots=True, eq=False)
class _Session:
    """What the media process acknowledged of a session, to be told to the next one."""

    target: Target
    known: bool = False
    streams: dict[str, _Stream] = field(default_factory=dict)
    opened: int = 0
    """Streams there have been."""
    cname: bytes = field(default_factory=_cname)


class MediaEngine:
    """Records what arrives on the ports it gives out.

    All times are `time.time_ns()`. Methods that are not coroutines take effect in the order they
    are called, without waiting; coroutines send before they first wait. Use it from one event loop.
    Naming a session that is not open is a KeyError.
    """

    def __init__(self, config: Media, spool: Path) -> None:
        self.on_trouble: Callable[[str, str], None] = lambda recording_id, code: None
        """Called with a recording id and `enospc`, `spool_write_failed` (once for each cause),
        `media_restarted` (up to a second of it may be lost) or `media_gone` (as `is_gone`)."""
        self._sessions: dict[str, _Session] = {}
        self._ports = RtpPortPool(config.address, config.port_min, config.port_max)
        self._clock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._process = MediaProcess(
            [str(spool), str(config.tick_ms)], self._restore, self._trouble, self._gone
        )
        self._descriptors = RESERVED_DESCRIPTORS
        self._limit = 0

    @property
    def restarts(self) -> int:
        """How often the media process had to be started again."""
        return self._process.restarts

    @property
    def is_gone(self) -> bool:
        """There has been no media process for so long that what arrives is lost."""
        return self._process.is_gone

    @property
    def worker_pid(self) -> int | None:
        """Process id of the media process, None while there is none."""
        return self._process.pid

    async def start(self) -> None:
        """Start the media process; raises `MediaUnavailable`."""
        _, self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._limit, self._limit))
        # the kernel begins to stamp packets a moment after the first socket asks for it
        self._clock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        await self._process.start()

    async def close(self) -> None:
        """End the media process, after it wrote what it had, and close all sockets.

        Recordings of sessions that did not end are left without their `stop`.
        """
        await self._process.close()
        for session_id in list(self._sessions):
            self._forget(session_id)
        self._clock.close()

    def open(
        self, session_id: str, streams: Sequence[StreamSpec], target: Target, at_ns: int
    ) -> list[StreamPort]:
        """Bind ports for streams of a new session that goes to `target`, or of one that is open.

        In the latter case `target` is void. Raises `PortsExhausted`, having taken no port.
        """
        _check(target, at_ns)
        pairs = self._take(len(streams))
        session = self._sessions.setdefault(session_id, _Session(target))
        opened = [
            _Stream(session.opened + i, spec, pair)
            for i, (spec, pair) in enumerate(zip(streams, pairs, strict=True))
        ]
        session.opened += len(opened)
        session.streams |= {stream.spec.stream_id: stream for stream in opened}
        for order in self._opening(session_id, session, opened, at_ns):
            self._process.send(order)
        return [StreamPort(s.spec.stream_id, s.pair.port, s.pair.port + 1) for s in opened]

    def update(self, session_id: str, streams: Sequence[StreamSpec], at_ns: int) -> None:
        """Change formats, activity or RTCP address of streams for what arrives from `at_ns` on."""
        session = self._sessions[session_id]

        def known(_: object = None) -> None:
            for spec in streams:
                if spec.stream_id in session.streams:
                    session.streams[spec.stream_id].spec = spec

        command = wire.Update(self._process.number(), session_id, list(streams), at_ns)
        self._process.send(Order(command, done=known, failed=known))

    def close_streams(self, session_id: str, stream_ids: Sequence[str], at_ns: int) -> None:
        """Record what arrived for streams before `at_ns`, and give their ports back."""
        session = self._sessions[session_id]

        def known(_: object = None) -> None:
            for stream_id in stream_ids:
                if stream_id in session.streams:
                    self._give_back(session.streams.pop(stream_id))

        command = wire.CloseStreams(self._process.number(), session_id, list(stream_ids), at_ns)
        self._process.send(Order(command, done=known, failed=known))

    async def switch(self, session_id: str, target: Target, at_ns: int) -> list[StreamReport]:
        """Send what arrives from `at_ns` on to `target`; returns once that is so.

        Raises `MediaUnavailable` if it cannot be confirmed: then it comes into force as soon as a
        media process is there again, unless it would end a pause. A pause stays.
        """
        _check(target, at_ns)
        session = self._sessions[session_id]
        # A media process that starts again goes on with the recording, not before its beginning.
        standing = replace(target, since_ns=0)

        def known(_: object = None) -> None:
            session.target = standing

        def failed() -> None:
            if target.paused or target.recording_id is None or not session.target.paused:
                session.target = standing

        command = wire.Switch(self._process.number(), session_id, target, at_ns)
        return [report for _, report in await self._ask(command, known, failed)]

    async def end(self, session_id: str, at_ns: int) -> list[StreamReport]:
        """End a session with what arrived before `at_ns`: its spool is complete on return.

        Reports of all streams it ever had. Raises `MediaUnavailable`: the session is gone all the
        same, its spool may lack the end.
        """
        command = wire.End(self._process.number(), session_id, at_ns)
        forget = partial(self._forget, session_id)
        return [report for _, report in await self._ask(command, lambda _: forget(), forget)]

    async def reports(self, session_ids: Iterable[str]) -> dict[str, list[StreamReport]]:
        """Reception figures of sessions; those that are not open are left out.

        They count from the last start of the media process. Raises `MediaUnavailable`.
        """
        wanted = [session_id for session_id in session_ids if session_id in self._sessions]
        found: dict[str, list[StreamReport]] = {session_id: [] for session_id in wanted}
        for first in range(0, len(wanted), _SESSIONS_PER_MESSAGE):
            some = wanted[first : first + _SESSIONS_PER_MESSAGE]
            command = wire.Report(self._process.number(), some)
            for session_id, report in await self._ask(command):
                found[session_id].append(report)
        return found

    async def _ask(
        self,
        command: wire.AnyCommand,
        done: Callable[[Reports], None] = lambda _: None,
        failed: Callable[[], None] = lambda: None,
    ) -> Reports:
        """Send a command and wait for the answer; the callbacks run even if nobody waits."""
        future: asyncio.Future[Reports] = asyncio.get_running_loop().create_future()

        def answered(reports: Reports) -> None:
            done(reports)
            if not future.done():
                future.set_result(reports)

        def gave_up() -> None:
            failed()
            if not future.done():
                future.set_exception(MediaUnavailable("the media process does not answer"))

        self._process.send(Order(command, done=answered, failed=gave_up))
        return await future

    def _opening(
        self, session_id: str, session: _Session, streams: Sequence[_Stream], at_ns: int
    ) -> Iterator[Order]:
        """Orders that hand streams over, as many in each as a message takes; at least one."""

        def known(some: Sequence[_Stream], _: object = None) -> None:
            session.known = True
            for stream in some:
                stream.known = True

        for first in range(0, max(1, len(streams)), wire.STREAMS_PER_MESSAGE):
            some = streams[first : first + wire.STREAMS_PER_MESSAGE]
            command = wire.Open(
                self._process.number(),
                session_id,
                [(stream.index, stream.spec) for stream in some],
                session.target,
                session.cname,
                at_ns,
            )
            sockets = [end for stream in some for end in (stream.pair.rtp, stream.pair.rtcp)]
            yield Order(command, sockets, partial(known, some), partial(known, some))

    def _restore(self) -> Iterator[Order]:
        """All that a new media process has to know; the order matters to nobody else."""
        for session_id, session in self._sessions.items():
            if session.known:
                streams = [stream for stream in session.streams.values() if stream.known]
                yield from self._opening(session_id, session, streams, time.time_ns())
                if session.target.recording_id is not None:
                    self.on_trouble(session.target.recording_id, "media_restarted")

    def _trouble(self, recording_id: str, code: str) -> None:
        self.on_trouble(recording_id, code)

    def _gone(self) -> None:
        for session in list(self._sessions.values()):
            if session.target.recording_id is not None:
                self.on_trouble(session.target.recording_id, "media_gone")

    def _take(self, count: int) -> list[PortPair]:
        """Bind ports; the media process needs as many descriptors as we, and one for the spool."""
        wanted = self._descriptors + len(self._sessions) + 2 * count + 1
        if wanted > self._limit:
            raise PortsExhausted(f"{self._limit} open files allowed, {wanted} wanted")
        pairs = self._ports.take(count, time.monotonic())
        self._descriptors += 2 * count
        return pairs

    def _give_back(self, stream: _Stream) -> None:
        self._ports.give_back(stream.pair, time.monotonic())
        self._descriptors -= 2

    def _forget(self, session_id: str) -> None:
        session = self._sessions.pop(session_id, None)
        for stream in session.streams.values() if session else ():
            self._give_back(stream)


def _check(target: Target, at_ns: int) -> None:
    """Raise MediaError for a target that means nothing; a recording id becomes a file name."""
    if target.recording_id is None:
        if not 0 <= target.prebuffer_ms <= MAX_PREBUFFER_MS or target.since_ns:
            raise MediaError(f"not a target without a recording: {target}")
        return
    if not _RECORDING_ID.fullmatch(target.recording_id):
        raise MediaError(f"not a recording id: {target.recording_id!r}")
    if (
        target.prebuffer_ms
        or not 0 <= target.since_ns <= at_ns
        or (target.since_ns and target.paused)
    ):
        raise MediaError(f"not a target with a recording: {target}")
