"""The core: owns the live sessions and is the only writer of their state.

SIP comes in through `begin`, `update`, `confirm` and `end`; HTTP through `find`, `control` and
`annotate`; the process through `paused_calls` and `accepting`. Everything runs on the event loop.
An offer is answered without waiting for disk, database or media process; a command waits for the
media process and for notifications to be safe. Counterparts: `siprec.journal`, `siprec.archive`.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from config.schema import Config
from media.engine import MediaEngine
from media.spec import MediaUnavailable, StreamReport
from siprec import identity, logbook, policy, streams
from siprec.archive import Archive, Spawn
from siprec.feed import EventFeed
from siprec.journal import FEED, OCCURRENCES, Journal
from siprec.metadata import Model, merge
from siprec.negotiation import Plan
from siprec.occurrence import ENDED
from siprec.paused import PausedCalls, keys_of
from siprec.sdp import SessionDescription
from siprec.session import (
    GOALS,
    PLAIN,
    SRC,
    SYSTEM,
    TRANSITIONS,
    Action,
    Actor,
    AlreadyInState,
    ControlFailed,
    InvalidTransition,
    LiveSession,
    NotRecordable,
    Offer,
    ReceptionView,
    RecorderError,
    RecordingSession,
    Refused,
    State,
    Terms,
    UnknownSession,
)
from storage.directory import Directory
from storage.records import Mark, Pause, Recording

logger = structlog.get_logger(__name__)


class Recorder:
    """All live sessions of this node."""

    def __init__(
        self,
        config: Config,
        engine: MediaEngine,
        archive: Archive,
        directory: Directory,
        feed: EventFeed,
        spawn: Spawn,
    ) -> None:
        self._config = config
        self._engine = engine
        self._archive = archive
        self._directory = directory
        self._spawn = spawn
        self.journal = Journal(archive, feed, config)
        """What is written down and told of the sessions."""
        self._dialogs: dict[str, RecordingSession] = {}
        self._sessions: dict[str, LiveSession] = {}
        self._recorded: dict[str, LiveSession] = {}  # by the id of the open recording
        self._in_flight: dict[str, asyncio.Future[bool]] = {}
        self.paused_calls = PausedCalls()
        """Calls that start paused because they were paused when they ended."""
        self.accepting = True
        """False while draining."""
        engine.on_trouble = self._media_trouble

    # SIP

    def begin(self, offer: Offer) -> SessionDescription:
        """Take a new recording session and start recording; returns the SDP answer.

        Raises Refused with the SIP status to give: 403, 488 or 503.
        """
        if not self.accepting:
            raise Refused(503, "Draining", retry_after_s=streams.RETRY_AFTER_S)
        policy.admit(offer, self._config.sip.accept)
        if offer.sdp is None:
            raise Refused(488, "No session description", warning='399 siprecd "SDP offer needed"')
        plan = streams.planned(offer.sdp, None)
        model = _merged(Model(), offer, plan)
        live = self._live_session(offer, model)
        streams.align(self._engine, live, plan, _ns(offer.received_at))
        answer = streams.answer(live, plan, self._host(offer), None)
        session = RecordingSession(offer.dialog_id, offer.call_id, live, plan, answer, model, offer)
        self._dialogs[offer.dialog_id] = session
        self._sessions[live.id] = live
        if live.recording:
            self._recorded[live.recording.id] = live
        self.journal.refresh(session, offer.warnings)
        self._begun(live)
        return answer

    def _live_session(self, offer: Offer, model: Model) -> LiveSession:
        """The session of a new call, in the state its route and its past put it."""
        known = identity.identify(offer, model, self._config.sip.ucid_header)
        decision = policy.decide(self._directory.entries, offer, known, self._config.route)
        keys = keys_of(offer.call_id, model.session_ids())
        paused = self.paused_calls.holds(keys, offer.received_at)
        live = LiveSession.of(offer, known, decision, paused)
        if live.state is not State.IDLE:
            live.recording = logbook.opened(live, offer.received_at, self._config.storage.node)
            live.segments = 1
        return live

    def _begun(self, live: LiveSession) -> None:
        """Write down and tell how a session begins."""
        paused = live.state is State.PAUSED
        actions = (Action.START, Action.PAUSE) if paused else (Action.START,)
        self.journal.audit(live, SYSTEM if paused else SRC, actions[-1])
        self.journal.announce("session.started", live)
        for action in actions if live.recording else ():
            self.journal.announce(FEED[action], live)
            self.journal.tell(OCCURRENCES[action], live)

    def update(self, offer: Offer) -> SessionDescription:
        """Apply a re-INVITE or UPDATE; returns the SDP to answer with.

        An offer without SDP changes metadata only and gets the standing answer back. Raises
        Refused, and then nothing has changed.
        """
        session = self._dialogs[offer.dialog_id]
        plan = streams.planned(offer.sdp, session.plan) if offer.sdp else session.plan
        model = _merged(session.metadata, offer, plan)
        if offer.sdp:
            streams.align(self._engine, session.live, plan, _ns(offer.received_at))
            session.answer = streams.answer(session.live, plan, self._host(offer), session.answer)
            session.plan = plan
        session.metadata = model
        self.journal.refresh(session, offer.warnings)
        self.journal.announce("session.updated", session.live)
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
            self.journal.refresh(session, last.warnings)
        del self._sessions[live.id]
        if live.state is State.PAUSED:
            keys = keys_of(live.call_id, session.metadata.session_ids())
            self.paused_calls.add(keys, _utc(at_ns))
        self.journal.audit(live, SRC, Action.STOP, reason)
        self.journal.announce("session.ended", live, reason=reason)
        recording = self._close(live, _utc(at_ns))
        live.state = State.STOPPED
        if recording:
            self.journal.tell(ENDED, live, recording)
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

    def sessions(self, actor: Actor = SYSTEM) -> list[LiveSession]:
        """All live sessions that `actor` may see, newest first."""
        return [live for live in reversed(self._sessions.values()) if live.is_seen_by(actor)]

    def find(self, session_id: str, actor: Actor = SYSTEM) -> LiveSession:
        """The live session with this id. Raises UnknownSession, also if `actor` may not see it."""
        live = self._sessions.get(session_id)
        if live is None or not live.is_seen_by(actor):
            raise UnknownSession(f"no live session {session_id}")
        return live

    async def control(
        self,
        session_id: str,
        action: Action,
        actor: Actor,
        terms: Terms = PLAIN,
    ) -> LiveSession:
        """Start, pause, resume, stop, split or mark; returns once it is in force.

        It takes effect by packet arrival time as of now, and the state has changed before the first
        wait, so that of two simultaneous commands one is refused. Raises UnknownSession,
        NotRecordable, InvalidTransition, AlreadyInState (after the media process has confirmed that
        state), ControlFailed.
        """
        live = self.find(session_id, actor)
        next_state = TRANSITIONS.get((live.state, action))
        if next_state is None or (live.decision.record, action) == ("never", Action.START):
            raise await self._refusal(live, action, terms)
        at_ns = time.time_ns()
        since_ns = 0
        if terms.prebuffer and action is Action.START:
            since_ns = min(at_ns, _ns(live.held_since(_utc(at_ns))))
        self.journal.audit(live, actor, action, terms.reason)
        ended = self._move(live, action, next_state, at_ns, since_ns, terms)
        if live.recording and not live.recording.history:
            self.journal.audit(live, actor, Action.START, terms.reason)
        if action is not Action.MARK:
            await self._switch(live, action, at_ns, since_ns, ended)
        self.journal.announce(FEED[action], live, actor.name, terms.reason)
        logger.info("control", session=live.id, call_id=live.call_id, action=action, by=actor.name)
        await self.journal.safe(self.journal.done(action, live, ended))
        return live

    def annotate(
        self, recording_id: str, changes: logbook.Changes, actor: Actor
    ) -> Recording | None:
        """Change what people may change of an open recording; None if it is not open.

        Raises InvalidChange.
        """
        live = self._recorded.get(recording_id)
        if live is None or live.recording is None:
            return None
        live.recording = logbook.changed(live.recording, changes, datetime.now(UTC), actor)
        self.journal.save(live)
        self.journal.announce("recording.changed", live, actor.name)
        return live.recording

    def open_recording(self, recording_id: str) -> Recording | None:
        """An open recording as of now; None if it is not open."""
        live = self._recorded.get(recording_id)
        return self.outline(live) if live else None

    def open_recordings(self) -> list[Recording]:
        """All open recordings as they were last written down; see `open_recording`."""
        return [live.recording for live in self._recorded.values() if live.recording]

    def outline(self, live: LiveSession) -> Recording:
        """The open recording of a session as of now; without one what it would say, with no id."""
        if live.recording:
            return logbook.current(live, live.recording, datetime.now(UTC))
        if live.outline is None:
            session = self._dialogs.get(live.dialog_id)
            model = session.metadata if session else Model()
            live.outline = logbook.outlined(live, model, self._config.storage.node)
        return live.outline

    async def reports(self, session_ids: Sequence[str]) -> dict[str, dict[str, ReceptionView]]:
        """Live packet figures by session and stream; empty if the media process is not there."""
        try:
            reports = await self._engine.reports(session_ids)
        except MediaUnavailable:
            return {}
        return {
            session_id: streams.views(self._sessions[session_id], figures)
            for session_id, figures in reports.items()
            if session_id in self._sessions
        }

    # process

    def dialogs(self) -> list[str]:
        """Ids of all open dialogs."""
        return list(self._dialogs)

    def _host(self, offer: Offer) -> str:
        """The address to put into SDP: what is configured, or where the request came to."""
        bound = self._config.media.address
        here = offer.local_host if bound in {"0.0.0.0", "::"} else bound
        return self._config.sip.advertise or here

    def _move(
        self,
        live: LiveSession,
        action: Action,
        state: State,
        at_ns: int,
        since_ns: int,
        terms: Terms,
    ) -> Recording | None:
        """Change the session's state; returns the recording this closes, if any."""
        now = _utc(at_ns)
        ended = self._close(live, now) if action in {Action.STOP, Action.SPLIT} else None
        live.state = state
        if action is Action.PAUSE:
            live.pauses = (*live.pauses, Pause(now, None, terms.fill or live.decision.pause_fill))
        elif action is Action.RESUME:
            live.pauses = logbook.resumed(live.pauses, now)
            session = self._dialogs[live.dialog_id]
            self.paused_calls.discard(keys_of(live.call_id, session.metadata.session_ids()))
        elif action is Action.MARK:
            live.marks = (*live.marks, Mark(now, terms.text))
        elif action is not Action.STOP:
            self._start(live, _utc(since_ns or at_ns), terms)
        self.journal.save(live)
        return ended

    def _start(self, live: LiveSession, at: datetime, terms: Terms) -> None:
        live.recording = logbook.opened(live, at, self._config.storage.node, terms)
        live.segments += 1
        self._recorded[live.recording.id] = live
        self.journal.refresh(self._dialogs[live.dialog_id])

    def _close(self, live: LiveSession, now: datetime) -> Recording | None:
        """Hand the open recording over in its final shape, to be rendered."""
        if live.recording is None:
            return None
        recording = logbook.closed(live, live.recording, now)
        self._recorded.pop(recording.id, None)
        live.recording, live.pauses, live.marks = None, (), ()
        self._archive.take(recording)
        return recording

    async def _switch(
        self,
        live: LiveSession,
        action: Action,
        at_ns: int,
        since_ns: int,
        ended: Recording | None,
    ) -> None:
        confirmed = asyncio.get_running_loop().create_future()
        self._in_flight[live.id] = confirmed
        reports: list[StreamReport] = []
        try:
            reports = await self._engine.switch(live.id, streams.target(live, since_ns), at_ns)
            confirmed.set_result(True)
        except MediaUnavailable as error:
            confirmed.set_result(False)
            logger.error("control_unconfirmed", session=live.id, error=str(error))
            if action is Action.RESUME and live.state is State.RECORDING and live.pauses:
                live.state, live.pauses = State.PAUSED, logbook.reopened(live.pauses)
            self.journal.fail(action, live, ended)
            raise ControlFailed("the media process did not confirm") from error
        finally:
            if self._in_flight.get(live.id) is confirmed:
                del self._in_flight[live.id]
            if ended:
                self._archive.finish(ended, reports)

    async def _refusal(self, live: LiveSession, action: Action, terms: Terms) -> RecorderError:
        """Why `action` is not possible; being there already is said only once it is confirmed."""
        is_there = GOALS.get(action) is live.state
        if terms.is_strict or not is_there:
            self.journal.fail(action, live)
        if not is_there:
            if action is Action.PAUSE:  # whoever asks wants nothing of now in any recording
                await streams.stop_holding(self._engine, live, time.time_ns())
            if action is Action.START and live.decision.record == "never":
                return NotRecordable("calls of this route are never recorded")
            return InvalidTransition(action, live.state)
        confirmed = self._in_flight.get(live.id)
        if confirmed and not await asyncio.shield(confirmed):
            return ControlFailed("the media process did not confirm")
        return AlreadyInState(action, live.state)

    def _media_trouble(self, recording_id: str, code: str) -> None:
        if live := self._recorded.get(recording_id):
            live.warnings = tuple(dict.fromkeys((*live.warnings, code)))
            self.journal.save(live)
            self.journal.announce("session.updated", live, reason=code)
        logger.error("media_trouble", recording=recording_id, code=code)


def _utc(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / 1e9, UTC)


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1e6) * 1000


def _merged(model: Model, offer: Offer, plan: Plan) -> Model:
    if offer.metadata is None:
        return model
    return merge(model, offer.metadata, plan.labels, offer.received_at)
