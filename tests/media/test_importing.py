"""Audio files from outside: what is taken, what is repaired, what is refused, and at what cost."""

import hashlib
import io
import resource
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import json
from numpy.typing import NDArray

from media.codecs.g711 import ALAW, ULAW
from media.importing import MAX_CHUNKS, REPAIRED, import_audio
from media.mp3 import mix
from media.spec import MediaError, Rendered, RenderFailed, UnusableAudio

Samples = NDArray[np.int16]
RANDOM = np.random.default_rng(3)
STEREO = RANDOM.integers(-9_000, 9_000, (4_001, 2), dtype=np.int16)
OCTETS = RANDOM.integers(0, 256, (4_001, 2), dtype=np.uint8)
GUID = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """A chunk, padded; `size`: what it claims."""
    stated = len(body) if size is None else size
    return name + struct.pack("<I", stated) + body + b"\0" * (len(body) % 2)


def form(
    tag: int = 1, channels: int = 1, rate: int = 8_000, bits: int = 16, align: int | None = None
) -> bytes:
    """The body of a `fmt ` chunk."""
    block = channels * bits // 8 if align is None else align
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)


def extensible(tag: int, channels: int = 1, bits: int = 16, tail: bytes = GUID) -> bytes:
    """The body of a `fmt ` chunk of WAVE_FORMAT_EXTENSIBLE."""
    return form(0xFFFE, channels, bits=bits) + struct.pack("<HHIH", 22, bits, 3, tag) + tail


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) & 0xFFFFFFFF) + body


def pcm(samples: Samples = STEREO, rate: int = 8_000) -> bytes:
    return riff(
        chunk(b"fmt ", form(channels=samples.shape[1], rate=rate)),
        chunk(b"data", samples.tobytes()),
    )


def took(folder: Path, octets: bytes, keep_stereo: bool = True) -> Rendered:
    source = folder / "source"
    source.write_bytes(octets)
    return import_audio(source, folder, "rec", keep_stereo=keep_stereo)


def heard(made: Rendered) -> Samples:
    """int16[n, channels], as the standard library reads the file."""
    with wave.open(made.wav.path) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (made.wav.channels, 2)
        assert file.getframerate() == made.wav.sample_rate_hz
        octets = file.readframes(file.getnframes())
    return np.frombuffer(octets, "<i2").reshape(-1, made.wav.channels)


# what is taken

LEFT, CODES = STEREO[:, :1], OCTETS[:, :1]
TAKEN: dict[str, tuple[bytes, Samples]] = {
    "mono": (pcm(LEFT), LEFT),
    "stereo": (pcm(), STEREO),
    "a-law": (riff(chunk(b"fmt ", form(6, bits=8)), chunk(b"data", CODES.tobytes())), ALAW[CODES]),
    "mu-law": (riff(chunk(b"fmt ", form(7, bits=8)), chunk(b"data", CODES.tobytes())), ULAW[CODES]),
    "mu-law, stereo": (
        riff(chunk(b"fmt ", form(7, 2, bits=8)), chunk(b"data", OCTETS.tobytes())),
        ULAW[OCTETS],
    ),
    "a-law that says 16 bits": (
        riff(chunk(b"fmt ", form(6, bits=16, align=1)), chunk(b"data", CODES.tobytes())),
        ALAW[CODES],
    ),
    "extensible pcm": (
        riff(chunk(b"fmt ", extensible(1, 2)), chunk(b"data", STEREO.tobytes())),
        STEREO,
    ),
    "extensible mu-law": (
        riff(chunk(b"fmt ", extensible(7, bits=8)), chunk(b"data", CODES.tobytes())),
        ULAW[CODES],
    ),
    "fmt with a size of nothing after it": (
        riff(chunk(b"fmt ", form(6, bits=8) + bytes(2)), chunk(b"data", CODES.tobytes())),
        ALAW[CODES],
    ),
    "chunks before, between and after": (
        riff(
            chunk(b"JUNK", bytes(27)),
            chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 5) + b"Lavf\0\0"),
            chunk(b"fmt ", form()),
            chunk(b"fact", struct.pack("<I", len(LEFT))),
            chunk(b"data", LEFT.tobytes()),
            chunk(b"LIST", b"x" * 501),
        ),
        LEFT,
    ),
    "an odd chunk nobody padded": (
        riff(
            chunk(b"LIST", b"INFOxyz")[:-1],
            chunk(b"fmt ", form()),
            chunk(b"data", LEFT.tobytes()),
        ),
        LEFT,
    ),
    "data before fmt": (riff(chunk(b"data", LEFT.tobytes()), chunk(b"fmt ", form())), LEFT),
    "the first fmt and the first data": (
        riff(
            chunk(b"fmt ", form()),
            chunk(b"data", LEFT.tobytes()),
            chunk(b"fmt ", form(85)),
            chunk(b"data", b"no"),
        ),
        LEFT,
    ),
    "a wrong size of it all": (b"RIFF\xff\xff\xff\xff" + pcm(LEFT)[8:], LEFT),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken(tmp_path: Path, name: str) -> None:
    octets, samples = TAKEN[name]
    made = took(tmp_path, octets)
    assert np.array_equal(heard(made), samples)
    assert (made.warnings, made.streams, made.paused_ms) == ((), (), 0)
    written = Path(made.wav.path).read_bytes()
    assert (made.wav.size_bytes, made.wav.sha256, made.wav.format) == (
        len(written),
        hashlib.sha256(written).hexdigest(),
        "wav",
    )
    assert made.duration_ms == made.wav.duration_ms == len(samples) // 8
    peaks = json.decode(Path(made.peaks_path).read_bytes())
    assert [max(channel) for channel in peaks["channels"]] == [
        round(abs(int(high)) / 32_768, 3) for high in np.abs(samples.astype(int)).max(axis=0)
    ]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000])
