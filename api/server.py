"""The HTTP or HTTPS server: all dialects on one listener, with what protects them.

aiohttp by itself waits an hour for the head of a request and for ever for its body; `Limits` says
how long we do. A peer that stops reading is cut off by the kernel (TCP_USER_TIMEOUT).
"""

import asyncio
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from time import perf_counter
from typing import Any
from weakref import WeakSet

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api import problem
from api.auth import Authenticator, Failures
from api.dialect import FAULTS, Context, Dialect, Faults
from api.health import Doctor, Health
from api.native import events, login, routes, wire
from api.openapi import document
from api.oracle_face.routes import face
from api.remote import client, networks
from api.services import Services
from api.tls import Secured
from api.typed import ACTOR, Call, Endpoint, Nothing, Route
from config.certificate import Certificate
from config.schema import Api, ConfigError
from siprec import __version__

logger = structlog.get_logger(__name__)

DIALECTS: Mapping[str, Dialect] = {"face": face}
"""Key of `[api.dialects]` -> what answers in that dialect."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "siprecd",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer."""

LOOK_S = 10.0
"""Time between two looks whether the certificate was renewed."""

_SECRET = re.compile(r"((?:token|ticket|password)(?:=|%3D))[^/&;]*", re.IGNORECASE)

ABORTED = 499
"""Logged as status when the client left before the answer was complete."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may cost us."""

    head_s: float = 10.0
    """For a whole request head to come, counted from the connection or the last answer; before
    that, for the handshake of TLS."""
    body_s: float = 30.0
    """For the whole body to come."""
    stalled_s: float = 30.0
    """For a peer to read something while we have something for it."""
    stop_s: float = 5.0
    """For requests in progress to end when the server stops."""
    body_bytes: int = 64 * 1024
    connections: int = 1000
    """Open at the same time; each also holds a file descriptor."""


