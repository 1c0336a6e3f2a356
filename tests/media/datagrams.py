"""RTP and RTCP datagrams for tests, composed field by field, and areas full of them."""

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from media import rtp
from media.ports import SO_TIMESTAMPNS
from media.receiver import STRIDE


def datagram(
    sequence_number: int,
    payload: bytes = b"",
    *,
    timestamp: int | None = None,
    ssrc: int = 0x1234,
    payload_type: int = 0,
    marker: bool = False,
    csrc: Sequence[int] = (),
    extension: bytes | None = None,
    padding: int = 0,
) -> bytes:
    """One RTP packet; the timestamp follows the sequence number at 160 samples a packet."""
    flags = 0x80 | (0x20 if padding else 0) | (0x10 if extension is not None else 0) | len(csrc)
    head = struct.pack(
        "!BBHII",
        flags,
        payload_type | marker << 7,
        sequence_number & 0xFFFF,
        (sequence_number * 160 if timestamp is None else timestamp) & 0xFFFFFFFF,
        ssrc,
    )
    head += b"".join(struct.pack("!I", each) for each in csrc)
    if extension is not None:
        head += struct.pack("!HH", 0xBEDE, len(extension) // 4) + extension
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    return head + payload + tail


def parsed(
    datagrams: Sequence[bytes],
    stream: Sequence[int] | None = None,
    arrival_ns: Sequence[int] | None = None,
) -> rtp.PacketBatch:
    """A batch as the receiver makes it, rows of a stream in the order given."""
    octets = np.full((max(1, len(datagrams)), STRIDE), 0xA5, np.uint8)
    for row, each in enumerate(datagrams):
        octets[row, : len(each)] = np.frombuffer(each, np.uint8)
    return rtp.parse(
        octets,
        np.zeros((len(datagrams), 28), np.uint8),
        np.array(stream or [0] * len(datagrams), np.int32),
        np.array(arrival_ns or [0] * len(datagrams), np.int64),
        np.array([len(each) for each in datagrams], np.int64),
    )


def sender_report(ssrc: int, ntp: int, blocks: int = 0) -> bytes:
    """An SR with a 64-bit NTP time stamp."""
    body = struct.pack("!IQIII", ssrc, ntp, 0, 1, 160) + bytes(24 * blocks)
    return struct.pack("!BBH", 0x80 | blocks, 200, len(body) // 4) + body


@contextmanager
def stamped_arrivals() -> Iterator[None]:
    """Have the kernel stamp packets when they arrive; it begins some time after being asked."""
    with socket.socket(type=socket.SOCK_DGRAM) as end:
        end.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        end.bind(("127.0.0.1", 0))
        stamp_ns, sent_ns = 1, 0
        while stamp_ns > sent_ns:
            end.sendto(b"?", end.getsockname())
            sent_ns = time.time_ns()
            _, ((_, _, stamp), *_), _, _ = end.recvmsg(1, 64)
            seconds, nanoseconds = struct.unpack("qq", stamp)
            stamp_ns = seconds * 1_000_000_000 + nanoseconds
        yield