def test_the_rate_is_kept(tmp_path: Path, rate: int) -> None:
    made = took(tmp_path, pcm(rate=rate))
    assert (made.wav.sample_rate_hz, made.duration_ms) == (rate, 4_001_000 // rate)
    assert np.array_equal(heard(made), STEREO)
    assert json.decode(Path(made.peaks_path).read_bytes())["sample_rate_hz"] == rate


def test_two_channels_are_mixed_unless_somebody_wants_them(tmp_path: Path) -> None:
    loud = np.array([[30_000, 9_000], [-30_000, -9_000], [5, -7]], np.int16)
    assert heard(took(tmp_path, pcm(loud), keep_stereo=False)).tolist() == [
        [32_767],
        [-32_768],
        [-2],
    ]
    assert took(tmp_path, pcm(loud)).wav.channels == 2
    assert took(tmp_path, pcm(loud[:, :1]), keep_stereo=True).wav.channels == 1


def test_a_file_of_many_windows(tmp_path: Path) -> None:
    audio = RANDOM.integers(-9_000, 9_000, (3 * (1 << 16) + 77, 2), dtype=np.int16)
    assert np.array_equal(heard(took(tmp_path, pcm(audio))), audio)
    assert np.array_equal(heard(took(tmp_path, pcm(audio), keep_stereo=False)), mix(audio, 1))


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_alaw", "pcm_mulaw"])
def test_what_ffmpeg_writes(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "ffmpeg.wav"
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=16_000, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(STEREO.reshape(1, -1), "s16", "stereo")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    made = took(tmp_path, path.read_bytes())
    with av.open(path) as container:
        blocks = [each.to_ndarray() for each in container.decode(audio=0)]
        expected = np.concatenate(blocks, axis=1).reshape(-1, 2)
    assert made.wav.sample_rate_hz == 16_000
    assert np.array_equal(heard(made), expected)


# what is repaired


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 8_003 * 4])
def test_a_size_that_is_not_so_is_repaired(tmp_path: Path, stated: int) -> None:
    octets = riff(chunk(b"fmt ", form(channels=2)), chunk(b"data", STEREO.tobytes(), stated))
    made = took(tmp_path, octets)
    assert np.array_equal(heard(made), STEREO)
    assert made.warnings == (REPAIRED,)


def test_what_is_cut_off_is_kept_to_its_last_whole_sample(tmp_path: Path) -> None:
    made = took(tmp_path, pcm()[:-4_003])
    assert np.array_equal(heard(made), STEREO[:3_000])
    assert made.warnings == (REPAIRED,)


# what is refused

