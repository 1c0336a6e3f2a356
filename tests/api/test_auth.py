"""Keys, roles and refusals."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.auth import FAILURES_PER_MINUTE, Authenticator, bearer
from api.problem import ApiError
from siprec.session import Actor
from storage.database import Database
from storage.keys import ApiKeys
from tests.api.node import ROLES, Node
from tests.api.routes import ALL_ROUTES, request_of

RANK = {"control": 1, "operator": 2, "admin": 3}


class Clock:
    """A time that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def keys(tmp_path: Path) -> AsyncIterator[ApiKeys]:
    database = Database(f"sqlite:///{tmp_path}/keys.db")
    yield ApiKeys(database)
    await database.close()


async def _refused(authenticator: Authenticator, token: str | None, remote: str = "a") -> ApiError:
    with pytest.raises(ApiError) as caught:
        await authenticator.admit(token, remote, "control")
    return caught.value


@pytest.mark.parametrize("held", ROLES)
@pytest.mark.parametrize("needed", ROLES)
async def test_a_role_may_do_what_a_lesser_one_may(keys: ApiKeys, held: str, needed: str) -> None:
    authenticator = Authenticator(keys)
    token = await keys.add("desk", held)
    if RANK[held] >= RANK[needed]:
        assert await authenticator.admit(token, "a", needed) == Actor("desk", held)
    else:
        with pytest.raises(ApiError) as caught:
            await authenticator.admit(token, "a", needed)
        assert caught.value.status == 403


async def test_a_missing_and_an_unknown_key_are_told_apart(keys: ApiKeys) -> None:
    authenticator = Authenticator(keys)
    missing, unknown = await _refused(authenticator, None), await _refused(authenticator, "srs_no")
    assert missing.status == unknown.status == 401
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="siprecd"'
    assert 'error="invalid_token"' in unknown.headers["WWW-Authenticate"]
    assert "srs_no" not in str(unknown)


async def test_a_key_added_by_another_process_is_found(keys: ApiKeys, tmp_path: Path) -> None:
    authenticator = Authenticator(keys, Clock())
    other = Database(f"sqlite:///{tmp_path}/keys.db")
    token = await ApiKeys(other).add("late", "control")
    await other.close()
    assert (await authenticator.admit(token, "a", "control")).name == "late"


async def test_new_keys_are_looked_for_at_most_once_a_second(keys: ApiKeys, tmp_path: Path) -> None:
    clock = Clock()
    authenticator = Authenticator(keys, clock)
    await _refused(authenticator, "unknown")
    other = Database(f"sqlite:///{tmp_path}/keys.db")
    token = await ApiKeys(other).add("late", "control")
    await other.close()
    assert (await _refused(authenticator, token)).status == 401
    clock.now += 1.0
    assert (await authenticator.admit(token, "a", "control")).name == "late"


async def test_a_known_key_needs_no_database(keys: ApiKeys, tmp_path: Path) -> None:
    token = await keys.add("desk", "control")
    (tmp_path / "keys.db").unlink()
    assert (await Authenticator(keys).admit(token, "a", "control")).name == "desk"


async def test_too_many_refusals_are_429_for_that_address_and_minute(keys: ApiKeys) -> None:
    clock = Clock()
    authenticator = Authenticator(keys, clock)
    token = await keys.add("desk", "control")
    seen = [(await _refused(authenticator, "no")).status for _ in range(FAILURES_PER_MINUTE + 1)]
    assert seen == [401] * FAILURES_PER_MINUTE + [429]
    assert (await _refused(authenticator, "no")).headers["Retry-After"] == "61"
    assert (await _refused(authenticator, "no", "b")).status == 401
    assert await authenticator.admit(token, "a", "control")
    clock.now += 60
    assert (await _refused(authenticator, "no")).status == 401


async def test_remembered_addresses_are_bounded(keys: ApiKeys) -> None:
    authenticator = Authenticator(keys, Clock())
    for number in range(10_001):
        await _refused(authenticator, None, str(number))
    assert len(authenticator._failures) <= 10_000


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


async def test_every_route_with_every_key(node: Node) -> None:
    unknown = {"Authorization": "Bearer srs_" + "x" * 43}
    async with AsyncExitStack() as stack:
        clients = {
            role: await stack.enter_async_context(node.client(role)) for role in (None, *ROLES)
        }
        for route in ALL_ROUTES:
            method, path = request_of(route)
            for headers in ({}, unknown):
                async with clients[None].request(method, path, headers=headers) as response:
                    assert response.status == (401 if route.role else 200), path
            for role in ROLES:
                async with clients[role].request(method, path) as response:
                    short = route.role is not None and RANK[role] < RANK[route.role]
                    assert (response.status == 403) == short, (role, path)
                    assert response.status in {200, 403, 404, 426}, (role, path)


async def test_a_key_in_the_query_is_for_the_events_only(node: Node) -> None:
    async with node.client(None) as client:
        for path in ("/srs/v1/sessions", "/srs/v1/recordings/r/media"):
            async with client.get(path, params={"access_token": node.keys["admin"]}) as response:
                assert response.status == 401
        events = client.ws_connect("/srs/v1/events", params={"access_token": node.keys["control"]})
        async with events as socket:
            assert not socket.closed
