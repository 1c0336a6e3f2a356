"""What is said of a call, and how many recordings an account may have; the rest is in
`test_recorder`."""

import asyncio
from datetime import UTC, datetime

import pytest

from siprec.control import in_ns, in_utc
from siprec.occurrence import ENDED, STARTED, Occurrence
from siprec.session import (
    Action,
    Actor,
    AlreadyInState,
    ChannelsInUse,
    InvalidTransition,
    LiveSession,
    NotRecordable,
    State,
    Terms,
)
from storage.entries import Account, Route
from storage.records import RecordingQuery
from tests.api.node import Node
from tests.siprec.test_recorder import offer

DESK = Actor("desk 4", "control")


async def call(node: Node, to: str = "sip:9@x", call_id: str = "call") -> LiveSession:
    node.services.recorder.begin(offer(call_id, to_aor=to))
    return node.services.recorder.sessions()[0]


async def test_flags_are_kept_written_down_and_told(node: Node) -> None:
    live, recorder = await call(node), node.services.recorder
    with node.services.feed.subscribe() as events:
        for action in (Action.MARK, Action.UNMARK, Action.DISCARD, Action.SAVE, Action.SAVE):
            await recorder.control(live.id, action, DESK, Terms(text="why"))
        told = [event.type for event in events._events]
    assert told == [
        f"recording.{each}" for each in ("marked", "unmarked", "discarded", "saved", "saved")
    ]
    assert (live.marking, live.saving, live.discards) == ("unmark", "save", False)
    assert live.recording and [mark.text for mark in live.recording.marks] == ["why"]
    assert [(each.actor, each.action) for each in live.recording.history][1:] == [
        ("desk 4", each) for each in ("mark", "unmark", "discard", "save", "save")
    ]
    assert live.recording.discard is False
    await recorder.control(live.id, Action.DISCARD, DESK)
    assert live.recording.discard is True


async def test_a_mark_made_before_the_start_is_the_recordings(node: Node) -> None:
    await node.services.directory.put(Route(7, 1, pattern="777", record="on_demand"))
    live, recorder = await call(node, "sip:777@x"), node.services.recorder
    await recorder.control(live.id, Action.MARK, DESK, Terms(text="early"))
    await recorder.control(live.id, Action.START, DESK)
    assert live.recording and [mark.text for mark in live.recording.marks] == ["early"]


async def test_what_is_barred_is_not_started(node: Node) -> None:
    await node.services.directory.put(Route(7, 1, pattern="777", directions=["incoming"]))
    live = await call(node, "sip:777@x")
    with pytest.raises(NotRecordable, match="direction") as refusal:
        await node.services.recorder.control(live.id, Action.START, DESK)
    assert refusal.value.barred == "direction" and live.recording is None


async def test_no_more_starts_than_channels_but_no_call_is_lost(node: Node) -> None:
    directory, recorder = node.services.directory, node.services.recorder
    await directory.put(Account(100, channels=1))
    await directory.put(Route(7, 100, pattern="777", record="on_demand"))
    await directory.put(Route(8, 100, pattern="888"))
    first = await call(node, "sip:777@x", "one")
    second = await call(node, "sip:777@x", "two")
    started = [recorder.control(each.id, Action.START, DESK) for each in (first, second)]
    found = await asyncio.gather(*started, return_exceptions=True)
    assert found[0] is first and isinstance(found[1], ChannelsInUse)
    assert second.recording is None
    assert (await call(node, "sip:888@x", "three")).recording
    await recorder.control(first.id, Action.SPLIT, DESK)
    await recorder.control(first.id, Action.STOP, DESK)
    with pytest.raises(ChannelsInUse, match="account 100 has 1 recordings"):
        await recorder.control(second.id, Action.START, DESK)
    with pytest.raises(InvalidTransition):
        await recorder.control(second.id, Action.PAUSE, DESK)


def test_nanoseconds_are_exact_to_the_microsecond() -> None:
    at = datetime(2026, 11, 22, 14, 5, 6, 789_123, UTC)
    assert in_utc(in_ns(at)) == at


async def test_a_refusal_tells_the_state_that_refused_it(node: Node) -> None:
    """Not the one that somebody else has brought about until it is told."""
    live, recorder = await call(node), node.services.recorder
    strict = Terms(is_strict=True)
    for first, second, state in (
        (Action.PAUSE, Action.STOP, State.PAUSED),
        (Action.START, Action.PAUSE, State.RECORDING),
        (Action.RESUME, Action.STOP, State.RECORDING),
    ):
        answers = await asyncio.gather(
            *(recorder.control(live.id, each, DESK, strict) for each in (first, first, second)),
            return_exceptions=True,
        )
        assert answers[0] is answers[2] is live
        assert isinstance(answers[1], AlreadyInState)
        assert (answers[1].action, answers[1].state) == (first, state)


async def test_events_name_the_recording_the_command_was_about(node: Node) -> None:
    """However soon another command closes it, and opens the next."""
    await node.services.directory.put(Route(7, 1, pattern="777", record="on_demand"))
    live, recorder = await call(node, "sip:777@x"), node.services.recorder
    told: list[Occurrence] = []
    recorder.journal.on_occurrence = told.append
    actions = (Action.START, Action.STOP, Action.START, Action.SPLIT, Action.STOP)
    with node.services.feed.subscribe() as events:
        await asyncio.gather(*(recorder.control(live.id, each, DESK) for each in actions))
        found = {
            (event.type, event.recording_id)
            for event in events._events
            if event.type.rpartition(".")[2] in {"started", "stopped"}
        }
    rows = await node.services.library.match(RecordingQuery(session_id=live.id, limit=9))
    first, second, third = (row.id for row in rows)
    assert found == {
        *(("recording.started", each) for each in (first, second, third)),
        *(("recording.stopped", each) for each in (first, third)),
    }
    assert {(each.event, each.recording.id) for each in told} == {
        (event, each) for event in (STARTED, ENDED) for each in (first, second, third)
    }
