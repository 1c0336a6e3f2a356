"""Requests decoded, refused and answered by the table of routes."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product
from typing import Annotated, Any

import pytest
from aiohttp import ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType
from yarl import URL

from api import server
from api.native import routes
from api.openapi import document
from api.problem import ApiError
from api.typed import Call, Route, _json_object
from config.schema import Api
from tests.api.node import Node
from tests.api.wires import exchange

PAUSE = "/srs/v1/sessions/nobody/pause"
FIND = "/srs/v1/recordings"
JSON = {"Content-Type": "application/json"}


NAMED = (
    "sessions/{}",
    "sessions/{}/pause",
    "recordings/{}",
    "recordings/{}/media",
    "recordings/{}/peaks",
)
HOSTILE = (
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "..%5c..",
    "a%00b",
    "a" * 300,
    "%ff",
    "%c3%a9",
    "a%20b",
    "a%0d%0ab",
    "%27%20OR%201=1",
)


async def _refusal(client: ClientSession, method: str, url: str, **request: Any) -> tuple[int, str]:
    async with client.request(method, url, **request) as response:
        assert response.content_type == "application/problem+json"
        found = json.loads(await response.read())
        assert found["status"] == response.status
        return response.status, found["detail"]


BAD_QUERIES: tuple[tuple[str, str | None], ...] = (
    ("limit=x", "Expected `int`, got `str` - at `$.limit`"),
    ("limit=0", "Expected `int` >= 1 - at `$.limit`"),
    ("limit=1001", "Expected `int` <= 1000 - at `$.limit`"),
    ("limit=1.0", "Expected `int`, got `str` - at `$.limit`"),
    ("limit=%2B5", "Expected `int`, got `str` - at `$.limit`"),
    ("limit=" + "9" * 5000, "Expected `int`, got `str` - at `$.limit`"),
    ("limit=5&limit=5", "Parameter `limit` is given twice"),
    ("status=finished", "Invalid enum value 'finished' - at `$.status`"),
    ("call_id=", "Expected `str` of length >= 1 - at `$.call_id`"),
    ("colour=red", "Object contains unknown field `colour`"),
    ("started_after=0", "Invalid RFC3339 encoded datetime - at `$.started_after`"),
    (
        "started_after=2026-11-22T10:00:00",
        "Expected `datetime` with a timezone component - at `$.started_after`",
    ),
    ("started_before=0001-01-01T00:00:00%2B23:59", "this time is outside the years 1 to 9999"),
    ("cursor=nonsense", None),
)
BAD_BODIES: tuple[tuple[bytes, str | None], ...] = (
    (b'{"fill": "loud"}', "Invalid enum value 'loud' - at `$.fill`"),
    (b'{"reason": 5}', "Expected `str`, got `int` - at `$.reason`"),
    (b'{"reasn": "x"}', "Object contains unknown field `reasn`"),
    (b'{"session_id": "x"}', "Object contains unknown field `session_id`"),
    (b'{"reason": "%s"}' % (b"x" * 1025), "Expected `str` of length <= 1024 - at `$.reason`"),
    (b"[]", "Expected `object`, got `array`"),
    (b"null", "Expected `object`, got `null`"),
    (b"{", "Input data was truncated"),
    (b'{"reason": "\xff"}', "the body is not UTF-8"),
    (b'{"reason": ' + b"[" * 20_000, None),
)


async def test_bad_queries_are_400_and_say_which_field(client: ClientSession) -> None:
    for query, detail in BAD_QUERIES:
        found = await _refusal(client, "GET", f"{FIND}?{query}")
        assert found == (400, detail or found[1]), query


async def test_bad_bodies_are_400_and_say_which_field(client: ClientSession) -> None:
    for body, detail in BAD_BODIES:
        found = await _refusal(client, "POST", PAUSE, data=body, headers=JSON)
        assert found == (400, detail or found[1]), body


async def test_only_json_is_read(client: ClientSession) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"Content-Type": kind}
        assert (await _refusal(client, "POST", PAUSE, data=b"{}", headers=headers))[0] == 415


async def test_no_body_is_fine_whatever_its_type(client: ClientSession) -> None:
    for kind in ("application/json", "application/json; charset=utf-8", "text/x"):
        found = await _refusal(client, "POST", PAUSE, headers={"Content-Type": kind})
        assert found == (404, "no live session has this id")


async def test_a_body_has_a_limit(client: ClientSession) -> None:
    fits = b'{"reason": ""' + b" " * (64 * 1024 - 14) + b"}"
    assert len(fits) == 64 * 1024
    assert (await _refusal(client, "POST", PAUSE, data=fits, headers=JSON))[0] == 404
    assert (await _refusal(client, "POST", PAUSE, data=fits + b" ", headers=JSON))[0] == 413


async def test_a_command_takes_no_query(client: ClientSession) -> None:
    status, detail = await _refusal(client, "POST", f"{PAUSE}?fill=cut")
    assert (status, detail) == (400, "Parameter `fill` is not known")


async def test_hostile_names_are_not_found(node: Node) -> None:
    async with node.client() as client:
        for path, name in product(NAMED, HOSTILE):
            method = "POST" if path.endswith("pause") else "GET"
            url = URL(f"{node.server.url}/srs/v1/{path.format(name)}", encoded=True)
            async with client.request(method, url) as response:
                assert response.status == 404, url
                assert response.content_type == "application/problem+json"


async def test_a_raw_target_outside_ascii_is_refused(node: Node) -> None:
    for target in (b"/srs/v1/sessions/\xff", b"/srs/v1/sessions?call_id=\xc3\xa9"):
        request = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target
        answer = await exchange(node.server.address, request)
        assert answer.split()[1] == b"400"
        assert b"application/problem+json" in answer


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a route that only answers what it was asked."""

    word: str | UnsetType = UNSET
    words: list[str] = []
    count: int | UnsetType = UNSET
    sure: bool | UnsetType = UNSET


