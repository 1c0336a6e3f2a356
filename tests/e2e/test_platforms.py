"""A recorder that is a recording platform of its own directory, as it is run."""

import asyncio

import pytest

from examples.sip import Agent
from examples.src import RecordingClient
from tests.e2e.srs import Json, Srs

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_finds_itself_up_and_counts_its_calls(srs: Srs) -> None:
    port = int(srs.udp.rpartition(":")[2])
    entry = {"name": "us", "net_address": "127.0.0.1", "port": port, "media_stream": "Dual"} | {
        "transport_protocol": "UDP",
        "schema_version": "3.0",
        "support_video_recording": False,
    }
    path = "/srs/v1/directory/platforms/us"
    async with srs.request("PUT", path, json=entry) as response:
        assert response.status == 201, await response.text()

    async def shown() -> Json:
        found = (await srs.get("/srs/v1/platforms"))["items"]
        return found[0] if found else {"state": ""}

    async with asyncio.timeout(20):
        while (await shown())["state"] != "up":
            await asyncio.sleep(0.1)
    async with Agent(srs.udp) as agent, RecordingClient(agent) as call:
        await call.invite()
        now = await shown()
        assert (now["listener"], now["sessions"], now["failures"]) == (True, 1, 0)
        assert 0 < now["rtt_ms"] < 5000
        await call.bye()
