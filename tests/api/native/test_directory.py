"""The directory over HTTP: every kind, every role, every account."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from yarl import URL

from api.native.directory import ROUTES, _admit
from api.openapi import document
from api.problem import ApiError
from siprec.session import Actor
from storage.database import Database
from storage.directory import Directory
from storage.entries import KINDS, Policy, PolicyAction, Route, User, key_of
from storage.snapshot import INITIAL, Entries
from tests.api.node import Node

BASE = "/srs/v1/directory"
FILE = b"""
[[platforms]]
name = "Call Rec 1"
net_address = "192.0.2.10"
media_stream = "Dual"
transport_protocol = "UDP"
schema_version = "1.0"
support_video_recording = false
[[recording-properties]]
default_platform = "Call Rec 1"
[[integrations]]
guid = "1:0:0:1"
number = 2
account = 100
[[integrations]]
guid = "2:0:0:2"
number = 3
account = 200
[[integrations]]
guid = "3:0:0:3"
number = 4
[[accounts]]
number = 100
[[accounts]]
number = 200
[[routes]]
id = 10
account = 100
pattern = "ann@%"
[[routes]]
id = 20
account = 200
[[users]]
email = "ann@one.example"
account = 100
[[users]]
email = "ben@two.example"
account = 200
[[custom-fields]]
name = "Common"
[[custom-fields]]
name = "Both"
accounts = [100, 200]
[[custom-fields]]
name = "Twos"
accounts = [200]
[[metadata-types]]
name = "apkt:realm"
[[templates]]
name = "case"
version = 1
text = "x"
[[destinations]]
name = "all"
event = "RECORDING_ENDED_EVENT"
url = "http://a.example/"
[[destinations]]
name = "core"
event = "RECORDING_ENDED_EVENT"
url = "http://a.example/"
scope = "realm"
of = "core"
[[destinations]]
name = "ones"
event = "RECORDING_ENDED_EVENT"
url = "http://a.example/"
scope = "route"
of = 10
secret = "hush"
[[destinations]]
name = "twos"
event = "RECORDING_ENDED_EVENT"
url = "http://a.example/"
scope = "account"
of = 200
[[screen-agents]]
agent_id = "7001"
address = "192.0.2.1"
account = 100
[[screen-agents]]
agent_id = "7002"
address = "192.0.2.2"
account = 200
[[policies]]
name = "for all"
event = "e"
actions = [{ type = "StopAudio" }]
[[policies]]
name = "for ones"
event = "e"
actions = [{ type = "StopAudio" }]
when = { route = 10 }
[[policies]]
name = "for twos"
event = "e"
actions = [{ type = "StopAudio" }]
when = { account = 200 }
"""
NEW: dict[str, dict[str, Any]] = {
    "platforms": {
        "name": "Call Rec 2",
        "net_address": "srs.example.com",
        "media_stream": "Single",
        "transport_protocol": "TCP",
        "schema_version": "2.0",
        "support_video_recording": True,
        "port": 5070,
    },
    "recording-properties": {"default_platform": "Call Rec 1", "refresh_period_s": 30},
    "accounts": {"number": 300, "name": "Third", "pause_fill": "cut"},
    "routes": {"id": 30, "account": 100, "match": "realm", "pattern": "core"},
    "users": {"email": "Cleo@One.example", "account": 100, "type": "api", "lines": ["1", "2"]},
    "custom-fields": {"name": "Case/No 5", "accounts": [100]},
    "metadata-types": {"name": "apkt:ucid", "searchable": False},
    "templates": {"name": "case", "version": 2, "text": "<a>\n${ani}</a>"},
    "destinations": {
        "name": "CRM: ends",
        "event": "RECORDING_ENDED_EVENT",
        "url": "https://crm.example/in",
        "scope": "account",
        "of": 100,
        "parameters": [{"name": "who", "value": "ANI"}],
    },
    "screen-agents": {"agent_id": "7003", "address": "2001:db8::7", "account": 100},
    "policies": {
        "name": "agreed",
        "event": "Agreed",
        "actions": [{"type": "StartAudio"}],
        "when": {"account": 100},
    },
    "integrations": {
        "guid": "4:0:0:4",
        "number": 5,
        "account": 100,
        "route": 10,
        "hosts": ["srs.example.com"],
        "users": ["ann@one.example"],
    },
}
"""A new entry of each kind; those that belong to an account belong to 100."""
OWNED = ("users", "destinations", "screen-agents", "policies", "integrations")
FIXED = ("accounts", "custom-fields", "metadata-types", "templates")
HIDDEN = ("platforms", "recording-properties")
"""Of what only the System account knows."""
DEMONSTRATION = "integrations/d7ae7ea9bf56ebdc:-3f5d0705:1559c8e762d:-8000"
"""There from the start, for everybody's reporting application: the System account's."""
FOREIGN = (
    "platforms/Call Rec 1",
    "recording-properties/system",
    "integrations/2:0:0:2",
    "integrations/3:0:0:3",
    DEMONSTRATION,
    "accounts/1",
    "accounts/200",
    "routes/1",
    "routes/20",
    "users/ben@two.example",
    "users/BEN@two.example",
    "custom-fields/Twos",
    "destinations/all",
    "destinations/core",
    "destinations/twos",
    "screen-agents/7002",
    "policies/for all",
    "policies/for twos",
)
OWN = (
    "accounts/100",
    "routes/10",
    "users/ann@one.example",
    "custom-fields/Both",
    "custom-fields/Common",
    "metadata-types/apkt:realm",
    "templates/case.1",
    "destinations/ones",
    "screen-agents/7001",
    "policies/for ones",
    "integrations/1:0:0:1",
)

Answer = tuple[int, Any]


@pytest.fixture
async def filled(node: Node) -> Node:
    """A node with two accounts that have something of each kind."""
    await node.services.directory.apply(FILE)
    return node


@asynccontextmanager
async def admin_of(node: Node, account: int) -> AsyncIterator[ClientSession]:
    """An admin of one account."""
    key = await node.services.keys.add(f"admin of {account}", "admin", account)
    headers = {"Authorization": f"Bearer {key}"}
    async with ClientSession(node.server.url, headers=headers) as session:
        yield session


def path_of(kind: str, key: str) -> str:
    return f"{kind}/{key.replace('/', '%2F')}"


async def ask(client: ClientSession, method: str, path: str, body: Any = None) -> Answer:
    url = URL(f"{BASE}/{path}".replace(" ", "%20"), encoded=True)
    async with client.request(method, url, json=body) as response:
        text = await response.read()
        return response.status, json.loads(text) if text else None


def key_in(kind: str) -> str:
    return key_of(msgspec.convert(NEW[kind], KINDS[kind]))


def full(kind: str, body: dict[str, Any]) -> Any:
    """The entry with every field, as it is answered."""
    return msgspec.to_builtins(msgspec.convert(body, KINDS[kind]))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_entry_comes_changes_and_goes(filled: Node, kind: str) -> None:
    path, body = path_of(kind, key_in(kind)), NEW[kind]
    if kind == "recording-properties":  # there is only one
        await filled.services.directory.remove(kind, "system")
    async with filled.client() as client:
        assert await ask(client, "PUT", path, body) == (201, full(kind, body))
        assert await ask(client, "PUT", path, body) == (200, full(kind, body))
        assert await ask(client, "GET", path) == (200, full(kind, body))
        _, listed = await ask(client, "GET", kind)
        assert full(kind, body) in listed["items"] and listed["next"] is None
        assert await ask(client, "DELETE", path) == (204, None)
        assert (await ask(client, "GET", path))[0] == 404
        assert (await ask(client, "DELETE", path))[0] == 404


async def test_a_put_replaces_the_whole_entry(filled: Node) -> None:
    async with filled.client() as client:
        await ask(client, "PUT", "accounts/300", NEW["accounts"])
        found = await ask(client, "PUT", "accounts/300", {"number": 300})
    assert found == (200, full("accounts", {"number": 300}))


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("accounts/300", {}, "Object missing required field `number`"),
        ("accounts/300", {"number": "300"}, "Expected `int`, got `str` - at `$.number`"),
        ("accounts/300", {"number": 300, "owner": 1}, "Object contains unknown field `owner`"),
        ("accounts/300", {"number": 300, "key": "1"}, "Object contains unknown field `key`"),
        ("users/a@b", {"email": "a@b", "account": 1, "role": "admin"}, "unknown field `role`"),
        ("users/a@b", {"email": "a@b", "account": 1, "password": "x"}, "unknown field `password`"),
        (
            "policies/p",
            {"name": "p", "event": "e", "actions": [{"type": "StopAudio", "path": "/"}]},
            "unknown field `path` - at `$.actions[0]`",
        ),
        (
            "accounts/300",
            {"number": 300, "channels": "many"},
            "Expected `int`, got `str` - at `$.ch",
        ),
        ("recording-properties/system", {"refresh_period_s": 9}, "Expected `int` >= 10 - at `$.re"),
        ("accounts/300?force=1", {"number": 300}, "Parameter `force` is not known"),
    ],
)
async def test_what_is_no_entry_is_400_and_says_why(
    filled: Node, path: str, body: Any, detail: str
) -> None:
    assert await _refused(filled, path, body, detail) == 400


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("accounts/300", {"number": 301}, "the path names '300', the entry says that it is '301'"),
        ("users/ann@b", {"email": "eve@b", "account": 1}, "the path names 'ann@b', the entry"),
        ("routes/7", {"id": 7, "account": 9}, "routes 7: account 9 does not exist"),
        ("routes/1", {"id": 1, "account": 100}, "routes 1: the default route keeps"),
        ("accounts/300", {"number": 300, "platform": "x"}, "platform: there is no recording platf"),
        ("recording-properties/own", {}, "the entry says that it is 'system'"),
        ("recording-properties/system", {"default_platform": "x"}, "no recording platform `x`"),
        (
            "integrations/1:0:0:9",
            {"guid": "1:0:0:9", "number": 9, "account": 100, "route": 20},
            "route: 20 is none of account 100",
        ),
        (
            "destinations/x",
            {"name": "x", "event": "RECORDING_ENDED_EVENT", "url": "http://a:b@c/"},
            "destinations x: url: a name or a password",
        ),
    ],
)
async def test_an_entry_the_directory_cannot_hold_is_409_and_says_why(
    filled: Node, path: str, body: Any, detail: str
) -> None:
    assert await _refused(filled, path, body, detail) == 409


async def _refused(filled: Node, path: str, body: Any, detail: str) -> int:
    """The status of a PUT that must be refused for `detail` and change nothing."""
    before = filled.services.directory.entries
    async with filled.client() as client:
        status, found = await ask(client, "PUT", path, body)
    assert detail in found["detail"]
    assert filled.services.directory.entries == before
    return status


async def test_kinds_and_keys_that_are_none_are_not_found(filled: Node) -> None:
    async with filled.client() as client:
        for path in (
            "colours",
            "colours/red",
            "accounts/0",
            "accounts/0100",
            "accounts/..%2f..%2fetc",
            "users/%00",
            "users/%ff",
            f"users/{'a' * 301}",
            "templates/case",
            "policies/%27%20OR%201=1",
        ):
            assert (await ask(client, "GET", path))[0] == 404, path
        assert (await ask(client, "POST", "accounts/100", {}))[0] == 405


async def test_only_admins_get_in(node: Node) -> None:
    for role, expected in (("control", 403), ("operator", 403), (None, 401)):
        async with node.client(role) as client:
            for route in ROUTES:
                path = route.path.removeprefix(f"{BASE}/").format(key="1")
                assert (await ask(client, route.method, path))[0] == expected, (role, path)


# pages


async def test_a_list_comes_in_pages(filled: Node) -> None:
    await filled.services.directory.apply(b"[[accounts]]\nnumber = 20\n[[accounts]]\nnumber = 9\n")
    async with filled.client() as client:
        pages = []
        path = "accounts?limit=2"
        while path:
            status, found = await ask(client, "GET", path)
            assert status == 200
            pages.append([each["number"] for each in found["items"]])
            path = f"accounts?limit=2&cursor={found['next']}" if found["next"] else ""
        assert pages == [[1, 9], [20, 100], [200]]
        _, found = await ask(client, "GET", "accounts?limit=5")
        assert len(found["items"]) == 5 and found["next"] is None
        # A page begins after a key, be it there or not.
        _, found = await ask(client, "GET", "accounts?cursor=19")
        assert [each["number"] for each in found["items"]] == [20, 100, 200]
        assert (await ask(client, "GET", "accounts?limit=1001"))[0] == 400
        for cursor in ("nothing", "%00", "9" * 300, "%C2%B2"):
            assert (await ask(client, "GET", f"accounts?cursor={cursor}"))[0] == 200


# accounts among themselves


@pytest.mark.parametrize("path", FOREIGN)
async def test_what_belongs_to_others_is_not_there(filled: Node, path: str) -> None:
    kind, _, key = path.partition("/")
    async with filled.client() as client:
        _, body = await ask(client, "GET", path)
    before = filled.services.directory.entries
    async with admin_of(filled, 100) as client:
        assert (await ask(client, "GET", path))[0] == 404
        assert (await ask(client, "HEAD", path))[0] == 404
        assert (await ask(client, "PUT", path, body))[0] == 404
        taken = body | ({"account": 100} if "account" in body else {})
        assert (await ask(client, "PUT", path, taken))[0] == 404
        assert (await ask(client, "DELETE", path))[0] == 404
        _, listed = await ask(client, "GET", kind)
    keys = [key_of(msgspec.convert(each, KINDS[kind])) for each in listed["items"]]
    assert key.lower() not in keys and key not in keys
    assert filled.services.directory.entries == before


async def test_what_is_ones_own_can_be_seen(filled: Node) -> None:
    async with admin_of(filled, 100) as client:
        for path in OWN:
            assert (await ask(client, "GET", path))[0] == 200, path
        found = {kind: (await ask(client, "GET", kind))[1]["items"] for kind in KINDS}
    assert {kind: len(items) for kind, items in found.items()} == {
        kind: sum(path.startswith(f"{kind}/") for path in OWN) for kind in KINDS
    }
    assert "200" not in json.dumps(found)


@pytest.mark.parametrize("kind", OWNED)
async def test_ones_own_can_be_made_changed_and_removed(filled: Node, kind: str) -> None:
    path, body = path_of(kind, key_in(kind)), NEW[kind]
    async with admin_of(filled, 100) as client:
        assert await ask(client, "PUT", path, body) == (201, full(kind, body))
        assert (await ask(client, "PUT", path, body))[0] == 200
        assert (await ask(client, "DELETE", path))[0] == 204


@pytest.mark.parametrize("kind", FIXED)
async def test_what_is_for_the_system_account_is_403(filled: Node, kind: str) -> None:
    before = filled.services.directory.entries
    own = next(path for path in OWN if path.startswith(kind))
    async with admin_of(filled, 100) as client:
        _, body = await ask(client, "GET", own)
        assert (await ask(client, "PUT", own, body))[0] == 403
        assert (await ask(client, "DELETE", own))[0] == 403
        assert (await ask(client, "PUT", path_of(kind, key_in(kind)), NEW[kind]))[0] == 403
    assert filled.services.directory.entries == before


@pytest.mark.parametrize("kind", HIDDEN)
async def test_what_only_the_system_account_knows_is_nobody_elses_to_make(
    filled: Node, kind: str
) -> None:
    if kind == "recording-properties":
        await filled.services.directory.remove(kind, "system")
    before = filled.services.directory.entries
    async with admin_of(filled, 100) as client:
        assert await ask(client, "GET", kind) == (200, {"items": [], "next": None})
        status, found = await ask(client, "PUT", path_of(kind, key_in(kind)), NEW[kind])
        assert (status, found["detail"]) == (403, "this is for the System account")
    assert filled.services.directory.entries == before


async def test_properties_that_say_nothing_are_an_entry_too(node: Node) -> None:
    path, default = "recording-properties/system", full("recording-properties", {})
    async with node.client() as client:
        assert (await ask(client, "GET", path))[0] == 404
        assert await ask(client, "PUT", path, {}) == (201, default)
        assert await ask(client, "PUT", path, {}) == (200, default)
        assert await ask(client, "GET", path) == (200, default)
        assert (await ask(client, "DELETE", path))[0] == 204


async def test_a_platform_that_is_named_stays(filled: Node) -> None:
    async with filled.client() as client:
        status, found = await ask(client, "DELETE", "platforms/Call Rec 1")
    assert status == 409 and "recording-properties system: default_platform" in found["detail"]


MOVES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("users/ann@one.example", {"email": "ann@one.example", "account": 200}),
    ("users/ann@one.example", {"email": "ann@one.example", "account": 1}),
    ("users/new@one.example", {"email": "new@one.example", "account": 1, "type": "admin"}),
    ("screen-agents/7001", {"agent_id": "7001", "address": "192.0.2.1", "account": 200}),
    ("screen-agents/7009", {"agent_id": "7009", "address": "192.0.2.1"}),
    ("routes/10", {"id": 10, "account": 200, "pattern": "ann@%"}),
    ("integrations/1:0:0:1", {"guid": "1:0:0:1", "number": 2, "account": 200}),
    ("integrations/1:0:0:1", {"guid": "1:0:0:1", "number": 2}),
    ("integrations/5:0:0:5", {"guid": "5:0:0:5", "number": 9}),
    ("policies/for ones", {"name": "for ones", "event": "e", "actions": [{"type": "StopAudio"}]}),
    (
        "policies/new",
        {"name": "new", "event": "e", "actions": [], "when": {"route": 20}},
    ),
    (
        "policies/new",
        {"name": "new", "event": "e", "actions": [], "when": {"realm": "core"}},
    ),
    *(
        (
            "destinations/ones",
            {
                "name": "ones",
                "event": "RECORDING_ENDED_EVENT",
                "url": "http://a.example/",
                "scope": scope,
                "of": of,
            },
        )
        for scope, of in (("global", ""), ("realm", "core"), ("account", 200), ("route", 20))
    ),
)


@pytest.mark.parametrize(("path", "body"), MOVES)
async def test_nothing_can_be_moved_into_another_account(
    filled: Node, path: str, body: dict[str, Any]
) -> None:
    before = filled.services.directory.entries
    async with admin_of(filled, 100) as client:
        assert (await ask(client, "PUT", path, body))[0] == 403
    assert filled.services.directory.entries == before


async def test_nobody_helps_himself_to_the_calls_of_others(filled: Node) -> None:
    async with admin_of(filled, 100) as client:
        _, own = await ask(client, "GET", "routes/10")
        for claim in ({"pattern": "%"}, {"priority": 1000}, {"match": "from"}):
            assert (await ask(client, "PUT", "routes/10", own | claim))[0] == 403
        catch_all = {"id": 30, "account": 100, "priority": 1000}
        assert (await ask(client, "PUT", "routes/30", catch_all))[0] == 403
        assert (await ask(client, "DELETE", "routes/10"))[0] == 403
        quiet = own | {"record": "on_demand", "prebuffer_s": 5, "label": "Ours"}
        assert await ask(client, "PUT", "routes/10", quiet) == (200, quiet)


async def test_what_another_process_made_a_moment_ago_is_safe(filled: Node, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/siprecd.db")
    await Directory(database).put(User("new@two.example", 200))
    assert "new@two.example" not in filled.services.directory.entries.users
    body = {"email": "new@two.example", "account": 100}
    async with admin_of(filled, 100) as client:
        assert (await ask(client, "PUT", "users/new@two.example", body))[0] == 404
        assert (await ask(client, "DELETE", "users/new@two.example"))[0] == 404
    other = Directory(database)
    await other.load()
    assert other.entries.users["new@two.example"].account == 200
    await database.close()


async def test_an_account_that_is_gone_sees_nothing_of_its_own(filled: Node) -> None:
    async with admin_of(filled, 999) as client:
        for kind in ("accounts", "routes", *OWNED):
            assert await ask(client, "GET", kind) == (200, {"items": [], "next": None})


def test_nobody_gives_what_they_have_not() -> None:
    entries = Entries.of([*INITIAL, Route(10, 1)])
    clerk = Actor("clerk", "admin", rights=frozenset({"playback", "download"}))
    _admit(clerk, entries, None, User("a@b", 1, "tenant"))
    for user in (User("a@b", 1, "admin"), User("a@b", 1, permissions=["delete"])):
        with pytest.raises(ApiError, match="permission they have not"):
            _admit(clerk, entries, None, user)
    confined = Actor("clerk", "admin", routes=frozenset({10}))
    for new in (User("a@b", 1), Route(10, 1, "Mine")):
        with pytest.raises(ApiError, match="confined"):
            _admit(confined, entries, None, new)


# secrets, references, the database


async def test_a_secret_goes_in_and_never_out(filled: Node) -> None:
    async with filled.client() as client:
        status, body = await ask(client, "GET", "destinations/ones")
        assert status == 200 and body["secret"] == "***"
        changed = body | {"url": "http://b.example/"}
        assert await ask(client, "PUT", "destinations/ones", changed) == (200, changed)
        _, listed = await ask(client, "GET", "destinations")
        assert "hush" not in json.dumps(listed)
        stored = filled.services.directory.entries.destinations["ones"]
        assert (stored.secret, stored.url) == ("hush", "http://b.example/")
        status, found = await ask(client, "PUT", "destinations/ones", body | {"secret": "new"})
        assert (status, found["secret"]) == (200, "***")
        assert filled.services.directory.entries.destinations["ones"].secret == "new"
        assert (await ask(client, "PUT", "destinations/all", body | {"name": "all"}))[0] == 409


async def test_what_others_name_is_409_and_stays(filled: Node) -> None:
    async with filled.client() as client:
        status, found = await ask(client, "DELETE", "accounts/100")
        assert status == 409 and "routes 10: account 100 does not exist" in found["detail"]
        assert (await ask(client, "DELETE", "accounts/1"))[0] == 409
        assert (await ask(client, "DELETE", "routes/1"))[0] == 409


async def test_who_else_names_an_entry_is_not_told_to_other_accounts(filled: Node) -> None:
    screen = PolicyAction("TerminateRecordScreen", agent_id="7001")
    await filled.services.directory.put(Policy("for all screens", "e", [screen]))
    async with admin_of(filled, 100) as client:
        status, found = await ask(client, "DELETE", "screen-agents/7001")
    assert (status, found["detail"]) == (409, "other entries name it")


async def test_without_the_database_what_is_known_is_told(filled: Node, tmp_path: Path) -> None:
    (tmp_path / "siprecd.db").rename(tmp_path / "away")
    async with filled.client() as client:
        assert (await ask(client, "GET", "accounts/100"))[0] == 200
        assert (await ask(client, "PUT", "accounts/300", {"number": 300}))[0] == 503
        assert (await ask(client, "DELETE", "screen-agents/7001"))[0] == 503
        assert (await ask(client, "GET", "screen-agents/7001"))[0] == 200


# the document


def test_the_document_shows_each_kind_with_its_fields() -> None:
    found = document(ROUTES, "siprecd", "1", ())
    names = [each["operationId"] for path in found["paths"].values() for each in path.values()]
    assert len(names) == len(set(names)) == 6 * len(KINDS)
    for kind, entry in KINDS.items():
        operation = found["paths"][f"{BASE}/{kind}/{{key}}"]["put"]
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        schema = found["components"]["schemas"][entry.__name__]
        assert operation["requestBody"]["required"] is bool(schema["required"])
        assert body["properties"] == schema["properties"]
        assert body.get("required", []) == schema["required"]
        assert {"200", "201", "400", "403", "404"} <= set(operation["responses"])
