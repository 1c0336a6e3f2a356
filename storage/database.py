"""The database: an async engine made from a URL, the tables, and their migration.

Every failure of the database leaves this room as `StorageUnavailable`, within about two seconds: a
lock is waited for no longer than `BUSY_TIMEOUT_S`, and a connection that failed once is not used
again, so that the first call after the fault has ended works.

Counterparts: `storage.catalog` and `storage.keys`, which hold the queries; `storage/migrations`,
which holds the steps from one schema to the next.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import (
    URL,
    Column,
    Connection,
    MetaData,
    NullPool,
    Table,
    Text,
    event,
    exc,
    inspect,
    text,
)
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from storage.records import StorageError, StorageUnavailable
from storage.tables import (  # noqa: F401 - until their readers take them from there
    EPOCH,
    MICROSECOND,
    SCHEMA,
    UtcMicroseconds,
    api_keys,
    audit,
    recordings,
)

SCHEMES = ("sqlite",)
"""URL schemes that can be opened."""
BUSY_TIMEOUT_S = 0.8
"""How long a statement waits for another process's lock."""
QUEUE_TIMEOUT_S = 0.5
"""How long a call waits for its turn to write, and for one of `POOL_SIZE` connections. While the
file is locked all of them wait, and the three waits together must stay below two seconds."""
POOL_SIZE = 4
"""One writer, the others read."""
MIGRATION_TIMEOUT_S = 5.0
"""How long a start waits for another process that is migrating the same database."""

# Until their readers take them from `storage.tables`.
participants = Table(
    "participants",
    MetaData(),
    *(Column(name, Text) for name in ("recording_id", "position", "participant_id", "aor", "name")),
)


class Database:
    """The database behind a URL; connections are opened when they are needed.

    `url`: `sqlite:///PATH`. Raises StorageError for any other. `schema`: the revision of
    `storage/migrations/versions` it is brought to.
    """

    def __init__(self, url: str, schema: str = SCHEMA) -> None:
        scheme, _, path = url.partition(":///")
        if scheme not in SCHEMES or not path:
            raise StorageError("the database URL must be sqlite:///PATH")
        self._schema = schema
        self._path = Path(path).absolute()
        self._engine = _pooled(self._path)
        self._writes = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        # SQLite polls for its write lock, and whoever sleeps longest loses: inside one process
        # writers wait in line instead.
        self._turn = asyncio.Lock()
        self._current = False

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database. Raises StorageUnavailable."""
        async with self._transaction(self._engine) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that holds the write lock from its start. Raises StorageUnavailable.

        Committed when the block ends, rolled back when it raises.
        """
        try:
            async with asyncio.timeout(QUEUE_TIMEOUT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise StorageUnavailable(f"{self._path}: too many writers are waiting") from None
        try:
            async with self._transaction(self._writes) as connection:
                yield connection
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        if not self._current:
            await self.migrate()
        with _failures(self._path):
            async with engine.begin() as connection:
                yield connection

    async def version(self) -> str | None:
        """Revision of the schema as it stands, empty for none yet; None if there is no file.

        Changes nothing. Raises StorageUnavailable.
        """
        if not await asyncio.to_thread(self._path.exists):
            return None
        with _failures(self._path):
            async with self._engine.begin() as connection:
                return await connection.run_sync(_version)

    async def migrate(self) -> None:
        """Create the database if there is none and bring its schema up to date.

        Several processes may do this at once, and one may be killed in the middle: the steps are
        one transaction. Raises StorageError if the schema is newer than we know.
        """
        with _failures(self._path):
            await asyncio.to_thread(_create, self._path)
            async with self._engine.begin() as connection:
                version = await connection.run_sync(_version)
            if version != self._schema:
                _refuse_others(self._path, version, self._schema)
                await self._upgrade()
        self._current = True

    async def _upgrade(self) -> None:
        steps = await asyncio.to_thread(import_module, "storage.migrations.upgrade")
        engine = _patient(self._path)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(steps.upgrade, self._schema)
        finally:
            await engine.dispose()


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    """What goes wrong inside, as an error of this room."""
    try:
        yield
    except exc.IntegrityError as error:
        raise StorageError(f"{path}: {error.orig}") from error
    except exc.DBAPIError as error:
        raise StorageUnavailable(f"{path}: {error.orig}") from error
    except (exc.TimeoutError, sqlite3.Error, OSError) as error:
        raise StorageUnavailable(f"{path}: {error}") from error
    except (exc.StatementError, msgspec.MsgspecError, UnicodeError, OverflowError) as error:
        raise StorageError(f"{path}: a value that cannot be stored or read: {error}") from error


def _create(path: Path) -> None:
    """Make folder and file, for our eyes only; readers never wait for writers (WAL)."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    # Only a file that is new may be opened and closed besides SQLite: closing any descriptor of a
    # database drops the POSIX locks this process holds on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _version(connection: Connection) -> str:
    """The revision the database is at, empty before the first."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def _refuse_others(path: Path, version: str, schema: str) -> None:
    """Only what is older and of the same line can be brought up to `schema`."""
    if version and _line(version) != _line(schema):
        raise StorageError(f"{path} has schema {version}, which is not the one for this use")
    if version > schema:
        raise StorageError(f"{path} has schema {version}, this version knows up to {schema}")


def _line(version: str) -> str:
    """What revisions that lead to each other have in common."""
    return version.rstrip("0123456789")


def _pooled(path: Path) -> AsyncEngine:
    engine = create_async_engine(
        _url(path),
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None},
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=QUEUE_TIMEOUT_S,
    )
    return _listen(engine, path)


def _patient(path: Path) -> AsyncEngine:
    """An engine for one migration: waits for the write lock before it looks at the schema."""
    engine = create_async_engine(
        _url(path),
        connect_args={"timeout": MIGRATION_TIMEOUT_S, "isolation_level": None},
        poolclass=NullPool,
        execution_options={"begin": "BEGIN IMMEDIATE"},
    )
    return _listen(engine, path)


def _url(path: Path) -> URL:
    """`mode=rw`: a database that was taken away is an error, never silently a new empty one."""
    file = "file:" + quote(os.fsencode(path))
    return URL.create("sqlite+aiosqlite", database=file, query={"mode": "rw", "uri": "true"})


def _listen(engine: AsyncEngine, path: Path) -> AsyncEngine:
    """Set connections up, and drop those whose file is no longer the one at `path`."""

    def identity() -> tuple[int, int] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def connected(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["file"] = identity()
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    def taken(_connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        if entry.info["file"] != identity():
            raise exc.DisconnectionError("the database file was replaced")

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "checkout", taken)
    event.listen(engine.sync_engine, "begin", _begin)
    event.listen(engine.sync_engine, "handle_error", _distrust)
    return engine


def _begin(connection: Connection) -> None:
    """Begin by hand: the driver would not cover schema changes, nor take the write lock."""
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def _distrust(context: ExceptionContext) -> None:
    """After a failure every open connection is replaced: its cached pages may be of the past."""
    if not isinstance(context.original_exception, sqlite3.IntegrityError):
        context.is_disconnect = True
