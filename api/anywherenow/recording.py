"""What the REST interface does: shows the state of a call and what agents may do, and acts.

What is refused is said in the body of an ordinary answer. The order of the checks is part of the
interface: who may not know of a UCC learns nothing of its calls.
"""

import base64
import binascii
from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

import structlog

from api.anywherenow import wire
from api.anywherenow.ucc import Ucc, agent, agents_may_control, find, guid
from api.anywherenow.wire import CapabilitiesAnswer, Order, Refusal, StateAnswer
from api.services import Services
from siprec.session import (
    Action,
    Actor,
    ChannelsInUse,
    ControlFailed,
    InvalidTransition,
    LiveSession,
    NotRecordable,
    State,
    Terms,
    UnknownSession,
)
from storage.entries import User
from storage.records import StorageUnavailable

logger = structlog.get_logger(__name__)

REASONS = {
    Action.MARK: "RecorderSetToMarkByAgent",
    Action.UNMARK: "RecorderSetToUnMarkByAgent",
}
"""What call detail records say of these actions; here it is the reason in the history."""


class Recording:
    """The commands, each for an actor who was admitted."""

    def __init__(self, services: Services) -> None:
        self._recorder = services.recorder
        self._directory = services.directory

    def state(self, actor: Actor, ucc_name: str, correlation_id: str) -> StateAnswer:
        """How the recorder of a call is."""
        try:
            ucc = self._recording_ucc(actor, ucc_name)
            live = self._find(actor, ucc, correlation_id)
        except Refusal as refusal:
            return StateAnswer(correlation_id, error=_told(refusal, "state"), ucc_name=ucc_name)
        return wire.state_of(live, correlation_id, ucc_name)

    def capabilities(self, actor: Actor, ucc_name: str) -> CapabilitiesAnswer:
        """Whether agents may act on calls of a UCC."""
        try:
            ucc = self._ucc(actor, ucc_name)
        except Refusal as refusal:
            return CapabilitiesAnswer(False, _told(refusal, "capabilities"), ucc_name)
        return CapabilitiesAnswer(ucc.agents_may_control, None, ucc_name)

    async def set(self, actor: Actor, order: Order) -> StateAnswer:
        """Act on a call; the state it is in then."""
        correlation_id, ucc_name = order.correlation_id or "", order.ucc_name or ""
        live: LiveSession | None = None
        error = None
        try:
            if order.missing:
                raise _invalid(f"{order.missing} is required.", "missing")
            ucc = self._recording_ucc(actor, ucc_name)
            if not ucc.agents_may_control:
                raise wire.not_for_agents(ucc_name)
            name = wire.action_name(order.action or "")
            if name is None:
                raise _invalid(f"Action:'{order.action}' is not valid.", "unknown action")
            requester = self._requester(ucc, order.requester or "")
            live = self._find(actor, ucc, correlation_id)
            await self._act(live, name, requester, order)
        except Refusal as refusal:
            error = _told(refusal, "set")
        if live is None:
            return StateAnswer(order.correlation_id, error=error, ucc_name=order.ucc_name)
        return wire.state_of(live, correlation_id, ucc_name, error)

    def _ucc(self, actor: Actor, name: str) -> Ucc:
        """The UCC of this name. Raises Refusal, also if it is none that `actor` may see."""
        ucc = find(self._directory.entries, name)
        if ucc is None or not actor.sees(ucc.account, ucc.route or 0):
            raise wire.unknown_ucc(name)
        return ucc

    def _recording_ucc(self, actor: Actor, name: str) -> Ucc:
        ucc = self._ucc(actor, name)
        if not ucc.uses_recording:
            raise wire.no_recording(name)
        return ucc

    def _requester(self, ucc: Ucc, uri: str) -> User:
        user = agent(self._directory.entries, ucc, uri)
        if user is None:
            raise _invalid(f"Requester:'{uri}' is not a valid agent.", "unknown requester")
        return user

    def _find(self, actor: Actor, ucc: Ucc, text: str) -> LiveSession:
        """The one live call of the UCC with this id. Raises Refusal, also if there are several."""
        wanted = guid(text)
        if wanted is None:
            raise wire.unknown_session(text)
        with suppress(UnknownSession):
            if _owns(ucc, live := self._recorder.find(wanted.hex, actor)):
                return live
        own = (live for live in self._recorder.sessions(actor) if _owns(ucc, live))
        found = [live for live in own if wanted in self._guids(live)]
        if len(found) != 1:
            raise wire.unknown_session(text)
        return found[0]

    def _guids(self, live: LiveSession) -> Iterator[UUID]:
        """Further GUIDs of a call: session ids of its metadata (RFC 7865 6.3.1) and its UCID."""
        stated = (live.recording or self._recorder.outline(live)).siprec_session_ids
        for text in (*stated, live.identity.ucid):
            if known := guid(text) or _decoded(text):
                yield known

    def _agents_may_control(self, live: LiveSession) -> bool:
        """As the directory has it now; of a route that is gone, as it was when the call began."""
        entries = self._directory.entries
        route = entries.routes.get(live.decision.route)
        if route is None:
            return live.decision.agents_may_control
        return agents_may_control(entries, route)

    async def _act(self, live: LiveSession, name: str, requester: User, order: Order) -> None:
        if not self._agents_may_control(live):
            raise wire.not_for_agents(order.ucc_name or "")
        action = wire.ACTIONS[name]
        if (live.state, action) == (State.PAUSED, Action.START):
            action = Action.RESUME
        fill = "cut" if action is Action.PAUSE else ""
        terms = Terms(fill, REASONS.get(action, ""), is_strict=True)
        try:
            await self._recorder.control(live.id, action, _actor(requester), terms)
        except UnknownSession:
            raise wire.unknown_session(order.correlation_id or "") from None
        except NotRecordable:
            raise wire.no_recording(order.ucc_name or "") from None
        except InvalidTransition as error:
            state = wire.state_name(error.state)
            text = f"Action:'{name}' is not allowed in recording state:'{state}'."
            raise _invalid(text, "wrong state") from None
        except (ChannelsInUse, ControlFailed, StorageUnavailable) as error:
            text = "Recorder could not perform the action."
            raise Refusal(wire.INTERNAL, text, type(error).__name__) from None


def _actor(requester: User) -> Actor:
    """As whom an agent acts, whatever the agent may do elsewhere: it is the UCC that allows it."""
    rights = frozenset({"control"})
    return Actor(requester.email, "control", requester.account, rights, frozenset(requester.routes))


def _owns(ucc: Ucc, live: LiveSession) -> bool:
    return ucc.owns(live.decision.account, live.decision.route)


def _decoded(text: str) -> UUID | None:
    """The 16 octets that a session id is the Base64 of (RFC 7865 section 6.10); None for others."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return UUID(bytes=octets) if len(octets) == 16 else None


def _invalid(text: str, reason: str) -> Refusal:
    return Refusal(wire.VALIDATION, text, reason)


def _told(refusal: Refusal, command: str) -> wire.ErrorMessage:
    """What is told of a refusal; the log has no names, which may be anything."""
    logger.info("anywherenow_refused", command=command, type=refusal.kind, reason=refusal.reason)
    return refusal.message
