"""UDP and TCP listeners that drive an `Endpoint` (RFC 3261 18).

The only place under SIP with sockets, a clock and a log. Everything runs in callbacks of the event
loop: a message is parsed, decided on and answered before the next one is read.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import structlog

from siprec.sip.endpoint import Endpoint
from siprec.sip.errors import FramingError
from siprec.sip.events import Event, Flow, MessageRefused
from siprec.sip.framing import PING, PONG, StreamFramer
from siprec.sip.routing import host_port

RECEIVE_BUFFER_BYTES = 1 << 20
"""Socket buffer of a UDP listener: some 300 INVITEs may come while we are busy."""
MESSAGE_TIMEOUT_S = 10.0
"""How long a stream message may take from its first byte, and the first one from connecting."""
WRITE_BUFFER_MAX_BYTES = 65_536
"""A peer that leaves more than this unread is disconnected."""
CONNECTIONS_MAX = 2_000
"""Stream connections at once."""
CONNECTIONS_PER_PEER_MAX = 100
"""Stream connections of one address at once."""
LOG_INTERVAL_S = 1.0
"""Of each cause of refusal at most one line is logged in this time."""

Address = tuple[str, int]

logger = structlog.get_logger(__name__)


class SipTransport:
    """Listeners for one endpoint: its events go to `on_event`, its messages out.

    `on_event` is called from within the loop and must not block; it may use the endpoint. Who uses
    the endpoint otherwise calls `flush` afterwards. The endpoint's clock is `loop.time()`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        listeners: Sequence[str],
        on_event: Callable[[Event], None],
        *,
        message_timeout_s: float = MESSAGE_TIMEOUT_S,
    ) -> None:
        """`listeners` as `udp://HOST:PORT` or `tcp://HOST:PORT`; port 0 takes a free one."""
        self.endpoint = endpoint
        self.message_timeout_s = message_timeout_s
        self._listeners = [_parse_listener(url) for url in listeners]
        self._on_event = on_event
        self._addresses: list[str] = []
        self._sockets: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._by_local: dict[Address, asyncio.DatagramTransport] = {}
        self._streams: dict[int, _Stream] = {}
        self._peers: Counter[str] = Counter()
        self._connections = count(1)
        self._logged: dict[str, float] = {}
        self._suppressed: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self._stopped = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def addresses(self) -> list[str]:
        """Where we listen, as `udp://HOST:PORT`, in the order the listeners were given in."""
        return list(self._addresses)

    async def start(self) -> None:
        """Open the listeners: all of them, or none. Raises `OSError`."""
        try:
            for scheme, host, port in self._listeners:
                await (self._listen_udp if scheme == "udp" else self._listen_tcp)(host, port)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close listeners and connections at once; the endpoint is left as it is."""
        self._stopped = True
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for datagrams in self._sockets:
            datagrams.abort()
        for stream in list(self._streams.values()):
            stream.abort()
        for server in self._servers:
            server.close()
            await server.wait_closed()

    async def _listen_udp(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(host, port)
        )
        self._sockets.append(transport)
        self._addresses.append(f"udp://{host_port(_address(transport, 'sockname'))}")

    async def _listen_tcp(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Stream(self), host, port)
        self._servers.append(server)
        for listener in server.sockets:
            self._addresses.append(f"tcp://{host_port(listener.getsockname()[:2])}")

    def flush(self) -> None:
        """Hand out the endpoint's events, send its messages, set its timer."""
        if self._flushing or self._stopped:
            return
        self._flushing = True
        try:
            while event := self.endpoint.next_event():
                if isinstance(event, MessageRefused):
                    self.log_refusal(event.cause, event.flow.remote)
                else:
                    self._on_event(event)
        finally:
            self._flushing = False
            for flow, message in self.endpoint.outgoing():
                self._send(flow, message)
            self._set_timer()

    def log_refusal(self, cause: str, remote: Address) -> None:
        """Log a message or connection that was not taken, at most once per cause and interval."""
        now = asyncio.get_running_loop().time()
        if now - self._logged.get(cause, -LOG_INTERVAL_S) < LOG_INTERVAL_S:
            self._suppressed[cause] += 1
            return
        self._logged[cause] = now
        more = self._suppressed.pop(cause, 0)
        logger.warning("sip_refused", cause=cause, remote=host_port(remote), suppressed=more)

    def receive(self, message: bytes, flow: Flow) -> None:
        """Give one message to the endpoint; `flush` follows."""
        self.endpoint.receive(message, flow, asyncio.get_running_loop().time())

    def receive_datagram(
        self, transport: asyncio.DatagramTransport, data: bytes, remote: Address
    ) -> None:
        """Take one datagram, and note by which socket its address answers."""
        host, port = _address(transport, "sockname")
        if host in ("0.0.0.0", "::"):
            host = _local_host(remote[0])
        self._by_local[host, port] = transport
        self.receive(data, Flow("udp", (host, port), remote))
        self.flush()

    def admit(self, stream: "_Stream", remote: Address) -> int:
        """Number of a new connection; 0 if there are too many."""
        full = len(self._streams) >= CONNECTIONS_MAX
        if full or self._peers[remote[0]] >= CONNECTIONS_PER_PEER_MAX:
            self.log_refusal("Too many connections", remote)
            return 0
        connection = next(self._connections)
        self._streams[connection] = stream
        self._peers[remote[0]] += 1
        return connection

    def dismiss(self, flow: Flow) -> None:
        """Forget a connection that is gone."""
        del self._streams[flow.connection]
        self._peers[flow.remote[0]] -= 1
        if not self._peers[flow.remote[0]]:
            del self._peers[flow.remote[0]]
        self.endpoint.connection_lost(flow, asyncio.get_running_loop().time())
        self.flush()

    def _send(self, flow: Flow, message: bytes) -> None:
        if flow.transport == "udp":
            datagrams = self._by_local.get(flow.local)
            if datagrams and not datagrams.is_closing():
                datagrams.sendto(message, flow.remote)
        elif stream := self._streams.get(flow.connection):
            stream.write(message)

    def _set_timer(self) -> None:
        when = self.endpoint.next_timer()
        if self._timer:
            if self._timer.when() == when:
                return
            self._timer.cancel()
            self._timer = None
        if when is not None:
            self._timer = asyncio.get_running_loop().call_at(when, self._handle_timer)

    def _handle_timer(self) -> None:
        self._timer = None
        self.endpoint.handle_timer(asyncio.get_running_loop().time())
        self.flush()


