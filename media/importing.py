"""A WAV file from outside to one of ours: 16-bit PCM, with its waveform peaks.

What it holds is read from its `fmt ` chunk, whatever it is called and whatever its sizes claim:

    RIFF size WAVE | … | fmt  size | format, channels, rate, octets a second, block align, bits
                         [size of the rest, valid bits, speakers, sub-format (16)] | … | data size …

Recorders that are cut off leave 0, 0xFFFFFFFF or too much as the size of `data`: then it goes as
far as the file does. A stretch of samples is worked on at a time, so that memory does not grow with
the file. Counterpart: `media.wav`, whose headers are what we write.
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from media import wav
from media.codecs.g711 import decode_alaw, decode_ulaw
from media.mp3 import mix
from media.peaks import Peaks
from media.spec import Rendered, RenderFailed, UnusableAudio

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000
MAX_CHANNELS = 2
MAX_CHUNKS = 1_000
"""Chunks looked at for `fmt ` and `data`; real files have some ten, and each costs a seek."""
REPAIRED = "audio_size_repaired"
"""Warning: the file did not say, or said wrongly, how much audio there is."""
_WINDOW = 1 << 16
"""Frames worked on at a time."""
_EXTENSIBLE = 0xFFFE
_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")
"""Of a WAVE_FORMAT_EXTENSIBLE, after the two octets that name the format."""
_UNKNOWN = 0xFFFFFFFF
_FORMAT = struct.Struct("<HHIIHH")
_CHUNK = struct.Struct("<4sI")

Octets = NDArray[np.uint8]
Samples = NDArray[np.int16]


def _pcm(octets: Octets) -> Samples:
    return octets.view("<i2").astype(np.int16, copy=False)


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How samples lie in a file."""

    width: int
    """Octets of a sample."""
    decode: Callable[[Octets], Samples]


ENCODINGS = {1: _Encoding(2, _pcm), 6: _Encoding(1, decode_alaw), 7: _Encoding(1, decode_ulaw)}
"""Format of a `fmt ` chunk -> encoding: PCM, A-law, mu-law."""
_NAMES = {2: "ADPCM", 3: "floating point", 17: "IMA ADPCM", 49: "GSM 6.10", 85: "MP3"}
"""Formats that people try, for the refusal."""


@dataclass(frozen=True, slots=True)
class _Audio:
    """What was found in a file."""

    encoding: _Encoding
    channels: int
    sample_rate_hz: int
    offset: int
    """Octet at which the samples begin."""
    frames: int
    """Samples of each channel."""
    is_repaired: bool


@dataclass(frozen=True, slots=True)
class _Data:
    """A `data` chunk."""

    offset: int
    size: int
    """Octets that are there."""
    is_repaired: bool


def import_audio(source: Path, out_dir: Path, recording_id: str, *, keep_stereo: bool) -> Rendered:
    """Make `<recording_id>.wav` and `<recording_id>.peaks.json` in `out_dir`.

    `source`: a WAV file of 16-bit PCM, A-law or mu-law, mono or stereo, 8 to 48 kHz; its rate is
    kept, two channels are mixed unless `keep_stereo`. Raises UnusableAudio that says what is wrong
    with it, RenderFailed when a file cannot be read or written.
    """
    try:
        with source.open("rb") as file:
            audio = _inspect(file, os.fstat(file.fileno()).st_size)
            return _convert(file, audio, out_dir, recording_id, keep_stereo)
    except OSError as error:
        raise RenderFailed(f"{source}: {error.strerror or error}") from error


def _convert(
    file: BinaryIO, audio: _Audio, out_dir: Path, recording_id: str, keep_stereo: bool
) -> Rendered:
    channels = audio.channels if keep_stereo else 1
    peaks = Peaks(channels, audio.frames)
    blocks = ([*mix(window, channels).T] for window in _windows(file, audio))
    target = out_dir / f"{recording_id}.wav"
    made = wav.write(target, channels, audio.sample_rate_hz, audio.frames, blocks, peaks)
    peaks_path = out_dir / f"{recording_id}.peaks.json"
    with wav.replacing(peaks_path) as out:
        out.write(peaks.encode(audio.sample_rate_hz))
    warnings = (REPAIRED,) if audio.is_repaired else ()
    return Rendered(made, str(peaks_path), (), made.duration_ms, 0, warnings)


