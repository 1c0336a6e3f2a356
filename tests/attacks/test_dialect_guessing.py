"""Guessing passwords, tokens and sessions where dialects take them; and that they are not logged.

FACE and the native interface have tests of their own, which this is the counterpart of.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
import pytest_asyncio
from msgspec.structs import replace
from structlog.testing import capture_logs

from api.auth import FAILURES_PER_MINUTE as TOKENS_PER_MINUTE
from api.native.login import FAILURES_PER_MINUTE
from storage.entries import User
from tests.api.akixi import desk as akixi
from tests.api.wires import exchange
from tests.attacks.lists import passwords_near, tokens_alike, tokens_near
from tests.attacks.market import (
    BOSS,
    FORM,
    ISR,
    MARK,
    PASSWORD,
    SHOP,
    XML,
    Market,
    Said,
    Sent,
    basic,
    open_market,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

AN, HUB = "/attendantservice/api/recording", "/attendantservice/hubs/recording"
CLASSIC = "/attendantservice/signalr/negotiate"
OIDC = "/auth/realms/any/protocol/openid-connect/token"
ADDRESSES = (f"127.0.{1 + number // 250}.{1 + number % 250}" for number in count())
"""Where nobody has failed yet."""
NUMBERS = count(1)
Login = Callable[[Market, str, str], Awaitable[Said]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> AsyncIterator[Market]:
    """One for all."""
    async with open_market(tmp_path_factory.mktemp("market"), migrated) as opened:
        yield opened


async def _imagicle(market: Market, name: str, password: str) -> Said:
    path = "/fw/Apps/Recorder/WebAPI/Recordings"
    return await market.send(Sent("GET", path, {"Authorization": basic(name, password)}))


async def _apio(market: Market, name: str, password: str) -> Said:
    path = "/api/v1/system/services/call_recording/platforms"
    return await market.send(Sent("GET", path, {"Authorization": basic(name, password)}))


async def _oauth(market: Market, name: str, password: str) -> Said:
    form = {"grant_type": "password", "client_id": "coreapi"}
    body = urlencode(form | {"username": name, "password": password})
    return await market.send(Sent("POST", OIDC, FORM, body.encode()))


async def _akixi(market: Market, name: str, password: str) -> Said:
    made = await market.send(Sent("POST", "/CCS/API/v1/session"))
    credentials = {"UserName": name, "Password": password}
    body = akixi.request("Authenticate", made.tree["SessionID"], credentials)
    return await market.send(Sent("POST", "/CCS/API/ws", XML, body.encode()))


async def _akixi_rest(market: Market, name: str, password: str) -> Said:
    headers = {"Authorization": basic(name, password)}
    return await market.send(Sent("GET", "/CCS/API/v1/login", headers))


LOGINS: Mapping[str, Login] = {
    "imagicle": _imagicle,
    "apio": _apio,
    "oauth": _oauth,
    "akixi": _akixi,
    "akixi-rest": _akixi_rest,
}
each_login = pytest.mark.parametrize("login", LOGINS.values(), ids=LOGINS)


def seen(said: Said) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """All that is to be seen of an answer."""
    headers = sorted((name, text) for name, text in said.headers.items() if name != "Date")
    return said.status, tuple(headers), said.body


def is_in(said: Said) -> bool:
    return said.status == 200 and b"<ErrorCode>" not in said.body


async def somebody(market: Market, **changes: object) -> str:
    """The name of a new user, who may do what admins may and has `PASSWORD`."""
    user = User(f"user{next(NUMBERS)}@shop.example", SHOP, "admin")
    services = market.node.services
    await services.directory.put(replace(user, **changes))
    await services.users.set_password(user.email, PASSWORD, datetime.now(UTC))
    return user.email


# passwords


@each_login
async def test_ten_guesses_lock_and_nothing_tells_who_there_is(
    market: Market, login: Login
) -> None:
    """Known and locked, unknown, and disabled: one and the same, the right password included."""
    known, disabled = await somebody(market), await somebody(market, enabled=False)
    guesses = [each for each in passwords_near(PASSWORD) if "\0" not in each]
    guesses = [each for each in guesses if each.strip() != PASSWORD]  # blanks around XML are none
    guesses += [f"guess {number}" for number in range(10 - len(guesses))]
    async with market.asking_from(next(ADDRESSES)):
        answers = [await login(market, known, guess) for guess in guesses]
        answers.append(await login(market, known, PASSWORD))  # right, and locked
    for name in (disabled, "nobody@shop.example", "nobody"):
        async with market.asking_from(next(ADDRESSES)):
            answers += [await login(market, name, guess) for guess in guesses[:5]]
            answers.append(await login(market, name, PASSWORD))
    assert len({seen(each) for each in answers}) == 1 and not is_in(answers[0])
    async with market.asking_from(next(ADDRESSES)):
        assert is_in(await login(market, await somebody(market), PASSWORD)), "one locks one"


@each_login
async def test_guesses_are_cut_off_by_address_and_addresses_are_not_claimed(
    market: Market, login: Login
) -> None:
    """Many names, one password each: no user is locked, but who guesses is stopped."""
    name = await somebody(market)
    async with market.asking_from(next(ADDRESSES)):
        said = [await login(market, f"u{n}@x.example", f"p{n}") for n in range(25)]
        cut = [each.status == 429 for each in said]
        assert cut == [False] * FAILURES_PER_MINUTE + [True] * (25 - FAILURES_PER_MINUTE)
        assert not any(is_in(each) for each in said)
        assert 0 < int(said[-1].headers["Retry-After"]) <= 60
        for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP"):
            headers = {"Authorization": basic("u@x.example", header), header: "192.0.2.7"}
            claimed = Sent("GET", "/fw/Apps/Recorder/WebAPI/Recordings", headers)
            assert (await market.send(claimed)).status == 429, header
    async with market.asking_from(next(ADDRESSES)):
        assert is_in(await login(market, name, PASSWORD)), "others go on"


@pytest.mark.parametrize("login", [_imagicle, _apio], ids=["imagicle", "apio"])
async def test_a_lock_does_not_end_what_goes_on(market: Market, login: Login) -> None:
    """Who fails to log in under a name keeps nobody of that name from pausing."""
    name = await somebody(market)
    async with market.asking_from(next(ADDRESSES)):
        assert is_in(await login(market, name, PASSWORD))
    async with market.asking_from(next(ADDRESSES)):
        for number in range(12):
            assert (await login(market, name, f"guess {number}")).status == 401
        assert is_in(await login(market, name, PASSWORD)), "it is remembered"
    services, now = market.node.services, datetime.now(UTC)
    await services.users.set_password(name, "another horse battery", now)
    async with market.asking_from(next(ADDRESSES)):
        assert (await login(market, name, PASSWORD)).status == 401, "until it is another"


AUTHORIZATIONS = (
    *(
        "",
        " ",
        "Basic",
        "Basic ",
        "Basic =",
        "Basic ====",
        "Basic a",
        "Basic \u00fc",
        "basic\tOg==",
    ),
    *(
        "Basic Og==",
        "Basic OnBhc3M=",
        "Basic dXNlcg==",
        "Basic /w==",
        "Basic wyg6eA==",
        "Basic AAA6",
    ),
    *("Basic dXNlcjo=, Basic dXNlcjo=", "Digest username=x", "Negotiate YII=", "Bearer", "Bearer "),
    *("Bearer Bearer", "Bearer\u00a0x", "Bearer e30.e30.", "Bearer eyJhbGciOiJub25lIn0.e30.", ":"),
    *("Basic " + "A" * 6000, "Bearer " + "." * 6000),
)
"""What stands in a header and is nobody's."""
GUARDED = (
    "/fw/Apps/Recorder/WebAPI/Recordings",
    "/api/v1/system/services/call_recording/platforms",
    "/CCS/API/v1/login",
    f"{AN}/a/b",
    HUB,
    CLASSIC,
)


