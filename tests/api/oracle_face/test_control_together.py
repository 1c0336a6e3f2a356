"""Commands that meet: two at the same moment, and those of FACE with those of the native API."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import aiohttp

from siprec.session import GOALS, TRANSITIONS, Action, LiveSession, State
from tests.api.oracle_face.desk import Desk, simultaneously
from tests.api.oracle_face.hearing import give, open_hearing

DONE = {"start": "STARTED", "pause": "PAUSED", "resume": "RESUMED", "stop": "ENDED"}
Command = tuple[str, str]
"""Door and verb."""
Outcome = tuple[int, State, str]
"""Answer, state afterwards, what is told."""


def one(command: Command, state: State) -> Outcome:
    """What a command does that meets nobody."""
    door, verb = command
    action = Action(verb)
    if after := TRANSITIONS.get((state, action)):
        return 0 if door == "FACE" else 200, after, f"{DONE[verb]} success"
    if door == "FACE":
        return 13 if verb == "stop" else 12, state, f"{DONE[verb]} fail"
    if GOALS[action] is state:
        return 200, state, ""
    return 409, state, f"{DONE[verb]} fail"


def explained(
    commands: Sequence[Command], before: State, answers: Sequence[int], after: State
) -> list[Counter[str]]:
    """What is told in each order that has these answers and leads to this state."""
    found = []
    for order in permutations(range(len(commands))):
        state, told, said = before, Counter[str](), dict[int, int]()
        for index in order:
            said[index], state, event = one(commands[index], state)
            told.update([event] if event else [])
        if state is after and [said[index] for index in range(len(commands))] == [*answers]:
            found.append(told)
    return found


async def answer(
    desk: Desk, native: aiohttp.ClientSession, live: LiveSession, what: Command
) -> int:
    """Give one command; FACE's code, or the status of the native answer."""
    door, verb = what
    if door == "FACE":
        return (await give(desk, verb, live)).code
    async with native.post(f"/srs/v1/sessions/{live.id}/{verb}", json={}) as response:
        return response.status


async def rounds(folder: Path, migrated: Path, groups: Sequence[Sequence[Command]]) -> None:
    """Give the commands of each group at once, to one call; all must be as if one by one."""
    async with open_hearing(folder, migrated) as hearing:
        desk = hearing.desk
        live = await desk.call(dnis="777")
        await desk.token()
        expected = Counter[str]()
        async with desk.node.client("control") as native:
            for group in groups:
                before = live.state
                answers = await asyncio.gather(
                    *(answer(desk, native, live, command) for command in group)
                )
                ways = explained(group, before, answers, live.state)
                assert ways, (before, group, answers, live.state)
                assert all(way == ways[0] for way in ways), (before, group, answers, live.state)
                expected += ways[0]
        told = (await hearing.told())[live.call_id]
        assert Counter(told) == expected
        assert live.segments == expected["STARTED success"]


async def test_the_same_command_twice_wins_once(tmp_path: Path, migrated: Path) -> None:
    verbs = ("start", "pause", "resume", "pause", "stop") * 6
    await rounds(tmp_path, migrated, [[("FACE", verb)] * 2 for verb in verbs])


async def test_face_and_the_native_interface_at_once(tmp_path: Path, migrated: Path) -> None:
    verbs = ("start", "pause", "resume", "pause", "stop") * 6
    pairs = [[("FACE", verb), ("native", verb)] for verb in verbs]
    await rounds(tmp_path, migrated, [pair[:: 1 - 2 * (n % 2)] for n, pair in enumerate(pairs)])


async def test_any_commands_at_once(tmp_path: Path, migrated: Path) -> None:
    rng = random.Random(7)
    doors = ("FACE", "FACE", "native")
    groups = [[(rng.choice(doors), rng.choice([*DONE])) for _ in range(2)] for _ in range(60)]
    await rounds(tmp_path, migrated, groups)


def test_who_wins_is_told_apart() -> None:
    """The judge of these tests is not to be satisfied with anything."""
    twice = [("FACE", "pause")] * 2
    won = Counter({"PAUSED success": 1, "PAUSED fail": 1})
    assert explained(twice, State.RECORDING, [0, 12], State.PAUSED) == [won]
    assert explained(twice, State.RECORDING, [0, 0], State.PAUSED) == []
    assert explained(twice, State.RECORDING, [12, 12], State.RECORDING) == []
    assert explained(twice, State.RECORDING, [0, 12], State.RECORDING) == []
    both = [("FACE", "stop"), ("native", "stop")]
    assert explained(both, State.PAUSED, [0, 200], State.STOPPED) == [Counter(["ENDED success"])]
    assert explained(both, State.PAUSED, [13, 200], State.STOPPED) == [
        Counter(["ENDED success", "ENDED fail"])
    ]
    assert explained(both, State.PAUSED, [0, 409], State.STOPPED) == []


