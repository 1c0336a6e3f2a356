"""From an ended recording to finished files: render, store, book, then let go of the spool.

Counterparts: `siprec.recorder` owns recordings while they grow, `siprec.library` once they are
finished. Everything here may be cut off at any point and done again: the spool and its sidecar stay
until the catalogue has the result.
"""

import asyncio
import glob
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from config.schema import Config
from media import spool
from media.renderer import Renderer
from media.spec import MediaError, Rendered, RenderedStream, StreamReport
from siprec import conversion
from siprec.conversion import Converter
from siprec.feed import EventFeed, FeedEvent
from siprec.paused import MEMORY
from siprec.session import ConversionFailed
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
WRITTEN_S = 1.0
"""How long a command waits for a sidecar."""
NOTES_INTERVAL_S = 0.1
"""How long sidecars are collected: threads cost more than files."""

Spawn = Callable[[str, Coroutine[Any, Any, None]], None]
"""Runs a coroutine in the background, by name; its failure is logged and ends nothing else."""


class Archive:
    """Owner of recordings from their end until their files are made."""

    def __init__(
        self,
        config: Config,
        renderer: Renderer,
        catalog: Catalog,
        writer: CatalogWriter,
        blobs: BlobStore,
        feed: EventFeed,
        spawn: Spawn,
    ) -> None:
        self._config = config.render
        self._node = config.storage.node
        self._spool_folder = Path(config.storage.spool)
        self._renderer = renderer
        self._converter = Converter(config.render, self._spool_folder, renderer, blobs)
        self._catalog = catalog
        self._writer = writer
        self._blobs = blobs
        self._feed = feed
        self._spawn = spawn
        self._notes: dict[str, Recording] = {}
        self._noted = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._unwritten: set[str] = set()  # recordings whose sidecar the disk did not take
        self.unfinished: dict[str, Recording] = {}
        """Recordings that have ended and whose files are not made yet, in their newest state."""
        self._leaving = 0
        self._cut_off: set[str] = set()
        self.on_finished: Callable[[Recording], object] = lambda recording: None
        """Told of each recording once its files are made, or will never be."""
        self.on_recovered: Callable[[Recording], object] = lambda recording: None
        """Told of each recording that an earlier process did not end, once it is finished."""

    @property
    def is_idle(self) -> bool:
        """Every recording that ended is finished and booked, and its spool gone."""
        return not self.unfinished and not self._leaving

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
            waiting, self._waiting = self._waiting, []
            await asyncio.to_thread(self._write_sidecars, notes)
            for each in waiting:
                if not each.done():
                    each.set_result(None)
            await asyncio.sleep(NOTES_INTERVAL_S)

    async def written(self, recording_id: str) -> bool:
        """Whether what was noted of a recording so far is beside its spool.

        Waits for it, but for a disk that hangs no longer than a second.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._noted.set()
        try:
            await asyncio.wait_for(done, WRITTEN_S)
        except TimeoutError:
            logger.error("sidecars_not_written")
            return False
        return recording_id not in self._unwritten

    def _write_sidecars(self, notes: dict[str, Recording]) -> None:
        for recording in notes.values():
            try:
                sidecar.write(self._spool_folder, recording)
                self._unwritten.discard(recording.id)
            except StorageError as error:
                self._unwritten.add(recording.id)
                logger.error("sidecar_failed", recording=recording.id, error=str(error))

    def take(self, recording: Recording) -> None:
        """Own a recording that has ended, in this its newest state. Never waits.

        For the one whose media process has still to report, and for whoever changes an unfinished
        one: what comes out of rendering is laid over what was last taken.
        """
        self.note(recording)
        # The writer knows the number that the catalogue gave it, whoever hands it over may not.
        self.unfinished[recording.id] = self._writer.get_pending(recording.id) or recording

    def finish(self, recording: Recording, reports: list[StreamReport]) -> None:
        """Make the files of an ended recording; returns at once, work goes on in the background."""
        recording = self.unfinished.get(recording.id, recording)
        received = not reports or any(report.packets for report in reports)
        if not received and not recording.pauses:
            recording = replace(recording, reason="no_media")
        self.take(recording)
        self._spawn(f"finish {recording.id}", self._finish(recording.id))

    async def _finish(self, recording_id: str) -> None:
        try:
            for delay in (*RETRY_S, None):
                try:
                    await self._make_files(recording_id)
                    break
                except (MediaError, StorageUnavailable) as error:
                    self._finish_failed(recording_id, error, delay)
                await asyncio.sleep(delay or 0)
            else:
                return
        finally:
            self.unfinished.pop(recording_id, None)
        await self._let_go(recording_id)

    def _finish_failed(self, recording_id: str, error: Exception, delay: int | None) -> None:
        recording = self.unfinished[recording_id]
        logger.error(
            "finish_failed",
            recording=recording.id,
            call_id=recording.call_id,
            error=str(error),
            retry_s=delay,
        )
        if delay is None:
            self._book(replace(recording, status="failed", reason="render_failed"))

    async def _make_files(self, recording_id: str) -> None:
        recording = self.unfinished[recording_id]
        source = spool.path_of(self._spool_folder, recording_id)
        order = [stream.stream_id for stream in sorted(recording.streams, key=_channel)]
        rendered = await self._renderer.render(source, self._spool_folder, recording_id, order)
        files = await asyncio.to_thread(self._store, recording, rendered)
        if self._config.mp3 == "at_end":
            files += await self._mp3(replace(recording, files=files))
        self._book(replace(_with_result(self.unfinished[recording_id], rendered), files=files))

    async def _let_go(self, recording_id: str) -> None:
        """Once the catalogue has the result the spool is not needed any more."""
        self._leaving += 1
        try:
            await self._writer.stored(recording_id)
            self._notes.pop(recording_id, None)
            source = spool.path_of(self._spool_folder, recording_id)
            await asyncio.to_thread(self._forget_spool, source, recording_id)
        finally:
            self._leaving -= 1

    async def _mp3(self, recording: Recording) -> tuple[FileRecord, ...]:
        """The MP3; none if it fails: whoever asks for it later has it tried again."""
        try:
            return (await self._converter.mp3(recording),)
        except ConversionFailed as error:
            logger.error("conversion_failed", recording=recording.id, error=str(error))
            return ()

    def _store(self, recording: Recording, rendered: Rendered) -> tuple[FileRecord, ...]:
        wav = conversion.put(self._blobs, recording, rendered.wav)
        peaks = Path(rendered.peaks_path)
        size, digest = peaks.stat().st_size, spool.sha256_of(peaks)
        key = conversion.key_of(recording, "peaks.json")
        self._blobs.put(key, peaks)
        return wav, FileRecord("peaks", key, size, digest)

    def _forget_spool(self, source: Path, recording_id: str) -> None:
        source.unlink(missing_ok=True)
        sidecar.remove(self._spool_folder, recording_id)
        self._unwritten.discard(recording_id)

    def forget(self, recording_id: str) -> None:
        """Remove all that is left of a recording beside the spools: it is being deleted.

        Blocks; for a worker thread. Raises StorageUnavailable.
        """
        try:
            for path in self._spool_folder.glob(f"{glob.escape(recording_id)}.*"):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"{self._spool_folder}: {error.strerror or error}") from error

    def _book(self, recording: Recording) -> None:
        """Have the final state stored; from here on the recording is the library's."""
        self._writer.put(recording)
        self.unfinished.pop(recording.id, None)
        self.on_finished(recording)
        if recording.id in self._cut_off:
            self._cut_off.discard(recording.id)
            self.on_recovered(recording)
        self._feed.publish(
            FeedEvent(
                f"recording.{recording.status}",
                datetime.now(UTC),
                recording.session_id,
                recording.id,
                recording.call_id,
                reason=recording.reason,
                account=recording.account,
                route=recording.route,
            )
        )
        logger.info(
            "recording_finished",
            recording=recording.id,
            session=recording.session_id,
            call_id=recording.call_id,
            status=recording.status,
            reason=recording.reason,
            duration_ms=recording.duration_ms,
        )

    async def leftovers(self) -> list[Recording]:
        """Recordings an earlier process did not finish, as far as spools and catalogue tell."""
        found = await asyncio.to_thread(self._leftovers_on_disk)
        for recording_id in [*found]:
            if await self._is_booked(recording_id):
                source = spool.path_of(self._spool_folder, recording_id)
                await asyncio.to_thread(self._forget_spool, source, recording_id)
                del found[recording_id]
        try:
            booked = {row.id: row for row in await self._catalog.unfinished(self._node)}
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
        self._cut_off |= {each.id for each in leftovers if each.ended_at is None}
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
    if "not_recorded" in recording.warnings:
        # No port was there for some of it, and the call went on as agreed (`siprec.platforms`).
        is_silent = "no_media" in rendered.warnings
        return ("failed", "no_media") if is_silent else ("partial", "not_recorded")
    if "packets_dropped" in rendered.warnings:
        return "partial", "enospc"
    if "spool_truncated" in rendered.warnings:
        return "partial", "truncated"
    return "complete", ""


def _merge_streams(
    known: tuple[StreamRecord, ...], rendered: tuple[RenderedStream, ...]
) -> tuple[StreamRecord, ...]:
    """What was received of each stream, with what was known of it before."""
    before = {stream.stream_id: stream for stream in known}
    return tuple(
        replace(
            before.get(stream.stream_id) or StreamRecord(stream.stream_id, stream.label),
            label=stream.label,
            channel=stream.channel,
            encoding=stream.encoding,
            packets=stream.packets,
            lost=stream.lost,
            duplicates=stream.duplicates,
            gaps=tuple(Gap(gap.start_ms, gap.duration_ms) for gap in stream.gaps),
        )
        for stream in rendered
    )
