"""Every command of every interface, in every state: what all others show, what is told, who it was.

What is done through one interface is seen through all others before it is answered, and told once
by everybody who tells. The test knows no interface: see `tests.api.cross.operators`.
"""

import asyncio

import pytest

from siprec.journal import FEED
from siprec.session import SYSTEM, TRANSITIONS, Action, LiveSession, State
from tests.api.cross.desk import Desk, Told
from tests.api.cross.operators import (
    FLAGS,
    NOTICED,
    PUSHED,
    AnywhereNow,
    Effect,
    Face,
    Imagicle,
    ImagicleById,
    Native,
    Operator,
    everybody,
)

KINDS = (Native, Face, AnywhereNow, Imagicle, ImagicleById)
WAYS: dict[State, tuple[Action, ...]] = {
    State.IDLE: (),
    State.RECORDING: (Action.START,),
    State.PAUSED: (Action.START, Action.PAUSE),
    State.STOPPED: (Action.START, Action.STOP),
}
"""How a call comes into a state."""
MARKINGS = {Action.MARK: "mark", Action.UNMARK: "unmark"}
SAVINGS = {Action.SAVE: "save", Action.DISCARD: "discard"}


def check_told(told: Told, done: list[tuple[Action, str]]) -> None:
    """Nothing but these commands, each of an actor, was told of, and each of them once."""
    assert told.events == [
        (FEED[action].removeprefix("recording."), actor) for action, actor in done
    ]
    assert told.hub == [number for action, _ in done for number in PUSHED[action]]
    assert told.successes == [each for action, _ in done for each in NOTICED.get(action, [])]


async def in_state(desk: Desk, state: State) -> LiveSession:
    live = await desk.call()
    for action in WAYS[state]:
        await desk.node.services.recorder.control(live.id, action, SYSTEM)
    return live


async def history(desk: Desk, recording_id: str) -> list[tuple[str, str]]:
    row = await desk.node.services.library.get(recording_id)
    return [(each.action, each.actor) for each in row.history]


async def check(
    desk: Desk, operator: Operator, state: State, action: Action
) -> tuple[LiveSession, Effect]:
    """One command to one call: its answer, what everybody sees then, and the history."""
    live = await in_state(desk, state)
    before = live.recording.id if live.recording else ""
    effect = operator.effect(state, action)
    outcome = await operator.give(live, action)
    assert (outcome.done, state in outcome.states) == (effect.done, True), outcome
    after = TRANSITIONS[state, effect.action] if effect.action else state
    assert live.marking == MARKINGS.get(action, "")
    assert live.saving == SAVINGS.get(action, "")
    await asyncio.gather(*(each.sees(live, after) for each in everybody(desk)))
    if effect.action and (before or live.recording):
        rows = await history(desk, before or (live.recording.id if live.recording else ""))
        assert rows[-1] == (effect.action, operator.actor)
        assert rows.count(rows[-1]) == 1
    return live, effect


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_command_is_seen_everywhere_and_told_once(
    desk: Desk, kind: type[Native], state: State
) -> None:
    operator: Operator = kind(desk)
    checked = [
        await check(desk, operator, state, action)
        for action in Action
        if action in operator.actions
    ]
    await desk.listen()
    for live, effect in checked:
        done = [(each, SYSTEM.name) for each in WAYS[state]]
        if effect.action:
            done.append((effect.action, operator.actor))
        check_told(desk.heard(live), done)
    await asyncio.gather(*(desk.hang_up(live) for live, _ in checked))


def test_every_command_is_tried() -> None:
    """No interface has a command that the table leaves out."""
    assert FLAGS | {*NOTICED} == {*PUSHED} == {*Action}
    assert {state for state, _ in TRANSITIONS} == {*WAYS}
