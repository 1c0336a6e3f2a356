"""Recordings of discarded calls: gone once the call has ended, whatever happens in between."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from siprec.disposal import Disposal
from siprec.logbook import Changes
from siprec.session import SYSTEM, Action, Actor, ControlFailed, LiveSession
from storage.entries import Route
from storage.records import UnknownRecording
from tests.api.node import Node
from tests.siprec.test_control import call
from tests.siprec.test_recorder import finished

DESK = Actor("desk 4", "control")


async def gone(node: Node, recording_id: str) -> None:
    """Return once the recording, its files and its spool are gone."""
    async with asyncio.timeout(20):
        with node.services.feed.subscribe() as events:
            if await is_there(node, recording_id):
                async for event in events:
                    if (event.type, event.recording_id) == ("recording.deleted", recording_id):
                        break
    assert not await is_there(node, recording_id)
    assert not [*node.folder.rglob(f"{recording_id}*")]


async def is_there(node: Node, recording_id: str) -> bool:
    try:
        await node.services.library.get(recording_id)
    except UnknownRecording:
        return False
    return True


def hang_up(node: Node, live: LiveSession) -> None:
    node.services.recorder.end(live.dialog_id, "bye")


async def test_a_discarded_call_is_gone_with_all_its_segments(node: Node) -> None:
    live, recorder = await call(node), node.services.recorder
    assert live.recording
    first = live.recording.id
    await recorder.control(live.id, Action.STOP, DESK)
    await finished(node, first)
    await recorder.control(live.id, Action.START, DESK)
    second = live.recording.id
    await recorder.control(live.id, Action.DISCARD, DESK)
    stored = await node.services.library.booked(first)
    assert stored.discard and ("desk 4", "discard=true") in {
        (each.actor, each.reason) for each in stored.history
    }
    assert await is_there(node, first) and await is_there(node, second)
    hang_up(node, live)
    await gone(node, first)
    await gone(node, second)


async def test_the_last_word_counts(node: Node) -> None:
    live, recorder = await call(node), node.services.recorder
    assert live.recording
    recording_id = live.recording.id
    for action in (Action.DISCARD, Action.SAVE):
        await recorder.control(live.id, action, DESK)
    hang_up(node, live)
    assert not (await finished(node, recording_id)).discard
    assert await is_there(node, recording_id)


@pytest.mark.parametrize("saved", [True, False])
async def test_what_is_not_kept_by_default_stays_only_if_it_is_saved(
    node: Node, saved: bool
) -> None:
    await node.services.directory.put(Route(7, 1, pattern="777", save_by_default=False))
    live = await call(node, "sip:777@x")
    assert live.recording and live.recording.discard
    recording_id = live.recording.id
    if saved:
        await node.services.recorder.control(live.id, Action.SAVE, DESK)
    hang_up(node, live)
    if saved:
        assert (await finished(node, recording_id)).is_finished
        assert await is_there(node, recording_id)
    else:
        await gone(node, recording_id)


async def test_what_is_on_hold_stays(node: Node) -> None:
    live, library = await call(node), node.services.library
    assert live.recording
    recording_id = live.recording.id
    await library.update(recording_id, Changes(hold=True), SYSTEM)
    await node.services.recorder.control(live.id, Action.DISCARD, DESK)
    hang_up(node, live)
    row = await finished(node, recording_id)
    await asyncio.sleep(0.1)
    row = await library.get(recording_id)
    assert row.hold and row.discard and not row.deleting


async def test_what_an_earlier_process_should_have_deleted_is_deleted(node: Node) -> None:
    row = await node.stored("r1", discard=True)
    kept = await node.stored("r2")
    growing = replace(row, id="r3", status="recording", files=(), started_at=datetime.now(UTC))
    await node.services.catalog.save(growing)
    services = node.services
    disposal = Disposal(
        services.library,
        services.library._archive,
        services.catalog,
        lambda _: False,
        row.node,
        lambda *_: None,
    )
    await disposal.resume()
    assert [await is_there(node, each) for each in ("r1", kept.id, "r3")] == [False, True, True]


async def test_of_two_decisions_at_once_the_last_counts_for_all_segments(node: Node) -> None:
    live, recorder, library = await call(node), node.services.recorder, node.services.library
    ids = []
    for _ in range(2):
        assert live.recording
        ids.append(live.recording.id)
        await recorder.control(live.id, Action.SPLIT, DESK)
    for recording_id in ids:
        await finished(node, recording_id)

    async def decide(action: Action, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await recorder.control(live.id, action, DESK)

    for number in range(12):
        order = (Action.DISCARD, Action.SAVE)[:: (-1) ** number]
        await asyncio.gather(decide(order[0], 0), decide(order[1], number / 1000))
        rows = [await library.booked(recording_id) for recording_id in ids]
        assert {row.discard for row in rows} == {live.discards} == {order[1] is Action.DISCARD}


async def test_what_the_disk_does_not_take_is_not_confirmed(node: Node) -> None:
    """It holds all the same, and is confirmed once it can be written."""
    live, recorder = await call(node), node.services.recorder
    assert live.recording
    sidecar = node.folder / "spool" / f"{live.recording.id}.json"
    async with asyncio.timeout(5):
        while not sidecar.exists():
            await asyncio.sleep(0.01)
    sidecar.unlink()
    (sidecar / "in the way").mkdir(parents=True)
    with pytest.raises(ControlFailed, match="could not be written down"):
        await recorder.control(live.id, Action.DISCARD, DESK)
    assert live.discards
    (sidecar / "in the way").rmdir()
    sidecar.rmdir()
    await recorder.control(live.id, Action.DISCARD, DESK)
    assert '"discard":true' in sidecar.read_text()
