"""Odd and repeated signalling, byte by byte, over real sockets."""

import asyncio
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.srs import Srs

pytestmark = pytest.mark.asyncio(loop_scope="module")

SDP = (
    "v=0\r\no=sbc 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n"
    "a=label:caller\r\n"
    "m=audio 40002 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n"
    "a=label:callee\r\n"
)


def message(
    method: str,
    call_id: str,
    *,
    cseq: int = 1,
    to_tag: str = "",
    transport: str = "UDP",
    body: str = "",
    headers: str = "",
    branch: str = "",
) -> bytes:
    """A request of a client that knows little."""
    tag = f";tag={to_tag}" if to_tag else ""
    branch = branch or f"z9hG4bK{uuid.uuid4().hex}"
    kind = "Content-Type: application/sdp\r\n" if body and "Content-Type" not in headers else ""
    return (
        f"{method} sip:recorder@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} 192.0.2.1:5060;branch={branch};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:sbc@192.0.2.1>;tag=abc\r\nTo: <sip:rec@127.0.0.1>{tag}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
        f"Contact: <sip:sbc@127.0.0.1:5060>;+sip.src\r\n"
        f"{headers}{kind}Content-Length: {len(body.encode())}\r\n\r\n{body}"
    ).encode()


def address(uri: str) -> tuple[str, int]:
    """Host and port of `sip:user@host:port`."""
    host, port = uri.split("@")[1].split(":")
    return host, int(port)


class Peer:
    """A UDP socket that collects responses."""

    def __init__(self, sock: socket.socket, remote: tuple[str, int]) -> None:
        self.sock, self.remote = sock, remote

    async def send(self, data: bytes) -> None:
        """Send one datagram."""
        await asyncio.get_running_loop().sock_sendto(self.sock, data, self.remote)

    async def final(self) -> bytes:
        """The next response that is not provisional."""
        async with asyncio.timeout(5):
            while True:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 65535)
                if not data.startswith(b"SIP/2.0 1"):
                    return data

    async def silence(self) -> None:
        """No response for as long as three would take."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.get_running_loop().sock_recv(self.sock, 65535)


@contextmanager
def peer(srs: Srs) -> Iterator[Peer]:
    """A client on UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        yield Peer(sock, address(srs.udp))


def tag(response: bytes) -> str:
    """The To tag we were given."""
    match = re.search(rb"\r\nTo: [^\r]*;tag=([^\r;]+)", response)
    assert match, response
    return match[1].decode()


async def hang_up(client: Peer, call_id: str, to_tag: str, cseq: int = 9) -> None:
    """BYE that must be answered."""
    await client.send(message("BYE", call_id, cseq=cseq, to_tag=to_tag))
    assert (await client.final()).startswith(b"SIP/2.0 200")


async def test_invite_eleven_times_is_one_recording_and_one_answer(srs: Srs) -> None:
    with peer(srs) as client:
        invite = message("INVITE", "eleven", body=SDP)
        for _ in range(11):
            await client.send(invite)
        answers = [await client.final()]
        await client.send(invite)
        answers.append(await client.final())
        assert answers[0] == answers[1] and answers[0].startswith(b"SIP/2.0 200")
        to_tag = tag(answers[0])
        await client.send(message("ACK", "eleven", to_tag=to_tag))
        sessions = (await srs.get("sessions"))["items"]
        assert [s["call_id"] for s in sessions].count("eleven") == 1
        while True:
            try:
                async with asyncio.timeout(0.2):
                    assert await client.final() == answers[0]
            except TimeoutError:
                break
        bye = message("BYE", "eleven", cseq=2, to_tag=to_tag)
        for _ in range(11):
            await client.send(bye)
        endings = {await client.final() for _ in range(11)}
        assert len(endings) == 1 and endings.pop().startswith(b"SIP/2.0 200")
    recording = await srs.recording("eleven")
    assert (recording["status"], recording["reason"]) == ("failed", "no_media")