BODY = chunk(b"data", STEREO.tobytes())
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not a WAV file"),
    "text": (b"hello, this is no audio at all", "not a WAV file"),
    "an MP3": (b"ID3\x04" + bytes(3_000), "not a WAV file"),
    "big-endian": (b"RIFX" + pcm()[4:], "not a WAV file"),
    "an AVI": (b"RIFF" + bytes(4) + b"AVI " + bytes(100), "not a WAV file"),
    "only its head": (pcm()[:12], "a WAV file without a readable fmt chunk"),
    "no fmt": (riff(BODY), "a WAV file without a readable fmt chunk"),
    "no fmt, and a size of 2 GiB": (
        riff(chunk(b"data", b"x" * 99, 1 << 31), chunk(b"fmt ", form())),
        "a WAV file without a readable fmt chunk",
    ),
    "half a fmt": (
        riff(chunk(b"fmt ", form()[:9])),
        "a WAV file with a fmt chunk that is too short",
    ),
    "no data": (riff(chunk(b"fmt ", form())), "a WAV file without a data chunk"),
    "no samples": (
        riff(chunk(b"fmt ", form()), chunk(b"data", b"")),
        "a WAV file without audio",
    ),
    "half a sample": (
        riff(chunk(b"fmt ", form(channels=2)), chunk(b"data", b"abc")),
        "a WAV file without audio",
    ),
    "8-bit": (
        riff(chunk(b"fmt ", form(bits=8)), BODY),
        "8-bit PCM: not 16-bit PCM, A-law or mu-law",
    ),
    "24-bit": (
        riff(chunk(b"fmt ", form(bits=24)), BODY),
        "24-bit PCM: not 16-bit PCM, A-law or mu-law",
    ),
    "float": (
        riff(chunk(b"fmt ", form(3, bits=32)), BODY),
        "floating point: not 16-bit PCM, A-law or mu-law",
    ),
    "MP3 in a WAV": (
        riff(chunk(b"fmt ", form(85)), BODY),
        "MP3: not 16-bit PCM, A-law or mu-law",
    ),
    "GSM": (
        riff(chunk(b"fmt ", form(49)), BODY),
        "GSM 6.10: not 16-bit PCM, A-law or mu-law",
    ),
    "a format nobody knows": (
        riff(chunk(b"fmt ", form(0xABCD)), BODY),
        "format 0xabcd: not 16-bit PCM, A-law or mu-law",
    ),
    "extensible float": (
        riff(chunk(b"fmt ", extensible(3, bits=32)), BODY),
        "floating point: not 16-bit PCM, A-law or mu-law",
    ),
    "extensible by another scheme": (
        riff(chunk(b"fmt ", extensible(1, tail=b"\1" * 14)), BODY),
        "format 0xfffe: not 16-bit PCM, A-law or mu-law",
    ),
    "extensible without its extension": (
        riff(chunk(b"fmt ", form(0xFFFE)), BODY),
        "format 0xfffe: not 16-bit PCM, A-law or mu-law",
    ),
    "no channels": (
        riff(chunk(b"fmt ", form(channels=0)), BODY),
        "0 channels: neither mono nor stereo",
    ),
    "six channels": (
        riff(chunk(b"fmt ", form(channels=6)), BODY),
        "6 channels: neither mono nor stereo",
    ),
    "rate 0": (riff(chunk(b"fmt ", form(rate=0)), BODY), "0 Hz: not between 8000 and 48000"),
    "rate 7,999": (riff(chunk(b"fmt ", form(rate=7_999)), BODY), "7999 Hz: not between"),
    "rate 48,001": (riff(chunk(b"fmt ", form(rate=48_001)), BODY), "48001 Hz: not between"),
    "rate 2^32-1": (
        riff(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 0xFFFFFFFF, 0, 2, 16)), BODY),
        "4294967295 Hz: not between",
    ),
    "block align 0": (
        riff(chunk(b"fmt ", form(align=0)), BODY),
        "a block align of 0 octets where 2 fit",
    ),
    "a block align that lies": (
        riff(chunk(b"fmt ", form(channels=2, align=1)), BODY),
        "a block align of 1 octets where 4 fit",
    ),
    "a bomb of chunks": (
        riff(*[chunk(b"JUNK", b"")] * MAX_CHUNKS, chunk(b"fmt ", form()), BODY),
        f"a WAV file with more than {MAX_CHUNKS} chunks before its audio",
    ),
    "a chunk beyond the end": (
        riff(chunk(b"JUNK", b"abcd", 0xFFFFFFFF), chunk(b"fmt ", form()), BODY),
        "a WAV file without a readable fmt chunk",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(tmp_path: Path, name: str) -> None:
    octets, why = REFUSED[name]
    with pytest.raises(UnusableAudio) as caught:
        took(tmp_path, octets)
    assert str(caught.value).startswith(why)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_as_many_chunks_as_any_file_has_are_passed_over(tmp_path: Path) -> None:
    octets = riff(*[chunk(b"JUNK", b"")] * (MAX_CHUNKS - 2), chunk(b"fmt ", form(channels=2)), BODY)
    assert np.array_equal(heard(took(tmp_path, octets)), STEREO)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RenderFailed, match="No such file"):
        import_audio(tmp_path / "none", tmp_path, "rec", keep_stereo=True)


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    source = tmp_path / "source"
    source.write_bytes(pcm())
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, hard))
    try:
        with pytest.raises(RenderFailed, match="File too large"):
            import_audio(source, tmp_path, "rec", keep_stereo=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


# hostile input

WHOLE = riff(
    chunk(b"LIST", bytes(11)),
    chunk(b"fmt ", extensible(1, 2)),
    chunk(b"data", STEREO[:40].tobytes()),
)


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A file with some octets changed, perhaps cut off."""
    octets = bytearray(draw(st.sampled_from([WHOLE, *(whole for whole, _ in TAKEN.values())])))
    for _ in range(draw(st.integers(0, 6))):
        octets[draw(st.integers(0, min(90, len(octets) - 1)))] = draw(st.integers(0, 255))
    return bytes(octets[: draw(st.integers(0, len(octets)) | st.none())])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bent() | st.binary(max_size=200).map(lambda tail: b"RIFF\0\0\0\0WAVE" + tail))
@example(riff(chunk(b"fmt ", b"", 0xFFFFFFFF)))
def test_anything_is_taken_or_refused_and_never_grows(tmp_path: Path, octets: bytes) -> None:
    with suppress(UnusableAudio):
        made = took(tmp_path, octets)
        assert 0 < made.wav.size_bytes <= 44 + 2 * len(octets)
        assert heard(made).size
    assert {path.name for path in tmp_path.iterdir()} <= {"source", "rec.wav", "rec.peaks.json"}


MEASURE = """
import resource, sys
from pathlib import Path
from media.importing import import_audio
from media.spec import MediaError
small, big = map(Path, sys.argv[1:3])
import_audio(small, small.parent, "small", keep_stereo=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    import_audio(big, small.parent, "big", keep_stereo=False)
except MediaError as error:
    print(error, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def grown_kib(folder: Path, write: Callable[[io.BufferedWriter], object]) -> int:
    """By how much the memory of a process of its own grows over a file."""
    small, big = folder / "small.in", folder / "big.in"
    small.write_bytes(pcm(np.tile(STEREO, (40, 1))))
    with big.open("wb") as file:
        write(file)
    command = [sys.executable, "-c", MEASURE, str(small), str(big)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return int(done.stdout)


def sparse(size: int, head: bytes) -> Callable[[io.BufferedWriter], object]:
    def write(file: io.BufferedWriter) -> None:
        file.write(head)
        file.truncate(size)

    return write


HEAD = b"RIFF\xff\xff\xff\xffWAVE"
BOMBS: dict[str, Callable[[io.BufferedWriter], object]] = {
    "64 MiB of silence": sparse(
        64 << 20, HEAD + chunk(b"fmt ", form(channels=2)) + b"data\xff\xff\xff\xff"
    ),
    "a fmt chunk of 64 MiB": sparse(64 << 20, HEAD + b"fmt \xff\xff\xff\x03"),
    "a million chunks": lambda file: file.write(HEAD + (b"JUNK" + bytes(4)) * (1 << 20)),
    "a claim of 2 GiB": sparse(
        4_096, HEAD + chunk(b"fmt ", form()) + b"data" + struct.pack("<I", 1 << 31)
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    assert grown_kib(tmp_path, BOMBS[name]) < 16 << 10


def test_what_cannot_be_used_is_a_failure_of_this_room() -> None:
    assert issubclass(UnusableAudio, MediaError)
