"""A request to APIO, taken apart: names in its path, what it accepts, and the JSON it brings."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote

import msgspec
from aiohttp import web

from api.apio.codes import Refusal, invalid
from api.apio.wire import Tree

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a method is told."""

    name: str = ""
    """Of the platform, as the path has it; empty: it names none."""
    body: Mapping[str, object] = field(default_factory=dict)
    """Empty for a method that takes none."""


def segments(raw_path: str) -> Sequence[str]:
    """The decoded names of a path; a slash at its end says nothing.

    What stands for no text (RFC 3629) becomes U+FFFD and so names nothing.
    """
    bare = raw_path.removesuffix("/").removeprefix("/")
    return [unquote(each) for each in bare.split("/")] if bare else []


def takes_json(accept: str) -> bool:
    """Whether an Accept header (RFC 9110 section 12.5.1) allows JSON. Media types may be quoted."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *options = (text.strip().strip('"').lower() for text in part.split(";"))
        if kind:
            weights[kind] = max(weights.get(kind, 0.0), _weight(options))
    ranges = (JSON, "application/*", "*/*", "*")
    found = next((weights[each] for each in ranges if each in weights), 0.0)
    return found > 0.0 or not weights


def _weight(options: Sequence[str]) -> float:
    stated = next((option[2:].strip() for option in options if option.startswith("q=")), "1")
    try:
        return float(stated)
    except ValueError:
        return 1.0


async def body(request: web.Request, limit_s: float) -> Tree:
    """The JSON object a request brings. Raises Refusal: 408, 413, 416, 400 if it is no object.

    Only what says that it is JSON is read: a web page of others can have a browser send the rest,
    and browsers keep the password of HTTP Basic.
    """
    try:
        async with asyncio.timeout(limit_s):
            octets = await request.read()
    except TimeoutError:
        text = f"The body did not arrive in {limit_s:g} s."
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, text) from None
    except web.HTTPRequestEntityTooLarge:
        most = f"The body is larger than {request.client_max_size} octets."
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, most) from None
    if not octets:
        raise _no_json("The body is empty.")
    stated = request.headers.get("Content-Type", "").split(";")[0].strip(' \t"').lower()
    if stated != JSON:
        raise _no_json(f"The Content-Type of the body must be {JSON}.")
    return _object(octets)


def _object(octets: bytes) -> Tree:
    try:
        # Refuses what `json` reads although it is none: NaN, half surrogates, other encodings.
        msgspec.json.decode(octets)
        found = json.loads(octets, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _no_json("The body is not JSON.") from None
    if not isinstance(found, dict):
        raise invalid("The body must be a JSON object.")
    return found


def _once(members: list[tuple[str, object]]) -> Tree:
    """Two members of one name would be read differently here and elsewhere (RFC 7493 2.3)."""
    found = dict(members)
    if len(found) < len(members):
        raise invalid("The body has a member twice.")
    return found


def _no_json(details: str) -> Refusal:
    return Refusal(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, details)
