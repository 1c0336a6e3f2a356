"""Frames out of WAV files, packets out of frames, receiver reports back."""

import random
import socket
import struct
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.rtp import (
    FRAME_SAMPLES,
    Packet,
    Stream,
    encode_g711,
    frames_of,
    g711_table,
    lose,
    open_ports,
    read_wav,
    receiver_reports,
)
from examples.src import AUDIO
from tests.examples.fake import receiver_report


def stream(**values: int) -> Stream:
    made = Stream("1", [b"a" * 160, b"b" * 160], 0, 7, 65_534, 2**32 - 160)
    made.remote = ("127.0.0.1", 9)
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(("codec", "name"), [("PCMU", "pcm_mulaw"), ("PCMA", "pcm_alaw")])
def test_tables_agree_with_ffmpeg(codec: str, name: str) -> None:
    decoder = av.AudioCodecContext.create(name, "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = 8000, "mono"
    frame = decoder.decode(av.Packet(bytes(range(256))))[0]
    assert np.array_equal(frame.to_ndarray().ravel(), g711_table(codec))


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@settings(deadline=None)
@given(samples=st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50))
def test_encoding_takes_the_nearest_code(codec: str, samples: list[int]) -> None:
    table = g711_table(codec).astype(int)
    for sample, code in zip(samples, encode_g711(np.array(samples), codec), strict=True):
        assert abs(table[code] - sample) == np.abs(table - sample).min()


def test_silence_is_positive_zero() -> None:
    assert encode_g711(np.zeros(2, np.int16), "PCMU") == b"\xff\xff"
    assert encode_g711(np.array([8]), "PCMA") == b"\xd5"


def test_the_shipped_speech_takes_turns() -> None:
    caller, callee = (read_wav(path) for path in AUDIO)
    assert len(caller) == len(callee) == 12 * 8000
    card_number = slice(4 * 8000, 7 * 8000)
    assert np.abs(caller[card_number]).max() > 5000
    assert np.abs(callee[card_number]).max() == 0
    assert sum(path.stat().st_size for path in AUDIO) <= 300_000


def test_linear_wav_is_read_as_it_is(tmp_path: Path) -> None:
    samples = np.array([0, 1, -1, 32_767, -32_768], "<i2")
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    assert np.array_equal(read_wav(tmp_path / "x.wav"), samples)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not a WAV file"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + b"\0" * 16, "not a WAV file"),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0"
            + struct.pack("<HHIIHH", 1, 2, 8000, 32_000, 4, 16)
            + b"data\0\0\0\0",
            "one channel",
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(ValueError, match=text):
        read_wav(tmp_path / "x.wav")


def test_frames_carry_every_sample_and_equal_lengths(tmp_path: Path) -> None:
    for name, count in (("a", 161), ("b", 10)):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(np.full(count, 1000, "<i2").tobytes())
    first, second = frames_of((tmp_path / "a", tmp_path / "b"), "PCMU")
    loud, silent = encode_g711(np.array([1000, 0]), "PCMU")
    assert first == (bytes([loud] * 160), bytes([loud] + [silent] * 159))
    assert second == (bytes([loud] * 10 + [silent] * 150), bytes([silent] * 160))


def test_packets_wrap_and_loop_and_go_on() -> None:
    source = stream()
    packets = source.packets(1, 2) + source.packets(1, 1)
    assert [each.sequence_number for each in packets] == [65_534, 65_535, 0]
    assert [each.timestamp for each in packets] == [2**32 - 160, 0, 160]
    assert [each.payload[:1] for each in packets] == [b"a", b"b", b"a"]
    assert [each.marker for each in packets] == [True, False, False]
    assert [each.due_s for each in packets] == [0, 0.02, 0]
    assert {each.stream for each in packets} == {1}


def test_time_passes_while_nothing_is_wanted() -> None:
    source = stream(timestamp=0)
    source.remote = None
    assert source.packets(0, 3) == []
    source.remote = ("127.0.0.1", 9)
    (packet,) = source.packets(0, 1)
    assert (packet.sequence_number, packet.timestamp) == (65_534, 3 * FRAME_SAMPLES)
    assert packet.payload[:1] == b"b"


def test_a_packet_has_the_header_of_rfc_3550() -> None:
    packet = Packet(0.0, 0, 8, 0x1234, 0x89ABCDEF, 0xFEDCBA98, b"xy", marker=True)
    assert packet.encode() == bytes.fromhex("80 88 1234 89abcdef fedcba98") + b"xy"


def test_loss_is_what_was_asked_for() -> None:
    packets = stream().packets(0, 10_000)
    left = lose(20, random.Random(1))(packets)
    assert 7_700 < len(left) < 8_300
    kept = set(left)
    assert left == [packet for packet in packets if packet in kept]
    assert lose(0, random.Random(1))(packets) == packets


def test_ports_are_a_pair_on_an_even_number() -> None:
    rtp, rtcp = open_ports("127.0.0.1")
    with rtp, rtcp:
        assert rtp.getsockname()[1] % 2 == 0
        assert rtcp.getsockname()[1] == rtp.getsockname()[1] + 1


async def test_sender_reports_count_what_was_sent() -> None:
    source = stream()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp:
        rtcp.bind(("127.0.0.1", 0))
        source.open("127.0.0.1")
        source.remote = ("127.0.0.1", rtcp.getsockname()[1] - 1)
        for packet in source.packets(0, 3):
            source.send(packet)
        source.report("me@x")
        data, address = rtcp.recvfrom(2048)
        assert address[1] == source.port + 1
        source.close()
    head = struct.unpack_from(">BBHIQIII", data)
    assert (head[:4], head[6:]) == ((0x80, 200, 6, 7), (3, 480))
    assert struct.unpack_from(">BBHIBB4s", data, 28) == (0x81, 202, 3, 7, 1, 4, b"me@x")
    assert len(data) == 28 + 4 * (1 + 3)
    assert source.port == 0


def test_receiver_reports_are_read_behind_other_packets() -> None:
    sdes = struct.pack(">BBHI", 0x80, 202, 1, 99)
    (report,) = receiver_reports(sdes + receiver_report(7, lost=-2))
    assert (report.ssrc, report.lost, report.highest, report.jitter) == (7, -2, 70_000, 16)
    assert report.fraction_lost == 0.5


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_datagram_may_come_to_the_rtcp_port(data: bytes) -> None:
    assert all(report.ssrc < 2**32 for report in receiver_reports(data))


@settings(deadline=None)
@given(st.integers(0, 31), st.integers(0, 60), st.binary(max_size=60))
def test_lying_lengths_read_nothing_beyond_the_end(count: int, words: int, rest: bytes) -> None:
    data = struct.pack(">BBHI", 0x80 | count, 201, words, 1) + rest
    assert len(receiver_reports(data)) <= len(rest) // 24
