"""Catalog: the recordings in the database, and the audit trail that grows with them.

What is in the record is what is stored: `save` writes all of it, any number of times. Files are not
here (`storage.blobs`), and nothing here waits for a database that is away (`storage.writer` does).
"""

import base64
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
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


class Catalog:
    """Adds, finds and deletes recordings. Every method may raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, recording: Recording) -> None:
        """Store the record as it is now, and the entries of its history not stored yet."""
        recording = clean(recording)
        async with self._database.writing() as connection:
            await _put_row(connection, recording)
            await _put_participants(connection, recording)
            await _append_history(connection, recording)

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
            gone = await connection.execute(
                delete(recordings).where(recordings.c.id == plain(recording_id))
            )
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
            found = (await connection.execute(rows)).mappings().all()
            return await _complete(connection, found)


async def _put_row(connection: AsyncConnection, recording: Recording) -> None:
    values = {column.name: getattr(recording, column.name) for column in recordings.columns}
    known = await connection.execute(
        update(recordings).where(recordings.c.id == recording.id).values(values)
    )
    if not known.rowcount:
        await connection.execute(insert(recordings).values(values))


async def _put_participants(connection: AsyncConnection, recording: Recording) -> None:
    await connection.execute(
        delete(participants).where(participants.c.recording_id == recording.id)
    )
    if recording.participants:
        rows = [
            {"recording_id": recording.id, "position": position, **asdict(participant)}
            for position, participant in enumerate(recording.participants)
        ]
        await connection.execute(insert(participants), rows)


async def _append_history(connection: AsyncConnection, recording: Recording) -> None:
    if not recording.history:
        return
    stored = await connection.scalar(
        select(func.max(audit.c.sequence)).where(audit.c.recording_id == recording.id)
    )
    rows = [
        {**asdict(entry), "recording_id": recording.id}
        for entry in recording.history
        if entry.sequence > (stored or 0)
    ]
    if rows:
        await connection.execute(insert(audit), rows)


async def _complete(connection: AsyncConnection, rows: Sequence[RowMapping]) -> list[Recording]:
    """Records from rows of `recordings` and what the other tables hold of them."""
    ids = [row["id"] for row in rows]
    parties = await _participants(connection, ids)
    history = await _history(connection, ids)
    return [
        Recording(**row, participants=tuple(parties[row["id"]]), history=tuple(history[row["id"]]))
        for row in rows
    ]


async def _participants(
    connection: AsyncConnection, ids: list[str]
) -> defaultdict[str, list[Participant]]:
    table = participants.c
    rows = await connection.execute(
        select(table.recording_id, table.participant_id, table.aor, table.name)
        .where(table.recording_id.in_(ids))
        .order_by(table.recording_id, table.position)
    )
    found = defaultdict[str, list[Participant]](list)
    for recording_id, *fields in rows:
        found[recording_id].append(Participant(*fields))
    return found


async def _history(
    connection: AsyncConnection, ids: list[str]
) -> defaultdict[str, list[AuditEntry]]:
    rows = await connection.execute(
        select(audit)
        .where(audit.c.recording_id.in_(ids))
        .order_by(audit.c.recording_id, audit.c.sequence)
    )
    found = defaultdict[str, list[AuditEntry]](list)
    for row in rows.mappings():
        found[row["recording_id"]].append(AuditEntry(**row))
    return found


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
    return base64.urlsafe_b64encode(_POSITION.pack(at, _checksum(at, name)) + name).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    """(`started_at`, id) of the last row of the page before. Raises InvalidQuery."""
    try:
        octets = base64.b64decode(cursor[:_CURSOR_CHARACTERS], b"-_", validate=True)
        at, checksum = _POSITION.unpack_from(octets)
        name = octets[_POSITION.size :]
        if checksum != _checksum(at, name) or base64.urlsafe_b64encode(octets).decode() != cursor:
            raise InvalidQuery("cursor: not one of ours")
        return EPOCH + at * MICROSECOND, name.decode()
    except (ValueError, struct.error, OverflowError) as error:
        raise InvalidQuery("cursor: not one of ours") from error


def _checksum(at: int, name: bytes) -> int:
    return zlib.crc32(struct.pack(">q", at) + name)
