from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media import spool
from media.spec import Gap
from media.timeline import Timeline, build
from tests.media.spools import Packet, Tape, at, pause, resume, start, stop, stream, talk, write

HOSTILE = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NOISE = np.random.default_rng(7).integers(0, 256, 400_000, dtype=np.uint8).tobytes()


def line(path: Path, track: int = 0) -> tuple[Timeline, bytes]:
    """The timeline of a spool, and one track as octets with nothing cut; silence is a space."""
    source = spool.read(path)
    timeline = build(source)
    octets = bytearray(b" " * timeline.length)
    for layer in timeline.tracks[track].layers:
        for row, begin, size in zip(layer.rows, layer.start, layer.size, strict=True):
            offset = source.offsets[row]
            octets[begin : begin + size] = source.octets[offset : offset + size].tobytes()
    return timeline, bytes(octets)


def without_cuts(timeline: Timeline, octets: bytes) -> bytes:
    edges = [0, *timeline.cuts.ravel().tolist(), len(octets)]
    kept = b"".join(octets[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))
    assert len(kept) == timeline.samples
    return kept


# One packet at a time: the model that the columns must agree with


class Model:
    """Places packets of sources that follow each other, one packet at a time."""

    def __init__(self) -> None:
        self.samples: dict[int, int] = {}
        self.lost = self.duplicates = 0
        self.end: int | None = None

    def source(self, packets: Iterable[Packet]) -> None:
        """The next source, in order of arrival."""
        times: dict[int, tuple[int, int, bytes]] = {}
        sequence = timestamp = None
        for packet in packets:
            if sequence is None or timestamp is None:
                sequence, timestamp = packet.sequence_number, packet.timestamp
            step = (packet.sequence_number - sequence + 0x8000) % 0x10000 - 0x8000
            sequence += step
            tick = (packet.timestamp - timestamp + 2**31) % 2**32 - 2**31
            timestamp += tick
            self.duplicates += sequence in times
            arrival = (at(packet.at_ms) - at(0)) // 125_000
            times.setdefault(sequence, (timestamp, arrival, packet.payload))
        self.lost += max(times) - min(times) + 1 - len(times)
        begun = min(arrival for _, arrival, _ in times.values())
        early = [a - t for t, a, _ in times.values() if a <= begun + 8_000]
        self._lay([(min(early) + t, payload) for t, _, payload in times.values()])

    def _lay(self, frames: list[tuple[int, bytes]]) -> None:
        first = min(position for position, _ in frames)
        shift = max(0, -first)
        if self.end is not None and first - self.end <= 320:
            shift = self.end - first
        for position, payload in frames:
            for index, octet in enumerate(payload):
                self.samples[position + shift + index] = octet
        self.end = max(position + shift + len(payload) for position, payload in frames)


@st.composite
def network(draw: st.DrawFn) -> list[list[Packet]]:
    """Sources one after the other, each with its packets in order of arrival: late by up to 90 ms,
    lost (but the first and the last), doubled, counters anywhere in their range.
    """
    sources: list[list[Packet]] = []
    now = draw(st.floats(0, 100))
    for ssrc in range(draw(st.integers(1, 3))):
        count = draw(st.integers(12, 60))
        size = draw(st.sampled_from([80, 160, 240]))
        sent = talk(
            NOISE[: count * size],
            now,
            draw(st.integers(0, 0xFFFF)),
            draw(st.integers(0, 0xFFFFFFFF)),
            size,
            ssrc=ssrc,
        )
        fates = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
        delays = draw(st.lists(st.integers(0, 90), min_size=count, max_size=count))
        arrived = []
        for packet, fate, delay in zip(sent, fates, delays, strict=True):
            late = replace(packet, at_ms=packet.at_ms + delay)
            arrived += [] if fate == 0 and packet not in (sent[0], sent[-1]) else [late]
            arrived += [replace(late, at_ms=late.at_ms + 3)] * (fate == 1)
        sources.append(sorted(arrived, key=lambda packet: packet.at_ms))
        now += count * size / 8 + draw(st.sampled_from([0, 15, 400]))
    return sources


