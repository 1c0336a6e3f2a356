"""Whom we record, and for whom."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import pytest
from msgspec import structs

from config.schema import Route as Defaults
from siprec.policy import admit, decide, drawn, pattern, sides
from siprec.session import Decision, Identity, Offer, Refused, Sides
from storage.directory import INITIAL, Entries
from storage.entries import Account, Route, User

SIGNS = ("require", "sip.src", "src", "metadata")
OFFER = Offer("d", "c", frozenset(), "127.0.0.1", datetime.now(UTC))
SUBSETS = [frozenset(each) for size in range(5) for each in combinations(SIGNS, size)]


def accepted(signs: frozenset[str], mode: str) -> bool:
    try:
        admit(replace(OFFER, signs=signs), mode)
    except Refused as refusal:
        assert refusal.status == 403
        return False
    return True


@pytest.mark.parametrize("signs", SUBSETS, ids=sorted)
def test_which_signs_suffice(signs: frozenset[str]) -> None:
    assert accepted(signs, "any")
    assert accepted(signs, "lenient") == bool(signs)
    assert accepted(signs, "strict") == ({"require", "sip.src"} <= signs)


ALICE = Identity(
    "4989123",
    "0800111",
    realms=("core", "sales"),
    calling_aors=("sip:4989123@alice.example;user=phone",),
    called_aors=("sip:0800111@shop.example", "tel:+498000"),
)


def entries(*routes: Route, account: Account | None = None) -> Entries:
    """A directory with these routes, in the order it would keep them, of account 100."""
    ordered = sorted((*routes, INITIAL.routes[1]), key=lambda r: (-r.priority, r.id))
    accounts = {1: INITIAL.accounts[1], 100: account or Account(100, "Shop")}
    return Entries(accounts, {route.id: route for route in ordered})


def decided(*routes: Route, offer: Offer = OFFER, **account: Any) -> Decision:
    directory = entries(*routes, account=Account(100, "Shop", **account))
    return decide(directory, offer, ALICE, Defaults())


def test_a_call_that_no_route_knows_is_recorded_for_the_system_account() -> None:
    assert decided() == Decision(account=1, route=1, record="always")
    assert decide(Entries({}, {}), OFFER, Identity(), Defaults()) == Decision()


@pytest.mark.parametrize(
    ("match", "text", "taken"),
    [
        ("from", "4989%", True),
        ("from", "4989123@alice.example", True),
        ("from", "4989123@ALICE.example", True),
        ("from", "%@alice.example", True),
        ("from", "sip:4989123@alice.example", False),
        ("from", "0800111", False),
        ("from", "4989", False),
        ("to", "0800111", True),
        ("to", "%@shop.example", True),
        ("to", "+498000", True),
        ("to", "4989%", False),
        ("from_or_to", "4989%", True),
        ("from_or_to", "0800%", True),
        ("from_or_to", "0900%", False),
        ("realm", "sales", True),
        ("realm", "co%", True),
        ("realm", "other", False),
        ("peer", "192.0.2.0/24", True),
        ("peer", "192.0.2.7", True),
        ("peer", "192.0.2.%", True),
        ("peer", "198.51.100.0/24", False),
        ("peer", "nonsense", False),
    ],
)
def test_what_a_route_matches(match: Any, text: str, taken: bool) -> None:
    route = Route(7, 100, match=match, pattern=text)
    decision = decided(route, offer=replace(OFFER, peer="192.0.2.7"))
    assert (decision.route, decision.account) == ((7, 100) if taken else (1, 1))


def test_without_metadata_the_headers_of_the_invite_are_matched() -> None:
    offer = replace(OFFER, from_aor="sip:src@sbc.example", to_aor="sip:srs@rec.example")
    route = Route(7, 100, match="to", pattern="srs@rec.example")
    assert decide(entries(route), offer, Identity(), Defaults()).route == 7
    route = Route(7, 100, match="from", pattern="%@sbc.example")
    assert decide(entries(route), offer, Identity(), Defaults()).route == 7


def test_the_highest_priority_wins_then_the_lowest_id() -> None:
    low, high = Route(2, 100, priority=1), Route(9, 100, priority=8, record="never")
    assert decided(low, high).route == 9
    assert decided(Route(8, 100, priority=5), Route(7, 100, priority=5)).route == 7


def test_what_a_route_does_not_say_its_account_says() -> None:
    silent = decided(Route(7, 100), profile="small", pause_fill="cut")
    assert (silent.profile, silent.pause_fill) == ("small", "cut")
    loud = Route(7, 100, profile="best_quality", pause_fill="silence")
    spoken = decided(loud, profile="small", pause_fill="cut")
    assert (spoken.profile, spoken.pause_fill) == ("best_quality", "silence")


def test_only_what_is_recorded_on_demand_is_held_before() -> None:
    held = Route(7, 100, record="on_demand", prebuffer_s=10)
    assert decided(held).prebuffer_ms == 10_000
    assert decided(Route(7, 100, prebuffer_s=10)).prebuffer_ms == 0
    assert decided(Route(7, 100, record="never", prebuffer_s=10)).prebuffer_ms == 0
    route = entries(Route(7, 100, record="on_demand"))
    assert decide(route, OFFER, ALICE, Defaults(prebuffer_s=4)).prebuffer_ms == 4_000
    off = entries(Route(7, 100, record="on_demand", prebuffer_s=0))
    assert decide(off, OFFER, ALICE, Defaults(prebuffer_s=4)).prebuffer_ms == 0


def test_a_share_of_the_calls_is_drawn_and_drawn_again_the_same() -> None:
    route = Route(7, 100, percent=30)
    calls = [f"call-{number}@src" for number in range(4_000)]
    first = {call for call in calls if drawn(route, call, "seed")}
    assert 0.27 < len(first) / len(calls) < 0.33
    assert first == {call for call in calls if drawn(route, call, "seed")}
    assert first != {call for call in calls if drawn(route, call, "another")}
    assert not any(drawn(replace_percent(route, 0), call, "") for call in calls)
    assert all(drawn(replace_percent(route, 100), call, "") for call in calls)


def replace_percent(route: Route, percent: int) -> Route:
    return Route(route.id, route.account, percent=percent)


def test_a_call_that_is_not_drawn_can_still_be_started() -> None:
    decision = decided(Route(7, 100, percent=0, prebuffer_s=9))
    assert (decision.record, decision.prebuffer_ms) == ("on_demand", 0)
    assert decided(Route(7, 100, record="never", percent=0)).record == "never"


@pytest.mark.parametrize(
    ("text", "fits", "not_"),
    [
        ("%", ["", "x", "x\ny"], []),
        ("a%", ["a", "ab"], ["ba", ""]),
        ("%b", ["b", "ab"], ["bc"]),
        ("a%b%c", ["abc", "a1b2c", "abbcc"], ["acb", "abcd"]),
        ("a%%b", ["ab", "axb"], ["a"]),
        ("a.c", ["a.c"], ["abc"]),
        ("(a|b)[", ["(A|B)["], ["a"]),
    ],
)
def test_patterns(text: str, fits: list[str], not_: list[str]) -> None:
    assert all(pattern(text).fullmatch(each) for each in fits)
    assert not any(pattern(text).fullmatch(each) for each in not_)


def test_no_pattern_is_slow() -> None:
    """Time grows with the text, not with the ways to divide it."""
    hostile = pattern("%a" * 120 + "%b")
    began = time.process_time()
    assert not hostile.fullmatch("a" * 20_000)
    assert time.process_time() - began < 5


ANN = User("Ann@shop.example", 100, lines=["4989123"])
BOB = User("bob@shop.example", 100, lines=["0800111"])
EVE = User("eve@bank.example", 200, lines=["4989123", "0800111"])
OUTGOING = Sides("ann@shop.example", "outgoing", "4989123", "0800111")
INCOMING = Sides("bob@shop.example", "incoming", "0800111", "4989123")
NOBODY = Sides("", "", "0800111", "4989123")


@pytest.mark.parametrize(
    ("users", "seen"),
    [
        ([ANN], OUTGOING),
        ([BOB], INCOMING),
        ([ANN, BOB], OUTGOING),
        ([], NOBODY),
        ([EVE], NOBODY),
    ],
)
def test_a_call_is_of_the_user_whose_line_it_concerns(users: list[User], seen: Sides) -> None:
    accounts = [Account(1), Account(100), Account(200)]
    assert sides(Entries.of([*accounts, *users]), 100, ALICE) == seen


@pytest.mark.parametrize(
    ("settings", "users", "barred"),
    [
        ({}, [], ""),
        ({"directions": ["incoming"]}, [BOB], ""),
        ({"directions": ["incoming"]}, [ANN], "direction"),
        ({"directions": ["incoming", "outgoing"]}, [], "direction"),
        ({"traffic": ["internal"]}, [ANN, BOB], ""),
        ({"traffic": ["internal"]}, [ANN], "traffic"),
        ({"traffic": ["external"]}, [ANN, BOB], "traffic"),
        ({"traffic": ["external"]}, [ANN], ""),
        ({"traffic": ["external"]}, [], ""),
        ({"blocked": ["0800%"]}, [ANN], "remote party"),
        ({"blocked": ["0800%"]}, [BOB], ""),
        ({"blocked": ["1", "4989123"]}, [BOB], "remote party"),
        ({"directions": ["incoming"], "blocked": ["%"]}, [ANN], "direction"),
    ],
)
def test_a_route_bars_some_of_its_calls(
    settings: dict[str, Any], users: list[User], barred: str
) -> None:
    route = Route(7, 100, **settings)
    directory = Entries.of([Account(1), Account(100), route, *users])
    found = decide(directory, OFFER, ALICE, Defaults(prebuffer_s=9))
    assert (found.route, found.barred) == (7, barred)
    assert (found.record, found.prebuffer_ms) == ("never" if barred else "always", 0)


@pytest.mark.parametrize("name", ["save_by_default", "agents_may_control"])
@pytest.mark.parametrize(
    ("of_account", "of_route", "holds"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_a_route_says_otherwise_than_its_account(
    name: str, of_account: bool, of_route: bool | None, holds: bool
) -> None:
    settings: dict[str, Any] = {name: of_account}
    decision = decided(structs.replace(Route(7, 100), **{name: of_route}), **settings)
    assert getattr(decision, name) is holds
