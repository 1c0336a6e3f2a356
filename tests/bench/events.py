"""Events: how long after the answer to a command its event reaches those who follow.

The same commands to the same calls, first with one subscriber, then with 500 of which some never
read. The subscribers are in a process of their own; both read one monotonic clock.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.service import Service, ServiceError
from examples.sip import Agent
from tests.bench.calls import standing
from tests.bench.control import speaking
from tests.bench.report import Table, percentiles_ms

CALLS = 200
PACE_S = 0.06
"""Between two commands: more than an event may take."""
SETTLE_S = 1.0
AIM = "50 ms"


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who follows."""

    title: str
    native: int
    signalr: int
    deaf: int
    """Of all these, how many never read."""


ALONE = (Crowd("1 native", 1, 0, 0), Crowd("1 SignalR", 0, 1, 0))
ALL = Crowd("500, 50 of them never read", 250, 250, 50)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured with one crowd."""

    crowd: Crowd
    answers_s: Sequence[float]
    """How long commands took."""
    delays_s: dict[str, NDArray[np.float64]]
    """By kind of subscriber: from the answer to the event; 0 if the event came first."""
    short: int
    """Subscribers who read, and did not see every event."""


async def command(
    service: Service, sessions: Sequence[str], count: int, rng: random.Random
) -> tuple[list[float], list[int]]:
    """Pause or resume a call again and again: how long that took (s), when it was answered (ns)."""
    took_s, answered_ns, paused = [], [], set[str]()
    for _ in range(count):
        session = rng.choice(sessions)
        action = "resume" if session in paused else "pause"
        paused ^= {session}
        began = time.monotonic_ns()
        await service.post(f"sessions/{session}/{action}")
        answered_ns.append(time.monotonic_ns())
        took_s.append((answered_ns[-1] - began) / 1e9)
        await asyncio.sleep(max(0.0, PACE_S - took_s[-1]))
    for session in paused:
        await service.post(f"sessions/{session}/resume")
    return took_s, answered_ns


async def follow(
    service: Service, crowd: Crowd, sessions: Sequence[str], count: int, out: Path
) -> Outcome:
    """Commands while a crowd follows. Raises ServiceError if one could not."""
    token = service.http.headers["Authorization"].removeprefix("Bearer ")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.subscribers", "--url", service.url),
        *("--out", str(out), "--native", str(crowd.native), "--signalr", str(crowd.signalr)),
        *("--deaf", str(crowd.deaf)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise ServiceError("no pipes")
    process.stdin.write(f"{token}\n".encode())
    if await process.stdout.readline() != b"follow\n":
        raise ServiceError("the subscribers could not follow")
    await asyncio.sleep(SETTLE_S)
    took_s, answered_ns = await command(service, sessions, count, random.Random(1))
    await asyncio.sleep(SETTLE_S)
    process.stdin.close()
    said = json.loads((await process.communicate())[0])
    seen_ns = np.load(out)
    return outcome(crowd, took_s, np.array(answered_ns), seen_ns, said)


def outcome(
    crowd: Crowd,
    took_s: Sequence[float],
    answered_ns: NDArray[np.int64],
    seen_ns: NDArray[np.int64],
    said: Mapping[str, Any],
) -> Outcome:
    """`seen_ns`: int64[subscriber, event]; `said`: what the subscribers' process says of them."""
    kinds, count = np.array(said["kinds"]), len(answered_ns)
    seen = seen_ns.shape[1] if seen_ns.ndim == 2 else 0
    if seen < count:
        raise ServiceError(f"{seen} of {count} events were seen")
    delays_s = np.maximum(seen_ns[:, :count] - answered_ns, 0) / 1e9
    by_kind = {kind: delays_s[kinds == kind].ravel() for kind in dict.fromkeys(said["kinds"])}
    return Outcome(crowd, took_s, by_kind, said["short"])


async def measure(quick: bool) -> list[Table]:
    """One subscriber, then all."""
    count = 100 if quick else 500
    with tempfile.TemporaryDirectory(prefix="siprecd-bench-") as name:
        folder = Path(name)
        async with (
            Service(folder) as service,
            Agent(service.uri) as agent,
            standing(agent, CALLS) as calls,
            speaking(calls),
        ):
            sessions = [(await service.session(call.call_id))["id"] for call in calls]
            crowds, out = (*ALONE, ALL), folder / "seen.npy"
            found = [await follow(service, crowd, sessions, count, out) for crowd in crowds]
    return [table(found)]


def table(outcomes: Sequence[Outcome]) -> Table:
    """Delays beside the aim, and what the commands took meanwhile."""
    rows = tuple(
        (
            found.crowd.title,
            {"native": "native", "signalr": "SignalR"}[kind],
            f"{len(delays):,}",
            *percentiles_ms(delays.tolist()),
            AIM,
            percentiles_ms(found.answers_s)[1],
            str(found.short),
        )
        for found in outcomes
        for kind, delays in found.delays_s.items()
    )
    columns = ("subscribers", "kind", "events", "p50", "p99", "aim of p99", "answer p99", "short")
    note = (
        f"From the answer to a pause or resume to its event at a subscriber; {CALLS} calls of two "
        "streams that carry RTP. Answer: of the command itself, meanwhile. Short: subscribers who "
        "read and did not get everything; it should be 0."
    )
    return Table("Events", columns, rows, note)
