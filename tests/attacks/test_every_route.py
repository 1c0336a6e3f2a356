"""All routes of all dialects, asked by callers and in ways that are wrong, on one running node.

Whatever is asked: `Market.send` has it answered soon, in the dialect's own form, without a failure
of the server, a secret, or more than one line in the log; and nothing the shop has changes.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tests.attacks.answers import brief
from tests.attacks.asked import asked, uploaded
from tests.attacks.lists import FIELDS, bodies
from tests.attacks.market import BOSS, MARK, RECORDING, SHOP, Market, encoded, open_market
from tests.attacks.routes import (
    AKIXI,
    AN,
    APIO,
    DIALECTS,
    FACE,
    HUB,
    IMAGICLE,
    NATIVE,
    TOKEN,
    WHO,
    Row,
    rows,
    served,
)
from tests.storage.people import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODIED = (NATIVE, FACE, AN, TOKEN, IMAGICLE, APIO, AKIXI)
BROKEN = [*bodies()]
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
WRITERS = {NATIVE: "other", FACE: "other", AN: "other", IMAGICLE: "other", APIO: "root"}
"""Who gets so far that a body is read, and can change nothing of the shop's by it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> AsyncIterator[Market]:
    """One for all."""
    async with open_market(tmp_path_factory.mktemp("market"), migrated) as opened:
        yield opened


def _bodied(dialect: str) -> Iterator[Row]:
    """Its routes that read a body, one of each path."""
    paths: set[str] = set()
    for row in rows():
        if row.dialect == dialect and row.method in {"POST", "PUT"}:
            path = "/ws" if dialect == AKIXI and row.path.isalpha() else row.path
            if path not in {*paths, "/v1/session"} and not BODILESS.search(path):
                paths.add(path)
                yield row


BODILESS = re.compile(r"liverecordings/.*(pause|resume)|/logout")
"""Imagicle's do not look at a body; the end of a token is there once."""


@asynccontextmanager
async def nothing_changes(market: Market) -> AsyncIterator[None]:
    before = await market.holdings()
    yield
    assert await market.holdings() == before


async def test_the_table_has_every_route_there_is(market: Market) -> None:
    assert served(market.node.server.listeners["api"]) == {row.key for row in rows()}
    assert {row.dialect for row in rows()} == {*DIALECTS}
    assert all(len(row.answers) == len(WHO) for row in rows())


@pytest.mark.parametrize("who", WHO)
async def test_who_gets_in(market: Market, who: str) -> None:
    """What the shop has is not shown to others, unless they said it themselves."""
    address = f"127.0.0.{10 + WHO.index(who)}"
    async with nothing_changes(market), market.asking_from(address):
        for row in rows():
            sent = asked(market, row, who)
            said = await market.send(sent)
            assert brief(row, said) == row.answers[WHO.index(who)], (str(row), said)
            for mark in (MARK, BOSS, RECORDING, market.live.id):
                if who != "weak" and mark not in str(sent):
                    assert mark not in said.text, (str(row), said)


READING = {"CallRecIntList", "CallRecIntInfo"}
REFUSALS = {"403", "404", "200/2", "200/11", "200/26", "200/10514"}
"""What who runs the bank is told where the shop would be told more."""
EXCEPT = {"recordings/{guid}/media", "Recordings/?ticket=x"}
"""Makes an MP3, and notes who took it; wants a ticket that is good."""


async def test_the_shop_itself_gets_in(market: Market) -> None:
    """What is refused above is refused for who asks, not for what is asked."""
    count = 0
    for row in rows():
        reads = row.method == "GET" or row.path in READING
        if reads and row.answers[-1] in REFUSALS and row.path not in EXCEPT:
            who = "own" if "playback" in row.path else ROOTS.get(row.dialect, "own")
            said = await market.send(asked(market, row, who))
            assert brief(row, said) in {"200", "200/0", "302"}, (str(row), said)
            count += 1
    assert count > 20


# methods


