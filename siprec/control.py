"""Control: commands to live sessions, carried out exactly and one after the other.

Part of the core: `siprec.recorder` is the door, and nobody else writes the state of a session.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from media.engine import MediaEngine
from media.spec import MediaUnavailable, StreamReport
from siprec import logbook, streams
from siprec.archive import Archive
from siprec.journal import FEED, Journal
from siprec.paused import PausedCalls, keys_of
from siprec.registry import Registry
from siprec.session import (
    GOALS,
    TRANSITIONS,
    Action,
    Actor,
    AlreadyInState,
    ChannelsInUse,
    ControlFailed,
    InvalidTransition,
    LiveSession,
    NotRecordable,
    RecorderError,
    State,
    Terms,
)
from storage.directory import Directory
from storage.records import Mark, Pause, Recording

logger = structlog.get_logger(__name__)

MEDIA = frozenset({*GOALS, Action.SPLIT})
"""Actions that the media process has a part in; the others are said of the call."""
SAVINGS = frozenset({Action.SAVE, Action.DISCARD})


async def _nobody(_: LiveSession, __: Actor) -> None:
    return None


class Control:
    """Carries out what people ask of live sessions."""

    def __init__(
        self,
        registry: Registry,
        engine: MediaEngine,
        archive: Archive,
        directory: Directory,
        journal: Journal,
        paused_calls: PausedCalls,
        node: int,
    ) -> None:
        self._registry = registry
        self._engine = engine
        self._archive = archive
        self._directory = directory
        self._journal = journal
        self._paused_calls = paused_calls
        self._node = node
        self._in_flight: dict[str, asyncio.Future[bool]] = {}
        self.on_saving: Callable[[LiveSession, Actor], Awaitable[None]] = _nobody
        """Told who decided whether the recordings of a session stay; waited for."""

    async def carry_out(
        self, live: LiveSession, action: Action, actor: Actor, terms: Terms
    ) -> LiveSession:
        """Do it; returns once it is in force.

        It takes effect by packet arrival time as of now, and the state has changed before the first
        wait, so that of two simultaneous commands one is refused. Raises NotRecordable,
        ChannelsInUse, InvalidTransition, AlreadyInState (after the media process has confirmed that
        state), ControlFailed.
        """
        next_state = TRANSITIONS.get((live.state, action))
        if next_state is None or (live.decision.record, action) == ("never", Action.START):
            raise await self._refusal(live, action, terms)
        self._check_channels(live, action)
        at_ns = time.time_ns()
        since_ns = 0
        if terms.prebuffer and action is Action.START:
            since_ns = min(at_ns, in_ns(live.held_since(in_utc(at_ns))))
        self._journal.audit(live, actor, action, terms.reason)
        ended = self._move(live, action, next_state, at_ns, since_ns, terms)
        if live.recording and not live.recording.history:
            self._journal.audit(live, actor, Action.START, terms.reason)
        about = ended if action is Action.STOP else live.recording
        if action in MEDIA:
            await self._switch(live, action, at_ns, since_ns, ended)
        if action in SAVINGS:
            await self.on_saving(live, actor)
        self._journal.announce(
            FEED[action], live, actor.name, terms.reason, about, is_split=action is Action.SPLIT
        )
        logger.info("control", session=live.id, call_id=live.call_id, action=action, by=actor.name)
        await self._journal.safe(self._journal.done(action, live, about, ended))
        return live

    def close(self, live: LiveSession, now: datetime) -> Recording | None:
        """Hand the open recording over in its final shape, to be rendered."""
        if live.recording is None:
            return None
        recording = logbook.closed(live, live.recording, now)
        self._registry.recorded.pop(recording.id, None)
        live.recording, live.pauses, live.marks = None, (), ()
        self._archive.take(recording)
        return recording

    def _check_channels(self, live: LiveSession, action: Action) -> None:
        account = self._directory.entries.accounts.get(live.decision.account)
        if action is not Action.START or account is None or not account.channels:
            return
        open_now = self._registry.recorded.values()
        if sum(each.decision.account == account.number for each in open_now) >= account.channels:
            self._journal.fail(action, live)
            raise ChannelsInUse(f"account {account.number} has {account.channels} recordings")

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
        now = in_utc(at_ns)
        ended = self.close(live, now) if action in {Action.STOP, Action.SPLIT} else None
        live.state = state
        if action is Action.PAUSE:
            live.pauses = (*live.pauses, Pause(now, None, terms.fill or live.decision.pause_fill))
        elif action is Action.RESUME:
            live.pauses = logbook.resumed(live.pauses, now)
            session = self._registry.dialogs[live.dialog_id]
            self._paused_calls.discard(keys_of(live.call_id, session.metadata.session_ids()))
        elif action not in MEDIA:
            _say(live, action, now, terms)
        elif action is not Action.STOP:
            self._start(live, in_utc(since_ns or at_ns), terms)
        self._journal.save(live)
        return ended

    def _start(self, live: LiveSession, at: datetime, terms: Terms) -> None:
        live.recording = logbook.opened(live, at, self._node, terms)
        live.segments += 1
        self._registry.recorded[live.recording.id] = live
        self._journal.refresh(self._registry.dialogs[live.dialog_id])

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
            self._journal.fail(action, live, ended)
            raise ControlFailed("the media process did not confirm") from error
        finally:
            if self._in_flight.get(live.id) is confirmed:
                del self._in_flight[live.id]
            if ended:
                self._archive.finish(ended, reports)

    async def _refusal(self, live: LiveSession, action: Action, terms: Terms) -> RecorderError:
        """Why `action` is not possible; being there already is said only once it is confirmed.

        It speaks of the state that refused it, which may be another one by then.
        """
        state = live.state
        is_there = GOALS.get(action) is state
        if terms.is_strict or not is_there:
            self._journal.fail(action, live)
        if not is_there:
            if action is Action.PAUSE:  # whoever asks wants nothing of now in any recording
                await streams.stop_holding(self._engine, live, time.time_ns())
            if action is Action.START and live.decision.record == "never":
                return NotRecordable(live.decision.barred)
            return InvalidTransition(action, state)
        confirmed = self._in_flight.get(live.id)
        if confirmed and not await asyncio.shield(confirmed):
            return ControlFailed("the media process did not confirm")
        return AlreadyInState(action, state)


def in_utc(at_ns: int) -> datetime:
    """Nanoseconds since 1970 as an aware datetime."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC)


def in_ns(at: datetime) -> int:
    """The other way round, exact to the microsecond."""
    return int(at.timestamp() * 1e6) * 1000


def _say(live: LiveSession, action: Action, now: datetime, terms: Terms) -> None:
    """What an action says of a call. A mark made while nothing is recorded is the next one's."""
    match action:
        case Action.MARK:
            live.marks, live.marking = (*live.marks, Mark(now, terms.text)), "mark"
        case Action.UNMARK:
            live.marking = "unmark"
        case Action.SAVE:
            live.saving = "save"
        case Action.DISCARD:
            live.saving = "discard"
