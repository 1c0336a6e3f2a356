"""Sockets to columns: sweep many UDP sockets with one `recvmmsg` each, never waiting.

A recorder has no playout deadline, so sockets are looked at by the clock and not by readiness: one
system call takes all that came for a stream since the last sweep. Kernel arrival times
(`SO_TIMESTAMPNS`) make a cut in time independent of when the sweep happens.
Needs 64-bit Linux; calls libc through cffi, without compiled code of ours.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from media import rtp

SLOT_OCTETS = 2_048
"""Longest datagram taken; longer ones are dropped and counted."""
STRIDE = SLOT_OCTETS + 64
"""Distance of two slots: an odd number of cache lines, for the headers to spread over all sets."""
PER_CALL = 16
"""Datagrams one call may return."""
CAPACITY = 4_096
"""Datagrams collected before they are worked on: few enough to stay in a cache."""
PASSES = 16
"""Times a socket that still has datagrams is asked again in one sweep: a flood has to wait."""

_CONTROL_OCTETS = 32
_ADDRESS_OCTETS = 28
_MSG_DONTWAIT, _MSG_TRUNC = 0x40, 0x20

_MESSAGE = np.dtype(
    {
        "names": ["name", "namelen", "iov", "iovlen", "control", "controllen", "flags", "length"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
"""`struct mmsghdr` of 64-bit Linux."""
_IOVEC = np.dtype([("base", "u8"), ("len", "u8")])
_CONTROL = np.dtype(
    {"names": ["sec", "nsec"], "formats": ["i8", "i8"], "offsets": [16, 24], "itemsize": 32}
)
"""`struct cmsghdr` and the `struct timespec` of SCM_TIMESTAMPNS."""

_ffi = FFI()
_ffi.cdef("int recvmmsg(int fd, void *vector, unsigned int length, int flags, void *timeout);")
_libc: Any = _ffi.dlopen(None)


class RtpReceiver:
    """The receive area, and the sweep that fills it."""

    def __init__(self) -> None:
        self._octets = np.zeros((CAPACITY, STRIDE), np.uint8)
        self._source = np.zeros((CAPACITY, _ADDRESS_OCTETS), np.uint8)
        self._control = np.zeros(CAPACITY, _CONTROL)
        area = (self._octets, self._source, self._control)
        self._whole = _Vector(*area, SLOT_OCTETS)
        self._header = _Vector(*area, rtp.HEADER_OCTETS)

    def sweep(
        self, sockets: Sequence[int], streams: NDArray[np.int32], *, header_only: bool = False
    ) -> Iterator[rtp.PacketBatch]:
        """Everything waiting in `sockets` (descriptors), as batches of at most `CAPACITY` rows.

        `streams`: int32[len(sockets)], the number its rows carry. A batch lives in the receive
        area until the next is asked for. With `header_only` the payloads are thrown away by the
        kernel and never reach this process. Datagrams that were too long come back not `valid`.
        """
        vector = self._header if header_only else self._whole
        for _ in range(PASSES):
            busy: list[NDArray[np.intp]] = []
            done = 0
            while done < len(sockets):
                counts = vector.fill(sockets, done)
                yield self._batch(vector, streams[done : done + len(counts)], counts, header_only)
                busy.append(np.flatnonzero(counts == PER_CALL) + done)
                done += len(counts)
            again = np.concatenate(busy) if busy else np.empty(0, np.intp)
            if not len(again):
                return
            sockets, streams = [sockets[i] for i in again], streams[again]

    def _batch(
        self,
        vector: "_Vector",
        streams: NDArray[np.int32],
        counts: NDArray[np.int64],
        header_only: bool,
    ) -> rtp.PacketBatch:
        rows = int(counts.sum())
        time = self._control[:rows]
        arrival_ns = time["sec"] * 1_000_000_000 + time["nsec"]
        length, truncated = vector.take(rows)
        if not header_only:
            length[truncated] = -1
        return rtp.parse(
            self._octets,
            self._source[:rows],
            np.repeat(streams, counts),
            arrival_ns,
            length,
            header_only=header_only,
        )


class _Vector:
    """`CAPACITY` message headers that point into the receive area."""

    def __init__(
        self,
        octets: NDArray[np.uint8],
        source: NDArray[np.uint8],
        control: NDArray[np.void],
        slot_octets: int,
    ) -> None:
        slots = np.arange(CAPACITY, dtype=np.uint64)
        self._iov = np.zeros(CAPACITY, _IOVEC)
        self._iov["base"] = octets.ctypes.data + slots * np.uint64(STRIDE)
        self._iov["len"] = slot_octets
        self._messages = np.zeros(CAPACITY, _MESSAGE)
        self._messages["name"] = source.ctypes.data + slots * np.uint64(_ADDRESS_OCTETS)
        self._messages["namelen"] = _ADDRESS_OCTETS
        self._messages["iov"] = self._iov.ctypes.data + slots * np.uint64(_IOVEC.itemsize)
        self._messages["iovlen"] = 1
        self._messages["control"] = control.ctypes.data + slots * np.uint64(_CONTROL.itemsize)
        self._messages["controllen"] = _CONTROL_OCTETS
        base = self._messages.ctypes.data
        self._pointers = [
            _ffi.cast("void *", base + i * _MESSAGE.itemsize) for i in range(CAPACITY)
        ]
        # with MSG_TRUNC the length is the datagram's own, however little of it was fetched
        self._flags = _MSG_DONTWAIT | (_MSG_TRUNC if slot_octets < SLOT_OCTETS else 0)

    def fill(self, sockets: Sequence[int], first: int) -> NDArray[np.int64]:
        """Ask each socket from `first` on, until the area is full: datagrams got of each."""
        receive, pointers, flags, null = _libc.recvmmsg, self._pointers, self._flags, _ffi.NULL
        counts: list[int] = []
        position = 0
        for descriptor in sockets[first:] if first else sockets:
            count = receive(descriptor, pointers[position], PER_CALL, flags, null)
            if count > 0:
                counts.append(count)
                position += count
                if position > CAPACITY - PER_CALL:
                    break
            else:
                counts.append(0)
        return np.array(counts, np.int64)

    def take(self, rows: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Lengths and truncation marks of the first `rows` messages, which are made ready again."""
        messages = self._messages[:rows]
        messages["controllen"] = _CONTROL_OCTETS
        messages["namelen"] = _ADDRESS_OCTETS
        return messages["length"].astype(np.int64), messages["flags"] & _MSG_TRUNC != 0
