"""A whole node behind a real HTTP server: database, file store, core and media process."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp.web_app import _cached_build_middleware

from api.listener import Limits
from api.server import ApiServer
from api.services import Services
from config.schema import Config, Media, Storage
from media.engine import MediaEngine
from siprec import sdp
from siprec.rooms import Background, Rooms, opened
from siprec.session import LiveSession, Offer
from storage.database import Database
from storage.keys import ApiKeys
from storage.records import FileRecord, Recording
from storage.tables import OUTBOX_SCHEMA

ROLES = ("control", "operator", "admin")
OUTBOX, KEYS = "outbox.db", "keys.json"
STARTED = datetime(2026, 11, 22, 14, 5, 6, 789_000, UTC)
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    b"a=sendonly\r\na=label:1\r\n"
    b"m=audio 40002 RTP/AVP 8\r\na=sendonly\r\na=label:2\r\n"
)
PEAKS = b'{"sample_rate_hz":8000,"samples_per_peak":160,"channels":[[0.5,1]]}'


@dataclass(slots=True)
class Node:
    """One running server and what stands behind it."""

    services: Services
    server: ApiServer
    engine: MediaEngine
    folder: Path
    keys: dict[str, str]
    """Role -> token."""

    def client(self, role: str | None = "admin") -> aiohttp.ClientSession:
        """A client with the key of `role`, or with none."""
        headers = {"Authorization": f"Bearer {self.keys[role]}"} if role else {}
        return aiohttp.ClientSession(self.server.url, headers=headers)

    async def call(self, call_id: str = "call-1@src", **changes: Any) -> LiveSession:
        """A new live session, being recorded."""
        offer = Offer(
            dialog_id=f"dialog {call_id}",
            call_id=call_id,
            signs=frozenset({"require"}),
            local_host="127.0.0.1",
            received_at=datetime.now(UTC),
            sdp=sdp.parse(SDP),
            from_aor="sip:alice@example.com",
            to_aor="sip:bob@example.com",
        )
        self.services.recorder.begin(replace(offer, **changes))
        return self.services.recorder.sessions()[0]

    async def stored(self, recording_id: str = "r1", **changes: Any) -> Recording:
        """A finished recording with a WAV of `recording_id`'s name and peaks."""
        row = Recording(recording_id, "s1", "call-1@src", "complete", STARTED, duration_ms=20)
        wav = self.put(recording_id, "wav", bytes(range(256)))
        peaks = self.put(recording_id, "peaks.json", PEAKS)
        row = replace(row, ended_at=STARTED, files=(wav, peaks))
        row = replace(row, **changes)
        await self.services.catalog.save(row)
        return row

    def put(self, recording_id: str, suffix: str, data: bytes) -> FileRecord:
        """A file in the store."""
        source = self.folder / "source"
        source.write_bytes(data)
        key = f"2026-11-22/14/05/{recording_id}.{suffix}"
        self.services.blobs.put(key, source)
        digest = hashlib.sha256(data).hexdigest()
        return FileRecord(suffix.split(".", maxsplit=1)[0], key, len(data), digest, 2, 8000)


async def migrate(folder: Path) -> Path:
    """Make what nodes start with: both databases with their tables, and a key for each role.

    Returns the path of the catalogue; what else `running` copies is beside it.
    """
    catalog = folder / "siprecd.db"
    database = Database(f"sqlite:///{catalog}")
    keys = ApiKeys(database)
    tokens = {role: await keys.add(f"{role} desk", role) for role in ROLES}
    (folder / KEYS).write_bytes(msgspec.json.encode(tokens))
    waiting = Database(f"sqlite:///{folder / OUTBOX}", OUTBOX_SCHEMA)
    await waiting.migrate()
    await waiting.close()
    await database.close()
    return catalog


@asynccontextmanager
async def running(
    folder: Path, migrated: Path, limits: Limits | None = None, **sections: Any
) -> AsyncIterator[Node]:
    """A node in `folder` with copies of what `migrate` made; its media process is not started.

    `sections`: sections of the configuration other than the usual ones.
    """
    shutil.copyfile(migrated, folder / "siprecd.db")
    (folder / "spool").mkdir()
    shutil.copyfile(migrated.with_name(OUTBOX), folder / "spool" / OUTBOX)
    keys = msgspec.json.decode(migrated.with_name(KEYS).read_bytes())
    config = Config(
        media=Media(port_min=30_000, port_max=39_999),
        storage=Storage(
            f"sqlite:///{folder}/siprecd.db", f"file://{folder}/recordings", f"{folder}/spool"
        ),
    )
    config = msgspec.structs.replace(config, **sections)
    async with asyncio.TaskGroup() as group:
        background = Background(group)
        async with opened(config, background.spawn) as rooms:
            server = await _started(config, rooms, background, limits)
            try:
                yield Node(rooms.services, server, rooms.engine, folder, keys)
            finally:
                await server.stop()
                await background.stop()
                _cached_build_middleware.cache_clear()  # it keeps the last thousand applications


async def _started(
    config: Config, rooms: Rooms, background: Background, limits: Limits | None
) -> ApiServer:
    books = rooms.books
    await books.directory.load()
    await books.users.load()
    await books.keys.load()
    background.spawn("writer", books.writer.run())
    background.spawn("courier", rooms.courier.run())
    background.spawn("sidecars", rooms.archive.write_notes())
    api = msgspec.structs.replace(config.api, listen="127.0.0.1:0")
    server = ApiServer(api, rooms.services, limits)
    await server.start()
    return server
