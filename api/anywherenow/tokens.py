"""Tokens of our own for a password: the OAuth 2.0 password grant (RFC 6749 section 4.3).

At the path where AnywhereNow's clients look for it, of any realm. Failures are those of section
5.2, and count for the remote address as for the user, as at every other login here.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import parse_qsl

import msgspec
import structlog
from aiohttp import web

from api.anywherenow import asking
from api.anywherenow.admission import RIGHT
from api.anywherenow.wire import Refusal
from api.auth import actor_of
from api.basic import email_of
from api.dialect import FAULTS, Context
from api.typed import ACTOR
from storage.users import LoginRefused, PasswordExpired, Token, TooManyLogins

logger = structlog.get_logger(__name__)

CLIENT = "coreapi"
"""The client_id that programs come with."""
FIELDS = 20
"""Most fields of a form."""

_PATH = r"/auth/realms/{realm:[^/]+}/protocol/openid-connect/token"


class Failure(Exception):
    """An error answer (RFC 6749 section 5.2); its text is the description."""

    def __init__(
        self,
        error: str,
        text: str,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.error = error
        self.status = status
        self.headers = headers or {}


class Tokens:
    """The token endpoint."""

    def __init__(self, context: Context) -> None:
        self._users = context.services.users
        self._directory = context.services.directory
        self._failures = context.logins
        self._body_s = context.body_s

    def routes(self, prefix: str) -> Iterable[web.RouteDef]:
        """The endpoint, below `prefix` and without it."""
        return [web.route("*", path + _PATH, self.serve) for path in (prefix, "")]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a token."""
        request[FAULTS] = _failed
        try:
            return await self._grant(request)
        except (Failure, Refusal) as error:
            return _failed(error, "")

    async def _grant(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            status = HTTPStatus.METHOD_NOT_ALLOWED
            raise Failure("invalid_request", "POST is needed", status, {"Allow": "POST"})
        form = _form(await asking.body(request, asking.FORM, self._body_s))
        _check(form)
        now = datetime.now(UTC)
        token = await self._login(request.remote or "", form["username"], form["password"], now)
        request[ACTOR] = token.user.email
        granted = {
            "access_token": token.text,
            "token_type": "Bearer",
            "expires_in": round((token.expires_at - now).total_seconds()),
            "scope": " ".join(sorted(actor_of(token.user).rights)),
        }
        return _answer(granted, HTTPStatus.OK)

    async def _login(self, remote: str, name: str, password: str, now: datetime) -> Token:
        """Raises Failure, the same for all that is wrong."""
        if wait_s := self._failures.add(remote):
            raise _later("too many failed logins", HTTPStatus.TOO_MANY_REQUESTS, wait_s)
        email = email_of(name, self._directory.entries)
        try:
            token = await self._users.login(email, password, None, now)
        except LoginRefused:
            raise _refused() from None
        except PasswordExpired:
            self._failures.take_back(remote)
            raise _refused() from None
        except TooManyLogins:
            self._failures.take_back(remote)
            status = HTTPStatus.SERVICE_UNAVAILABLE
            raise _later("too many logins at once", status, 1) from None
        if RIGHT not in actor_of(token.user).rights:
            await self._users.logout(token.text)
            raise _refused()
        self._failures.take_back(remote)
        return token


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form that have a value; none may be there twice (RFC 6749 section 3.2)."""
    try:
        fields = parse_qsl(body.decode(), errors="strict", max_num_fields=FIELDS)
    except ValueError:
        raise Failure("invalid_request", "the form cannot be read") from None
    form = dict(fields)
    if len(form) < len(fields):
        raise Failure("invalid_request", "a parameter is there twice")
    return form


def _check(form: Mapping[str, str]) -> None:
    """Raises Failure unless the form asks for a token in the one way there is."""
    for name in ("grant_type", "client_id"):
        if name not in form:
            raise Failure("invalid_request", f"{name} is missing")
    if form["client_id"] != CLIENT:
        status = HTTPStatus.UNAUTHORIZED
        raise Failure("invalid_client", "this client is not known", status)
    if form["grant_type"] != "password":
        raise Failure("unsupported_grant_type", "grant_type must be password")
    for name in ("username", "password"):
        if name not in form:
            raise Failure("invalid_request", f"{name} is missing")


def _refused() -> Failure:
    return Failure("invalid_grant", "wrong user name or password")


def _later(text: str, status: HTTPStatus, wait_s: int) -> Failure:
    return Failure("temporarily_unavailable", text, status, {"Retry-After": str(wait_s)})


def _failed(error: Exception, _: str) -> web.Response:
    match error:
        case Refusal():
            error = Failure("invalid_request", str(error), error.status)
        case Failure():
            pass
        case _:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            error = Failure("server_error", "the request failed inside", status)
    logger.info("anywherenow_token_refused", error=error.error)
    content = {"error": error.error, "error_description": str(error)}
    return _answer(content, error.status, error.headers)


def _answer(
    content: Mapping[str, object],
    status: HTTPStatus,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """JSON that nobody keeps (RFC 6749 section 5.1)."""
    own = {"Cache-Control": "no-store", "Pragma": "no-cache", "Content-Type": "application/json"}
    body = msgspec.json.encode(content)
    return web.Response(body=body, status=status, headers={**own, **(headers or {})})
