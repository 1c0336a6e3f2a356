import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import storage.migrations
from storage.catalog import Catalog
from storage.database import BUSY_TIMEOUT_S, QUEUE_TIMEOUT_S, SCHEMA, Database, metadata
from storage.records import RecordingQuery, StorageError, StorageUnavailable
from tests.storage.conftest import MakeRecording, locked, unprivileged

ROOT = Path(__file__).parents[2]
MIGRATE = """
import asyncio, sys
from storage.database import Database

async def main():
    database = Database("sqlite:///" + sys.argv[1])
    await database.migrate()
    await database.close()

{before}
asyncio.run(main())
{after}
"""
KILLER = """
import os, signal
from sqlalchemy import Engine, event

@event.listens_for(Engine, "{when}_cursor_execute")
def kill(connection, cursor, statement, *rest):
    if statement.strip().startswith("{statement}"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def process(path: Path, before: str = "", after: str = "") -> "subprocess.Popen[str]":
    script = MIGRATE.format(before=before, after=after)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], cwd=ROOT, text=True, stdout=subprocess.PIPE
    )


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


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


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "mysql:///x", "/data/siprecd.db"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(StorageError, match="sqlite:///PATH"):
        Database(url)


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


async def test_files_are_for_our_eyes_only(database: Database, path: Path) -> None:
    await database.migrate()
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE spare (x)"))
        modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
    assert modes == {"siprecd.db": 0o600, "siprecd.db-wal": 0o600, "siprecd.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o027 == 0


async def test_connections_are_set_up(database: Database) -> None:
    async with database.reading() as connection:
        found = {
            name: await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 50}


def test_all_waits_together_stay_below_two_seconds() -> None:
    assert 2 * QUEUE_TIMEOUT_S + BUSY_TIMEOUT_S < 2


async def test_what_raises_is_rolled_back(database: Database, path: Path) -> None:
    await database.migrate()
    with pytest.raises(RuntimeError):
        async with database.writing() as connection:
            await connection.execute(text("CREATE TABLE spare (x)"))
            raise RuntimeError
    assert "spare" not in tables(path)


async def test_the_migrated_schema_is_the_declared_one(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


def test_the_newest_revision_is_the_one_we_expect() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(storage.migrations.__path__[0])))
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA]


async def test_migrating_again_changes_nothing(
    database: Database, catalog: Catalog, recording: MakeRecording
) -> None:
    await catalog.save(recording())
    await database.migrate()
    await database.migrate()
    assert await catalog.get("rec-0001") == recording()


async def test_alembic_is_imported_only_for_a_schema_that_is_behind(
    database: Database, path: Path
) -> None:
    await database.migrate()
    assert process(path, after="print('alembic' in sys.modules)").communicate()[0] == "False\n"


def test_several_processes_may_migrate_at_once(path: Path) -> None:
    started = [process(path) for _ in range(2)]
    assert [one.wait(60) for one in started] == [0, 0]
    assert set(metadata.tables) <= tables(path)
    for one in started:
        one.communicate()


@pytest.mark.parametrize(
    ("when", "statement"),
    [
        ("after", "CREATE TABLE alembic_version"),
        ("before", "CREATE TABLE audit"),
        ("after", "INSERT INTO alembic_version"),
    ],
)
async def test_a_migration_killed_in_the_middle_leaves_nothing(
    database: Database, path: Path, when: str, statement: str
) -> None:
    killed = process(path, before=KILLER.format(when=when, statement=statement))
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert tables(path) == set()
    await database.migrate()
    assert set(metadata.tables) <= tables(path)


async def test_a_newer_schema_is_refused(database: Database, path: Path) -> None:
    await database.migrate()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
        connection.commit()
    newer = Database(f"sqlite:///{path}")
    with pytest.raises(StorageError, match=f"schema 0999, this version knows up to {SCHEMA}") as e:
        await newer.migrate()
    assert not isinstance(e.value, StorageUnavailable)
    await newer.close()


async def test_a_database_away_at_the_start_is_migrated_when_it_comes(tmp_path: Path) -> None:
    blocked = tmp_path / "data"
    blocked.write_text("not a folder")
    database = Database(f"sqlite:///{blocked}/siprecd.db")
    with pytest.raises(StorageUnavailable):
        await database.migrate()
    blocked.unlink()
    assert (await Catalog(database).find(RecordingQuery())).items == ()
    await database.close()


async def test_a_lock_stops_writers_only_and_not_for_long(
    catalog: Catalog, path: Path, recording: MakeRecording
) -> None:
    await catalog.save(recording("a"))
    async with asyncio.timeout(10):
        with locked(path):
            with pytest.raises(StorageUnavailable, match="locked"):
                await catalog.save(recording("b"))
            assert (await catalog.get("a")).id == "a"
        await catalog.save(recording("b"))


async def test_many_callers_at_a_lock_all_hear_of_it(
    catalog: Catalog, path: Path, recording: MakeRecording
) -> None:
    with locked(path):
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(
                *(catalog.save(recording(str(n))) for n in range(20)), return_exceptions=True
            )
    assert {type(outcome) for outcome in outcomes} == {StorageUnavailable}
    await catalog.save(*(recording(str(n)) for n in range(20)))


async def test_a_turn_to_write_is_not_waited_for_long(
    catalog: Catalog, database: Database, recording: MakeRecording
) -> None:
    async with asyncio.timeout(10):
        async with database.writing():
            with pytest.raises(StorageUnavailable, match="too many writers"):
                await catalog.save(recording("a"))
        await catalog.save(recording("a"))


async def test_a_database_taken_away_is_neither_missed_nor_made_anew(
    catalog: Catalog, path: Path, recording: MakeRecording
) -> None:
    await catalog.save(recording("a"))
    away = path.parent.with_name("away")
    path.parent.rename(away)
    path.parent.mkdir()
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await catalog.save(recording("b"))
        with pytest.raises(StorageUnavailable):
            await catalog.get("a")
    assert list(path.parent.iterdir()) == []
    path.parent.rmdir()
    away.rename(path.parent)
    await catalog.save(recording("b"))
    assert {one.id for one in (await catalog.find(RecordingQuery())).items} == {"a", "b"}


async def test_a_database_put_in_place_of_another_is_used(
    catalog: Catalog, path: Path, recording: MakeRecording, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "b")) as copy:
        source.backup(copy)
    await catalog.save(recording("after-the-backup"))
    replace(path, tmp_path / "b")
    assert (await catalog.find(RecordingQuery())).items == ()
    await catalog.save(recording("b"))
    assert (await catalog.get("b")).id == "b"


@pytest.mark.parametrize("connected", [True, False])
async def test_a_corrupt_file_is_unavailable_until_it_is_restored(
    catalog: Catalog, database: Database, path: Path, recording: MakeRecording, connected: bool
) -> None:
    await catalog.save(recording("a"))
    if connected:
        checkpoint(path)
    else:
        await database.close()
    good = overwrite(path)
    with pytest.raises(StorageUnavailable, match="not a database"):
        await catalog.get("a")
    with pytest.raises(StorageUnavailable, match="not a database"):
        await catalog.save(recording("b"))
    overwrite(path, good)
    assert await catalog.get("a") == recording("a")


async def test_a_read_only_folder_is_unavailable(recording: MakeRecording, folder: Path) -> None:
    database = Database(f"sqlite:///{folder}/siprecd.db")
    catalog = Catalog(database)
    await catalog.save(recording("a"))
    await database.close()
    with read_only(folder):
        with pytest.raises(StorageUnavailable):
            await catalog.save(recording("b"))
        with pytest.raises(StorageUnavailable, match="Permission denied"):
            await Database(f"sqlite:///{folder}/other.db").migrate()
    await catalog.save(recording("b"))
    await database.close()


async def test_a_cancelled_caller_leaves_no_lock_behind(
    catalog: Catalog, recording: MakeRecording
) -> None:
    for steps in range(12):
        saving = asyncio.gather(catalog.save(recording("a", duration_ms=steps)))
        for _ in range(steps):
            await asyncio.sleep(0)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
    await catalog.save(recording("a"))
    assert await catalog.get("a") == recording("a")
