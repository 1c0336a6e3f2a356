"""What is told of live sessions, and how long anybody waits for it."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime

import pytest

from media.spec import MediaUnavailable
from siprec import journal as module
from siprec.control import MEDIA
from siprec.feed import FeedEvent
from siprec.journal import FEED, OCCURRENCES
from siprec.occurrence import ENDED, PAUSED, RESUMED, STARTED, Occurrence
from siprec.session import Action, Actor, ControlFailed, InvalidTransition, NotRecordable
from storage.entries import Account, Route
from tests.api.node import Node

DESK = Actor("desk 4", "operator")


def listening(node: Node) -> list[Occurrence]:
    """Everything told from now on."""
    heard: list[Occurrence] = []

    def hear(occurrence: Occurrence) -> Awaitable[None] | None:
        heard.append(occurrence)
        return None

    node.services.recorder.journal.on_occurrence = hear
    return heard


def told(heard: list[Occurrence]) -> list[tuple[str, str]]:
    return [(occurrence.event, occurrence.result) for occurrence in heard]


def test_every_action_is_announced_and_told_except_what_is_only_said_of_a_call() -> None:
    assert set(FEED) == set(Action)
    assert set(OCCURRENCES) == MEDIA


async def test_a_call_from_begin_to_end_is_told(node: Node) -> None:
    heard = listening(node)
    live = await node.call()
    recorder = node.services.recorder
    for action in (Action.PAUSE, Action.RESUME, Action.SPLIT, Action.MARK):
        await recorder.control(live.id, action, DESK)
    recorder.end(live.dialog_id, "bye")
    good = [STARTED, PAUSED, RESUMED, ENDED, STARTED, ENDED]
    assert told(heard) == [(event, "success") for event in good]
    first, second = heard[3].recording, heard[4].recording
    assert first.ended_at and first.status == "processing" and first.segment == 1
    assert second.ended_at is None and second.segment == 2
    assert first.session_id == second.session_id and first.id != second.id
    assert heard[5].recording.id == second.id


async def test_a_command_that_cannot_be_is_told_as_failed(node: Node) -> None:
    live = await node.call()
    heard = listening(node)
    with pytest.raises(InvalidTransition):
        await node.services.recorder.control(live.id, Action.RESUME, DESK)
    await node.services.recorder.control(live.id, Action.STOP, DESK)
    with pytest.raises(InvalidTransition):
        await node.services.recorder.control(live.id, Action.PAUSE, DESK)
    assert told(heard) == [(ENDED, "success"), (PAUSED, "fail")]
    assert heard[-1].recording.id == "" and heard[-1].recording.call_id == live.call_id


async def test_a_start_its_route_forbids_is_told_as_failed(node: Node) -> None:
    directory = node.services.directory
    await directory.put(Account(100, "Doctors"))
    await directory.put(Route(10, 100, match="from", pattern="alice%", record="never"))
    live = await node.call()
    heard = listening(node)
    with pytest.raises(NotRecordable):
        await node.services.recorder.control(live.id, Action.START, DESK)
    assert told(heard) == [(STARTED, "fail")]
    assert heard[0].recording.account == 100


async def test_what_the_media_process_does_not_confirm_is_told_as_failed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await node.call()
    heard = listening(node)

    async def nobody(*_: object) -> None:
        raise MediaUnavailable("gone")

    monkeypatch.setattr(node.engine, "switch", nobody)
    with pytest.raises(ControlFailed):
        await node.services.recorder.control(live.id, Action.PAUSE, DESK)
    assert told(heard) == [(PAUSED, "fail")]


async def test_a_command_waits_for_what_is_told_to_be_safe_but_not_for_ever(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await node.call()
    monkeypatch.setattr(module, "PATIENCE_S", 30)
    loop = asyncio.get_running_loop()
    safe, never = loop.create_future(), loop.create_future()
    journal = node.services.recorder.journal
    journal.on_occurrence = lambda occurrence: safe
    async with asyncio.TaskGroup() as group:
        pause = group.create_task(
            node.services.recorder.control(live.id, Action.PAUSE, DESK), name="pause"
        )
        await asyncio.sleep(0.2)
        assert not pause.done() and live.state == "paused"
        safe.set_result(None)
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    journal.on_occurrence = lambda occurrence: never
    await node.services.recorder.control(live.id, Action.RESUME, DESK)
    assert live.state == "recording" and not never.done()


async def test_events_say_whose_call_it_is(node: Node) -> None:
    directory = node.services.directory
    await directory.put(Account(100, "Shop"))
    await directory.put(Route(10, 100, match="from", pattern="alice%"))
    with node.services.feed.subscribe() as subscription:
        live = await node.call()
        events: list[FeedEvent] = []
        async for event in subscription:
            events.append(event)
            if event.type == "recording.started":
                break
    assert {(event.account, event.route) for event in events} == {(100, 10)}
    assert events[0].at <= datetime.now(UTC)
    assert live.recording and live.recording.account == 100
