"""The media side of a session recording client: G.711 frames out of WAV files, RTP out, RTCP in.

Knows no SIP; its counterpart is `examples.src`. RFC 3550, RFC 3551, ITU-T G.711.
"""

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

FRAME_SAMPLES = 160
FRAME_S = FRAME_SAMPLES / 8000
NTP_EPOCH_S = 2_208_988_800
"""From 1900, the epoch of NTP, to 1970."""
PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8}
"""Static payload types of the codecs we can send (RFC 3551 6)."""


def g711_table(codec: str) -> np.ndarray:
    """Linear value of each of the 256 codes of `PCMU` or `PCMA`: int16[256] (ITU-T G.711)."""
    code = np.arange(256) ^ (0xFF if codec == "PCMU" else 0x55)
    step, segment = code & 0x0F, code >> 4 & 7
    if codec == "PCMU":
        size, negative = ((step << 3) + 132 << segment) - 132, code & 128 != 0
    else:
        offset = (step << 4) + np.where(segment > 0, 0x108, 8)
        size, negative = offset << np.maximum(segment - 1, 0), code & 128 == 0
    return np.where(negative, -size, size).astype(np.int16)


def encode_g711(samples: np.ndarray, codec: str) -> bytes:
    """Nearest code for each of `samples` (int16[n]); silence becomes positive zero."""
    table = g711_table(codec).astype(np.int32)
    order = np.argsort(table, kind="stable")
    middles = (table[order][1:] + table[order][:-1]) / 2
    return bytes(order[np.searchsorted(middles, samples, side="right")].astype(np.uint8))


def read_wav(path: Path) -> np.ndarray:
    """Samples of a mono 8 kHz WAV in 16-bit PCM or G.711: int16[n]. Raises ValueError."""
    data, chunks, at = path.read_bytes(), {}, 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        chunks[name] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    if not {b"fmt ", b"data"} <= chunks.keys():
        raise ValueError(f"{path}: not a WAV file")
    encoding, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if (channels, rate_hz) != (1, 8000) or (encoding, bits) not in {(1, 16), (6, 8), (7, 8)}:
        raise ValueError(f"{path}: want one channel, 8,000 Hz, 16-bit PCM or G.711")
    if encoding == 1:
        return np.frombuffer(chunks[b"data"], "<i2")
    codes = np.frombuffer(chunks[b"data"], np.uint8)
    return g711_table("PCMA" if encoding == 6 else "PCMU")[codes]


