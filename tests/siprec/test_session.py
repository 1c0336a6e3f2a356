"""The table of moves, and what a live session says of its time."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from siprec.session import (
    GOALS,
    TRANSITIONS,
    Action,
    Decision,
    InvalidTransition,
    LiveSession,
    State,
)
from storage.records import Pause, Recording

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def session(*pauses: Pause) -> LiveSession:
    recording = Recording("r", "s", "c", "recording", START)
    return LiveSession("s", "d", "c", START, State.RECORDING, recording, pauses=pauses)


@pytest.mark.parametrize(("state", "action"), [*product(State, Action)])
def test_every_move_leads_where_its_action_wants(state: State, action: Action) -> None:
    after = TRANSITIONS.get((state, action))
    if after is not None and action in GOALS:
        assert after is GOALS[action]
        assert state is not after


def test_nothing_but_a_start_leaves_stopped() -> None:
    ways = {(a, to) for (state, a), to in TRANSITIONS.items() if state is State.STOPPED}
    assert {action for action, to in ways if to is not State.STOPPED} == {Action.START}


@pytest.mark.parametrize("action", ["mark", "unmark", "save", "discard"])
@pytest.mark.parametrize("state", [*State])
def test_what_is_said_of_a_call_can_be_said_at_any_time(state: State, action: str) -> None:
    assert TRANSITIONS[state, Action(action)] is state


@pytest.mark.parametrize(
    ("saving", "by_default", "discards"),
    [
        ("", True, False),
        ("", False, True),
        ("save", True, False),
        ("save", False, False),
        ("discard", True, True),
        ("discard", False, True),
    ],
)
def test_the_route_decides_unless_somebody_said(
    saving: Any, by_default: bool, discards: bool
) -> None:
    live = session()
    live.saving, live.decision = saving, Decision(save_by_default=by_default)
    assert live.discards == discards


def test_a_paused_session_is_recorded_again_only_by_resume() -> None:
    ways = {
        a for (s, a), after in TRANSITIONS.items() if s is State.PAUSED and after is State.RECORDING
    }
    assert ways == {Action.RESUME}


def test_a_refused_move_says_what_and_when() -> None:
    assert (
        str(InvalidTransition(Action.RESUME, State.IDLE)) == "cannot resume a session that is idle"
    )


def test_a_silent_pause_counts_into_the_duration() -> None:
    live = session(Pause(at(4), at(7), "silence"))
    assert (live.duration_ms(at(12)), live.paused_ms(at(12))) == (12_000, 3_000)


def test_a_cut_pause_does_not() -> None:
    live = session(Pause(at(1), at(2), "silence"), Pause(at(4), at(7), "cut"))
    assert (live.duration_ms(at(12)), live.paused_ms(at(12))) == (9_000, 4_000)


def test_an_open_pause_grows() -> None:
    live = session(Pause(at(4), None, "cut"))
    assert (live.duration_ms(at(9)), live.paused_ms(at(9))) == (4_000, 5_000)


def test_without_an_open_recording_there_is_no_duration() -> None:
    live = session()
    live.recording = None
    assert live.duration_ms(at(5)) == 0
