"""The tables, and the types of their columns; what the steps between schemas led to.

Counterparts: `storage/migrations`, which holds those steps; `storage.database`, which runs them.
A recording is one row with its parts as JSON; `attributes` is the index of what can be searched for
and of which there may be several. Every index of a search ends with the order of the answer: a page
is read off it; and with whose the recording is: those of others are passed over in it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)

from storage.records import (
    Digit,
    FileRecord,
    Mark,
    Participant,
    Pause,
    SiprecSession,
    StreamRecord,
    SupplementalFile,
)
from storage.text import index_key

SCHEMA = "0003"
"""Newest revision of the books: catalogue, directory, users."""
OUTBOX_SCHEMA = "outbox_0001"
"""Newest revision of a node's outbox, a database of its own."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class UtcMicroseconds(TypeDecorator[datetime]):
    """An aware datetime as integer microseconds since 1970, exact and sortable everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Microseconds; a naive datetime is a TypeError."""
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The datetime in UTC."""
        return None if value is None else EPOCH + value * MICROSECOND


class Json(TypeDecorator[Any]):
    """A value of type `kind` as JSON text."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """JSON text."""
        return msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """The value; text that is not JSON of this type is a msgspec.ValidationError."""
        return msgspec.json.decode(value or "null", type=self.kind)


books = MetaData()
"""Tables of the database that `[storage] database` names."""
outbox_tables = MetaData()
"""Tables of a node's own outbox."""


ORDER = ("started_at", "number", "account", "route")
"""How every index of a search ends."""


TEXTS = (
    "session_id",
    "call_id",
    "filename",
    "ani",
    "dnis",
    "ucid",
    "egress_call_id",
    "realm",
    "third_party_id",
    "agent_id",
    "owner",
    "local_party",
    "remote_party",
    "direction",
)
"""Columns of texts that stand in an index, as their `column_key`."""
FOLDED = frozenset({"local_party", "remote_party"})
"""Those of them whose case does not count when they are compared."""


def column_key(name: str, text: str) -> str:
    """`text`, fit to be stored, as it stands in an indexed column."""
    return index_key(text.casefold() if name in FOLDED else text)


def _searched(name: str) -> Index:
    """Finds the newest of those with equal values without sorting."""
    return Index(f"recordings_{name}", *dict.fromkeys((name, *ORDER)))


def _rare(name: str, *columns: str) -> Index:
    """Finds the few rows in which a flag is set; the others are not in it."""
    sqlite = text(f"{name} = 1")
    return Index(f"recordings_{name}", *columns, sqlite_where=sqlite, postgresql_where=text(name))


RowNumber = BigInteger().with_variant(Integer, "sqlite")
"""What SQLite keys its rows with is called INTEGER there."""

