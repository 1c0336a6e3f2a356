"""The OpenAPI 3.1 document of a table of routes."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from api.problem import CONTENT_TYPE, Problem
from api.typed import Route

Json = dict[str, Any]

_ALWAYS = (400, 500)
_WITH_KEY = (401, 403, 429)
_REF = "#/components/schemas/{name}"


def document(routes: Sequence[Route[Any]], title: str, version: str, extra: Sequence[type]) -> Json:
    """The document that describes `routes`. `extra`: further structs to have in it."""
    asked = {route.ask for route in routes}
    answered = {route.answer for route in routes if route.answer} | {Problem, *extra}
    structs = sorted(asked | answered, key=lambda struct: struct.__name__)
    _, schemas = msgspec.json.schema_components(structs, ref_template=_REF)
    asks = {ask: schemas.pop(ask.__name__) for ask in asked}
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {}).update(_operations(route, asks[route.ask]))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operations(route: Route[Any], asked: Json) -> Json:
    operation = _operation(route, asked)
    operations = {route.method.lower(): operation}
    if "HEAD" in route.methods:
        operations["head"] = _head(operation)
    return operations


def _operation(route: Route[Any], asked: Json) -> Json:
    """`asked`: schema of `route.ask`."""
    in_path, fields, required = route.path_names, asked["properties"], asked.get("required", [])
    operation: Json = {
        "operationId": route.name or route.handler.__name__,
        "summary": route.summary,
        "security": [{"key": []}] if route.role else [],
        "responses": {**_answers(route), **_problems(route)},
    }
    in_body = [name for name in fields if name not in in_path] if route.has_body else []
    if in_body:
        needed = [name for name in in_body if name in required]
        schema = _object({name: fields[name] for name in in_body}, needed)
        content = {"application/json": {"schema": schema}}
        operation["requestBody"] = {"content": content, "required": bool(needed)}
    operation["parameters"] = [
        _parameter(name, schema, "path" if name in in_path else "query", required)
        for name, schema in fields.items()
        if name not in in_body
    ]
    return operation


def _head(operation: Json) -> Json:
    responses = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in operation["responses"].items()
    }
    name = f"head_{operation['operationId']}"
    return {**operation, "operationId": name, "responses": responses}


def _answers(route: Route[Any]) -> Json:
    if route.answers is None:
        status, types = (204, ()) if route.answer is None else (200, ("application/json",))
        return {str(status): _response(status, types, route.answer)}
    return {
        str(status): _response(status, types, route.answer)
        for status, types in route.answers.items()
    }


def _response(status: int, types: Sequence[str], answer: type[Struct] | None) -> Json:
    response: Json = {"description": HTTPStatus(status).phrase}
    schema = {"$ref": _REF.format(name=answer.__name__)} if answer else {}
    if types:
        response["content"] = {kind: {"schema": schema} for kind in types}
    return response


def _problems(route: Route[Any]) -> Json:
    statuses = {*_ALWAYS, *(_WITH_KEY if route.role else ()), *route.problems}
    content = {CONTENT_TYPE: {"schema": {"$ref": _REF.format(name=Problem.__name__)}}}
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted(statuses)
    }


def _parameter(name: str, schema: Json, where: str, required: Sequence[str]) -> Json:
    is_required = where == "path" or name in required
    return {"name": name, "in": where, "required": is_required, "schema": schema}


def _object(properties: Json, required: Sequence[str]) -> Json:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": [*required]} if required else schema
