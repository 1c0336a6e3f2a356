"""Catalog: the recordings in the database, and the audit trail that grows with them.

What is in the record is what is stored: `save` writes all of it, any number of times. Files are not
here (`storage.blobs`), and nothing here waits for a database that is away (`storage.writer` does).
"""

import asyncio
import base64
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    RowMapping,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import (
    EPOCH,
    MICROSECOND,
    Database,
    UtcMicroseconds,
    audit,
    participants,
    recordings,
)
from storage.records import (
    AuditEntry,
    InvalidQuery,
    Page,
    Participant,
    Recording,
    RecordingQuery,
    UnknownRecording,
)
from storage.text import clean, plain

LIMIT = 1000
"""Most recordings on one page: a few megabytes of JSON."""
_POSITION = struct.Struct(">qI")
"""Microseconds of `started_at`, CRC-32 of them and the id; the id follows."""
_CURSOR_CHARACTERS = 1000

_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)
_DELETE = delete(recordings).where(recordings.c.id.in_(_IDS))
_INSERTS = {table.name: insert(table) for table in (recordings, participants, audit)}
_PARTICIPANTS = (
    select(
        participants.c.recording_id,
        participants.c.participant_id,
        participants.c.aor,
        participants.c.name,
    )
    .where(participants.c.recording_id.in_(_IDS))
    .order_by(participants.c.recording_id, participants.c.position)
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


class Catalog:
    """Adds, finds and deletes recordings. Every method may raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, *records: Recording) -> None:
        """Store the records as they are now, and the entries of their histories not stored yet.

        All or nothing, in one transaction: many at once cost little more than one.
        """
        newest = {record.id: record for record in map(clean, records)}
        ids = [*newest]
        async with self._database.writing() as connection:
            await connection.execute(_DELETE, {"ids": ids})
            await _insert(connection, recordings, map(_row, newest.values()))
            await _insert(connection, participants, chain(*map(_parties, newest.values())))
            last = dict(iter(await connection.execute(_LAST_ENTRIES, {"ids": ids})))
            entries = (_entries(record, last.get(record.id, 0)) for record in newest.values())
            await _insert(connection, audit, chain(*entries))

    async def get(self, recording_id: str) -> Recording:
        """One recording. Raises UnknownRecording."""
        found = await self._load(_rows().where(recordings.c.id == plain(recording_id)))
        if not found:
            raise UnknownRecording(recording_id)
        return found[0]

    async def find(self, query: RecordingQuery) -> Page:
        """A page of what matches, newest first; rows added meanwhile move no later page.

        Raises InvalidQuery for a limit outside 1..1000, a broken cursor, a naive time.
        """
        if not 1 <= query.limit <= LIMIT:
            raise InvalidQuery(f"limit: {query.limit} is not in 1..{LIMIT}")
        found = await self._load(_matching(query).limit(query.limit + 1))
        items = tuple(found[: query.limit])
        return Page(items, _cursor(items[-1]) if len(found) > query.limit else None)

    async def delete(self, recording_id: str) -> None:
        """Remove the row of a recording; its audit trail stays. Raises UnknownRecording."""
        async with self._database.writing() as connection:
            gone = await connection.execute(_DELETE, {"ids": [plain(recording_id)]})
        if not gone.rowcount:
            raise UnknownRecording(recording_id)

    async def unfinished(self) -> list[Recording]:
        """Recordings that grow or wait for their files, or did when the process was cut off."""
        return await self._load(_rows().where(recordings.c.status.in_(("recording", "processing"))))

    async def paused_calls(self, since: datetime) -> list[Recording]:
        """Recordings that ended paused at `since` or later; without an end, that began then."""
        ended_at = func.coalesce(recordings.c.ended_at, recordings.c.started_at)
        return await self._load(
            _rows().where(recordings.c.paused_at_end.is_(True), ended_at >= since)
        )

    async def _load(self, rows: Select[Any]) -> list[Recording]:
        async with self._database.reading() as connection:
            return await _complete(connection, await _fetch(connection, rows))


async def _fetch(
    connection: AsyncConnection, rows: Select[Any], ids: Sequence[str] = ()
) -> list[RowMapping]:
    """All rows; others on the event loop have their turn while a long page is decoded."""
    found: list[RowMapping] = []
    for part in (await connection.execute(rows, {"ids": ids})).mappings().partitions(50):
        found += part
        await asyncio.sleep(0)
    return found


async def _insert(
    connection: AsyncConnection, table: Table, rows: Iterable[dict[str, object]]
) -> None:
    values = [*rows]
    if values:
        await connection.execute(_INSERTS[table.name], values)


def _row(record: Recording) -> dict[str, object]:
    return {column.name: getattr(record, column.name) for column in recordings.columns}


def _parties(record: Recording) -> Iterator[dict[str, object]]:
    for position, participant in enumerate(record.participants):
        yield {
            "recording_id": record.id,
            "position": position,
            "participant_id": participant.participant_id,
            "aor": participant.aor,
            "name": participant.name,
        }


def _entries(record: Recording, last: int) -> Iterator[dict[str, object]]:
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


async def _complete(connection: AsyncConnection, rows: Sequence[RowMapping]) -> list[Recording]:
    """Records from rows of `recordings` and what the other tables hold of them."""
    ids = [row["id"] for row in rows]
    parties = defaultdict[str, list[Participant]](list)
    for row in await _fetch(connection, _PARTICIPANTS, ids):
        parties[row["recording_id"]].append(
            Participant(row["participant_id"], row["aor"], row["name"])
        )
    history = defaultdict[str, list[AuditEntry]](list)
    for row in await _fetch(connection, _HISTORY, ids):
        history[row["recording_id"]].append(AuditEntry(**row))
    return [
        Recording(**row, participants=tuple(parties[row["id"]]), history=tuple(history[row["id"]]))
        for row in rows
    ]


def _rows() -> Select[Any]:
    return select(recordings).order_by(recordings.c.started_at.desc(), recordings.c.id.desc())


def _matching(query: RecordingQuery) -> Select[Any]:
    """The rows of a query after its cursor. Raises InvalidQuery."""
    rows = _rows().where(*_criteria(query))
    if query.cursor is None:
        return rows
    at, recording_id = _position(query.cursor)
    position = tuple_(literal(at, UtcMicroseconds), literal(recording_id))
    return rows.where(tuple_(recordings.c.started_at, recordings.c.id) < position)


def _criteria(query: RecordingQuery) -> Iterator[ColumnElement[bool]]:
    for name in ("status", "call_id", "session_id"):
        value = getattr(query, name)
        if value is not None:
            yield recordings.c[name] == plain(value)
    if query.aor is not None:
        yield recordings.c.id.in_(
            select(participants.c.recording_id).where(participants.c.aor == plain(query.aor))
        )
    if query.started_after is not None:
        yield recordings.c.started_at >= _aware("started_after", query.started_after)
    if query.started_before is not None:
        yield recordings.c.started_at < _aware("started_before", query.started_before)


def _aware(name: str, value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise InvalidQuery(f"{name}: a time without a time zone")
    return value


def _cursor(recording: Recording) -> str:
    """The place right after `recording`, url-safe; its checksum tells it from made-up ones."""
    at, name = (recording.started_at - EPOCH) // MICROSECOND, recording.id.encode()
    return _text(_POSITION.pack(at, _checksum(at, name)) + name)


def _position(cursor: str) -> tuple[datetime, str]:
    """(`started_at`, id) of the last row of the page before. Raises InvalidQuery."""
    try:
        padded = cursor[:_CURSOR_CHARACTERS] + "=" * (-len(cursor) % 4)
        octets = base64.b64decode(padded, b"-_", validate=True)
        at, checksum = _POSITION.unpack_from(octets)
        name = octets[_POSITION.size :]
        if checksum != _checksum(at, name) or _text(octets) != cursor:
            raise InvalidQuery("cursor: not one of ours")
        return EPOCH + at * MICROSECOND, name.decode()
    except (ValueError, struct.error, OverflowError) as error:
        raise InvalidQuery("cursor: not one of ours") from error


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _checksum(at: int, name: bytes) -> int:
    return zlib.crc32(struct.pack(">q", at) + name)
