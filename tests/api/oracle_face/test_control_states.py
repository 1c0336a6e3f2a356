"""Commands to live calls in every state, and while parts of the recorder do not answer."""

import os
import signal
import sqlite3
from asyncio import TaskGroup, sleep, timeout
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from media import process
from siprec import finder
from siprec.session import SYSTEM, Action, LiveSession
from storage.entries import Route
from tests.api.oracle_face.desk import Desk, simultaneously
from tests.api.oracle_face.hearing import give, open_hearing

ALREADY = "Recording has already started on this channel."
NO_PAUSE, NO_UNPAUSE, NO_END = (
    f"Recording is started by another session or not started, cannot {verb} recording."
    for verb in ("pause", "unpause", "end")
)
NO_SUCH_ROUTE = "Couldn't find route information"
NO_RECORDING_ROUTE = "Route is not RecordAndSave application type"


# what each command says in each state


async def recording_call(desk: Desk) -> LiveSession:
    return await desk.call()


async def paused_call(desk: Desk) -> LiveSession:
    live = await desk.call()
    await desk.node.services.recorder.control(live.id, Action.PAUSE, SYSTEM)
    return live


async def stopped_call(desk: Desk) -> LiveSession:
    live = await desk.call()
    await desk.node.services.recorder.control(live.id, Action.STOP, SYSTEM)
    return live


async def waiting_call(desk: Desk) -> LiveSession:
    return await desk.call(dnis="7771")


async def started_call(desk: Desk) -> LiveSession:
    live = await desk.call(dnis="7772")
    await desk.node.services.recorder.control(live.id, Action.START, SYSTEM)
    return live


async def never_call(desk: Desk) -> LiveSession:
    return await desk.call(dnis="6661")


async def without_route(desk: Desk) -> LiveSession:
    """A call that waits for its start, and whose route was removed meanwhile."""
    directory = desk.node.services.directory
    await directory.put(Route(99, 100, match="to", pattern="999%", record="on_demand"))
    live = await desk.call(dnis="9991")
    await directory.remove("routes", "99")
    return live


async def recording_without_route(desk: Desk) -> LiveSession:
    directory = desk.node.services.directory
    await directory.put(Route(98, 100, match="to", pattern="998%"))
    live = await desk.call(dnis="9981")
    await directory.remove("routes", "98")
    return live


NOTHING_TO_PAUSE = {"pause": NO_PAUSE, "resume": NO_UNPAUSE, "stop": NO_END}
RECORDING = {
    "start": ALREADY,
    "resume": "Recording is not paused, cannot unpause recording.",
    "pause": "paused",
    "stop": "stopped",
}
TABLE: dict[Callable[[Desk], Awaitable[LiveSession]], dict[str, str]] = {
    recording_call: RECORDING,
    started_call: RECORDING,
    recording_without_route: RECORDING,
    paused_call: {
        "start": ALREADY,
        "pause": "Recording has already been paused, cannot pause recording.",
        "resume": "recording",
        "stop": "stopped",
    },
    stopped_call: NOTHING_TO_PAUSE | {"start": "recording"},
    waiting_call: NOTHING_TO_PAUSE | {"start": "recording"},
    never_call: NOTHING_TO_PAUSE | {"start": NO_RECORDING_ROUTE},
    without_route: NOTHING_TO_PAUSE | {"start": NO_SUCH_ROUTE},
}
"""A call -> command -> what is said, or the state it has after a success."""
CODES = {NO_END: 13, NO_SUCH_ROUTE: 17, NO_RECORDING_ROUTE: 17}
"""Code of what is said, if not 12."""
STATES = {"paused", "stopped", "recording"}
DONE = {"start": "STARTED", "pause": "PAUSED", "resume": "RESUMED", "stop": "ENDED"}


async def test_every_command_in_every_state(tmp_path: Path, migrated: Path) -> None:
    expected: dict[str, str] = {}
    async with open_hearing(tmp_path, migrated) as hearing:
        for make, commands in TABLE.items():
            for verb, outcome in commands.items():
                live = await make(hearing.desk)
                where = f"{verb} of {make.__name__}"
                before = live.state
                said = await give(hearing.desk, verb, live)
                if outcome in STATES:
                    assert (said.code, said.message) == (0, "ACK"), where
                    assert live.state == outcome, where
                else:
                    assert (said.code, said.message) == (CODES.get(outcome, 12), outcome), where
                    assert (said.status, {*said.tree}) == (200, {"code", "message"}), where
                    assert live.state == before, where
                result = "success" if outcome in STATES else "fail"
                expected[live.call_id] = f"{DONE[verb]} {result}"
        told = await hearing.told()
        assert {call_id: told[call_id][-1] for call_id in expected} == expected
        assert sum(what.endswith(" fail") for each in told.values() for what in each) == (
            sum(what.endswith(" fail") for what in expected.values())
        )


@pytest.mark.parametrize(
    ("criteria", "text"),
    [
        (
            {"from_": "12", "to": "6661"},
            "Couldn't find route information for ANI 12 DNIS 6661 or route is not RecordAndSave "
            "application type",
        ),
        (
            {"ani": "12", "dnis": "6661"},
            "Couldn't find route information for ANI 12 DNIS 6661 or route is not RecordAndSave "
            "application type",
        ),
        ({"ani": "12"}, NO_RECORDING_ROUTE),
        ({"ani": "12", "dnis": "6661", "isrUcid": "U1"}, NO_RECORDING_ROUTE),
    ],
)
async def test_a_route_that_never_records(desk: Desk, criteria: dict[str, str], text: str) -> None:
    live = await desk.call("12", "6661", "U1")
    said = await desk.post("audioRecording/start", **criteria)
    assert (said.code, said.message) == (17, text)
    assert (live.state, live.recording) == ("idle", None)


