"""Pausing: is exactly what came before the request kept, and nothing of what came after the 200?

Every packet carries its own number in its 160 octets, so a file says which packets it holds. The
sender and the one who pauses share an event loop: its clock orders packets, requests and answers.
"""

import asyncio
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from examples.demo import decode_wav
from examples.rtp import FRAME_S, FRAME_SAMPLES, Packet, g711_table
from examples.service import Service
from examples.sip import Agent
from examples.src import RecordingClient
from tests.bench.report import Table, percentiles_ms

CALLS = 20
TABLE = g711_table("PCMU")
DIGITS = np.flatnonzero(TABLE)[:250].astype(np.uint8)
"""Codes whose samples are not silence: the digits of packet numbers."""
VALUES = {int(TABLE[code]): digit for digit, code in enumerate(DIGITS)}
HALF = FRAME_SAMPLES // 2


def numbered(count: int) -> list[bytes]:
    """Payloads that carry their index in two digits, 80 octets each."""
    high, low = np.divmod(np.arange(count), len(DIGITS))
    digits = np.stack([DIGITS[high], DIGITS[low]], axis=1)
    return [octets.tobytes() for octets in np.repeat(digits, HALF, axis=1)]


def numbers(samples: np.ndarray) -> Iterator[int]:
    """The packets a channel holds, in order; -1 for one that is not whole."""
    at = 0
    while True:
        sounding = np.flatnonzero(samples[at:])
        if not len(sounding):
            return
        at += int(sounding[0])
        frame = samples[at : at + FRAME_SAMPLES]
        high, low = VALUES.get(int(frame[0]), -1), VALUES.get(int(frame[-1]), -1)
        expected = np.repeat(frame[[0, -1]], HALF)
        whole = min(high, low) >= 0 and np.array_equal(frame, expected)
        yield high * len(DIGITS) + low if whole else -1
        at += FRAME_SAMPLES


@dataclass(slots=True)
class Pause:
    """Event loop times of one pause."""

    asked: float
    answered: float
    resume_asked: float = 0.0
    resume_answered: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What the files show."""

    pauses: int = 0
    sent: int = 0
    leaked: int = 0
    """Packets in a file that were sent after the 200 to a pause and before the resume."""
    missing: int = 0
    """Packets not in their file that were sent while no pause was asked for."""
    torn: int = 0
    """Packets in a file, but not as they were sent."""
    latencies_s: list[float] = field(default_factory=list)
    """Of the pauses, request to answer."""

    def judge(
        self, packets: Sequence[Packet], pauses: Sequence[Pause], held: Sequence[int]
    ) -> None:
        """Add one stream of a call; packet n of `packets` carries n. `held`: those in the file."""
        times = np.array([packet.sent_at for packet in packets])
        must, may = np.ones(len(times), bool), np.ones(len(times), bool)
        for pause in pauses:
            must[(times >= pause.asked) & (times <= pause.resume_answered)] = False
            may[(times > pause.answered) & (times < pause.resume_asked)] = False
        present = np.zeros(len(times), bool)
        present[[number for number in held if number >= 0]] = True
        self.sent += len(times)
        self.leaked += int((present & ~may).sum())
        self.missing += int((must & ~present).sum())
        self.torn += sum(number < 0 for number in held)


async def disturb(service: Service, call_id: str, count: int, rng: random.Random) -> list[Pause]:
    """Pause and resume a call `count` times at random moments."""
    clock = asyncio.get_running_loop().time
    session = (await service.session(call_id))["id"]
    pauses = []
    for _ in range(count):
        await asyncio.sleep(rng.uniform(0.1, 0.7))
        body = {"fill": rng.choice(("silence", "cut")), "reason": "bench"}
        asked = clock()
        await service.post(f"sessions/{session}/pause", body)
        pause = Pause(asked, clock())
        await asyncio.sleep(rng.uniform(0.1, 0.7))
        pause.resume_asked = clock()
        await service.post(f"sessions/{session}/resume")
        pause.resume_answered = clock()
        pauses.append(pause)
    return pauses


@dataclass(frozen=True, slots=True)
class Trial:
    """One call: what was sent, and when it was paused."""

    call_id: str
    packets: list[Packet]
    pauses: list[Pause]


async def one_call(service: Service, agent: Agent, count: int, seed: int) -> Trial:
    """A call paused `count` times."""
    frames = [numbered(int(count * 1.6 / FRAME_S))] * 2
    rng = random.Random(seed)
    await asyncio.sleep(rng.uniform(0, 0.5))
    async with RecordingClient(agent, frames, seed=seed) as call:
        await call.invite()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(play_until(call, over), name="play")
            pauses = await disturb(service, call.call_id, count, rng)
            over.set()
        await call.bye()
        return Trial(call.call_id, playing.result(), pauses)


async def examine(service: Service, trial: Trial, outcome: Outcome) -> None:
    """Add what the file of a call shows."""
    recording = await service.recording(trial.call_id)
    wav = decode_wav(await service.download(f"recordings/{recording['id']}/media", format="wav"))
    for stream, channel in enumerate(wav.T):
        packets = [packet for packet in trial.packets if packet.stream == stream]
        outcome.judge(packets, trial.pauses, list(numbers(channel)))
    outcome.pauses += len(trial.pauses)
    outcome.latencies_s += [pause.answered - pause.asked for pause in trial.pauses]


async def play_until(call: RecordingClient, over: asyncio.Event) -> list[Packet]:
    """Play in pieces until `over`; all packets."""
    packets = []
    while not over.is_set():
        packets += await call.play(1)
    return packets


async def measure(quick: bool) -> list[Table]:
    """All calls at the same time."""
    each = 10 if quick else 50
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="siprecd-bench-") as folder:
        async with Service(Path(folder)) as service, Agent(service.uri) as agent:
            async with asyncio.TaskGroup() as group:
                trials = [
                    group.create_task(one_call(service, agent, each, seed), name=f"call {seed}")
                    for seed in range(CALLS)
                ]
            for trial in trials:
                await examine(service, trial.result(), outcome)
    return [table(outcome)]


def table(outcome: Outcome) -> Table:
    """The outcome beside the aims."""
    p50, p99 = percentiles_ms(outcome.latencies_s)
    rows = (
        ("pauses", "", f"{outcome.pauses:,}"),
        ("packets sent", "", f"{outcome.sent:,}"),
        ("sent after the 200, in a file", "0", str(outcome.leaked)),
        ("sent before the request, not in the file", "0", str(outcome.missing)),
        ("in a file, not whole", "0", str(outcome.torn)),
        ("HTTP pause, p50", "5 ms", p50),
        ("HTTP pause, p99", "50 ms", p99),
    )
    note = f"{CALLS} calls of two streams, paused at random phases, half of them filled, half cut."
    return Table("Pausing", ("figure", "aim", "measured"), rows, note)
