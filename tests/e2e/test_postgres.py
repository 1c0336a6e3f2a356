"""Two recorders that share a PostgreSQL database: one directory and catalogue, files apart."""

import asyncio
from pathlib import Path

import pytest

from examples.sip import Agent
from examples.src import RecordingClient
from tests.e2e.srs import Json, Srs
from tests.e2e.test_pause import FRAMES

pytestmark = pytest.mark.databases

ROUTE: Json = {"id": 10, "account": 1, "pattern": "ben@%", "label": "shared"}


async def called(srs: Srs) -> RecordingClient:
    async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
        await call.invite()
        await call.play(0.3)
        await call.bye()
    return call


async def test_two_recorders_share_their_books_and_not_their_files(
    tmp_path: Path, postgres_bare_url: str
) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    first, second = (
        Srs(folder, SRS_STORAGE_DATABASE=postgres_bare_url, SRS_STORAGE_NODE=str(node))
        for node, folder in enumerate(folders, 1)
    )
    async with first:
        second.key = first.key
        async with second:
            async with first.request("PUT", "directory/routes/10", json=ROUTE) as answer:
                assert answer.status == 201
            async with asyncio.timeout(20):
                while len((await second.get("directory/routes"))["items"]) < 2:
                    await asyncio.sleep(0.1)
            calls = [await called(srs) for srs in (first, second)]
            rows = [await first.recording(call.call_id) for call in calls]
            assert [(row["node"], row["route"], row["status"]) for row in rows] == [
                (1, 10, "complete"),
                (2, 10, "complete"),
            ]
            assert len({row["number"] for row in rows}) == 2
            assert await second.channels(rows[1]["id"]) is not None
            # Deleted by the one, erased by the other once it looks, at the latest at its start.
            async with first.request("DELETE", f"recordings/{rows[1]['id']}") as answer:
                assert answer.status == 204
            assert (await first.get(f"recordings/{rows[1]['id']}"))["deleting"]
            assert await second.stop() == 0
            assert list((folders[1] / "data" / "recordings").rglob("*.wav"))
            await second.start()
            async with asyncio.timeout(20):
                while list((folders[1] / "data" / "recordings").rglob("*.wav")):
                    await asyncio.sleep(0.1)
                # The row goes after the files.
                while rows[1]["id"] in {row["id"] for row in await listed(first)}:
                    await asyncio.sleep(0.1)
            async with first.request("GET", f"recordings/{rows[1]['id']}") as answer:
                assert answer.status == 404
            assert (await first.get(f"recordings/{rows[0]['id']}"))["status"] == "complete"


async def listed(srs: Srs) -> list[Json]:
    """All recordings."""
    return list((await srs.get("recordings"))["items"])


async def test_a_start_does_not_touch_what_another_recorder_has_live(
    tmp_path: Path, postgres_bare_url: str
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = Srs(tmp_path / "one", SRS_STORAGE_DATABASE=postgres_bare_url)
    second = Srs(tmp_path / "two", SRS_STORAGE_DATABASE=postgres_bare_url, SRS_STORAGE_NODE="2")
    async with (
        first,
        Agent(first.udp) as agent,
        RecordingClient(agent, [FRAMES, FRAMES]) as call,
    ):
        await call.invite()
        await call.play(0.3)
        async with second:
            second.key = first.key
            await call.play(0.3)
            row = (await second.get(f"recordings?call_id={call.call_id}"))["items"][0]
            assert (row["status"], row["node"]) == ("recording", 1)
        await call.bye()
        assert (await first.recording(call.call_id))["status"] == "complete"
