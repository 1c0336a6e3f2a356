"""Courier: brings what is in the outbox to its destinations, each at least once.

Of one receiver and lane (a call) one notification is under way at a time, so that their order is
kept, whatever destinations they are for; different calls go side by side. A receiver begins with
one request at a time and gets more while it answers; one that fails several times in a row is left
alone for a while and then tried with one request, so that a dead one costs little, however much
waits for it, and never a place that others need.

Counterparts: `siprec.notifications` (what is said), `storage.outbox` (what survives),
`siprec.outbound` (where requests may go).
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import uniform

import structlog

from config.schema import Notify
from siprec import __version__
from siprec.handover import FIRST_DELAY_S, LAST_DELAY_S, REPEAT_S, Handover
from siprec.outbound import Blocked, Outbound, Unreachable, request_target
from storage.directory import INITIAL, Directory
from storage.outbox import Notification, Outbox, Queued
from storage.records import StorageError

AT_ONCE = 8
"""Most requests under way to one receiver."""
IN_ALL = 64
"""Most requests under way."""
UNBOOKED = 512
"""Most whose outcome the outbox has not heard yet: while its disk fails no more are sent."""
PATIENCE = 3
"""Failures in a row after which a receiver is left alone for a while."""
FIRST_RETRY_S = 0.2
"""Pause after the first failed attempt; each further one doubles it."""
LOOK_GAP_S = 0.02
"""Least time between two looks into the outbox: one look shall find work for many requests."""
POLL_S = 5.0
"""Longest time between two looks: another process may have replayed dead letters."""
POLICY = "policy "
"""How names of destinations begin that are policies, and stand in no directory."""

logger = structlog.get_logger(__name__)


def sign(secret: str, timestamp: str, event_id: str, method: str, target: str, body: bytes) -> str:
    """Value of `X-Siprecd-Signature`: `v1=` and the HMAC-SHA256 (RFC 2104) in hexadecimal.

    Signed is `TIMESTAMP.EVENT-ID.METHOD TARGET`, a line feed, and the body: the values of
    `X-Siprecd-Timestamp` and `X-Siprecd-Event-Id`, and the request target as it is sent (path and
    query, RFC 9112 3.2.1). A receiver computes the same and compares in constant time; a timestamp
    far from its own clock is a replay, a known event id a repetition.
    """
    told = f"{timestamp}.{event_id}.{method} {target}\n".encode() + body
    return "v1=" + hmac.new(secret.encode(), told, hashlib.sha256).hexdigest()


def backoff_s(failures: int, longest_s: float) -> float:
    """Pause after so many failures, with jitter: between half and the whole of what it may be."""
    return min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 30), longest_s) * uniform(0.5, 1)


@dataclass(slots=True)
class Standing:
    """What is known of a receiver. Times are seconds of the loop's clock."""

    lanes: set[str] = field(default_factory=set)
    """In which one is under way, or the outbox is still to hear how it went."""
    requests: int = 0
    """Under way."""
    window: int = 1
    """How many may be: doubled by a success, one again after a failure."""
    failures: int = 0
    """In a row; requests that were under way together count once."""
    failed_at: float = 0.0
    rest_until: float = 0.0

    @property
    def is_down(self) -> bool:
        """It failed so often that it is left alone between attempts."""
        return self.failures >= PATIENCE

    def room(self, now: float) -> int:
        """How many more requests may go out."""
        return 0 if now < self.rest_until else max(0, self.window - self.requests)

    def succeeded(self) -> None:
        """Note an answer that was a success."""
        self.failures, self.rest_until = 0, 0.0
        self.window = min(AT_ONCE, 2 * self.window)

    def failed(self, began: float, now: float, longest_s: float) -> None:
        """Note that a request of `began` failed."""
        if began < self.failed_at:
            return
        self.window, self.failed_at = 1, now
        self.failures += 1
        if self.is_down:
            self.rest_until = now + backoff_s(self.failures - PATIENCE + 1, longest_s)


