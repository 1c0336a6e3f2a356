"""The payment system: it pauses and goes on, and takes no card while it is recorded."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.entries import Account
from tests.api.anywherenow.desk import AGENT, PASSWORD, Desk, open_desk
from tests.api.conftest import migrated  # noqa: F401 - a fixture
from tests.storage.people import make_hashing_cheap

SCRIPT = Path(__file__).parents[2] / "examples" / "anywherenow.py"
GUID = "1d6c6a58-6739-4f0c-98ff-0968292c8c30"
TAKEN = "the card is taken"


@pytest.fixture
async def desk(
    tmp_path: Path,
    migrated: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Desk]:
    make_hashing_cheap(monkeypatch)
    async with open_desk(tmp_path, migrated) as opened:
        users = opened.node.services.users
        await users.set_password("pay@shop.example", PASSWORD, datetime.now(UTC))
        yield opened


async def run(desk: Desk, ucc: str = "ucc-shop", **environment: str) -> tuple[int, str]:
    """Exit status of the script and what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SCRIPT,
        desk.node.server.url,
        ucc,
        GUID,
        AGENT,
        "--seconds=0",
        env=environment or {"ANYWHERENOW_USER": "pay", "ANYWHERENOW_PASSWORD": PASSWORD},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate()
    assert process.returncode is not None and not errors, errors.decode()
    return process.returncode, printed.decode()


async def test_a_payment(desk: Desk) -> None:
    live = await desk.call(ucid=GUID)
    status, printed = await run(desk)
    assert (status, printed.count("\n\n")) == (0, 8), printed
    assert "(recording paused: the card is taken, 0 s)" in printed
    assert printed.endswith("paid\n")
    assert PASSWORD not in printed
    assert live.state == "recording" and live.recording
    assert [entry.action for entry in live.recording.history[-2:]] == ["pause", "resume"]


async def test_a_payment_in_a_call_that_is_not_recorded(desk: Desk) -> None:
    live = await desk.call("777", ucid=GUID)
    status, printed = await run(desk, ANYWHERENOW_TOKEN=desk.node.keys["control"])
    assert (status, live.state) == (0, "idle"), printed
    assert "recording uninitialized" in printed


async def test_no_card_is_taken_of_whom_it_is_not_known(desk: Desk) -> None:
    await desk.call(ucid=GUID)
    for ucc, environment, text in (
        ("ucc-shop", {"ANYWHERENOW_TOKEN": "x"}, "refused: 401 "),
        ("ucc-shop", {"ANYWHERENOW_USER": "pay", "ANYWHERENOW_PASSWORD": "x"}, "invalid_grant"),
        ("ucc-bank", {}, "refused: UCC with name:'ucc-bank' was not found."),
    ):
        status, printed = await run(desk, ucc, **environment)
        assert status == 1 and text in printed, printed
        assert TAKEN not in printed


async def test_no_card_is_taken_where_agents_may_not_pause(desk: Desk) -> None:
    live = await desk.call(ucid=GUID)
    account = Account(100, "ucc-shop", agents_may_control=False)
    await desk.node.services.directory.put(account)
    status, printed = await run(desk)
    assert status == 1 and "refused: agents of ucc-shop may not pause" in printed
    assert TAKEN not in printed and live.state == "recording"
