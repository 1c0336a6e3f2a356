"""Tokens for a password: the grant, its refusals as RFC 6749 has them, and guessing."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from api.anywherenow.tokens import FIELDS
from storage.passwords import Hasher
from storage.users import TooManyLogins
from tests.api.anywherenow.desk import PASSWORD, PREFIX, V1, Desk, Said

REALM = "/auth/realms/1d6c6a58-6739-4f0c-98ff-0968292c8c30/protocol/openid-connect/token"
FORM = "application/x-www-form-urlencoded"
GOOD = {
    "grant_type": "password",
    "client_id": "coreapi",
    "username": "pay@shop.example",
    "password": PASSWORD,
}
GUESSES = 20


async def granted(
    desk: Desk,
    body: bytes | None = None,
    path: str = PREFIX + REALM,
    method: str = "POST",
    content_type: str = FORM,
    **changes: str | None,
) -> Said:
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    data = urlencode(fields).encode() if body is None else body
    headers = {"Content-Type": content_type}
    return await desk.ask(method, path, None, body=data, headers=headers)


def refused(error: str, text: str) -> dict[str, str]:
    return {"error": error, "error_description": text}


WRONG = refused("invalid_grant", "wrong user name or password")


@pytest.fixture(autouse=True)
async def passwords(idle_desk: Desk) -> None:
    """Everybody has one."""
    for email in (*USERS, "ann@shop.example", "off@shop.example"):
        await idle_desk.node.services.users.set_password(email, PASSWORD, datetime.now(UTC))


USERS = {
    "pay@shop.example": "control",
    "boss@shop.example": "control delete download edit playback video",
    "isr@system.example": "control download edit playback video",
    "eve@shop.example": "control",
}


async def test_a_token(idle_desk: Desk) -> None:
    for path in (PREFIX + REALM, REALM, f"{PREFIX}/auth/realms/x/protocol/openid-connect/token"):
        said = await granted(idle_desk, path=path)
        assert said.status == 200
        token = said.json["access_token"]
        assert said.json == {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": 86_400,
            "scope": "control",
        }
        assert said.headers["Content-Type"] == "application/json"
        assert said.headers["Cache-Control"] == "no-store"
        assert said.headers["Pragma"] == "no-cache"
        headers = {"Authorization": f"Bearer {token}"}
        asked = f"{V1}/capabilities/ucc-shop"
        assert (await idle_desk.ask("GET", asked, None, headers=headers)).status == 200


async def test_who_gets_one(idle_desk: Desk) -> None:
    for name, scope in {**USERS, "pay": "control", "PAY@Shop.Example": "control"}.items():
        said = await granted(idle_desk, username=name)
        assert (said.status, said.json.get("scope")) == (200, scope), name


async def test_who_gets_none_learns_nothing(idle_desk: Desk) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"password": "wrong"},
        {"username": "nobody@shop.example"},
        {"username": "off@shop.example"},
        {"username": "ann@shop.example"},
        {"username": "bob@bank.example"},
        {"username": "' OR '1'='1"},
        {"username": "pay@shop.example\0"},
        {"password": PASSWORD.upper()},
        {"password": f"{PASSWORD} "},
    )
    for changes in wrong:
        said = await granted(idle_desk, **changes)
        assert (said.status, said.json) == (400, WRONG), changes
        assert said.headers["Cache-Control"] == "no-store"


async def test_an_expired_password(idle_desk: Desk) -> None:
    before = datetime.now(UTC) - timedelta(days=91)
    await idle_desk.node.services.users.set_password("pay@shop.example", PASSWORD, before)
    said = await granted(idle_desk)
    assert (said.status, said.json) == (400, WRONG)


ASKED: list[tuple[dict[str, Any], int, dict[str, str]]] = [
    ({"grant_type": None}, 400, refused("invalid_request", "grant_type is missing")),
    ({"client_id": None}, 400, refused("invalid_request", "client_id is missing")),
    ({"client_id": ""}, 400, refused("invalid_request", "client_id is missing")),
    ({"username": None}, 400, refused("invalid_request", "username is missing")),
    ({"password": ""}, 400, refused("invalid_request", "password is missing")),
    ({"client_id": "other"}, 401, refused("invalid_client", "this client is not known")),
    ({"client_id": "CoreAPI"}, 401, refused("invalid_client", "this client is not known")),
    *(
        (
            {"grant_type": grant},
            400,
            refused("unsupported_grant_type", "grant_type must be password"),
        )
        for grant in ("client_credentials", "refresh_token", "authorization_code", "Password")
    ),
    (
        {"body": urlencode([*GOOD.items(), ("username", "boss@shop.example")]).encode()},
        400,
        refused("invalid_request", "a parameter is there twice"),
    ),
    ({"body": b"username=%FF"}, 400, refused("invalid_request", "the form cannot be read")),
    ({"body": b"\xff"}, 400, refused("invalid_request", "the form cannot be read")),
    (
        {"body": b"a=1&" * (FIELDS + 1)},
        400,
        refused("invalid_request", "the form cannot be read"),
    ),
    ({"body": b"{}"}, 400, refused("invalid_request", "grant_type is missing")),
    (
        {"content_type": "application/json"},
        415,
        refused("invalid_request", f"The request body must be {FORM} in UTF-8."),
    ),
    (
        {"body": b"a=" + bytes(70_000)},
        413,
        refused("invalid_request", "The request body is too large."),
    ),
]


async def test_what_is_no_such_request(idle_desk: Desk) -> None:
    for changes, status, content in ASKED:
        said = await granted(idle_desk, **changes)
        assert (said.status, said.json) == (status, content), changes
        assert said.headers["Cache-Control"] == "no-store"


async def test_other_methods(idle_desk: Desk) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        said = await granted(idle_desk, method=method)
        assert (said.status, said.headers["Allow"]) == (405, "POST")
        assert said.json == refused("invalid_request", "POST is needed")
    query = f"{PREFIX}{REALM}?{urlencode(GOOD)}"
    said = await granted(idle_desk, b"", query)
    assert (said.status, said.json["error"]) == (400, "invalid_request")


async def test_guessing_from_one_address(idle_desk: Desk) -> None:
    for number in range(GUESSES):
        said = await granted(idle_desk, username=f"user{number}@shop.example")
        assert said.status == 400
    for _ in range(2):
        said = await granted(idle_desk)  # the right one as well
        assert said.status == 429
        assert said.json == refused("temporarily_unavailable", "too many failed logins")
        assert 1 <= int(said.headers["Retry-After"]) <= 61
    body = {"email": "pay@shop.example", "password": PASSWORD}
    url = f"{idle_desk.node.server.url}/srs/v1/login"
    async with idle_desk.http.post(url, json=body) as response:
        assert response.status == 429  # one count for all logins


async def test_right_ones_are_no_guesses(idle_desk: Desk) -> None:
    for _ in range(GUESSES + 5):
        assert (await granted(idle_desk)).status == 200


async def test_too_many_at_once(idle_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*_: object) -> bool:
        raise TooManyLogins("too many")

    monkeypatch.setattr(Hasher, "verify", busy)
    said = await granted(idle_desk)
    assert (said.status, said.headers["Retry-After"]) == (503, "1")
    assert said.json == refused("temporarily_unavailable", "too many logins at once")


async def test_a_failure_nobody_foresaw(idle_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> bool:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(Hasher, "verify", fail)
    said = await granted(idle_desk)
    assert said.status == 500
    assert said.json == refused("server_error", "the request failed inside")


async def test_no_password_is_logged(idle_desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    said = await granted(idle_desk)
    await granted(idle_desk, password="a wrong secret")
    shown = "".join(capsys.readouterr())
    assert "pay@shop.example" in shown and "invalid_grant" in shown
    for text in (PASSWORD, "a wrong secret", said.json["access_token"]):
        assert text not in shown
