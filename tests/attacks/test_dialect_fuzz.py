"""Any request to a dialect at all: it is answered in the dialect's own words, never by a failure.

Requests begin right, and then something of them is bent: path, query, headers, body. `Market.send`
looks at what is true of every answer. Counterpart: `test_face_fuzz`.
"""

import gc
import re
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import pytest_asyncio
from aiohttp import WSMsgType
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.attacks.answers import brief
from tests.attacks.asked import BASES, BOUNDARY, asked, uploaded
from tests.attacks.lists import LINES, NAMES, SCRIPTS, SQL
from tests.attacks.market import ISR, Market, Said, Sent, open_market
from tests.attacks.routes import AKIXI, AN, APIO, HUB, IMAGICLE, NATIVE, OIDC, TOKEN, Row, rows
from tests.storage.people import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIALECTS = (AN, HUB, TOKEN, IMAGICLE, APIO, AKIXI)
STATUSES = {200, 201, 204, 206, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 416, 426, 429}
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
LOOSE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> AsyncIterator[Market]:
    """One for all."""
    async with open_market(tmp_path_factory.mktemp("market"), migrated) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Bend:
    """What becomes of a request."""

    row: Row
    who: str
    method: str
    """Empty: the right one."""
    tail: str
    """Behind the path, or in place of its end."""
    is_replaced: bool
    query: str
    headers: Mapping[str, str]
    body: bytes | None
    """None: the right one."""
    cuts: tuple[tuple[int, bytes], ...]
    """Octets that go over those of the right body, and where."""


HURTING = (*NAMES, *SQL, *LINES, *SCRIPTS, "", "true", "0", "-1", "1e9", "\0", "9" * 30, "null")


def texts() -> st.SearchStrategy[str]:
    """Any text, and what is known to hurt."""
    return st.sampled_from(HURTING) | st.text(max_size=20)


def encoded() -> st.SearchStrategy[str]:
    """Octets of a URL, some of which are no text, and what paths are bent with."""
    whole = texts().map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe=""))
    loose = st.binary(max_size=6).map(lambda octets: quote(octets, safe=""))
    bent = st.sampled_from(
        ("//", "/./", "/../", "/%2e%2e/", "/%2f", "/%00", ";x=y", "/%", "/%zz", "/%u0041", "%C0%AF")
    )
    return bent | whole | loose


def headers() -> st.SearchStrategy[dict[str, str]]:
    """What heads of requests are bent with."""
    some = {
        "Accept": ("*/*", "text/html", "application/json;q=0", "a/b;q=x", ",,;", "application/xml"),
        "Accept-Language": ("xx", "*;q=0"),
        "Content-Type": ("application/json", "text/xml; charset=utf-16", "a", "/", "", "x/y;z"),
        "Content-Encoding": ("gzip", "identity", "x", "deflate, br"),
        "Authorization": (
            "",
            "Basic",
            "Basic =",
            "Basic Og==",
            "Basic w7/",
            "Bearer",
            "Bearer \xff",
        ),
        "Cookie": ("JSESSIONID", "JSESSIONID=", ";;;=;", "\xff=\xfe", "a=b; " * 200),
        "Range": ("bytes=0-", "bytes=9-1", "bytes=" + "0-0," * 100, "x"),
        "Upgrade": ("websocket", "h2c"),
        "Connection": ("Upgrade", "keep-alive, Upgrade"),
        "Sec-WebSocket-Key": ("x", "dGhlIHNhbXBsZSBub25jZQ=="),
        "Sec-WebSocket-Version": ("13", "99"),
        "Host": ("", "x y", "[::1", "a" * 300),
        "X-Forwarded-For": ("127.0.0.1", "x, y"),
        "SOAPAction": ("x", '"'),
        "If-None-Match": ("*", '"x"'),
    }
    one = st.sampled_from(sorted(some)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(some[name]))
    )
    return st.lists(one, max_size=3).map(dict)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = (
    *("Action", "RequesterSipUri", "CorrelationId", "UCCName", "deviceName", "directoryNumber"),
    *("mode", "name", "netAddress", "port", "mediaStream", "transportProtocol", "description"),
    *("schemaVersion", "supportVideoRecording", "default", "refreshPeriodSeconds"),
)
WORDS = ("Request", "OperationPayload", "Property", "Container", "InvokeID", "SessionID", "Limit")


def jsons() -> st.SearchStrategy[bytes]:
    """Objects with members that are known, and any JSON, or nearly."""
    known = st.dictionaries(st.sampled_from(MEMBERS), JSONS, max_size=5)
    return (known | JSONS).map(_json)


def _json(tree: Any) -> bytes:
    try:
        return msgspec.json.encode(tree)
    except (msgspec.MsgspecError, UnicodeError, OverflowError):
        return repr(tree).encode("utf-8", "surrogatepass")


