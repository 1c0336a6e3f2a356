"""Finder: recordings wherever they are: open, being rendered, on the way to the catalogue, stored.

Whoever has a recording last has its newest state: the recorder while it is open, the archive until
its files are made, the writer until the catalogue has it. Counterpart: `siprec.library`, which says
who may see and change them.
"""

import asyncio
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Protocol
from unicodedata import normalize

from siprec.archive import Archive
from siprec.criteria import predicate
from storage.catalog import LIMIT, Catalog
from storage.records import (
    InvalidQuery,
    Recording,
    RecordingQuery,
    StorageUnavailable,
    UnknownRecording,
)
from storage.text import FILE_NAME_CHARACTERS, plain
from storage.writer import CatalogWriter

PATIENCE_S = 2.0
"""How long a request waits for a catalogue that is behind."""
GROWTH = 4
"""How many more rows of the catalogue are asked for at once than were looked at in vain."""
TRIES = 1000
"""How many numbers a file name is tried with."""

Keep = Callable[[Recording], bool]
"""Whether a recording that meets a query is wanted."""


class Desk(Protocol):
    """Where open recordings are told of: the library, once it knows the recorder."""

    live: Callable[[str], Recording | None]
    open: Callable[[], Iterable[Recording]]


class Finder:
    """Knows of every recording its newest state, and its number as soon as it has one."""

    def __init__(
        self, archive: Archive, catalog: Catalog, writer: CatalogWriter, desk: Desk
    ) -> None:
        self._archive = archive
        self._catalog = catalog
        self._writer = writer
        self._desk = desk

    # one

    async def get(self, recording_id: str) -> Recording:
        """The newest state of a recording. Raises UnknownRecording, StorageUnavailable."""
        return self.in_memory(recording_id) or await self._catalog.get(recording_id)

    def in_memory(self, recording_id: str) -> Recording | None:
        """The newest state of a recording that the catalogue may not have yet."""
        found = (
            self._desk.live(recording_id)
            or self._archive.unfinished.get(recording_id)
            or self._writer.get_pending(recording_id)
        )
        return self.numbered(found) if found else None

    def as_of_now(self, row: Recording) -> Recording:
        """A row of the catalogue in its newest state. What is finished seldom has a newer one."""
        newest = self._writer.get_pending(row.id) if row.is_finished else self.in_memory(row.id)
        return replace(newest, number=row.number) if newest else row

    def numbered(self, recording: Recording) -> Recording:
        """`recording` with its number if that is known."""
        number = self._number(recording)
        return recording if recording.number == number else replace(recording, number=number)

    def _number(self, recording: Recording) -> int:
        return self._writer.number(recording.id) or recording.number

    async def booked(self, recording_id: str) -> Recording:
        """A recording, with its number, once the catalogue has the state that is the newest now.

        Raises UnknownRecording, StorageUnavailable after `PATIENCE_S`, StorageError if that state
        cannot be stored.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._writer.stored(recording_id, hurry=True)
        except TimeoutError as error:
            raise StorageUnavailable("the catalogue is behind") from error
        found = self.in_memory(recording_id)
        if found and found.number:
            return found
        return self.as_of_now(await self._catalog.get(recording_id))

    # many

    async def match(self, query: RecordingQuery, keep: Keep) -> list[Recording]:
        """Up to `query.limit` recordings that meet `query` and are kept, each in its newest state.

        Open ones first, and the oldest first; the query's cursor and order do not count. Raises
        InvalidQuery, StorageUnavailable.
        """
        if query.limit < 1:
            raise InvalidQuery(f"limit: {query.limit} is less than 1")
        meets = predicate(query)
        # Before the catalogue is asked: what leaves memory meanwhile is in neither twice nor never.
        known = {row.id: row for row in self._newest()}
        hits = sorted(self._hits(query, known.values()), key=_rank)
        found = [*islice(filter(keep, map(self.numbered, hits)), query.limit)]
        lacking = query.limit - sum(row.status == "recording" for row in found)
        oldest = replace(query, limit=lacking, cursor=None, oldest_first=True)
        stored = await self._stored(oldest, lambda row: row.id not in known and keep(row))
        newest = chain(
            (self.in_memory(row.id) or row for row in found), map(self.as_of_now, stored)
        )
        return sorted((row for row in newest if meets(row) and keep(row)), key=_rank)[: query.limit]

    async def segment(self, session_id: str, segment: int) -> Recording:
        """The recording of a call with this place among them, in its newest state.

        Raises UnknownRecording, StorageUnavailable.
        """
        whole = RecordingQuery(session_id=session_id, limit=1)
        for row in await self.match(whole, lambda row: row.segment == segment):
            return row
        raise UnknownRecording(f"{session_id}, segment {segment}")

    def _newest(self) -> Iterator[Recording]:
        """All recordings that the catalogue may not have yet; of several states of one, the newest
        comes last.
        """
        yield from self._writer.waiting()
        yield from self._archive.unfinished.values()
        yield from self._desk.open()

    def _hits(self, query: RecordingQuery, rows: Iterable[Recording]) -> Iterator[Recording]:
        """Those of the rows that meet the query. They need not bear their numbers yet."""
        meets = predicate(replace(query, number=None))
        for row in rows:
            if meets(row) and query.number in {None, self._number(row)}:
                yield row

    async def _stored(self, query: RecordingQuery, keep: Keep) -> list[Recording]:
        """What the catalogue has and is kept, up to any limit. Asks for more the more it drops."""
        found: list[Recording] = []
        lacking, passed = query.limit, 0
        while lacking > 0:
            size = min(max(lacking, GROWTH * (passed - len(found))), LIMIT)
            page = await self._catalog.find(replace(query, limit=size))
            passed += len(page.items)
            found += filter(keep, page.items)
            if page.next is None:
                break
            lacking, query = query.limit - len(found), replace(query, cursor=page.next)
        return found

    # names

    async def is_taken(self, filename: str, started_at: datetime, but_id: str) -> bool:
        """Whether another recording of the same folder bears this file name.

        Names that differ in case only, or in how letters are composed, count as the same. Raises
        StorageUnavailable.
        """
        return _folded(filename) in self._names(started_at, but_id) or (
            await self._catalog.is_taken(filename, started_at, but_id)
        )

    async def free_name(self, filename: str, started_at: datetime, recording_id: str) -> str:
        """`filename`, or the first of `name-1.wav`, `name-2.wav`, … that nothing else bears.

        A catalogue that is away counts as having no names.
        """
        stored: set[str] = set()
        with suppress(StorageUnavailable):
            if await self.is_taken(filename, started_at, recording_id):
                stored = await self._stored_names(started_at, recording_id)
        taken = stored | self._names(started_at, recording_id)
        endings = ("", *(f"-{number}" for number in range(1, TRIES + 1)))
        names = (_ended(filename, ending) for ending in endings)
        last = f"-{(recording_id or secrets.token_hex(8))[:8]}"
        return next((name for name in names if _folded(name) not in taken), _ended(filename, last))

    def _names(self, started_at: datetime, but_id: str) -> set[str]:
        """Names in the folder of recordings that the catalogue may not have yet, folded."""
        first, end = _minute(started_at)
        newest = {row.id: row for row in self._newest() if first <= row.started_at < end}
        return {_folded(row.filename) for row in newest.values() if row.id != but_id}

    async def _stored_names(self, started_at: datetime, but_id: str) -> set[str]:
        first, end = _minute(started_at)
        query = RecordingQuery(started_after=first, started_before=end, limit=sys.maxsize)
        found = await self._stored(query, lambda row: row.id != but_id)
        return {_folded(row.filename) for row in found}


def _minute(at: datetime) -> tuple[datetime, datetime]:
    """The span of the folder in which a recording is (`siprec.logbook.directory_of`)."""
    first = at.astimezone(UTC).replace(second=0, microsecond=0)
    return first, first + timedelta(minutes=1)


def _folded(filename: str) -> str:
    """What is equal of names that some file systems take for one."""
    return normalize("NFC", plain(filename)).casefold()


def _ended(filename: str, ending: str) -> str:
    """`name.wav` as `name` with an ending, `.wav`; shortened where it would be too long."""
    stem, dot, suffix = filename.rpartition(".")
    room = FILE_NAME_CHARACTERS - len(ending + dot + suffix)
    return f"{stem[:room]}{ending}{dot}{suffix}"


def _rank(recording: Recording) -> tuple[bool, datetime, int]:
    """Open ones first, then by age; those without a number are the newest of their time."""
    is_open = recording.status == "recording"
    return not is_open, recording.started_at, recording.number or sys.maxsize
