"""The directory on real databases, as one process and as several."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import delete, insert, select, update
from structlog.testing import capture_logs

from storage import tables
from storage.database import Database
from storage.directory import INITIAL, Change, Directory, Entries
from storage.entries import (
    KEEP,
    Account,
    Destination,
    ExportTemplate,
    Policy,
    PolicyAction,
    Route,
    User,
)
from storage.platforms import Integration
from storage.records import InvalidEntry, StorageUnavailable, UnknownEntry
from tests.storage.conftest import locked

CENTRE = Account(100, "Contact centre")
LINE = Route(10, 100, "Line", pattern="ben@%")
HOOK = Destination("hook", "RECORDING_ENDED_EVENT", "http://hooks.example/in", secret="hush")
DEMONSTRATION = Integration(
    "d7ae7ea9bf56ebdc:-3f5d0705:1559c8e762d:-8000", 1, "[Dubber: Demonstration Simulator]"
)
NEW = Entries.of([*INITIAL, DEMONSTRATION])
"""What a new database has."""
FILE = b"""
[[accounts]]
number = 100
name = "Contact centre"

[[routes]]
id = 10
account = 100
label = "Line"
pattern = "ben@%"
"""


@pytest.fixture
async def directory(database: Database) -> Directory:
    loaded = Directory(database)
    await loaded.load()
    return loaded


@pytest.fixture
async def elsewhere(url: str, database: Database) -> AsyncIterator[Directory]:
    """The same directory as another process sees it, not loaded yet."""
    other = Database(url)
    yield Directory(other)
    await other.close()


@pytest.fixture
async def file_directory(path: Path, tmp_path: Path, short_waits: None) -> AsyncIterator[Directory]:
    """A directory in an SQLite file, with a cache, not loaded yet."""
    database = Database(f"sqlite:///{path}")
    yield Directory(database, tmp_path / "directory.json")
    await database.close()


@asynccontextmanager
async def watched(directory: Directory) -> AsyncIterator[None]:
    """While it follows what others do."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(directory.watch(0.02), name="watch")
        yield
        task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def counter(database: Database) -> int:
    async with database.reading() as connection:
        found = await connection.scalar(select(tables.counters.c.value).filter_by(name="directory"))
    return found or 0


async def write_row(database: Database, kind: str, key: str, entry: str) -> None:
    """What another version, or a broken one, left in the database."""
    async with database.writing() as connection:
        row = {"kind": kind, "key": key, "entry": entry}
        await connection.execute(delete(tables.directory).filter_by(kind=kind, key=key))
        await connection.execute(insert(tables.directory).values(row))


def test_before_all_else_everything_is_recorded() -> None:
    directory = Directory(Mock())
    assert directory.entries is INITIAL
    assert INITIAL.routes[1].record == "always" and INITIAL.routes[1].account == 1


async def test_a_new_database_has_what_is_there_from_the_start(directory: Directory) -> None:
    assert directory.entries == NEW


async def test_what_is_put_is_known_at_once_and_in_other_processes(
    directory: Directory, elsewhere: Directory
) -> None:
    assert await directory.put(CENTRE) == Change("accounts", "100", "added")
    assert await directory.put(LINE) == Change("routes", "10", "added")
    assert directory.entries.routes[10] == LINE
    assert elsewhere.entries == INITIAL
    await elsewhere.load()
    assert elsewhere.entries == directory.entries


async def test_who_watches_learns_what_others_change(
    directory: Directory, elsewhere: Directory
) -> None:
    async with watched(elsewhere):
        await directory.put(CENTRE)
        await until(lambda: 100 in elsewhere.entries.accounts)
        await directory.remove("accounts", "100")
        await until(lambda: 100 not in elsewhere.entries.accounts)


async def test_putting_the_same_again_changes_nothing(
    directory: Directory, database: Database
) -> None:
    await directory.put(CENTRE)
    before = await counter(database)
    assert await directory.put(CENTRE) is None
    assert await directory.put(INITIAL.routes[1]) is None
    assert await counter(database) == before
    assert await directory.put(Account(100, "Other")) == Change("accounts", "100", "changed")
    assert await counter(database) == before + 1


