"""Looks whether the recording platforms answer: SIP OPTIONS, again and again (RFC 3261 11).

What a look means is the table `MOVES`; what goes out and comes in is made by `siprec.sip`. Each
look has a socket of its own. Changes of the directory are followed: who is added is looked at, who
is removed is forgotten, who moved is unknown again. Counterpart: `siprec.platforms`.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from errno import ECONNRESET, EIO
from random import uniform
from urllib.parse import urlsplit

import structlog

from siprec import platforms
from siprec.session import LiveSession
from siprec.sip.errors import FramingError, MessageError
from siprec.sip.events import Flow
from siprec.sip.framing import StreamFramer
from siprec.sip.headers import MAGIC_COOKIE, ip_literal
from siprec.sip.message import Request, Response, parse
from siprec.sip.routing import DEFAULT_PORT, host_port
from siprec.sip.transaction import Action, input_for
from siprec.sip.transaction_layer import TransactionLayer
from storage.directory import Directory
from storage.platforms import RecordingPlatform

AT_ONCE = 16
"""Looks at a time."""
FIRST_S = 5.0
"""Within which a platform is looked at for the first time: not all of them in the same moment."""
JITTER = 0.1
"""Share of the period by which looks are early or late, so that they do not fall into step."""
GIVE_UP_S = 32.0
"""Longest wait for an answer: 64 times T1, timer F (RFC 3261 17.1.2.2)."""
FOLLOW_S = 1.0
"""Time between two glances at the directory."""
RESOLVERS = 2
"""Threads that wait for DNS, so that a dead name server keeps no other thread busy."""
DATAGRAM_OCTETS = 65_535

logger = structlog.get_logger(__name__)


class State(StrEnum):
    """Whether a platform answers."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


class Outcome(StrEnum):
    """What a look brought."""

    ANSWERED = "answered"
    MISSED = "missed"
    """One more, but not yet as many in a row as it takes."""
    MISSED_TOO_OFTEN = "missed too often"


MOVES: dict[tuple[State, Outcome], State] = {
    (state, outcome): next_state
    for state in State
    for outcome, next_state in (
        (Outcome.ANSWERED, State.UP),
        (Outcome.MISSED, state),
        (Outcome.MISSED_TOO_OFTEN, State.DOWN),
    )
}
"""(state, outcome) -> next state."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a platform."""

    since: datetime
    """When it came into this state."""
    state: State = State.UNKNOWN
    answered_at: datetime | None = None
    """When it last answered."""
    rtt_ms: float | None = None
    """Round trip of that answer."""
    failures: int = 0
    """Looks without an answer since."""
    cause: str = ""
    """Why the last look brought none."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look: how long the answer took, or why there was none."""

    rtt_ms: float | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class PlatformView:
    """A platform as it is shown."""

    entry: RecordingPlatform
    is_default: bool
    is_listener: bool
    """It is this recorder."""
    standing: Standing
    sessions: int
    """Live calls that came over it."""


def stood(before: Standing, look: Look, at: datetime, most_failures: int) -> Standing:
    """What is known after a look; `most_failures` in a row make a platform `down`."""
    if look.rtt_ms is not None:
        outcome, failures = Outcome.ANSWERED, 0
        seen = replace(before, answered_at=at, rtt_ms=look.rtt_ms)
    else:
        failures, seen = before.failures + 1, before
        outcome = Outcome.MISSED_TOO_OFTEN if failures >= most_failures else Outcome.MISSED
    state = MOVES[before.state, outcome]
    since = before.since if state is before.state else at
    return replace(seen, since=since, state=state, failures=failures, cause=look.cause)


def is_answer(status: int) -> bool:
    """Whether a final response says that somebody is there: neither 408 nor a server's failure."""
    return status < 500 and status != 408


