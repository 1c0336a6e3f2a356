"""The desktop client: it records a call with a pause in it and saves the audio."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.conftest import migrated  # noqa: F401 - a fixture
from tests.api.imagicle.desk import PASSWORD, Desk, open_desk, speaking
from tests.storage.people import make_hashing_cheap

SCRIPT = Path(__file__).parents[2] / "examples" / "imagicle.py"


@pytest.fixture
async def desk(
    tmp_path: Path,
    migrated: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Desk]:
    make_hashing_cheap(monkeypatch)
    async with open_desk(tmp_path, migrated) as opened:
        await opened.basic("boss@shop.example")
        yield opened


async def run(desk: Desk, *options: str, password: str = PASSWORD) -> tuple[int, str]:
    """Exit status of the script and what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SCRIPT,
        desk.node.server.url,
        "--seconds=0.1",
        f"--folder={desk.node.folder}",
        *options,
        env={"IMAGICLE_USER": "boss@shop.example", "IMAGICLE_PASSWORD": password},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate()
    assert process.returncode is not None
    assert not errors, errors.decode()
    return process.returncode, printed.decode()


async def test_a_call_is_recorded_and_saved(desk: Desk) -> None:
    async with speaking(desk, "980200", "101") as call, asyncio.TaskGroup() as group:
        script = group.create_task(run(desk, "--device=SEP101"))
        speech = group.create_task(call.play(8))
        status, printed = await script
        speech.cancel()
        await call.bye()
    assert status == 0, printed
    assert printed.count("\n\n") == 7, printed
    assert PASSWORD not in printed
    (file,) = desk.node.folder.glob("*.mp3")
    assert printed.endswith(f"saved {file}\n")
    assert file.read_bytes()[0] == 0xFF
    (row,) = (await desk.get("/fw/Apps/Recorder/WebAPI/Recordings")).json["recordings"]
    assert row["referenceNumber"] == file.stem


async def test_what_is_refused_is_said(desk: Desk) -> None:
    for options, password, text in (
        (["--device=SEPX"], PASSWORD, 'refused: 400 {"reason":1,"deviceName":"SEPX"}\n'),
        (["--number=101"], PASSWORD, 'refused: 409 {"reason":1}\n'),
        ([], PASSWORD, 'refused: 400 {"reason":0}\n'),
        (["--number=101"], "wrong", "refused: 401\n"),
    ):
        status, printed = await run(desk, *options, password=password)
        assert status == 1
        assert printed.endswith(text), printed
        assert not [*desk.node.folder.glob("*.mp3")]
