"""Names of routes, and which integration is for which of them."""

import re

import pytest

from api.scopes import integration_for, partition_guid, partition_of
from storage.directory import Entries
from storage.entries import Account, Route
from storage.platforms import Integration

ENTRIES = Entries.of([Account(100), Account(200), Route(7, 100), Route(8, 100), Route(9, 200)])


def entries(*rows: tuple[int, int | None, int | None, list[str]]) -> Entries:
    """With integrations: number, account, route, users."""
    made = [
        Integration(f"{n:x}:1:1:1", n, account=account, route=route, users=users)
        for n, account, route, users in rows
    ]
    return Entries.of([*ENTRIES, *made])


def test_each_route_has_a_guid_of_its_own_for_ever() -> None:
    assert partition_guid(100, 7) == partition_guid(100, 7)
    assert partition_guid(100, 7) == "2929f17e656ec4e1:1ab9a81e:e14ee491e8d:-98b7"
    guids = {partition_guid(account, route) for account in range(1, 40) for route in range(1, 40)}
    assert len(guids) == 39 * 39
    pattern = r"[0-9a-f]{1,16}:-?[0-9a-f]{1,8}:[0-9a-f]{1,16}:-?[0-9a-f]{1,4}"
    assert all(re.fullmatch(pattern, guid) for guid in guids)


def test_a_guid_names_its_route() -> None:
    for route in ENTRIES.routes.values():
        assert partition_of(partition_guid(route.account, route.id), ENTRIES) is route
    assert partition_of(partition_guid(200, 7), ENTRIES) is None
    assert partition_of("", ENTRIES) is None


ALL = ((1, None, None, ["u"]), (2, 100, None, ["u"]), (3, 100, 7, ["u"]))


@pytest.mark.parametrize(
    ("account", "route", "number"),
    [(100, 7, 3), (100, 8, 2), (100, None, 2), (200, 9, 1), (200, None, 1), (None, None, 1)],
)
def test_the_most_special_one_is_taken(account: int | None, route: int | None, number: int) -> None:
    found = integration_for(entries(*ALL), account, route)
    assert found and found.number == number


def test_of_several_the_first_and_none_without_users() -> None:
    rows = entries(
        (1, 100, 7, []), (2, 100, 7, ["", ""]), (3, 100, 7, ["", "b"]), (4, 100, 7, ["a"])
    )
    found = integration_for(rows, 100, 7)
    assert found and found.number == 3
    assert integration_for(entries((1, None, None, []), (2, 200, None, ["u"])), 100, 7) is None
