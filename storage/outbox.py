"""Outbox: what destinations are still to be told, kept in a database file of this node.

It is not the catalogue's database: what was queued outlives a catalogue that is away, and a process
that is killed. Delivery is `siprec.courier`; what is said is `siprec.notifications`.

Of each (receiver, lane) one notification is `ready`, the first; the others are `behind` it. So
what may be tried is read off an index, however long the queue is.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    CursorResult,
    FromClause,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.tables import outbox

READY, BEHIND, DEAD = "ready", "behind", "dead"
"""States of a row; to the outside the first two are `pending`."""
LONGEST_WAIT = timedelta(hours=1)
"""Longer than any back-off: what seems to wait longer was queued before the clock was set back."""
_AUTHORITY_END = re.compile(r"[/?#\\]")
BATCH = 1000
"""Most rows that one transaction buries or replays; keeps the write lock short."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell one destination."""

    event_id: str
    """UUID, the same in every attempt; a receiver tells repetitions by it."""
    destination: str
    """Name of the `Destination`; `policy NAME` for what a policy sends."""
    lane: str
    """Call-ID: notifications of one lane to one receiver are delivered in their order."""
    created_at: datetime
    method: str
    """`GET` or `POST`."""
    url: str
    """Whole, with the parameters if they go in the query."""
    body: str = ""
    """JSON, for POST."""
    account: int = 1
    """Whose call it is about."""

    @property
    def receiver(self) -> str:
        """Who answers at the URL: its scheme, host and port. Several destinations may be one."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{_AUTHORITY_END.split(rest, maxsplit=1)[0]}".lower()


@dataclass(frozen=True, slots=True)
class Queued:
    """A notification in the outbox."""

    sequence: int
    """1, 2, … in the order of arrival."""
    notification: Notification
    state: str
    """`pending` or `dead`."""
    attempts: int
    """How often it was taken up in vain."""
    next_at: datetime
    """Not tried again before."""
    error: str
    """Why the last attempt failed; a reason code, never what the receiver answered."""


class Outbox:
    """The queue of one node. Every method may raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, notifications: Sequence[Notification]) -> None:
        """Queue notifications, all or none; they outlive the process from the return on.

        Raises StorageError for a text that cannot be stored.
        """
        rows = [
            asdict(each)
            | {"receiver": each.receiver}
            | {"state": BEHIND, "attempts": 0, "next_at": each.created_at, "error": ""}
            for each in notifications
        ]
        if not rows:
            return
        async with self._database.writing() as connection:
            last = await connection.scalar(select(func.max(outbox.c.sequence)))
            await connection.execute(outbox.insert(), rows)
            new = and_(outbox.c.sequence > (last or 0), ~_earlier())
            await connection.execute(update(outbox).where(new).values(state=READY))

    async def due(
        self,
        now: datetime,
        limit: int,
        busy: Collection[tuple[str, str]] = (),
        resting: Collection[str] = (),
        each: int = 8,
    ) -> list[Queued]:
        """The first pending notification of each (receiver, lane), if it may be tried now.

        Longest due first, at most `limit`, and `each` of one receiver; pairs in `busy` and
        receivers in `resting` are left out.
        """
        async with self._database.reading() as connection:
            rows = await connection.execute(_due(now, limit, busy, resting, each))
            return [_queued(row) for row in rows]

    async def next_at(self, now: datetime) -> datetime | None:
        """When the next one that waits may be tried; None if none waits."""
        names, row = _names(), outbox.alias("row")
        soonest = select(func.min(row.c.next_at)).where(
            row.c.state == READY, row.c.receiver == names.c.name, row.c.next_at > now
        )
        each = select(soonest.correlate(names).scalar_subquery().label("at")).subquery()
        async with self._database.reading() as connection:
            found: datetime | None = await connection.scalar(select(func.min(each.c.at)))
            return found

    async def delivered(self, *sequences: int) -> None:
        """Forget what was delivered; the next of each lane gets its turn."""
        async with self._database.writing() as connection:
            gone = delete(outbox).where(outbox.c.sequence.in_(sequences))
            rows = await connection.execute(gone.returning(outbox.c.receiver, outbox.c.lane))
            await _promote(connection, rows)

    async def retry(self, sequence: int, next_at: datetime, error: str) -> None:
        """Count a failed attempt and wait until `next_at`."""
        failed = update(outbox).where(outbox.c.sequence == sequence)
        async with self._database.writing() as connection:
            await connection.execute(
                failed.values(attempts=outbox.c.attempts + 1, next_at=next_at, error=error)
            )

    async def bury(self, sequence: int, error: str) -> None:
        """Make it a dead letter; the next of its lane gets its turn."""
        async with self._database.writing() as connection:
            await _bury(connection, outbox.c.sequence == sequence, error)

    async def expire(self, receiver: str, before: datetime, error: str) -> int:
        """Make dead letters of what has waited for this receiver since before `before`.

        What was tried lately is left to its next attempt. Returns how many it buried.
        """
        old = (
            select(outbox.c.sequence)
            .where(outbox.c.state == READY, outbox.c.receiver == receiver)
            .where(outbox.c.next_at < before, outbox.c.created_at < before)
            .order_by(outbox.c.next_at)
            .limit(BATCH)
        )
        total, last = 0, BATCH
        while last:
            async with self._database.writing() as connection:
                last = await _bury(connection, outbox.c.sequence.in_(old), error)
            total += last
        return total

    async def find(
        self,
        state: str | None = None,
        accounts: frozenset[int] | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[Queued]:
        """Notifications by sequence number."""
        query = select(outbox).where(outbox.c.sequence > after)
        if state is not None:
            query = query.where(_is(state))
        if accounts is not None:
            query = query.where(outbox.c.account.in_(accounts))
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(outbox.c.sequence).limit(limit))
            return [_queued(row) for row in rows]

    async def replay(
        self,
        now: datetime,
        sequences: Collection[int] | None = None,
        accounts: frozenset[int] | None = None,
    ) -> int:
        """Make dead letters pending again, due `now`; how many there were.

        `sequences`: only these; `accounts`: only theirs. Each comes before what is younger in its
        lane.
        """
        if sequences is None:
            return await self._replay(now, outbox.c.sequence > 0, accounts)
        chosen = iter(sorted({*sequences}))
        total = 0
        while batch := [*islice(chosen, BATCH)]:
            total += await self._replay(now, outbox.c.sequence.in_(batch), accounts)
        return total

    async def count(self, state: str) -> int:
        """How many are `pending` or `dead`."""
        async with self._database.reading() as connection:
            query = select(func.count()).select_from(outbox).where(_is(state))
            return await connection.scalar(query) or 0

    async def oldest(self) -> datetime | None:
        """When the pending notification that came first was made; None if there is none."""
        query = select(outbox.c.created_at).where(outbox.c.state == READY)
        async with self._database.reading() as connection:
            return await connection.scalar(query.order_by(outbox.c.sequence).limit(1))

    async def _replay(
        self, now: datetime, which: ColumnElement[bool], accounts: frozenset[int] | None
    ) -> int:
        dead = select(outbox.c.sequence).where(outbox.c.state == DEAD, which)
        if accounts is not None:
            dead = dead.where(outbox.c.account.in_(accounts))
        total, last = 0, 0
        while True:
            batch = dead.where(outbox.c.sequence > last).order_by(outbox.c.sequence).limit(BATCH)
            async with self._database.writing() as connection:
                chosen = [*await connection.scalars(batch)]
                await _revive(connection, chosen, now)
            total += len(chosen)
            if len(chosen) < BATCH:
                return total
            last = chosen[-1]


