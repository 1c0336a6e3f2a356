"""Sweeps over sessions with real sockets."""

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from media import spool
from media.collector import Collector
from media.gate import MediaSession
from media.spec import StreamSpec, Target
from media.stream import MediaStream, StreamTable
from tests.media.datagrams import datagram

SHARDS = 2


class Room:
    """A collector, and somebody who sends to its streams."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = StreamTable()
        self.collector = Collector(self.table, SHARDS)
        self.sender = socket.socket(type=socket.SOCK_DGRAM)

    def session(self, name: str, target: Target, *actives: bool) -> MediaSession:
        number = len(self.collector.sessions)
        session = MediaSession(number, self.folder, lambda recording_id, code: None)
        session.retarget(target, 1)
        for index, active in enumerate(actives):
            rtp, rtcp = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
            rtp.bind(("127.0.0.1", 0))
            spec = StreamSpec(f"{name}{index}", "", {0: "PCMU"}, active)
            stream = session.streams[spec.stream_id] = MediaStream(spec, index, number, rtp, rtcp)
            self.table.add(stream, b"", 1)
        self.collector.sessions[name] = session
        self.collector.changed = True
        return session

    def send(self, session: MediaSession, index: int, data: bytes) -> None:
        self.sender.sendto(data, list(session.streams.values())[index].rtp.getsockname())

    def counted(self, session: MediaSession) -> list[tuple[int, int, int]]:
        """Packets, octets and discarded of each stream."""
        reports = [self.table.report(stream) for stream in session.streams.values()]
        return [(each.packets, each.octets, each.discarded) for each in reports]

    def close(self) -> None:
        self.sender.close()
        for stream in self.table.streams.values():
            stream.close()
        for session in self.collector.sessions.values():
            session.close(None)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.close()


def pending(session: MediaSession) -> list[tuple[int, int, bytes]]:
    """Stream, sequence number and payload of what is not written yet."""
    found = []
    for octets, payload in session.pending:
        rows = np.frombuffer(octets, spool.ROW)
        ends = np.cumsum(rows["length"]).tolist()
        for row, end in zip(rows, ends, strict=True):
            of = bytes(payload[end - int(row["length"]) : end])
            found.append((int(row["stream"]), int(row["sequence_number"]), of))
    return found


def test_packets_go_to_their_sessions(room: Room) -> None:
    one = room.session("one", Target("r1"), True, True)
    two = room.session("two", Target("r2"), True)
    for number in range(3):
        room.send(one, 0, datagram(number, b"a" * (100 + number)))
        room.send(two, 0, datagram(number, b"c" * 160))
        room.send(one, 1, datagram(number, b"b" * 7))
    room.collector.tick()
    assert pending(one) == [(0, n, b"a" * (100 + n)) for n in range(3)] + [
        (1, n, b"b" * 7) for n in range(3)
    ]
    assert pending(two) == [(0, n, b"c" * 160) for n in range(3)]
    assert room.counted(one) == [(3, 303, 0), (3, 21, 0)]


def test_what_is_no_rtp_of_the_stream_is_counted_and_not_kept(room: Room) -> None:
    session = room.session("one", Target("r"), True)
    stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    receiver_report = b"\x80\xc9\x00\x01" + bytes(8)
    for data in (b"", stun, receiver_report, datagram(1, b"x", payload_type=8), bytes(3_000)):
        room.send(session, 0, data)
    room.send(session, 0, datagram(2, b"good"))
    room.collector.tick()
    assert pending(session) == [(0, 2, b"good")]
    assert room.counted(session) == [(1, 4, 5)]


def test_shut_streams_are_counted_and_not_kept(room: Room) -> None:
    shut = [
        room.session("idle", Target(), True),
        room.session("paused", Target("r1", paused=True), True),
        room.session("inactive", Target("r2"), False, True),
    ]
    for session in shut:
        for number in range(4):
            room.send(session, 0, datagram(number, b"x" * 160))
        room.send(session, 0, b"keepalive")
    room.send(shut[2], 1, datagram(9, b"live"))
    for _ in range(SHARDS):
        room.collector.tick()
    assert [room.counted(session)[0] for session in shut] == [(4, 640, 1)] * 3
    assert [pending(session) for session in shut[:2]] == [[], []]
    shut[2].flush()
    assert spool.read(spool.path_of(room.folder, "r2")).packets["stream"].tolist() == [1]


def test_every_session_is_written_once_in_a_round_and_not_in_the_tick_that_swept(
    room: Room,
) -> None:
    sessions = [room.session(name, Target(name), True) for name in ("a", "b")]
    for session in sessions:
        room.send(session, 0, datagram(1, b"x"))
    room.collector.tick()
    assert [len(pending(session)) for session in sessions] == [1, 1]
    room.collector.tick()
    assert sorted(len(pending(session)) for session in sessions) == [0, 1]
    room.collector.tick()
    assert [len(pending(session)) for session in sessions] == [0, 0]
    for name in ("a", "b"):
        assert spool.read(spool.path_of(room.folder, name)).packets.size == 1


def test_a_session_alone_is_swept_whatever_its_gate(room: Room) -> None:
    paused = room.session("paused", Target("r1", paused=True), True, False)
    other = room.session("other", Target("r2"), True)
    for session, index in ((paused, 0), (paused, 1), (other, 0)):
        room.send(session, index, datagram(5, b"abc"))
    found = room.collector.sweep_session(paused)
    assert [bytes(payload) for _, payload in found] == [b"abcabc"]
    assert room.counted(other) == [(0, 0, 0)]


def test_opening_and_closing_gates_is_noticed(room: Room) -> None:
    session = room.session("one", Target("r"), True)
    room.collector.tick()
    session.target = Target("r", paused=True)
    room.collector.changed = True
    room.send(session, 0, datagram(1, b"x"))
    for _ in range(SHARDS):
        room.collector.tick()
    session.target = Target("r")
    room.collector.changed = True
    room.send(session, 0, datagram(2, b"y"))
    room.collector.tick()
    assert pending(session) == [(0, 2, b"y")]
    assert room.counted(session) == [(2, 2, 0)]
