"""How a node is put together, and that nothing is left open when it goes."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from config.schema import Config, Screen, Storage
from siprec import rooms
from siprec.rooms import Background, opened


def config(folder: Path) -> Config:
    (folder / "spool").mkdir()
    places = Storage(f"sqlite:///{folder}/books.db", f"file://{folder}/files", f"{folder}/spool")
    return msgspec.structs.replace(Config(), storage=places)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.parametrize("screen", [Screen(), Screen("http://s.example/{ip}", "http://s.example/")])
async def test_the_rooms_know_each_other_and_close_behind_them(
    tmp_path: Path, screen: Screen
) -> None:
    chosen = msgspec.structs.replace(config(tmp_path), screen=screen)
    before = open_files()
    async with asyncio.TaskGroup() as group:
        background = Background(group)
        async with opened(chosen, background.spawn) as rooms:
            services = rooms.services
            await rooms.books.directory.load()
            await rooms.books.outbox.count("dead")
            assert services.recorder.journal.on_occurrence == services.dispatcher.tell
            assert services.library.live == services.recorder.open_recording
            assert services.library.annotate_live == services.recorder.annotate
            assert services.directory.entries.accounts[1].name == "System"
    assert open_files() <= before + 1
    assert (tmp_path / "books.db").exists() and (tmp_path / "spool" / "outbox.db").exists()


async def test_work_that_fails_takes_nothing_else_down(tmp_path: Path) -> None:
    failed, done = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        failed.set()
        raise ValueError("no")

    async def works() -> None:
        await failed.wait()
        await asyncio.sleep(0)
        done.set()

    async def lasts() -> None:
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        background = Background(group)
        for name, work in (("fails", fails()), ("works", works())):
            background.spawn(name, work)
        await done.wait()
        background.spawn("lasts", lasts())
        await background.stop()


async def test_what_must_always_run_is_begun_again_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rooms, "RESTART_S", 0.01)
    begun: list[int] = []

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) < 3:
            raise ValueError("no")

    async with asyncio.TaskGroup() as group:
        Background(group).keep("work", work)
    assert begun == [0, 1, 2]
