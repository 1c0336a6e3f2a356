"""The crash-safe growing file of one recording: packets as they came, in checksummed blocks.

What a spool holds is RTP already accepted by the gate, still encoded and not yet placed in time:
placing is a pure function of these columns (`media.timeline`), done once, when everything that
will ever arrive has arrived. The media process appends, `media.render` and recovery read.

    file  = block*
    block = header (32 octets) | rows (n x 24) | payload octets, in row order
    header: magic 'SRSP' | kind u16 | version u16 | rows u32 | payload_bytes u32
            | crc32c u32 (of everything after the header) | reserved u32 | written_ns i64

A block of kind EVENT has no rows; its payload is one msgpack map (see `SpoolEvent`).
A reader takes blocks until the first one that is short or fails its checksum: a torn tail costs
that block only.
"""

import struct
from dataclasses import dataclass, field

import numpy as np
from google_crc32c import value as crc32c
from msgspec import msgpack

MAGIC = 0x50535253
VERSION = 1
PACKETS, EVENT = 1, 2
HEADER = struct.Struct("<IHHIIIIq")

ROW = np.dtype(
    [
        ("arrival_ns", "<i8"),
        ("timestamp", "<u4"),
        ("ssrc", "<u4"),
        ("sequence_number", "<u2"),
        ("length", "<u2"),
        ("stream", "<u2"),
        ("payload_type", "u1"),
        ("marker", "u1"),
    ]
)
"""One packet: kernel arrival time, RTP header fields, payload length, index of its stream."""


@dataclass(frozen=True, slots=True)
class SpoolEvent:
    """Something other than a packet, in the order it took effect.

    `start` opens the recording, `stream` declares or changes a stream, `pause` and `resume` bound a
    span that must hold nothing, `stop` ends it. Without `stop` the recording was cut off.
    """

    kind: str
    at_ns: int
    recording_id: str = ""
    fill: bool = True
    """For `pause`: keep the span as silence, or cut it out."""
    stream: int = 0
    """For `stream`: the index its rows carry."""
    stream_id: str = ""
    label: str = ""
    formats: dict[int, str] = field(default_factory=dict)
    dropped: int = 0
    """For `stop`: packets that could not be written (disk full)."""


def encode_packets(rows: np.ndarray, payload: bytes | memoryview, written_ns: int) -> bytes:
    """One PACKETS block. `rows`: ROW[n]; `payload`: their payloads end to end."""
    body = rows.tobytes() + bytes(payload)
    return _header(PACKETS, len(rows), len(payload), body, written_ns) + body


def encode_event(event: SpoolEvent) -> bytes:
    """One EVENT block."""
    body = msgpack.encode(event)
    return _header(EVENT, 0, len(body), body, event.at_ns) + body


def _header(kind: int, rows: int, payload_bytes: int, body: bytes, written_ns: int) -> bytes:
    return HEADER.pack(
        MAGIC, kind, VERSION, rows, payload_bytes, crc32c(body), 0, written_ns
    )
