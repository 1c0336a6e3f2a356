"""Spools for tests: packets composed one by one, in blocks as the media process writes them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from media.spool import ROW, SpoolEvent, encode_event, encode_packets

START_NS = 1_790_000_000_000_000_000
MS = 1_000_000
PCMU = {0: "PCMU", 8: "PCMA", 13: "CN", 101: "telephone-event"}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; times in milliseconds since the start."""

    at_ms: float
    sequence_number: int
    timestamp: int
    payload: bytes
    ssrc: int = 0x1234
    stream: int = 0
    payload_type: int = 0


def at(ms: float) -> int:
    """Nanoseconds of the wall clock, `ms` after the start."""
    return START_NS + round(ms * MS)


def start(**kwargs: str) -> SpoolEvent:
    return SpoolEvent("start", START_NS, recording_id=kwargs.get("recording_id", "rec"))


def stream(
    index: int = 0, label: str = "", at_ms: float = 0, formats: dict[int, str] | None = None
) -> SpoolEvent:
    """Declares stream `s<index>`."""
    return SpoolEvent(
        "stream",
        at(at_ms),
        stream=index,
        stream_id=f"s{index}",
        label=label or str(index),
        formats=formats or PCMU,
    )


def pause(at_ms: float, *, fill: bool = True) -> SpoolEvent:
    return SpoolEvent("pause", at(at_ms), fill=fill)


def resume(at_ms: float) -> SpoolEvent:
    return SpoolEvent("resume", at(at_ms))


def stop(at_ms: float, dropped: int = 0) -> SpoolEvent:
    return SpoolEvent("stop", at(at_ms), dropped=dropped)


def talk(
    samples: bytes,
    first_ms: float = 0,
    sequence_number: int = 0,
    timestamp: int = 0,
    size: int = 160,
    **kwargs: int,
) -> list[Packet]:
    """Packets of `size` samples, each arriving when its first sample plays."""
    return [
        Packet(
            first_ms + begin / 8,
            (sequence_number + begin // size) & 0xFFFF,
            (timestamp + begin) & 0xFFFFFFFF,
            samples[begin : begin + size],
            **kwargs,
        )
        for begin in range(0, len(samples), size)
    ]


def rows(packets: Sequence[Packet]) -> np.ndarray:
    """ROW[n] of the packets."""
    return np.array(
        [
            (
                at(p.at_ms),
                p.timestamp,
                p.ssrc,
                p.sequence_number,
                len(p.payload),
                p.stream,
                p.payload_type,
                0,
            )
            for p in packets
        ],
        ROW,
    )


def block(packets: Sequence[Packet]) -> bytes:
    """One PACKETS block."""
    payload = b"".join(packet.payload for packet in packets)
    return encode_packets(rows(packets), payload, at(packets[-1].at_ms if packets else 0))


@dataclass(slots=True)
class Tape:
    """A spool in the making."""

    path: Path
    blocks: list[bytes] = field(default_factory=list)

    def events(self, *events: SpoolEvent) -> "Tape":
        self.blocks += [encode_event(event) for event in events]
        return self

    def packets(self, packets: Iterable[Packet], each: int = 40) -> "Tape":
        """Blocks of `each` packets, in the order given."""
        all_ = list(packets)
        self.blocks += [block(all_[i : i + each]) for i in range(0, len(all_), each)]
        return self

    def write(self) -> Path:
        self.path.write_bytes(b"".join(self.blocks))
        return self.path


def write(
    path: Path, packets: Iterable[Packet], *events: SpoolEvent, streams: int = 1, stop_ms: float = 0
) -> Path:
    """A whole recording: start, streams, packets by arrival, other events, stop (unless 0)."""
    tape = Tape(path).events(start(), *(stream(i) for i in range(streams)))
    tape.packets(sorted(packets, key=lambda packet: packet.at_ms)).events(*events)
    return (tape.events(stop(stop_ms)) if stop_ms else tape).write()
