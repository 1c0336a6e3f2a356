"""The provisioning run of examples/akixi.py: it must work, and see when something does not."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import akixi
from tests.api.akixi.desk import PASSWORD, ROOT, SHOP, open_desk
from tests.api.conftest import migrated
from tests.storage.people import make_hashing_cheap

__all__ = ["migrated"]


@pytest.fixture(autouse=True)
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hashes take no time, and the password is on standard input."""
    make_hashing_cheap(monkeypatch)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    yield


@pytest.mark.parametrize("server", ["1", "100"])
async def test_the_whole_run(
    tmp_path: Path, migrated: Path, capsys: pytest.CaptureFixture[str], server: str
) -> None:
    async with open_desk(tmp_path, migrated) as desk:
        await desk.node.stored("r1", account=int(server), route=13, ani="1234")
        before = desk.node.services.directory.entries
        arguments = [desk.node.server.url, ROOT, "--server", server, "--ani", "1234"]
        assert await asyncio.to_thread(akixi.main, arguments) == 0
        assert desk.node.services.directory.entries == before
        host = desk.node.server.url.partition("://")[2]
    said = capsys.readouterr().out
    assert '"present": true' in said
    assert f'"url": "https://{host}/srs/v1/recordings/r1/media"' in said
    assert PASSWORD not in said
    headings = [line.partition(" ")[0] for line in said.splitlines() if line[:1].isalpha()]
    assert headings[:4] == ["CreateSession", "Authenticate", "CallRecIntList", "CallRecIntAdd"]
    assert headings[-3:] == ["CallRecIntInfo", "EndSession", "CallRecIntList"]


async def test_what_is_refused_fails_the_run(
    tmp_path: Path, migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_desk(tmp_path, migrated) as desk:
        arguments = [desk.node.server.url, SHOP, "--server", "200"]
        assert await asyncio.to_thread(akixi.main, arguments) == 1
    assert "^^^ WRONG: CallRecIntList: 10514, not 0" in capsys.readouterr().out


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert akixi.main(["http://127.0.0.1:9", ROOT]) == 1
    assert "^^^ WRONG: " in capsys.readouterr().out
