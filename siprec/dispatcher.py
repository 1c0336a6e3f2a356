"""Dispatcher: what happened goes to destinations and policies, without anybody waiting for them.

Counterparts: `siprec.notifications` and `siprec.policies` say what there is to do (pure),
`storage.outbox` and `siprec.courier` deliver, `siprec.screen` drives the screen recorder.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from uuid import uuid4

import structlog

from siprec.archive import Spawn
from siprec.library import Library
from siprec.logbook import Changes
from siprec.notifications import compose
from siprec.occurrence import POLICY_EVENTS, Occurrence
from siprec.placeholders import bounded
from siprec.policies import Planned, planned
from siprec.recorder import Recorder
from siprec.screen import Screens
from siprec.session import (
    Action,
    Actor,
    AlreadyInState,
    LiveSession,
    RecorderError,
    UnknownSession,
)
from storage.directory import Directory
from storage.entries import RECORDING_EVENTS, SYSTEM_ACCOUNT
from storage.outbox import Notification
from storage.records import Recording, RecordingQuery, StorageError

logger = structlog.get_logger(__name__)

BUILT_IN = frozenset({*RECORDING_EVENTS, *POLICY_EVENTS.values()})
"""Events that are known without a policy."""
DEPTH = 2
"""Policies in a chain, one acting on what the other one did: A may call up B, B nobody."""
BACKLOG = 1000
"""Policies at work beyond which no event is taken from outside."""

_CHAIN: ContextVar[tuple[str, ...]] = ContextVar("policies", default=())
"""The policies that brought about what happens here; inherited by the tasks they set off."""

Put = Callable[[list[Notification]], Awaitable[None]]
"""Queues notifications; what it returns is done once they are safe, and may be dropped."""


class UnknownEvent(RecorderError):
    """No policy is about such an event."""


class TooManyEvents(RecorderError):
    """Actions of earlier events are still under way; the same event may be taken later."""


class Dispatcher:
    """The thin edge between the recorder and everybody who is told."""

    recorder: Recorder
    """Set once, before anything happens."""
    library: Library
    """Likewise."""

    def __init__(self, directory: Directory, put: Put, screens: Screens, spawn: Spawn) -> None:
        self._directory = directory
        self._put = put
        self._screens = screens
        self._spawn = spawn
        self._reported: set[tuple[str, str]] = set()
        self.unfinished = 0
        """Policies at work."""
        self._acts = {
            "HttpNotify": self._notify,
            "StartAudio": self._start_audio,
            "StopAudio": self._stop_audio,
            "InitiateRecordScreen": self._start_screen,
            "TerminateRecordScreen": self._stop_screen,
        }

    def tell(self, occurrence: Occurrence) -> Awaitable[None] | None:
        """Queue notifications and start the actions of policies; returns at once.

        What is returned is done once the notifications outlive the process; None if there are none.
        """
        told = compose(occurrence, self._directory.entries, _new_id)
        safe = self._put(told) if told else None
        self._act(occurrence)
        return safe

    async def raise_event(
        self,
        event: str,
        ucid: str,
        called_aors: tuple[str, ...] | None,
        account: int,
        routes: frozenset[int] = frozenset(),
    ) -> int:
        """An event raised from outside: start the actions of its policies; how many there were.

        `account`: only calls this account may see; 1: any. `routes`: only calls of these; none:
        of any. A call is found by UCID or ingress call id; without one, policies whose actions need
        none still act. Destinations are not told: nothing happened to a recording. Raises
        UnknownEvent, TooManyEvents.
        """
        if not self._is_known(event, account):
            raise UnknownEvent("no policy is about such an event")
        if self.unfinished >= BACKLOG:
            raise TooManyEvents("actions of earlier events are still under way")
        recording = await self._recording(ucid, Actor("event", "system", account, routes=routes))
        now = datetime.now(UTC)
        return self._act(Occurrence(event, now, recording, "success", called_aors, routes))

    def _is_known(self, event: str, account: int) -> bool:
        return event in BUILT_IN or any(
            policy.event == event
            and (account == SYSTEM_ACCOUNT or policy.when.account in {None, account})
            for policy in self._directory.entries.policies
        )

    async def _recording(self, ucid: str, actor: Actor) -> Recording:
        """What `actor` may know of the call with this UCID or ingress call id."""
        now = datetime.now(UTC)
        nothing = Recording("", "", "", "", now, account=actor.account, route=0, ucid=ucid)
        if not ucid:
            return nothing
        live = self._live(ucid, actor)
        if live and live.recording:
            return live.recording
        try:
            page = await self.library.find(RecordingQuery(any_ucid=ucid, limit=1), actor)
        except StorageError as error:
            logger.warning("event_without_recording", error=str(error))
            return _of_live(nothing, live)
        return page.items[0] if page.items else _of_live(nothing, live)

    def _live(self, ucid: str, actor: Actor) -> LiveSession | None:
        """The live session with this UCID or ingress call id, the newest of several."""
        for live in self.recorder.sessions(actor):
            if ucid in {live.identity.ucid, live.call_id}:
                return live
        return None

    def _act(self, occurrence: Occurrence) -> int:
        """Start the actions of policies; how many."""
        entries, chain = self._directory.entries, _CHAIN.get()
        actions = planned(occurrence, entries.policies, entries.screen_agents)
        if stopped := [a for a in actions if a.policy in chain or len(chain) >= DEPTH]:
            logger.info("policies_not_followed", policies=sorted({a.policy for a in stopped}))
        actions = [action for action in actions if action not in stopped]
        for policy, group in groupby(actions, attrgetter("policy")):
            self.unfinished += 1
            self._spawn(f"policy {policy}", self._carry_out([*group], occurrence))
        return len(actions)

    async def _carry_out(self, actions: list[Planned], occurrence: Occurrence) -> None:
        """Take the actions of one policy, one after the other, in a task of their own."""
        _CHAIN.set((*_CHAIN.get(), actions[0].policy))
        try:
            for action in actions:
                await self._take(action, occurrence)
        finally:
            self.unfinished -= 1

    async def _take(self, action: Planned, occurrence: Occurrence) -> None:
        log = logger.bind(
            policy=action.policy, action=action.type, call_id=occurrence.recording.call_id
        )
        for name in action.unknown:
            if (action.policy, name) not in self._reported:
                self._reported.add((action.policy, name))
                log.warning("policy_placeholder_unknown", placeholder=name)
        if action.skipped:
            log.warning("policy_action_skipped", reason=action.skipped)
            return
        try:
            await self._acts[action.type](action, occurrence)
        except (RecorderError, StorageError) as error:
            log.warning("policy_action_failed", error=str(error))
        else:
            log.info("policy_action_taken")

    async def _notify(self, action: Planned, occurrence: Occurrence) -> None:
        recording = occurrence.recording
        notification = Notification(
            _new_id(),
            f"policy {action.policy}",
            bounded(recording.call_id),
            occurrence.at,
            "GET",
            action.url,
            account=recording.account,
        )
        self._put([notification])

    async def _start_audio(self, action: Planned, occurrence: Occurrence) -> None:
        await self._control(Action.START, action, occurrence)

    async def _stop_audio(self, action: Planned, occurrence: Occurrence) -> None:
        await self._control(Action.STOP, action, occurrence)

    async def _control(self, command: Action, action: Planned, occurrence: Occurrence) -> None:
        actor = _actor(action, occurrence)
        live = self._live(action.isr_ucid, actor)
        if live is None:
            raise UnknownSession("the call is not live")
        try:
            await self.recorder.control(live.id, command, actor)
        except AlreadyInState:
            return

    async def _start_screen(self, action: Planned, occurrence: Occurrence) -> None:
        session_id = await self._screens.start(action.isr_ucid, screen_ip=action.screen_ip)
        if recording_id := occurrence.recording.id:
            changes = Changes(third_party_id=session_id)
            await self.library.update(recording_id, changes, _actor(action, occurrence))

    async def _stop_screen(self, action: Planned, occurrence: Occurrence) -> None:
        await self._screens.stop(screen_ip=action.screen_ip, isr_id=action.isr_ucid)


def _actor(action: Planned, occurrence: Occurrence) -> Actor:
    """A policy, with the reach of the call that it acts for: no account moves another's calls."""
    account = occurrence.recording.account
    return Actor(f"policy {action.policy}", "system", account, routes=occurrence.routes)


def _of_live(nothing: Recording, live: LiveSession | None) -> Recording:
    """`nothing` with what is known of a live session that is not being recorded."""
    if live is None:
        return nothing
    return replace(
        nothing,
        session_id=live.id,
        call_id=live.call_id,
        account=live.decision.account,
        route=live.decision.route,
        ani=live.identity.ani,
        dnis=live.identity.dnis,
        ucid=live.identity.ucid,
        realm=live.identity.realm,
        participants=live.participants,
        from_aor=live.from_aor,
        to_aor=live.to_aor,
    )


def _new_id() -> str:
    return str(uuid4())
