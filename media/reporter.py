"""RTCP on the wire: takes in sender reports, sends receiver reports when they are due.

RTCP goes on while nothing is recorded and while a stream is inactive (RFC 3264 8.4); it leaves from
the port it comes to (RFC 4961). What peers send has no power over a recording.
"""

import random
import select
import time

import numpy as np

from media import rtcp
from media.stream import MediaStream, StreamTable

_DATAGRAMS = 256
"""Read in one go; the rest waits for the next."""
_OCTETS = 2_048


def interval_ns(*, first: bool = False) -> int:
    """Time to the next report of a stream, half as long before the first (RFC 3550 6.2)."""
    mean = rtcp.INTERVAL_S / 2 if first else rtcp.INTERVAL_S
    return round(mean * random.uniform(0.5, 1.5) * 1_000_000_000)


class Reporter:
    """The RTCP sockets of all streams."""

    def __init__(self, table: StreamTable) -> None:
        self._table = table
        self._streams: dict[int, MediaStream] = {}
        self._poll = select.epoll()

    def add(self, stream: MediaStream) -> None:
        """Begin to listen for a stream."""
        self._streams[stream.rtcp.fileno()] = stream
        self._poll.register(stream.rtcp, select.EPOLLIN)

    def remove(self, stream: MediaStream) -> None:
        """Stop listening; call it before the socket is closed."""
        self._poll.unregister(stream.rtcp)
        del self._streams[stream.rtcp.fileno()]

    def receive(self) -> None:
        """Take in what came."""
        for descriptor, _ in self._poll.poll(0, _DATAGRAMS):
            stream = self._streams[descriptor]
            try:
                datagram, source = stream.rtcp.recvfrom(_OCTETS)
            except OSError:
                continue
            stream.rtcp_source = source[:2]
            for ssrc, ntp in rtcp.sender_reports(datagram):
                self._table.stats.hear(stream.slot, ssrc, ntp, time.monotonic_ns())

    def send_due(self) -> None:
        """Send the reports whose time has come."""
        now_ns = time.monotonic_ns()
        columns = self._table.columns
        due = columns["report_due_ns"]
        ready = np.flatnonzero((due > 0) & (due <= now_ns)).tolist()
        for slot in ready:
            due[slot] = now_ns + interval_ns()
        streams = [self._table.streams[slot] for slot in ready]
        streams = [stream for stream in streams if stream.rtcp_destination is not None]
        if not streams:
            return
        slots = np.array([stream.slot for stream in streams])
        packets = rtcp.receiver_reports(
            self._table.stats, slots, columns["own_ssrc"][slots], columns["cname"][slots], now_ns
        )
        for stream, packet in zip(streams, packets, strict=True):
            self._send(stream, packet)

    def _send(self, stream: MediaStream, packet: bytes) -> None:
        """A report that cannot leave is left out, as if it was lost."""
        if stream.rtcp_destination is not None:
            try:
                stream.rtcp.sendto(packet, stream.rtcp_destination)
            except OSError:
                return
