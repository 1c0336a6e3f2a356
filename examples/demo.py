"""The demonstration: a recorded call whose spoken card number is not in the recording.

    make demo
    make demo DIRECTORY=examples/directory.toml

Starts a recorder, calls it with two speaking parties, pauses the recording over HTTP while the card
number is read out, and checks the files. Leaves `demo/call.wav`, `demo/call.mp3` and
`demo/waveform.png`. With a directory it also starts a receiver of notifications and makes the calls
of `examples/tour.py`. Exit status 1 if a check failed.
"""

import argparse
import asyncio
import hashlib
import io
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from examples.rtp import FRAME_SAMPLES, Packet, g711_table
from examples.service import Service, ServiceError
from examples.sip import Agent, CallError
from examples.src import RecordingClient, describe
from examples.tour import SECRET, told, tour
from examples.webhook import Notice, receiving

PAUSE_S, RESUME_S, CALL_S = 4.0, 7.0, 12.0
RATE_HZ = 8000
OUTPUT = Path("demo")
WEBHOOK_PORT = 8099
"""Where the destinations of `examples/directory.toml` are."""
PARTIES = ("caller (left)", "callee (right)")
LIKENESS = 0.99
"""Least correlation of what was recorded with what was played."""
FAINT = 64
"""Largest sample that may be left of silence after MP3, of 32,768: -54 dB."""


@dataclass(frozen=True, slots=True)
class Span:
    """One channel: where in the file the call starts, and what was paused, in samples."""

    offset: int
    paused: slice
    """Between the answer to the pause and the request to resume: must be silent."""
    doubtful: slice
    """From the request to pause to the answer to resume: outside, all must be there."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was played, what was recorded."""

    played: list[np.ndarray]
    """Of each party, int16[n]."""
    wav: np.ndarray
    """int16[samples, channels]."""
    mp3: np.ndarray
    """int16[samples], mixed."""
    spans: list[Span]
    digests: dict[str, tuple[str, str]]
    """Format -> SHA-256 that the recorder states, and that of what was downloaded."""


def decode_wav(data: bytes) -> np.ndarray:
    """Samples of a 16-bit WAV: int16[samples, channels]."""
    with wave.open(io.BytesIO(data)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.reshape(-1, file.getnchannels())


def decode_mp3(data: bytes) -> np.ndarray:
    """Samples of a one-channel MP3: int16[samples]."""
    with av.open(io.BytesIO(data)) as file:
        assert isinstance(file, av.container.InputContainer)
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        frames = [out for frame in file.decode(audio=0) for out in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray().ravel() for frame in frames])


def find(played: np.ndarray, recorded: np.ndarray) -> int:
    """Where in `recorded` the start of `played` lies, by cross-correlation (samples)."""
    size = 1 << (len(played) + len(recorded)).bit_length()
    product = np.fft.rfft(recorded, size) * np.conj(np.fft.rfft(played, size))
    shift = int(np.argmax(np.fft.irfft(product, size)))
    return shift if shift < len(recorded) else shift - size


def locate(packets: Sequence[Packet], times: Sequence[float], offset: int) -> Span:
    """The span of one stream's packets. `times`: pause asked and answered, resume likewise."""
    sent = np.array([packet.sent_at for packet in packets])
    asked, paused, resume, resumed = (
        offset + FRAME_SAMPLES * int(np.searchsorted(sent, each)) for each in times
    )
    return Span(offset, slice(paused, resume), slice(asked, resumed))


