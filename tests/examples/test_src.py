"""A recording client from INVITE to BYE, against a recorder that can be told what to do."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from examples.rtp import Packet
from examples.sip import Agent, CallError, Message
from examples.src import RecordingClient, parse_answer, parse_arguments, run
from tests.examples.fake import FakeRecorder, receiver_report

FRAMES = [[bytes([64 * stream + i]) * 160 for i in range(3)] for stream in range(2)]


@asynccontextmanager
async def calling(recorder: FakeRecorder, **options: object) -> AsyncIterator[RecordingClient]:
    metadata = bool(options.get("metadata", True))
    async with (
        Agent(recorder.uri, recorder.kind) as agent,
        RecordingClient(agent, FRAMES, seed=1, metadata=metadata) as call,
    ):
        yield call


def parts(request: Message) -> list[tuple[Any, ...]]:
    head = f"Content-Type: {request.first('content-type')}\r\n\r\n".encode()
    _, *found = message_from_bytes(head + request.body).walk()
    return [
        (part.get_content_type(), part["content-disposition"], part.get_payload(decode=True))
        for part in found
    ]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_whole_call(transport: str) -> None:
    async with FakeRecorder(transport) as recorder, calling(recorder) as call:
        answer = await call.invite()
        sent = await call.play()
        await call.bye()
        assert recorder.methods == ["INVITE", "ACK", "BYE"]
        for stream in range(2):
            datagrams = [packet.encode() for packet in sent if packet.stream == stream]
            assert recorder.heard(stream) == datagrams
            assert [data[12:] for data in datagrams] == FRAMES[stream]
    assert answer.status == "200 OK"
    assert [line.label for line in answer.media] == ["1", "2"]


async def test_the_invite_is_a_recording_session() -> None:
    async with FakeRecorder() as recorder, calling(recorder) as call:
        await call.invite()
        (sdp_type, _, sdp), (metadata_type, disposition, metadata) = parts(recorder.requests[0])
    invite = recorder.requests[0]
    assert invite.first("require") == "siprec"
    assert invite.first("contact").endswith(">;+sip.src")
    assert (sdp_type, metadata_type) == ("application/sdp", "application/rs-metadata+xml")
    assert disposition == "recording-session"
    assert b"<label>2</label>" in metadata
    lines = sdp.decode().split("\r\n")
    assert lines.count("a=sendonly") == 2
    assert [line for line in lines if "label" in line] == ["a=label:1", "a=label:2"]


async def test_media_comes_from_the_ports_advertised() -> None:
    async with FakeRecorder() as recorder, calling(recorder) as call:
        await call.invite()
        offered = [line.split()[1] for line in call.offer().decode().split("\r\n") if "m=" in line]
        await call.play(0.02)
        assert [str(each.recvfrom(2048)[1][1]) for each in recorder.media] == offered


async def test_without_metadata_the_body_is_sdp() -> None:
    async with FakeRecorder() as recorder, calling(recorder, metadata=False) as call:
        await call.invite()
    assert recorder.requests[0].first("content-type") == "application/sdp"
    assert recorder.requests[0].body.startswith(b"v=0\r\n")


async def test_a_refusal_is_acknowledged_and_raised() -> None:
    script = {"INVITE": ["100 Trying|403 Forbidden"]}
    async with FakeRecorder(script=script) as recorder, calling(recorder) as call:
        with pytest.raises(CallError, match="403 Forbidden") as failure:
            await call.invite()
        await recorder.wait_for("ACK")
        invite, ack = recorder.requests
    assert failure.value.status == 403
    assert ack.branch == invite.branch
    assert ack.first("to").endswith(";tag=srs")
    assert ack.first("cseq") == "1 ACK"


async def test_every_retransmitted_200_is_acknowledged() -> None:
    async with FakeRecorder() as recorder, calling(recorder) as call:
        await call.invite()
        for count in range(1, 4):
            await recorder.wait_for("ACK", count)
            recorder.send(recorder.last)
        await recorder.wait_for("ACK", 4)
        invite, *acks = recorder.requests
    assert len({ack.encode() for ack in acks}) == 1
    assert acks[0].branch != invite.branch
    assert acks[0].start.startswith(f"ACK sip:rec@127.0.0.1:{recorder.port} ")


async def test_later_requests_follow_the_route() -> None:
    async with FakeRecorder() as recorder, calling(recorder) as call:
        recorder.record_route = f"<sip:127.0.0.1:{recorder.port};lr>"
        await call.invite()
        await call.bye()
    assert recorder.requests[-1].every("route") == [recorder.record_route]
    assert recorder.requests[-1].first("cseq") == "2 BYE"
    assert not recorder.requests[0].every("route")


async def test_hold_stops_the_packets_and_time_passes() -> None:
    async with FakeRecorder() as recorder, calling(recorder) as call:
        await call.invite()
        before = await call.play(0.02)
        recorder.direction = "inactive"
        for stream in call.streams:
            stream.direction = "inactive"
        answer = await call.reinvite()
        held = await call.play(0.04)
        recorder.direction = "recvonly"
        await call.reinvite()
        after = await call.play(0.02)
    assert {line.direction for line in answer.media} == {"inactive"}
    assert held == []
    steps = {(b.timestamp - a.timestamp) % 2**32 for a, b in zip(before, after, strict=True)}
    assert steps == {3 * 160}
    assert b"a=inactive" in recorder.requests[2].body
    versions = [request.body.split(b"\r\no=- ")[1].split()[1] for request in recorder.requests[::2]]
    assert versions == [b"1", b"2", b"3"]


async def test_update_carries_metadata_only() -> None:
    async with FakeRecorder() as recorder, calling(recorder) as call:
        await call.invite()
        await call.update()
        await call.update(b"<recording/>")
        await recorder.wait_for("UPDATE", 2)
    first, second = recorder.requests[-2:]
    assert first.first("content-type") == "application/rs-metadata+xml"
    assert first.body == call.metadata() or b"<datamode>complete" in first.body
    assert second.body == b"<recording/>"


async def test_packets_can_be_lost_moved_and_doubled() -> None:
    def impair(packets: list[Packet]) -> list[Packet]:
        return [packets[4], packets[0], packets[0]]

    async with FakeRecorder() as recorder, calling(recorder) as call:
        call.streams[0].sequence_number = 65_535
        await call.invite()
        sent = await call.play(impair=impair)
        assert [data[2:4] for data in recorder.heard(0)] == [b"\0\1", b"\xff\xff", b"\xff\xff"]
        assert recorder.heard(1) == []
    assert len(sent) == 3


async def test_the_recorder_may_hang_up() -> None:
    async with FakeRecorder() as recorder, calling(recorder) as call:
        await call.invite()
        recorder.send(recorder.request("BYE", call.call_id))
        await call.ended.wait()
        assert await call.play() == []
        await call.bye()
        await recorder.wait_for_responses(1)
    assert recorder.responses[0].status == 200
    assert "BYE" not in recorder.methods


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("UPDATE", 200), ("INFO", 501)])
async def test_requests_of_the_recorder(method: str, status: int) -> None:
    async with FakeRecorder() as recorder, calling(recorder) as call:
        await call.invite()
        recorder.send(recorder.request(method, call.call_id))
        await recorder.wait_for_responses(1)
    (answer,) = recorder.responses
    assert answer.status == status
    assert bool(answer.first("contact")) == (method == "UPDATE")


async def test_receiver_reports_are_kept() -> None:
    async with FakeRecorder() as recorder, calling(recorder) as call:
        await call.invite()
        stream = call.streams[1]
        recorder.media[0].sendto(receiver_report(stream.ssrc, 3), ("127.0.0.1", stream.port + 1))
        while not stream.reports:
            await call.play(0.02)
    assert [report.lost for report in stream.reports] == [3]


def test_an_answer_is_read_with_session_defaults() -> None:
    sdp = (
        "v=0\nc=IN IP4 192.0.2.1\na=recvonly\nm=audio 10/2 RTP/AVP 0 101\nc=IN IP4 192.0.2.2\n"
        "a=label:x\nm=video 0 RTP/AVP 96\na=inactive\n"
    )
    first, second = parse_answer(sdp)
    assert (first.host, first.port, first.label) == ("192.0.2.2", 10, "x")
    assert (first.formats, first.direction) == (("0", "101"), "recvonly")
    assert (second.host, second.port, second.direction) == ("192.0.2.1", 0, "inactive")


def command(recorder: FakeRecorder, *more: str) -> argparse.Namespace:
    return parse_arguments([recorder.uri, "--seconds", "0.04", "--rate", "100", *more])


async def test_the_program_tells_what_was_answered(capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeRecorder() as recorder:
        assert await run(command(recorder, "--codec", "PCMA", "--calls", "2")) == 0
        assert b"a=rtpmap:8 PCMA/8000" in recorder.requests[0].body
        port = recorder.media[1].getsockname()[1]
    shown = capsys.readouterr().out
    assert "call 0: 200 OK after" in shown
    assert "call 1: ended" in shown
    assert f"m-line 1: 127.0.0.1:{port} formats 0 recvonly" in shown
    assert "stream 2: 2 packets sent, no receiver report" in shown


async def test_one_failed_call_fails_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    script = {"INVITE": ["200 OK", "503 Service Unavailable"]}
    async with FakeRecorder(script=script) as recorder:
        assert await run(command(recorder, "--calls", "2", "--loss", "100")) == 1
        assert recorder.heard(0) == []
    assert "failed: 503 Service Unavailable" in capsys.readouterr().out


async def test_it_runs_as_a_plain_file() -> None:
    script = Path(__file__).parents[2] / "examples" / "src.py"
    async with FakeRecorder() as recorder:
        arguments = (str(script), recorder.uri, "--seconds", "0.02")
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=-3)
        assert await process.wait() == 0
        assert recorder.methods == ["INVITE", "ACK", "BYE"]


async def test_unusable_audio_is_told_before_calling(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"no")
    async with FakeRecorder() as recorder:
        with pytest.raises(ValueError, match="not a WAV file"):
            await run(command(recorder, "--audio", str(tmp_path / "x.wav")))
        assert recorder.requests == []


async def test_the_command_line_says_who_speaks_and_what_else_the_invite_has() -> None:
    async with FakeRecorder() as recorder:
        words = ["--seconds", "0.1", "--parties", "sip:8675309@a.example", "sip:1234@b.example"]
        words += ["--header", "X-ISR-UCID: dferi8dsmrt0gdk", "--header", "Subject:a: b"]
        assert await run(parse_arguments([recorder.uri, *words])) == 0
        invite = recorder.requests[0]
    assert invite.first("x-isr-ucid") == "dferi8dsmrt0gdk"
    assert invite.first("subject") == "a: b"
    assert b'aor="sip:8675309@a.example"' in invite.body and b"ann@example.com" not in invite.body


def test_a_header_without_a_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("X-ISR-UCID", ": 1"):
        with pytest.raises(SystemExit):
            parse_arguments(["sip:a@127.0.0.1", "--header", text])
        assert "expected NAME: VALUE" in capsys.readouterr().err
