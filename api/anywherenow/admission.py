"""Who may use the AnywhereNow interface: known hosts if that is configured, else who has a token.

Of the REST interface as of the hubs. A token is our own, of a user or an API key, or one that the
configured issuer made for one of our users.
"""

from http import HTTPStatus

from aiohttp import web

from api.anywherenow.issuer import Issuer
from api.auth import actor_of, bearer
from api.basic import email_of
from api.dialect import Context
from api.problem import ApiError
from api.remote import is_relayed, is_within, networks
from api.typed import ACTOR
from siprec.session import Actor

RIGHT = "control"
"""What a token must allow."""
MACHINE = Actor("anywherenow", "system")
"""Who asks without a token from a host that needs none."""


class Admission:
    """Turns a request into the actor who sends it."""

    def __init__(self, context: Context) -> None:
        section = context.config.anywherenow
        self._authenticator = context.authenticator
        self._directory = context.services.directory
        self._issuer = Issuer(section) if section.issuer else None
        self._known = networks(section.allow if section.auth == "none" else [])
        self._has_proxies = bool(context.config.proxies)

    async def admit(self, request: web.Request, *, by_query: bool = False) -> Actor:
        """Who asks; the access log learns of it.

        `by_query`: a token may be the parameter `access_token` of the URL, as browsers have to send
        it to a hub. Raises ApiError: 401, 403 without the right to control, 429 if the address
        failed too often.
        """
        if self._needs_none(request):
            actor = MACHINE
        else:
            actor = await self._admitted(_token(request, by_query), request.remote or "")
        request[ACTOR] = actor.name
        return actor

    async def _admitted(self, token: str | None, remote: str) -> Actor:
        actor = await self._of_issuer(token)
        if actor is None:
            return await self._authenticator.admit(token, remote, "control", RIGHT)
        if RIGHT not in actor.rights:
            raise ApiError(HTTPStatus.FORBIDDEN, f"this needs the permission {RIGHT}")
        return actor

    async def _of_issuer(self, token: str | None) -> Actor | None:
        """The user whom a token of the issuer names."""
        name = await self._issuer.user_of(token) if self._issuer and token else None
        if name is None:
            return None
        entries = self._directory.entries
        user = entries.users.get(email_of(name, entries).lower())
        return actor_of(user) if user and user.enabled else None

    async def holds(self, request: web.Request, actor: Actor, *, by_query: bool = False) -> bool:
        """Whether what a request was admitted with still makes whoever sent it `actor`."""
        if self._needs_none(request):
            return actor == MACHINE
        token = _token(request, by_query)
        return self._authenticator.holds(token, actor) or await self._of_issuer(token) == actor

    def _needs_none(self, request: web.Request) -> bool:
        """Whether it comes from a host that needs no token.

        Behind a proxy that nobody configured everybody has the address of the proxy, often ours.
        """
        if is_relayed(request.headers) and not self._has_proxies:
            return False
        return is_within(request.remote or "", self._known)


def _token(request: web.Request, by_query: bool) -> str | None:
    """The token of a request; None without exactly one."""
    stated = request.headers.getall("Authorization", [])
    if by_query and not stated:
        given = request.query.getall("access_token", [])
        return given[0] if len(given) == 1 else None
    return bearer(stated)


def refusal(error: ApiError) -> web.Response:
    """What is said to who is not admitted: a status, and no body."""
    status = HTTPStatus(error.status)
    return web.Response(status=status, headers=error.headers)
