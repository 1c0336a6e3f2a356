"""What AnywhereNow says and is told, as JSON: numbers of states, answers, the order to act. Pure.

Names of members, their order and every text are as its clients compare them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct, field

from siprec.session import Action, LiveSession, State

RECORDING_STATES: Mapping[State, int] = {
    State.IDLE: 0,
    State.RECORDING: 1,
    State.STOPPED: 2,
    State.PAUSED: 3,
}
STATE_NAMES = ("Uninitialized", "Started", "Stopped", "Paused")
"""Of the numbers of `RECORDING_STATES`."""
MARKING_STATES = {"": 0, "mark": 1, "unmark": 2}
SAVING_STATES = {"": 0, "save": 1, "discard": 2}

ACTIONS: Mapping[str, Action] = {
    "Start": Action.START,
    "Stop": Action.STOP,
    "Pause": Action.PAUSE,
    "Save": Action.SAVE,
    "Delete": Action.DISCARD,
    "Mark": Action.MARK,
    "UnMark": Action.UNMARK,
}
"""Name -> action, in the order of their numbers, which begin with 1. A start ends a pause, too."""
_NAMES = tuple(ACTIONS)
_BY_TEXT = {
    **{name.lower(): name for name in _NAMES},
    **{str(number): name for number, name in enumerate(_NAMES, 1)},
}

CONFIGURATION, VALIDATION, INTERNAL = 1, 2, 3
"""Types of errors."""

PROPERTIES = ("Action", "RequesterSipUri", "CorrelationId", "UCCName")
"""Of the order to act; all must be there."""


class ErrorMessage(Struct, frozen=True):
    """What went wrong."""

    type: int = field(name="ErrorType")
    text: str = field(name="Message")


class StateAnswer(Struct, frozen=True):
    """How the recorder of a call is; the answer to an order, too."""

    correlation_id: str | None = field(name="CorrelationId")
    recording: int = field(name="RecordingState", default=0)
    marking: int = field(name="MarkingState", default=0)
    saving: int = field(name="SavingState", default=0)
    error: ErrorMessage | None = field(name="ErrorMessage", default=None)
    ucc_name: str | None = field(name="UCCName", default=None)


class CapabilitiesAnswer(Struct, frozen=True):
    """What agents may do in a UCC."""

    can_edit: bool = field(name="AgentCanEditRecordings")
    error: ErrorMessage | None = field(name="ErrorMessage")
    ucc_name: str = field(name="UCCName")


class ErrorAnswer(Struct, frozen=True):
    """The answer to what is no proper request."""

    error: ErrorMessage = field(name="ErrorMessage")


class Refusal(Exception):
    """A request that is not carried out, with what is said of it."""

    def __init__(
        self, kind: int, text: str, reason: str, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        """`kind`: type of the error; `reason`: the same for the log, without names; `status`: of
        HTTP; what was asked for and why it failed is in the body all the same."""
        super().__init__(text)
        self.kind = kind
        self.reason = reason
        self.status = status

    @property
    def message(self) -> ErrorMessage:
        """As it is sent."""
        return ErrorMessage(self.kind, str(self))


@dataclass(frozen=True, slots=True)
class Order:
    """An order to act, its members as texts; None: not there, or empty."""

    action: str | None
    requester: str | None
    correlation_id: str | None
    ucc_name: str | None

    @property
    def missing(self) -> str:
        """The first member that is not there; empty if all are."""
        values = (self.action, self.requester, self.correlation_id, self.ucc_name)
        return next((name for name, value in zip(PROPERTIES, values, strict=True) if not value), "")


def order(body: bytes) -> Order:
    """The order in a body: a JSON object, names of its members in any case, others passed over.

    Raises Refusal, with status 400, for what is none, or has a member twice.
    """
    members = _object(body.removeprefix(b"\xef\xbb\xbf"))
    return Order(*(_text(members.get(name.lower())) for name in PROPERTIES))


def action_name(text: str) -> str | None:
    """The name of an action given by number or by name in any case; None if there is none."""
    return _BY_TEXT.get(text.strip().lower())


def state_of(
    live: LiveSession,
    correlation_id: str,
    ucc_name: str,
    error: ErrorMessage | None = None,
) -> StateAnswer:
    """The state of a live call, called as the client calls it."""
    return StateAnswer(
        correlation_id,
        RECORDING_STATES[live.state],
        MARKING_STATES[live.marking],
        SAVING_STATES[live.saving],
        error,
        ucc_name,
    )


def state_name(state: State) -> str:
    """The name of a recording state."""
    return STATE_NAMES[RECORDING_STATES[state]]


def encode(answer: Struct) -> bytes:
    """JSON, members in the order of the class, without blanks."""
    return msgspec.json.encode(answer)


def unknown_ucc(name: str) -> Refusal:
    """No UCC of this name, or none for who asks."""
    return Refusal(VALIDATION, f"UCC with name:'{name}' was not found.", "unknown UCC")


def no_recording(name: str) -> Refusal:
    """Calls of this UCC are not recorded."""
    text = f"Audio recording is not enabled for UCC:'{name}'."
    return Refusal(CONFIGURATION, text, "no recording")


def not_for_agents(name: str) -> Refusal:
    """Agents of this UCC may not act."""
    text = f"Agents are not allowed to edit audio recordings for UCC:'{name}'."
    return Refusal(CONFIGURATION, text, "not for agents")


def unknown_session(correlation_id: str) -> Refusal:
    """No live call has this id."""
    text = f"No Audio session with correlation Id:'{correlation_id}' was found."
    return Refusal(VALIDATION, text, "unknown session")


def _object(body: bytes) -> dict[str, Any]:
    """The members of a JSON object (RFC 8259), names in lower case."""
    try:
        # Refuses what `json` reads although it is none: NaN, half surrogates, other encodings.
        msgspec.json.decode(body, type=dict[str, object])
        return dict(json.loads(body, object_pairs_hook=_once))
    except (ValueError, RecursionError, msgspec.MsgspecError):
        text = "The request body is not a valid JSON object."
        raise Refusal(VALIDATION, text, "malformed", HTTPStatus.BAD_REQUEST) from None


def _once(members: list[tuple[str, object]]) -> dict[str, object]:
    found = {name.lower(): value for name, value in members}
    if len(found) < len(members):
        raise ValueError("a member is there twice")
    return found


def _text(value: object) -> str | None:
    """What a member says; what is no text as JSON has it, so that it can be told what is wrong."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
