"""Library: stored recordings, as far as whoever asks may see them: find, fetch, change, delete.

Counterparts: `siprec.recorder` owns what is live, `siprec.archive` what has ended and whose files
are being made; what people change meanwhile is given to the owner, so that there is one newest
state. A change to a finished recording is in the catalogue when it is answered. Nothing here is
needed for a pause.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from config.schema import Config
from media.renderer import Renderer
from siprec import conversion, criteria, logbook
from siprec.archive import Archive, Spawn
from siprec.conversion import Conversions, Converter
from siprec.expiry import Expiry
from siprec.feed import EventFeed, FeedEvent, Subscription
from siprec.finder import Finder, Keep
from siprec.logbook import Changes, InvalidChange
from siprec.session import SYSTEM, Actor, ConversionTimeout, NotFinished
from storage import retention
from storage.blobs.base import BlobStore
from storage.catalog import Catalog
from storage.directory import Directory
from storage.records import (
    FileRecord,
    NameTaken,
    OnHold,
    Page,
    Recording,
    RecordingQuery,
    StorageError,
    StorageUnavailable,
    UnknownFile,
    UnknownRecording,
)
from storage.retention import RetentionPlan
from storage.writer import CatalogWriter

logger = structlog.get_logger(__name__)

Annotate = Callable[[str, Changes, Actor], Recording | None]
Edit = Callable[[Recording], Recording]
"""From the newest state of a recording to the one that is wanted; the same one: nothing to do."""


class Library:
    """Every method that takes an actor treats what they may not see as not there."""

    def __init__(
        self,
        config: Config,
        renderer: Renderer,
        archive: Archive,
        catalog: Catalog,
        writer: CatalogWriter,
        blobs: BlobStore,
        feed: EventFeed,
        directory: Directory,
        spawn: Spawn,
    ) -> None:
        self._node = config.storage.node
        self._archive = archive
        self._catalog = catalog
        self._writer = writer
        self._blobs = blobs
        self._feed = feed
        self._directory = directory
        self._finder = Finder(archive, catalog, writer, self)
        self._expiry = Expiry(config.retention, self)
        self._turns = WeakValueDictionary[str, asyncio.Lock]()
        self._naming = asyncio.Lock()
        converter = Converter(config.render, Path(config.storage.spool), renderer, blobs)
        self._conversions = Conversions(converter, self._book_mp3, spawn)
        self.annotate_live: Annotate = lambda recording_id, changes, actor: None
        """Changes an open recording; None if it is not open. Set to `Recorder.annotate`."""
        self.live: Callable[[str], Recording | None] = lambda recording_id: None
        """An open recording as of now; None if it is not open. Set to `Recorder.open_recording`."""
        self.open: Callable[[], Iterable[Recording]] = lambda: ()
        """Open recordings as of now. Set to `Recorder.open_recordings`."""

    # find and fetch

    async def get(self, recording_id: str, actor: Actor = SYSTEM) -> Recording:
        """The newest state of a recording. Raises UnknownRecording, StorageUnavailable."""
        found = await self._finder.get(recording_id)
        if not actor.sees(found.account, found.route):
            raise UnknownRecording(recording_id)
        return found

    async def find(self, query: RecordingQuery, actor: Actor = SYSTEM) -> Page:
        """Recordings as of now; see `Catalog.find`.

        Raises InvalidQuery also for custom data and extension data that the directory does not
        know as searchable.
        """
        narrowed = criteria.narrowed(query, actor, self._directory.entries)
        page = await self._catalog.find(narrowed)
        return Page(tuple(map(self._finder.as_of_now, page.items)), page.next)

    async def count(self, query: RecordingQuery, actor: Actor = SYSTEM) -> int:
        """How many recordings the catalogue has that match. Raises InvalidQuery, as `find` does."""
        narrowed = criteria.narrowed(query, actor, self._directory.entries)
        return await self._catalog.count_of(narrowed)

    async def match(
        self, query: RecordingQuery, actor: Actor = SYSTEM, keep: Keep = lambda row: True
    ) -> list[Recording]:
        """Up to `query.limit` recordings that match and that `keep` keeps, wherever they are.

        Each once and in its newest state: open ones first, and the oldest first. The limit may be
        any from 1; the query's cursor and order do not count. Raises InvalidQuery, as `find` does,
        StorageUnavailable.
        """
        narrowed = criteria.narrowed(query, actor, self._directory.entries)
        return await self._finder.match(narrowed, keep)

    async def segment(self, session_id: str, segment: int) -> Recording:
        """The recording with this place in a call. Raises UnknownRecording, StorageUnavailable."""
        return await self._finder.segment(session_id, segment)

    async def booked(self, recording_id: str) -> Recording:
        """A recording, with its number, once the catalogue has what is its newest state now.

        Raises UnknownRecording, StorageUnavailable after two seconds, StorageError if it is unfit.
        """
        return await self._finder.booked(recording_id)

    async def finished(self, recording_id: str, actor: Actor = SYSTEM) -> Recording:
        """The recording once its files are made.

        Raises UnknownRecording, NotFinished (it is still open), ConversionTimeout (the work goes
        on), StorageUnavailable.
        """
        until = asyncio.get_running_loop().time() + conversion.LIMIT_S
        with self._feed.subscribe() as events:
            while not (row := await self.get(recording_id, actor)).is_finished:
                if row.status == "recording":
                    raise NotFinished(f"recording {recording_id} is {row.status}")
                try:
                    async with asyncio.timeout_at(until):
                        await _news(events, recording_id)
                except TimeoutError as error:
                    raise ConversionTimeout(f"recording {recording_id} is {row.status}") from error
            return row

    async def free_name(self, filename: str, started_at: datetime, recording_id: str = "") -> str:
        """`filename`, or the first of `name-1.wav`, `name-2.wav`, … that is free in its folder.

        Free is what no other recording that began in the same minute bears, whatever its case. At
        most 200 characters; not held for whoever asks. A catalogue that is away has no names.
        """
        return await self._finder.free_name(filename, started_at, recording_id)

    # change

    async def update(self, recording_id: str, changes: Changes, actor: Actor = SYSTEM) -> Recording:
        """Change what people may change, live or stored; returns it as it is then.

        Raises UnknownRecording, InvalidChange, NameTaken, StorageUnavailable.
        """
        async with self._turn(recording_id):
            row = await self.get(recording_id, actor)
            self._check_changes(row, changes)
            if changes.filename is None:
                return await self._annotate(row, changes, actor)
            async with self._naming:
                await self._check_name(row, changes.filename)
                return await self._annotate(row, changes, actor)

    async def _annotate(self, row: Recording, changes: Changes, actor: Actor) -> Recording:
        if live := self.annotate_live(row.id, changes, actor):
            return self._finder.numbered(live)
        now = datetime.now(UTC)
        found = await self._change(row.id, lambda row: logbook.changed(row, changes, now, actor))
        self._publish("recording.changed", found, actor.name)
        return self._finder.numbered(found)

    async def noted(self, recording_id: str, action: str, actor: Actor) -> None:
        """Put into the history of a recording that has ended what somebody did with it."""
        now = datetime.now(UTC)
        async with self._turn(recording_id):
            await self._change(
                recording_id, lambda row: logbook.audited(row, now, actor, action, "")
            )

    def _check_changes(self, row: Recording, changes: Changes) -> None:
        """Raises InvalidChange for what the directory or the state of the recording forbids."""
        if row.deleting:
            raise InvalidChange("the recording is being deleted")
        if changes.filename is not None and row.status == "recording":
            raise InvalidChange("filename: a recording keeps its name until it has ended")
        for name in changes.custom:
            known = self._directory.entries.custom_fields.get(name)
            if known is None or (known.accounts and row.account not in known.accounts):
                raise InvalidChange(f"custom: {name} is not defined for account {row.account}")

    async def _check_name(self, row: Recording, filename: str) -> None:
        """Raises NameTaken if another recording of the same folder is called so."""
        name = logbook.wav_name(filename)
        if await self._finder.is_taken(name, row.started_at, row.id):
            folder = logbook.directory_of(row)
            raise NameTaken(f"filename: {folder} has a recording {name} already")

    def _turn(self, recording_id: str) -> asyncio.Lock:
        """Held by whoever changes or deletes a recording that has ended; gone when nobody does."""
        return self._turns.setdefault(recording_id, asyncio.Lock())

    async def _change(self, recording_id: str, edit: Edit) -> Recording:
        """Change the newest state of a recording that has ended; for the holder of its turn.

        Raises UnknownRecording, StorageUnavailable, and what `edit` raises.
        """
        if newest := self._archive.unfinished.get(recording_id):
            wanted = edit(newest)
            if wanted is not newest:
                self._archive.take(wanted)
            return wanted
        if known := self._writer.get_pending(recording_id):
            wanted = _edited(known, edit)
            if wanted is not known:
                self._writer.put(wanted)
            return await self._finder.booked(recording_id)
        return await self._catalog.change(recording_id, lambda row: _edited(row, edit))

    # convert

    async def mp3(self, recording_id: str, actor: Actor = SYSTEM) -> Recording:
        """The recording with an MP3 among its files, made now if it is the first request.

        Raises NotFinished, UnknownRecording, UnknownFile (it has no audio, or is being deleted),
        StorageUnavailable, ConversionFailed, ConversionTimeout, ConversionBusy.
        """
        row = await self.get(recording_id, actor)
        formats = {file.format for file in row.files}
        if not row.is_finished:
            raise NotFinished(f"recording {recording_id} is {row.status}")
        if row.deleting or "wav" not in formats:
            raise UnknownFile(f"recording {recording_id} has no wav file")
        if "mp3" in formats:
            return row
        return await self._conversions.made(row, actor.name)

    async def _book_mp3(self, row: Recording, file: FileRecord) -> Recording:
        """Add a file that was made meanwhile; it goes again if the recording has gone."""
        try:
            async with self._turn(row.id):
                return await self._change(row.id, lambda newest: _with_file(newest, file))
        except (UnknownRecording, UnknownFile):
            await asyncio.to_thread(self._blobs.delete, file.key)
            raise

    # delete

    async def delete(self, recording_id: str, actor: Actor = SYSTEM, reason: str = "") -> None:
        """Delete a finished recording: marked first, then its files, then its row.

        Cut off in between, `resume` goes on. Raises NotFinished, UnknownRecording, OnHold,
        StorageUnavailable.
        """
        async with self._turn(recording_id):
            row = await self.get(recording_id, actor)
            if not row.is_finished:
                raise NotFinished(f"recording {recording_id} is {row.status}")
            if row.hold:
                await self._change(recording_id, lambda row: _refused(row, actor))
                raise OnHold(f"recording {recording_id} is held")
            await self._delete(recording_id, actor, reason)

    async def _delete(self, recording_id: str, actor: Actor, reason: str = "") -> None:
        """For the holder of its turn."""
        row = await self._change(recording_id, lambda row: _marked(row, actor, reason))
        if row.node != self._node:
            return  # its files are there, and it looks for what is marked
        await asyncio.to_thread(self._erase, row)
        with suppress(UnknownRecording):  # another process was at it as well
            await self._catalog.delete(recording_id)
        logger.warning("recording_deleted", recording=recording_id, actor=actor.name, reason=reason)
        self._publish("recording.deleted", row, actor.name, reason)

    def _erase(self, row: Recording) -> None:
        """Remove the files of a recording, also those that a crash kept from being booked."""
        files = (*row.files, *(each.file for each in row.supplemental_files))
        for key in {*(file.key for file in files), conversion.key_of(row, "mp3")}:
            self._blobs.delete(key)
        self._archive.forget(row.id)

    async def resume(self) -> None:
        """Finish deletions that were cut off."""
        try:
            marked = await self._catalog.deleting(self._node)
        except StorageUnavailable as error:
            logger.error("deletions_unknown", error=str(error))
            return
        for row in marked:
            try:
                async with self._turn(row.id):
                    await self._delete(row.id, SYSTEM)
            except UnknownRecording:
                continue
            except StorageError as error:
                logger.error("deletion_failed", recording=row.id, error=str(error))

    # retention

    async def plan_retention(self, now: datetime | None = None) -> RetentionPlan:
        """What is due now. Raises StorageUnavailable."""
        entries = self._directory.entries
        now = now or datetime.now(UTC)
        return await retention.plan(self._catalog, entries, now, self._node)

    async def retire(self, plan: RetentionPlan) -> int:
        """Delete what a plan names, as far as it is still due; how many.

        Others have their turn after each for as long as it took. Raises StorageUnavailable.
        """
        return await self._expiry.retire(plan)

    async def keep_retention(self) -> None:
        """Look for what is due every now and then; runs for the life of the process."""
        await self._expiry.keep()

    async def expire(self, recording_id: str, before: datetime) -> bool:
        """Delete a recording that ended before then, if the rule of now says the same.

        Raises StorageUnavailable.
        """
        async with self._turn(recording_id):
            try:
                row = await self.get(recording_id)
            except UnknownRecording:
                return False
            entries, now = self._directory.entries, datetime.now(UTC)
            if not retention.is_due(row, entries, now) or (row.ended_at or now) >= before:
                return False
            await self._delete(recording_id, SYSTEM, "retention")
            return True

    def _publish(self, kind: str, recording: Recording, actor: str, reason: str = "") -> None:
        self._feed.publish(
            FeedEvent(
                kind,
                datetime.now(UTC),
                recording.session_id,
                recording.id,
                recording.call_id,
                actor,
                reason or recording.reason,
                recording.account,
                recording.route,
            )
        )


async def _news(events: Subscription, recording_id: str) -> None:
    """Return once something happened to the recording, or may have."""
    async for event in events:
        if event.recording_id == recording_id or events.missed:
            events.missed = 0
            return


def _edited(row: Recording, edit: Edit) -> Recording:
    """Raises StorageUnavailable while nobody owns the recording, and what `edit` raises."""
    if not row.is_finished:
        raise StorageUnavailable(f"recording {row.id} is just being finished")
    return edit(row)


def _with_file(row: Recording, file: FileRecord) -> Recording:
    if row.deleting:
        raise UnknownFile(f"recording {row.id} is being deleted")
    others = (other for other in row.files if other.format != file.format)
    return replace(row, files=(*others, file))


def _marked(row: Recording, actor: Actor, reason: str) -> Recording:
    """`row` on its way out. Raises OnHold."""
    if row.hold:
        raise OnHold(f"recording {row.id} is held")
    if row.deleting:
        return row
    now = datetime.now(UTC)
    return logbook.audited(replace(row, deleting=True), now, actor, "delete", reason)


def _refused(row: Recording, actor: Actor) -> Recording:
    """`row` with an entry that somebody tried to delete it; not one for each time they ask."""
    last = row.history[-1] if row.history else None
    if last and (last.action, last.actor) == ("delete refused", actor.name):
        return row
    return logbook.audited(row, datetime.now(UTC), actor, "delete refused", "hold")
