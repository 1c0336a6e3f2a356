"""Paths, Accept headers and bodies, taken apart."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.apio.asking import _object, segments, takes_json
from api.apio.codes import Refusal
from api.listener import Limits
from tests.api.apio.desk import BASE, FIRST, Desk, open_desk
from tests.api.wires import exchange

PATHS: tuple[tuple[str, list[str]], ...] = (
    ("", []),
    ("/", []),
    ("/a", ["a"]),
    ("/a/", ["a"]),
    ("/a//", ["a", ""]),
    ("//a", ["", "a"]),
    ("/a%20b/c%2Fd", ["a b", "c/d"]),
    ("/a+b", ["a+b"]),
    ("/%C3%A9", ["é"]),
    ("/%ff", ["\ufffd"]),
    ("/%zz%", ["%zz%"]),
    ("/%2520", ["%20"]),
)
ACCEPTS: tuple[tuple[str, bool], ...] = (
    ("", True),
    ("application/json", True),
    ('"application/json"', True),
    ("Application/JSON; charset=utf-8", True),
    ("application/json;q=0.1, text/html", True),
    ("*/*", True),
    ("*", True),
    ("application/*", True),
    ("text/html, image/gif, *; q=.2, */*; q=.2", True),
    ("application/json;q=abc", True),
    ("text/xml", False),
    ("application/xml, text/html", False),
    ("application/json;q=0", False),
    ("application/json;q=0, */*", False),
    ("application/*;q=0.0, */*", False),
    ("text/*", False),
    ("json", False),
)
NO_JSON: tuple[tuple[bytes, str], ...] = (
    (b"", "The body is empty."),
    (b"   ", "The body is not JSON."),
    (b"{", "The body is not JSON."),
    (b"{'name': 'a'}", "The body is not JSON."),
    (b'{"default": true "netAddress": "10.0.32.55"}', "The body is not JSON."),
    (b'{"a": NaN}', "The body is not JSON."),
    (b'{"a": "\\ud800"}', "The body is not JSON."),
    (b'{"a": "\xff"}', "The body is not JSON."),
    ('{"port": 5}'.encode("utf-16"), "The body is not JSON."),
    (b'{"port": 5} x', "The body is not JSON."),
    (b"[" * 60_000, "The body is not JSON."),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "The body is not JSON."),
    (b"\x1f\x8b\x08\x00", "The body is not JSON."),
)
NO_OBJECT: tuple[tuple[bytes, str], ...] = (
    (b"[]", "The body must be a JSON object."),
    (b"null", "The body must be a JSON object."),
    (b'"name"', "The body must be a JSON object."),
    (b'{"port": 5, "port": 6}', "The body has a member twice."),
    (b'{"port": 1e300}', "port: must be a number from 1 to 65535"),
)
TYPES: tuple[tuple[str, bool], ...] = (
    ("application/json", True),
    ('"application/json"', True),
    ("application/json; charset=utf-8", True),
    ('"application/json; charset=utf-8"', True),
    ("APPLICATION/JSON", True),
    ("text/plain", False),
    ("application/x-www-form-urlencoded", False),
    ("application/xml", False),
    ("application/jsonp", False),
    ("", False),
)


@pytest.mark.parametrize(("path", "expected"), PATHS)
def test_the_names_of_a_path(path: str, expected: list[str]) -> None:
    assert segments(path) == expected


@pytest.mark.parametrize(("accept", "expected"), ACCEPTS)
def test_who_takes_json(accept: str, expected: bool) -> None:
    assert takes_json(accept) is expected


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_path_and_an_accept_header(text: str) -> None:
    assert all(isinstance(each, str) for each in segments(text))
    assert takes_json(text) in {True, False}


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text('{}[]":,ab0.e-', max_size=40).map(str.encode))
def test_any_octets_are_an_object_or_refused(octets: bytes) -> None:
    try:
        found = _object(octets)
    except Refusal as refusal:
        assert refusal.status in {400, 416}
    else:
        assert found == json.loads(octets)


async def test_a_body_is_json(desk: Desk) -> None:
    await desk.add(FIRST)
    before = desk.entries
    for path in ("platforms/Call_Rec_Platform_1/", "properties/"):
        for body, details in NO_JSON:
            assert await desk.ask("PUT", path, body) == (416, {"details": details}), body[:60]
    assert await desk.ask("POST", "platforms/", b"") == (416, {"details": "The body is empty."})
    for body, details in NO_OBJECT:
        found = await desk.ask("PUT", "platforms/Call_Rec_Platform_1/", body)
        assert found == (400, {"details": details}), body
    assert desk.entries == before


async def test_a_body_says_that_it_is_json(desk: Desk) -> None:
    wrong = {"details": "The Content-Type of the body must be application/json."}
    for stated, is_taken in TYPES:
        status, found = await desk.ask("PUT", "properties/", {}, Content_Type=stated)
        assert status == (200 if is_taken else 416), stated
        assert is_taken or found == wrong


async def test_how_large_and_how_slow_a_body_may_be(tmp_path: Path, migrated: Path) -> None:
    limits = Limits(body_s=0.2, body_bytes=1000)
    async with open_desk(tmp_path, migrated, limits) as desk:
        found = await desk.ask("PUT", "properties/", b'{"a":"%s"}' % (b"x" * 1000))
        assert found == (413, {"details": "The body is larger than 1000 octets."})
        head = (
            f"PUT {BASE}properties/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            f"Authorization: Bearer {desk.node.keys['admin']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        said = await exchange(desk.node.server.address, head.encode())
        assert said.startswith(b"HTTP/1.1 408 ")
        assert said.endswith(b'{"details":"The body did not arrive in 0.2 s."}')