def _due(
    now: datetime,
    limit: int,
    busy: Collection[tuple[str, str]],
    resting: Collection[str],
    each: int,
) -> Select[Any]:
    """Takes the first few of each receiver, all read off one index."""
    names = _names()
    row = outbox.alias("row")
    heads = (
        select(row.c.sequence)
        .where(row.c.state == READY, row.c.receiver == names.c.name)
        .where(or_(row.c.next_at <= now, row.c.next_at > now + LONGEST_WAIT))
        .order_by(row.c.next_at, row.c.sequence)
        .limit(each)
        .correlate(names)
    )
    if busy:
        heads = heads.where(tuple_(row.c.receiver, row.c.lane).not_in([*busy]))
    return (
        select(outbox)
        .select_from(names)
        .join(outbox, outbox.c.sequence.in_(heads))
        .where(names.c.name.not_in([*resting]))
        .order_by(outbox.c.next_at, outbox.c.sequence)
        .limit(limit)
    )


def _names() -> CTE:
    """Receivers that have something pending, found by walking from one to the next."""
    first = select(func.min(outbox.c.receiver).label("name")).where(outbox.c.state == READY)
    names = first.cte("names", recursive=True)
    following = select(func.min(outbox.c.receiver)).where(
        outbox.c.state == READY, outbox.c.receiver > names.c.name
    )
    return names.union_all(select(following.scalar_subquery()).where(names.c.name.is_not(None)))


