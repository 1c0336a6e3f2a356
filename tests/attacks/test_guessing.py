"""Guessing passwords and tokens, and using tokens that have ended."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession, TCPConnector
from msgspec.structs import replace

from api.auth import FAILURES_PER_MINUTE
from storage.entries import Account, User
from storage.users import Users
from tests.api.node import Node
from tests.attacks.lists import passwords_near, tokens_alike, tokens_near
from tests.storage.people import PASSWORD

LOGIN = "/srs/v1/login"
ANN = User("ann@example.com", 100, "admin")
EVE = User("eve@example.com", 100, "api")
Answer = tuple[int, str, str]


@pytest.fixture
async def users(node: Node) -> Users:
    """Two users with passwords."""
    await node.services.directory.put(Account(100))
    for person in (ANN, EVE):
        await node.services.directory.put(person)
        await node.services.users.set_password(person.email, PASSWORD, datetime.now(UTC))
    return node.services.users


@pytest.fixture
async def anybody(node: Node, users: Users) -> AsyncIterator[ClientSession]:
    """A client without a token."""
    async with node.client(None) as client:
        yield client


async def login(client: ClientSession, email: str, password: str) -> Answer:
    async with client.post(LOGIN, json={"email": email, "password": password}) as response:
        challenge = response.headers.get("WWW-Authenticate", "")
        return response.status, challenge, await response.text()


async def status_with(client: ClientSession, path: str, **headers: str) -> int:
    async with client.get(f"/srs/v1/{path}", headers=headers) as response:
        await response.read()
        return response.status


async def status_of(client: ClientSession, token: str, path: str = "sessions") -> int:
    return await status_with(client, path, Authorization=f"Bearer {token}")


async def token_for(
    users: Users, person: User, lifetime_s: int | None = None, ago_s: int = 0
) -> str:
    now = datetime.now(UTC) - timedelta(seconds=ago_s)
    return (await users.login(person.email, PASSWORD, lifetime_s, now)).text


# passwords


async def test_what_resembles_a_password_is_not_it_and_ten_guesses_lock(
    anybody: ClientSession,
) -> None:
    """Who exists and who does not get the same answers, the one after the lock included."""
    guesses = (*passwords_near(PASSWORD), "the tenth")
    assert len(guesses) == 10
    known = [await login(anybody, ANN.email, guess) for guess in (*guesses, PASSWORD)]
    unknown = [await login(anybody, "nobody@example.com", guess) for guess in guesses[:8]]
    assert {*known} == {*unknown} and len({*known}) == 1
    assert known[0][0] == 401
    assert (await login(anybody, EVE.email, PASSWORD))[0] == 200, "one lock locks one user"


async def test_a_lock_does_not_count_names_apart(anybody: ClientSession) -> None:
    """The same user by other spellings of the address is the same user."""
    spellings = ("ann@example.com", "ANN@EXAMPLE.COM", "Ann@Example.Com")
    for number in range(10):
        assert (await login(anybody, spellings[number % 3], f"guess {number}"))[0] == 401
    assert (await login(anybody, ANN.email, PASSWORD))[0] == 401


# tokens


async def test_what_resembles_a_token_is_none(node: Node, users: Users) -> None:
    real = (node.keys["admin"], await token_for(users, ANN))
    for number, token in enumerate(real):
        local = (f"127.0.0.{number + 2}", 0)
        async with ClientSession(
            node.server.url, connector=TCPConnector(local_addr=local)
        ) as client:
            for guess in (*tokens_near(token), *tokens_alike(token)):
                assert await status_of(client, guess) == 401, guess
            assert await status_of(client, token) == 200


async def test_a_token_is_taken_from_its_header_only(node: Node, anybody: ClientSession) -> None:
    token = node.keys["admin"]
    for headers in (
        {"Authorization": token},
        {"Authorization": f"Basic {token}"},
        {"Authorization": f"Token {token}"},
        {"Authorization": f"Bearer{token}"},
        {"Authorization": f"Bearer:{token}"},
        {"Proxy-Authorization": f"Bearer {token}"},
        {"X-Api-Key": token},
        {"X-Authorization": f"Bearer {token}"},
        {"Cookie": f"access_token={token}; token={token}; Authorization=Bearer {token}"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Host": "localhost"},
        {"X-Original-URL": "/health", "X-Rewrite-URL": "/health"},
        {"X-HTTP-Method-Override": "OPTIONS"},
    ):
        assert await status_with(anybody, "sessions", **headers) == 401, headers
    for path in (f"sessions?access_token={token}", f"sessions?token={token}", f"sessions;{token}"):
        assert await status_with(anybody, path) in {401, 404}, path


async def test_random_tokens_are_cut_off_for_that_address_only(
    node: Node, anybody: ClientSession
) -> None:
    guesses = [f"srs_{uuid4().hex}" for _ in range(FAILURES_PER_MINUTE + 10)]
    seen = [await status_of(anybody, guess) for guess in guesses]
    assert seen == [401] * FAILURES_PER_MINUTE + [429] * 10
    assert await status_of(anybody, node.keys["control"]) == 200, "a good token goes on"
    elsewhere = TCPConnector(local_addr=("127.0.0.2", 0))
    async with ClientSession(node.server.url, connector=elsewhere) as client:
        assert await status_of(client, guesses[-1]) == 401
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
        bearer = {"Authorization": f"Bearer {uuid4()}", header: "192.0.2.77"}
        assert await status_with(anybody, "sessions", **bearer) == 429, "addresses are not claimed"


async def test_a_token_that_has_ended_is_none(users: Users, anybody: ClientSession) -> None:
    expired = await token_for(users, ANN, lifetime_s=60, ago_s=61)
    assert await status_of(anybody, expired) == 401
    left = await token_for(users, ANN)
    assert await status_of(anybody, left) == 200
    headers = {"Authorization": f"Bearer {left}"}
    async with anybody.post("/srs/v1/logout", headers=headers) as response:
        assert response.status == 204
    for path in ("sessions", "recordings", "directory/users", f"events?access_token={left}"):
        assert await status_of(anybody, left, path) == 401, path


CHANGES: tuple[tuple[dict[str, Any], int, int], ...] = (
    ({}, 200, 200),
    ({"type": "tenant"}, 401, 401),  # a token is for the type it was given to
    ({"type": "api"}, 401, 401),
    ({"account": 200}, 200, 200),
    ({"enabled": False}, 401, 401),
    ({"permissions": []}, 200, 200),
)
"""What changes of an admin, and what their token is worth then: for recordings, for users."""


async def test_a_token_is_worth_what_its_user_is_now(
    node: Node, users: Users, anybody: ClientSession
) -> None:
    directory = node.services.directory
    await directory.put(Account(200))
    for change, recordings, people in CHANGES:
        await directory.put(ANN)
        token = await token_for(users, ANN)
        await directory.put(replace(ANN, **change))
        assert await status_of(anybody, token, "recordings") == recordings, change
        assert await status_of(anybody, token, "directory/users") == people, change
        if "account" in change:
            found = await status_of(anybody, token, "directory/users/eve@example.com")
            assert found == 404, "users of the account that was"
    await directory.put(ANN)
    token = await token_for(users, ANN)
    await users.set_password(ANN.email, "another horse battery", datetime.now(UTC))
    assert await status_of(anybody, token) == 401, "a new password ends all tokens"
    token = (await users.login(ANN.email, "another horse battery", None, datetime.now(UTC))).text
    headers = {"Authorization": f"Bearer {node.keys['admin']}"}
    async with anybody.delete(f"/srs/v1/directory/users/{ANN.email}", headers=headers) as response:
        assert response.status == 204
    assert await status_of(anybody, token) == 401, "so does the end of the user"
    await directory.put(ANN)
    assert await status_of(anybody, token) == 401, "who comes back under the name is another"
    assert (await login(anybody, ANN.email, "another horse battery"))[0] == 401


async def test_an_api_key_that_was_removed_is_none(node: Node, anybody: ClientSession) -> None:
    keys = node.services.keys
    token = await keys.add("late", "admin")
    assert await status_of(anybody, token) == 200
    await keys.remove("late")
    assert await status_of(anybody, token) == 401
    other = await keys.add("late", "admin")
    assert (await status_of(anybody, token), await status_of(anybody, other)) == (401, 200)
