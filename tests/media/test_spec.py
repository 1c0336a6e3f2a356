"""The nouns of the door: they cross the pipe as they are, and errors are one family."""

from dataclasses import FrozenInstanceError
from typing import Any

import msgspec
import pytest

from media import spec

VALUES: list[Any] = [
    spec.StreamSpec("m0", "1", {0: "PCMU", 101: "telephone-event"}, False, "192.0.2.1", 5005),
    spec.StreamPort("m0", 20_000, 20_001),
    spec.Target("r1", paused=True, fill=False),
    spec.StreamReport(
        "m0", packets=3, lost=2, jitter_ms=0.5, ssrc=2**32 - 1, last_arrival_ns=2**62
    ),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_cross_the_pipe_unchanged(value: Any) -> None:
    octets = msgspec.msgpack.encode(value)
    assert msgspec.msgpack.decode(octets, type=type(value)) == value


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_cannot_be_changed_behind_somebodys_back(value: Any) -> None:
    with pytest.raises((FrozenInstanceError, TypeError)):
        setattr(value, next(iter(type(value).__slots__)), None)


def test_nothing_is_recorded_unless_somebody_says_so() -> None:
    assert spec.Target() == spec.DISCARD
    assert spec.DISCARD.recording_id is None


def test_one_family_of_errors() -> None:
    kinds = (spec.PortsExhausted, spec.MediaUnavailable, spec.SpoolDamaged, spec.RenderFailed)
    assert all(issubclass(kind, spec.MediaError) for kind in kinds)
