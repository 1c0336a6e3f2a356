"""What the kernel knows: processor time and memory of a process tree, datagrams dropped."""

import os
import platform
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """A process and all its descendants that live."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from tree(int(child))


def cpu_s(pid: int) -> float:
    """Seconds of processor time, user and system, that a process tree has used."""
    fields = (
        Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in tree(pid)
    )
    return sum(int(stat[11]) + int(stat[12]) for stat in fields) / TICKS_PER_S


def rss_bytes(pid: int) -> int:
    """Resident memory of a process tree; pages that two of its processes share count half each."""
    total = 0
    for each in tree(pid):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


def drops(ports: Iterable[int]) -> int:
    """Datagrams the kernel dropped because a socket on one of `ports` was full."""
    wanted = set(ports)
    rows = (line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:])
    return sum(int(row[-1]) for row in rows if int(row[1].partition(":")[2], 16) in wanted)


def raise_file_limit() -> None:
    """Allow this process as many sockets as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def describe() -> str:
    """The machine and how busy it is, in one line."""
    models = (
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    system = f"{platform.system()} {platform.release()}"
    python = f"Python {platform.python_version()}"
    load = f"load average {os.getloadavg()[0]:.1f}"
    return f"{os.cpu_count()} x {next(models, 'CPU')}, {system}, {python}, {load}"
