"""kill -9 at random moments: what was acknowledged is there afterwards, and pauses still hold."""

import asyncio
import json
import os
import random
import signal
import sqlite3
from pathlib import Path

import pytest

from examples.rtp import Packet
from examples.sip import Agent
from examples.src import RecordingClient
from tests.e2e.srs import Srs
from tests.e2e.test_pause import FRAMES, heard

LOST_S = 1.0
"""The most a crash may cost; a frame more for where the last write fell."""


@pytest.mark.parametrize(
    "group",
    [0, 1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)],
)
async def test_killed_five_times_at_random_moments(folder: Path, group: int) -> None:
    rng = random.Random(group)
    async with Srs(folder) as srs:
        for _ in range(5):
            await one_crash(srs, rng.uniform(0.3, 2.5))
        rows = (await srs.get("recordings"))["items"]
        assert len(rows) == 15
    assert not list((folder / "data/spool").glob("*.srsp"))
    assert not list((folder / "data/spool").glob("*.json"))


async def one_crash(srs: Srs, after_s: float) -> None:
    """Three calls, one of them paused; kill; restart; compare."""
    clock = asyncio.get_running_loop().time
    async with Agent(srs.udp) as agent:
        calls = [RecordingClient(agent, [FRAMES, FRAMES]) for _ in range(3)]
        sent: list[list[Packet]] = [[], [], []]
        async with asyncio.TaskGroup() as group:
            for call in calls:
                await call.__aenter__()
                await call.invite()
            plays = [group.create_task(call.play(4.0)) for call in calls]
            await asyncio.sleep(after_s / 2)
            paused = await srs.session(calls[0].call_id)
            asked_at = clock()
            await srs.control(paused["id"], "pause")
            paused_at = clock()
            await asyncio.sleep(after_s / 2)
            killing_at = clock()
            await srs.kill()
            killed_at = clock()
            for call in calls:
                call.ended.set()
        sent = [play.result() for play in plays]
        for call in calls:
            await call.__aexit__()
    await srs.start()
    certain_s = killing_at - LOST_S
    await check(srs, calls[0].call_id, sent[0], min(asked_at, certain_s), paused_at)
    for call, packets in zip(calls[1:], sent[1:], strict=True):
        await check(srs, call.call_id, packets, certain_s, killed_at)


async def check(
    srs: Srs, call_id: str, sent: list[Packet], certain_s: float, latest_s: float
) -> None:
    """All that was sent before `certain_s` is there, in order, and nothing from `latest_s` on."""
    recording = await srs.recording(call_id)
    assert (recording["status"], recording["reason"]) == ("partial", "crash")
    numbers = heard((await srs.channels(recording["id"]))[:, 0])
    first = [packet.sent_at for packet in sent if packet.stream == 0]
    assert numbers == [*range(len(numbers))]
    assert sum(at < certain_s for at in first) <= len(numbers) <= sum(at < latest_s for at in first)


async def test_a_call_that_was_paused_at_the_crash_starts_paused_again(folder: Path) -> None:
    async with Srs(folder) as srs:
        async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            await call.play(0.3)
            session = await srs.session(call.call_id)
            await srs.control(session["id"], "pause")
            await srs.kill()
            call.ended.set()
            document = call.metadata()
        for _ in range(2):
            await srs.start()
            await again(srs, document)
            await srs.kill()


async def again(srs: Srs, document: bytes) -> None:
    """The client calls again for the same communication session: nothing may be recorded."""
    async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
        call.metadata = lambda: document  # type: ignore[method-assign]
        await call.invite()
        session = await srs.session(call.call_id)
        assert session["state"] == "paused"
        assert "paused_before_restart" in session["warnings"]
        await call.play(0.3)
        await call.bye()
    recording = await srs.recording(call.call_id)
    assert not (await srs.channels(recording["id"])).any()


async def test_the_media_process_alone_may_die(folder: Path) -> None:
    async with Srs(folder) as srs:
        async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            await call.play(1.2)
            kill_media_process(srs)
            await call.play(0.6)
            session = await srs.session(call.call_id)
            await srs.control(session["id"], "pause")
            kill_media_process(srs)
            await call.play(0.6)
            await srs.control(session["id"], "resume")
            await call.play(0.4)
            await call.bye()
        recording = await srs.recording(call.call_id)
        numbers = heard((await srs.channels(recording["id"]))[:, 0])
    assert numbers == sorted(numbers)
    assert not {*range(91, 120)} & {*numbers}
    assert numbers[-1] == 139 and {*range(121, 140)} <= {*numbers}
    assert len({*range(90)} - {*numbers}) <= 50 * LOST_S


def kill_media_process(srs: Srs) -> None:
    """SIGKILL to the process that receives RTP."""
    assert srs.process
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, _, parent = status.read_text().replace("(", "").replace(")", "").split()[:4]
            command = (status.parent / "cmdline").read_text()
        except (OSError, ValueError):
            continue
        if int(parent) == srs.process.pid and "media.worker" in command:
            os.kill(int(pid), signal.SIGKILL)


async def test_a_locked_database_delays_neither_calls_nor_pauses(folder: Path) -> None:
    async with Srs(folder) as srs:
        lock = sqlite3.connect(folder / "data/siprecd.db", isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
            async with asyncio.timeout(1):
                await call.invite()
            await call.play(0.4)
            async with asyncio.timeout(1):
                session = await srs.session(call.call_id)
                await srs.control(session["id"], "pause")
                await srs.control(session["id"], "resume")
            await call.play(0.4)
            await call.bye()
        async with asyncio.timeout(5):
            while await health(srs) != "behind":
                await asyncio.sleep(0.05)
        lock.rollback()
        lock.close()
        recording = await srs.recording(call.call_id)
        assert recording["status"] == "complete"
        assert len(heard((await srs.channels(recording["id"]))[:, 0])) >= 38


async def health(srs: Srs) -> str:
    """What the recorder says of its database."""
    async with srs.request("GET", "/health") as response:
        return str((await response.json())["database"])


async def test_a_database_that_is_gone_at_the_start_loses_no_call(folder: Path) -> None:
    async with Srs(folder) as srs:
        await srs.stop()
        database = folder / "data/siprecd.db"
        aside = database.rename(folder / "aside.db")
        database.mkdir()
        await srs.start()
        async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            await call.play(0.4)
            await call.bye()
        await srs.kill()
        database.rmdir()
        aside.rename(database)
        await srs.start()
        recording = await srs.recording(call.call_id)
        assert heard((await srs.channels(recording["id"]))[:, 0]) == [*range(20)]


async def test_a_damaged_sidecar_costs_only_the_names(folder: Path) -> None:
    async with Srs(folder) as srs:
        async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            await call.play(1.2)
            session = await srs.session(call.call_id)
            await srs.kill()
            call.ended.set()
        (sidecar,) = (folder / "data/spool").glob("*.json")
        assert json.loads(sidecar.read_bytes())["call_id"] == call.call_id
        sidecar.write_bytes(b'{"id": ')
        await srs.start()
        row = await srs.recording("")
        assert (row["id"], row["reason"]) == (session["recording_id"], "crash")
        assert heard((await srs.channels(row["id"]))[:, 0])[:5] == [*range(5)]


async def test_two_recorders_do_not_share_a_folder(folder: Path) -> None:
    async with Srs(folder) as srs:
        other = Srs(folder)
        with pytest.raises(AssertionError, match="in use by another siprecd"):
            await other.start()
        assert (await srs.get("sessions"))["items"] == []
