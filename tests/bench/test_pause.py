"""The judge of pauses: it must see a packet that leaked, one that is missing, one that is torn."""

import numpy as np

from examples.rtp import Packet
from tests.bench.pause import TABLE, Outcome, Pause, numbered, numbers

PAYLOADS = numbered(300)
PACKETS = [Packet(0, 0, 0, n, 160 * n, 1, PAYLOADS[n], sent_at=n * 0.02) for n in range(300)]
PAUSE = Pause(asked=1.001, answered=1.021, resume_asked=3.001, resume_answered=3.021)
"""Packets 0 to 50 must be there, 52 to 150 must not, 51 and 151 may; from 152 on they must."""


def sound(*indices: int) -> np.ndarray:
    return TABLE[np.frombuffer(b"".join(PAYLOADS[index] for index in indices), np.uint8)]


def judged(held: list[int]) -> Outcome:
    outcome = Outcome()
    outcome.judge(PACKETS, [PAUSE], held)
    return outcome


def test_a_channel_says_which_packets_it_holds() -> None:
    silence = np.zeros(70, np.int16)
    samples = np.concatenate([silence, sound(0, 1, 251), silence, sound(299), silence])
    assert list(numbers(samples)) == [0, 1, 251, 299]
    assert list(numbers(silence)) == []


def test_a_packet_that_is_not_whole_is_seen() -> None:
    samples = sound(3, 4, 5)
    samples[200] = 0
    assert list(numbers(samples)) == [3, -1, 5]
    assert list(numbers(sound(3)[:100])) == [-1]


def test_an_exact_pause_is_found_exact() -> None:
    for edge in ([], [51], [51, 151]):
        outcome = judged([*range(51), *edge, *range(152, 300)])
        assert (outcome.leaked, outcome.missing, outcome.torn) == (0, 0, 0)


def test_leaks_losses_and_tears_are_counted() -> None:
    outcome = judged([*range(50), 52, 150, *range(152, 299), -1])
    assert (outcome.leaked, outcome.missing, outcome.torn) == (2, 2, 1)
    assert outcome.sent == 300