class Courier:
    """Delivery for one node, the only one on its outbox."""

    def __init__(
        self, outbox: Outbox, directory: Directory, config: Notify, outbound: Outbound
    ) -> None:
        self._outbox = outbox
        self._directory = directory
        self._outbound = outbound
        self._longest_s = config.retry_max_s
        self._give_up = timedelta(hours=config.give_up_hours)
        self._look = asyncio.Event()
        self._handover = Handover(outbox, self._look.set)
        self._standings: dict[str, Standing] = {}
        self._under_way = 0
        self._unbooked: set[int] = set()
        self._delivered: list[int] = []
        self._turn = asyncio.Lock()
        self._told: dict[tuple[str, str], float] = {}

    @property
    def behind(self) -> bool:
        """Whether the outbox refuses to be written at present."""
        return self._handover.behind

    def put(self, notifications: Sequence[Notification]) -> Awaitable[None]:
        """Have these delivered. Never waits or fails.

        What is returned is done once they outlive the process; it may be dropped.
        """
        return self._handover.put(notifications)

    async def drain(self, timeout_s: float) -> bool:
        """Make what was put outlive the process; False if time ran out. For use at the end."""
        return await self._handover.drain(timeout_s)

    async def run(self) -> None:
        """Deliver until cancelled. What is under way then is sent again at the next start."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._handover.run(), name="outbox writer")
            while True:
                self._look.clear()
                wait_s = await self._send_out(group)
                await asyncio.sleep(LOOK_GAP_S)
                await self._wait(wait_s)

    async def _send_out(self, group: asyncio.TaskGroup) -> float:
        """Start what may be started; returns when to look again unless something happens."""
        try:
            started = await self._start_due(group)
            return 0.0 if started else await self._idle_s()
        except StorageError as error:
            self._tell_once("outbox_unavailable", "", str(error))
            return POLL_S

    async def _start_due(self, group: asyncio.TaskGroup) -> int:
        # A directory never read knows no destinations: what is for them must not be buried.
        if not self._room() or self._directory.entries is INITIAL:
            return 0
        clock, started = asyncio.get_running_loop().time(), 0
        known = self._standings.items()
        resting = [name for name, standing in known if not standing.room(clock)]
        busy = [(name, lane) for name, standing in known for lane in standing.lanes]
        for queued in await self._outbox.due(datetime.now(UTC), IN_ALL, busy, resting, AT_ONCE):
            if not self._room():
                break
            name = queued.notification.receiver
            standing = self._standings.setdefault(name, Standing())
            if standing.room(clock):
                standing.lanes.add(queued.notification.lane)
                standing.requests += 1
                self._under_way += 1
                group.create_task(self._carry(queued, standing), name=f"notify {name}")
                started += 1
        return started

    def _room(self) -> bool:
        """Whether anything may be started."""
        return self._under_way < IN_ALL and len(self._unbooked) < UNBOOKED

    async def _idle_s(self) -> float:
        """Time until the first receiver has rested, or the first notification has waited."""
        clock, now = asyncio.get_running_loop().time(), datetime.now(UTC)
        rests = [each.rest_until - clock for each in self._standings.values()]
        next_at = await self._outbox.next_at(now)
        waits = [(next_at - now).total_seconds()] if next_at else []
        return min([POLL_S, *(rest for rest in rests if rest > 0), *waits])

    async def _wait(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._look.wait()
        except TimeoutError:
            pass

    async def _carry(self, queued: Queued, standing: Standing) -> None:
        """One attempt, from the request to what the outbox knows of it."""
        self._unbooked.add(queued.sequence)
        try:
            await self._attempt(queued, standing)
        finally:
            self._unbooked.discard(queued.sequence)
            standing.lanes.discard(queued.notification.lane)
            self._look.set()

    async def _attempt(self, queued: Queued, standing: Standing) -> None:
        clock = asyncio.get_running_loop().time
        name, began, was_down = queued.notification.receiver, clock(), standing.is_down
        try:
            await self._send(queued.notification, standing)
        except Blocked as refusal:
            standing.succeeded()
            await self._bury(queued, refusal.reason)
        except Unreachable as failure:
            standing.failed(began, clock(), self._longest_s)
            if standing.is_down and not was_down:
                logger.warning("receiver_down", receiver=name, reason=failure.reason)
            await self._put_off(queued, standing, failure.reason)
        else:
            standing.succeeded()
            if was_down:
                logger.info("receiver_up", receiver=name)
            self._delivered.append(queued.sequence)
            await self._book(self._forget)

    async def _send(self, notification: Notification, standing: Standing) -> None:
        """Make the request. Raises Blocked, and Unreachable for any answer but a success."""
        try:
            destination = self._directory.entries.destinations.get(notification.destination)
            if destination is None and not notification.destination.startswith(POLICY):
                raise Blocked("destination_removed")
            headers = _headers(notification, destination.secret if destination else "")
            body = notification.body.encode()
            answer = await self._outbound.send(
                notification.method, notification.url, headers, body, answer_bytes=0
            )
        finally:
            standing.requests -= 1
            self._under_way -= 1
            self._look.set()
        if not 200 <= answer.status < 300:
            raise Unreachable(f"status_{answer.status}")

    async def _put_off(self, queued: Queued, standing: Standing, reason: str) -> None:
        """Have it tried again later, unless it is too old."""
        now, name = datetime.now(UTC), queued.notification.receiver
        if queued.notification.created_at <= now - self._give_up:
            await self._bury(queued, reason)
        else:
            wait = timedelta(seconds=backoff_s(queued.attempts + 1, self._longest_s))
            await self._book(lambda: self._outbox.retry(queued.sequence, now + wait, reason))
        if standing.is_down:
            before = now - self._give_up
            await self._book(lambda: self._outbox.expire(name, before, reason))

    async def _bury(self, queued: Queued, reason: str) -> None:
        self._tell_once("notification_dead", queued.notification.destination, reason)
        await self._book(lambda: self._outbox.bury(queued.sequence, reason))

    async def _forget(self) -> None:
        """Forget in one transaction all that was delivered by now."""
        sequences = [*self._delivered]
        if sequences:
            await self._outbox.delivered(*sequences)
            del self._delivered[: len(sequences)]

    async def _book(self, write: Callable[[], Awaitable[object]]) -> None:
        """Write an outcome down, one after the other, with as many attempts as it takes.

        Until then it keeps its place: a disk that fails must not make us send the same again.
        """
        delay_s = FIRST_DELAY_S
        async with self._turn:
            while True:
                try:
                    await write()
                    return
                except StorageError as error:
                    self._tell_once("outbox_unavailable", "", str(error))
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, LAST_DELAY_S)

    def _tell_once(self, event: str, destination: str, reason: str) -> None:
        """Log an error, for one destination and reason once in a while."""
        now = asyncio.get_running_loop().time()
        key = (destination, reason)
        if now - self._told.get(key, -REPEAT_S) < REPEAT_S:
            return
        if len(self._told) >= 1000:
            self._told.clear()
        self._told[key] = now
        logger.error(event, destination=destination, reason=reason)


def _headers(notification: Notification, secret: str) -> dict[str, str]:
    """What is sent along with an attempt. Raises Blocked."""
    timestamp, event_id = str(int(datetime.now(UTC).timestamp())), notification.event_id
    headers = {
        "User-Agent": f"siprecd/{__version__}",
        "X-Siprecd-Event-Id": event_id,
        "X-Siprecd-Timestamp": timestamp,
    }
    if notification.body:
        headers["Content-Type"] = "application/json"
    if secret:
        target, body = request_target(notification.url), notification.body.encode()
        signature = sign(secret, timestamp, event_id, notification.method, target, body)
        headers["X-Siprecd-Signature"] = signature
    return headers
