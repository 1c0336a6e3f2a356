"""Real databases and full records."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage import database as database_module
from storage import postgresql, sqlite
from storage.catalog import Catalog
from storage.database import Database

DATABASES = ("sqlite", "postgresql")
T0 = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)


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


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all its tables, empty."""
    template = tmp_path_factory.mktemp("template") / "data" / "siprecd.db"

    async def migrate() -> None:
        database = Database(f"sqlite:///{template}")
        await database.migrate()
        await database.close()

    asyncio.run(migrate())
    return template


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, path: Path) -> str:
    """URL of an empty database, with or without its tables."""
    if kind == "sqlite":
        shutil.copytree(request.getfixturevalue("sqlite_template").parent, path.parent)
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
