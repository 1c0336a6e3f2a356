"""Retention of a running server: clocks that were set, rules that are wrong, deletions in peace."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.schema import Retention
from siprec.expiry import Expiry
from siprec.logbook import Changes
from storage.records import RecordingQuery, StorageUnavailable
from storage.retention import Due, RetentionPlan
from tests.siprec.shelves import ANN, Shelf
from tests.siprec.shelves import shelf as opened

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Shelves:
    """A library in which so many recordings are due."""

    due: int = 3
    total: int = 1000
    expired: list[str] = field(default_factory=list)
    resumed: int = 0
    away: int = 0
    """How often the catalogue does not answer."""

    async def plan_retention(self, now: datetime | None = None) -> RetentionPlan:
        if self.away:
            self.away -= 1
            raise StorageUnavailable("away")
        ids = tuple(f"r{number}" for number in range(self.due))
        return RetentionPlan((Due(100, 7, 30, now or NOW, ids),), self.total)

    async def expire(self, recording_id: str, before: datetime) -> bool:
        self.expired.append(recording_id)
        return recording_id != "r1"

    async def resume(self) -> None:
        self.resumed += 1


async def test_what_is_due_is_deleted_and_what_was_begun_is_finished() -> None:
    library = Shelves()
    assert await Expiry(Retention(), library).look(NOW, 0) == 2
    assert (library.expired, library.resumed) == (["r0", "r1", "r2"], 1)


@pytest.mark.parametrize("set_by", [timedelta(days=365), -timedelta(days=1), timedelta(minutes=11)])
async def test_a_clock_that_was_set_skips_one_look(set_by: timedelta) -> None:
    library = Shelves()
    expiry = Expiry(Retention(), library)
    await expiry.look(NOW, 0)
    library.expired.clear()
    with capture_logs() as logs:
        assert await expiry.look(NOW + HOUR + set_by, 3600) == 0
    assert library.expired == []
    assert [(log["event"], log["log_level"]) for log in logs] == [("retention_skipped", "error")]
    assert logs[0]["clock_moved_s"] == set_by.total_seconds()
    assert await expiry.look(NOW + 2 * HOUR + set_by, 7200) == 2


async def test_a_clock_that_is_kept_right_skips_nothing() -> None:
    expiry = Expiry(Retention(), Shelves())
    await expiry.look(NOW, 0)
    assert await expiry.look(NOW + HOUR + timedelta(minutes=9), 3600) == 2


async def test_a_mass_delete_waits_for_somebody_to_look() -> None:
    library = Shelves(due=101, total=10_099)
    with capture_logs() as logs:
        assert await Expiry(Retention(guard_percent=1), library).look(NOW, 0) == 0
    assert library.expired == []
    assert [(log["event"], log["log_level"]) for log in logs] == [("retention_waits", "error")]
    assert (logs[0]["due"], logs[0]["total"]) == (101, 10_099)
    assert "--confirm" in logs[0]["advice"]
    library.total = 10_100
    assert await Expiry(Retention(guard_percent=1), library).look(NOW, 0) == 100


async def test_a_catalogue_that_is_away_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Shelves(away=1)
    expiry = Expiry(Retention(every_minutes=1), library)
    sleep = asyncio.sleep
    naps: list[float] = []

    async def nap(delay: float) -> None:
        naps.append(delay)
        await sleep(0)

    monkeypatch.setattr("siprec.expiry.asyncio.sleep", nap)
    keeping = asyncio.get_running_loop().create_task(expiry.keep())
    async with asyncio.timeout(5):
        while len(library.expired) < 3:
            await sleep(0)
    keeping.cancel()
    await asyncio.wait([keeping])
    assert naps[0] == 60 and library.away == 0


async def test_nothing_happens_unasked_if_so_configured() -> None:
    library = Shelves()
    await Expiry(Retention(every_minutes=0), library).keep()
    assert library.expired == []


async def test_others_have_their_turn_between_deletions() -> None:
    turns = 0

    class Slow(Shelves):
        async def expire(self, recording_id: str, before: datetime) -> bool:
            await asyncio.sleep(0.01)
            return await super().expire(recording_id, before)

    async def somebody() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.get_running_loop().create_task(somebody())
    await Expiry(Retention(), Slow(due=5)).retire(await Shelves(due=5).plan_retention())
    other.cancel()
    await asyncio.wait([other])
    assert turns > 5


# with a real library


@pytest.fixture
async def shelf(tmp_path: Path, migrated: Path) -> AsyncIterator[Shelf]:
    async with opened(tmp_path, migrated, retention=Retention(every_minutes=1)) as shelf:
        yield shelf


async def test_a_server_deletes_what_is_due_and_nothing_else(shelf: Shelf) -> None:
    now = datetime.now(UTC)
    rows = [
        await shelf.stored("due", ended_at=now - timedelta(days=31)),
        await shelf.stored("young", ended_at=now - timedelta(days=29)),
        await shelf.stored("held", ended_at=now - timedelta(days=31)),
        await shelf.stored("ever", account=200, route=17, ended_at=now - timedelta(days=9999)),
        await shelf.stored("begun", ended_at=now, deleting=True),
    ]
    await shelf.library.update("held", Changes(hold=True), ANN)
    keeping = asyncio.get_running_loop().create_task(shelf.library.keep_retention())
    async with asyncio.timeout(10):
        while await shelf.catalog.count() > 3:
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.wait([keeping])
    left = {row.id for row in (await shelf.library.find(RecordingQuery())).items}
    assert left == {"young", "held", "ever"}
    assert {row.id for row in rows if shelf.blobs.exists(row.files[0].key)} == left
