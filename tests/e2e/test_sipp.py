"""A client nobody here wrote: SIPp plays our scenario, where it is installed."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.e2e.srs import Srs

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCENARIO = Path(__file__).with_name("siprec-client.xml")


@pytest.mark.skipif(not shutil.which("sipp"), reason="SIPp is not installed")
@pytest.mark.parametrize(("transport", "option"), [("udp", "u1"), ("tcp", "t1")])
async def test_twenty_calls_of_sipp(srs: Srs, tmp_path: Path, transport: str, option: str) -> None:
    address = (srs.udp if transport == "udp" else srs.tcp).partition("@")[2]
    before = len((await srs.get("recordings?limit=1000"))["items"])
    process = await asyncio.create_subprocess_exec(
        *("sipp", address, "-sf", str(SCENARIO), "-t", option, "-i", "127.0.0.1"),
        *("-m", "20", "-r", "20", "-nostdin", "-timeout", "30"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")[-2000:]
    rows = await srs.recordings("", before + 20)
    assert all(row["reason"] == "no_media" for row in rows[before:])
    assert {row["participants"][0]["aor"] for row in rows[before:]} == {"sip:caller@sipp.example"}
