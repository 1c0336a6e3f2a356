"""Recording sessions and the live communication sessions in them: state, moves, errors.

A `RecordingSession` is one SIP dialog with a session recording client. What people start, pause
and stop is a `LiveSession` in it. Legal moves are the table `TRANSITIONS`; `siprec.recorder` is
the only writer. No I/O here.
"""

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Self, get_args

from media.spec import StreamPort, StreamSpec
from siprec.metadata import Document, Model
from siprec.negotiation import Plan
from siprec.sdp import SessionDescription
from storage.entries import DEFAULT_ROUTE, SYSTEM_ACCOUNT, Direction, Fill, Permission, Record
from storage.records import Mark, Participant, Pause, Recording

Bar = Literal["", "direction", "traffic", "remote party"]
"""What of a call a route can bar."""
RIGHTS: frozenset[str] = frozenset(get_args(Permission))
"""Every permission there is."""


class State(StrEnum):
    """What happens to the media of a live session."""

    IDLE = "idle"
    RECORDING = "recording"
    PAUSED = "paused"
    STOPPED = "stopped"


class Action(StrEnum):
    """What can be asked of a live session, the union of all dialects' verbs."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    SPLIT = "split"
    MARK = "mark"
    UNMARK = "unmark"
    SAVE = "save"
    DISCARD = "discard"


TRANSITIONS: dict[tuple[State, Action], State] = {
    (State.IDLE, Action.START): State.RECORDING,
    (State.STOPPED, Action.START): State.RECORDING,
    (State.RECORDING, Action.PAUSE): State.PAUSED,
    (State.PAUSED, Action.RESUME): State.RECORDING,
    (State.RECORDING, Action.STOP): State.STOPPED,
    (State.PAUSED, Action.STOP): State.STOPPED,
    (State.RECORDING, Action.SPLIT): State.RECORDING,
    **{
        (state, action): state
        for state in State
        for action in (Action.MARK, Action.UNMARK, Action.SAVE, Action.DISCARD)
    },
}
"""(state, action) -> next state; a missing key is `InvalidTransition`."""

GOALS: dict[Action, State] = {
    Action.START: State.RECORDING,
    Action.PAUSE: State.PAUSED,
    Action.RESUME: State.RECORDING,
    Action.STOP: State.STOPPED,
}
"""The state an action wants; being there already is `AlreadyInState`, for idempotent dialects."""


class RecorderError(Exception):
    """Base of what the core refuses; each dialect has its own words for it."""


class UnknownSession(RecorderError):
    """No live session has this id."""


class InvalidTransition(RecorderError):
    """The action is not possible in the session's state."""

    def __init__(self, action: Action, state: State) -> None:
        super().__init__(f"cannot {action} a session that is {state}")
        self.action = action
        self.state = state


class AlreadyInState(InvalidTransition):
    """The session is already where the action leads, and the media process has confirmed it."""


class ControlFailed(RecorderError):
    """The media process did not confirm in time. What was asked for stays asked for, but a pause is
    not ended by a resume that nobody confirmed."""


class NotRecordable(RecorderError):
    """The session's route says that its calls are never recorded.

    `barred`: what of the call it bars; empty: all its calls.
    """

    def __init__(self, barred: "Bar" = "") -> None:
        super().__init__(f"calls of this {barred or 'route'} are never recorded")
        self.barred = barred


class ChannelsInUse(RecorderError):
    """The account has as many recordings at this moment as it may have."""


class NotFinished(RecorderError):
    """The recording has no file yet: it is still growing or being rendered."""


class ConversionFailed(RecorderError):
    """The recording could not be brought into the format that was asked for."""


class ConversionTimeout(RecorderError):
    """The conversion takes longer than a request may wait; it goes on."""


class ConversionBusy(RecorderError):
    """Somebody else has the same recording converted at this moment."""


