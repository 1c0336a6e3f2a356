"""The SIP side of a session recording client: messages, and client transactions over UDP or TCP.

Enough of RFC 3261 to call a recorder and to be hung up on; knows no media. Its user is
`examples.src`.
"""

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Protocol, Self

T1_S, T2_S, GIVE_UP_S = 0.5, 4.0, 32.0
"""Retransmission timers, and 64*T1 (RFC 3261 17.1.1.1)."""
COMPACT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
}
URI = re.compile(r"sips?:(?:[^@>]*@)?(?P<host>\[[^]]+]|[^:;>?]+)(?::(?P<port>\d+))?")
UNDERSTOOD = {"BYE", "OPTIONS", "UPDATE"}
"""Requests of the recorder that we answer with 200."""


class CallError(Exception):
    """The recorder refused (`status` is its answer), or did not answer (`status` 0)."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP request or response (RFC 3261 7)."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """One whole message. Raises ValueError on what lacks Via, Call-ID or CSeq."""
        head, _, body = data.partition(b"\r\n\r\n")
        start, *lines = re.sub(r"\r\n[ \t]+", " ", head.decode(errors="replace")).split("\r\n")
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            headers.append((COMPACT.get(name.strip().lower(), name.strip()), value.strip()))
        message = cls(start, headers, body)
        if not all(map(message.first, ("via", "call-id", "cseq"))):
            raise ValueError(f"not a SIP message: {start[:80]!r}")
        return message

    @property
    def status(self) -> int:
        """Status code of a response, 0 for a request."""
        code = self.start.removeprefix("SIP/2.0 ")[:3]
        return int(code) if self.start.startswith("SIP/2.0 ") and code.isdecimal() else 0

    @property
    def branch(self) -> str:
        """What ties a response to its request (RFC 3261 17.1.3)."""
        return self.first("via").partition("branch=")[2].partition(";")[0]

    def every(self, name: str) -> list[str]:
        """Values of a header, in order; `name` in lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    def first(self, name: str) -> str:
        """First value of a header, or the empty string."""
        return next(iter(self.every(name)), "")

    def encode(self) -> bytes:
        """The bytes to send, with a right Content-Length."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body


def hop(uri: str) -> tuple[str, int] | None:
    """Address a SIP URI names, if it is an IP literal."""
    match = URI.search(uri)
    try:
        host = str(ipaddress.ip_address(match["host"].strip("[]") if match else ""))
    except ValueError:
        return None
    return host, int(match["port"] or 5060) if match else 5060


def tag_of(header: str) -> str:
    """The tag parameter of a From or To value."""
    return header.rpartition(">")[2].partition("tag=")[2].partition(";")[0]


class Call(Protocol):
    """A call as its `Agent` sees it."""

    contact: str
    """Value of our Contact header."""
    ended: asyncio.Event
    """To be set when the recorder hangs up."""


class Agent(asyncio.Protocol, asyncio.DatagramProtocol):
    """One UDP port or TCP connection and the client transactions on it (RFC 3261 17.1).

    Use it with `async with`. `uri` is the recorder, `sip:user@host:port`.
    """

    def __init__(self, uri: str, transport: str = "udp") -> None:
        self.uri = uri
        self.kind = transport
        self.host, self.port = "", 0
        """Our own address."""
        self.calls: dict[str, Call] = {}
        """What to tell of requests from the recorder, by Call-ID."""
        self._server = ("", 0)
        self._waiting: dict[str, asyncio.Queue[Message]] = {}
        self._acks: dict[str, tuple[Message, tuple[str, int] | None]] = {}
        self._buffer = b""
        self._stream: asyncio.WriteTransport | None = None
        self._datagrams: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        match = URI.match(self.uri)
        if match is None:
            raise ValueError(f"not a SIP URI: {self.uri}")
        loop = asyncio.get_running_loop()
        host, port = match["host"].strip("[]"), int(match["port"] or 5060)
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        self._server = str(found[0][4][0]), int(found[0][4][1])
        if self.kind == "tcp":
            self._stream, _ = await loop.create_connection(lambda: self, *self._server)
        else:
            with socket.socket(found[0][0], socket.SOCK_DGRAM) as probe:
                probe.connect(self._server)
                local = probe.getsockname()[0]
            self._datagrams, _ = await loop.create_datagram_endpoint(lambda: self, (local, 0))
        link = self._stream or self._datagrams
        self.host, self.port = link.get_extra_info("sockname")[:2] if link else self._server
        return self

    async def __aexit__(self, *_: object) -> None:
        for link in (self._stream, self._datagrams):
            if link is not None:
                link.close()

    @property
    def authority(self) -> str:
        """Our host and port as in a URI."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def send(self, message: Message, to: tuple[str, int] | None = None) -> None:
        """Write a message; `to` is where datagrams go, by default the recorder."""
        if self._stream is not None:
            self._stream.write(message.encode())
        elif self._datagrams is not None:
            self._datagrams.sendto(message.encode(), to or self._server)

    async def request(self, message: Message, to: tuple[str, int] | None = None) -> Message:
        """Send a request and return its final response. Raises CallError if none comes."""
        answers = self._waiting[message.branch] = asyncio.Queue()
        try:
            async with asyncio.timeout(GIVE_UP_S):
                return await self._transact(message, to, answers)
        except TimeoutError:
            raise CallError(0, f"no answer from {self._server}") from None
        finally:
            del self._waiting[message.branch]

    async def _transact(
        self, message: Message, to: tuple[str, int] | None, answers: asyncio.Queue[Message]
    ) -> Message:
        again_s: float | None = T1_S if self.kind == "udp" else None
        self.send(message, to)
        while True:
            try:
                answer = await asyncio.wait_for(answers.get(), again_s)
            except TimeoutError:
                self.send(message, to)
                again_s = min(2 * (again_s or T1_S), T2_S)
                continue
            if answer.status >= 200:
                return answer
            again_s = None  # a provisional response ends retransmission

    def acknowledge(self, branch: str, ack: Message, to: tuple[str, int] | None = None) -> None:
        """Send `ack`, now and for every retransmission of the response on `branch`."""
        self._acks[branch] = ack, to
        self.send(ack, to)

    def connection_lost(self, exc: Exception | None) -> None:
        """A transport error counts as 503 for every open request (RFC 3261 17.1.4)."""
        for answers in self._waiting.values():
            answers.put_nowait(Message("SIP/2.0 503 Connection Lost", []))

    def data_received(self, data: bytes) -> None:
        """Cut a stream into messages (RFC 3261 18.3)."""
        self._buffer = (self._buffer + data).lstrip(b"\r\n")
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = Message.parse(self._buffer[:head]).first("content-length")
            end = head + 4 + int(length or 0)
            if len(self._buffer) < end:
                return
            message, self._buffer = self._buffer[:end], self._buffer[end:].lstrip(b"\r\n")
            self.datagram_received(message, self._server)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Hand a message to whom it concerns; what is not SIP is dropped."""
        try:
            message = Message.parse(data)
        except ValueError:
            return
        if not message.status:
            self._serve(message, (str(addr[0]), int(addr[1])))
        elif message.branch in self._waiting:
            self._waiting[message.branch].put_nowait(message)
        elif message.branch in self._acks and message.status >= 200:
            self.send(*self._acks[message.branch])

    def _serve(self, request: Message, source: tuple[str, int]) -> None:
        method = request.start.split(" ")[0]
        call = self.calls.get(request.first("call-id"))
        status = "200 OK" if method in UNDERSTOOD else "501 Not Implemented"
        if method != "OPTIONS" and call is None:
            status = "481 Call/Transaction Does Not Exist"
        echoed = ("via", "from", "to", "call-id", "cseq")
        headers = [(name, value) for name, value in request.headers if name.lower() in echoed]
        if call is not None and method == "UPDATE":
            headers.append(("Contact", call.contact))
        if method != "ACK":
            self.send(Message(f"SIP/2.0 {status}", headers), source)
        if call is not None and method == "BYE":
            call.ended.set()
