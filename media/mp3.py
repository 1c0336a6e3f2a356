"""A finished WAV file to MP3 (MPEG-2.5 or MPEG-2 layer III), on time to the sample at 8 kHz.

The encoder starts late and pads the end; how much is told in an Info frame at the head of the
file, which players skip and honour: without it everything is heard 1,105 samples late.

    Info frame = frame header | side information, zero | "Info" | flags | frames | octets
                 | seek table (100) | quality | encoder (9) | method | low-pass | peak (4)
                 | gains (4) | flags | bit rate | delay and padding, 12 bits each | misc | gain
                 | preset (2) | music octets (4) | music CRC (2) | CRC of all before (2)
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import lameenc
import numpy as np
from numpy.typing import NDArray

from media.spec import MediaFile, RenderFailed
from media.spool import sha256_of
from media.wav import SAMPLE_BYTES, WavFormat, read_header, replacing

WINDOW_S = 60
QUALITY = 7
"""Without noise shaping: of telephone speech more is kept, in less time, than with LAME's 5."""
BIT_RATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""kbit/s of MPEG-2."""
MPEG_2_5 = 8
"""LAME offers only the first so many for MPEG-2.5."""
SAMPLE_RATES_HZ = (8_000, 12_000, 16_000, 24_000)
"""Rates of MPEG-2.5 and MPEG-2 whose frames all have the same size. What has another rate gets the
one below: speech has little above 12 kHz."""
FRAME_SAMPLES = 576
DELAY = 576
"""Samples the encoder prepends; the 529 of the decoder are known to players."""
_INFO_OCTETS = 177
"""An Info tag with all that is before it in its frame, of a stereo file."""


def make_mp3(
    wav_path: Path, out_path: Path, channels: Literal["mono", "split"], bitrate_kbps: int
) -> MediaFile:
    """Encode a WAV file of ours at the nearest possible bit rate.

    `mono` adds all channels up; `split` keeps the first on the left and adds up the others on the
    right (a file with one channel stays mono). Raises RenderFailed.
    """
    try:
        with wav_path.open("rb") as source:
            form = read_header(source)
            source.seek(form.data_offset)
            return _encode(source, form, out_path, channels, bitrate_kbps)
    except OSError as error:
        raise RenderFailed(f"{wav_path}: {error.strerror or error}") from error


def _encode(
    source: BinaryIO,
    form: WavFormat,
    out_path: Path,
    channels: Literal["mono", "split"],
    bitrate_kbps: int,
) -> MediaFile:
    width = 2 if channels == "split" and form.channels > 1 else 1
    shape = _shape(form.sample_rate_hz, bitrate_kbps)
    encoder = _encoder(width, shape, form.sample_rate_hz)
    with replacing(out_path) as out:
        out.write(bytes(shape.info_bytes))
        for window in _windows(source, form):
            out.write(encoder.encode(mix(window, width).tobytes()))
        out.write(encoder.flush())
        out.flush()
        _patch(out, shape, form.frames * shape.sample_rate_hz // form.sample_rate_hz)
        size = out.seek(0, 2)
    return MediaFile(
        path=str(out_path),
        format="mp3",
        size_bytes=size,
        sha256=sha256_of(out_path),
        channels=width,
        sample_rate_hz=shape.sample_rate_hz,
        duration_ms=form.frames * 1000 // form.sample_rate_hz,
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """What all frames of a file have in common."""

    sample_rate_hz: int
    bitrate_kbps: int
    info_kbps: int
    """Bit rate of the Info frame: the least that has room, else that of the others."""

    @property
    def frame_bytes(self) -> int:
        return self._bytes(self.bitrate_kbps)

    @property
    def info_bytes(self) -> int:
        return self._bytes(self.info_kbps)

    def _bytes(self, bitrate_kbps: int) -> int:
        return _frame_bytes(bitrate_kbps, self.sample_rate_hz)


def _shape(sample_rate_hz: int, bitrate_kbps: int) -> _Shape:
    """The nearest there is to a sampling rate, from below, and to a bit rate."""
    hz = max((each for each in SAMPLE_RATES_HZ if each <= sample_rate_hz), default=8_000)
    rates = BIT_RATES if hz >= 16_000 else BIT_RATES[:MPEG_2_5]
    kbps = min(rates, key=lambda each: abs(each - bitrate_kbps))
    roomy = next(each for each in BIT_RATES if _frame_bytes(each, hz) >= _INFO_OCTETS)
    return _Shape(hz, kbps, max(kbps, roomy))


def _frame_bytes(bitrate_kbps: int, sample_rate_hz: int) -> int:
    return FRAME_SAMPLES // 8 * bitrate_kbps * 1000 // sample_rate_hz


def _encoder(channels: int, shape: _Shape, sample_rate_hz: int) -> "lameenc.Encoder":
    encoder = lameenc.Encoder()
    encoder.set_channels(channels)
    encoder.set_in_sample_rate(sample_rate_hz)
    encoder.set_out_sample_rate(shape.sample_rate_hz)
    encoder.set_bit_rate(shape.bitrate_kbps)
    encoder.set_quality(QUALITY)
    encoder.silence()
    return encoder


def _windows(source: BinaryIO, form: WavFormat) -> Iterator[NDArray[np.int16]]:
    """int16[n, channels], a minute each."""
    each = WINDOW_S * form.sample_rate_hz * form.channels * SAMPLE_BYTES
    left = form.frames * form.channels * SAMPLE_BYTES
    while left:
        octets = source.read(min(each, left))
        if not octets:
            raise RenderFailed("the WAV file is shorter than its header says")
        left -= len(octets)
        yield np.frombuffer(octets, "<i2").reshape(-1, form.channels)


def mix(window: NDArray[np.int16], channels: int) -> NDArray[np.int16]:
    """int16[n, m] to int16[n, channels]: one: the sum of all; two: the first, the sum of the rest.

    Sums are clipped, not scaled: the parties of a call rarely speak at once, and should not be
    half as loud because they could.
    """
    if window.shape[1] <= channels:
        return window
    parts = [window[:, :1], window[:, 1:]] if channels == 2 else [window]
    sums = np.stack([part.sum(axis=1, dtype=np.int32) for part in parts], axis=1)
    mixed: NDArray[np.int16] = np.clip(sums, -32768, 32767).astype(np.int16)
    return mixed


def _patch(out: BinaryIO, shape: _Shape, samples: int) -> None:
    """Put the Info frame into the room left for it, now that the frames are known."""
    size = out.seek(0, 2)
    out.seek(shape.info_bytes)
    first = out.read(4)
    out.seek(0)
    out.write(_info(first, shape, samples, size))


def _info(first: bytes, shape: _Shape, samples: int, size: int) -> bytes:
    """The Info frame of a file of `size` octets whose first frame begins with `first`."""
    room = shape.info_bytes
    frames = (size - room) // shape.frame_bytes
    padding = max(0, min(4095, frames * FRAME_SAMPLES - DELAY - samples))
    rate_index = BIT_RATES.index(shape.info_kbps) + 1
    mono = first[3] >> 6 == 3
    head = (
        first[:2] + bytes((rate_index << 4 | first[2] & 0x0C, first[3])) + bytes(9 if mono else 17)
    )
    xing = struct.pack(">4sIII", b"Info", 15, frames, size) + bytes(
        i * 256 // 100 for i in range(100)
    )
    lame = struct.pack(
        ">I9sBBIHHBB3sBBHIH",
        100 - 10 * QUALITY,
        b"LAME3.100",
        1,
        0,
        0,
        0,
        0,
        0,
        shape.bitrate_kbps,
        (DELAY << 12 | padding).to_bytes(3, "big"),
        0,
        0,
        0,
        size,
        0,
    )
    tag = head + xing + lame
    return (tag + _crc16(tag).to_bytes(2, "big")).ljust(room, b"\0")


def _crc16(octets: bytes) -> int:
    """CRC-16 with polynomial 0x8005, bits reversed, as LAME uses it."""
    crc = 0
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
