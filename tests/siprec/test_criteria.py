"""What somebody may search for."""

from dataclasses import replace
from typing import Any

import pytest

from siprec.criteria import narrowed
from siprec.session import Actor
from storage.directory import INITIAL
from storage.entries import CustomField, MetadataType
from storage.records import InvalidQuery, RecordingQuery

ENTRIES = replace(
    INITIAL,
    custom_fields={
        "case": CustomField("case"),
        "ticket": CustomField("ticket", [100, 200]),
        "remark": CustomField("remark", searchable=False),
    },
    metadata_types={
        "apkt:realm": MetadataType("apkt:realm"),
        "apkt:secret": MetadataType("apkt:secret", searchable=False),
    },
)
EVERYTHING = Actor("root")
HOSTILE = (
    "",
    "Case",
    "case' OR 1=1 --",
    "$.case",
    "custom:case",
    "case\0",
    "%",
    "_ase",
    "c" * 9999,
)


@pytest.mark.parametrize(
    ("account", "routes", "asked", "found"),
    [
        (1, (), (None, None), (None, None)),
        (1, (), ({100}, {7}), ({100}, {7})),
        (1, (7,), (None, None), (None, {7})),
        (100, (), (None, None), ({100}, None)),
        (100, (), ({100, 200}, None), ({100}, None)),
        (100, (), ({200}, None), (set(), None)),
        (100, (7, 8), (None, None), ({100}, {7, 8})),
        (100, (7, 8), (None, {8, 9}), ({100}, {8})),
        (100, (7,), (None, {9}), ({100}, set())),
    ],
)
def test_a_query_is_narrowed_to_what_one_may_see(
    account: int, routes: tuple[int, ...], asked: Any, found: Any
) -> None:
    actor = Actor("ann", account=account, routes=frozenset(routes))
    accounts, over = (None if each is None else frozenset(each) for each in asked)
    query = RecordingQuery(accounts=accounts, routes=over, ani="1", limit=7)
    result = narrowed(query, actor, ENTRIES)
    assert (result.accounts, result.routes) == found
    assert replace(result, accounts=accounts, routes=over) == query


@pytest.mark.parametrize(
    ("account", "name", "fine"),
    [
        (100, "case", True),
        (1, "case", True),
        (100, "ticket", True),
        (300, "ticket", False),
        (1, "ticket", True),
        (1, "remark", False),
        *((1, name, False) for name in HOSTILE),
    ],
)
def test_custom_data_that_can_be_searched_for(account: int, name: str, fine: bool) -> None:
    query = RecordingQuery(custom={name: "x"})
    actor = Actor("ann", account=account)
    if fine:
        assert narrowed(query, actor, ENTRIES).custom == {name: "x"}
    else:
        with pytest.raises(InvalidQuery, match="custom"):
            narrowed(query, actor, ENTRIES)


@pytest.mark.parametrize("name", ["apkt:secret", "apkt:REALM", *HOSTILE])
def test_extension_data_that_cannot_be_searched_for(name: str) -> None:
    with pytest.raises(InvalidQuery, match="extension"):
        narrowed(RecordingQuery(extensions={name: "x"}), EVERYTHING, ENTRIES)


def test_extension_data_that_can_be_searched_for() -> None:
    query = RecordingQuery(extensions={"apkt:realm": "' OR 1=1 --"})
    assert narrowed(query, EVERYTHING, ENTRIES) == query
