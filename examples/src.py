"""A session recording client (RFC 7866): calls a recorder and plays speech into it, in real time.

    python examples/src.py sip:recorder@127.0.0.1:5060 --transport tcp --codec PCMA --loss 5

Needs numpy and the standard library only, and uses nothing of the recorder. `RecordingClient` is
one recording session; for a program of your own:

    async with Agent("sip:recorder@127.0.0.1:5060") as agent, RecordingClient(agent) as call:
        await call.invite()
        await call.play(seconds=5)
        await call.bye()
"""

import argparse
import asyncio
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

if not __package__:  # started as a file, not with -m
    sys.path.insert(0, str(Path(__file__).parents[1]))

from examples.metadata import complete
from examples.rtp import FRAME_S, PAYLOAD_TYPES, Impairment, Packet, Stream, frames_of, lose
from examples.sip import URI, Agent, CallError, Message, hop

REPORT_S = 5.0
"""Time between two sender reports (RFC 3550 6.2)."""
AUDIO = tuple(Path(__file__).parent / "audio" / name for name in ("caller.wav", "callee.wav"))
PARTIES = (("sip:ann@example.com", "Ann Caller"), ("sip:ben@example.com", "Ben Agent"))


@dataclass(frozen=True, slots=True)
class MediaAnswer:
    """One m-line of the recorder's SDP answer."""

    host: str
    port: int
    """0: refused."""
    formats: tuple[str, ...]
    direction: str
    label: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the recorder answered to an offer."""

    status: str
    contact: str
    media: tuple[MediaAnswer, ...]


def parse_answer(sdp: str) -> Iterator[MediaAnswer]:
    """The m-lines of an SDP answer (RFC 8866)."""
    session, *sections = re.split(r"^(?=m=)", sdp.replace("\r\n", "\n"), flags=re.M)

    def value(section: str, pattern: str, default: str = "") -> str:
        match = re.search(pattern, section, re.M) or re.search(pattern, session, re.M)
        return match[1] if match else default

    for section in sections:
        _, port, _, *formats = section.partition("\n")[0].split()
        yield MediaAnswer(
            value(section, r"^c=IN IP[46] (\S+)"),
            int(port.partition("/")[0]),
            tuple(formats),
            value(section, r"^a=(sendrecv|sendonly|recvonly|inactive)$", "sendrecv"),
            value(section, r"^a=label:(\S+)"),
        )


class RecordingClient:
    """One recording session: `invite`, `play`, `reinvite`, `update`, `bye`, in `async with`."""

    def __init__(
        self,
        agent: Agent,
        frames: Sequence[Sequence[bytes]] | None = None,
        *,
        codec: str = "PCMU",
        metadata: bool = True,
        parties: Sequence[tuple[str, str]] = PARTIES,
        headers: Sequence[tuple[str, str]] = (),
        seed: int | None = None,
    ) -> None:
        """`frames`: payloads of each stream, None for the shipped speech (`frames_of`);
        `parties`: address and name of who sends each; `headers`: further ones of the INVITE;
        `seed`: repeats ids and RTP start values."""
        rng = random.Random(seed)
        self._agent = agent
        self._codec = codec
        self._with_metadata = metadata
        self._parties = parties
        self._headers = headers
        self._rng = rng
        self.call_id = f"{rng.getrandbits(64):016x}@{agent.host}"
        self.contact = f"<sip:src@{agent.authority};transport={agent.kind}>;+sip.src"
        self.ended = asyncio.Event()
        """Set when the recorder hung up."""
        self.streams = [
            Stream(
                str(number),
                each,
                PAYLOAD_TYPES[codec],
                rng.getrandbits(32),
                rng.getrandbits(16),
                rng.getrandbits(32),
            )
            for number, each in enumerate(frames or frames_of(AUDIO, codec), 1)
        ]
        self._from = f"<sip:src@{agent.authority}>;tag={rng.getrandbits(32):08x}"
        self._to, self._target = f"<{agent.uri}>", agent.uri
        self._route: list[str] = []
        self._cseq = self._version = 0
        self._origin = rng.getrandbits(32)

    async def __aenter__(self) -> Self:
        self._agent.calls[self.call_id] = self
        return self

    async def __aexit__(self, *_: object) -> None:
        del self._agent.calls[self.call_id]
        for stream in self.streams:
            stream.close()

    async def invite(self) -> Answer:
        """Offer the streams as they now are, with complete metadata. Raises CallError."""
        for stream in self.streams:
            stream.open(self._agent.host)
        request = self._request("INVITE", *self._bodies())
        response = await self._agent.request(request, self._next_hop())
        if response.status >= 300:
            headers = [each for each in request.headers if each[0] in {"Via", "From", "Call-ID"}]
            headers += [("To", response.first("to")), ("CSeq", f"{self._cseq} ACK")]
            ack = Message(request.start.replace("INVITE", "ACK", 1), headers)
            self._agent.acknowledge(request.branch, ack, self._next_hop())
            raise CallError(response.status, response.start.removeprefix("SIP/2.0 "))
        return self._accepted(request, response)

    reinvite = invite
    """Offer again, after streams were appended to `streams` or changed their `direction`."""

    def _accepted(self, request: Message, response: Message) -> Answer:
        contact = response.first("contact")
        uri = URI.search(contact)
        self._to, self._target = response.first("to"), uri[0] if uri else self._target
        if self._version == 1:
            self._route = response.every("record-route")[::-1]
        ack = self._request("ACK")
        self._agent.acknowledge(request.branch, ack, self._next_hop())
        media = tuple(parse_answer(response.body.decode(errors="replace")))
        for stream, line in zip(self.streams, media, strict=False):
            wanted = line.port and line.direction in {"recvonly", "sendrecv"}
            stream.remote = (line.host, line.port) if wanted else None
        return Answer(response.start.removeprefix("SIP/2.0 "), contact, media)

    async def update(self, metadata: bytes | None = None) -> Message:
        """Send metadata only, in an UPDATE (RFC 3311); None: the complete document again."""
        body = self.metadata() if metadata is None else metadata
        return await self._ask("UPDATE", "application/rs-metadata+xml", body)

    async def bye(self) -> None:
        """Hang up, unless the recorder did. Raises CallError."""
        if not self.ended.is_set():
            response = await self._ask("BYE")
            if response.status >= 300:
                raise CallError(response.status, response.start.removeprefix("SIP/2.0 "))

    async def play(
        self, seconds: float | None = None, impair: Impairment | None = None
    ) -> list[Packet]:
        """Send the next `seconds` of every stream (None: all of it) at the pace of speech.

        Returns the packets sent, with the times; fewer than planned if the recorder hangs up.
        """
        frames = max(len(stream.frames) for stream in self.streams)
        count = frames if seconds is None else round(seconds / FRAME_S)
        packets = [p for i, stream in enumerate(self.streams) for p in stream.packets(i, count)]
        packets.sort(key=lambda packet: packet.due_s)
        sent: list[Packet] = []
        clock = asyncio.get_running_loop().time
        start, report_s = clock(), 0.0
        for packet in impair(packets) if impair else packets:
            await asyncio.sleep(max(0.0, start + packet.due_s - clock()))
            if self.ended.is_set():
                return sent
            if packet.due_s >= report_s:
                report_s += REPORT_S
                self._send_reports()
            sent.append(replace(packet, sent_at=clock()))
            self.streams[packet.stream].send(packet)
        await asyncio.sleep(max(0.0, start + count * FRAME_S - clock()))
        return sent

    def _send_reports(self) -> None:
        for stream in self.streams:
            stream.report(f"src@{self._agent.host}")

    def metadata(self) -> bytes:
        """The complete RFC 7865 document, every stream with a participant who sends it."""
        labels = [stream.label for stream in self.streams]
        return complete(self.call_id, labels, self._parties, datetime.now(UTC))

    def offer(self) -> bytes:
        """The SDP of the streams as they now are (RFC 8866, RFC 7866 7.1.1)."""
        family = "IP6" if ":" in self._agent.host else "IP4"
        address = f"IN {family} {self._agent.host}"
        lines = [
            "v=0",
            f"o=- {self._origin} {self._version} {address}",
            "s=-",
            f"c={address}",
            "t=0 0",
        ]
        for stream in self.streams:
            lines += [
                f"m=audio {stream.port} RTP/AVP {stream.payload_type} 101",
                f"a=rtpmap:{stream.payload_type} {self._codec}/8000",
                "a=rtpmap:101 telephone-event/8000",
                "a=fmtp:101 0-15",
                "a=ptime:20",
                f"a=label:{stream.label}",
                f"a={stream.direction}",
            ]
        return "\r\n".join([*lines, ""]).encode()

    def _bodies(self) -> tuple[str, bytes]:
        self._version += 1
        if not self._with_metadata:
            return "application/sdp", self.offer()
        boundary = f"part-{self._origin}"
        parts = (
            ("application/sdp", "session", self.offer()),
            ("application/rs-metadata+xml", "recording-session", self.metadata()),
        )
        body = b"".join(
            f"--{boundary}\r\nContent-Type: {kind}\r\n"
            f"Content-Disposition: {disposition}\r\n\r\n".encode()
            + content
            + b"\r\n"
            for kind, disposition, content in parts
        )
        return f"multipart/mixed;boundary={boundary}", body + f"--{boundary}--\r\n".encode()

    async def _ask(self, method: str, content_type: str = "", body: bytes = b"") -> Message:
        request = self._request(method, content_type, body)
        return await self._agent.request(request, self._next_hop())

    def _next_hop(self) -> tuple[str, int] | None:
        return hop(self._route[0] if self._route else self._target)

    def _request(self, method: str, content_type: str = "", body: bytes = b"") -> Message:
        self._cseq += method != "ACK"
        agent, branch = self._agent, f"z9hG4bK{self._rng.getrandbits(64):016x}"
        headers = [
            ("Via", f"SIP/2.0/{agent.kind.upper()} {agent.authority};branch={branch};rport"),
            ("Max-Forwards", "70"),
            *(("Route", each) for each in self._route),
            ("From", self._from),
            ("To", self._to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self._cseq} {method}"),
        ]
        if method in {"INVITE", "UPDATE"}:
            headers += [
                ("Contact", self.contact),
                ("Require", "siprec"),
                ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE"),
                ("Accept", "application/sdp, application/rs-metadata+xml"),
                *self._headers,
            ]
        if content_type:
            headers.append(("Content-Type", content_type))
        if method == "UPDATE" and body:
            headers.append(("Content-Disposition", "recording-session"))
        return Message(f"{method} {self._target} SIP/2.0", headers, body)


def describe(number: int, call: RecordingClient, answer: Answer, took_ms: float) -> str:
    """What the recorder answered, for people."""
    lines = [f"call {number}: {answer.status} after {took_ms:.1f} ms, Call-ID {call.call_id}"]
    lines += [f"  Contact: {answer.contact}"]
    for index, line in enumerate(answer.media):
        lines.append(
            f"  m-line {index}: {line.host}:{line.port} formats {' '.join(line.formats)} "
            f"{line.direction} label {line.label or '(none)'}"
        )
    return "\n".join(lines)


def summary(number: int, call: RecordingClient, sent: Sequence[Packet]) -> str:
    """What was sent, and what the recorder reported of it, for people."""
    lines = [f"call {number}: {'hung up by the recorder' if call.ended.is_set() else 'ended'}"]
    for index, stream in enumerate(call.streams):
        count = sum(packet.stream == index for packet in sent)
        report = stream.reports[-1] if stream.reports else None
        heard = "no receiver report"
        if report:
            heard = f"recorder reports {report.lost} lost, jitter {report.jitter / 8:.1f} ms"
        lines.append(f"  stream {stream.label}: {count} packets sent, {heard}")
    return "\n".join(lines)


async def place(agent: Agent, options: argparse.Namespace, number: int) -> bool:
    """One call from INVITE to BYE; False if it failed."""
    frames = frames_of(tuple(options.audio), options.codec)
    await asyncio.sleep(number / options.rate)
    seed = None if options.seed is None else options.seed + number
    impair = lose(options.loss, random.Random(seed))
    try:
        async with RecordingClient(
            agent,
            frames,
            codec=options.codec,
            metadata=options.metadata,
            parties=[(aor, "") for aor in options.parties] or PARTIES,
            headers=options.header,
            seed=seed,
        ) as call:
            began = time.perf_counter()
            answer = await call.invite()
            print(describe(number, call, answer, (time.perf_counter() - began) * 1000), flush=True)
            sent = await call.play(options.seconds, impair)
            await call.bye()
            print(summary(number, call, sent), flush=True)
    except CallError as failure:
        print(f"call {number}: failed: {failure}", flush=True)
        return False
    return True


async def run(options: argparse.Namespace) -> int:
    """Place all calls; the exit code. Raises ValueError for audio that cannot be sent."""
    frames_of(tuple(options.audio), options.codec)
    async with Agent(options.uri, options.transport) as agent, asyncio.TaskGroup() as group:
        calls = [
            group.create_task(place(agent, options, number), name=f"call {number}")
            for number in range(options.calls)
        ]
    return 0 if all(call.result() for call in calls) else 1


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name.strip() and colon):
        raise argparse.ArgumentTypeError("expected NAME: VALUE")
    return name.strip(), value.strip()


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Call a session recording server and play speech.")
    parser.add_argument("uri", help="the recorder, sip:user@host:port")
    parser.add_argument("--transport", choices=("udp", "tcp"), default="udp")
    parser.add_argument("--audio", nargs="+", type=Path, default=AUDIO, metavar="WAV",
                        help="one file a stream: mono, 8 kHz, 16-bit PCM or G.711")  # fmt: skip
    parser.add_argument("--codec", choices=tuple(PAYLOAD_TYPES), default="PCMU")
    parser.add_argument("--parties", nargs="+", default=[], metavar="AOR",
                        help="who speaks on each stream, the caller first")  # fmt: skip
    parser.add_argument("--header", action="append", default=[], type=_header,
                        metavar="'NAME: VALUE'", help="one more header of the INVITE")  # fmt: skip
    parser.add_argument("--calls", type=int, default=1, help="how many calls")
    parser.add_argument("--rate", type=float, default=10.0, help="calls begun each second")
    parser.add_argument("--seconds", type=float, help="length of a call; default: of the audio")
    parser.add_argument("--loss", type=float, default=0.0, help="percent of packets not sent")
    parser.add_argument("--seed", type=int, help="repeat ids, RTP start values and losses")
    parser.add_argument("--metadata", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args(arguments)


def main() -> int:
    """Run as a program; 1 if a call failed, 2 if none could be tried."""
    try:
        return asyncio.run(run(parse_arguments()))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
