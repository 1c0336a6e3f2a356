"""The OpenAPI document: whole, consistent, and true to the routes."""

from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import ClientSession
from msgspec import Struct

from api.openapi import document
from api.typed import Route
from tests.api.routes import ALL_ROUTES

DOCUMENT = document(ALL_ROUTES, "siprecd", "1", ())


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _operation(route: Route[Any]) -> dict[str, Any]:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    assert isinstance(operation, dict)
    return operation


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    used = {reference.removeprefix("#/components/schemas/") for reference in _references(DOCUMENT)}
    assert used == set(schemas)


def test_operations_have_names_of_their_own() -> None:
    operations = [
        operation["operationId"]
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
    ]
    assert len(operations) == len(set(operations)) + 2  # the two unused handlers, GET and HEAD


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_route_is_described(route: Route[Any]) -> None:
    operation = _operation(route)
    assert operation["security"] == ([{"key": []}] if route.role else [])
    assert ("401" in operation["responses"]) == (route.role is not None or 401 in route.problems)
    assert {str(status) for status in route.problems} <= set(operation["responses"])
    named = {parameter["name"] for parameter in operation["parameters"]}
    in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
    assert in_path == set(route.path_names)
    assert all(p["required"] == (p["in"] == "path") for p in operation["parameters"])
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]["schema"]
        named |= set(content["properties"])
        assert content["additionalProperties"] is False
    assert named == set(route.ask.__struct_fields__)


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_what_can_be_got_can_be_asked_about(route: Route[Any]) -> None:
    head = DOCUMENT["paths"][route.path].get("head")
    if route.method != "GET" or route.answers == {101: ()}:
        return
    assert head is not None
    assert set(head["responses"]) == set(_operation(route)["responses"])
    assert not any("content" in response for response in head["responses"].values())


class Thing(Struct, frozen=True, forbid_unknown_fields=True):
    """Something with a name, a size, and perhaps a note."""

    name: str
    size: int
    note: str = ""


async def _unused(call: object) -> None:
    raise NotImplementedError


def _described(method: str, path: str) -> dict[str, Any]:
    route = Route(method, path, "control", _unused, Thing, None, "")
    found = document([route], "siprecd", "1", ())["paths"][path][method.lower()]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_body_says_what_it_must_have(method: str) -> None:
    found = _described(method, "/things/{name}")
    assert [parameter["name"] for parameter in found["parameters"]] == ["name"]
    assert found["requestBody"]["required"] is True
    schema = found["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"size", "note"}
    assert schema["required"] == ["size"]
    assert schema["additionalProperties"] is False


def test_a_query_says_what_it_must_have() -> None:
    found = _described("DELETE", "/things/{name}")
    assert "requestBody" not in found
    assert {(p["name"], p["in"], p["required"]) for p in found["parameters"]} == {
        ("name", "path", True),
        ("size", "query", True),
        ("note", "query", False),
    }


def test_problems_are_problems() -> None:
    for path in DOCUMENT["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and "content" in response:
                    assert list(response["content"]) == ["application/problem+json"]


def test_query_parameters_carry_their_limits() -> None:
    found = _operation(next(r for r in ALL_ROUTES if r.path == "/srs/v1/recordings"))
    schemas = {parameter["name"]: parameter["schema"] for parameter in found["parameters"]}
    assert schemas["limit"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}
    assert schemas["started_after"] == {"type": "string", "format": "date-time"}


async def test_the_document_is_served_to_everybody(client: ClientSession) -> None:
    async with client.get("/srs/v1/openapi.json", headers={"Authorization": ""}) as response:
        assert response.status == 200
        served = await response.json()
    assert served["openapi"] == "3.1.0"
    assert set(served["paths"]) == {route.path for route in ALL_ROUTES}
    assert "Event" in served["components"]["schemas"]
