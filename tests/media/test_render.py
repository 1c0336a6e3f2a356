import hashlib
import resource
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import json
from numpy.typing import NDArray

from media import spool
from media.codecs.g711 import ALAW, ULAW
from media.render import render
from media.spec import Rendered, RenderFailed, SpoolDamaged
from tests.media.spools import Packet, Tape, pause, resume, start, stop, stream, talk, write

OCTETS = np.random.default_rng(11).integers(0, 256, 600_000, dtype=np.uint8)
NOISE = OCTETS.tobytes()


def samples(rendered: Rendered) -> NDArray[np.int16]:
    """int16[n, channels] of the WAV file."""
    with wave.open(rendered.wav.path) as file:
        assert file.getframerate() == rendered.wav.sample_rate_hz == 8_000
        assert file.getnchannels() == rendered.wav.channels
        octets = file.readframes(file.getnframes())
    return np.frombuffer(octets, "<i2").reshape(-1, rendered.wav.channels)


def test_a_call_with_two_parties(tmp_path: Path) -> None:
    caller, callee = (
        talk(NOISE[:24_000]),
        talk(NOISE[:24_000], 10, stream=1, ssrc=2, payload_type=8),
    )
    callee = [p for p in callee if p.sequence_number != 50]
    path = write(tmp_path / "a.srsp", caller + callee, streams=2, stop_ms=3_100)
    rendered = render(path, tmp_path, "rec", ["s0", "s1"])
    assert rendered.wav.path == str(tmp_path / "rec.wav")
    assert (rendered.duration_ms, rendered.paused_ms, rendered.warnings) == (3_100, 0, ())
    left, right = samples(rendered).T
    assert np.array_equal(left, np.append(ULAW[OCTETS[:24_000]], np.zeros(800)))
    expected = np.append(np.zeros(80), ALAW[OCTETS[:24_000]])
    expected[80 + 8_000 : 80 + 8_160] = 0
    assert np.array_equal(right, np.append(expected, np.zeros(720)))
    one, two = rendered.streams
    assert (one.stream_id, one.channel, one.encoding, one.packets, one.lost) == (
        "s0",
        0,
        "PCMU",
        150,
        0,
    )
    assert (two.stream_id, two.channel, two.encoding, two.packets, two.lost) == (
        "s1",
        1,
        "PCMA",
        149,
        1,
    )
    assert [(gap.start_ms, gap.duration_ms) for gap in two.gaps] == [(1_010, 20)]


def test_size_digest_and_nothing_left_over(tmp_path: Path) -> None:
    rendered = render(
        write(tmp_path / "a.srsp", talk(NOISE[:800]), stop_ms=100), tmp_path, "rec", []
    )
    octets = Path(rendered.wav.path).read_bytes()
    assert rendered.wav.size_bytes == len(octets) == 44 + 1_600
    assert rendered.wav.sha256 == hashlib.sha256(octets).hexdigest()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.srsp", "rec.peaks.json", "rec.wav"]


def test_channels_follow_the_order_asked_for(tmp_path: Path) -> None:
    packets = [p for n in range(3) for p in talk(NOISE[n * 800 :][:800], stream=n, ssrc=n)]
    path = write(tmp_path / "a.srsp", packets, streams=3, stop_ms=100)
    rendered = render(path, tmp_path, "rec", ["s2", "gone"])
    assert [s.stream_id for s in rendered.streams] == ["s2", "s0", "s1"]
    assert [s.channel for s in rendered.streams] == [0, 1, 2]
    for channel, index in enumerate([2, 0, 1]):
        assert np.array_equal(samples(rendered)[:, channel], ULAW[OCTETS[index * 800 :][:800]])


def test_packets_over_the_edges_of_windows(tmp_path: Path) -> None:
    packets = talk(NOISE[:500_000], 7.125, size=479) + talk(NOISE[:500_000], 3, size=960, stream=1)
    path = write(tmp_path / "a.srsp", packets, streams=2, stop_ms=63_000)
    left, right = samples(render(path, tmp_path, "rec", [])).T
    assert np.array_equal(left[57:500_057], ULAW[OCTETS[:500_000]])
    assert np.array_equal(right[24:500_024], ULAW[OCTETS[:500_000]])


