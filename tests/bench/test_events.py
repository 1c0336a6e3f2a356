"""What is made of what subscribers saw: frames, delays, a table."""

import struct

import numpy as np
import pytest

from api.sockets import frame
from examples.service import ServiceError
from tests.bench.events import Crowd, outcome, table
from tests.bench.subscribers import first_frame

CROWD = Crowd("3", 2, 1, 0)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_a_server(size: int) -> None:
    whole = frame(b"x" * size)
    assert first_frame(whole + b"rest") == (b"x" * size, b"rest")
    for short in (0, 1, len(whole) - 1):
        assert first_frame(whole[:short]) is None
    assert first_frame(struct.pack("!BBQ", 0x81, 127, 5) + b"four") is None


def test_delays_are_counted_from_the_answer() -> None:
    ms = 1_000_000
    answered = np.array([100 * ms, 200 * ms])
    seen = np.array([[110, 190, 300], [120, 220, 300], [130, 230, 300]]) * ms
    said = {"kinds": ["native", "native", "signalr"], "short": 2}
    found = outcome(CROWD, [0.5, 0.5], answered, seen, said)
    assert found.delays_s["native"].tolist() == pytest.approx([0.01, 0, 0.02, 0.02])
    assert found.delays_s["signalr"].tolist() == pytest.approx([0.03, 0.03])
    assert found.short == 2
    assert table([found]).rows == (
        ("3", "native", "4", "15.00 ms", "20.00 ms", "50 ms", "500.00 ms", "2"),
        ("3", "SignalR", "2", "30.00 ms", "30.00 ms", "50 ms", "500.00 ms", "2"),
    )


def test_an_event_that_nobody_saw_is_an_error() -> None:
    for seen, kinds in ((np.array([[1]]), ["native"]), (np.array([]), [])):
        said = {"kinds": kinds, "short": 0}
        with pytest.raises(ServiceError, match=f"{len(kinds)} of 2 events were seen"):
            outcome(CROWD, [0.1], np.array([1, 2]), seen, said)
