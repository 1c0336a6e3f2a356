import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from media.reorder import Arrivals, Segment, segments, unwrap

SECOND = 8_000


def source(
    sequence: ArrayLike,
    time: ArrayLike,
    arrival: ArrayLike | None = None,
    audio: ArrayLike | None = None,
    epoch: ArrayLike | None = None,
) -> Arrivals:
    """Packets of 160 samples; by default each arrives when it plays."""
    times = np.array(time, np.int64)
    heard = np.array(audio) if audio is not None else np.ones(len(times), bool)
    return Arrivals(
        sequence_number=np.array(sequence).astype(np.uint16),
        timestamp=times.astype(np.uint32),
        position=np.array(arrival if arrival is not None else times, np.int64),
        size=np.where(heard, 160, 0),
        audio=heard,
        epoch=np.array(epoch) if epoch is not None else np.zeros(len(times), np.int64),
    )


def only(found: tuple[list[Segment], bool]) -> Segment:
    (segment,), plausible = found
    assert plausible
    return segment


@settings(deadline=None)
@given(
    begin=st.integers(0, 0xFFFF),
    steps=st.lists(st.integers(-0x7FFF, 0x7FFF), max_size=50),
)
def test_unwrap_undoes_wrapping(begin: int, steps: list[int]) -> None:
    truth = np.cumsum([begin, *steps])
    assert np.array_equal(unwrap(truth.astype(np.uint16)), truth - begin)
    wide = truth * 65_521
    assert np.array_equal(unwrap(wide.astype(np.uint32)), wide - wide[0])


def test_wraps_and_reordering() -> None:
    count = np.array([0, 1, 3, 2, 5, 4, 6])
    segment = only(segments(source(count + 65_533, count * 160 + 2**32 - 320, count * 160)))
    assert segment.rows.tolist() == [0, 1, 3, 2, 5, 4, 6]
    assert segment.times.tolist() == [n * 160 for n in range(7)]
    assert (segment.lost, segment.duplicates) == (0, 0)


def test_the_first_of_duplicates_counts() -> None:
    count = np.array([0, 1, 1, 2, 0, 3, 3, 3])
    segment = only(segments(source(count, count * 160)))
    assert segment.rows.tolist() == [0, 1, 3, 5]
    assert (segment.lost, segment.duplicates) == (0, 4)


def test_numbers_that_start_anew_on_the_same_clock_are_no_duplicates() -> None:
    count = np.arange(20)
    segment = only(segments(source(count % 10, count * 160)))
    assert sorted(segment.times.tolist()) == (count * 160).tolist()
    assert (segment.lost, segment.duplicates) == (0, 0)


def test_audio_is_no_duplicate_of_something_else() -> None:
    segment = only(segments(source([0, 0, 0], [0, 0, 0], audio=[False, False, True])))
    assert segment.rows.tolist() == [2]
    assert segment.duplicates == 1


def test_missing_numbers_are_lost_silence_is_not() -> None:
    count = np.array([0, 1, 4, 5, 6])
    silent = count * 160 + np.array([0, 0, 0, 0, 3 * SECOND])
    segment = only(segments(source(count, silent)))
    assert segment.times.tolist() == silent.tolist()
    assert segment.lost == 2


def test_nothing_is_lost_in_a_pause() -> None:
    count = np.array([0, 1, 2, 150, 151, 153])
    segment = only(segments(source(count, count * 160, epoch=[0, 0, 0, 1, 1, 1])))
    assert segment.lost == 1


def test_events_share_the_sequence_but_are_no_audio() -> None:
    count = np.array([0, 1, 2, 3, 4, 5, 7])
    audio = [True, True, False, False, True, True, True]
    time = [0, 160, 320, 320, 640, 800, 1120]
    segment = only(segments(source(count, time, audio=audio)))
    assert segment.rows.tolist() == [0, 1, 4, 5, 6]
    assert segment.times.tolist() == [0, 160, 640, 800, 1120]
    assert segment.bridged.tolist() == [False, True, False, False, False]
    assert segment.lost == 1


def test_a_hole_in_the_events_is_not_bridged() -> None:
    audio = [True, False, True]
    segment = only(segments(source([0, 1, 3], [0, 160, 480], audio=audio)))
    assert not segment.bridged.any()
    assert segment.lost == 1


def test_events_alone_are_nothing() -> None:
    assert segments(source([1, 2], [0, 0], audio=[False, False])) == ([], True)


