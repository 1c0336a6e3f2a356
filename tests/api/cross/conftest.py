"""Fixtures: `desk`, a recorder with all interfaces on it, for all tests of a module."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.api.cross.desk import Desk, open_desk
from tests.storage.people import make_hashing_cheap


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> AsyncIterator[Desk]:
    """One recorder; every test makes calls of its own."""
    with pytest.MonkeyPatch.context() as patch:
        make_hashing_cheap(patch)
        async with open_desk(tmp_path_factory.mktemp("cross"), migrated) as opened:
            yield opened
