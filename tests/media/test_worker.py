"""The worker's loop, in a thread, driven over its pipe."""

import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from media import spool, wire
from media.spec import DISCARD, StreamSpec, Target
from media.worker import Worker
from tests.media.datagrams import datagram, stamped_arrivals

CNAME = b"0123456789abcdef"


class Remote:
    """The other end of a worker's pipe."""

    def __init__(self, folder: Path, tick_ms: int = 10) -> None:
        self.folder = folder
        self.pipe, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pipe.settimeout(20)
        theirs.setblocking(False)
        self._worker_end = theirs
        self.thread = threading.Thread(target=Worker(theirs, folder, tick_ms).run)
        self.thread.start()
        self.sockets: list[socket.socket] = []
        self.sender = socket.socket(type=socket.SOCK_DGRAM)
        self.number = 0
        assert self.answer() == wire.Ready()

    def answer(self) -> wire.AnyAnswer:
        return wire.decode_answer(self.pipe.recv(wire.RECORD_OCTETS))

    def ask(self, command: wire.AnyCommand, descriptors: Sequence[int] = ()) -> list[wire.Done]:
        """Send a command: all parts of its answer."""
        socket.send_fds(self.pipe, [wire.encode(command)], list(descriptors))
        parts: list[wire.Done] = []
        while not parts or not parts[-1].last:
            answer = self.answer()
            assert isinstance(answer, wire.Done)
            assert answer.number == command.number
            parts.append(answer)
        return parts

    def next(self) -> int:
        self.number += 1
        return self.number

    def open(
        self, session_id: str, specs: Sequence[StreamSpec], target: Target, first: int = 0
    ) -> list[int]:
        """Open streams: their RTP ports."""
        pairs = []
        for _ in specs:
            pair = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
            for each in pair:
                each.bind(("127.0.0.1", 0))
                each.setsockopt(socket.SOL_SOCKET, 35, 1)
            pairs.append(pair)
            self.sockets += pair
        streams = list(enumerate(specs, first))
        command = wire.Open(self.next(), session_id, streams, target, CNAME, time.time_ns())
        self.ask(command, [each.fileno() for pair in pairs for each in pair])
        return [rtp.getsockname()[1] for rtp, _ in pairs]

    def send(self, port: int, *numbers: int, payload_type: int = 0) -> None:
        for number in numbers:
            data = datagram(number, b"x" * 160, payload_type=payload_type)
            self.sender.sendto(data, ("127.0.0.1", port))

    def switch(self, session_id: str, target: Target) -> list[wire.Done]:
        return self.ask(wire.Switch(self.next(), session_id, target, time.time_ns()))

    def close(self) -> None:
        self.pipe.close()
        self.thread.join(20)
        assert not self.thread.is_alive()
        for each in [self.sender, self._worker_end, *self.sockets]:
            each.close()


@pytest.fixture(autouse=True, scope="module")
def stamps() -> Iterator[None]:
    with stamped_arrivals():
        yield


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    made = Remote(tmp_path)
    yield made
    made.close()


A, B = StreamSpec("a", "1", {0: "PCMU"}), StreamSpec("b", "2", {0: "PCMU"})


def numbers(folder: Path, recording_id: str = "rec") -> list[int]:
    found = spool.read(spool.path_of(folder, recording_id)).packets
    return [int(number) for number in found["sequence_number"]]


def kinds(folder: Path, recording_id: str = "rec") -> list[str]:
    return [event.kind for event in spool.read(spool.path_of(folder, recording_id)).events]


def test_a_session_from_open_to_end(remote: Remote) -> None:
    port, other = remote.open("s", [A, B], Target("rec"))
    remote.send(port, 1, 2)
    remote.send(other, 7)
    (done,) = remote.switch("s", Target("rec", paused=True))
    assert [(i, r.stream_id, r.packets) for i, r in done.reports] == [("s", "a", 2), ("s", "b", 1)]
    remote.send(port, 3)
    remote.switch("s", Target("rec"))
    remote.send(port, 4)
    (done,) = remote.ask(wire.End(remote.next(), "s", time.time_ns()))
    assert [r.packets for _, r in done.reports] == [4, 1]
    assert numbers(remote.folder) == [1, 2, 7, 4]
    assert kinds(remote.folder) == ["start", "stream", "stream", "pause", "resume", "stop"]


def test_further_streams_follow_the_session(remote: Remote) -> None:
    remote.open("s", [A], Target("rec"))
    (port,) = remote.open("s", [B], DISCARD, first=1)
    remote.send(port, 5)
    remote.switch("s", DISCARD)
    assert numbers(remote.folder) == [5]
    declared = [e for e in spool.read(spool.path_of(remote.folder, "rec")).events if e.stream_id]
    assert [(e.stream, e.stream_id, e.label) for e in declared] == [(0, "a", "1"), (1, "b", "2")]