def test_a_jump_of_the_timestamp_begins_a_segment() -> None:
    count = np.arange(20)
    time = count * 160 + (count >= 10) * 1_000_000
    (first, second), plausible = segments(source(count, time, count * 160))
    assert plausible
    assert first.rows.tolist() == list(range(10))
    assert second.rows.tolist() == list(range(10, 20))
    assert second.times.tolist() == [n * 160 for n in range(10)]
    assert first.lost + second.lost == 0


def test_a_restart_backwards_into_numbers_used_before() -> None:
    count = np.arange(40)
    sequence = np.where(count < 20, count + 100, count - 20 + 110)
    time = np.where(count < 20, count * 160, count * 160 + 77_000_000)
    found, _ = segments(source(sequence, time, count * 160))
    assert [segment.rows.tolist() for segment in found] == [[*range(20)], [*range(20, 40)]]
    assert [segment.duplicates for segment in found] == [0, 0]


def test_stragglers_over_a_jump_stay_with_their_own() -> None:
    count = np.array([0, 1, 2, 3, 5, 6, 4, 7, 8, 9])
    time = count * 160 + (count >= 5) * 2**31
    found, _ = segments(source(count, time, np.arange(10) * 160))
    assert sorted(segment.rows.tolist() for segment in found) == [
        [0, 1, 2, 3, 6],
        [4, 5, 7, 8, 9],
    ]


def test_a_stray_packet_is_dropped_and_costs_nothing() -> None:
    count = np.arange(30)
    sequence, time = count.copy(), count * 160
    sequence[15], time[15] = 40_000, 3_000_000_000
    segment = only(segments(source(sequence, time, count * 160)))
    assert segment.rows.tolist() == [*range(15), *range(16, 30)]
    assert segment.lost == 1


def test_a_burst_after_a_stall_goes_on_by_its_timestamps() -> None:
    count = np.arange(600)
    arrival = np.where((count > 100) & (count < 350), 350 * 160, count * 160)
    segment = only(segments(source(count, count * 160, arrival)))
    assert segment.times.tolist() == (count * 160).tolist()


def test_a_clock_that_stood_still_begins_anew() -> None:
    count = np.arange(100)
    arrival = count * 160 + (count >= 40) * 3 * SECOND
    found, plausible = segments(source(count, count * 160, arrival))
    assert [len(segment.rows) for segment in found] == [40, 60]
    assert plausible
    assert sum(segment.lost for segment in found) == 0


def test_a_late_stretch_after_two_holds_is_found_each_time() -> None:
    count = np.arange(90)
    arrival = count * 160 + ((count >= 30) * 3 + (count >= 60) * 2) * SECOND
    found, _ = segments(source(count, count * 160, arrival))
    assert [len(segment.rows) for segment in found] == [30, 30, 30]


@pytest.mark.parametrize("scale", [0, 2, 40])
def test_an_implausible_clock_is_replaced_by_counting(scale: int) -> None:
    count = np.array([*range(30), *range(35, 60)])
    (segment,), plausible = segments(source(count, count * 160 * scale, count * 160))
    assert not plausible
    assert segment.times.tolist() == (count * 160).tolist()
    assert segment.lost == 5


def test_a_clock_that_leads_nowhere() -> None:
    count = np.arange(3_000)
    random = np.random.default_rng(1).integers(0, 2**32, 3_000)
    (segment,), plausible = segments(source(count, random, count * 160))
    assert not plausible
    assert segment.times.tolist() == (count * 160).tolist()


def test_too_many_jumps_are_no_clock() -> None:
    count = np.arange(6_000)
    (segment,), plausible = segments(source(count, count * 160 + count // 4 * 9_000, count * 160))
    assert not plausible
    assert len(segment.rows) == 6_000


def test_a_dropout_that_leaves_no_time_is_a_restart_of_the_numbers() -> None:
    count = np.arange(40)
    segment = only(segments(source(count + (count >= 20) * 9_000, count * 160)))
    assert segment.lost == 0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.integers(-SECOND, 100 * SECOND),
            st.booleans(),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_arrives_each_packet_is_used_once_at_most(
    packets: list[tuple[int, int, int, bool]],
) -> None:
    sequence, time, arrival, audio = zip(*packets, strict=True)
    found, _ = segments(source(sequence, time, arrival, audio))
    used = [row for segment in found for row in segment.rows.tolist()]
    assert len(used) == len(set(used))
    assert all(audio[row] for row in used)
    assert all(segment.lost >= 0 and segment.duplicates >= 0 for segment in found)
