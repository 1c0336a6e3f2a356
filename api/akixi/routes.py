"""The door: which request is which operation, and who may have it done.

One handler has all paths below `/CCS/API`: the XML operations at `ws`, the login of the REST
interface below `v1`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import msgspec
import structlog
from aiohttp import web

from api.akixi import codes, wire
from api.akixi.codes import Refusal
from api.akixi.integrations import Ask, Integrations
from api.akixi.login import COOKIE, Login
from api.akixi.sessions import Session
from api.auth import actor_of
from api.dialect import FAULTS, Context
from api.typed import ACTOR
from api.xml import XmlError
from storage.entries import User
from storage.records import StorageUnavailable

logger = structlog.get_logger(__name__)

PREFIX = "/CCS/API"
XML_TYPES = frozenset({"text/xml", "application/xml", "application/soap+xml"})
LOCALES = frozenset({"en_GB", "en_US"})
HIGHEST = 10
"""Level of users who may change entries."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on entries."""

    act: Callable[[Ask], Awaitable[str | None]]
    access: Literal["view", "write"]


def akixi(context: Context) -> Iterable[web.RouteDef]:
    """The routes of this dialect."""
    door = Door(context)
    return [web.route("*", PREFIX + r"{tail:(/[\s\S]*)?}", door.serve)]


