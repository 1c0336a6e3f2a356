"""HTTP Basic: who it is, what is remembered, and what ends it."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.auth import Failures
from api.basic import REMEMBERED, BasicAuthenticator, email_of
from api.problem import ApiError
from config.schema import Users as Rules
from storage.entries import User
from storage.snapshot import Entries
from tests.api.node import Node, running

PASSWORD = "correct horse 7"
USERS = (
    User("Ann@shop.example", 1, "api", username="ann"),
    User("bob@shop.example", 1, username="Twin"),
    User("bob@bank.example", 1, username="twin"),
)


def header(name: str, password: str = PASSWORD) -> list[str]:
    return ["Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()]


async def with_users(node: Node, most: int = 5) -> BasicAuthenticator:
    users, directory = node.services.users, node.services.directory
    for user in USERS:
        await directory.put(user)
        await users.set_password(user.email, PASSWORD, datetime.now(UTC))
    return BasicAuthenticator(users, directory, Failures(most))


async def refused(basic: BasicAuthenticator, headers: list[str]) -> ApiError:
    with pytest.raises(ApiError) as refusal:
        await basic.admit(headers, "192.0.2.1", "Desk")
    assert PASSWORD not in str(refusal.value)
    return refusal.value


async def test_a_user_is_known_by_name_and_by_address(node: Node) -> None:
    basic = await with_users(node)
    for name in ("ann", "ANN", "ann@shop.example", "ANN@SHOP.EXAMPLE"):
        assert (await basic.admit(header(name), "192.0.2.1", "Desk")).email == "Ann@shop.example"
    assert (await refused(basic, header("twin"))).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["Basic"],
        ["Basic !!!"],
        ["Basic " + base64.b64encode(b"no colon").decode()],
        ["Basic " + base64.b64encode(b":nobody").decode()],
        ["Basic " + base64.b64encode(b"\xff\xfe:x").decode()],
        ["Bearer 7653a545"],
        header("ann") * 2,
        ["Basic " + "A" * 60_000],
    ],
    ids=range(10),
)
async def test_what_is_no_basic_is_challenged_and_no_guess(node: Node, headers: list[str]) -> None:
    basic = BasicAuthenticator(node.services.users, node.services.directory, Failures(1))
    for _ in range(3):
        refusal = await refused(basic, headers)
        assert refusal.status == 401
        assert refusal.headers == {"WWW-Authenticate": 'Basic realm="Desk", charset="UTF-8"'}


async def test_a_wrong_password_is_refused_like_an_unknown_user(node: Node) -> None:
    basic = await with_users(node)
    answers = [await refused(basic, header(name, "wrong 1234 5678")) for name in ("ann", "nobody")]
    assert {(each.status, str(each)) for each in answers} == {(401, "wrong user name or password")}


async def test_who_fails_too_often_waits_but_who_is_in_goes_on(node: Node) -> None:
    basic = await with_users(node, most=3)
    await basic.admit(header("ann"), "192.0.2.1", "Desk")
    statuses = [(await refused(basic, header("x", f"guess {n}"))).status for n in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert (await basic.admit(header("ann"), "192.0.2.1", "Desk")).username == "ann"
    refusal = await refused(basic, header("bob@shop.example"))
    assert refusal.status == 429 and int(refusal.headers["Retry-After"]) > 0


async def test_the_same_wrong_password_is_one_guess(node: Node) -> None:
    basic = await with_users(node, most=1)
    statuses = [(await refused(basic, header("ann", "old password"))).status for _ in range(4)]
    assert statuses == [401] * 4


async def test_a_lock_does_not_reach_who_is_in(tmp_path: Path, migrated: Path) -> None:
    async with running(tmp_path, migrated, users=Rules(lock_after=1)) as node:
        basic = await with_users(node)
        await basic.admit(header("ann"), "192.0.2.1", "Desk")
        await refused(basic, header("ann", "wrong 1234 5678"))
        await basic.admit(header("ann"), "192.0.2.1", "Desk")
        fresh = BasicAuthenticator(node.services.users, node.services.directory, Failures(5))
        assert (await refused(fresh, header("ann"))).status == 401


@pytest.mark.parametrize("end", ["password", "disabled", "removed"])
async def test_what_ends_a_login_ends_it_at_once(node: Node, end: str) -> None:
    basic, services = await with_users(node), node.services
    await basic.admit(header("ann"), "192.0.2.1", "Desk")
    if end == "password":
        await services.users.set_password("ann@shop.example", "another horse 8", datetime.now(UTC))
    elif end == "disabled":
        await services.directory.put(User("Ann@shop.example", 1, "api", enabled=False))
    else:
        await services.directory.remove("users", "ann@shop.example")
    assert (await refused(basic, header("ann"))).status == 401


async def test_no_more_is_remembered_than_need_be(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert REMEMBERED == 1000
    monkeypatch.setattr("api.basic.REMEMBERED", 2)
    basic = await with_users(node)
    for name in ("ann", "ANN", "Ann", "aNN"):
        await basic.admit(header(name), "192.0.2.1", "Desk")
    assert len(basic._tokens) == 2
    assert not any(PASSWORD in str(each) for each in basic._tokens)


def test_a_name_is_an_address_first() -> None:
    entries = Entries.of([*USERS, User("x@y.example", 1, username="ann@shop.example")])
    assert email_of("ann@shop.example", entries) == "ann@shop.example"
    assert email_of("Nobody", entries) == "Nobody"
    assert email_of("", Entries.of([User("x@y.example", 1)])) == ""


async def test_a_login_takes_back_no_failure_of_another(node: Node) -> None:
    basic = await with_users(node, most=2)
    await refused(basic, header("x", "guess 1"))
    for _ in range(4):
        await basic.admit(header("ann"), "192.0.2.1", "Desk")
        basic._tokens.clear()
    await refused(basic, header("x", "guess 2"))
    assert (await refused(basic, header("x", "guess 3"))).status == 429
