"""What is peculiar to a database behind a server: it can be away in many ways."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from traceback import format_exception

import asyncpg
import pytest
from sqlalchemy import insert, text

from storage import postgresql
from storage.database import POOL_SIZE, Database
from storage.postgresql import PostgresServer
from storage.records import StorageError, StorageUnavailable
from storage.tables import counters
from tests.storage import postgres
from tests.storage.test_database import names, put

pytestmark = pytest.mark.databases

LIMITS = """
max_connections = 12
superuser_reserved_connections = 0
synchronous_commit = on
"""
END_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'siprecd'
"""
COUNT = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'siprecd'
"""

Fault = Callable[[postgres.OwnServer], None]


@pytest.fixture
def kind() -> str:
    return "postgresql"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.OwnServer]:
    """A server that tests here may break, whichever server the others use."""
    settings = postgres.SETTINGS + LIMITS
    lock = tmp_path_factory.mktemp("own") / "lock"
    with (
        tempfile.TemporaryDirectory(prefix="siprecd-own-") as folder,
        postgres.started(Path(folder, "data"), lock, settings) as server,
    ):
        yield postgres.OwnServer(server)


@pytest.fixture
async def broken(
    own: postgres.OwnServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    """A migrated database, with open connections, on the server that may be broken."""
    monkeypatch.setattr(postgresql, "CONNECT_TIMEOUT_S", 2.0)
    monkeypatch.setattr(postgresql, "COMMAND_TIMEOUT_S", 2.0)
    own.start()
    await own.server.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    database = Database(own.server.url)
    await put(database, "before")
    yield database
    await database.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:",
        "postgresql://",
        "postgresql://db",
        "postgresql://db/",
        "postgresql:///srs",
        "postgresql://siprecd:secret@db",
        "postgresql://siprecd:secret@db:port/srs",
        "postgresql://siprecd:secret@db:70000/srs",
        "postgresql://siprecd:se/secret@db/srs",
        "postgresql://siprecd:12/secret@db/srs",
        "postgresql://siprecd:se?secret@db/srs",
        "postgresql://siprecd:se#secret@db/srs",
        "postgresql://siprecd:se[secret@db/srs",
        "postgres://siprecd:secret@db/srs",
        "sqlite:///secret",
    ],
)
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(StorageError, match="postgresql://USER:PASSWORD@HOST/NAME") as raised:
        PostgresServer(url)
    assert "secret" not in "".join(format_exception(raised.value))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://siprecd:secret@db.example/srs", "postgresql://db.example/srs"),
        ("postgresql://siprecd:se@cret@db:5433/srs?ssl=on", "postgresql://db:5433/srs"),
        ("postgresql://siprecd@[::1]:5433/srs", "postgresql://[::1]:5433/srs"),
        ("postgresql://siprecd@/srs?host=/run/pg&password=secret", "postgresql:///run/pg/srs"),
        ("postgresql://db/srs", "postgresql://db/srs"),
    ],
)
def test_only_host_and_name_are_shown(url: str, name: str) -> None:
    assert str(PostgresServer(url)) == name


async def version(url: str) -> str | None:
    database = Database(url)
    try:
        return await database.version()
    finally:
        await database.close()


def admit(own: postgres.OwnServer, rule: str) -> None:
    path = own.folder / "pg_hba.conf"
    path.write_text(f"{rule}\n{path.read_text()}")


async def test_a_wrong_password_is_told_and_not_shown(own: postgres.OwnServer) -> None:
    own.start()
    await own.server.run("CREATE ROLE guest LOGIN PASSWORD 'right'")
    admit(own, "local all guest scram-sha-256")
    await own.server.run("SELECT pg_reload_conf()")
    right = own.server.url.replace("postgres@", "guest:right@")
    wrong = own.server.url.replace("postgres@", "guest:sesame@")
    assert await version(right) is not None
    with pytest.raises(StorageUnavailable, match=r'password .* "guest"') as raised:
        await version(wrong)
    assert "sesame" not in "".join(format_exception(raised.value))


async def test_a_database_that_is_not_there_is_told(postgres_server: postgres.Server) -> None:
    with pytest.raises(StorageUnavailable, match=r'nowhere.* "nowhere" does not exist'):
        await version(postgres_server.at("nowhere"))


async def test_a_host_that_is_not_there_is_told(password: str = "sesame") -> None:
    with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1:1/srs") as raised:
        await version(f"postgresql://siprecd:{password}@127.0.0.1:1/srs")
    assert "sesame" not in "".join(format_exception(raised.value))


async def test_a_character_it_cannot_hold_is_no_outage(database: Database) -> None:
    with pytest.raises(StorageError, match="cannot be stored") as raised:
        async with database.writing() as connection:
            await connection.execute(insert(counters).values(name="nul\0", value=1))
    assert not isinstance(raised.value, StorageUnavailable)
    await put(database, "a")


async def test_a_statement_without_end_is_ended(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "COMMAND_TIMEOUT_S", 0.2)
    database = Database(postgres_url)
    async with asyncio.timeout(10):
        with pytest.raises(StorageUnavailable, match="statement timeout"):
            async with database.reading() as connection:
                await connection.execute(text("SELECT pg_sleep(60)"))
        assert await names(database) == set()
    await database.close()


async def test_a_node_gone_silent_holds_nobody_up_for_ever(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "IDLE_TIMEOUT_S", 0.3)
    silent, other = Database(postgres_url), Database(postgres_url)
    async with asyncio.timeout(20):
        with pytest.raises(StorageUnavailable):
            async with silent.writing() as connection:
                await connection.execute(insert(counters).values(name="test:lost", value=0))
                while not await names(other):
                    with suppress(StorageUnavailable):
                        await put(other, "a")
        assert await names(silent) == {"a"}
    await silent.close()
    await other.close()


async def backend(database: Database) -> int:
    """Process of the server behind the connection that is used."""
    async with database.reading() as connection:
        return int(await connection.scalar(text("SELECT pg_backend_pid()")) or 0)


async def test_a_refusal_costs_no_connection(database: Database, postgres_url: str) -> None:
    """Many connections made anew would be the last thing a busy server needs."""
    await put(database, "a")
    before = await backend(database)
    with pytest.raises(StorageError, match="duplicate"):
        await put(database, "a")
    with pytest.raises(StorageError, match="cannot be stored"):
        await put(database, "\0")
    other = Database(postgres_url)
    async with other.writing():
        with pytest.raises(StorageUnavailable, match="lock timeout"):
            await put(database, "b")
    await other.close()
    assert await backend(database) == before


async def refused(database: Database) -> None:
    """Every call hears of the fault, soon, and alone or among others."""
    async with asyncio.timeout(30):
        with pytest.raises(StorageUnavailable):
            await put(database, "lost")
        with pytest.raises(StorageUnavailable):
            await names(database)
        calls = (*(put(database, "lost") for _ in range(6)), *(names(database) for _ in range(6)))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StorageUnavailable}


async def works(database: Database) -> None:
    """The first call does, and so do as many at a time as there are connections."""
    await put(database, "after")
    assert await names(database) == {"before", "after"}
    async with AsyncExitStack() as stack:
        for _ in range(POOL_SIZE):
            await stack.enter_async_context(database.reading())


@pytest.mark.parametrize(
    "fault", [postgres.OwnServer.stop, postgres.OwnServer.kill], ids=["stopped", "killed"]
)
async def test_a_server_that_ends_is_unavailable_until_it_is_back(
    broken: Database, own: postgres.OwnServer, fault: Fault
) -> None:
    await asyncio.to_thread(fault, own)
    await refused(broken)
    await asyncio.to_thread(own.start)
    await works(broken)


async def test_a_restart_between_two_calls_is_not_noticed(
    broken: Database, own: postgres.OwnServer
) -> None:
    await asyncio.to_thread(own.stop)
    await asyncio.to_thread(own.start)
    await works(broken)


async def test_a_frozen_server_is_unavailable_until_it_thaws(
    broken: Database, own: postgres.OwnServer
) -> None:
    with own.frozen():
        await refused(broken)
    await works(broken)


async def test_a_server_frozen_in_the_middle_of_a_transaction_is_unavailable(
    broken: Database, own: postgres.OwnServer
) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(StorageUnavailable):
            async with broken.writing() as connection:
                await connection.execute(insert(counters).values(name="test:lost", value=0))
                with own.frozen():
                    await connection.execute(insert(counters).values(name="test:too", value=0))
    await works(broken)


async def test_a_server_that_takes_no_more_connections_is_unavailable(
    broken: Database, own: postgres.OwnServer
) -> None:
    await broken.close()
    others: list[asyncpg.Connection] = []
    with pytest.raises(asyncpg.TooManyConnectionsError):
        while len(others) < 100:
            others.append(await asyncpg.connect(own.server.url))
    await refused(broken)
    for other in others:
        await other.close()
    await works(broken)


async def test_a_server_that_only_reads_refuses_writes_until_it_is_in_charge_again(
    broken: Database, own: postgres.OwnServer
) -> None:
    await own.server.run("ALTER DATABASE postgres SET default_transaction_read_only = on")
    await own.server.run(END_ALL)
    with suppress(StorageUnavailable):  # one that was taken just before its end
        await names(broken)
    with pytest.raises(StorageUnavailable, match="read-only"):
        await put(broken, "lost")
    assert await names(broken) == {"before"}
    await own.server.run(
        "BEGIN READ WRITE; ALTER DATABASE postgres RESET default_transaction_read_only; COMMIT"
    )
    with suppress(StorageUnavailable):  # on the connections that were made in between
        await put(broken, "lost")
    async with broken.writing() as connection:
        await connection.execute(text("DELETE FROM counters WHERE name = 'test:lost'"))
    await works(broken)


async def test_two_hundred_lost_connections_leave_the_pool_whole(
    broken: Database, own: postgres.OwnServer
) -> None:
    """Each time the connection is lost in the middle of a transaction."""
    killer = await asyncpg.connect(own.server.url)
    before = open_files()
    for _ in range(200):
        with pytest.raises(StorageUnavailable):
            async with broken.writing() as connection:
                await connection.execute(insert(counters).values(name="test:lost", value=0))
                await killer.fetch(END_ALL)
                while True:
                    await connection.execute(text("SELECT 1"))
    await works(broken)
    assert await killer.fetchval(COUNT) <= POOL_SIZE
    assert open_files() <= before + POOL_SIZE
    await killer.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
