"""Keys, tokens, roles, permissions and refusals."""

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.auth import FAILURES_PER_MINUTE, Authenticator, Failures, actor_of, bearer
from api.problem import ApiError
from config.schema import Users as Rules
from siprec.session import RIGHTS, Actor
from storage.database import Database
from storage.directory import Directory
from storage.entries import SYSTEM_ACCOUNT, Account, Route, User
from storage.keys import ApiKeys
from storage.users import LoginRefused, Users
from tests.api.node import ROLES, Node
from tests.api.routes import ALL_ROUTES
from tests.storage.conftest import locked
from tests.storage.people import PASSWORD, make_hashing_cheap

RANK = {"control": 1, "operator": 2, "admin": 3}
KEY_RIGHTS = {
    "control": {"control"},
    "operator": {"control", "playback", "download", "edit"},
    "admin": {"control", "playback", "download", "edit", "delete", "video"},
}
EMAIL = "ann@example.com"
NOW = datetime.now(UTC)


class Clock:
    """A time that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hashing_cheap(monkeypatch)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/keys.db")
    yield database
    await database.close()


@pytest.fixture
async def keys(database: Database) -> ApiKeys:
    return ApiKeys(database)


@pytest.fixture
async def directory(database: Database) -> Directory:
    directory = Directory(database)
    await directory.put(Account(100))
    await directory.put(Route(7, 100))
    return directory


@pytest.fixture
def users(database: Database, directory: Directory) -> Users:
    return Users(database, directory, Rules())


@pytest.fixture
def authenticator(keys: ApiKeys, users: Users) -> Authenticator:
    return Authenticator(keys, users)


async def _refused(authenticator: Authenticator, token: str | None, remote: str = "a") -> ApiError:
    with pytest.raises(ApiError) as caught:
        await authenticator.admit(token, remote, "control")
    return caught.value


async def _token(users: Users, directory: Directory, user: User) -> str:
    await directory.put(user)
    await users.set_password(user.email, PASSWORD, NOW)
    return (await users.login(user.email, PASSWORD, None, NOW)).text


@pytest.mark.parametrize("held", ROLES)
@pytest.mark.parametrize("needed", ROLES)
async def test_a_role_may_do_what_a_lesser_one_may(
    keys: ApiKeys, authenticator: Authenticator, held: str, needed: str
) -> None:
    token = await keys.add("desk", held, 100)
    if RANK[held] >= RANK[needed]:
        expected = Actor("desk", held, 100, frozenset(KEY_RIGHTS[held]))
        assert await authenticator.admit(token, "a", needed) == expected
    else:
        with pytest.raises(ApiError) as caught:
            await authenticator.admit(token, "a", needed)
        assert caught.value.status == 403


@pytest.mark.parametrize("held", ROLES)
@pytest.mark.parametrize("right", sorted(RIGHTS))
async def test_a_key_has_the_rights_of_its_role(
    keys: ApiKeys, authenticator: Authenticator, held: str, right: str
) -> None:
    token = await keys.add("desk", held)
    if right in KEY_RIGHTS[held]:
        assert await authenticator.admit(token, "a", "control", right)
    else:
        with pytest.raises(ApiError, match=f"permission {right}") as caught:
            await authenticator.admit(token, "a", "control", right)
        assert caught.value.status == 403


@pytest.mark.parametrize(
    ("user", "role", "rights"),
    [
        (User(EMAIL, 100, "admin"), "admin", RIGHTS),
        (User(EMAIL, 100, "api"), "operator", RIGHTS - {"delete"}),
        (User(EMAIL, 100), "operator", {"playback", "download"}),
        (User(EMAIL, 100, "admin", permissions=[]), "admin", set()),
        (User(EMAIL, 100, "api", permissions=["delete"]), "operator", {"delete"}),
        (User(EMAIL, 100, "tenant", permissions=["control"]), "operator", {"control"}),
    ],
)
async def test_a_user_is_the_actor_the_directory_describes(
    users: Users,
    directory: Directory,
    authenticator: Authenticator,
    user: User,
    role: str,
    rights: set[str],
) -> None:
    user = replace(user, routes=[7])
    token = await _token(users, directory, user)
    actor = await authenticator.admit(token, "a", "operator")
    assert actor == actor_of(user) == Actor(EMAIL, role, 100, frozenset(rights), frozenset({7}))
    for right in RIGHTS - rights:
        with pytest.raises(ApiError) as caught:
            await authenticator.admit(token, "a", "control", right)
        assert caught.value.status == 403


async def test_only_users_of_type_admin_administer(
    users: Users, directory: Directory, authenticator: Authenticator
) -> None:
    for kind, may in (("admin", True), ("api", False), ("tenant", False)):
        user = User(EMAIL, 100, kind, permissions=["control"])  # type: ignore[arg-type]
        token = await _token(users, directory, user)
        if may:
            assert await authenticator.admit(token, "a", "admin")
        else:
            with pytest.raises(ApiError) as caught:
                await authenticator.admit(token, "a", "admin")
            assert caught.value.status == 403


async def test_a_change_of_the_directory_holds_for_tokens_at_once(
    users: Users, directory: Directory, authenticator: Authenticator
) -> None:
    user = User(EMAIL, 100, "api")
    token = await _token(users, directory, user)
    await directory.put(replace(user, account=1, permissions=["playback"]))
    actor = await authenticator.admit(token, "a", "control")
    assert (actor.account, actor.rights) == (1, frozenset({"playback"}))
    await directory.put(replace(user, enabled=False))
    assert (await _refused(authenticator, token)).status == 401


async def test_a_lock_stops_neither_tokens_nor_keys(
    keys: ApiKeys, users: Users, directory: Directory, authenticator: Authenticator
) -> None:
    key = await keys.add("desk", "control")
    token = await _token(users, directory, User(EMAIL, 100, "api"))
    for _ in range(10):
        with pytest.raises(LoginRefused):
            await users.login(EMAIL, "wrong", None, NOW)
    with pytest.raises(LoginRefused):
        await users.login(EMAIL, PASSWORD, None, NOW)
    for each in (key, token):
        assert await authenticator.admit(each, "a", "control", "control")


async def test_tokens_and_keys_need_no_database(
    keys: ApiKeys, users: Users, directory: Directory, database: Database, tmp_path: Path
) -> None:
    key = await keys.add("desk", "control")
    token = await _token(users, directory, User(EMAIL, 100, "api"))
    with locked(tmp_path / "keys.db"):
        authenticator = Authenticator(keys, users, Clock())
        began = time.monotonic()
        for each in (key, token):
            assert await authenticator.admit(each, "a", "control", "control")
        assert authenticator._refreshed_at < 0, "the database was asked"
        assert time.monotonic() >= began


async def test_guessing_is_refused_cheaply_and_harms_nobody_else(
    keys: ApiKeys, users: Users, directory: Directory
) -> None:
    authenticator = Authenticator(keys, users, Clock())
    key = await keys.add("desk", "control")
    token = await _token(users, directory, User(EMAIL, 100, "api"))
    seen = [(await _refused(authenticator, str(uuid4()))).status for _ in range(10_000)]
    assert seen == [401] * FAILURES_PER_MINUTE + [429] * (10_000 - FAILURES_PER_MINUTE)
    for each in (key, token):
        assert await authenticator.admit(each, "a", "control", "control")


async def test_a_missing_and_an_unknown_key_are_told_apart(authenticator: Authenticator) -> None:
    missing, unknown = await _refused(authenticator, None), await _refused(authenticator, "srs_no")
    assert missing.status == unknown.status == 401
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="siprecd"'
    assert 'error="invalid_token"' in unknown.headers["WWW-Authenticate"]
    assert "srs_no" not in str(unknown)


async def test_a_key_added_by_another_process_is_found(
    authenticator: Authenticator, tmp_path: Path
) -> None:
    other = Database(f"sqlite:///{tmp_path}/keys.db")
    token = await ApiKeys(other).add("late", "control")
    await other.close()
    assert (await authenticator.admit(token, "a", "control")).name == "late"


async def test_new_keys_are_looked_for_at_most_once_a_second(
    keys: ApiKeys, users: Users, tmp_path: Path
) -> None:
    clock = Clock()
    authenticator = Authenticator(keys, users, clock)
    await _refused(authenticator, "unknown")
    other = Database(f"sqlite:///{tmp_path}/keys.db")
    token = await ApiKeys(other).add("late", "control")
    await other.close()
    assert (await _refused(authenticator, token)).status == 401
    clock.now += 1.0
    assert (await authenticator.admit(token, "a", "control")).name == "late"


async def test_a_known_key_needs_no_database(
    keys: ApiKeys, authenticator: Authenticator, tmp_path: Path
) -> None:
    token = await keys.add("desk", "control")
    (tmp_path / "keys.db").unlink()
    assert (await authenticator.admit(token, "a", "control")).name == "desk"


async def test_too_many_refusals_are_429_for_that_address_and_minute(
    keys: ApiKeys, users: Users
) -> None:
    clock = Clock()
    authenticator = Authenticator(keys, users, clock)
    token = await keys.add("desk", "control")
    guesses = [f"no {number}" for number in range(FAILURES_PER_MINUTE + 1)]
    seen = [(await _refused(authenticator, guess)).status for guess in guesses]
    assert seen == [401] * FAILURES_PER_MINUTE + [429]
    assert (await _refused(authenticator, "no")).headers["Retry-After"] == "61"
    assert (await _refused(authenticator, "no", "b")).status == 401
    assert await authenticator.admit(token, "a", "control")
    clock.now += 60
    assert (await _refused(authenticator, "no")).status == 401


async def test_asking_again_and_asking_without_a_token_are_no_guesses(
    authenticator: Authenticator,
) -> None:
    for token in (None, "ended", None, "ended elsewhere") * FAILURES_PER_MINUTE:
        assert (await _refused(authenticator, token)).status == 401
    guesses = [str(uuid4()) for _ in range(FAILURES_PER_MINUTE)]
    seen = [(await _refused(authenticator, guess)).status for guess in guesses]
    assert seen == [401] * (FAILURES_PER_MINUTE - 2) + [429] * 2
    assert (await _refused(authenticator, "ended")).status == 429
    assert (await _refused(authenticator, None)).status == 401


def test_a_guess_counts_again_in_the_next_minute_and_from_elsewhere() -> None:
    clock = Clock()
    failures = Failures(1, clock)
    assert [failures.add("a", guess) for guess in ("x", "x", "y")] == [0, 0, 61]
    assert [failures.add("b", guess) for guess in ("x", "y")] == [0, 61]
    clock.now += 60
    assert [failures.add("a", guess) for guess in ("x", "y")] == [0, 61]


def test_remembered_guesses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth._GUESSES", 10)
    failures = Failures(1000, Clock())
    for number in range(100):
        failures.add("a", str(number))
        assert len(failures._guesses) <= 10
    few = Failures(3, Clock())
    for number in range(100):
        few.add("a", str(number))
    assert len(few._guesses) == 4


def test_remembered_addresses_are_bounded() -> None:
    failures = Failures(1, Clock())
    for number in range(10_001):
        failures.add(str(number))
    assert len(failures._counts) <= 10_000


def test_a_failure_taken_back_is_none() -> None:
    failures = Failures(1, Clock())
    for _ in range(5):
        assert failures.add("a") == 0
        failures.take_back("a")
    failures.take_back("a")
    failures.take_back("b")
    assert failures.add("a") == 0 and failures.add("a") == 61


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "somewhere", False),
    ],
)
def test_what_shares_a_count(one: str, other: str, same: bool) -> None:
    failures = Failures(1, Clock())
    failures.add(one)
    assert (failures.add(other) > 0) == same


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        (["Bearer abc"], "abc"),
        (["bearer  abc "], "abc"),
        (["Basic abc"], None),
        (["Bearer"], None),
        (["Bearer "], None),
        ([], None),
        (["Bearer a", "Bearer b"], None),
    ],
)
def test_bearer(headers: list[str], token: str | None) -> None:
    assert bearer(headers) == token


@settings(deadline=None)
@given(st.lists(st.text(), max_size=3))
def test_bearer_reads_anything(headers: list[str]) -> None:
    token = bearer(headers)
    assert token is None or token == token.strip() != ""


PEOPLE = {
    "admin": User("admin@example.com", 1, "admin"),
    "api": User("api@example.com", 1, "api"),
    "tenant": User("tenant@example.com", 1, "tenant"),
    "helpless": User("helpless@example.com", 1, "admin", permissions=[]),
    "elsewhere": User("elsewhere@example.com", 100, "admin"),
}
NEEDED = {
    "POST /srs/v1/sessions/{session_id}/{action}": {"control"},
    "POST /srs/v1/events/raise": {"control"},
    "GET /srs/v1/playback": {"playback"},
    "GET /srs/v1/playback/audio": {"playback"},
    "GET /srs/v1/recordings/{recording_id}/media": {"playback", "download"},
    "GET /srs/v1/recordings/{recording_id}/peaks": {"playback", "download"},
    "POST /srs/v1/recordings/{recording_id}": {"edit"},
    "DELETE /srs/v1/recordings/{recording_id}": {"delete"},
}
"""Permissions one of which a route needs; those not named here need none."""
SYSTEM_ONLY = {"GET /srs/v1/platforms", "GET /metrics"}
"""What is for the System account."""
UNTOUCHED = {200, 204, 400, 404, 405, 409, 415, 426}
"""What a request that is let in and finds nothing may be answered."""


@pytest.fixture
async def admitted(node: Node) -> dict[str, Actor]:
    """Token -> actor, for a key of every role and a user of every kind."""
    directory, users = node.services.directory, node.services.users
    await directory.put(Account(100))
    tokens = {node.keys[role]: Actor(role, role, 1, frozenset(KEY_RIGHTS[role])) for role in ROLES}
    for person in PEOPLE.values():
        await directory.put(person)
        await users.set_password(person.email, PASSWORD, NOW)
        token = await users.login(person.email, PASSWORD, None, datetime.now(UTC))
        tokens[token.text] = actor_of(person)
    return tokens


async def test_every_route_by_everybody(node: Node, admitted: dict[str, Actor]) -> None:
    """Exactly those are let in who have its role and its permission."""
    strangers = ("", "srs_" + "x" * 43, str(uuid4()))
    async with node.client(None) as client:
        for route in sorted(ALL_ROUTES, key=lambda route: route.path.endswith("/logout")):
            for token in (*strangers, *admitted):
                actor = admitted.get(token)
                status = await _status(client, route, token)
                assert status in _expected(route, actor), (route.method, route.path, actor)


async def _status(client: aiohttp.ClientSession, route: Any, token: str) -> int:
    path = re.sub(
        r"{(\w+)}", lambda name: "pause" if name[1] == "action" else "nothing", route.path
    )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with client.request(route.method, path, headers=headers) as response:
        return response.status


def _expected(route: Any, actor: Actor | None) -> set[int]:
    if route.role is None:
        return UNTOUCHED
    if actor is None:
        return {401, 429}
    needed = NEEDED.get(f"{route.method} {route.path}", actor.rights)
    may = RANK[actor.role] >= RANK[route.role] and (not needed or needed & actor.rights)
    if f"{route.method} {route.path}" in SYSTEM_ONLY:
        may = may and actor.account == SYSTEM_ACCOUNT
    return UNTOUCHED if may else {403}


async def test_a_key_in_the_query_is_for_the_events_only(node: Node) -> None:
    async with node.client(None) as client:
        for path in ("/srs/v1/sessions", "/srs/v1/recordings/r/media"):
            async with client.get(path, params={"access_token": node.keys["admin"]}) as response:
                assert response.status == 401
        events = client.ws_connect("/srs/v1/events", params={"access_token": node.keys["control"]})
        async with events as socket:
            assert not socket.closed
