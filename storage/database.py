"""The database: transactions on the file or server behind a URL, and the migration of its schema.

Every failure of the database leaves this room as `StorageUnavailable`, within about two seconds:
nothing is waited for longer than the limits here and in `storage.sqlite` and `storage.postgresql`,
and a connection that failed once is not used again, so that the first call after the fault has
ended works.

Counterparts: `storage.tables`; `storage/migrations`, which holds the steps from one schema to the
next; `storage.catalog` and others, which hold the queries.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from types import MappingProxyType
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy import Connection, exc, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.postgresql import PostgresServer
from storage.records import StorageError, StorageUnavailable
from storage.sqlite import SqliteFile
from storage.tables import SCHEMA

Server = SqliteFile | PostgresServer

SCHEMES: MappingProxyType[str, Callable[[str], Server]] = MappingProxyType(
    {"sqlite": SqliteFile, "postgresql": PostgresServer}
)
"""URL scheme -> what opens it."""
QUEUE_TIMEOUT_S = 0.5
"""How long a call waits for its turn to write, and for one of `POOL_SIZE` connections. While the
database is locked all of them wait, and the waits together must stay below two seconds."""
POOL_SIZE = 4
"""One writer, the others read."""

_UNSTORABLE = ("22", "54")
"""SQLSTATE classes of values that will never be taken."""
_MIGRATING: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class Database:
    """The database behind a URL; connections are opened when they are needed.

    `url`: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. Raises StorageError for any
    other. `schema`: the revision of `storage/migrations/versions` it is brought to.
    """

    def __init__(self, url: str, schema: str = SCHEMA) -> None:
        scheme = url.partition("://")[0]
        if scheme not in SCHEMES:
            raise StorageError(
                "the database URL must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
            )
        self._server = SCHEMES[scheme](url)
        self._schema = schema
        self._engine = self._server.engine(
            pool_size=POOL_SIZE, max_overflow=0, pool_timeout=QUEUE_TIMEOUT_S
        )
        self._reads = self._engine.execution_options(**self._server.reading)
        self._writes = self._engine.execution_options(**self._server.writing)
        # There is one write lock, and those who wait for it in vain hold connections that readers
        # could use: inside one process writers wait in line instead.
        self._turn = asyncio.Lock()
        self._current = False

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database. Raises StorageUnavailable."""
        async with self._transaction(self._reads) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that holds the write lock from its start: there is no other, on any node.

        Committed when the block ends, rolled back when it raises. Raises StorageUnavailable.
        """
        try:
            async with asyncio.timeout(QUEUE_TIMEOUT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise StorageUnavailable(f"{self._server}: too many writers are waiting") from None
        try:
            async with self._transaction(self._writes) as connection:
                yield connection
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        if not self._current:
            await self.migrate()
        with _failures(self._server):
            async with engine.begin() as connection:
                yield connection

    async def version(self) -> str | None:
        """Revision of the schema as it stands, empty for none yet; None if there is no file.

        Changes nothing. Raises StorageUnavailable.
        """
        with _failures(self._server):
            if not await self._server.exists():
                return None
            async with self._reads.begin() as connection:
                return await connection.run_sync(_version)

    async def migrate(self) -> None:
        """Create a SQLite file if there is none and bring the schema up to date.

        Several processes may do this at once, and one may be killed in the middle: the steps are
        one transaction that holds the write lock. Raises StorageError if the schema is newer than
        we know, or not one for this use.
        """
        with _failures(self._server):
            await self._server.create()
            async with self._reads.begin() as connection:
                version = await connection.run_sync(_version)
            if version != self._schema:
                self._refuse_others(version)
                await self._upgrade()
        self._current = True

    def _refuse_others(self, version: str) -> None:
        """Only what is older and of the same line can be brought up to our schema."""
        if version and _line(version) != _line(self._schema):
            raise StorageError(f"{self._server} has schema {version}, expected {self._schema}")
        if version > self._schema:
            raise StorageError(
                f"{self._server} has schema {version}, this version knows up to {self._schema}"
            )

    async def _upgrade(self) -> None:
        steps = await asyncio.to_thread(import_module, "storage.migrations.upgrade")
        engine = self._server.patient()
        try:
            async with _one_at_a_time(), engine.begin() as connection:
                await connection.run_sync(steps.upgrade, self._schema)
        finally:
            await engine.dispose()


def _one_at_a_time() -> asyncio.Lock:
    """Held by whoever migrates: the library that does it knows one migration a process only."""
    return _MIGRATING.setdefault(asyncio.get_running_loop(), asyncio.Lock())


@contextmanager
def _failures(server: Server) -> Iterator[None]:
    """What goes wrong inside, as an error of this room."""
    try:
        yield
    except exc.DBAPIError as error:
        failure = _of_database(server, error)
        # Of what was refused only the kind is told: drivers repeat values, even of other columns.
        raise failure from (error if isinstance(failure, StorageUnavailable) else None)
    except (exc.TimeoutError, TimeoutError) as error:
        raise StorageUnavailable(f"{server}: no answer in time") from error
    except (sqlite3.Error, OSError) as error:
        raise StorageUnavailable(f"{server}: {error}") from error
    except (exc.StatementError, msgspec.MsgspecError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "orig", None) or error
        raise StorageError(f"{server}: a value that cannot be stored or read: {reason}") from error


def _of_database(server: Server, error: exc.DBAPIError) -> StorageError:
    state = getattr(error.orig, "pgcode", None) or ""
    reason = str(error.orig).partition("\n")[0]
    if isinstance(error, exc.IntegrityError):
        return StorageError(f"{server}: {reason}")
    if state.startswith(_UNSTORABLE):
        return StorageError(f"{server}: a value that cannot be stored: {reason.partition(':')[0]}")
    return StorageUnavailable(f"{server}: {reason}")


def _version(connection: Connection) -> str:
    """The revision the database is at, empty before the first."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def _line(version: str) -> str:
    """What revisions that lead to each other have in common."""
    return version.rstrip("0123456789")
