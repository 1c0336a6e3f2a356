"""WAV files of 16-bit PCM: the header, RF64 beyond 4 GiB, files that appear whole or not at all.

    RIFF size WAVE | fmt  16 ... | data size | samples, interleaved, little-endian
    RF64 ~0   WAVE | ds64 28 riff size, data size, samples | fmt  16 ... | data ~0 | ...

RF64 is EBU Tech 3306.
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from media.peaks import Peaks
from media.spec import MediaFile, RenderFailed

SAMPLE_BYTES = 2
_UNKNOWN = 0xFFFFFFFF
_PCM = 1
_RIFF = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_DS64 = struct.Struct("<QQQI")


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What is in a WAV file, and where."""

    channels: int
    sample_rate_hz: int
    frames: int
    """Samples of each channel."""
    data_offset: int
    """Octet at which the samples begin."""


def header(channels: int, sample_rate_hz: int, frames: int) -> bytes:
    """Everything before the samples: 44 octets, or 80 for RF64."""
    align = channels * SAMPLE_BYTES
    form = _CHUNK.pack(b"fmt ", _FORMAT.size) + _FORMAT.pack(
        _PCM, channels, sample_rate_hz, sample_rate_hz * align, align, 8 * SAMPLE_BYTES
    )
    data_bytes = frames * align
    size = 4 + len(form) + _CHUNK.size + data_bytes
    if size <= _UNKNOWN:
        return _RIFF.pack(b"RIFF", size, b"WAVE") + form + _CHUNK.pack(b"data", data_bytes)
    size += _CHUNK.size + _DS64.size
    ds64 = _CHUNK.pack(b"ds64", _DS64.size) + _DS64.pack(size, data_bytes, frames, 0)
    head = _RIFF.pack(b"RF64", _UNKNOWN, b"WAVE")
    return head + ds64 + form + _CHUNK.pack(b"data", _UNKNOWN)


def write(
    path: Path,
    channels: int,
    sample_rate_hz: int,
    frames: int,
    blocks: Iterable[Sequence[NDArray[np.int16]]],
    peaks: Peaks,
) -> MediaFile:
    """A file of `frames` samples a channel, and what is known of it; the peaks learn of them too.

    `blocks`: stretches of the samples in their order, each an array of int16 for each channel.
    Raises RenderFailed.
    """
    head = header(channels, sample_rate_hz, frames)
    size = len(head) + frames * channels * SAMPLE_BYTES
    digest = hashlib.sha256(head)
    with replacing(path) as out:
        os.posix_fallocate(out.fileno(), 0, size)
        out.write(head)
        for block in blocks:
            peaks.add(block)
            octets = np.stack(block, axis=1).astype("<i2", copy=False).data
            digest.update(octets)
            out.write(octets)
    return MediaFile(
        path=str(path),
        format="wav",
        size_bytes=size,
        sha256=digest.hexdigest(),
        channels=channels,
        sample_rate_hz=sample_rate_hz,
        duration_ms=frames * 1000 // sample_rate_hz,
    )


def read_header(file: BinaryIO) -> WavFormat:
    """The format of a file that `header` began, read from its start.

    Raises RenderFailed if it is anything else.
    """
    start = file.read(80)
    for offset in (44, 80):
        try:
            channels, rate, frames = _fields(start[:offset])
        except (struct.error, ValueError):
            continue
        return WavFormat(channels, rate, frames, offset)
    raise RenderFailed("not a WAV file of 16-bit PCM")


def _fields(start: bytes) -> tuple[int, int, int]:
    """Channels, rate and frames, if `header` makes just these octets of them."""
    _, channels, rate, *_ = _FORMAT.unpack_from(start, len(start) - 24)
    data_bytes = int.from_bytes(start[-4:], "little")
    if start[:4] == b"RF64":
        _, data_bytes, *_ = _DS64.unpack_from(start, 20)
    frames = data_bytes // max(1, channels * SAMPLE_BYTES)
    if not channels or not rate or start != header(channels, rate, frames):
        raise ValueError
    return channels, rate, frames


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the name `path`, synced to disk, when the block ends well.

    Until then it is called `path`.part, and nothing is left of it after a failure. Raises
    RenderFailed when the disk is full or anything else is wrong with it.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise RenderFailed(f"{path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
