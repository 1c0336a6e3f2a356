"""Conversion: the MP3 of a recording, made from its WAV in the format of its profile.

Counterparts: `siprec.archive`, which has it made at the end if the configuration says so;
`siprec.library`, which has it made when somebody asks, and books it.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from config.schema import Render
from media.renderer import Renderer
from media.spec import MediaError, MediaFile
from siprec.session import ConversionBusy, ConversionFailed, ConversionTimeout, RecorderError
from storage.blobs.base import BlobStore
from storage.entries import PROFILES, Format
from storage.records import FileRecord, Recording, StorageError, StorageUnavailable, UnknownFile

logger = structlog.get_logger(__name__)

LIMIT_S = 30.0
"""How long a request waits for a conversion, which itself may take longer."""

Book = Callable[[Recording, FileRecord], Awaitable[Recording]]
"""Adds a new file to a recording; returns it as it is then."""
Spawn = Callable[[str, Coroutine[Any, Any, None]], None]
"""Runs a coroutine in the background, by name; its failure is logged and ends nothing else."""


class Converter:
    """Makes MP3 files of stored recordings."""

    def __init__(
        self, config: Render, spool_folder: Path, renderer: Renderer, blobs: BlobStore
    ) -> None:
        self._default = Format(config.mp3_bitrate_kbps, config.mp3_channels)
        self._spool_folder = spool_folder
        self._renderer = renderer
        self._blobs = blobs

    async def mp3(self, recording: Recording) -> FileRecord:
        """Make and store the MP3; what is under its key already is replaced.

        Raises UnknownFile without a WAV, ConversionFailed, StorageUnavailable.
        """
        wav = next((file for file in recording.files if file.format == "wav"), None)
        if wav is None:
            raise UnknownFile(f"recording {recording.id} has no wav file")
        wanted = PROFILES.get(recording.profile) or self._default
        copy = self._spool_folder / f"{recording.id}.wav"
        try:
            source = await asyncio.to_thread(self._local, wav.key, copy)
            made = await self._renderer.mp3(
                source,
                self._spool_folder / f"{recording.id}.mp3",
                wanted.channels,
                wanted.bitrate_kbps,
            )
        except MediaError as error:
            raise ConversionFailed(f"recording {recording.id}: {error}") from error
        finally:
            await asyncio.to_thread(copy.unlink, missing_ok=True)
        return await asyncio.to_thread(put, self._blobs, recording, made)

    def _local(self, key: str, copy: Path) -> Path:
        """A stored file on the local disk, fetched if the store is elsewhere."""
        if path := self._blobs.path(key):
            return path
        source, _ = self._blobs.open(key)
        try:
            copy.touch(mode=0o600)
            with source, copy.open("wb") as file:
                shutil.copyfileobj(source, file)
        except OSError as error:
            raise StorageUnavailable(f"{copy}: {error.strerror or error}") from error
        return copy


@dataclass(frozen=True, slots=True)
class _Job:
    """A conversion that runs."""

    owner: str
    result: asyncio.Future[Recording]


class Conversions:
    """The conversions people asked for: one at a time for each recording."""

    def __init__(self, converter: Converter, book: Book, spawn: Spawn) -> None:
        self._converter = converter
        self._book = book
        self._spawn = spawn
        self._jobs: dict[str, _Job] = {}

    async def made(self, recording: Recording, owner: str) -> Recording:
        """The recording with its MP3, once that is made and booked.

        `owner`: who asks; they may ask again while it runs, others may not. Raises ConversionBusy,
        ConversionTimeout (the work goes on), ConversionFailed, and what booking raises.
        """
        job = self._jobs.get(recording.id) or self._begin(recording, owner)
        if job.owner != owner:
            raise ConversionBusy("somebody else has this recording converted, try again later")
        done, _ = await asyncio.wait([job.result], timeout=LIMIT_S)
        if not done:
            raise ConversionTimeout(f"not done in {LIMIT_S:g} s, it goes on; try again later")
        return job.result.result()

    def _begin(self, recording: Recording, owner: str) -> _Job:
        job = _Job(owner, asyncio.get_running_loop().create_future())
        job.result.add_done_callback(asyncio.Future.exception)  # nobody may be there to look at it
        self._jobs[recording.id] = job
        self._spawn(f"mp3 {recording.id}", self._convert(recording, job.result))
        return job

    async def _convert(self, recording: Recording, result: asyncio.Future[Recording]) -> None:
        try:
            file = await self._converter.mp3(recording)
            result.set_result(await self._book(recording, file))
        except (RecorderError, StorageError) as error:
            logger.error("conversion_failed", recording=recording.id, error=str(error))
            result.set_exception(error)
        finally:
            del self._jobs[recording.id]
            if not result.done():
                result.set_exception(ConversionFailed(f"recording {recording.id}: cut off"))


def key_of(recording: Recording, suffix: str) -> str:
    """Name in the file store, made from our own id and the time only."""
    return f"{recording.started_at:%Y-%m-%d/%H/%M}/{recording.id}.{suffix}"


def put(blobs: BlobStore, recording: Recording, file: MediaFile) -> FileRecord:
    """Move a finished media file into the store. Blocks; for a worker thread."""
    key = key_of(recording, file.format)
    blobs.put(key, Path(file.path))
    return FileRecord(
        file.format, key, file.size_bytes, file.sha256, file.channels, file.sample_rate_hz
    )
