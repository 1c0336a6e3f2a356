"""Everything below the path of a hub is answered there, in plain text."""

import pytest

from api.anywherenow.admission import Admission
from tests.api.anywherenow.desk import Desk
from tests.api.anywherenow.listening import CLASSIC, HUB


async def test_paths_and_methods(idle_desk: Desk) -> None:
    for method, path, status, allow in (
        ("GET", f"{HUB}/nothing", 404, None),
        ("GET", f"{HUB}/negotiate/more", 404, None),
        ("GET", f"{HUB}/negotiate", 405, "POST"),
        ("OPTIONS", f"{HUB}/negotiate", 405, "POST"),
        ("DELETE", HUB, 405, "GET"),
        ("POST", HUB, 405, "GET"),
        ("GET", HUB, 426, None),
        ("GET", f"{HUB}/", 426, None),
        ("POST", f"{HUB}/Negotiate", 200, None),
        ("PUT", f"{CLASSIC}/negotiate", 405, "GET, POST"),
        ("GET", CLASSIC, 404, None),
        ("GET", f"{CLASSIC}/%0Anegotiate", 404, None),
    ):
        said = await idle_desk.ask(method, path)
        assert (said.status, said.headers.get("Allow")) == (status, allow), path
        if status in {404, 405}:
            assert said.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert said.headers["Cache-Control"] == "no-store"


async def test_a_failure_nobody_foresaw(idle_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Admission, "admit", fail)
    said = await idle_desk.ask("POST", f"{HUB}/negotiate")
    assert (said.status, said.body) == (500, b"the request failed inside")