@pytest.mark.parametrize("path", GUARDED)
async def test_what_is_no_password_and_no_token_is_refused(market: Market, path: str) -> None:
    async with market.asking_from(next(ADDRESSES)):
        for text in AUTHORIZATIONS:
            said = await market.send(Sent("GET", path, {"Authorization": text}))
            assert said.status in {401, 429}, (text, said)
            told = {401: "WWW-Authenticate", 429: "Retry-After"}[said.status]
            assert told in said.headers, (text, said)


# tokens and sessions


async def test_what_resembles_a_token_is_none(market: Market) -> None:
    """In the header, and in the URL where browsers have to put it."""
    token = market.tokens[ISR]
    own = f"{AN}/capabilities/{MARK}"
    guesses = [each for each in tokens_near(token) if each != token]
    headers = [{"Authorization": f"Bearer {each}"} for each in (*guesses, *tokens_alike(token))]
    asked = [Sent("GET", own, each) for each in headers]
    urls = [quote(each, safe="") for each in (*guesses, *tokens_alike(token))]
    asked += [Sent("GET", f"{CLASSIC}?access_token={each}") for each in urls]
    for number, sent in enumerate(asked):
        if number % 40 == 0:
            address = next(ADDRESSES)
        async with market.asking_from(address):
            assert (await market.send(sent)).status == 401, sent
    for sent in (
        Sent("GET", own, {"Authorization": f"Bearer {token}"}),
        Sent("GET", f"{CLASSIC}?access_token={token}"),
    ):
        assert (await market.send(sent)).status == 200


