import hashlib
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from media.mp3 import make_mp3, mix
from media.spec import MediaFile, RenderFailed
from media.wav import header

SAMPLES = 40_321


def noise(channels: int, samples: int = SAMPLES) -> NDArray[np.int16]:
    """Speech-like: what an encoder keeps of it is enough to find it by."""
    random = np.random.default_rng(5).normal(0, 4_000, (samples + 8, channels))
    smooth = [np.convolve(column, np.ones(9) / 9, "valid") for column in random.T]
    return np.stack(smooth, axis=1).astype(np.int16)


def wav(path: Path, audio: NDArray[np.int16], rate_hz: int = 8_000) -> Path:
    samples, channels = audio.shape
    path.write_bytes(header(channels, rate_hz, samples) + audio.astype("<i2").tobytes())
    return path


def decoded(file: MediaFile) -> NDArray[np.float32]:
    """float32[channels, n], as a player hears it."""
    with av.open(file.path) as container:
        stream = container.streams.audio[0]
        assert (stream.channels, stream.rate) == (file.channels, file.sample_rate_hz)
        return np.concatenate([f.to_ndarray() for f in container.decode(stream)], axis=1)


def onset(heard: NDArray[np.float32], sent: NDArray[np.int16]) -> int:
    """By how many samples `heard` is late, by correlation."""
    size = 2 * len(sent)
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sent.astype(float), size))
    at = int(np.argmax(np.fft.irfft(spectrum)))
    return at if at < len(sent) else at - size


@pytest.mark.parametrize("bitrate_kbps", [8, 16, 24, 32, 64, 320])
@pytest.mark.parametrize("mode", ["mono", "split"])
def test_every_sample_is_on_time(
    tmp_path: Path, bitrate_kbps: int, mode: Literal["mono", "split"]
) -> None:
    audio = noise(2)
    file = make_mp3(wav(tmp_path / "a.wav", audio), tmp_path / "a.mp3", mode, bitrate_kbps)
    heard = decoded(file)
    expected = audio if mode == "split" else mix(audio, 1)
    assert heard.shape == (expected.shape[1], SAMPLES)
    assert [onset(h, s) for h, s in zip(heard, expected.T, strict=True)] == [0] * len(heard)


@pytest.mark.parametrize("samples", [100, 575, 576, 577, 5_760, 8_047])
def test_any_length_is_kept(tmp_path: Path, samples: int) -> None:
    file = make_mp3(wav(tmp_path / "a.wav", noise(1, samples)), tmp_path / "a.mp3", "mono", 32)
    assert decoded(file).shape == (1, samples)


@pytest.mark.parametrize(
    "rate_hz, made_hz",
    [
        (11_025, 8_000),
        (12_000, 12_000),
        (16_000, 16_000),
        (22_050, 16_000),
        (24_000, 24_000),
        (32_000, 24_000),
        (44_100, 24_000),
        (48_000, 24_000),
    ],
)
def test_any_sampling_rate_is_on_time(tmp_path: Path, rate_hz: int, made_hz: int) -> None:
    audio = noise(2)
    file = make_mp3(wav(tmp_path / "a.wav", audio, rate_hz), tmp_path / "a.mp3", "split", 32)
    assert (file.sample_rate_hz, file.duration_ms) == (made_hz, SAMPLES * 1000 // rate_hz)
    heard, samples = decoded(file), SAMPLES * made_hz // rate_hz
    assert heard.shape == (2, samples)
    at = np.arange(samples) * rate_hz / made_hz
    sent = np.interp(at, np.arange(SAMPLES), audio[:, 0]).astype(np.int16)
    assert abs(onset(heard[0], sent)) <= 1


def test_more_than_one_window(tmp_path: Path) -> None:
    audio = noise(1, 61 * 8_000)
    file = make_mp3(wav(tmp_path / "a.wav", audio), tmp_path / "a.mp3", "mono", 32)
    heard = decoded(file)
    assert heard.shape[1] == len(audio)
    assert onset(heard[0, -8_000:], audio[-8_000:, 0]) == 0


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    file = make_mp3(wav(tmp_path / "a.wav", noise(3)), tmp_path / "a.mp3", "split", 32)
    octets = Path(file.path).read_bytes()
    assert file == MediaFile(
        path=str(tmp_path / "a.mp3"),
        format="mp3",
        size_bytes=len(octets),
        sha256=hashlib.sha256(octets).hexdigest(),
        channels=2,
        sample_rate_hz=8_000,
        duration_ms=SAMPLES // 8,
    )
    tag = octets[21:]
    assert tag[:4] == b"Info"
    assert int.from_bytes(tag[8:12], "big") == len(octets) // 288 - 1
    assert int.from_bytes(tag[12:16], "big") == len(octets)
    assert tag[116:120] == (30).to_bytes(4, "big")
    assert tag[120:129] == b"LAME3.100"
    assert int.from_bytes(tag[141:144], "big") >> 12 == 576
    assert int.from_bytes(tag[148:152], "big") == len(octets)
    assert {p.name for p in tmp_path.iterdir()} == {"a.wav", "a.mp3"}


def test_split_of_one_channel_is_mono(tmp_path: Path) -> None:
    file = make_mp3(wav(tmp_path / "a.wav", noise(1)), tmp_path / "a.mp3", "split", 32)
    assert file.channels == 1


def test_mixing_clips() -> None:
    audio = np.array([[30_000, 1, 5], [30_000, 2, -5], [-30_000, -30_000, -9]], np.int16)
    assert mix(audio, 1)[:, 0].tolist() == [30_006, 29_997, -32_768]
    assert mix(audio, 2).tolist() == [[30_000, 6], [30_000, -3], [-30_000, -30_009]]
    assert mix(audio[:, :1], 1) is not None
    assert mix(audio[:, :2], 2).tolist() == audio[:, :2].tolist()
    assert mix(np.full((1, 2), 20_000, np.int16), 1).tolist() == [[32_767]]


def test_what_is_no_wav_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with pytest.raises(RenderFailed, match="No such file"):
        make_mp3(path, tmp_path / "a.mp3", "mono", 32)
    path.write_bytes(b"RIFF")
    with pytest.raises(RenderFailed, match="not a WAV"):
        make_mp3(path, tmp_path / "a.mp3", "mono", 32)
    path.write_bytes(header(1, 8_000, 100) + bytes(100))
    with pytest.raises(RenderFailed, match="shorter"):
        make_mp3(path, tmp_path / "a.mp3", "mono", 32)
    assert list(tmp_path.iterdir()) == [path]
