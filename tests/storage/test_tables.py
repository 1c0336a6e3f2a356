from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from storage.records import Digit, Recording
from storage.tables import (
    ORDER,
    TEXTS,
    Json,
    UtcMicroseconds,
    attributes,
    books,
    outbox_tables,
    recordings,
)

DIALECT = sqlite.dialect()


def test_a_recording_is_a_row_with_its_fields() -> None:
    columns = {column.name for column in recordings.columns}
    assert columns - {"supplement", "overlong"} == {
        each.name for each in fields(Recording) if each.name != "history"
    }


@pytest.mark.parametrize("name", [*TEXTS, "status", "account", "route", "supplement"])
def test_indexes_of_a_search_end_with_the_order_of_the_answer(name: str) -> None:
    (index,) = (each for each in recordings.indexes if each.name == f"recordings_{name}")
    columns = [column.name for column in index.columns]
    assert columns[:3] == [name, "started_at", "number"]
    assert {*columns} == {name, *ORDER}


def test_attributes_are_keyed_by_what_they_are_searched_for() -> None:
    columns = [column.name for column in attributes.primary_key]
    assert columns == ["name", "value", "started_at", "number"]
    assert {*ORDER} <= {column.name for column in attributes.columns}


def test_no_table_is_of_two_databases() -> None:
    assert not {*books.tables} & {*outbox_tables.tables}


@given(st.datetimes(), st.integers(-23, 23))
def test_times_are_exact_microseconds_of_utc(naive: datetime, hours: int) -> None:
    at = naive.replace(year=min(max(naive.year, 2), 9998), tzinfo=timezone(timedelta(hours=hours)))
    stored = UtcMicroseconds().process_bind_param(at, DIALECT)
    assert stored is not None
    found = UtcMicroseconds().process_result_value(stored, DIALECT)
    assert found == at
    assert found.tzinfo is UTC


def test_a_naive_time_is_no_time() -> None:
    with pytest.raises(TypeError):
        UtcMicroseconds().process_bind_param(datetime(2026, 1, 1), DIALECT)
    assert UtcMicroseconds().process_bind_param(None, DIALECT) is None
    assert UtcMicroseconds().process_result_value(None, DIALECT) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (dict[str, str], {"a": "\u00fc'\"\n"}),
        (tuple[Digit, ...], (Digit("#", 1, "caller"), Digit("1", 2, ""))),
        (tuple[str, ...], ()),
    ],
)
def test_json_comes_back_as_it_was(kind: Any, value: object) -> None:
    text = Json(kind).process_bind_param(value, DIALECT)
    assert Json(kind).process_result_value(text, DIALECT) == value


@pytest.mark.parametrize("text", ["{", "[1]", "null", None, '[{"key":"#"}]'])
def test_damaged_json_is_an_error(text: str | None) -> None:
    with pytest.raises(msgspec.MsgspecError):
        Json(tuple[Digit, ...]).process_result_value(text, DIALECT)