class Content(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a route that only answers what it was asked to put."""

    key: Annotated[str, Meta(max_length=5)]
    size: int
    parts: list[str] = []


async def answer(call: Call[Any]) -> Struct:
    found: Struct = call.ask
    return found


ECHOES: tuple[Route[Any], ...] = (
    Route("GET", "/echo", None, answer, Query, Query, ""),
    Route("PUT", "/echo/{key}", None, answer, Content, Content, "", name="put_echo"),
    Route("DELETE", "/echo/{key}", "control", answer, Query, None, "", right="delete"),
)


@pytest.fixture
async def echo(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[tuple[int, Any]]]]:
    """Requests to a server that has the routes of `ECHOES` besides."""
    monkeypatch.setattr(routes, "ROUTES", ECHOES)
    other = server.ApiServer(Api(listen="127.0.0.1:0"), node.services)
    await other.start()

    async def ask(method: str, path: str, role: str = "", **request: Any) -> tuple[int, Any]:
        async with node.client(role or None) as client:
            url = URL(other.url + path, encoded=True)
            async with client.request(method, url, **request) as response:
                found = json.loads(await response.read())
                return response.status, found.get("detail", found)

    yield ask
    await other.stop()


async def test_a_query_holds_texts_numbers_and_truths(echo: Any) -> None:
    for query, expected in (
        ("", {"words": []}),
        ("?word=5&count=5&sure=true", {"word": "5", "count": 5, "sure": True, "words": []}),
        ("?sure=false", {"sure": False, "words": []}),
        ("?words=a", {"words": ["a"]}),
        ("?words=a&words=&words=a%3Db", {"words": ["a", "", "a=b"]}),
    ):
        assert await echo("GET", f"/echo{query}") == (200, expected), query


async def test_what_stands_for_nothing_is_refused(echo: Any) -> None:
    for query, detail in (
        ("sure=1", "Expected `bool`, got `str` - at `$.sure`"),
        ("sure=True", "Expected `bool`, got `str` - at `$.sure`"),
        ("sure=true&sure=true", "Parameter `sure` is given twice"),
        ("word=a&word=a", "Parameter `word` is given twice"),
        ("words=a&more=1", "Object contains unknown field `more`"),
    ):
        assert await echo("GET", f"/echo?{query}") == (400, detail)


async def test_what_is_put_comes_in_the_body_and_its_key_in_the_path(echo: Any) -> None:
    found = await echo("PUT", "/echo/a%2Fb", json={"size": 5, "parts": ["x"]})
    assert found == (200, {"key": "a/b", "size": 5, "parts": ["x"]})
    assert (await echo("PUT", "/echo/abcdef", json={"size": 5}))[0] == 404
    for path, body, detail in (
        ("/echo/a", {}, "Object missing required field `size`"),
        ("/echo/a", {"size": "5"}, "Expected `int`, got `str` - at `$.size`"),
        ("/echo/a", {"size": 5, "key": "b"}, "Object contains unknown field `key`"),
        ("/echo/a", {"size": 5, "more": 1}, "Object contains unknown field `more`"),
        ("/echo/a?size=5", {"size": 5}, "Parameter `size` is not known"),
    ):
        assert await echo("PUT", path, json=body) == (400, detail)
    assert (await echo("PUT", "/echo/a", data=b'{"size": 5}'))[0] == 415


async def test_a_whole_number_is_one_however_it_is_written(echo: Any) -> None:
    for written, size in ((b"5.0", 5), (b"5e0", 5), (b"-0.0", 0), (b"9007199254740992.0", 2**53)):
        found = await echo("PUT", "/echo/a", data=b'{"size":%s}' % written, headers=JSON)
        assert found == (200, {"key": "a", "size": size, "parts": []})
    for written in (b"5.5", b"1e300", b"9007199254740994.0", b'"5.0"', b"[5.0]"):
        status, detail = await echo("PUT", "/echo/a", data=b'{"size":%s}' % written, headers=JSON)
        assert status == 400 and "Expected `int`" in detail


def test_whole_numbers_are_found_in_lists_and_objects() -> None:
    found = _json_object("application/json", b'{"a":[1.0,{"b":2.0}],"c":1.5}')
    assert repr(found) == "{'a': [1, {'b': 2}], 'c': 1.5}"


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":1}', b'{"a":[{"b":1,"b":2}]}', b'{"a":1,"\\u0061":2}']
)
def test_a_field_that_is_there_twice_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError, match="twice") as caught:
        _json_object("application/json", body)
    assert caught.value.status == 400


async def test_a_route_may_need_a_permission(echo: Any) -> None:
    status, detail = await echo("DELETE", "/echo/a", "control")
    assert (status, detail) == (403, "this needs the permission delete")
    assert (await echo("DELETE", "/echo/a", "admin"))[0] == 400


def test_an_operation_is_called_as_its_route_says() -> None:
    paths = document(ECHOES, "echo", "1", ())["paths"]
    assert paths["/echo"]["get"]["operationId"] == "answer"
    assert paths["/echo"]["head"]["operationId"] == "head_answer"
    assert paths["/echo/{key}"]["put"]["operationId"] == "put_echo"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_body_is_an_object_or_an_error(body: bytes) -> None:
    try:
        assert isinstance(_json_object("application/json", body), dict)
    except ApiError as error:
        assert error.status == 400


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_json_is_refused(opening: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        _json_object("application/json", b'{"a":' + opening * 10_000)
    assert caught.value.status == 400
