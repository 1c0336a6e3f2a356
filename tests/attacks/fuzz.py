"""The native interface as its own document describes it, under schemathesis: `make fuzz`.

A recorder is started, one call is recorded and hung up, another one stays up, and schemathesis
asks everything the document allows, and much that it does not. The exit status is that of
schemathesis. Further arguments are passed on to `schemathesis run`.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from examples.sip import Agent
from examples.src import RecordingClient
from tests.e2e.srs import ROOT, Srs

CONFIG = Path(__file__).with_name("schemathesis.toml")
FRAMES = [b"\x55" * 160] * 50
HOLD_S = 3600.0


async def fuzz(folder: Path, *options: str) -> tuple[int, str]:
    """Exit status of schemathesis and what the recorder logged, with its data in `folder`."""
    async with Srs(folder) as srs, _calls(srs):
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            f"--config-file={CONFIG}",
            "run",
            f"{srs.url}/srs/v1/openapi.json",
            f"--header=Authorization: Bearer {srs.key}",
            *options,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        assert (await srs.get("/health"))["status"] == "ok"
    return status, srs.log()


@asynccontextmanager
async def _calls(srs: Srs) -> AsyncIterator[None]:
    """A finished recording, and a call that goes on."""
    async with Agent(srs.udp) as agent:
        async with RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            await call.play()
            await call.bye()
            await srs.recording(call.call_id)
        async with RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            talk = asyncio.get_running_loop().create_task(_talk(call), name="talk")
            try:
                yield
            finally:
                talk.cancel()
                with suppress(asyncio.CancelledError):
                    await talk


async def _talk(call: RecordingClient) -> None:
    while not call.ended.is_set():
        await call.play()


def main(options: Sequence[str]) -> int:
    """Fuzz in a folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="siprecd-fuzz-") as folder:
        return asyncio.run(fuzz(Path(folder), *options))[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
