"""What holds for every kind of database."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from traceback import format_exception

import pytest
from sqlalchemy import insert, select, text

from storage import postgresql, sqlite
from storage.database import QUEUE_TIMEOUT_S, Database
from storage.records import StorageError, StorageUnavailable
from storage.tables import OUTBOX_SCHEMA, SCHEMA, counters, credentials

ROOT = Path(__file__).parents[2]
LIMITS = (postgresql.COMMAND_TIMEOUT_S, postgresql.CONNECT_TIMEOUT_S, sqlite.BUSY_TIMEOUT_S)
"""As they are, before a fixture has patience."""
INCREMENT = """
import asyncio, sys
from sqlalchemy import select, update
from storage.database import Database
from storage.records import StorageUnavailable
from storage.tables import counters

async def increment(database):
    async with database.writing() as connection:
        value = await connection.scalar(select(counters.c.value).where(counters.c.name == "n"))
        await connection.execute(
            update(counters).where(counters.c.name == "n").values(value=value + 1)
        )

async def main():
    database = Database(sys.argv[1])
    left = 25
    while left:
        try:
            await increment(database)
            left -= 1
        except StorageUnavailable:
            pass
    await database.close()

asyncio.run(main())
"""


def increment(url: str) -> int:
    """Add 25 to the counter `n` in a process of its own; its exit status."""
    command = [sys.executable, "-c", INCREMENT, url]
    return subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode


async def put(database: Database, name: str) -> None:
    """Store a name."""
    async with database.writing() as connection:
        await connection.execute(insert(counters).values(name=f"test:{name}", value=0))


async def names(database: Database) -> set[str]:
    """The names that are stored."""
    async with database.reading() as connection:
        found = await connection.execute(select(counters.c.name))
        return {name.removeprefix("test:") for (name,) in found if name.startswith("test:")}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://root:secret@db/srs",
        "/data/siprecd.db",
        "sqlite://",
        "postgresql+asyncpg://root:secret@db/srs",
        "POSTGRESQL",
    ],
)
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(StorageError, match="sqlite:///PATH") as raised:
        Database(url)
    assert "secret" not in str(raised.value)


def test_all_waits_together_stay_near_two_seconds() -> None:
    assert 2 * QUEUE_TIMEOUT_S + max(LIMITS) + postgresql.CLOSE_TIMEOUT_S < 2.5


async def test_connections_are_set_up(database: Database, kind: str) -> None:
    settings: dict[str, dict[str, object]] = {
        "sqlite": {
            "PRAGMA journal_mode": "wal",
            "PRAGMA synchronous": 1,
            "PRAGMA foreign_keys": 1,
            "PRAGMA busy_timeout": 50,
        },
        "postgresql": {
            "SHOW lock_timeout": "50ms",
            "SHOW statement_timeout": "18s",
            "SHOW idle_in_transaction_session_timeout": "10s",
            "SHOW transaction_isolation": "repeatable read",
            "SHOW transaction_read_only": "on",
        },
    }
    expected = settings[kind]
    async with database.reading() as connection:
        found = {name: await connection.scalar(text(name)) for name in expected}
    assert found == expected


async def test_what_raises_is_rolled_back(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.writing() as connection:
            await connection.execute(insert(counters).values(name="test:a", value=0))
            raise RuntimeError
    assert await names(database) == set()


async def test_a_reader_sees_one_state_while_others_write(database: Database, url: str) -> None:
    other = Database(url)
    await put(database, "a")
    async with database.reading() as connection:
        before = (await connection.execute(select(counters.c.name))).all()
        await put(other, "b")
        assert (await connection.execute(select(counters.c.name))).all() == before
    assert await names(database) == {"a", "b"}
    await other.close()


async def test_writers_of_several_nodes_see_what_the_others_did(
    database: Database, url: str
) -> None:
    async with database.writing() as connection:
        await connection.execute(insert(counters).values(name="n", value=0))
    assert await asyncio.gather(*(asyncio.to_thread(increment, url) for _ in range(3))) == [0, 0, 0]
    async with database.reading() as connection:
        assert await connection.scalar(select(counters.c.value).where(counters.c.name == "n")) == 75


async def test_a_turn_to_write_is_not_waited_for_long(database: Database) -> None:
    await database.migrate()
    async with asyncio.timeout(10):
        async with database.writing():
            with pytest.raises(StorageUnavailable, match="too many writers"):
                await put(database, "a")
        await put(database, "a")


async def test_a_writer_of_another_node_is_not_waited_for_long(
    database: Database, url: str
) -> None:
    other = Database(url)
    await database.migrate()
    async with asyncio.timeout(10):
        async with other.writing():
            with pytest.raises(StorageUnavailable, match="lock"):
                await put(database, "a")
            assert await names(database) == set()
        await put(database, "a")
    await other.close()


async def test_readers_beyond_the_pool_wait_but_not_for_long(database: Database) -> None:
    await database.migrate()
    async with database.reading(), database.reading(), database.reading(), database.reading():
        with pytest.raises(StorageUnavailable, match="no answer in time"):
            await names(database)
    assert await names(database) == set()


async def test_a_cancelled_caller_leaves_no_lock_behind(database: Database) -> None:
    await database.migrate()
    for steps in range(30):
        storing = asyncio.gather(put(database, f"a{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        storing.cancel()
        with suppress(asyncio.CancelledError, StorageUnavailable):
            await storing
    async with asyncio.timeout(20):
        while "b" not in await names(database):
            with suppress(StorageUnavailable):  # a server may still be rolling back
                await put(database, "b")


async def test_what_is_there_already_is_refused_and_nothing_else_suffers(
    database: Database,
) -> None:
    await put(database, "a")
    with pytest.raises(StorageError) as raised:
        await put(database, "a")
    assert not isinstance(raised.value, StorageUnavailable)
    assert "\n" not in str(raised.value)
    await put(database, "b")


@pytest.mark.parametrize("value", [2**63, "text", None])
async def test_a_value_that_cannot_be_stored_is_no_outage(
    database: Database, value: object, kind: str
) -> None:
    if kind == "sqlite" and value == "text":
        pytest.skip("SQLite takes it")
    with pytest.raises(StorageError) as raised:
        async with database.writing() as connection:
            await connection.execute(insert(counters).values(name="secret-name", value=value))
    assert not isinstance(raised.value, StorageUnavailable)
    assert "secret-name" not in str(raised.value)
    await put(database, "a")


async def test_values_come_back_as_they_were(database: Database) -> None:
    hostile = "Robert'); DROP TABLE recordings;--\u2028\U0001f4b3 \\x00 %s $1 :name"
    async with database.writing() as connection:
        await connection.execute(insert(counters).values(name=hostile, value=-(2**63)))
    async with database.reading() as connection:
        found = await connection.execute(select(counters).where(counters.c.name == hostile))
        assert found.one() == (hostile, -(2**63))


@pytest.mark.parametrize("failures", [None, "text", 2**63])
async def test_failures_tell_no_stored_value(
    database: Database, kind: str, failures: object
) -> None:
    """A password hash on its way to the database must not end in a log."""
    if kind == "sqlite" and failures == "text":
        pytest.skip("SQLite takes it")
    values = {"email": "ann@example.com", "password": "$argon2id$secret", "failures": failures}
    with pytest.raises(StorageError) as raised:
        async with database.writing() as connection:
            await connection.execute(insert(credentials).values(values))
    assert "$argon2id$secret" not in "".join(format_exception(raised.value))


@pytest.mark.parametrize("schema", ["0999", OUTBOX_SCHEMA, "0002_of_somebody_else"])
async def test_a_schema_not_ours_is_refused_and_left_alone(
    database: Database, url: str, schema: str
) -> None:
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": schema})
    other = Database(url)
    for _ in range(2):
        with pytest.raises(StorageError, match=f"has schema {schema}") as raised:
            await other.migrate()
        assert SCHEMA in str(raised.value)
        assert not isinstance(raised.value, StorageUnavailable)
    assert await other.version() == schema
    await other.close()


async def test_the_schema_of_an_outbox_is_not_built_upon_the_books(
    database: Database, url: str
) -> None:
    await database.migrate()
    outbox = Database(url, schema=OUTBOX_SCHEMA)
    with pytest.raises(StorageError, match=f"has schema {SCHEMA}, expected {OUTBOX_SCHEMA}"):
        await outbox.migrate()
    await outbox.close()
