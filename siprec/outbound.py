"""Outbound: the one HTTP client for addresses that somebody else chose.

Where a destination says we should go may be a trap (server-side request forgery): a private
address, a name that means one thing when it is checked and another when it is used, a redirect. So
the address itself is looked at, when the socket for it is made (`Outbound.permits`), whatever URL,
name, notation or earlier answer led there. Redirects, proxies, cookies and compressed answers do
not exist here, and one time limit covers everything from the lookup to the last octet.

Counterparts: `siprec.courier` for notifications, `siprec.screen` for screens.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from errno import EACCES
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from config.schema import Notify
from siprec.session import RecorderError

METHODS = frozenset({"GET", "POST"})
PORTS = {"http": 80, "https": 443}
"""Scheme -> its port. Besides these, only ports from `FIRST_PORT` on are called."""
FIRST_PORT = 1024
"""Below are services that a request could do harm to: mail, shells, file shares."""
ANSWER_BYTES = 64 * 1024
"""Longest answer that is read."""

_LOOKUPS = 32
"""Names that can be looked up at the same time; a dead name server holds one for half a minute."""
_NAMES_S = 10
"""How long the answer to a lookup is used again."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)[!-~]*")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_VALUE = re.compile(r"[ -~]{0,4096}")

SPECIAL = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
"""What is no ordinary address of the internet: the special-purpose registries of RFC 6890, and
multicast; Teredo (RFC 4380) and 6to4 (RFC 3056), which have any IPv4 address inside, among them."""
GLOBAL_UNICAST = IPv6Network("2000::/3")
"""RFC 4291 2.4: outside of it no IPv6 address is ordinary."""
NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052 2.1: the last 32 bits are the IPv4 address that is called."""
_FOREIGN = "192.0.2.255"
"""An address that nobody has (RFC 5737)."""

Lookup = Callable[..., list[tuple[Any, ...]]]
"""As `socket.getaddrinfo`."""


class Undeliverable(RecorderError):
    """A request that could not be made or got no answer; the text is a reason code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Blocked(Undeliverable):
    """We will not make this request, now or later.

    `address_forbidden`, `url_invalid`, `scheme`, `port`, `userinfo`, `method` or `header`.
    """


