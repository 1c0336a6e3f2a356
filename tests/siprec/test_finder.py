"""Recordings in whatever state and place: each is found once, as it is now."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import pytest

from siprec import finder as module
from siprec.criteria import predicate
from siprec.finder import Finder
from siprec.logbook import Changes
from storage import writer as writer_module
from storage.catalog import Catalog
from storage.database import Database
from storage.records import (
    InvalidQuery,
    Page,
    Recording,
    RecordingQuery,
    StorageError,
    StorageUnavailable,
    UnknownRecording,
)
from storage.writer import CatalogWriter
from tests.siprec.shelves import STARTED, Shelf
from tests.siprec.shelves import shelf as opened


class Open:
    """Recordings that are open."""

    def __init__(self) -> None:
        self.rows: dict[str, Recording] = {}
        self.live: Callable[[str], Recording | None] = self.rows.get
        self.open: Callable[[], Iterable[Recording]] = self.rows.values


class Moving(Catalog):
    """Something happens right before and right after a page is read."""

    async def before(self) -> None:
        """Nothing, unless a test says what."""

    async def after(self) -> None:
        """Nothing, unless a test says what."""

    pages: int = 0

    async def find(self, query: RecordingQuery) -> Page:
        self.pages += 1
        await self.before()
        found = await super().find(query)
        await self.after()
        return found


@dataclass(slots=True)
class Places:
    """A finder, and all the places where it looks. Nothing is stored unless a test has it so."""

    finder: Finder
    desk: Open
    unfinished: dict[str, Recording]
    writer: CatalogWriter
    catalog: Moving

    async def match(self, query: RecordingQuery | None = None) -> list[str]:
        query = query or RecordingQuery(limit=1001)
        return [row.id for row in await self.finder.match(query, lambda row: True)]


@pytest.fixture
async def places(tmp_path: Path, migrated: Path) -> AsyncIterator[Places]:
    shutil.copyfile(migrated, tmp_path / "siprecd.db")
    database = Database(f"sqlite:///{tmp_path}/siprecd.db")
    catalog, desk = Moving(database), Open()
    writer = CatalogWriter(catalog)
    archive = Archived()
    finder = Finder(archive, catalog, writer, desk)  # type: ignore[arg-type]
    yield Places(finder, desk, archive.unfinished, writer, catalog)
    await database.close()


class Archived:
    """What there is to see of an archive: what it has not finished."""

    def __init__(self) -> None:
        self.unfinished: dict[str, Recording] = {}


@pytest.fixture
async def shelf(tmp_path: Path, migrated: Path) -> AsyncIterator[Shelf]:
    async with opened(tmp_path, migrated) as shelf:
        yield shelf


def row(recording_id: str = "r1", second: float = 0, **changes: Any) -> Recording:
    at = STARTED.replace(second=0, microsecond=0) + timedelta(seconds=second)
    base = Recording(recording_id, "s1", "call", "complete", at, filename=f"{recording_id}.wav")
    return replace(base, **changes)


# match


async def test_each_is_found_once_in_its_newest_state_wherever_it_is(places: Places) -> None:
    rows = [row(f"r{n}", n, status="recording", note="old") for n in range(5)]
    await places.catalog.save(*rows[:4])
    places.desk.rows["r0"] = replace(rows[0], note="live")
    places.writer.put(replace(rows[0], note="older"))
    places.unfinished["r1"] = replace(rows[1], note="ended", status="processing")
    places.writer.put(replace(rows[1], note="older"))
    places.writer.put(replace(rows[2], note="waits", status="complete"))
    places.writer.put(replace(rows[4], note="new", status="failed"))
    found = await places.finder.match(RecordingQuery(limit=50), lambda row: True)
    assert [(row.id, row.note) for row in found] == [
        ("r0", "live"),
        ("r3", "old"),
        ("r1", "ended"),
        ("r2", "waits"),
        ("r4", "new"),
    ]


@pytest.mark.parametrize("seed", range(12))
async def test_memory_and_catalogue_are_one(
    places: Places, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Against a plain search of the newest states."""
    monkeypatch.setattr(module, "LIMIT", 3)
    random = Random(seed)
    newest: dict[str, Recording] = {}
    for n in range(20):
        where = random.sample(["stored", "pending", "unfinished", "open"], random.randint(1, 3))
        status = "recording" if "open" in where else "complete"
        state = row(f"r{n}", random.randrange(8), status=status)
        for place in ("stored", "pending", "unfinished", "open"):
            if place not in where:
                continue
            state = replace(state, ani=random.choice("ab"), note=random.choice("xy"))
            newest[state.id] = state
            if place == "stored":
                await places.catalog.save(state)
            elif place == "pending":
                places.writer.put(state)
            else:
                {"unfinished": places.unfinished, "open": places.desk.rows}[place][state.id] = state
    for limit in (1, 2, 5, 19, 20, 21, 1001):
        for query in (RecordingQuery(limit=limit), RecordingQuery(ani="a", limit=limit)):
            for notes in ("xy", "x", ""):
                await _is_found(places, query, notes, newest.values())


