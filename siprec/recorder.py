"""The core: owns the live sessions and is the only writer of their state.

SIP comes in through `begin`, `update`, `confirm` and `end`; HTTP through `find` and `control`; the
process through `paused_calls` and `accepting`. Everything runs on the event loop. An offer is
answered without waiting for disk, database or media process; a command waits for the media process
and for nothing else. Its counterpart for what has ended is `siprec.archive`.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from config.schema import Config
from media.engine import MediaEngine
from media.spec import MediaUnavailable, StreamReport
from siprec import logbook, negotiation, policy, streams
from siprec.archive import Archive, Spawn
from siprec.feed import EventFeed, FeedEvent
from siprec.metadata import Model, merge
from siprec.negotiation import NotAcceptable, Plan
from siprec.paused import PausedCalls, keys_of
from siprec.sdp import SessionDescription
from siprec.session import (
    GOALS,
    SRC,
    SYSTEM,
    TRANSITIONS,
    Action,
    Actor,
    AlreadyInState,
    ControlFailed,
    InvalidTransition,
    LiveSession,
    Offer,
    ReceptionView,
    RecorderError,
    RecordingSession,
    Refused,
    State,
    UnknownSession,
)
from storage.records import Mark, Pause, Recording

logger = structlog.get_logger(__name__)

_EVENTS = {
    Action.START: "recording.started",
    Action.PAUSE: "recording.paused",
    Action.RESUME: "recording.resumed",
    Action.STOP: "recording.stopped",
    Action.SPLIT: "recording.started",
    Action.MARK: "recording.marked",
}


class Recorder:
    """All live sessions of this node."""

    def __init__(
        self,
        config: Config,
        engine: MediaEngine,
        archive: Archive,
        feed: EventFeed,
        spawn: Spawn,
    ) -> None:
        self._config = config
        self._engine = engine
        self._archive = archive
        self._feed = feed
        self._spawn = spawn
        self._dialogs: dict[str, RecordingSession] = {}
        self._sessions: dict[str, LiveSession] = {}
        self._in_flight: dict[str, asyncio.Future[bool]] = {}
        self.paused_calls = PausedCalls()
        """Calls that start paused because they were paused when they ended."""
        self.accepting = True
        """False while draining: offers are refused with 503."""
        engine.on_trouble = self._media_trouble

    # SIP

    def begin(self, offer: Offer) -> SessionDescription:
        """Take a new recording session and start recording; returns the SDP answer.

        Raises Refused with the SIP status to give: 403, 488 or 503.
        """
        if not self.accepting:
            raise Refused(503, "Draining", retry_after_s=streams.RETRY_AFTER_S)
        policy.decide(offer, self._config.sip.accept)
        if offer.sdp is None:
            raise Refused(488, "No session description", warning='399 siprecd "SDP offer needed"')
        plan = _plan(offer.sdp, None)
        model = _merged(Model(), offer, plan)
        keys = keys_of(offer.call_id, model.session_ids())
        live = _live_session(offer, self.paused_calls.holds(keys, offer.received_at))
        live.recording = logbook.opened(live, offer.received_at)
        streams.align(self._engine, live, plan, _ns(offer.received_at))
        answer = streams.answer(live, plan, self._host(offer), None)
        session = RecordingSession(offer.dialog_id, offer.call_id, live, plan, answer, model)
        self._dialogs[offer.dialog_id] = session
        self._sessions[live.id] = live
        self._refresh(session, offer.warnings)
        first = Action.PAUSE if live.state is State.PAUSED else Action.START
        self._audit(live, SYSTEM if first is Action.PAUSE else SRC, first)
        self._announce("session.started", live)
        self._announce(_EVENTS[first], live)
        return answer

    def update(self, offer: Offer) -> SessionDescription:
        """Apply a re-INVITE or UPDATE; returns the SDP to answer with.

        An offer without SDP changes metadata only and gets the standing answer back. Raises
        Refused, and then nothing has changed.
        """
        session = self._dialogs[offer.dialog_id]
        plan = _plan(offer.sdp, session.plan) if offer.sdp else session.plan
        model = _merged(session.metadata, offer, plan)
        if offer.sdp:
            streams.align(self._engine, session.live, plan, _ns(offer.received_at))
            session.answer = streams.answer(session.live, plan, self._host(offer), session.answer)
            session.plan = plan
        session.metadata = model
        self._refresh(session, offer.warnings)
        self._announce("session.updated", session.live)
        return session.answer

    def confirm(self, dialog_id: str) -> None:
        """The client acknowledged the answer."""
        if session := self._dialogs.get(dialog_id):
            session.confirmed = True

    def end(self, dialog_id: str, reason: str, last: Offer | None = None) -> None:
        """The dialog is over: finish what it recorded. Returns at once.

        `last` is the closing BYE as an offer, whose metadata still counts.
        """
        session = self._dialogs.pop(dialog_id, None)
        if session is None:
            return
        live = session.live
        at_ns = time.time_ns()
        if last:
            session.metadata = _merged(session.metadata, last, session.plan)
            self._refresh(session, last.warnings)
        del self._sessions[live.id]
        if live.state is State.PAUSED:
            keys = keys_of(live.call_id, session.metadata.session_ids())
            self.paused_calls.add(keys, _utc(at_ns))
        if live.recording:
            self._audit(live, SRC, Action.STOP, reason)
        self._announce("session.ended", live, reason=reason)
        recording = self._close(live, _utc(at_ns))
        live.state = State.STOPPED
        self._spawn(f"end {live.id}", self._end(live, recording, at_ns))

    async def _end(self, live: LiveSession, recording: Recording | None, at_ns: int) -> None:
        try:
            reports = await self._engine.end(live.id, at_ns)
        except MediaUnavailable as error:
            logger.error("end_unconfirmed", session=live.id, error=str(error))
            reports = []
        if recording:
            self._archive.finish(recording, reports)

    # HTTP

    def sessions(self) -> list[LiveSession]:
        """All live sessions, newest first."""
        return [*reversed(self._sessions.values())]

    def find(self, session_id: str) -> LiveSession:
        """The live session with this id. Raises UnknownSession."""
        try:
            return self._sessions[session_id]
        except KeyError:
            raise UnknownSession(f"no live session {session_id}") from None

    async def control(
        self,
        session_id: str,
        action: Action,
        actor: Actor,
        *,
        fill: str = "silence",
        reason: str = "",
        text: str = "",
    ) -> LiveSession:
        """Start, pause, resume, stop, split or mark; returns once it is in force.

        It takes effect by packet arrival time as of now, and the state has changed before the first
        wait, so that of two simultaneous commands one is refused. Raises UnknownSession,
        InvalidTransition, AlreadyInState (after the media process has confirmed that state),
        ControlFailed.
        """
        live = self.find(session_id)
        next_state = TRANSITIONS.get((live.state, action))
        if next_state is None:
            raise await self._refusal(live, action)
        at_ns = time.time_ns()
        self._audit(live, actor, action, reason)
        ended = self._move(live, action, next_state, _utc(at_ns), fill, text)
        if live.recording and not live.recording.history:
            self._audit(live, actor, Action.START, reason)
        if action is not Action.MARK:
            await self._switch(live, at_ns, ended)
        self._announce(_EVENTS[action], live, actor.name, reason)
        logger.info("control", session=live.id, call_id=live.call_id, action=action, by=actor.name)
        return live

    async def reports(self, session_ids: Sequence[str]) -> dict[str, dict[str, ReceptionView]]:
        """Live packet figures by session and stream; empty if the media process is not there."""
        try:
            reports = await self._engine.reports(session_ids)
        except MediaUnavailable:
            return {}
        return {
            session_id: self._views(self._sessions[session_id], figures)
            for session_id, figures in reports.items()
            if session_id in self._sessions
        }

    async def get(self, recording_id: str) -> Recording:
        """See `Archive.get`."""
        return await self._archive.get(recording_id)

    async def mp3(self, recording_id: str) -> Recording:
        """See `Archive.mp3`."""
        return await self._archive.mp3(recording_id)

    async def delete(self, recording_id: str, actor: Actor) -> None:
        """See `Archive.delete`."""
        await self._archive.delete(recording_id, actor)

    # process

    def dialogs(self) -> list[str]:
        """Ids of all open dialogs."""
        return [*self._dialogs]

    def _host(self, offer: Offer) -> str:
        """The address to put into SDP: what is configured, or where the request came to."""
        bound = self._config.media.address
        here = offer.local_host if bound in {"0.0.0.0", "::"} else bound
        return self._config.sip.advertise or here

    def _refresh(self, session: RecordingSession, warnings: tuple[str, ...] = ()) -> None:
        """Carry metadata, streams and warnings into the session and its open recording."""
        live, model = session.live, session.metadata
        live.participants = logbook.participants(model)
        found = (*live.warnings, *warnings, *session.plan.warnings, *model.warnings)
        live.warnings = tuple(dict.fromkeys(found))
        if live.recording:
            live.recording = replace(
                live.recording,
                siprec_session_ids=model.session_ids(past=True),
                participants=logbook.participants(model, past=True),
                streams=logbook.streams(live, model),
            )
        self._save(live)

    def _save(self, live: LiveSession) -> None:
        if live.recording:
            live.recording = logbook.current(live, live.recording, datetime.now(UTC))
            self._archive.note(live.recording)

    def _move(
        self, live: LiveSession, action: Action, state: State, now: datetime, fill: str, text: str
    ) -> Recording | None:
        """Change the session's state; returns the recording this closes, if any."""
        ended = self._close(live, now) if action in {Action.STOP, Action.SPLIT} else None
        live.state = state
        if action is Action.PAUSE:
            live.pauses = (*live.pauses, Pause(now, None, fill))
        elif action is Action.RESUME:
            live.pauses = logbook.resumed(live.pauses, now)
            session = self._dialogs[live.dialog_id]
            self.paused_calls.discard(keys_of(live.call_id, session.metadata.session_ids()))
        elif action is Action.MARK:
            live.marks = (*live.marks, Mark(now, text))
        else:
            self._start(live, action, now)
        self._save(live)
        return ended

    def _start(self, live: LiveSession, action: Action, now: datetime) -> None:
        if action is not Action.STOP:
            live.recording = logbook.opened(live, now)
            self._refresh(self._dialogs[live.dialog_id])

    def _close(self, live: LiveSession, now: datetime) -> Recording | None:
        """Detach the open recording in its final shape before rendering."""
        if live.recording is None:
            return None
        recording = logbook.closed(live, live.recording, now)
        live.recording, live.pauses, live.marks = None, (), ()
        return recording

    async def _switch(self, live: LiveSession, at_ns: int, ended: Recording | None) -> None:
        confirmed = asyncio.get_running_loop().create_future()
        self._in_flight[live.id] = confirmed
        reports: list[StreamReport] = []
        try:
            reports = await self._engine.switch(live.id, streams.target(live), at_ns)
            confirmed.set_result(True)
        except MediaUnavailable as error:
            confirmed.set_result(False)
            logger.error("control_unconfirmed", session=live.id, error=str(error))
            raise ControlFailed("the media process did not confirm") from error
        finally:
            if self._in_flight.get(live.id) is confirmed:
                del self._in_flight[live.id]
            if ended:
                self._archive.finish(ended, reports)

    async def _refusal(self, live: LiveSession, action: Action) -> RecorderError:
        """Why `action` is not possible; being there already is said only once it is confirmed."""
        if GOALS.get(action) is not live.state:
            return InvalidTransition(action, live.state)
        confirmed = self._in_flight.get(live.id)
        if confirmed and not await asyncio.shield(confirmed):
            return ControlFailed("the media process did not confirm")
        return AlreadyInState(action, live.state)

    def _audit(self, live: LiveSession, actor: Actor, action: Action, reason: str = "") -> None:
        """Add to the history of the open recording, if there is one."""
        if live.recording:
            now = datetime.now(UTC)
            live.recording = logbook.audited(live.recording, now, actor, action, reason)
            self._save(live)

    def _announce(self, kind: str, live: LiveSession, actor: str = "", reason: str = "") -> None:
        recording_id = live.recording.id if live.recording else ""
        self._feed.publish(
            FeedEvent(kind, datetime.now(UTC), live.id, recording_id, live.call_id, actor, reason)
        )
        if kind.startswith("session."):
            logger.info(kind, session=live.id, call_id=live.call_id, recording=recording_id)

    def _views(
        self, live: LiveSession, figures: Sequence[StreamReport]
    ) -> dict[str, ReceptionView]:
        active = {stream.spec.stream_id: stream.spec.active for stream in live.streams}
        return {
            f.stream_id: ReceptionView(
                f.packets, f.lost, f.duplicates, f.jitter_ms, active.get(f.stream_id, False)
            )
            for f in figures
        }

    def _media_trouble(self, recording_id: str, code: str) -> None:
        for live in self._sessions.values():
            if live.recording and live.recording.id == recording_id:
                live.warnings = tuple(dict.fromkeys((*live.warnings, code)))
                self._save(live)
                self._announce("session.updated", live, reason=code)
        logger.error("media_trouble", recording=recording_id, code=code)


def _live_session(offer: Offer, paused: bool) -> LiveSession:
    live = LiveSession(
        secrets.token_hex(16),
        offer.dialog_id,
        offer.call_id,
        offer.received_at,
        State.PAUSED if paused else State.RECORDING,
        from_aor=offer.from_aor,
        to_aor=offer.to_aor,
    )
    if paused:
        live.pauses = (Pause(offer.received_at, None, "silence"),)
        live.warnings = ("paused_before_restart",)
    return live


def _utc(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / 1e9, UTC)


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1e6) * 1000


def _plan(sdp: SessionDescription, previous: Plan | None) -> Plan:
    try:
        return negotiation.plan(sdp, previous)
    except NotAcceptable as error:
        raise Refused(error.status, str(error), error.warning) from error


def _merged(model: Model, offer: Offer, plan: Plan) -> Model:
    if offer.metadata is None:
        return model
    return merge(model, offer.metadata, plan.labels, offer.received_at)
