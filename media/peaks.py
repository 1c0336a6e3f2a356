"""Waveform peaks of a file, for drawing it: the largest magnitude in each stretch of samples."""

from collections.abc import Sequence

import numpy as np
from msgspec import json
from numpy.typing import NDArray

MAX_POINTS = 4_000
"""Of one channel: more than a screen is wide."""
MIN_SAMPLES = 160
"""20 ms of 8 kHz: no stretch is shorter."""
FULL_SCALE = 32_768


class Peaks:
    """Collects the peaks of a file of known length while its samples go by."""

    def __init__(self, channels: int, samples: int) -> None:
        self.samples_per_peak = max(MIN_SAMPLES, -(-samples // MAX_POINTS))
        points = -(-samples // self.samples_per_peak)
        self._peaks = np.zeros((channels, points), np.int32)
        self._position = 0

    def add(self, block: Sequence[NDArray[np.int16]]) -> None:
        """The next samples: one int16[n] for each channel, n the same for all, at least 1."""
        each, position, count = self.samples_per_peak, self._position, len(block[0])
        first = position // each
        inner = np.arange((first + 1) * each, position + count, each) - position
        begins = np.append(0, inner)
        for peaks, samples in zip(self._peaks, block, strict=True):
            high = np.maximum.reduceat(samples, begins).astype(np.int32)
            low = np.minimum.reduceat(samples, begins).astype(np.int32)
            target = peaks[first : first + len(begins)]
            np.maximum(target, np.maximum(high, -low), out=target)
        self._position += count

    def encode(self, sample_rate_hz: int) -> bytes:
        """JSON: `sample_rate_hz`, `samples_per_peak`, `channels`: 0 to 1 for each stretch."""
        channels = np.round(self._peaks / FULL_SCALE, 3).tolist()
        return json.encode(
            {
                "sample_rate_hz": sample_rate_hz,
                "samples_per_peak": self.samples_per_peak,
                "channels": channels,
            }
        )
