"""The steps between schemas, on every kind of database."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import storage.migrations
from storage.database import Database
from storage.tables import OUTBOX_SCHEMA, SCHEMA, books, outbox_tables

ROOT = Path(__file__).parents[2]
MIGRATE = """
import asyncio, sys
from storage.database import Database

async def main():
    database = Database(sys.argv[1])
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
SCHEMAS = {SCHEMA: books, OUTBOX_SCHEMA: outbox_tables}


def process(url: str, before: str = "", after: str = "") -> "subprocess.Popen[str]":
    script = MIGRATE.format(before=before, after=after)
    return subprocess.Popen(
        [sys.executable, "-c", script, url], cwd=ROOT, text=True, stdout=subprocess.PIPE
    )


async def finish(started: "subprocess.Popen[str]") -> str:
    return (await asyncio.to_thread(started.communicate, timeout=60))[0]


@pytest.fixture
async def plain(bare_url: str, path: Path) -> AsyncIterator[AsyncEngine]:
    """The database as it is, whatever its schema."""
    path.parent.mkdir(exist_ok=True)
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    scheme, _, rest = bare_url.partition("://")
    engine = create_async_engine(f"{driver[scheme]}://{rest}")
    yield engine
    await engine.dispose()


async def tables(plain: AsyncEngine) -> set[str]:
    async with plain.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def rows(plain: AsyncEngine, statement: str) -> list[Any]:
    async with plain.connect() as connection:
        return list(map(tuple, await connection.execute(text(statement))))


async def insert(plain: AsyncEngine, table: str, *values: dict[str, object]) -> None:
    columns = ", ".join(values[0])
    marks = ", ".join(f":{name}" for name in values[0])
    async with plain.begin() as connection:
        await connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({marks})"), values)


async def migrated(url: str, schema: str = SCHEMA) -> None:
    database = Database(url, schema=schema)
    await database.migrate()
    await database.close()


def differences(connection: Connection, declared: MetaData) -> list[object]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, declared))


DESCRIBED = {
    "sqlite": (
        "SELECT m.name, c.name, c.type, c.'notnull', c.dflt_value, c.pk "
        "FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'",
        "SELECT m.name, f.'from', f.'table', f.'to', f.on_delete "
        "FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f",
        "SELECT m.tbl_name, i.'unique', i.origin, i.partial, group_concat(c.name) "
        "FROM sqlite_master m JOIN pragma_index_list(m.name) i JOIN pragma_index_info(i.name) c "
        "GROUP BY m.tbl_name, i.name",
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "SELECT name, sql LIKE '%WITHOUT ROWID', sql LIKE '%AUTOINCREMENT%' FROM sqlite_master",
    ),
    "postgresql": (
        "SELECT table_name, column_name, data_type, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'",
    ),
}
"""Queries that tell all of a schema but the order of columns."""


def description(connection: Connection) -> set[tuple[object, ...]]:
    queries = DESCRIBED[connection.dialect.name]
    found = {tuple(row) for query in queries for row in connection.execute(text(query))}
    return {row for row in found if "alembic_version" not in str(row[0])}


def declared(connection: Connection, schema: MetaData) -> set[tuple[object, ...]]:
    """As `description`, of tables newly made as they are declared."""
    schema.drop_all(connection)
    schema.create_all(connection)
    return description(connection)


def test_the_newest_revisions_are_the_ones_we_expect() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(storage.migrations.__path__[0])))
    assert set(ScriptDirectory.from_config(config).get_heads()) == set(SCHEMAS)


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_the_schema_from_nothing_is_the_declared_one(
    plain: AsyncEngine, bare_url: str, schema: str
) -> None:
    await migrated(bare_url, schema)
    assert await tables(plain) == set(SCHEMAS[schema].tables) | {"alembic_version"}
    async with plain.begin() as connection:
        assert await connection.run_sync(differences, SCHEMAS[schema]) == []
        found = await connection.run_sync(description)
        assert found == await connection.run_sync(declared, SCHEMAS[schema])


