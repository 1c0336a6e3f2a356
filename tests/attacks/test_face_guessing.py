"""Guessing passwords and tokens of FACE, and using tokens that have ended."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from api.auth import FAILURES_PER_MINUTE
from api.native import login
from api.oracle_face.asking import FORM
from storage.entries import User
from storage.users import LoginRefused
from tests.api.oracle_face.desk import PASSWORD, Desk, open_desk
from tests.attacks.face import (
    BAD_TOKEN,
    CONTROL,
    DETAILS,
    ISR,
    NO_TOKEN,
    SELECTING,
    brief,
    move,
    native_token,
    seen,
)
from tests.attacks.lists import passwords_near, tokens_alike, tokens_near

ANN = "ann@shop.example"
REFUSED = (200, -1, "Invalid credentials or user locked out")


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """FACE with two tenants."""
    async with open_desk(tmp_path, migrated) as opened:
        yield opened


async def outcome_of(desk: Desk, **parameters: Any) -> set[tuple[int, int, str]]:
    """What every command about recordings and calls says to this, as nobody's user."""
    said = [await desk.ask(method, path, None, **parameters) for method, path in SELECTING]
    return {brief(each) for each in said}


# passwords


async def test_ten_guesses_lock_and_nothing_tells_who_there_is(desk: Desk) -> None:
    """Known and locked, unknown, and those who may not use FACE: one and the same."""
    guesses = (*passwords_near(PASSWORD), "the tenth")
    assert len(guesses) == 10
    answers = [await desk.login(ISR, guess) for guess in guesses]
    answers.append(await desk.login(ISR))  # right, and locked
    move(desk, "127.0.0.2")
    for email in ("nobody@shop.example", ANN):
        answers += [await desk.login(email, guess) for guess in guesses[:9]]
    answers.append(await desk.login(ANN))  # right, and no API user
    assert {seen(each) for each in answers} == {seen(answers[0])}
    assert brief(answers[0]) == REFUSED
    assert (await desk.login("weak@shop.example")).code == 0, "one lock locks one user"


async def test_a_lock_lasts_half_an_hour(desk: Desk) -> None:
    users, now = desk.node.services.users, datetime.now(UTC)
    for guess in range(10):
        assert brief(await desk.login(ISR.upper() if guess % 2 else ISR, f"{guess}")) == REFUSED
    with pytest.raises(LoginRefused):
        await users.login(ISR, PASSWORD, None, now + timedelta(minutes=29, seconds=55))
    later = now + timedelta(minutes=31)
    assert (await users.login(ISR, PASSWORD, None, later)).user.email == ISR


async def test_a_lock_does_not_end_what_goes_on(desk: Desk) -> None:
    """Who fails to log in under the name of somebody keeps nobody from pausing."""
    live, token = await desk.call(ucid="U1"), await desk.token()
    for guess in range(10):
        await desk.login(ISR, f"{guess}")
    assert brief(await desk.login(ISR)) == REFUSED
    assert (await desk.post(CONTROL[2], None, token=token, isrUcid="U1")).code == 0
    assert live.state == "paused"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP"])
async def test_addresses_are_not_claimed(desk: Desk, header: str) -> None:
    """Failures count for who is connected, whoever that says to be."""
    statuses = []
    for number in range(login.FAILURES_PER_MINUTE + 3):
        form = {"userEmail": f"user{number}@shop.example", "password": "x"}
        headers = {header: f"192.0.2.{number}"}
        statuses.append((await desk.post("login", None, body=form, headers=headers)).status)
    assert statuses == [200] * login.FAILURES_PER_MINUTE + [429] * 3
    statuses = []
    for number in range(FAILURES_PER_MINUTE + 3):
        headers = {header: f"192.0.2.{number}"}
        said = await desk.get(DETAILS, None, token=uuid4(), headers=headers)
        statuses.append(said.status)
    assert statuses == [401] * FAILURES_PER_MINUTE + [429] * 3


async def test_what_is_posted_is_read_in_one_way(desk: Desk) -> None:
    """Of a name that is there twice the last one counts; nothing else than `userEmail` is one."""
    headers = {"Content-Type": FORM}
    right = f"userEmail={ISR}&password={PASSWORD.replace(' ', '+')}"
    twice = f"userEmail=x&{right}".encode()
    assert (await desk.post("login", None, body=twice, headers=headers)).code == 0
    for body in (
        f"{right}&userEmail=nobody",
        f"{right}&password=x",
        f"{right}&password=x&password=y",
        f"userEmail={ISR}&password[]={PASSWORD}",
        f"useremail={ISR}&password={PASSWORD}",
        f"userEmail={ISR};password={PASSWORD}",
        f"userEmail={ISR}&password={PASSWORD.replace(' ', '+')}%00",
        f"userEmail={ISR}%00&password={PASSWORD.replace(' ', '+')}",
        f"userEmail=%20{ISR}&password={PASSWORD.replace(' ', '+')}",
        f"userEmail=*&password={PASSWORD.replace(' ', '+')}",
        "userEmail=%&password=%",
        "userEmail=' OR '1'='1&password=' OR '1'='1",
    ):
        said = await desk.post("login", None, body=body.encode(), headers=headers)
        assert said.code in {-1, 27} and "token" not in said.tree, body


