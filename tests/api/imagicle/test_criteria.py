"""Filters as they stand in a URL, and what they ask the catalogue for."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.imagicle.criteria import (
    FILTER,
    FILTERS,
    MICROSECOND,
    NAMES,
    PAGING,
    Asked,
    InvalidFilter,
    escaped,
    moment,
    parse,
    split,
    unescaped,
)

NOV = datetime(2018, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("query", "criteria"),
    [
        ("startTime=2018-11-01T00:00:00Z", (NOV, NOV + MICROSECOND)),
        ("startTime=equals:2018-11-01T00:00:00Z", (NOV, NOV + MICROSECOND)),
        ("startTime=before:2018-11-01T00:00:00Z", (None, NOV)),
        ("startTime=after:2018-11-01T00:00:00Z", (NOV + MICROSECOND, None)),
        ("startTime=between:2018-11-01T00:00:00Z;2018-11-02T00:00:00Z", (NOV, NOV + DAY)),
        ("startTime=between:2018-11-01T01:00:00+01:00;2018-11-02", (NOV, NOV + DAY)),
        ("startTime=after:2018-11-01T01:00:00 01:00", (NOV + MICROSECOND, None)),
        ("startTime=after:20181101T020000 0200", (NOV + MICROSECOND, None)),
        ("startTime=before:2018-11-01", (None, NOV)),
        ("startTime=before:2018-11-01T00:00:00.0000000Z", (None, NOV)),
        ("startTime=before:2018-11-01T00:00:00.0000001Z", (None, NOV + MICROSECOND)),
        ("startTime=after:2018-11-01T00:00:00.0000001Z", (NOV + MICROSECOND, None)),
        ("startTime=2018-11-01T00:00:00.0000001Z", (NOV + MICROSECOND, NOV + MICROSECOND)),
        (
            "startTime=between:2018-11-01T00:00:00.0000001Z;2018-11-02T00:00:00.0000001Z",
            (NOV + MICROSECOND, NOV + DAY + MICROSECOND),
        ),
    ],
)
@pytest.mark.parametrize(("name", "what"), [("startTime", "started"), ("endTime", "ended")])
def test_times(query: str, criteria: tuple[Any, Any], name: str, what: str) -> None:
    found = parse([(name, query.partition("=")[2])]).criteria
    assert (found.get(f"{what}_after"), found.get(f"{what}_before")) == criteria
    assert {*found} <= {f"{what}_after", f"{what}_before"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ([], Asked()),
        ([("localPartyNumber", "225")], Asked({"local_party": "225"})),
        ([("localPartyNumber", "equals:225")], Asked({"local_party": "225"})),
        ([("localPartyNumber", "equals:equals:225")], Asked({"local_party": "equals:225"})),
        ([("localPartyNumber", "sip:225")], Asked({"local_party": "sip:225"})),
        ([("localPartyNumber", "before:225")], Asked({"local_party": "before:225"})),
        ([("localPartyNumber", "EQUALS:225")], Asked({"local_party": "EQUALS:225"})),
        ([("remotePartyNumber", "+39")], Asked({"remote_party": "+39"})),
        ([("remotePartyNumber", "contains:+39")], Asked({"remote_party_contains": "+39"})),
        ([("remoteParty", "contains:")], Asked({"remote_party_contains": ""})),
        ([("remoteParty", r"contains:a\;b\\")], Asked({"remote_party_contains": "a;b\\"})),
        ([("ownerUsername", "john_doe")], Asked(owner="john_doe")),
        ([("direction", "0")], Asked({"direction": ""})),
        ([("direction", "1")], Asked({"direction": "incoming"})),
        ([("direction", "equals:2")], Asked({"direction": "outgoing"})),
        ([("DIRECTION", "1"), ("localpartynumber", "1")],
         Asked({"direction": "incoming", "local_party": "1"})),
        ([("pageSize", "25")], Asked(page=0, size=25)),
        ([("page", "2"), ("pageSize", "25")], Asked(page=2, size=25)),
        ([("pageSize", "2147483647"), ("page", "2147483647")],
         Asked(page=2147483647, size=2147483647)),
        ([("_", "123"), ("sort", "x"), ("sort", "y")], Asked()),
    ],
)  # fmt: skip
def test_what_is_asked_for(query: list[tuple[str, str]], found: Asked) -> None:
    assert parse(query) == found


@pytest.mark.parametrize(
    ("query", "reason", "message"),
    [
        ([("startTime", "before:2018/45/01")], FILTER, "startTime: '2018/45/01' is not an ISO"),
        ([("startTime", "")], FILTER, "startTime"),
        ([("startTime", "contains:2018-11-01")], FILTER, "startTime"),
        ([("startTime", "0001-01-01T00:00:00+14:00")], FILTER, "startTime"),
        ([("startTime", "9999-12-31T23:59:59-14:00")], FILTER, "startTime"),
        ([("endTime", "between:2018-11-01")], FILTER, "two times"),
        ([("endTime", "between:2018-11-01;2018-11-02;2018-11-03")], FILTER, "two times"),
        ([("endTime", "between:2018-11-01;")], FILTER, "endTime: '' is not"),
        ([("direction", "5")], FILTER, "direction: '5' is not 0, 1 or 2"),
        ([("direction", "")], FILTER, "direction"),
        ([("direction", "incoming")], FILTER, "direction"),
        ([("direction", "before:1")], FILTER, "direction"),
        ([("localPartyNumber", "contains:2")], FILTER, "contains is not possible"),
        ([("ownerUsername", "contains:2")], FILTER, "contains is not possible"),
        ([("remotePartyNumber", "a;b")], FILTER, "semicolon or backslash"),
        ([("remotePartyNumber", "contains:a\\")], FILTER, "semicolon or backslash"),
        ([("remotePartyNumber", r"a\b")], FILTER, "semicolon or backslash"),
        ([("direction", "1"), ("direction", "1")], FILTER, "direction: stated more than once"),
        ([("remoteParty", "1"), ("remotePartyNumber", "1")], FILTER, "more than once"),
        ([("page", "1")], PAGING, "there is no pageSize"),
        ([("page", "1"), ("page", "1"), ("pageSize", "1")], PAGING, "page: stated more than once"),
        ([("page", "-1"), ("pageSize", "1")], PAGING, "page: '-1'"),
        ([("page", ""), ("pageSize", "1")], PAGING, "page: ''"),
        ([("page", "x"), ("pageSize", "1")], PAGING, "page: 'x'"),
        ([("page", "2147483648"), ("pageSize", "1")], PAGING, "page"),
        ([("pageSize", "0")], PAGING, "pageSize: it is 0"),
        ([("pageSize", "2.5")], PAGING, "pageSize: '2.5'"),
        ([("pageSize", "٢")], PAGING, "pageSize"),
        ([("pageSize", "x"), ("direction", "5")], FILTER, "direction"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for(query: list[tuple[str, str]], reason: int, message: str) -> None:
    with pytest.raises(InvalidFilter, match=re.escape(message)) as caught:
        parse(query)
    assert caught.value.reason == reason


@given(st.text(), st.sampled_from(["equals", "contains"]))
def test_any_text_can_be_asked_for(text: str, operator: str) -> None:
    found = parse([("remotePartyNumber", f"{operator}:{escaped(text)}")]).criteria
    assert found == {"remote_party" + "_contains" * (operator == "contains"): text}
    assert unescaped("x", escaped(text)) == text


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones()))
def test_any_time_can_be_asked_for(at: datetime) -> None:
    assert moment("x", at.isoformat()) == (at.astimezone(UTC), at.astimezone(UTC))


@given(st.sampled_from([*NAMES, "other"]), st.text() | st.sampled_from(["between:;", "before:T"]))
def test_whatever_comes_is_asked_for_or_refused(name: str, text: str) -> None:
    try:
        parse([(name, text), ("pageSize", "1")])
    except InvalidFilter as error:
        assert str(error)


def test_an_operator_ends_with_the_first_colon() -> None:
    assert split("before:a:b", ("before",)) == ("before", "a:b")
    assert split("before", ("before",)) == ("equals", "before")
    assert split(":x", ("",)) == ("", "x")
    assert len(FILTERS) == 6
