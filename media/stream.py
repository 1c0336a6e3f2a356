"""The streams of the media process: one `MediaStream` each, and their columns in `StreamTable`."""

import secrets
import socket
from dataclasses import dataclass
from ipaddress import ip_address

import numpy as np

from media import rtcp
from media.spec import StreamReport, StreamSpec

_FIRST_SLOTS = 256

_COLUMNS = np.dtype(
    [
        ("session", "i4"),
        ("index", "u2"),
        ("accepts", "?", 128),
        ("own_ssrc", "u4"),
        ("cname", "S", rtcp.CNAME_OCTETS),
        ("report_due_ns", "i8"),
    ]
)
"""`accepts`: by payload type, is it one that was negotiated? `report_due_ns`: monotonic time of
the next receiver report, 0 while the slot is free."""


@dataclass(slots=True, eq=False)
class MediaStream:
    """One m-line: its sockets, and where it stands in the columns."""

    spec: StreamSpec
    index: int
    """What its rows carry in the spools of its session."""
    session: int
    """Number of its session."""
    rtp: socket.socket
    rtcp: socket.socket
    slot: int = -1
    rtcp_source: tuple[str, int] | None = None
    """Where RTCP last came from."""

    @property
    def rtcp_destination(self) -> tuple[str, int] | None:
        """Where receiver reports go, None while nobody said; a name is never looked up."""
        if self.spec.rtcp_port and _is_literal(self.spec.rtcp_host):
            return self.spec.rtcp_host, self.spec.rtcp_port
        return self.rtcp_source

    def close(self) -> None:
        """Let go of the sockets."""
        self.rtp.close()
        self.rtcp.close()


def _is_literal(host: str) -> bool:
    """Is it an IP address?"""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class StreamTable:
    """Columns by slot; a slot is used again after `remove`."""

    def __init__(self) -> None:
        self.stats = rtcp.ReceptionStats(_FIRST_SLOTS)
        self.columns = np.zeros(_FIRST_SLOTS, _COLUMNS)
        self.streams: dict[int, MediaStream] = {}
        self._free = list(range(_FIRST_SLOTS - 1, -1, -1))

    def add(self, stream: MediaStream, cname: bytes, report_due_ns: int) -> None:
        """Give `stream` a slot; its first receiver report is sent at `report_due_ns`."""
        if not self._free:
            self._grow()
        slot = stream.slot = self._free.pop()
        self.streams[slot] = stream
        self.stats.clear(slot)
        row = self.columns[slot]
        row["session"], row["index"] = stream.session, stream.index
        row["own_ssrc"], row["cname"] = secrets.randbits(32), cname
        row["report_due_ns"] = report_due_ns
        self.change(stream, stream.spec)

    def change(self, stream: MediaStream, spec: StreamSpec) -> None:
        """Put another specification in force; 64 to 95 are RTCP, never RTP (RFC 5761 4)."""
        stream.spec = spec
        accepts = self.columns["accepts"][stream.slot]
        accepts[:] = False
        accepts[[kind for kind in spec.formats if 0 <= kind < 128]] = True
        accepts[64:96] = False

    def remove(self, stream: MediaStream) -> None:
        """Free the slot."""
        del self.streams[stream.slot]
        self.columns["report_due_ns"][stream.slot] = 0
        self._free.append(stream.slot)

    def report(self, stream: MediaStream) -> StreamReport:
        """What was received so far."""
        source = self.stats.sources[stream.slot : stream.slot + 1]
        return StreamReport(
            stream.spec.stream_id,
            packets=int(source["packets"][0]),
            octets=int(source["octets"][0]),
            lost=int(rtcp.lost(source)[0]),
            duplicates=int(source["duplicates"][0]),
            discarded=int(source["discarded"][0]),
            jitter_ms=float(source["jitter"][0]) * 1_000 / rtcp.CLOCK_HZ,
            ssrc=int(source["ssrc"][0]),
            last_arrival_ns=int(source["last_arrival_ns"][0]),
        )

    def _grow(self) -> None:
        """Twice as many slots."""
        before = len(self.columns)
        self.columns = np.concatenate([self.columns, np.zeros(before, _COLUMNS)])
        self.stats.grow(2 * before)
        self._free = list(range(2 * before - 1, before - 1, -1))
