"""Accounts, directory, users; recordings with all that a call can be found by."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, Text, column, table, text

from storage.text import index_key, without_scheme

revision = "0002"
down_revision = "0001"

BATCH = 500
SEARCHED = (
    "session_id",
    "call_id",
    "status",
    "account",
    "filename",
    "ani",
    "dnis",
    "ucid",
    "egress_call_id",
    "realm",
    "third_party_id",
    "agent_id",
    "route",
    "supplement",
)
ORDER = ("started_at", "number", "account", "route")
"""How every index of a search ends."""
RowNumber = BigInteger().with_variant(Integer, "sqlite")
KEPT = (
    "id",
    "session_id",
    "call_id",
    "status",
    "reason",
    "started_at",
    "ended_at",
    "duration_ms",
    "paused_ms",
    "paused_at_end",
    "from_aor",
    "to_aor",
    "streams",
    "pauses",
    "marks",
    "warnings",
    "files",
)
"""Columns that are what they were."""
NEW: dict[str, Any] = {
    "segment": 1,
    "node": 1,
    "account": 1,
    "route": 1,
    "profile": "default",
    "filename": "",
    "previous_filename": "",
    "ani": "",
    "dnis": "",
    "ucid": "",
    "egress_call_id": "",
    "realm": "",
    "third_party_id": "",
    "agent_id": "",
    "agent_terminal": "",
    "note": "",
    "sensitive": False,
    "never_expire": False,
    "hold": False,
    "deleting": False,
    "supplement": "",
    "custom": "{}",
    "digits": "[]",
    "supplemental_files": "[]",
}
"""Columns there were not, and what they hold for recordings made before."""

Row = dict[str, Any]


def upgrade() -> None:
    op.rename_table("recordings", "recordings_0001")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX recordings_pkey RENAME TO recordings_0001_pkey")
    _recordings()
    _attributes()
    _counters()
    _copy()
    op.drop_table("participants")
    op.drop_table("recordings_0001")
    _indexes()
    _directory()
    _users()
    _api_keys()


def _recordings() -> None:
    op.create_table(
        "recordings",
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
        Column("started_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger),
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
        Column("supplement", Text, nullable=False),
        Column("overlong", Text, nullable=False),
        Column("custom", Text, nullable=False),
        Column("siprec_sessions", Text, nullable=False),
        Column("participants", Text, nullable=False),
        Column("streams", Text, nullable=False),
        Column("pauses", Text, nullable=False),
        Column("marks", Text, nullable=False),
        Column("digits", Text, nullable=False),
        Column("warnings", Text, nullable=False),
        Column("files", Text, nullable=False),
        Column("supplemental_files", Text, nullable=False),
    )


def _attributes() -> None:
    op.create_table(
        "attributes",
        Column("name", Text, primary_key=True),
        Column("value", Text, primary_key=True),
        Column("started_at", BigInteger, primary_key=True),
        Column(
            "number",
            RowNumber,
            ForeignKey("recordings.number", ondelete="CASCADE"),
            primary_key=True,
        ),
        Column("account", Integer, nullable=False),
        Column("route", Integer, nullable=False),
        sqlite_with_rowid=False,
    )


def _indexes() -> None:
    """After the rows: faster, and their names are free by now."""
    op.create_index("recordings_newest", "recordings", [*ORDER])
    op.create_index(
        "recordings_due",
        "recordings",
        ["account", "route", "ended_at", "number", "hold", "never_expire"],
    )
    _rare("paused_at_end", "ended_at", "started_at")
    _rare("deleting", "number")
    for name in SEARCHED:
        op.create_index(f"recordings_{name}", "recordings", [*dict.fromkeys((name, *ORDER))])
    op.create_index("attributes_number", "attributes", ["number"])


def _rare(name: str, *columns: str) -> None:
    op.create_index(
        f"recordings_{name}",
        "recordings",
        [*columns],
        sqlite_where=text(f"{name} = 1"),
        postgresql_where=text(name),
    )


def _counters() -> None:
    op.create_table(
        "counters",
        Column("name", Text, primary_key=True),
        Column("value", BigInteger, nullable=False),
    )


def _directory() -> None:
    op.create_table(
        "directory",
        Column("kind", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("entry", Text, nullable=False),
    )


def _users() -> None:
    op.create_table(
        "credentials",
        Column("email", Text, primary_key=True),
        Column("password", Text, nullable=False),
        Column("changed_at", BigInteger, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("locked_until", BigInteger),
    )
    op.create_table(
        "tokens",
        Column("sha256", Text, primary_key=True),
        Column("email", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
    )
    op.create_index("tokens_email", "tokens", ["email"])


def _api_keys() -> None:
    """Keys given so far reach everything, as those of the System account do."""
    with op.batch_alter_table("api_keys") as keys:
        keys.add_column(Column("account", Integer, nullable=False, server_default="1"))
    with op.batch_alter_table("api_keys") as keys:
        keys.alter_column("account", server_default=None)


def _copy() -> None:
    """Recordings by their age, which gives them their numbers."""
    number = 0
    for batch in _batches():
        parties = _parties([row["id"] for row in batch])
        rows = [_row(row, number + n, parties[row["id"]]) for n, row in enumerate(batch, 1)]
        number += len(rows)
        _insert("recordings", rows)
        _insert("attributes", chain(*map(_searchable, rows)))
    _insert("counters", [{"name": "recordings", "value": number}])


def _batches() -> Iterator[list[Row]]:
    after: Row = {"started_at": -(2**63), "id": ""}
    rows = text(
        "SELECT * FROM recordings_0001 WHERE (started_at, id) > (:started_at, :id) "
        "ORDER BY started_at, id LIMIT :most"
    )
    while True:
        position = {"started_at": after["started_at"], "id": after["id"], "most": BATCH}
        batch = [dict(row) for row in op.get_bind().execute(rows, position).mappings()]
        if not batch:
            return
        yield batch
        after = batch[-1]


def _parties(ids: Sequence[str]) -> defaultdict[str, list[dict[str, str]]]:
    """The participants of recordings, in their order, without what tells them apart by number."""
    parties = table("participants", *map(column, ("recording_id", "position")))
    rows = (
        parties.select()
        .add_columns(*map(column, ("participant_id", "aor", "name")))
        .where(parties.c.recording_id.in_(ids))
        .order_by(parties.c.recording_id, parties.c.position)
    )
    found = defaultdict[str, list[dict[str, str]]](list)
    for row in op.get_bind().execute(rows).mappings():
        found[row["recording_id"]].append(
            {name: row[name] for name in ("participant_id", "aor", "name")}
        )
    return found


def _row(row: Row, number: int, parties: list[dict[str, str]]) -> Row:
    sessions = [{"session_id": name} for name in msgspec.json.decode(row["siprec_session_ids"])]
    keys = {name: index_key(row[name]) for name in ("session_id", "call_id")}
    overlong = {name: row[name] for name, key in keys.items() if key != row[name]}
    return {
        **NEW,
        **{name: row[name] for name in KEPT},
        **keys,
        "overlong": msgspec.json.encode(overlong).decode(),
        "number": number,
        "paused_at_end": bool(row["paused_at_end"]),
        "siprec_sessions": msgspec.json.encode(sessions).decode(),
        "participants": msgspec.json.encode(parties).decode(),
    }


def _searchable(row: Row) -> list[Row]:
    parties = msgspec.json.decode(row["participants"])
    aors = (row["from_aor"], row["to_aor"], *(party["aor"] for party in parties))
    sessions = (session["session_id"] for session in msgspec.json.decode(row["siprec_sessions"]))
    found = [
        *(("aor", without_scheme(aor)) for aor in aors),
        *(("siprec_session", session) for session in sessions),
    ]
    order = {name: row[name] for name in ORDER}
    return [
        {"name": name, "value": index_key(value), **order}
        for name, value in dict.fromkeys(found)
        if value
    ]


def _insert(name: str, rows: Iterable[Row]) -> None:
    values = [*rows]
    if values:
        op.bulk_insert(table(name, *map(column, values[0])), values)