@given(sources=network())
@HOSTILE
def test_every_sample_is_where_the_model_puts_it(
    tmp_path: Path, sources: list[list[Packet]]
) -> None:
    model = Model()
    for source in sorted(sources, key=lambda packets: packets[0].at_ms):
        model.source(source)
    packets = [packet for source in sources for packet in source]
    end_ms = max(packet.at_ms for packet in packets) + 1_000
    timeline, octets = line(write(tmp_path / "a.srsp", packets, stop_ms=end_ms))
    expected = bytearray(b" " * timeline.length)
    for position, octet in model.samples.items():
        expected[position] = octet
    assert octets == bytes(expected)
    track = timeline.tracks[0]
    assert (track.lost, track.duplicates) == (model.lost, model.duplicates)
    assert timeline.length == (at(end_ms) - at(0)) // 125_000
    assert timeline.warnings == ()


# Sources


def test_streams_keep_their_distance(tmp_path: Path) -> None:
    packets = talk(NOISE[:8_000], 5) + talk(NOISE[8_000:16_000], 30, 9, 9, stream=1, ssrc=2)
    path = write(tmp_path / "a.srsp", packets, streams=2, stop_ms=1_100)
    for track, begin in ((0, 40), (1, 240)):
        timeline, octets = line(path, track)
        assert octets[begin : begin + 8_000] == NOISE[track * 8_000 :][:8_000]
        assert timeline.length == 8_800


def test_two_streams_with_one_ssrc_do_not_mix(tmp_path: Path) -> None:
    packets = talk(NOISE[:800]) + talk(NOISE[800:1_600], stream=1)
    path = write(tmp_path / "a.srsp", packets, streams=2, stop_ms=100)
    assert [line(path, track)[1] for track in (0, 1)] == [NOISE[:800], NOISE[800:1_600]]


def test_silence_between_talkspurts_lasts_as_long_as_it_did(tmp_path: Path) -> None:
    packets = talk(NOISE[:1_600]) + talk(NOISE[:1_600], 60_013, 10, 60_000 * 8)
    timeline, octets = line(write(tmp_path / "a.srsp", packets, stop_ms=61_000))
    assert octets.strip(b" ") == NOISE[:1_600] + b" " * (60_000 * 8 - 1_600) + NOISE[:1_600]
    assert timeline.tracks[0].gaps == (Gap(200, 59_800), Gap(60_200, 800))


def test_events_leave_silence_that_is_no_gap(tmp_path: Path) -> None:
    packets = talk(NOISE[:8_000])
    for number in range(10, 15):
        packets[number] = replace(
            packets[number], payload=b"\1\x0a\0\xa0", payload_type=101, timestamp=1_600
        )
    packets[30] = replace(packets[30], payload=b"\x40", payload_type=13)
    timeline, octets = line(write(tmp_path / "a.srsp", packets, stop_ms=1_000))
    assert octets[1_600:2_400] == b" " * 800
    assert octets[4_800:4_960] == b" " * 160
    track = timeline.tracks[0]
    assert (track.packets, track.lost, track.gaps, track.encoding) == (44, 0, (), "PCMU")


def test_what_cannot_be_decoded_is_not_placed(tmp_path: Path) -> None:
    made = Tape(tmp_path / "a.srsp").events(start(), stream(formats={9: "G722"}))
    path = made.packets(talk(NOISE[:800], payload_type=9)).events(stop(100)).write()
    timeline, octets = line(path)
    assert octets == b" " * 800
    assert (timeline.tracks[0].packets, timeline.tracks[0].encoding) == (0, "")


def test_payload_types_mean_what_was_declared_when_they_arrived(tmp_path: Path) -> None:
    made = Tape(tmp_path / "a.srsp").events(start(), stream(formats={0: "PCMU", 96: "CN"}))
    made.events(stream(formats={0: "G722", 96: "pcma"}, at_ms=100, label="new"))
    packets = talk(NOISE[:1_600])
    packets = [replace(p, payload_type=96) if p.at_ms in (40, 140) else p for p in packets]
    timeline, octets = line(made.packets(packets).events(stop(200)).write())
    assert (
        octets.rstrip(b" ")
        == NOISE[:320] + b" " * 160 + NOISE[480:800] + b" " * 320 + NOISE[1_120:1_280]
    )
    source = spool.read(made.path)
    assert timeline.encodings.tolist() == [0, 0, 2, 0, 0, 2, 2, 1, 2, 2]
    assert len(source.packets) == 10
    assert timeline.tracks[0].label == "new"