def judge(evidence: Evidence) -> Iterator[tuple[str, bool]]:
    """Every check with its outcome."""
    for name, played, recorded, span in zip(
        PARTIES, evidence.played, evidence.wav.T, evidence.spans, strict=True
    ):
        silent = recorded[span.paused]
        yield f"{name}: {len(silent) / RATE_HZ:.2f} s of exact silence", not silent.any()
        likeness = correlation(played, recorded, span)
        yield f"{name}: the rest is what was played ({likeness:.4f})", likeness > LIKENESS
    first, last = evidence.spans[0].paused.start, evidence.spans[0].paused.stop
    hidden = evidence.played[0][first - evidence.spans[0].offset :][: last - first]
    yield "the caller spoke while paused", bool(np.abs(hidden.astype(int)).max() > 5000)
    margin = RATE_HZ // 10
    left = np.abs(evidence.mp3[first + margin : last - margin].astype(int)).max()
    yield f"MP3: silent while paused (at most {left} of 32,768)", bool(left <= FAINT)
    for kind, (stated, found) in evidence.digests.items():
        yield f"{kind}: SHA-256 as stated", stated == found


def correlation(played: np.ndarray, recorded: np.ndarray, span: Span) -> float:
    """Of one channel with what was played, outside the pause: 1 is the same."""
    aligned = np.zeros(len(played))
    have = recorded[max(span.offset, 0) :][: len(played)]
    aligned[: len(have)] = have
    kept = np.ones(len(played), bool)
    kept[max(span.doubtful.start - span.offset, 0) : span.doubtful.stop - span.offset] = False
    return float(np.corrcoef(played[kept], aligned[kept])[0, 1])


class Steps:
    """Prints what happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one step; further lines are indented."""
        stamp = f"{time.monotonic() - self._start:6.2f} s  "
        print(stamp + text.replace("\n", "\n" + " " * len(stamp)), flush=True)


async def control(service: Service, call_id: str, step: Steps) -> list[float]:
    """Pause and resume over HTTP; event loop times of each request and its answer."""
    clock = asyncio.get_running_loop().time
    start, times = clock(), []
    session = await service.session(call_id)
    for due_s, verb in ((PAUSE_S, "pause"), (RESUME_S, "resume")):
        await asyncio.sleep(start + due_s - clock())
        times.append(clock())
        body = {"fill": "silence", "reason": "card number"} if verb == "pause" else {}
        state = (await service.post(f"sessions/{session['id']}/{verb}", body))["state"]
        times.append(clock())
        step(f"POST {verb}: 200 after {(times[-1] - times[-2]) * 1000:.1f} ms, now {state}")
    return times


async def call(service: Service, step: Steps) -> tuple[str, list[Packet], list[float]]:
    """Place the call; its Call-ID, what was sent, and when it was paused and resumed."""
    async with Agent(service.uri) as agent, RecordingClient(agent) as client:
        began = time.perf_counter()
        answer = await client.invite()
        step(describe(0, client, answer, (time.perf_counter() - began) * 1000))
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(client.play(CALL_S), name="play")
            times = group.create_task(control(service, client.call_id, step), name="control")
        await client.bye()
        step("BYE: the call is over")
        return client.call_id, playing.result(), times.result()


async def gather(service: Service, step: Steps) -> tuple[dict[str, Any], Evidence]:
    """Make the call, wait for its recording and fetch the files into `demo/`."""
    call_id, packets, times = await call(service, step)
    recording = await service.recording(call_id)
    step(f"recording {recording['id']} is {recording['status']}")
    path = f"recordings/{recording['id']}"
    files = {kind: await service.download(f"{path}/media", format=kind) for kind in ("wav", "mp3")}
    recording = await service.get(path)
    stated = {file["format"]: file["sha256"] for file in recording["files"]}
    for kind, data in files.items():
        (OUTPUT / f"call.{kind}").write_bytes(data)
        step(f"downloaded {OUTPUT}/call.{kind}, {len(data):,} bytes")
    wav = decode_wav(files["wav"])
    table = g711_table("PCMU")
    streams = [[packet for packet in packets if packet.stream == each] for each in (0, 1)]
    played = [table[np.frombuffer(b"".join(p.payload for p in s), np.uint8)] for s in streams]
    pairs = zip(streams, played, wav.T, strict=True)
    spans = [locate(sent, times, find(sound, channel)) for sent, sound, channel in pairs]
    digests = {kind: (stated[kind], hashlib.sha256(files[kind]).hexdigest()) for kind in files}
    return recording, Evidence(played, wav, decode_mp3(files["mp3"]), spans, digests)