def options(platform: RecordingPlatform, flow: Flow, token: Callable[[], str]) -> Request:
    """The request a platform is asked with; `token` makes branch, tag and Call-ID."""
    here = host_port(flow.local)
    port = f":{platform.port}" if platform.port else ""
    suffix = ";transport=tcp" if flow.transport == "tcp" else ""
    host = platform.net_address
    bare = f"[{host}]" if ":" in host and not host.startswith("[") else host
    uri = f"sip:{bare}{port}{suffix}"
    headers = (
        ("Via", f"SIP/2.0/{flow.transport.upper()} {here};rport;branch={MAGIC_COOKIE}{token()}"),
        ("Max-Forwards", "70"),
        ("From", f"<sip:srs@{here}>;tag={token()}"),
        ("To", f"<{uri}>"),
        ("Call-ID", f"{token()}@siprecd"),
        ("CSeq", "1 OPTIONS"),
        ("Contact", f"<sip:srs@{here}{suffix}>;+sip.srs"),
        ("Accept", "application/sdp"),
        ("User-Agent", "siprecd"),
        ("Content-Length", "0"),
    )
    return Request("OPTIONS", uri, headers)


class PlatformWatch:
    """Looks after all platforms of the directory.

    `listeners`: where we listen, as `udp://HOST:PORT`; `advertise`: what we call ourselves.
    """

    def __init__(
        self,
        directory: Directory,
        sessions: Callable[[], Iterable[LiveSession]],
        listeners: Sequence[str] = (),
        advertise: str = "",
    ) -> None:
        self.listeners: Sequence[str] = listeners
        self._directory = directory
        self._sessions = sessions
        self._advertise = advertise
        self._standings: dict[str, tuple[RecordingPlatform, Standing]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="platform-dns")

    async def run(self, first_s: float = FIRST_S, follow_s: float = FOLLOW_S) -> None:
        """Look after them for the life of the process."""
        running: dict[str, tuple[RecordingPlatform, asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                wanted = self._directory.entries.platforms
                for name, (platform, task) in [*running.items()]:
                    if not _is_where(wanted.get(name), platform):
                        task.cancel()
                        del running[name]
                        self._standings.pop(name, None)
                for name, platform in wanted.items():
                    if name not in running:
                        task = group.create_task(self._keep(name, first_s), name=f"look {name}")
                        running[name] = platform, task
                await asyncio.sleep(follow_s)

    def view(self) -> list[PlatformView]:
        """All platforms, by name."""
        entries = self._directory.entries
        calls = [live.platform for live in self._sessions()]
        return [
            PlatformView(
                platform,
                name == entries.properties.default_platform,
                self.is_ours(platform),
                self.standing(name),
                calls.count(name),
            )
            for name, platform in sorted(entries.platforms.items())
        ]

    def standing(self, name: str) -> Standing:
        """What is known of a platform; of one nobody looked at yet, that it is unknown."""
        platform = self._directory.entries.platforms.get(name)
        known, standing = self._standings.get(name, (None, Standing(datetime.now(UTC))))
        return standing if _is_where(platform, known) else Standing(datetime.now(UTC))

    def is_ours(self, platform: RecordingPlatform) -> bool:
        """Whether a platform names one of our listeners."""
        return any(self._is_at(platform, *_parts(url)) for url in self.listeners)

    def _is_at(self, platform: RecordingPlatform, transport: str, host: str, port: int) -> bool:
        address = platform.net_address.strip("[]")
        if host in platforms.WILDCARDS and _is_local(address):
            host = address
        return platforms.is_listener(platform, transport, host, port, self._advertise)

    async def look(self, platform: RecordingPlatform, give_up_s: float = GIVE_UP_S) -> Look:
        """Ask a platform once; returns within `give_up_s`, at most `AT_ONCE` at a time."""
        async with self._turn:
            try:
                async with asyncio.timeout(give_up_s):
                    return await self._ask(platform)
            except TimeoutError:
                return Look(cause="no answer")
            except (OSError, UnicodeError) as error:
                return Look(cause=_cause(error))
            except (FramingError, MessageError):
                return Look(cause="what answers does not speak SIP")

    def close(self) -> None:
        """Let go of what waits for DNS."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _keep(self, name: str, first_s: float) -> None:
        """Look at one platform, period after period."""
        await asyncio.sleep(uniform(0, first_s))
        while platform := self._directory.entries.platforms.get(name):
            period_s = self._directory.entries.properties.refresh_period_s
            self._note(platform, await self.look(platform, min(GIVE_UP_S, period_s)))
            await asyncio.sleep(period_s * uniform(1 - JITTER, 1 + JITTER))

    def _note(self, platform: RecordingPlatform, look: Look) -> None:
        before = self.standing(platform.name)
        most = self._directory.entries.properties.max_consecutive_failures
        after = stood(before, look, datetime.now(UTC), most)
        self._standings[platform.name] = platform, after
        if after.state is not before.state:
            tell = logger.error if after.state is State.DOWN else logger.info
            tell(f"platform_{after.state}", platform=platform.name, cause=after.cause)

    async def _ask(self, platform: RecordingPlatform) -> Look:
        family, remote = await self._address(platform)
        loop = asyncio.get_running_loop()
        is_tcp = platform.transport_protocol == "TCP"
        kind = socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM
        with socket.socket(family, kind | socket.SOCK_NONBLOCK) as sock:
            begun = loop.time()
            await loop.sock_connect(sock, remote)
            flow = Flow("tcp" if is_tcp else "udp", sock.getsockname()[:2], remote)
            status = await _final(sock, options(platform, flow, _token), flow)
        if not is_answer(status):
            return Look(cause=f"status {status}")
        return Look(rtt_ms=round((loop.time() - begun) * 1000, 3))

    async def _address(
        self, platform: RecordingPlatform
    ) -> tuple[socket.AddressFamily, tuple[str, int]]:
        """Where a platform is. Raises OSError if its name has no address."""
        host, port = platform.net_address.strip("[]"), platform.port or DEFAULT_PORT
        if literal := ip_literal(host):
            family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
            return family, (str(literal), port)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        )
        return found[0][0], (str(found[0][4][0]), port)


async def _final(sock: socket.socket, request: Request, flow: Flow) -> int:
    """Send a request as a client transaction does; status of its final response.

    Raises OSError if the peer is not there, FramingError if it speaks something else.
    """
    loop = asyncio.get_running_loop()
    layer = TransactionLayer()
    layer.send(request, request.via.branch, flow, "", loop.time())
    framer = StreamFramer()
    while True:
        await _send(sock, layer)
        for response in await _heard(sock, flow, framer, layer.timers.next()):
            client = layer.client(response)
            event = input_for(response.status)
            if client and Action.FINISHED in layer.step(client, event, loop.time()):
                return response.status
        if any(Action.FINISHED in actions for _, actions in layer.due(loop.time())):
            raise TimeoutError


async def _heard(
    sock: socket.socket, flow: Flow, framer: StreamFramer, until: float | None
) -> list[Response]:
    """The responses in what comes next; none if nothing does."""
    try:
        async with asyncio.timeout_at(until):
            data = await asyncio.get_running_loop().sock_recv(sock, DATAGRAM_OCTETS)
    except TimeoutError:
        return []
    if flow.transport == "tcp" and not data:
        raise ConnectionResetError(ECONNRESET, "the connection was closed")
    return _responses(data, flow, framer)


async def _send(sock: socket.socket, layer: TransactionLayer) -> None:
    """Send what is due, now and when a timer made more of it."""
    taken, layer.outgoing = layer.outgoing, []
    for _, message in taken:
        await asyncio.get_running_loop().sock_sendall(sock, message)


def _responses(data: bytes, flow: Flow, framer: StreamFramer) -> list[Response]:
    """The responses in what came: what else is in a datagram is passed over."""
    if flow.transport == "udp":
        with suppress(MessageError):
            message = parse(data)
            return [message] if isinstance(message, Response) else []
        return []
    framer.receive(data)
    found = []
    while whole := framer.next_message():
        if whole.strip():
            message = parse(whole)
            found += [message] if isinstance(message, Response) else []
    return found


def _cause(error: OSError | UnicodeError) -> str:
    """Why there is nobody, in the system's words."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno or EIO)
    return "the name has no address"


def _token() -> str:
    return secrets.token_hex(8)


def _parts(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or 0


def _is_where(one: RecordingPlatform | None, other: RecordingPlatform | None) -> bool:
    """Whether two entries are the same place."""
    if one is None or other is None:
        return False
    return (one.net_address, one.port, one.transport_protocol) == (
        other.net_address,
        other.port,
        other.transport_protocol,
    )


def _is_local(address: str) -> bool:
    """Whether an IP address is one of this machine; nothing is sent."""
    literal = ip_literal(address)
    if literal is None:
        return False
    family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(literal), 0))
        except OSError:
            return False
    return True
