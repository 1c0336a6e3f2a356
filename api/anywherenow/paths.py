"""The paths of a SignalR endpoint: everything below its base is answered here, in plain text.

Who may ask is settled first. Counterparts: `api.anywherenow.hub`, `api.anywherenow.classic`.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus

import structlog
from aiohttp import web

from api.anywherenow.admission import Admission, refusal
from api.dialect import FAULTS
from api.problem import ApiError
from siprec.session import Actor

logger = structlog.get_logger(__name__)

Act = Callable[[web.Request, Actor], Awaitable[web.StreamResponse]]
Holds = Callable[[], Awaitable[bool]]
"""Whether who connected may still do so."""


class Paths:
    """The table of an endpoint."""

    def __init__(
        self, base: str, admission: Admission, table: Mapping[str, tuple[tuple[str, ...], Act]]
    ) -> None:
        """`table`: path below `base`, in lower case -> methods, and what they do."""
        self._base = base
        self._admission = admission
        self._table = table

    def routes(self) -> Iterable[web.RouteDef]:
        """One for everything below the base."""
        return [web.route("*", self._base + r"{tail:(/[\s\S]*)?}", self._serve)]

    def holds(self, request: web.Request, actor: Actor) -> Holds:
        """Whether the token of `request` still makes whoever sent it `actor`, when it is called."""
        return partial(self._admission.holds, request, actor, by_query=True)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        request[FAULTS] = _failed
        methods, act = self._table.get(request.match_info["tail"].rstrip("/").lower(), ((), None))
        if act is None:
            return text(HTTPStatus.NOT_FOUND, "nothing is here")
        if request.method not in methods:
            headers = {"Allow": ", ".join(methods)}
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "not this method", headers)
        try:
            return await act(request, await self._admission.admit(request, by_query=True))
        except ApiError as error:
            logger.info("hub_refused", path=self._base, status=int(error.status))
            return _failed(error, "")


def text(status: HTTPStatus, said: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer for people."""
    return web.Response(status=status, text=said, headers=headers)


def json(body: bytes) -> web.Response:
    """An answer for clients."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return web.Response(body=body, headers=headers)


def _failed(error: Exception, _: str) -> web.Response:
    if isinstance(error, ApiError):
        return refusal(error)
    return text(HTTPStatus.INTERNAL_SERVER_ERROR, "the request failed inside")
