"""Beside another dialect on the same calls, and what becomes of their recordings."""

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

from api.anywherenow.ucc import correlation_id
from siprec.session import LiveSession
from storage.entries import Account
from tests.api.anywherenow.desk import Desk
from tests.siprec.test_disposal import gone, hang_up

GUID = "1d6c6a58-6739-4f0c-98ff-0968292c8c30"


async def face(desk: Desk, command: str, method: str = "POST", **more: str) -> dict[str, Any]:
    """What FACE answers to a command for the call with UCID `GUID`."""
    token = await desk.token("isr@system.example")
    query = urlencode({"token": token, "isrUcid": GUID, **more})
    path = f"/Face/audioRecording/{command}?{query}"
    said = await desk.ask(method, path, None, headers={"Accept": "application/json"})
    result: dict[str, Any] = json.loads(said.body)["result"]
    return result


async def test_commands_of_the_other_are_seen_at_once(desk: Desk) -> None:
    live = await desk.call("777", ucid=GUID)
    for command, more, state in (
        ("start", {}, 1),
        ("pause", {"fillWithSilence": "true"}, 3),
        ("resume", {}, 1),
        ("stop", {}, 2),
        ("start", {}, 1),
    ):
        assert (await face(desk, command, **more))["code"] == 0
        assert (await desk.state("ucc-shop", GUID)).states == (state, 0, 0), command
    assert (await desk.set("Stop", GUID)).error is None
    assert (await face(desk, "stop"))["code"] == 13
    assert (await desk.set("Start", GUID)).error is None
    assert (await face(desk, "start"))["code"] == 12
    assert live.segments == 3


async def test_a_start_that_ends_a_pause_leaves_nothing_to_resume(desk: Desk) -> None:
    await desk.call(ucid=GUID)
    assert (await face(desk, "pause"))["code"] == 0
    assert (await desk.set("Start", GUID)).states == (1, 0, 0)
    assert (await face(desk, "resume"))["code"] == 12


async def test_of_two_simultaneous_starts_one_succeeds(desk: Desk) -> None:
    live = await desk.call("777", ucid=GUID)
    one, two = await asyncio.gather(desk.set("Start", GUID), face(desk, "start"))
    assert (one.error is None) is (two["code"] == 12)
    assert two["code"] in {0, 12}
    assert (live.state, live.segments) == ("recording", 1)


def recording_of(live: LiveSession) -> str:
    assert live.recording
    return live.recording.id


async def test_what_is_deleted_is_gone_once_the_call_has_ended(desk: Desk) -> None:
    live = await desk.call(ucid=GUID)
    recording_id = recording_of(live)
    assert (await desk.set("Delete", GUID)).states == (1, 0, 2)
    assert (await face(desk, "details", "GET"))["code"] == 0
    hang_up(desk.node, live)
    await gone(desk.node, recording_id)
    assert (await face(desk, "details", "GET"))["code"] == 26


async def test_the_last_word_on_saving_counts(desk: Desk) -> None:
    shop = Account(100, "ucc-shop", save_by_default=False)
    await desk.node.services.directory.put(shop)
    kept = await desk.call()
    changed, silent = await desk.call(), await desk.call()
    for live, actions in ((kept, ["Delete", "Save"]), (changed, ["Save", "Delete"])):
        for action in actions:
            assert (await desk.set(action, correlation_id(live.id))).error is None
    ids = [recording_of(live) for live in (kept, changed, silent)]
    for live in (kept, changed, silent):
        hang_up(desk.node, live)
    await gone(desk.node, ids[1])
    await gone(desk.node, ids[2])
    assert (await desk.node.services.library.finished(ids[0])).is_finished
