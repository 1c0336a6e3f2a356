"""Recordings with their participants, the audit trail, and API keys."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, Text

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "recordings",
        Column("id", Text, primary_key=True),
        Column("session_id", Text, nullable=False),
        Column("call_id", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("started_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger),
        Column("duration_ms", BigInteger, nullable=False),
        Column("paused_ms", BigInteger, nullable=False),
        Column("paused_at_end", Boolean, nullable=False),
        Column("from_aor", Text, nullable=False),
        Column("to_aor", Text, nullable=False),
        Column("siprec_session_ids", Text, nullable=False),
        Column("streams", Text, nullable=False),
        Column("pauses", Text, nullable=False),
        Column("marks", Text, nullable=False),
        Column("warnings", Text, nullable=False),
        Column("files", Text, nullable=False),
    )
    op.create_index("recordings_newest", "recordings", ["started_at", "id"])
    op.create_index("recordings_session", "recordings", ["session_id"])
    op.create_index("recordings_call", "recordings", ["call_id"])
    op.create_index("recordings_status", "recordings", ["status", "started_at", "id"])
    op.create_index("recordings_paused", "recordings", ["paused_at_end", "started_at"])
    op.create_table(
        "participants",
        Column(
            "recording_id",
            Text,
            ForeignKey("recordings.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        Column("position", Integer, primary_key=True, autoincrement=False),
        Column("participant_id", Text, nullable=False),
        Column("aor", Text, nullable=False),
        Column("name", Text, nullable=False),
    )
    op.create_index("participants_aor", "participants", ["aor"])
    op.create_index("participants_name", "participants", ["name"])
    op.create_table(
        "audit",
        Column("recording_id", Text, primary_key=True),
        Column("sequence", Integer, primary_key=True, autoincrement=False),
        Column("at", BigInteger, nullable=False),
        Column("actor", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("reason", Text, nullable=False),
    )
    op.create_table(
        "api_keys",
        Column("name", Text, primary_key=True),
        Column("role", Text, nullable=False),
        Column("sha256", Text, nullable=False, unique=True),
        Column("created_at", BigInteger, nullable=False),
    )
