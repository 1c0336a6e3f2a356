"""Importer: recordings from outside, made into finished ones as if they had been recorded here.

What comes in, and what is made of it, lies in a folder below the spool until the catalogue has the
row; beside it a note says which files go with it. Cut off at any point, what is not in the
catalogue is removed at the next start, or before the next upload: `resume`. Counterparts:
`media.importing`, which reads the audio; `siprec.library`, whose the recording is from then on.
"""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import structlog

from media import spool
from media.renderer import Renderer
from media.spec import MediaError, Rendered, UnusableAudio
from siprec import conversion, logbook
from siprec.feed import EventFeed, FeedEvent
from siprec.logbook import Changes
from siprec.session import Actor, ConversionFailed, RecorderError
from storage import retention, sidecar
from storage.blobs.base import BlobStore
from storage.catalog import Catalog
from storage.directory import Directory
from storage.entries import DEFAULT_ROUTE, User
from storage.records import (
    FileRecord,
    Recording,
    StorageError,
    StorageUnavailable,
    UnknownRecording,
)
from storage.text import safe_file_name

logger = structlog.get_logger(__name__)

FOLDER = "uploads"
"""Below the spool folder."""
MOST = 4
"""Uploads at the same time: each takes disk from the calls."""
KEPT_FREE = 1 << 30
"""Octets of the spool's disk that no upload takes: two minutes of a thousand streams."""
TOLERANCE_MS = 1_000
"""How far the stated duration may be from that of the audio before it is worth a warning."""
DIFFERS = "duration_differs"
_ID = re.compile("[0-9a-f]{32}")


class UnknownOwner(RecorderError):
    """No user, or more than one, has the name of whose call it was."""


class OutOfRetention(RecorderError):
    """The recording is so old that it would be deleted at once."""


class UnusableUpload(RecorderError):
    """It is not audio of a kind we take; the text says why."""


class TooManyUploads(RecorderError):
    """As many as may be at the same time are under way."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is said of a recording from outside."""

    username: str
    """Name or e-mail address of the user whose call it was, in any case."""
    started_at: datetime
    duration_ms: int
    local_party: str
    remote_party: str = ""
    direction: str = ""
    """`incoming` or `outgoing` for the user; empty if unknown."""
    call_id: str = ""
    """What recordings of one conversation have in common; empty: nothing."""
    note: str = ""
    never_expire: bool = False
    filename: str = ""
    """What it is called where it comes from."""
    keep_stereo: bool = False
    """Two channels are not mixed."""


