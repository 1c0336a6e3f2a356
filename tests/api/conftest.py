"""Fixtures: `node` (no media process), `calling` (with one), `client` (of the admin)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.api.node import Node, migrate, running


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What nodes start with, made once: an empty database with its tables, and the like."""
    return asyncio.run(migrate(tmp_path_factory.mktemp("migrated")))


@pytest.fixture
async def node(tmp_path: Path, migrated: Path) -> AsyncIterator[Node]:
    """A node that can do everything but record."""
    async with running(tmp_path, migrated) as started:
        yield started


@pytest.fixture
async def calling(node: Node) -> Node:
    """A node that can record."""
    await node.engine.start()
    return node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[aiohttp.ClientSession]:
    """The admin's client of `node`."""
    async with node.client() as session:
        yield session
