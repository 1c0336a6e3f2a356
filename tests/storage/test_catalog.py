import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select, text

from storage.catalog import Catalog
from storage.database import Database
from storage.records import (
    AuditEntry,
    InvalidQuery,
    Participant,
    Recording,
    RecordingQuery,
    StorageError,
    StorageUnavailable,
    UnknownRecording,
)
from storage.tables import attributes, audit
from tests.storage.recordings import T0, recording


async def ids(catalog: Catalog, query: RecordingQuery) -> list[str]:
    """Every match, gathered page by page."""
    found: list[str] = []
    page = await catalog.find(query)
    found += [item.id for item in page.items]
    while page.next:
        page = await catalog.find(replace(query, cursor=page.next))
        assert page.items, "a cursor leads to more"
        found += [item.id for item in page.items]
    return found


async def test_what_is_saved_is_what_is_found(catalog: Catalog) -> None:
    await catalog.save(recording())
    assert await catalog.get("rec-0001") == recording()
    assert (await catalog.find(RecordingQuery())).items == (recording(),)


async def test_a_bare_record_is_saved_too(catalog: Catalog) -> None:
    bare = Recording("r", "s", "c", "recording", T0)
    assert await catalog.save(bare) == {"r": 1}
    assert await catalog.get("r") == replace(bare, number=1)


async def test_saving_again_replaces_all_of_it(catalog: Catalog) -> None:
    await catalog.save(recording())
    await catalog.save(recording())
    changed = replace(
        recording(status="complete", call_id="other", pauses=(), ended_at=None, reason=""),
        participants=(Participant("p3", "sip:cat@example.com"),),
    )
    await catalog.save(changed)
    assert await catalog.get("rec-0001") == changed
    assert await ids(catalog, RecordingQuery(aor="sip:ann@example.com")) == []


async def test_many_are_saved_at_once_or_not_at_all(catalog: Catalog) -> None:
    many = [recording(f"r{n}", n) for n in range(250)]
    await catalog.save(*many)
    assert await ids(catalog, RecordingQuery()) == [one.id for one in reversed(many)]
    broken = recording("broken", started_at=datetime(2026, 1, 1))
    with pytest.raises(StorageError):
        await catalog.save(recording("good"), broken)
    with pytest.raises(UnknownRecording):
        await catalog.get("good")


async def test_of_two_states_the_later_one_is_saved(catalog: Catalog) -> None:
    await catalog.save(recording(status="recording"), recording(status="complete"))
    assert (await catalog.get("rec-0001")).status == "complete"


async def test_times_of_any_zone_come_back_as_utc(catalog: Catalog) -> None:
    tokyo = timezone(timedelta(hours=9))
    await catalog.save(recording(started_at=T0.astimezone(tokyo)))
    found = (await catalog.get("rec-0001")).started_at
    assert found == T0
    assert found.tzinfo is UTC


async def test_history_only_grows(catalog: Catalog) -> None:
    await catalog.save(recording())
    first, second = recording().history
    third = AuditEntry("rec-0001", 3, T0, "bob", "stop", "done")
    await catalog.save(recording(history=(replace(first, actor="mallory"), second, third)))
    assert (await catalog.get("rec-0001")).history == (first, second, third)
    await catalog.save(recording(history=()))
    assert (await catalog.get("rec-0001")).history == (first, second, third)


async def test_history_outlives_the_recording(catalog: Catalog, database: Database) -> None:
    await catalog.save(recording())
    await catalog.delete("rec-0001")
    async with database.reading() as connection:
        actors = (await connection.scalars(select(audit.c.actor))).all()
    assert actors == ["ann", "ann"]


async def test_deleting_takes_one_recording_with_its_attributes(
    catalog: Catalog, database: Database
) -> None:
    await catalog.save(recording("a"), recording("b"))
    await catalog.delete("a")
    for act in (catalog.get, catalog.delete):
        with pytest.raises(UnknownRecording):
            await act("a")
    assert await ids(catalog, RecordingQuery()) == ["b"]
    async with database.reading() as connection:
        left = await connection.scalars(select(attributes.c.number).distinct())
    assert [*left] == [2]


@pytest.mark.parametrize("name", ["", "nobody", "a" * 5000, "a\x00", "\udcff", "'; DROP TABLE x"])
async def test_unknown_names_are_unknown(catalog: Catalog, name: str) -> None:
    with pytest.raises(UnknownRecording):
        await catalog.get(name)
    with pytest.raises(UnknownRecording):
        await catalog.delete(name)


