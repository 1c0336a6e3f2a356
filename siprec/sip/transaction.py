"""Transactions as state tables (RFC 3261 17.1.2 and 17.2, RFC 6026 7.1, RFC 4320).

A table says, for a state and an input, the next state and what follows: timers to start and what
the endpoint is to do. An input without a row is absorbed, a timer without a row in the new state
stops.

The retransmission of a 2xx and its missing ACK belong to the core in RFC 3261 (13.3.1.4). They run
on the same clock as the transaction, so they are rows here: `Timer.X`, the state `ACKNOWLEDGED`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heapify, heappop, heappush

from siprec.sip.events import Flow
from siprec.sip.headers import MAGIC_COOKIE
from siprec.sip.message import Request

T1, T2, T4 = 0.5, 4.0, 5.0
"""Round trip, longest retransmission interval, and life of a message in the network; seconds."""


class State(StrEnum):
    """Where a transaction is."""

    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    ACKNOWLEDGED = "acknowledged"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


class Input(StrEnum):
    """What moves a transaction, besides its timers."""

    REQUEST = "request"
    """The request again."""
    ACK = "ack"
    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"
    LOST = "transport error"


class Timer(StrEnum):
    """RFC 3261 table 4 and RFC 6026, and two of the core."""

    E = "E"
    """Non-INVITE request retransmission, unreliable transports only."""
    F = "F"
    """Non-INVITE client gives up."""
    G = "G"
    """INVITE failure response retransmission, unreliable transports only."""
    H = "H"
    """Wait for the ACK to a failure response."""
    I = "I"  # noqa: E741 - the name the RFC gives it
    """Absorb retransmitted ACKs."""
    J = "J"
    """Absorb retransmitted non-INVITE requests."""
    K = "K"
    """Absorb retransmitted responses."""
    L = "L"
    """Absorb retransmitted INVITEs after a 2xx, and wait for its ACK."""
    X = "X"
    """2xx retransmission, on every transport (RFC 3261 13.3.1.4)."""
    EXPIRES = "Expires"
    """An INVITE was not answered in time (RFC 3261 13.3.1)."""


class Action(StrEnum):
    """What the endpoint is to do after a step."""

    SEND = "send"
    ACKNOWLEDGED = "acknowledged"
    NO_ACK = "no ack"
    EXPIRED = "expired"
    FINISHED = "finished"
    """Our request got its final response, or never will."""


MergeKey = tuple[str, str, int, str]
"""Call-ID, From tag and CSeq of a request without To tag (RFC 3261 8.2.2.2)."""

Table = dict[tuple[State, Input | Timer], tuple[State, tuple[Action | Timer, ...]]]

INVITE_SERVER: Table = {
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Timer.EXPIRES): (State.PROCEEDING, (Action.EXPIRED,)),
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, (Action.SEND, Timer.X, Timer.L)),
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, (Action.SEND, Timer.G, Timer.H)),
    (State.ACCEPTED, Timer.X): (State.ACCEPTED, (Action.SEND, Timer.X)),
    (State.ACCEPTED, Input.ACK): (State.ACKNOWLEDGED, (Action.ACKNOWLEDGED,)),
    (State.ACCEPTED, Timer.L): (State.TERMINATED, (Action.NO_ACK,)),
    (State.ACKNOWLEDGED, Timer.L): (State.TERMINATED, ()),
    (State.COMPLETED, Input.REQUEST): (State.COMPLETED, (Action.SEND,)),
    (State.COMPLETED, Timer.G): (State.COMPLETED, (Action.SEND, Timer.G)),
    (State.COMPLETED, Input.ACK): (State.CONFIRMED, (Timer.I,)),
    (State.COMPLETED, Timer.H): (State.TERMINATED, ()),
    (State.CONFIRMED, Timer.I): (State.TERMINATED, ()),
}
"""RFC 3261 figure 7 as RFC 6026 changed it."""

SERVER: Table = {
    # Nobody waits longer than this for an answer, so nothing is kept longer either.
    (State.TRYING, Timer.J): (State.TERMINATED, ()),
    (State.TRYING, Input.SUCCESS): (State.COMPLETED, (Action.SEND, Timer.J)),
    (State.TRYING, Input.FAILURE): (State.COMPLETED, (Action.SEND, Timer.J)),
    (State.COMPLETED, Input.REQUEST): (State.COMPLETED, (Action.SEND,)),
    (State.COMPLETED, Timer.J): (State.TERMINATED, ()),
}
"""RFC 3261 figure 8 without provisional responses, which RFC 4320 4.1 forbids."""

CLIENT: Table = {
    (State.TRYING, Timer.E): (State.TRYING, (Action.SEND, Timer.E)),
    (State.TRYING, Timer.F): (State.TERMINATED, (Action.FINISHED,)),
    (State.TRYING, Input.LOST): (State.TERMINATED, (Action.FINISHED,)),
    (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, ()),
    (State.TRYING, Input.SUCCESS): (State.COMPLETED, (Action.FINISHED, Timer.K)),
    (State.TRYING, Input.FAILURE): (State.COMPLETED, (Action.FINISHED, Timer.K)),
    (State.PROCEEDING, Timer.E): (State.PROCEEDING, (Action.SEND, Timer.E)),
    (State.PROCEEDING, Timer.F): (State.TERMINATED, (Action.FINISHED,)),
    (State.PROCEEDING, Input.LOST): (State.TERMINATED, (Action.FINISHED,)),
    (State.PROCEEDING, Input.SUCCESS): (State.COMPLETED, (Action.FINISHED, Timer.K)),
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, (Action.FINISHED, Timer.K)),
    (State.COMPLETED, Timer.K): (State.TERMINATED, ()),
}
"""RFC 3261 figure 6."""

_REPEATING = {Timer.E, Timer.G, Timer.X}
_UNRELIABLE_ONLY = {Timer.E, Timer.G}
_ABSORBING = {Timer.I: T4, Timer.K: T4, Timer.J: 64 * T1}
"""Zero on reliable transports, where nothing is retransmitted."""


def input_for(status: int) -> Input:
    """The input a response of this status is."""
    if status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if status < 300 else Input.FAILURE


class Timers:
    """Deadlines of all transactions: a heap in which what was stopped is skipped."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Transaction, Timer]] = []
        self._started = 0
        self._running = 0

    def start(self, transaction: "Transaction", timer: Timer, when: float) -> None:
        """Fire `timer` at `when`, and not at another time it had."""
        self._running += timer not in transaction.deadlines
        transaction.deadlines[timer] = when
        self._started += 1
        heappush(self._heap, (when, self._started, transaction, timer))

    def stop(self, transaction: "Transaction", timer: Timer) -> None:
        """Do not fire a running timer."""
        del transaction.deadlines[timer]
        self._running -= 1
        # What is stopped long before its time must not pile up until then.
        if len(self._heap) > 2 * self._running + 1000:
            self._heap = [e for e in self._heap if e[2].deadlines.get(e[3]) == e[0]]
            heapify(self._heap)

    def next(self) -> float | None:
        """The earliest deadline; `None` if there is none."""
        while self._heap:
            when, _, transaction, timer = self._heap[0]
            if transaction.deadlines.get(timer) == when:
                return when
            heappop(self._heap)
        return None

    def pop(self, now: float) -> "tuple[Transaction, Timer] | None":
        """Take one timer that is due at `now`."""
        when = self.next()
        if when is None or when > now:
            return None
        _, _, transaction, timer = heappop(self._heap)
        del transaction.deadlines[timer]
        self._running -= 1
        return transaction, timer


