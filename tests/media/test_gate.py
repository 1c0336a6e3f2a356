"""What a cut keeps, by arrival time, and what the spools say about it."""

import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import gate, spool
from media.gate import MediaSession, Piece
from media.spec import DISCARD, StreamSpec, Target
from media.stream import MediaStream
from tests.media.datagrams import datagram, parsed

RECORD = Target("rec")
PAUSE = Target("rec", paused=True)


def piece(*arrivals: int, stream: int = 0) -> Piece:
    """Packets whose sequence number is their arrival time, with that many octets."""
    batch = parsed([datagram(at, bytes([at]) * at) for at in arrivals], None, list(arrivals))
    index = np.full(len(arrivals), stream, np.uint16)
    ((_, found),) = gate.part(batch, index, np.zeros(len(arrivals), np.int32))
    return found


@pytest.fixture
def session(tmp_path: Path) -> Iterator[MediaSession]:
    """A session with streams 0 and 1, recorded as `rec`."""
    made = MediaSession(0, tmp_path, lambda recording_id, code: None)
    made.retarget(RECORD, 1)
    for index, name in enumerate("ab"):
        spec = StreamSpec(name, name, {0: "PCMU"})
        rtp, rtcp = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        made.streams[name] = MediaStream(spec, index, 0, rtp, rtcp)
        made.declare(made.streams[name], 1)
    yield made
    made.close(None)
    for stream in made.streams.values():
        stream.close()


def switch(session: MediaSession, target: Target, at_ns: int, *swept: Piece) -> None:
    session.cut(at_ns, list(swept), partial(session.retarget, target, at_ns))


def numbers(session: MediaSession, recording_id: str = "rec") -> list[int]:
    """Sequence numbers in a spool, of packets whose payload is as `piece` made it."""
    found = spool.read(spool.path_of(session.folder, recording_id))
    for row, begin in zip(found.packets, found.offsets, strict=True):
        payload = found.octets[begin : begin + row["length"]]
        assert payload.tolist() == [row["sequence_number"]] * row["sequence_number"]
    return [int(n) for n in found.packets["sequence_number"]]


def events(session: MediaSession, recording_id: str = "rec") -> list[tuple[str, int]]:
    found = spool.read(spool.path_of(session.folder, recording_id)).events
    return [(event.kind, event.at_ns) for event in found]


DECLARED = [("start", 1), ("stream", 1), ("stream", 1)]


def test_parts_are_copies_by_session() -> None:
    batch = parsed([datagram(n, bytes([n]) * n) for n in range(1, 6)], [0, 1, 2, 3, 4])
    sessions = np.array([7, 7, 3, 3, 9], np.int32)
    found = list(gate.part(batch, np.array([0, 1, 0, 1, 0], np.uint16), sessions))
    batch.octets[:] = 0
    assert [number for number, _ in found] == [7, 3, 9]
    rows = [np.frombuffer(rows, spool.ROW) for _, (rows, _) in found]
    assert [each["sequence_number"].tolist() for each in rows] == [[1, 2], [3, 4], [5]]
    assert [each["stream"].tolist() for each in rows] == [[0, 1], [0, 1], [0]]
    assert [bytes(payload) for _, (_, payload) in found] == [
        b"\1\2\2",
        b"\3\3\3\4\4\4\4",
        b"\5\5\5\5\5",
    ]


def test_a_flush_is_one_block(session: MediaSession) -> None:
    session.pending += [piece(2, 3), piece(4, stream=1)]
    before = spool.path_of(session.folder, "rec").stat().st_size
    session.flush()
    session.flush()
    assert numbers(session) == [2, 3, 4]
    grown = spool.path_of(session.folder, "rec").stat().st_size - before
    assert grown == spool.HEADER.size + 3 * spool.ROW.itemsize + 9


@pytest.mark.parametrize("target", [PAUSE, DISCARD])
def test_a_cut_keeps_what_came_before_pending_or_swept(
    session: MediaSession, target: Target
) -> None:
    session.pending += [piece(10, 19), piece(20, 21)]
    switch(session, target, 20, piece(18, 19, 20, 22))
    assert numbers(session) == [10, 19, 18, 19]
    assert not any(len(rows) for rows, _ in session.pending)
    assert not session.live()


