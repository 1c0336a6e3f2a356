"""The RTP port range: pairs of bound sockets, given out and taken back (RFC 3550 11)."""

import random
import socket
from collections import deque
from dataclasses import dataclass

from media.spec import PortsExhausted

QUARANTINE_S = 5.0
"""A port rests this long, so that late packets of one call do not reach the next."""
RECEIVE_BUFFER_OCTETS = 256 << 10
"""Asked of the kernel, which doubles it: some 600 packets of 20 ms G.711."""
SO_TIMESTAMPNS = 35
"""`SO_TIMESTAMPNS_OLD` of asm-generic/socket.h; the socket module has no name for it."""


@dataclass(frozen=True, slots=True)
class PortPair:
    """Two bound sockets: RTP on an even port, RTCP on the one above."""

    port: int
    rtp: socket.socket
    rtcp: socket.socket

    def close(self) -> None:
        """Close both."""
        self.rtp.close()
        self.rtcp.close()


class RtpPortPool:
    """The pairs of a range on one local address, in an order nobody can guess."""

    def __init__(self, address: str, first: int, last: int) -> None:
        self._address = address
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        even = range(first + first % 2, last, 2)
        self._free = deque(random.sample(even, len(even)))
        self._resting: deque[tuple[float, int]] = deque()

    def take(self, count: int, now: float) -> list[PortPair]:
        """Bind `count` pairs; ports other programs hold are passed over.

        `now`: seconds, monotonic. Raises `PortsExhausted`, and then holds none.
        """
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
        pairs: list[PortPair] = []
        for _ in range(len(self._free)):
            if len(pairs) == count:
                break
            port = self._free.popleft()
            try:
                pairs.append(self._bind(port))
            except OSError:
                self._free.append(port)
        if len(pairs) < count:
            for pair in pairs:
                pair.close()
                self._free.append(pair.port)
            raise PortsExhausted(f"{count} pairs of RTP ports wanted, {len(pairs)} free")
        return pairs

    def give_back(self, pair: PortPair, now: float) -> None:
        """Close a pair; its ports are given out again after `QUARANTINE_S`."""
        pair.close()
        self._resting.append((now + QUARANTINE_S, pair.port))

    def _bind(self, port: int) -> PortPair:
        rtp = self._socket(port)
        try:
            return PortPair(port, rtp, self._socket(port + 1))
        except OSError:
            rtp.close()
            raise

    def _socket(self, port: int) -> socket.socket:
        bound = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            bound.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
            bound.bind((self._address, port))
        except OSError:
            bound.close()
            raise
        return bound
