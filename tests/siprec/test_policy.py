"""Whom we record, in each of the three modes."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations

import pytest

from siprec.policy import decide
from siprec.session import Offer, Refused

SIGNS = ("require", "sip.src", "src", "metadata")
OFFER = Offer("d", "c", frozenset(), "127.0.0.1", datetime.now(UTC))
SUBSETS = [frozenset(each) for size in range(5) for each in combinations(SIGNS, size)]


def accepted(signs: frozenset[str], mode: str) -> bool:
    try:
        decide(replace(OFFER, signs=signs), mode)
    except Refused as refusal:
        assert refusal.status == 403
        return False
    return True


@pytest.mark.parametrize("signs", SUBSETS, ids=sorted)
def test_which_signs_suffice(signs: frozenset[str]) -> None:
    assert accepted(signs, "any")
    assert accepted(signs, "lenient") == bool(signs)
    assert accepted(signs, "strict") == ({"require", "sip.src"} <= signs)
