import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from siprec import handover as module
from siprec.handover import Handover
from storage.database import Database
from storage.outbox import Notification, Outbox
from storage.records import StorageUnavailable
from storage.tables import OUTBOX_SCHEMA

T0 = datetime(2026, 11, 22, tzinfo=UTC)


def notification(event_id: str, **fields: Any) -> Notification:
    first = Notification(event_id, "crm", "call-1", T0, "GET", "http://h/")
    return replace(first, **fields)


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    database = Database(f"sqlite:///{tmp_path}/outbox.db", OUTBOX_SCHEMA)
    await database.migrate()
    yield Outbox(database)
    await database.close()


@asynccontextmanager
async def running(handover: Handover) -> AsyncIterator[None]:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        runner = group.create_task(handover.run(), name="handover")
        yield
        runner.cancel()


async def ids(outbox: Outbox) -> list[str]:
    return [queued.notification.event_id for queued in await outbox.find(limit=100_000)]


async def test_what_is_put_is_in_the_outbox_in_its_order_once_the_put_is_done(
    outbox: Outbox,
) -> None:
    stored: list[None] = []
    handover = Handover(outbox, lambda: stored.append(None))
    async with running(handover):
        puts = [handover.put([notification(f"{n}-a"), notification(f"{n}-b")]) for n in range(50)]
        await asyncio.gather(*puts)
        assert await ids(outbox) == [f"{n}-{half}" for n in range(50) for half in "ab"]
        await handover.put([])
    assert stored


async def test_many_go_into_one_transaction_and_no_put_is_torn_apart(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    sizes: list[int] = []
    put = outbox.put

    async def noted(notifications: Sequence[Notification]) -> None:
        sizes.append(len(notifications))
        await put(notifications)

    monkeypatch.setattr(outbox, "put", noted)
    handover = Handover(outbox, lambda: None)
    for count in (4, 4, 4, 25, 1):
        handover.put([notification(f"{count}-{n}") for n in range(count)])
    async with running(handover):
        assert await handover.drain(10)
    assert sizes == [8, 4, 25, 1]


async def test_an_outage_is_sat_out_told_once_and_holds_up_nobody(
    outbox: Outbox, tmp_path: Path
) -> None:
    handover = Handover(outbox, lambda: None)
    with capture_logs() as logs:
        async with running(handover):
            with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                put = handover.put([notification("e1")])
                while not handover.behind:
                    await asyncio.sleep(0.01)
                handover.put([notification("e2")])
                assert not await handover.drain(0.1)
                assert not put.done()
            assert await handover.drain(10)
            assert put.done() and not handover.behind
            assert await ids(outbox) == ["e1", "e2"]
    assert [log["event"] for log in logs] == ["outbox_behind", "outbox_caught_up"]


async def test_a_drain_does_not_wait_out_a_long_pause(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 3600.0)
    failing = [True]
    put = outbox.put

    async def fails(notifications: Sequence[Notification]) -> None:
        if failing:
            raise StorageUnavailable("gone")
        await put(notifications)

    monkeypatch.setattr(outbox, "put", fails)
    handover = Handover(outbox, lambda: None)
    async with running(handover):
        handover.put([notification("e1")])
        while not handover.behind:
            await asyncio.sleep(0.01)
        failing.clear()
        assert await handover.drain(10)
    assert await ids(outbox) == ["e1"]


async def test_one_that_cannot_be_stored_does_not_hold_up_the_others(outbox: Outbox) -> None:
    handover = Handover(outbox, lambda: None)
    with capture_logs() as logs:
        async with running(handover):
            bad = handover.put([notification("e1"), notification("bad", lane="\ud800")])
            await asyncio.gather(bad, handover.put([notification("e2")]))
    assert await ids(outbox) == ["e1", "e2"]
    assert [(log["event"], log["event_id"]) for log in logs] == [("notification_refused", "bad")]
    assert "http" not in str(logs)


async def test_memory_is_bounded_and_losses_are_told_once(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 10 * (module.OVERHEAD_BYTES + 500))
    handover = Handover(outbox, lambda: None)
    with capture_logs() as logs:
        puts = [handover.put([notification(f"e{n}", url="u" * 487)]) for n in range(15)]
    assert [put.done() for put in puts] == [False] * 10 + [True] * 5
    assert [(log["event"], log["count"]) for log in logs] == [("notifications_lost", 1)]
    async with running(handover):
        assert await handover.drain(10)
        await handover.put([notification("later")])
    assert await ids(outbox) == [*(f"e{n}" for n in range(10)), "later"]


async def test_whoever_stops_waiting_changes_nothing(outbox: Outbox) -> None:
    handover = Handover(outbox, lambda: None)
    handover.put([notification("e1")]).cancel()
    async with running(handover):
        await handover.put([notification("e2")])
    assert await ids(outbox) == ["e1", "e2"]