def _windows(file: BinaryIO, audio: _Audio) -> Iterator[Samples]:
    """The samples, int16[n, channels] at a time."""
    file.seek(audio.offset)
    align = audio.encoding.width * audio.channels
    for begin in range(0, audio.frames, _WINDOW):
        octets = file.read(align * min(_WINDOW, audio.frames - begin))
        if len(octets) % align or not octets:
            raise RenderFailed("the file became shorter while it was read")
        samples = audio.encoding.decode(np.frombuffer(octets, np.uint8))
        yield samples.reshape(-1, audio.channels)


def _inspect(file: BinaryIO, size: int) -> _Audio:
    """What a file of `size` octets holds. Raises UnusableAudio."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise UnusableAudio("not a WAV file")
    form, data = _chunks(file, size)
    if form is None:
        raise UnusableAudio("a WAV file without a readable fmt chunk")
    encoding, channels, rate = _form(form)
    if data is None:
        raise UnusableAudio("a WAV file without a data chunk")
    frames = data.size // (encoding.width * channels)
    if not frames:
        raise UnusableAudio("a WAV file without audio")
    return _Audio(encoding, channels, rate, data.offset, frames, data.is_repaired)


def _chunks(file: BinaryIO, size: int) -> tuple[bytes | None, _Data | None]:
    """The first `fmt ` chunk, as far as it concerns us, and the first `data` chunk."""
    form: bytes | None = None
    data: _Data | None = None
    for _ in range(MAX_CHUNKS):
        head = file.read(_CHUNK.size)
        if len(head) < _CHUNK.size:
            return form, data
        name, stated = _CHUNK.unpack(head)
        begin = file.tell()
        if name == b"fmt " and form is None:
            form = file.read(min(stated, 40))
        elif name == b"data" and data is None:
            data = _data(begin, stated, size)
            stated = data.size
        if form is not None and data is not None:
            return form, data
        _pass(file, begin + stated, stated)
    raise UnusableAudio(f"a WAV file with more than {MAX_CHUNKS} chunks before its audio")


def _data(begin: int, stated: int, size: int) -> _Data:
    """The `data` chunk of a file of `size` octets that begins at `begin`."""
    there = size - begin
    is_known = 0 < stated <= there and stated != _UNKNOWN
    return _Data(begin, stated if is_known else there, is_repaired=not is_known)


def _pass(file: BinaryIO, end: int, stated: int) -> None:
    """Go to the chunk after the one that ends at `end`.

    What has an odd size is followed by a zero, which some writers forget.
    """
    file.seek(end)
    if stated % 2 and file.read(1) not in {b"", b"\0"}:
        file.seek(end)


def _form(form: bytes) -> tuple[_Encoding, int, int]:
    """Encoding, channels and sampling rate of a `fmt ` chunk. Raises UnusableAudio."""
    if len(form) < _FORMAT.size:
        raise UnusableAudio("a WAV file with a fmt chunk that is too short")
    tag, channels, rate, _, align, bits = _FORMAT.unpack_from(form)
    if tag == _EXTENSIBLE and form[26:40] == _SUBFORMAT:
        tag = int.from_bytes(form[24:26], "little")
    encoding = ENCODINGS.get(tag)
    if encoding is None or (tag == 1 and bits != 16):
        raise UnusableAudio(f"{_name(tag, bits)}: not 16-bit PCM, A-law or mu-law")
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnusableAudio(f"{channels} channels: neither mono nor stereo")
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise UnusableAudio(f"{rate} Hz: not between {MIN_RATE_HZ} and {MAX_RATE_HZ}")
    if align != encoding.width * channels:
        raise UnusableAudio(
            f"a block align of {align} octets where {encoding.width * channels} fit"
        )
    return encoding, channels, rate


def _name(tag: int, bits: int) -> str:
    return f"{bits}-bit PCM" if tag == 1 else _NAMES.get(tag, f"format {tag:#06x}")
