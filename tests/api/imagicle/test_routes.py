"""The door: paths, methods, credentials, and failures, all in the guide's own words."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from msgspec import structs

from api.listener import Limits
from config.dialects import Dialects
from config.schema import Api
from siprec.session import ControlFailed
from storage.entries import User
from storage.records import StorageUnavailable
from tests.api.imagicle.desk import BASE, LIVE, STORED, UNKNOWN, Desk
from tests.api.node import running

BOSS = User("root@system.example", 1, "api")
CHALLENGE = 'Basic realm="CallRecording", charset="UTF-8"'


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


async def test_nobody_gets_in_without_the_right_credentials(idle_desk: Desk) -> None:
    await idle_desk.basic("boss@shop.example")
    for header in (
        None,
        "Bearer abc",
        basic("boss@shop.example"),
        basic("boss@shop.example:wrong"),
        basic("nobody:x"),
        "Basic ***",
    ):
        headers = {"Authorization": header} if header else {}
        for path in (LIVE, STORED, f"{STORED}/x", f"{BASE}/nothing"):
            said = await idle_desk.get(path, None, headers=headers)
            assert said.short == (401, None), (header, path)
            assert said.headers["WWW-Authenticate"] == CHALLENGE


async def test_a_user_name_is_enough_if_only_one_has_it(idle_desk: Desk) -> None:
    header = await idle_desk.basic("ann@shop.example")
    password = base64.b64decode(header[6:]).decode().partition(":")[2]
    for name, status in (("ann", 200), ("ANN", 200), ("Ann@Shop.Example", 200), ("boss", 401)):
        headers = {"Authorization": basic(f"{name}:{password}")}
        assert (await idle_desk.get(STORED, None, headers=headers)).status == status, name


async def test_paths_have_no_case_and_may_end_with_a_slash(idle_desk: Desk) -> None:
    for path in (
        "/fw/Apps/Recorder/WebAPI/LiveRecordings",
        "/FW/apps/RECORDER/webapi/liverecordings",
        "/fw/apps/recorder/webapi/LIVERECORDINGS/",
        "/fw/Apps/Recorder/WebAPI/Recordings/",
    ):
        assert (await idle_desk.get(path)).status == 200, path


NOT_THERE = (
    "",
    "/",
    "/Nothing",
    "/LiveRecordings//",
    "/LiveRecordings/Pause/x",
    f"/LiveRecordings/{UNKNOWN}/Stop",
    "/Recordings//Media",
    f"/Recordings/{UNKNOWN}/Media/x",
    f"/Recordings/{UNKNOWN}/",
    "/Recordings/%2e%2e/Media/..",
    "/%00",
    "x",
)


async def test_what_is_not_there(idle_desk: Desk) -> None:
    for path in NOT_THERE:
        said = await idle_desk.get(f"{BASE}{path}")
        if path == "x":  # below no path of ours: the native interface answers
            assert said.headers["Content-Type"] == "application/problem+json"
        else:
            assert said.short == (404, None), path
    assert (await idle_desk.get(f"/x{BASE}/Recordings")).status == 404


METHODS = {
    "/LiveRecordings": "GET, HEAD, POST, DELETE",
    "/LiveRecordings/Mine": "DELETE",
    "/LiveRecordings/PAUSE": "PUT",
    "/LiveRecordings/Resume": "PUT",
    f"/LiveRecordings/{UNKNOWN}": "DELETE",
    f"/LiveRecordings/{UNKNOWN}/Pause": "PUT",
    f"/LiveRecordings/{UNKNOWN}/resume": "PUT",
    "/Recordings": "GET, HEAD, POST",
    f"/Recordings/{UNKNOWN}": "GET, HEAD",
    f"/Recordings/{UNKNOWN}/MEDIA": "GET, HEAD",
}


async def test_other_methods_are_refused(idle_desk: Desk) -> None:
    for path, allowed in METHODS.items():
        for method in ("PATCH", "OPTIONS"):
            said = await idle_desk.ask(method, f"{BASE}{path}")
            assert said.short == (405, None), path
            assert said.headers["Allow"] == allowed


async def test_head_is_get_without_a_body(idle_desk: Desk) -> None:
    for path in (LIVE, STORED):
        said = await idle_desk.ask("HEAD", path)
        assert (said.status, said.body) == (200, b"")


async def test_a_body_that_does_not_come_or_is_too_large(tmp_path: Path, migrated: Path) -> None:
    limits = replace(Limits(), body_s=0.05)
    async with running(tmp_path, migrated, limits) as node, aiohttp.ClientSession() as http:
        desk = Desk(node, http)
        await node.services.directory.put(BOSS)
        headers = {"Authorization": await desk.basic(BOSS.email)}

        async def slow() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(0.5)

        url = f"{node.server.url}{LIVE}"
        async with http.post(url, data=slow(), headers=headers) as response:
            assert (response.status, await response.read()) == (408, b"")
        assert (await desk.ask("POST", LIVE, BOSS.email, body=b" " * 70_000)).short == (413, None)


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("secret"), 500), (StorageUnavailable("x"), 504), (ControlFailed("x"), 504)],
)
async def test_failures_are_a_status_and_nothing_else(
    idle_desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(idle_desk.node.services.library), "count", fails)
    assert (await idle_desk.get(STORED)).short == (status, None)


async def test_it_is_not_there_when_it_is_off(tmp_path: Path, migrated: Path) -> None:
    api = structs.replace(Api(), dialects=Dialects(imagicle=False))
    async with running(tmp_path, migrated, api=api) as node, node.client() as client:
        response = await client.get(LIVE)
        assert response.status == 404
        assert response.content_type == "application/problem+json"


async def test_guessing_passwords_ends_with_429(idle_desk: Desk) -> None:
    for number in range(60):
        headers = {"Authorization": basic(f"boss@shop.example:{number}")}
        said = await idle_desk.get(LIVE, None, headers=headers)
        if said.status == 429:
            assert said.body == b""
            assert int(said.headers["Retry-After"]) > 0
            return
    pytest.fail("it never ended")


async def test_an_upload_needs_the_highest_level(idle_desk: Desk) -> None:
    for who, status, body in (
        ("ann@shop.example", 403, None),
        ("none@shop.example", 403, None),
        (
            "lead@shop.example",
            400,
            {"reason": 0, "message": "The body must be multipart/form-data"},
        ),
    ):
        said = await idle_desk.ask("POST", STORED, who, body=b"x")
        assert said.short == (status, body), who
