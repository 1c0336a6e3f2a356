"""Real sockets on the loopback interface; the endpoint behind them is the real one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from siprec import transport
from siprec.sip.endpoint import Endpoint
from siprec.sip.events import (
    AckReceived,
    ByeReceived,
    DialogEnded,
    Event,
    InviteReceived,
    OptionsReceived,
)
from siprec.sip.framing import PING, PONG, StreamFramer
from siprec.sip.message import Request, Response, parse
from siprec.transport import SipTransport
from tests.siprec.sip.compose import SDP, request, response_to

PATIENCE_S = 20


class User:
    """Takes events, answers every request 200, and keeps what happened."""

    def __init__(self, *listeners: str, body: bytes = b"", timeout_s: float = 10.0) -> None:
        self.endpoint = Endpoint()
        self.dialog_id = ""
        self.body = body
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.sip = SipTransport(self.endpoint, listeners, self.take, message_timeout_s=timeout_s)

    def take(self, event: Event) -> None:
        self.events.put_nowait(event)
        transaction = getattr(event, "transaction", None)
        if transaction:
            now = asyncio.get_running_loop().time()
            self.endpoint.respond(transaction, 200, now, body=self.body, content_type="x/y")
            self.sip.flush()

    def hang_up(self) -> None:
        self.endpoint.hang_up(self.dialog_id, asyncio.get_running_loop().time())
        self.sip.flush()

    async def next(self) -> Event:
        async with asyncio.timeout(PATIENCE_S):
            return await self.events.get()

    def address(self, index: int = 0) -> tuple[str, int]:
        parts = urlsplit(self.sip.addresses[index])
        assert parts.hostname and parts.port
        return parts.hostname, parts.port


class UdpPeer(asyncio.DatagramProtocol):
    """A client with its own port."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait((data, addr))

    async def next(self) -> tuple[Response | Request, tuple[str, int]]:
        async with asyncio.timeout(PATIENCE_S):
            data, source = await self.received.get()
        return parse(data), source


@asynccontextmanager
async def udp_peer() -> AsyncIterator[UdpPeer]:
    loop = asyncio.get_running_loop()
    socket_transport, peer = await loop.create_datagram_endpoint(
        UdpPeer, local_addr=("127.0.0.1", 0)
    )
    try:
        yield peer
    finally:
        socket_transport.close()


class TcpPeer:
    """A client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.framer = StreamFramer()

    async def next(self) -> Response | Request:
        async with asyncio.timeout(PATIENCE_S):
            while (message := self.framer.next_message()) is None:
                data = await self.reader.read(65_536)
                assert data, "connection closed"
                self.framer.receive(data)
        return parse(message)

    async def end(self) -> bytes:
        """What comes until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def tcp_peer(user: User) -> AsyncIterator[TcpPeer]:
    peer = TcpPeer(*await asyncio.open_connection(*user.address()))
    try:
        yield peer
    finally:
        peer.writer.close()


@asynccontextmanager
async def tcp_call(user: User) -> AsyncIterator[TcpPeer]:
    """A connection with a call on it."""
    async with user.sip, tcp_peer(user) as peer:
        peer.writer.write(request("INVITE", body=SDP))
        await peer.next()
        invite = await user.next()
        assert isinstance(invite, InviteReceived)
        user.dialog_id = invite.dialog_id
        peer.writer.write(request("ACK", to_tag=invite.dialog_id))
        assert isinstance(await user.next(), AckReceived)
        yield peer


def statuses(messages: list[Response | Request]) -> list[int]:
    return [message.status for message in messages if isinstance(message, Response)]


UDP = "udp://127.0.0.1:0"
TCP = "tcp://127.0.0.1:0"


async def test_a_call_over_udp() -> None:
    user = User(UDP)
    async with user.sip, udp_peer() as peer:
        peer.transport.sendto(request("INVITE", body=SDP), user.address())
        ok, source = await peer.next()
        assert source == user.address()
        assert ok.contact and ok.contact.uri == "sip:srs@{}:{}".format(*source)
        invite = await user.next()
        assert isinstance(invite, InviteReceived)
        assert invite.flow.local == user.address()
        assert invite.flow.remote == peer.transport.get_extra_info("sockname")
        peer.transport.sendto(request("ACK", to_tag=invite.dialog_id), user.address())
        assert isinstance(await user.next(), AckReceived)
        peer.transport.sendto(request("BYE", 2, to_tag=invite.dialog_id), user.address())
        assert isinstance(await user.next(), ByeReceived)
        bye, _ = await peer.next()
        assert bye.cseq.method == "BYE"


async def test_an_invite_of_nine_kilobytes_over_udp() -> None:
    user = User(UDP)
    body = SDP + b"a=x-filler:" + b"y" * 9_000
    async with user.sip, udp_peer() as peer:
        peer.transport.sendto(request("INVITE", body=body), user.address())
        invite = await user.next()
        assert isinstance(invite, InviteReceived)
        assert invite.request.body == body
        assert statuses([(await peer.next())[0]]) == [200]


