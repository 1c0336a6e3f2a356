"""Fixtures: `desk`, a recorder with the interface on it; `idle_desk`, one that records nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.imagicle.desk import Desk, open_desk
from tests.storage.people import make_hashing_cheap


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords take no time."""
    make_hashing_cheap(monkeypatch)


@pytest.fixture
async def idle_desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """As `desk`, without a media process: no call can be controlled."""
    async with open_desk(tmp_path, migrated, is_idle=True) as opened:
        yield opened


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """A recorder with its users, and the interface as it is by default."""
    async with open_desk(tmp_path, migrated) as opened:
        yield opened