async def test_the_schema_from_an_older_one_is_the_declared_one(
    plain: AsyncEngine, bare_url: str
) -> None:
    await migrated(bare_url, "0001")
    await insert(plain, "recordings", recording())
    await migrated(bare_url)
    assert await tables(plain) == set(books.tables) | {"alembic_version"}
    async with plain.begin() as connection:
        assert await connection.run_sync(differences, books) == []
        found = await connection.run_sync(description)
        assert found == await connection.run_sync(declared, books)


async def test_alembic_is_imported_only_for_a_schema_that_is_behind(bare_url: str) -> None:
    await migrated(bare_url)
    assert await finish(process(bare_url, after="print('alembic' in sys.modules)")) == "False\n"


async def test_several_nodes_may_migrate_at_once(plain: AsyncEngine, bare_url: str) -> None:
    started = [process(bare_url) for _ in range(3)]
    for one in started:
        await finish(one)
    assert [one.returncode for one in started] == [0, 0, 0]
    assert set(books.tables) <= await tables(plain)


@pytest.mark.parametrize(
    ("when", "statement"),
    [
        ("after", "CREATE TABLE alembic_version"),
        ("before", "CREATE TABLE audit"),
        ("after", "INSERT INTO alembic_version"),
        ("before", "DROP TABLE recordings_0001"),
        ("after", "UPDATE alembic_version"),
    ],
)
async def test_a_migration_killed_in_the_middle_leaves_nothing(
    plain: AsyncEngine, bare_url: str, when: str, statement: str
) -> None:
    killed = process(bare_url, before=KILLER.format(when=when, statement=statement))
    await finish(killed)
    assert killed.returncode == -signal.SIGKILL
    assert await tables(plain) == set()
    await migrated(bare_url)
    assert set(books.tables) <= await tables(plain)


async def test_a_step_killed_in_the_middle_leaves_the_older_schema_whole(
    plain: AsyncEngine, bare_url: str
) -> None:
    await migrated(bare_url, "0001")
    await insert(plain, "recordings", recording("a"), recording("b"))
    before = await tables(plain)
    killed = process(
        bare_url, before=KILLER.format(when="after", statement="DROP TABLE recordings_0001")
    )
    await finish(killed)
    assert killed.returncode == -signal.SIGKILL
    assert await tables(plain) == before
    assert await rows(plain, "SELECT id FROM recordings ORDER BY id") == [("a",), ("b",)]
    await migrated(bare_url)
    assert await rows(plain, "SELECT id FROM recordings ORDER BY id") == [("a",), ("b",)]


def recording(id: str = "r", at: int = 1_000_000, **fields: object) -> dict[str, object]:
    """A row as version 0001 had it."""
    return {
        "id": id,
        "session_id": "session",
        "call_id": "call@src.example",
        "status": "complete",
        "reason": "crash",
        "started_at": at,
        "ended_at": at + 5_000_000,
        "duration_ms": 5000,
        "paused_ms": 700,
        "paused_at_end": True,
        "from_aor": "sip:src@example.com",
        "to_aor": "sips:srs@example.com",
        "siprec_session_ids": '["one==", "two=="]',
        "streams": '[{"stream_id": "s1", "label": "96"}]',
        "pauses": '[{"started_at": "2026-03-04T05:06:07Z", "ended_at": null, "fill": "cut"}]',
        "marks": "[]",
        "warnings": '["metadata_malformed"]',
        "files": '[{"format": "wav", "key": "x.wav", "size_bytes": 44, "sha256": "ab"}]',
        **fields,
    }


def party(recording_id: str, position: int, aor: str, name: str = "") -> dict[str, object]:
    return {
        "recording_id": recording_id,
        "position": position,
        "participant_id": f"p{position}",
        "aor": aor,
        "name": name,
    }


async def test_recordings_are_carried_over_whole(plain: AsyncEngine, bare_url: str) -> None:
    await migrated(bare_url, "0001")
    row = recording(ended_at=None)
    await insert(plain, "recordings", row)
    await migrated(bare_url)
    kept = [name for name in row if name != "siprec_session_ids"]
    (found,) = await rows(plain, f"SELECT {', '.join(kept)} FROM recordings")
    assert found == tuple(row[name] for name in kept)
    (new,) = await rows(
        plain,
        "SELECT number, segment, account, route, profile, filename, ucid, hold, deleting, custom, "
        "digits, supplemental_files, siprec_sessions FROM recordings",
    )
    assert new == (
        *(1, 1, 1, 1, "default", "", "", False, False, "{}", "[]", "[]"),
        '[{"session_id":"one=="},{"session_id":"two=="}]',
    )


