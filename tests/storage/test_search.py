import base64
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from storage import search
from storage.database import Database
from storage.records import InvalidQuery, Recording, RecordingQuery
from tests.storage.recordings import T0

SINGLE: list[dict[str, Any]] = [
    {"number": 1},
    {"call_id": "x"},
    {"egress_call_id": "x"},
    {"ucid": "x"},
    {"any_ucid": "x"},
    {"session_id": "x"},
    {"siprec_session_id": "x"},
    {"third_party_id": "x"},
    {"ani": "x"},
    {"dnis": "x"},
    {"filename": "x"},
    {"agent_id": "x"},
    {"realm": "x"},
    {"owner": "x"},
    {"local_party": "x"},
    {"remote_party": "x"},
    {"remote_party_contains": "x"},
    {"direction": "x"},
    {"status": "x"},
    {"statuses": frozenset({"x"})},
    {"statuses": frozenset({"x", "y"})},
    {"statuses": frozenset()},
    {"accounts": frozenset({1})},
    {"accounts": frozenset({1, 2, 3})},
    {"routes": frozenset({1})},
    {"routes": frozenset(range(16))},
    {"aor": "sip:x"},
    {"custom": {"a": "x"}},
    {"extensions": {"a": "x"}},
    {"has_video": True},
    {"has_video": False},
    {"audio_only": True},
    {"audio_only": False},
    {"started_after": T0},
    {"started_before": T0},
]
ENDED: list[dict[str, Any]] = [
    {"ended_after": T0},
    {"ended_before": T0},
    {"ended_after": T0, "ended_before": T0},
]
READS = ("SEARCH recordings", "SCAN recordings", "SEARCH attributes", "SCAN attributes")


def named(value: object) -> str | None:
    """A query as the name of a test, the same in each process."""
    if not isinstance(value, dict):
        return None
    return str({k: sorted(v) if isinstance(v, frozenset) else v for k, v in value.items()})


HOW = {"limit", "cursor", "offset", "oldest_first"}


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[sqlite3.Connection]:
    """An empty database, to ask how it would go about a query."""
    database = Database(f"sqlite:///{tmp_path}/books.db")
    await database.migrate()
    await database.close()
    with closing(sqlite3.connect(tmp_path / "books.db")) as connection:
        yield connection


def plan(books: sqlite3.Connection, rows: Select[Any]) -> list[str]:
    """How SQLite goes about it, step by step."""
    sql = rows.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    return [row[3] for row in books.execute(f"EXPLAIN QUERY PLAN {sql}")]


def reads(steps: list[str]) -> list[str]:
    """The steps that read a table or an index."""
    return [step for step in steps if step.startswith(READS)]


def cursor_of(number: int) -> str:
    return search.cursor(Recording("r", "", "", "", T0, number=number))


def test_every_criterion_is_tried() -> None:
    assert {name for each in (*SINGLE, *ENDED) for name in each} == {
        each.name for each in fields(RecordingQuery)
    } - HOW


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest", "oldest"])
@pytest.mark.parametrize("cursor", [None, cursor_of(7)], ids=["first", "later"])
@pytest.mark.parametrize("criterion", SINGLE, ids=named)
def test_one_criterion_is_answered_from_an_index_in_its_order(
    books: sqlite3.Connection, criterion: dict[str, Any], cursor: str | None, oldest_first: bool
) -> None:
    query = RecordingQuery(**criterion, cursor=cursor, oldest_first=oldest_first, offset=9)
    asked = search.criteria(query)
    leaders = search.leaders(asked)
    steps = plan(books, search.page(query, asked, leaders[0] if leaders else None))
    values = len(leaders[0].parts(leaders[0].table)) if leaders else 1
    sorted_pages = sum("TEMP B-TREE" in step for step in steps)
    assert sorted_pages == (values if values > 1 else 0)
    *found, rows = reads(steps)
    assert rows == "SEARCH recordings USING INTEGER PRIMARY KEY (rowid=?)"
    if leaders:
        assert all(step.startswith("SEARCH") for step in found)
        assert all(" COVERING INDEX " in step or " PRIMARY KEY " in step for step in found[:1])


ENDED_INDEX = "SEARCH recordings USING COVERING INDEX recordings_ended (ended_at"