class Door:
    """Takes requests apart, has operations done, and puts answers together."""

    def __init__(self, context: Context) -> None:
        self._body_s = context.body_s
        self._has_administration = context.config.akixi.administration
        self._login = Login(context)
        entries = Integrations(context)
        self._operations: Mapping[str, Operation] = {
            "CallRecIntAdd": Operation(entries.add, "write"),
            "CallRecIntChange": Operation(entries.change, "write"),
            "CallRecIntDelete": Operation(entries.delete, "write"),
            "CallRecIntList": Operation(entries.list_, "view"),
            "CallRecIntInfo": Operation(entries.info, "view"),
        }
        self._sessions: Mapping[str, SessionAct] = {
            "CreateSession": self._create,
            "Authenticate": self._authenticate,
            "EndSession": self._end,
        }
        self._rest: Mapping[str, tuple[str, RestAct]] = {
            "/v1/session": ("POST", self._post_session),
            "/v1/login": ("GET", self._get_login),
        }

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request below `/CCS/API`."""
        path = request.match_info["tail"]
        request[FAULTS] = _failed_rest if path.startswith("/v1") else _failed
        if path != "/ws":
            return await self._serve_rest(request, path)
        if request.method != "POST":
            status, headers = HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "POST"}
            return _failed(Refusal(codes.NO_OPERATION, status.phrase, status, headers), path)
        try:
            asked = wire.read(await self._body(request))
        except wire.BrokenEnvelope as error:
            # As SOAP 1.1 section 6.2 wants it.
            fault = wire.fault(error.code, str(error))
            return _response(fault, is_soap=True, status=HTTPStatus.INTERNAL_SERVER_ERROR)
        except (XmlError, Refusal) as error:
            return _failed(error, path)
        return await self._answer(request, asked)

    async def _answer(self, request: web.Request, asked: wire.Request) -> web.Response:
        def failed(error: Exception, _: str) -> web.Response:
            return _failed(error, "", asked)

        request[FAULTS] = failed
        try:
            content = await self._carry_out(request, asked)
        except (Refusal, StorageUnavailable) as error:
            return failed(error, "")
        return _response(wire.success(asked.invoke_id, content), is_soap=asked.is_soap)

    async def _carry_out(self, request: web.Request, asked: wire.Request) -> str | None:
        """What the answer holds. Raises Refusal, StorageUnavailable."""
        session_act = self._sessions.get(asked.operation)
        operation = self._operations.get(asked.operation)
        if not (session_act or operation):
            raise Refusal(codes.NO_OPERATION)
        if not asked.invoke_id:
            raise Refusal(codes.NO_INVOKE_ID)
        if session_act:
            return await session_act(request, asked)
        session = await self._login.session(asked.session_id, request)
        user = await self._login.user(session)
        request[ACTOR] = user.email
        assert operation  # noqa: S101 - one of the two there is
        self._permit(user, operation)
        return await operation.act(Ask(asked, user))

    def _permit(self, user: User, operation: Operation) -> None:
        """Raises Refusal."""
        is_write, rights = operation.access == "write", actor_of(user).rights
        level = HIGHEST if user.level is None else user.level
        if user.type != "admin":
            raise Refusal(codes.NOT_ADMINISTRATIVE)
        if is_write and level < HIGHEST:
            raise Refusal(codes.READ_ONLY)
        if is_write and not self._has_administration:
            raise Refusal(codes.SWITCHED_OFF)
        if is_write and "edit" not in rights:
            raise Refusal(codes.NO_WRITE)
        if not is_write and "playback" not in rights:
            raise Refusal(codes.NO_VIEW)

    async def _create(self, request: web.Request, asked: wire.Request) -> str:
        session = await self._login.create()
        return wire.one("SessionID", session.id) + wire.one("Nonce", session.nonce)

    async def _authenticate(self, request: web.Request, asked: wire.Request) -> None:
        session = await self._login.session(asked.session_id, request)
        name, password = (asked.properties.get(each, "") for each in ("UserName", "Password"))
        user = await self._login.authenticate(session, name, password, request)
        request[ACTOR] = user.email

    async def _end(self, request: web.Request, asked: wire.Request) -> None:
        await self._login.end(await self._login.session(asked.session_id, request))

    async def _body(self, request: web.Request) -> bytes:
        """The octets of a request. Raises Refusal."""
        try:
            async with asyncio.timeout(self._body_s):
                octets = await request.read()
        except TimeoutError:
            raise _broken("The body did not arrive in time.", HTTPStatus.REQUEST_TIMEOUT) from None
        except web.HTTPRequestEntityTooLarge:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            raise _broken("The body is too large.", status) from None
        coding = request.headers.get("Content-Encoding", "identity").lower()
        has_type = bool(request.headers.get("Content-Type"))
        if coding != "identity" or (has_type and request.content_type not in XML_TYPES):
            raise _broken("The body must be text/xml or application/xml.")
        return octets

    async def _serve_rest(self, request: web.Request, path: str) -> web.StreamResponse:
        method, act = self._rest.get(path, ("", None))
        if act is None:
            return request[FAULTS](Refusal(codes.NO_OPERATION, status=HTTPStatus.NOT_FOUND), path)
        if request.method != method:
            status, headers = HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": method}
            return _failed_rest(Refusal(codes.NO_OPERATION, status.phrase, status, headers), path)
        try:
            return await act(request)
        except Refusal as refusal:
            return _failed_rest(refusal, path)

    async def _post_session(self, request: web.Request) -> web.Response:
        session = await self._login.create()
        return _with_cookie(request, session, {"Nonce": session.nonce, "SessionID": session.id})

    async def _get_login(self, request: web.Request) -> web.Response:
        if request.query.get("locale", "en_GB") not in LOCALES:
            text = "locale: en_GB or en_US"
            raise Refusal(codes.INVALID, text, HTTPStatus.BAD_REQUEST)
        session, user = await self._login.by_basic(request)
        request[ACTOR] = user.email
        return _with_cookie(request, session, {"SessionID": session.id})


SessionAct = Callable[[web.Request, wire.Request], Awaitable[str | None]]
RestAct = Callable[[web.Request], Awaitable[web.Response]]


def _broken(text: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> Refusal:
    return Refusal(codes.UNKNOWN, text, status)


def _refusal_of(error: Exception) -> Refusal:
    """What is said of a failure; what nobody foresaw is in the log."""
    match error:
        case Refusal():
            return error
        case XmlError():
            return _broken(f"The body is not XML: {error}")
        case StorageUnavailable():
            return Refusal(codes.NO_RESOURCE)
    return Refusal(codes.UNKNOWN)


def _failed(error: Exception, _: str, asked: wire.Request | None = None) -> web.Response:
    refusal, asked = _refusal_of(error), asked or wire.Request()
    is_word = asked.operation.isascii() and asked.operation.isalpha()  # else it is not for the log
    operation = asked.operation[:40] if is_word else ""
    logger.info("integration_refused", operation=operation, code=refusal.code)
    content = wire.failure(asked.invoke_id, refusal.code, str(refusal))
    response = _response(content, is_soap=asked.is_soap, status=refusal.status)
    response.headers.update(refusal.headers)
    return response


def _response(content: str, *, is_soap: bool, status: int = HTTPStatus.OK) -> web.Response:
    body = wire.document(content, is_soap=is_soap)
    return web.Response(body=body, status=status, content_type=wire.MEDIA_TYPE, charset="utf-8")


_STATUSES = {
    codes.BAD_LOGIN: HTTPStatus.UNAUTHORIZED,
    codes.EXPIRED: HTTPStatus.FORBIDDEN,
    codes.NO_RESOURCE: HTTPStatus.SERVICE_UNAVAILABLE,
    codes.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Code -> status in the REST interface, where the refusal has none."""


def _failed_rest(error: Exception, _: str) -> web.Response:
    refusal = _refusal_of(error)
    status = refusal.status
    if status is HTTPStatus.OK:
        status = _STATUSES.get(refusal.code, HTTPStatus.BAD_REQUEST)
    logger.info("integration_refused", operation="", code=refusal.code)
    response = _json({"ErrorCode": refusal.code, "ErrorMessage": str(refusal)}, status)
    response.headers.update(refusal.headers)
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Basic realm="CCS", charset="UTF-8"'
    return response


def _with_cookie(request: web.Request, session: Session, tree: dict[str, str]) -> web.Response:
    response = _json(tree)
    response.set_cookie(
        COOKIE, session.id, path=PREFIX, httponly=True, samesite="Strict", secure=request.secure
    )
    return response


def _json(tree: dict[str, object] | dict[str, str], status: int = HTTPStatus.OK) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(tree), status=status, content_type="application/json"
    )
