"""Which recordings are due to be deleted: pure questions about the catalogue; `siprec.library` acts.

A recording is due when it ended longer ago than its route, or else its account, keeps recordings.
Not when it is held, never expires, is live or unfinished, or its route and account keep for ever.
"""

from dataclasses import dataclass
from datetime import datetime

from storage.catalog import Catalog
from storage.directory import Entries


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
        return self.count > 100 and self.count * 100 > self.total * guard_percent


async def plan(catalog: Catalog, entries: Entries, now: datetime) -> RetentionPlan:
    """What is due at `now`. Raises StorageUnavailable."""
    raise NotImplementedError