@pytest.mark.parametrize("cursor", [None, cursor_of(7)], ids=["first", "later"])
@pytest.mark.parametrize("criterion", ENDED, ids=named)
def test_few_that_ended_then_are_gathered_from_an_index_and_sorted(
    books: sqlite3.Connection, criterion: dict[str, Any], cursor: str | None
) -> None:
    query = RecordingQuery(**criterion, started_after=T0, cursor=cursor)
    asked = search.criteria(query)
    (leader,) = search.leaders(asked)
    assert search.best([leader], [search.SIZED - 1]) is leader
    assert reads(plan(books, search.sizes(query, [leader])))[0].startswith(ENDED_INDEX)
    steps = plan(books, search.page(query, asked, leader))
    assert reads(steps)[0].startswith(ENDED_INDEX)
    assert sum("TEMP B-TREE" in step for step in steps) == 1


def test_many_that_ended_then_are_found_in_the_order_of_the_answer(
    books: sqlite3.Connection,
) -> None:
    query = RecordingQuery(ended_before=T0, accounts=frozenset({1}))
    asked = search.criteria(query)
    ended, account = leaders = search.leaders(asked)
    assert search.best(leaders, [search.SIZED, search.SIZED]) is account
    assert search.best([ended], [search.SIZED]) is None
    steps = plan(books, search.page(query, asked, None))
    assert reads(steps)[0] == "SEARCH recordings USING INDEX recordings_newest (started_at<?)"
    assert not [step for step in steps if "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    ("criterion", "index"),
    [
        ({}, "SCAN recordings USING COVERING INDEX"),
        ({"statuses": frozenset({"x", "y"})}, "recordings_status"),
        ({"owner": "x", "accounts": frozenset({1})}, "recordings_owner"),
        ({"ended_after": T0}, ENDED_INDEX),
        ({"aor": "x"}, "SEARCH attributes USING PRIMARY KEY"),
    ],
    ids=named,
)
def test_how_many_there_are_is_counted_in_an_index(
    books: sqlite3.Connection, criterion: dict[str, Any], index: str
) -> None:
    query = RecordingQuery(**criterion)
    asked = search.criteria(query)
    leader = asked[0] if asked else None
    (only,) = reads(plan(books, search.total(query, asked, leader)))
    assert index in only
    assert "COVERING INDEX" in only or "PRIMARY KEY" in only


def test_of_several_values_enough_are_read_for_the_rows_passed_over() -> None:
    query = RecordingQuery(accounts=frozenset({1, 2}), limit=10, offset=30)
    asked = search.criteria(query)
    sql = search.page(query, asked, asked[0]).compile(compile_kwargs={"literal_binds": True})
    assert str(sql).count("LIMIT 41") == 2
    assert str(sql).count("LIMIT 11 OFFSET 30") == 1


@pytest.mark.parametrize("offset", [-1, 2**62])
def test_what_cannot_be_passed_over_is_refused(offset: int) -> None:
    with pytest.raises(InvalidQuery, match="offset"):
        search.page(RecordingQuery(offset=offset), [], None)


def test_without_a_criterion_the_newest_are_read_off_an_index(books: sqlite3.Connection) -> None:
    query = RecordingQuery()
    assert reads(plan(books, search.page(query, search.criteria(query), None))) == [
        "SCAN recordings USING COVERING INDEX recordings_newest",
        "SEARCH recordings USING INTEGER PRIMARY KEY (rowid=?)",
    ]


@pytest.mark.parametrize(
    ("other", "column"),
    [({"dnis": "x"}, "dnis"), ({"agent_id": "x"}, "agent_id"), ({"realm": "x"}, "realm")],
)
@pytest.mark.parametrize("criterion", [{"accounts": frozenset({1})}, {"routes": frozenset({1})}])
def test_whose_it_is_is_read_off_the_index_of_another_criterion(
    books: sqlite3.Connection, criterion: dict[str, Any], other: dict[str, Any], column: str
) -> None:
    query = RecordingQuery(**criterion, **other)
    asked = search.criteria(query)
    assert reads(plan(books, search.page(query, asked, asked[0])))[0] == (
        f"SEARCH recordings USING COVERING INDEX recordings_{column} ({column}=?)"
    )