async def _is_found(
    places: Places, query: RecordingQuery, notes: str, rows: Iterable[Recording]
) -> None:
    def keep(row: Recording) -> bool:
        return row.note in {*notes}

    found = await places.finder.match(query, keep)
    wanted = [each for each in rows if predicate(query)(each) and keep(each)]
    by_id = {each.id: each for each in wanted}
    assert len(found) == min(query.limit, len(wanted))
    assert len({each.id for each in found}) == len(found)
    assert all(replace(each, number=0) == by_id[each.id] for each in found)
    best = sorted((each.status != "recording", each.started_at) for each in wanted)
    order = [(each.status != "recording", each.started_at) for each in found]
    assert order == best[: query.limit]


async def test_what_is_dropped_does_not_shorten_the_result(places: Places) -> None:
    await places.catalog.save(*(row(f"r{n:04}", n / 100) for n in range(1500)))
    asked = RecordingQuery(limit=1001)
    assert await places.match(asked) == [f"r{n:04}" for n in range(1001)]
    late = await places.finder.match(replace(asked, limit=2), lambda row: row.id >= "r1400")
    assert [row.id for row in late] == ["r1400", "r1401"]
    places.catalog.pages = 0
    assert not await places.finder.match(replace(asked, limit=1), lambda row: False)
    assert places.catalog.pages < 10, "pages grow"


async def test_the_cursor_and_order_of_a_query_do_not_count(places: Places) -> None:
    await places.catalog.save(*(row(f"r{n}", n) for n in range(4)))
    cursor = (await places.catalog.find(RecordingQuery(limit=2))).next
    asked = RecordingQuery(limit=3, cursor=cursor, oldest_first=False)
    assert await places.match(asked) == ["r0", "r1", "r2"]


async def test_open_ones_come_first_and_are_the_last_to_be_cut_off(places: Places) -> None:
    await places.catalog.save(row("old", 0), row("new", 9))
    for n in (7, 5):
        places.desk.rows[f"live{n}"] = row(f"live{n}", n, status="recording")
    assert await places.match() == ["live5", "live7", "old", "new"]
    assert await places.match(RecordingQuery(limit=3)) == ["live5", "live7", "old"]
    assert await places.match(RecordingQuery(limit=1)) == ["live5"]


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_below_one_is_refused(places: Places, limit: int) -> None:
    with pytest.raises(InvalidQuery, match="limit"):
        await places.match(RecordingQuery(limit=limit))


async def test_what_leaves_memory_while_the_catalogue_is_read_is_found_once(
    places: Places,
) -> None:
    places.writer.put(row("waits", 1))
    places.desk.rows["open"] = row("open", 2, status="recording")

    async def before() -> None:
        await places.catalog.save(*places.writer.waiting())
        places.writer._pending.clear()

    async def after() -> None:
        places.unfinished["open"] = replace(places.desk.rows.pop("open"), status="processing")

    monkey: Any = places.catalog
    monkey.before, monkey.after = before, after
    found = await places.finder.match(RecordingQuery(), lambda row: True)
    assert [(row.id, row.status) for row in found] == [
        ("waits", "complete"),
        ("open", "processing"),
    ]


