import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from storage import writer as module
from storage.catalog import Catalog
from storage.database import Database
from storage.records import (
    Recording,
    RecordingQuery,
    StorageError,
    StorageUnavailable,
    UnknownRecording,
)
from storage.writer import CatalogWriter
from tests.storage.conftest import locked
from tests.storage.recordings import recording


@pytest.fixture
def url(path: Path) -> str:
    """SQLite: what stands between is the same for any kind."""
    return f"sqlite:///{path}"


@pytest.fixture
def writer(catalog: Catalog) -> CatalogWriter:
    return CatalogWriter(catalog)


@asynccontextmanager
async def running(writer: CatalogWriter) -> AsyncIterator[None]:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        runner = group.create_task(writer.run(), name="catalog writer")
        yield
        runner.cancel()


async def test_what_is_put_is_stored(writer: CatalogWriter, catalog: Catalog) -> None:
    writer.put(recording())
    assert writer.pending == 1
    assert writer.get_pending("rec-0001") is not None
    assert writer.waiting() == [recording()]
    async with running(writer):
        await writer.stored("rec-0001")
    assert writer.pending == 0 and writer.waiting() == []
    assert writer.get_pending("rec-0001") is None
    assert await catalog.get("rec-0001") == recording()


async def test_only_the_newest_state_is_kept(writer: CatalogWriter, catalog: Catalog) -> None:
    for n in range(1000):
        writer.put(recording(duration_ms=n))
    assert writer.pending == 1
    assert writer.get_pending("rec-0001") == recording(duration_ms=999)
    async with running(writer):
        assert await writer.drain(10)
    assert (await catalog.get("rec-0001")).duration_ms == 999


async def test_nothing_is_stored_without_a_runner(writer: CatalogWriter, catalog: Catalog) -> None:
    writer.put(recording())
    assert not await writer.drain(0.01)
    with pytest.raises(UnknownRecording):
        await catalog.get("rec-0001")


async def test_draining_nothing_is_done_at_once(writer: CatalogWriter) -> None:
    assert await writer.drain(0)


