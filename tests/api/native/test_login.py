"""Logging in and out, passwords and locks, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.native.login import FAILURES, FAILURES_PER_MINUTE, ROUTES
from storage.entries import Account, User
from storage.users import Users
from tests.api.node import Node
from tests.storage.conftest import locked
from tests.storage.people import PASSWORD, make_hashing_cheap

LOGIN = "/srs/v1/login"
NEW = "another horse battery"
PEOPLE = (
    User("pay@example.com", 100, "api"),
    User("boss@example.com", 100, "admin"),
    User("root@example.com", 1, "admin"),
    User("till@example.com", 1, "api"),
    User("ann@example.com", 100, "tenant"),
    User("ben@example.com", 200, "tenant"),
    User("chief@example.com", 200, "admin"),
)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hashing_cheap(monkeypatch)


@pytest.fixture
async def users(node: Node) -> Users:
    """Everybody of `PEOPLE`, with a password."""
    directory, users = node.services.directory, node.services.users
    for number in (100, 200):
        await directory.put(Account(number))
    for person in PEOPLE:
        await directory.put(person)
        await users.set_password(person.email, PASSWORD, datetime.now(UTC))
    return users


@pytest.fixture
async def anybody(node: Node, users: Users) -> AsyncIterator[aiohttp.ClientSession]:
    """A client without a token."""
    async with node.client(None) as session:
        yield session


def asked(email: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    return {"email": email, "password": password, **more}


async def token_of(client: aiohttp.ClientSession, email: str, password: str = PASSWORD) -> str:
    async with client.post(LOGIN, json=asked(email, password)) as response:
        assert response.status == 200, await response.text()
        return str((await response.json())["token"])


async def status_of(
    client: aiohttp.ClientSession, path: str, token: str = "", body: Any = None
) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with client.post(path, json=body, headers=headers) as response:
        return response.status


async def sees_sessions(client: aiohttp.ClientSession, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    async with client.get("/srs/v1/sessions", headers=headers) as response:
        return response.status


def forgive(node: Node) -> None:
    """The minute is over for all addresses."""
    failures = node.server.listeners["api"]._runner.app[FAILURES]
    failures._counts.clear()


async def test_a_token_is_given_for_the_password(anybody: aiohttp.ClientSession) -> None:
    began = datetime.now(UTC)
    async with anybody.post(LOGIN, json=asked("PAY@example.com")) as response:
        answer = await response.json()
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
    assert {*answer} == {"token", "expires_at", "account", "type"}
    assert (answer["account"], answer["type"]) == (100, "api")
    lifetime = datetime.fromisoformat(answer["expires_at"]) - began
    assert timedelta(hours=24) <= lifetime < timedelta(hours=24, minutes=1)
    assert await sees_sessions(anybody, answer["token"]) == 200


@pytest.mark.parametrize(("wanted", "given_s"), [(60, 60), (10**18, 86_400)])
async def test_a_token_holds_as_long_as_asked_and_not_longer_than_there_is(
    anybody: aiohttp.ClientSession, wanted: int, given_s: int
) -> None:
    async with anybody.post(LOGIN, json=asked("pay@example.com", expiration_s=wanted)) as response:
        expires_at = datetime.fromisoformat((await response.json())["expires_at"])
    assert abs(expires_at - datetime.now(UTC) - timedelta(seconds=given_s)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "pay@example.com"},
        asked(""),
        asked("pay@example.com", ""),
        asked("pay@example.com", "x" * 1001),
        asked("pay@example.com", expiration_s=0),
        asked("pay@example.com", expiration_s=-1),
        asked("pay@example.com", expiration_s="60"),
        asked("pay@example.com", type="admin"),
        asked("pay@example.com", account=1),
        {"email": ["pay@example.com"], "password": PASSWORD},
        {"email": "pay@example.com", "password": None},
    ],
)
async def test_what_is_no_login_is_a_bad_request(anybody: aiohttp.ClientSession, body: Any) -> None:
    assert await status_of(anybody, LOGIN, body=body) == 400


async def test_a_login_comes_in_the_body_only(anybody: aiohttp.ClientSession) -> None:
    async with anybody.post(LOGIN, params=asked("pay@example.com")) as response:
        assert response.status == 400
    async with anybody.get(LOGIN, params=asked("pay@example.com")) as response:
        assert response.status == 405


async def test_all_refusals_are_one(
    node: Node, anybody: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, verified, verify = node.services.directory, list[str](), PasswordHasher.verify

    def count(self: PasswordHasher, known: str, password: bytes) -> bool:
        verified.append(known)
        return verify(self, known, password)

    await directory.put(replace(PEOPLE[5], enabled=False))
    await directory.put(User("passwordless@example.com", 100))
    for _ in range(10):
        await status_of(anybody, LOGIN, body=asked("ann@example.com", "wrong"))
    monkeypatch.setattr(PasswordHasher, "verify", count)
    answers = set()
    for email in (
        "pay@example.com",  # known
        "ann@example.com",  # locked
        "ben@example.com",  # disabled
        "passwordless@example.com",
        "nobody@example.com",
        "p\u0430y@example.com",
    ):
        verified.clear()
        async with anybody.post(LOGIN, json=asked(email, "wrong")) as response:
            headers = tuple(sorted((k, v) for k, v in response.headers.items() if k != "Date"))
            answers.add((response.status, headers, await response.text()))
        assert len(verified) == 1, email
    ((status, headers, text),) = answers
    assert status == 401 and "wrong e-mail address or password" in text
    assert dict(headers)["WWW-Authenticate"] == 'Bearer realm="siprecd"'


async def test_only_who_knows_an_expired_password_is_told_that_it_is(
    node: Node, users: Users, anybody: aiohttp.ClientSession
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=91)
    await users.set_password("pay@example.com", PASSWORD, long_ago)
    async with anybody.post(LOGIN, json=asked("pay@example.com")) as response:
        assert response.status == 403
        assert (await response.json())["detail"] == "password expired"
    assert await status_of(anybody, LOGIN, body=asked("pay@example.com", "wrong")) == 401


async def test_logging_out_ends_that_token(node: Node, anybody: aiohttp.ClientSession) -> None:
    first, second = [await token_of(anybody, "pay@example.com") for _ in range(2)]
    assert await status_of(anybody, "/srs/v1/logout", first) == 204
    assert await sees_sessions(anybody, first) == 401
    assert await sees_sessions(anybody, second) == 200
    assert await status_of(anybody, "/srs/v1/logout", first) == 401
    assert await status_of(anybody, "/srs/v1/logout", node.keys["control"]) == 204
    assert await sees_sessions(anybody, node.keys["control"]) == 200


async def test_guessing_from_one_address_is_cut_off_and_harms_nobody_else(
    node: Node, anybody: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified, verify = list[str](), PasswordHasher.verify

    def count(self: PasswordHasher, known: str, password: bytes) -> bool:
        verified.append(known)
        return verify(self, known, password)

    await node.engine.start()
    live = await node.call()
    token = await token_of(anybody, "till@example.com")
    monkeypatch.setattr(PasswordHasher, "verify", count)
    gate = asyncio.Semaphore(50)

    async def guess(number: int) -> int:
        async with gate:
            return await status_of(anybody, LOGIN, body=asked("pay@example.com", f"no {number}"))

    seen = await asyncio.gather(*map(guess, range(2000)))
    assert {*seen} == {401, 429}
    assert seen.count(401) == len(verified) <= FAILURES_PER_MINUTE
    async with anybody.post(LOGIN, json=asked("pay@example.com")) as response:
        assert response.status == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 61
    for each in (token, node.keys["control"]):
        assert await sees_sessions(anybody, each) == 200
        assert await status_of(anybody, f"/srs/v1/sessions/{live.id}/mark", each, {}) == 200
    forgive(node)
    assert await status_of(anybody, LOGIN, body=asked("root@example.com")) == 200
    assert await status_of(anybody, LOGIN, body=asked("pay@example.com")) == 401  # locked


@pytest.mark.slow
async def test_ten_thousand_guesses(node: Node, anybody: aiohttp.ClientSession) -> None:
    token = await token_of(anybody, "pay@example.com")
    for _ in range(10_000):
        assert await status_of(anybody, LOGIN, body=asked("pay@example.com", "no")) in {401, 429}
    assert await sees_sessions(anybody, token) == 200


async def test_logins_that_succeed_are_not_counted(anybody: aiohttp.ClientSession) -> None:
    for _ in range(FAILURES_PER_MINUTE + 5):
        assert await status_of(anybody, LOGIN, body=asked("pay@example.com")) == 200


async def test_a_locked_user_pauses_with_the_token_there_is(
    node: Node, anybody: aiohttp.ClientSession
) -> None:
    await node.engine.start()
    live = await node.call()
    token = await token_of(anybody, "till@example.com")
    for _ in range(10):
        assert await status_of(anybody, LOGIN, body=asked("till@example.com", "no")) == 401
    assert await status_of(anybody, LOGIN, body=asked("till@example.com")) == 401
    pause = f"/srs/v1/sessions/{live.id}/pause"
    assert await node.services.writer.drain(10), "nobody writes who could not go on"
    with locked(node.folder / "siprecd.db"):
        assert await status_of(anybody, pause, token, {}) == 200
    assert node.services.recorder.find(live.id).state == "paused"
    resume = f"/srs/v1/sessions/{live.id}/resume"
    assert await status_of(anybody, resume, node.keys["control"], {}) == 200


async def test_a_locked_database_keeps_nobody_from_logging_in_and_out(
    node: Node, anybody: aiohttp.ClientSession
) -> None:
    with locked(node.folder / "siprecd.db"):
        token = await token_of(anybody, "pay@example.com")
        assert await sees_sessions(anybody, token) == 200
        assert await status_of(anybody, LOGIN, body=asked("pay@example.com", "no")) == 401
        assert await status_of(anybody, "/srs/v1/logout", token) == 204
        assert await sees_sessions(anybody, token) == 401


async def test_too_many_at_once_are_asked_to_come_back(
    node: Node, anybody: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.passwords.WAITING", -2)
    async with anybody.post(LOGIN, json=asked("pay@example.com")) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "1")


# passwords and locks of others


def password_of(email: str) -> str:
    return f"/srs/v1/directory/users/{email}/password"


async def test_users_change_their_own_password_with_the_old_one(
    anybody: aiohttp.ClientSession,
) -> None:
    token = await token_of(anybody, "ann@example.com")
    path = password_of("Ann@example.com")
    for wrong in ({"password": NEW}, {"password": NEW, "old_password": PASSWORD + "!"}):
        assert await status_of(anybody, path, token, wrong) in {401, 403}
    assert await sees_sessions(anybody, token) in {200, 403}
    body = {"password": NEW, "old_password": PASSWORD}
    assert await status_of(anybody, path, token, body) == 204
    assert await sees_sessions(anybody, token) == 401
    assert await status_of(anybody, LOGIN, body=asked("ann@example.com")) == 401
    assert await token_of(anybody, "ann@example.com", NEW)


async def test_weak_passwords_are_refused_with_the_reason(anybody: aiohttp.ClientSession) -> None:
    headers = {"Authorization": f"Bearer {await token_of(anybody, 'boss@example.com')}"}
    path = password_of("ann@example.com")
    for weak, words in (("short", "at least 12"), ("ann@example.com", "e-mail")):
        async with anybody.post(path, json={"password": weak}, headers=headers) as response:
            assert response.status == 400
            assert words in (await response.json())["detail"]
    assert await token_of(anybody, "ann@example.com")


@pytest.mark.parametrize(
    ("who", "whose", "status"),
    [
        ("boss@example.com", "ann@example.com", 204),
        ("boss@example.com", "boss@example.com", 204),
        ("boss@example.com", "ben@example.com", 404),
        ("boss@example.com", "root@example.com", 404),
        ("boss@example.com", "nobody@example.com", 404),
        ("root@example.com", "ben@example.com", 204),
        ("root@example.com", "nobody@example.com", 404),
        ("ann@example.com", "pay@example.com", 403),
        ("ann@example.com", "nobody@example.com", 403),
        ("pay@example.com", "ben@example.com", 403),
    ],
)
async def test_administrators_set_passwords_and_unlock_within_their_account(
    anybody: aiohttp.ClientSession, who: str, whose: str, status: int
) -> None:
    token = await token_of(anybody, who)
    assert await status_of(anybody, f"/srs/v1/directory/users/{whose}/unlock", token) == status
    assert await status_of(anybody, password_of(whose), token, {"password": NEW}) == status
    with_old = {"password": NEW, "old_password": PASSWORD}
    if status != 204:
        assert await status_of(anybody, password_of(whose), token, with_old) == status
        if whose != "nobody@example.com":
            assert await token_of(anybody, whose)


async def test_unlocking_lets_a_user_in_again(node: Node, anybody: aiohttp.ClientSession) -> None:
    for _ in range(10):
        await status_of(anybody, LOGIN, body=asked("ann@example.com", "no"))
    assert await status_of(anybody, LOGIN, body=asked("ann@example.com")) == 401
    path = "/srs/v1/directory/users/ann@example.com/unlock"
    assert await status_of(anybody, path, node.keys["admin"]) == 204
    assert await token_of(anybody, "ann@example.com")


async def test_a_password_cannot_be_guessed_by_changing_it(
    node: Node, anybody: aiohttp.ClientSession
) -> None:
    token = await token_of(anybody, "ann@example.com")
    path = password_of("ann@example.com")
    seen = [
        await status_of(anybody, path, token, {"password": NEW, "old_password": f"no {number}"})
        for number in range(FAILURES_PER_MINUTE + 1)
    ]
    assert seen == [401] * FAILURES_PER_MINUTE + [429]
    forgive(node)
    body = {"password": NEW, "old_password": PASSWORD}
    assert await status_of(anybody, path, token, body) == 401  # locked by now


@pytest.mark.parametrize("more", [{"account": 1}, {"type": "admin"}, {"permissions": []}])
async def test_a_password_comes_with_nothing_else(
    anybody: aiohttp.ClientSession, more: dict[str, Any]
) -> None:
    token = await token_of(anybody, "boss@example.com")
    body = {"password": NEW, **more}
    assert await status_of(anybody, password_of("ann@example.com"), token, body) == 400


async def test_nobody_without_a_token_gets_near_a_password(anybody: aiohttp.ClientSession) -> None:
    for route in ROUTES[1:]:
        path = route.path.format(email="ann@example.com")
        assert await status_of(anybody, path, body={"password": NEW}) == 401


async def test_neither_passwords_nor_tokens_are_logged(
    node: Node, anybody: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    token = await token_of(anybody, "pay@example.com")
    await status_of(anybody, LOGIN, body=asked("pay@example.com", "nearly the password"))
    body = {"password": NEW, "old_password": PASSWORD}
    assert await status_of(anybody, password_of("pay@example.com"), token, body) == 204
    output = "".join(capsys.readouterr())
    assert LOGIN in output
    for secret in (token, PASSWORD, NEW, "nearly the password"):
        assert secret not in output


@settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=st.binary(max_size=200) | st.text().map(lambda text: f'{{"email":"{text}"}}'.encode()))
async def test_any_body_is_answered(node: Node, users: Users, body: bytes) -> None:
    async with node.client(None) as client:
        headers = {"Content-Type": "application/json"}
        async with client.post(LOGIN, data=body, headers=headers) as response:
            assert response.status == 400
