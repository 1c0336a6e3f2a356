"""From an ended recording to its files, and from leftovers of a crash to recordings."""

import asyncio
import json
import shutil
import time
import wave
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from config.schema import Render
from media import spool
from media.spec import MediaFile, RenderFailed
from storage import sidecar
from storage.records import Extension, Pause, Recording, StreamRecord
from tests.media import spools
from tests.siprec.shelves import Shelf
from tests.siprec.shelves import shelf as opened

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)


@pytest.fixture
async def shelf(tmp_path: Path, migrated: Path) -> AsyncIterator[Shelf]:
    async with opened(tmp_path, migrated) as shelf:
        yield shelf


def grown(
    shelf: Shelf, recording_id: str = "r1", *, ended: bool = True, paused: bool = False
) -> Path:
    """A spool of one second, one stream, as the media process would leave it."""
    path = spool.path_of(shelf.folder / "spool", recording_id)
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


async def settled(shelf: Shelf, recording_id: str = "r1") -> Recording:
    async with asyncio.timeout(20):
        while (found := await shelf.library.get(recording_id)).status == "processing":
            await asyncio.sleep(0.02)
        while spool.path_of(shelf.folder / "spool", recording_id).exists():
            await asyncio.sleep(0.02)
    return found


async def test_a_finished_recording_has_its_files_and_no_spool(shelf: Shelf) -> None:
    grown(shelf)
    shelf.archive.finish(row(), [])
    found = await settled(shelf)
    assert (found.status, found.duration_ms, found.streams[0].packets) == ("complete", 1000, 50)
    assert found.streams[0].participant_id == "p1"
    wav, peaks = found.files
    assert wav.key == "2026-11-22/14/05/r1.wav" and peaks.format == "peaks"
    path = shelf.blobs.path(wav.key)
    assert path and spool.sha256_of(path) == wav.sha256
    with wave.open(str(path)) as file:
        assert file.getnframes() == 8000
    stored = shelf.blobs.path(peaks.key)
    assert stored and json.loads(stored.read_bytes())["channels"]
    assert list((shelf.folder / "spool").glob("r1*")) == []


async def test_the_row_is_there_before_the_spool_goes(shelf: Shelf) -> None:
    grown(shelf)
    shelf.archive.finish(row(), [])
    await settled(shelf)
    await shelf.writer.stored("r1")
    assert (await shelf.catalog.get("r1")).status == "complete"


async def test_mp3_at_the_end_is_there_without_a_request(shelf: Shelf) -> None:
    shelf.archive._config = Render(mp3="at_end")
    grown(shelf)
    shelf.archive.finish(row(), [])
    assert [file.format for file in (await settled(shelf)).files] == ["wav", "peaks", "mp3"]


async def test_an_mp3_that_fails_at_the_end_costs_only_itself(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any) -> MediaFile:
        raise RenderFailed("lame is lame")

    shelf.archive._config = Render(mp3="at_end")
    grown(shelf)
    with monkeypatch.context() as patched:
        patched.setattr(shelf.renderer, "mp3", broken)
        shelf.archive.finish(row(), [])
        found = await settled(shelf)
    assert (found.status, [file.format for file in found.files]) == ("complete", ["wav", "peaks"])
    assert len((await shelf.library.mp3("r1")).files) == 3


async def test_what_was_known_of_a_stream_is_kept(shelf: Shelf) -> None:
    grown(shelf)
    known = StreamRecord(
        "s0",
        "9",
        5,
        participant_id="p1",
        siprec_stream_id="hVpd7Q==",
        started_at=NOW,
        extensions=(Extension("apkt:codec", ("x",)),),
    )
    shelf.archive.finish(row(streams=(known,)), [])
    (stream,) = (await settled(shelf)).streams
    assert (stream.siprec_stream_id, stream.started_at) == ("hVpd7Q==", NOW)
    assert stream.extensions == known.extensions
    assert (stream.label, stream.channel, stream.encoding, stream.packets) == ("0", 0, "PCMU", 50)


async def test_the_newest_state_is_finished(shelf: Shelf) -> None:
    grown(shelf)
    shelf.archive.take(row())
    shelf.archive.take(row(note="newest"))
    shelf.archive.finish(row(note="from before the end"), [])
    found = await settled(shelf)
    assert (found.status, found.note) == ("complete", "newest")
    assert shelf.archive.unfinished == {}


async def test_an_unfinished_recording_has_the_number_it_was_given_while_it_grew(
    shelf: Shelf,
) -> None:
    shelf.archive.note(row("r0", status="recording"))
    shelf.archive.note(row("r1", status="recording"))
    await shelf.writer.stored("r1")
    shelf.archive.take(row("r1"))
    assert (await shelf.library.get("r1")).number == 2


