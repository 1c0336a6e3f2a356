"""Which recordings are due to be deleted: questions about the catalogue; `siprec.library` acts.

A recording is due when it ended longer ago than its route, or else its account, keeps recordings.
Not when it is held, never expires, is live or unfinished, or its route and account keep for ever.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.catalog import Catalog
from storage.directory import Entries
from storage.records import Recording

PLAN_LIMIT = 1_000_000
"""Most recordings in one plan: some 100 MB. What is left over is due at the next look."""
MASS_DELETE = 100
"""Up to so many recordings are never too many to be deleted at once."""
CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far the clock may have been set between two looks."""


@dataclass(frozen=True, slots=True)
class Due:
    """The recordings of one route that are due."""

    account: int
    route: int
    retention_days: int
    before: datetime
    """Those that ended before."""
    recording_ids: tuple[str, ...]
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What a run would delete."""

    due: tuple[Due, ...]
    total: int
    """Recordings in the catalogue."""

    @property
    def count(self) -> int:
        """Recordings that are due."""
        return sum(len(each.recording_ids) for each in self.due)

    def is_mass_delete(self, guard_percent: int) -> bool:
        """Whether so many are due that somebody should look first: more than 100 and the share."""
        return self.count > MASS_DELETE and self.count * 100 > self.total * guard_percent


class Clock:
    """Notices that somebody set the time, by a clock that nobody can set."""

    def __init__(self) -> None:
        self._last: tuple[datetime, float] | None = None

    def moved(self, now: datetime, monotonic_s: float) -> timedelta:
        """How far the time was set, forward or back, since this was asked last."""
        last, self._last = self._last, (now, monotonic_s)
        if last is None:
            return timedelta(0)
        return (now - last[0]) - timedelta(seconds=monotonic_s - last[1])


def days_of(account: int, route: int, entries: Entries) -> int:
    """How many days recordings are kept that came over this route to this account; 0: for ever.

    The route decides as long as it is the account's and says anything; else the account does. An
    account that is not there keeps for ever.
    """
    rule = entries.routes.get(route)
    if rule and rule.account == account and rule.retention_days is not None:
        return rule.retention_days
    owner = entries.accounts.get(account)
    return owner.retention_days if owner else 0


def is_due(recording: Recording, entries: Entries, now: datetime) -> bool:
    """Whether a recording is to be deleted at `now`."""
    if recording.hold or recording.never_expire or not recording.is_finished:
        return False
    days = days_of(recording.account, recording.route, entries)
    ended_at = recording.ended_at
    return bool(days and ended_at and ended_at < now - timedelta(days=days))


async def plan(catalog: Catalog, entries: Entries, now: datetime, node: int) -> RetentionPlan:
    """What a node has that is due at `now`. Raises StorageUnavailable."""
    due: list[Due] = []
    left = PLAN_LIMIT
    for account, route in sorted(await catalog.owners()):
        days = days_of(account, route, entries)
        if not days:
            continue
        before = now - timedelta(days=days)
        ids = await catalog.due(node, account, route, before, left)
        left -= len(ids)
        if ids:
            due.append(Due(account, route, days, before, tuple(ids)))
    return RetentionPlan(tuple(due), await catalog.count())