def test_packets_may_come_before_their_stream_is_declared(tmp_path: Path) -> None:
    made = Tape(tmp_path / "a.srsp").events(start(), stream(at_ms=50), stream(at_ms=70))
    _, octets = line(made.packets(talk(NOISE[:800])).events(stop(100)).write())
    assert octets == NOISE[:800]


def test_an_index_declared_for_another_stream(tmp_path: Path) -> None:
    made = Tape(tmp_path / "a.srsp").events(start(), stream(0), stream(1))
    made.events(
        replace(stream(0, at_ms=50), stream_id="s1"), replace(stream(1, at_ms=50), stream_id="s0")
    )
    before, after = talk(NOISE[:320]), talk(NOISE[320:640], 60, 3, 480)
    swapped = [replace(packet, stream=1) for packet in after]
    timeline, octets = line(made.packets(before + swapped).events(stop(100)).write())
    assert timeline.tracks[0].stream_id == "s0"
    assert octets.rstrip(b" ") == NOISE[:320] + b" " * 160 + NOISE[320:640]


@pytest.mark.parametrize("step", [0, 1, 320, 48_000, 2**31])
def test_implausible_timestamps_neither_lose_audio_nor_lengthen_the_file(
    tmp_path: Path, step: int
) -> None:
    packets = [
        replace(packet, timestamp=number * step & 0xFFFFFFFF)
        for number, packet in enumerate(talk(NOISE[:80_000], 10))
    ]
    timeline, octets = line(write(tmp_path / "a.srsp", packets, stop_ms=10_100))
    assert octets[80:80_080] == NOISE[:80_000]
    assert timeline.length == 10_100 * 8
    assert timeline.warnings == ("timestamps_implausible",)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2_000),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.integers(0, 400),
            st.integers(0, 3),
            st.sampled_from([0, 8, 13, 101, 127]),
            st.integers(0, 3),
        ),
        max_size=50,
    ),
    st.lists(
        st.tuples(st.integers(0, 2_000), st.sampled_from(["pause", "cut", "resume"])), max_size=6
    ),
)
@HOSTILE
def test_no_packets_make_a_file_longer_than_the_clock_and_a_second(
    tmp_path: Path,
    packets: list[tuple[int, int, int, int, int, int, int]],
    commands: list[tuple[int, str]],
) -> None:
    made = [
        Packet(at_ms, sequence, timestamp, NOISE[:size], ssrc, index, payload_type)
        for at_ms, sequence, timestamp, size, ssrc, payload_type, index in packets
    ]
    moves = {"pause": pause, "cut": lambda ms: pause(ms, fill=False), "resume": resume}
    events = [moves[kind](at_ms) for at_ms, kind in sorted(commands)]
    path = write(tmp_path / "a.srsp", made, *events, streams=3, stop_ms=2_000)
    timeline = build(spool.read(path))
    assert 16_000 <= timeline.length <= 24_000
    assert 0 <= timeline.samples <= timeline.length
    placed = 0
    for track in timeline.tracks:
        for layer in track.layers:
            assert ((layer.start >= 0) & (layer.start + layer.size <= timeline.length)).all()
            assert (np.diff(layer.start) >= 0).all()
            placed += int(layer.size.sum())
            for begin, end in timeline.cuts:
                assert not ((layer.start < end) & (layer.start + layer.size > begin)).any()
        assert all(gap.start_ms >= 0 and gap.duration_ms >= 20 for gap in track.gaps)
        assert all(
            gap.start_ms * 8 + gap.duration_ms * 8 <= timeline.samples + 8 for gap in track.gaps
        )
    assert placed <= sum(len(packet.payload) for packet in made)


# Length


def test_the_last_packet_is_whole(tmp_path: Path) -> None:
    timeline, octets = line(write(tmp_path / "a.srsp", talk(NOISE[:800]), stop_ms=81))
    assert (timeline.length, octets) == (800, NOISE[:800])


def test_what_was_cut_off_lasts_to_its_last_packet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.srsp", talk(NOISE[:800], 500))
    timeline, octets = line(path)
    assert (timeline.length, octets[4_000:]) == (4_800, NOISE[:800])
    assert timeline.warnings == ("spool_truncated",)


def test_what_was_cut_off_while_paused_lasts_to_the_pause(tmp_path: Path) -> None:
    timeline, _ = line(write(tmp_path / "a.srsp", talk(NOISE[:800]), pause(1_000)))
    assert (timeline.length, timeline.paused) == (8_000, 0)