async def test_more_than_one_transaction_takes(
    writer: CatalogWriter,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    for n in range(10):
        writer.put(recording(f"r{n}", n))
    async with running(writer):
        assert await writer.drain(10)
    assert len((await catalog.find(RecordingQuery())).items) == 10


class Notes(Catalog):
    """Notes the order in which records are stored, and how many at once."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.order: tuple[str, ...] = ()
        self.batches: list[int] = []

    async def save(self, *records: Recording) -> dict[str, int]:
        self.order += tuple(record.id for record in records)
        self.batches.append(len(records))
        return await super().save(*records)


@pytest.mark.parametrize("batch", [1, 2, 100])
async def test_the_oldest_is_stored_first(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(module, "BATCH", batch)
    notes = Notes(catalog._database)
    writer = CatalogWriter(notes)
    for name in ("c", "a", "b", "a"):
        writer.put(recording(name))
    async with running(writer):
        assert await writer.drain(10)
    assert notes.order == ("c", "a", "b")


async def test_who_is_in_a_hurry_waits_for_nobody(
    writer: CatalogWriter, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_S", 3600.0)
    async with running(writer):
        for n in range(5):
            writer.put(recording(f"r{n}"))
            await writer.stored(f"r{n}", hurry=True)
            assert (await catalog.get(f"r{n}")).id == f"r{n}"
        writer.put(recording("patient"))
        assert not await _comes(writer.stored("patient"))
        await writer.stored("stored already", hurry=True)
        await writer.stored("r0", hurry=True)
        assert not await _comes(writer.stored("patient")), "there was nothing to hurry for"
        writer.put(recording("r0", note="new"))
        await writer.stored("r0", hurry=True)
        assert not writer.pending, "what waits goes along"
    assert (await catalog.get("r0")).note == "new"


async def _comes(event: Awaitable[None]) -> bool:
    """Whether it does before long."""
    try:
        await asyncio.wait_for(event, 0.2)
    except TimeoutError:
        return False
    return True


async def test_many_in_a_hurry_share_transactions(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_S", 3600.0)
    notes = Notes(catalog._database)
    writer = CatalogWriter(notes)
    async with running(writer):
        writer.put(recording("first"))
        await writer.stored("first")
        for n in range(200):
            writer.put(recording(f"r{n}"))
        await asyncio.gather(*(writer.stored(f"r{n}", hurry=True) for n in range(200)))
    assert notes.batches == [1, 100, 100]


async def test_a_hurry_that_is_over_hurries_nobody_later(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the record is already being stored."""
    monkeypatch.setattr(module, "LINGER_S", 3600.0)
    saving = HurriesWhileSaving(catalog._database)
    saving.writer = writer = CatalogWriter(saving)
    async with running(writer), asyncio.TaskGroup() as saving.callers:
        writer.put(recording("r"))
        await writer.stored("r")
        writer.put(recording("r", note="new"))
        assert not await _comes(writer.stored("r"))
        await writer.stored("r", hurry=True)


async def test_a_hurry_tries_a_database_again_that_was_away(
    writer: CatalogWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 3600.0)
    failed = asyncio.Event()
    monkeypatch.setattr(writer, "_fell_behind", lambda error: failed.set())
    async with running(writer):
        with locked(path):
            writer.put(recording())
            await failed.wait()
        await writer.stored("rec-0001", hurry=True)


class HurriesWhileSaving(Catalog):
    """Somebody is in a hurry for a record that is being stored."""

    writer: CatalogWriter
    callers: asyncio.TaskGroup

    async def save(self, *records: Recording) -> dict[str, int]:
        for record in records:
            self.callers.create_task(self.writer.stored(record.id, hurry=True))
        await asyncio.sleep(0.01)
        return await super().save(*records)


class PutsWhileSaving(Catalog):
    """Somebody changes the record in the moment it is being stored."""

    writer: CatalogWriter

    status = "complete"
    seen: Recording | None = None

    async def save(self, *records: Recording) -> dict[str, int]:
        self.seen = self.writer.get_pending("r")
        numbers = await super().save(*records)
        if records[0].status == "recording":
            self.writer.put(Recording("r", "s", "c", self.status, records[0].started_at))
            assert self.writer.pending == 1
        return numbers


async def test_a_change_while_the_record_is_being_stored_is_stored_as_well(
    catalog: Catalog,
) -> None:
    saving = PutsWhileSaving(catalog._database)
    saving.writer = CatalogWriter(saving)
    saving.writer.put(recording("r"))
    async with running(saving.writer):
        await saving.writer.stored("r")
    assert (await catalog.get("r")).status == "complete"


@pytest.mark.parametrize("status", ["processing", "complete"])
async def test_a_number_once_given_is_shown_with_every_later_state(
    catalog: Catalog, status: str
) -> None:
    saving = PutsWhileSaving(catalog._database)
    saving.status = status
    saving.writer = writer = CatalogWriter(saving)
    await catalog.save(recording("first"))
    writer.put(recording("r", number=0))
    assert _pending_number(writer) == writer.number("r") == writer.number("unheard of") == 0
    async with running(writer):
        await writer.stored("r")
        assert writer.number("r") == (2 if status == "processing" else 0)
        assert saving.seen is not None
        assert saving.seen.number == 2, "the state put while the first one was being stored"
        writer.put(recording("r", number=0, status="partial"))
        known = 2 if status == "processing" else 0
        assert _pending_number(writer) == known, "kept as long as the recording may change"
        assert writer.number("r") == known
        await writer.stored("r")
    assert (await catalog.get("r")).number == 2
    assert not writer._numbers


def _pending_number(writer: CatalogWriter) -> int:
    pending = writer.get_pending("r")
    assert pending is not None
    return pending.number


async def test_an_outage_is_sat_out_and_told_once(
    writer: CatalogWriter,
    catalog: Catalog,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = asyncio.Queue[None]()
    fell_behind = writer._fell_behind

    def note(error: StorageUnavailable) -> None:
        fell_behind(error)
        failed.put_nowait(None)

    monkeypatch.setattr(writer, "_fell_behind", note)
    with capture_logs() as logs:
        async with running(writer):
            with locked(path):
                for n in range(5):
                    writer.put(recording(f"r{n}"))
                for _ in range(3):
                    await failed.get()
                writer.put(recording("r0", status="complete"))
                assert not await writer.drain(0.01)
                assert writer.pending == 5
            assert await writer.drain(10)
            writer.put(recording("later"))
            await writer.stored("later")
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("catalog_behind", "warning"),
        ("catalog_caught_up", "info"),
    ]
    assert (await catalog.get("r0")).status == "complete"
    assert len((await catalog.find(RecordingQuery())).items) == 6


async def test_a_drain_does_not_wait_out_a_long_pause(
    writer: CatalogWriter,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 3600.0)
    failed = asyncio.Event()
    monkeypatch.setattr(writer, "_fell_behind", lambda error: failed.set())
    async with running(writer):
        with locked(path):
            writer.put(recording())
            await failed.wait()
        assert await writer.drain(10)


async def test_a_record_that_cannot_be_stored_does_not_hold_up_the_others(
    writer: CatalogWriter, catalog: Catalog
) -> None:
    writer.put(recording("good-1"))
    writer.put(recording("bad", started_at=datetime(2026, 1, 1)))
    writer.put(recording("good-2"))
    with capture_logs() as logs:
        async with running(writer):
            assert await writer.drain(10)
            with pytest.raises(StorageError):
                await writer.stored("bad")
            await writer.stored("good-1")
            writer.put(recording("bad"))
            await writer.stored("bad")
    assert [(log["event"], log["recording"]) for log in logs] == [("record_refused", "bad")]
    assert len((await catalog.find(RecordingQuery())).items) == 3