def draw(evidence: Evidence, path: Path) -> None:
    """The waveform of both channels with the paused span marked."""
    mpl.use("Agg")
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots(len(PARTIES), 1, sharex=True, sharey=True)
    for axis, name, played, recorded, span in zip(
        axes, PARTIES, evidence.played, evidence.wav.T, evidence.spans, strict=True
    ):
        spoken_s = (np.arange(len(played)) + span.offset) / RATE_HZ
        axis.plot(spoken_s, played / 2**15, color="0.6", linewidth=0.5, label="played")
        recorded_s = np.arange(len(recorded)) / RATE_HZ
        axis.plot(recorded_s, recorded / 2**15, color="tab:blue", linewidth=0.5, label="recorded")
        bounds = span.paused.start / RATE_HZ, span.paused.stop / RATE_HZ
        axis.axvspan(*bounds, color="tab:red", alpha=0.15, label="paused")
        axis.set_ylabel(name)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3)
    figure.suptitle("demo/call.wav: what was said while paused is not in it", x=0.07, ha="left")
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=110)


def table(recording: dict[str, Any]) -> str:
    """The recording as the recorder describes it."""
    rows = [
        ("recording", recording["id"]),
        ("status", recording["status"]),
        ("duration", f"{recording['duration_ms'] / 1000:.2f} s"),
        ("paused", f"{recording['paused_ms'] / 1000:.2f} s"),
        *(
            (f"stream {stream['label']}", f"{stream['packets']} packets, {stream['lost']} lost")
            for stream in recording["streams"]
        ),
    ]
    for file in recording["files"]:
        rows.append((file["format"], f"{file['size_bytes']:,} bytes"))
        rows.append(("", f"SHA-256 {file['sha256']}"))
    return "\n".join(f"  {name:<10} {value}" for name, value in rows)


def brief(notice: Notice) -> str:
    """A notification on one line, without what is always there."""
    told_of = notice.parameters
    about = told_of.get("EVENT") or told_of.get("event", "")
    called = told_of.get("CALLED_AORS") or told_of.get("calledAors", "")
    return f"webhook: {notice.method} {notice.target.partition('?')[0]}: {about} of {called}"


async def demonstrate(directory: Path | None) -> int:
    """The whole show; the exit status."""
    step, outcomes = Steps(), list[tuple[str, bool]]()
    async with AsyncExitStack() as stack:
        if directory:
            told_of = receiving(WEBHOOK_PORT, SECRET, lambda notice: step(brief(notice)))
            receiver = await stack.enter_async_context(told_of)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="siprecd-demo-")))
        async with Service(folder, directory=directory) as service:
            step(f"siprecd serve: {service.uri}, API {service.url}")
            recording, evidence = await gather(service, step)
            outcomes += judge(evidence)
            if directory:
                outcomes += await tour(service, step)
                outcomes += await told(receiver.notices)
        step("SIGTERM: siprecd has stopped")
    draw(evidence, OUTPUT / "waveform.png")
    print(f"\n{table(recording)}\n")
    for text, passed in outcomes:
        print(f"  {'ok  ' if passed else 'FAIL'} {text}")
    print(f"\nListen to {OUTPUT}/call.wav and {OUTPUT}/call.mp3; look at {OUTPUT}/waveform.png.")
    return 0 if all(passed for _, passed in outcomes) else 1


def main() -> int:
    """Run as a program."""
    options = argparse.ArgumentParser(description="Record a call and check what is in it.")
    options.add_argument("--directory", type=Path, help="a directory file to run with")
    OUTPUT.mkdir(exist_ok=True)
    try:
        return asyncio.run(demonstrate(options.parse_args().directory))
    except* (ServiceError, CallError, OSError, TimeoutError) as errors:
        print(f"the demonstration failed: {errors.exceptions[0]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
