import errno
import io
import os
import wave
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.spec import RenderFailed
from media.wav import WavFormat, header, read_header, replacing


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_others_read_the_header(channels: int) -> None:
    samples = bytes(range(200)) * channels
    with wave.open(io.BytesIO(header(channels, 8_000, 100) + samples)) as file:
        assert file.getnchannels() == channels
        assert (file.getframerate(), file.getsampwidth(), file.getnframes()) == (8_000, 2, 100)
        assert file.readframes(100) == samples


def test_beyond_four_gigabytes_it_is_rf64(tmp_path: Path) -> None:
    path, frames = tmp_path / "a.wav", 2**30 + 5
    head = header(2, 8_000, frames)
    path.write_bytes(head)
    os.truncate(path, len(head) + frames * 4)
    assert head[:4] == b"RF64"
    assert int.from_bytes(head[20:28], "little") == path.stat().st_size - 8
    with av.open(path) as container:
        stream = container.streams.audio[0]
        assert stream.time_base is not None
        assert stream.duration is not None
        assert stream.duration * stream.time_base * 8_000 == frames
        assert stream.channels == 2
    with path.open("rb") as file:
        assert read_header(file) == WavFormat(2, 8_000, frames, 80)


@pytest.mark.parametrize("frames", [0, 1, (2**32 - 37) // 2, (2**32 - 37) // 2 + 1])
def test_what_was_written_is_read_back(frames: int) -> None:
    head = header(1, 8_000, frames)
    assert (head[:4] == b"RIFF") == (36 + 2 * frames < 2**32)
    assert read_header(io.BytesIO(head)) == WavFormat(1, 8_000, frames, len(head))


@settings(deadline=None)
@given(st.binary(max_size=100) | st.tuples(st.integers(0, 79), st.integers(0, 255)))
def test_anything_else_is_refused(octets: bytes | tuple[int, int]) -> None:
    if isinstance(octets, tuple):
        whole = bytearray(header(2, 8_000, 2**31))
        at, value = octets
        if whole[at] == value or 20 <= at < 40 or at in {50, 51, *range(52, 60)}:
            return
        whole[at] = value
        octets = bytes(whole)
    with pytest.raises(RenderFailed):
        read_header(io.BytesIO(octets))


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(RenderFailed, match="No space left"), replacing(path) as file:
        file.write(b"new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RenderFailed, match="No such file"), replacing(tmp_path / "b" / "a"):
        pass
