"""Tokens in memory, and what the database is to be told of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from storage.tokens import LIVE, Held, Tokens, digest_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HELD = Held("ann@example.com", "api", "hash", NOW, NOW + timedelta(hours=1), 3600.0)


def given_away(*names: str) -> Tokens:
    tokens = Tokens()
    for second, name in enumerate(names):
        tokens.give(name, replace(HELD, created_at=NOW + timedelta(seconds=second)))
    return tokens


def test_a_token_is_found_by_its_exact_text() -> None:
    tokens = given_away("token")
    assert tokens.find("token") == HELD
    for wrong in ("", "toke", "Token", "token ", " token", "token\n", "ｔoken", "api token"):
        assert tokens.find(wrong) is None


def test_only_a_digest_is_held() -> None:
    assert "token" not in repr(vars(given_away("token")))


def test_the_type_it_was_given_for_comes_from_the_token_itself() -> None:
    tokens = Tokens()
    tokens.take({digest_of("token", "tenant"): replace(HELD, type="admin")})
    found = tokens.find("token")
    assert found is not None and found.type == "tenant"


def test_the_database_is_told_of_what_is_given_and_ended() -> None:
    tokens = given_away("a", "b")
    digests = {name: digest_of(name, "api") for name in "ab"}
    first = tokens.untold()
    assert {*first.given} == {*digests.values()} and not first.ended
    tokens.told(first)
    assert not tokens.untold()
    tokens.end("a")
    assert not tokens.untold().given
    assert tokens.untold().ended == {digests["a"]}


def test_what_ends_while_the_database_hears_of_it_ends_there_too() -> None:
    tokens = given_away("a")
    hearing = tokens.untold()
    tokens.end("a")
    tokens.told(hearing)
    assert tokens.untold().ended == {digest_of("a", "api")}


def test_what_has_ended_is_not_taken_back_from_the_database() -> None:
    tokens = given_away("a")
    stored = dict(tokens.untold().given)
    tokens.told(tokens.untold())
    tokens.end("a")
    tokens.take(stored)
    assert tokens.find("a") is None


def test_what_the_database_does_not_have_is_gone_unless_it_was_not_told() -> None:
    tokens = given_away("old")
    tokens.told(tokens.untold())
    tokens.give("new", HELD)
    tokens.take({})
    assert tokens.find("old") is None and tokens.find("new") is not None


def test_ending_what_is_none_tells_nobody() -> None:
    tokens = given_away()
    tokens.end("nobody's")
    assert not tokens.untold()


def test_one_more_than_a_user_may_hold_ends_the_oldest() -> None:
    tokens = given_away(*(f"token {number}" for number in range(LIVE)))
    tokens.give("another's", replace(HELD, email="bob@example.com"))
    assert tokens.find("token 0") is not None
    tokens.give("one more", replace(HELD, created_at=NOW + timedelta(hours=1)))
    assert tokens.find("token 0") is None
    assert all(tokens.find(name) for name in ("token 1", "another's", "one more"))
    assert digest_of("token 0", "api") in tokens.untold().ended


def test_dropping_is_for_one_user_and_tells_nobody() -> None:
    tokens = given_away("a")
    tokens.give("b", replace(HELD, email="bob@example.com"))
    tokens.drop(HELD.email)
    assert tokens.find("a") is None
    assert {*tokens.untold().given} == {digest_of("b", "api")} and not tokens.untold().ended


def test_sweeping_ends_what_no_longer_holds() -> None:
    tokens = given_away("a", "b")
    tokens.sweep(lambda held: held.created_at > NOW)
    assert tokens.find("a") is None and tokens.find("b") is not None
    assert tokens.untold().ended == {digest_of("a", "api")}


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_looked_for(text: str) -> None:
    tokens = given_away("token")
    assert tokens.find(text) is None or text == "token"
    tokens.end(text)