async def test_other_methods_are_refused_and_the_right_ones_named(market: Market) -> None:
    """Of every path, to anybody and to who may use it."""
    paths: dict[tuple[str, str], list[Row]] = {}
    for row in rows():
        if not (row.dialect == AKIXI and row.path.isalpha()):
            paths.setdefault((row.dialect, row.key[2]), []).append(row)
    async with nothing_changes(market):
        for there in paths.values():
            allowed = {row.method for row in there}
            is_got = "GET" in allowed and not WITHOUT_HEAD.fullmatch(there[0].path)
            allowed |= {"HEAD"} if is_got else set()
            for method in METHODS:
                if method not in allowed:
                    sent = asked(market, there[0], ROOTS.get(there[0].dialect, "own"))
                    sent = replace(sent, method=method, body=None)
                    said = await market.send(sent)
                    answer = brief(there[0], said, method)
                    assert answer in {"405", NOT_ALLOWED[there[0].dialect]}, (sent, said)
                    assert {*re.split(", *", said.headers["Allow"])} == allowed, (sent, said)


ROOTS = {NATIVE: "root", APIO: "root", AKIXI: "own"}
"""Who owns the node is who may, in these."""
NOT_ALLOWED = {
    NATIVE: "405",
    FACE: "405/5",
    AN: "405/2",
    HUB: "405",
    TOKEN: "405/request",
    IMAGICLE: "405",
    APIO: "405",
    AKIXI: "405/10102",
}
WITHOUT_HEAD = re.compile(r".*/(events|hubs/recording|signalr/\w+|v1/login)")
"""Nobody can look at a WebSocket, or log in, without an answer."""


# bodies


async def test_a_body_where_none_belongs_changes_nothing(market: Market) -> None:
    async with nothing_changes(market):
        for row in rows():
            if row.method in {"GET", "DELETE"} or row.dialect == HUB:
                sent = asked(market, row, "other")
                headers = {**sent.headers, "Content-Type": "application/json"}
                body = b'{"account":100,"' + b"x" * 1000
                said = await market.send(replace(sent, headers=headers, body=body))
                assert brief(row, said) == row.answers[-1], (str(row), said)


@pytest.mark.parametrize("dialect", BODIED)
async def test_broken_bodies_are_refused(market: Market, dialect: str) -> None:
    async with nothing_changes(market):
        for row in _bodied(dialect):
            for what, body, headers in BROKEN:
                sent = asked(market, row, WRITERS.get(dialect, "other"))
                kept = {k: v for k, v in sent.headers.items() if k != "Content-Type"}
                sent = replace(sent, headers={**kept, **headers}, body=body)
                answer = brief(row, await market.send(sent))
                usual = READ[dialect] | (MEANT[dialect] if what in FORMED else set())
                assert answer in usual, (str(row), what, answer)


READ = {
    NATIVE: {"400", "413", "415"},
    FACE: {"413/-1", "415/-1"},
    AN: {"400/2", "413/2", "415/2"},
    TOKEN: {"400/request", "413/request", "415/request"},
    IMAGICLE: {"400/0", "413"},
    APIO: {"400", "413", "416"},
    AKIXI: {"400/10000", "413/10000"},
}
"""What is said of bodies that cannot be read."""
FORMED = {"long fraction", "many keys", "with a mark", "as a form", "as XML"}
MEANT = {
    NATIVE: set(),
    FACE: {"200/26", "200/27"},
    AN: {"200/2"},
    TOKEN: set(),
    IMAGICLE: set(),
    APIO: {"200"},
    AKIXI: {"200/10102"},
}
"""What is said of those that can, but ask for nothing there is."""


@pytest.mark.parametrize("is_chunked", [False, True], ids=["announced", "chunked"])
async def test_bodies_too_large_are_refused(market: Market, is_chunked: bool) -> None:
    async with nothing_changes(market):
        for dialect in BODIED:
            for row in _bodied(dialect):
                sent = asked(market, row, WRITERS.get(dialect, "other"))
                size = 3 << 20 if row.path == "recordings" else (64 << 10) + 1
                if row.path == "recordings":
                    body = uploaded("own", bytes(size))
                else:
                    body = (sent.body or b"").ljust(size)
                sent = replace(sent, body=body, is_chunked=is_chunked)
                expected = "400/2" if row.path == "recordings" else LARGE[dialect]
                assert brief(row, await market.send(sent)) == expected, str(row)


LARGE = {
    NATIVE: "413",
    FACE: "413/-1",
    AN: "413/2",
    TOKEN: "413/request",
    IMAGICLE: "413",
    APIO: "413",
    AKIXI: "413/10000",
}