# tokens


async def test_what_resembles_a_token_is_none(desk: Desk) -> None:
    token = await desk.token()
    guesses = {*tokens_near(token), *tokens_alike(token), token.replace("-", ""), f"{{{token}}}"}
    guesses -= {token}
    assert token.upper() in guesses, "a UUID in capitals is another text"
    for number, guess in enumerate(sorted(guesses)):
        if number % 40 == 0:
            move(desk, f"127.0.0.{number // 40 + 2}")
        assert brief(await desk.get(DETAILS, None, token=guess)) == BAD_TOKEN, guess
        assert brief(await desk.get("eventNotify", None, token=guess, event="x")) == (
            BAD_TOKEN if guess else NO_TOKEN
        )
    assert brief(await desk.get(DETAILS, None, token=token))[1] == 19
    for length in (9_000, 100_000):
        said = await desk.get(DETAILS, None, token="x" * length)
        assert said.status in {400, 414, 431} and "xxx" not in said.text


async def test_a_token_is_taken_from_the_url_only(desk: Desk) -> None:
    live, token = await desk.call(ucid="U1"), await desk.token()
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"Authorization": token},
        {"Authorization": f"Basic {token}"},
        {"Cookie": f"token={token}"},
        {"X-Token": token, "token": token},
        {"Referer": f"http://x/?token={token}"},
        {"X-Original-URL": f"/Face/{DETAILS}?token={token}"},
        {"X-HTTP-Method-Override": "GET"},
    ):
        assert await outcome_of(desk, isrUcid="U1", headers=headers) == {NO_TOKEN}
    for name in ("Token", "TOKEN", "token[]", "token%20", "access_token", "token.", "to%6ben%00"):
        assert await outcome_of(desk, query=f"?{name}={token}") == {NO_TOKEN}, name
    body = {"token": token, "isrUcid": "U1"}
    assert await outcome_of(desk, body=body) == {NO_TOKEN}
    assert await outcome_of(desk, query=f"?token={token}&token=") == {NO_TOKEN}
    assert await outcome_of(desk, query=f"?token={token}&token=x") == {BAD_TOKEN}
    said = await desk.get(DETAILS, None, query=f"?token=x&token={token}&isrUcid=U1")
    assert said.recording["isrUcid"] == "U1", "of a name that is there twice the last one counts"
    assert live.state == "recording"


CHANGES: tuple[dict[str, Any], ...] = ({"type": "tenant"}, {"type": "admin"}, {"enabled": False})


async def test_a_token_that_has_ended_is_none_for_anything(desk: Desk) -> None:
    directory, users = desk.node.services.directory, desk.node.services.users
    live, user = await desk.call(ucid="U1"), directory.entries.users[ISR]
    past = datetime.now(UTC) - timedelta(seconds=61)
    expired = (await users.login(ISR, PASSWORD, 60, past)).text
    assert await outcome_of(desk, token=expired, isrUcid="U1") == {BAD_TOKEN}
    for change in CHANGES:
        token = await native_token(desk, ISR, PASSWORD)
        await directory.put(replace(user, **change))
        assert await outcome_of(desk, token=token, isrUcid="U1") == {BAD_TOKEN}, change
        await directory.put(user)
    token = await native_token(desk, ISR, PASSWORD)
    await users.set_password(ISR, "another horse battery", datetime.now(UTC))
    assert await outcome_of(desk, token=token, isrUcid="U1") == {BAD_TOKEN}
    token = await native_token(desk, ISR, "another horse battery")
    client = await desk.stack.enter_async_context(desk.node.client())
    async with client.delete(f"/srs/v1/directory/users/{ISR}") as response:
        assert response.status == 204
    assert await outcome_of(desk, token=token, isrUcid="U1") == {BAD_TOKEN}
    await directory.put(user)
    assert await outcome_of(desk, token=token, isrUcid="U1") == {BAD_TOKEN}
    assert live.state == "recording" and live.segments == 1


async def test_a_token_is_worth_what_its_user_may_now(desk: Desk) -> None:
    directory = desk.node.services.directory
    live, token = await desk.call(ucid="U1"), await desk.token()
    user = directory.entries.users[ISR]
    for change, code in (
        (replace(user, permissions=[]), -1),
        (replace(user, account=200), 26),
        (replace(user, routes=[14]), 26),
        (User(ISR, 100, "api", permissions=["edit", "download"]), -1),
    ):
        await directory.put(change)
        assert (await desk.post(CONTROL[2], None, token=token, isrUcid="U1")).code == code
    await directory.put(user)
    assert (await desk.post(CONTROL[2], None, token=token, isrUcid="U1")).code == 0
    assert live.state == "paused"
