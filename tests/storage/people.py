"""What tests of users share: cheap hashes, watching, waiting."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from argon2.profiles import CHEAPEST

from storage import passwords
from storage.keys import ApiKeys
from storage.users import Users

PASSWORD = "correct horse battery"
DEADLINE_S = 20.0


def make_hashing_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes take no time; what is made before and after are different kinds."""
    monkeypatch.setattr(passwords, "PARAMETERS", CHEAPEST)


async def until(holds: Callable[[], object]) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(*books: Users | ApiKeys) -> AsyncIterator[None]:
    """While this lasts, they follow the database."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.watch(0.02)) for each in books]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