async def test_text_no_database_takes_is_stored_readably(catalog: Catalog) -> None:
    await catalog.save(recording(from_aor="sip:\udcffann@example.com", call_id="\udcff"))
    assert (await catalog.get("rec-0001")).from_aor == "sip:?ann@example.com"
    assert await ids(catalog, RecordingQuery(call_id="\udcff")) == ["rec-0001"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (RecordingQuery(), ["d", "c", "b", "a"]),
        (RecordingQuery(status="complete"), ["d", "b"]),
        (RecordingQuery(call_id="call-2"), ["c", "b"]),
        (RecordingQuery(session_id="ses-9"), ["a"]),
        (RecordingQuery(aor="sip:bob@example.com"), ["c", "a"]),
        (RecordingQuery(aor="sip:bob@EXAMPLE.com"), []),
        (RecordingQuery(aor="sip:bob%"), []),
        (RecordingQuery(started_after=T0 + timedelta(seconds=2)), ["d", "c"]),
        (RecordingQuery(started_before=T0 + timedelta(seconds=2)), ["b", "a"]),
        (
            RecordingQuery(
                started_after=T0 + timedelta(microseconds=1),
                started_before=T0 + timedelta(seconds=2, microseconds=1),
            ),
            ["c", "b"],
        ),
        (RecordingQuery(status="complete", call_id="call-2"), ["b"]),
        (RecordingQuery(status="complete", aor="sip:bob@example.com"), []),
    ],
)
@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_filters(
    catalog: Catalog,
    query: RecordingQuery,
    expected: list[str],
    limit: int,
) -> None:
    bob = (Participant("p1", "sip:bob@example.com"), Participant("p2", "sip:bob@example.com"))
    await catalog.save(
        recording("c", 2, call_id="call-2", participants=bob),
        recording("a", 0, call_id="call-1", session_id="ses-9", participants=bob),
        recording("d", 3, status="complete"),
        recording("b", 1, call_id="call-2", status="complete"),
    )
    assert await ids(catalog, replace(query, limit=limit)) == expected


async def test_pages_neither_repeat_nor_skip_while_rows_come_and_go(catalog: Catalog) -> None:
    await catalog.save(*(recording(f"r{n:02}", second=n // 4) for n in range(20)))
    seen: list[str] = []
    page = await catalog.find(RecordingQuery(limit=3))
    seen += [item.id for item in page.items]
    for turn in range(20):
        if not page.next:
            break
        await catalog.save(recording(f"new{turn}", second=100 + turn))
        await catalog.delete(seen[-1])
        page = await catalog.find(RecordingQuery(limit=3, cursor=page.next))
        seen += [item.id for item in page.items]
    assert seen == [f"r{n:02}" for n in reversed(range(20))]


async def test_a_last_full_page_has_no_cursor(catalog: Catalog) -> None:
    await catalog.save(*(recording(f"r{n}", n) for n in range(4)))
    page = await catalog.find(RecordingQuery(limit=2))
    assert page.next is not None
    page = await catalog.find(RecordingQuery(limit=2, cursor=page.next))
    assert [item.id for item in page.items] == ["r1", "r0"]
    assert page.next is None


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_limits_out_of_range(catalog: Catalog, limit: int) -> None:
    with pytest.raises(InvalidQuery, match=f"limit: {limit} is not in 1..1000"):
        await catalog.find(RecordingQuery(limit=limit))


NAIVE = datetime(2026, 1, 1)


@pytest.mark.parametrize(
    "query", [RecordingQuery(started_after=NAIVE), RecordingQuery(started_before=NAIVE)]
)
async def test_naive_times_are_refused(catalog: Catalog, query: RecordingQuery) -> None:
    with pytest.raises(InvalidQuery, match="a time without a time zone"):
        await catalog.find(query)


async def test_a_long_cursor_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InvalidQuery):
        await catalog.find(RecordingQuery(cursor="A" * 1_000_000))


async def test_unfinished(catalog: Catalog) -> None:
    states = ("recording", "processing", "complete", "partial", "failed")
    await catalog.save(*(recording(state, n, status=state) for n, state in enumerate(states)))
    assert [one.id for one in await catalog.unfinished()] == ["processing", "recording"]


async def test_paused_calls(catalog: Catalog) -> None:
    early, late = T0 - timedelta(hours=2), T0 + timedelta(hours=2)
    await catalog.save(
        recording("ended-late", started_at=early, ended_at=late, paused_at_end=True),
        recording("ended-early", started_at=early, ended_at=early, paused_at_end=True),
        recording("never-ended", started_at=late, ended_at=None, paused_at_end=True),
        recording("ended-on-the-dot", ended_at=T0, paused_at_end=True),
        recording("not-paused", started_at=late, ended_at=late),
    )
    found = {one.id for one in await catalog.paused_calls(T0)}
    assert found == {"ended-late", "never-ended", "ended-on-the-dot"}


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No file may grow beyond what the write-ahead log has now."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = Path(f"{path}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


async def test_a_full_disk_is_unavailable_until_there_is_room(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    catalog = Catalog(database)
    await catalog.save(recording("a"))
    big = recording("b", number=2, reason="x" * 1_000_000)
    with full_disk(path):
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                await catalog.save(big)
        assert await catalog.get("a") == recording("a")
    await catalog.save(big)
    assert await catalog.get("b") == big
    await database.close()


async def test_damaged_rows_are_an_error_of_this_room(catalog: Catalog, database: Database) -> None:
    await catalog.save(recording())
    async with database.writing() as connection:
        await connection.execute(text("UPDATE recordings SET streams = '{'"))
    with pytest.raises(StorageError):
        await catalog.get("rec-0001")


async def test_readers_and_writers_do_not_disturb_each_other(url: str) -> None:
    database = Database(url)
    catalog = Catalog(database)
    await catalog.save(recording("r"))

    async def write(name: str) -> None:
        for n in range(10):
            await catalog.save(recording(name, duration_ms=n))

    async def read() -> None:
        for _ in range(10):
            assert (await catalog.get("r")).participants == recording("r").participants

    async with asyncio.TaskGroup() as group:
        for work in (write("r"), write("s"), read(), read()):
            group.create_task(work)
    assert (await catalog.get("s")).duration_ms == 9
    await database.close()