def test_after_a_pause_nothing_is_kept_whatever_the_clock_says(session: MediaSession) -> None:
    switch(session, PAUSE, 50)
    switch(session, PAUSE, 60, piece(10, 70))
    assert numbers(session) == []
    assert events(session) == [*DECLARED, ("pause", 50)]


def test_resume_keeps_what_came_from_then_on(session: MediaSession) -> None:
    switch(session, PAUSE, 20)
    switch(session, RECORD, 30, piece(25, 29, 30, 31))
    session.flush()
    assert numbers(session) == [30, 31]
    assert events(session) == [*DECLARED, ("pause", 20), ("resume", 30)]


def test_a_split_parts_packets_exactly(session: MediaSession) -> None:
    session.pending += [piece(10, 30)]
    switch(session, Target("next"), 20, piece(19, 20, 21))
    session.flush()
    assert numbers(session) == [10, 19]
    assert numbers(session, "next") == [30, 20, 21]
    assert events(session) == [*DECLARED, ("stop", 20)]
    assert events(session, "next") == [("start", 20), ("stream", 20), ("stream", 20)]


def test_a_split_while_paused_stays_paused(session: MediaSession) -> None:
    switch(session, PAUSE, 20)
    switch(session, Target("next", paused=True, fill=False), 30, piece(29, 31))
    assert numbers(session) == numbers(session, "next") == []
    assert events(session) == [*DECLARED, ("pause", 20), ("stop", 30)]
    assert events(session, "next")[-1] == ("pause", 30)
    assert not spool.read(spool.path_of(session.folder, "next")).events[-1].fill


def test_another_filling_begins_another_pause(session: MediaSession) -> None:
    switch(session, PAUSE, 20)
    switch(session, Target("rec", paused=True, fill=False), 30)
    assert events(session)[3:] == [("pause", 20), ("resume", 30), ("pause", 30)]


def test_start_after_stop_begins_a_recording(session: MediaSession) -> None:
    switch(session, DISCARD, 20)
    switch(session, Target("next"), 30, piece(29, 30))
    session.flush()
    assert numbers(session, "next") == [30]


def test_a_stream_falls_silent_at_a_time_and_the_other_does_not(session: MediaSession) -> None:
    def quiet() -> None:
        session.streams["a"].spec = StreamSpec("a", "a", {0: "PCMU"}, active=False)
        session.declare(session.streams["a"], 20)

    session.pending += [piece(10, 25), piece(11, 26, stream=1)]
    session.cut(20, [piece(19, 27), piece(18, 28, stream=1)], quiet)
    session.flush()
    assert sorted(numbers(session)) == [10, 11, 18, 19, 26, 28]
    last = spool.read(spool.path_of(session.folder, "rec")).events[-1]
    assert (last.kind, last.stream_id, last.active) == ("stream", "a", False)


def test_a_recording_that_is_there_goes_on_without_another_start(session: MediaSession) -> None:
    session.pending += [piece(5)]
    session.close(None)
    again = MediaSession(1, session.folder, lambda recording_id, code: None)
    again.retarget(RECORD, 9)
    again.pending += [piece(7)]
    again.close(spool.SpoolEvent("stop", 10))
    assert numbers(session) == [5, 7]
    assert [kind for kind, _ in events(session)] == ["start", "stream", "stream", "stop"]


