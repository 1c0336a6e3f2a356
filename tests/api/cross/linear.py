"""Whether there is an order of commands, one after the other, that explains all their answers.

A history is linearizable (Herlihy and Wing, 1990) if each command can be thought to happen at one
moment between its request and its answer, so that one call, by `TRANSITIONS`, would have given all
these answers. The search is that of Wing and Gong (1993): take any command that may come next, that
is one that nobody answered before it was asked, and go back where that leads nowhere; a place that
led nowhere is not visited twice (Lowe, 2017). Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from siprec.session import TRANSITIONS, Action, State
from tests.api.cross.operators import CLOSED, MEDIA, Effect, Operator, Outcome

Entry = tuple[str, str]
"""Of a recording's history: action, and the name of the command that did it."""
MARKINGS = {Action.MARK: "mark", Action.UNMARK: "unmark"}
SAVINGS = {Action.SAVE: "save", Action.DISCARD: "discard"}


@dataclass(frozen=True, slots=True)
class Op:
    """A command that was given."""

    operator: Operator
    action: Action
    sent_at: float
    answered_at: float
    outcome: Outcome

    @property
    def name(self) -> str:
        """Who gave it, and its tag."""
        return f"{self.operator.actor} {self.outcome.tag}".strip()


class Model(NamedTuple):
    """A call, as far as commands change it."""

    state: State = State.IDLE
    marking: str = ""
    saving: str = ""

    def after(self, action: Action) -> "Model":
        """What a command makes of it."""
        return Model(
            TRANSITIONS[self.state, action],
            MARKINGS.get(action, self.marking),
            SAVINGS.get(action, self.saving),
        )

    def written(self, action: Action, name: str) -> list[Entry]:
        """What a command leaves in the histories of the recordings of the call."""
        if action is Action.SPLIT:
            return [(Action.SPLIT, name), (Action.START, name)]
        is_written = action is Action.START or self.state not in CLOSED
        return [(action, name)] if is_written else []


@dataclass(frozen=True, slots=True)
class Step:
    """One command in its place."""

    op: Op
    action: Action | None
    """What it did; None: nothing."""
    before: State
    after: State


class Unexplained(Exception):
    """There is no such order; the text says how far the longest went."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What has happened so far in an order that is tried."""

    taken: tuple[int, ...]
    """How many commands of each client."""
    model: Model
    written: int = 0
    step: Step | None = None
    """The last one, and the place before it."""
    parent: "_Place | None" = None

    @property
    def key(self) -> tuple[tuple[int, ...], Model, int]:
        """The same for places that lead to the same."""
        return self.taken, self.model, self.written


def explain(clients: Sequence[Sequence[Op]], history: Sequence[Entry], last: Model) -> list[Step]:
    """An order that explains all answers and has been written down as `history`.

    `clients`: the commands of each, who waited for one answer before asking again; `last`: the call
    when all were answered. Raises Unexplained.
    """
    begin = _Place(tuple(0 for _ in clients), Model())
    waiting, seen, farthest = [begin], {begin.key}, begin
    while waiting:
        place = waiting.pop()
        if sum(place.taken) > sum(farthest.taken):
            farthest = place
        if all(n == len(ops) for n, ops in zip(place.taken, clients, strict=True)):
            if place.model == last and place.written == len(history):
                return [*_steps(place)][::-1]
            continue
        for following in _following(place, clients, history):
            if following.key not in seen:
                seen.add(following.key)
                waiting.append(following)
    raise Unexplained(_trouble(farthest, clients, history))


def _steps(place: _Place) -> Iterator[Step]:
    at: _Place | None = place
    while at and at.step:
        yield at.step
        at = at.parent


def _following(
    place: _Place, clients: Sequence[Sequence[Op]], history: Sequence[Entry]
) -> list[_Place]:
    """Where one more command leads; the most promising last."""
    found = []
    for client, op in _next(place, clients):
        effect = op.operator.effect(place.model.state, op.action)
        if op.outcome.is_busy:
            effect = Effect(False)
        if effect.done is not op.outcome.done or place.model.state not in op.outcome.states:
            continue
        taken = (*place.taken[:client], place.taken[client] + 1, *place.taken[client + 1 :])
        model, written = place.model, place.written
        if effect.action:
            entries = model.written(effect.action, op.name)
            if [*history[written : written + len(entries)]] != entries:
                continue
            model, written = model.after(effect.action), written + len(entries)
        step = Step(op, effect.action, place.model.state, model.state)
        found.append(_Place(taken, model, written, step, place))
    return sorted(found, key=lambda each: (each.model != place.model, -each.step.op.answered_at))  # type: ignore[union-attr]


def _next(place: _Place, clients: Sequence[Sequence[Op]]) -> list[tuple[int, Op]]:
    """The commands that may come next, each with its client."""
    first = [
        (client, ops[n])
        for client, (n, ops) in enumerate(zip(place.taken, clients, strict=True))
        if n < len(ops)
    ]
    earliest = min(op.answered_at for _, op in first)
    return [(client, op) for client, op in first if op.sent_at <= earliest]


def _trouble(place: _Place, clients: Sequence[Sequence[Op]], history: Sequence[Entry]) -> str:
    every = sum(map(len, clients))
    told = [
        f"{sum(place.taken)} of {every} explained; then {place.model}, and {len(history)} "
        f"entries, of which next: {[*history[place.written : place.written + 3]]}"
    ]
    for step in [*_steps(place)][:5][::-1]:
        told.append(f"  before: {_line(step.op)} did {step.action}")
    if sum(place.taken) < every:
        told += [f"  next: {_line(op)}" for _, op in _next(place, clients)]
    return "\n".join(told)


def _line(op: Op) -> str:
    return f"{op.sent_at:.4f}-{op.answered_at:.4f} {op.operator.actor} {op.action}: {op.outcome}"


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which what is recorded is certain."""

    since: float
    until: float
    is_recorded: bool


def unexcused(ops: Sequence[Op]) -> list[Op]:
    """Those that were refused because of another of the kind, when there was none at the time."""
    starts = [op for op in ops if op.action is Action.START and not op.outcome.is_busy]
    return [
        op
        for op in ops
        if op.outcome.is_busy
        and not any(
            type(each.operator) is type(op.operator)
            and each.sent_at <= op.answered_at
            and each.answered_at >= op.sent_at
            for each in starts
        )
    ]


def spans(steps: Sequence[Step], begin: float, end: float) -> list[Span]:
    """From the answer of the command that led into a state until the next was asked for."""
    turns = [each for each in steps if each.action in MEDIA and each.before is not each.after]
    found = [Span(begin, turns[0].op.sent_at, False)] if turns else [Span(begin, end, False)]
    for one, two in pairwise(turns):
        is_recorded = one.after is State.RECORDING
        found.append(Span(one.op.answered_at, two.op.sent_at, is_recorded))
    if turns:
        found.append(Span(turns[-1].op.answered_at, end, turns[-1].after is State.RECORDING))
    return [each for each in found if each.since < each.until]
