"""Dialects on the server: switched by the configuration, failures in their own words."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from aiohttp import web

from api import server
from api.dialect import FAULTS, Context
from config.dialects import Dialects
from config.schema import Api
from tests.api.node import running


async def test_a_dialect_is_there_unless_it_is_switched_off(tmp_path: Path, migrated: Path) -> None:
    for on, status in ((True, 200), (False, 404)):
        folder = tmp_path / str(on)
        folder.mkdir()
        api = Api(dialects=Dialects(face=on))
        async with running(folder, migrated, api=api) as node, node.client(None) as client:
            async with client.get("/Face/version") as response:
                assert response.status == status
            async with client.get("/health") as response:
                assert response.status == 200


def broken(context: Context) -> Iterable[web.RouteDef]:
    """A dialect that fails; it has words for it only on one of its paths."""

    def answer(error: Exception, path: str) -> web.Response:
        return web.Response(status=500, text=f"{type(error).__name__} at {path}, sorry")

    async def serve(request: web.Request) -> web.Response:
        if "polite" in request.path:
            request[FAULTS] = answer
        assert context.services.users and context.body_s > 0
        raise ZeroDivisionError

    return [web.route("*", "/broken/{tail:.*}", serve)]


async def test_failures_are_answered_in_the_words_of_the_dialect(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DIALECTS", {"face": "tests.api.test_dialect:broken"})
    async with running(tmp_path, migrated) as node, node.client(None) as client:
        async with client.get("/broken/polite?token=7653a545") as response:
            text = await response.text()
            assert (response.status, text) == (500, "ZeroDivisionError at /broken/polite, sorry")
            assert response.headers["Cache-Control"] == "no-store"
        async with client.get("/broken/other") as response:
            assert response.status == 500
            assert (await response.json())["detail"] == "the request failed inside"
