import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from media.peaks import Peaks


@settings(deadline=None)
@given(
    samples=st.integers(0, 3_000),
    channels=st.integers(1, 3),
    pieces=st.lists(st.integers(1, 700), max_size=8),
)
def test_any_division_into_blocks_gives_the_same(
    samples: int, channels: int, pieces: list[int]
) -> None:
    audio = np.random.default_rng(3).integers(-32768, 32768, (channels, samples), dtype=np.int16)
    peaks, at = Peaks(channels, samples), 0
    for size in [*pieces, samples]:
        if at < samples:
            peaks.add([channel[at : at + size] for channel in audio])
            at += size
    drawn = json.decode(peaks.encode(8_000))
    assert (drawn["sample_rate_hz"], drawn["samples_per_peak"]) == (8_000, 160)
    expected = [
        [round(max(abs(int(s)) for s in c[i : i + 160]) / 32768, 3) for i in range(0, samples, 160)]
        for c in audio
    ]
    assert drawn["channels"] == expected


def test_a_long_file_has_no_more_points_than_a_short_one() -> None:
    peaks = Peaks(1, 12 * 3_600 * 8_000)
    drawn = json.decode(peaks.encode(8_000))
    assert len(drawn["channels"][0]) == 4_000
    assert drawn["samples_per_peak"] * 4_000 == 12 * 3_600 * 8_000


def test_the_loudest_sample_is_one_and_silence_is_nothing() -> None:
    peaks = Peaks(2, 320)
    peaks.add([np.array([-32768] * 320, np.int16), np.zeros(320, np.int16)])
    assert json.decode(peaks.encode(8_000))["channels"] == [[1.0, 1.0], [0.0, 0.0]]
