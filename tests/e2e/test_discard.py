"""A call somebody discarded leaves nothing, whatever happens before it ends."""

import asyncio
from pathlib import Path

from examples.sip import Agent
from examples.src import RecordingClient
from tests.e2e.srs import Srs
from tests.e2e.test_pause import FRAMES


async def test_a_discarded_call_that_a_crash_cut_off_is_gone(folder: Path) -> None:
    async with Srs(folder) as srs, Agent(srs.udp) as agent:
        calls = [RecordingClient(agent, [FRAMES]) for _ in range(2)]
        for call in calls:
            await call.__aenter__()
            await call.invite()
            await call.play(0.3)
        live, kept = [await srs.session(call.call_id) for call in calls]
        assert (await srs.control(live["id"], "discard"))["discards"] is True
        await srs.kill()
        for call in calls:
            await call.__aexit__()
        await srs.start()
        await srs.recording(calls[1].call_id)
        async with asyncio.timeout(20):
            while live["recording_id"] in {row["id"] for row in await listed(srs)}:
                await asyncio.sleep(0.05)
        assert [row["id"] for row in await listed(srs)] == [kept["recording_id"]]
    assert not [*(folder / "data").rglob(f"{live['recording_id']}*")]


async def listed(srs: Srs) -> list[dict[str, str]]:
    return list((await srs.get("recordings"))["items"])