async def test_what_changes_after_the_catalogue_was_read_is_shown_as_it_is_now(
    places: Places,
) -> None:
    stored = [row(f"r{n}", n, ani="a") for n in range(3)]
    await places.catalog.save(*stored)

    async def after() -> None:
        places.writer.put(replace(stored[0], ani="b"))
        places.writer.put(replace(stored[1], note="new"))

    monkey: Any = places.catalog
    monkey.after = after
    found = await places.finder.match(RecordingQuery(ani="a"), lambda row: True)
    assert [(row.id, row.note) for row in found] == [("r1", "new"), ("r2", "")]


async def test_a_number_finds_what_has_it_wherever_it_is(shelf: Shelf) -> None:
    """The catalogue gives it while the recording is open; only the writer knows of it."""
    desk = Open()
    finder = Finder(shelf.archive, shelf.catalog, shelf.writer, desk)
    await shelf.stored("first")
    for name in ("live", "ended"):
        state = row(name, 1, status="recording")
        desk.rows[name] = state
        shelf.writer.put(state)
        await shelf.writer.stored(name)
    shelf.archive.unfinished["ended"] = replace(desk.rows.pop("ended"), status="processing")
    numbers = {}
    for name in ("first", "live", "ended"):
        assert (await finder.get(name)).number == (await shelf.catalog.get(name)).number
        numbers[(await finder.get(name)).number] = name
    for number, name in numbers.items():
        found = await finder.match(RecordingQuery(number=number), lambda row: True)
        assert [(row.id, row.number) for row in found] == [(name, number)]
    assert sorted(numbers) == [1, 2, 3]
    desk.rows["new"] = row("new", 2, status="recording")
    assert not await finder.match(RecordingQuery(number=0), lambda row: True)


async def test_a_catalogue_that_is_away_is_no_answer(places: Places, tmp_path: Path) -> None:
    places.desk.rows["open"] = row("open", status="recording")
    (tmp_path / "siprecd.db").unlink()
    (tmp_path / "siprecd.db").mkdir()
    with pytest.raises(StorageUnavailable):
        await places.match()
    assert (await places.finder.get("open")).id == "open"


# booked


