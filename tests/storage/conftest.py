"""Real databases and full records."""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from storage import database as database_module
from storage import postgresql, sqlite
from storage.catalog import Catalog
from storage.database import Database
from storage.records import (
    AuditEntry,
    Digit,
    Extension,
    FileRecord,
    Gap,
    Mark,
    Participant,
    Pause,
    Recording,
    SiprecSession,
    StreamRecord,
    SupplementalFile,
)

DATABASES = ("sqlite", "postgresql")
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
            "segment": 2,
            "node": 3,
            "account": 7,
            "route": 11,
            "profile": "small",
            "reason": "crash",
            "ended_at": at + timedelta(seconds=9, microseconds=1),
            "duration_ms": 9000,
            "paused_ms": 3000,
            "filename": "Ann & Bob.wav",
            "previous_filename": "a84b4c76e66710.wav",
            "from_aor": "sip:src@example.com",
            "to_aor": "sip:srs@example.com",
            "ani": "+15551230001",
            "dnis": "+15551230002",
            "ucid": "00FA080012FE5A8D",
            "egress_call_id": "b95c5d87f77821@src.example",
            "realm": "core",
            "third_party_id": "screen-17",
            "agent_id": "agent 12",
            "agent_terminal": "T-4711",
            "note": "called back\ntwice",
            "sensitive": True,
            "never_expire": True,
            "hold": True,
            "deleting": True,
            "custom": {"Case": "4711", "Über": "ß"},
            "siprec_sessions": (
                SiprecSession(
                    "hVpd7YQgRW2nD22h7q60JQ==",
                    at,
                    (Extension("apkt:ucid", ("00FA;encoding=hex",)),),
                ),
            ),
            "participants": (
                Participant(
                    "p1",
                    "sip:ann@example.com",
                    'Ann "Ä" O\'Neil',
                    (Extension("apkt:callingParty", ("true",)),),
                    calling=True,
                ),
                Participant("p2", "im:bob@example.com"),
            ),
            "streams": (
                StreamRecord("s1", "96", 0, "PCMU", "p1", 450, 3, 1, (Gap(100, 60),)),
                StreamRecord(
                    "s2",
                    "97",
                    1,
                    "PCMA",
                    "p2",
                    siprec_stream_id="UAAMm5GRQKSCMVvLyl4rFw==",
                    started_at=at,
                    extensions=(Extension("apkt:side", ("b", "c")),),
                ),
            ),
            "pauses": (
                Pause(at, at + timedelta(seconds=3), "silence"),
                Pause(at + timedelta(seconds=5), None, "cut"),
            ),
            "marks": (Mark(at, "card number\n💳"),),
            "digits": (Digit("#", 1200, "caller"),),
            "warnings": ("metadata_malformed",),
            "files": (FileRecord("wav", "2026-03-04/05/06/x.wav", 44, "ab" * 32, 2, 8000),),
            "supplemental_files": (
                SupplementalFile(1, "video", "x.mp4", FileRecord("mp4", "x.mp4", 9, "cd" * 32)),
            ),
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
    monkeypatch.setattr(database_module, "QUEUE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_S", 0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the SQLite file is."""
    return tmp_path / "data" / "siprecd.db"


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.databases) for kind in DATABASES])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn. A module about one kind has a fixture of this name."""
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, path: Path) -> str:
    """URL of an empty database, with or without its tables."""
    if kind == "sqlite":
        return f"sqlite:///{path}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def bare_url(kind: str, request: pytest.FixtureRequest, path: Path) -> str:
    """URL of a database without any table."""
    if kind == "sqlite":
        return f"sqlite:///{path}"
    return str(request.getfixturevalue("postgres_bare_url"))


@pytest.fixture
async def database(url: str, short_waits: None) -> AsyncIterator[Database]:
    """An empty database, of each kind in turn."""
    database = Database(url)
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
