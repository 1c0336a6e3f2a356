"""Who is admitted: tokens of users, API keys, known hosts; all others get a status and no body."""

from pathlib import Path

import aiohttp
import pytest

from config.dialects import AnywhereNow
from config.schema import Api
from tests.api.anywherenow.desk import V1, Desk, open_desk

CAPABILITIES = f"{V1}/capabilities/ucc-shop"
GUESSES = 50


async def asked(desk: Desk, *authorization: str, path: str = CAPABILITIES) -> tuple[int, bytes]:
    headers = [("Authorization", each) for each in authorization]
    async with desk.http.get(f"{desk.node.server.url}{path}", headers=headers) as response:
        return response.status, await response.read()


async def test_who_has_no_token_or_a_wrong_one(idle_desk: Desk) -> None:
    token = await idle_desk.token("pay@shop.example")
    for authorization in (
        (),
        ("Bearer",),
        ("Bearer x",),
        (f"Basic {token}",),
        (token,),
        (f"Bearer {token}x",),
        (f"Bearer {token}", f"Bearer {token}"),
        ("Bearer a.b.c",),
    ):
        assert await asked(idle_desk, *authorization) == (401, b""), authorization
    path = f"{CAPABILITIES}?access_token={token}"
    assert await asked(idle_desk, path=path) == (401, b"")  # only hubs take it from the URL


async def test_the_challenge(idle_desk: Desk) -> None:
    said = await idle_desk.ask("GET", CAPABILITIES, who=None)
    assert said.headers["WWW-Authenticate"] == 'Bearer realm="siprecd"'
    said = await idle_desk.ask("GET", CAPABILITIES, None, headers={"Authorization": "Bearer x"})
    assert said.headers["WWW-Authenticate"] == 'Bearer realm="siprecd", error="invalid_token"'


async def test_who_is_admitted(idle_desk: Desk) -> None:
    for who in ("pay@shop.example", "boss@shop.example", "eve@shop.example", "isr@system.example"):
        said = await idle_desk.ask("GET", CAPABILITIES, who)
        assert said.json["AgentCanEditRecordings"] is True
    for key in idle_desk.node.keys.values():
        status, _ = await asked(idle_desk, f"bearer  {key}")
        assert status == 200


async def test_who_may_not_control(idle_desk: Desk) -> None:
    live_paths = (("GET", CAPABILITIES), ("GET", f"{V1}/ucc-shop/x"), ("POST", f"{V1}/set"))
    for method, path in live_paths:
        said = await idle_desk.ask(method, path, "ann@shop.example")
        assert (said.status, said.body) == (403, b"")


async def test_keys_of_one_account(idle_desk: Desk) -> None:
    key = await idle_desk.node.services.keys.add("shop desk", "control", 100)
    status, body = await asked(idle_desk, f"Bearer {key}")
    assert (status, b"true" in body) == (200, True)
    status, body = await asked(idle_desk, f"Bearer {key}", path=f"{V1}/capabilities/ucc-bank")
    assert (status, b"was not found" in body) == (200, True)


async def test_a_token_that_was_taken_back(idle_desk: Desk) -> None:
    token = await idle_desk.token("pay@shop.example")
    await idle_desk.node.services.users.logout(token)
    assert await asked(idle_desk, f"Bearer {token}") == (401, b"")


async def test_guessing(idle_desk: Desk) -> None:
    for number in range(GUESSES + 1):
        status, body = await asked(idle_desk, f"Bearer guess-{number}")
        assert (status, body) == (401 if number < GUESSES else 429, b"")
    token = await idle_desk.token("pay@shop.example")
    assert (await asked(idle_desk, f"Bearer {token}"))[0] == 200


LOOPBACK, PROXY, CLIENTS = "127.0.0.0/8", "127.0.0.1/32", "192.0.2.0/24"
Headers = dict[str, str]


@pytest.mark.parametrize(
    ("allow", "proxies", "rows"),
    [
        (
            [LOOPBACK],
            [],
            [
                ({}, 200),
                ({"Authorization": "Bearer x"}, 200),
                ({"X-Forwarded-For": "127.0.0.1"}, 401),
                ({"Via": "1.1 proxy"}, 401),
            ],
        ),
        (
            [CLIENTS],
            [PROXY],
            [
                ({}, 401),
                ({"X-Forwarded-For": "192.0.2.1"}, 200),
                ({"X-Forwarded-For": "198.51.100.1"}, 401),
                ({"X-Forwarded-For": "192.0.2.1, 198.51.100.1"}, 401),
            ],
        ),
        ([], [], [({}, 401)]),
    ],
)
async def test_known_hosts_need_no_token(
    tmp_path: Path,
    migrated: Path,
    allow: list[str],
    proxies: list[str],
    rows: list[tuple[Headers, int]],
) -> None:
    section = AnywhereNow(auth="none", allow=allow)
    api = Api(proxies=proxies)
    async with open_desk(tmp_path, migrated, section, is_idle=True, api=api) as desk:
        for headers, status in rows:
            said = await desk.ask("GET", CAPABILITIES, None, headers=headers)
            assert said.status == status, headers
        said = await desk.ask("GET", CAPABILITIES, headers={"X-Forwarded-For": "198.51.100.1"})
        assert said.status == 200  # with a token from anywhere


async def test_tokens_are_not_logged(idle_desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    token = await idle_desk.token("pay@shop.example")
    async with aiohttp.ClientSession() as http:
        url = f"{idle_desk.node.server.url}{CAPABILITIES}?access_token={token}"
        await http.get(url, headers={"Authorization": "Bearer another-secret"})
    await idle_desk.ask("GET", CAPABILITIES)
    shown = capsys.readouterr()
    assert "pay@shop.example" in shown.out + shown.err
    assert token not in shown.out + shown.err
    assert "another-secret" not in shown.out + shown.err