async def test_nine_kilobytes_over_udp(srs: Srs) -> None:
    padding = "".join(f"X-Padding-{n}: {'p' * 80}\r\n" for n in range(90))
    with peer(srs) as client:
        request = message("INVITE", "large", body=SDP, headers=padding)
        assert len(request) > 9000
        await client.send(request)
        answer = await client.final()
        assert answer.startswith(b"SIP/2.0 200")
        await client.send(message("ACK", "large", to_tag=tag(answer)))
        await hang_up(client, "large", tag(answer))


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """The next message of a stream."""
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length
        return head + await reader.readexactly(int(length[1]))


async def test_tcp_byte_by_byte_and_three_messages_in_one_write(srs: Srs) -> None:
    reader, writer = await asyncio.open_connection(*address(srs.tcp))
    for octet in message("INVITE", "drops", transport="TCP", body=SDP):
        writer.write(bytes([octet]))
        await writer.drain()
    answer = await read_message(reader)
    while answer.startswith(b"SIP/2.0 100"):
        answer = await read_message(reader)
    to_tag = tag(answer)
    writer.write(
        message("ACK", "drops", transport="TCP", to_tag=to_tag)
        + message("OPTIONS", "probe", transport="TCP")
        + message("BYE", "drops", cseq=2, transport="TCP", to_tag=to_tag)
    )
    answers = [await read_message(reader) for _ in range(2)]
    assert all(each.startswith(b"SIP/2.0 200") for each in answers)
    assert b"OPTIONS" in answers[0] and b"BYE" in answers[1]
    writer.close()
    await writer.wait_closed()
    assert (await srs.recording("drops"))["status"] == "failed"


async def test_what_is_no_recording_session_gets_403_and_leaves_nothing(srs: Srs) -> None:
    with peer(srs) as client:
        plain = message("INVITE", "plain", body=SDP).replace(b";+sip.src", b"")
        await client.send(plain)
        assert (await client.final()).startswith(b"SIP/2.0 403")
    assert all(s["call_id"] != "plain" for s in (await srs.get("sessions"))["items"])


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("unknown method", message("DANCE", "bad-1"), 501),
        ("known, not served", message("REGISTER", "bad-2"), 405),
        ("unknown dialog", message("BYE", "bad-3", to_tag="nobody"), 481),
        ("unknown extension", message("INVITE", "bad-4", headers="Require: siprec, foo\r\n"), 420),
        (
            "unreadable body",
            message("INVITE", "bad-5", body="x", headers="Content-Type: text/html\r\n"),
            415,
        ),
        ("unreadable SDP", message("INVITE", "bad-6", body="v=0\r\nm=\x01\r\n"), 400),
        ("no common codec", message("INVITE", "bad-7", body=SDP.replace("0 8 101", "96")), 488),
        ("no body", message("INVITE", "bad-8"), 488),
    ],
)
async def test_each_fault_has_its_status(srs: Srs, name: str, data: bytes, status: int) -> None:
    with peer(srs) as client:
        await client.send(data)
        answer = await client.final()
        assert answer.startswith(f"SIP/2.0 {status}".encode()), (name, answer)
    assert not any(s["call_id"].startswith("bad-") for s in (await srs.get("sessions"))["items"])


async def test_broken_metadata_is_recorded_and_flagged(srs: Srs) -> None:
    body = (
        f"--x\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n"
        "--x\r\nContent-Type: application/rs-metadata+xml\r\n\r\n<recording><oops\r\n--x--\r\n"
    )
    with peer(srs) as client:
        headers = "Content-Type: multipart/mixed;boundary=x\r\n"
        await client.send(message("INVITE", "broken", body=body, headers=headers))
        answer = await client.final()
        assert answer.startswith(b"SIP/2.0 200") and b"application/sdp" in answer
        await client.send(message("ACK", "broken", to_tag=tag(answer)))
        session = await srs.session("broken")
        assert session["warnings"] == ["metadata_malformed"] or any(
            code.startswith("metadata_") for code in session["warnings"]
        )
        await hang_up(client, "broken", tag(answer))
    assert any(code.startswith("metadata_") for code in (await srs.recording("broken"))["warnings"])
