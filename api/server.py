"""The HTTP or HTTPS server: which dialect answers on which listener, and what all share."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from time import perf_counter
from typing import Any

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api import problem
from api.auth import Authenticator, Failures
from api.basic import BasicAuthenticator
from api.dialect import FAULTS, Closing, Context, Dialect, Faults
from api.health import Doctor, Health
from api.listener import HEADERS, Limits, Listener, shown_path
from api.native import events, login, routes, wire
from api.openapi import document
from api.remote import client, networks
from api.services import Services
from api.sockets import Fanout
from api.typed import ACTOR, Call, Endpoint, Nothing, Route
from config.certificate import Certificate
from config.schema import Api, ConfigError
from siprec import __version__

logger = structlog.get_logger(__name__)

DIALECTS: Mapping[str, str] = {
    "face": "api.oracle_face.routes:face",
    "anywherenow": "api.anywherenow.routes:anywherenow",
    "imagicle": "api.imagicle.routes:imagicle",
    "apio": "api.apio.routes:apio",
    "akixi": "api.akixi.routes:akixi",
}
"""Key of `[api.dialects]` -> module and function that answer in that dialect."""

LOOK_S = 10.0
"""Time between two looks whether the certificate was renewed."""

ABORTED = 499
"""Logged as status when the client left before the answer was complete."""


class ApiServer:
    """The control interface: the native one and the dialects on the address of `[api] listen`.

    A dialect with an address of its own is on that instead.
    """

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
        self._doctor = Doctor(services)
        self._fanout = Fanout(services.feed)
        self._closing: list[Closing] = [self._fanout.close]
        logins = Failures(login.FAILURES_PER_MINUTE)
        authenticator = Authenticator(services.keys, services.users)
        self._context = Context(
            services,
            authenticator,
            BasicAuthenticator(services.users, services.directory, logins),
            logins,
            config,
            self._limits.body_s,
            self._fanout,
            self._closing.append,
        )
        self.listeners = self._listeners()
        """By the name of the dialect that is alone there; the main one is `api`."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `[api] listen`; the real port if 0 was configured."""
        return self.listeners["api"].address

    @property
    def url(self) -> str:
        """`http://HOST:PORT` or `https://HOST:PORT` of `[api] listen`."""
        return self.listeners["api"].url

    async def start(self) -> None:
        """Listen. Raises OSError if an address cannot be had."""
        if self._certificate and not self._certificate.is_valid(datetime.now(UTC)):
            logger.warning("certificate_not_valid", ends=_day(self._certificate))
        for listener in self.listeners.values():
            await listener.start()

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
        for close in self._closing:
            await close()
        for listener in self.listeners.values():
            await listener.stop()
        await self._doctor.close()

    def _listeners(self) -> dict[str, Listener]:
        main = self._application()
        self._add_native(main)
        applications = {"api": (self._config.listen, main)}
        for name in DIALECTS:
            if not getattr(self._config.dialects, name):
                continue
            own = getattr(self._config, name).listen
            application = self._application() if own else main
            application.router.add_routes(_dialect(name)(self._context))
            if own:
                applications[name] = (own, application)
        return {
            name: Listener(listen, application, self._limits, self._certificate)
            for name, (listen, application) in applications.items()
        }

    def _application(self) -> web.Application:
        middlewares = [_from_client(self._config.proxies), _guarded]
        application = web.Application(
            middlewares=middlewares, client_max_size=self._limits.body_bytes
        )
        application.on_response_prepare.append(_secure)
        return application

    def _add_native(self, application: web.Application) -> None:
        context = self._context
        application[events.FANOUT] = self._fanout
        application[login.FAILURES] = context.logins
        for route in _routes(self._doctor):
            endpoint = Endpoint(route, context.services, context.authenticator, context.body_s)
            for method in route.methods:
                application.router.add_route(method, route.path, endpoint.serve)


def _dialect(name: str) -> Dialect:
    """Imported when it is wanted: one that is off costs nothing."""
    module, _, function = DIALECTS[name].partition(":")
    dialect: Dialect = getattr(import_module(module), function)
    return dialect


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
            path=shown_path(request),
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
            logger.exception("request_failed", path=shown_path(request))
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer has begun") from error
        respond: Faults = request.get(FAULTS, problem.answer)
        return respond(error, shown_path(request))


def _day(certificate: Certificate) -> str:
    return f"{certificate.not_after:%Y-%m-%d}"


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
        return web.Response(body=await asyncio.to_thread(body), content_type="application/json")

    @cache
    def body() -> bytes:
        """Made when it is first asked for: few ask, and it takes as long as all else at a start."""
        return msgspec.json.encode(document([*rows, route], "siprecd", __version__, (wire.Event,)))

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
    return route
