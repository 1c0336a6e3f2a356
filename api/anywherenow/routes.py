"""The door of AnywhereNow: which request is which command, and who may give it.

One handler has all paths below `/attendantservice`, so that everything there is answered in its own
words; the hubs and the tokens have paths of their own.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from urllib.parse import unquote

import structlog
from aiohttp import web
from msgspec import Struct

from api.anywherenow import asking, wire
from api.anywherenow.admission import Admission, refusal
from api.anywherenow.classic import Classic
from api.anywherenow.hub import Hub
from api.anywherenow.recording import Recording
from api.anywherenow.subscriptions import Names
from api.anywherenow.tokens import Tokens
from api.anywherenow.wire import Refusal
from api.dialect import FAULTS, Context
from api.problem import ApiError
from siprec.session import Actor

logger = structlog.get_logger(__name__)

PREFIX = "/attendantservice"
_RECORDING = r"/api(?:/v2)?/recording"

Act = Callable[[web.Request, Actor, tuple[str, ...]], Awaitable[Struct]]
"""Carries a command out: request, who gives it, names in its path."""


def anywherenow(context: Context) -> Iterable[web.RouteDef]:
    """The routes of this dialect."""
    admission = Admission(context)
    door = Door(context, admission)
    names = Names(lambda: context.services.directory.entries)
    return [
        *Hub(context, admission, names).routes(),
        *Classic(context, admission, names).routes(),
        *Tokens(context).routes(PREFIX),
        web.route("*", PREFIX + r"{tail:(/[\s\S]*)?}", door.serve),
    ]


class Door:
    """Takes requests apart, has commands carried out, and puts answers together."""

    def __init__(self, context: Context, admission: Admission) -> None:
        self._admission = admission
        self._recording = Recording(context.services)
        self._body_s = context.body_s
        self._table: tuple[tuple[re.Pattern[str], str, Act], ...] = (
            (re.compile(rf"{_RECORDING}/set", re.IGNORECASE), "POST", self._set),
            (
                re.compile(rf"{_RECORDING}/capabilities/([^/]+)", re.IGNORECASE),
                "GET",
                self._capabilities,
            ),
            (re.compile(rf"{_RECORDING}/([^/]+)/([^/]+)", re.IGNORECASE), "GET", self._state),
        )

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        request[FAULTS] = _failed
        try:
            return _answer(await self._carry_out(request))
        except (Refusal, ApiError) as error:
            return _failed(error, "")

    async def _carry_out(self, request: web.Request) -> Struct:
        method, act, names = self._command(request)
        asked = "GET" if request.method == "HEAD" else request.method
        if asked != method:
            allowed = "GET, HEAD" if method == "GET" else method
            raise _Method(allowed)
        actor = await self._admission.admit(request)
        return await act(request, actor, names)

    def _command(self, request: web.Request) -> tuple[str, Act, tuple[str, ...]]:
        """Method and command of a path, and the names in it. Raises Refusal.

        Of the path as it came: a name may hold an escaped slash.
        """
        path = request.rel_url.raw_path.removeprefix(PREFIX).removesuffix("/")
        for pattern, method, act in self._table:
            if found := pattern.fullmatch(path):
                return method, act, tuple(map(unquote, found.groups()))
        status = HTTPStatus.NOT_FOUND
        raise Refusal(wire.VALIDATION, "The requested path was not found.", "path", status)

    async def _state(
        self, request: web.Request, actor: Actor, names: tuple[str, ...]
    ) -> wire.StateAnswer:
        return self._recording.state(actor, *names)

    async def _capabilities(
        self, request: web.Request, actor: Actor, names: tuple[str, ...]
    ) -> wire.CapabilitiesAnswer:
        return self._recording.capabilities(actor, *names)

    async def _set(
        self, request: web.Request, actor: Actor, names: tuple[str, ...]
    ) -> wire.StateAnswer:
        body = await asking.body(request, asking.JSON, self._body_s)
        return await self._recording.set(actor, wire.order(body))


class _Method(Refusal):
    """Another method than the path has."""

    def __init__(self, allowed: str) -> None:
        text = "The requested path does not support this method."
        super().__init__(wire.VALIDATION, text, "method", HTTPStatus.METHOD_NOT_ALLOWED)
        self.allowed = allowed


def _failed(error: Exception, _: str) -> web.Response:
    """The answer to what is no proper request, is not admitted, or was not foreseen."""
    if isinstance(error, ApiError):
        return refusal(error)
    if not isinstance(error, Refusal):
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        error = Refusal(wire.INTERNAL, "The request failed inside.", "failure", status)
    headers = {"Allow": error.allowed} if isinstance(error, _Method) else {}
    logger.info("anywherenow_refused", type=error.kind, reason=error.reason)
    return _answer(wire.ErrorAnswer(error.message), error.status, headers)


def _answer(
    answer: Struct, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> web.Response:
    stated = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return web.Response(body=wire.encode(answer), status=status, headers=stated)
