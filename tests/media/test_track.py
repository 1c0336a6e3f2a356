import numpy as np

from media.reorder import Arrivals
from media.track import Placed, place

LIMIT = 100 * 8_000


def stream(*sources: tuple[int, int, int, int]) -> Placed:
    """Sources as (ssrc, arrival of the first packet, packets, first timestamp)."""
    ssrc = np.concatenate([np.full(n, each) for each, _, n, _ in sources]).astype(np.uint32)
    count = np.concatenate([np.arange(n) for _, _, n, _ in sources])
    first = np.concatenate([np.full(n, at) for _, at, n, _ in sources])
    time = np.concatenate([np.full(n, ts) for _, _, n, ts in sources]) + count * 160
    arrivals = Arrivals(
        sequence_number=count.astype(np.uint16),
        timestamp=time.astype(np.uint32),
        position=first + count * 160,
        size=np.full(len(count), 160),
        audio=np.ones(len(count), bool),
        epoch=np.zeros(len(count), np.int64),
    )
    order = np.argsort(arrivals.position, kind="stable")
    return place(arrivals.take(order), ssrc[order], order, LIMIT)


def spans(placed: Placed) -> list[list[tuple[int, int]]]:
    """Contiguous stretches of each layer."""
    result = []
    for layer in placed.layers:
        ends = layer.start + layer.size
        edges = np.flatnonzero(layer.start[1:] != ends[:-1]) + 1
        begins, stops = [0, *edges], [*edges, len(ends)]
        result.append(
            [(int(layer.start[a]), int(ends[b - 1])) for a, b in zip(begins, stops, strict=True)]
        )
    return result


def test_a_source_begins_when_its_first_packet_arrives() -> None:
    assert spans(stream((1, 40, 10, 5_000))) == [[(40, 1_640)]]


def test_a_new_source_nearly_in_time_goes_on_exactly() -> None:
    for late in (-320, -40, 0, 40, 320):
        placed = stream((1, 0, 10, 0), (2, 1_600 + late, 10, 99))
        assert spans(placed) == [[(0, 3_200)]], late


def test_a_new_source_later_than_that_begins_when_it_arrives() -> None:
    assert spans(stream((1, 0, 10, 0), (2, 1_921, 10, 9))) == [[(0, 1_600), (1_921, 3_521)]]


def test_a_source_that_overlaps_its_predecessor_waits_for_its_end() -> None:
    assert spans(stream((1, 0, 10, 0), (2, 900, 10, 9))) == [[(0, 3_200)]]


def test_a_source_that_comes_back_goes_on() -> None:
    placed = stream((1, 0, 50, 0), (2, 8_010, 50, 9), (1, 16_015, 50, 16_000))
    assert spans(placed) == [[(0, 8_000), (16_000, 24_000)], [(8_000, 16_000)]]


def test_sources_at_the_same_time_lie_on_layers() -> None:
    placed = stream((1, 0, 100, 0), (2, 4_000, 50, 9), (3, 4_100, 20, 9))
    assert sorted(spans(placed)) == [[(0, 16_000)], [(4_000, 12_000)], [(4_100, 7_300)]]


def test_of_a_flood_of_sources_the_largest_stay() -> None:
    flood = [(10 + n, n * 16_000, 2 + n % 2, 0) for n in range(40)]
    placed = stream((1, 0, 500, 0), *flood)
    assert "ssrc_flood" in placed.warnings
    kept = [row for layer in placed.layers for row in layer.rows]
    assert len(kept) == 500 + 20 * 3 + 11 * 2


def test_nothing_plays_before_the_recording_or_after_the_limit() -> None:
    placed = stream((1, -100, 10, 0), (2, LIMIT - 400, 10, 0))
    assert spans(placed) == [[(0, 1_600), (LIMIT - 400, LIMIT - 80)]]
    assert placed.warnings == ("timestamps_implausible",)


def test_a_sender_whose_clock_runs_fast_loses_nothing_for_it() -> None:
    count = np.arange(400)
    arrivals = Arrivals(
        sequence_number=count.astype(np.uint16),
        timestamp=(count * 160).astype(np.uint32),
        position=count * 120,
        size=np.full(400, 160),
        audio=np.ones(400, bool),
        epoch=np.zeros(400, np.int64),
    )
    placed = place(arrivals, np.zeros(400, np.uint32), count, LIMIT)
    assert spans(placed) == [[(0, 64_000)]]


def test_sources_that_jump_all_the_time_end_somewhere() -> None:
    count, source = np.arange(200).repeat(32), np.tile(np.arange(32), 200)
    arrivals = Arrivals(
        sequence_number=count.astype(np.uint16),
        timestamp=(count * 160 + count // 6 * 9_000_003).astype(np.uint32),
        position=count * 160 + source,
        size=np.full(6_400, 160),
        audio=np.ones(6_400, bool),
        epoch=np.zeros(6_400, np.int64),
    )
    placed = place(arrivals, source.astype(np.uint32), np.arange(6_400), LIMIT)
    assert sum(len(layer.rows) for layer in placed.layers) > 4_000


def test_no_packets() -> None:
    nothing = np.zeros(0, np.int64)
    arrivals = Arrivals(
        nothing.astype(np.uint16), nothing.astype(np.uint32), nothing, nothing, nothing > 0, nothing
    )
    placed = place(arrivals, nothing.astype(np.uint32), nothing, LIMIT)
    assert (placed.layers, placed.lost, placed.duplicates, len(placed.bridges)) == ((), 0, 0, 0)
