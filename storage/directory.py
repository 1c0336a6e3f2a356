"""Directory: accounts, routes, users and the rest, in memory for those who ask, in the database for
those who change them.

Asking never waits: `entries` is an immutable snapshot. It is checked as a whole before it takes the
place of the one before, so that what one entry says of another is always true.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from msgspec import structs
from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import credentials, declaration, tables
from storage.database import Database
from storage.entries import KEEP, KINDS, Destination, Entry, User, as_key, key_of, kind_of
from storage.records import InvalidEntry, StorageError, StorageUnavailable, UnknownEntry
from storage.snapshot import INITIAL, Entries, check, sound

__all__ = ["INITIAL", "Change", "Directory", "Entries", "Guard"]

Key = tuple[str, str]
"""Kind of an entry and its `key_of`."""
Row = tuple[str, str, str]
"""A row of the table: kind, key, and the entry as JSON."""
Fault = tuple[str, str, str]
"""Kind and key of a row that cannot be used, and why."""
Guard = Callable[[Entries], None]
"""Looks at what is to be changed, as it stands in the database; what it raises stops the change.
Called in a worker thread."""
Edit = Callable[[Entries, frozenset[Key]], dict[Key, Entry | None]]
"""What is to become of which entry, None to remove it, given the state and the rows there are."""

COUNTER = "directory"
"""Row of `counters` that grows with every change."""
_ADDED, _CHANGED, _REMOVED = "added", "changed", "removed"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What applying a file did, or would do, with one entry."""

    kind: str
    key: str
    verb: str
    """`added`, `changed` or `removed`."""


