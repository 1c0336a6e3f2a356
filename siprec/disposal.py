"""Disposal: deletes the recordings of a call that somebody discarded, once the call has ended.

What is to go bears `Recording.discard` from the moment that is decided, in its sidecar and in the
catalogue, so that no crash keeps it. What is on hold stays.
"""

from collections.abc import Callable

import structlog

from siprec.archive import Archive, Spawn
from siprec.library import Library
from siprec.logbook import Changes
from siprec.session import SYSTEM, Actor, ControlFailed, LiveSession, NotFinished
from storage.catalog import LIMIT, Catalog
from storage.records import (
    OnHold,
    Recording,
    RecordingQuery,
    StorageError,
    StorageUnavailable,
    UnknownRecording,
)

logger = structlog.get_logger(__name__)

REASON = "discarded"


class Disposal:
    """Decides nothing: it carries out what is written in the recordings."""

    def __init__(
        self,
        library: Library,
        archive: Archive,
        catalog: Catalog,
        is_live: Callable[[str], bool],
        node: int,
        spawn: Spawn,
    ) -> None:
        """`is_live`: whether a session with this id goes on."""
        self._library = library
        self._archive = archive
        self._catalog = catalog
        self._is_live = is_live
        self._node = node
        self._spawn = spawn

    def settle(self, row: Recording) -> None:
        """A recording is finished: delete it if it is to go and its call has ended. Never waits."""
        if row.discard and not self._is_live(row.session_id):
            self._spawn(f"discard {row.id}", self._delete(row.id))

    def settle_session(self, live: LiveSession) -> None:
        """A call has ended: delete what was finished before and is to go. Never waits."""
        if live.discards and live.segments:
            self._spawn(f"discard {live.id}", self._delete_finished(live.id))

    async def decide(self, live: LiveSession, actor: Actor) -> None:
        """Write down for earlier recordings of a live session whether they are to go.

        The open one says it already. Raises ControlFailed if disk or database did not take it: then
        it holds as long as this process does.
        """
        opened = live.recording
        is_safe = opened is None or await self._archive.written(opened.id)
        if live.segments > (opened is not None):
            is_safe = await self._note(live, actor) and is_safe
        if not is_safe:
            raise ControlFailed("what becomes of the recordings could not be written down")

    async def _note(self, live: LiveSession, actor: Actor) -> bool:
        """Write it into the earlier recordings; whether all have it."""
        rows, missed = await self._of(live.id), 0
        for row in rows or ():
            if row.id == (live.recording.id if live.recording else ""):
                continue
            try:
                # Somebody may decide otherwise at any moment: the last word counts for all rows.
                await self._library.update(row.id, Changes(discard=live.discards), actor)
            except UnknownRecording:
                continue  # gone already
            except StorageError as error:
                missed += 1
                logger.error("discard_not_noted", recording=row.id, error=str(error))
        return rows is not None and not missed

    async def resume(self) -> None:
        """Delete what an earlier process should have."""
        try:
            left = await self._catalog.discarded(self._node)
        except StorageUnavailable as error:
            logger.error("discarded_unknown", error=str(error))
            return
        for row in left:
            await self._delete(row.id)

    async def _delete_finished(self, session_id: str) -> None:
        for row in await self._of(session_id) or ():
            if row.discard and row.is_finished:
                await self._delete(row.id)

    async def _of(self, session_id: str) -> list[Recording] | None:
        """The recordings of a call; None if the database does not answer."""
        try:
            return await self._library.match(RecordingQuery(session_id=session_id, limit=LIMIT))
        except StorageUnavailable as error:
            logger.error("discarded_unknown", session=session_id, error=str(error))
            return None

    async def _delete(self, recording_id: str) -> None:
        try:
            await self._library.delete(recording_id, SYSTEM, REASON)
        except (UnknownRecording, NotFinished):
            return  # gone already, or `settle` is told of it
        except OnHold:
            logger.warning("discard_held", recording=recording_id)
        except StorageError as error:
            logger.error("discard_failed", recording=recording_id, error=str(error))
