"""Messages and client transactions against a recorder that can be told what to do."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import sip
from examples.sip import Agent, CallError, Message, hop
from tests.examples.fake import FakeRecorder


def options(agent: Agent, branch: str = "z9hG4bK1") -> Message:
    headers = [
        ("Via", f"SIP/2.0/{agent.kind.upper()} {agent.authority};branch={branch};rport"),
        ("From", "<sip:a@x>;tag=1"),
        ("To", "<sip:b@x>"),
        ("Call-ID", "c1"),
        ("CSeq", "1 OPTIONS"),
    ]
    return Message("OPTIONS sip:b@x SIP/2.0", headers)


def test_a_message_survives_the_wire() -> None:
    headers = [("via", "SIP/2.0/UDP h;branch=z9hG4bKq;rport"), ("call-id", "1"), ("cseq", "1 BYE")]
    read = Message.parse(Message("BYE sip:x SIP/2.0", headers, b"\r\n\r\nbody").encode())
    assert read.body == b"\r\n\r\nbody"
    assert read.start == "BYE sip:x SIP/2.0"
    assert read.branch == "z9hG4bKq"
    assert read.first("content-length") == "8"
    assert read.status == 0


def test_compact_and_folded_headers_are_read() -> None:
    read = Message.parse(b"SIP/2.0 180 Ringing\r\nv: a\r\n ;branch=b\r\ni:7\r\nCSEQ : 1 X\r\n\r\n")
    assert (read.first("via"), read.first("call-id"), read.first("cseq")) == (
        "a ;branch=b",
        "7",
        "1 X",
    )
    assert read.status == 180
    assert read.first("absent") == ""


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a SIP message"):
        Message.parse(data)


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("<sip:rec@192.0.2.1:5070;lr>", ("192.0.2.1", 5070)),
        ("sip:192.0.2.1", ("192.0.2.1", 5060)),
        ("<sip:rec@[2001:db8::1]:5061>", ("2001:db8::1", 5061)),
        ("sip:rec@recorder.example", None),
        ("nonsense", None),
    ],
)
def test_the_next_hop_is_an_ip_literal(uri: str, address: tuple[str, int] | None) -> None:
    assert hop(uri) == address


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_request_is_answered(transport: str) -> None:
    async with FakeRecorder(transport) as recorder, Agent(recorder.uri, transport) as agent:
        assert (await agent.request(options(agent))).status == 200
        assert agent.port != recorder.port


async def test_tcp_answers_arrive_in_pieces() -> None:
    async with FakeRecorder("tcp") as recorder, Agent(recorder.uri, "tcp") as agent:
        recorder.split = 7
        recorder.script["OPTIONS"] = ["100 Trying|200 OK"]
        assert (await agent.request(options(agent))).status == 200


async def test_lost_requests_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip, "T1_S", 0.01)
    script = {"OPTIONS": ["", "", "200 OK"]}
    async with FakeRecorder(script=script) as recorder, Agent(recorder.uri) as agent:
        assert (await agent.request(options(agent))).status == 200
        assert len({message.encode() for message in recorder.requests}) == 1
        assert recorder.methods == ["OPTIONS"] * 3


async def test_silence_fails_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip, "GIVE_UP_S", 0.05)
    script = {"OPTIONS": [""] * 9}
    async with FakeRecorder(script=script) as recorder, Agent(recorder.uri) as agent:
        with pytest.raises(CallError, match="no answer") as failure:
            await agent.request(options(agent))
    assert failure.value.status == 0


async def test_a_lost_connection_counts_as_503() -> None:
    script = {"OPTIONS": [""]}
    async with FakeRecorder("tcp", script) as recorder, Agent(recorder.uri, "tcp") as agent:
        request = asyncio.gather(agent.request(options(agent)))
        await recorder.wait_for("OPTIONS")
        recorder.hang()
        (response,) = await request
    assert response.status == 503


async def test_a_uri_is_wanted() -> None:
    with pytest.raises(ValueError, match="not a SIP URI"):
        async with Agent("127.0.0.1:5060"):
            pass


@pytest.mark.parametrize(
    ("method", "status"), [("OPTIONS", 200), ("BYE", 481), ("UPDATE", 481), ("INVITE", 481)]
)
async def test_requests_outside_a_call(method: str, status: int) -> None:
    async with FakeRecorder() as recorder, Agent(recorder.uri) as agent:
        await agent.request(options(agent))
        recorder.send(recorder.request(method, "unknown"))
        await recorder.wait_for_responses(1)
        (answer,) = recorder.responses
        assert answer.status == status
        assert answer.branch == f"z9hG4bK{method}"