class Draft:
    """A file that comes in, a piece at a time."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file

    async def write(self, octets: bytes) -> None:
        """Append. Raises StorageUnavailable if the disk is full, or calls may need the rest."""
        await asyncio.to_thread(self._write, octets)

    def _write(self, octets: bytes) -> None:
        _check_room(self.path, len(octets))
        with _failures(self.path):
            self._file.write(octets)
            self._file.flush()


class Importer:
    """Takes uploads; the recordings of one node."""

    def __init__(
        self,
        spool_folder: Path,
        node: int,
        renderer: Renderer,
        catalog: Catalog,
        blobs: BlobStore,
        feed: EventFeed,
        directory: Directory,
    ) -> None:
        self._folder = spool_folder / FOLDER
        self._node = node
        self._renderer = renderer
        self._catalog = catalog
        self._blobs = blobs
        self._feed = feed
        self._directory = directory
        self._drafts = 0
        self._busy: set[str] = set()

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """A new file, gone at the end. Raises TooManyUploads, StorageUnavailable."""
        if self._drafts >= MOST:
            raise TooManyUploads(f"{MOST} uploads are under way")
        path = self._folder / f"{secrets.token_hex(16)}.audio"
        self._drafts += 1
        self._busy.add(path.stem)
        try:
            with _failures(path):
                self._folder.mkdir(mode=0o750, exist_ok=True)
                file = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
            with file:
                yield Draft(path, file)
        finally:
            self._drafts -= 1
            self._busy.discard(path.stem)
            path.unlink(missing_ok=True)

    async def take(self, upload: Upload, source: Path, actor: Actor) -> Recording:
        """A finished recording of the audio in `source`, in the catalogue when this returns.

        Raises UnknownOwner, OutOfRetention, InvalidChange (a note too long), UnusableUpload,
        ConversionFailed, StorageUnavailable: then nothing is left of it.
        """
        owner = self._owner(upload.username, actor)
        row = self._described(upload, owner, actor)
        self._busy.add(row.id)
        try:
            await self.resume()
            await self._check_catalog(row.id)
            found = await self._import(upload, row, source)
        finally:
            self._busy.discard(row.id)
        self._tell(found, actor)
        return found

    async def resume(self) -> None:
        """Remove what is left of uploads that were cut off, or keep what is in the catalogue.

        Raises StorageUnavailable: they stay as they are.
        """
        for recording_id in await asyncio.to_thread(self._left):
            if recording_id not in self._busy and not await self._settled(recording_id):
                logger.warning("upload_removed", recording=recording_id)

    def _owner(self, name: str, actor: Actor) -> User:
        """The one user of this name that the actor may know of."""
        wanted = name.casefold()
        seen = [user for user in self._directory.entries.users.values() if actor.sees(user.account)]
        found = [user for user in seen if user.email.casefold() == wanted]
        found = found or [user for user in seen if user.username.casefold() == wanted]
        if not name or len(found) != 1:
            raise UnknownOwner(f"no user, or more than one, is called {name!r}")
        return found[0]

    def _described(self, upload: Upload, owner: User, actor: Actor) -> Recording:
        """The recording as far as it is known without its audio."""
        entries, now = self._directory.entries, datetime.now(UTC)
        days = retention.days_of(owner.account, DEFAULT_ROUTE, entries)
        if days and upload.started_at < now - timedelta(days=days):
            raise OutOfRetention(f"recordings are kept for {days} days")
        account = entries.accounts.get(owner.account)
        ani, dnis = upload.remote_party, upload.local_party
        if upload.direction == "outgoing":
            ani, dnis = dnis, ani
        recording_id, session_id = secrets.token_hex(16), secrets.token_hex(16)
        row = Recording(
            recording_id,
            session_id,
            upload.call_id or session_id,
            "complete",
            upload.started_at.astimezone(UTC),
            node=self._node,
            account=owner.account,
            route=DEFAULT_ROUTE,
            profile=account.profile if account else "default",
            filename=_name(upload, dnis),
            ani=ani,
            dnis=dnis,
            owner=owner.email.lower(),
            local_party=upload.local_party,
            remote_party=upload.remote_party,
            direction=upload.direction,
        )
        row = logbook.audited(row, now, actor, "upload", "")
        marked = Changes(note=upload.note or None, never_expire=upload.never_expire)
        return logbook.changed(row, marked, now, actor)

    async def _check_catalog(self, recording_id: str) -> None:
        """Raises StorageUnavailable before there is anything that could not be booked."""
        with suppress(UnknownRecording):
            await self._catalog.get(recording_id)

    async def _import(self, upload: Upload, row: Recording, source: Path) -> Recording:
        """Make the files and book them, or leave nothing."""
        try:
            rendered = await self._rendered(upload, row, source)
            row = await asyncio.to_thread(self._stored, upload, row, rendered)
            numbers = await self._catalog.save(row)
            await asyncio.to_thread(self._tidy, row.id)
            return replace(row, number=numbers[row.id])
        except Exception:
            # The catalogue may have taken it all the same, and only its answer was lost.
            with suppress(StorageUnavailable):
                if booked := await self._settled(row.id):
                    return booked
            raise

    async def _rendered(self, upload: Upload, row: Recording, source: Path) -> Rendered:
        await asyncio.to_thread(_check_room_for, source)
        try:
            return await self._renderer.import_audio(
                source, self._folder, row.id, keep_stereo=upload.keep_stereo
            )
        except UnusableAudio as error:
            raise UnusableUpload(str(error)) from None
        except MediaError as error:
            raise ConversionFailed(f"recording {row.id}: {error}") from error

    def _stored(self, upload: Upload, row: Recording, rendered: Rendered) -> Recording:
        """Note down which files there will be, then have them stored. Blocks."""
        with _failures(self._folder):
            row = _with_audio(upload, row, rendered)
        sidecar.write(self._folder, row)
        _sync(self._folder / f"{row.id}.json")
        _sync(self._folder)
        for file, path in zip(row.files, (rendered.wav.path, rendered.peaks_path), strict=True):
            self._blobs.put(file.key, Path(path))
        return row

    async def _settled(self, recording_id: str) -> Recording | None:
        """The recording if the catalogue has it; if not, all that is left of it is removed.

        Raises StorageUnavailable: that cannot be told, or not be removed, now.
        """
        try:
            found = await self._catalog.get(recording_id)
        except UnknownRecording:
            found = None
            await asyncio.to_thread(self._erase, recording_id)
        await asyncio.to_thread(self._tidy, recording_id)
        return found

    def _erase(self, recording_id: str) -> None:
        """Remove the stored files a note tells of; without one there are none. Blocks."""
        note = self._folder / f"{recording_id}.json"
        if not note.exists():
            return
        try:
            files = sidecar.read(note).files
        except StorageUnavailable:
            raise
        except StorageError as error:  # it was not whole yet when files could have been stored
            logger.error("upload_note_damaged", recording=recording_id, error=str(error))
            return
        for file in files:
            self._blobs.delete(file.key)

    def _tidy(self, recording_id: str) -> None:
        """Remove the note, and what else is in the folder of a recording, for good. Blocks."""
        with _failures(self._folder):
            for path in self._folder.glob(f"{recording_id}.*"):
                path.unlink(missing_ok=True)
        if self._folder.is_dir():
            _sync(self._folder)

    def _left(self) -> set[str]:
        """Ids of which there is anything in the folder. Blocks."""
        with _failures(self._folder):
            found = {path.name.partition(".")[0] for path in self._folder.glob("*.*")}
        return {each for each in found if _ID.fullmatch(each)}

    def _tell(self, row: Recording, actor: Actor) -> None:
        kind = f"recording.{row.status}"
        ids = (row.session_id, row.id, row.call_id)
        now = datetime.now(UTC)
        self._feed.publish(FeedEvent(kind, now, *ids, actor.name, "", row.account, row.route))
        logger.info(
            "recording_uploaded",
            recording=row.id,
            session=row.session_id,
            call_id=row.call_id,
            duration_ms=row.duration_ms,
            actor=actor.name,
        )


def _name(upload: Upload, dnis: str) -> str:
    """What people call the recording: as it was called, else as a recorded call is."""
    stem = upload.filename.removesuffix(".wav") or "-".join(filter(None, (dnis, upload.call_id)))
    return f"{safe_file_name(stem)}.wav"


def _with_audio(upload: Upload, row: Recording, rendered: Rendered) -> Recording:
    """The recording with what its audio says. Blocks. Raises OSError."""
    made, peaks = rendered.wav, Path(rendered.peaks_path)
    key, drawn = (conversion.key_of(row, suffix) for suffix in ("wav", "peaks.json"))
    form = (made.channels, made.sample_rate_hz)
    wav = FileRecord("wav", key, made.size_bytes, made.sha256, *form)
    differs = abs(made.duration_ms - upload.duration_ms) > TOLERANCE_MS
    return replace(
        row,
        duration_ms=made.duration_ms,
        ended_at=row.started_at + timedelta(milliseconds=made.duration_ms),
        warnings=(*rendered.warnings, *([DIFFERS] if differs else [])),
        files=(wav, FileRecord("peaks", drawn, peaks.stat().st_size, spool.sha256_of(peaks))),
    )


def _check_room_for(source: Path) -> None:
    """As `_check_room` for what is made of a file: an octet of G.711 becomes two. Blocks."""
    with _failures(source):
        size = source.stat().st_size
    _check_room(source, 2 * size)


def _check_room(path: Path, octets: int) -> None:
    """Raises StorageUnavailable if a file as large would leave too little for calls. Blocks."""
    with _failures(path):
        free = shutil.disk_usage(path.parent).free
    if free - octets < KEPT_FREE:
        raise StorageUnavailable(f"{path.parent}: only {free >> 20} MiB are left")


def _sync(path: Path) -> None:
    """Make a file, or what is in a folder, durable. Blocks."""
    with _failures(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"{path}: {error.strerror or error}") from error
