import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.codecs import CODECS
from media.codecs.g711 import ALAW, ULAW

FFMPEG = {"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw"}


@pytest.mark.parametrize("name", FFMPEG)
def test_every_code_is_what_another_decoder_says(name: str) -> None:
    octets = np.arange(256, dtype=np.uint8)
    decoder = av.CodecContext.create(FFMPEG[name], "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = 8000, "mono"
    expected = decoder.decode(av.Packet(octets.tobytes()))[0].to_ndarray()[0]
    assert np.array_equal(CODECS[name].decode(octets), expected)


def test_values_of_the_standard() -> None:
    assert (ULAW[0xFF], ULAW[0x7F], ULAW[0x80], ULAW[0x00]) == (0, 0, 32124, -32124)
    assert (ALAW[0xD5], ALAW[0x55], ALAW[0xAA], ALAW[0x2A]) == (8, -8, 32256, -32256)


@settings(deadline=None)
@given(count=st.integers(0, 6), size=st.integers(1, 7), name=st.sampled_from(sorted(CODECS)))
def test_shape_and_parity_do_not_matter(count: int, size: int, name: str) -> None:
    octets = (np.arange(count * size) * 37 % 256).astype(np.uint8).reshape(count, size)
    samples = CODECS[name].decode(octets)
    table = {"PCMU": ULAW, "PCMA": ALAW}[name]
    assert samples.dtype == np.int16
    assert np.array_equal(samples, table[octets])