recordings = Table(
    "recordings",
    books,
    Column("number", RowNumber, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("session_id", Text, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("node", Integer, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("account", Integer, nullable=False),
    Column("route", Integer, nullable=False),
    Column("profile", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("started_at", UtcMicroseconds, nullable=False),
    Column("ended_at", UtcMicroseconds),
    Column("duration_ms", BigInteger, nullable=False),
    Column("paused_ms", BigInteger, nullable=False),
    Column("paused_at_end", Boolean, nullable=False),
    Column("filename", Text, nullable=False),
    Column("previous_filename", Text, nullable=False),
    Column("from_aor", Text, nullable=False),
    Column("to_aor", Text, nullable=False),
    Column("ani", Text, nullable=False),
    Column("dnis", Text, nullable=False),
    Column("ucid", Text, nullable=False),
    Column("egress_call_id", Text, nullable=False),
    Column("realm", Text, nullable=False),
    Column("third_party_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("agent_terminal", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("sensitive", Boolean, nullable=False),
    Column("never_expire", Boolean, nullable=False),
    Column("hold", Boolean, nullable=False),
    Column("deleting", Boolean, nullable=False),
    Column("discard", Boolean, nullable=False, server_default=false()),
    Column("owner", Text, nullable=False, server_default=text("''")),
    Column("local_party", Text, nullable=False, server_default=text("''")),
    Column("remote_party", Text, nullable=False, server_default=text("''")),
    Column("direction", Text, nullable=False, server_default=text("''")),
    Column("supplement", Text, nullable=False),
    Column("overlong", Json(dict[str, str]), nullable=False),
    Column("custom", Json(dict[str, str]), nullable=False),
    Column("siprec_sessions", Json(tuple[SiprecSession, ...]), nullable=False),
    Column("participants", Json(tuple[Participant, ...]), nullable=False),
    Column("streams", Json(tuple[StreamRecord, ...]), nullable=False),
    Column("pauses", Json(tuple[Pause, ...]), nullable=False),
    Column("marks", Json(tuple[Mark, ...]), nullable=False),
    Column("digits", Json(tuple[Digit, ...]), nullable=False),
    Column("warnings", Json(tuple[str, ...]), nullable=False),
    Column("files", Json(tuple[FileRecord, ...]), nullable=False),
    Column("supplemental_files", Json(tuple[SupplementalFile, ...]), nullable=False),
    Index("recordings_newest", *ORDER),
    Index("recordings_due", "account", "route", "ended_at", "number", "hold", "never_expire"),
    Index("recordings_ended", "ended_at", *ORDER),
    _rare("paused_at_end", "ended_at", "started_at"),
    _rare("deleting", "number"),
    _rare("discard", "number"),
    *map(_searched, (*TEXTS, "status", "account", "route", "supplement")),
)
"""One row for each `Recording`; columns bear the names of its fields, but for two.

`supplement`: what files it has besides its audio, `video`, `other` or empty. `overlong`: by column,
values that do not stand in it as they are; the column itself holds their `column_key`.
"""

attributes = Table(
    "attributes",
    books,
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("started_at", UtcMicroseconds, primary_key=True),
    Column("number", ForeignKey("recordings.number", ondelete="CASCADE"), primary_key=True),
    Column("account", Integer, nullable=False),
    Column("route", Integer, nullable=False),
    Index("attributes_number", "number"),
    sqlite_with_rowid=False,
)
"""What a recording has several of: `aor`, `siprec_session`, `custom:NAME`, `extension:NAME`, both
texts as `storage.text.index_key`; and again what every index of a search ends with."""

audit = Table(
    "audit",
    books,
    Column("recording_id", Text, primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcMicroseconds, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""Who did what. Rows are only ever added, and outlive the recording: no foreign key."""

counters = Table(
    "counters",
    books,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""`recordings`: last number given. `directory`, `users`: grow with each change, for those who hold
a copy."""

api_keys = Table(
    "api_keys",
    books,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("account", Integer, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("created_at", UtcMicroseconds, nullable=False),
)
"""Bearer keys of the control API, as digests."""

directory = Table(
    "directory",
    books,
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("entry", Text, nullable=False),
)
"""One row for each entry of the directory, as JSON: all of it is held in memory, none is searched
for here."""

credentials = Table(
    "credentials",
    books,
    Column("email", Text, primary_key=True),
    Column("password", Text, nullable=False),
    Column("changed_at", UtcMicroseconds, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("locked_until", UtcMicroseconds),
)
"""argon2id hashes and what protects them from guessing."""

tokens = Table(
    "tokens",
    books,
    Column("sha256", Text, primary_key=True),
    Column("email", Text, nullable=False),
    Column("created_at", UtcMicroseconds, nullable=False),
    Column("expires_at", UtcMicroseconds, nullable=False),
    Index("tokens_email", "email"),
)
"""What logged-in users hold, as digests."""

outbox = Table(
    "outbox",
    outbox_tables,
    Column("sequence", Integer, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("account", Integer, nullable=False),
    Column("created_at", UtcMicroseconds, nullable=False),
    Column("method", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", UtcMicroseconds, nullable=False),
    Column("error", Text, nullable=False),
    Index("outbox_lane", "state", "receiver", "lane", "sequence"),
    Index("outbox_due", "state", "receiver", "next_at"),
    Index("outbox_state", "state", "sequence"),
    sqlite_autoincrement=True,
)
"""Notifications not delivered yet, and dead letters."""
