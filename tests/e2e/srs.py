"""A recorder started as a user starts it, for tests that talk to it from outside."""

import asyncio
import io
import os
import re
import signal
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import numpy as np

ROOT = Path(__file__).parents[2]
READY_S = 30.0
Json = dict[str, Any]


class Srs:
    """`siprecd serve` in a process group of its own, with its data under `folder`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = environment
        self.udp = self.tcp = self.url = self.key = ""
        self.process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http:
            await self._http.close()
        if self.process and self.process.returncode is None:
            try:
                await self.stop()
            except TimeoutError:
                await self.kill()
                raise

    async def start(self) -> None:
        """Start and wait until it says it is ready."""
        environment = os.environ | {
            "SRS_SIP_LISTEN": "udp://127.0.0.1:0,tcp://127.0.0.1:0",
            "SRS_API_LISTEN": "127.0.0.1:0",
            "SRS_SIP_DRAIN_S": "0",
            "PYTHONPATH": str(ROOT),
            **self.environment,
        }
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "siprec",
                "serve",
                cwd=self.folder,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        async with asyncio.timeout(READY_S):
            await self._read_ready()
        self._http = self._http or aiohttp.ClientSession()

    async def _read_ready(self) -> None:
        assert self.process and self.process.stdout
        async for raw in self.process.stdout:
            line = raw.decode().strip()
            if line.startswith("srs_"):
                self.key = line
            if match := re.search(r"ready: SIP (udp\S+) (tcp\S+), API (\S+)", line):
                udp, tcp, self.url = match.groups()
                self.udp, self.tcp = (f"sip:recorder@{u[6:]}" for u in (udp, tcp))
                return
        raise AssertionError(f"siprecd ended: {self.log()}")

    async def command(self, *words: str, stdin: str = "") -> str:
        """What a `siprecd` command beside this recorder prints; it must succeed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "siprec",
            *words,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), **self.environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        shown, trouble = await process.communicate(stdin.encode())
        assert process.returncode == 0, trouble.decode()
        return shown.decode()

    def log(self) -> str:
        """What it wrote to standard error."""
        return (self.folder / "log").read_text()

    async def stop(self) -> int:
        """SIGTERM, and wait; returns the exit status."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(READY_S):
            return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL to all its processes at once."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    @asynccontextmanager
    async def request(
        self, method: str, path: str, key: str | None = None, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One HTTP exchange; `path` below /srs/v1, or absolute."""
        assert self._http
        url = self.url + (path if path.startswith("/") else f"/srs/v1/{path}")
        headers = options.pop("headers", {})
        if token := self.key if key is None else key:
            headers["Authorization"] = f"Bearer {token}"
        async with self._http.request(method, url, headers=headers, **options) as response:
            yield response

    async def get(self, path: str) -> Json:
        """The JSON answer to a GET that must succeed."""
        async with self.request("GET", path) as response:
            assert response.status == 200, await response.text()
            return dict(await response.json())

    async def control(self, session_id: str, action: str, **body: str | bool) -> Json:
        """POST a command that must succeed."""
        async with self.request("POST", f"sessions/{session_id}/{action}", json=body) as response:
            assert response.status == 200, await response.text()
            return dict(await response.json())

    async def session(self, call_id: str) -> Json:
        """The live session of a call."""
        items = (await self.get("sessions"))["items"]
        return next(item for item in items if item["call_id"] == call_id)

    async def recordings(self, call_id: str, count: int = 1) -> list[Json]:
        """The `count` recordings of a call, oldest first, once they are finished; "" for all."""
        live = {"recording", "processing"}
        async with asyncio.timeout(READY_S):
            while True:
                query = f"?call_id={call_id}" if call_id else "?limit=1000"
                items: list[Json] = (await self.get(f"recordings{query}"))["items"]
                if len(items) >= count and not any(item["status"] in live for item in items):
                    return items[::-1]
                await asyncio.sleep(0.1)

    async def recording(self, call_id: str) -> Json:
        """The one recording of a call, once it is finished."""
        (item,) = await self.recordings(call_id)
        return item

    async def media(self, recording_id: str, kind: str = "wav") -> bytes:
        """The bytes of a finished file."""
        path = f"recordings/{recording_id}/media?format={kind}"
        async with self.request("GET", path) as response:
            assert response.status == 200, await response.text()
            return await response.read()

    async def channels(self, recording_id: str) -> np.ndarray:
        """The samples of the WAV: int16[samples, channels]."""
        with wave.open(io.BytesIO(await self.media(recording_id))) as file:
            assert (file.getframerate(), file.getsampwidth()) == (8000, 2)
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            return samples.reshape(-1, file.getnchannels())
