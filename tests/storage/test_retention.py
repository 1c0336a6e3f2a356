"""What is due, and when somebody should look first."""

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from storage.catalog import Catalog
from storage.database import Database
from storage.directory import INITIAL, Entries
from storage.entries import Account, Route
from storage.records import Recording
from storage.retention import Clock, Due, RetentionPlan, days_of, is_due, plan

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
ENTRIES = Entries(
    MappingProxyType(
        {
            1: Account(1, "System"),
            100: Account(100, retention_days=30),
            200: Account(200, retention_days=0),
        }
    ),
    MappingProxyType(
        {
            1: Route(1, 1),
            7: Route(7, 100),
            8: Route(8, 100, retention_days=90),
            9: Route(9, 100, retention_days=0),
            17: Route(17, 200, retention_days=5),
        }
    ),
)


def ended(recording_id: str, days: float, account: int, route: int, **changes: Any) -> Recording:
    """A finished recording that ended so many days ago."""
    at = NOW - timedelta(days=days)
    fields: dict[str, Any] = {"status": "complete", "started_at": at, "ended_at": at} | changes
    return Recording(recording_id, "s", "c", account=account, route=route, **fields)


@pytest.mark.parametrize(
    ("account", "route", "days"),
    [
        (100, 7, 30),  # the account decides
        (100, 8, 90),  # the route does
        (100, 9, 0),  # which may say for ever
        (200, 17, 5),
        (100, 99, 30),  # a route that is gone
        (100, 17, 30),  # one that became another account's
        (200, 99, 0),
        (300, 7, 0),  # an account that is gone
        (1, 1, 0),
    ],
)
def test_the_route_decides_before_the_account(account: int, route: int, days: int) -> None:
    assert days_of(account, route, ENTRIES) == days


@pytest.mark.parametrize(
    ("days", "changes", "due"),
    [
        (31, {}, True),
        (30.0001, {}, True),
        (30, {}, False),  # to the microsecond
        (29, {}, False),
        (31, {"hold": True}, False),
        (31, {"never_expire": True}, False),
        (31, {"status": "processing"}, False),
        (31, {"status": "recording", "ended_at": None}, False),
        (31, {"status": "partial"}, True),
        (31, {"status": "failed"}, True),
        (-400, {}, False),  # from a clock that went wrong
    ],
)
async def test_due_is_what_ended_too_long_ago_and_may_go(
    database: Database, days: float, changes: dict[str, Any], due: bool
) -> None:
    row = ended("r1", days, 100, 7, **changes)
    assert is_due(row, ENTRIES, NOW) == due
    catalog = Catalog(database)
    await catalog.save(row)
    found = await plan(catalog, ENTRIES, NOW, 1)
    assert [each.recording_ids for each in found.due] == ([("r1",)] if due else [])
    assert (found.count, found.total) == (int(due), 1)


async def test_a_plan_names_what_is_due_by_route_oldest_first(database: Database) -> None:
    catalog = Catalog(database)
    await catalog.save(
        ended("young", 29, 100, 7),
        ended("old", 31, 100, 7),
        ended("older", 40, 100, 7),
        ended("route keeps longer", 89, 100, 8),
        ended("route lets go", 91, 100, 8),
        ended("route keeps for ever", 9999, 100, 9),
        ended("route is gone", 31, 100, 99),
        ended("route is another's now", 31, 100, 17),
        ended("account keeps for ever", 9999, 200, 99),
        ended("account is gone", 9999, 300, 7),
        ended("system", 9999, 1, 1),
        ended("going already", 50, 100, 7, deleting=True),
    )
    found = await plan(catalog, ENTRIES, NOW, 1)
    month, quarter = NOW - timedelta(days=30), NOW - timedelta(days=90)
    assert found == RetentionPlan(
        (
            Due(100, 7, 30, month, ("older", "old")),
            Due(100, 8, 90, quarter, ("route lets go",)),
            Due(100, 17, 30, month, ("route is another's now",)),
            Due(100, 99, 30, month, ("route is gone",)),
        ),
        12,
    )
    assert found.count == 5


async def test_nothing_is_due_where_the_directory_says_nothing(database: Database) -> None:
    catalog = Catalog(database)
    await catalog.save(ended("r1", 99_999, 1, 1), ended("r2", 99_999, 100, 7))
    assert await plan(catalog, INITIAL, NOW, 1) == RetentionPlan((), 2)


async def test_a_plan_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.retention.PLAN_LIMIT", 3)
    catalog = Catalog(database)
    rows = (
        ended(f"{route}-{number}", 100 - number, 100, route)
        for route in (7, 8)
        for number in (0, 1)
    )
    await catalog.save(*rows)
    assert [each.recording_ids for each in (await plan(catalog, ENTRIES, NOW, 1)).due] == [
        ("7-0", "7-1"),
        ("8-0",),
    ]


@pytest.mark.parametrize(
    ("due", "total", "percent", "mass"),
    [
        (100, 100, 1, False),  # so few never are
        (101, 101, 1, True),
        (101, 10_100, 1, False),  # exactly the share
        (102, 10_100, 1, True),
        (101, 101, 100, False),
        (0, 0, 1, False),
    ],
)
def test_a_mass_delete_is_many_and_a_large_share(
    due: int, total: int, percent: int, mass: bool
) -> None:
    ids = tuple(map(str, range(due)))
    found = RetentionPlan((Due(1, 1, 1, NOW, ids[:60]), Due(1, 2, 1, NOW, ids[60:])), total)
    assert found.is_mass_delete(percent) == mass


def test_a_clock_that_was_set_is_noticed_once() -> None:
    clock, year = Clock(), timedelta(days=365)
    assert clock.moved(NOW, 1000.0) == timedelta(0)
    assert clock.moved(NOW + timedelta(hours=1), 4600.0) == timedelta(0)
    assert clock.moved(NOW + timedelta(hours=2) + year, 8200.0) == year
    assert clock.moved(NOW + timedelta(hours=3) + year, 11_800.0) == timedelta(0)
    assert clock.moved(NOW + timedelta(hours=4), 15_400.0) == -year
