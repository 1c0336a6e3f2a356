"""The hub of ASP.NET Core SignalR: who may connect, what may be called, what is told.

WebSockets only, after a negotiation or without. Counterparts: `api.anywherenow.signalr` is the
protocol, `api.sockets` writes, `api.anywherenow.classic` is the hub of ASP.NET SignalR 2.
"""

import secrets
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus
from time import monotonic

import structlog
from aiohttp import WSCloseCode, web

from api.anywherenow import signalr
from api.anywherenow.admission import Admission
from api.anywherenow.paths import Holds, Paths, json, text
from api.anywherenow.signalr import Accepted, Call, Connection, Over
from api.anywherenow.subscriptions import Change, Names, Subscriptions
from api.anywherenow.wire import Refusal
from api.dialect import Context
from api.sockets import REVOKED, STOPPED, Ending, Reader
from siprec.feed import FeedEvent
from siprec.session import Actor

logger = structlog.get_logger(__name__)

EVENT = "RecordingStateChangedEvent"

PING_S = 15.0
"""Time between our pings."""
SILENCE_S = 30.0
"""A client that says nothing for so long, not even a ping, is gone."""
HANDSHAKE_S = 15.0
"""For the handshake to come."""
CONNECT_S = 30.0
"""For a connection that was negotiated to come."""
NEGOTIATED = 10_000
"""Connections to come that are remembered; the oldest are forgotten first."""
FRAME_BYTES = 64 * 1024
"""Largest message of a WebSocket: a client may put several of the protocol's into one."""

_SHOWN = 100
"""Characters of a client's own words in an answer."""