async def test_who_knows_less_than_the_database_does_no_harm(
    directory: Directory, elsewhere: Directory
) -> None:
    await elsewhere.put(CENTRE)
    assert 100 not in directory.entries.accounts
    await directory.put(LINE)
    assert directory.entries.accounts[100] == CENTRE
    with pytest.raises(InvalidEntry, match="routes 10: account 100 does not exist"):
        await elsewhere.remove("accounts", "100")
    await directory.remove("routes", "10")
    await elsewhere.remove("accounts", "100")
    with pytest.raises(InvalidEntry, match="routes 10: account 100 does not exist"):
        await directory.put(LINE)
    assert directory.entries.accounts[100] == CENTRE  # a refusal changes nothing
    await directory.load()
    assert directory.entries == NEW


async def test_many_at_once_lose_nothing(directory: Directory) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(100, 120):
            group.create_task(directory.put(Account(number)), name=f"put {number}")
    await directory.load()
    assert set(directory.entries.accounts) == {1, *range(100, 120)}


async def test_what_contradicts_is_refused_and_not_kept(
    directory: Directory, database: Database
) -> None:
    with pytest.raises(InvalidEntry, match=r"^routes 10: account 100 does not exist$"):
        await directory.put(LINE)
    assert directory.entries == NEW
    await directory.load()
    assert directory.entries == NEW


async def test_values_made_by_hand_are_checked_too(directory: Directory) -> None:
    for entry, text in (
        (Account(0), r"accounts 0: number: Expected `int` >= 1"),
        (User("nobody", 1), r"users nobody: email: "),
        (ExportTemplate("v", 1, "\ud800"), r"templates v\.1: text that is not Unicode"),
    ):
        with pytest.raises(InvalidEntry, match=text):
            await directory.put(entry)


async def test_what_others_name_cannot_be_removed(directory: Directory) -> None:
    await directory.apply(FILE)
    with pytest.raises(InvalidEntry, match="cannot be removed: routes 10: account 100 does not"):
        await directory.remove("accounts", "100")
    assert 100 in directory.entries.accounts


@pytest.mark.parametrize("key", [("accounts", "1"), ("routes", "1")])
async def test_what_is_there_from_the_start_stays(
    directory: Directory, key: tuple[str, str]
) -> None:
    with pytest.raises(InvalidEntry, match="is always there"):
        await directory.remove(*key)
    await directory.put(Account(1, "Ours", retention_days=30))
    await directory.put(Route(1, 1, "Nothing", priority=0, record="never"))
    with pytest.raises(InvalidEntry, match="is always there"):
        await directory.remove(*key)
    assert directory.entries.routes[1].record == "never"
    for wrong in (Route(1, 1, priority=1), Route(1, 1, pattern="1%", priority=0)):
        with pytest.raises(InvalidEntry, match="the default route keeps"):
            await directory.put(wrong)


@pytest.mark.parametrize("key", [("accounts", "2"), ("colours", "1"), ("users", ""), ("x", "\x00")])
async def test_what_is_not_there_cannot_be_removed(
    directory: Directory, key: tuple[str, str]
) -> None:
    with pytest.raises(UnknownEntry):
        await directory.remove(*key)


async def test_addresses_are_one_whatever_their_case(directory: Directory) -> None:
    await directory.put(User("Ann@Example.com", 1))
    assert await directory.put(User("ann@example.com", 1, "admin")) == Change(
        "users", "ann@example.com", "changed"
    )
    assert list(directory.entries.users) == ["ann@example.com"]
    await directory.remove("users", "ANN@example.com")
    assert not directory.entries.users


# files


async def test_a_file_is_applied_once(directory: Directory, database: Database) -> None:
    assert await directory.apply(FILE) == [
        Change("accounts", "100", "added"),
        Change("routes", "10", "added"),
    ]
    assert (directory.entries.accounts[100], directory.entries.routes[10]) == (CENTRE, LINE)
    assert await counter(database) == 1
    assert await directory.apply(FILE) == []
    assert await counter(database) == 1


async def test_what_a_file_does_not_name_stays(directory: Directory) -> None:
    await directory.put(User("ann@example.com", 1))
    await directory.apply(FILE)
    assert list(directory.entries.users) == ["ann@example.com"]
    assert await directory.apply(b"") == []
    assert 10 in directory.entries.routes


async def test_a_file_is_applied_whole_or_not_at_all(
    directory: Directory, database: Database
) -> None:
    for wrong in (b"[[routes]]\nid = 11\naccount = 9\n", b"[[routes]]\nid = 11\n"):
        with pytest.raises(InvalidEntry, match="routes"):
            await directory.apply(FILE + wrong)
    await directory.load()
    assert directory.entries == NEW


