"""The server's side of ASP.NET Core SignalR: the JSON hub protocol, version 1.

Bytes in, calls out, and functions that make what is sent: no socket, no clock. Messages end with
the ASCII record separator and may be cut anywhere by the transport. First comes the handshake.
What a client may say and we have no use for (pings, items of streams, cancellations, kinds of
messages we do not know) is passed over. Counterpart: `api.anywherenow.hub`.
Source: dotnet/aspnetcore, src/SignalR/docs/specs/HubProtocol.md and TransportProtocols.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

SEPARATOR = b"\x1e"
MOST_BYTES = 32 * 1024
"""Of a message, its separator left out; the default of ASP.NET Core."""

PROTOCOL, VERSION = "json", 1
INVOCATION, COMPLETION, STREAM_INVOCATION, PING, CLOSE = 1, 3, 4, 6, 7
"""Types of the messages that mean something to us."""

HANDSHAKEN = b"{}" + SEPARATOR
PINGED = b'{"type":6}' + SEPARATOR
NO_HANDSHAKE = "Handshake was canceled."
BAD_HANDSHAKE = "An unexpected error occurred during connection handshake."
FAILED = "Connection closed with an error."


@dataclass(frozen=True, slots=True)
class Accepted:
    """The handshake is done; answer `HANDSHAKEN`."""


@dataclass(frozen=True, slots=True)
class Call:
    """The client calls a method of the hub."""

    target: str
    arguments: Sequence[object]
    invocation_id: str | None
    """Of the completion that answers it; None: it is not answered."""
    is_stream: bool = False
    """It expects a stream of results."""


@dataclass(frozen=True, slots=True)
class Over:
    """The connection is to be closed, after `last` was sent (empty: nothing)."""

    reason: str
    last: bytes = b""


class _Malformed(Exception):
    """The client broke the protocol."""


class Connection:
    """One connection from its handshake on."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_over = False
        self.is_open = False
        """The handshake is done."""

    def receive(self, data: bytes) -> Iterator[Accepted | Call | Over]:
        """Take what came over the transport; after `Over` nothing comes any more."""
        *messages, rest = (self._rest + data).split(SEPARATOR)
        self._rest = rest
        for message in messages:
            if not self._is_over:
                yield from self._message(message)
        if not self._is_over and len(rest) > MOST_BYTES:
            yield self._broken(_too_large())

    def _message(self, message: bytes) -> Iterator[Accepted | Call | Over]:
        try:
            if len(message) > MOST_BYTES:
                raise _Malformed(_too_large())
            found = _object(message)
            step = self._step(found) if self.is_open else self._handshake(found)
        except _Malformed as error:
            step = self._broken(str(error))
        if step is not None:
            yield step

    def _handshake(self, found: dict[str, object]) -> Accepted | Over:
        protocol, version = found.get("protocol"), found.get("version")
        if not isinstance(protocol, str) or type(version) is not int:
            raise _Malformed("the handshake must name protocol and version")
        if protocol != PROTOCOL:
            return self._over(f"The protocol '{protocol[:20]}' is not supported.")
        if version != VERSION:
            asked = f"version {str(version)[:20]} of the '{PROTOCOL}' protocol"
            return self._over(f"The server does not support {asked}.")
        self.is_open = True
        return Accepted()

    def _step(self, found: dict[str, object]) -> Call | Over | None:
        kind = found.get("type")
        if type(kind) is not int:
            raise _Malformed("a message needs a type")
        if kind == CLOSE:
            self._is_over = True
            return Over("closed by the client")
        return _call(found) if kind in {INVOCATION, STREAM_INVOCATION} else None

    def _over(self, error: str) -> Over:
        """The end of a handshake that failed."""
        self._is_over = True
        return Over(error, refused(error))

    def _broken(self, detail: str) -> Over:
        if not self.is_open:
            return self._over(f"{BAD_HANDSHAKE} {detail}")
        self._is_over = True
        return Over(detail, closed(f"{FAILED} {detail}"))


def refused(error: str) -> bytes:
    """The answer to a handshake that failed."""
    return _encode({"error": error})


def invocation(target: str, *arguments: object) -> bytes:
    """Calls a method of the client, which does not answer."""
    return _encode({"type": INVOCATION, "target": target, "arguments": arguments})


def completion(invocation_id: str, error: str = "") -> bytes:
    """The answer to a call: done, without a result, or failed."""
    said = {"type": COMPLETION, "invocationId": invocation_id}
    return _encode({**said, "error": error} if error else {**said, "result": None})


def closed(error: str = "", *, allow_reconnect: bool = False) -> bytes:
    """The last the client is told; `allow_reconnect`: it may come back by itself."""
    said: dict[str, object] = {"type": CLOSE}
    if error:
        said["error"] = error
    if allow_reconnect:
        said["allowReconnect"] = True
    return _encode(said)


def negotiated(version: int, connection_id: str, token: str) -> bytes:
    """The answer to a negotiation of version 0 or 1; `token`: what a connection is asked for by."""
    known = {"connectionId": connection_id if version else token}
    said: dict[str, object] = {"negotiateVersion": version, **known}
    if version:
        said["connectionToken"] = token
    said["availableTransports"] = [{"transport": "WebSockets", "transferFormats": ["Text"]}]
    return msgspec.json.encode(said)


def not_negotiated(asked: str) -> bytes:
    """The answer to a negotiation of another version; `asked`: which."""
    error = f"The client requested an invalid protocol version '{asked}'"
    return msgspec.json.encode({"error": error})


def negotiate_version(text: str) -> int | None:
    """The version both sides know, of the one asked for (empty: 0); None if that is no number."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return None
    return min(int(text), 1)


def _call(found: dict[str, object]) -> Call:
    target, arguments = found.get("target"), found.get("arguments")
    invocation_id = found.get("invocationId")
    if not isinstance(target, str) or not isinstance(arguments, list):
        raise _Malformed("an invocation needs target and arguments")
    if not (invocation_id is None or isinstance(invocation_id, str)):
        raise _Malformed("invocationId must be a string")
    is_stream = found["type"] == STREAM_INVOCATION
    if is_stream and invocation_id is None:
        raise _Malformed("a stream invocation needs an invocationId")
    return Call(target, arguments, invocation_id, is_stream)


def _object(message: bytes) -> dict[str, object]:
    try:
        found = msgspec.json.decode(message)
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        raise _Malformed("the message is no JSON") from None
    if not isinstance(found, dict):
        raise _Malformed("the message is no JSON object")
    return found


def _too_large() -> str:
    return f"The maximum message size of {MOST_BYTES}B was exceeded."


def _encode(said: object) -> bytes:
    return msgspec.json.encode(said) + SEPARATOR
