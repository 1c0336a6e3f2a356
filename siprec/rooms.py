"""The composition root: builds the rooms of a node and puts them together; `siprec.app` runs them.

Building opens no port and asks no database: that begins with `siprec.app`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from api.services import Services
from config.schema import Config
from media.engine import MediaEngine
from media.renderer import Renderer
from siprec.archive import Archive, Spawn
from siprec.courier import Courier
from siprec.dispatcher import Dispatcher
from siprec.disposal import Disposal
from siprec.feed import EventFeed
from siprec.importer import Importer
from siprec.library import Library
from siprec.occurrence import ENDED, Occurrence
from siprec.outbound import Outbound
from siprec.platform_watch import PlatformWatch
from siprec.recorder import Recorder
from siprec.screen import HttpTemplateDriver, Screens
from storage import blobs
from storage.blobs.base import BlobStore
from storage.catalog import Catalog
from storage.database import Database
from storage.directory import Directory
from storage.keys import ApiKeys
from storage.outbox import Outbox
from storage.tables import OUTBOX_SCHEMA
from storage.users import Users
from storage.writer import CatalogWriter

logger = structlog.get_logger(__name__)

RESTART_S = 1.0
"""Before work that failed is begun again."""


class Background:
    """Named background work in a TaskGroup; a failure is logged and takes nothing else down."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end."""
        task = self._group.create_task(self._guarded(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began, it never would

    def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` for the life of the process, and again after a failure."""
        self.spawn(name, self._kept(name, work))

    async def stop(self) -> None:
        """Stop all that still runs; returns once it has let go of what it used."""
        while tasks := [*self._tasks]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _guarded(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            logger.exception("background_failed", task=name)

    async def _kept(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
                return
            except Exception:
                logger.exception("background_failed", task=name)
            await asyncio.sleep(RESTART_S)


@dataclass(frozen=True, slots=True)
class Books:
    """What is kept on disk."""

    database: Database
    catalog: Catalog
    writer: CatalogWriter
    directory: Directory
    users: Users
    keys: ApiKeys
    outbox: Outbox
    blobs: BlobStore


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything a node consists of."""

    books: Books
    engine: MediaEngine
    archive: Archive
    courier: Courier
    disposal: Disposal
    services: Services


@asynccontextmanager
async def opened(config: Config, spawn: Spawn) -> AsyncIterator[Rooms]:
    """The rooms of a node; what they hold open is closed at the end, in reverse order."""
    async with AsyncExitStack() as stack:
        books = _books(config, stack)
        renderer, outbound = Renderer(config.render.workers), Outbound(config.notify)
        stack.push_async_callback(renderer.close)
        stack.push_async_callback(outbound.close)
        engine = MediaEngine(config.media, Path(config.storage.spool))
        stack.push_async_callback(engine.close)
        rooms = _rooms(config, books, engine, renderer, outbound, spawn)
        stack.callback(rooms.services.platforms.close)
        yield rooms


def _books(config: Config, stack: AsyncExitStack) -> Books:
    spool = Path(config.storage.spool)
    database = Database(config.storage.database)
    waiting = Database(f"sqlite:///{spool}/outbox.db", OUTBOX_SCHEMA)
    stack.push_async_callback(database.close)
    stack.push_async_callback(waiting.close)
    catalog = Catalog(database)
    directory = Directory(database, spool / ".directory")
    return Books(
        database,
        catalog,
        CatalogWriter(catalog),
        directory,
        Users(database, directory, config.users),
        ApiKeys(database, spool / ".keys"),
        Outbox(waiting),
        blobs.from_url(config.storage.recordings),
    )


def _rooms(
    config: Config,
    books: Books,
    engine: MediaEngine,
    renderer: Renderer,
    outbound: Outbound,
    spawn: Spawn,
) -> Rooms:
    feed = EventFeed()
    archive = Archive(config, renderer, books.catalog, books.writer, books.blobs, feed, spawn)
    library = Library(
        config,
        renderer,
        archive,
        books.catalog,
        books.writer,
        books.blobs,
        feed,
        books.directory,
        spawn,
    )
    recorder = Recorder(config, engine, archive, books.directory, feed, spawn)
    courier = Courier(books.outbox, books.directory, config.notify, outbound)
    driver = HttpTemplateDriver(config.screen, outbound) if config.screen.start_url else None
    screens = Screens(driver, books.directory)
    dispatcher = Dispatcher(books.directory, courier.put, screens, spawn)
    dispatcher.recorder, dispatcher.library = recorder, library
    recorder.journal.on_occurrence = dispatcher.tell
    archive.on_recovered = lambda row: dispatcher.tell(Occurrence(ENDED, datetime.now(UTC), row))
    library.live, library.annotate_live = recorder.open_recording, recorder.annotate
    library.open = recorder.open_recordings
    node = config.storage.node
    disposal = Disposal(library, archive, books.catalog, recorder.is_live, node, spawn)
    archive.on_finished, recorder.on_ended = disposal.settle, disposal.settle_session
    recorder.commands.on_saving = disposal.decide
    sip = config.sip
    services = Services(
        recorder,
        library,
        _importer(config, books, renderer, feed),
        dispatcher,
        screens,
        PlatformWatch(books.directory, recorder.sessions, sip.listen, sip.advertise),
        feed,
        books.directory,
        books.users,
        books.keys,
        books.outbox,
        books.catalog,
        books.writer,
        books.blobs,
    )
    return Rooms(books, engine, archive, courier, disposal, services)


def _importer(config: Config, books: Books, renderer: Renderer, feed: EventFeed) -> Importer:
    return Importer(
        Path(config.storage.spool),
        config.storage.node,
        renderer,
        books.catalog,
        books.blobs,
        feed,
        books.directory,
    )