async def test_the_largest_datagram_is_taken_whole() -> None:
    user = User(UDP)
    data = request("OPTIONS", body=b"x" * 65_000)
    async with user.sip, udp_peer() as peer:
        peer.transport.sendto(data, user.address())
        options = await user.next()
        assert isinstance(options, OptionsReceived)
        assert options.request.body == b"x" * 65_000


async def test_a_2xx_is_sent_again_by_the_clock() -> None:
    user = User(UDP)
    async with user.sip, udp_peer() as peer:
        peer.transport.sendto(request("INVITE", body=SDP), user.address())
        first, again = await peer.next(), await peer.next()
        assert first == again


async def test_a_wildcard_listener_answers_with_an_address_that_can_be_reached() -> None:
    user = User("udp://0.0.0.0:0")
    async with user.sip, udp_peer() as peer:
        port = user.address()[1]
        for cseq in (1, 2):
            peer.transport.sendto(request("OPTIONS", cseq), ("127.0.0.1", port))
            options = await user.next()
            assert isinstance(options, OptionsReceived)
            assert options.flow.local == ("127.0.0.1", port)
            _, source = await peer.next()
            assert source == ("127.0.0.1", port)


async def test_ip_6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        user = User("udp://[::1]:0", "tcp://[::1]:0")
        await user.sip.start()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    assert all("://[::1]:" in address for address in user.sip.addresses)
    await user.sip.stop()


async def test_a_response_that_is_too_big_for_udp_does_no_harm() -> None:
    user = User(UDP, body=b"x" * 70_000)
    with capture_logs() as logs:
        async with user.sip, udp_peer() as peer:
            peer.transport.sendto(request("OPTIONS"), user.address())
            await user.next()
            user.body = b""
            peer.transport.sendto(request("OPTIONS", 2), user.address())
            assert statuses([(await peer.next())[0]]) == [200]
    assert [log["cause"] for log in logs] == ["Datagram not delivered"]


# Streams


async def test_byte_by_byte() -> None:
    user = User(TCP)
    async with user.sip, tcp_peer(user) as peer:
        for value in request("INVITE", body=SDP):
            peer.writer.write(bytes([value]))
            await peer.writer.drain()
        ok = await peer.next()
        assert ok.contact and ok.contact.uri.endswith(";transport=tcp")
        invite = await user.next()
        assert isinstance(invite, InviteReceived)
        assert invite.request.body == SDP


async def test_three_messages_in_one_write_with_a_keep_alive_between() -> None:
    user = User(TCP)
    messages = [request("OPTIONS", cseq, body=b"\r\n\r\n") for cseq in (1, 2, 3)]
    async with user.sip, tcp_peer(user) as peer:
        peer.writer.write(messages[0] + PING + b"\r\n".join(messages[1:]))
        answers = [await peer.next() for _ in range(3)]
        assert [answer.cseq.number for answer in answers] == [1, 2, 3]
        assert user.events.qsize() == 3


async def test_a_thousand_messages_in_one_write() -> None:
    user = User(TCP)
    async with user.sip, tcp_peer(user) as peer:
        peer.writer.write(b"".join(request("OPTIONS", cseq) for cseq in range(1000)))
        answers = [await peer.next() for _ in range(1000)]
        assert [answer.cseq.number for answer in answers] == list(range(1000))


async def test_a_ping_gets_its_pong() -> None:
    user = User(TCP)
    async with user.sip, tcp_peer(user) as peer:
        peer.writer.write(PING * 2)
        async with asyncio.timeout(PATIENCE_S):
            assert await peer.reader.readexactly(4) == PONG * 2


async def test_a_stream_that_cannot_be_framed_is_closed_after_the_answer_before() -> None:
    user = User(TCP)
    with capture_logs() as logs:
        async with user.sip, tcp_peer(user) as peer:
            peer.writer.write(
                request("OPTIONS") + b"GET / HTTP/1.1\r\n\r\n" + request("OPTIONS", 2)
            )
            assert (await peer.end()).startswith(b"SIP/2.0 200 OK\r\n")
            assert user.events.qsize() == 1
    assert [log["cause"] for log in logs] == ["Missing Content-Length"]


@pytest.mark.parametrize("start", [b"", b"OPTIONS sip:a SIP/2.0\r\nl: 0\r\n", PING + b"O"])
async def test_an_unfinished_message_closes_the_connection(start: bytes) -> None:
    user = User(TCP, timeout_s=0.05)
    async with user.sip, tcp_peer(user) as peer:
        peer.writer.write(start)
        assert await peer.end() in (b"", PONG)


async def test_a_connection_that_has_spoken_may_be_silent() -> None:
    user = User(TCP, timeout_s=0.05)
    async with user.sip, tcp_peer(user) as peer:
        peer.writer.write(request("OPTIONS") + b"\r\n")
        await peer.next()
        async with tcp_peer(user) as silent:
            await silent.end()
        peer.writer.write(request("OPTIONS", 2))
        assert statuses([await peer.next()]) == [200]


