"""The door: paths, methods, who may, what is accepted, and failures."""

import base64
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from api.auth import FAILURES_PER_MINUTE
from config.dialects import Apio
from tests.api.apio.desk import (
    ALONE,
    ANN,
    BASE,
    BOT,
    FIRST,
    ONE,
    PASSWORD,
    ROOT,
    TOM,
    Desk,
    basic,
    open_desk,
)
from tests.storage.people import make_hashing_cheap

CALLS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "platforms/", None),
    ("POST", "platforms/", FIRST),
    ("GET", ONE, None),
    ("PUT", ONE, {}),
    ("DELETE", ONE, None),
    ("GET", f"{ONE}usage/", None),
    ("GET", "properties/", None),
    ("PUT", "properties/", {}),
)
METHODS = {
    "platforms/": "GET, HEAD, POST",
    ONE: "GET, HEAD, PUT, DELETE",
    f"{ONE}usage/": "GET, HEAD",
    "properties/": "GET, HEAD, PUT",
}
NEEDS_SYSTEM = {"details": "This needs a System Admin."}
NEEDS_GROUP = {"details": "This needs a Group Admin."}
WRONG = {"details": "wrong user name or password"}


# paths and methods


async def test_a_slash_at_the_end_makes_no_difference(desk: Desk) -> None:
    await desk.add(FIRST)
    for path in METHODS:
        with_it, without = [await desk.raw("GET", each) for each in (path, path[:-1])]
        assert with_it[0].status == without[0].status == 200
        assert with_it[1] == without[1] and not with_it[0].history


async def test_paths_that_there_are_not(desk: Desk) -> None:
    missing = (404, {"details": "There is no such URI."})
    for path in (
        "",
        "platform/",
        "Platforms/",
        "platforms//",
        "/api/v1/system//services/call_recording/platforms/",
        f"{ONE}Usage/",
        f"{ONE}usage/1/",
        f"{ONE}/usage/",
        "properties/1/",
        "/api/v1/system",
        "/api/v1/system/",
        "/api/v1/system/services/",
        "/api/v1/system/services/call_recordings/platforms/",
        "/api/v1/system/services/call_recording/%2e%2e/platforms/",
        "/api/v1/system/services%2Fcall_recording/platforms/",
    ):
        for who in (ROOT, ""):
            assert await desk.ask("GET", path, who=who) == missing, path
    response, _ = await desk.raw("GET", "/api/v1/systems/")
    assert (response.status, response.content_type) == (404, "application/problem+json")


async def test_methods_that_there_are_not(desk: Desk) -> None:
    for path, allowed in METHODS.items():
        for method in ("PATCH", "OPTIONS", "TRACE", "PROPFIND"):
            response, text = await desk.raw(method, path, who="")
            assert (response.status, response.headers["Allow"]) == (405, allowed), path
            assert text == b'{"details":"This URI does not have this method."}'
    assert (await desk.ask("DELETE", "properties/"))[0] == 405
    assert (await desk.ask("POST", ONE, FIRST))[0] == 405


async def test_head_is_get_without_a_body(desk: Desk) -> None:
    await desk.add(FIRST)
    for path in METHODS:
        got, text = await desk.raw("GET", path)
        head, nothing = await desk.raw("HEAD", path)
        assert (head.status, nothing) == (200, b"")
        assert head.headers["Content-Length"] == got.headers["Content-Length"] == str(len(text))


async def test_queries_are_passed_over(desk: Desk) -> None:
    assert (await desk.ask("GET", "platforms/?page=2&x"))[0] == 200


# who may


async def test_who_says_nothing_or_something_wrong_is_401(desk: Desk) -> None:
    for method, path, body in CALLS:
        response, text = await desk.raw(method, path, body, who="")
        assert (response.status, text) == (401, b'{"details":"a user name and a password"}')
        challenge = 'Basic realm="APIO", charset="UTF-8"'
        assert response.headers["WWW-Authenticate"] == challenge
    for sent in (basic(ROOT, "wrong"), basic("nobody@a", PASSWORD), "Basic x", "Digest a=b"):
        status, found = await desk.ask("GET", "platforms/", Authorization=sent)
        assert status == 401 and set(found) == {"details"}
    assert await desk.ask("GET", "platforms/", Authorization=basic(ROOT, "wrong")) == (401, WRONG)
    status, found = await desk.ask("GET", "platforms/", Authorization="Bearer wrong")
    assert (status, found) == (401, {"details": "this key or token is not known"})