class ApiServer:
    """The control interface on the address of `[api] listen`."""

    def __init__(
        self,
        config: Api,
        services: Services,
        limits: Limits | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """`certificate`: of an HTTPS server; None if `config` names none."""
        if bool(config.certificate) != (certificate is not None):
            raise ValueError("an HTTPS server needs its certificate, and no other one")
        self._config = config
        self._limits = limits or Limits()
        self._certificate = certificate
        self._secured: set[Secured] = set()
        self._doctor = Doctor(services)
        self._runner = web.AppRunner(
            self._application(services), shutdown_timeout=self._limits.stop_s
        )
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port the server listens on; the real port if 0 was configured."""
        if self._server is None:
            raise RuntimeError("the server is not started")
        host, port, *_ = self._server.sockets[0].getsockname()
        return host, port

    @property
    def url(self) -> str:
        """`http://HOST:PORT` or `https://HOST:PORT`."""
        host, port = self.address
        scheme = "https" if self._certificate else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Listen. Raises OSError if the address cannot be had."""
        if self._certificate and not self._certificate.is_valid(datetime.now(UTC)):
            logger.warning("certificate_not_valid", ends=_day(self._certificate))
        await self._runner.setup()
        host, _, port = self._config.listen.rpartition(":")
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, host.strip("[]"), int(port), start_serving=False
        )
        stalled_ms = int(self._limits.stalled_s * 1000)
        for listener in self._server.sockets:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_ms)
        await self._server.start_serving()

    async def watch_certificate(self, every_s: float = LOOK_S) -> None:
        """Take over a renewed certificate for new connections, for the life of the process.

        One that cannot be used is logged once. Returns at once if there is none to watch.
        """
        told = ""
        while self._certificate:
            await asyncio.sleep(every_s)
            try:
                if await asyncio.to_thread(self._certificate.renew, datetime.now(UTC)):
                    logger.info("certificate_renewed", ends=_day(self._certificate))
                told = ""
            except ConfigError as error:
                if str(error) != told:
                    logger.error("certificate_not_renewed", error=str(error))
                told = str(error)

    async def stop(self) -> None:
        """Stop listening, close event streams, let requests in progress end."""
        if self._server:
            self._server.close()
        await self._runner.cleanup()
        await self._doctor.close()

    def _application(self, services: Services) -> web.Application:
        middlewares = [_from_client(self._config.proxies), _guarded]
        app = web.Application(middlewares=middlewares, client_max_size=self._limits.body_bytes)
        app[events.OPEN] = WeakSet()
        app[login.FAILURES] = logins = Failures(login.FAILURES_PER_MINUTE)
        app.on_shutdown.append(events.close_all)
        app.on_response_prepare.append(_secure)
        authenticator = Authenticator(services.keys, services.users)
        for route in _routes(self._doctor):
            endpoint = Endpoint(route, services, authenticator, self._limits.body_s)
            for method in route.methods:
                app.router.add_route(method, route.path, endpoint.serve)
        context = Context(services, authenticator, logins, self._config, self._limits.body_s)
        for name, dialect in DIALECTS.items():
            if getattr(self._config.dialects, name):
                app.router.add_routes(dialect(context))
        return app

    def _connection(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        open_now = self._secured if self._certificate else server.connections if server else ()
        if server is None or len(open_now) >= self._limits.connections:
            return _Turned()
        connection = _Connection(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._limits.head_s,
            lingering_time=min(1.0, self._limits.head_s),
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # documented: None turns it off
        )
        if self._certificate is None:
            return connection
        handshake_s, shutdown_s = self._limits.head_s, self._limits.stalled_s
        context = self._certificate.context
        return Secured(connection, context, handshake_s, shutdown_s, self._secured)


class _Turned(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class _Connection(web.RequestHandler):
    """One HTTP connection, whose own refusals are problems too."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP. Its text is not repeated: it may hold a key."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer has begun")
        logger.info("request_malformed", remote=request.remote, status=status)
        response = problem.respond(HTTPStatus(status), "this is not proper HTTP", "/", HEADERS)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; aiohttp makes the one to an Expect header by itself."""
        if isinstance(resp, web.HTTPException):
            resp = problem.answer(resp, _path(request))
        return await super().finish_response(request, resp, start_time)


def _from_client(proxies: Sequence[str]) -> Middleware:
    """What makes `remote` of a request its client, for all who read it from there on."""
    believed = networks(proxies)

    @web.middleware
    async def from_client(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = request.remote or ""
        remote = client(peer, request.headers.getall("X-Forwarded-For", []), believed)
        return await handler(request if remote == peer else request.clone(remote=remote))

    return from_client


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into a problem, and write one log line for every request."""
    started, status = perf_counter(), ABORTED
    try:
        response = await _answered(request, handler)
        status = response.status
        return response
    finally:
        logger.info(
            "request",
            method=request.method,
            path=_path(request),
            status=status,
            ms=round((perf_counter() - started) * 1000, 1),
            actor=request.get(ACTOR, ""),
            remote=request.remote,
        )


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ConnectionError:
        raise
    except Exception as error:
        if not problem.is_expected(error):
            logger.exception("request_failed", path=_path(request))
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer has begun") from error
        respond: Faults = request.get(FAULTS, problem.answer)
        return respond(error, _path(request))


def _day(certificate: Certificate) -> str:
    return f"{certificate.not_after:%Y-%m-%d}"


def _path(request: web.BaseRequest) -> str:
    """The path as it came, still percent-encoded, without the query.

    What a slip at the question mark has brought into it is not for the log.
    """
    return _SECRET.sub(r"\1***", request.rel_url.raw_path)


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _routes(doctor: Doctor) -> list[Route[Any]]:
    async def get_health(_: Call[Nothing]) -> Health:
        return await doctor.examine()

    health = Route("GET", "/health", None, get_health, Nothing, Health, "How the recorder is")
    rows = [health, *routes.ROUTES]
    return [*rows, _document_route(rows)]


def _document_route(rows: Sequence[Route[Any]]) -> Route[Nothing]:
    async def get_openapi(_: Call[Nothing]) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    route = Route(
        "GET",
        f"{wire.PREFIX}/openapi.json",
        None,
        get_openapi,
        Nothing,
        None,
        "This document",
        answers={200: ("application/json",)},
    )
    extra = (wire.Event, wire.Missed)
    body = msgspec.json.encode(document([*rows, route], "siprecd", __version__, extra))
    return route
