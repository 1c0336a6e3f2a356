"""The whole room: real sockets, a real media process, real files."""

import asyncio
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from config.schema import Media
from media import engine as engine_module
from media import process, spool
from media.engine import MediaEngine
from media.spec import (
    DISCARD,
    MediaError,
    MediaUnavailable,
    PortsExhausted,
    StreamPort,
    StreamSpec,
    Target,
)
from tests.media.datagrams import datagram

RECORD, PAUSE = Target("rec"), Target("rec", paused=True)
A, B = StreamSpec("a", "1", {0: "PCMU"}), StreamSpec("b", "2", {0: "PCMU"})


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[MediaEngine]:
    made = MediaEngine(Media(port_min=30_000, port_max=59_999), tmp_path)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def sender() -> "Sender":
    return Sender()


class Sender:
    """Sends counted packets."""

    def __init__(self) -> None:
        self.count = 0
        self.octets = b"x" * 160

    def send(self, port: StreamPort, packets: int = 1) -> list[int]:
        """Send packets: their numbers."""
        with socket.socket(type=socket.SOCK_DGRAM) as end:
            for _ in range(packets):
                self.count += 1
                end.sendto(datagram(self.count, self.octets), ("127.0.0.1", port.rtp_port))
        return list(range(self.count - packets + 1, self.count + 1))


def now() -> int:
    return time.time_ns()


def opened(
    engine: MediaEngine, specs: Sequence[StreamSpec] = (A,), target: Target = RECORD
) -> list[StreamPort]:
    return engine.open("s", specs, target, now())


def recorded(folder: Path, recording_id: str = "rec") -> list[int]:
    found = spool.read(spool.path_of(folder, recording_id))
    assert found.truncated == 0
    return [int(number) for number in found.packets["sequence_number"]]


def kinds(folder: Path, recording_id: str = "rec") -> list[str]:
    return [event.kind for event in spool.read(spool.path_of(folder, recording_id)).events]


async def test_a_call_from_open_to_end(engine: MediaEngine, sender: Sender, tmp_path: Path) -> None:
    one, two = opened(engine, [A, B])
    assert (one.stream_id, two.stream_id) == ("a", "b")
    assert one.rtp_port % 2 == two.rtp_port % 2 == 0
    assert one.rtcp_port == one.rtp_port + 1
    sent = sender.send(one, 5) + sender.send(two, 3)
    reports = await engine.end("s", now())
    assert [(r.stream_id, r.packets, r.octets, r.lost) for r in reports] == [
        ("a", 5, 800, 0),
        ("b", 3, 480, 0),
    ]
    assert recorded(tmp_path) == sent
    found = spool.read(spool.path_of(tmp_path, "rec"))
    assert found.complete
    assert [(e.stream, e.stream_id, e.label, e.formats) for e in found.events[1:3]] == [
        (0, "a", "1", {0: "PCMU"}),
        (1, "b", "2", {0: "PCMU"}),
    ]


@dataclass
class Talker:
    """A thread that sends without a break, and knows when it sent what."""

    port: int
    sent: list[tuple[int, int]] = field(default_factory=list)
    """Before and after packet 0, 1, 2, … was sent."""
    quiet: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as end:
            # Ten times as fast as speech: the socket's buffer outlasts busy cores.
            while not self.quiet.wait(0.002) and len(self.sent) < 60_000:
                before = now()
                end.sendto(datagram(len(self.sent), b"x" * 160), ("127.0.0.1", self.port))
                self.sent.append((before, now()))


async def test_every_cut_is_exact_to_the_packet(engine: MediaEngine, tmp_path: Path) -> None:
    """Pauses, resumes and splits at random phases under a steady stream."""
    (port,) = opened(engine)
    talker = Talker(port.rtp_port)
    thread = threading.Thread(target=talker.run)
    thread.start()
    rules: list[tuple[int, int, Target]] = [(0, now(), RECORD)]
    rng = random.Random(4)
    for number in range(40):
        await asyncio.sleep(rng.uniform(0, 0.05))
        name = f"rec{number}" if number % 5 == 0 else (rules[-1][2].recording_id or "")
        target = Target(name, paused=number % 2 == 0)
        at_ns = now()
        await engine.switch("s", target, at_ns)
        rules.append((at_ns, now(), target))
    talker.quiet.set()
    thread.join()
    await engine.end("s", now())
    names = {target.recording_id or "" for _, _, target in rules}
    kept = {(name, number) for name in names for number in recorded(tmp_path, name)}
    for number, (before, after) in enumerate(talker.sent):
        sure = [rule for rule in rules if rule[0] <= before]
        if not any(before < rule[0] <= after for rule in rules):
            target = sure[-1][2]
            for name in names:
                expected = name == target.recording_id and not target.paused
                assert ((name, number) in kept) == expected, (number, target)
    assert len(talker.sent) > 100