async def test_a_dry_run_says_all_and_does_nothing(
    directory: Directory, database: Database
) -> None:
    found = await directory.apply(FILE, dry_run=True)
    assert [(change.kind, change.key) for change in found] == [
        ("accounts", "100"),
        ("routes", "10"),
    ]
    assert directory.entries == NEW
    await directory.load()
    assert directory.entries == NEW
    with pytest.raises(InvalidEntry):
        await directory.apply(b"[[routes]]\nid = 11\naccount = 9\n", dry_run=True)


async def test_what_entries_name_may_come_later_in_the_file(directory: Directory) -> None:
    yaml = b"routes: [{id: 10, account: 100}]\naccounts: [{number: 100}]"
    assert len(await directory.apply(yaml, yaml=True)) == 2


# guards


async def test_a_guard_sees_what_is_in_the_database_and_can_stop_a_change(
    directory: Directory, elsewhere: Directory
) -> None:
    await elsewhere.put(CENTRE)
    seen: list[Entries] = []

    def guard(entries: Entries) -> None:
        seen.append(entries)
        raise LookupError

    with pytest.raises(LookupError):
        await directory.put(Account(100, "Mine"), guard)
    with pytest.raises(LookupError):
        await directory.remove("accounts", "100", guard)
    assert [entries.accounts[100] for entries in seen] == [CENTRE, CENTRE]
    await directory.load()
    assert directory.entries.accounts[100] == CENTRE


# secrets


async def test_a_secret_can_be_kept_without_being_known(directory: Directory) -> None:
    await directory.put(HOOK)
    moved = Destination("hook", "RECORDING_ENDED_EVENT", "http://hooks.example/2", secret=KEEP)
    await directory.put(moved)
    assert directory.entries.destinations["hook"].secret == "hush"
    assert directory.entries.destinations["hook"].url == "http://hooks.example/2"
    assert await directory.put(moved) is None


async def test_only_a_secret_that_is_there_can_be_kept(directory: Directory) -> None:
    new = Destination("hook", "RECORDING_ENDED_EVENT", "http://hooks.example/2", secret=KEEP)
    with pytest.raises(InvalidEntry, match="destinations hook: secret: there is none yet"):
        await directory.put(new)
    assert not directory.entries.destinations


# rows that cannot be used


UNUSABLE: tuple[tuple[str, str, str], ...] = (
    ("accounts", "7", "{"),
    ("accounts", "7", '{"number": 7, "colour": "red"}'),
    ("accounts", "7", '{"number": 0}'),
    ("accounts", "7", '{"number": 8}'),
    ("accounts", "7", "[" * 100_000),
    ("accounts", "7", "null"),
    ("colours", "red", "{}"),
    ("routes", "7", '{"id": 7, "account": 9}'),
    ("routes", "1", '{"id": 1, "account": 100, "record": "never"}'),
)


@pytest.mark.parametrize("row", UNUSABLE, ids=range(len(UNUSABLE)))
async def test_what_cannot_be_used_is_left_out_and_logged_once(
    directory: Directory, database: Database, row: tuple[str, str, str]
) -> None:
    await directory.put(CENTRE)
    await write_row(database, *row)
    with capture_logs() as logs:
        await directory.load()
        await directory.load()
        await directory.put(User("ann@example.com", 100))
    assert set(directory.entries.by_key()) == {
        ("accounts", "1"),
        ("accounts", "100"),
        ("routes", "1"),
        ("users", "ann@example.com"),
        ("integrations", DEMONSTRATION.guid),
    }
    assert directory.entries.routes[1] == INITIAL.routes[1]
    assert [(log["event"], log["kind"], log["key"]) for log in logs] == [
        ("directory_entry_unusable", *row[:2])
    ]


async def test_what_cannot_be_used_can_be_removed_or_replaced(
    directory: Directory, database: Database
) -> None:
    await write_row(database, "colours", "red", "{}")
    await write_row(database, "accounts", "100", "{")
    await directory.remove("colours", "red")
    assert await directory.put(CENTRE) is not None
    with capture_logs() as logs:
        await directory.load()
    assert not logs
    assert directory.entries.accounts[100] == CENTRE


async def test_an_older_state_that_was_restored_is_taken_over(
    directory: Directory, database: Database
) -> None:
    await directory.apply(FILE)
    await directory.put(HOOK)
    async with watched(directory):
        async with database.writing() as connection:
            await connection.execute(delete(tables.directory))
            await connection.execute(update(tables.counters).values(value=1))
        await until(lambda: directory.entries == INITIAL)


# without the database


