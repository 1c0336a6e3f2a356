"""Who hears of which calls: names of UCCs, rights, and which events are changes of state."""

from dataclasses import replace

import pytest

from api.anywherenow.subscriptions import Change, Names, Subscriptions, state_action
from api.anywherenow.wire import Refusal
from siprec.session import Actor
from storage.directory import INITIAL, Entries
from storage.entries import Account, Entry, Route
from tests.api.anywherenow.listening import CORRELATION, event

DIRECTORY: tuple[Entry, ...] = (
    Account(100, "Shop"),
    Account(200, "Bank"),
    Account(300),
    Route(10, 100, "Sales"),
    Route(11, 100),
    Route(20, 200, "Shop"),
    Route(30, 300, "Nameless"),
)
ALL = Actor("all")


class Books:
    """A directory that changes."""

    def __init__(self) -> None:
        self.put(*DIRECTORY)

    def put(self, *entries: Entry) -> None:
        self.entries = Entries.of([*INITIAL, *entries])


@pytest.fixture
def books() -> Books:
    return Books()


def subscribed(books: Books, *names: str, actor: Actor = ALL) -> Subscriptions:
    found = Subscriptions(actor, Names(lambda: books.entries))
    for name in names:
        found.add(name)
    return found


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("recording.started", 1),
        ("recording.resumed", 1),
        ("recording.stopped", 2),
        ("recording.paused", 3),
        ("recording.saved", 4),
        ("recording.discarded", 5),
        ("recording.marked", 6),
        ("recording.unmarked", 7),
        ("session.ended", 2),
        ("session.started", None),
        ("session.updated", None),
        ("recording.changed", None),
        ("recording.complete", None),
        ("recording.failed", None),
        ("recording.deleted", None),
    ],
)
def test_which_events_are_changes_of_state(kind: str, action: int | None) -> None:
    assert state_action(event(kind)) == action


def test_a_split_and_the_end_of_what_was_not_recorded_are_none() -> None:
    assert state_action(replace(event("recording.started"), is_split=True)) is None
    assert state_action(replace(event("session.ended"), recording_id="")) is None


def test_nothing_is_heard_before_a_subscription_and_after_its_end(books: Books) -> None:
    subscriptions = subscribed(books)
    assert subscriptions.change(event()) is None
    subscriptions.add("SHOP")
    assert subscriptions.change(event()) == Change("Shop", CORRELATION, 3)
    subscriptions.remove("shop")
    assert subscriptions.change(event()) is None
    assert subscriptions.wanted == frozenset()


@pytest.mark.parametrize(
    ("names", "account", "route", "heard"),
    [
        (("Shop",), 100, 10, "Shop"),
        (("Sales",), 100, 10, "Sales"),
        (("Sales", "Shop"), 100, 10, "Shop"),
        (("Sales",), 100, 11, None),
        (("Bank",), 100, 10, None),
        (("Shop",), 200, 20, None),
        (("Bank",), 200, 20, "Bank"),
        (("Nameless",), 300, 30, "Nameless"),
        (("Shop",), 999, 10, None),
    ],
)
def test_by_which_name_a_call_is_heard_of(
    books: Books, names: tuple[str, ...], account: int, route: int, heard: str | None
) -> None:
    change = subscribed(books, *names).change(event("recording.marked", account, route))
    assert (change.ucc_name if change else None) == heard


@pytest.mark.parametrize(
    ("actor", "name", "may"),
    [
        (Actor("a", "operator", 100), "Shop", True),
        (Actor("a", "operator", 200), "Shop", False),
        (Actor("a", "operator", 100, routes=frozenset({10})), "Sales", True),
        (Actor("a", "operator", 100, routes=frozenset({11})), "Sales", False),
        (Actor("a", "operator", 100, routes=frozenset({11})), "Shop", True),
        (ALL, "nothing", False),
        (ALL, "", False),
    ],
)
def test_what_is_not_for_the_actor_does_not_exist(
    books: Books, actor: Actor, name: str, may: bool
) -> None:
    subscriptions = subscribed(books, actor=actor)
    if may:
        subscriptions.add(name)
        return
    with pytest.raises(Refusal) as caught:
        subscriptions.add(name)
    assert caught.value.message.text == f"UCC with name:'{name}' was not found."


def test_an_actor_of_some_routes_hears_of_these_only(books: Books) -> None:
    actor = Actor("a", "operator", 100, routes=frozenset({10}))
    subscriptions = subscribed(books, "Shop", actor=actor)
    assert subscriptions.change(event(route=10)) is not None
    assert subscriptions.change(event(route=11)) is None


def test_who_hears_the_same_is_of_one_group(books: Books) -> None:
    one, same = subscribed(books, "Shop", "Bank"), subscribed(books, "bank", "shop")
    other = subscribed(books, "Shop", actor=Actor("a", "operator", 100))
    assert one.group == same.group
    assert len({one.group, other.group, subscribed(books, "Shop").group}) == 3


def test_a_change_of_the_directory_holds_at_once(books: Books) -> None:
    subscriptions = subscribed(books, "Shop")
    assert subscriptions.change(event())
    books.put(Account(100, "Store"), Route(10, 100, "Sales"))
    assert subscriptions.change(event()) is None
    subscriptions.add("Store")
    assert subscriptions.change(event()) == Change("Store", CORRELATION, 3)


def test_what_is_restored_is_looked_at(books: Books) -> None:
    subscriptions = subscribed(books, actor=Actor("a", "operator", 100))
    subscriptions.restore(["shop", "bank", "nothing"])
    assert subscriptions.wanted == {"shop"}


def test_a_name_in_an_answer_is_not_as_long_as_it_came(books: Books) -> None:
    with pytest.raises(Refusal) as caught:
        subscribed(books, "x" * 30_000)
    assert len(caught.value.message.text) < 300
