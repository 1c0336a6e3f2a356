"""RTP headers as columns: one `PacketBatch` for everything a sweep collected (RFC 3550 5.1).

No function here looks at packets one at a time; payloads of every length are moved by one fancy
index per length. Its counterpart that fills the octets is `media.receiver`.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |V=2|P|X|  CC   |M|     PT      |       sequence number         |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                           timestamp                           |
    |                             SSRC                              |
    +=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

HEADER_OCTETS = 12

_HEADER = np.dtype(
    [
        ("flags", "u1"),
        ("type", "u1"),
        ("sequence_number", ">u2"),
        ("timestamp", ">u4"),
        ("ssrc", ">u4"),
    ]
)


@dataclass(frozen=True, slots=True)
class PacketBatch:
    """Columns of n datagrams; the rows of one stream stand together, in order of arrival."""

    octets: NDArray[np.uint8]
    """Where the payloads are: uint8[slots, stride], valid until the next sweep."""
    source: NDArray[np.uint8]
    """uint8[n, 28]: who sent it, as struct sockaddr_in or sockaddr_in6."""
    stream: NDArray[np.int32]
    """Slot of the stream in the tables of `media.stream`."""
    arrival_ns: NDArray[np.int64]
    valid: NDArray[np.bool_]
    """The datagram is well-formed RTP; without it the other columns mean nothing."""
    payload_type: NDArray[np.uint8]
    marker: NDArray[np.uint8]
    sequence_number: NDArray[np.uint16]
    timestamp: NDArray[np.uint32]
    ssrc: NDArray[np.uint32]
    payload_start: NDArray[np.int64]
    """Position of the first payload octet in `octets`, flattened."""
    payload_length: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stream)

    def take(self, keep: NDArray[np.bool_]) -> "PacketBatch":
        """The rows where `keep` (bool[n]) is true; the batch itself if that is all of them."""
        if keep.all():
            return self
        rows = np.flatnonzero(keep)
        columns = [getattr(self, field.name)[rows] for field in fields(self)[1:]]
        return PacketBatch(self.octets, *columns)

    def payloads(self) -> NDArray[np.uint8]:
        """Copy of all payloads end to end, in row order: uint8[sum(payload_length)]."""
        source = self.octets.reshape(-1)
        lengths = [int(n) for n in np.flatnonzero(np.bincount(self.payload_length)) if n]
        ends = np.cumsum(self.payload_length)
        found = np.empty(int(ends[-1]) if lengths else 0, np.uint8)
        if len(lengths) == 1 and len(found) == lengths[0] * len(self):
            return _windows(source, lengths[0])[self.payload_start].view(np.uint8)
        for length in lengths:
            rows = np.flatnonzero(self.payload_length == length)
            begins = ends[rows] - length
            _windows(found, length)[begins] = _windows(source, length)[self.payload_start[rows]]
        return found


def _windows(octets: NDArray[np.uint8], length: int) -> NDArray[np.void]:
    """Every `length` octets of a flat array, one window per starting position, without copying."""
    return np.ndarray((octets.size - length + 1,), f"V{length}", octets, strides=(1,))


def runs(column: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where equal values stand together: first row and number of rows of each run."""
    steps = np.flatnonzero(column[1:] != column[:-1]) + 1
    edges = np.concatenate([[0], steps, [len(column)]])
    if not len(column):
        return edges[:0], edges[:0]
    return edges[:-1], np.diff(edges)


def parse(
    octets: NDArray[np.uint8],
    source: NDArray[np.uint8],
    stream: NDArray[np.int32],
    arrival_ns: NDArray[np.int64],
    length: NDArray[np.int64],
    *,
    header_only: bool = False,
) -> PacketBatch:
    """Read the headers of the first n rows of `octets` (uint8[slots, stride]).

    `length` is each datagram's true length. A header-only sweep fetched no more than the fixed
    header, so that extension and padding are counted as payload there. CSRC list, extension and
    padding are stripped; a datagram that is not RTP version 2, or whose parts do not fit into it,
    is not `valid` (RFC 3550 A.1).
    """
    rows = len(stream)
    header = octets[:rows, :HEADER_OCTETS].view(_HEADER)[:, 0]
    flags = header["flags"]
    begin = HEADER_OCTETS + 4 * (flags & 0x0F).astype(np.int64)
    end = length.copy()
    valid = (flags >> 6 == 2) & (length >= HEADER_OCTETS)
    if not header_only and (flags & 0x30).any():
        _skip_extension(octets, np.flatnonzero(valid & (flags & 0x10 != 0)), begin, end)
        _strip_padding(octets, np.flatnonzero(valid & (flags & 0x20 != 0)), end)
    valid &= begin <= end
    return PacketBatch(
        octets,
        source,
        stream,
        arrival_ns,
        valid,
        header["type"] & np.uint8(0x7F),
        header["type"] >> np.uint8(7),
        header["sequence_number"].astype(np.uint16),
        header["timestamp"].astype(np.uint32),
        header["ssrc"].astype(np.uint32),
        np.arange(rows) * octets.shape[1] + begin,
        end - begin,
    )


def _skip_extension(
    octets: NDArray[np.uint8],
    rows: NDArray[np.intp],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
) -> None:
    """Move `begin` behind the header extension (RFC 3550 5.3.1), beyond `end` if it is cut off."""
    at = begin[rows]
    words = octets[rows, at + 2].astype(np.int64) << 8 | octets[rows, at + 3]
    begin[rows] += 4 + np.where(at + 4 <= end[rows], 4 * words, end[rows])


def _strip_padding(
    octets: NDArray[np.uint8], rows: NDArray[np.intp], end: NDArray[np.int64]
) -> None:
    """Take the padding, counted by the last octet of the datagram, off `end`; none is an error."""
    count = octets[rows, end[rows] - 1].astype(np.int64)
    end[rows] = np.where(count > 0, end[rows] - count, -1)
