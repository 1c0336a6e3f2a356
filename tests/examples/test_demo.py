"""The demonstration's judgement: it must fail whenever the recording is wrong."""

import io
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import lameenc
import numpy as np
import pytest

from examples.demo import Evidence, decode_mp3, decode_wav, draw, find, judge, locate, main, table
from examples.rtp import Packet, read_wav
from examples.src import AUDIO

OFFSET = 37
TIMES = [4.0, 4.01, 7.0, 7.01]
SPEECH = [read_wav(path) for path in AUDIO]


def packets() -> list[Packet]:
    return [Packet(0, 0, 0, k, 160 * k, 1, b"", sent_at=k * 0.02) for k in range(1, 601)]


def recorded(sound: np.ndarray) -> np.ndarray:
    span = locate(packets(), TIMES, OFFSET)
    samples = np.concatenate([np.zeros(OFFSET, np.int16), sound])
    samples[span.paused.start : span.doubtful.stop] = 0
    return samples


def evidence() -> Evidence:
    wav = np.stack([recorded(sound) for sound in SPEECH], axis=1)
    span = locate(packets(), TIMES, OFFSET)
    digests = {"wav": ("a", "a"), "mp3": ("b", "b")}
    return Evidence(SPEECH, wav, wav.sum(axis=1), [span, span], digests)


def failed(found: Evidence) -> list[str]:
    return [text for text, passed in judge(found) if not passed]


def test_a_good_recording_passes_every_check() -> None:
    checks = list(judge(evidence()))
    assert len(checks) == 8
    assert all(passed for _, passed in checks)


def test_one_leaked_sample_fails() -> None:
    found = evidence()
    found.wav[found.spans[1].paused.stop - 1, 1] = 1
    (text,) = failed(found)
    assert text.startswith("callee (right)")


def test_swapped_channels_fail() -> None:
    found = evidence()
    assert len(failed(replace(found, wav=found.wav[:, ::-1]))) == 2


def test_speech_that_is_missing_or_moved_after_the_pause_fails() -> None:
    found = evidence()
    found.wav[9 * 8000 : 10 * 8000] = 0
    assert "the rest" in failed(found)[0]
    found = evidence()
    found.wav[8 * 8000 :] = np.roll(found.wav[8 * 8000 :], 160, axis=0)
    assert "the rest" in failed(found)[0]


def test_a_faint_trace_in_the_mp3_fails() -> None:
    found = evidence()
    found.mp3[5 * 8000] = 100
    assert failed(found) == ["MP3: silent while paused (at most 100 of 32,768)"]


def test_a_pause_in_which_nothing_was_said_proves_nothing() -> None:
    found = evidence()
    spans = [locate(packets(), [2.3, 2.31, 3.9, 3.91], OFFSET)] * 2
    found.wav[spans[0].paused] = 0
    assert "the caller spoke while paused" in failed(replace(found, spans=spans))


def test_a_wrong_digest_fails() -> None:
    digests = {"wav": ("a", "a"), "mp3": ("b", "c")}
    assert failed(replace(evidence(), digests=digests)) == ["mp3: SHA-256 as stated"]


def test_the_span_parts_packets_by_the_time_they_were_sent() -> None:
    span = locate(packets(), [0.05, 0.07, 0.2, 0.21], 1000)
    assert span.doubtful == slice(1000 + 2 * 160, 1000 + 10 * 160)
    assert span.paused == slice(1000 + 3 * 160, 1000 + 9 * 160)


@pytest.mark.parametrize("offset", [0, 3, 800])
def test_the_start_is_found_although_a_part_is_missing(offset: int) -> None:
    samples = np.concatenate([np.zeros(offset, np.int16), SPEECH[0]])
    samples[4 * 8000 : 7 * 8000] = 0
    assert find(SPEECH[0], samples) == offset


def test_a_recording_that_begins_late_has_a_negative_start() -> None:
    assert find(SPEECH[1], SPEECH[1][500:]) == -500


def test_wav_and_mp3_are_decoded() -> None:
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.stack(SPEECH, axis=1).astype("<i2").tobytes())
    assert np.array_equal(decode_wav(memory.getvalue()), np.stack(SPEECH, axis=1))
    encoder = lameenc.Encoder()
    encoder.set_in_sample_rate(8000)
    encoder.set_channels(1)
    encoder.set_bit_rate(32)
    encoder.silence()
    mp3 = encoder.encode(SPEECH[0].astype("<i2").tobytes()) + encoder.flush()
    decoded = decode_mp3(bytes(mp3)).astype(float)
    delay = find(SPEECH[0], decoded)
    assert np.corrcoef(decoded[delay : delay + 90_000], SPEECH[0][:90_000])[0, 1] > 0.95


def test_the_picture_is_written(tmp_path: Path) -> None:
    draw(evidence(), tmp_path / "waveform.png")
    assert (tmp_path / "waveform.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_table_shows_what_the_recorder_says() -> None:
    recording = {
        "id": "r1",
        "status": "complete",
        "duration_ms": 12_040,
        "paused_ms": 3000,
        "streams": [{"label": "1", "packets": 450, "lost": 2}],
        "files": [{"format": "wav", "size_bytes": 1234, "sha256": "abc"}],
    }
    shown = table(recording)
    for piece in ("12.04 s", "3.00 s", "450 packets, 2 lost", "1,234 bytes", "SHA-256 abc"):
        assert piece in shown


def test_a_recorder_that_does_not_start_fails_the_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert main() == 1
    assert "the demonstration failed: siprecd apikey add" in capsys.readouterr().err


@pytest.mark.slow
def test_two_demonstrations_in_a_row(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "examples.demo"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    files = {path.name for path in (tmp_path / "demo").iterdir()}
    assert files == {"call.wav", "call.mp3", "waveform.png"}