async def test_a_start_that_is_stopped_before_it_is_answered(desk: Desk) -> None:
    live = await desk.call(dnis="777")
    await desk.token()
    met = 0
    for _ in range(30):
        started, stopped = await simultaneously(
            give(desk, "start", live, body={"agentId": "7"}), give(desk, "stop", live)
        )
        assert (started.code, stopped.code) in {(0, 0), (0, 13)}, started.text
        assert started.recording["agentId"] == "7"
        if stopped.code == 0:
            met += 1
            for name in ("filename", "startTime"):
                assert stopped.recording[name] == started.recording[name]
            assert int(stopped.recording["recordingId"]) > 0
            assert int(started.recording.get("recordingId", 1)) > 0
        else:
            assert (await give(desk, "stop", live)).code == 0
    assert met


async def test_a_pause_whose_recording_is_stopped_before_it_is_answered(desk: Desk) -> None:
    live = await desk.call(dnis="777")
    await desk.token()
    met = 0
    for _ in range(30):
        assert (await give(desk, "start", live)).code == 0
        name = live.recording and live.recording.filename
        body = {"agentId": "7"}
        paused, stopped = await simultaneously(
            give(desk, "pause", live, body=body), give(desk, "stop", live)
        )
        assert (stopped.code, stopped.recording["filename"]) == (0, name)
        if paused.code == 0:
            met += 1
            assert (paused.recording["filename"], paused.recording["agentId"]) == (name, "7")
            assert int(paused.recording.get("recordingId", 1)) > 0
    assert met


# what one door does, the other shows


async def look(native: aiohttp.ClientSession, path: str) -> Any:
    async with native.get(f"/srs/v1/{path}") as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def do(native: aiohttp.ClientSession, path: str, **body: Any) -> Any:
    async with native.post(f"/srs/v1/{path}", json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_both_doors_lead_into_one_room(tmp_path: Path, migrated: Path) -> None:
    async with open_hearing(tmp_path, migrated) as hearing:
        desk = hearing.desk
        live = await desk.call(dnis="777", ucid="U1")
        session = f"sessions/{live.id}"
        async with desk.node.client() as native:
            started = (await give(desk, "start", live, body={"agentId": "7"})).recording
            seen = await look(native, session)
            assert (seen["state"], seen["recording_id"]) == ("recording", live.recording.id)  # type: ignore[union-attr]
            recording = f"recordings/{seen['recording_id']}"
            stored = await look(native, recording)
            assert (stored["filename"], stored["agent_id"]) == (started["filename"], "7")
            assert stored["history"][-1]["actor"] == "isr@shop.example"

            await give(desk, "pause", live, fillWithSilence="true")
            seen = await look(native, session)
            assert (seen["state"], seen["pauses"][0]["fill"]) == ("paused", "silence")

            await do(native, f"{session}/resume")
            refused = await give(desk, "resume", live)
            text = "Recording is not paused, cannot unpause recording."
            assert (refused.code, refused.message) == (12, text)

            await do(native, f"{session}/pause", fill="cut")
            assert (await give(desk, "pause", live)).code == 12
            assert (await give(desk, "resume", live)).code == 0
            assert (await look(native, session))["state"] == "recording"

            await do(native, recording, custom={"testCustomData1": "a"}, agent_terminal="T1")
            shown = (await desk.get("audioRecording/details", testCustomData1="a")).recording
            assert (shown["agentId"], shown["agentTerminal"]) == ("7", "T1")
            by_custom = await desk.post("audioRecording/stop", testCustomData1="a")
            assert (by_custom.code, live.state) == (-1, "recording")

            await desk.calls[live.id].play(0.1)
            await do(native, f"{session}/stop")
            refused = await give(desk, "stop", live)
            text = "Recording is started by another session or not started, cannot end recording."
            assert (refused.code, refused.message) == (13, text)
            await desk.node.services.library.finished(stored["id"])
            number = (await look(native, recording))["number"]
            shown = (await desk.get("audioRecording/details", recordingId=number)).recording
            assert (shown["isrUcid"], shown["recordingId"]) == ("U1", str(number))
            body = {"filename": "seen.wav", "testCustomData1": "b"}
            await desk.post("audioRecording/details", recordingId=number, body=body)
            stored = await look(native, recording)
            assert (stored["filename"], stored["custom"]) == ("seen.wav", {"testCustomData1": "b"})
            found = await look(native, "recordings?custom=testCustomData1%3Db")
            assert [each["id"] for each in found["items"]] == [stored["id"]]

            assert (await give(desk, "start", live)).code == 0
            seen = await look(native, session)
            assert seen["recording_id"] not in {None, stored["id"]}
            stopped = (await give(desk, "stop", live)).recording
            assert (await look(native, session))["state"] == "stopped"
            found = await look(native, f"recordings?number={stopped['recordingId']}")
            assert [each["id"] for each in found["items"]] == [seen["recording_id"]]
        assert (await hearing.told())[live.call_id] == [
            *("STARTED success", "PAUSED success", "RESUMED success", "RESUMED fail"),
            *("PAUSED success", "PAUSED fail", "RESUMED success"),
            *("ENDED success", "ENDED fail", "STARTED success", "ENDED success"),
        ]
