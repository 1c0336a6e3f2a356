"""Real SQLite files and full records."""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from storage import database as module
from storage.catalog import Catalog
from storage.database import Database
from storage.records import (
    AuditEntry,
    FileRecord,
    Gap,
    Mark,
    Participant,
    Pause,
    Recording,
    StreamRecord,
)

T0 = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)


class MakeRecording(Protocol):
    def __call__(self, id: str = "rec-0001", second: float = 0, **fields: Any) -> Recording: ...


@pytest.fixture
def recording() -> MakeRecording:
    """Makes a record with something in every field, `second` seconds after T0."""

    def make(id: str = "rec-0001", second: float = 0, **fields: Any) -> Recording:
        at = T0 + timedelta(seconds=second)
        full: dict[str, Any] = {
            "session_id": "ses-1",
            "call_id": "a84b4c76e66710@src.example",
            "status": "recording",
            "started_at": at,
            "reason": "crash",
            "ended_at": at + timedelta(seconds=9, microseconds=1),
            "duration_ms": 9000,
            "paused_ms": 3000,
            "from_aor": "sip:src@example.com",
            "to_aor": "sip:srs@example.com",
            "siprec_session_ids": ("hVpd7YQgRW2nD22h7q60JQ==",),
            "participants": (
                Participant("p1", "sip:ann@example.com", 'Ann "Ä" O\'Neil'),
                Participant("p2", "im:bob@example.com"),
            ),
            "streams": (
                StreamRecord("s1", "96", 0, "PCMU", "p1", 450, 3, 1, (Gap(100, 60),)),
                StreamRecord("s2", "97", 1, "PCMA", "p2"),
            ),
            "pauses": (
                Pause(at, at + timedelta(seconds=3), "silence"),
                Pause(at + timedelta(seconds=5), None, "cut"),
            ),
            "marks": (Mark(at, "card number\n💳"),),
            "warnings": ("metadata_malformed",),
            "files": (FileRecord("wav", "2026-03-04/05/06/x.wav", 44, "ab" * 32, 2, 8000),),
            "history": (
                AuditEntry(id, 1, at, "ann", "pause", "card number"),
                AuditEntry(id, 2, at, "ann", "resume"),
            ),
        }
        return Recording(id, **(full | fields))

    return make


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are given up on at once, so that tests need not wait for them."""
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(module, "QUEUE_TIMEOUT_S", 0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "siprecd.db"


@pytest.fixture
async def database(path: Path, short_waits: None) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{path}")
    yield database
    await database.close()


@pytest.fixture
async def catalog(database: Database) -> Catalog:
    await database.migrate()
    return Catalog(database)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else holds the write lock."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        other.close()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Permissions count, even if the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