class Refused(RecorderError):
    """An offer the recorder will not take; `status` is the SIP answer."""

    def __init__(self, status: int, text: str, warning: str = "", retry_after_s: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.warning = warning
        """Value of a Warning header (RFC 3261 20.43), or empty."""
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Actor:
    """Who gives a command, and what they may see and do."""

    name: str
    role: str = "admin"
    """`control`, `operator`, `admin`, or `system` for what we do ourselves."""
    account: int = SYSTEM_ACCOUNT
    """Whose calls and recordings they may reach; the System account reaches all."""
    rights: frozenset[str] = RIGHTS
    """`storage.entries.Permission` values."""
    routes: frozenset[int] = frozenset()
    """Only what came over these routes; empty: over any."""

    def sees(self, account: int, route: int = 0) -> bool:
        """Whether what belongs to this account and route exists for them. `route` 0: any."""
        if self.account not in {SYSTEM_ACCOUNT, account}:
            return False
        return not (self.routes and route) or route in self.routes


@dataclass(frozen=True, slots=True)
class Terms:
    """How a command is to be carried out; what it does not say is as the route has it."""

    fill: str = ""
    """What a pause leaves: `silence` or `cut`."""
    reason: str = ""
    """Why, for the history."""
    text: str = ""
    """Of a mark."""
    prebuffer: bool = False
    """A start includes what was just said."""
    filename: str = ""
    """Of the recording a start opens, fit to be one (`storage.text.file_name`)."""
    profile: str = ""
    """Its format profile."""
    is_strict: bool = False
    """Being there already is a failure and others are told so: for dialects that say it is."""


PLAIN = Terms()
SYSTEM = Actor("siprecd", "system")
SRC = Actor("src", "system")
"""The session recording client, acting through SIP."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One SIP request as the core sees it: parsed, and free of SIP mechanics."""

    dialog_id: str
    call_id: str
    signs: frozenset[str]
    """Signs of a recording session: `require`, `sip.src`, `src`, `metadata`."""
    local_host: str
    """Our address the request came to, for SDP when nothing else is configured."""
    received_at: datetime
    sdp: SessionDescription | None = None
    metadata: Document | None = None
    from_aor: str = ""
    to_aor: str = ""
    warnings: tuple[str, ...] = ()
    """Reason codes of what was odd in the request, e.g. `metadata_malformed`."""
    peer: str = ""
    """Network address the request came from."""
    ucid: str = ""
    """Value of the header configured for it, verbatim; empty without."""
    transport: str = ""
    """`udp` or `tcp`; empty: it did not come by SIP."""
    local_port: int = 0
    """Port of ours it came to."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls whom, and under which ids a call is known elsewhere (`siprec.identity`)."""

    ani: str = ""
    """The caller: user part of the address."""
    dnis: str = ""
    """The called party."""
    ucid: str = ""
    """Universal call id, verbatim; empty unless the client states one."""
    egress_call_id: str = ""
    realm: str = ""
    """The first realm the client's extension data names."""
    realms: tuple[str, ...] = ()
    calling: frozenset[str] = frozenset()
    """Participants on the caller's side."""
    calling_aors: tuple[str, ...] = ()
    called_aors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the directory says about a call: whose it is and whether it is recorded."""

    account: int = SYSTEM_ACCOUNT
    route: int = DEFAULT_ROUTE
    record: Record = "always"
    """`always`: from its beginning; `on_demand`: once somebody starts it."""
    profile: str = "default"
    pause_fill: Fill = "silence"
    """What a pause leaves, unless the command says."""
    prebuffer_ms: int = 0
    """What an on-demand call holds in memory of the time before it is started."""
    barred: Bar = ""
    """Why the route never records this one of its calls."""
    save_by_default: bool = True
    """Recordings stay after the call unless somebody discards them, else only if one saves them."""
    agents_may_control: bool = True


@dataclass(frozen=True, slots=True)
class Sides:
    """Whose call it is, and which way it went for them."""

    owner: str = ""
    """E-mail address of the user whose line it was; empty: nobody's."""
    direction: Direction | Literal[""] = ""
    """Empty without an owner."""
    local: str = ""
    """The owner's number, without one the called party's."""
    remote: str = ""


@dataclass(slots=True)
class NegotiatedStream:
    """One media stream of a recording session, while it lives and after."""

    number: int
    """Its number in the `Plan`, wherever its m-line stands."""
    spec: StreamSpec
    port: StreamPort
    closed: bool = False


@dataclass(frozen=True, slots=True)
class ReceptionView:
    """Live packet figures of one stream."""

    packets: int
    lost: int
    duplicates: int
    jitter_ms: float
    active: bool
    """False while the client has set the stream inactive."""


@dataclass(slots=True)
class LiveSession:
    """One communication session while it is being, or could be, recorded."""

    id: str
    dialog_id: str
    call_id: str
    started_at: datetime
    state: State = State.IDLE
    recording: Recording | None = None
    """The open recording, if any; replaced, never mutated."""
    participants: tuple[Participant, ...] = ()
    streams: list[NegotiatedStream] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    from_aor: str = ""
    to_aor: str = ""
    marks: tuple[Mark, ...] = ()
    pauses: tuple[Pause, ...] = ()
    identity: Identity = Identity()
    decision: Decision = Decision()
    segments: int = 0
    """Recordings there were so far."""
    sides: Sides = Sides()
    marking: Literal["", "mark", "unmark"] = ""
    """What was last said of the call."""
    saving: Literal["", "save", "discard"] = ""
    """What is to become of its recordings, if anybody said."""
    outline: Recording | None = None
    """What a recording of now would say, without an id; None: to be made when it is wanted."""
    platform: str = ""
    """Name of the recording platform it came over; empty: none."""
    is_dual: bool = False
    """That platform sends the media of the owner apart: it is the left channel."""

    @classmethod
    def of(cls, offer: Offer, identity: Identity, decision: Decision, paused: bool) -> Self:
        """A new call's session.

        `paused`: the call was, when it was cut off; it goes on so, unless its route forbids it.
        """
        records = decision.record == "always" or (paused and decision.record == "on_demand")
        live = cls(
            secrets.token_hex(16),
            offer.dialog_id,
            offer.call_id,
            offer.received_at,
            from_aor=offer.from_aor,
            to_aor=offer.to_aor,
            identity=identity,
            decision=decision,
        )
        if records:
            live.state = State.PAUSED if paused else State.RECORDING
        if live.state is State.PAUSED:
            live.pauses = (Pause(offer.received_at, None, "silence"),)
            live.warnings = ("paused_before_restart",)
        return live

    @property
    def discards(self) -> bool:
        """Whether its recordings are deleted once the call has ended."""
        return self.saving == "discard" or not (self.saving or self.decision.save_by_default)

    def is_seen_by(self, actor: Actor) -> bool:
        """Whether the session exists for `actor`."""
        return actor.sees(self.decision.account, self.decision.route)

    def held_since(self, now: datetime) -> datetime:
        """Since when what was said is held in memory; `now` if it is not."""
        if self.state is not State.IDLE:
            return now
        held = timedelta(milliseconds=self.decision.prebuffer_ms)
        return max(now - held, min(self.started_at, now))

    def paused_ms(self, now: datetime) -> int:
        """Milliseconds of the open recording spent paused so far."""
        spans = ((pause.ended_at or now) - pause.started_at for pause in self.pauses)
        return sum(int(span.total_seconds() * 1000) for span in spans)

    def duration_ms(self, now: datetime) -> int:
        """Length the open recording's file would have now, 0 when none is open."""
        if self.recording is None:
            return 0
        elapsed = int((now - self.recording.started_at).total_seconds() * 1000)
        cut = tuple(pause for pause in self.pauses if pause.fill == "cut")
        return elapsed - replace(self, pauses=cut).paused_ms(now)


@dataclass(slots=True)
class RecordingSession:
    """One SIP dialog with a session recording client (RFC 7245)."""

    dialog_id: str
    call_id: str
    live: LiveSession
    plan: Plan
    answer: SessionDescription
    metadata: Model
    offer: Offer
    """The first one."""
    confirmed: bool = False
