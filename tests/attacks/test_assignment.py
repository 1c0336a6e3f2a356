"""Setting what nobody was asked for: by a field too many in a body, or a parameter too many."""

from typing import Any

import pytest

from api.native.routes import ROUTES
from api.typed import Route
from storage.entries import KINDS, Account, CustomField, User
from tests.api.node import Node
from tests.attacks.lists import FIELDS
from tests.attacks.tenants import ask, tree

VALUES: tuple[Any, ...] = (1, "admin", True, None)
NAMED = {"session_id": "s", "recording_id": "r1", "sequence": "1", "action": "pause"} | {
    "email": "ann@example.com",
    "key": "1",
}
RIGHT: dict[str, dict[str, Any]] = {
    "login": {"email": "ann@example.com", "password": "x"},
    "password": {"password": "another horse battery"},
    "raise": {"event": "e"},
    "accounts": {"number": 1},
    "routes": {"id": 1, "account": 1},
    "users": {"email": "1@x", "account": 1},
    "custom-fields": {"name": "1"},
    "metadata-types": {"name": "1"},
    "templates": {"name": "1", "version": 1, "text": ""},
    "destinations": {"name": "1", "event": "RECORDING_ENDED_EVENT", "url": "http://x/"},
    "screen-agents": {"agent_id": "1", "address": "192.0.2.1"},
    "policies": {"name": "1", "event": "e", "actions": []},
    "platforms": {
        "name": "1",
        "net_address": "192.0.2.1",
        "media_stream": "Dual",
        "transport_protocol": "UDP",
        "schema_version": "1.0",
        "support_video_recording": False,
    },
    "recording-properties": {"refresh_period_s": 30},
    "integrations": {"guid": "1:0:0:1", "number": 2},
}
"""What must be in the body, by the last word of the path, or by its kind."""


@pytest.fixture
async def filled(node: Node) -> Node:
    """A node with a user and a recording."""
    await node.services.directory.put(Account(100))
    await node.services.directory.put(User("ann@example.com", 1))
    await node.services.directory.put(CustomField("case"))
    await node.stored(route=1, account=1)
    return node


def _right(route: Route[Any]) -> dict[str, Any]:
    return RIGHT.get(route.path.removesuffix("/{key}").rpartition("/")[2], {})


async def _holdings(node: Node) -> Any:
    services = node.services
    row = await services.catalog.get("r1")
    return services.directory.entries, row, tree(node.folder / "recordings")


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_field_too_many_is_refused_and_nothing_is_changed(
    filled: Node, method: str
) -> None:
    before = await _holdings(filled)
    async with filled.client() as client:
        for route in (each for each in ROUTES if each.method == method):
            path = route.path.format(**NAMED)
            known = {*route.ask.__struct_fields__} - {*route.path_names}
            for number, field in enumerate((*FIELDS, *route.path_names)):
                if field in known:
                    continue
                body = {**_right(route), field: VALUES[number % len(VALUES)]}
                status, text = await ask(client, method, path, body)
                assert status == 400, (method, path, field, text)
                assert f"unknown field `{field}`" in text
    assert await _holdings(filled) == before


async def test_a_field_too_many_further_in_is_refused(filled: Node) -> None:
    before = await _holdings(filled)
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("policies", {"when": {"account": 1, "tenant": 2}}),
        ("policies", {"actions": [{"type": "StopAudio", "role": "admin"}]}),
        ("destinations", {"parameters": [{"name": "a", "literal": "b", "path": "/"}]}),
    )
    async with filled.client() as client:
        for kind, inner in cases:
            body = {**RIGHT[kind], **inner}
            status, text = await ask(client, "PUT", f"/srs/v1/directory/{kind}/1", body)
            assert status == 400 and "unknown field" in text, text
    assert await _holdings(filled) == before


async def test_a_parameter_too_many_is_refused(filled: Node) -> None:
    before = await _holdings(filled)
    async with filled.client() as client:
        for route in ROUTES:
            if route.path.endswith("/events"):
                continue
            path, known = route.path.format(**NAMED), {*route.ask.__struct_fields__}
            body = _right(route) if route.has_body else None
            for field in FIELDS:
                if route.has_body or field not in known - {*route.path_names}:
                    status, text = await ask(client, route.method, f"{path}?{field}=1", body)
                    assert status == 400, (route.method, path, field, text)
    assert await _holdings(filled) == before


async def test_custom_data_is_data_whatever_it_is_called(filled: Node) -> None:
    """Names of fields are none of custom data, and what is custom data sets no field."""
    for name in ("retention", "sha256", "path"):
        await filled.services.directory.put(CustomField(name))
    before = await filled.services.catalog.get("r1")
    async with filled.client() as client:
        custom = {"retention": "1", "sha256": "0", "path": "../x"}
        body: dict[str, Any] = {"custom": custom}
        status, text = await ask(client, "POST", "/srs/v1/recordings/r1", body)
        assert status == 200, text
        for name in ("__class__", "role", "deleted", ""):
            body = {"custom": {name: "x"}}
            assert (await ask(client, "POST", "/srs/v1/recordings/r1", body))[0] == 400
    after = await filled.services.catalog.get("r1")
    assert before and after and after.custom == custom
    assert (after.files, after.filename) == (before.files, before.filename)


async def test_who_may_edit_may_not_make_evidence_go(filled: Node) -> None:
    async with filled.client("operator") as client:
        for field in ("hold", "never_expire"):
            for value in (True, False):
                status, _ = await ask(client, "POST", "/srs/v1/recordings/r1", {field: value})
                assert status == 403
    row = await filled.services.catalog.get("r1")
    assert row and not row.hold and not row.never_expire


def test_every_kind_is_tried() -> None:
    assert {*KINDS} <= {*RIGHT}