def test_an_update_changes_formats_and_activity(remote: Remote) -> None:
    (port,) = remote.open("s", [A], Target("rec"))
    remote.send(port, 1)
    changed = StreamSpec("a", "1", {8: "PCMA"})
    remote.ask(wire.Update(remote.next(), "s", [changed, B], time.time_ns()))
    remote.send(port, 2)
    remote.send(port, 3, payload_type=8)
    silent = StreamSpec("a", "1", {8: "PCMA"}, active=False)
    remote.ask(wire.Update(remote.next(), "s", [silent], time.time_ns()))
    remote.send(port, 4, payload_type=8)
    remote.ask(wire.Update(remote.next(), "s", [changed], time.time_ns()))
    remote.send(port, 5, payload_type=8)
    (done,) = remote.switch("s", DISCARD)
    assert numbers(remote.folder) == [1, 3, 5]
    ((_, report),) = done.reports
    assert (report.packets, report.discarded, report.lost) == (4, 1, 1)


def test_closed_streams_are_reported_to_the_end(remote: Remote) -> None:
    port, other = remote.open("s", [A, B], Target("rec"))
    remote.send(port, 1)
    remote.ask(wire.CloseStreams(remote.next(), "s", ["a", "unknown"], time.time_ns()))
    remote.send(port, 2)
    remote.send(other, 3)
    (done,) = remote.ask(wire.End(remote.next(), "s", time.time_ns()))
    assert [(r.stream_id, r.packets) for _, r in done.reports] == [("a", 1), ("b", 1)]
    assert numbers(remote.folder) == [1, 3]
    declared = [e for e in spool.read(spool.path_of(remote.folder, "rec")).events if e.stream_id]
    assert [(e.stream_id, e.active) for e in declared] == [("a", True), ("b", True), ("a", False)]


def test_commands_for_sessions_that_are_gone_are_done(remote: Remote) -> None:
    for command in (
        wire.Switch(1, "gone", DISCARD, 0),
        wire.End(2, "gone", 0),
        wire.Update(3, "gone", [A], 0),
        wire.CloseStreams(4, "gone", ["a"], 0),
        wire.Report(5, ["gone"]),
    ):
        assert remote.ask(command) == [wire.Done(command.number, [])]


def test_many_reports_come_in_parts(remote: Remote) -> None:
    names = [str(n) for n in range(wire.REPORTS_PER_MESSAGE + 10)]
    for first in range(0, len(names), wire.STREAMS_PER_MESSAGE):
        some = names[first : first + wire.STREAMS_PER_MESSAGE]
        remote.open("s", [StreamSpec(name, "", {0: "PCMU"}) for name in some], DISCARD, first)
    parts = remote.ask(wire.Report(remote.next(), ["s"]))
    assert [part.last for part in parts] == [False, True]
    assert [report.stream_id for part in parts for _, report in part.reports] == names


def test_what_is_kept_is_on_its_way_to_the_disk_within_a_second(remote: Remote) -> None:
    (port,) = remote.open("s", [A], Target("rec"))
    sent = time.monotonic()
    remote.send(port, 1)
    while not numbers(remote.folder):
        remote.ask(wire.Report(remote.next(), []))
        assert time.monotonic() < sent + 20
    assert kinds(remote.folder) == ["start", "stream"]


def test_when_the_pipe_closes_everything_is_written_without_a_stop(tmp_path: Path) -> None:
    remote = Remote(tmp_path, tick_ms=500)
    (port,) = remote.open("s", [A], Target("rec"))
    remote.send(port, 1, 2, 3)
    remote.close()
    assert numbers(tmp_path) == [1, 2, 3]
    assert kinds(tmp_path) == ["start", "stream"]


def test_receiver_reports_are_sent_while_paused(remote: Remote) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        host, port = peer.getsockname()
        spec = StreamSpec("a", "1", {0: "PCMU"}, False, host, port)
        (rtp_port,) = remote.open("s", [spec], Target("rec", paused=True))
        remote.send(rtp_port, 65_535, 0)
        report = peer.recv(2_048)
    assert report[:4] == struct.pack("!BBH", 0x81, 201, 7)
    assert struct.unpack_from("!II", report, 8) == (0x1234, 0)
    assert struct.unpack_from("!I", report, 16) == (0x10000,)


def test_a_full_disk_is_told_once_and_stops_nobody_else(remote: Remote) -> None:
    (remote.folder / "full.srsp").symlink_to("/dev/full")
    command = wire.Open(remote.next(), "full", [], Target("full"), CNAME, 1)
    socket.send_fds(remote.pipe, [wire.encode(command)], [])
    assert remote.answer() == wire.Trouble("full", "enospc")
    assert remote.answer() == wire.Done(command.number, [])
    (port,) = remote.open("s", [A], Target("rec"))
    remote.send(port, 1)
    remote.switch("full", Target("full", paused=True))
    remote.switch("s", DISCARD)
    assert numbers(remote.folder) == [1]