class Hub:
    """Answers below the path of the hub."""

    def __init__(self, context: Context, admission: Admission, names: Names) -> None:
        table = {
            "": (("GET",), self._connect),
            "/negotiate": (("POST",), self._negotiate),
        }
        self._paths = Paths(context.config.anywherenow.hub, admission, table)
        self._fanout = context.fanout
        self._names = names
        self._ids = Ids()

    def routes(self) -> Iterable[web.RouteDef]:
        """Everything below the path."""
        return self._paths.routes()

    async def _negotiate(self, request: web.Request, _: Actor) -> web.StreamResponse:
        asked = request.query.get("negotiateVersion", "")
        version = signalr.negotiate_version(asked)
        if version is None:
            return json(signalr.not_negotiated(asked[:_SHOWN]))
        connection_id, token = secrets.token_urlsafe(16), self._ids.new()
        return json(signalr.negotiated(version, connection_id, token))

    async def _connect(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        token = request.query.get("id")
        party = Client(actor, Subscriptions(actor, self._names), self._paths.holds(request, actor))
        if token is None:
            return await self._fanout.serve(request, party, FRAME_BYTES)
        if status := self._ids.refusal(token):
            return text(status, "No Connection with that ID")
        with self._ids.used(token):
            return await self._fanout.serve(request, party, FRAME_BYTES)


class Ids:
    """The connections that were negotiated: each may be made once, and soon."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._used: set[str] = set()

    def new(self) -> str:
        """What a connection is asked for by; a secret."""
        while len(self._until) >= NEGOTIATED:
            del self._until[next(iter(self._until))]
        token = secrets.token_urlsafe(16)
        self._until[token] = monotonic() + CONNECT_S
        return token

    def refusal(self, token: str) -> HTTPStatus | None:
        """Why there can be no connection of this token now; None: there can."""
        if token in self._used:
            return HTTPStatus.CONFLICT
        until = self._until.get(token, 0.0)
        return HTTPStatus.NOT_FOUND if until <= monotonic() else None

    @contextmanager
    def used(self, token: str) -> Iterator[None]:
        """While the connection lasts; afterwards it is not known any more."""
        self._until.pop(token, None)
        self._used.add(token)
        try:
            yield
        finally:
            self._used.discard(token)


class Client:
    """One connected client (`api.sockets.Party`)."""

    def __init__(self, actor: Actor, subscriptions: Subscriptions, holds: Holds) -> None:
        self.name = actor.name
        self._subscriptions = subscriptions
        self._holds = holds
        self._connection = Connection()
        self._methods = {"subscribe": subscriptions.add, "unsubscribe": subscriptions.remove}
        self._is_heard = True
        """Since the last look."""
        self._began = self._heard_at = self._pinged_at = 0.0

    @property
    def group(self) -> Hashable:
        """Who hears of the same UCCs."""
        return "signalr", self._subscriptions.group

    def tell(self, event: FeedEvent) -> bytes:
        """The change of state that an event is, if there is one to be told."""
        change = self._subscriptions.change(event)
        return _told(change) if change else b""

    def heard(self, data: bytes, reader: Reader) -> Ending | None:
        """Answer calls; end at what breaks the protocol."""
        self._is_heard = True
        for step in self._connection.receive(data):
            match step:
                case Accepted():
                    reader.send(signalr.HANDSHAKEN)
                case Call():
                    self._carry_out(step, reader)
                case Over():
                    return self._over(step)
        return None

    async def look(self, now: float, reader: Reader) -> Ending | None:
        """Ping; end when the token holds no longer, or nothing is heard of the client."""
        self._began = self._began or now
        self._pinged_at = self._pinged_at or now
        if self._is_heard:
            self._is_heard, self._heard_at = False, now
        if not await self._holds():
            return Ending(WSCloseCode.POLICY_VIOLATION, REVOKED, self._last(REVOKED))
        if not self._connection.is_open:
            return self._late() if now - self._began >= HANDSHAKE_S else None
        if now - self._heard_at >= SILENCE_S:
            silent = f"nothing was heard for {SILENCE_S:g} s"
            return Ending(WSCloseCode.GOING_AWAY, silent, self._last(silent, allow_reconnect=True))
        if now - self._pinged_at >= PING_S:
            self._pinged_at = now
            reader.send(signalr.PINGED)
        return None

    def stopped(self) -> Ending:
        """The client may come back."""
        last = self._last(STOPPED, allow_reconnect=True)
        return Ending(WSCloseCode.GOING_AWAY, STOPPED, last)

    def _carry_out(self, call: Call, reader: Reader) -> None:
        error = self._call(call)
        if call.invocation_id is not None:
            reader.send(signalr.completion(call.invocation_id, error))

    def _call(self, call: Call) -> str:
        """Call the method; why it failed, empty if it did not."""
        target = call.target[:_SHOWN]
        method = self._methods.get(call.target.lower())
        if method is None:
            return f"Unknown hub method '{target}'"
        if call.is_stream:
            how = "method with a streaming invocation."
            return f"The client attempted to invoke the non-streaming '{target}' {how}"
        match call.arguments:
            case [str() as name]:
                pass
            case _:
                wants = "InvalidDataException: it takes one argument, the name of a UCC."
                return f"Failed to invoke '{target}' due to an error on the server. {wants}"
        try:
            method(name)
        except Refusal as error:
            why = f"HubException: {error.message.text}"
            return f"An unexpected error occurred invoking '{target}' on the server. {why}"
        return ""

    def _late(self) -> Ending:
        late = signalr.NO_HANDSHAKE
        return Ending(WSCloseCode.POLICY_VIOLATION, late, signalr.refused(late))

    def _over(self, over: Over) -> Ending:
        if not over.last:
            return Ending(WSCloseCode.OK, over.reason)
        logger.info("hub_protocol_broken", actor=self.name, reason=over.reason)
        return Ending(WSCloseCode.POLICY_VIOLATION, "protocol error", over.last)

    def _last(self, error: str, *, allow_reconnect: bool = False) -> bytes:
        if not self._connection.is_open:
            return signalr.refused(error)
        return signalr.closed(error, allow_reconnect=allow_reconnect)


@lru_cache(maxsize=256)
def _told(change: Change) -> bytes:
    """A change, made once for all who hear of it."""
    argument = {
        "UccName": change.ucc_name,
        "CorrelationId": change.correlation_id,
        "StateAction": change.state_action,
    }
    return signalr.invocation(EVENT, argument)