async def test_a_token_in_a_url_is_for_hubs_only_and_one_is_enough(market: Market) -> None:
    token = market.tokens[ISR]
    for sent in (
        Sent("GET", f"{AN}/capabilities/{MARK}?access_token={token}"),
        Sent("GET", f"{CLASSIC}?token={token}"),
        Sent("GET", f"{CLASSIC}?Access_Token={token}"),
        Sent("GET", f"{CLASSIC}?access_token={token}&access_token={token}"),
        Sent("GET", f"{CLASSIC}?access_token={token}", {"Authorization": "Bearer "}),
        Sent("GET", CLASSIC, {"Cookie": f"access_token={token}"}),
        Sent("GET", f"/fw/Apps/Recorder/WebAPI/Recordings?access_token={token}"),
        Sent("GET", f"/api/v1/system/services/call_recording/platforms?access_token={token}"),
    ):
        assert (await market.send(sent)).status == 401, sent


async def test_random_tokens_are_cut_off_by_address(market: Market) -> None:
    """Of REST and hubs together."""
    address = next(ADDRESSES)
    statuses = []
    async with market.asking_from(address):
        for number in range(TOKENS_PER_MINUTE + 6):
            path = f"{CLASSIC}?access_token={uuid4()}"
            headers = {"Authorization": f"Bearer {uuid4()}"}
            sent = Sent("GET", path) if number % 2 else Sent("GET", f"{AN}/a/b", headers)
            statuses.append((await market.send(sent)).status)
        good = Sent("GET", f"{CLASSIC}?access_token={market.tokens[ISR]}")
        assert (await market.send(good)).status == 200, "a good token goes on"
    assert statuses == [401] * TOKENS_PER_MINUTE + [429] * 6


