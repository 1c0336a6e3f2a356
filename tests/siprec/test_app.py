"""Start, drain and end of the whole process, as its operator sees them."""

import asyncio
import signal
from pathlib import Path

import pytest

from examples.sip import Agent, CallError
from examples.src import RecordingClient
from siprec.rooms import Background
from tests.e2e.srs import Srs
from tests.siprec.test_cli import siprecd

FRAMES = [[bytes([0x90]) * 160] * 50] * 2


async def test_background_work_that_fails_takes_nothing_else_down() -> None:
    done = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("bug")

    async def go_on() -> None:
        await asyncio.sleep(0)
        done.set()

    async with asyncio.TaskGroup() as group:
        background = Background(group)
        background.spawn("bad", fail())
        background.spawn("good", go_on())
    assert done.is_set()


async def test_what_still_runs_can_be_cancelled() -> None:
    async with asyncio.TaskGroup() as group:
        background = Background(group)
        background.spawn("endless", asyncio.sleep(3600))
        await asyncio.sleep(0)
        await background.stop()


async def test_the_key_is_shown_once(tmp_path: Path) -> None:
    async with Srs(tmp_path) as srs:
        first = srs.key
        assert (await srs.get("sessions"))["items"] == []
        assert await srs.stop() == 0
        srs.key = ""
        await srs.start()
        assert srs.key == ""
        async with srs.request("GET", "sessions", key=first) as response:
            assert response.status == 200
    assert first not in srs.log()


async def test_draining_lets_live_calls_end_and_takes_no_new_ones(tmp_path: Path) -> None:
    async with (
        Srs(tmp_path, SRS_SIP_DRAIN_S="20") as srs,
        Agent(srs.udp) as agent,
        RecordingClient(agent, FRAMES) as call,
        RecordingClient(agent, FRAMES) as late,
    ):
        await call.invite()
        await call.play(0.2)
        assert srs.process
        srs.process.send_signal(signal.SIGTERM)
        await draining(srs)
        with pytest.raises(CallError) as refusal:
            await late.invite()
        assert refusal.value.status == 503
        await call.play(0.2)
        await call.bye()
        assert await srs.process.wait() == 0
        await srs.start()
        recording = await srs.recording(call.call_id)
        assert (recording["status"], recording["streams"][0]["packets"]) == ("complete", 20)


async def draining(srs: Srs) -> None:
    async with asyncio.timeout(5):
        while True:
            async with srs.request("GET", "/health") as response:
                if (await response.json())["status"] == "draining":
                    return
            await asyncio.sleep(0.02)


async def test_at_the_limit_we_hang_up_and_the_files_are_whole(tmp_path: Path) -> None:
    async with (
        Srs(tmp_path) as srs,
        Agent(srs.udp) as agent,
        RecordingClient(agent, FRAMES) as call,
    ):
        await call.invite()
        await call.play(0.4)
        assert await srs.stop() == 0
        assert call.ended.is_set()
        assert not list((tmp_path / "data/spool").glob("*.srsp"))
        await srs.start()
        recording = await srs.recording(call.call_id)
        assert (recording["status"], recording["streams"][0]["packets"]) == ("complete", 20)


async def test_a_second_signal_ends_at_once_and_loses_nothing(tmp_path: Path) -> None:
    async with (
        Srs(tmp_path, SRS_SIP_DRAIN_S="3600") as srs,
        Agent(srs.udp) as agent,
        RecordingClient(agent, FRAMES) as call,
    ):
        await call.invite()
        await call.play(0.4)
        assert srs.process
        srs.process.send_signal(signal.SIGTERM)
        await draining(srs)
        srs.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await srs.process.wait() == 0
        call.ended.set()
        await srs.start()
        recording = await srs.recording(call.call_id)
        assert recording["status"] in {"complete", "partial"}
        assert recording["streams"][0]["packets"] == 20


async def test_recover_finishes_without_serving(tmp_path: Path) -> None:
    async with Srs(tmp_path) as srs:
        async with Agent(srs.udp) as agent, RecordingClient(agent, FRAMES) as call:
            await call.invite()
            await call.play(1.2)
            busy = await asyncio.to_thread(siprecd, tmp_path, "recover")
            assert busy.returncode == 1 and "in use by another siprecd" in busy.stderr
            await srs.kill()
            call.ended.set()
        uploads = tmp_path / "data/spool/uploads"
        uploads.mkdir()
        (uploads / f"{'0' * 32}.audio").write_bytes(b"cut off")
        done = await asyncio.to_thread(siprecd, tmp_path, "recover")
        assert done.returncode == 0 and "1 unfinished recordings" in done.stdout
        assert not list((tmp_path / "data/spool").glob("*.srsp"))
        assert not list(uploads.iterdir())
        await srs.start()
        recording = await srs.recording(call.call_id)
        assert (recording["status"], recording["reason"]) == ("partial", "crash")
