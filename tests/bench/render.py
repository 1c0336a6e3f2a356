"""Rendering: how many times faster than real time a spool becomes WAV, and the WAV an MP3."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from examples.rtp import FRAME_S, FRAME_SAMPLES, frames_of
from examples.src import AUDIO
from media.mp3 import make_mp3
from media.render import render
from media.spool import ROW, SpoolEvent, encode_event, encode_packets
from tests.bench.report import Table

BLOCK_FRAMES = 40
"""Packets of each stream in a block: 0.8 s."""
START_NS = 1_800_000_000 * 10**9


def write_spool(path: Path, seconds: int) -> None:
    """The spool of a call in which the shipped speech is played over and over."""
    speech = [b"".join(frames) for frames in frames_of(AUDIO, "PCMU")]
    names = [(f"stream{index}", str(index + 1)) for index in range(len(speech))]
    with path.open("wb") as out:
        out.write(encode_event(SpoolEvent("start", START_NS, recording_id="bench")))
        for index, (name, label) in enumerate(names):
            event = SpoolEvent("stream", START_NS, stream=index, stream_id=name, label=label,
                               formats={0: "PCMU"})  # fmt: skip
            out.write(encode_event(event))
        for first in range(0, round(seconds / FRAME_S), BLOCK_FRAMES):
            rows = np.concatenate([_rows(index, first) for index in range(len(speech))])
            begin = first * FRAME_SAMPLES % (len(speech[0]) - BLOCK_FRAMES * FRAME_SAMPLES)
            piece = slice(begin, begin + BLOCK_FRAMES * FRAME_SAMPLES)
            payload = b"".join(codes[piece] for codes in speech)
            out.write(encode_packets(rows, payload, int(rows["arrival_ns"][-1])))
        out.write(encode_event(SpoolEvent("stop", START_NS + seconds * 10**9)))


def _rows(stream: int, first: int) -> np.ndarray:
    rows = np.zeros(BLOCK_FRAMES, ROW)
    number = np.arange(first, first + BLOCK_FRAMES)
    rows["arrival_ns"] = START_NS + number * int(FRAME_S * 1e9)
    rows["timestamp"] = number * FRAME_SAMPLES
    rows["sequence_number"] = number % 2**16
    rows["ssrc"], rows["stream"], rows["length"] = stream + 1, stream, FRAME_SAMPLES
    return rows


def timed(work: Callable[[], object]) -> float:
    """Processor seconds of `work`."""
    began = time.process_time()
    work()
    return time.process_time() - began


async def measure(quick: bool) -> list[Table]:
    """A spool of two streams."""
    seconds = 600 if quick else 3600
    with tempfile.TemporaryDirectory(prefix="siprecd-bench-") as name:
        folder = Path(name)
        write_spool(folder / "bench.srsp", seconds)
        wav_s = timed(
            lambda: render(folder / "bench.srsp", folder, "bench", ["stream0", "stream1"])
        )
        wav = folder / "bench.wav"
        mono_s = timed(lambda: make_mp3(wav, folder / "mono.mp3", "mono", 32))
        split_s = timed(lambda: make_mp3(wav, folder / "split.mp3", "split", 32))
    rows = tuple(
        (name, f"{took_s:.2f} s", f"{seconds / took_s:,.0f} x")
        for name, took_s in (
            ("spool to WAV, SHA-256 and peaks", wav_s),
            ("WAV to MP3, mixed", mono_s),
            ("WAV to MP3, two channels", split_s),
        )
    )
    note = f"{seconds // 60} minutes of two-party speech; processor time of one core."
    return [Table("Rendering", ("work", "processor time", "real time"), rows, note)]
