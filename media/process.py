"""The media process seen from the control process: started, watched, restarted, talked to.

Every command is kept until it is acknowledged. A process that ends, or is silent for too long, is
killed and started again, told what `restore` says, and given the unacknowledged commands once more.
"""

import asyncio
import errno
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from media import wire
from media.spec import MediaUnavailable, StreamReport

ACKNOWLEDGE_S = 2.0
"""Time for an acknowledgement, before the process is taken for dead."""
START_S = 15.0
"""Time to load its libraries and say `Ready`."""
CLOSE_S = 10.0
"""Time to write what is pending at the end."""
HEARTBEAT_S = 1.0
"""An idle process is asked for a sign of life this often."""
GONE_S = 10.0
"""After so long without a process the kernel has no room left for what arrives."""
_ATTEMPTS = 2
_CONGESTED_S = 0.01

Reports = list[tuple[str, StreamReport]]


@dataclass(slots=True, eq=False)
class Order:
    """A command on its way."""

    command: wire.AnyCommand
    sockets: Sequence[socket.socket] = ()
    """Handed over with it."""
    done: Callable[[Reports], None] = lambda _: None
    failed: Callable[[], None] = lambda: None
    restores: bool = False
    """It says again what an earlier process knew."""
    attempts: int = 0
    sent_at: float = 0.0
    reports: Reports = field(default_factory=list)


class MediaProcess:
    """One child process at a time, and the orders it has not acknowledged."""

    def __init__(
        self,
        arguments: Sequence[str],
        restore: Callable[[], Iterable[Order]],
        trouble: Callable[[str, str], None],
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        """`gone` is called once when there has been none for `GONE_S`; we go on trying."""
        self._arguments = arguments
        self._restore = restore
        self._trouble = trouble
        self._gone = gone
        self.is_gone = False
        """There has been none for so long that media is lost."""
        self.restarts = 0
        self._child: asyncio.subprocess.Process | None = None
        self._pipe: socket.socket | None = None
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._orders: dict[int, Order] = {}
        self._unsent: deque[Order] = deque()
        self._number = 0
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None while there is no process."""
        return self._child.pid if self._child else None

    async def start(self) -> None:
        """Start the process and wait until it listens; raises `MediaUnavailable`."""
        try:
            await self._launch()
        except MediaUnavailable:
            await self.close()
            raise
        self._supervisor = asyncio.get_running_loop().create_task(
            self._supervise(), name="media-process"
        )

    async def close(self) -> None:
        """Let the process write what it has and end; orders not acknowledged fail."""
        if self._supervisor:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
        self._hang_up()
        await self._bury(CLOSE_S)
        self._give_up(0)
        if self._supervisor and not self._supervisor.cancelled():
            self._supervisor.result()

    def number(self) -> int:
        """The next command's number."""
        self._number += 1
        return self._number

    def send(self, order: Order) -> None:
        """Send a command now, or as soon as the pipe takes it; never waits."""
        self._orders[order.command.number] = order
        if self._ready.is_set():
            self._unsent.append(order)
            if len(self._unsent) == 1:  # else the pipe is full, and a timer runs
                self._pump()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        lost_at = 0.0
        while True:
            await self._watch()
            lost_at = lost_at or loop.time()
            self._hang_up()
            await self._bury(0)
            self._give_up(_ATTEMPTS)
            self.restarts += 1
            try:
                await self._launch()
                self.is_gone, lost_at = False, 0.0
            except MediaUnavailable:
                self._count_out(loop.time() - lost_at)
                await asyncio.sleep(HEARTBEAT_S)

    def _count_out(self, absent_s: float) -> None:
        """Say once that there is no process, after so long without one."""
        if absent_s >= GONE_S and not self.is_gone:
            self.is_gone = True
            self._gone()

    async def _watch(self) -> None:
        """Return once the process is lost, or has left a command unacknowledged."""
        loop = asyncio.get_running_loop()
        while not self._lost.is_set():
            if not self._orders:
                self.send(Order(wire.Report(self.number(), [])))
            try:
                async with asyncio.timeout(HEARTBEAT_S / 2):
                    await self._lost.wait()
            except TimeoutError:
                oldest = min((o.sent_at for o in self._orders.values() if o.sent_at), default=0.0)
                if oldest and oldest + ACKNOWLEDGE_S < loop.time():
                    return

    async def _launch(self) -> None:
        """Start a process, tell it what the last one knew, and give it what is left to do.

        Raises `MediaUnavailable`; there may be half a process then.
        """
        self._lost.clear()
        try:
            async with asyncio.timeout(START_S):
                await self._spawn()
                await self._ready.wait()
        except (OSError, TimeoutError) as error:
            self._lost.set()
            raise MediaUnavailable("the media process did not start") from error
        if self._lost.is_set():
            raise MediaUnavailable("the media process ended at once")
        for order in self._restore():
            order.restores = True
            self._orders[order.command.number] = order
        again = sorted(self._orders.values(), key=lambda o: (not o.restores, o.command.number))
        self._unsent.extend(again)
        self._pump()

    async def _spawn(self) -> None:
        """Begin a process at the other end of a new pipe; raises OSError."""
        self._pipe, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pipe.setblocking(False)
        with theirs:
            self._child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "media.worker", str(theirs.fileno()), *self._arguments),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        asyncio.get_running_loop().add_reader(self._pipe, self._read)

    def _hang_up(self) -> None:
        """Close the pipe."""
        self._ready.clear()
        self._unsent.clear()
        if self._pipe:
            asyncio.get_running_loop().remove_reader(self._pipe)
            self._pipe.close()
            self._pipe = None

    async def _bury(self, patience_s: float) -> None:
        """Wait for the process to end, kill it after `patience_s`."""
        if self._child is None:
            return
        try:
            async with asyncio.timeout(patience_s):
                await self._child.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()
        self._child = None

    def _give_up(self, attempts: int) -> None:
        """Forget orders that were tried so often; what restored a state is made afresh."""
        for number, order in list(self._orders.items()):
            order.attempts += order.sent_at > 0
            order.sent_at, order.reports = 0.0, []
            if order.restores or order.attempts >= attempts:
                del self._orders[number]
                order.failed()

    def _pump(self) -> None:
        """Send what the pipe takes; descriptors in flight are limited, too (unix(7))."""
        while self._unsent and self._pipe:
            order = self._unsent[0]
            try:
                descriptors = [each.fileno() for each in order.sockets]
                socket.send_fds(self._pipe, [wire.encode(order.command)], descriptors)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ETOOMANYREFS):
                    asyncio.get_running_loop().call_later(_CONGESTED_S, self._pump)
                else:
                    self._lost.set()
                return
            order.sent_at = asyncio.get_running_loop().time()
            self._unsent.popleft()

    def _read(self) -> None:
        """Take in all answers that are there."""
        while self._pipe:
            try:
                record = self._pipe.recv(wire.RECORD_OCTETS)
            except BlockingIOError:
                return
            except ConnectionError:
                record = b""
            if not record:
                asyncio.get_running_loop().remove_reader(self._pipe)
                self._lost.set()
                self._ready.set()
                return
            self._hear(wire.decode_answer(record))

    def _hear(self, answer: wire.AnyAnswer) -> None:
        match answer:
            case wire.Ready():
                self._ready.set()
            case wire.Trouble():
                self._trouble(answer.recording_id, answer.code)
            case wire.Done():
                order = self._orders[answer.number]
                order.reports += answer.reports
                if answer.last:
                    del self._orders[answer.number]
                    order.done(order.reports)
