"""The hub of ASP.NET SignalR 2, protocols 1.2 to 2.1: for clients of the .NET Framework and jQuery.

A client negotiates, connects a WebSocket, and says that it has started. After a while without its
socket it reconnects: it brings a groups token along, in which its subscriptions are, so that a
restart of the server costs none. It costs what happened meanwhile: nothing is kept for who is away.
Only WebSockets are served, and no proxy script. Counterparts: `api.sockets` writes,
`api.anywherenow.hub` is the hub of ASP.NET Core SignalR.
Source: the clients themselves, `SignalR/SignalR` 2.4.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Hashable, Iterable
from functools import lru_cache
from http import HTTPStatus
from itertools import count
from weakref import WeakValueDictionary

import msgspec
import structlog
from aiohttp import WSCloseCode, web

from api.anywherenow.admission import Admission
from api.anywherenow.hub import EVENT
from api.anywherenow.paths import Holds, Paths, json, text
from api.anywherenow.subscriptions import Change, Names, Subscriptions
from api.anywherenow.wire import Refusal
from api.dialect import Context
from api.sockets import REVOKED, STOPPED, Ending, Reader
from siprec.feed import FeedEvent
from siprec.session import Actor

logger = structlog.get_logger(__name__)

HUB = "RecordingHub"
OLDEST, NEWEST = (1, 2), (2, 1)
"""Versions of the protocol that are spoken."""
KEEP_ALIVE_S = 10.0
"""Time between two keep-alive messages; clients wait for twice that."""
DISCONNECT_S = 30.0
"""How long a client tries to reconnect."""
MOST_BYTES = 32 * 1024
"""Of a message."""
GROUPS_BYTES = 4096
"""Of a groups token: it comes back in a URL."""

KEEP_ALIVE = b"{}"

_SHOWN = 100


class _Malformed(Exception):
    """The client broke the protocol."""


class Classic:
    """Answers below the path of the endpoint."""

    def __init__(self, context: Context, admission: Admission, names: Names) -> None:
        self._path = context.config.anywherenow.signalr
        get = ("GET", "POST")
        table = {
            "/negotiate": (get, self._negotiate),
            "/connect": (("GET",), self._connect),
            "/reconnect": (("GET",), self._reconnect),
            "/start": (get, self._start),
            "/ping": (get, self._ping),
            "/abort": (("POST",), self._abort),
        }
        self._paths = Paths(self._path, admission, table)
        self._fanout = context.fanout
        self._names = names
        self._clients: WeakValueDictionary[str, Client] = WeakValueDictionary()
        """By connection token."""

    def routes(self) -> Iterable[web.RouteDef]:
        """Everything below the path."""
        return self._paths.routes()

    async def _negotiate(self, request: web.Request, _: Actor) -> web.StreamResponse:
        said = {
            "Url": self._path,
            "ConnectionToken": secrets.token_urlsafe(32),
            "ConnectionId": secrets.token_urlsafe(16),
            "KeepAliveTimeout": 2 * KEEP_ALIVE_S,
            "DisconnectTimeout": DISCONNECT_S,
            "ConnectionTimeout": 110.0,
            "TryWebSockets": True,
            "ProtocolVersion": protocol_version(request.query.get("clientProtocol", "")),
            "TransportConnectTimeout": 5.0,
            "LongPollDelay": 0.0,
        }
        return json(msgspec.json.encode(said))

    async def _connect(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        return await self._serve(request, actor, ())

    async def _reconnect(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        names = groups(request.query.get("groupsToken", ""))
        return await self._serve(request, actor, names, is_new=False)

    async def _serve(
        self, request: web.Request, actor: Actor, names: Iterable[str], *, is_new: bool = True
    ) -> web.StreamResponse:
        token = request.query.get("connectionToken", "")
        if request.query.get("transport") != "webSockets":
            return text(HTTPStatus.BAD_REQUEST, "Protocol error: Unknown transport.")
        if not token:
            return text(HTTPStatus.BAD_REQUEST, "Protocol error: Missing connection token.")
        try:
            hubs = hub_names(request.query.get("connectionData", ""))
        except _Malformed as error:
            return text(HTTPStatus.BAD_REQUEST, f"Protocol error: {error}")
        subscriptions = Subscriptions(actor, self._names)
        subscriptions.restore(names)
        holds = self._paths.holds(request, actor)
        client = Client(actor, subscriptions, holds, HUB.lower() in hubs, is_new=is_new)
        self._clients[token] = client
        return await self._fanout.serve(request, client, MOST_BYTES)

    async def _start(self, request: web.Request, _: Actor) -> web.StreamResponse:
        return json(b'{"Response":"started"}')

    async def _ping(self, request: web.Request, _: Actor) -> web.StreamResponse:
        return json(b'{"Response":"pong"}')

    async def _abort(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        client = self._clients.get(request.query.get("connectionToken", ""))
        if client is not None and client.actor == actor:
            client.is_aborted = True
        return web.Response()


class Client:
    """One connected client (`api.sockets.Party`)."""

    def __init__(
        self,
        actor: Actor,
        subscriptions: Subscriptions,
        holds: Holds,
        listens: bool,
        *,
        is_new: bool,
    ) -> None:
        """`listens`: it named our hub, so that it can take what the hub says."""
        self.actor = actor
        self.name = actor.name
        self.is_aborted = False
        """It has said that it goes."""
        self._subscriptions = subscriptions
        self._holds = holds
        self._listens = listens
        self._is_new = is_new
        self._said_at = 0.0
        self._methods = {"subscribe": subscriptions.add, "unsubscribe": subscriptions.remove}

    @property
    def group(self) -> Hashable:
        """Who hears of the same UCCs."""
        return "classic", self._listens, self._subscriptions.group

    def tell(self, event: FeedEvent) -> bytes:
        """The change of state that an event is, if there is one to be told."""
        change = self._subscriptions.change(event) if self._listens else None
        return _told(change) if change else b""

    def heard(self, data: bytes, reader: Reader) -> Ending | None:
        """Answer a call; end at what breaks the protocol."""
        try:
            call = parse(data)
        except _Malformed as error:
            logger.info("hub_protocol_broken", actor=self.name, reason=str(error))
            last = msgspec.json.encode({"E": f"Protocol error: {error}"})
            return Ending(WSCloseCode.POLICY_VIOLATION, "protocol error", last)
        before = self._subscriptions.wanted
        error_text = self._call(call)
        if call.id is not None:
            reader.send(returned(call.id, error_text))
        if self._subscriptions.wanted != before:
            reader.send(messages(groups_token=self._groups_token()))
        return None

    async def look(self, now: float, reader: Reader) -> Ending | None:
        """Keep alive; end when the client has said so or the token holds no longer."""
        if self.is_aborted:
            return Ending(WSCloseCode.OK, "aborted by the client")
        if not await self._holds():
            last = msgspec.json.encode({"E": REVOKED})
            return Ending(WSCloseCode.POLICY_VIOLATION, REVOKED, last)
        if not self._said_at:
            self._said_at = now
            reader.send(messages(is_initial=True) if self._is_new else KEEP_ALIVE)
        elif now - self._said_at >= KEEP_ALIVE_S:
            self._said_at = now
            reader.send(KEEP_ALIVE)
        return None

    def stopped(self) -> Ending:
        """The client reconnects by itself."""
        return Ending(WSCloseCode.GOING_AWAY, STOPPED)

    def _call(self, call: "Call") -> str:
        """Call the method; why it failed, empty if it did not."""
        if call.hub.lower() != HUB.lower():
            return f"'{call.hub[:_SHOWN]}' Hub could not be resolved."
        method = self._methods.get(call.method.lower())
        match call.arguments:
            case [str() as name] if method is not None:
                pass
            case _:
                return f"'{call.method[:_SHOWN]}' method could not be resolved."
        try:
            method(name)
        except Refusal as error:
            return error.message.text
        return ""

    def _groups_token(self) -> str:
        return groups_token(self._subscriptions.wanted)


class Call(msgspec.Struct, frozen=True):
    """A client calls a method of a hub."""

    hub: str = msgspec.field(name="H")
    method: str = msgspec.field(name="M")
    arguments: list[object] = msgspec.field(name="A")
    id: int | str | None = msgspec.field(name="I", default=None)
    """Of the answer; None: none is wanted."""


def parse(data: bytes) -> Call:
    """What a client says. Raises _Malformed."""
    try:
        return msgspec.json.decode(data, type=Call)
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        raise _Malformed("the message is no call of a method") from None


def protocol_version(asked: str) -> str:
    """The version both sides speak, of the one a client asks for."""
    major, _, minor = asked[:10].partition(".")
    if not all(part.isascii() and part.isdigit() for part in (major, minor)):
        return "{}.{}".format(*OLDEST)
    return "{}.{}".format(*min(max((int(major), int(minor)), OLDEST), NEWEST))


def hub_names(connection_data: str) -> frozenset[str]:
    """The hubs a client can hear of, in lower case. Raises _Malformed, also if one is unknown."""
    if not connection_data:
        return frozenset()
    try:
        found = msgspec.json.decode(connection_data, type=list[dict[str, object]])
    except (ValueError, RecursionError):
        raise _Malformed("connectionData is no list of hubs") from None
    names = frozenset(str(each.get("name", each.get("Name", ""))).lower() for each in found)
    for name in names:
        if name != HUB.lower():
            raise _Malformed(f"'{name[:_SHOWN]}' Hub could not be resolved.")
    return names


def groups_token(names: Iterable[str]) -> str:
    """Subscriptions for a client to keep; empty if they are too many for a URL."""
    token = urlsafe_b64encode(msgspec.json.encode(sorted(names))).decode()
    return token if len(token) <= GROUPS_BYTES else ""


def groups(token: str) -> list[str]:
    """The subscriptions in a groups token; none if it is not one of ours.

    Whoever makes one up gains nothing: each name is looked at as that of a subscription is.
    """
    try:
        return msgspec.json.decode(urlsafe_b64decode(token), type=list[str])
    except (ValueError, RecursionError):  # binascii's and msgspec's own errors are ValueErrors
        return []


_cursors = count(1)


def messages(*, is_initial: bool = False, groups_token: str = "") -> bytes:
    """A message from the server without calls in it."""
    said: dict[str, object] = {"C": _cursor()}
    if is_initial:
        said["S"] = 1
    if groups_token:
        said["G"] = groups_token
    return msgspec.json.encode({**said, "M": []})


def returned(invocation_id: int | str, error: str = "") -> bytes:
    """The answer to a call: done, without a result, or failed."""
    said: dict[str, object] = {"I": str(invocation_id)}
    return msgspec.json.encode({**said, "E": error, "H": True} if error else said)


def _told(change: Change) -> bytes:
    return msgspec.json.encode({"C": _cursor(), "M": [_call_of(change)]})


@lru_cache(maxsize=256)
def _call_of(change: Change) -> msgspec.Raw:
    """A change, made once for all who hear of it."""
    argument = {
        "UccName": change.ucc_name,
        "CorrelationId": change.correlation_id,
        "StateAction": change.state_action,
    }
    return msgspec.Raw(msgspec.json.encode({"H": HUB, "M": EVENT, "A": [argument]}))


def _cursor() -> str:
    """Names a message; clients give it back when they reconnect."""
    return f"d-{next(_cursors):X}"
