"""Logging in: a token for API users, and one answer for everybody who gets none."""

import asyncio
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from argon2 import PasswordHasher
from msgspec.structs import replace

from api.native.login import FAILURES_PER_MINUTE
from config.schema import Users
from storage.entries import User
from storage.passwords import AT_ONCE, WAITING
from storage.users import LoginRefused
from tests.api.oracle_face.desk import PASSWORD, UUID, Desk, open_desk
from tests.storage.people import DEADLINE_S

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
JSON = {"Accept": "application/json"}
REFUSED = (
    f"{PROLOG}<result><code>-1</code>"
    "<message>Invalid credentials or user locked out</message></result>"
)
EXPIRED = f"{PROLOG}<result><code>-1</code><message>Password has expired</message></result>"
NEW = "another horse battery"
ISR = "isr@shop.example"


async def works(desk: Desk, token: str) -> bool:
    """Whether a token holds; if not, the answer is the one for all that do not."""
    said = await desk.get("audioRecording/details", None, token=token)
    if said.status == 200:
        assert said.code == 19  # no recording
        return True
    assert said.status == 401
    assert said.text == (
        f"{PROLOG}<result><code>-1</code><message>Invalid or expired token</message></result>"
    )
    return False


# a token


async def test_an_api_user_gets_a_token(desk: Desk) -> None:
    said = await desk.login(ISR)
    assert said.status == 200
    assert said.headers["Content-Type"] == "application/xml;charset=UTF-8"
    assert said.headers["Cache-Control"] == "no-store"
    token = said.tree["token"]
    assert UUID.fullmatch(token)
    assert said.text == (
        f"{PROLOG}<result><code>0</code><message>ACK</message><token>{token}</token>"
        "<expiration>86400seconds</expiration></result>"
    )
    assert await works(desk, token)
    again = await desk.login(ISR)
    assert again.tree["token"] != token and await works(desk, token)


async def test_a_token_in_json(desk: Desk) -> None:
    body = {"userEmail": ISR.upper(), "password": PASSWORD}
    said = await desk.post("login", None, body=body, headers=JSON)
    token = said.text.split('"')[11]
    assert UUID.fullmatch(token)
    assert said.text == (
        f'{{"result":{{"code":0,"message":"ACK","token":"{token}","expiration":"86400seconds"}}}}'
    )


async def test_the_example_of_the_guide(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated, users=Users(8, token_s=3600)) as desk:
        await desk.node.services.directory.put(User("israpi@acmepacket.com", 100, "api"))
        users = desk.node.services.users
        await users.set_password("israpi@acmepacket.com", "Admin1234", datetime.now(UTC))
        body = b"userEmail=israpi@acmepacket.com&password=Admin1234"
        said = await desk.post("login", None, body=body, headers={"Content-Type": ""})
        assert (said.code, said.tree["expiration"]) == (0, "3600seconds")
        assert await works(desk, said.tree["token"])


async def test_how_long_a_token_holds(desk: Desk) -> None:
    for asked, given in (
        ("1", 1),
        ("3600", 3600),
        ("0060", 60),
        ("86400", 86_400),
        ("86401", 86_400),
        ("99999999999", 86_400),
        ("9" * 5000, 86_400),
    ):
        said = await desk.login(ISR, expirationSeconds=asked)
        assert (said.code, said.tree["expiration"]) == (0, f"{given}seconds"), asked
    for asked in ("", "0", "000", "-1", "+60", "1.5", "1e3", " 60", "sixty", "٦٠"):
        said = await desk.login(ISR, expirationSeconds=asked)
        assert (said.status, said.text) == (
            200,
            f"{PROLOG}<result><code>-1</code>"
            "<message>Invalid Parameter - expirationSeconds</message></result>",
        ), asked


async def test_a_token_ends(desk: Desk) -> None:
    short = (await desk.login(ISR, expirationSeconds="1")).tree["token"]
    long = (await desk.login(ISR)).tree["token"]
    async with asyncio.timeout(DEADLINE_S):
        while await works(desk, short):
            await asyncio.sleep(0.1)
    assert await works(desk, long)


async def test_what_has_to_be_said(desk: Desk) -> None:
    for body, name in (
        ({}, "userEmail"),
        ({"password": PASSWORD}, "userEmail"),
        ({"userEmail": ""}, "userEmail"),
        ({"useremail": ISR, "password": PASSWORD}, "userEmail"),
        ({"userEmail": ISR}, "password"),
        ({"userEmail": ISR, "password": ""}, "password"),
        ({"userEmail": ISR, "expirationSeconds": "0"}, "password"),
    ):
        said = await desk.post("login", None, body=body)
        assert (said.status, said.text) == (
            200,
            f"{PROLOG}<result><code>27</code>"
            f"<message>Missing Parameter - {name} is required</message></result>",
        ), body


async def test_the_url_is_no_place_for_a_password(desk: Desk) -> None:
    said = await desk.post("login", None, userEmail=ISR, password=PASSWORD)
    assert said.code == 27
    said = await desk.get("login", None, userEmail=ISR, password=PASSWORD)
    assert (said.status, said.code) == (405, 5)


# no token


