"""Fixture `desk`: a node, and people who ask it for platforms."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.apio.desk import Desk, open_desk
from tests.storage.people import make_hashing_cheap


@pytest.fixture
async def desk(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    """A desk without platforms."""
    make_hashing_cheap(monkeypatch)
    async with open_desk(tmp_path, migrated) as opened:
        yield opened
