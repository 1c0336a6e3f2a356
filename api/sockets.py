"""Event sockets: what happens in the recorder, written to every WebSocket that is to hear of it.

One listener at the feed serves all readers. What a group of readers hears of is encoded once, as
frames of RFC 6455, and written to the transport of each; nobody waits for anybody. Readers are
written to in slices, so that commands get their turn in between, and events that come meanwhile go
out together. A reader with more unsent than `UNSENT_BYTES` is dropped.
Counterparts: `api.native.events` and the dialects say who hears what, in which words (`Party`).
"""

import asyncio
import socket as sockets
import struct
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Protocol

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from api.problem import ApiError
from siprec.feed import EventFeed, FeedEvent

logger = structlog.get_logger(__name__)

UNSENT_BYTES = 64 * 1024
"""What a reader may leave unread: some 250 events."""

KERNEL_BYTES = 16 * 1024
"""SO_SNDBUF of a reader, of which Linux makes twice that: what is in there is out of our sight."""

BATCH = 64
"""Events written at a time; few enough for a reader that keeps up to take them."""

SLICE = 100
"""Readers written to before others get their turn: about a millisecond of processor time."""

HEARTBEAT_S = 20.0
"""Time between pings; a reader has half of it to answer."""

CHECK_S = 1.0
"""Time between two looks whether a reader may go on."""

CLOSE_S = 2.0
"""For a reader to take the last it is told."""

STOPPED = "the server stops"
REVOKED = "the token holds no longer"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why and how a socket is closed (RFC 6455 section 7.4)."""

    code: WSCloseCode
    reason: str
    """For the close frame."""
    last: bytes = b""
    """Text that is sent before it; empty: none."""


class Party(Protocol):
    """Who reads a socket: what they hear, in which words, and how long."""

    @property
    def name(self) -> str:
        """For the log."""

    @property
    def group(self) -> Hashable:
        """Parties of equal groups are told the same; it changes with what they hear."""

    def tell(self, event: FeedEvent) -> bytes:
        """The text of an event; empty: it is not told. Never waits."""

    def heard(self, data: bytes, reader: "Reader") -> Ending | None:
        """Take what the party said, a whole text or binary message; an ending ends it all."""

    async def look(self, now: float, reader: "Reader") -> Ending | None:
        """Called every `CHECK_S`; an ending ends it all. `now`: seconds, monotonic."""

    def stopped(self) -> Ending:
        """How it is closed when the server stops."""


class Reader:
    """One open WebSocket and its party."""

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, party: Party
    ) -> None:
        self._socket = socket
        self._transport = transport
        self.party = party
        self._is_over = False

    def send(self, text: bytes) -> None:
        """Write one text message."""
        self.write(frame(text))

    def write(self, frames: bytes) -> None:
        """Write whole frames; drops a reader that leaves too much unread. Never waits."""
        if self._is_over or self._socket.closed or self._transport.is_closing():
            return
        self._transport.write(frames)
        unsent = self._transport.get_write_buffer_size()
        if unsent > UNSENT_BYTES:
            self._is_over = True
            self._transport.abort()
            logger.warning("event_reader_dropped", actor=self.party.name, unsent=unsent)

    async def listen(self) -> None:
        """Hear what the party says until it leaves."""
        async for message in self._socket:
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                continue
            ending = self.party.heard(message.data, self)
            if ending is not None:
                await self.end(ending)

    async def guard(self) -> None:
        """Look after the party until it must end."""
        loop = asyncio.get_running_loop()
        while (ending := await self.party.look(loop.time(), self)) is None:  # noqa: ASYNC110
            await asyncio.sleep(CHECK_S)  # nothing tells us that a token ends
        await self.end(ending)

    async def end(self, ending: Ending) -> None:
        """Say why, and close; who does not take it is cut off."""
        if ending.last:
            self.send(ending.last)
        self._is_over = True
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close(code=ending.code, message=ending.reason.encode())
        except TimeoutError:
            self._transport.abort()


class Fanout:
    """All readers of a process, and what is still to be told them."""

    def __init__(self, feed: EventFeed) -> None:
        self._readers: dict[Reader, None] = {}
        self._events: deque[FeedEvent] = deque()
        self._is_writing = False
        self._is_stopped = False
        feed.listen(self._put)

    @property
    def readers(self) -> int:
        """How many there are now."""
        return len(self._readers)

    async def serve(
        self, request: web.Request, party: Party, most_bytes: int
    ) -> web.StreamResponse:
        """Make the request a WebSocket and serve it until its party leaves or must.

        `most_bytes`: largest message the party may send. Raises ApiError: 426 if the request asks
        for no WebSocket, 503 while the server stops.
        """
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S,
            timeout=CLOSE_S,
            max_msg_size=most_bytes,
            compress=False,
            decode_text=False,
        )
        if not socket.can_prepare(request):
            status = HTTPStatus.UPGRADE_REQUIRED
            raise ApiError(status, "this is a WebSocket", {"Upgrade": "websocket"})
        if self._is_stopped or request.transport is None:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, STOPPED)
        transport = request.transport
        _shrink(transport)
        await socket.prepare(request)
        await self._serve(Reader(socket, transport, party))
        return socket

    async def close(self) -> None:
        """Tell every reader that the server stops, and let no other in."""
        self._is_stopped = True
        await asyncio.gather(*(reader.end(reader.party.stopped()) for reader in [*self._readers]))

    async def _serve(self, reader: Reader) -> None:
        self._readers[reader] = None
        try:
            async with asyncio.TaskGroup() as group:
                guard = group.create_task(reader.guard(), name="event reader guard")
                await reader.listen()
                guard.cancel()
        finally:
            del self._readers[reader]

    def _put(self, event: FeedEvent) -> None:
        if not self._readers:
            return
        self._events.append(event)
        if not self._is_writing:
            self._is_writing = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Take the next events, and write them to the first slice of readers."""
        events = [self._events.popleft() for _ in range(min(BATCH, len(self._events)))]
        self._write(iter([*self._readers]), events, {})

    def _write(
        self, readers: Iterator[Reader], events: Sequence[FeedEvent], said: dict[Hashable, bytes]
    ) -> None:
        """Write to the next readers; `said`: by group, as far as it is known."""
        turn = [*islice(readers, SLICE)]
        for reader in turn:
            group = reader.party.group
            if (frames := said.get(group)) is None:
                frames = said[group] = _frames(reader.party, events)
            if frames:
                reader.write(frames)
        loop = asyncio.get_running_loop()
        if len(turn) == SLICE:
            loop.call_soon(self._write, readers, events, said)
        elif self._events:
            loop.call_soon(self._begin)
        else:
            self._is_writing = False


def frame(text: bytes) -> bytes:
    """A whole text message as one unmasked frame (RFC 6455 section 5.2)."""
    size = len(text)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + text
    if size < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, size) + text
    return struct.pack("!BBQ", 0x81, 127, size) + text


def _frames(party: Party, events: Sequence[FeedEvent]) -> bytes:
    return b"".join(frame(text) for event in events if (text := party.tell(event)))


def _shrink(transport: asyncio.Transport) -> None:
    """Keep what is unsent where we see it."""
    below = transport.get_extra_info("socket")
    if below is not None:
        below.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, KERNEL_BYTES)