async def test_all_refusals_are_one(desk: Desk) -> None:
    directory, users = desk.node.services.directory, desk.node.services.users
    long_ago = datetime.now(UTC) - timedelta(days=91)
    await directory.put(User("none@shop.example", 100, "api"))
    await directory.put(User("off@shop.example", 100, "api", enabled=False))
    await directory.put(User("tom@shop.example", 100, "tenant"))
    await directory.put(User("old@shop.example", 100, "admin"))
    for email in ("off@shop.example", "tom@shop.example"):
        await users.set_password(email, PASSWORD, datetime.now(UTC))
    await users.set_password("old@shop.example", PASSWORD, long_ago)
    for _ in range(10):
        with suppress(LoginRefused):
            await users.login("weak@shop.example", "wrong", None, datetime.now(UTC))
    answers = set()
    for email, password in (
        (ISR, "wrong"),
        (ISR, PASSWORD.upper()),
        ("nobody@shop.example", PASSWORD),
        ("none@shop.example", PASSWORD),
        ("off@shop.example", PASSWORD),
        ("weak@shop.example", PASSWORD),  # locked
        ("ann@shop.example", PASSWORD),  # an account administrator
        ("tom@shop.example", PASSWORD),
        ("old@shop.example", PASSWORD),  # of such a one a password that has expired
    ):
        said = await desk.login(email, password)
        headers = tuple(sorted((k, v) for k, v in said.headers.items() if k != "Date"))
        answers.add((said.status, headers, said.text))
    ((status, _, text),) = answers
    assert (status, text) == (200, REFUSED)


async def test_a_password_that_has_expired(desk: Desk) -> None:
    users, long_ago = desk.node.services.users, datetime.now(UTC) - timedelta(days=91)
    await users.set_password(ISR, PASSWORD, long_ago)
    assert (await desk.login(ISR, "wrong")).text == REFUSED
    said = await desk.login(ISR)
    assert (said.status, said.text) == (200, EXPIRED)
    await users.set_password(ISR, NEW, datetime.now(UTC))
    assert (await desk.login(ISR)).text == REFUSED
    assert (await desk.login(ISR, NEW)).code == 0


async def test_guessing_from_one_address(desk: Desk) -> None:
    token = await desk.token()
    home = desk.http
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
    async with aiohttp.ClientSession(connector=elsewhere) as away:
        desk.http = away
        for number in range(FAILURES_PER_MINUTE):
            assert (await desk.login(ISR)).code == 0  # who succeeds is not counted
            said = await desk.login(f"user{number}@shop.example")
            assert (said.status, said.text) == (200, REFUSED)
        for email in (ISR, "nobody@shop.example"):
            said = await desk.login(email)
            assert (said.status, said.text) == (429, REFUSED)
        assert await works(desk, token)
        desk.http = home
        assert (await desk.login(ISR)).code == 0


async def test_more_logins_at_once_than_can_be_checked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def verify(*_: object) -> bool:
        return go_on.wait(DEADLINE_S)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    async with asyncio.TaskGroup() as group:
        logins = [group.create_task(desk.login(ISR)) for _ in range(AT_ONCE + WAITING + 1)]
        await asyncio.wait(logins, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
    answers = sorted((login.result() for login in logins), key=lambda said: said.code)
    assert [said.code for said in answers] == [0] * (AT_ONCE + WAITING) + [16]
    assert (answers[-1].status, answers[-1].message) == (200, "Error Generating Token")


# tokens that hold no longer


async def test_a_token_has_to_be_there(desk: Desk) -> None:
    for path in ("details", "download", "redirect"):
        for query in ("", "?token=", "?Token=x", "?isrUcid=U1"):
            said = await desk.get(f"audioRecording/{path}{query}", None)
            assert (said.status, said.text) == (
                200,
                f"{PROLOG}<result><code>27</code>"
                "<message>Missing Parameter - token is required</message></result>",
            )


async def test_what_is_no_token_of_an_api_user(desk: Desk) -> None:
    url = f"{desk.node.server.url}/srs/v1/login"
    body = {"email": "ann@shop.example", "password": PASSWORD}
    async with desk.http.post(url, json=body) as response:
        of_ann = (await response.json())["token"]
    token = await desk.token()
    for other in ("x", of_ann, desk.node.keys["admin"], token.upper(), f"{token} ", f"{token}\n"):
        assert not await works(desk, other)
    assert await works(desk, token)


async def test_a_token_goes_in_the_url(desk: Desk) -> None:
    token = await desk.token()
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await desk.get("audioRecording/details", None, headers=bearer)).code == 27
    body = {"token": token, "agentId": "7"}
    assert (await desk.post("audioRecording/details", None, body=body)).code == 27


async def test_who_logs_out_has_no_token(desk: Desk) -> None:
    token, other = [(await desk.login(ISR)).tree["token"] for _ in range(2)]
    bearer = {"Authorization": f"Bearer {token}"}
    async with desk.http.post(f"{desk.node.server.url}/srs/v1/logout", headers=bearer) as response:
        assert response.status == 204
    assert not await works(desk, token)
    assert await works(desk, other)


async def test_whose_password_is_changed_or_expires_has_no_token(desk: Desk) -> None:
    directory, users = desk.node.services.directory, desk.node.services.users
    before = await desk.token()
    await users.set_password(ISR, NEW, datetime.now(UTC) - timedelta(days=91))
    assert not await works(desk, before)
    user = directory.entries.users[ISR]
    await directory.put(replace(user, password_expires=False))
    token = (await desk.login(ISR, NEW)).tree["token"]
    assert await works(desk, token)
    await directory.put(user)
    assert (await desk.login(ISR, NEW)).text == EXPIRED
    assert not await works(desk, token)


async def test_who_is_no_api_user_any_more_has_no_token(desk: Desk) -> None:
    directory = desk.node.services.directory
    user = directory.entries.users[ISR]
    for changed in (replace(user, enabled=False), replace(user, type="admin")):
        token = (await desk.login(ISR)).tree["token"]
        assert await works(desk, token)
        await directory.put(changed)
        assert not await works(desk, token)
        await directory.put(user)
    token = (await desk.login(ISR)).tree["token"]
    await directory.remove("users", ISR)
    assert not await works(desk, token)
    assert (await desk.login(ISR)).text == REFUSED
