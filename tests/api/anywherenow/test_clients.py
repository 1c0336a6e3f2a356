"""Both hubs as the clients meet them that Microsoft publishes, under Node.js.

They are installed once for all, from npm's registry, into the folder for temporary files.
"""

import asyncio
import fcntl
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from siprec.session import Action, Actor
from tests.api.anywherenow.desk import Desk
from tests.api.anywherenow.listening import CLASSIC, CORRELATION, HUB, SHOP, event

HERE = Path(__file__).parent / "node"
ADMIN = Actor("admin desk")
INSTALL_S = 180
PATIENCE_S = 30


@pytest.fixture(scope="session")
def modules() -> Path:
    """A folder with the clients in `node_modules`."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js with npm is not installed")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = Path(tempfile.gettempdir()) / f"siprecd-node-{hashlib.sha256(lock).hexdigest()[:12]}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            install(folder)
            (folder / "complete").touch()
    return folder


def install(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        shown = (error.stderr or b"").decode(errors="replace")[-500:]
        pytest.skip(f"npm's registry does not give the clients: {shown}")


class Program:
    """A running client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, *kinds: str) -> list[Any]:
        """The next thing that happens, which is of one of these kinds."""
        assert self._process.stdout
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        said: list[Any] = json.loads(line or b'["nothing"]')
        assert said[0] in kinds, said
        return said[1:]

    async def told(self) -> tuple[str, str, int]:
        """UCC, correlation id and action of the next event."""
        (change,) = await self.says("event")
        return change["UccName"], change["CorrelationId"], change["StateAction"]

    async def stop(self) -> None:
        """Have the client close the connection."""
        assert self._process.stdin
        self._process.stdin.write(b"stop\n")
        assert await self.says("closed") == [None]
        assert await asyncio.wait_for(self._process.wait(), PATIENCE_S) == 0


@asynccontextmanager
async def program(modules: Path, script: str, *words: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *("node", str(HERE / script), *words),
        cwd=modules,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def cut(desk: Desk) -> None:
    """Break the connections of all clients."""
    for reader in desk.node.server._fanout._readers:
        reader._transport.abort()


async def test_the_client_of_asp_net_core(desk: Desk, modules: Path) -> None:
    words = (f"{desk.node.server.url}{HUB}", await desk.token(SHOP), "ucc-shop")
    async with program(modules, "core.js", *words) as client:
        (refused,) = await client.says("refused")
        assert "HubException: UCC with name:'nothing' was not found." in refused
        (refused,) = await client.says("refused")
        assert "Unknown hub method 'Nothing'" in refused
        await client.says("ready")
        await follows_a_call(desk, client)
        cut(desk)
        await client.says("reconnecting")
        await client.says("reconnected")
        desk.node.services.feed.publish(event())
        assert await client.told() == ("ucc-shop", CORRELATION, 3)
        await client.stop()


async def test_without_negotiation_until_the_server_stops(idle_desk: Desk, modules: Path) -> None:
    server = idle_desk.node.server
    words = (f"{server.url}{HUB}", await idle_desk.token(SHOP), "ucc-shop", "direct")
    async with program(modules, "core.js", *words) as client:
        for _ in range(2):
            await client.says("refused")
        await client.says("ready")
        idle_desk.node.services.feed.publish(event())
        assert await client.told() == ("ucc-shop", CORRELATION, 3)
        await server.stop()
        await client.says("reconnecting")
        assert await client.says("closed") == [None]


async def test_the_client_of_asp_net(desk: Desk, modules: Path) -> None:
    words = (f"{desk.node.server.url}{CLASSIC}", await desk.token(SHOP), "ucc-shop")
    async with program(modules, "classic.js", *words) as client:
        assert await client.says("refused") == ["UCC with name:'nothing' was not found."]
        assert await client.says("refused") == ["'Nothing' method could not be resolved."]
        await client.says("ready")
        await follows_a_call(desk, client)
        cut(desk)
        await client.says("reconnecting")
        await client.says("reconnected")
        desk.node.services.feed.publish(event())
        assert await client.told() == ("ucc-shop", CORRELATION, 3)
        await client.stop()


async def follows_a_call(desk: Desk, client: Program) -> None:
    """Events of a call as other doors control it."""
    live = await desk.call()
    control = desk.node.services.recorder.control
    name, id_, action = await client.told()
    assert (name, action) == ("ucc-shop", 1)
    for asked, number in (
        (Action.PAUSE, 3),
        (Action.RESUME, 1),
        (Action.MARK, 6),
        (Action.UNMARK, 7),
        (Action.SAVE, 4),
        (Action.DISCARD, 5),
        (Action.STOP, 2),
        (Action.START, 1),
    ):
        await control(live.id, asked, ADMIN)
        assert await client.told() == ("ucc-shop", id_, number)
    desk.node.services.recorder.end(live.dialog_id, "bye")
    assert await client.told() == ("ucc-shop", id_, 2)