async def test_what_is_forgotten_leaves_nothing_beside_the_spools(shelf: Shelf) -> None:
    folder = shelf.folder / "spool"
    for name in ("r1.spool", "r1.json", "r1.mp3", "r1.wav.part", "r10.json", "other.json"):
        (folder / name).touch()
    shelf.archive.forget("r1")
    shelf.archive.forget("*")
    assert {path.name for path in folder.iterdir()} == {"r10.json", "other.json"}


async def test_a_full_disk_is_tried_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siprec.archive.RETRY_S", (0, 0, 0))
    path = grown(shelf)
    aside = path.rename(path.with_suffix(".aside"))
    shelf.archive.finish(row(), [])
    await asyncio.sleep(0)
    aside.rename(path)
    found = await settled(shelf)
    assert found.status == "complete"


async def test_what_cannot_be_rendered_fails_loudly_and_keeps_its_spool(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siprec.archive.RETRY_S", (0,))
    path = spool.path_of(shelf.folder / "spool", "r1")
    path.write_bytes(b"not a spool")
    with shelf.feed.subscribe() as events:
        shelf.archive.finish(row(), [])
        async with asyncio.timeout(20):
            async for event in events:
                if event.type == "recording.failed":
                    break
    found = await shelf.library.get("r1")
    assert (found.status, found.reason) == ("failed", "render_failed")
    assert path.exists()


async def test_leftovers_are_finished_as_cut_off(shelf: Shelf) -> None:
    grown(shelf, "r1", ended=False, paused=True)
    open_pause = (Pause(NOW, None, "silence"),)
    sidecar.write(shelf.folder / "spool", row("r1", status="recording", pauses=open_pause))
    grown(shelf, "r2", ended=False)
    await shelf.catalog.save(row("r3", status="recording"))
    leftovers = await shelf.archive.leftovers()
    assert {each.id: each.paused_at_end for each in leftovers} == {
        "r1": True,
        "r2": False,
        "r3": False,
    }
    shelf.archive.recover(leftovers)
    one, two = await settled(shelf, "r1"), await settled(shelf, "r2")
    assert (one.status, one.reason, one.call_id) == ("partial", "crash", "call")
    assert one.paused_at_end
    assert (two.status, two.reason) == ("partial", "crash")
    assert "sidecar_missing" in two.warnings
    three = await shelf.library.get("r3")
    assert (three.status, three.reason) == ("failed", "crash")
    assert await shelf.archive.leftovers() == []


async def test_what_had_ended_before_the_crash_is_complete(shelf: Shelf) -> None:
    grown(shelf, "r1")
    sidecar.write(shelf.folder / "spool", row("r1"))
    shelf.archive.recover(await shelf.archive.leftovers())
    assert (await settled(shelf)).status == "complete"


async def test_what_was_booked_before_the_crash_is_only_tidied_up(shelf: Shelf) -> None:
    grown(shelf)
    shelf.archive.finish(row(), [])
    done = await settled(shelf)
    await shelf.writer.stored("r1")
    grown(shelf, "r1", ended=False)
    sidecar.write(shelf.folder / "spool", row("r1", status="recording"))
    sidecar.write(shelf.folder / "spool", row("r2", status="recording"))
    leftovers = await shelf.archive.leftovers()
    assert [each.id for each in leftovers] == ["r2"]
    shelf.archive.recover(leftovers)
    assert (await shelf.catalog.get("r1")).files == done.files
    assert list((shelf.folder / "spool").glob("r*")) == []


async def test_a_damaged_sidecar_is_set_aside(shelf: Shelf) -> None:
    folder = shelf.folder / "spool"
    (folder / "r1.json").write_bytes(b"{")
    assert await shelf.archive.leftovers() == []
    assert (folder / "r1.damaged").exists()


async def test_notes_reach_the_sidecar_newest_last(shelf: Shelf) -> None:
    writing = asyncio.get_running_loop().create_task(shelf.archive.write_notes())
    for number in range(5):
        shelf.archive.note(row(duration_ms=number))
    path = shelf.folder / "spool" / "r1.json"
    async with asyncio.timeout(5):
        while not path.exists() or sidecar.read(path).duration_ms != 4:
            await asyncio.sleep(0.01)
    shutil.rmtree(shelf.folder / "spool")
    shelf.archive.note(row(duration_ms=5))
    await asyncio.sleep(0.05)
    assert not writing.done()
    writing.cancel()
    await asyncio.wait([writing])


async def test_recovery_of_many_is_quick(shelf: Shelf) -> None:
    for number in range(200):
        grown(shelf, f"r{number:03}", ended=False)
    began = time.perf_counter()
    assert len(await shelf.archive.leftovers()) == 200
    print(f"200 leftovers found in {time.perf_counter() - began:.3f} s")
