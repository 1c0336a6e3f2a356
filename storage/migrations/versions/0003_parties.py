"""Whose call it was and which way it went; recordings to be discarded; the demonstration entry."""

from alembic import op
from sqlalchemy import Boolean, Column, Text, column, false, table, text

revision = "0003"
down_revision = "0002"

SEARCHED = ("owner", "local_party", "remote_party")
ORDER = ("started_at", "number", "account", "route")
DEMONSTRATION = "d7ae7ea9bf56ebdc:-3f5d0705:1559c8e762d:-8000"
"""GUID that reporting applications expect the entry to have."""
ENTRY = (
    f'{{"guid":"{DEMONSTRATION}","number":1,'
    '"description":"[Dubber: Demonstration Simulator]","type":"Dubber"}'
)


def upgrade() -> None:
    for name in (*SEARCHED, "direction"):
        op.add_column("recordings", Column(name, Text, nullable=False, server_default=""))
    op.add_column("recordings", Column("discard", Boolean, nullable=False, server_default=false()))
    for name in (*SEARCHED, "direction"):
        op.create_index(f"recordings_{name}", "recordings", [name, *ORDER])
    op.create_index("recordings_ended", "recordings", ["ended_at", *ORDER])
    op.create_index(
        "recordings_discard",
        "recordings",
        ["number"],
        sqlite_where=text("discard = 1"),
        postgresql_where=text("discard"),
    )
    rows = table("directory", *map(column, ("kind", "key", "entry")))
    op.bulk_insert(rows, [{"kind": "integrations", "key": DEMONSTRATION, "entry": ENTRY}])
