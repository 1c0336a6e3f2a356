"""From an ended recording to its files, and from leftovers of a crash to recordings."""

import asyncio
import json
import shutil
import time
import wave
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config.schema import Render
from media import spool
from siprec.archive import Archive
from siprec.session import Actor, NotFinished
from storage import sidecar
from storage.records import Pause, Recording, StreamRecord, UnknownRecording
from tests.api.node import Node
from tests.media import spools

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
ADMIN = Actor("admin")


def archive(node: Node) -> Archive:
    return node.services.recorder._archive


def grown(
    node: Node, recording_id: str = "r1", *, ended: bool = True, paused: bool = False
) -> Path:
    """A spool of one second, one stream, as the media process would leave it."""
    path = spool.path_of(node.folder / "spool", recording_id)
    marks = [spools.pause(1000)] if paused else []
    said = spools.talk(b"\x10" * 8000)
    return spools.write(path, said, *marks, stop_ms=1000 if ended else 0)


def row(recording_id: str = "r1", **changes: object) -> Recording:
    base = Recording(
        recording_id,
        "s1",
        "call",
        "processing",
        NOW,
        streams=(StreamRecord("s0", "0", participant_id="p1"),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


async def settled(node: Node, recording_id: str = "r1") -> Recording:
    async with asyncio.timeout(20):
        while (found := await node.services.recorder.get(recording_id)).status == "processing":
            await asyncio.sleep(0.02)
        while spool.path_of(node.folder / "spool", recording_id).exists():
            await asyncio.sleep(0.02)
    return found


async def test_a_finished_recording_has_its_files_and_no_spool(node: Node) -> None:
    grown(node)
    archive(node).finish(row(), [])
    found = await settled(node)
    assert (found.status, found.duration_ms, found.streams[0].packets) == ("complete", 1000, 50)
    assert found.streams[0].participant_id == "p1"
    wav, peaks = found.files
    assert wav.key == "2026-11-22/14/05/r1.wav" and peaks.format == "peaks"
    path = node.services.blobs.path(wav.key)
    assert path and spool.sha256_of(path) == wav.sha256
    with wave.open(str(path)) as file:
        assert file.getnframes() == 8000
    stored = node.services.blobs.path(peaks.key)
    assert stored and json.loads(stored.read_bytes())["channels"]
    assert list((node.folder / "spool").glob("r1*")) == []


async def test_the_row_is_there_before_the_spool_goes(node: Node) -> None:
    grown(node)
    archive(node).finish(row(), [])
    await settled(node)
    await node.services.writer.stored("r1")
    assert (await node.services.catalog.get("r1")).status == "complete"


async def test_mp3_is_made_once_on_request(node: Node) -> None:
    grown(node)
    archive(node).finish(row(), [])
    await settled(node)
    first, second = [await node.services.recorder.mp3("r1") for _ in range(2)]
    assert [file.format for file in first.files] == ["wav", "peaks", "mp3"]
    assert second.files == first.files


async def test_mp3_at_the_end_is_there_without_a_request(node: Node) -> None:
    archive(node)._config = Render(mp3="at_end")
    grown(node)
    archive(node).finish(row(), [])
    assert "mp3" in [file.format for file in (await settled(node)).files]


async def test_a_store_elsewhere_is_fetched_from(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown(node)
    archive(node).finish(row(), [])
    await settled(node)
    monkeypatch.setattr(node.services.blobs, "path", lambda key: None)
    assert "mp3" in [file.format for file in (await node.services.recorder.mp3("r1")).files]


async def test_a_full_disk_is_tried_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siprec.archive.RETRY_S", (0, 0, 0))
    path = grown(node)
    aside = path.rename(path.with_suffix(".aside"))
    archive(node).finish(row(), [])
    await asyncio.sleep(0)
    aside.rename(path)
    found = await settled(node)
    assert found.status == "complete"


async def test_what_cannot_be_rendered_fails_loudly_and_keeps_its_spool(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siprec.archive.RETRY_S", (0,))
    path = spool.path_of(node.folder / "spool", "r1")
    path.write_bytes(b"not a spool")
    with node.services.feed.subscribe() as events:
        archive(node).finish(row(), [])
        async with asyncio.timeout(20):
            async for event in events:
                if event.type == "recording.failed":
                    break
    found = await node.services.recorder.get("r1")
    assert (found.status, found.reason) == ("failed", "render_failed")
    assert path.exists()


async def test_nothing_is_deleted_while_it_grows(node: Node) -> None:
    archive(node).note(row(status="recording"))
    with pytest.raises(NotFinished):
        await node.services.recorder.delete("r1", ADMIN)
    with pytest.raises(NotFinished):
        await node.services.recorder.mp3("r1")


async def test_deleting_removes_row_and_files(node: Node) -> None:
    grown(node)
    archive(node).finish(row(), [])
    found = await settled(node)
    await node.services.recorder.delete("r1", ADMIN)
    with pytest.raises(UnknownRecording):
        await node.services.recorder.get("r1")
    assert not any(node.services.blobs.exists(file.key) for file in found.files)


async def test_leftovers_are_finished_as_cut_off(node: Node) -> None:
    grown(node, "r1", ended=False, paused=True)
    open_pause = (Pause(NOW, None, "silence"),)
    sidecar.write(node.folder / "spool", row("r1", status="recording", pauses=open_pause))
    grown(node, "r2", ended=False)
    await node.services.catalog.save(row("r3", status="recording"))
    leftovers = await archive(node).leftovers()
    assert {each.id: each.paused_at_end for each in leftovers} == {
        "r1": True,
        "r2": False,
        "r3": False,
    }
    archive(node).recover(leftovers)
    one, two = await settled(node, "r1"), await settled(node, "r2")
    assert (one.status, one.reason, one.call_id) == ("partial", "crash", "call")
    assert one.paused_at_end
    assert (two.status, two.reason) == ("partial", "crash")
    assert "sidecar_missing" in two.warnings
    three = await node.services.recorder.get("r3")
    assert (three.status, three.reason) == ("failed", "crash")
    assert await archive(node).leftovers() == []


async def test_what_had_ended_before_the_crash_is_complete(node: Node) -> None:
    grown(node, "r1")
    sidecar.write(node.folder / "spool", row("r1"))
    archive(node).recover(await archive(node).leftovers())
    assert (await settled(node)).status == "complete"


async def test_what_was_booked_before_the_crash_is_only_tidied_up(node: Node) -> None:
    grown(node)
    archive(node).finish(row(), [])
    done = await settled(node)
    await node.services.writer.stored("r1")
    grown(node, "r1", ended=False)
    sidecar.write(node.folder / "spool", row("r1", status="recording"))
    sidecar.write(node.folder / "spool", row("r2", status="recording"))
    leftovers = await archive(node).leftovers()
    assert [each.id for each in leftovers] == ["r2"]
    archive(node).recover(leftovers)
    assert (await node.services.catalog.get("r1")).files == done.files
    assert list((node.folder / "spool").glob("r*")) == []


async def test_a_damaged_sidecar_is_set_aside(node: Node) -> None:
    folder = node.folder / "spool"
    (folder / "r1.json").write_bytes(b"{")
    assert await archive(node).leftovers() == []
    assert (folder / "r1.damaged").exists()


async def test_notes_reach_the_sidecar_newest_last(node: Node) -> None:
    writing = asyncio.get_running_loop().create_task(archive(node).write_notes())
    for number in range(5):
        archive(node).note(row(duration_ms=number))
    path = node.folder / "spool" / "r1.json"
    async with asyncio.timeout(5):
        while not path.exists() or sidecar.read(path).duration_ms != 4:
            await asyncio.sleep(0.01)
    shutil.rmtree(node.folder / "spool")
    archive(node).note(row(duration_ms=5))
    await asyncio.sleep(0.05)
    assert not writing.done()
    writing.cancel()


async def test_recovery_of_many_is_quick(node: Node) -> None:
    for number in range(200):
        grown(node, f"r{number:03}", ended=False)
    began = time.perf_counter()
    assert len(await archive(node).leftovers()) == 200
    print(f"200 leftovers found in {time.perf_counter() - began:.3f} s")
