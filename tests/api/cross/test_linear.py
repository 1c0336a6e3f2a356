"""The judge of the hammering: what has an explanation, what has none."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from siprec.session import Action, LiveSession, State
from tests.api.cross.linear import (
    Entry,
    Model,
    Op,
    Span,
    Unexplained,
    explain,
    spans,
    unexcused,
)
from tests.api.cross.operators import (
    BUSY,
    DONE,
    AnywhereNow,
    Effect,
    Face,
    Native,
    Operator,
    Outcome,
)

START, PAUSE, RESUME, STOP = Action.START, Action.PAUSE, Action.RESUME, Action.STOP


class Judged:
    """Somebody of whom only what commands come to is asked."""

    def __init__(self, actor: str, effect: Callable[[Any, State, Action], Effect]) -> None:
        self.actor = actor
        self.actions = frozenset(Action)
        self._effect = effect

    def effect(self, state: State, action: Action) -> Effect:
        return self._effect(None, state, action)

    async def give(self, live: LiveSession, action: Action) -> Outcome:
        raise NotImplementedError

    async def sees(self, live: LiveSession, state: State) -> None:
        raise NotImplementedError


FACE, NATIVE = Judged("face", Face.effect), Judged("native", Native.effect)
AGENT = Judged("agent", AnywhereNow.effect)
RECORDING, PAUSED, STOPPED = (
    Outcome(False, frozenset({each})) for each in (State.RECORDING, State.PAUSED, State.STOPPED)
)
"""Refusals that tell the state."""
IS_RECORDED, IS_PAUSED = Model(State.RECORDING), Model(State.PAUSED)


def op(who: Operator, action: Action, since: float, until: float, outcome: Outcome = DONE) -> Op:
    return Op(who, action, since, until, outcome)


Case = tuple[Sequence[Sequence[Op]], list[Entry], Model]
EXPLAINED: dict[str, Case] = {
    "nothing": ([[], []], [], Model()),
    "one": ([[op(FACE, START, 0, 1)]], [("start", "face")], IS_RECORDED),
    "the later answer was first": (
        [[op(FACE, START, 0, 2, RECORDING)], [op(NATIVE, START, 0, 9)]],
        [("start", "native")],
        IS_RECORDED,
    ),
    "both, of whom one is not strict": (
        [[op(FACE, START, 0, 2)], [op(NATIVE, START, 1, 3)]],
        [("start", "face")],
        IS_RECORDED,
    ),
    "the second of two like it was the one that did something": (
        [
            [op(FACE, START, 0, 1)],
            [op(NATIVE, START, 2, 9, Outcome(True, tag="1"))],
            [op(FACE, STOP, 3, 4)],
            [op(NATIVE, START, 10, 11, Outcome(True, tag="2"))],
        ],
        [("start", "face"), ("stop", "face"), ("start", "native 2")],
        IS_RECORDED,
    ),
    "a start that resumes": (
        [
            [op(FACE, START, 0, 1), op(FACE, PAUSE, 2, 3), op(FACE, RESUME, 6, 7, RECORDING)],
            [op(AGENT, START, 4, 5)],
        ],
        [("start", "face"), ("pause", "face"), ("resume", "agent")],
        IS_RECORDED,
    ),
    "a mark of what is not recorded is in no history": (
        [[op(NATIVE, Action.MARK, 0, 1), op(NATIVE, Action.SAVE, 2, 3)]],
        [],
        Model(State.IDLE, "mark", "save"),
    ),
    "a split begins a history": (
        [[op(NATIVE, START, 0, 1), op(NATIVE, Action.SPLIT, 2, 3)]],
        [("start", "native"), ("split", "native"), ("start", "native")],
        IS_RECORDED,
    ),
}
UNEXPLAINED: dict[str, Case] = {
    "both won": (
        [[op(FACE, START, 0, 2)], [op(AGENT, START, 1, 3)]],
        [("start", "face")],
        IS_RECORDED,
    ),
    "nobody won": (
        [[op(FACE, START, 0, 2, RECORDING)], [op(AGENT, START, 1, 3, RECORDING)]],
        [],
        Model(),
    ),
    "it was answered before the other was asked": (
        [[op(FACE, START, 0, 2, RECORDING)], [op(NATIVE, START, 3, 4)]],
        [("start", "native")],
        IS_RECORDED,
    ),
    "a refusal tells another state": (
        [[op(FACE, START, 0, 1), op(FACE, RESUME, 2, 3, STOPPED)]],
        [("start", "face")],
        IS_RECORDED,
    ),
    "a pause was lost": (
        [[op(FACE, START, 0, 1), op(FACE, PAUSE, 2, 3), op(FACE, PAUSE, 4, 5)]],
        [("start", "face"), ("pause", "face"), ("pause", "face")],
        IS_PAUSED,
    ),
    "the history has another order": (
        [[op(FACE, START, 0, 1)], [op(NATIVE, PAUSE, 2, 4)], [op(AGENT, Action.MARK, 3, 5)]],
        [("start", "face"), ("pause", "native"), ("mark", "native")],
        IS_PAUSED,
    ),
    "the history lacks it": ([[op(FACE, START, 0, 1)]], [], IS_RECORDED),
    "the history has more": (
        [[op(FACE, START, 0, 1)]],
        [("start", "face"), ("pause", "face")],
        IS_RECORDED,
    ),
    "it did not end so": ([[op(FACE, START, 0, 1)]], [("start", "face")], IS_PAUSED),
    "the last word did not count": (
        [[op(NATIVE, Action.SAVE, 0, 1), op(NATIVE, Action.DISCARD, 2, 3)]],
        [],
        Model(State.IDLE, "", "save"),
    ),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_what_can_be_explained(name: str) -> None:
    clients, history, last = EXPLAINED[name]
    steps = explain(clients, history, last)
    assert {id(step.op) for step in steps} == {id(op) for ops in clients for op in ops}
    place = {id(step.op): at for at, step in enumerate(steps)}
    for ops in clients:
        assert [*ops] == sorted(ops, key=lambda op: place[id(op)])


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_what_cannot_be_explained(name: str) -> None:
    with pytest.raises(Unexplained, match="explained; then"):
        explain(*UNEXPLAINED[name])


def test_a_long_history_in_which_much_overlaps_is_explained_soon() -> None:
    """Eight clients, all of whose commands overlap, and the whole is impossible at its end."""
    clients = [
        [op(NATIVE, Action.MARK, round_, round_ + 0.9) for round_ in range(100)] for _ in range(7)
    ]
    clients.append([op(FACE, START, 200, 201), op(FACE, START, 202, 203)])
    with pytest.raises(Unexplained, match="701 of 702 explained"):
        explain(clients, [("start", "face")], IS_RECORDED)


def test_between_answer_and_request_is_certain() -> None:
    one = [op(FACE, START, 1, 2), op(FACE, PAUSE, 3, 4), op(FACE, RESUME, 6, 7)]
    other = [op(NATIVE, Action.MARK, 1, 9), op(NATIVE, STOP, 10, 11), op(NATIVE, START, 10.5, 12)]
    history = [(verb, "face") for verb in ("start", "pause", "resume")]
    history += [("mark", "native"), ("stop", "native"), ("start", "native")]
    last = Model(State.RECORDING, "mark")
    steps = explain([one, other[:2], other[2:]], history, last)
    assert spans(steps, 0, 20) == [
        Span(0, 1, False),
        Span(2, 3, True),
        Span(4, 6, False),
        Span(7, 10, True),
        Span(12, 20, True),
    ]
    assert spans([], 0, 20) == [Span(0, 20, False)]


def test_whoever_was_too_busy_had_something_to_do() -> None:
    busy = op(FACE, START, 2, 3, BUSY)
    for others, expected in (
        ([], [busy]),
        ([op(FACE, START, 0, 1), op(FACE, START, 4, 5)], [busy]),
        ([op(FACE, PAUSE, 0, 9), op(FACE, START, 0, 9, BUSY)], [busy, busy]),
        ([op(FACE, START, 0, 9)], []),
        ([op(FACE, START, 2.5, 9)], []),
    ):
        found = unexcused([busy, *others])
        assert len(found) == len(expected)
    assert [step.action for step in explain([[busy]], [], Model())] == [None]