def _is(state: str) -> ColumnElement[bool]:
    return outbox.c.state == DEAD if state == DEAD else outbox.c.state != DEAD


def _earlier() -> ColumnElement[bool]:
    """An older one of the same receiver and lane is pending."""
    other = outbox.alias("other")
    return (
        select(other.c.sequence)
        .where(other.c.state.in_([READY, BEHIND]), other.c.receiver == outbox.c.receiver)
        .where(other.c.lane == outbox.c.lane, other.c.sequence < outbox.c.sequence)
        .exists()
    )


async def _bury(connection: AsyncConnection, which: ColumnElement[bool], error: str) -> int:
    failed = {"state": DEAD, "attempts": outbox.c.attempts + 1, "error": error}
    dead = update(outbox).where(which).values(failed)
    rows = await connection.execute(dead.returning(outbox.c.receiver, outbox.c.lane))
    return await _promote(connection, rows)


async def _revive(connection: AsyncConnection, sequences: Sequence[int], now: datetime) -> None:
    """Queue dead letters again, in the places their numbers give them."""
    again = update(outbox).where(outbox.c.sequence.in_(sequences))
    again = again.values(state=BEHIND, attempts=0, next_at=now)
    rows = await connection.execute(again.returning(outbox.c.receiver, outbox.c.lane))
    lanes = {(row.receiver, row.lane) for row in rows}
    if lanes:
        await connection.execute(_STEP_BACK, _parameters(lanes))
        await connection.execute(_STEP_UP, _parameters(lanes))


async def _promote(connection: AsyncConnection, rows: CursorResult[Any]) -> int:
    """Give the next of each lane its turn; how many rows there were."""
    lanes = [(row.receiver, row.lane) for row in rows]
    if lanes:
        await connection.execute(_STEP_UP, _parameters({*lanes}))
    return len(lanes)


def _parameters(lanes: Collection[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"to": receiver, "on": lane} for receiver, lane in lanes]


def _in_lane(table: FromClause, state: str) -> ColumnElement[bool]:
    """Rows of `table` in this state and the lane of `_parameters`."""
    columns = table.c
    return and_(
        columns.state == state,
        columns.receiver == bindparam("to"),
        columns.lane == bindparam("on"),
    )


def _step_up() -> Update:
    """The first of a lane gets its turn, unless one of the lane has it."""
    ready, behind = outbox.alias("turn"), outbox.alias("next")
    taken = select(ready.c.sequence).where(_in_lane(ready, READY)).exists()
    first = select(func.min(behind.c.sequence)).where(_in_lane(behind, BEHIND))
    chosen = outbox.c.sequence == first.scalar_subquery()
    return update(outbox).where(chosen, ~taken).values(state=READY)


_STEP_UP = _step_up()
_STEP_BACK = update(outbox).where(_in_lane(outbox, READY)).values(state=BEHIND)


def _queued(row: Row[Any]) -> Queued:
    notification = Notification(
        row.event_id,
        row.destination,
        row.lane,
        row.created_at,
        row.method,
        row.url,
        row.body,
        row.account,
    )
    state = row.state if row.state == DEAD else "pending"
    return Queued(row.sequence, notification, state, row.attempts, row.next_at, row.error)
