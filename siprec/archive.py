"""From an ended recording to finished files: render, store, book, then let go of the spool.

Counterpart of `siprec.recorder`, which owns recordings while they grow. Everything here may be cut
off at any point and done again: the spool and its sidecar stay until the catalogue has the result.
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from config.schema import Render
from media import spool
from media.renderer import Renderer
from media.spec import MediaError, MediaFile, Rendered, RenderedStream, StreamReport
from siprec.feed import EventFeed, FeedEvent
from siprec.paused import MEMORY
from siprec.session import Actor, NotFinished, RecorderError
from storage import sidecar
from storage.blobs.base import BlobStore
from storage.catalog import Catalog
from storage.records import (
    FileRecord,
    Gap,
    Recording,
    StorageError,
    StorageUnavailable,
    StreamRecord,
    UnknownRecording,
)
from storage.writer import CatalogWriter

logger = structlog.get_logger(__name__)

RETRY_S = (1, 5, 15, 60, 300)
"""Pauses between attempts to finish a recording; after the last one its spool is kept."""
NOTES_INTERVAL_S = 0.1
"""How long sidecars are collected: threads cost more than files."""
PATIENCE_S = 2.0
"""How long a request waits for a catalogue that is behind."""

Spawn = Callable[[str, Coroutine[Any, Any, None]], None]
"""Runs a coroutine in the background, by name; its failure is logged and ends nothing else."""


class Archive:
    """Finishes recordings and answers for their files."""

    def __init__(
        self,
        config: Render,
        spool_folder: Path,
        renderer: Renderer,
        catalog: Catalog,
        writer: CatalogWriter,
        blobs: BlobStore,
        feed: EventFeed,
        spawn: Spawn,
    ) -> None:
        self._config = config
        self._spool_folder = spool_folder
        self._renderer = renderer
        self._catalog = catalog
        self._writer = writer
        self._blobs = blobs
        self._feed = feed
        self._spawn = spawn
        self._notes: dict[str, Recording] = {}
        self._noted = asyncio.Event()
        self.unfinished: set[str] = set()
        """Recordings that have ended and whose files are not made yet."""

    def note(self, recording: Recording) -> None:
        """Book the state of a recording, beside its spool and in the catalogue. Never waits."""
        self._writer.put(recording)
        self._notes[recording.id] = recording
        self._noted.set()

    async def write_notes(self) -> None:
        """Keep the sidecars up to date; runs for the life of the process."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            notes, self._notes = self._notes, {}
            await asyncio.to_thread(self._write_sidecars, notes)
            await asyncio.sleep(NOTES_INTERVAL_S)

    def _write_sidecars(self, notes: dict[str, Recording]) -> None:
        for recording in notes.values():
            try:
                sidecar.write(self._spool_folder, recording)
            except StorageError as error:
                logger.error("sidecar_failed", recording=recording.id, error=str(error))

    def finish(self, recording: Recording, reports: list[StreamReport]) -> None:
        """Take over an ended recording; returns at once, the work goes on in the background."""
        received = not reports or any(report.packets for report in reports)
        if not received and not recording.pauses:
            recording = replace(recording, reason="no_media")
        self.note(recording)
        self.unfinished.add(recording.id)
        self._spawn(f"finish {recording.id}", self._finish(recording))

    async def _finish(self, recording: Recording) -> None:
        try:
            for delay in (*RETRY_S, None):
                try:
                    await self._finish_once(recording)
                    return
                except (MediaError, StorageUnavailable) as error:
                    self._finish_failed(recording, error, delay)
                await asyncio.sleep(delay or 0)
        finally:
            self.unfinished.discard(recording.id)

    def _finish_failed(self, recording: Recording, error: Exception, delay: int | None) -> None:
        logger.error(
            "finish_failed",
            recording=recording.id,
            call_id=recording.call_id,
            error=str(error),
            retry_s=delay,
        )
        if delay is None:
            self._book(replace(recording, status="failed", reason="render_failed"))

    async def _finish_once(self, recording: Recording) -> None:
        source = spool.path_of(self._spool_folder, recording.id)
        order = [stream.stream_id for stream in sorted(recording.streams, key=_channel)]
        rendered = await self._renderer.render(source, self._spool_folder, recording.id, order)
        finished = _with_result(recording, rendered)
        files = await asyncio.to_thread(self._store, finished, rendered)
        finished = replace(finished, files=files)
        if self._config.mp3 == "at_end":
            finished = await self._with_mp3(finished)
        self._book(finished)
        self.unfinished.discard(recording.id)
        await self._writer.stored(recording.id)
        self._notes.pop(recording.id, None)
        await asyncio.to_thread(self._forget_spool, source, recording.id)

    def _store(self, recording: Recording, rendered: Rendered) -> tuple[FileRecord, ...]:
        wav = self._put(recording, rendered.wav)
        peaks = Path(rendered.peaks_path)
        size, digest = peaks.stat().st_size, spool.sha256_of(peaks)
        key = _key(recording, "peaks.json")
        self._blobs.put(key, peaks)
        return wav, FileRecord("peaks", key, size, digest)

    def _put(self, recording: Recording, file: MediaFile) -> FileRecord:
        key = _key(recording, file.format)
        self._blobs.put(key, Path(file.path))
        return FileRecord(
            file.format, key, file.size_bytes, file.sha256, file.channels, file.sample_rate_hz
        )

    def _forget_spool(self, source: Path, recording_id: str) -> None:
        source.unlink(missing_ok=True)
        sidecar.remove(self._spool_folder, recording_id)

    def _book(self, recording: Recording) -> None:
        self._writer.put(recording)
        self._publish(f"recording.{recording.status}", recording)
        logger.info(
            "recording_finished",
            recording=recording.id,
            session=recording.session_id,
            call_id=recording.call_id,
            status=recording.status,
            reason=recording.reason,
            duration_ms=recording.duration_ms,
        )

    def _publish(self, kind: str, recording: Recording, actor: str = "") -> None:
        self._feed.publish(
            FeedEvent(
                kind,
                datetime.now(UTC),
                recording.session_id,
                recording.id,
                recording.call_id,
                actor,
                recording.reason,
            )
        )

    async def get(self, recording_id: str) -> Recording:
        """The newest state of a recording. Raises UnknownRecording, StorageUnavailable."""
        return self._writer.get_pending(recording_id) or await self._catalog.get(recording_id)

    async def mp3(self, recording_id: str) -> Recording:
        """The recording with an MP3 among its files, made now if it is the first request.

        Raises NotFinished, UnknownRecording, StorageUnavailable, RecorderError.
        """
        recording = await self.get(recording_id)
        if any(file.format == "mp3" for file in recording.files):
            return recording
        if not any(file.format == "wav" for file in recording.files):
            raise NotFinished(f"recording {recording_id} is {recording.status}")
        recording = await self._with_mp3(recording)
        self._writer.put(recording)
        return recording

    async def _with_mp3(self, recording: Recording) -> Recording:
        key = next(file.key for file in recording.files if file.format == "wav")
        source = await asyncio.to_thread(self._local, key, recording.id)
        try:
            made = await self._renderer.mp3(
                source,
                self._spool_folder / f"{recording.id}.mp3",
                self._config.mp3_channels,
                self._config.mp3_bitrate_kbps,
            )
        except MediaError as error:
            raise RecorderError(str(error)) from error
        file = await asyncio.to_thread(self._put, recording, made)
        return replace(recording, files=(*recording.files, file))

    def _local(self, key: str, recording_id: str) -> Path:
        """A stored file on the local disk, fetched if the store is elsewhere."""
        if path := self._blobs.path(key):
            return path
        copy = self._spool_folder / f"{recording_id}.wav"
        source, _ = self._blobs.open(key)
        with source, copy.open("wb") as file:
            shutil.copyfileobj(source, file)
        return copy

    async def delete(self, recording_id: str, actor: Actor) -> None:
        """Remove a finished recording: its row first, then its files.

        Raises NotFinished while it is live, UnknownRecording, StorageUnavailable.
        """
        recording = await self.get(recording_id)
        if recording.status in {"recording", "processing"}:
            raise NotFinished(f"recording {recording_id} is {recording.status}")
        await self._settled(recording_id)
        await self._catalog.delete(recording_id)
        for file in recording.files:
            await asyncio.to_thread(self._blobs.delete, file.key)
        logger.warning("recording_deleted", recording=recording_id, actor=actor.name)
        self._publish("recording.deleted", recording, actor.name)

    async def _settled(self, recording_id: str) -> None:
        """Nothing of a recording waits for the catalogue any more. Raises StorageUnavailable."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._writer.stored(recording_id)
        except TimeoutError as error:
            raise StorageUnavailable("the catalogue is behind") from error

    async def leftovers(self) -> list[Recording]:
        """Recordings an earlier process did not finish, as far as spools and catalogue tell."""
        found = await asyncio.to_thread(self._leftovers_on_disk)
        for recording_id in [*found]:
            if await self._is_booked(recording_id):
                source = spool.path_of(self._spool_folder, recording_id)
                await asyncio.to_thread(self._forget_spool, source, recording_id)
                del found[recording_id]
        try:
            booked = {row.id: row for row in await self._catalog.unfinished()}
        except StorageUnavailable:
            booked = {}
        return [*({**booked, **found}).values()]

    async def _is_booked(self, recording_id: str) -> bool:
        """Whether the catalogue has the final row: the process ended just before it tidied up."""
        try:
            return bool((await self._catalog.get(recording_id)).files)
        except (UnknownRecording, StorageUnavailable):
            return False

    def _leftovers_on_disk(self) -> dict[str, Recording]:
        found: dict[str, Recording] = {}
        for recording_id, path in sidecar.scan(self._spool_folder):
            try:
                found[recording_id] = sidecar.read(path)
            except StorageError as error:
                logger.error("sidecar_damaged", recording=recording_id, error=str(error))
                path.replace(path.with_suffix(".damaged"))
        for path in spool.scan(self._spool_folder):
            known = found.get(path.stem) or _unknown(path)
            events = spool.read_events(path)
            reason = "" if any(event.kind == "stop" for event in events) else "crash"
            found[path.stem] = replace(
                known, reason=reason, paused_at_end=spool.ends_paused(events)
            )
        return found

    async def ended_paused(self) -> list[Recording]:
        """Recent recordings that ended while paused, as far as the catalogue answers."""
        try:
            return await self._catalog.paused_calls(datetime.now(UTC) - MEMORY)
        except StorageUnavailable as error:
            logger.error("paused_calls_unknown", error=str(error))
            return []

    def recover(self, leftovers: list[Recording]) -> None:
        """Finish what an earlier process did not, in the background."""
        for recording in leftovers:
            if spool.path_of(self._spool_folder, recording.id).exists():
                logger.warning("recovering", recording=recording.id, call_id=recording.call_id)
                self.finish(replace(recording, status="processing"), [])
            else:
                lost = replace(recording, status="failed", reason="crash")
                self._book(replace(lost, ended_at=recording.ended_at or datetime.now(UTC)))
                sidecar.remove(self._spool_folder, recording.id)


def _channel(stream: StreamRecord) -> int:
    return stream.channel


def _key(recording: Recording, suffix: str) -> str:
    return f"{recording.started_at:%Y-%m-%d/%H/%M}/{recording.id}.{suffix}"


def _unknown(path: Path) -> Recording:
    """A recording of which only the spool is left."""
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Recording(path.stem, "", "", "recording", modified, warnings=("sidecar_missing",))


def _with_result(recording: Recording, rendered: Rendered) -> Recording:
    status, reason = _verdict(recording, rendered)
    ended_at = recording.started_at + timedelta(
        milliseconds=rendered.duration_ms + _cut_ms(recording)
    )
    return replace(
        recording,
        status=status,
        reason=reason,
        ended_at=recording.ended_at or ended_at,
        duration_ms=rendered.duration_ms,
        paused_ms=rendered.paused_ms,
        streams=_merge_streams(recording.streams, rendered.streams),
        warnings=tuple(dict.fromkeys((*recording.warnings, *rendered.warnings))),
    )


def _cut_ms(recording: Recording) -> int:
    spans = (
        pause.ended_at - pause.started_at
        for pause in recording.pauses
        if pause.fill == "cut" and pause.ended_at
    )
    return sum(int(span.total_seconds() * 1000) for span in spans)


def _verdict(recording: Recording, rendered: Rendered) -> tuple[str, str]:
    if recording.reason == "no_media":
        return "failed", "no_media"
    if recording.reason:
        return "partial", recording.reason
    if "packets_dropped" in rendered.warnings:
        return "partial", "enospc"
    if "spool_truncated" in rendered.warnings:
        return "partial", "truncated"
    return "complete", ""


def _merge_streams(
    known: tuple[StreamRecord, ...], rendered: tuple[RenderedStream, ...]
) -> tuple[StreamRecord, ...]:
    senders = {stream.stream_id: stream.participant_id for stream in known}
    return tuple(
        StreamRecord(
            stream.stream_id,
            stream.label,
            stream.channel,
            stream.encoding,
            senders.get(stream.stream_id, ""),
            stream.packets,
            stream.lost,
            stream.duplicates,
            tuple(Gap(gap.start_ms, gap.duration_ms) for gap in stream.gaps),
        )
        for stream in rendered
    )