class _Datagrams(asyncio.DatagramProtocol):
    """One UDP listener."""

    def __init__(self, owner: SipTransport) -> None:
        self._owner = owner

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport
        listener: socket.socket = transport.get_extra_info("socket")
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._owner.receive_datagram(self._transport, data, addr[:2])

    def error_received(self, exc: Exception) -> None:
        self._owner.log_refusal("Datagram not delivered", _address(self._transport, "sockname"))


class _Stream(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, owner: SipTransport) -> None:
        self._owner = owner
        self._framer = StreamFramer()
        self._flow: Flow | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        remote = _address(transport, "peername")
        connection = self._owner.admit(self, remote)
        if not connection:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=WRITE_BUFFER_MAX_BYTES)
        self._flow = Flow("tcp", _address(transport, "sockname"), remote, connection)
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        if self._flow is None:
            return
        self._framer.receive(data)
        try:
            if self._take_messages(self._flow):
                self._clear_deadline()
        except FramingError as error:
            self._owner.log_refusal(str(error), self._flow.remote)
            self._transport.close()
        if self._framer.is_partial and self._deadline is None:
            self._set_deadline()

    def _take_messages(self, flow: Flow) -> int:
        """Messages taken. Those before a framing error are answered."""
        taken = pings = 0
        try:
            while message := self._framer.next_message():
                taken += 1
                if message == PING:
                    pings += 1
                else:
                    self._owner.receive(message, flow)
        finally:
            if pings:
                self.write(PONG * pings)
            self._owner.flush()
        return taken

    def write(self, data: bytes) -> None:
        """Send on the connection, as long as it is there."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def pause_writing(self) -> None:
        if self._flow:
            self._owner.log_refusal("Peer does not read", self._flow.remote)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        if self._flow:
            self._owner.dismiss(self._flow)

    def _set_deadline(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(
            self._owner.message_timeout_s, self.abort
        )

    def _clear_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None


def _parse_listener(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    if parts.scheme not in ("udp", "tcp") or not parts.hostname or parts.port is None:
        raise ValueError(
            f"not a SIP listener: {url!r}, expected udp://HOST:PORT or tcp://HOST:PORT"
        )
    return parts.scheme, parts.hostname, parts.port


def _address(transport: asyncio.BaseTransport, name: str) -> Address:
    host, port = (transport.get_extra_info(name) or ("", 0))[:2]
    return host, port


@lru_cache(maxsize=1024)
def _local_host(remote: str) -> str:
    """The address of ours that packets to `remote` leave from; nothing is sent."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))
        except OSError:
            return "::1" if ":" in remote else "127.0.0.1"
        host: str = probe.getsockname()[0]
        return host
