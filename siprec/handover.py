"""Handover: what stands between a call and an outbox whose disk may be slow, full or gone.

Whoever has something to tell puts it here and goes on. One writer brings it to the outbox in the
order it came, many in one transaction, and tries again for as long as it takes; what waits for it
in memory is bounded.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

import structlog

from storage.outbox import Notification, Outbox
from storage.records import StorageError, StorageUnavailable

LIMIT_BYTES = 16 * 1024 * 1024
"""Most that waits in memory; what comes beyond it is lost, and said to be."""
OVERHEAD_BYTES = 1024
"""What a notification takes besides its texts."""
BATCH = 500
"""Most notifications in one transaction."""
FIRST_DELAY_S, LAST_DELAY_S = 0.1, 5.0
"""Pause after a failed attempt; doubled with each further one, up to the second."""
REPEAT_S = 60.0
"""How often a loss that goes on is logged."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What came in one `put`."""

    notifications: tuple[Notification, ...]
    size: int
    stored: asyncio.Future[None]


class Handover:
    """Notifications on their way to the outbox. `on_stored` is called after each transaction."""

    def __init__(self, outbox: Outbox, on_stored: Callable[[], None]) -> None:
        self._outbox = outbox
        self._on_stored = on_stored
        self._waiting: deque[_Parcel] = deque()
        self._size = 0
        self._put = asyncio.Event()
        self._hurry = asyncio.Event()
        self._behind_since: float | None = None
        self._lost = 0
        self._lost_told_at = -REPEAT_S

    @property
    def behind(self) -> bool:
        """Whether the outbox refuses to be written at present."""
        return self._behind_since is not None

    def put(self, notifications: Sequence[Notification]) -> asyncio.Future[None]:
        """Have these queued, in order. Never waits or fails.

        What is returned is done once they outlive the process, or are lost; it never raises.
        """
        size = sum(map(_size, notifications))
        if self._size + size > LIMIT_BYTES:
            return self._lose(len(notifications))
        return self._append(tuple(notifications), size)

    async def drain(self, timeout_s: float) -> bool:
        """Queue what was put until now, without waiting out a pause; False if time ran out."""
        last = self._append((), 0)
        self._hurry.set()
        done, _ = await asyncio.wait({last}, timeout=timeout_s)
        return bool(done)

    async def run(self) -> None:
        """Queue what is put until cancelled."""
        while True:
            await self._put.wait()
            self._put.clear()
            while self._waiting:
                await self._store(self._next())

    def _append(self, notifications: tuple[Notification, ...], size: int) -> asyncio.Future[None]:
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append(_Parcel(notifications, size, stored))
        self._size += size
        self._put.set()
        return stored

    def _lose(self, count: int) -> asyncio.Future[None]:
        self._lost += count
        if monotonic() - self._lost_told_at >= REPEAT_S:
            logger.error("notifications_lost", count=self._lost, reason="outbox_behind")
            self._lost, self._lost_told_at = 0, monotonic()
        lost = asyncio.get_running_loop().create_future()
        lost.set_result(None)
        return lost

    def _next(self) -> list[_Parcel]:
        """The parcels that go into one transaction, at least one."""
        parcels: list[_Parcel] = []
        count = 0
        for parcel in self._waiting:
            count += len(parcel.notifications)
            if parcels and count > BATCH:
                break
            parcels.append(parcel)
        return parcels

    async def _store(self, parcels: list[_Parcel]) -> None:
        """Queue these, with as many attempts as it takes."""
        notifications = [each for parcel in parcels for each in parcel.notifications]
        delay_s = FIRST_DELAY_S
        while not await self._attempt(notifications):
            hurried = await self._pause(delay_s)
            delay_s = FIRST_DELAY_S if hurried else min(2 * delay_s, LAST_DELAY_S)
        self._caught_up()
        for parcel in parcels:
            self._waiting.popleft()
            self._size -= parcel.size
            if not parcel.stored.done():
                parcel.stored.set_result(None)
        self._on_stored()

    async def _attempt(self, notifications: list[Notification]) -> bool:
        try:
            await self._outbox.put(notifications)
        except StorageUnavailable as error:
            self._fell_behind(error)
            return False
        except StorageError as error:
            if len(notifications) > 1:
                return await self._one_by_one(notifications)
            event_id = notifications[0].event_id
            logger.error("notification_refused", event_id=event_id, error=str(error))
        return True

    async def _one_by_one(self, notifications: list[Notification]) -> bool:
        """Queue what can be; the one that cannot must not hold up the others."""
        while notifications:
            if not await self._attempt(notifications[:1]):
                return False
            del notifications[0]
        return True

    async def _pause(self, delay_s: float) -> bool:
        """Let time pass; True if `drain` cut it short."""
        try:
            async with asyncio.timeout(delay_s):
                await self._hurry.wait()
        except TimeoutError:
            return False
        self._hurry.clear()
        return True

    def _fell_behind(self, error: StorageUnavailable) -> None:
        if self._behind_since is None:
            self._behind_since = monotonic()
            logger.warning("outbox_behind", error=str(error))

    def _caught_up(self) -> None:
        if self._behind_since is not None:
            behind_s = round(monotonic() - self._behind_since, 1)
            logger.info("outbox_caught_up", behind_s=behind_s)
            self._behind_since = None


def _size(notification: Notification) -> int:
    texts = (notification.destination, notification.lane, notification.url, notification.body)
    return OVERHEAD_BYTES + sum(map(len, texts))
