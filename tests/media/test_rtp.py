"""Headers of whole batches, against the same done for one datagram at a time."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.rtp import runs
from tests.media.datagrams import datagram, parsed

octets_of = st.binary(max_size=400)
datagrams = st.one_of(
    st.binary(max_size=80),
    st.binary(min_size=11, max_size=80).map(lambda b: bytes([0x80 | b[0] & 0x3F]) + b[1:]),
    st.builds(
        datagram,
        st.integers(0, 65_535),
        octets_of,
        timestamp=st.integers(0, 2**32 - 1),
        ssrc=st.integers(0, 2**32 - 1),
        payload_type=st.integers(0, 127),
        marker=st.booleans(),
        csrc=st.lists(st.integers(0, 2**32 - 1), max_size=15),
        extension=st.none() | st.integers(0, 9).map(lambda words: bytes(4 * words)),
        padding=st.integers(0, 255),
    ),
)


@dataclass(frozen=True)
class Oracle:
    """One datagram read the slow way."""

    valid: bool
    payload: bytes = b""

    @staticmethod
    def read(data: bytes) -> "Oracle":
        if len(data) < 12 or data[0] >> 6 != 2:
            return Oracle(False)
        begin, end = 12 + 4 * (data[0] & 15), len(data)
        if data[0] & 0x10:
            if begin + 4 > len(data):
                return Oracle(False)
            begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
        if data[0] & 0x20:
            if data[-1] == 0:
                return Oracle(False)
            end -= data[-1]
        return Oracle(begin <= end, data[begin:end]) if begin <= end else Oracle(False)


@settings(deadline=None)
@given(st.lists(datagrams, max_size=20))
def test_any_datagrams_are_read_as_one_by_one(found: list[bytes]) -> None:
    batch = parsed(found)
    expected = [Oracle.read(data) for data in found]
    assert batch.valid.tolist() == [each.valid for each in expected]
    good = batch.take(batch.valid)
    whole = [data for data, each in zip(found, expected, strict=True) if each.valid]
    assert good.payloads().tobytes() == b"".join(each.payload for each in expected)
    assert good.payload_length.tolist() == [len(e.payload) for e in expected if e.valid]
    assert good.marker.tolist() == [data[1] >> 7 for data in whole]
    assert good.payload_type.tolist() == [data[1] & 127 for data in whole]
    assert good.sequence_number.tolist() == [int.from_bytes(d[2:4], "big") for d in whole]
    assert good.timestamp.tolist() == [int.from_bytes(d[4:8], "big") for d in whole]
    assert good.ssrc.tolist() == [int.from_bytes(d[8:12], "big") for d in whole]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        datagram(1)[:11],
        bytes([0x00]) + datagram(1, b"x" * 160)[1:],
        bytes([0x8F]) + datagram(1, b"x" * 59)[1:],
        datagram(1, b"x", extension=bytes(8))[:19],
        datagram(1, b"x", extension=bytes(8))[:15],
        datagram(1, b"x" * 20, padding=1)[:-1] + b"\x00",
        datagram(1, b"x" * 20, padding=1)[:-1] + b"\xff",
    ],
    ids=["empty", "short", "version", "csrc", "extension", "cut extension", "pad 0", "pad 255"],
)
def test_a_damaged_datagram_is_not_valid_and_harms_no_other(damaged: bytes) -> None:
    batch = parsed([datagram(1, b"a" * 160), damaged, datagram(2, b"b" * 160)])
    assert batch.valid.tolist() == [True, False, True]
    assert batch.take(batch.valid).payloads().tobytes() == b"a" * 160 + b"b" * 160


def test_padding_may_take_all_of_the_payload() -> None:
    batch = parsed([datagram(1, b"", padding=4)])
    assert batch.valid.all()
    assert batch.payload_length.tolist() == [0]
    assert len(batch.payloads()) == 0


def test_a_batch_of_wanted_rows_only_is_not_copied() -> None:
    batch = parsed([datagram(1), datagram(2)])
    assert batch.take(batch.valid) is batch


@given(st.lists(st.integers(0, 3), max_size=30))
def test_runs_are_where_equal_values_stand_together(values: list[int]) -> None:
    starts, counts = runs(np.array(values, np.int32))
    assert [v for s, c in zip(starts, counts, strict=True) for v in values[s : s + c]] == values
    assert all(len(set(values[s : s + c])) == 1 for s, c in zip(starts, counts, strict=True))
    assert all(values[s] != values[s - 1] for s in starts[1:])
