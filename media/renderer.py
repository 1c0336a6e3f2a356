"""Renderer: the door to rendering, in low-priority processes beside the control process.

Each lane is a thread with one worker process of its own, so that a worker that dies takes no other
job with it; its job is done again in a new one. A worker that is killed leaves at most a `.part`
file behind, which the next attempt replaces.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, TypeVar

from media.importing import import_audio
from media.mp3 import make_mp3
from media.render import render
from media.spec import MediaError, MediaFile, Rendered, RenderFailed

ATTEMPTS = 3
"""Workers a job may outlive."""
NICE = 15

T = TypeVar("T")


class Renderer:
    """Makes finished files, `workers` at a time; one job at most for each output."""

    def __init__(self, workers: int) -> None:
        self._lanes = ThreadPoolExecutor(workers, thread_name_prefix="render")
        self._lane = threading.local()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._renders: dict[Path, Future[Rendered]] = {}
        self._mp3s: dict[Path, Future[MediaFile]] = {}
        self._closed = False

    async def render(
        self, spool_path: Path, out_dir: Path, recording_id: str, channel_order: Sequence[str]
    ) -> Rendered:
        """As `media.render.render`, in a worker. Raises SpoolDamaged, RenderFailed."""
        job = partial(render, spool_path, out_dir, recording_id, tuple(channel_order))
        return await self._once(self._renders, out_dir / recording_id, job)

    async def mp3(
        self,
        wav_path: Path,
        out_path: Path,
        channels: Literal["mono", "split"],
        bitrate_kbps: int,
    ) -> MediaFile:
        """As `media.mp3.make_mp3`, in a worker. Raises RenderFailed."""
        job = partial(make_mp3, wav_path, out_path, channels, bitrate_kbps)
        return await self._once(self._mp3s, out_path, job)

    async def import_audio(
        self, source: Path, out_dir: Path, recording_id: str, *, keep_stereo: bool
    ) -> Rendered:
        """As `media.importing.import_audio`, in a worker. Raises UnusableAudio, RenderFailed."""
        job = partial(import_audio, source, out_dir, recording_id, keep_stereo=keep_stereo)
        return await self._once(self._renders, out_dir / recording_id, job)

    async def close(self) -> None:
        """Give up what is not finished and end the workers; jobs then raise RenderFailed."""
        self._closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            workers = tuple(self._workers)
        for worker in workers:
            self._end(worker)
        self._lanes.shutdown(cancel_futures=True)

    async def _once(self, jobs: dict[Path, Future[T]], output: Path, job: Callable[[], T]) -> T:
        """The outcome of the job that makes this output, which is started unless it runs already.

        A caller that is cancelled leaves the job running for others.
        """
        if self._closed:
            raise RenderFailed("the renderer is closed")
        running = jobs.get(output)
        if running is None:
            running = jobs[output] = self._lanes.submit(self._run, job)
            running.add_done_callback(lambda _: jobs.pop(output))
        outcome = asyncio.wrap_future(running)
        outcome.add_done_callback(_seen)
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            if running.cancelled():
                raise RenderFailed("the renderer is closed") from None
            raise

    def _run(self, job: Callable[[], T]) -> T:
        """Have the lane's worker do a job, or the one after it. Runs in a thread of the lanes."""
        for _ in range(ATTEMPTS):
            worker = self._worker()
            if self._closed:
                self._end(worker)
                raise RenderFailed("the renderer is closed")
            try:
                return worker.do(job)
            except RuntimeError:  # BrokenProcessPool, or closed a moment ago
                self._end(worker)
        raise RenderFailed(f"gave up after {ATTEMPTS} workers died")

    def _worker(self) -> "_Worker":
        """The worker of the lane, a new one if it has none."""
        worker: _Worker | None = getattr(self._lane, "worker", None)
        if worker not in self._workers:
            worker = self._lane.worker = _Worker()
            with self._lock:
                self._workers.add(worker)
        return worker

    def _end(self, worker: "_Worker") -> None:
        """Close a worker, unless another thread has or does."""
        with self._lock:
            mine = worker in self._workers
            self._workers.discard(worker)
        if mine:
            worker.close()


def _seen(outcome: asyncio.Future[T]) -> None:
    """Look at an outcome, so that nobody complains if the caller who left does not."""
    if not outcome.cancelled():
        outcome.exception()


class _Worker:
    """A process that does one job after the other and ends when its lifeline is let go."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._held, self._lifeline = spawn.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(1, spawn, _initialise, (self._held,))

    def do(self, job: Callable[[], T]) -> T:
        """Wait for a job. Raises RuntimeError when the worker dies over it."""
        return self._pool.submit(_work, job).result()

    def close(self) -> None:
        """End the process, in the middle of a job if need be."""
        self._lifeline.close()
        self._pool.shutdown()
        self._held.close()


def _initialise(lifeline: Connection) -> None:
    """Runs in a new worker. The control process decides about signals to the process group."""
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_leave, args=(lifeline,), daemon=True).start()


def _leave(lifeline: Connection) -> None:
    """Wait for the end of the lifeline, be it by `close` or by the death of the control process."""
    lifeline.poll(None)
    os._exit(0)


def _work(job: Callable[[], T]) -> T:
    """Runs in the worker: whatever is wrong with one recording must not reach further than that."""
    try:
        return job()
    except MediaError:
        raise
    except Exception as error:
        raise RenderFailed(f"{type(error).__name__}: {error}") from error
