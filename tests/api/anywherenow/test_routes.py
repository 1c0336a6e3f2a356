"""The door: paths, methods, and failures nobody foresaw, all in the same words."""

from pathlib import Path

import pytest

from api.anywherenow.recording import Recording
from config.schema import Api
from tests.api.anywherenow.desk import PREFIX, V1, V2, Desk, open_desk

GUID = "1d6c6a58-6739-4f0c-98ff-0968292c8c30"
NO_PATH = b'{"ErrorMessage":{"ErrorType":2,"Message":"The requested path was not found."}}'
NO_METHOD = (
    b'{"ErrorMessage":{"ErrorType":2,"Message":"The requested path does not support this method."}}'
)
PATHS = (
    PREFIX,
    f"{PREFIX}/",
    f"{PREFIX}/api",
    f"{PREFIX}/api/v1/recording/ucc-shop/{GUID}",
    f"{PREFIX}/api/v3/recording/ucc-shop/{GUID}",
    f"{PREFIX}/recording/ucc-shop/{GUID}",
    f"{PREFIX}/api/recordings/ucc-shop/{GUID}",
    V1,
    f"{V1}/ucc-shop",
    f"{V1}//{GUID}",
    f"{V1}/ucc-shop/{GUID}/x",
    f"{V1}/ucc%2Fshop",
    f"{V1}/capabilities",
    f"{V1}/capabilities/a/b",
    f"{V1}/a/../../{GUID}",
    f"{PREFIX}/%00",
    f"{PREFIX}/auth/realms/a/protocol/openid-connect/certs",
)


async def test_paths_that_there_are_not(idle_desk: Desk) -> None:
    for path in PATHS:
        for method in ("GET", "POST", "DELETE"):
            said = await idle_desk.ask(method, path, who=None)
            assert (said.status, said.body) == (404, NO_PATH), path
            assert said.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_paths_of_others(idle_desk: Desk) -> None:
    for path in (f"{PREFIX}s/api", "/api/recording/ucc-shop/1", "/auth/realms/a"):
        said = await idle_desk.ask("GET", path, who=None)
        assert said.headers["Content-Type"].startswith("application/problem+json"), path


@pytest.mark.parametrize("base", [V1, V2])
async def test_a_wrong_method(idle_desk: Desk, base: str) -> None:
    for path, allowed in (
        (f"{base}/set", "POST"),
        (f"{base}/capabilities/ucc-shop", "GET, HEAD"),
        (f"{base}/ucc-shop/{GUID}", "GET, HEAD"),
    ):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            if method in allowed:
                continue
            said = await idle_desk.ask(method, path, who=None)
            assert (said.status, said.body) == (405, NO_METHOD), (method, path)
            assert said.headers["Allow"] == allowed


async def test_head_is_get_without_the_body(idle_desk: Desk) -> None:
    for path in (f"{V1}/ucc-shop/{GUID}", f"{V1}/capabilities/ucc-shop"):
        get, head = await idle_desk.ask("GET", path), await idle_desk.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


async def test_paths_in_any_case_and_with_a_slash_at_the_end(idle_desk: Desk) -> None:
    path = f"{V1}/ucc-shop/{GUID}"
    usual = await idle_desk.ask("GET", path)
    for other in (
        f"{PREFIX}/API/Recording/ucc-shop/{GUID}",
        f"{PREFIX}/api/V2/RECORDING/ucc-shop/{GUID}",
        f"{path}/",
        f"{path}?a=b",
    ):
        assert (await idle_desk.ask("GET", other)).body == usual.body, other
    said = await idle_desk.ask("GET", f"{V1}/Capabilities/ucc-shop/")
    assert said.json["AgentCanEditRecordings"] is True
    said = await idle_desk.ask("GET", f"{V1}/set/{GUID}")  # a UCC may bear this name
    assert said.error == (2, "UCC with name:'set' was not found.")


async def test_names_that_are_attacks_are_just_names(idle_desk: Desk) -> None:
    for path, name in (
        ("..%2F..%2Fx", "../../x"),
        ("%27%20OR%201=1", "' OR 1=1"),
        ("%3Cb%3E", "<b>"),
        ("%00%0D%0ASet-Cookie:x", "\0\r\nSet-Cookie:x"),
        ("%FF", "\ufffd"),
        ("x" * 3000, "x" * 3000),
    ):
        said = await idle_desk.ask("GET", f"{V1}/{path}/{GUID}")
        assert said.error == (2, f"UCC with name:'{name}' was not found.")
        assert "Set-Cookie" not in said.headers
        said = await idle_desk.ask("GET", f"{V1}/ucc-shop/{path}")
        assert said.error == (2, f"No Audio session with correlation Id:'{name}' was found.")


async def test_a_failure_nobody_foresaw(
    idle_desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(Recording, "capabilities", fail)
    said = await idle_desk.ask("GET", f"{V1}/capabilities/ucc-shop")
    assert said.status == 500
    assert said.body == (b'{"ErrorMessage":{"ErrorType":3,"Message":"The request failed inside."}}')


async def test_an_address_of_its_own(tmp_path: Path, migrated: Path) -> None:
    from config.dialects import AnywhereNow

    section = AnywhereNow(listen="127.0.0.1:0")
    async with open_desk(tmp_path, migrated, section, is_idle=True, api=Api()) as desk:
        said = await desk.ask("GET", f"{V1}/capabilities/ucc-shop")
        assert said.status == 404
        own = desk.node.server.listeners["anywherenow"].url
        headers = {"Authorization": f"Bearer {await desk.token('pay@shop.example')}"}
        async with desk.http.get(f"{own}{V1}/capabilities/ucc-shop", headers=headers) as response:
            assert (await response.json())["AgentCanEditRecordings"] is True
