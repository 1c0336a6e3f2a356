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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

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
    body = rows.tobytes() + bytes(payload)
    return _header(PACKETS, len(rows), len(payload), body, written_ns) + body


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
    truncated: int
    """Octets after the last good block."""

    @property
    def complete(self) -> bool:
        """Whether the recording was ended: a `stop` event was written."""
        return any(event.kind == "stop" for event in self.events)

    def forget(self) -> None:
        """Let go of the pages read so far; they come back from the file when touched."""
        self.mapping.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, slots=True)
class _Block:
    kind: int
    rows: int
    begin: int
    payload: int
    end: int


def read(path: Path) -> Spool:
    """Map a spool and read its columns, up to the first block that is torn or damaged.

    Raises SpoolDamaged if not one block is readable, OSError if the file is not.
    """
    mapping = _map(path)
    blocks = list(_blocks(mapping))
    if not blocks:
        raise SpoolDamaged(f"{path}: no readable block")
    packets = [block for block in blocks if block.kind == PACKETS]
    rows = np.frombuffer(b"".join(mapping[b.begin : b.payload] for b in packets), ROW)
    return Spool(
        packets=rows,
        offsets=_offsets(packets, rows["length"]),
        octets=np.frombuffer(mapping, np.uint8),
        mapping=mapping,
        events=tuple(_event(mapping[b.payload : b.end]) for b in blocks if b.kind == EVENT),
        truncated=len(mapping) - blocks[-1].end,
    )


def repair(path: Path) -> int:
    """Cut off what follows the last good block, so that blocks can be appended again.

    Returns the octets cut off. Raises SpoolDamaged if not one block is readable.
    """
    mapping = _map(path)
    end = max((block.end for block in _blocks(mapping)), default=0)
    size = len(mapping)
    mapping.close()
    if not end:
        raise SpoolDamaged(f"{path}: no readable block")
    if size > end:
        os.truncate(path, end)
    return size - end


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise SpoolDamaged(f"{path}: empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _blocks(mapping: mmap.mmap) -> Iterator[_Block]:
    begin, size = 0, len(mapping)
    while begin + HEADER.size <= size:
        magic, kind, version, rows, payload_bytes, crc, _, _ = HEADER.unpack_from(mapping, begin)
        begin += HEADER.size
        payload = begin + rows * ROW.itemsize
        end = payload + payload_bytes
        if magic != MAGIC or version != VERSION or end > size:
            return
        body = mapping[begin:end]
        if crc32c(body) != crc or not _sound(kind, rows, payload_bytes, body):
            return
        yield _Block(kind, rows, begin, payload, end)
        begin = end


def _sound(kind: int, rows: int, payload_bytes: int, body: bytes) -> bool:
    """Whether a body with the right checksum also is what its header says."""
    if kind == PACKETS:
        return int(np.frombuffer(body, ROW, rows)["length"].sum(dtype=np.int64)) == payload_bytes
    try:
        _event(body)
    except MsgspecError:
        return False
    return kind == EVENT


def _event(body: bytes) -> SpoolEvent:
    return msgpack.decode(body, type=SpoolEvent)


def _offsets(blocks: list[_Block], lengths: np.ndarray) -> np.ndarray:
    """int64[n]: payload positions; within a block they lie end to end."""
    ends: np.ndarray = np.cumsum(lengths, dtype=np.int64)
    rows = np.array([block.rows for block in blocks], np.int64)
    payload = np.array([block.end for block in blocks], np.int64)
    if not len(lengths):
        return ends
    lasts = ends[np.cumsum(rows) - 1]
    starts: np.ndarray = ends - lengths + np.repeat(payload - lasts, rows)
    return starts


def path_of(folder: Path, recording_id: str) -> Path:
    """Where the spool of a recording is."""
    return folder / f"{recording_id}{SUFFIX}"


def scan(folder: Path) -> list[Path]:
    """Every spool in the folder, by name."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def ends_paused(path: Path) -> bool:
    """Whether the last thing said about pausing, as far as the spool is whole, is `pause`.

    False if nothing is readable. Raises OSError if the file is not.
    """
    try:
        mapping = _map(path)
    except SpoolDamaged:
        return False
    events = (_event(mapping[b.payload : b.end]) for b in _blocks(mapping) if b.kind == EVENT)
    kinds = [event.kind for event in events if event.kind in {"pause", "resume"}]
    return kinds[-1:] == ["pause"]


def sha256_of(path: Path) -> str:
    """Lower-case hex digest of a whole file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
