"""Health, whatever the database does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession

from api import health as module
from api.health import FRESH_S, Doctor, Health
from siprec import __version__
from storage.catalog import Catalog
from storage.database import POOL_SIZE, Database
from storage.outbox import Notification
from storage.records import StorageUnavailable
from tests.api.node import Node

WELL = Health("ok", __version__, 0, "ok", 0, 0)
ILL = Health("degraded", __version__, 0, "unavailable", 0, 0)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time to answer; those who test lateness say so."""
    monkeypatch.setattr(module, "WAIT_S", 30)


class Clock:
    """A time that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(node: Node, tmp_path: Path) -> AsyncIterator[Database]:
    """Another database; the outbox of the node is at hand."""
    await node.services.outbox.count("dead")
    opened = Database(f"sqlite:///{tmp_path}/other.db")
    await opened.migrate()
    yield opened
    await opened.close()


async def test_everybody_may_ask(client: ClientSession) -> None:
    async with client.get("/health", headers={"Authorization": ""}) as response:
        assert response.status == 200
        assert await response.json() == {
            "status": "ok",
            "version": __version__,
            "sessions": 0,
            "database": "ok",
            "notifications_pending": 0,
            "notifications_dead": 0,
        }


async def test_what_is_still_to_be_told_is_counted(node: Node) -> None:
    outbox, now = node.services.outbox, datetime.now(UTC)
    told = [
        Notification(str(n), "policy x", f"call-{n}", now, "GET", "http://192.0.2.1:9/")
        for n in range(3)
    ]
    later = [replace(each, created_at=now + timedelta(minutes=30)) for each in told]
    await outbox.put(later)
    await outbox.bury((await outbox.find())[0].sequence, "x")
    health = await Doctor(node.services).examine()
    assert (health.notifications_pending, health.notifications_dead) == (2, 1)


async def test_an_outbox_that_does_not_answer_is_not_counted(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(state: str) -> int:
        raise StorageUnavailable("away")

    monkeypatch.setattr(node.services.outbox, "count", away)
    health = await Doctor(node.services).examine()
    assert (health.status, health.notifications_pending) == ("ok", None)


async def test_draining(node: Node, client: ClientSession) -> None:
    node.services.recorder.accepting = False
    async with client.get("/health") as response:
        assert (await response.json())["status"] == "draining"


async def test_a_database_that_went_and_came_back(
    node: Node, database: Database, tmp_path: Path
) -> None:
    clock = Clock()
    doctor = Doctor(replace(node.services, catalog=Catalog(database)), clock)
    file = tmp_path / "other.db"
    file.rename(tmp_path / "away.db")
    assert await doctor.examine() == ILL
    (tmp_path / "away.db").rename(file)
    assert await doctor.examine() == ILL, "an answer holds for a while"
    clock.now += FRESH_S + 0.1
    assert await doctor.examine() == WELL


async def test_a_database_that_does_not_answer_is_not_waited_for(
    node: Node, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.1)
    clock = Clock()
    doctor = Doctor(replace(node.services, catalog=Catalog(database)), clock)
    async with asyncio.timeout(30):
        async with AsyncExitStack() as stack:
            for _ in range(POOL_SIZE):
                await stack.enter_async_context(database.reading())
            assert await doctor.examine() == ILL
            assert doctor._database._question and not doctor._database._question.done()
        await asyncio.wait({doctor._database._question})
        clock.now += FRESH_S + 0.1
        assert await doctor.examine() == WELL


async def test_a_question_still_open_is_forgotten(
    node: Node, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.1)
    doctor = Doctor(replace(node.services, catalog=Catalog(database)))
    await doctor.close()
    async with AsyncExitStack() as stack:
        for _ in range(POOL_SIZE):
            await stack.enter_async_context(database.reading())
        await doctor.examine()
        await doctor.close()
        assert doctor._database._question and doctor._database._question.cancelled()
