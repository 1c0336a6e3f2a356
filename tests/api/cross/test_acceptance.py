"""What one interface does and the others show, to the end of calls and recordings."""

import asyncio
import time

import numpy as np
import pytest

from siprec.session import SYSTEM, Action, LiveSession, State
from storage.entries import Route
from storage.records import UnknownRecording
from tests.api.cross.desk import BANK, OWNER, SYSTEM_USER, Desk, recording_of
from tests.api.cross.operators import (
    DONE,
    AnywhereNow,
    Face,
    Imagicle,
    ImagicleById,
    Native,
    Outcome,
    everybody,
)
from tests.bench.pause import numbers

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS = 50
NOT_PAUSED = "Recording is not paused, cannot unpause recording."


async def all_see(desk: Desk, live: LiveSession, state: State) -> None:
    await asyncio.gather(*(each.sees(live, state) for each in everybody(desk)))


async def gone(desk: Desk, recording_id: str) -> None:
    """Return once the catalogue has it no more."""
    async with asyncio.timeout(30):
        while True:
            try:
                await desk.node.services.library.get(recording_id)
            except UnknownRecording:
                return
            await asyncio.sleep(0.02)


async def test_a_start_by_one(desk: Desk) -> None:
    live = await desk.call()
    assert await Face(desk).give(live, Action.START) == DONE
    await all_see(desk, live, State.RECORDING)
    told = await desk.told(live)
    assert (told.hub, told.successes) == ([1], ["STARTED"])


async def test_a_pause_with_silence_is_in_the_file(desk: Desk) -> None:
    live, face = await desk.started(), Face(desk)
    recording_id, client = recording_of(live), desk.calls[live.id]
    before = await client.play(0.6)
    assert await face.give(live, Action.PAUSE, fillWithSilence="true") == DONE
    since = time.monotonic()
    await AnywhereNow(desk).sees(live, State.PAUSED)
    await Imagicle(desk).sees(live, State.PAUSED)
    secret = await client.play(0.8)
    assert await face.give(live, Action.RESUME) == DONE
    gap_ms = (time.monotonic() - since) * 1000
    after = await client.play(0.6)
    await desk.hang_up(live)
    row = await desk.stored(recording_id)
    for samples in (await desk.audio(recording_id)).T:
        assert [*numbers(samples)] == [*range(30), *range(70, 100)]
        silent = np.flatnonzero(np.diff(np.flatnonzero(samples)) > 160)
        edges = np.flatnonzero(samples)
        (length,) = [int(edges[at + 1] - edges[at] - 1) for at in silent]
        assert length == len(secret) // 2 * 160
    assert len(before) == len(after) == 60
    shown = (await face.ask("GET", "details", recordingId=row.number))["recording"]
    assert shown["pausedWithSilence"] is True
    assert abs(int(shown["pauseLength"]) - gap_ms) < 100


async def test_a_start_elsewhere_ends_a_pause(desk: Desk) -> None:
    live = await desk.started()
    await desk.node.services.recorder.control(live.id, Action.PAUSE, SYSTEM)
    assert await AnywhereNow(desk).give(live, Action.START) == DONE
    said = await Face(desk).ask("POST", "resume", ingressCallId=live.call_id)
    assert (said["code"], said["message"]) == (12, NOT_PAUSED)
    assert (await desk.told(live)).notices == [
        *("STARTED success", "PAUSED success", "RESUMED success", "RESUMED fail")
    ]


async def test_what_one_stops_all_find(desk: Desk) -> None:
    live, face, imagicle = await desk.started(), Face(desk), Imagicle(desk)
    recording_id = recording_of(live)
    line = f"directoryNumber={live.identity.dnis}"
    (shown,) = (await imagicle.ask("GET", f"LiveRecordings?{line}")).json
    await desk.calls[live.id].play(0.1)
    assert await ImagicleById(desk).give(live, Action.STOP) == DONE
    assert (await face.ask("POST", "stop", ingressCallId=live.call_id))["code"] == 13
    await AnywhereNow(desk).sees(live, State.STOPPED)
    detail = await imagicle.ask("GET", f"Recordings/{shown['id']}")
    assert (detail.status, detail.json["id"]) == (200, shown["id"])
    row = await desk.stored(recording_id)
    found = await face.ask("GET", "details", recordingId=row.number)
    assert (found["code"], found["recording"]["filename"]) == (0, row.filename)


async def test_what_an_agent_discards_nobody_finds(desk: Desk) -> None:
    live, face, imagicle = await desk.started(), Face(desk), Imagicle(desk)
    recording_id = recording_of(live)
    wanted = {"dnis": live.identity.dnis}
    assert await AnywhereNow(desk).give(live, Action.DISCARD) == DONE
    assert (await face.ask("GET", "details", **wanted))["code"] == 0
    await desk.hang_up(live)
    await gone(desk, recording_id)
    assert (await face.ask("GET", "details", **wanted))["code"] == 19
    assert (await imagicle.ask("GET", f"Recordings/{recording_id}")).status == 404
    assert (await desk.native("GET", f"recordings/{recording_id}")).status == 404


