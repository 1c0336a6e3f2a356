import asyncio
import contextlib
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from media.renderer import Renderer
from media.spec import RenderFailed, SpoolDamaged, UnusableAudio
from media.wav import header
from tests.media.spools import talk, write

NOISE = np.random.default_rng(13).integers(0, 256, 16_000, dtype=np.uint8).tobytes()
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    made = Renderer(1)
    yield made
    await made.close()
    assert multiprocessing.active_children() == []


def pipe(tmp_path: Path) -> Path:
    """A WAV file that a worker which opens it waits for."""
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    return path


async def reached(path: Path) -> int:
    """Wait until a worker reads the pipe; a descriptor that keeps it reading."""
    return await asyncio.to_thread(os.open, path, os.O_WRONLY)


def worker() -> int:
    (process,) = multiprocessing.active_children()
    assert process.pid is not None
    return process.pid


async def gone(pid: int) -> None:
    """Kill a process and wait until it has let go of everything."""
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert await asyncio.to_thread(select.select, [descriptor], [], [], 10) != ([], [], [])
    os.close(descriptor)


def finish(path: Path) -> None:
    """Put a real file where the pipe is."""
    whole = path.with_suffix(".tmp")
    whole.write_bytes(header(1, 8_000, 800) + bytes(1_600))
    whole.replace(path)


async def test_files_are_made_by_another_process(renderer: Renderer, tmp_path: Path) -> None:
    path = write(tmp_path / "a.srsp", talk(NOISE), stop_ms=2_000)
    rendered = await renderer.render(path, tmp_path, "rec", ["s0"])
    assert rendered.streams[0].packets == 100
    made = await renderer.mp3(Path(rendered.wav.path), tmp_path / "rec.mp3", "mono", 32)
    assert (made.duration_ms, os.stat(made.path).st_size) == (2_000, made.size_bytes)  # noqa: PTH116
    assert os.getpriority(os.PRIO_PROCESS, worker()) >= 15
    with pytest.raises(SpoolDamaged, match="no readable block"):
        await renderer.render(Path(made.path), tmp_path, "rec", [])
    with pytest.raises(RenderFailed, match="No such file"):
        await renderer.mp3(tmp_path / "b.wav", tmp_path / "b.mp3", "mono", 32)


async def test_a_file_from_outside_is_read_by_another_process(
    renderer: Renderer, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(header(2, 16_000, 800) + bytes(3_200))
    made = await renderer.import_audio(source, tmp_path, "rec", keep_stereo=True)
    assert (made.wav.path, made.wav.channels, made.duration_ms) == (
        str(tmp_path / "rec.wav"),
        2,
        50,
    )
    source.write_bytes(b"RIFF, but not really")
    with pytest.raises(UnusableAudio, match="not a WAV file"):
        await renderer.import_audio(source, tmp_path, "rec", keep_stereo=False)


async def test_a_worker_that_is_killed_is_replaced(renderer: Renderer, tmp_path: Path) -> None:
    path, target = pipe(tmp_path), tmp_path / "pipe.mp3"
    jobs = [renderer.mp3(path, target, "mono", 32) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job) for job in jobs]
        end = await reached(path)
        os.kill(worker(), signal.SIGTERM)
        os.kill(worker(), signal.SIGINT)
        finish(path)
        await gone(worker())
        os.close(end)
    first, *others = [task.result() for task in tasks]
    assert all(other is first for other in others)
    assert sorted(os.listdir(tmp_path)) == ["pipe.mp3", "pipe.wav"]  # noqa: PTH208


async def test_a_caller_that_leaves_does_not_end_the_job(
    renderer: Renderer, tmp_path: Path
) -> None:
    path, target = pipe(tmp_path), tmp_path / "pipe.mp3"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await renderer.mp3(path, target, "mono", 32)
    end = await reached(path)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(fails(renderer, path))
        await asyncio.sleep(0)
        os.close(end)
    assert "not a WAV file" in task.result()


async def test_a_job_that_kills_its_workers_is_given_up(renderer: Renderer, tmp_path: Path) -> None:
    path = pipe(tmp_path)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.wait_for(fails(renderer, path), None))
        for _ in range(3):
            end = await reached(path)
            await gone(worker())
            os.close(end)
    assert "workers died" in task.result()
    made = write(tmp_path / "a.srsp", talk(NOISE), stop_ms=2_000)
    assert (await renderer.render(made, tmp_path, "rec", [])).duration_ms == 2_000


async def fails(renderer: Renderer, path: Path) -> str:
    with pytest.raises(RenderFailed) as caught:
        await renderer.mp3(path, path.with_suffix(".mp3"), "mono", 32)
    return str(caught.value)


async def test_close_gives_up_what_runs_and_what_waits(tmp_path: Path) -> None:
    renderer, path = Renderer(1), pipe(tmp_path)
    waiting = tmp_path / "waiting.wav"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(fails(renderer, path))
        end = await reached(path)
        queued = group.create_task(fails(renderer, waiting))
        await asyncio.sleep(0)
        await renderer.close()
        os.close(end)
    assert "closed" in running.result()
    assert "closed" in queued.result()
    assert "closed" in await fails(renderer, path)
    assert multiprocessing.active_children() == []


def test_workers_do_not_outlive_a_control_process_that_is_killed(tmp_path: Path) -> None:
    path = pipe(tmp_path)
    program = (
        "import asyncio, multiprocessing, sys; from pathlib import Path\n"
        "from media.renderer import Renderer\n"
        "if __name__ == '__main__':\n"
        "    renderer, path = Renderer(1), Path(sys.argv[1])\n"
        "    asyncio.run(renderer.mp3(path, path.with_suffix('.mp3'), 'mono', 32))\n"
    )
    script = tmp_path / "control.py"
    script.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, script, path], env=environment) as control:
        end = os.open(path, os.O_WRONLY)
        children = Path(f"/proc/{control.pid}/task").glob("*/children")
        pids = [int(pid) for file in children for pid in file.read_text().split()]
        watched = [os.pidfd_open(pid) for pid in pids]
        control.kill()
    assert watched
    for descriptor in watched:
        assert select.select([descriptor], [], [], 10)[0]
        os.close(descriptor)
    with contextlib.suppress(BrokenPipeError):
        os.close(end)