@cache
def frames_of(paths: tuple[Path, ...], codec: str) -> tuple[tuple[bytes, ...], ...]:
    """20 ms payloads of each WAV, all padded with silence to the longest. Raises ValueError."""
    tracks = [read_wav(path) for path in paths]
    count = -(-max(map(len, tracks)) // FRAME_SAMPLES)
    padded = [np.pad(track, (0, count * FRAME_SAMPLES - len(track))) for track in tracks]
    coded = [encode_g711(track, codec) for track in padded]
    cuts = range(0, count * FRAME_SAMPLES, FRAME_SAMPLES)
    return tuple(tuple(code[i : i + FRAME_SAMPLES] for i in cuts) for code in coded)


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet and when to send it (RFC 3550 5.1)."""

    due_s: float
    """Seconds after the start of `play`."""
    stream: int
    """Index of the stream whose ports it travels between."""
    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    sent_at: float = 0.0
    """Event loop time just before it was sent; 0 as long as it was not."""

    def encode(self) -> bytes:
        """The datagram."""
        head = (0x80, self.payload_type | self.marker << 7, self.sequence_number, self.timestamp)
        return struct.pack(">BBHII", *head, self.ssrc) + self.payload


Impairment = Callable[[list[Packet]], list[Packet]]
"""Takes the packets in sending order, returns those to send instead: lost, late, twice, …"""


def lose(percent: float, rng: random.Random) -> Impairment:
    """An impairment that drops each packet with this probability."""
    return lambda packets: [each for each in packets if rng.random() * 100 >= percent]


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """What the recorder said about one of our streams (RFC 3550 6.4.2)."""

    ssrc: int
    fraction_lost: float
    """Share lost since the report before, 0 to 1."""
    lost: int
    highest: int
    """Extended highest sequence number received."""
    jitter: int
    """In units of the RTP clock."""


def receiver_reports(data: bytes) -> list[ReceiverReport]:
    """All report blocks of a compound RTCP packet; what is not RTCP has none."""
    found, at = [], 0
    while at + 8 <= len(data):
        first, kind, words = struct.unpack_from(">BBH", data, at)
        end = at + 4 + 4 * words
        start = at + {200: 28, 201: 8}.get(kind, end)
        for block in range(start, min(start + 24 * (first & 31), end, len(data)) - 23, 24):
            ssrc, loss, highest, jitter = struct.unpack_from(">IIII", data, block)
            lost = (loss & 0xFFFFFF) - (loss << 1 & 0x1000000)
            found.append(ReceiverReport(ssrc, (loss >> 24) / 256, lost, highest, jitter))
        at = end
    return found


def open_ports(host: str) -> tuple[socket.socket, socket.socket]:
    """UDP sockets on an even port and the odd one above it (RFC 3550 11)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        rtp, rtcp = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        try:
            rtp.bind((host, 0))
            rtcp.bind((host, rtp.getsockname()[1] + 1))
        except (OSError, OverflowError):
            pass
        else:
            if rtp.getsockname()[1] % 2 == 0:
                rtcp.setblocking(False)
                return rtp, rtcp
        rtp.close()
        rtcp.close()


@dataclass(slots=True)
class Stream:
    """One labelled m-line of ours.

    `direction`, `remote`, and `ssrc`, `sequence_number`, `timestamp` (those of the next packet) may
    be changed between two calls of `play`.
    """

    label: str
    frames: Sequence[bytes]
    """G.711 payloads of 20 ms; they are sent over and over."""
    payload_type: int
    ssrc: int
    sequence_number: int
    timestamp: int
    direction: str = "sendonly"
    cursor: int = 0
    """Frames played so far."""
    remote: tuple[str, int] | None = None
    """Where the recorder wants the RTP; None while it wants none."""
    reports: list[ReceiverReport] = field(default_factory=list)
    """Receiver reports that came, in order."""
    sockets: tuple[socket.socket, ...] = ()
    """RTP, and RTCP on the next port."""
    packets_sent: int = 0

    @property
    def port(self) -> int:
        """Our RTP port, for the offer; 0 before `open` and after `close`."""
        return int(self.sockets[0].getsockname()[1]) if self.sockets else 0

    def open(self, host: str) -> None:
        """Take a pair of ports, once, and listen for reports in the running event loop."""
        if not self.sockets:
            self.sockets = open_ports(host)
            asyncio.get_running_loop().add_reader(self.sockets[1], self._read_report)

    def close(self) -> None:
        """Give the ports back."""
        for each in self.sockets:
            asyncio.get_running_loop().remove_reader(each)
            each.close()
        self.sockets = ()

    def _read_report(self) -> None:
        with contextlib.suppress(OSError):
            self.reports += receiver_reports(self.sockets[1].recv(2048))

    def packets(self, index: int, count: int) -> list[Packet]:
        """The next `count` packets, as those of stream `index`; the stream moves on.

        While the recorder wants nothing there are none, but time passes.
        """
        made = []
        for number in range(count if self.remote else 0):
            frame = self.frames[(self.cursor + number) % len(self.frames)]
            timestamp = (self.timestamp + number * FRAME_SAMPLES) % 2**32
            head = (self.payload_type, self.sequence_number, timestamp, self.ssrc)
            made.append(Packet(number * FRAME_S, index, *head, frame, self.cursor + number == 0))
            self.sequence_number = (self.sequence_number + 1) % 2**16
        self.cursor += count
        self.timestamp = (self.timestamp + count * FRAME_SAMPLES) % 2**32
        return made

    def send(self, packet: Packet) -> None:
        """Send one packet from our RTP port, if the recorder wants any."""
        if self.remote is not None:
            self.sockets[0].sendto(packet.encode(), self.remote)
            self.packets_sent += 1

    def report(self, cname: str) -> None:
        """Send SR and SDES from our RTCP port (RFC 3550 6.4.1, 6.5.1)."""
        if self.remote is None:
            return
        ntp = int((time.time() + NTP_EPOCH_S) * 2**32) % 2**64
        counts = (self.timestamp, self.packets_sent, self.packets_sent * FRAME_SAMPLES)
        report = struct.pack(">BBHIQIII", 0x80, 200, 6, self.ssrc, ntp, *counts)
        item = struct.pack(">BB", 1, len(cname)) + cname.encode()
        item += bytes(4 - len(item) % 4)
        report += struct.pack(">BBHI", 0x81, 202, 1 + len(item) // 4, self.ssrc) + item
        self.sockets[1].sendto(report, (self.remote[0], self.remote[1] + 1))
