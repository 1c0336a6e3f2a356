"""The door of APIO: which request is which method of the service, and who may use it.

One handler has all paths below `/api/v1/system`, so that everything there is answered in APIO's own
form. The service is *System Call Recording*.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

import msgspec
import structlog
from aiohttp import web

from api.apio import asking, wire
from api.apio.asking import Ask
from api.apio.codes import Refusal
from api.apio.platforms import Platforms
from api.apio.wire import Tree
from api.auth import actor_of, bearer
from api.dialect import FAULTS, Context
from api.problem import ApiError
from api.typed import ACTOR
from siprec.session import Actor
from storage.entries import SYSTEM_ACCOUNT
from storage.records import StorageUnavailable

logger = structlog.get_logger(__name__)

PREFIX = "/api/v1/system"
SERVICE = ("services", "call_recording")
NAME = "{instance_name}"
"""Stands in `Door` for the name of a platform."""
REALM = "APIO"


class Level(StrEnum):
    """Least authorization level a method asks for."""

    GROUP = "Group Admin"
    SYSTEM = "System Admin"


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the service."""

    act: Callable[[Ask], Awaitable[Tree]]
    level: Level = Level.SYSTEM
    has_body: bool = False


Table = Mapping[Sequence[str], Mapping[str, Method]]


def apio(context: Context) -> Iterable[web.RouteDef]:
    """The routes of APIO."""
    door = Door(context)
    return [web.route("*", PREFIX + r"{tail:(/[\s\S]*)?}", door.serve)]


class Door:
    """Takes requests apart, has methods carried out, and puts answers together."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._table = _table(Platforms(context.services.directory))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request to APIO."""
        request[FAULTS] = _refused
        try:
            return _answer(HTTPStatus.OK, await self._carry_out(request))
        except (Refusal, ApiError, StorageUnavailable) as error:
            return _refused(error, request.path)

    async def _carry_out(self, request: web.Request) -> Tree:
        methods, name = self._methods(request)
        verb = "GET" if request.method == "HEAD" else request.method
        if verb not in methods:
            allowed = {"Allow": ", ".join(_with_head(methods))}
            text = "This URI does not have this method."
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, text, None, allowed)
        method = methods[verb]
        await self._admit(request, method.level)
        if not asking.takes_json(",".join(request.headers.getall("Accept", []))):
            raise Refusal(HTTPStatus.NOT_ACCEPTABLE, "Answers are application/json only.")
        body = await asking.body(request, self._context.body_s) if method.has_body else {}
        return await method.act(Ask(name, body))

    def _methods(self, request: web.Request) -> tuple[Mapping[str, Method], str]:
        """The methods of a path, and the name in it. Raises Refusal."""
        path = tuple(asking.segments(request.rel_url.raw_path.removeprefix(PREFIX)))
        service, inside = path[: len(SERVICE)], path[len(SERVICE) :]
        name = inside[1] if len(inside) > 1 else ""
        template = (*inside[:1], NAME, *inside[2:]) if name else inside
        if service != SERVICE or template not in self._table:
            raise Refusal(HTTPStatus.NOT_FOUND, "There is no such URI.")
        return self._table[template], name

    async def _admit(self, request: web.Request, least: Level) -> None:
        """Return if who asks is of this level. Raises Refusal, ApiError."""
        sent, remote = request.headers.getall("Authorization", []), request.remote or ""
        if token := bearer(sent):
            actor = await self._context.authenticator.admit(token, remote, "control")
        else:
            actor = actor_of(await self._context.basic.admit(sent, remote, REALM))
        request[ACTOR] = actor.name
        if least not in _levels(actor):
            raise Refusal(HTTPStatus.FORBIDDEN, f"This needs a {least}.")


def _levels(actor: Actor) -> Iterator[Level]:
    """What an actor is. No platform is anybody's own: who is confined changes none."""
    if actor.role == "admin":
        yield Level.GROUP
        if actor.account == SYSTEM_ACCOUNT and not actor.routes:
            yield Level.SYSTEM


def _table(platforms: Platforms) -> Table:
    """Path inside the service -> HTTP method -> method."""
    return {
        ("platforms",): {
            "GET": Method(platforms.find, Level.GROUP),
            "POST": Method(platforms.add, has_body=True),
        },
        ("platforms", NAME): {
            "GET": Method(platforms.get),
            "PUT": Method(platforms.change, has_body=True),
            "DELETE": Method(platforms.delete),
        },
        ("platforms", NAME, "usage"): {"GET": Method(platforms.usage)},
        ("properties",): {
            "GET": Method(platforms.properties),
            "PUT": Method(platforms.set_properties, has_body=True),
        },
    }


def _refused(error: Exception, _: str) -> web.Response:
    refusal = _refusal_of(error)
    logger.info("apio_refused", status=refusal.status.value, details=str(refusal))
    return _answer(refusal.status, wire.refusal(refusal), refusal.headers)


def _refusal_of(error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case ApiError():
            return Refusal(error.status, str(error), None, error.headers)
        case StorageUnavailable():
            later = {"Retry-After": "1"}
            text = "The database does not answer now; nothing was changed."
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, text, None, later)
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "The request failed inside.")


def _answer(
    status: HTTPStatus, tree: Tree, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status.value,
        body=msgspec.json.encode(tree),
        content_type=asking.JSON,
        headers=headers,
    )


def _with_head(methods: Iterable[str]) -> Iterator[str]:
    """Who answers GET answers HEAD."""
    for method in methods:
        yield from ("GET", "HEAD") if method == "GET" else (method,)
