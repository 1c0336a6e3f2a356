"""Search: a query as SQL that reads its answer off an index, in order, until a page is full.

One criterion leads: its index gives the rows in the order of the answer, and what else was asked
for is looked at row by row. Which of several should lead, `sizes` tells. Nothing is gathered, and
nothing sorted but, for several values, a page of each: a criterion that a third of all recordings
meet costs no more than one that few do.
Counterparts: `storage.tables`, which has the indexes; `storage.catalog`, which asks.
"""

import base64
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from storage.records import InvalidQuery, Recording, RecordingQuery
from storage.tables import (
    EPOCH,
    MICROSECOND,
    ORDER,
    TEXTS,
    UtcMicroseconds,
    attributes,
    column_key,
    recordings,
)
from storage.text import INDEX_OCTETS, index_key, plain, without_scheme

MERGED = 16
"""Most values of one criterion of which each gives a page; for more, e.g. many routes, the rows of
all are looked through."""
SIZED = 1000
"""How far rows of a criterion are counted to see which criterion has the fewest."""
NUMBERS = range(2**31)
"""Of accounts and routes."""
OFFSETS = range(2**62)
"""What databases can pass over."""
LONGEST_KEY = INDEX_OCTETS + 100
"""Nothing longer is in a key (`storage.text.index_key`)."""
_PLACE = struct.Struct(">qqI")
"""Microseconds of `started_at`, `number`, CRC-32 of both."""
_PLACE_CHARACTERS = 27


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that must hold of a recording."""

    table: FromClause
    """Whose rows tell: `recordings` or `attributes`."""
    holds: Callable[[FromClause], ColumnElement[bool]]
    """The condition on rows of that table."""
    parts: Callable[[FromClause], Sequence[ColumnElement[bool]]]
    """The same as conditions of which one holds and never two; each has an index in order."""
    everywhere: bool = False
    """Both tables tell."""
    is_ordered: bool = True
    """Its index has rows in the order of the answer; else all that meet it are gathered and sorted,
    and it leads only if they are few."""

    def beside(self, rows: FromClause) -> ColumnElement[bool]:
        """The condition on rows of either table that another criterion has led to."""
        if self.everywhere or (rows is recordings and self.table is recordings):
            return _aside(self.holds(rows))
        other = self.table.alias()
        same = and_(other.c.number == rows.c.number, other.c.started_at == rows.c.started_at)
        return exists().where(same, self.holds(other))


def criteria(query: RecordingQuery) -> list[Criterion]:
    """What is asked for, but for times. Those that few recordings meet come first."""
    return [
        *_numbers("number", range(2**63), _one(query.number)),
        *_either("ucid", "call_id", query.any_ucid),
        *_texts(query),
        *_attributes(query),
        *_containing(query),
        *_ended(query),
        *_supplement(query),
        *_numbers("route", NUMBERS, query.routes),
        *_numbers("account", NUMBERS, query.accounts),
        *_column("status", [] if query.status is None else [plain(query.status)]),
        *_statuses(query),
    ]


def leaders(asked: Sequence[Criterion]) -> list[Criterion]:
    """Those of the criteria that can lead."""
    return [each for each in asked if 0 < len(each.parts(each.table)) <= MERGED]


def best(leading: Sequence[Criterion], counts: Sequence[int]) -> Criterion | None:
    """Which of the criteria should lead, by how many recordings meet each; None: the time."""
    possible = [
        (count, place)
        for place, (each, count) in enumerate(zip(leading, counts, strict=True))
        if each.is_ordered or count < SIZED
    ]
    return leading[min(possible)[1]] if possible else None


def sizes(query: RecordingQuery, leading: Sequence[Criterion]) -> Select[Any]:
    """One row: how many recordings meet each criterion within the times given, up to `SIZED`."""
    counts = []
    for each in leading:
        within = _within(query, each)
        met = select(literal(1)).select_from(each.table).where(each.holds(each.table), *within)
        counted = select(func.count()).select_from(met.limit(SIZED).subquery())
        counts.append(counted.scalar_subquery())
    return select(*counts)


def page(query: RecordingQuery, asked: Sequence[Criterion], first: Criterion | None) -> Select[Any]:
    """The rows of a page, in no order, and one more if there are more. `first` leads, or the time.

    Raises InvalidQuery for a broken cursor, a negative offset and a time without a zone.
    """
    if query.offset not in OFFSETS:
        raise InvalidQuery(f"offset: {query.offset} is not possible")
    rows = first.table if first else recordings
    keys = select(rows.c.started_at, rows.c.number).where(*_conditions(query, asked, first))
    found = _hits(keys, query, first).limit(query.limit + 1).offset(query.offset).subquery()
    return select(recordings).join_from(found, recordings, recordings.c.number == found.c.number)


def total(
    query: RecordingQuery, asked: Sequence[Criterion], first: Criterion | None
) -> Select[Any]:
    """One row: how many recordings match, wherever the page is that was asked for."""
    rows = first.table if first else recordings
    met = select(func.count()).select_from(rows).where(*_conditions(query, asked, first))
    return met.where(first.holds(rows)) if first else met


def _conditions(
    query: RecordingQuery, asked: Sequence[Criterion], first: Criterion | None
) -> list[ColumnElement[bool]]:
    """All that must hold of rows of the table that leads, but for what leads."""
    rows = first.table if first else recordings
    beside = [each.beside(rows) for each in asked if each is not first]
    return [*_within(query, first), *beside]


def _within(query: RecordingQuery, first: Criterion | None) -> list[ColumnElement[bool]]:
    """The times asked for; an index that is not in their order is not to be left for them."""
    period = _period(query, first.table if first else recordings)
    return [*map(_aside, period)] if first and not first.is_ordered else period


def _hits(keys: Select[Any], query: RecordingQuery, first: Criterion | None) -> Select[Any]:
    """The keys in the order asked for."""
    if first is None:
        return _sorted(keys, query)
    if not first.is_ordered:  # few, as they were counted: a limit keeps the index from being left
        few = keys.where(first.holds(first.table)).limit(2 * SIZED)
        return _sorted(select(few.subquery()), query)
    heads = [_sorted(keys.where(part), query) for part in first.parts(first.table)]
    if len(heads) == 1:
        return heads[0]
    most = query.offset + query.limit + 1
    together = union_all(*(select(head.limit(most).subquery()) for head in heads))
    return _sorted(select(together.subquery()), query)


def _sorted(keys: Select[Any], query: RecordingQuery) -> Select[Any]:
    at, number = keys.selected_columns.started_at, keys.selected_columns.number
    return keys.order_by(*((at, number) if query.oldest_first else (at.desc(), number.desc())))


def place(recording: Recording) -> tuple[datetime, int]:
    """What recordings are ordered by."""
    return recording.started_at, recording.number


def cursor(recording: Recording) -> str:
    """The place right after `recording`, url-safe; its checksum tells it from made-up ones."""
    at = (recording.started_at - EPOCH) // MICROSECOND
    return _text(_PLACE.pack(at, recording.number, _checksum(at, recording.number)))


def position(text: str) -> tuple[datetime, int]:
    """The `place` a cursor stands for. Raises InvalidQuery."""
    try:
        octets = base64.b64decode(text[: _PLACE_CHARACTERS + 1] + "=", b"-_", validate=True)
        at, number, checksum = _PLACE.unpack(octets)
        if checksum != _checksum(at, number) or _text(octets) != text:
            raise InvalidQuery("cursor: not one of ours")
        return EPOCH + at * MICROSECOND, number
    except (ValueError, struct.error, OverflowError) as error:
        raise InvalidQuery("cursor: not one of ours") from error


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _checksum(at: int, number: int) -> int:
    return zlib.crc32(struct.pack(">qq", at, number))


def _one(value: int | None) -> list[int] | None:
    return None if value is None else [value]


def _column(name: str, values: Collection[object], everywhere: bool = False) -> Iterator[Criterion]:
    """The column holds one of the values; nothing if there are none."""
    if values:
        yield Criterion(
            recordings,
            lambda rows: rows.c[name].in_(values),
            lambda rows: [rows.c[name] == value for value in values],
            everywhere,
        )


def _numbers(name: str, possible: range, values: Collection[int] | None) -> Iterator[Criterion]:
    """The column holds one of the numbers; None: any, and none at all: no recording does."""
    if values is not None:
        # What no column can hold would be an error of the driver. Row numbers begin with 1.
        known = sorted(value for value in values if value in possible) or [-1]
        yield from _column(name, known, everywhere=name in ORDER)


def _either(name: str, other: str, value: str | None) -> Iterator[Criterion]:
    """One of two columns holds the text."""
    if value is not None:
        key = index_key(plain(value))
        yield Criterion(
            recordings,
            lambda rows: or_(rows.c[name] == key, rows.c[other] == key),
            lambda rows: [rows.c[name] == key, and_(rows.c[other] == key, rows.c[name] != key)],
        )


def _texts(query: RecordingQuery) -> Iterator[Criterion]:
    for name in TEXTS:
        value = getattr(query, name)
        if value is not None:
            yield from _column(name, [column_key(name, plain(value))])


def _statuses(query: RecordingQuery) -> Iterator[Criterion]:
    if query.statuses is not None:
        yield from _column("status", sorted(map(plain, query.statuses)) or ["none of them"])


def _containing(query: RecordingQuery) -> Iterator[Criterion]:
    """No index finds what is somewhere in a text: it never leads."""
    if query.remote_party_contains is not None:
        text = plain(query.remote_party_contains).casefold()
        holds = _contains(text) if len(text) <= LONGEST_KEY else lambda rows: false()
        yield Criterion(recordings, holds, lambda rows: [])


def _contains(text: str) -> Callable[[FromClause], ColumnElement[bool]]:
    return lambda rows: rows.c.remote_party.contains(text, autoescape=True)


def _ended(query: RecordingQuery) -> Iterator[Criterion]:
    after = [*_aware("ended_after", query.ended_after)]
    before = [*_aware("ended_before", query.ended_before)]

    def holds(rows: FromClause) -> ColumnElement[bool]:
        return and_(
            *(rows.c.ended_at >= time for time in after),
            *(rows.c.ended_at < time for time in before),
        )

    if after or before:
        yield Criterion(recordings, holds, lambda rows: [holds(rows)], is_ordered=False)


def _attributes(query: RecordingQuery) -> Iterator[Criterion]:
    if query.siprec_session_id is not None:
        yield _attribute("siprec_session", query.siprec_session_id)
    if query.aor is not None:
        yield _attribute("aor", without_scheme(query.aor))
    for name, value in query.extensions.items():
        yield _attribute(f"extension:{name}", value)
    for name, value in query.custom.items():
        yield _attribute(f"custom:{name}", value)


def _attribute(name: str, value: str) -> Criterion:
    named, valued = index_key(plain(name)), index_key(plain(value))

    def holds(rows: FromClause) -> ColumnElement[bool]:
        return and_(rows.c.name == named, rows.c.value == valued)

    return Criterion(attributes, holds, lambda rows: [holds(rows)])


def _supplement(query: RecordingQuery) -> Iterator[Criterion]:
    wanted = {"", "video", "other"}
    if query.has_video is not None:
        wanted &= {"video"} if query.has_video else {"", "other"}
    if query.audio_only is not None:
        wanted &= {""} if query.audio_only else {"video", "other"}
    if query.has_video is not None or query.audio_only is not None:
        yield from _column("supplement", sorted(wanted) or ["neither"])


def _period(query: RecordingQuery, rows: FromClause) -> list[ColumnElement[bool]]:
    """The times asked for, and the place where the page before ended."""
    at = rows.c.started_at
    after = [at >= time for time in _aware("started_after", query.started_after)]
    limits = [
        *_aware("started_before", query.started_before),
        *_aware("ended_before", query.ended_before),  # what ends before it begins before it
    ]
    before = [at < min(limits)] if limits else []
    if query.cursor is not None:
        # Databases bound their way through an index by one condition at each end: the nearer one.
        here = tuple_(at, rows.c.number)
        time, number = position(query.cursor)
        last = tuple_(literal(time, UtcMicroseconds), literal(number))
        if query.oldest_first:
            after = [here > last, *map(_aside, after)]
        else:
            before = [here < last, *map(_aside, before)]
    return after + before


def _aware(name: str, value: datetime | None) -> Iterator[datetime]:
    if value is None:
        return
    if value.utcoffset() is None:
        raise InvalidQuery(f"{name}: a time without a time zone")
    yield value


def _aside(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The same condition in a form for which no database takes another index."""
    return condition.self_group().is_(True)
