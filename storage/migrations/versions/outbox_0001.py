"""The outbox of a node, a database of its own."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "outbox_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        Column("sequence", Integer, primary_key=True),
        Column("event_id", Text, nullable=False),
        Column("destination", Text, nullable=False),
        Column("receiver", Text, nullable=False),
        Column("lane", Text, nullable=False),
        Column("account", Integer, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("method", Text, nullable=False),
        Column("url", Text, nullable=False),
        Column("body", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("next_at", BigInteger, nullable=False),
        Column("error", Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_lane", "outbox", ["state", "receiver", "lane", "sequence"])
    op.create_index("outbox_due", "outbox", ["state", "receiver", "next_at"])
    op.create_index("outbox_state", "outbox", ["state", "sequence"])
