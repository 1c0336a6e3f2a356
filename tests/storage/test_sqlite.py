"""What is peculiar to a database that is a file."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import text

from storage import sqlite
from storage.database import Database
from storage.records import StorageError, StorageUnavailable
from storage.sqlite import SqliteFile
from tests.storage.conftest import locked, unprivileged
from tests.storage.test_database import names, put

OVERFLOW = "INSERT INTO counters SELECT name, abs(-9223372036854775807 - 1) FROM counters"
"""Fails when the statement is under way already."""


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def url(bare_url: str) -> str:
    """Of no file yet."""
    return bare_url


def replace(path: Path, other: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    other.replace(path)


def checkpoint(path: Path) -> None:
    """Bring everything from the write-ahead log into the file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def overwrite(path: Path, octets: bytes = b"") -> bytes:
    """Write `octets`, or noise, into a file in place; what was there before."""
    before = path.read_bytes()
    path.write_bytes(octets or os.urandom(len(before)))
    return before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike those of pytest."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    modes = {path: path.stat().st_mode for path in (folder, *folder.iterdir())}
    for path, mode in modes.items():
        path.chmod(mode & 0o555)
    with unprivileged():
        yield
    for path, mode in modes.items():
        path.chmod(mode)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "/data/siprecd.db"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(StorageError, match="sqlite:///PATH"):
        SqliteFile(url)


async def test_a_relative_path_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite:///data/siprecd.db")
    await database.migrate()
    await database.close()
    assert (tmp_path / "data" / "siprecd.db").exists()


async def test_a_path_is_taken_literally(tmp_path: Path) -> None:
    path = tmp_path / "a b%20?mode=ro#ü" / "x&y.db"
    database = Database(f"sqlite:///{path}")
    await database.migrate()
    await database.close()
    assert path.exists()


async def test_looking_at_the_version_makes_no_file(database: Database, path: Path) -> None:
    assert await database.version() is None
    assert not path.parent.exists()


async def test_files_are_for_our_eyes_only(database: Database, path: Path) -> None:
    await database.migrate()
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE spare (x)"))
        modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
    assert modes == {"siprecd.db": 0o600, "siprecd.db-wal": 0o600, "siprecd.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o027 == 0


async def test_a_database_away_at_the_start_is_migrated_when_it_comes(tmp_path: Path) -> None:
    blocked = tmp_path / "data"
    blocked.write_text("not a folder")
    database = Database(f"sqlite:///{blocked}/siprecd.db")
    with pytest.raises(StorageUnavailable):
        await database.migrate()
    blocked.unlink()
    assert await names(database) == set()
    await database.close()


async def test_a_lock_stops_writers_only_and_not_for_long(database: Database, path: Path) -> None:
    await put(database, "a")
    async with asyncio.timeout(10):
        with locked(path):
            with pytest.raises(StorageUnavailable, match="locked"):
                await put(database, "b")
            assert await names(database) == {"a"}
        await put(database, "b")


async def test_many_callers_at_a_lock_all_hear_of_it(database: Database, path: Path) -> None:
    await database.migrate()
    with locked(path):
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(
                *(put(database, str(n)) for n in range(20)), return_exceptions=True
            )
    assert {type(outcome) for outcome in outcomes} == {StorageUnavailable}
    for n in range(20):
        await put(database, str(n))


async def test_two_hundred_locks_leave_nothing_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.001)
    database = Database(f"sqlite:///{path}")
    await database.migrate()
    before = open_files()
    for _ in range(200):
        with locked(path), pytest.raises(StorageUnavailable):
            await put(database, "a")
    await put(database, "a")
    await database.close()
    assert open_files() < before + 50


async def test_an_error_still_looked_at_keeps_no_lock(database: Database) -> None:
    await database.migrate()
    with pytest.raises(StorageUnavailable) as kept:
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO counters VALUES ('test:a', 1)"))
            await connection.execute(text(OVERFLOW))
    await put(database, "b")
    assert await names(database) == {"b"}
    assert kept.value.__cause__ is not None


async def test_a_database_taken_away_is_neither_missed_nor_made_anew(
    database: Database, path: Path
) -> None:
    await put(database, "a")
    away = path.parent.with_name("away")
    path.parent.rename(away)
    path.parent.mkdir()
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await put(database, "b")
        with pytest.raises(StorageUnavailable):
            await names(database)
    assert list(path.parent.iterdir()) == []
    path.parent.rmdir()
    away.rename(path.parent)
    await put(database, "b")
    assert await names(database) == {"a", "b"}


async def test_a_database_put_in_place_of_another_is_used(
    database: Database, path: Path, tmp_path: Path
) -> None:
    await database.migrate()
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "b")) as copy:
        source.backup(copy)
    await put(database, "after the backup")
    replace(path, tmp_path / "b")
    assert await names(database) == set()
    await put(database, "b")
    assert await names(database) == {"b"}


@pytest.mark.parametrize("connected", [True, False])
async def test_a_corrupt_file_is_unavailable_until_it_is_restored(
    database: Database, path: Path, connected: bool
) -> None:
    await put(database, "a")
    if connected:
        checkpoint(path)
    else:
        await database.close()
    good = overwrite(path)
    with pytest.raises(StorageUnavailable, match="not a database"):
        await names(database)
    with pytest.raises(StorageUnavailable, match="not a database"):
        await put(database, "b")
    overwrite(path, good)
    assert await names(database) == {"a"}


async def test_a_read_only_folder_is_unavailable(folder: Path) -> None:
    database = Database(f"sqlite:///{folder}/siprecd.db")
    await put(database, "a")
    await database.close()
    with read_only(folder):
        with pytest.raises(StorageUnavailable):
            await put(database, "b")
        with pytest.raises(StorageUnavailable, match="Permission denied"):
            await Database(f"sqlite:///{folder}/other.db").migrate()
    await put(database, "b")
    await database.close()