async def test_connections_of_one_address_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECTIONS_PER_PEER_MAX", 2)
    user = User(TCP)
    with capture_logs() as logs:
        async with user.sip, tcp_peer(user) as first, tcp_peer(user) as second:
            for peer in (first, second):
                peer.writer.write(request("OPTIONS"))
                await peer.next()
            async with tcp_peer(user) as third:
                assert await third.end() == b""
            first.writer.write(b"garbage\r\n\r\n")
            await first.end()
            async with tcp_peer(user) as third:
                third.writer.write(request("OPTIONS", 3))
                assert statuses([await third.next()]) == [200]
    assert logs[0]["cause"] == "Too many connections"


async def test_all_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECTIONS_MAX", 0)
    user = User(TCP)
    async with user.sip, tcp_peer(user) as peer:
        assert await peer.end() == b""


async def test_a_peer_that_does_not_read_is_cut_off() -> None:
    user = User(TCP, body=b"x" * 60_000)
    with capture_logs() as logs:
        async with user.sip, tcp_peer(user) as peer:
            with pytest.raises(ConnectionError):
                for cseq in range(100_000):
                    peer.writer.write(request("OPTIONS", cseq))
                    await peer.writer.drain()
    assert logs[0]["cause"] == "Peer does not read"


async def test_a_lost_connection_is_known_to_the_endpoint() -> None:
    user = User(TCP)
    async with tcp_call(user) as peer:
        user.hang_up()
        await peer.next()
        peer.writer.close()
        assert await user.next() == DialogEnded(user.dialog_id, "hung_up")


async def test_our_bye_is_answered_on_the_connection() -> None:
    user = User(TCP)
    async with tcp_call(user) as peer:
        user.hang_up()
        bye = await peer.next()
        assert isinstance(bye, Request)
        assert bye.method == "BYE"
        peer.writer.write(response_to(bytes(bye), 200))
        assert await user.next() == DialogEnded(user.dialog_id, "hung_up")
        assert user.endpoint.is_idle


# Listeners, events, log


async def test_addresses_and_a_second_start_on_the_same_port() -> None:
    user = User(TCP, UDP)
    async with user.sip:
        kinds = [urlsplit(address).scheme for address in user.sip.addresses]
        assert kinds == ["tcp", "udp"]
        port = user.address()[1]
        other = User(UDP, f"tcp://127.0.0.1:{port}")
        with pytest.raises(OSError, match="in use"):
            await other.sip.start()
        free = urlsplit(other.sip.addresses[0]).port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            await asyncio.sleep(0)
            again.bind(("127.0.0.1", free))
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize(
    "url", ["tls://127.0.0.1:5061", "127.0.0.1:5060", "udp://127.0.0.1", "udp://:5060"]
)
def test_not_a_listener(url: str) -> None:
    with pytest.raises(ValueError, match="not a SIP listener"):
        SipTransport(Endpoint(), [url], print)


async def test_nothing_happens_after_the_stop() -> None:
    user = User(TCP)
    async with tcp_call(user) as peer:
        await user.sip.stop()
        assert await peer.end() == b""
        assert user.endpoint.next_timer() is not None
        user.sip.flush()
        assert user.sip._timer is None


async def test_garbage_is_logged_once_per_cause_and_second() -> None:
    user = User(UDP)
    with capture_logs() as logs:
        async with user.sip, udp_peer() as peer:
            for data in (b"hello", b"hello", b"\x16\x03", b"hello", request("OPTIONS")):
                peer.transport.sendto(data, user.address())
            await peer.next()
    assert [(log["event"], log["cause"]) for log in logs] == [
        ("sip_refused", "Malformed Request-Line"),
        ("sip_refused", "Control character in header"),
    ]
    assert user.events.qsize() == 1


async def test_the_next_line_tells_how_many_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    user = User()
    with capture_logs() as logs:
        for _ in range(4):
            user.sip.log_refusal("cause", ("192.0.2.1", 5060))
        monkeypatch.setattr(transport, "LOG_INTERVAL_S", 0.0)
        user.sip.log_refusal("cause", ("192.0.2.2", 5060))
    assert [(log["remote"], log["suppressed"]) for log in logs] == [
        ("192.0.2.1:5060", 0),
        ("192.0.2.2:5060", 3),
    ]


async def test_a_user_that_fails_does_not_keep_answers_back() -> None:
    user = User(UDP)

    def fail(event: Event) -> None:
        user.take(event)
        raise RuntimeError("user")

    failing = user.sip = SipTransport(user.endpoint, [UDP], fail)
    failures: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    async with failing, udp_peer() as peer:
        parts = urlsplit(failing.addresses[0])
        peer.transport.sendto(request("OPTIONS"), (parts.hostname, parts.port))
        assert statuses([(await peer.next())[0]]) == [200]
    assert [str(failure) for failure in failures] == ["user"]