def take_away(path: Path) -> None:
    path.rename(path.with_name("away"))


def bring_back(path: Path) -> None:
    path.with_name("away").rename(path)


def obstruct(path: Path) -> None:
    """No database can be where `path` is."""
    path.mkdir(parents=True)


async def test_a_start_without_the_database_knows_what_was_last_known(
    file_directory: Directory, path: Path, tmp_path: Path
) -> None:
    await file_directory.apply(FILE)
    await file_directory.put(HOOK)
    take_away(path)
    obstruct(path)
    database = Database(f"sqlite:///{path}")
    started = Directory(database, tmp_path / "directory.json")
    with pytest.raises(StorageUnavailable):
        await started.load()
    assert started.entries == file_directory.entries
    assert started.entries.destinations["hook"].secret == "hush"
    await database.close()


async def test_what_is_known_from_the_database_is_better_than_the_cache(
    file_directory: Directory, path: Path, tmp_path: Path
) -> None:
    await file_directory.apply(FILE)
    (tmp_path / "directory.json").write_text("[]")
    take_away(path)
    with pytest.raises(StorageUnavailable):
        await file_directory.load()
    assert file_directory.entries.routes[10] == LINE
    with pytest.raises(StorageUnavailable):
        await file_directory.put(HOOK)
    assert not file_directory.entries.destinations


async def test_a_cache_is_for_our_eyes_only(file_directory: Directory, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        await file_directory.put(HOOK)
    finally:
        os.umask(old)
    cache = tmp_path / "directory.json"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    assert not (tmp_path / "directory.json.part").exists()
    assert "hush" in cache.read_text()


async def test_where_a_file_cannot_be_private_it_holds_no_secret(
    file_directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fstat", lambda _: Mock(st_mode=0o100_644))
    await file_directory.put(HOOK)
    text = (tmp_path / "directory.json").read_text()
    assert "hooks.example" in text and "hush" not in text


async def test_a_link_in_place_of_the_cache_is_not_followed(
    file_directory: Directory, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("directory.json", "directory.json.part"):
        (tmp_path / name).symlink_to(victim)
    await file_directory.put(CENTRE)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "directory.json").is_symlink()


@pytest.mark.parametrize(
    "octets", [b"", b"{", b"[[1]]", b"\xff", b"[" * 100_000, b'[["accounts", "7", "{"]]']
)
async def test_a_damaged_cache_is_no_obstacle(
    file_directory: Directory, path: Path, tmp_path: Path, octets: bytes
) -> None:
    obstruct(path)
    (tmp_path / "directory.json").write_bytes(octets)
    with capture_logs() as logs, pytest.raises(StorageUnavailable):
        await file_directory.load()
    assert file_directory.entries == INITIAL
    assert len(logs) == 1


async def test_a_cache_that_cannot_be_written_is_no_obstacle(path: Path, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    directory = Directory(database, tmp_path / "nowhere" / "directory.json")
    with capture_logs() as logs:
        await directory.put(CENTRE)
    assert directory.entries.accounts[100] == CENTRE
    assert [log["event"] for log in logs] == ["directory_cache_failed"]
    await database.close()


async def test_who_watches_goes_on_when_the_database_is_back(
    file_directory: Directory, path: Path
) -> None:
    await file_directory.load()
    other = Database(f"sqlite:///{path}")
    with capture_logs() as logs:
        async with watched(file_directory):
            take_away(path)
            await until(lambda: bool(logs))
            bring_back(path)
            await Directory(other).put(CENTRE)
            await until(lambda: 100 in file_directory.entries.accounts)
    await other.close()
    assert [log["event"] for log in logs] == ["directory_not_followed"]


async def test_a_locked_database_keeps_nobody_from_asking(
    file_directory: Directory, path: Path
) -> None:
    await file_directory.apply(FILE)
    with locked(path):
        with pytest.raises(StorageUnavailable):
            await file_directory.put(HOOK)
        assert file_directory.entries.routes[10] == LINE


async def test_the_cache_follows_what_others_change(
    file_directory: Directory, path: Path, tmp_path: Path
) -> None:
    await file_directory.load()
    database = Database(f"sqlite:///{path}")
    await Directory(database).put(Policy("p", "e", [PolicyAction("StopAudio")]))
    await database.close()
    async with watched(file_directory):
        await until(lambda: bool(file_directory.entries.policies))
        await until(
            lambda: (
                "policies"
                in {row[0] for row in json.loads((tmp_path / "directory.json").read_text())}
            )
        )