async def test_what_one_deletes_nobody_finds(desk: Desk) -> None:
    live, face, imagicle = await desk.started(), Face(desk), Imagicle(desk)
    recording_id = recording_of(live)
    await desk.calls[live.id].play(0.1)
    await desk.hang_up(live)
    row = await desk.stored(recording_id)
    for path in ("", "/Media"):
        assert (await imagicle.ask("GET", f"Recordings/{recording_id}{path}")).status == 200
    assert (await face.ask("DELETE", "details", recordingId=row.number))["code"] == 0
    await gone(desk, recording_id)
    for path in ("", "/Media"):
        assert (await imagicle.ask("GET", f"Recordings/{recording_id}{path}")).status == 404


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "stop"])
async def test_criteria_that_match_two_calls_touch_neither(desk: Desk, verb: str) -> None:
    both = [await desk.started(ucid=f"U-{verb}") for _ in range(2)]
    ids = [recording_of(live) for live in both]
    playing = asyncio.gather(*(desk.calls[live.id].play(0.6) for live in both))
    await asyncio.sleep(0.2)
    said = await Face(desk).ask("POST", verb, isrUcid=f"U-{verb}")
    assert said["code"] == -1
    assert {each["match"]["ingressCallId"] for each in said["matches"]} == {
        live.call_id for live in both
    }
    await playing
    for live, recording_id in zip(both, ids, strict=True):
        told = await desk.told(live)
        assert (told.hub, told.notices) == ([1], ["STARTED success"])
        assert recording_of(live) == recording_id
        await desk.hang_up(live)
        for samples in (await desk.audio(recording_id)).T:
            assert [*numbers(samples)] == [*range(30)]


async def give_later(operator: Face, live: LiveSession, seconds: float) -> Outcome:
    await asyncio.sleep(seconds)
    return await operator.give(live, Action.START)


async def test_of_two_simultaneous_starts_one_succeeds(desk: Desk) -> None:
    live = await desk.call()
    face, imagicle, native = Face(desk), Imagicle(desk), Native(desk)
    for number in range(ROUNDS):
        later_s = number % 5 / 1000  # so that either may win
        outcomes = await asyncio.gather(
            give_later(face, live, later_s), imagicle.give(live, Action.START)
        )
        (refused,) = (each for each in outcomes if not each.done)
        assert State.RECORDING in refused.states
        assert (await native.give(live, Action.STOP)).done
    told = await desk.told(live)
    assert told.hub == [1, 2] * ROUNDS
    assert told.notices.count("STARTED success") == ROUNDS
    assert told.notices.count("STARTED fail") == ROUNDS
    assert live.segments == ROUNDS


async def test_what_belongs_to_others(desk: Desk) -> None:
    live = await desk.started()
    recording_id = recording_of(live)
    stranger = Face(desk)
    stranger.actor = "bank@bank.example"
    agent = AnywhereNow(desk)
    for criterion, code in (("ingressCallId", 26), ("ani", 19)):
        value = live.call_id if criterion == "ingressCallId" else "980200"
        for method, command in (("GET", "details"), ("POST", "pause"), ("POST", "stop")):
            said = await stranger.ask(method, command, **{criterion: value})
            assert said["code"] == code, (criterion, command, said)
    id_ = live.id
    shown = await agent.ask("GET", f"{BANK}/{id_}")
    assert shown["ErrorMessage"]["Message"] == f"UCC with name:'{BANK}' was not found."
    await desk.calls[live.id].play(0.1)
    await desk.hang_up(live)
    await desk.stored(recording_id)
    imagicle = Imagicle(desk)
    for who, status in (
        ("clerk@shop.example", 403),
        ("bank@bank.example", 403),
        (OWNER, 200),
        (imagicle.actor, 200),
    ):
        said = await imagicle.ask("GET", f"Recordings/{recording_id}", who=who)
        assert said.status == status, who
    said = await imagicle.ask("GET", f"Recordings/{'0' * 32}", who="clerk@shop.example")
    assert said.status == 404
    assert (await stranger.ask("GET", "details", ani="980200"))["code"] == 19


async def test_what_belongs_to_another_centre(desk: Desk) -> None:
    """Somebody who sees both of them finds a call only in its own."""
    live = await desk.started()
    token = await desk.token(SYSTEM_USER)
    await desk.node.services.directory.put(Route(31, 200, "Till", pattern="31%"))
    for ucc, is_there in (("Shop", True), (BANK, False), ("Till", False)):
        path = f"/attendantservice/api/recording/{ucc}/{live.id}"
        shown = (await desk.ask("GET", path, Authorization=f"Bearer {token}")).json
        text = f"No Audio session with correlation Id:'{live.id}' was found."
        assert shown["ErrorMessage"] == (None if is_there else {"ErrorType": 2, "Message": text})


async def test_custom_data_selects_recordings_and_no_calls(desk: Desk) -> None:
    live, face = await desk.started(), Face(desk)
    recording_id = recording_of(live)
    number = f"case-{live.id[:8]}"
    said = await face.ask("POST", "details", {"caseNumber": number}, ingressCallId=live.call_id)
    assert said["code"] == 0, said
    for verb in ("start", "pause", "resume", "stop"):
        said = await face.ask("POST", verb, caseNumber=number)
        assert said["code"] == -1, said
    assert live.state is State.RECORDING
    assert (await desk.told(live)).notices == ["STARTED success"]
    shown = (await desk.native("GET", f"recordings/{recording_id}")).json
    assert (shown["status"], shown["custom"]) == ("recording", {"caseNumber": number})
    found = (await face.ask("GET", "details", caseNumber=number))["recording"]
    assert found["filename"] == shown["filename"]
    await desk.hang_up(live)
    row = await desk.stored(recording_id)
    found = (await face.ask("GET", "details", caseNumber=number))["recording"]
    assert (found["recordingId"], found["filename"]) == (row.number, row.filename)
    listed = (await desk.native("GET", f"recordings?custom=caseNumber%3D{number}")).json
    assert [each["id"] for each in listed["items"]] == [recording_id]
