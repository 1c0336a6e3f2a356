"""Outbox: what destinations are still to be told, kept in a database file of this node.

It is not the catalogue's database: what was queued outlives a catalogue that is away, and a process
that is killed. Delivery is `siprec.courier`; what is said is `siprec.notifications`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from storage.database import Database


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell one destination."""

    event_id: str
    """UUID, the same in every attempt; a receiver tells repetitions by it."""
    destination: str
    """Name of the `Destination`; `policy NAME` for what a policy sends."""
    lane: str
    """Call-ID: notifications of one lane to one destination are delivered in their order."""
    created_at: datetime
    method: str
    """`GET` or `POST`."""
    url: str
    """Whole, with the parameters if they go in the query."""
    body: str = ""
    """JSON, for POST."""
    account: int = 1
    """Whose call it is about."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A notification in the outbox."""

    sequence: int
    """1, 2, … in the order of arrival."""
    notification: Notification
    state: str
    """`pending` or `dead`."""
    attempts: int
    next_at: datetime
    """Not tried again before."""
    error: str
    """Why the last attempt failed; a reason code, never what the receiver answered."""


class Outbox:
    """The queue of one node. Every method may raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, notifications: Sequence[Notification]) -> None:
        """Queue notifications, all or none; they outlive the process from the return on."""
        raise NotImplementedError

    async def due(self, now: datetime, limit: int, busy: Collection[tuple[str, str]] = ()) -> list[Queued]:
        """The first pending notification of each (destination, lane), if it may be tried now.

        Oldest first, at most `limit`; pairs in `busy` are left out.
        """
        raise NotImplementedError

    async def delivered(self, sequence: int) -> None:
        """Forget what was delivered."""
        raise NotImplementedError

    async def retry(self, sequence: int, next_at: datetime, error: str) -> None:
        """Count a failed attempt and wait until `next_at`."""
        raise NotImplementedError

    async def bury(self, sequence: int, error: str) -> None:
        """Make it a dead letter; the next of its lane gets its turn."""
        raise NotImplementedError

    async def find(
        self, state: str | None = None, accounts: frozenset[int] | None = None, after: int = 0, limit: int = 100
    ) -> list[Queued]:
        """Notifications by sequence number."""
        raise NotImplementedError

    async def replay(self, sequences: Collection[int] | None = None) -> int:
        """Make dead letters pending again, all of them or these; how many there were."""
        raise NotImplementedError

    async def count(self, state: str) -> int:
        """How many are `pending` or `dead`."""
        raise NotImplementedError
