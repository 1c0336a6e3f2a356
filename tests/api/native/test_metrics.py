"""Figures for Prometheus, read with its own parser."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from siprec.session import SYSTEM, Action
from storage.entries import Account, Route
from storage.platforms import RecordingPlatform
from tests.api.native.asking import status_of
from tests.api.node import Node

Figures = dict[str, dict[tuple[str, ...], float]]


async def figures(node: Node) -> Figures:
    """Name -> values of the labels -> figure."""
    async with node.client("control") as client, client.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = await response.text()
    found: Figures = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_sessions_by_state_and_open_recordings(calling: Node) -> None:
    empty = await figures(calling)
    assert empty["siprecd_sessions"] == {
        (state,): 0.0 for state in ("idle", "recording", "paused", "stopped")
    }
    assert empty["siprecd_recordings_open"] == {(): 0.0}
    await calling.services.directory.put(Route(9, 1, match="to", pattern="777", record="on_demand"))
    await calling.call("idle@src", to_aor="sip:777@example.com")
    await calling.call("recording@src")
    live = await calling.call("paused@src")
    await calling.services.recorder.control(live.id, Action.PAUSE, SYSTEM)
    found = await figures(calling)
    assert found["siprecd_sessions"] == {
        ("idle",): 1.0,
        ("recording",): 1.0,
        ("paused",): 1.0,
        ("stopped",): 0.0,
    }
    assert found["siprecd_recordings_open"] == {(): 2.0}


async def test_platforms_once_somebody_looked(calling: Node) -> None:
    odd = 'a "b" \\'
    entry = RecordingPlatform(odd, "127.0.0.1", "Dual", "UDP", "3.0", False, 9)
    await calling.services.directory.put(entry)
    await calling.call("over@src", transport="udp", local_port=9)
    found = await figures(calling)
    assert found["siprecd_platform_sessions"] == {(odd,): 1.0}
    assert "siprecd_platform_up" not in found and "siprecd_platform_rtt_seconds" not in found
    async with asyncio.TaskGroup() as group:
        running = group.create_task(calling.services.platforms.run(0, 0.01), name="watch")
        async with asyncio.timeout(5):
            while "siprecd_platform_up" not in (found := await figures(calling)):
                await asyncio.sleep(0.01)
        running.cancel()
    assert found["siprecd_platform_up"] == {(odd,): 0.0}


async def test_the_process_is_told_of(node: Node) -> None:
    found = await figures(node)
    assert found["process_resident_memory_bytes"][()] > 1e7
    assert found["process_open_fds"][()] > 3
    assert found["process_start_time_seconds"][()] > 1e9


async def test_it_is_for_the_system_account(node: Node) -> None:
    await node.services.directory.put(Account(100, "Shop"))
    node.keys["shop"] = await node.services.keys.add("shop", "admin", 100)
    for who, status in (("control", 200), ("shop", 403), (None, 401)):
        async with node.client(who) as client:
            assert await status_of(client, "GET", "/metrics") == status, who
    async with node.client("control") as client, client.head("/metrics") as response:
        assert response.status == 200 and await response.read() == b""