def test_trouble_is_told_with_the_recordings_name(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    session = MediaSession(0, tmp_path, lambda *trouble: told.append(trouble))
    (tmp_path / "rec.srsp").symlink_to("/dev/full")
    session.retarget(RECORD, 1)
    session.retarget(DISCARD, 2)
    assert told == [("rec", "enospc")]


@given(
    st.lists(st.integers(1, 60), max_size=12),
    st.lists(st.integers(1, 60), max_size=12),
    st.lists(st.sampled_from([RECORD, PAUSE, DISCARD, Target("b")]), min_size=1, max_size=5),
)
def test_whatever_the_order_each_packet_goes_where_its_time_says(
    tmp_path_factory: pytest.TempPathFactory,
    pending: list[int],
    swept: list[int],
    targets: list[Target],
) -> None:
    """Cuts at 10, 20, 30 …; everything arrives before the first of them is made."""
    session = MediaSession(0, tmp_path_factory.mktemp("gate"), lambda recording_id, code: None)
    with socket.socket(type=socket.SOCK_DGRAM) as end:
        session.streams["a"] = MediaStream(StreamSpec("a", "a", {0: "PCMU"}), 0, 0, end, end)
        session.retarget(Target("a"), 0)
        session.pending += [piece(*pending)] if pending else []
        rules = [(0, Target("a"))]
        for number, target in enumerate(targets, 1):
            switch(
                session, target, 10 * number, *([piece(*swept)] if swept and number == 1 else [])
            )
            rules.append((10 * number, target))
        switch(session, DISCARD, 1_000)
    kept: dict[str, list[int]] = {"a": [], "b": [], "rec": []}
    for at in pending + swept:
        # once refused, a packet does not come back when a later rule would have had it
        passed = [target for since, target in rules if since <= at]
        if all(t.recording_id and not t.paused for t in passed):
            kept[passed[-1].recording_id or ""].append(at)
    for name, expected in kept.items():
        if expected:
            assert sorted(numbers(session, name)) == sorted(expected)
        elif spool.path_of(session.folder, name).exists():
            assert numbers(session, name) == []


S = 1_000_000_000
HOLD = Target(prebuffer_ms=3_000)


def held(session: MediaSession) -> list[int]:
    """Arrival times of what is held or pending."""
    rows = b"".join(octets for octets, _ in session.pending)
    return [int(at) for at in np.frombuffer(rows, spool.ROW)["arrival_ns"]]


@pytest.fixture
def holding(session: MediaSession) -> MediaSession:
    """The session, not recorded but holding three seconds."""
    session.close(None)
    session.target = HOLD
    return session


def late(*arrivals: int, stream: int = 0) -> Piece:
    """Packets of three octets that arrived at these times."""
    batch = parsed([datagram(n, bytes(3)) for n, _ in enumerate(arrivals)], None, list(arrivals))
    index = np.full(len(arrivals), stream, np.uint16)
    ((_, found),) = gate.part(batch, index, np.zeros(len(arrivals), np.int32))
    return found


def arrivals(session: MediaSession, recording_id: str) -> list[int]:
    found = spool.read(spool.path_of(session.folder, recording_id)).packets
    return [int(at) for at in found["arrival_ns"]]


def test_what_is_held_is_forgotten_by_pieces_and_never_written(
    holding: MediaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding.pending += [late(1 * S, 2 * S), late(5 * S, stream=1), late(9 * S)]
    monkeypatch.setattr(time, "time_ns", lambda: 10 * S)
    holding.flush()
    assert held(holding) == [9 * S]
    monkeypatch.setattr(time, "time_ns", lambda: 13 * S)
    holding.flush()
    assert held(holding) == []
    assert not list(holding.folder.glob("new*"))


def test_a_start_that_asks_for_it_begins_with_what_is_held(holding: MediaSession) -> None:
    holding.pending += [late(5 * S, 6 * S), late(6 * S, 7 * S, stream=1)]
    start = Target("new", since_ns=6 * S)
    switch(holding, start, 9 * S, late(8 * S), late(9 * S), late(10 * S, stream=1))
    assert events(holding, "new") == [("start", 6 * S), ("stream", 6 * S), ("stream", 6 * S)]
    assert arrivals(holding, "new") == [6 * S, 6 * S, 7 * S, 8 * S, 9 * S, 10 * S]
    assert held(holding) == []


def test_a_start_that_does_not_ask_for_it_drops_what_is_held(holding: MediaSession) -> None:
    holding.pending += [late(7 * S, 8 * S)]
    switch(holding, Target("new"), 9 * S, late(8 * S + 1), late(9 * S))
    assert held(holding) == [9 * S]
    holding.flush()
    assert events(holding, "new")[0] == ("start", 9 * S)
    assert arrivals(holding, "new") == [9 * S]


def test_what_is_held_is_gone_at_once_when_nothing_is_to_be_held(holding: MediaSession) -> None:
    holding.pending += [late(7 * S, 10 * S)]
    switch(holding, DISCARD, 9 * S, late(8 * S, 10 * S))
    assert held(holding) == []
    switch(holding, Target("new", since_ns=7 * S), 11 * S)
    assert arrivals(holding, "new") == []


def test_what_is_held_outlives_a_change_of_the_streams(holding: MediaSession) -> None:
    """A stream that is put on hold takes nothing away of what was said before."""
    holding.pending += [late(7 * S), late(7 * S, stream=1)]
    second = holding.streams["b"]

    def rest() -> None:
        second.spec = StreamSpec("b", "b", {0: "PCMU"}, active=False)

    holding.cut(8 * S, [late(7 * S + 1, 8 * S, stream=1)], rest)
    assert held(holding) == [7 * S, 7 * S, 7 * S + 1]
    switch(holding, Target("new", since_ns=6 * S), 9 * S, late(8 * S, stream=1), late(8 * S))
    assert sorted(arrivals(holding, "new")) == [7 * S, 7 * S, 7 * S + 1, 8 * S]
    found = spool.read(spool.path_of(holding.folder, "new")).events
    told = [(e.stream_id, e.at_ns, e.active) for e in found if e.kind == "stream"]
    assert told == [("a", 6 * S, True), ("b", 6 * S, True), ("b", 9 * S, False)]


def test_a_stream_that_is_gone_takes_what_is_held_of_it_along(holding: MediaSession) -> None:
    holding.pending += [late(7 * S), late(7 * S, stream=1)]

    def drop() -> None:
        gone = holding.streams.pop("b")
        gone.close()

    holding.cut(8 * S, [], drop)
    switch(holding, Target("new", since_ns=6 * S), 9 * S)
    assert arrivals(holding, "new") == [7 * S]


def test_nothing_is_held_while_paused_and_none_of_it_comes_back(holding: MediaSession) -> None:
    switch(holding, Target("new", since_ns=6 * S), 9 * S, late(8 * S))
    switch(holding, Target("new", paused=True), 10 * S, late(9 * S), late(11 * S))
    assert held(holding) == []
    switch(holding, DISCARD, 12 * S, late(11 * S))
    switch(holding, HOLD, 13 * S, late(12 * S))
    assert held(holding) == []
    assert arrivals(holding, "new") == [8 * S, 9 * S]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=40),
    st.integers(1, 40),
    st.integers(0, 40),
    st.integers(1, 12),
)
def test_holding_is_what_a_list_would_do(
    times: list[int], switch_at: int, back: int, window: int
) -> None:
    """Any order of arrival, any moment, any window, against plain Python."""
    since = max(1, switch_at - back)
    session = MediaSession(0, Path("/dev/shm"), lambda recording_id, code: None)
    session.target = Target(prebuffer_ms=1000 * window)
    rtp, rtcp = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    with rtp, rtcp:
        session.streams["a"] = MediaStream(StreamSpec("a", "a", {0: "PCMU"}), 0, 0, rtp, rtcp)
        session.pending = [late(*(t * S for t in times[::2]))]
        swept = [late(*(t * S for t in times[1::2]))] if times[1:] else []
        other = Target(prebuffer_ms=1000 * back) if back else DISCARD
        session.cut(switch_at * S, swept, partial(setattr, session, "target", other))
    floor = switch_at - back if back else switch_at
    expected = sorted(t for t in times if t < switch_at and t >= floor and back)
    # what came at or after the change obeys the new rule, if it had not been judged before it
    expected += sorted(t for t in (times[1::2] if back else []) if t >= switch_at)
    found = sorted(at // S for at in held(session))
    later = [t for t in times[::2] if t >= switch_at] if back else []
    assert found == sorted([*expected, *later]), (since, floor)