def xmls() -> st.SearchStrategy[bytes]:
    """Elements that are known, in any order and depth, with any text."""
    words = st.sampled_from((*WORDS, "soap:Envelope", "x"))
    names = st.sampled_from(("CallRecIntGUID", "TelSysID", "PartitionGUID", "Description", "x"))
    leaf = st.builds("<{0} Name='{1}' Operation='{1}'>{2}</{0}>".format, words, names, texts())
    tree = st.recursive(
        leaf,
        lambda inner: st.builds("<{0}>{1}</{0}>".format, words, st.lists(inner).map("".join)),
        max_leaves=6,
    )
    return tree.map(lambda text: text.encode("utf-8", "surrogatepass"))


def parts() -> st.SearchStrategy[bytes]:
    """Pieces of multipart bodies in any order."""
    dispositions = ("form-data; name=jsondata", "form-data; name=attachment", "form-data", "x;")
    pieces = (
        *(f"--{BOUNDARY}", f"--{BOUNDARY}--", "\r\n", "\r\n\r\n", "\n", "--", '{"a":1}', "RIFF"),
        *(f"Content-Disposition: {each}\r\n" for each in dispositions),
        *("Content-Type: application/json\r\n", "Content-Transfer-Encoding: base64\r\n", "\0"),
    )
    some = st.lists(st.sampled_from(pieces), max_size=12).map("".join)
    return some.map(str.encode) | st.binary(max_size=20)


def bodies() -> st.SearchStrategy[bytes | None]:
    """Half of them the right one."""
    return st.none() | st.none() | jsons() | xmls() | parts() | st.binary(max_size=50)


@st.composite
def bends(draw: st.DrawFn, dialect: str) -> Bend:
    """A request of a dialect, bent."""
    who = "root" if dialect == APIO else "own"
    pairs = st.tuples(encoded() | st.sampled_from(QUERIES), encoded()).map("=".join)
    return Bend(
        draw(st.sampled_from([row for row in rows() if row.dialect == dialect])),
        draw(st.sampled_from((who, who, who, "other", "wrong", "nobody"))),
        draw(st.sampled_from(("", "", "", "", "", *METHODS))),
        draw(st.just("") | encoded()),
        draw(st.booleans()),
        draw(st.lists(pairs, max_size=3).map("&".join)),
        draw(headers()),
        draw(bodies()),
        draw(
            st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=3).map(tuple)
        ),
    )


QUERIES = (
    *("startTime", "page", "pageSize", "ownerUsername", "remotePartyNumber", "direction", "mode"),
    *("negotiateVersion", "id", "transport", "connectionToken", "connectionData", "groupsToken"),
    *("clientProtocol", "access_token", "locale", "directoryNumber", "deviceName", "username"),
)


def bent(market: Market, bend: Bend) -> Sent:
    """The request."""
    sent = asked(market, bend.row, bend.who)
    path, _, query = sent.path.partition("?")
    if bend.tail:
        path = (path.rpartition("/")[0] if bend.is_replaced else path) + bend.tail
    query = "&".join(filter(None, (query, bend.query)))
    body = sent.body if bend.body is None else bend.body
    for at, octets in bend.cuts:
        if body:
            body = body[: at % len(body)] + octets + body[at % len(body) + len(octets) :]
    given = {**sent.headers, **bend.headers}
    if bend.row.is_login and bend.who in {"wrong", "other"}:
        given.pop("Authorization", None)  # what fails is counted, and nothing else is tried then
    return Sent(
        bend.method or sent.method,
        path + (f"?{query}" if query else ""),
        given,
        body if bend.method not in {"TRACE", "HEAD"} else None,
    )


async def judge(market: Market, bend: Bend) -> None:
    """Send it, and look at the answer."""
    sent = bent(market, bend)
    said = await market.send(sent)
    assert said.status in STATUSES, (sent, said)
    path = sent.path.partition("?")[0]
    row = next((Row(of, "", tail, ()) for form, of, tail in WORDS_OF if form.match(path)), NOBODYS)
    brief(NOBODYS if _is_malformed(said) else row, said, sent.method)


def _is_malformed(said: Said) -> bool:
    return said.status == 400 and b"this is not proper HTTP" in said.body


NOBODYS = Row(NATIVE, "", "", ())
WORDS_OF = (
    (re.compile(r"(?i:/fw/Apps/Recorder/WebAPI)(/|$)"), IMAGICLE, ""),
    (re.compile(r"/api/v1/system(/|$)"), APIO, ""),
    (re.compile(r"/CCS/API/v1"), AKIXI, "/v1"),
    (re.compile(r"/CCS/API(/|$)"), AKIXI, ""),
    (re.compile(r"/attendantservice/(hubs/recording|signalr)(/|$)"), HUB, ""),
    (
        re.compile(rf"(/attendantservice)?/auth/realms/[^/]+{OIDC}$"),
        TOKEN,
        "",
    ),
    (re.compile(r"/attendantservice(/|$)"), AN, ""),
)
"""Paths as they come, and in whose words what is there is answered."""


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(LOOSE, max_examples=150)
@given(data=st.data())
async def test_any_request_is_answered(market: Market, dialect: str, data: st.DataObject) -> None:
    await judge(market, data.draw(bends(dialect)))


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
@settings(LOOSE, max_examples=4000)
@given(data=st.data())
async def test_very_many_requests_are_answered(
    market: Market, dialect: str, data: st.DataObject
) -> None:
    await judge(market, data.draw(bends(dialect)))


