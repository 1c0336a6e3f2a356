import os
from pathlib import Path

import numpy as np
import pytest
from google_crc32c import value as crc32c
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media import spool
from media.spec import SpoolDamaged
from tests.media.spools import Packet, Tape, block, pause, resume, start, stop, stream

HOSTILE = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PACKETS = [
    Packet(0, 1, 100, b"abc"),
    Packet(20, 2, 260, b"", stream=1, ssrc=7),
    Packet(40, 3, 420, b"defgh", payload_type=8),
]


def tape(path: Path) -> Tape:
    return Tape(path).events(start(), stream()).packets(PACKETS, each=2).events(stop(60))


def payloads(read: spool.Spool) -> list[bytes]:
    return [
        read.octets[begin : begin + length].tobytes()
        for begin, length in zip(read.offsets, read.packets["length"], strict=True)
    ]


def test_everything_written_is_read_back(tmp_path: Path) -> None:
    read = spool.read(tape(tmp_path / "a.srsp").write())
    assert payloads(read) == [b"abc", b"", b"defgh"]
    assert read.packets["sequence_number"].tolist() == [1, 2, 3]
    assert read.packets["stream"].tolist() == [0, 1, 0]
    assert read.packets["payload_type"].tolist() == [0, 0, 8]
    assert read.events == (start(), stream(), stop(60))
    assert read.complete
    assert read.truncated == 0


def test_payloads_stay_readable_after_pages_are_let_go(tmp_path: Path) -> None:
    read = spool.read(tape(tmp_path / "a.srsp").write())
    read.forget()
    assert payloads(read) == [b"abc", b"", b"defgh"]


def test_without_packets_columns_are_empty(tmp_path: Path) -> None:
    read = spool.read(Tape(tmp_path / "a.srsp").events(start()).write())
    assert (len(read.packets), len(read.offsets), read.complete) == (0, 0, False)


def test_an_empty_block_is_a_block(tmp_path: Path) -> None:
    made = Tape(tmp_path / "a.srsp", [block([])]).packets(PACKETS)
    made.blocks.append(block([]))
    assert payloads(spool.read(made.write())) == [b"abc", b"", b"defgh"]


@pytest.mark.parametrize("content", [b"", b"x", bytes(32), b"SRSP" + bytes(400)])
def test_not_one_readable_block(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.srsp"
    path.write_bytes(content)
    with pytest.raises(SpoolDamaged):
        spool.read(path)
    assert spool.good_octets(path) == 0
    assert not spool.read_events(path)


def test_every_torn_tail_costs_its_block_only(tmp_path: Path) -> None:
    made = tape(tmp_path / "a.srsp")
    whole = made.write().read_bytes()
    ends = np.cumsum([len(each) for each in made.blocks])
    for size in range(int(ends[0]), len(whole)):
        made.path.write_bytes(whole[:size])
        good = int(ends[ends <= size].max())
        read = spool.read(made.path)
        assert read.truncated == size - good
        assert len(read.packets) == 2 * (size >= ends[2]) + (size >= ends[3])
        assert not read.complete


def test_a_torn_file_goes_on_after_its_good_octets(tmp_path: Path) -> None:
    made = tape(tmp_path / "a.srsp")
    whole = made.write().read_bytes()
    os.truncate(made.path, len(whole) - 1)
    good = spool.good_octets(made.path)
    assert good == len(whole) - len(made.blocks[-1])
    made.path.write_bytes(whole[:good] + block([Packet(80, 4, 580, b"more")]))
    read = spool.read(made.path)
    assert payloads(read) == [b"abc", b"", b"defgh", b"more"]
    assert read.truncated == 0


@given(st.data())
@settings(HOSTILE, max_examples=150)
def test_damage_anywhere_leaves_only_what_came_before(tmp_path: Path, data: st.DataObject) -> None:
    made = tape(tmp_path / "a.srsp")
    octets = bytearray(b"".join(made.blocks))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(st.integers(1, 255))
    octets += data.draw(st.binary(max_size=64))
    made.path.write_bytes(octets)
    ends = np.cumsum([len(each) for each in made.blocks])
    whole = int(np.count_nonzero(ends <= at))
    reserved = any(
        e - len(b) + 20 <= at < e - len(b) + 32 for e, b in zip(ends, made.blocks, strict=True)
    )
    try:
        read = spool.read(made.path)
    except SpoolDamaged:
        assert whole == 0
        return
    expected = [b"abc", b"", b"defgh"][: max(0, min(2, 2 * (whole >= 3)) + (whole >= 4))]
    assert payloads(read) == (expected if not reserved else [b"abc", b"", b"defgh"])


@given(st.binary(max_size=300))
@HOSTILE
def test_arbitrary_octets_raise_nothing_else(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "a.srsp"
    path.write_bytes(octets)
    with pytest.raises(SpoolDamaged):
        spool.read(path)


def test_a_sound_checksum_does_not_excuse_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "a.srsp"
    wrong_sum = bytearray(block(PACKETS))
    lying = spool.encode_packets(np.zeros(2, spool.ROW), b"octets of no row", 0)
    event = spool.encode_event(start())
    unreadable = event[:32] + b"\xc1" * (len(event) - 32)
    body = unreadable[32:]
    unreadable = (
        spool.HEADER.pack(spool.MAGIC, spool.EVENT, spool.VERSION, 0, len(body), crc32c(body), 0, 0)
        + body
    )
    wrong_sum[16] ^= 1
    for bad in (bytes(wrong_sum), lying, unreadable):
        path.write_bytes(event + bad)
        read = spool.read(path)
        assert read.truncated == len(bad)


@pytest.mark.parametrize(
    ("events", "paused"),
    [
        ([], False),
        ([pause(1)], True),
        ([pause(1), resume(2)], False),
        ([pause(1), resume(2), pause(3), stop(4)], True),
    ],
)
def test_ends_paused(tmp_path: Path, events: list[spool.SpoolEvent], paused: bool) -> None:
    made = Tape(tmp_path / "a.srsp").events(start(), *events).packets(PACKETS)
    assert spool.ends_paused(spool.read_events(made.write())) is paused


def test_names_and_digest(tmp_path: Path) -> None:
    path = spool.path_of(tmp_path, "b-1")
    tape(path).write()
    (tmp_path / "b-1.json").write_text("{}")
    tape(spool.path_of(tmp_path, "a")).write()
    assert spool.scan(tmp_path) == [tmp_path / "a.srsp", tmp_path / "b-1.srsp"]
    path.write_bytes(b"abc")
    assert spool.sha256_of(path).startswith("ba7816bf")
