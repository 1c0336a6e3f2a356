"""Sends PCMU over RTP to many ports at a steady rate, from one process, with `sendmmsg`.

    python -m tests.bench.generator --ports 20000-23998 --pps 50 --seconds 10

Prints one JSON object: packets sent and the processor seconds it took. Streams are staggered over
the packet interval, each with its own SSRC, sequence numbers and timestamps.
"""

import argparse
import json
import socket
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from cffi import FFI

FRAME_SAMPLES = 160
SUB_TICKS = 20
"""Groups of streams that send together within one packet interval."""

_PACKET = np.dtype(
    [
        ("flags", "u1"),
        ("payload_type", "u1"),
        ("sequence_number", ">u2"),
        ("timestamp", ">u4"),
        ("ssrc", ">u4"),
        ("payload", "u1", FRAME_SAMPLES),
    ]
)
_ADDRESS = np.dtype([("family", "<u2"), ("port", ">u2"), ("host", "u1", 4), ("zero", "u1", 8)])
_IOVEC = np.dtype([("base", "u8"), ("len", "u8")])
_MESSAGE = np.dtype(
    {
        "names": ["name", "namelen", "iov", "iovlen"],
        "formats": ["u8", "u4", "u8", "u8"],
        "offsets": [0, 8, 16, 24],
        "itemsize": 64,
    }
)

_ffi = FFI()
_ffi.cdef("int sendmmsg(int fd, void *vector, unsigned int length, int flags);")
_libc: Any = _ffi.dlopen(None)


class Generator:
    """One packet a stream, ready to be sent again and again."""

    def __init__(self, ports: Sequence[int], host: str = "127.0.0.1") -> None:
        count = len(ports)
        self.sent = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._packets = np.zeros(count, _PACKET)
        self._packets["flags"] = 0x80
        self._packets["ssrc"] = np.arange(count) + 0x10000
        self._packets["payload"] = np.random.default_rng(1).integers(0, 256, (count, FRAME_SAMPLES))
        self._addresses = np.zeros(count, _ADDRESS)
        self._addresses["family"] = socket.AF_INET
        self._addresses["port"] = ports
        self._addresses["host"] = list(socket.inet_aton(host))
        self._iov = np.zeros(count, _IOVEC)
        self._iov["base"] = _addresses(self._packets)
        self._iov["len"] = _PACKET.itemsize
        self._messages = np.zeros(count, _MESSAGE)
        self._messages["name"] = _addresses(self._addresses)
        self._messages["namelen"] = _ADDRESS.itemsize
        self._messages["iov"] = _addresses(self._iov)
        self._messages["iovlen"] = 1

    def send(self, first: int, after: int) -> None:
        """Send one packet of the streams `first` to `after`, and make their next."""
        vector = self._messages[first:after]
        while len(vector):
            pointer = _ffi.cast("void *", vector.ctypes.data)
            count = _libc.sendmmsg(self._socket.fileno(), pointer, len(vector), 0)
            if count <= 0:
                raise OSError(_ffi.errno, "sendmmsg")
            self.sent += count
            vector = vector[count:]
        self._packets["sequence_number"][first:after] += 1
        self._packets["timestamp"][first:after] += FRAME_SAMPLES

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def run(self, pps: float, seconds: float) -> None:
        """Send in real time; a late group is sent at once, none is left out."""
        edges = np.linspace(0, len(self._packets), SUB_TICKS + 1).astype(int)
        step = 1 / (pps * SUB_TICKS)
        start = time.monotonic()
        for tick in range(round(seconds * pps * SUB_TICKS)):
            time.sleep(max(0.0, start + tick * step - time.monotonic()))
            group = tick % SUB_TICKS
            self.send(edges[group], edges[group + 1])


def _addresses(array: np.ndarray) -> np.ndarray:
    """Address of every item of an array: uint64[n]."""
    offsets = np.arange(len(array), dtype=np.uint64) * np.uint64(array.itemsize)
    return np.uint64(array.ctypes.data) + offsets


def _ports(text: str) -> list[int]:
    """`20000,20002` or the even ports of `20000-20998`."""
    if "-" in text:
        first, last = map(int, text.split("-"))
        return list(range(first, last + 1, 2))
    return [int(port) for port in text.split(",")]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=_ports, required=True)
    parser.add_argument("--pps", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    generator = Generator(options.ports)
    begin = time.process_time()
    generator.run(options.pps, options.seconds)
    print(json.dumps({"sent": generator.sent, "cpu_s": time.process_time() - begin}))


if __name__ == "__main__":
    main()