async def test_nothing_sent_after_a_pause_returned_is_kept(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    (port,) = opened(engine)
    kept: list[int] = []
    for _ in range(10):
        kept += sender.send(port, 3)
        await engine.switch("s", PAUSE, now())
        sender.send(port, 3)
        await engine.switch("s", RECORD, now())
    reports = await engine.end("s", now())
    assert recorded(tmp_path) == kept
    assert (reports[0].packets, reports[0].lost) == (60, 0)
    assert kinds(tmp_path) == ["start", "stream", *["pause", "resume"] * 10, "stop"]


async def test_a_pause_is_sent_before_anything_is_waited_for(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    (port,) = opened(engine)
    await engine.reports(["s"])
    pause = engine.switch("s", PAUSE, now())
    pause.send(None)  # the first step only
    end = engine.end("s", now() + 10**9)
    sender.send(port)
    await end
    pause.close()
    assert recorded(tmp_path) == []
    assert kinds(tmp_path)[-2:] == ["pause", "stop"]


async def test_start_and_stop_within_a_session(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    (port,) = opened(engine, target=DISCARD)
    sender.send(port, 2)
    await engine.switch("s", RECORD, now())
    kept = sender.send(port, 2)
    await engine.switch("s", DISCARD, now())
    assert recorded(tmp_path) == kept
    assert spool.read(spool.path_of(tmp_path, "rec")).complete
    sender.send(port, 2)
    (report,) = await engine.end("s", now())
    assert report.packets == 6
    assert recorded(tmp_path) == kept


async def test_streams_come_fall_silent_and_go(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    (one,) = opened(engine)
    (two,) = engine.open("s", [B], DISCARD, now())
    kept = sender.send(one) + sender.send(two)
    engine.update("s", [StreamSpec("a", "1", {0: "PCMU"}, active=False)], now())
    await engine.reports(["s"])
    sender.send(one)
    engine.update("s", [A], now())
    await engine.reports(["s"])
    kept += sender.send(one)
    engine.close_streams("s", ["b"], now())
    await engine.reports(["s"])
    sender.send(two)
    kept += sender.send(one)
    reports = await engine.end("s", now())
    assert sorted(recorded(tmp_path)) == sorted(kept)
    assert {r.stream_id: r.packets for r in reports} == {"a": 4, "b": 1}


async def test_a_killed_process_costs_a_second_and_no_pause(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    told: list[tuple[str, str]] = []
    engine.on_trouble = lambda *trouble: told.append(trouble)
    (port,) = opened(engine)
    first = sender.send(port, 2)
    await engine.switch("s", PAUSE, now())
    for paused in (True, False):
        kill(engine, signal.SIGKILL)
        refused = sender.send(port, 2)
        await engine.reports(["s"])
        if paused:
            await engine.switch("s", RECORD, now())
    assert engine.restarts == 2
    last = sender.send(port, 2)
    await engine.end("s", now())
    assert recorded(tmp_path) == [*first, *refused, *last]
    assert told == [("rec", "media_restarted")] * 2
    assert [kind for kind in kinds(tmp_path) if kind != "stream"] == [
        *("start", "pause", "pause", "resume", "stop")
    ]


def kill(engine: MediaEngine, number: signal.Signals) -> None:
    assert engine.worker_pid is not None
    os.kill(engine.worker_pid, number)


async def test_a_pause_given_to_a_dead_process_is_exact_all_the_same(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    (port,) = opened(engine)
    await engine.reports(["s"])
    kill(engine, signal.SIGKILL)
    kept = sender.send(port, 2)
    pause = asyncio.gather(engine.switch("s", PAUSE, now()))
    await asyncio.sleep(0)
    sender.send(port, 2)
    await pause
    sender.send(port, 2)
    await engine.end("s", now())
    assert recorded(tmp_path) == kept


async def test_calls_opened_while_the_process_is_gone(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    kill(engine, signal.SIGKILL)
    (port,) = opened(engine)
    (other,) = engine.open("s", [B], RECORD, now())
    sent = sender.send(port, 2) + sender.send(other)
    await engine.end("s", now())
    assert recorded(tmp_path) == sent
    assert kinds(tmp_path) == ["start", "stream", "stream", "stop"]


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        (RECORD, PAUSE, []),
        (RECORD, DISCARD, []),
        (PAUSE, RECORD, []),  # a pause is not ended by what nobody confirmed
        (DISCARD, RECORD, ["rec"]),
        (RECORD, Target("next"), ["next"]),
        (PAUSE, DISCARD, []),
    ],
    ids=["pause", "stop", "resume", "start", "split", "stop paused"],
)
async def test_a_switch_nobody_confirms(
    engine: MediaEngine,
    sender: Sender,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: Target,
    after: Target,
    goes_on: list[str],
) -> None:
    monkeypatch.setattr(process, "ACKNOWLEDGE_S", 0.4)
    monkeypatch.setattr(process, "HEARTBEAT_S", 0.1)
    (port,) = opened(engine, target=before)
    engine.open("another", [B], Target("other"), now())  # of which trouble is told
    await engine.reports(["s"])
    engine.on_trouble = lambda recording_id, code: kill(engine, signal.SIGSTOP)
    kill(engine, signal.SIGSTOP)
    with pytest.raises(MediaUnavailable):
        await engine.switch("s", after, now())
    engine.on_trouble = lambda recording_id, code: None
    await engine.reports(["s"])
    sent = sender.send(port, 3)
    await engine.end("s", now())
    for recording_id in ("rec", "next"):
        path = spool.path_of(tmp_path, recording_id)
        kept = recorded(tmp_path, recording_id) if path.exists() else []
        assert kept == (sent if recording_id in goes_on else [])


async def test_a_full_disk_is_told_and_the_others_go_on(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    told: list[tuple[str, str]] = []
    engine.on_trouble = lambda *trouble: told.append(trouble)
    (tmp_path / "full.srsp").symlink_to("/dev/full")
    (full,) = engine.open("f", [B], Target("full"), now())
    (port,) = opened(engine)
    sent = sender.send(port)
    sender.send(full)
    await engine.end("f", now())
    await engine.end("s", now())
    assert told == [("full", "enospc")]
    assert recorded(tmp_path) == sent


async def test_a_recording_can_begin_with_what_was_just_said(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    """No packet is lost where what was held meets what comes, and none is older than asked."""
    (port,) = opened(engine, target=Target(prebuffer_ms=5_000))
    sender.send(port, 3)
    await asyncio.sleep(0.25)  # some sweeps go by
    since = now()
    wanted = sender.send(port, 3)
    await asyncio.sleep(0.25)
    wanted += sender.send(port, 3)
    await engine.switch("s", Target("rec", since_ns=since), now())
    assert recorded(tmp_path) == wanted
    wanted += sender.send(port, 3)
    await engine.end("s", now())
    assert recorded(tmp_path) == wanted
    found = spool.read(spool.path_of(tmp_path, "rec"))
    assert [(e.kind, e.at_ns) for e in found.events[:2]] == [("start", since), ("stream", since)]


async def test_what_is_held_is_for_nobody_else(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    (port,) = opened(engine, target=Target(prebuffer_ms=5_000))
    sender.send(port, 3)
    await engine.switch("s", RECORD, now())
    kept = sender.send(port, 3)
    await engine.switch("s", DISCARD, now())
    sender.send(port, 3)
    await engine.switch("s", Target("more", since_ns=now() - 10**9), now())
    more = sender.send(port, 3)
    await engine.end("s", now())
    assert (recorded(tmp_path), recorded(tmp_path, "more")) == (kept, more)


async def test_a_new_process_holds_on_but_begins_nothing_twice(
    engine: MediaEngine, sender: Sender, tmp_path: Path
) -> None:
    (port,) = opened(engine, target=Target(prebuffer_ms=5_000))
    sender.send(port, 3)
    await engine.reports(["s"])
    kill(engine, signal.SIGKILL)
    await engine.reports(["s"])
    wanted = sender.send(port, 3)
    since = now() - 2 * 10**9
    await engine.switch("s", Target("rec", since_ns=since), now())
    kill(engine, signal.SIGKILL)
    await engine.reports(["s"])
    wanted += sender.send(port, 3)
    await engine.end("s", now())
    assert recorded(tmp_path)[-6:] == wanted
    found = spool.read(spool.path_of(tmp_path, "rec"))
    assert [e.at_ns for e in found.events if e.kind == "start"] == [since]
    assert sum(event.at_ns == since for event in found.events) == 2


@pytest.mark.parametrize(
    "target",
    [
        Target("rec", prebuffer_ms=1),
        Target(prebuffer_ms=60_001),
        Target(prebuffer_ms=-1),
        Target(since_ns=1),
        Target("rec", since_ns=2**62),
        Target("rec", since_ns=-1),
        Target("rec", paused=True, since_ns=1),
    ],
    ids=str,
)
async def test_a_target_that_means_nothing_is_refused(engine: MediaEngine, target: Target) -> None:
    opened(engine, target=DISCARD)
    with pytest.raises(MediaError):
        await engine.switch("s", target, now())


async def test_ports_are_given_out_all_or_none(tmp_path: Path) -> None:
    engine = MediaEngine(Media(port_min=30_000, port_max=30_399), tmp_path)
    await engine.start()
    many = [StreamSpec(str(n), "", {0: "PCMU"}) for n in range(150)]
    ports = engine.open("s", many, RECORD, now())
    assert len({port.rtp_port for port in ports}) == 150
    with pytest.raises(PortsExhausted):
        engine.open("t", many, DISCARD, now())
    assert list(await engine.reports(["s", "t"])) == ["s"]
    assert [r.stream_id for r in await engine.end("s", now())] == [s.stream_id for s in many]
    await engine.close()


async def test_open_files_are_ports_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "RESERVED_DESCRIPTORS", 10**9)
    engine = MediaEngine(Media(), tmp_path)
    await engine.start()
    with pytest.raises(PortsExhausted, match="open files"):
        opened(engine)
    await engine.close()


async def test_a_recording_id_is_never_a_path(engine: MediaEngine) -> None:
    opened(engine, target=DISCARD)
    for name in ("../rec", "a/b", "", "a.b", "x" * 129, "a\n"):
        with pytest.raises(MediaError):
            engine.open("t", [B], Target(name), now())
        with pytest.raises(MediaError):
            await engine.switch("s", Target(name), now())
    assert list(await engine.reports(["s", "t"])) == ["s"]


async def test_closing_writes_what_there_is_without_a_stop(tmp_path: Path, sender: Sender) -> None:
    engine = MediaEngine(Media(port_min=30_000, port_max=59_999, tick_ms=500), tmp_path)
    await engine.start()
    (port,) = opened(engine)
    await engine.reports(["s"])
    sent = sender.send(port, 3)
    await engine.close()
    assert recorded(tmp_path) == sent
    assert kinds(tmp_path) == ["start", "stream"]
    with socket.socket(type=socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port.rtp_port))


async def test_ipv6(tmp_path: Path) -> None:
    engine = MediaEngine(Media(address="::1", port_min=30_000, port_max=59_999), tmp_path)
    await engine.start()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        peer.bind(("::1", 0))
        peer.setblocking(False)
        host, rtcp_port = peer.getsockname()[:2]
        spec = StreamSpec("a", "1", {0: "PCMU"}, rtcp_host=host, rtcp_port=rtcp_port)
        (port,) = opened(engine, [spec])
        peer.sendto(datagram(1, b"x"), ("::1", port.rtp_port))
        async with asyncio.timeout(30):
            report = await asyncio.get_running_loop().sock_recv(peer, 2_048)
    assert struct.unpack_from("!BB", report) == (0x81, 201)
    await engine.end("s", now())
    assert recorded(tmp_path) == [1]
    await engine.close()
