from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from media import spool
from media.clock import steadied
from media.timeline import build
from tests.media.spools import Packet, Tape, at, pause, resume, start, stop, stream, talk

NOISE = np.random.default_rng(17).integers(0, 256, 160_000, dtype=np.uint8).tobytes()


def set_back(packets: list[Packet], since_ms: float, by_ms: float) -> list[Packet]:
    return [replace(p, at_ms=p.at_ms - by_ms * (p.at_ms >= since_ms)) for p in packets]


@pytest.mark.parametrize("span_ms", [100, 800])
def test_a_clock_that_runs_is_left_alone(tmp_path: Path, span_ms: int) -> None:
    packets = talk(NOISE[:16_000]) + talk(NOISE[:16_000], 5, stream=1)
    packets.sort(key=lambda p: (p.at_ms // span_ms, p.stream))
    made = Tape(tmp_path / "a.srsp").events(start(), stream(0), stream(1)).packets(packets)
    read = spool.read(made.events(stop(2_000)).write())
    assert steadied(read) is read


@pytest.mark.parametrize("by_ms", [600, 1_500, 86_400_000])
def test_a_clock_that_is_set_back_loses_nothing(tmp_path: Path, by_ms: int) -> None:
    packets = set_back(talk(NOISE[:80_000]), 4_000, by_ms)
    others = set_back(talk(NOISE[80_000:160_000], 7, ssrc=2, stream=1), 4_000, by_ms)
    both = [p for pair in zip(packets, others, strict=True) for p in pair]
    made = Tape(tmp_path / "a.srsp").events(start(), stream(0), stream(1)).packets(both)
    made.events(stop(10_020 - by_ms))
    timeline = build(spool.read(made.write()))
    assert abs(timeline.length - 80_160) <= 320
    for track, first in zip(timeline.tracks, (0, 56), strict=True):
        (layer,) = track.layers
        assert layer.start.tolist() == [first + n * 160 for n in range(500)]
        assert (track.lost, [g for g in track.gaps if g.start_ms < 9_000]) == (0, [])


def test_events_after_the_step_move_with_the_packets(tmp_path: Path) -> None:
    packets = set_back(talk(NOISE[:80_000]), 4_000, 3_000)
    before, after = packets[:300], packets[400:]
    made = Tape(tmp_path / "a.srsp").events(start(), stream()).packets(before)
    made.events(pause(6_000 - 3_000, fill=False), resume(8_000 - 3_000)).packets(after)
    read = spool.read(made.events(stop(10_000 - 3_000)).write())
    assert read.rows_before == (0, 0, 300, 300, 400)
    events = steadied(read).events
    late = [event.at_ns - at(0) for event in events[2:]]
    assert late == [(ms - 20) * 1_000_000 for ms in (6_000, 8_000, 10_000)]
    timeline = build(read)
    assert (timeline.paused, timeline.samples) == (2_000 * 8, 8_020 * 8)
    assert [int(layer.size.sum()) for layer in timeline.tracks[0].layers] == [400 * 160]