@pytest.mark.parametrize("other", [{"custom": {"a": "x"}}, {"aor": "x"}, {"extensions": {"a": ""}}])
def test_whose_it_is_is_read_off_the_index_of_attributes(
    books: sqlite3.Connection, other: dict[str, Any]
) -> None:
    query = RecordingQuery(accounts=frozenset({1, 2}), routes=frozenset({1}), **other)
    asked = search.criteria(query)
    assert len(reads(plan(books, search.page(query, asked, asked[0])))) == 2


LED = {
    "aor": "SEARCH attributes USING PRIMARY KEY (name=? AND value=? AND started_at<?)",
    "dnis": "SEARCH recordings USING COVERING INDEX recordings_dnis (dnis=? AND started_at<?)",
    "account": "SEARCH recordings USING INDEX recordings_account (account=? AND started_at<?)",
}


@pytest.mark.parametrize("leader", range(3))
def test_whichever_criterion_leads_its_index_is_taken(
    books: sqlite3.Connection, leader: int
) -> None:
    query = RecordingQuery(dnis="x", aor="x", accounts=frozenset({1}), started_before=T0)
    asked = search.criteria(query)
    steps = plan(books, search.page(query, asked, asked[leader]))
    assert not [step for step in steps if "TEMP B-TREE" in step]
    assert reads(steps)[0] == LED[["dnis", "aor", "account"][leader]]


@pytest.mark.parametrize("limit", [1, 1000])
def test_of_several_values_no_more_than_a_page_of_each_is_read_and_sorted(limit: int) -> None:
    query = RecordingQuery(accounts=frozenset({1, 2, 3}), limit=limit)
    asked = search.criteria(query)
    sql = search.page(query, asked, asked[0]).compile(compile_kwargs={"literal_binds": True})
    assert str(sql).count(f"LIMIT {limit + 1}") == 4


def test_more_values_than_can_be_merged_do_not_lead() -> None:
    few, many = frozenset(range(16)), frozenset(range(17))
    assert len(search.leaders(search.criteria(RecordingQuery(routes=few)))) == 1
    assert search.leaders(search.criteria(RecordingQuery(routes=many))) == []


def test_sizes_are_counted_within_the_times_asked_for_and_no_further_than_needed(
    books: sqlite3.Connection,
) -> None:
    query = RecordingQuery(dnis="x", aor="x", started_after=T0)
    asked = search.criteria(query)
    sizes = search.sizes(query, asked)
    assert "LIMIT 1000" in str(sizes.compile(compile_kwargs={"literal_binds": True}))
    assert reads(plan(books, sizes)) == [
        "SEARCH recordings USING COVERING INDEX recordings_dnis (dnis=? AND started_at>?)",
        "SEARCH attributes USING PRIMARY KEY (name=? AND value=? AND started_at>?)",
    ]


NAIVE = datetime(2026, 1, 1)


@pytest.mark.parametrize("name", ["started_after", "started_before", "ended_after", "ended_before"])
def test_a_time_without_a_zone_is_refused(name: str) -> None:
    naive: Any = NAIVE
    query = RecordingQuery(**{name: naive})
    with pytest.raises(InvalidQuery, match=f"{name}: a time without a time zone"):
        search.page(query, search.criteria(query), None)


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.integers(0, 2**63 - 1),
)
def test_a_cursor_is_url_safe_and_says_where(at: datetime, number: int) -> None:
    cursor = search.cursor(Recording("r", "", "", "", at, number=number))
    assert set(cursor) <= set(f"{ascii_letters}{digits}-_")
    assert search.position(cursor) == (at, number)


@given(st.data())
def test_a_tampered_cursor_is_refused(data: st.DataObject) -> None:
    cursor = cursor_of(1)
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("Aaz09-_=+/ é\n"))
    tampered = cursor[:place] + other + cursor[place + 1 :]
    for broken in (tampered, cursor[:place], f"{cursor}=", f"{cursor}A", f"{cursor}\n"):
        if broken != cursor:
            with pytest.raises(InvalidQuery, match="cursor: not one of ours"):
                search.position(broken)


@given(
    st.text() | st.binary(max_size=40).map(lambda octets: base64.urlsafe_b64encode(octets).decode())
)
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidQuery, match="cursor: not one of ours"):
        search.position(cursor)


def test_recordings_are_ordered_by_time_then_number() -> None:
    early = Recording("a", "", "", "", T0, number=9)
    late = replace(early, started_at=T0 + timedelta(seconds=1), number=1)
    assert search.place(early) < search.place(late)
    assert search.place(early) < search.place(replace(early, number=10))
