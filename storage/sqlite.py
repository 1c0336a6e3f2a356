"""SqliteFile: a database in one file, for one node.

Counterparts: `storage.postgresql`, the other kind; `storage.database`, which uses either.
"""

import asyncio
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, NullPool, event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from storage.records import StorageError

BUSY_TIMEOUT_S = 0.8
"""How long a statement waits for another process's lock."""
MIGRATION_TIMEOUT_S = 5.0
"""How long a start waits for another process that is migrating the same database."""

_HARMLESS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
"""What was to be stored was wrong; the connection is as good as before."""


class SqliteFile:
    """The file behind `sqlite:///PATH`. Raises StorageError for any other URL."""

    reading: Mapping[str, Any] = MappingProxyType({})
    """Execution options of a transaction that only reads."""
    writing: Mapping[str, Any] = MappingProxyType({"begin": "BEGIN IMMEDIATE"})
    """Execution options of a transaction that holds the write lock from its start."""

    def __init__(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        if path in {"", url}:
            raise StorageError("a SQLite URL must be sqlite:///PATH")
        self._path = Path(path).absolute()

    def __str__(self) -> str:
        return str(self._path)

    def engine(self, **pool: float) -> AsyncEngine:
        """Connections for daily use."""
        return self._connecting(BUSY_TIMEOUT_S, **pool)

    def patient(self) -> AsyncEngine:
        """Connections for one migration: they wait for the write lock first."""
        return self._connecting(
            MIGRATION_TIMEOUT_S, poolclass=NullPool, execution_options=self.writing
        )

    async def exists(self) -> bool:
        """Whether there is a file."""
        return await asyncio.to_thread(self._path.exists)

    async def create(self) -> None:
        """Make folder and file if there are none. Raises OSError, sqlite3.Error."""
        await asyncio.to_thread(_create, self._path)

    def _connecting(self, busy_timeout_s: float, **options: Any) -> AsyncEngine:
        connect_args = {"timeout": busy_timeout_s, "isolation_level": None}
        engine = create_async_engine(
            self._url(), connect_args=connect_args, hide_parameters=True, **options
        )
        event.listen(engine.sync_engine, "connect", self._connected)
        event.listen(engine.sync_engine, "checkout", self._taken)
        event.listen(engine.sync_engine, "begin", _begin)
        event.listen(engine.sync_engine, "handle_error", _distrust)
        return engine

    def _url(self) -> URL:
        """`mode=rw`: a database that was taken away is an error, never silently a new empty one."""
        file = "file:" + quote(os.fsencode(self._path))
        return URL.create("sqlite+aiosqlite", database=file, query={"mode": "rw", "uri": "true"})

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _connected(self, connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["file"] = self._identity()
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    def _taken(self, _connection: DBAPIConnection, entry: ConnectionPoolEntry, _: Any) -> None:
        """Drop a connection whose file is no longer the one at the path."""
        if entry.info["file"] != self._identity():
            raise exc.DisconnectionError("the database file was replaced")


def _create(path: Path) -> None:
    """Make folder and file, for our eyes only; readers never wait for writers (WAL)."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    # Only a file that is new may be opened and closed besides SQLite: closing any descriptor of a
    # database drops the POSIX locks this process holds on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _begin(connection: Connection) -> None:
    """Begin by hand: the driver would not cover schema changes, nor take the write lock."""
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


def _distrust(context: ExceptionContext) -> None:
    """After a failure every open connection is replaced: its cached pages may be of the past."""
    error = context.original_exception
    if not isinstance(error, sqlite3.Error) or isinstance(error, _HARMLESS):
        return
    context.is_disconnect = True
    if context.connection is not None and not context.connection.invalidated:
        # A file is closed for good when the last statement is forgotten, which an exception that
        # is still looked at delays: until then it would stay locked.
        with suppress(sqlite3.Error):
            context.connection.connection.rollback()
