"""Catalog: the recordings in the database, and the audit trail that grows with them.

What is in the record is what is stored: `save` writes all of it, any number of times. Files are not
here (`storage.blobs`), and nothing here waits for a database that is away (`storage.writer` does).
Counterparts: `storage.tables`; `storage.search`, which says how a query is answered.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any
from unicodedata import normalize

from sqlalchemy import (
    BindParameter,
    RowMapping,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import search
from storage.database import Database
from storage.records import (
    AuditEntry,
    InvalidQuery,
    Page,
    Recording,
    RecordingQuery,
    UnknownRecording,
)
from storage.tables import ORDER, TEXTS, attributes, audit, column_key, recordings
from storage.text import clean, index_key, plain, without_scheme

LIMIT = 1000
"""Most recordings on one page: a few megabytes of JSON."""
UNFINISHED = ("recording", "processing")

_DERIVED = {"number", "supplement", "overlong"}
"""Columns that are not as the record has them."""
_KEPT = tuple(column.name for column in recordings.columns if column.name not in _DERIVED)
_MINUTE = timedelta(minutes=1)

_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)
_INSERTS = {table.name: insert(table) for table in (recordings, attributes, audit)}
_STORED = select(recordings).where(recordings.c.id.in_(_IDS))
_NUMBERS = text(
    "INSERT INTO counters (name, value) VALUES ('recordings', :count) "
    "ON CONFLICT (name) DO UPDATE SET value = counters.value + :count RETURNING value"
)
_HISTORY = (
    select(audit)
    .where(audit.c.recording_id.in_(_IDS))
    .order_by(audit.c.recording_id, audit.c.sequence)
)
_LAST_ENTRIES = (
    select(audit.c.recording_id, func.max(audit.c.sequence))
    .where(audit.c.recording_id.in_(_IDS))
    .group_by(audit.c.recording_id)
)
_OWNER = select(recordings.c.account, recordings.c.route).limit(1)
_NEXT_ROUTE = _OWNER.where(
    recordings.c.account == bindparam("account"), recordings.c.route > bindparam("route")
).order_by(recordings.c.route)
_NEXT_ACCOUNT = _OWNER.where(recordings.c.account > bindparam("account")).order_by(
    recordings.c.account, recordings.c.route
)
_ATTRIBUTES_OF = delete(attributes).where(attributes.c.number.in_(_IDS))

Row = dict[str, Any]


class Catalog:
    """Adds, finds and deletes recordings. Every method may raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, *records: Recording) -> dict[str, int]:
        """Store the records as they are now, and the entries of their histories not stored yet.

        All or nothing, in one transaction: many at once cost little more than one. Returns the
        number of each by its id: given when a recording is first saved and kept from then on,
        whatever number the record bears.
        """
        async with self._database.writing() as connection:
            return await _save(connection, records)

    async def change(self, recording_id: str, edit: Callable[[Recording], Recording]) -> Recording:
        """Replace a recording by what `edit` makes of it, with nobody else's change in between.

        Raises UnknownRecording, and what `edit` raises: then nothing has changed. Returns what is
        stored then.
        """
        row = select(recordings).where(recordings.c.id == plain(recording_id))
        async with self._database.writing() as connection:
            found = await _records(connection, row)
            if not found:
                raise UnknownRecording(recording_id)
            wanted = edit(found[0])
            if wanted is not found[0]:
                await _save(connection, [wanted])
            return wanted

    async def get(self, recording_id: str) -> Recording:
        """One recording. Raises UnknownRecording."""
        found = await self._load(select(recordings).where(recordings.c.id == plain(recording_id)))
        if not found:
            raise UnknownRecording(recording_id)
        return found[0]

    async def find(self, query: RecordingQuery) -> Page:
        """A page of what matches, in the order asked for; rows added meanwhile move no later page.

        Raises InvalidQuery for a limit outside 1..1000, a negative offset, a broken cursor, a naive
        time.
        """
        if not 1 <= query.limit <= LIMIT:
            raise InvalidQuery(f"limit: {query.limit} is not in 1..{LIMIT}")
        asked = search.criteria(query)
        async with self._database.reading() as connection:
            first = await _first(connection, query, asked)
            found = await _records(connection, search.page(query, asked, first))
        found.sort(key=search.place, reverse=not query.oldest_first)
        items = tuple(found[: query.limit])
        return Page(items, search.cursor(items[-1]) if len(found) > query.limit else None)

    async def count_of(self, query: RecordingQuery) -> int:
        """How many recordings match; all of them are counted. Raises InvalidQuery."""
        every = replace(query, cursor=None)
        asked = search.criteria(every)
        async with self._database.reading() as connection:
            first = await _first(connection, every, asked)
            return await connection.scalar(search.total(every, asked, first)) or 0

    async def delete(self, recording_id: str) -> None:
        """Remove the row of a recording; its audit trail stays. Raises UnknownRecording."""
        row = delete(recordings).where(recordings.c.id == plain(recording_id))
        async with self._database.writing() as connection:
            gone = await connection.execute(row)
        if not gone.rowcount:
            raise UnknownRecording(recording_id)

    async def unfinished(self, node: int) -> list[Recording]:
        """Recordings of a node that grow or wait for their files, or did when it was cut off.

        Newest first.
        """
        growing = select(recordings).where(recordings.c.status.in_(UNFINISHED))
        return await self._load(growing.where(recordings.c.node == node))

    async def paused_calls(self, since: datetime) -> list[Recording]:
        """Recordings that ended paused at `since` or later; without an end, that began then."""
        ended_at = func.coalesce(recordings.c.ended_at, recordings.c.started_at)
        paused = select(recordings).where(recordings.c.paused_at_end, ended_at >= since)
        return await self._load(paused)

    async def deleting(self, node: int) -> list[Recording]:
        """Recordings of a node whose deletion was begun, and cut off if nobody is at it.

        Newest first.
        """
        marked = select(recordings).where(recordings.c.deleting)
        return await self._load(marked.where(recordings.c.node == node))

    async def discarded(self, node: int) -> list[Recording]:
        """Finished recordings of a node that go once their calls have ended; newest first."""
        row = recordings.c
        marked = select(recordings).where(row.discard, row.status.not_in(UNFINISHED))
        return await self._load(marked.where(row.node == node))

    async def due(
        self, node: int, account: int, route: int, ended_before: datetime, limit: int = LIMIT
    ) -> list[str]:
        """Ids of a node's finished recordings that may be deleted and ended before; oldest first.

        Not those on hold, that never expire, or whose deletion was begun.
        """
        row = recordings.c
        ids = (
            select(row.id)
            .where(row.account == account, row.route == route, row.ended_at < ended_before)
            .where(row.hold.is_(False), row.never_expire.is_(False), row.deleting.is_(False))
            .where(row.status.not_in(UNFINISHED), row.node == node)
            .order_by(row.ended_at, row.number)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [*await connection.scalars(ids)]

    async def owners(self) -> set[tuple[int, int]]:
        """(account, route) of all recordings, also where the directory no longer has them."""
        found: set[tuple[int, int]] = set()
        here = {"account": -1, "route": -1}
        async with self._database.reading() as connection:
            # From one to the next in the index: each may have many recordings.
            while row := (
                (await connection.execute(_NEXT_ROUTE, here)).first()
                or (await connection.execute(_NEXT_ACCOUNT, here)).first()
            ):
                here = {"account": row.account, "route": row.route}
                found.add((row.account, row.route))
        return found

    async def count(self) -> int:
        """How many recordings there are."""
        return await self.count_of(RecordingQuery())

    async def is_taken(self, filename: str, started_at: datetime, but_id: str = "") -> bool:
        """Whether another recording that began in the same minute (UTC) bears this file name.

        Names that differ in case only, or in how letters are composed, count as the same: they are
        on some file systems.
        """
        minute = started_at.replace(second=0, microsecond=0)
        started = recordings.c.started_at
        rows = select(recordings.c.filename, recordings.c.overlong).where(
            started >= minute, started < minute + _MINUTE, recordings.c.id != plain(but_id)
        )
        async with self._database.reading() as connection:
            names = [
                overlong.get("filename", name) for name, overlong in await connection.execute(rows)
            ]
        return _folded(plain(filename)) in map(_folded, names)

    async def _load(self, rows: Select[Any]) -> list[Recording]:
        async with self._database.reading() as connection:
            found = await _records(connection, rows)
        return sorted(found, key=search.place, reverse=True)


async def _save(connection: AsyncConnection, records: Iterable[Recording]) -> dict[str, int]:
    newest = {record.id: record for record in map(clean, records)}
    found = (await connection.execute(_STORED, {"ids": [*newest]})).mappings().all()
    stored = {row["id"]: dict(row) for row in found}
    new = [name for name in newest if name not in stored]
    numbers = {name: row["number"] for name, row in stored.items()}
    numbers |= await _new_numbers(connection, new)
    rows = {name: row_of(record, numbers[name]) for name, record in newest.items()}
    await _insert(connection, recordings, (rows[name] for name in new))
    await _change(connection, stored, rows.values())
    await _index(connection, stored.values(), rows.values())
    await _write_down(connection, newest.values())
    return numbers


def row_of(record: Recording, number: int) -> Row:
    """The row of `recordings` that holds a record, but for its history."""
    row: Row = {name: getattr(record, name) for name in _KEPT}
    keys = {name: column_key(name, row[name]) for name in TEXTS}
    overlong = {name: row[name] for name, key in keys.items() if key != row[name]}
    kinds = {file.kind for file in record.supplemental_files}
    supplement = "video" if record.has_video else "other" if kinds else ""
    return row | keys | {"number": number, "supplement": supplement, "overlong": overlong}


def attributes_of(row: Mapping[str, Any]) -> list[Row]:
    """The rows of `attributes` that go with a row of `recordings`, in a fixed order."""
    order = {name: row[name] for name in ORDER}
    found = {(index_key(name), index_key(value)) for name, value in _attributes(row)}
    return [{"name": name, "value": value, **order} for name, value in sorted(found)]


def _attributes(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parties, sessions = row["participants"], row["siprec_sessions"]
    for aor in (row["from_aor"], row["to_aor"], *(party.aor for party in parties)):
        if aor:
            yield "aor", without_scheme(aor)
    for session in sessions:
        yield "siprec_session", session.session_id
    for name, value in row["custom"].items():
        yield f"custom:{name}", value
    for part in (*sessions, *parties, *row["streams"]):
        for extension in part.extensions:
            for value in extension.values:
                yield f"extension:{extension.name}", value


async def _new_numbers(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, int]:
    """The next number for each."""
    if not ids:
        return {}
    last = (await connection.execute(_NUMBERS, {"count": len(ids)})).scalar_one()
    return dict(zip(ids, range(last - len(ids) + 1, last + 1), strict=True))


async def _insert(connection: AsyncConnection, table: Table, rows: Iterable[Row]) -> None:
    values = [*rows]
    if values:
        await connection.execute(_INSERTS[table.name], values)


async def _change(
    connection: AsyncConnection, stored: Mapping[str, Row], rows: Iterable[Row]
) -> None:
    """Write what is not as it was: a database writes every index of a column that it is given."""
    changes = defaultdict[tuple[str, ...], list[Row]](list)
    for row in rows:
        if before := stored.get(row["id"]):
            names = tuple(name for name, value in row.items() if before[name] != value)
            changes[names].append({name: row[name] for name in names} | {"_id": row["id"]})
    for names, values in changes.items():
        if names:
            await connection.execute(_update(names), values)


@lru_cache(maxsize=256)
def _update(names: tuple[str, ...]) -> Update:
    values = {name: bindparam(name, type_=recordings.c[name].type) for name in names}
    return update(recordings).where(recordings.c.id == bindparam("_id")).values(values)


async def _index(connection: AsyncConnection, stored: Iterable[Row], rows: Iterable[Row]) -> None:
    """Replace the attributes of recordings where they are not as they were."""
    wanted = {row["number"]: attributes_of(row) for row in rows}
    before = {row["number"]: attributes_of(row) for row in stored}
    changed = [number for number, found in wanted.items() if before.get(number, []) != found]
    if gone := [number for number in changed if before.get(number)]:
        await connection.execute(_ATTRIBUTES_OF, {"ids": gone})
    await _insert(connection, attributes, chain(*(wanted[number] for number in changed)))


async def _write_down(connection: AsyncConnection, records: Iterable[Recording]) -> None:
    """Add the entries of histories that are not stored yet."""
    told = [record for record in records if record.history]
    if told:
        found = await connection.execute(_LAST_ENTRIES, {"ids": [record.id for record in told]})
        last: dict[str, int] = dict(iter(found))
        entries = (_entries(record, last.get(record.id, 0)) for record in told)
        await _insert(connection, audit, chain(*entries))


def _entries(record: Recording, last: int) -> Iterator[Row]:
    """Rows of the history after the entry `last`."""
    for entry in record.history:
        if entry.sequence > last:
            yield {
                "recording_id": record.id,
                "sequence": entry.sequence,
                "at": entry.at,
                "actor": entry.actor,
                "action": entry.action,
                "reason": entry.reason,
            }


async def _first(
    connection: AsyncConnection, query: RecordingQuery, asked: Sequence[search.Criterion]
) -> search.Criterion | None:
    """The criterion that the fewest recordings meet, as far as they were counted."""
    leaders = search.leaders(asked)
    if len(leaders) < 2 and all(each.is_ordered for each in leaders):
        return next(iter(leaders), None)
    counts = [*(await connection.execute(search.sizes(query, leaders))).one()]
    return search.best(leaders, counts)


async def _records(connection: AsyncConnection, rows: Select[Any]) -> list[Recording]:
    """Records from rows of `recordings` and the audit trail."""
    found = await _fetch(connection, rows)
    history = defaultdict[str, list[AuditEntry]](list)
    for entry in await _fetch(connection, _HISTORY, [row["id"] for row in found]):
        history[entry["recording_id"]].append(AuditEntry(**entry))
    return [_record(row, tuple(history[row["id"]])) for row in found]


def _record(row: RowMapping, history: tuple[AuditEntry, ...]) -> Recording:
    fields = dict(row)
    overlong = fields.pop("overlong")
    del fields["supplement"]
    return Recording(**(fields | overlong), history=history)


async def _fetch(
    connection: AsyncConnection, rows: Select[Any], ids: Sequence[str] = ()
) -> list[RowMapping]:
    """All rows; others on the event loop have their turn while a long page is decoded."""
    found: list[RowMapping] = []
    for part in (await connection.execute(rows, {"ids": ids})).mappings().partitions(50):
        found += part
        await asyncio.sleep(0)
    return found


def _folded(filename: str) -> str:
    return normalize("NFC", filename).casefold()