async def test_recordings_get_numbers_in_the_order_of_their_start(
    plain: AsyncEngine, bare_url: str
) -> None:
    await migrated(bare_url, "0001")
    many = [recording(f"r{n * 7919 % 1201:04}", at=n // 3) for n in range(1201)]
    await insert(plain, "recordings", *many)
    await migrated(bare_url)
    found = await rows(plain, "SELECT number, started_at, id FROM recordings ORDER BY number")
    assert [number for number, *_ in found] == list(range(1, 1202))
    assert [at for _, at, _ in found] == sorted(at for _, at, _ in found)
    assert {id for *_, id in found} == {row["id"] for row in many}
    assert await rows(plain, "SELECT value FROM counters WHERE name = 'recordings'") == [(1201,)]


async def test_parties_become_part_of_the_recording_and_can_be_found(
    plain: AsyncEngine, bare_url: str
) -> None:
    await migrated(bare_url, "0001")
    await insert(plain, "recordings", recording("a"), recording("b", from_aor="", to_aor=""))
    hostile = "sip:\"'; DROP TABLE recordings;--@é"
    parties = party("a", 1, "sip:bob@x"), party("a", 0, hostile, 'Ann "Ä"'), party("b", 0, "")
    await insert(plain, "participants", *parties)
    await migrated(bare_url)
    (a,), (b,) = await rows(plain, "SELECT participants FROM recordings ORDER BY id")
    assert a == (
        '[{"participant_id":"p0","aor":"sip:\\"\'; DROP TABLE recordings;--@é",'
        '"name":"Ann \\"Ä\\""},{"participant_id":"p1","aor":"sip:bob@x","name":""}]'
    )
    assert b == '[{"participant_id":"p0","aor":"","name":""}]'
    assert sorted(
        await rows(plain, "SELECT name, value, number FROM attributes WHERE name = 'aor'")
    ) == [
        ("aor", "\"'; DROP TABLE recordings;--@é", 1),
        ("aor", "bob@x", 1),
        ("aor", "src@example.com", 1),
        ("aor", "srs@example.com", 1),
    ]
    assert await rows(
        plain,
        "SELECT value, number FROM attributes WHERE name = 'siprec_session' ORDER BY number, value",
    ) == [("one==", 1), ("two==", 1), ("one==", 2), ("two==", 2)]


async def test_the_audit_trail_stays(plain: AsyncEngine, bare_url: str) -> None:
    await migrated(bare_url, "0001")
    entry: dict[str, object] = {
        "recording_id": "deleted long ago",
        "sequence": 1,
        "at": 1,
        "actor": "ann",
        "action": "delete",
        "reason": "",
    }
    await insert(plain, "audit", entry)
    await migrated(bare_url)
    assert await rows(plain, "SELECT * FROM audit") == [tuple(entry.values())]


async def test_keys_given_before_there_were_accounts_reach_all(
    plain: AsyncEngine, bare_url: str
) -> None:
    await migrated(bare_url, "0001")
    key: dict[str, object] = {"name": "pay", "role": "control", "sha256": "ab", "created_at": 1}
    await insert(plain, "api_keys", key)
    await migrated(bare_url)
    assert await rows(plain, "SELECT name, role, account, sha256, created_at FROM api_keys") == [
        ("pay", "control", 1, "ab", 1)
    ]


async def test_several_databases_are_made_at_once(tmp_path: Path) -> None:
    """A node's books and its outbox, in one process."""
    databases = [
        Database(f"sqlite:///{tmp_path}/{number}.db", (SCHEMA, OUTBOX_SCHEMA)[number % 2])
        for number in range(6)
    ]
    await asyncio.gather(*(database.migrate() for database in databases))
    assert [await database.version() for database in databases] == [SCHEMA, OUTBOX_SCHEMA] * 3
    for database in databases:
        await database.close()
