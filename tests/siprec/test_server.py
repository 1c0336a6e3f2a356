"""SIP events into calls of the recorder, and refusals into statuses."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator

import pytest

from config.schema import Sip
from siprec.server import SipServer
from siprec.session import State
from tests.api.node import SDP, Node


class Client:
    """A UDP client of one dialog."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.tag = sock, ""

    async def ask(self, method: str, cseq: int, body: bytes = b"", extra: str = "") -> bytes:
        """Send one request; the final response."""
        self.send(method, cseq, body, extra)
        while (response := await self.receive()).startswith(b"SIP/2.0 1"):
            pass
        if match := re.search(rb"\r\nTo: [^\r]*;tag=(\w+)", response):
            self.tag = match[1].decode()
        return response

    def send(self, method: str, cseq: int, body: bytes = b"", extra: str = "") -> None:
        """Send one request."""
        tag = f";tag={self.tag}" if self.tag and method != "CANCEL" else ""
        branch = cseq if method == "CANCEL" else f"{method}{cseq}"
        kind = "application/sdp" if body.startswith(b"v=0") else "application/rs-metadata+xml"
        head = (
            f"{method} sip:rec@127.0.0.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK{branch}\r\n"
            f"From: <sip:s@h>;tag=s\r\nTo: <sip:r@h>{tag}\r\nCall-ID: c\r\n"
            f"CSeq: {cseq} {method}\r\n"
            f"Contact: <sip:s@127.0.0.1>;+sip.src\r\n{extra}"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.sock.send(head.encode() + body)

    async def receive(self) -> bytes:
        """The next response."""
        async with asyncio.timeout(5):
            return await asyncio.get_running_loop().sock_recv(self.sock, 65535)


@pytest.fixture
async def server(node: Node) -> AsyncIterator[SipServer]:
    """A SIP server on a free port, without delay."""
    config = Sip(listen=["udp://127.0.0.1:0"], answer_delay_ms=0)
    started = SipServer(config, node.services.recorder)
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
def client(server: SipServer) -> Client:
    """A client connected to it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    port = int(server.addresses[0].rpartition(":")[2])
    sock.connect(("127.0.0.1", port))
    return Client(sock)


async def test_a_whole_dialog(node: Node, server: SipServer, client: Client) -> None:
    recorder = node.services.recorder
    answer = await client.ask("INVITE", 1, SDP)
    assert answer.startswith(b"SIP/2.0 200") and b"+sip.srs" in answer
    client.send("ACK", 1)
    again = await client.ask("INVITE", 2, SDP)
    assert again.partition(b"\r\n\r\n")[2] == answer.partition(b"\r\n\r\n")[2]
    client.send("ACK", 2)
    assert (await client.ask("OPTIONS", 3)).startswith(b"SIP/2.0 200")
    assert len(recorder.sessions()) == 1
    assert (await client.ask("BYE", 4)).startswith(b"SIP/2.0 200")
    assert recorder.sessions() == []
    client.sock.close()


async def test_metadata_alone_gets_no_body_in_update_and_our_sdp_in_invite(
    server: SipServer, client: Client
) -> None:
    words = b'<recording xmlns="urn:ietf:params:xml:ns:recording:1"/>'
    first = await client.ask("INVITE", 1, SDP)
    client.send("ACK", 1)
    update = await client.ask("UPDATE", 2, words)
    assert update.startswith(b"SIP/2.0 200") and update.endswith(b"Content-Length: 0\r\n\r\n")
    assert b"+sip.srs" in update
    invite = await client.ask("INVITE", 3, words)
    assert invite.partition(b"\r\n\r\n")[2] == first.partition(b"\r\n\r\n")[2]
    client.send("ACK", 3)
    client.sock.close()


async def test_refusals_carry_their_headers(node: Node, server: SipServer, client: Client) -> None:
    node.services.recorder.accepting = False
    answer = await client.ask("INVITE", 1, SDP)
    assert answer.startswith(b"SIP/2.0 503") and b"\r\nRetry-After: 5\r\n" in answer
    client.send("ACK", 1)
    client.tag = ""
    options = await client.ask("OPTIONS", 2)
    assert options.startswith(b"SIP/2.0 503") and b"\r\nRetry-After: 5\r\n" in options
    client.sock.close()


async def test_a_refused_re_invite_leaves_the_call_alone(
    node: Node, server: SipServer, client: Client
) -> None:
    await client.ask("INVITE", 1, SDP)
    client.send("ACK", 1)
    answer = await client.ask("INVITE", 2, b"v=0\r\nm=audio 4000 RTP/AVP 97\r\n")
    assert answer[:11] in {b"SIP/2.0 488", b"SIP/2.0 400"}
    client.send("ACK", 2)
    assert node.services.recorder.sessions()[0].state is State.RECORDING
    client.sock.close()


async def test_our_own_fault_is_500_and_nothing_else_notices(
    node: Node, server: SipServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("bug")

    with monkeypatch.context() as patch:
        patch.setattr(node.services.recorder, "begin", broken)
        assert (await client.ask("INVITE", 1, SDP)).startswith(b"SIP/2.0 500")
        client.send("ACK", 1)
    client.tag = ""
    assert (await client.ask("OPTIONS", 2)).startswith(b"SIP/2.0 200")
    client.sock.close()


async def test_the_answer_waits_as_configured_and_cancel_overtakes_it(node: Node) -> None:
    config = Sip(listen=["udp://127.0.0.1:0"], answer_delay_ms=150)
    server = SipServer(config, node.services.recorder)
    await server.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", int(server.addresses[0].rpartition(":")[2])))
        client = Client(sock)
        client.send("INVITE", 1, SDP)
        assert (await client.receive()).startswith(b"SIP/2.0 100")
        assert len(node.services.recorder.sessions()) == 1
        cancel = (
            b"CANCEL sip:rec@127.0.0.1 SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKINVITE1\r\n"
            b"From: <sip:s@h>;tag=s\r\nTo: <sip:r@h>\r\nCall-ID: c\r\nCSeq: 1 CANCEL\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        sock.send(cancel)
        statuses = {(await client.receive())[8:11] for _ in range(2)}
        assert statuses == {b"200", b"487"}
        assert node.services.recorder.sessions() == []
    await server.stop()
    assert server.idle or not node.services.recorder.dialogs()