@pytest.mark.parametrize("kind", ["text/plain", "text/html; charset=x", "image/svg+xml", "*/*"])
async def test_bodies_of_another_type_are_refused(market: Market, kind: str) -> None:
    async with nothing_changes(market):
        for dialect in BODIED:
            for row in _bodied(dialect):
                sent = asked(market, row, WRITERS.get(dialect, "other"))
                sent = replace(sent, headers={**sent.headers, "Content-Type": kind})
                answer = brief(row, await market.send(sent))
                expected = "400/0" if row.path == "recordings" else UNTYPED[dialect]
                assert answer == expected, (str(row), answer)


UNTYPED = {
    NATIVE: "415",
    FACE: "415/-1",
    AN: "415/2",
    TOKEN: "415/request",
    IMAGICLE: "400/1",  # says of what type a body is to nobody: the line is another's
    APIO: "416",
    AKIXI: "400/10000",
}


def any_line(lines: Sequence[object]) -> bool:
    return len(lines) > 0


async def test_who_leaves_in_the_middle_of_a_body_is_one_line_in_the_log(market: Market) -> None:
    async with nothing_changes(market):
        for dialect in BODIED:
            for row in _bodied(dialect):
                sent = asked(market, row, WRITERS.get(dialect, "other"))
                head = "".join(f"{name}: {text}\r\n" for name, text in sent.headers.items())
                start = f"{sent.method} {sent.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
                with capture_logs() as lines:
                    _, writer = await asyncio.open_connection(*market.node.server.address)
                    writer.write(f"{start}{head}\r\n".encode() + (sent.body or b"")[:-1])
                    writer.write_eof()
                    await until(partial(any_line, lines))
                    writer.close()
                assert [line.get("status") for line in lines] == [499], (str(row), lines)


SIMPLE = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "")
"""Types of bodies that browsers send to other sites without asking there first; one is none."""


@pytest.mark.parametrize("kind", SIMPLE)
async def test_no_page_of_others_uses_the_password_a_browser_keeps(
    market: Market, kind: str
) -> None:
    """That of HTTP Basic, and the cookie if a browser should forget that it is for one site."""
    async with nothing_changes(market):
        for row in rows():
            if row.dialect in {IMAGICLE, APIO} and row.method == "POST":
                sent = asked(market, row, "root" if row.dialect == APIO else "own")
                headers = {**sent.headers, "Content-Type": kind, "Sec-Fetch-Site": "cross-site"}
                if not kind:
                    del headers["Content-Type"]
                answer = brief(row, await market.send(replace(sent, headers=headers)))
                assert answer == {IMAGICLE: "403", APIO: "416"}[row.dialect], str(row)


# what nobody may say


@pytest.mark.parametrize("dialect", [NATIVE, AN, IMAGICLE, APIO])
async def test_members_nobody_may_set_are_refused_or_passed_over(
    market: Market, dialect: str
) -> None:
    """Whoever runs the bank cannot make the shop's theirs by saying so."""
    async with nothing_changes(market):
        for row in _bodied(dialect):
            sent = asked(market, row, "other")
            if sent.body and sent.body.startswith(b"{"):
                members = msgspec.json.decode(sent.body)
                for name in FIELDS:
                    more = encoded({name: SHOP, **members})
                    said = await market.send(replace(sent, body=more))
                    known = {row.answers[-1], *({"400"} if dialect == NATIVE else set())}
                    assert brief(row, said) in known, (str(row), name, said)


QUERIES = (
    "account=100",
    "tenant=100&role=admin&is_admin=true",
    "access_token=x",
    "token=x",
    "_method=DELETE",
    "&&&=&=x",
    "%00=%00",
    "a=%ff%fe",
    "a[]=1&a[]=2",
)


@pytest.mark.parametrize("query", QUERIES)
async def test_parameters_nobody_knows_open_nothing(market: Market, query: str) -> None:
    async with nothing_changes(market):
        for row in (row for row in rows() if not row.is_login):
            sent = asked(market, row, "other")
            mark = "&" if "?" in sent.path else "?"
            sent = replace(sent, path=f"{sent.path}{mark}{query}")
            answer = brief(row, await market.send(sent))
            assert answer in {row.answers[-1], *UNKNOWN.get(row.dialect, ())}, (str(row), answer)


UNKNOWN = {
    NATIVE: {"400", "401"},
    FACE: {"200/-1", "200/1", "200/19", "200/26", "401/-1"},
}