def test_a_cut_over_the_edge_of_a_window(tmp_path: Path) -> None:
    packets = [p for p in talk(NOISE[:600_000]) if not 59_000 <= p.at_ms < 61_000]
    events = (pause(59_000, fill=False), resume(61_000))
    path = write(tmp_path / "a.srsp", packets, *events, stop_ms=75_000)
    rendered = render(path, tmp_path, "rec", [])
    expected = np.concatenate((OCTETS[: 59_000 * 8], OCTETS[61_000 * 8 :]))
    assert np.array_equal(samples(rendered)[:, 0], ULAW[expected])
    assert (rendered.duration_ms, rendered.paused_ms) == (73_000, 2_000)
    peaks = json.decode(Path(rendered.peaks_path).read_bytes())
    assert len(peaks["channels"][0]) == 73_000 // 20


def test_sizes_and_encodings_that_change(tmp_path: Path) -> None:
    packets: list[Packet] = []
    at = 0
    for number, size in enumerate([1, 2, 159, 160, 161, 480, 0, 80] * 5):
        piece = talk(
            NOISE[at : at + size], at / 8, number, at, max(1, size), payload_type=number % 2 * 8
        )
        packets += piece or [replace(packets[-1], payload=b"", sequence_number=number)]
        at += size
    rendered = render(write(tmp_path / "a.srsp", packets, stop_ms=1_000), tmp_path, "rec", [])
    expected, at = np.zeros(8_000, np.int16), 0
    for packet in packets:
        size = len(packet.payload)
        expected[at : at + size] = (ALAW if packet.payload_type else ULAW)[OCTETS[at : at + size]]
        at += size
    assert np.array_equal(samples(rendered)[:, 0], expected)
    assert rendered.streams[0].lost == 0


def test_sources_at_the_same_time_are_added_and_clipped(tmp_path: Path) -> None:
    loud = bytes([0x80]) * 8_000
    packets = talk(NOISE[:16_000]) + talk(loud, 500, ssrc=2)
    rendered = render(write(tmp_path / "a.srsp", packets, stop_ms=2_000), tmp_path, "rec", [])
    expected = ULAW[OCTETS[:16_000]].astype(np.int32)
    expected[4_000:12_000] += ULAW[0x80]
    assert np.array_equal(samples(rendered)[:, 0], np.clip(expected, -32768, 32767))


def test_a_stream_without_packets_is_a_silent_channel(tmp_path: Path) -> None:
    path = write(tmp_path / "a.srsp", talk(NOISE[:800], stream=1), streams=2, stop_ms=100)
    rendered = render(path, tmp_path, "rec", [])
    assert rendered.warnings == ("no_media:0",)
    assert not samples(rendered)[:, 0].any()
    assert (rendered.streams[0].packets, rendered.streams[0].encoding) == (0, "")


@pytest.mark.parametrize("streams", [0, 2])
def test_without_media_there_is_silence_of_the_right_length(tmp_path: Path, streams: int) -> None:
    path = write(tmp_path / "a.srsp", [], streams=streams, stop_ms=61_000)
    rendered = render(path, tmp_path, "rec", [])
    assert rendered.warnings == ("no_media",)
    assert samples(rendered).shape == (61_000 * 8, max(1, streams))
    assert not samples(rendered).any()


def test_nothing_lasts_no_time(tmp_path: Path) -> None:
    rendered = render(Tape(tmp_path / "a.srsp").events(start()).write(), tmp_path, "rec", [])
    assert (rendered.duration_ms, rendered.warnings) == (0, ("spool_truncated", "no_media"))
    assert samples(rendered).shape == (0, 1)


def test_what_is_torn_is_rendered_as_far_as_it_goes(tmp_path: Path) -> None:
    made = Tape(tmp_path / "a.srsp").events(start(), stream()).packets(talk(NOISE[:16_000]))
    made.events(stop(2_000)).write()
    made.path.write_bytes(made.path.read_bytes()[: -len(made.blocks[-1]) - 1])
    rendered = render(made.path, tmp_path, "rec", [])
    assert rendered.warnings == ("spool_truncated",)
    assert np.array_equal(samples(rendered)[:, 0], ULAW[OCTETS[: 80 * 160]])


def test_a_spool_of_nothing_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.srsp"
    path.write_bytes(b"nothing")
    with pytest.raises(SpoolDamaged):
        render(path, tmp_path, "rec", [])
    with pytest.raises(RenderFailed, match="No such file"):
        render(tmp_path / "b.srsp", tmp_path, "rec", [])


def test_a_file_that_does_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.srsp", talk(NOISE[:160_000]), stop_ms=20_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(RenderFailed, match="File too large"):
            render(path, tmp_path, "rec", [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]


def test_rendering_twice_gives_the_same_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.srsp", talk(NOISE[:8_000]), stop_ms=1_000)
    assert render(path, tmp_path, "rec", []) == render(path, tmp_path, "rec", [])
    assert spool.read(path).complete
