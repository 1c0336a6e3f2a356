"""Names of UCCs, their settings, their agents, and GUIDs of calls."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.anywherenow import ucc
from storage.directory import INITIAL, Entries
from storage.entries import Account, Entry, Route, User

GUID = "1d6c6a58-6739-4f0c-98ff-0968292c8c30"


def directory(*entries: Entry) -> Entries:
    return Entries.of([*INITIAL, *entries])


HOUSE = directory(
    Account(100, "ucc-demo-name"),
    Account(200, "Bank"),
    Account(300),
    Account(400, "twice"),
    Account(500, "Twice"),
    Route(10, 100, "sales"),
    Route(11, 100, "Bank"),
    Route(12, 100, "same"),
    Route(20, 200, "SAME"),
    Route(21, 200, "ucc-demo-name"),
    Route(30, 300, "ucc_straße"),
    Route(31, 300),
    Route(40, 400, "of a name there is twice"),
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ucc-demo-name", ("ucc-demo-name", 100, None)),
        ("UCC-Demo-NAME", ("ucc-demo-name", 100, None)),
        ("bank", ("Bank", 200, None)),
        ("SALES", ("sales", 100, 10)),
        ("ucc_strasse", ("ucc_straße", 300, 30)),
        ("system", ("System", 1, None)),
        ("default", ("Default", 1, 1)),
        ("same", None),
        ("twice", None),
        ("100", None),
        ("ucc-demo", None),
        (" bank", None),
        ("%", None),
        ("", None),
    ],
)
def test_find(name: str, found: tuple[str, int, int | None] | None) -> None:
    ucc_ = ucc.find(HOUSE, name)
    assert (ucc_ and (ucc_.name, ucc_.account, ucc_.route)) == found


@pytest.mark.parametrize(
    ("name", "account", "route", "owns"),
    [
        ("bank", 200, 20, True),
        ("bank", 200, 21, True),
        ("bank", 100, 11, False),
        ("sales", 100, 10, True),
        ("sales", 100, 11, False),
        ("sales", 200, 10, False),
        ("system", 100, 10, False),
    ],
)
def test_owns(name: str, account: int, route: int, owns: bool) -> None:
    found = ucc.find(HOUSE, name)
    assert found and found.owns(account, route) is owns


@pytest.mark.parametrize(
    ("account", "route", "name"),
    [
        (100, 10, "ucc-demo-name"),
        (100, 11, "ucc-demo-name"),
        (200, 20, "Bank"),
        (300, 30, "ucc_straße"),
        (300, 31, ""),
        (400, 40, "of a name there is twice"),
        (1, 1, "System"),
        (900, 9, ""),
    ],
)
def test_named(account: int, route: int, name: str) -> None:
    assert ucc.named(HOUSE, account, route) == name
    found = ucc.find(HOUSE, name)
    assert found is None if not name else found and found.owns(account, route)


SETTINGS: list[tuple[dict[str, Any], list[dict[str, Any]], tuple[bool, bool]]] = [
    ({}, [], (False, False)),
    ({}, [{}], (True, True)),
    ({}, [{"record": "on_demand"}], (True, True)),
    ({}, [{"record": "never"}], (False, False)),
    ({}, [{"record": "never"}, {}], (True, True)),
    ({"agents_may_control": False}, [{}], (True, False)),
    ({"agents_may_control": False}, [{}, {"agents_may_control": True}], (True, True)),
    ({}, [{"agents_may_control": False}], (True, False)),
    ({}, [{"agents_may_control": False}, {"record": "never"}], (True, False)),
]


@pytest.mark.parametrize(("account", "routes", "settings"), SETTINGS)
def test_settings_of_an_account(
    account: dict[str, Any], routes: list[dict[str, Any]], settings: tuple[bool, bool]
) -> None:
    entries = directory(
        Account(100, "shop", **account),
        *(Route(number, 100, **each) for number, each in enumerate(routes, 10)),
    )
    found = ucc.find(entries, "shop")
    assert found and (found.uses_recording, found.agents_may_control) == settings


def test_settings_of_a_route() -> None:
    entries = directory(
        Account(100, "shop", agents_may_control=False),
        Route(10, 100, "never", record="never"),
        Route(11, 100, "asked", agents_may_control=True),
        Route(12, 100, "as the account"),
    )
    settings = {"never": (False, False), "asked": (True, True), "as the account": (True, False)}
    for name, expected in settings.items():
        found = ucc.find(entries, name)
        assert found and (found.uses_recording, found.agents_may_control) == expected


PEOPLE = directory(
    Account(100, "shop"),
    Account(200, "bank"),
    User("ann@shop.example", 100, sip_uri="sip:Ann@Shop.Example"),
    User("ben@shop.example", 100, "api", sip_uri="ben@shop.example"),
    User("off@shop.example", 100, sip_uri="sip:off@shop.example", enabled=False),
    User("none@shop.example", 100),
    User("one@shop.example", 100, sip_uri="sip:both@shop.example"),
    User("two@shop.example", 100, sip_uri="both@SHOP.example"),
    User("cy@bank.example", 200, sip_uri="sip:cy@bank.example"),
)


@pytest.mark.parametrize(
    ("uri", "email"),
    [
        ("sip:Ann@shop.example", "ann@shop.example"),
        ("Ann@SHOP.example", "ann@shop.example"),
        ("SIP:Ann@shop.example", "ann@shop.example"),
        ("sips:Ann@shop.example", "ann@shop.example"),
        ("  sip:Ann@shop.example ", "ann@shop.example"),
        ("sip:ben@Shop.Example", "ben@shop.example"),
        ("sip:ann@shop.example", None),  # the user part knows case
        ("sip:off@shop.example", None),
        ("sip:both@shop.example", "one@shop.example"),
        ("sip:cy@bank.example", None),
        ("sip:%@shop.example", None),
        ("sip:", None),
        ("", None),
    ],
)
def test_agents(uri: str, email: str | None) -> None:
    shop = ucc.find(PEOPLE, "shop")
    assert shop
    user = ucc.agent(PEOPLE, shop, uri)
    assert (user and user.email) == email


def test_the_guid_of_a_call() -> None:
    assert ucc.correlation_id(GUID.replace("-", "")) == GUID


@pytest.mark.parametrize(
    "text",
    [GUID, GUID.upper(), GUID.replace("-", ""), f"{{{GUID}}}"],
)
def test_guids(text: str) -> None:
    assert ucc.guid(text) == UUID(GUID)


@pytest.mark.parametrize(
    "text", ["", "1", GUID[:-1], f"{GUID}0", f"{GUID}\n", f"urn:uuid:{GUID}", f"{{{GUID}", "٣" * 32]
)
def test_texts_that_are_no_guids(text: str) -> None:
    assert ucc.guid(text) is None


@given(st.text())
def test_any_text_is_a_guid_or_none(text: str) -> None:
    assert ucc.guid(text) is None or len(text) >= 32
    assert ucc.find(HOUSE, text) is None or text.casefold() != ""
