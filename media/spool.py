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

import hashlib
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from google_crc32c import value as crc32c
from msgspec import MsgspecError, msgpack

from media.spec import SpoolDamaged

MAGIC = 0x50535253
VERSION = 1
PACKETS, EVENT = 1, 2
HEADER = struct.Struct("<IHHIIIIq")
SUFFIX = ".srsp"
"""Of a spool's file name, after the recording's id."""

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
    active: bool = True
    """For `stream`: False while its packets are discarded, because its direction is inactive."""
    dropped: int = 0
    """For `stop`: packets that could not be written (disk full)."""


def encode_packets(rows: np.ndarray, payload: bytes | memoryview, written_ns: int) -> bytes:
    """One PACKETS block. `rows`: ROW[n]; `payload`: their payloads end to end."""
    return encode_body(len(rows), rows.tobytes() + bytes(payload), written_ns)


def encode_body(rows: int, body: bytes, written_ns: int) -> bytes:
    """One PACKETS block of `rows` packets, whose rows and payloads `body` holds end to end."""
    payload_bytes = len(body) - rows * ROW.itemsize
    return _header(PACKETS, rows, payload_bytes, body, written_ns) + body


def encode_event(event: SpoolEvent) -> bytes:
    """One EVENT block."""
    body = msgpack.encode(event)
    return _header(EVENT, 0, len(body), body, event.at_ns) + body


def _header(kind: int, rows: int, payload_bytes: int, body: bytes, written_ns: int) -> bytes:
    return HEADER.pack(MAGIC, kind, VERSION, rows, payload_bytes, crc32c(body), 0, written_ns)


@dataclass(frozen=True, slots=True)
class Spool:
    """What a spool file holds, as far as it is whole; the payloads stay in the mapped file."""

    packets: np.ndarray
    """ROW[n], in the order they were written."""
    offsets: np.ndarray
    """int64[n]: where each payload begins in `octets`."""
    octets: np.ndarray
    """uint8[file size], mapped and read-only."""
    mapping: mmap.mmap
    """The map behind `octets`."""
    events: tuple[SpoolEvent, ...]
    """In the order they were written."""
    rows_before: tuple[int, ...]
    """How many packets were written before each event."""
    truncated: int
    """Octets after the last good block."""

    @property
    def complete(self) -> bool:
        """Whether the recording was ended: a `stop` event was written."""
        return any(event.kind == "stop" for event in self.events)

    def forget(self) -> None:
        """Let go of the pages read so far; they come back from the file when touched."""
        self.mapping.madvise(mmap.MADV_DONTNEED)


class _Block(NamedTuple):
    kind: int
    rows: int
    body: bytes
    end: int


def read(path: Path) -> Spool:
    """Map a spool and read its columns, up to the first block that is torn or damaged.

    Raises SpoolDamaged if not one block is readable, OSError if the file is not.
    """
    rows: list[bytes] = []
    ends: list[tuple[int, int]] = []
    events: list[SpoolEvent] = []
    rows_before: list[int] = []
    count = 0
    with path.open("rb") as file:
        for block in _blocks(file):
            if block.kind == EVENT:
                events.append(_event(block.body))
                rows_before.append(count)
            else:
                rows.append(block.body[: block.rows * ROW.itemsize])
                ends.append((block.rows, block.end))
                count += block.rows
        if not rows and not events:
            raise SpoolDamaged(f"{path}: no readable block")
        whole = block.end
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    packets = np.frombuffer(b"".join(rows), ROW)
    return Spool(
        packets=packets,
        offsets=_offsets(packets["length"], np.array(ends, np.int64).reshape(-1, 2)),
        octets=np.frombuffer(mapping, np.uint8),
        mapping=mapping,
        events=tuple(events),
        rows_before=tuple(rows_before),
        truncated=len(mapping) - whole,
    )


def _blocks(file: BinaryIO) -> Iterator[_Block]:
    """The good blocks from the beginning of a file on."""
    end, size = 0, os.fstat(file.fileno()).st_size
    while len(head := file.read(HEADER.size)) == HEADER.size:
        magic, kind, version, rows, payload_bytes, crc, _, _ = HEADER.unpack(head)
        length = rows * ROW.itemsize + payload_bytes
        end += HEADER.size + length
        if magic != MAGIC or version != VERSION or end > size:
            return
        body = file.read(length)
        if crc32c(body) != crc or not _sound(kind, rows, payload_bytes, body):
            return
        yield _Block(kind, rows, body, end)


def _sound(kind: int, rows: int, payload_bytes: int, body: bytes) -> bool:
    """Whether a body with the right checksum also is what its header says."""
    if kind == PACKETS:
        return int(np.frombuffer(body, ROW, rows)["length"].sum(dtype=np.int64)) == payload_bytes
    try:
        _event(body)
    except MsgspecError:
        return False
    return kind == EVENT and not rows


def _event(body: bytes) -> SpoolEvent:
    return msgpack.decode(body, type=SpoolEvent)


def _offsets(lengths: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """int64[n]: payload positions. `blocks`: int64[m, 2], rows and end; payloads lie end to end."""
    offsets: np.ndarray = np.cumsum(lengths, dtype=np.int64)
    if len(offsets):
        rows, ends = blocks.T
        ends = ends - offsets[np.cumsum(rows) - 1]
        offsets -= lengths
        offsets += np.repeat(ends, rows)
    return offsets


def good_octets(path: Path) -> int:
    """Octets up to the end of the last good block. Raises OSError if the file is not readable."""
    with path.open("rb") as file:
        return max((block.end for block in _blocks(file)), default=0)


def path_of(folder: Path, recording_id: str) -> Path:
    """Where the spool of a recording is."""
    return folder / f"{recording_id}{SUFFIX}"


def scan(folder: Path) -> list[Path]:
    """Every spool in the folder, by name."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read_events(path: Path) -> tuple[SpoolEvent, ...]:
    """The events of a spool as far as it is whole, without its packets.

    None if nothing is readable. Raises OSError if the file is not.
    """
    with path.open("rb") as file:
        return tuple(_event(block.body) for block in _blocks(file) if block.kind == EVENT)


def ends_paused(events: Iterable[SpoolEvent]) -> bool:
    """Whether the last thing said about pausing is `pause`."""
    kinds = [event.kind for event in events if event.kind in {"pause", "resume"}]
    return kinds[-1:] == ["pause"]


def sha256_of(path: Path) -> str:
    """Lower-case hex digest of a whole file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
