"""The provisioning run: what it asks works, leaves nothing behind, and it sees what does not."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.platforms import RecordingPlatform
from storage.snapshot import Entries
from tests.api.apio.desk import FIRST, PASSWORD, ROOT, Desk, open_desk
from tests.api.conftest import migrated  # noqa: F401 - a fixture
from tests.storage.people import make_hashing_cheap

SCRIPT = Path(__file__).parents[2] / "examples" / "apio.py"
REQUESTS = 15


@pytest.fixture
async def desk(
    tmp_path: Path,
    migrated: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Desk]:
    make_hashing_cheap(monkeypatch)
    async with open_desk(tmp_path, migrated) as opened:
        yield opened


async def run(desk: Desk, **environment: str) -> tuple[int, str]:
    """Exit status of the script and what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SCRIPT,
        desk.node.server.url,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate()
    assert process.returncode is not None and not errors, errors.decode()
    return process.returncode, printed.decode()


def left(entries: Entries) -> tuple[list[RecordingPlatform], str | None]:
    return [*entries.platforms.values()], entries.properties.default_platform


async def test_a_run_is_answered_as_published_and_undone(desk: Desk) -> None:
    status, printed = await run(desk, APIO_USER=ROOT, APIO_PASSWORD=PASSWORD)
    assert (status, printed.count("\n\n")) == (0, REQUESTS - 1), printed
    assert printed.endswith("all as published\n")
    assert PASSWORD not in printed
    assert left(desk.entries) == ([], None)


async def test_a_run_gives_the_default_back(desk: Desk) -> None:
    await desk.add(FIRST)
    before = left(desk.entries)
    status, printed = await run(desk, APIO_KEY=desk.node.keys["admin"])
    assert status == 0, printed
    assert left(desk.entries) == before


async def test_a_run_sees_what_is_not_as_published(desk: Desk) -> None:
    status, printed = await run(desk, APIO_KEY=desk.node.keys["control"])
    assert status == 1
    assert "403" in printed and "^^^ WRONG: expected status 200" in printed
    assert printed.endswith("answers are not as published\n")
