"""Commands to live calls: start, stop, pause, resume, and the split of later releases."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from api.dialect import Context
from api.oracle_face import codes, wire
from api.oracle_face.asking import Ask
from api.oracle_face.codes import Refusal
from api.oracle_face.criteria import Selection
from api.oracle_face.numbers import TemporaryIds
from api.oracle_face.recordings import Recordings, Several, done
from api.oracle_face.updates import Update
from api.oracle_face.wire import Tree
from siprec.criteria import predicate
from siprec.session import (
    Action,
    ChannelsInUse,
    InvalidTransition,
    LiveSession,
    NotRecordable,
    State,
    Terms,
    UnknownSession,
)
from storage.records import (
    Recording,
    StorageError,
    StorageUnavailable,
    UnknownRecording,
)

logger = structlog.get_logger(__name__)

_NOT_STARTED = "Recording is started by another session or not started, cannot {} recording."
WRONG_STATE = {
    (Action.START, State.RECORDING): "Recording has already started on this channel.",
    (Action.START, State.PAUSED): "Recording has already started on this channel.",
    (Action.PAUSE, State.PAUSED): "Recording has already been paused, cannot pause recording.",
    (Action.RESUME, State.RECORDING): "Recording is not paused, cannot unpause recording.",
    (Action.SPLIT, State.PAUSED): "Recording is paused, cannot split recording.",
}
"""What is said of a command that the state does not allow; of others, that nothing is recorded."""
_OPENING = {Action.START, Action.SPLIT}
_VERBS = {Action.PAUSE: "pause", Action.RESUME: "unpause", Action.SPLIT: "split"}

NO_RECORDING_ROUTE = "Route is not RecordAndSave application type"
NO_ROUTE_FOR = (
    "Couldn't find route information for ANI {} DNIS {} or route is not RecordAndSave "
    "application type"
)
NOT_INDEXED = "Error Indexing for RecordEnd - {}"
AWAY = "the database does not answer now"
UNFIT = "the database does not take the recording"


class Control:
    """What the commands to live calls do."""

    def __init__(self, context: Context, ids: TemporaryIds, recordings: Recordings) -> None:
        self._services = context.services
        self._config = context.config.face
        self._ids = ids
        self._recordings = recordings

    async def carry_out(self, ask: Ask) -> Tree:
        """Do what is asked to the one live call that matches, and what the body says besides.

        Nothing is done unless all that is asked can be. Raises Refusal, Several and what the core
        raises.
        """
        action = Action(ask.verb)
        selection, update = self._recordings.selection(ask), self._recordings.wanted(ask)
        ask.need("control")
        if not update.is_empty:
            ask.need("edit")
        self._check_selection(selection)
        if update.filename is not None and action not in {Action.START, Action.STOP}:
            raise Refusal(codes.STILL_RECORDING)
        live = self._one(ask, selection)
        terms = await self._terms(action, live, selection, update)
        row = await self._given(ask, action, live, selection, terms)
        if action is Action.STOP:
            return await self._stopped(ask, row, update)
        rest = replace(update, filename=None, asked_filename="")  # a start has named its recording
        name = await self._recordings.change(ask.actor, row, rest)
        row = await self._services.library.get(row.id, ask.actor)
        if row.status != "recording":  # another command has ended it: show the id it keeps
            row = await self._services.library.booked(row.id)
        return await self._recordings.shown(ask, [row], done(update, name))

    async def _given(
        self, ask: Ask, action: Action, live: LiveSession, selection: Selection, terms: Terms
    ) -> Recording:
        """Give a command; the recording it was about, whatever another does to that meanwhile."""
        before, segment = live.recording, live.segments + (action in _OPENING)
        try:
            await self._services.recorder.control(live.id, action, ask.actor, terms)
        except InvalidTransition as error:
            raise wrong_state(error) from None
        except NotRecordable:
            raise _no_route(selection) from None
        except ChannelsInUse:
            raise Refusal(codes.RSS_FAILED) from None
        except UnknownSession:
            raise _nobody(selection) from None
        for row in (before, live.recording):
            if row and row.segment == segment:
                return row
        return await self._services.library.segment(live.id, segment)

    async def _stopped(self, ask: Ask, row: Recording, update: Update) -> Tree:
        """A stopped recording, once it has the id it keeps."""
        try:
            name = await self._recordings.change(ask.actor, row, update)
            stored = await self._services.library.booked(row.id)
        except UnknownRecording:
            raise Refusal(codes.NOT_IN_INDEX) from None
        except StorageError as error:
            logger.error("stop_not_indexed", recording=row.id, error=str(error))
            why = AWAY if isinstance(error, StorageUnavailable) else UNFIT
            raise Refusal(codes.NOT_INDEXED, NOT_INDEXED.format(why)) from None
        renamed_from = row.filename if update.filename is not None else ""
        return await self._recordings.shown(ask, [stored], done(update, name), renamed_from)

    async def _terms(
        self, action: Action, live: LiveSession, selection: Selection, update: Update
    ) -> Terms:
        terms = Terms(is_strict=True)
        if action is Action.PAUSE:
            return replace(terms, fill="silence" if selection.fill_with_silence else "cut")
        if action is not Action.START:
            return terms
        has_route = live.decision.route in self._services.directory.entries.routes
        if live.recording is None and not has_route:
            self._services.recorder.journal.fail(action, live)
            raise Refusal(codes.NO_ROUTE)
        name = ""
        if update.filename is not None:
            name = await self._services.library.free_name(update.filename, datetime.now(UTC))
        return replace(terms, filename=name, profile=selection.codec_profile)

    def _check_selection(self, selection: Selection) -> None:
        if selection.is_empty:
            raise Refusal(codes.PARAMETER_MISSING)
        if self._config.require_ani_dnis:
            for name, code in (("ani", codes.ANI_MISSING), ("dnis", codes.DNIS_MISSING)):
                if name not in selection.named:
                    raise Refusal(code)

    def _one(self, ask: Ask, selection: Selection) -> LiveSession:
        """The one live call that matches, recorded or not. Raises Refusal, Several."""
        found = [*self._matching(ask, selection)]
        if not found:
            raise _nobody(selection)
        if len(found) > 1:
            rows = [self._services.recorder.outline(live) for live in found]
            numbers = [self._ids.of(row.id) if row.id else 0 for row in rows]
            channels = [channel_number(live) for live in found]
            listed = [*map(wire.match, rows, numbers, channels)]
            raise Several(wire.matches(listed, selection.max_list_length))
        return found[0]

    def _matching(self, ask: Ask, selection: Selection) -> Iterator[LiveSession]:
        """Oldest first."""
        recorder, meets = self._services.recorder, predicate(selection.query)
        for live in reversed(recorder.sessions(ask.actor)):
            row = live.recording or recorder.outline(live)
            is_there = selection.rss_id in {None, row.node}
            is_it = selection.channel_number in {None, channel_number(live)}
            if is_there and is_it and meets(row):
                yield live


def channel_number(live: LiveSession) -> int:
    """The channel of a live call: the RTP port of its first stream, which no other call has."""
    return next((stream.port.rtp_port for stream in live.streams if not stream.closed), 0)


def wrong_state(error: InvalidTransition) -> Refusal:
    """What is said of a command that the state of the call does not allow."""
    if error.action is Action.STOP:
        return Refusal(codes.NOT_STARTED)
    default = _NOT_STARTED.format(_VERBS.get(error.action, str(error.action)))
    return Refusal(codes.WRONG_STATE, WRONG_STATE.get((error.action, error.state), default))


def _nobody(selection: Selection) -> Refusal:
    return Refusal(codes.NO_UCID if selection.only_ids else codes.NO_RECORDING)


def _no_route(selection: Selection) -> Refusal:
    query = selection.query
    if selection.ani_dnis:
        return Refusal(codes.NO_ROUTE, NO_ROUTE_FOR.format(query.ani, query.dnis))
    return Refusal(codes.NO_ROUTE, NO_RECORDING_ROUTE)
