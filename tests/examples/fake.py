"""A recorder of forty lines to call: answers over UDP or TCP, and keeps what came."""

import asyncio
import socket
import struct
from typing import Self

from examples.sip import Message

STREAM_SDP = "m=audio {port} RTP/AVP 0\r\na={direction}\r\na=label:{label}\r\n"


class FakeRecorder(asyncio.Protocol, asyncio.DatagramProtocol):
    """Answers every request with 200; `script` plans other answers, by method: the status line,
    several joined by `|`, or none at all."""

    def __init__(self, transport: str = "udp", script: dict[str, list[str]] | None = None) -> None:
        self.kind = transport
        self.script = script or {}
        self.direction = "recvonly"
        self.record_route: str = ""
        self.split: int = 0
        """On TCP, write answers in pieces of this many octets."""
        self.requests: list[Message] = []
        self.responses: list[Message] = []
        self.came = asyncio.Event()
        self.media = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for each in self.media:
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        if self.kind == "udp":
            self._udp, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
            self.port = self._udp.get_extra_info("sockname")[1]
        else:
            self._server = await loop.create_server(lambda: self, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.kind == "udp":
            self._udp.close()
        else:
            self._server.close()
            self._tcp.close()
        for each in self.media:
            each.close()

    @property
    def uri(self) -> str:
        return f"sip:recorder@127.0.0.1:{self.port}"

    @property
    def methods(self) -> list[str]:
        return [request.start.split()[0] for request in self.requests]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport) and self.kind == "tcp":
            self._tcp = transport

    def data_received(self, data: bytes) -> None:
        self.datagram_received(data, self._tcp.get_extra_info("peername"))

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        message = Message.parse(data)
        self.peer = addr
        if message.status:
            self.responses.append(message)
        else:
            self.requests.append(message)
            self._respond(message)
        self.came.set()

    def _respond(self, request: Message) -> None:
        method = request.start.split()[0]
        if method == "ACK":
            return
        planned = self.script.get(method)
        for status in (planned.pop(0) if planned else "200 OK").split("|"):
            self._answer(request, method, status)

    def _answer(self, request: Message, method: str, status: str) -> None:
        if not status:
            return
        echoed = [each for each in request.headers if each[0] in {"Via", "From", "Call-ID", "CSeq"}]
        to = request.first("to")
        headers = [*echoed, ("To", to if "tag=" in to else to + ";tag=srs")]
        headers.append(("Contact", f"<sip:rec@127.0.0.1:{self.port}>;+sip.srs"))
        if self.record_route:
            headers.append(("Record-Route", self.record_route))
        ok = method == "INVITE" and status.startswith("2")
        self.send(Message(f"SIP/2.0 {status}", headers, self._sdp() if ok else b""))

    def hang(self) -> None:
        """Drop the TCP connection."""
        self._tcp.abort()

    def _sdp(self) -> bytes:
        head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        ports = [each.getsockname()[1] for each in self.media]
        return (
            head
            + "".join(
                STREAM_SDP.format(port=port, direction=self.direction, label=label)
                for label, port in enumerate(ports, 1)
            )
        ).encode()

    def send(self, message: Message) -> None:
        self.last = message
        data = message.encode()
        if self.kind == "udp":
            self._udp.sendto(data, self.peer)
            return
        size = self.split or len(data)
        for at in range(0, len(data), size):
            self._tcp.write(data[at : at + size])

    async def wait_for(self, method: str, count: int = 1) -> None:
        """Until `count` requests of `method` came."""
        async with asyncio.timeout(5):
            while self.methods.count(method) < count:
                self.came.clear()
                await self.came.wait()

    async def wait_for_responses(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.responses) < count:
                self.came.clear()
                await self.came.wait()

    def heard(self, stream: int) -> list[bytes]:
        """Datagrams that arrived for a stream."""
        found = []
        while True:
            try:
                found.append(self.media[stream].recv(2048))
            except BlockingIOError:
                return found

    def request(self, method: str, call_id: str) -> Message:
        """A request of the recorder within the call."""
        host = f"127.0.0.1:{self.port}"
        headers = [
            ("Via", f"SIP/2.0/{self.kind.upper()} {host};branch=z9hG4bK{method}"),
            ("From", "<sip:rec@x>;tag=srs"),
            ("To", "<sip:src@x>;tag=a"),
            ("Call-ID", call_id),
            ("CSeq", f"1 {method}"),
        ]
        return Message(f"{method} sip:src@x SIP/2.0", headers)


def receiver_report(ssrc: int, lost: int) -> bytes:
    """RR with one block: half of the last packets lost, `lost` (signed) in all, jitter 16."""
    loss = 128 << 24 | lost & 0xFFFFFF
    return struct.pack(">BBHIIIIIII", 0x81, 201, 7, 99, ssrc, loss, 70_000, 16, 0, 0)
