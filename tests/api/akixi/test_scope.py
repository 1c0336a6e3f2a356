"""What requests say of scopes, and who reaches them. The pure half; the rest is asked over HTTP."""

import pytest

from api.akixi import scope
from api.akixi.codes import Refusal
from api.akixi.scope import Asked, Scope
from api.scopes import partition_guid
from storage.directory import Entries
from storage.entries import User, UserType
from tests.api.akixi.desk import DIRECTORY

ENTRIES = Entries.of(DIRECTORY)
OF_13, OF_20 = partition_guid(100, 13), partition_guid(200, 20)
TYPE: UserType = "admin"
SYSTEM, SHOP, TILL = (
    User("r@x", 1, TYPE),
    User("a@x", 100, TYPE),
    User("t@x", 100, TYPE, routes=[14]),
)


def number(
    server: str | None = None, part: str | None = None, guid: str | None = None
) -> dict[str, str]:
    """Properties, without those that are None."""
    values = zip(scope.NAMES, (server, part, guid), strict=True)
    return {name: value for name, value in values if value is not None}


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        (number(), Asked(None, None, "")),
        (number(""), Asked(None, None, "")),
        (number("100"), Asked(100, None, "")),
        (number("0100", "00013"), Asked(100, 13, "")),
        (number("100", ""), Asked(100, None, "")),
        (number(guid="g"), Asked(None, None, "g")),
        (number("100", "13", "g"), Asked(100, 13, "g")),
        (number(None, "13", "g"), Asked(None, 13, "g")),
        (number("100", "13", ""), Asked(100, 13, "")),
        (number("2000000000"), Asked(2_000_000_000, None, "")),
        (number("x"), 11012),
        (number("0"), 11012),
        (number("-1"), 11012),
        (number("1.0"), 11012),
        (number("2000000001"), 11012),
        (number("9" * 5000), 11012),
        (number("١"), 11012),
        (number("100", "x"), 11110),
        (number("100", "0"), 11110),
        (number("100", "99999999999"), 11110),
        (number(None, "13"), 11011),
        (number("", "13"), 11011),
    ],
)
def test_what_is_asked(properties: dict[str, str], found: Asked | int) -> None:
    if isinstance(found, int):
        with pytest.raises(Refusal) as caught:
            scope.asked(properties)
        assert caught.value.code == found
    else:
        assert scope.asked(properties) == found


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        (number("200"), Asked(200, 13, "")),
        (number(None, "14"), Asked(100, 14, "")),
        (number(None, ""), Asked(100, None, "")),
        (number("", ""), Asked(None, None, "")),
        (number(guid=""), Asked(100, None, "")),
        (number(guid="g"), Asked(None, None, "g")),
    ],
)
def test_what_is_not_said_stays(properties: dict[str, str], found: Asked) -> None:
    assert scope.asked(properties, Scope(100, 13)) == found


def test_in_a_list_the_guid_goes_before_the_numbers() -> None:
    assert scope.listed(number("x", "y", "g")) == Asked(None, None, "g")
    assert scope.listed(number("100", "13")) == Asked(100, 13, "")


@pytest.mark.parametrize(
    ("user", "wanted", "found"),
    [
        (SYSTEM, Asked(None, None, ""), Scope()),
        (SYSTEM, Asked(100, None, ""), Scope(100)),
        (SYSTEM, Asked(200, 20, ""), Scope(200, 20)),
        (SYSTEM, Asked(None, None, OF_13), Scope(100, 13)),
        (SYSTEM, Asked(100, 13, OF_13), Scope(100, 13)),
        (SYSTEM, Asked(None, 13, OF_13), Scope(100, 13)),
        (SYSTEM, Asked(300, None, ""), 11013),
        (SYSTEM, Asked(300, 13, ""), 11013),
        (SYSTEM, Asked(100, 99, ""), 11113),
        (SYSTEM, Asked(100, 20, ""), 11113),
        (SYSTEM, Asked(None, None, "1:1:1:1"), 11131),
        (SYSTEM, Asked(200, None, OF_13), 11131),
        (SYSTEM, Asked(100, 14, OF_13), 11131),
        (SHOP, Asked(100, None, ""), Scope(100)),
        (SHOP, Asked(100, 14, ""), Scope(100, 14)),
        (SHOP, Asked(None, None, OF_13), Scope(100, 13)),
        (SHOP, Asked(None, None, ""), 10514),
        (SHOP, Asked(200, None, ""), 10514),
        (SHOP, Asked(300, None, ""), 10514),
        (SHOP, Asked(200, 20, ""), 10514),
        (SHOP, Asked(None, None, OF_20), 10514),
        (SHOP, Asked(None, None, "1:1:1:1"), 10514),
        (SHOP, Asked(100, 99, ""), 11113),
        (SHOP, Asked(100, 20, ""), 11113),
        (TILL, Asked(100, 14, ""), Scope(100, 14)),
        (TILL, Asked(100, None, ""), 10514),
        (TILL, Asked(100, 13, ""), 10514),
        (TILL, Asked(100, 99, ""), 10514),
    ],
)
def test_what_is_meant(user: User, wanted: Asked, found: Scope | int) -> None:
    if isinstance(found, int):
        with pytest.raises(Refusal) as caught:
            scope.resolved(wanted, ENTRIES, user)
        assert caught.value.code == found
    else:
        assert scope.resolved(wanted, ENTRIES, user) == found


def test_an_account_is_seen_by_its_own_and_by_the_system_account() -> None:
    assert [scope.sees(user, 100) for user in (SYSTEM, SHOP, TILL)] == [True, True, True]
    assert [scope.sees(user, 200) for user in (SYSTEM, SHOP, TILL)] == [True, False, False]