async def test_what_resembles_a_session_is_none(market: Market) -> None:
    session = market.sessions[BOSS]
    for guess in (*tokens_near(session), session.lower(), f" {session[:-1]}", f"{session}\u200b"):
        if guess.isprintable() and guess != session:
            body = akixi.request("CallRecIntList", guess.replace("&", "").replace("<", ""))
            said = await market.send(Sent("POST", "/CCS/API/ws", XML, body.encode()))
            assert said.status == 200 and b"<ErrorCode>10302</ErrorCode>" in said.body, guess
    for cookie in (session[:-1], session.lower(), f"{session};JSESSIONID=x", f'"{session[:-1]}"'):
        headers = {**XML, "Cookie": f"JSESSIONID={cookie}"}
        body = akixi.request("CallRecIntList")
        said = await market.send(Sent("POST", "/CCS/API/ws", headers, body.encode()))
        assert b"<ErrorCode>10302</ErrorCode>" in said.body, cookie


CHANGES: tuple[dict[str, object], ...] = ({"enabled": False}, {"type": "tenant"})
"""What ends tokens and sessions."""


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_what_was_given_out_ends_with_its_user(
    market: Market, change: dict[str, object]
) -> None:
    name = await somebody(market)
    async with market.asking_from(next(ADDRESSES)):
        token = (await _oauth(market, name, PASSWORD)).tree["access_token"]
        session = (await _akixi_rest(market, name, PASSWORD)).tree["SessionID"]
        assert is_in(await _imagicle(market, name, PASSWORD))
    directory = market.node.services.directory
    await directory.put(replace(directory.entries.users[name], **change))
    async with market.asking_from(next(ADDRESSES)):
        good = Sent("GET", f"{AN}/capabilities/{MARK}", {"Authorization": f"Bearer {token}"})
        assert (await market.send(good)).status == 401
        listing = akixi.request("CallRecIntList", session)
        said = await market.send(Sent("POST", "/CCS/API/ws", XML, listing.encode()))
        assert b"<ErrorCode>10307</ErrorCode>" in said.body, said
        said = await market.send(Sent("POST", "/CCS/API/ws", XML, listing.encode()))
        assert b"<ErrorCode>10302</ErrorCode>" in said.body, said
        assert is_in(await _imagicle(market, name, PASSWORD)) == ("type" in change)


# logs


async def test_no_secret_of_a_broken_request_is_logged(market: Market) -> None:
    """In URLs, cookies and headers; proper requests are looked at whenever they are sent."""
    token, session = market.tokens[ISR], market.sessions[BOSS]
    password = basic(BOSS).removeprefix("Basic ")
    head = f"Cookie: JSESSIONID={session}\r\nAuthorization: Basic {password}\r\n"
    answers = []
    with capture_logs() as lines:
        for target in (
            f"{HUB}?access_token={token}",
            f"{HUB}%3Faccess_token={token}",
            f"{HUB}&access_token%3D{token}",
            f"/CCS/API/ws;jsessionid={session}",
            f"/CCS/API/v1/login;JSESSIONID={session}?x",
            f"/x?JSESSIONID={session}&access_token={token}",
        ):
            for start, more in (
                (f"GET {target} HTTP/1.1", ""),
                (f"GET {target} HTTP/9.9", ""),
                (f"G=T {target} HTTP/1.1", ""),
                (f"GET {target} HTTP/1.1", "X Y: z\r\n"),
                (f"POST {target} HTTP/1.1", f"Content-Length: {token}\r\n"),
                (f"GET {target} HTTP/1.1", f"Transfer-Encoding: {session}\r\n"),
                (f"GET {target} HTTP/1.1", "Upgrade: websocket\r\nConnection: upgrade\r\n"),
                (f"GET http://x{target} HTTP/1.1", ""),
            ):
                text = f"{start}\r\nHost: x\r\nConnection: close\r\n{head}{more}\r\n"
                answers.append(await exchange(market.node.server.address, text.encode()))
    said = b"".join(answers).decode(errors="replace")
    for secret in (token, session, password):
        assert secret not in str(lines), [line for line in lines if secret in str(line)]
        assert secret not in said, secret
    logged = [line for line in lines if line["event"].startswith("request")]
    assert len(logged) == len(answers)
