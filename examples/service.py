"""A recorder of one's own: `siprecd serve` in a folder, with its srs.toml, a key and free ports.

Starts and stops the installed program just as a person would; shared by the demonstration and the
benchmarks. Imports nothing of the recorder.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

START_S, STOP_S = 60.0, 60.0
READY = re.compile(r"ready: SIP udp://(\S+) tcp://(\S+), API (\S+)")
CONFIG = """\
[sip]
listen = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]
answer_delay_ms = {answer_delay_ms}
drain_s = 1

[api]
listen = "127.0.0.1:0"

[storage]
database = "sqlite:///{folder}/siprecd.db"
recordings = "file://{folder}/recordings"
spool = "{folder}/spool"

[notify]
allow = ["127.0.0.1/32"]

[log]
level = "warning"
"""


class ServiceError(Exception):
    """The recorder did not start, or did not stop as it should."""


class Service:
    """A running recorder; use it with `async with`. `folder` is made and kept.

    `directory`: a directory file to apply before it starts.
    """

    def __init__(
        self, folder: Path, *, answer_delay_ms: int = 5, directory: Path | None = None
    ) -> None:
        self.folder = folder
        self._directory = directory
        self.uri, self.tcp_uri, self.url = "", "", ""
        """Where it listens, once it does: SIP over UDP, over TCP, and HTTP."""
        self.log = folder / "siprecd.log"
        self._answer_delay_ms = answer_delay_ms
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Process id of the control process."""
        return self._process.pid if self._process else 0

    def command(self, *words: str) -> list[str]:
        """The command line of a `siprecd` verb with this recorder's configuration."""
        return [sys.executable, "-m", "siprec", *words, "--config", str(self.folder / "srs.toml")]

    async def __aenter__(self) -> Self:
        self._write_config()
        key = (await self.run("apikey", "add", "owner", "--role", "admin")).split()[-1]
        if self._directory:
            await self.run("directory", "apply", str(self._directory.resolve()))
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command("serve"), stdout=log, stderr=log, env=environment()
            )
        try:
            async with asyncio.timeout(START_S):
                await self._ready()
        except (TimeoutError, ServiceError) as error:
            await self._stop()
            raise ServiceError(f"did not start: {self.log.read_text() or error}") from None
        self.http = aiohttp.ClientSession(self.url, headers={"Authorization": f"Bearer {key}"})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()
        if await self._stop():
            raise ServiceError(f"did not stop as it should: {self.log.read_text()}")

    async def _stop(self) -> int:
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()

    def _write_config(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(
            folder=self.folder.resolve(),
            answer_delay_ms=self._answer_delay_ms,
        )
        (self.folder / "srs.toml").write_text(text)

    async def run(self, *words: str) -> str:
        """What a `siprecd` command prints. Raises ServiceError if it fails."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        shown, trouble = await process.communicate()
        if process.returncode:
            raise ServiceError(f"siprecd {' '.join(words)}: {trouble.decode()}")
        return shown.decode()

    async def _ready(self) -> None:
        while self._process is not None and self._process.returncode is None:
            if match := READY.search(self.log.read_text()):
                udp, tcp, self.url = match.groups()
                self.uri, self.tcp_uri = f"sip:recorder@{udp}", f"sip:recorder@{tcp}"
                return
            await asyncio.sleep(0.05)
        raise ServiceError("it ended")

    async def get(self, path: str, **query: str) -> Any:
        """JSON of a GET under `/srs/v1`. Raises ServiceError on any other answer than 200."""
        async with self.http.get(f"/srs/v1/{path}", params=query) as response:
            return self._json(path, response.status, await response.read())

    async def post(self, path: str, body: Mapping[str, str | bool] | None = None) -> Any:
        """JSON of a POST under `/srs/v1`. Raises ServiceError on any other answer than 200."""
        async with self.http.post(f"/srs/v1/{path}", json=body or {}) as response:
            return self._json(path, response.status, await response.read())

    async def download(self, path: str, **query: str) -> bytes:
        """Body of a GET under `/srs/v1`. Raises ServiceError on any other answer than 200."""
        async with self.http.get(f"/srs/v1/{path}", params=query) as response:
            body = await response.read()
            if response.status != 200:
                raise ServiceError(f"{path}: {response.status} {body[:300]!r}")
            return body

    def _json(self, path: str, status: int, body: bytes) -> Any:
        if status != 200:
            raise ServiceError(f"{path}: {status} {body[:300]!r}")
        return json.loads(body)

    async def session(self, call_id: str) -> dict[str, Any]:
        """The live session of a call."""
        items = (await self.get("sessions", call_id=call_id))["items"]
        if not items:
            raise ServiceError(f"no live session has Call-ID {call_id}")
        return dict(items[0])

    async def recording(self, call_id: str) -> dict[str, Any]:
        """The recording of a call that ended, as soon as it is finished."""
        async with asyncio.timeout(STOP_S):
            while True:
                items = (await self.get("recordings", call_id=call_id))["items"]
                if items and items[0]["status"] not in {"recording", "processing"}:
                    return dict(items[0])
                await asyncio.sleep(0.05)


def environment() -> dict[str, str]:
    """Ours without SRS_ variables: they would overrule the configuration file."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SRS_")}