@pytest.fixture
def slow_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sees the end of its collecting."""
    monkeypatch.setattr(writer_module, "LINGER_S", 3600.0)


async def test_what_has_ended_is_booked_without_waiting_for_others(
    slow_writer: None, shelf: Shelf
) -> None:
    for n in range(3):
        shelf.archive.take(row(f"r{n}", status="processing"))
        booked = await shelf.library.booked(f"r{n}")
        assert (booked.id, booked.status, booked.number) == (f"r{n}", "processing", n + 1)
        assert (await shelf.catalog.get(f"r{n}")).number == n + 1
        assert (await shelf.library.get(f"r{n}")).number == n + 1
        assert (await shelf.library.update(f"r{n}", Changes(note="n"))).number == n + 1
    await shelf.stored("done")
    assert (await shelf.library.booked("done")).number == 4
    with pytest.raises(UnknownRecording):
        await shelf.library.booked("unheard of")


async def test_many_that_end_at_once_share_their_bookings(slow_writer: None, shelf: Shelf) -> None:
    saved: list[int] = []
    save = shelf.catalog.save

    async def noted(*rows: Recording) -> dict[str, int]:
        saved.append(len(rows))
        return await save(*rows)

    anything: Any = shelf.catalog
    anything.save = noted
    for n in range(200):
        shelf.archive.take(row(f"r{n}", status="processing"))
    booked = await asyncio.gather(*(shelf.library.booked(f"r{n}") for n in range(200)))
    assert sorted(each.number for each in booked) == [*range(1, 201)]
    assert len(saved) <= 3


async def test_a_booking_gives_up_on_a_catalogue_that_is_behind(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    with closing(sqlite3.connect(shelf.folder / "siprecd.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        shelf.archive.take(row("r1", status="processing"))
        with pytest.raises(StorageUnavailable):
            await shelf.library.booked("r1")
        other.execute("ROLLBACK")
    monkeypatch.setattr(module, "PATIENCE_S", 20)
    assert (await shelf.library.booked("r1")).number == 1


async def test_what_cannot_be_stored_is_not_booked(shelf: Shelf) -> None:
    shelf.writer.put(row("bad", started_at=STARTED.replace(tzinfo=None)))
    with pytest.raises(StorageError) as refused:
        await shelf.library.booked("bad")
    assert not isinstance(refused.value, StorageUnavailable)


# names


async def test_a_name_is_free_in_its_folder_or_gets_a_number(places: Places) -> None:
    await places.catalog.save(row("r1", filename="Call.WAV"), row("r2", filename="CALL-2.wav"))
    places.desk.rows["r3"] = row("r3", 59.9, filename="call-1.wav", status="recording")
    places.unfinished["r4"] = row("r4", filename="call-3.wav", status="processing")
    places.writer.put(row("r5", filename="call-4.wav"))
    places.desk.rows["r6"] = row("r6", 60, filename="other.wav", status="recording")
    await places.catalog.save(row("r7", -0.1, filename="third.wav"))

    async def free(name: str, recording_id: str = "") -> str:
        return await places.finder.free_name(name, STARTED, recording_id)

    assert await free("call.wav") == "call-5.wav"
    assert await free("Call.WAV") == "Call-5.WAV"
    assert await free("call-1.wav") == "call-1-1.wav"
    assert await free("call.wav", "r3") == "call-1.wav"
    assert await free("call.wav", "r1") == "call.wav"
    assert await free("other.wav") == "other.wav"
    assert await free("third.wav") == "third.wav"
    assert await free("CALL-3.wav", "r3") == "CALL-3-1.wav"
    elsewhere = STARTED.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert await places.finder.free_name("call.wav", elsewhere, "") == "call-5.wav"


async def test_names_that_some_file_systems_take_for_one(places: Places) -> None:
    await places.catalog.save(row("r1", filename="Gesp\u00e4ch.wav"))
    places.desk.rows["r2"] = row("r2", filename="Gespa\u0308ch-1.wav", status="recording")
    found = await places.finder.free_name("GESP\u00c4CH.wav", STARTED, "")
    assert found == "GESP\u00c4CH-2.wav"


async def test_a_name_never_gets_too_long(places: Places) -> None:
    long = "x" * 196 + ".wav"
    places.desk.rows["r1"] = row("r1", filename=long, status="recording")
    found = await places.finder.free_name(long, STARTED, "")
    assert found == "x" * 194 + "-1.wav" and len(found) == 200
    assert await places.finder.free_name("a.b.wav", STARTED, "") == "a.b.wav"


async def test_the_search_for_a_name_ends(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 3)
    names = ["a.wav", *(f"a-{n}.wav" for n in range(1, 4))]
    await places.catalog.save(*(row(name, filename=name) for name in names[:3]))
    assert await places.finder.free_name("a.wav", STARTED, "0123456789abcdef") == "a-3.wav"
    await places.catalog.save(row("last", filename="a-3.wav"))
    assert await places.finder.free_name("a.wav", STARTED, "0123456789abcdef") == "a-01234567.wav"
    first, second = [await places.finder.free_name("a.wav", STARTED, "") for _ in range(2)]
    assert first != second


async def test_without_the_catalogue_only_names_in_memory_are_known(
    places: Places, tmp_path: Path
) -> None:
    await places.catalog.save(row("r1", filename="stored.wav"))
    places.desk.rows["r2"] = row("r2", filename="open.wav", status="recording")
    (tmp_path / "siprecd.db").unlink()
    (tmp_path / "siprecd.db").mkdir()
    assert await places.finder.free_name("stored.wav", STARTED, "") == "stored.wav"
    assert await places.finder.free_name("open.wav", STARTED, "") == "open-1.wav"
    with pytest.raises(StorageUnavailable):
        await places.finder.is_taken("stored.wav", STARTED, "")
