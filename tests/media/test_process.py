"""The media process: started, killed, stopped, and started again."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from media import process, wire
from media.process import MediaProcess, Order, Reports
from media.spec import MediaUnavailable, Target


class Bench:
    """A media process, and what was heard of it."""

    def __init__(self, folder: Path) -> None:
        self.process = MediaProcess([str(folder), "10"], self.restore, self.trouble)
        self.restored = asyncio.Event()
        self.stop_next = False
        self.troubles: list[tuple[str, str]] = []
        self.answers: asyncio.Queue[tuple[str, Reports]] = asyncio.Queue()

    def restore(self) -> list[Order]:
        if self.process.restarts:
            self.restored.set()
        if self.stop_next:
            self.signal(signal.SIGSTOP)
            self.stop_next = False
        return []

    def trouble(self, recording_id: str, code: str) -> None:
        self.troubles.append((recording_id, code))

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def send(self, command: wire.AnyCommand) -> None:
        self.process.send(
            Order(
                command,
                done=lambda reports: self.answers.put_nowait(("done", reports)),
                failed=lambda: self.answers.put_nowait(("failed", [])),
            )
        )

    def ask(self) -> None:
        self.send(wire.Report(self.process.number(), ["nobody"]))

    async def answer(self) -> str:
        async with asyncio.timeout(30):
            return (await self.answers.get())[0]


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(process, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(process, "ACKNOWLEDGE_S", 0.5)
    made = Bench(tmp_path)
    await made.process.start()
    yield made
    await made.process.close()


async def test_a_command_is_acknowledged(bench: Bench) -> None:
    bench.ask()
    assert await bench.answer() == "done"


async def test_a_process_that_died_is_replaced_and_given_the_command_again(bench: Bench) -> None:
    before = bench.process.pid
    bench.signal(signal.SIGSTOP)
    bench.ask()
    bench.signal(signal.SIGKILL)
    assert await bench.answer() == "done"
    assert bench.restored.is_set()
    assert bench.process.restarts == 1
    assert bench.process.pid not in (None, before)


async def test_a_process_that_is_silent_is_replaced_even_if_nothing_was_asked(
    bench: Bench,
) -> None:
    bench.signal(signal.SIGSTOP)
    async with asyncio.timeout(30):
        await bench.restored.wait()
    bench.ask()
    assert await bench.answer() == "done"


async def test_a_command_two_processes_left_unanswered_fails_and_the_third_goes_on(
    bench: Bench,
) -> None:
    bench.stop_next = True
    bench.signal(signal.SIGSTOP)
    bench.ask()
    assert await bench.answer() == "failed"
    bench.ask()
    assert await bench.answer() == "done"
    assert bench.process.restarts == 2


async def test_commands_given_while_there_is_no_process_wait_for_the_next(bench: Bench) -> None:
    bench.signal(signal.SIGKILL)
    for _ in range(3):
        bench.ask()
    assert [await bench.answer() for _ in range(3)] == ["done"] * 3


async def test_trouble_is_passed_on(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "full.srsp").symlink_to("/dev/full")
    target = Target("full")
    bench.send(wire.Open(bench.process.number(), "s", [], target, b"c" * 16, 1))
    assert await bench.answer() == "done"
    assert bench.troubles == [("full", "enospc")]


async def test_commands_beyond_what_the_pipe_takes_are_sent_in_time(bench: Bench) -> None:
    for _ in range(3_000):
        bench.send(wire.Report(bench.process.number(), ["nobody" * 20]))
    assert {await bench.answer() for _ in range(3_000)} == {"done"}
    assert bench.process.restarts == 0


async def test_closing_fails_what_is_not_acknowledged_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CLOSE_S", 0.1)
    bench = Bench(tmp_path)
    await bench.process.start()
    pid = bench.process.pid
    bench.signal(signal.SIGSTOP)
    bench.ask()
    await bench.process.close()
    assert await bench.answer() == "failed"
    assert bench.process.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)


async def test_a_process_that_cannot_start_is_unavailable(tmp_path: Path) -> None:
    broken = MediaProcess([str(tmp_path), "no number"], list, lambda recording_id, code: None)
    with pytest.raises(MediaUnavailable):
        await broken.start()
    assert broken.pid is None


async def test_one_that_cannot_be_replaced_is_said_to_be_gone_once_and_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(process, "GONE_S", 0.2)
    told: list[float] = []
    loop = asyncio.get_running_loop()
    made = MediaProcess(
        [str(tmp_path), "100"], lambda: (), lambda *_: None, lambda: told.append(loop.time())
    )
    await made.start()
    assert not made.is_gone and made.pid
    async with asyncio.timeout(30):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/nowhere/python")
            killed_at = loop.time()
            os.kill(made.pid, signal.SIGKILL)
            while not told:
                await asyncio.sleep(0.01)
            assert made.is_gone and told[0] - killed_at >= 0.2
            await asyncio.sleep(0.1)
            assert len(told) == 1
        while made.is_gone:
            await asyncio.sleep(0.01)
    assert made.pid
    await made.close()
