"""One HTTP or HTTPS listener, with what protects it from its peers.

aiohttp by itself waits an hour for the head of a request and for ever for its body; `Limits` says
how long we do. A peer that stops reading is cut off by the kernel (TCP_USER_TIMEOUT).
Counterpart: `api.server`, which says what is answered where.
"""

import asyncio
import re
import socket
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import web

from api import problem
from api.tls import Secured
from config.certificate import Certificate

logger = structlog.get_logger(__name__)

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "siprecd",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer."""

_SECRET = re.compile(r"((?:token|ticket|password|sessionid)(?:=|%3D))[^/&;]*", re.IGNORECASE)


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


class Listener:
    """An application on an address of its own."""

    def __init__(
        self,
        listen: str,
        application: web.Application,
        limits: Limits,
        certificate: Certificate | None = None,
    ) -> None:
        """`listen`: `HOST:PORT`, port 0 takes a free one; `certificate`: of an HTTPS listener."""
        self._listen = listen
        self._limits = limits
        self._certificate = certificate
        self._secured: set[Secured] = set()
        self._runner = web.AppRunner(application, shutdown_timeout=limits.stop_s)
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on; the real port if 0 was configured."""
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
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, host.strip("[]"), int(port), start_serving=False
        )
        stalled_ms = int(self._limits.stalled_s * 1000)
        for listener in self._server.sockets:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_ms)
        await self._server.start_serving()

    async def stop(self) -> None:
        """Stop listening, let requests in progress end."""
        if self._server:
            self._server.close()
        await self._runner.cleanup()

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
        if isinstance(exc, ConnectionError):  # it has left, and is logged
            raise exc
        logger.info("request_malformed", remote=request.remote, status=status)
        response = problem.respond(HTTPStatus(status), "this is not proper HTTP", "/", HEADERS)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; aiohttp makes the one to an Expect header by itself."""
        if isinstance(resp, web.HTTPException):
            resp = problem.answer(resp, shown_path(request))
        return await super().finish_response(request, resp, start_time)


def shown_path(request: web.BaseRequest) -> str:
    """The path as it came, still percent-encoded, without the query.

    What a slip at the question mark has brought into it is not for the log.
    """
    return _SECRET.sub(r"\1***", request.rel_url.raw_path)
