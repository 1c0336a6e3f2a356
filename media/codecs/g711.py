"""G.711: one octet is one sample, so decoding is a look-up (ITU-T G.711; RFC 3551 4.5.14).

The tables follow the standard's piecewise-linear segments:

     7   6   5   4   3   2   1   0
    +---+-----------+---------------+
    | s |  segment  |   interval    |    mu-law: all bits inverted, A-law: even bits inverted
    +---+-----------+---------------+
"""

import numpy as np
from numpy.typing import NDArray


def _ulaw_table() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.uint8)
    segment, interval = code >> 4 & 7, (code & 15).astype(np.int32)
    magnitude = (((interval << 3) + 132) << segment) - 132
    return np.where(code & 128, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    segment, interval = code >> 4 & 7, (code & 15).astype(np.int32)
    steps = np.where(segment == 0, (interval << 4) + 8, (interval << 4) + 264)
    magnitude = steps << np.maximum(segment.astype(np.int32) - 1, 0)
    return np.where(code & 128, magnitude, -magnitude).astype(np.int16)


def _pairs(table: NDArray[np.int16]) -> NDArray[np.uint32]:
    """Two octets in, two samples out, as they lie in memory: half the look-ups."""
    octets = np.arange(65536, dtype=np.uint16).view(np.uint8)
    return table[octets].view(np.uint32)


ULAW, ALAW = _ulaw_table(), _alaw_table()
_ULAW_PAIRS, _ALAW_PAIRS = _pairs(ULAW), _pairs(ALAW)


def decode_ulaw(octets: NDArray[np.uint8]) -> NDArray[np.int16]:
    """PCMU octets (uint8, contiguous, any shape) to samples (int16, same shape)."""
    return _decode(octets, ULAW, _ULAW_PAIRS)


def decode_alaw(octets: NDArray[np.uint8]) -> NDArray[np.int16]:
    """PCMA octets (uint8, contiguous, any shape) to samples (int16, same shape)."""
    return _decode(octets, ALAW, _ALAW_PAIRS)


def _decode(
    octets: NDArray[np.uint8], table: NDArray[np.int16], pairs: NDArray[np.uint32]
) -> NDArray[np.int16]:
    if octets.size % 2:
        return table[octets]
    samples = np.empty(octets.shape, np.int16)
    np.take(
        pairs,
        octets.reshape(-1).view(np.uint16),
        out=samples.reshape(-1).view(np.uint32),
        mode="wrap",
    )
    return samples
