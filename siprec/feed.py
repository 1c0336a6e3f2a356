"""Bounded publish and subscribe of what happens in the recorder.

Publishing never waits and never fails: a subscriber that does not keep up loses its oldest events
and is told how many (`Subscription.missed`).
"""

from asyncio import Event
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

CAPACITY = 1024
"""Events a subscriber may lag behind; some 200 kB, ten seconds of a very busy node."""


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One change of a live session or a recording."""

    type: str
    """`session.started`, `session.updated`, `session.not_recorded`, `session.ended`,
    `recording.started`, `recording.paused`, `recording.resumed`, `recording.stopped`,
    `recording.marked`, `recording.unmarked`, `recording.saved`, `recording.discarded`,
    `recording.changed`, `recording.complete`, `recording.partial`, `recording.failed`,
    `recording.deleted`."""
    at: datetime
    session_id: str = ""
    recording_id: str = ""
    call_id: str = ""
    actor: str = ""
    reason: str = ""
    account: int = 1
    """Whose call it is."""
    route: int = 1
    is_split: bool = False
    """A recording that started only because the one before it was split: the call was recorded all
    the while."""


class Subscription:
    """One reader's queue; iterate it asynchronously."""

    def __init__(self) -> None:
        self._events: deque[FeedEvent] = deque(maxlen=CAPACITY)
        self._ready = Event()
        self.missed = 0

    def put(self, event: FeedEvent) -> None:
        """Append, dropping the oldest event if full."""
        self.missed += len(self._events) == CAPACITY
        self._events.append(event)
        self._ready.set()

    async def __aiter__(self) -> AsyncIterator[FeedEvent]:
        while True:
            await self._ready.wait()
            while self._events:
                yield self._events.popleft()
            self._ready.clear()


class EventFeed:
    """Fans events out to every subscription."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._listeners: list[Callable[[FeedEvent], None]] = []

    def publish(self, event: FeedEvent) -> None:
        """Hand `event` to every subscriber; returns at once."""
        for subscription in self._subscriptions:
            subscription.put(event)
        for listener in self._listeners:
            listener(event)

    def listen(self, listener: Callable[[FeedEvent], None]) -> None:
        """Have `listener` called with every event from now on; it never waits and never raises."""
        self._listeners.append(listener)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """A subscription that lasts as long as the `with` block."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
