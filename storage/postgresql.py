"""PostgresServer: a database on a PostgreSQL server, for one node or several.

Whoever writes takes one advisory lock first, on all nodes: as on SQLite, writers come one after the
other, see what the one before did, and never fail for having met.

Counterparts: `storage.sqlite`, the other kind; `storage.database`, which uses either.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from asyncpg import Connection as Driver
from sqlalchemy import Connection, NullPool, event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from storage.records import StorageError

CONNECT_TIMEOUT_S = 0.8
"""How long a new connection may take."""
COMMAND_TIMEOUT_S = 1.2
"""How long a statement may take before its server is taken for dead; the server itself gives it up
a little earlier."""
CLOSE_TIMEOUT_S = 0.2
"""How long to take leave of a server before the connection is cut."""
LOCK_TIMEOUT_S = 0.5
"""How long to wait for writers of other nodes, and for other locks."""
IDLE_TIMEOUT_S = 10.0
"""After that the server ends the transaction of a node that has gone silent in it, and its lock."""
MIGRATION_TIMEOUT_S = 5.0
"""How long a start waits for another node that is migrating the same database."""
LOCK = int.from_bytes(b"siprecd", "big")
"""Key of the advisory lock of writers."""

_FORM = (
    "a PostgreSQL URL must be postgresql://USER:PASSWORD@HOST/NAME, with % before odd characters"
)
_PASSING = ("23", "22", "54", "55P03", "57014")
"""SQLSTATE of failures after which a connection is as good as before: what was to be stored was
wrong, or it took too long."""


class PostgresServer:
    """The database behind `postgresql://USER:PASSWORD@HOST/NAME`, or another that libpq takes.

    Raises StorageError for any other URL, without repeating it.
    """

    reading: Mapping[str, Any] = MappingProxyType(
        {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    )
    """Execution options of a transaction that only reads."""
    writing: Mapping[str, Any] = MappingProxyType(
        {"begin": f"SELECT pg_advisory_xact_lock({LOCK})"}
    )
    """Execution options of a transaction that holds the write lock from its start."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = _name(url)

    def __str__(self) -> str:
        return self._name

    def engine(self, **pool: float) -> AsyncEngine:
        """Connections for daily use."""
        return self._connecting(LOCK_TIMEOUT_S, COMMAND_TIMEOUT_S, **pool)

    def patient(self) -> AsyncEngine:
        """Connections for one migration: they wait for the write lock first."""
        return self._connecting(
            MIGRATION_TIMEOUT_S, None, poolclass=NullPool, execution_options=self.writing
        )

    async def exists(self) -> bool:
        """True: to make a database is the operator's business."""
        return True

    async def create(self) -> None:
        """Nothing to do."""

    def _connecting(
        self, lock_timeout_s: float, command_timeout_s: float | None, **options: Any
    ) -> AsyncEngine:
        connect_args = {
            "dsn": self._url,
            "connection_class": _Brief,
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": command_timeout_s,
            "server_settings": {
                "application_name": "siprecd",
                "jit": "off",
                "lock_timeout": _milliseconds(lock_timeout_s),
                "statement_timeout": _milliseconds(0.9 * (command_timeout_s or 0)),
                "idle_in_transaction_session_timeout": _milliseconds(IDLE_TIMEOUT_S),
            },
        }
        engine = create_async_engine(
            "postgresql+asyncpg://", connect_args=connect_args, hide_parameters=True, **options
        )
        event.listen(engine.sync_engine, "checkout", _taken)
        event.listen(engine.sync_engine, "begin", _begin)
        event.listen(engine.sync_engine, "handle_error", _distrust)
        return engine


class _Brief(Driver):  # type: ignore[misc] # asyncpg has no types
    """A connection that does not wait for a dead server to say goodbye."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - its name
        """As the driver's. Raises TimeoutError."""
        await super().close(timeout=min(timeout or CLOSE_TIMEOUT_S, CLOSE_TIMEOUT_S))


def _name(url: str) -> str:
    """Host and name, all that may be shown. Raises StorageError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise StorageError(_FORM) from None
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", [""])[0]
    name = parts.path[1:]
    if not (url.startswith("postgresql://") and host and name) or set(name) & set("/@"):
        raise StorageError(_FORM)
    return f"postgresql://{host}/{name}"


def _milliseconds(seconds: float) -> str:
    return str(round(1000 * seconds))


def _taken(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: Any) -> None:
    """Drop a connection that the server has ended."""
    driver: Any = connection.driver_connection
    if driver.is_closed():
        raise exc.DisconnectionError("the server ended the connection")


def _begin(connection: Connection) -> None:
    """Take the write lock, if this is a transaction that writes."""
    statement = connection.get_execution_options().get("begin")
    if statement:
        connection.exec_driver_sql(statement)


def _distrust(context: ExceptionContext) -> None:
    """After most failures every open connection is replaced: they lead to a server that is gone, or
    that no longer is the one that takes writes."""
    state = getattr(context.original_exception, "pgcode", None) or ""
    if not state.startswith(_PASSING):
        context.is_disconnect = True
