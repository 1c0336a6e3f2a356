"""Many who follow events, in a process of their own: they keep when each event came.

    python -m tests.bench.subscribers --url http://127.0.0.1:8080 --out seen.npy --native 225 \\
        --signalr 225 --deaf 50 < token

Reads the token from the first line of its input; prints a line when all of them follow. At the end
of its input it writes the moments, by `time.monotonic_ns()`, as int64[subscriber, event], a row for
each who saw everything, and prints how many did not.
"""

import argparse
import json
import select
import socket
import sys
import time
from pathlib import Path

import numpy as np

EVENTS = "/srs/v1/events"
HUB = "/attendantservice/hubs/recording"
UCC = "System"
MARKS = {"native": (b'"recording.paused"', b'"recording.resumed"'), "signalr": (b"StateAction",)}
"""What is in an event that counts, by kind of subscriber."""
PING = b'{"type":6}\x1e'
PING_S = 10.0
WS_PING, WS_PONG = b"\x89\x00", b"\x8a\x80" + bytes(4)
"""Frames without a payload; no text has the bytes of the first."""
DEAF_BYTES = 4096
"""SO_RCVBUF of who never reads."""


class Subscriber:
    """One WebSocket (RFC 6455) and what came over it.

    While it follows it only keeps what comes and when: taking it apart would delay the others.
    """

    def __init__(self, kind: str, address: tuple[str, int], token: str, *, is_deaf: bool) -> None:
        """Raises OSError, RuntimeError if it may not follow."""
        self.kind = kind
        self.is_deaf = is_deaf
        self.is_lost = False
        self.chunks: list[tuple[int, bytes]] = []
        self.socket = socket.create_connection(address)
        if is_deaf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DEAF_BYTES)
        path = EVENTS if kind == "native" else HUB
        self._open(path, token)
        if kind == "signalr":
            call = b'{"type":1,"target":"Subscribe","arguments":["%b"]}\x1e' % UCC.encode()
            self.say(b'{"protocol":"json","version":1}\x1e', call)
        self.socket.setblocking(False)

    def _open(self, path: str, token: str) -> None:
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := self.socket.recv(4096)):
                raise RuntimeError(f"{path}: closed")
            head += data
        if not head.startswith(b"HTTP/1.1 101 "):
            raise RuntimeError(f"{path}: no WebSocket: {head[:40]!r}")
        self.chunks.append((0, head.partition(b"\r\n\r\n")[2]))

    def say(self, *texts: bytes) -> None:
        """Send text messages, masked with zeros as a client must mask."""
        self._send(*(bytes((0x81, 0x80 | len(text))) + bytes(4) + text for text in texts))

    def _send(self, *frames: bytes) -> None:
        try:
            self.socket.send(b"".join(frames))
        except OSError:
            self.is_lost = True

    def read(self) -> None:
        """Keep what has come."""
        try:
            data = self.socket.recv(65_536)
        except OSError:
            data = b""
        self.chunks.append((time.monotonic_ns(), data))
        self.is_lost = self.is_lost or not data
        if WS_PING in data:
            self._send(WS_PONG)

    def seen_ns(self) -> list[int]:
        """When each event that counts was whole."""
        seen, rest = [], b""
        for at_ns, data in self.chunks:
            rest += data
            while (frame := first_frame(rest)) is not None:
                text, rest = frame
                if any(mark in text for mark in MARKS[self.kind]):
                    seen.append(at_ns)
        return seen


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


def follow(everybody: list[Subscriber]) -> None:
    """Until the end of standard input."""
    poll, by_number = select.epoll(), {each.socket.fileno(): each for each in everybody}
    for each in everybody:
        if not each.is_deaf:
            poll.register(each.socket, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLIN)
    ping_at = time.monotonic() + PING_S
    while True:
        for number, _ in poll.poll(1.0):
            if number == sys.stdin.fileno():
                return
            reader = by_number[number]
            reader.read()
            if reader.is_lost:
                poll.unregister(number)
        if time.monotonic() >= ping_at:
            ping_at += PING_S
            for each in everybody:
                if each.kind == "signalr":
                    each.say(PING)


def report(out: Path, everybody: list[Subscriber]) -> None:
    """What was seen by those who read to the end, and how many saw everything."""
    readers = [each for each in everybody if not (each.is_deaf or each.is_lost)]
    seen_ns = [each.seen_ns() for each in readers]
    events = max(map(len, seen_ns), default=0)
    whole = [
        (each.kind, row) for each, row in zip(readers, seen_ns, strict=True) if len(row) == events
    ]
    np.save(out, np.array([row for _, row in whole], np.int64))
    short = sum(not each.is_deaf for each in everybody) - len(whole)
    print(json.dumps({"kinds": [kind for kind, _ in whole], "short": short}), flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", type=Path, required=True)
    for name in ("--native", "--signalr", "--deaf"):
        parser.add_argument(name, type=int, default=0)
    options = parser.parse_args()
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as unbuffered:
        token = unbuffered.readline().decode().strip()
    host, port = options.url.removeprefix("http://").rsplit(":", 1)
    kinds = ["native"] * options.native + ["signalr"] * options.signalr
    step = len(kinds) // options.deaf if options.deaf else len(kinds) + 1
    everybody = [
        Subscriber(kind, (host, int(port)), token, is_deaf=number % step == step - 1)
        for number, kind in enumerate(kinds)
    ]
    print("follow", flush=True)
    follow(everybody)
    report(options.out, everybody)


if __name__ == "__main__":
    main()
