"""The admin of one account, and everybody else of it, at what another account has."""

from typing import Any

import msgspec
import pytest
from msgspec import Struct

from api.native.routes import ROUTES
from api.typed import Route
from storage.entries import key_of
from tests.api.node import Node
from tests.attacks.tenants import MARK, Tenants, ask, tenants
from tests.storage.people import PASSWORD

COMMON = {"metadata-types", "templates"}
"""Kinds whose entries are everybody's to see."""
RENAMED: dict[str, Any] = {
    "accounts": {"number": 300},
    "routes": {"id": 30},
    "users": {"email": "eve@second.example"},
    "screen-agents": {"agent_id": "eve"},
}
"""Other keys; all other kinds go by their name."""
BODIES: dict[str, Any] = {
    "password": {"password": "another horse battery", "old_password": PASSWORD},
    "recording_id": {"note": "mine", "filename": "mine.wav"},
}


@pytest.fixture
async def two(calling: Node) -> Tenants:
    """Two tenants."""
    return await tenants(calling)


def _named(route: Route[Any], two: Tenants) -> list[tuple[str, Any]]:
    """Paths by which `route` reaches what the first tenant has, each with a body that is right."""
    if "{key}" in route.path:
        kind = route.path.split("/")[-2]
        entries = two.node.services.directory.entries.by_key()
        return [
            (route.path.replace("{key}", _quoted(key)), _body_of(entry))
            for (of, key), entry in entries.items()
            if of == kind and MARK in str(entry)
        ]
    values = {
        "session_id": two.session_id,
        "recording_id": "r1",
        "sequence": str(two.sequence),
        "email": f"ann@{MARK}.example",
    }
    path = route.path.replace("{action}", "pause").format(**values)
    body = BODIES.get(path.rpartition("/")[2]) or BODIES.get(route.path_names[-1], {})
    return [(path, body)]


def _body_of(entry: Struct) -> Any:
    return msgspec.to_builtins(entry)


def _quoted(key: str) -> str:
    return key.replace(" ", "%20")


async def test_nothing_named_is_reached(two: Tenants) -> None:
    everybody, before = await two.tokens(), await two.holdings()
    requests = [
        (method, path, body if route.has_body else None)
        for route in ROUTES
        if route.path_names and not set(route.path.split("/")) & COMMON
        for path, body in _named(route, two)
        for method in route.methods
    ]
    assert len(requests) >= 35
    for token in everybody.values():
        async with two.client(token) as client:
            for method, path, body in requests:
                status, text = await ask(client, method, path, body)
                assert status in {403, 404}, (method, path, status, text)
                assert MARK not in text.replace(path, ""), (method, path, text)
    assert await two.holdings() == before


async def test_the_first_tenant_itself_reaches_it(two: Tenants) -> None:
    """What is refused above is refused for who asks, not for what is asked."""
    key = await two.node.services.keys.add("admin of the first", "admin", 100)
    async with two.client(key) as client:
        for route in (each for each in ROUTES if each.path_names and each.method == "GET"):
            for path, _ in _named(route, two):
                status, _ = await ask(client, "GET", path)
                assert status == 200 or path.endswith("r1/media?format=mp3"), path


async def test_no_list_and_no_search_shows_it(two: Tenants) -> None:
    searches = (
        f"recordings?call_id={MARK}@src",
        f"recordings?filename={MARK}.wav",
        "recordings?account=100",
        "recordings?route=10",
        "recordings?number=1",
        "recordings?oldest_first=true",
        f"sessions?call_id={MARK}@src",
        "sessions?aor=sip:alice@example.com",
        "notifications?state=dead",
        f"playback?tel_sys_id=100&call_id={MARK}@src",
        f"playback/audio?tel_sys_id=100&call_id={MARK}@src",
    )
    lists = [each.path for each in ROUTES if each.method == "GET" and not each.path_names]
    for path in ("events", "playback", "playback/audio"):
        lists.remove(f"/srs/v1/{path}")
    for token in (await two.tokens()).values():
        async with two.client(token) as client:
            for path in (*lists, *(f"/srs/v1/{search}" for search in searches)):
                status, text = await ask(client, "GET", path)
                assert status in {200, 403, 404}, path
                assert MARK not in text and two.session_id not in text, (path, text)


async def test_pages_of_others_lead_nowhere(two: Tenants) -> None:
    """A cursor of the first tenant shows the second none of its recordings."""
    await two.node.stored("r2", account=100, route=10, filename=f"{MARK}-2.wav")
    async with two.node.client() as system:
        first = await ask(system, "GET", "/srs/v1/recordings?limit=1&account=100")
        cursor = msgspec.json.decode(first[1])["next"]
    assert cursor
    for token in (await two.tokens()).values():
        async with two.client(token) as client:
            status, text = await ask(client, "GET", f"/srs/v1/recordings?cursor={cursor}")
            assert status in {200, 403} and MARK not in text


async def test_events_of_ones_own_do_nothing_to_it(two: Tenants) -> None:
    before = await two.holdings()
    live = two.node.services.recorder.find(two.session_id)
    body = {"event": "agreed", "ucid": live.call_id, "called_aors": ["sip:bob@example.com"]}
    for token in (await two.tokens()).values():
        async with two.client(token) as client:
            status, text = await ask(client, "POST", "/srs/v1/events/raise", body)
            assert status == 404 or (status == 200 and '"actions":0' in text), text
    assert await two.holdings() == before


async def test_nothing_can_be_made_for_the_other(two: Tenants) -> None:
    """A copy of what the first has, under a key of one's own but in its account."""
    before = two.node.services.directory.entries
    async with two.client((await two.tokens())["admin"]) as client:
        for (kind, _), entry in before.by_key().items():
            if MARK in str(entry):
                mine = msgspec.structs.replace(entry, **RENAMED.get(kind, {"name": "eve"}))
                path = f"/srs/v1/directory/{kind}/{key_of(mine)}"
                status, text = await ask(client, "PUT", path, _body_of(mine))
                assert status == 403, (kind, text)
    assert two.node.services.directory.entries == before