@dataclass(slots=True, eq=False)
class Transaction:
    """The state of one transaction, and the message it repeats."""

    id: str
    """Branch of a client; of a server what `server_key` gives."""
    table: Table
    state: State
    flow: Flow
    """Where its messages go; not where its request came from if Via says otherwise."""
    timers: Timers
    message: bytes = b""
    """The last response of a server, the request of a client; empty while nothing was sent."""
    dialog_id: str = ""
    """Empty outside a dialog."""
    deadlines: dict[Timer, float] = field(default_factory=dict)
    _intervals: dict[Timer, float] = field(default_factory=dict)

    def step(self, event: Input | Timer, now: float) -> tuple[Action, ...]:
        """Look up what follows, and do it as far as it concerns state and timers."""
        row = self.table.get((self.state, event))
        if row is None:
            return ()
        self.state, effects = row
        for timer in [t for t in self.deadlines if (self.state, t) not in self.table]:
            self.timers.stop(self, timer)
        for effect in effects:
            if isinstance(effect, Timer):
                self.start(effect, now)
        return tuple(effect for effect in effects if isinstance(effect, Action))

    def start(self, timer: Timer, now: float) -> None:
        """Start a timer with the duration the RFC gives it in this state on this transport."""
        reliable = self.flow.transport != "udp"
        if reliable and timer in _UNRELIABLE_ONLY:
            return
        if timer in _REPEATING:
            duration = self._intervals.get(timer, T1)
            if self.state is State.PROCEEDING:
                duration = T2
            self._intervals[timer] = min(2 * duration, T2)
        elif timer in _ABSORBING and self.state is not State.TRYING:
            duration = 0.0 if reliable else _ABSORBING[timer]
        else:
            duration = 64 * T1
        self.timers.start(self, timer, now + duration)


@dataclass(slots=True, eq=False, kw_only=True)
class ServerTransaction(Transaction):
    """A request of a peer and our answer to it."""

    request: Request | None
    """`None` once it was answered finally."""
    vias: tuple[str, ...]
    """The way back, the first with `received` and `rport` filled in."""
    to_tag: str
    """Tag of all our responses to it; empty if To has one."""
    merge_key: MergeKey | None = None
    """What tells the same request on another path; `None` within a dialog."""


@dataclass(slots=True, eq=False, kw_only=True)
class ClientTransaction(Transaction):
    """A request of ours within a dialog."""

    method: str


def server_key(request: Request, method: str) -> str:
    """Name of the server transaction that `method` with the rest of `request` belongs to.

    Branch, sent-by and method; for clients without the magic cookie, what RFC 3261 17.2.3 lists.
    """
    via = request.via
    sent_by = f"{via.host.lower()}:{via.port or ''}"
    if via.branch.startswith(MAGIC_COOKIE):
        return f"{method} {sent_by} {via.branch}"
    # The To tag is left out: an ACK has it, its INVITE does not.
    parts = (request.uri, request.from_.tag, request.call_id, str(request.cseq.number), str(via))
    return " ".join((method, sent_by, *parts))
