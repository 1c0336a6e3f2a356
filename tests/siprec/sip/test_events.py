from dataclasses import FrozenInstanceError

import pytest

from siprec.sip import events
from siprec.sip.events import Event, Flow


def test_flows_are_values() -> None:
    flow = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5062))
    assert {flow: 1}[Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5062))] == 1
    assert flow != Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5062), 1)


def test_events_cannot_be_changed() -> None:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type)]
    assert len([kind for kind in kinds if issubclass(kind, Event)]) == 9
    ended = events.DialogEnded("d", "hung_up")
    with pytest.raises(FrozenInstanceError):
        ended.reason = "no_ack"  # type: ignore[misc]
