"""Starting: from the command to the line that says it is ready, with dialects on and off."""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from config.dialects import Dialects
from examples.service import ServiceError, environment
from tests.bench.report import Table

LIBRARIES = "import aiohttp, lxml.etree, msgspec, numpy, sqlalchemy.ext.asyncio, structlog"
"""What any program of this kind loads: the comparison."""
AIM_S = 1.5
OFF = {f"SRS_API_DIALECTS_{name.upper()}": "false" for name in Dialects.__struct_fields__}


async def started(folder: Path, **variables: str) -> float:
    """Seconds until a recorder in `folder` is ready; it is stopped again."""
    ports = {"SRS_SIP_LISTEN": "udp://127.0.0.1:0", "SRS_API_LISTEN": "127.0.0.1:0"}
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "siprec", "serve"),
        cwd=folder,
        env=environment() | ports | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout
    while b" ready: " not in (line := await process.stdout.readline()):
        if not line:
            raise ServiceError("did not start")
    seconds = time.perf_counter() - began
    process.terminate()
    await process.communicate()
    return seconds


async def loaded() -> float:
    """Seconds until a Python with the libraries has come and gone."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LIBRARIES)
    await process.wait()
    return time.perf_counter() - began


async def measure(quick: bool) -> list[Table]:
    """Medians of starts that take turns; the database is there from the first one."""
    found: dict[str, list[float]] = {"all": [], "none": [], "libraries": []}
    with tempfile.TemporaryDirectory(prefix="siprecd-bench-") as name:
        folder = Path(name)
        await started(folder)
        for _ in range(2 if quick else 7):
            found["libraries"].append(await loaded())
            found["none"].append(await started(folder, **OFF))
            found["all"].append(await started(folder))
    return [table(found)]


def table(found: dict[str, list[float]]) -> Table:
    """The figures, each with its ratio to loading the libraries."""
    base = statistics.median(found["libraries"])
    titles = {
        "all": "ready, all dialects on",
        "none": "ready, all dialects off",
        "libraries": "Python that loads the libraries and ends",
    }
    rows = []
    for key, title in titles.items():
        median = statistics.median(found[key])
        aim = f"{AIM_S} s" if key == "all" else ""
        rows.append(
            (title, f"{median:.2f} s", f"{max(found[key]):.2f} s", f"{median / base:.1f}", aim)
        )
    columns = ("start", "median", "worst", "ratio", "aim")
    return Table("Starting", columns, tuple(rows), "From the command to the line `ready`.")
