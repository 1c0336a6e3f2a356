"""Listeners: each with its own address and what is answered there."""

import asyncio
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from api.listener import shown_path
from config.dialects import Apio, Dialects, Face
from config.schema import Api
from tests.api.node import running

ALONE = Api(face=Face(listen="127.0.0.1:0"))


async def status(url: str) -> int:
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        assert response.headers["Server"] == "siprecd"
        return response.status


async def test_a_dialect_can_have_an_address_of_its_own(tmp_path: Path, migrated: Path) -> None:
    async with running(tmp_path, migrated, api=ALONE) as node:
        listeners = node.server.listeners
        assert {*listeners} == {"api", "face"}
        main, own = listeners["api"].url, listeners["face"].url
        assert main == node.server.url != own
        paths = ("/Face/version", "/health", "/srs/v1/openapi.json")
        assert [await status(f"{own}{path}") for path in paths] == [200, 404, 404]
        assert [await status(f"{main}{path}") for path in paths] == [404, 200, 200]
    with pytest.raises(OSError, match=r"Connect|refused"):
        await asyncio.open_connection(*own.removeprefix("http://").split(":"))


async def test_a_dialect_that_is_off_listens_nowhere(tmp_path: Path, migrated: Path) -> None:
    api = Api(apio=Apio(listen="127.0.0.1:0"), dialects=Dialects(apio=False))
    async with running(tmp_path, migrated, api=api) as node:
        assert {*node.server.listeners} == {"api"}


IMPORTED = """
import sys, asyncio
from pathlib import Path
from config.dialects import Dialects
from config.schema import Api
from tests.api.node import running

async def main(folder, migrated, on):
    dialects = Dialects(**{name: name in on for name in Dialects.__struct_fields__})
    async with running(Path(folder), Path(migrated), api=Api(dialects=dialects)):
        loaded = {name.split(".")[1] for name in sys.modules if name.startswith("api.")}
        print(*sorted(loaded & {"oracle_face", "anywherenow", "imagicle", "apio", "akixi"}))

asyncio.run(main(*sys.argv[1:3], sys.argv[3:]))
"""


@pytest.mark.parametrize(
    ("on", "loaded"), [([], ""), (["apio"], "apio"), (["face", "akixi"], "akixi oracle_face")]
)
def test_a_dialect_that_is_off_is_not_imported(
    tmp_path: Path, migrated: Path, on: list[str], loaded: str
) -> None:
    command = [sys.executable, "-c", IMPORTED, str(tmp_path), str(migrated), *on]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == loaded


class Request:
    def __init__(self, path: str) -> None:
        self.rel_url = self
        self.raw_path = path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/Face/login", "/Face/login"),
        ("/Face/details&token=7653a545", "/Face/details&token=***"),
        ("/a%26Token%3D7653a545/b", "/a%26Token%3D***/b"),
        ("/a;jsessionid=7653A545;b", "/a;jsessionid=***;b"),
    ],
)
def test_secrets_in_a_path_are_not_shown(path: str, shown: str) -> None:
    assert shown_path(Request(path)) == shown  # type: ignore[arg-type]
