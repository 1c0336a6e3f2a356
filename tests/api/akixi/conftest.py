"""Fixtures: `desk`, a node with the interface on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.akixi.desk import Desk, open_desk
from tests.storage.people import make_hashing_cheap


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords take no time."""
    make_hashing_cheap(monkeypatch)


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """Two accounts, their users, and the interface as it is by default."""
    async with open_desk(tmp_path, migrated) as opened:
        yield opened