def test_packets_that_could_not_be_written_are_told(tmp_path: Path) -> None:
    made = Tape(tmp_path / "a.srsp").events(start(), stream(), stop(100, dropped=3))
    assert build(spool.read(made.write())).warnings == ("packets_dropped",)


def test_a_spool_of_packets_only(tmp_path: Path) -> None:
    timeline = build(spool.read(Tape(tmp_path / "a.srsp").packets(talk(NOISE[:800])).write()))
    assert (timeline.tracks, timeline.length) == ((), 640)


# Pauses


def test_a_filled_pause_is_silence_and_nothing_else(tmp_path: Path) -> None:
    packets = [p for p in talk(NOISE[:16_000]) if not 500 <= p.at_ms < 1_300]
    events = (pause(500), resume(1_300))
    timeline, octets = line(write(tmp_path / "a.srsp", packets, *events, stop_ms=2_000))
    assert octets == NOISE[:4_000] + b" " * 6_400 + NOISE[10_400:16_000]
    track = timeline.tracks[0]
    assert (track.lost, track.gaps, timeline.paused, timeline.samples) == (0, (), 6_400, 16_000)


def test_a_cut_pause_is_gone_from_all_streams(tmp_path: Path) -> None:
    first, second = talk(NOISE[:16_000], 3), talk(NOISE[16_000:32_000], 12, stream=1, ssrc=9)
    packets = [p for p in first + second if not 500 <= p.at_ms < 1_300]
    events = (pause(500, fill=False), resume(1_300))
    path = write(tmp_path / "a.srsp", packets, *events, streams=2, stop_ms=2_100)
    timeline, octets = line(path)
    # the second stream was the last to be heard and the first to be back: 492 + 20 and 1,303
    assert timeline.cuts.tolist() == [[512 * 8, 1_300 * 8]]
    assert without_cuts(timeline, octets)[24:] == (
        NOISE[:4_000] + b" " * (72 + 24) + NOISE[10_400:16_000] + b" " * (97 * 8 - 0)
    )
    assert timeline.paused == 6_400
    assert timeline.tracks[0].gaps == timeline.tracks[1].gaps == ()


@given(
    spans=st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=5),
    cut=st.booleans(),
    jitter=st.lists(st.integers(0, 30), min_size=1, max_size=30),
    phase=st.integers(0, 19),
)
@HOSTILE
def test_a_pause_takes_what_arrived_in_it_and_no_sample_more(
    tmp_path: Path, spans: list[tuple[int, int]], cut: bool, jitter: list[int], phase: int
) -> None:
    sent = [talk(NOISE[:16_000]), talk(NOISE[16_000:32_000], phase, stream=1, ssrc=9)]
    late = [
        [replace(p, at_ms=p.at_ms + jitter[n % len(jitter)]) for n, p in enumerate(packets)]
        for packets in sent
    ]
    edges = np.cumsum([[0, 0], *spans], axis=None)[2:].reshape(-1, 2).tolist()
    kept = [[p for p in s if not any(a <= p.at_ms < b for a, b in edges)] for s in late]
    events = [move for a, b in edges for move in (pause(a, fill=not cut), resume(b))]
    path = write(tmp_path / "a.srsp", kept[0] + kept[1], *events, streams=2, stop_ms=3_000)
    where = []
    for track in (0, 1):
        timeline, octets = line(path, track)
        octets = without_cuts(timeline, octets)
        where.append([octets.find(p.payload) for p in kept[track]])
        assert -1 not in where[-1]
        assert sorted(where[-1]) == [
            w
            for _, w in sorted(
                zip((p.sequence_number for p in kept[track]), where[-1], strict=True)
            )
        ]
        overtaken_at_edges = 2 * len(spans)
        assert timeline.tracks[track].lost <= (overtaken_at_edges if max(jitter) >= 20 else 0)
    assert timeline.paused == sum(8 * (b - a) for a, b in edges)
    removed = 24_000 - timeline.samples
    assert removed <= timeline.paused * cut
    assert removed >= (timeline.paused - len(spans) * 8 * (20 + 30 + 20)) * cut


