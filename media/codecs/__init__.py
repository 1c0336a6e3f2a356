"""The encodings that can be decoded, by their name in SDP (`a=rtpmap`)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.codecs import g711


@dataclass(frozen=True, slots=True)
class Codec:
    """How payloads of one encoding become samples."""

    clock_rate_hz: int
    """Of the RTP timestamp."""
    sample_rate_hz: int
    """Of what `decode` returns."""
    decode: Callable[[NDArray[np.uint8]], NDArray[np.int16]]
    """Payloads of one length, uint8[n, octets], to int16[n, samples]."""


CODECS = {
    "PCMU": Codec(8000, 8000, g711.decode_ulaw),
    "PCMA": Codec(8000, 8000, g711.decode_alaw),
}
"""Encoding name -> codec. What is not here is kept in the spool but not rendered."""