class Unreachable(Undeliverable):
    """There was no answer; there may be one later.

    `dns`, `refused`, `unreachable`, `tls`, `timeout`, `reset`, `protocol` or `too_large`.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    body: bytes
    """As sent, without the transfer encoding; empty if it was not asked for."""


class Outbound:
    """A client that reaches the internet, and of other networks only those in `config.allow`.

    `lookup` resolves names.
    """

    def __init__(self, config: Notify, lookup: Lookup = socket.getaddrinfo) -> None:
        self._timeout_s = config.timeout_s
        self._allow = tuple(ip_network(text, strict=False) for text in config.allow)
        self._resolver = _Resolver(lookup, self.permits)
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        answer_bytes: int = ANSWER_BYTES,
    ) -> Answer:
        """Make one request, within the configured time. Raises Blocked, Unreachable.

        `url` is sent as it is. `answer_bytes`: longest answer wanted; with 0 the answer's body is
        not waited for.
        """
        _check(method, headers)
        target = _checked(url)
        told = {"Accept": "*/*", "Accept-Encoding": "identity", **headers}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client().request(
                    method, target, headers=told, data=body or None, allow_redirects=False
                ) as response,
            ):
                return Answer(response.status, await _read(response, answer_bytes))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _refusal(error) from error

    def permits(self, address: str) -> bool:
        """Whether this IP address may be called."""
        literal = ip_address(address)
        mapped = literal.ipv4_mapped if isinstance(literal, IPv6Address) else None
        if any((mapped or literal) in network for network in self._allow):
            return True
        return not is_special(literal) and not _is_ours(mapped or literal)

    async def close(self) -> None:
        """Close every connection."""
        if self._session:
            await self._session.close()
        await self._resolver.close()

    def _client(self) -> aiohttp.ClientSession:
        """Made when first needed: it belongs to the loop that runs then."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=self._resolver,
                    ttl_dns_cache=_NAMES_S,
                    socket_factory=self._socket,
                    limit=0,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Content-Type"),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                read_bufsize=ANSWER_BYTES // 4,
            )
        return self._session

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for the very address it will be connected to. Raises OSError."""
        family, kind, protocol, _, address = info
        if not self.permits(address[0]):
            raise _Forbidden(EACCES, "address forbidden")
        return socket.socket(family, kind, protocol)


def request_target(url: str) -> str:
    """Path and query as a request to `url` states them (RFC 9112 3.2.1). Raises Blocked."""
    return _checked(url).raw_path_qs


def is_special(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is private, local, reserved or multicast, or leads to one that is."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_special(inner)
        if address not in GLOBAL_UNICAST:
            return True
    return any(address in network for network in SPECIAL)


def _is_ours(address: IPv4Address | IPv6Address) -> bool:
    """Whether this host has the address: our own listeners may be behind it."""
    if _binds(_FOREIGN):
        # Here everything can be bound (net.ipv4.ip_nonlocal_bind): ask for the way there instead.
        return _source(str(address)) == str(address)
    return _binds(str(address))


def _binds(address: str) -> bool:
    with _datagrams(address) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def _source(address: str) -> str:
    """The address we would call from: what is ours is called from itself. Nothing is sent."""
    with _datagrams(address) as probe, suppress(OSError):
        probe.connect((address, 9))
        return str(probe.getsockname()[0])
    return ""


def _datagrams(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


class _Forbidden(OSError):
    """The connection was not attempted."""


class _Resolver(AbstractResolver):
    """Looks names up in threads of its own: a name server that hangs holds up nothing else.

    Of several addresses only those permitted are told, if there are any.
    """

    def __init__(self, lookup: Lookup, permits: Callable[[str], bool]) -> None:
        self._lookup = lookup
        self._permits = permits
        self._threads = ThreadPoolExecutor(_LOOKUPS, "outbound-lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises OSError."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._threads, self._lookup, host, port, family, socket.SOCK_STREAM
            )
        except UnicodeError as error:
            raise OSError(f"{host}: {error}") from error
        if not found:
            raise OSError(f"{host}: no addresses")
        results = [
            ResolveResult(
                hostname=host, host=address[0], port=port, family=kind, proto=protocol, flags=0
            )
            for kind, _, protocol, _, address in found
        ]
        return [result for result in results if self._permits(result["host"])] or results

    async def close(self) -> None:
        """Begin no more lookups."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _check(method: str, headers: Mapping[str, str]) -> None:
    """Raises Blocked if they say more than one method and one value each."""
    if method not in METHODS:
        raise Blocked("method")
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Blocked("header")


def _checked(url: str) -> URL:
    """`url`, fit to be called, in the words of the client that will call it. Raises Blocked."""
    host, port = _host_and_port(url)
    try:
        target = URL(url, encoded=True)
        agreed = (target.raw_host, target.port, target.raw_user) == (host, port, None)
    except ValueError:
        agreed = False
    if not agreed:
        raise Blocked("url_invalid")
    return target


def _host_and_port(url: str) -> tuple[str, int]:
    """Raises Blocked unless the URL has a form that all parsers understand in the same way."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise Blocked("url_invalid")
    scheme, authority = parts[1].lower(), parts[2]
    if scheme not in PORTS:
        raise Blocked("scheme")
    if "@" in authority:
        raise Blocked("userinfo")
    place = _AUTHORITY.fullmatch(authority)
    if place is None:
        raise Blocked("url_invalid")
    port = int(place[2]) if place[2] else PORTS[scheme]
    if port not in PORTS.values() and not FIRST_PORT <= port <= 65535:
        raise Blocked("port")
    return place[1].strip("[]"), port


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body if it is wanted. Raises Unreachable if it is longer than `limit`."""
    body = bytearray()
    if not limit:
        return b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise Unreachable("too_large")
    return bytes(body)


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "timeout"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (ConnectionRefusedError, "refused"),
    (aiohttp.ClientConnectorError, "unreachable"),
    (aiohttp.ServerDisconnectedError, "reset"),
    (aiohttp.ClientPayloadError, "reset"),
    (OSError, "reset"),
)
"""Failure -> reason; any other is `protocol`."""


def _refusal(error: Exception) -> Undeliverable:
    """`error` in our words."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, _Forbidden):
        return Blocked("address_forbidden")
    if isinstance(error, aiohttp.InvalidURL):
        return Blocked("url_invalid")
    for kind, reason in _REASONS:
        if isinstance(error, kind) or isinstance(cause, kind):
            return Unreachable(reason)
    return Unreachable("protocol")
