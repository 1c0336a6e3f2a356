"""MP3 files on request: format, limits, who waits for whom."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.schema import Render
from media.spec import MediaFile, RenderFailed
from siprec import conversion
from siprec.logbook import Changes
from siprec.session import (
    Actor,
    ConversionBusy,
    ConversionFailed,
    ConversionTimeout,
    NotFinished,
)
from storage.records import (
    FileRecord,
    Recording,
    StorageUnavailable,
    UnknownFile,
    UnknownRecording,
)
from tests.siprec.shelves import ANN, STARTED, Shelf
from tests.siprec.shelves import shelf as opened

EVE = Actor("eve", account=100)
KEY = "2026-11-22/14/05/r1.mp3"


@pytest.fixture
async def shelf(tmp_path: Path, migrated: Path) -> AsyncIterator[Shelf]:
    async with opened(tmp_path, migrated) as shelf:
        yield shelf


class Slow:
    """A renderer whose work waits to be let go on."""

    def __init__(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on, self.jobs = asyncio.Event(), asyncio.Event(), 0
        self._make: Callable[..., Awaitable[MediaFile]] = shelf.renderer.mp3
        monkeypatch.setattr(shelf.renderer, "mp3", self.mp3)

    async def mp3(self, *args: Any) -> MediaFile:
        self.jobs += 1
        self.begun.set()
        await self.go_on.wait()
        return await self._make(*args)


async def _when_idle(shelf: Shelf) -> None:
    async with asyncio.timeout(10):
        while shelf.library._conversions._jobs:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("profile", "form"),
    [
        ("default", (32, "mono")),
        ("smallest", (16, "mono")),
        ("small", (24, "mono")),
        ("best_quality", (128, "split")),
        ("firefox_compatible", (64, "mono")),
        ("from a newer version", (32, "mono")),
    ],
)
async def test_the_profile_of_the_recording_decides(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, profile: str, form: tuple[int, str]
) -> None:
    asked: list[tuple[int, str]] = []
    make = shelf.renderer.mp3

    async def spy(source: Path, out: Path, channels: Any, bitrate_kbps: int) -> MediaFile:
        asked.append((bitrate_kbps, channels))
        return await make(source, out, channels, bitrate_kbps)

    monkeypatch.setattr(shelf.renderer, "mp3", spy)
    await shelf.stored(profile=profile)
    await shelf.library.mp3("r1", ANN)
    assert asked == [form]


async def test_the_default_is_the_configured_one(tmp_path: Path, migrated: Path) -> None:
    render = Render(mp3_channels="split", mp3_bitrate_kbps=96)
    async with opened(tmp_path, migrated, render=render) as shelf:
        converter = shelf.library._conversions._converter
        assert (converter._default.bitrate_kbps, converter._default.channels) == (96, "split")


async def test_it_is_made_once_and_booked(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(shelf, monkeypatch)
    slow.go_on.set()
    await shelf.stored()
    first, second = [await shelf.library.mp3("r1", ANN) for _ in range(2)]
    assert [file.format for file in first.files] == ["wav", "mp3"]
    assert second.files == first.files == (await shelf.catalog.get("r1")).files
    assert slow.jobs == 1
    path = shelf.blobs.path(KEY)
    assert path and path.stat().st_size == first.files[1].size_bytes
    assert path.stat().st_mode & 0o777 == 0o640
    assert not [*(shelf.folder / "spool").iterdir()]


async def test_who_asks_again_waits_for_the_same_work_and_others_do_not(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(shelf, monkeypatch)
    await shelf.stored()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(shelf.library.mp3("r1", ANN)) for _ in range(3)]
        await slow.begun.wait()
        with pytest.raises(ConversionBusy):
            await shelf.library.mp3("r1", EVE)
        slow.go_on.set()
    assert slow.jobs == 1
    assert len({task.result().files for task in waiting}) == 1
    assert len((await shelf.library.mp3("r1", EVE)).files) == 2


async def test_what_takes_too_long_goes_on_and_is_booked(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert conversion.LIMIT_S == 30
    monkeypatch.setattr(conversion, "LIMIT_S", 0.05)
    slow = Slow(shelf, monkeypatch)
    await shelf.stored()
    with pytest.raises(ConversionTimeout):
        await shelf.library.mp3("r1", ANN)
    await shelf.library.update("r1", Changes(note="meanwhile"), EVE)
    slow.go_on.set()
    await _when_idle(shelf)
    stored = await shelf.catalog.get("r1")
    assert ([file.format for file in stored.files], stored.note) == (["wav", "mp3"], "meanwhile")
    assert slow.jobs == 1


async def test_who_leaves_does_not_end_the_work(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(shelf, monkeypatch)
    await shelf.stored()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(shelf.library.mp3("r1", ANN))
        await slow.begun.wait()
        waiting.cancel()
    slow.go_on.set()
    await _when_idle(shelf)
    assert len((await shelf.catalog.get("r1")).files) == 2


async def test_a_failure_is_told_and_may_be_tried_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any) -> MediaFile:
        raise RenderFailed("lame is lame")

    await shelf.stored()
    with monkeypatch.context() as patched:
        patched.setattr(shelf.renderer, "mp3", broken)
        with pytest.raises(ConversionFailed, match="lame"):
            await shelf.library.mp3("r1", ANN)
    assert len((await shelf.library.mp3("r1", EVE)).files) == 2


async def test_a_wav_that_is_none_is_a_failure(shelf: Shelf) -> None:
    row = await shelf.stored()
    shelf.put(row.files[0].key, b"this is not audio")
    with pytest.raises(ConversionFailed):
        await shelf.library.mp3("r1", ANN)
    shelf.blobs.delete(row.files[0].key)
    with pytest.raises((ConversionFailed, UnknownFile)):
        await shelf.library.mp3("r1", ANN)


async def test_what_is_deleted_meanwhile_leaves_no_file(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(shelf, monkeypatch)
    await shelf.stored()

    async def make(*args: Any) -> MediaFile:
        made = await slow._make(*args)
        await shelf.library.delete("r1", EVE)
        return made

    monkeypatch.setattr(shelf.renderer, "mp3", make)
    with pytest.raises((UnknownRecording, StorageUnavailable, UnknownFile)):
        await shelf.library.mp3("r1", ANN)
    assert not shelf.blobs.exists(KEY)
    assert not [*(shelf.folder / "recordings").rglob("*.mp3")]


@pytest.mark.parametrize("is_gone", [True, False])
async def test_what_goes_while_its_file_is_booked_leaves_none(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    conversions = shelf.library._conversions
    book = conversions._book

    async def late(row: Recording, file: FileRecord) -> Recording:
        if is_gone:
            await shelf.library.delete("r1", EVE)
        else:
            await shelf.catalog.save(replace(row, deleting=True))
        shelf.put(file.key, b"mp3")
        return await book(row, file)

    await shelf.stored()
    monkeypatch.setattr(conversions, "_book", late)
    with pytest.raises((UnknownRecording, UnknownFile)):
        await shelf.library.mp3("r1", ANN)
    assert not shelf.blobs.exists(KEY)


async def test_what_has_no_audio_is_not_converted(shelf: Shelf) -> None:
    await shelf.stored("r1", status="failed", files=())
    with pytest.raises(UnknownFile):
        await shelf.library.mp3("r1", ANN)
    await shelf.stored("r2", deleting=True)
    with pytest.raises(UnknownFile):
        await shelf.library.mp3("r2", ANN)
    await shelf.stored("r3", status="processing", files=())
    with pytest.raises(NotFinished):
        await shelf.library.mp3("r3", ANN)


async def test_a_store_elsewhere_is_fetched_from_and_leaves_no_copy(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.stored()
    monkeypatch.setattr(shelf.blobs, "path", lambda key: None)
    assert len((await shelf.library.mp3("r1", ANN)).files) == 2
    assert not [*(shelf.folder / "spool").iterdir()]


async def test_a_server_that_stops_leaves_nobody_waiting(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.TaskGroup() as group:
        async with opened(tmp_path, migrated) as shelf:
            slow = Slow(shelf, monkeypatch)
            await shelf.stored()
            waiting = group.create_task(_refused(shelf))
            await slow.begun.wait()
        await waiting


async def _refused(shelf: Shelf) -> None:
    with pytest.raises(ConversionFailed):
        await shelf.library.mp3("r1", ANN)


def test_keys_are_made_from_our_own_ids_only(shelf: Shelf) -> None:
    row = shelf.ended(filename="../../etc/passwd", call_id="../x", ucid="/y")
    assert conversion.key_of(row, "mp3") == KEY
    assert row.started_at == STARTED