# parts of the recorder that do not answer


@contextmanager
def hanging(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One media process after the other hangs as soon as it is to record."""
    monkeypatch.setattr(process, "ACKNOWLEDGE_S", 1.0)
    monkeypatch.setattr(process, "HEARTBEAT_S", 0.1)
    engine = desk.node.engine
    usual = engine.on_trouble

    def hang() -> None:
        assert engine.worker_pid
        os.kill(engine.worker_pid, signal.SIGSTOP)

    def trouble(recording_id: str, code: str) -> None:
        usual(recording_id, code)
        hang()

    engine.on_trouble = trouble
    hang()
    yield
    engine.on_trouble = usual


async def test_a_media_process_that_does_not_answer(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_hearing(tmp_path, migrated) as hearing:
        desk = hearing.desk
        live = await desk.call()
        assert live.recording
        recording_id = live.recording.id
        assert await desk.node.services.recorder.reports([live.id]), "the media process knows it"
        with hanging(desk, monkeypatch):
            both = await simultaneously(give(desk, "pause", live), give(desk, "pause", live))
        # That it is paused already is not said either, as long as nobody knows.
        text = "RSS could not successfully perform the operation"
        for said in both:
            assert (said.status, said.code, said.message) == (200, 20, text)
        # The pause stays asked for: nothing is recorded until somebody resumes.
        assert live.state == "paused"
        await desk.calls[live.id].play(0.2)
        again = await give(desk, "pause", live)
        assert (again.code, again.message) == (12, TABLE[paused_call]["pause"])
        assert (await give(desk, "resume", live)).code == 0
        await desk.calls[live.id].play(0.2)
        told = (await hearing.told())[live.call_id]
        assert told == ["STARTED success", *["PAUSED fail"] * 3, "RESUMED success"]
        await desk.hang_up(live)
        row = await desk.node.services.library.finished(recording_id)
        assert [stream.packets for stream in row.streams] == [10, 10]


@asynccontextmanager
async def locked(desk: Desk) -> AsyncIterator[sqlite3.Connection]:
    """The catalogue takes nothing meanwhile but from here."""
    path = desk.node.folder / "siprecd.db"
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        async with timeout(30):
            while True:
                try:
                    other.execute("BEGIN EXCLUSIVE")
                    break
                except sqlite3.OperationalError:  # the recorder is just writing
                    await sleep(0.01)
        try:
            yield other
        finally:
            other.execute("COMMIT")


async def test_all_but_the_stop_do_without_the_catalogue(desk: Desk) -> None:
    live = await desk.call(dnis="7771", ucid="U1")
    await desk.token()
    async with locked(desk):
        body = {"filename": "kept.wav", "agentId": "7"}
        said = await give(desk, "start", live, body=body)
        assert (said.recording["filename"], said.recording["agentId"]) == ("kept.wav", "7")
        assert live.recording
        recording_id = live.recording.id
        for verb in ("pause", "resume"):
            assert (await give(desk, verb, live)).code == 0
        await desk.calls[live.id].play(0.2)
        said = await give(desk, "stop", live, body={"sensitive": "1"})
        text = "Error Indexing for RecordEnd - the database does not answer now"
        assert (said.code, said.message) == (15, text)
        assert live.state == "stopped"
    row = await desk.node.services.library.finished(recording_id)
    assert (row.filename, row.status, row.sensitive) == ("kept.wav", "complete", True)
    await desk.node.services.library.booked(recording_id)
    shown = (await desk.get("audioRecording/details", isrUcid="U1")).recording
    assert (shown["recordingId"], shown["filename"]) == ("1", "kept.wav")


async def test_a_recording_that_the_catalogue_refuses(desk: Desk) -> None:
    live = await desk.call()
    assert live.recording
    await desk.node.services.library.booked(live.recording.id)
    path = desk.node.folder / "siprecd.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON recordings "
            "BEGIN SELECT RAISE(ABORT, 'what the database says'); END"
        )
        said = await give(desk, "stop", live)
    text = "Error Indexing for RecordEnd - the database does not take the recording"
    assert (said.code, said.message) == (15, text)


async def test_a_recording_that_vanishes_from_the_catalogue(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "PATIENCE_S", 60)
    live = await desk.call()
    assert live.recording
    await desk.node.services.library.booked(live.recording.id)
    await desk.token()
    with desk.node.services.feed.subscribe() as events:
        async with TaskGroup() as group, locked(desk) as other:
            stop = group.create_task(give(desk, "stop", live))
            async for event in events:
                if event.type == "recording.failed":  # nobody spoke
                    break
            other.execute(
                "CREATE TRIGGER vanish AFTER UPDATE ON recordings "
                "WHEN new.status = 'failed' BEGIN DELETE FROM recordings; END"
            )
    said = stop.result()
    text = "Invalid Parameter for RecordEnd - fileId not found from recording index."
    assert (said.code, said.message) == (14, text)
