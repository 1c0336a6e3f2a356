"""Many who follow events, in a process of their own: they keep when each event came.

    python -m tests.bench.subscribers --url http://127.0.0.1:8080 --out seen.npy --native 225 \\
        --signalr 225 --deaf 50 < token

Reads the token from the first line of its input; prints a line when all of them follow. At the end
of its input it writes the moments, by `time.monotonic_ns()`, as int64[subscriber, event], a row for
each who still follows, and prints what became of them.
"""

import argparse
import asyncio
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns

import numpy as np

EVENTS = "/srs/v1/events"
HUB = "/attendantservice/hubs/recording"
UCC = "System"
MARKS = {"native": (b'"recording.paused"', b'"recording.resumed"'), "signalr": (b"StateAction",)}
"""What is in an event that counts, by kind of subscriber."""
PING_S = 10.0
DEAF_BYTES = 4096
"""SO_RCVBUF of who never reads."""


class Subscriber(asyncio.Protocol):
    """One WebSocket (RFC 6455) and what came over it."""

    def __init__(self, kind: str, path: str, token: str) -> None:
        self._marks = MARKS[kind]
        self._head = (
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._rest = b""
        self.seen_ns: list[int] = []
        self.is_lost = False
        self.opened = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        """Take frames apart, as far as they have come."""
        now = monotonic_ns()
        self._rest += data
        if not self.opened.done():
            head, end, self._rest = self._rest.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            self.opened.set_result(head.startswith(b"HTTP/1.1 101 "))
        while (frame := first_frame(self._rest)) is not None:
            text, self._rest = frame
            if any(mark in text for mark in self._marks):
                self.seen_ns.append(now)

    def connection_lost(self, exc: Exception | None) -> None:
        """Dropped, or over."""
        self.is_lost = True

    def say(self, *texts: bytes) -> None:
        """Send text messages, masked with zeros as a client must mask."""
        if self._transport and not self._transport.is_closing():
            frames = (bytes((0x81, 0x80 | len(text))) + bytes(4) + text for text in texts)
            self._transport.write(b"".join(frames))

    def turn_deaf(self) -> None:
        """Read nothing any more."""
        assert self._transport
        below = self._transport.get_extra_info("socket")
        below.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DEAF_BYTES)
        self._transport.pause_reading()


def first_frame(data: bytes) -> tuple[bytes, bytes] | None:
    """The payload of a server's first frame, and what follows; None while it is not whole."""
    if len(data) < 2:
        return None
    size, start = data[1], 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(data[2:10], "big"), 10
    if len(data) < start or len(data) < start + size:
        return None
    return data[start : start + size], data[start + size :]


async def subscribed(kind: str, host: str, port: int, token: str) -> Subscriber:
    """Somebody who follows. Raises RuntimeError if they may not."""
    path = EVENTS if kind == "native" else HUB
    make: Callable[[], Subscriber] = lambda: Subscriber(kind, path, token)  # noqa: E731
    _, found = await asyncio.get_running_loop().create_connection(make, host, port)
    if not await found.opened:
        raise RuntimeError(f"{path}: no WebSocket")
    if kind == "signalr":
        found.say(
            b'{"protocol":"json","version":1}\x1e',
            b'{"type":1,"target":"Subscribe","arguments":["%b"]}\x1e' % UCC.encode(),
        )
    return found


async def follow(options: argparse.Namespace) -> None:
    """Until the end of standard input."""
    token = sys.stdin.readline().strip()
    host, port = options.url.removeprefix("http://").rsplit(":", 1)
    kinds = ["native"] * options.native + ["signalr"] * options.signalr
    everybody = [await subscribed(kind, host, int(port), token) for kind in kinds]
    deaf = everybody[:: len(kinds) // options.deaf][: options.deaf] if options.deaf else []
    for each in deaf:
        each.turn_deaf()
    print("follow", flush=True)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, over.set)
    while not over.is_set():
        for each, kind in zip(everybody, kinds, strict=True):
            if kind == "signalr":
                each.say(b'{"type":6}\x1e')
        try:
            await asyncio.wait_for(over.wait(), PING_S)
        except TimeoutError:
            continue
    write(options.out, everybody, deaf, kinds)


def write(out: Path, everybody: list[Subscriber], deaf: list[Subscriber], kinds: list[str]) -> None:
    """What was seen by those who read to the end, and how many did."""
    readers = [
        (each, kind)
        for each, kind in zip(everybody, kinds, strict=True)
        if each not in deaf and not each.is_lost
    ]
    events = min((len(each.seen_ns) for each, _ in readers), default=0)
    np.save(out, np.array([each.seen_ns[:events] for each, _ in readers], np.int64))
    said = {
        "kinds": [kind for _, kind in readers],
        "lost": len(everybody) - len(deaf) - len(readers),
        "whole": sum(len(each.seen_ns) == events for each, _ in readers),
    }
    print(json.dumps(said), flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", type=Path, required=True)
    for name in ("--native", "--signalr", "--deaf"):
        parser.add_argument(name, type=int, default=0)
    asyncio.run(follow(parser.parse_args()))


if __name__ == "__main__":
    main()
