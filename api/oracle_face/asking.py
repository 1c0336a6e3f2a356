"""A request to FACE, taken apart: who asks, for what, and how it is to be answered."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from api import xml
from api.oracle_face import codes
from api.oracle_face.codes import Refusal
from api.oracle_face.updates import parse_form
from api.oracle_face.wire import Tree
from siprec.session import Actor

FORM = "application/x-www-form-urlencoded"
_HEAD_OF_JSON = ("application/json",)
_HEADS_OF_XML = ("application/xml", "text/xml")


@dataclass(frozen=True, slots=True)
class Ask:
    """One command to be carried out."""

    command: str
    """As in the path: `login`, `audioRecording/start`."""
    actor: Actor
    parameters: Mapping[str, str]
    """Of the query, without the token."""
    request: web.Request
    body: Mapping[str, str] = field(default_factory=dict)
    """Of the form that was posted."""

    @property
    def verb(self) -> str:
        """The command without `audioRecording/`."""
        return self.command.removeprefix("audioRecording/")

    def need(self, *rights: str) -> None:
        """Raises Refusal unless the actor has all these permissions."""
        if not self.actor.rights.issuperset(rights):
            raise Refusal(codes.FAILURE, "Permission denied")


def parameters(request: web.Request) -> dict[str, str]:
    """The query; of a repeated name the last."""
    return {**dict(request.query.items())}


async def form(request: web.Request, limit_s: float) -> dict[str, str]:
    """The form in the body of a POST, empty without one. Raises Refusal."""
    try:
        async with asyncio.timeout(limit_s):
            body = await request.read()
    except TimeoutError:
        status = HTTPStatus.REQUEST_TIMEOUT
        raise Refusal(codes.FAILURE, "The body did not arrive in time", status) from None
    except web.HTTPRequestEntityTooLarge:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        raise Refusal(codes.FAILURE, "The body is too large", status) from None
    if not body:
        return {}
    stated = request.headers.get("Content-Type") and request.content_type
    coding = request.headers.get("Content-Encoding", "identity").lower()
    if stated not in {None, "", FORM} or coding != "identity":
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        raise Refusal(codes.FAILURE, f"The body must be {FORM}", status)
    return parse_form(body)


def prefers_json(accept: str) -> bool:
    """Whether an Accept header (RFC 9110 section 12.5.1) names JSON before XML.

    Wildcards and what is not known stand for XML.
    """
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *options = (text.strip().lower() for text in part.split(";"))
        weights[kind] = max(weights.get(kind, 0.0), _weight(options))
    json = max(weights.get(kind, 0.0) for kind in _HEAD_OF_JSON)
    return json > max(weights.get(kind, 0.0) for kind in _HEADS_OF_XML)


def _weight(options: list[str]) -> float:
    stated = next((option[2:] for option in options if option.startswith("q=")), "1")
    try:
        weight = float(stated)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def answer(request: web.Request, tree: Tree, status: int = HTTPStatus.OK) -> web.Response:
    """`tree` as XML, or as JSON for who prefers that."""
    if prefers_json(request.headers.get("Accept", "")):
        return _response(msgspec.json.encode(tree), "application/json", status)
    return _response(xml.document(tree), "application/xml", status)


def _response(body: bytes, media_type: str, status: int) -> web.Response:
    headers: dict[str, Any] = {"Content-Type": f"{media_type};charset=UTF-8"}
    return web.Response(body=body, headers=headers, status=status)
