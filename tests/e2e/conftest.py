"""One recorder per test file and worker, shared by its tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.srs import Srs


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def srs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Srs]:
    """A running recorder with an administrator's key."""
    async with Srs(tmp_path_factory.mktemp("srs")) as recorder:
        yield recorder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for a recorder of one's own."""
    return tmp_path
