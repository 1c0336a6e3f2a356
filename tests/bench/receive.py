"""Receiving: processor time per packet, packets lost and memory per call, at several loads.

The recorder is the whole `siprecd serve` process tree, its calls set up by SIP; the comparison is
`baseline`, an asyncio datagram protocol that parses and stores the same packets.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from examples.service import Service
from examples.sip import Agent
from tests.bench import machine
from tests.bench.calls import finish_generator, ports_of, recordings, standing, start_generator
from tests.bench.report import Table

LOADS = (200, 1000, 2000)
BASELINE_STREAMS = 300
"""As many as the baseline carries without loss."""


@dataclass(frozen=True, slots=True)
class Run:
    """One receiver under one load."""

    name: str
    streams: int
    sent: int
    lost: int
    """Of them, in no file."""
    drops: int
    """Of them, dropped by the kernel at a full socket."""
    foreign: int
    """Packets in the files that somebody else sent to these ports."""
    cpu_s: float
    idle_bytes: int = 0
    """Memory for each call before its first packet."""
    loaded_bytes: int = 0
    """Memory for each call under load."""

    @property
    def us_per_packet(self) -> float:
        """Microseconds of processor time for each packet that was not lost."""
        return self.cpu_s / max(self.sent - self.lost + self.foreign, 1) * 1e6


async def baseline(streams: int, seconds: float) -> Run:
    """The asyncio receiver."""
    with tempfile.TemporaryDirectory(prefix="siprecd-bench-") as folder:
        words = ("--streams", str(streams), "--folder", folder)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.baseline", *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        ports = json.loads(await process.stdout.readline())
        before = machine.cpu_s(process.pid)
        sent = (await finish_generator(await start_generator(ports, seconds)))["sent"]
        await asyncio.sleep(1)
        cpu_s, drops = machine.cpu_s(process.pid) - before, machine.drops(ports)
        shown, _ = await process.communicate(b"")
    return Run("asyncio DatagramProtocol", streams, sent, sent - int(shown), drops, 0, cpu_s)


async def recorder(streams: int, seconds: float) -> Run:
    """The real thing."""
    with tempfile.TemporaryDirectory(prefix="siprecd-bench-") as folder:
        async with Service(Path(folder)) as service, Agent(service.uri) as agent:
            empty = machine.rss_bytes(service.pid)
            async with standing(agent, streams // 2) as calls:
                ports = ports_of(calls)
                idle = machine.rss_bytes(service.pid)
                before = machine.cpu_s(service.pid)
                sent = (await finish_generator(await start_generator(ports, seconds)))["sent"]
                await asyncio.sleep(1)
                cpu_s, drops = machine.cpu_s(service.pid) - before, machine.drops(ports)
                loaded = machine.rss_bytes(service.pid)
            found = await recordings(service, streams // 2)
    over = [s["packets"] - sent // streams for item in found for s in item["streams"]]
    lost, foreign = -sum(n for n in over if n < 0), sum(n for n in over if n > 0)
    memory = ((idle - empty) // len(calls), (loaded - empty) // len(calls))
    return Run("siprecd", streams, sent, lost, drops, foreign, cpu_s, *memory)


def row(run: Run, reference: Run) -> tuple[str, ...]:
    """A run as text, its cost beside that of `reference`."""
    memory = (f"{run.idle_bytes / 1000:.0f} kB", f"{run.loaded_bytes / 1000:.0f} kB")
    ratio = reference.us_per_packet / run.us_per_packet
    return (
        run.name,
        f"{run.streams:,}",
        f"{run.sent:,}",
        f"{run.lost:,}",
        f"{run.drops:,}",
        f"{run.foreign:,}",
        f"{run.us_per_packet:.2f}",
        "1" if run is reference else f"1/{ratio:.1f}",
        *(("", "") if run is reference else memory),
    )


async def measure(quick: bool) -> list[Table]:
    """All loads, one after the other."""
    seconds = 5 if quick else 30
    reference = await baseline(BASELINE_STREAMS, seconds)
    runs = [reference]
    for streams in LOADS[: 2 if quick else 3]:
        runs.append(await recorder(streams, seconds))
    columns = ("receiver", "streams", "packets", "lost", "kernel drops", "foreign", "µs/packet",
               "ratio", "RSS/call idle", "RSS/call loaded")  # fmt: skip
    note = (
        f"{seconds} s of 50 packets/s in each stream. Aims at 2,000 streams: 0 lost, 0 drops, ratio"
        " 1/8 or less, 100 kB or less a call. siprecd is the whole process tree: SIP, HTTP,"
        " database and media. Ratios are of processor time per packet; foreign are packets that"
        " another program sent to the same ports."
    )
    rows = tuple(row(run, reference) for run in runs)
    return [Table("Receiving", columns, rows, note)]