def test_what_came_early_or_late_keeps_its_place_beside_a_cut(tmp_path: Path) -> None:
    sent = talk(NOISE[:16_000])
    slow = [replace(p, at_ms=p.at_ms + 60) for p in sent[:52]]
    fast = [p for p in sent if p.at_ms >= 1_080]
    events = (pause(1_095, fill=False), resume(1_500))
    kept = [p for p in slow + fast if not 1_095 <= p.at_ms < 1_500]
    straggler = replace(sent[53], at_ms=1_505)
    path = write(tmp_path / "a.srsp", [*kept, straggler], *events, stop_ms=2_100)
    timeline, octets = line(path)
    # the last packet before the pause arrived at 1,080 and plays at 1,140; the straggler at 1,120
    assert timeline.cuts.tolist() == [[1_160 * 8, 1_500 * 8]]
    for packet in (*kept, straggler):
        assert octets.count(packet.payload) == 1


def test_a_straggler_across_the_beginning_of_a_pause_is_whole(tmp_path: Path) -> None:
    sent = talk(NOISE[:16_000])
    kept = [p for p in sent if not 490 <= p.at_ms < 1_000 and p.at_ms != 480]
    straggler = replace(sent[24], at_ms=1_003)
    events = (pause(490, fill=False), resume(1_000))
    timeline, octets = line(write(tmp_path / "a.srsp", [*kept, straggler], *events, stop_ms=2_000))
    assert timeline.cuts.tolist() == [[500 * 8, 1_000 * 8]]
    assert without_cuts(timeline, octets) == NOISE[:4_000] + NOISE[8_000:16_000]


def test_commands_that_repeat_change_nothing(tmp_path: Path) -> None:
    events = (resume(10), pause(100), pause(200, fill=False), resume(300), resume(400))
    timeline = build(spool.read(write(tmp_path / "a.srsp", [], *events, stop_ms=1_000)))
    assert (timeline.paused, timeline.samples) == (1_600, 8_000)


def test_a_pause_that_lasts_to_the_end_is_cut(tmp_path: Path) -> None:
    events = [pause(100, fill=False)]
    path = write(tmp_path / "a.srsp", talk(NOISE[:800]), *events, stop_ms=1_000)
    timeline, octets = line(path)
    assert without_cuts(timeline, octets) == NOISE[:800]


# Gaps


def test_holes_are_told_in_time_of_the_file(tmp_path: Path) -> None:
    missing = {10, 30, 31, 32, 130}
    packets = [
        p
        for n, p in enumerate(talk(NOISE[:32_000]))
        if n not in missing and not 1_000 <= p.at_ms < 2_000
    ]
    events = (pause(1_000, fill=False), resume(2_000))
    timeline, _ = line(write(tmp_path / "a.srsp", packets, *events, stop_ms=4_000))
    track = timeline.tracks[0]
    assert track.gaps == (Gap(200, 20), Gap(600, 60), Gap(1_600, 20))
    assert track.lost == 5


def test_a_stream_may_take_a_moment_to_begin_and_end(tmp_path: Path) -> None:
    for first, expected in ((99, ()), (100, (Gap(0, 100),))):
        path = write(tmp_path / "a.srsp", talk(NOISE[:8_000], first), stop_ms=first + 1_099)
        assert line(path)[0].tracks[0].gaps == expected


def test_of_many_holes_the_longest_are_told(tmp_path: Path) -> None:
    every = talk(NOISE[:1_920] * 200, size=40)
    packets = [p for n, p in enumerate(every) if n % 8 not in {2, 3, 4, 5} and n // 8 != 600]
    timeline = build(spool.read(write(tmp_path / "a.srsp", packets, stop_ms=48_000)))
    gaps = timeline.tracks[0].gaps
    assert len(gaps) == 1_000
    assert max(gap.duration_ms for gap in gaps) == 40
    assert list(gaps) == sorted(gaps, key=lambda gap: gap.start_ms)


def test_what_an_inactive_stream_did_not_send_is_neither_lost_nor_a_gap(tmp_path: Path) -> None:
    made = Tape(tmp_path / "a.srsp").events(start(), stream())
    packets = [p for p in talk(NOISE[:32_000]) if not 1_000 <= p.at_ms < 2_000 and p.at_ms != 500]
    made.packets(packets)
    made.events(replace(stream(at_ms=1_000), active=False), stream(at_ms=2_000), stop(4_000))
    timeline, octets = line(made.write())
    track = timeline.tracks[0]
    assert (track.lost, track.gaps, timeline.paused) == (1, (Gap(500, 20),), 0)
    assert octets[8_000:16_000] == b" " * 8_000