class Directory:
    """The entries in the database and, always, in memory.

    `cache`: file that holds the last known entries, for a start without the database.
    """

    def __init__(self, database: Database, cache: Path | None = None) -> None:
        self._database = database
        self._cache = cache
        self._entries = INITIAL
        self._version: int | None = None
        """Value of the counter that `_entries` belong to; None until the database was read."""
        self._turn = asyncio.Lock()
        self._faults: frozenset[Fault] = frozenset()

    @property
    def entries(self) -> Entries:
        """The entries as known now; never waits."""
        return self._entries

    async def load(self) -> None:
        """Read the entries from the database. Raises StorageUnavailable, having read the cache.

        Rows that cannot be used are left out, and logged once.
        """
        async with self._turn:
            try:
                async with self._database.reading() as connection:
                    version, rows = await _fetch(connection)
            except StorageUnavailable:
                if self._version is None:
                    await self._recall()
                raise
            entries, faults = await asyncio.to_thread(_decoded, rows)
            self._report(faults)
            await self._take(entries, version)

    async def watch(self, every_s: float = 1.0) -> None:
        """Follow what other processes change; runs for the life of the process, whatever fails."""
        failing = False
        while True:
            await asyncio.sleep(every_s)
            try:
                await self._follow()
            except StorageError as error:
                if not failing:
                    logger.warning("directory_not_followed", error=str(error))
                failing = True
            else:
                failing = False

    async def put(self, entry: Entry, guard: Guard | None = None) -> Change | None:
        """Add or replace one entry; None if it is there already, just so.

        Raises InvalidEntry if it contradicts others, StorageUnavailable, and what `guard` raises.
        """
        changes = await self._change(_putting([entry]), guard)
        return changes[0] if changes else None

    async def remove(self, kind: str, key: str, guard: Guard | None = None) -> None:
        """Remove one entry.

        Raises UnknownEntry, InvalidEntry while others name it or it must be, StorageUnavailable,
        and what `guard` raises.
        """
        key = as_key(kind, key)

        def edit(_: Entries, rows: frozenset[Key]) -> dict[Key, Entry | None]:
            if (kind, key) in INITIAL.by_key():
                raise InvalidEntry(f"{kind} {key} is always there")
            if (kind, key) not in rows:
                raise UnknownEntry(f"there is nothing with key {key!r} among {kind!r}")
            return {(kind, key): None}

        try:
            await self._change(edit, guard)
        except InvalidEntry as error:
            raise InvalidEntry(f"cannot be removed: {error}") from None

    async def edit(self, change: Callable[[Entries], Mapping[Key, Entry | None]]) -> list[Change]:
        """Put and remove what `change` makes of the state as it is then, all or nothing.

        None: what has this kind and key is removed. Raises InvalidEntry, StorageUnavailable, and
        what `change` raises.
        """
        return await self._change(lambda before, _: _checked(change(before)))

    async def apply(
        self, text: bytes, *, yaml: bool = False, dry_run: bool = False
    ) -> list[Change]:
        """Make the directory contain what a directory file says; what it does not name stays.

        A file has a list for each kind: `[[accounts]]`, `[[routes]]`, … All or nothing, and nothing
        the second time. Raises InvalidEntry, which names the place in the file, StorageUnavailable.
        """
        entries = await asyncio.to_thread(declaration.read, text, yaml=yaml)
        return await self._change(_putting(entries), dry_run=dry_run)

    async def _change(
        self, edit: Edit, guard: Guard | None = None, *, dry_run: bool = False
    ) -> list[Change]:
        """Carry out an edit if what comes out of it holds together."""
        transaction = self._database.reading if dry_run else self._database.writing
        async with self._turn:
            async with transaction() as connection:
                version, rows = await _fetch(connection)
                plan = await asyncio.to_thread(_planned, rows, edit, guard)
                if plan.new and not dry_run:
                    await _store(connection, plan.new, version)
            self._report(plan.faults)
            if not dry_run:
                await self._take(plan.after, (version or 0) + bool(plan.new))
        return plan.changes

    async def _follow(self) -> None:
        async with self._database.reading() as connection:
            version = await connection.scalar(_VERSION) or 0
        if version != self._version:
            await self.load()

    def _report(self, faults: frozenset[Fault]) -> None:
        for kind, key, reason in sorted(faults - self._faults):
            logger.error("directory_entry_unusable", kind=kind, key=key, reason=reason)
        self._faults = faults

    async def _take(self, entries: Entries, version: int | None) -> None:
        is_new, before = self._version is None, self._entries
        self._entries, self._version = entries, version or 0
        if self._cache:
            try:
                await asyncio.to_thread(_write_cache, self._cache, entries, is_new, before)
            except OSError as error:
                logger.warning("directory_cache_failed", file=str(self._cache), error=str(error))

    async def _recall(self) -> None:
        """Take what the cache has."""
        if self._cache is None:
            return
        try:
            octets = await asyncio.to_thread(self._cache.read_bytes)
            rows = msgspec.json.decode(octets, type=list[Row])
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            logger.error("directory_cache_failed", file=str(self._cache), error=str(error))
            return
        self._entries, faults = await asyncio.to_thread(_decoded, rows)
        self._report(faults)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an edit comes to."""

    after: Entries
    new: dict[Key, Entry | None]
    """What is to be stored; None: removed."""
    changes: list[Change]
    faults: frozenset[Fault]


def _planned(rows: Sequence[Row], edit: Edit, guard: Guard | None) -> _Plan:
    """What `edit` makes of the rows. Raises InvalidEntry unless it holds together.

    Not for the event loop: a large directory takes a tenth of a second.
    """
    before, faults = _decoded(rows)
    if guard:
        guard(before)
    old = before.by_key()
    edited = edit(before, frozenset((kind, key) for kind, key, _ in rows))
    new = {key: entry for key, entry in edited.items() if entry != old.get(key, ...)}
    after = Entries.of(entry for entry in (old | new).values() if entry is not None)
    check(after)
    changes = [Change(*key, _verb(old.get(key), entry)) for key, entry in new.items()]
    return _Plan(after, new, changes, faults)


def _putting(entries: Iterable[Entry]) -> Edit:
    """The edit that adds or replaces entries."""

    def edit(before: Entries, _: frozenset[Key]) -> dict[Key, Entry | None]:
        return {(kind_of(each), key_of(each)): _kept(_valid(each), before) for each in entries}

    return edit


def _checked(wanted: Mapping[Key, Entry | None]) -> dict[Key, Entry | None]:
    return {key: entry and _valid(entry) for key, entry in wanted.items()}


def _valid(entry: Entry) -> Entry:
    """`entry`, if each field is what its type says. Raises InvalidEntry."""
    try:
        return declaration.convert(msgspec.to_builtins(entry), type(entry))
    except InvalidEntry as error:
        raise InvalidEntry(f"{kind_of(entry)} {key_of(entry)}: {error}") from None


def _kept(entry: Entry, before: Entries) -> Entry:
    """`entry` with the secret it has had where it says `KEEP`. Raises InvalidEntry."""
    if not isinstance(entry, Destination) or entry.secret != KEEP:
        return entry
    old = before.destinations.get(entry.name)
    if old is None or not old.secret:
        raise InvalidEntry(f"destinations {entry.name}: secret: there is none yet to be kept")
    return structs.replace(entry, secret=old.secret)


def _verb(old: Entry | None, new: Entry | None) -> str:
    if new is None:
        return _REMOVED
    return _ADDED if old is None else _CHANGED


_VERSION = select(tables.counters.c.value).where(tables.counters.c.name == COUNTER)


async def _fetch(connection: AsyncConnection) -> tuple[int | None, Sequence[Row]]:
    """Counter, None if there was no change yet, and rows."""
    version = await connection.scalar(_VERSION)
    columns = tables.directory.c
    found = await connection.execute(select(columns.kind, columns.key, columns.entry))
    return version, found.all()


async def _store(
    connection: AsyncConnection, new: dict[Key, Entry | None], version: int | None
) -> None:
    columns = tables.directory.c
    gone = delete(tables.directory).where(
        columns.kind == bindparam("of"), columns.key == bindparam("named")
    )
    await connection.execute(gone, [{"of": kind, "named": key} for kind, key in new])
    if rows := _rows(entry for entry in new.values() if entry is not None):
        names = columns.keys()
        values = [dict(zip(names, row, strict=True)) for row in rows]
        await connection.execute(insert(tables.directory), values)
    await _end_logins(connection, new)
    counters = tables.counters
    if version is None:
        await connection.execute(insert(counters).values(name=COUNTER, value=1))
    else:
        counted = update(counters).where(counters.c.name == COUNTER).values(value=version + 1)
        await connection.execute(counted)


async def _end_logins(connection: AsyncConnection, new: dict[Key, Entry | None]) -> None:
    """Nobody inherits the password of a user who was removed, or a token of a disabled one."""
    users = {key: entry for (kind, key), entry in new.items() if kind == "users"}
    barred = [key for key, user in users.items() if not (isinstance(user, User) and user.enabled)]
    for key in barred:
        if users[key] is None:
            await credentials.forget(connection, key)
        else:
            await credentials.end_tokens(connection, key)
    if barred:
        await credentials.count(connection)


def _rows(entries: Iterable[Entry]) -> list[Row]:
    return [(kind_of(e), key_of(e), msgspec.json.encode(e).decode()) for e in entries]


def _decoded(rows: Sequence[Row]) -> tuple[Entries, frozenset[Fault]]:
    """The state the rows stand for, without those that cannot be used."""
    entries: list[Entry] = []
    faults: set[Fault] = set()
    for kind, key, text in rows:
        try:
            entry = msgspec.json.decode(text, type=KINDS[kind])
            if key_of(entry) != key:
                raise KeyError(key_of(entry))
        except KeyError as error:
            faults.add((kind, key, f"not of this version: {error}"))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            faults.add((kind, key, str(error)))
        else:
            entries.append(entry)
    state, problems = sound(entries)
    faults.update((kind_of(entry), key_of(entry), text) for entry, text in problems)
    return state, frozenset(faults)


def _write_cache(path: Path, entries: Entries, is_new: bool, before: Entries) -> None:
    """Put the entries in place of those there, readable by us only; else without secrets.

    Nothing to do if they are as they were before.
    """
    if entries == before and not is_new:
        return
    temporary = path.with_name(path.name + ".part")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, _FLAGS, 0o600), "wb") as file:
        is_ours = os.fstat(file.fileno()).st_mode & 0o077 == 0
        shown = [
            e if is_ours or not isinstance(e, Destination) else structs.replace(e, secret="")
            for e in entries
        ]
        file.write(msgspec.json.encode(_rows(shown)))
    temporary.replace(path)
