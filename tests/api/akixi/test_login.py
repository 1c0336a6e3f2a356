"""Sessions over HTTP: created, logged in to, ended, and refused with all the codes there are."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from api.akixi import login
from api.akixi.sessions import Sessions
from api.native.login import FAILURES_PER_MINUTE
from api.remote import networks
from api.server import ApiServer
from config.certificate import Certificate
from config.schema import Api
from tests.api.akixi.desk import (
    CLERK,
    PASSWORD,
    PROLOG,
    ROOT,
    SHOP,
    Desk,
    open_desk,
    request,
)

NEW_PASSWORD = "another horse battery"
REFUSED = (10307, "The user name or password is invalid, or the account is disabled.")
EXPIRED = (10313, "The user's password has expired and must be changed.")
INSECURE = (10307, "A user name and password are accepted over TLS only.")
NO_SESSION = (10302, "The specified session does not exist or has expired.")
BASIC = aiohttp.encode_basic_auth(SHOP, PASSWORD, encoding="utf-8")


async def test_the_three_session_operations(desk: Desk) -> None:
    said = await desk.send(request("CreateSession", invoke="00001"))
    session, nonce = said.properties["SessionID"], said.properties["Nonce"]
    assert said.text == (
        f'{PROLOG}<Response Result="Success"><InvokeID>00001</InvokeID><Success>'
        f'<Property Name="SessionID">{session}</Property><Property Name="Nonce">{nonce}</Property>'
        "</Success></Response>"
    )
    said = await desk.send(request("CallRecIntList", session))
    assert (said.code, said.message) == (10305, "The session has not been authenticated.")
    success = f'{PROLOG}<Response Result="Success"><InvokeID>9</InvokeID></Response>'
    assert (await desk.authenticate(session, SHOP)).text == success
    assert (await desk.send(request("CallRecIntList", session))).code == 0
    assert (await desk.send(request("EndSession", session))).text == success
    for operation in ("CallRecIntList", "Authenticate", "EndSession"):
        said = await desk.send(request(operation, session))
        assert (said.code, said.message) == NO_SESSION


async def test_an_ended_session_holds_no_login(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = []
    bind = Sessions.bind

    async def noting(self: Sessions, session, token) -> None:  # type: ignore[no-untyped-def]
        tokens.append(token.text)
        await bind(self, session, token)

    monkeypatch.setattr(Sessions, "bind", noting)
    session = await desk.session(SHOP)
    users, now = desk.node.services.users, datetime.now(UTC)
    assert users.check(tokens[0], now)
    await desk.send(request("EndSession", session))
    assert users.check(tokens[0], now) is None


@pytest.mark.parametrize(
    ("name", "password"),
    [
        (SHOP, "wrong"),
        (SHOP, ""),
        ("", PASSWORD),
        ("nobody@shop.example", PASSWORD),
        ("off@shop.example", PASSWORD),
    ],
)
async def test_a_bad_login_ends_the_session(desk: Desk, name: str, password: str) -> None:
    session = await desk.create()
    said = await desk.authenticate(session, name, password)
    assert (said.status, said.code, said.message) == (200, *REFUSED)
    said = await desk.authenticate(session, SHOP)
    assert (said.code, said.message) == NO_SESSION


@pytest.mark.parametrize("name", [SHOP, SHOP.upper(), "ann", "ANN"])
async def test_a_user_is_named_by_address_or_name(desk: Desk, name: str) -> None:
    assert (await desk.authenticate(await desk.create(), name)).code == 0


async def test_one_may_log_in_again_as_somebody_else(desk: Desk) -> None:
    session = await desk.session(SHOP)
    assert (await desk.authenticate(session, ROOT)).code == 0
    said = await desk.send(request("CallRecIntList", session))
    assert len(said.entries) == 1  # only of everywhere
    assert (await desk.authenticate(session, ROOT, "wrong")).code == 10307
    assert (await desk.send(request("CallRecIntList", session))).code == 10302


async def test_an_expired_password(desk: Desk) -> None:
    users, long_ago = desk.node.services.users, datetime.now(UTC) - timedelta(days=91)
    await users.set_password(SHOP, PASSWORD, long_ago)
    said = await desk.authenticate(await desk.create(), SHOP)
    assert (said.code, said.message) == EXPIRED
    assert (await desk.authenticate(await desk.create(), SHOP, "wrong")).code == 10307


@pytest.mark.parametrize("what", ["disabled", "removed", "password", "type", "too old"])
async def test_a_session_is_as_good_as_its_login(desk: Desk, what: str) -> None:
    services, now = desk.node.services, datetime.now(UTC)
    user = services.directory.entries.users[SHOP]
    session = await desk.session(SHOP)
    match what:
        case "disabled":
            await services.directory.put(structs.replace(user, enabled=False))
        case "removed":
            await services.directory.remove("users", SHOP)
        case "password":
            await services.users.set_password(SHOP, NEW_PASSWORD, now)
        case "type":
            await services.directory.put(structs.replace(user, type="api"))
        case _:
            await services.users.set_password(SHOP, PASSWORD, now - timedelta(days=91))
    said = await desk.send(request("CallRecIntList", session))
    expected = EXPIRED if what == "too old" else REFUSED
    assert (said.code, said.message) == expected
    said = await desk.send(request("CallRecIntList", session))
    assert (said.code, said.message) == NO_SESSION


async def test_an_idle_session_has_expired(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]

    def made(idle_s, logout):  # type: ignore[no-untyped-def]
        return Sessions(idle_s, logout, now=lambda: now_s[0])

    monkeypatch.setattr(login, "Sessions", made)
    akixi = structs.replace(Api().akixi, session_minutes=2)
    async with open_desk(tmp_path, migrated, api=Api(akixi=akixi)) as desk:
        session = await desk.session(SHOP)
        now_s[0] += 119
        assert (await desk.send(request("CallRecIntList", session))).code == 0
        now_s[0] += 120
        said = await desk.send(request("CallRecIntList", session))
        assert (said.code, said.message) == NO_SESSION


async def test_guessing_from_one_address(desk: Desk) -> None:
    for number in range(FAILURES_PER_MINUTE):
        assert (await desk.authenticate(await desk.create(), SHOP)).code == 0  # takes none back
        assert (await desk.authenticate(await desk.create(), f"u{number}@x")).code == 10307
    said = await desk.authenticate(await desk.create(), SHOP)
    assert (said.status, said.code) == (429, 10307)
    assert int(said.headers["Retry-After"]) > 0
    said = await desk.get("GET", "/v1/login", headers={"Authorization": BASIC})
    assert said.status == 429


async def test_no_password_reaches_the_log(desk: Desk) -> None:
    with capture_logs() as logs:
        session = await desk.create()
        await desk.authenticate(session, SHOP, "wrong but secret")
        await desk.authenticate(await desk.create(), SHOP)
        await desk.get("GET", "/v1/login", headers={"Authorization": BASIC})
        await desk.send(f"<Request><Password>{PASSWORD}")
    assert logs
    for secret in ("wrong but secret", PASSWORD, session, BASIC):
        assert secret not in str(logs)
    assert {each.get("actor") for each in logs if each["event"] == "request"} == {"", SHOP}


# only where nobody else reads it


FORWARDED = {"X-Forwarded-For": "192.0.2.1"}


@pytest.mark.parametrize(
    ("proxies", "headers", "is_taken"),
    [
        ([], {}, True),
        ([], FORWARDED, False),
        ([], {"Via": "1.1 x"}, False),
        ([], {"X-Forwarded-Proto": "https", **FORWARDED}, False),
        (["127.0.0.1/32"], FORWARDED, True),
        (["127.0.0.1/32"], {"X-Forwarded-Proto": "https", **FORWARDED}, True),
        (["127.0.0.1/32"], {"X-Forwarded-Proto": "http", **FORWARDED}, False),
        (["127.0.0.1/32"], {"X-Forwarded-Proto": "https, http", **FORWARDED}, False),
        (["192.0.2.0/24"], FORWARDED, False),
    ],
)
async def test_a_password_that_others_could_read_is_not_looked_at(
    tmp_path: Path, migrated: Path, proxies: list[str], headers: dict[str, str], is_taken: bool
) -> None:
    async with open_desk(tmp_path, migrated, api=Api(proxies=proxies)) as desk:
        session = await desk.create()
        credentials = {"UserName": SHOP, "Password": PASSWORD}
        said = await desk.send(request("Authenticate", session, credentials), **headers)
        if is_taken:
            assert said.code == 0
        else:
            assert (said.code, said.message) == INSECURE
            assert (await desk.authenticate(session, SHOP)).code == 10302
        said = await desk.get("GET", "/v1/login", headers={"Authorization": BASIC, **headers})
        assert said.status == (200 if is_taken else 401)


async def test_in_clear_from_another_machine_it_is_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "LOOPBACK", networks(["192.0.2.0/24"]))  # so we are another one
    said = await desk.authenticate(await desk.create(), SHOP)
    assert (said.code, said.message) == INSECURE
    said = await desk.get("GET", "/v1/login", headers={"Authorization": BASIC})
    assert (said.status, "Set-Cookie" in said.headers) == (401, False)


async def test_over_tls_it_is_and_the_cookie_stays_there(desk: Desk) -> None:
    config = Api(listen="127.0.0.1:0", certificate="self-signed")
    certificate = Certificate(config, desk.node.folder, datetime.now(UTC))
    server = ApiServer(config, desk.node.services, certificate=certificate)
    await server.start()
    try:
        url, headers = f"{server.url}/CCS/API/v1/login", {"Authorization": BASIC, **FORWARDED}
        async with desk.http.get(url, headers=headers, ssl=False) as response:
            assert response.status == 200
            cookie = response.headers["Set-Cookie"]
        assert cookie.endswith("; HttpOnly; Path=/CCS/API; SameSite=Strict; Secure")
    finally:
        await server.stop()


# the REST interface


async def test_the_login_by_rest_holds_for_xml(desk: Desk) -> None:
    said = await desk.get("POST", "/v1/session")
    assert said.headers["Content-Type"] == "application/json"
    made = json.loads(said.body)
    assert sorted(made) == ["Nonce", "SessionID"]
    cookie = f"JSESSIONID={made['SessionID']}"
    attributes = "HttpOnly; Path=/CCS/API; SameSite=Strict"
    assert said.headers["Set-Cookie"] == f"{cookie}; {attributes}"
    headers = {"Authorization": BASIC, "Cookie": cookie}
    said = await desk.get("GET", "/v1/login?locale=en_GB", headers=headers)
    assert (said.status, said.text) == (200, f'{{"SessionID":"{made["SessionID"]}"}}')
    assert said.headers["Set-Cookie"] == f"{cookie}; {attributes}"
    assert (await desk.send(request("CallRecIntList", made["SessionID"]))).code == 0
    assert (await desk.send(request("CallRecIntList"), Cookie=cookie)).code == 0
    assert (await desk.send(request("CallRecIntList", "A" * 32), Cookie=cookie)).code == 10302
    assert (await desk.send(request("EndSession"), Cookie=cookie)).code == 0
    assert (await desk.send(request("CallRecIntList"), Cookie=cookie)).code == 10302


@pytest.mark.parametrize("query", ["", "?locale=en_GB", "?locale=en_US"])
async def test_a_login_without_a_session_makes_one(desk: Desk, query: str) -> None:
    said = await desk.get("GET", f"/v1/login{query}", headers={"Authorization": BASIC})
    assert said.status == 200
    session = said.headers["Set-Cookie"].partition(";")[0].removeprefix("JSESSIONID=")
    assert said.text == f'{{"SessionID":"{session}"}}'
    assert (await desk.send(request("CallRecIntList", session))).code == 0


@pytest.mark.parametrize(
    ("query", "authorization", "status", "code"),
    [
        ("", None, 401, 10307),
        ("", "Basic", 401, 10307),
        ("", "Basic !!!", 401, 10307),
        ("", "Bearer x", 401, 10307),
        ("", aiohttp.encode_basic_auth(SHOP, "wrong"), 401, 10307),
        ("", aiohttp.encode_basic_auth(CLERK, PASSWORD), 403, 10313),
        ("?locale=de_DE", BASIC, 400, 10107),
        ("?locale=", BASIC, 400, 10107),
    ],
)
async def test_rest_logins_that_are_refused(
    desk: Desk, query: str, authorization: str | None, status: int, code: int
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=91)
    await desk.node.services.users.set_password(CLERK, PASSWORD, long_ago)
    headers = {"Authorization": authorization} if authorization else {}
    said = await desk.get("GET", f"/v1/login{query}", headers=headers)
    assert said.status == status
    assert f'{{"ErrorCode":{code},"ErrorMessage":"' in said.text
    assert "Set-Cookie" not in said.headers
    challenge = 'Basic realm="CCS", charset="UTF-8"'
    assert said.headers.get("WWW-Authenticate") == (challenge if status == 401 else None)