# uploads


UPLOAD = next(row for row in rows() if row.key == (IMAGICLE, "POST", "recordings"))


@settings(LOOSE, max_examples=150)
@given(
    body=parts(),
    cuts=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30), parts()), max_size=3),
    is_chunked=st.booleans(),
)
async def test_any_upload_is_answered_and_leaves_nothing(
    market: Market, body: bytes, cuts: list[tuple[int, int, bytes]], is_chunked: bool
) -> None:
    whole = uploaded("own")
    for at, length, octets in cuts:
        whole = whole[: at % len(whole)] + octets + whole[at % len(whole) + length :]
    for each in (body, whole):
        sent = replace(asked(market, UPLOAD, "own"), body=each, is_chunked=is_chunked)
        said = await market.send(sent)
        assert brief(UPLOAD, said) in {"400/0", "400/1", "400/2"}, (each, said)
    left = [path for path in market.node.folder.rglob("*upload*/*") if path.is_file()]
    assert not left


# WebSockets


CORE = f"{BASES[HUB]}/attendantservice/hubs/recording"
CLASSIC = "/attendantservice/signalr/connect?transport=webSockets&connectionToken=x"
HANDSHAKE = b'{"protocol":"json","version":1}\x1e'
CALLED = ("type", "target", "arguments", "invocationId", "protocol", "version", "H", "M", "A", "I")
TARGETS: tuple[Any, ...] = (
    "subscribe",
    "unsubscribe",
    "recordinghub",
    1,
    3,
    4,
    6,
    7,
    "json",
    [],
    [""],
    ["x", "y"],
)


def frames() -> st.SearchStrategy[bytes]:
    """Messages of either protocol, whole, cut, joined, or none."""
    members = st.dictionaries(
        st.sampled_from(CALLED), st.sampled_from(TARGETS) | JSONS, max_size=5
    ).map(_json)
    piece = members | JSONS.map(_json) | st.binary(max_size=20) | st.just(HANDSHAKE)
    ends = st.sampled_from((b"\x1e", b"\x1e", b"", b"\x1e\x1e", b"\n"))
    joined = st.lists(st.tuples(piece, ends).map(b"".join), max_size=4).map(b"".join)
    return joined | st.just(b'{"type":1,"target":"' + b"x" * 40_000)


@pytest.mark.parametrize("path", [CORE, CLASSIC], ids=["core", "classic"])
@settings(LOOSE, max_examples=100)
@given(sent=st.lists(frames(), max_size=4), is_text=st.booleans(), is_first=st.booleans())
async def test_any_frame_is_answered_or_ends_the_connection(
    market: Market, path: str, sent: list[bytes], is_text: bool, is_first: bool
) -> None:
    headers = {"Authorization": f"Bearer {market.tokens[ISR]}"}
    url = market.node.server.url + path
    with capture_logs() as lines:
        async with market.http.ws_connect(url, headers=headers) as socket:
            if path == CORE and not is_first:
                await socket.send_bytes(HANDSHAKE)
            for each in sent:
                text = each.decode(errors="replace")
                await (socket.send_str(text) if is_text else socket.send_bytes(each))
            await socket.ping()
            await socket.close()
            async for message in socket:
                assert message.type in {WSMsgType.TEXT, WSMsgType.BINARY}
                octets = message.data.encode() if message.type is WSMsgType.TEXT else message.data
                for part in octets.split(b"\x1e"):
                    assert not part or isinstance(msgspec.json.decode(part), dict)
        await until(lambda: any(line["event"] == "request" for line in lines))
    assert not [line for line in lines if line["event"] in {"request_failed", "hub_failed"}]
    assert market.tokens[ISR] not in str(lines)


# memory


async def test_what_is_refused_is_not_kept(market: Market) -> None:
    """The same requests again and again: what is held grows by nothing that counts."""

    async def round_of(number: int) -> None:
        for row in rows():
            if row.dialect in DIALECTS and not row.is_login:
                sent = asked(market, row, "other")
                query = f"{'&' if '?' in sent.path else '?'}x={number}{'y' * 2000}"
                body = b"<x>" + bytes(2000) if row.method in {"POST", "PUT"} else None
                await market.send(replace(sent, path=sent.path + query, body=body))

    tracemalloc.start()
    try:
        for number in range(4):  # caches of URLs are full then
            await round_of(number)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(4, 8):
            await round_of(number)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 300_000, grown
