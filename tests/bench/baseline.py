"""The receiver anybody would write first: an asyncio `DatagramProtocol` for each stream.

    python -m tests.bench.baseline --streams 300 --folder /tmp/baseline

Parses each packet and stores it by its timestamp, and writes what is new to a file a second, as the
recorder does. Prints its ports; at the end of its input, the number of packets it has stored.
"""

import argparse
import asyncio
import json
import struct
import sys
from pathlib import Path

HEADER = struct.Struct(">BBHII")


class Receiver(asyncio.DatagramProtocol):
    """One stream: its audio in memory until it is written."""

    def __init__(self, path: Path) -> None:
        self.packets = 0
        self._file = path.open("wb")
        self._audio = bytearray()
        self._origin: int | None = None
        self._written = 0

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Place one packet (RFC 3550 5.1)."""
        first, second, _, timestamp, _ = HEADER.unpack_from(data)
        if first >> 6 != 2 or second & 0x7F != 0:
            return
        start = 12 + 4 * (first & 15)
        if first & 16:
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        if self._origin is None:
            self._origin = timestamp
        position = (timestamp - self._origin) % 2**32
        payload = data[start:]
        if len(self._audio) < position:
            self._audio += b"\xff" * (position - len(self._audio))
        self._audio[position : position + len(payload)] = payload
        self.packets += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the file."""
        self._file.close()

    def write(self) -> None:
        """Append what is new."""
        self._file.write(self._audio[self._written :])
        self._file.flush()
        self._written = len(self._audio)


async def receive(streams: int, folder: Path) -> None:
    """Until the end of standard input."""
    loop = asyncio.get_running_loop()
    receivers, ports = [], []
    for number in range(streams):
        link, receiver = await loop.create_datagram_endpoint(
            lambda number=number: Receiver(folder / str(number)),  # type: ignore[misc]
            ("127.0.0.1", 0),
        )
        receivers.append(receiver)
        ports.append(link.get_extra_info("sockname")[1])
    print(json.dumps(ports), flush=True)
    over = asyncio.Event()
    loop.add_reader(sys.stdin, over.set)
    while not over.is_set():
        for receiver in receivers:
            receiver.write()
        try:
            await asyncio.wait_for(over.wait(), 1)
        except TimeoutError:
            continue
    print(sum(receiver.packets for receiver in receivers), flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(receive(options.streams, options.folder))


if __name__ == "__main__":
    main()
