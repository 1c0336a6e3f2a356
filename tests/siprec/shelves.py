"""A library over real books, without HTTP and without calls."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from config.schema import Config, Storage
from media import spool
from media.renderer import Renderer
from media.wav import header
from siprec.archive import Archive
from siprec.feed import EventFeed
from siprec.library import Library
from siprec.rooms import Background
from siprec.session import Actor
from storage import blobs, tables
from storage.blobs.base import BlobStore
from storage.catalog import Catalog
from storage.database import Database
from storage.directory import Directory
from storage.entries import Account, CustomField, MetadataType, Route
from storage.records import FileRecord, Recording, StreamRecord
from storage.writer import CatalogWriter
from tests.media import spools

WAV = header(1, 8000, 2000) + bytes(4000)
"""A quarter of a second of silence."""
STARTED = datetime(2026, 11, 22, 14, 5, 6, 789_000, UTC)
ANN, BOB = Actor("ann", "operator", 100), Actor("bob", "operator", 200)
ROUTED = Actor("rose", "operator", 100, routes=frozenset({8}))
"""Of account 100 too, but only for what came over route 8."""


@dataclass(slots=True)
class Shelf:
    """A library and what it stands on."""

    library: Library
    archive: Archive
    renderer: Renderer
    database: Database
    catalog: Catalog
    writer: CatalogWriter
    blobs: BlobStore
    feed: EventFeed
    directory: Directory
    folder: Path

    async def stored(self, recording_id: str = "r1", **changes: Any) -> Recording:
        """A finished recording of account 100, with a playable WAV of a quarter of a second."""
        wav = FileRecord("wav", f"2026-11-22/14/05/{recording_id}.wav", 0, "", 1, 8000)
        row = Recording(recording_id, "s1", "call", "complete", STARTED, account=100, route=7)
        row = replace(row, ended_at=STARTED, filename=f"{recording_id}.wav", files=(wav,))
        row = replace(row, **changes)
        for file in (*row.files, *(each.file for each in row.supplemental_files)):
            self.put(file.key, WAV)
        await self.catalog.save(row)
        return row

    def put(self, key: str, octets: bytes) -> None:
        """Store a file."""
        source = self.folder / f"source {key.replace('/', ' ')}"
        source.write_bytes(octets)
        self.blobs.put(key, source)

    def ended(self, recording_id: str = "r1", **changes: Any) -> Recording:
        """A recording that has ended, with the spool of a second that the media process left."""
        spools.write(
            spool.path_of(self.folder / "spool", recording_id),
            spools.talk(b"\x10" * 8000),
            stop_ms=1000,
        )
        streams = (StreamRecord("s0", "0", participant_id="p1"),)
        row = Recording(recording_id, "s1", "call", "processing", STARTED, account=100, route=7)
        return replace(row, ended_at=STARTED, streams=streams, **changes)

    async def trail(self, recording_id: str = "r1") -> list[tuple[str, str, str]]:
        """(actor, action, reason) of the audit trail, which outlives the recording."""
        table = tables.audit.c
        asked = select(table.actor, table.action, table.reason).order_by(table.sequence)
        async with self.database.reading() as connection:
            rows = await connection.execute(asked.where(table.recording_id == recording_id))
        return [(row.actor, row.action, row.reason) for row in rows]


@asynccontextmanager
async def shelf(folder: Path, migrated: Path, **sections: Any) -> AsyncIterator[Shelf]:
    """A shelf in `folder` with a copy of database `migrated`."""
    shutil.copyfile(migrated, folder / "siprecd.db")
    spool_folder = folder / "spool"
    spool_folder.mkdir()
    places = Storage(spool=str(spool_folder))
    config = Config(**{"storage": places, **sections})
    database = Database(f"sqlite:///{folder}/siprecd.db")
    catalog, feed, renderer = Catalog(database), EventFeed(), Renderer(1)
    writer, store = CatalogWriter(catalog), blobs.from_url(f"file://{folder}/recordings")
    directory = Directory(database)
    async with asyncio.TaskGroup() as group:
        background = Background(group)
        spawn = background.spawn
        archive = Archive(config, renderer, catalog, writer, store, feed, spawn)
        library = Library(
            config,
            renderer,
            archive,
            catalog,
            writer,
            store,
            feed,
            directory,
            spawn,
        )
        spawn("writer", writer.run())
        await _fill(directory)
        try:
            yield Shelf(
                library,
                archive,
                renderer,
                database,
                catalog,
                writer,
                store,
                feed,
                directory,
                folder,
            )
        finally:
            await background.stop()
            await renderer.close()
            await database.close()


async def _fill(directory: Directory) -> None:
    """Two accounts, three routes, and what may be searched for."""
    await directory.load()
    for entry in (
        Account(100, "Contact centre", retention_days=30),
        Account(200, "Back office"),
        Route(7, 100),
        Route(8, 100),
        Route(17, 200),
        CustomField("case"),
        CustomField("ticket", [100]),
        CustomField("remark", searchable=False),
        CustomField("budget", [200]),
        MetadataType("apkt:realm"),
        MetadataType("apkt:secret", searchable=False),
    ):
        await directory.put(entry)
