"""What is made of the answers: a code, the end of a race, two tables."""

from collections import Counter

import pytest

from examples.service import ServiceError
from tests.bench.control import OUTCOMES, code_of, outcome, tables


def test_the_code_of_an_answer() -> None:
    assert code_of(b"<result><code>0</code><message>ACK</message></result>") == 0
    assert code_of(b"<result><code>-1</code><message><code>5</code></message></result>") == -1
    for body in (b"", b'{"result":{"code":0}}', b"<code></code>"):
        with pytest.raises(ServiceError):
            code_of(body)


@pytest.mark.parametrize(
    ("codes", "ended"),
    [
        ((0, 12), 0),
        ((12, 0), 0),
        ((0, 0), 1),
        ((12, 12), 2),
        ((0, 26), 2),
        ((0, -1), 2),
        ((0,), 2),
    ],
)
def test_a_race_has_exactly_one_winner_or_went_wrong(codes: tuple[int, ...], ended: int) -> None:
    assert outcome(codes) == OUTCOMES[ended]


def test_the_tables() -> None:
    commands, races = tables(
        {"native pause": [0.002] * 100, "FACE stop": [0.004]},
        Counter({OUTCOMES[0]: 98, OUTCOMES[1]: 2}),
    )
    assert commands.rows == (
        ("native pause", "100", "2.00 ms", "2.00 ms", "50 ms"),
        ("FACE stop", "1", "4.00 ms", "4.00 ms", ""),
    )
    assert races.rows == (
        ("one winner, one loser", "100", "98"),
        ("two winners", "0", "2"),
        ("anything else", "0", "0"),
    )
