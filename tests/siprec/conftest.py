"""Fixture `node`: the whole recorder in this process, media process included."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.conftest import migrated
from tests.api.node import Node, running

__all__ = ["migrated", "node"]


@pytest.fixture
async def node(tmp_path: Path, migrated: Path) -> AsyncIterator[Node]:
    """A node that can record."""
    async with running(tmp_path, migrated) as started:
        await started.engine.start()
        yield started