async def test_levels(desk: Desk) -> None:
    await desk.add(FIRST)
    before = desk.entries
    for method, path, body in CALLS:
        is_list = (method, path) == ("GET", "platforms/")
        lowest = NEEDS_GROUP if is_list else NEEDS_SYSTEM
        for who in (TOM, BOT):
            assert await desk.ask(method, path, body, who) == (403, lowest), path
        for who in (ANN, "part@srs.example"):
            status, found = await desk.ask(method, path, body, who)
            assert status == (200 if is_list else 403)
            if not is_list:
                assert found == NEEDS_SYSTEM
    assert desk.entries == before
    assert await desk.ask("GET", "platforms/", who=ANN) == await desk.ask("GET", "platforms/")


async def test_the_name_of_a_user_will_do(desk: Desk) -> None:
    assert (await desk.ask("GET", "properties/", who="root"))[0] == 200


async def test_keys_and_tokens(desk: Desk) -> None:
    keys = desk.node.keys
    login = {"email": ROOT, "password": PASSWORD}
    async with desk.http.post(f"{desk.node.server.url}/srs/v1/login", json=login) as response:
        token = (await response.json())["token"]
    one = await desk.node.services.keys.add("of one", "admin", 100)
    for secret, group, system in (
        (keys["admin"], 200, 200),
        (token, 200, 200),
        (one, 200, 403),
        (keys["operator"], 403, 403),
        (keys["control"], 403, 403),
    ):
        sent = f"Bearer {secret}"
        assert (await desk.ask("GET", "platforms/", Authorization=sent))[0] == group
        assert (await desk.ask("GET", "properties/", Authorization=sent))[0] == system


async def test_guessing_is_429(desk: Desk) -> None:
    for number in range(FAILURES_PER_MINUTE):
        status, _ = await desk.ask("GET", "platforms/", Authorization=f"Bearer {number}")
        assert status == 401
    response, text = await desk.raw("GET", "platforms/", Authorization="Bearer last")
    assert (response.status, text) == (429, b'{"details":"too many refused tokens"}')
    assert int(response.headers["Retry-After"]) > 0


async def test_who_asks_is_in_the_log_and_no_password(desk: Desk) -> None:
    with capture_logs() as logs:
        await desk.ask("GET", "platforms/")
        await desk.ask("PUT", "platforms/Nothing/", {})
        await desk.ask("GET", "platforms/", Authorization=basic(ROOT, "hush hush"))
    requests = [each for each in logs if each["event"] == "request"]
    assert [(each["status"], each["actor"]) for each in requests] == [
        (200, ROOT),
        (400, ROOT),
        (401, ""),
    ]
    refused = [each["details"] for each in logs if each["event"] == "apio_refused"]
    assert refused == ["Call Recording platform does not exist.", WRONG["details"]]
    secrets = (PASSWORD, "hush", base64.b64encode(PASSWORD.encode()).decode()[:12])
    assert not any(each in str(logs) for each in secrets)


# what is accepted


async def test_who_takes_no_json_gets_406(desk: Desk) -> None:
    await desk.add(FIRST)
    before = desk.entries
    refused = (406, {"details": "Answers are application/json only."})
    for method, path, body in CALLS:
        assert await desk.ask(method, path, body, Accept="text/html, application/xml") == refused
    assert desk.entries == before
    for accept in ('"application/json"', "*/*", ""):
        assert (await desk.ask("GET", "platforms/", Accept=accept))[0] == 200, accept


# an address of its own, and failures


async def test_it_can_have_an_address_of_its_own(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_hashing_cheap(monkeypatch)
    api = replace(ALONE, apio=Apio(listen="127.0.0.1:0"))
    async with open_desk(tmp_path, migrated, api=api) as desk:
        response, _ = await desk.raw("GET", "platforms/")
        assert (response.status, response.content_type) == (404, "application/problem+json")
        url = desk.node.server.listeners["apio"].url
        headers = {"Authorization": basic(ROOT, PASSWORD)}
        async with desk.http.get(f"{url}{BASE}platforms/", headers=headers) as answered:
            assert answered.status == 200


async def test_it_can_be_switched_off(tmp_path: Path, migrated: Path) -> None:
    api = replace(ALONE, dialects=replace(ALONE.dialects, apio=False))
    async with open_desk(tmp_path, migrated, api=api) as desk:
        response, _ = await desk.raw("GET", "platforms/")
        assert (response.status, response.content_type) == (404, "application/problem+json")


async def test_a_failure_inside_is_told_in_the_same_form(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(type(desk.node.services.directory), "edit", fail)
    with capture_logs() as logs:
        found = await desk.ask("POST", "platforms/", FIRST)
    assert found == (500, {"details": "The request failed inside."})
    assert any(each["event"] == "request_failed" for each in logs)
