"""The core: owns the live sessions and is the only writer of their state.

SIP comes in through `begin`, `update`, `confirm` and `end`; HTTP through `find`, `control` and
`annotate`; the process through `paused_calls` and `accepting`. Everything runs on the event loop.
An offer is answered without waiting for disk, database or media process; a command waits for the
media process and for notifications to be safe. Counterparts: `siprec.journal`, `siprec.archive`.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from config.schema import Config
from media.engine import MediaEngine
from media.spec import MediaUnavailable
from siprec import identity, logbook, platforms, policy, streams
from siprec.archive import Archive, Spawn
from siprec.control import Control, in_ns, in_utc
from siprec.feed import EventFeed
from siprec.journal import FEED, OCCURRENCES, Journal
from siprec.metadata import Model, merge
from siprec.negotiation import Plan
from siprec.occurrence import ENDED
from siprec.paused import PausedCalls, keys_of
from siprec.platforms import Agreement
from siprec.registry import Registry
from siprec.sdp import SessionDescription
from siprec.session import (
    PLAIN,
    SRC,
    SYSTEM,
    Action,
    Actor,
    LiveSession,
    Offer,
    ReceptionView,
    RecordingSession,
    Refused,
    State,
    Terms,
)
from storage.directory import Directory
from storage.records import Recording

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
        self.journal = Journal(archive, feed, config, directory)
        """What is written down and told of the sessions."""
        self._registry = Registry()
        self.paused_calls = PausedCalls()
        """Calls that start paused because they were paused when they ended."""
        self.commands = Control(
            self._registry,
            engine,
            archive,
            directory,
            self.journal,
            self.paused_calls,
            config.storage.node,
        )
        """Carries out what people ask of live sessions."""
        self.on_ended: Callable[[LiveSession], object] = lambda live: None
        """Told of each session that is over, as soon as its recording is closed."""
        self.hang_up: Callable[[str, str], object] = lambda dialog_id, reason: None
        """Ends a dialog; the reason is the value of a Reason header (RFC 3326)."""
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
        agreement = platforms.agreed(self._directory.entries, offer, self._config.sip.advertise)
        offer = platforms.examined(offer, plan, agreement)
        model = _merged(Model(), offer, plan)
        live = self._live_session(offer, model, agreement)
        at_ns = in_ns(offer.received_at)
        is_whole = streams.align(self._engine, live, plan, at_ns, agreement)
        answer = streams.answer(live, plan, self._host(offer), None)
        session = RecordingSession(offer.dialog_id, offer.call_id, live, plan, answer, model, offer)
        self._registry.add(session)
        self.journal.refresh(session, offer.warnings)
        self._begun(live)
        if not is_whole:
            self._not_recorded(session)
        return answer

    def _live_session(self, offer: Offer, model: Model, agreement: Agreement | None) -> LiveSession:
        """The session of a new call, in the state its route and its past put it."""
        known = identity.identify(offer, model, self._config.sip.ucid_header)
        decision = policy.decide(self._directory.entries, offer, known, self._config.route)
        keys = keys_of(offer.call_id, model.session_ids())
        paused = self.paused_calls.holds(keys, offer.received_at)
        live = LiveSession.of(offer, known, decision, paused)
        if agreement:
            live.platform, live.is_dual = agreement.platform.name, agreement.is_dual
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
        session = self._registry.dialogs[offer.dialog_id]
        plan = streams.planned(offer.sdp, session.plan) if offer.sdp else session.plan
        agreement = platforms.standing(self._directory.entries, session.live.platform)
        offer = platforms.examined(offer, plan, agreement)
        model = _merged(session.metadata, offer, plan)
        is_whole = True
        if offer.sdp:
            at_ns = in_ns(offer.received_at)
            is_whole = streams.align(self._engine, session.live, plan, at_ns, agreement)
            session.answer = streams.answer(session.live, plan, self._host(offer), session.answer)
            session.plan = plan
        session.metadata = model
        self.journal.refresh(session, offer.warnings)
        self.journal.announce("session.updated", session.live)
        if not is_whole:
            self._not_recorded(session)
        return session.answer

    def answer_within_s(self, dialog_id: str) -> float | None:
        """How soon the INVITE of this dialog must be answered finally; None: nothing is agreed."""
        session = self._registry.dialogs.get(dialog_id)
        name = session.live.platform if session else ""
        agreement = platforms.standing(self._directory.entries, name)
        return agreement.answer_within_s if agreement else None

    def confirm(self, dialog_id: str) -> None:
        """The client acknowledged the answer."""
        if session := self._registry.dialogs.get(dialog_id):
            session.confirmed = True

    def end(self, dialog_id: str, reason: str, last: Offer | None = None) -> None:
        """The dialog is over: finish what it recorded. Returns at once.

        `last` is the closing BYE as an offer, whose metadata still counts.
        """
        session = self._registry.dialogs.pop(dialog_id, None)
        if session is None:
            return
        live = session.live
        at_ns = time.time_ns()
        if last:
            session.metadata = _merged(session.metadata, last, session.plan)
            self.journal.refresh(session, last.warnings)
        del self._registry.sessions[live.id]
        if live.state is State.PAUSED:
            keys = keys_of(live.call_id, session.metadata.session_ids())
            self.paused_calls.add(keys, in_utc(at_ns))
        self.journal.audit(live, SRC, Action.STOP, reason)
        self.journal.announce("session.ended", live, reason=reason)
        recording = self.commands.close(live, in_utc(at_ns))
        live.state = State.STOPPED
        if recording:
            self.journal.tell(ENDED, live, recording)
        self.on_ended(live)
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
        newest = reversed(self._registry.sessions.values())
        return [live for live in newest if live.is_seen_by(actor)]

    def find(self, session_id: str, actor: Actor = SYSTEM) -> LiveSession:
        """The live session with this id. Raises UnknownSession, also if `actor` may not see it."""
        return self._registry.find(session_id, actor)

    def is_live(self, session_id: str) -> bool:
        """Whether a session with this id goes on."""
        return session_id in self._registry.sessions

    async def control(
        self,
        session_id: str,
        action: Action,
        actor: Actor,
        terms: Terms = PLAIN,
    ) -> LiveSession:
        """Start, pause, resume, stop, split, mark, save or discard; returns once it is in force.

        Raises UnknownSession and what `siprec.control.Control.carry_out` raises.
        """
        return await self.commands.carry_out(self.find(session_id, actor), action, actor, terms)

    def annotate(
        self, recording_id: str, changes: logbook.Changes, actor: Actor
    ) -> Recording | None:
        """Change what people may change of an open recording; None if it is not open.

        Raises InvalidChange.
        """
        live = self._registry.recorded.get(recording_id)
        if live is None or live.recording is None:
            return None
        live.recording = logbook.changed(live.recording, changes, datetime.now(UTC), actor)
        self.journal.save(live)
        self.journal.announce("recording.changed", live, actor.name)
        return live.recording

    def open_recording(self, recording_id: str) -> Recording | None:
        """An open recording as of now; None if it is not open."""
        live = self._registry.recorded.get(recording_id)
        return self.outline(live) if live else None

    def open_recordings(self) -> list[Recording]:
        """All open recordings as they were last written down; see `open_recording`."""
        return [live.recording for live in self._registry.recorded.values() if live.recording]

    def outline(self, live: LiveSession) -> Recording:
        """The open recording of a session as of now; without one what it would say, with no id."""
        if live.recording:
            return logbook.current(live, live.recording, datetime.now(UTC))
        if live.outline is None:
            session = self._registry.dialogs.get(live.dialog_id)
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
            session_id: streams.views(self._registry.sessions[session_id], figures)
            for session_id, figures in reports.items()
            if session_id in self._registry.sessions
        }

    # process

    def dialogs(self) -> list[str]:
        """Ids of all open dialogs."""
        return list(self._registry.dialogs)

    def _host(self, offer: Offer) -> str:
        """The address to put into SDP: what is configured, or where the request came to."""
        bound = self._config.media.address
        here = offer.local_host if bound in {"0.0.0.0", "::"} else bound
        return self._config.sip.advertise or here

    def _media_trouble(self, recording_id: str, code: str) -> None:
        if live := self._registry.recorded.get(recording_id):
            live.warnings = tuple(dict.fromkeys((*live.warnings, code)))
            self.journal.save(live)
            self.journal.announce("session.updated", live, reason=code)
        logger.error("media_trouble", recording=recording_id, code=code)
        if live and code in platforms.FATAL:
            self._lost(live, code)

    def _not_recorded(self, session: RecordingSession) -> None:
        """A call goes on without being recorded, as was agreed."""
        self.journal.refresh(session, ("not_recorded",))
        self._alarm(session.live, "not_recorded")

    def _lost(self, live: LiveSession, code: str) -> None:
        """What is still to come of a recording is lost: end its call, unless it is to go on."""
        agreement = platforms.standing(self._directory.entries, live.platform)
        if agreement is None:
            return
        self._alarm(live, code)
        if not agreement.outlasts_failure:
            self.hang_up(live.dialog_id, 'SIP;cause=503;text="Recording failed"')
            self.end(live.dialog_id, code)

    def _alarm(self, live: LiveSession, code: str) -> None:
        """Say aloud that a call that came over a platform is not recorded."""
        self.journal.announce("session.not_recorded", live, reason=code)
        logger.error(
            "not_recorded",
            alarm=True,
            session=live.id,
            call_id=live.call_id,
            platform=live.platform,
            code=code,
        )


def _merged(model: Model, offer: Offer, plan: Plan) -> Model:
    if offer.metadata is None:
        return model
    return merge(model, offer.metadata, plan.labels, offer.received_at)
