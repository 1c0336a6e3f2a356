"""Routes as rows of a table: from one row come the aiohttp route and its OpenAPI operation.

A handler gets a `Call` with everything it needs, decoded and authorised, and returns the struct to
send, a response of its own, or None for 204. What a request may say is one msgspec struct, `ask`:
its fields that occur in the path are taken from there, the others from the query (GET, DELETE) or
from a JSON body (POST, PUT). Everything else in a request is refused, naming the bad field. In a
query numbers and `true` or `false` are plain text; only a field that is a list may be given twice.
The document is made in `api.openapi`.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from typing import Generic, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from api.auth import Authenticator, bearer
from api.problem import ApiError
from api.services import Services
from siprec.session import Actor

ACTOR = web.RequestKey("actor", str)
"""Name of the key a request was made with, for the access log."""

NOBODY = Actor("", "none")
"""Who calls a route that needs no key."""

_EXACT = 2**53
"""Up to here a double tells all integers apart (RFC 7493 section 2.2)."""

Ask = TypeVar("Ask", bound=Struct)


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """A request without parameters."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Ask]):
    """One authorised request."""

    services: Services
    actor: Actor
    ask: Ask
    request: web.Request
    holds: Callable[[], bool] = lambda: True
    """Whether the key or token still says the same; for what outlives its request."""


@dataclass(frozen=True, slots=True)
class Route(Generic[Ask]):
    """One operation of the HTTP interface."""

    method: str
    """`GET` (which serves HEAD too), `POST`, `PUT` or `DELETE`."""
    path: str
    """Template as of OpenAPI: `/recordings/{recording_id}`."""
    role: str | None
    """Least role that may use it; None: open to everybody."""
    handler: Callable[[Call[Ask]], Awaitable[Struct | web.StreamResponse | None]]
    ask: type[Ask]
    answer: type[Struct] | None
    """Struct of the answer in the document; None: no JSON."""
    summary: str
    problems: tuple[int, ...] = ()
    """Statuses of the problems it may answer, besides those every route may."""
    answers: Mapping[int, tuple[str, ...]] | None = None
    """Success status -> media types, where it is not 200 with JSON (or 204 without)."""
    token_in_query: bool = False
    """Take the key from `access_token` too: for clients that cannot set headers."""
    name: str = ""
    """Of the operation in the document; empty: that of the handler."""
    right: str = ""
    """Permission it needs besides the role (`storage.entries.Permission`)."""

    @property
    def has_body(self) -> bool:
        """What is asked comes in a body, not in the query."""
        return self.method in {"POST", "PUT"}

    @property
    def path_names(self) -> tuple[str, ...]:
        """Names of the path parameters, in order."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods it answers: what can be got can be asked about, except a WebSocket."""
        is_document = self.method == "GET" and 101 not in (self.answers or {})
        return ("GET", "HEAD") if is_document else (self.method,)


class Endpoint(Generic[Ask]):
    """What aiohttp calls for one route."""

    def __init__(
        self, route: Route[Ask], services: Services, authenticator: Authenticator, body_s: float
    ) -> None:
        self._route = route
        self._services = services
        self._authenticator = authenticator
        self._body_s = body_s
        self._path = route.path_names
        self._types = _field_types(route.ask)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Authorise, decode, run, encode. Raises ApiError and what the handler raises."""
        token = self._token(request)
        actor = await self._actor(request, token)
        request[ACTOR] = actor.name
        ask = self._decode(request, await self._values(request))
        holds = partial(self._authenticator.holds, token, actor)
        result = await self._route.handler(Call(self._services, actor, ask, request, holds))
        if isinstance(result, web.StreamResponse):
            return result
        if result is None:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return web.Response(body=msgspec.json.encode(result), content_type="application/json")

    def _token(self, request: web.Request) -> str | None:
        token = bearer(request.headers.getall("Authorization", []))
        if token is None and self._route.token_in_query:
            token = request.query.get("access_token")
        return token

    async def _actor(self, request: web.Request, token: str | None) -> Actor:
        route = self._route
        if route.role is None:
            return NOBODY
        return await self._authenticator.admit(token, request.remote or "", route.role, route.right)

    async def _values(self, request: web.Request) -> dict[str, object]:
        if self._route.has_body:
            _no_query(request)
            return _json_object(request.content_type, await self._body(request))
        return self._query(request)

    async def _body(self, request: web.Request) -> bytes:
        most, announced = request.client_max_size, request.content_length or 0
        if announced > most:
            raise web.HTTPRequestEntityTooLarge(most, announced)
        try:
            async with asyncio.timeout(self._body_s):
                return await request.read()
        except TimeoutError:
            raise ApiError(
                HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive in {self._body_s:g} s"
            ) from None

    def _query(self, request: web.Request) -> dict[str, object]:
        values: dict[str, object] = {}
        for name in request.query:
            texts = request.query.getall(name)
            if self._types.get(name) == "array":
                values[name] = texts
            elif len(texts) > 1:
                raise _bad(f"Parameter `{name}` is given twice")
            else:
                values[name] = _plain_value(texts[0], self._types.get(name, ""))
        return values

    def _decode(self, request: web.Request, values: dict[str, object]) -> Ask:
        path = {name: request.match_info[name] for name in self._path}
        for name in path.keys() & values.keys():
            raise _bad(f"Object contains unknown field `{name}`")
        try:
            return msgspec.convert({**values, **path}, self._route.ask)
        except msgspec.ValidationError as error:
            if str(error).endswith(tuple(f"`$.{name}`" for name in path)):
                raise ApiError(HTTPStatus.NOT_FOUND, "nothing has this name") from None
            raise _bad(str(error)) from None


def _no_query(request: web.Request) -> None:
    for name in request.query:
        raise _bad(f"Parameter `{name}` is not known")


def _json_object(content_type: str, body: bytes) -> dict[str, object]:
    """The members of an optional JSON object (RFC 8259), each of which is there once."""
    if not body:
        return {}
    if content_type != "application/json":
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    try:
        # Refuses what `json` reads although it is none: NaN, half surrogates, other encodings.
        msgspec.json.decode(body, type=dict[str, object])
        return dict(json.loads(body, object_pairs_hook=_once, parse_float=_number))
    except UnicodeDecodeError:
        raise _bad("the body is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _bad(str(error)) from None


def _once(members: list[tuple[str, object]]) -> dict[str, object]:
    """Two members of one name would be read differently here and elsewhere (RFC 7493 2.3)."""
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("Object contains a field twice")
    return found


def _number(text: str) -> float:
    """5 for 5.0: to JSON Schema both are integers, and some clients write only the one."""
    value = float(text)
    return int(value) if abs(value) <= _EXACT and value.is_integer() else value


def _bad(detail: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, detail)


def _plain_value(text: str, kind: str) -> object:
    """What `text` in a query stands for; unchanged if it stands for nothing of this kind."""
    if kind == "integer" and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


@cache
def _field_types(ask: type[Struct]) -> Mapping[str, str]:
    """JSON type of each field, empty where there are several."""
    properties = msgspec.json.schema_components([ask])[1][ask.__name__]["properties"]
    return {name: schema.get("type", "") for name, schema in properties.items()}
