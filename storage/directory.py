"""Directory: accounts, routes, users and the rest, in memory for those who ask, in the database for
those who change them.

Asking never waits: `entries` is an immutable snapshot. It is checked as a whole before it takes the
place of the one before, so that what one entry says of another is always true.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from storage.database import Database
from storage.entries import (
    Account,
    CustomField,
    Destination,
    Entry,
    ExportTemplate,
    MetadataType,
    Policy,
    Route,
    ScreenAgent,
    User,
)


@dataclass(frozen=True, slots=True)
class Entries:
    """One state of the directory: of each kind the entries by `key_of`."""

    accounts: Mapping[int, Account]
    routes: Mapping[int, Route]
    """In the order they are tried: highest priority first, then lowest id."""
    users: Mapping[str, User] = field(default_factory=dict)
    """By e-mail address in lower case."""
    custom_fields: Mapping[str, CustomField] = field(default_factory=dict)
    metadata_types: Mapping[str, MetadataType] = field(default_factory=dict)
    templates: Mapping[tuple[str, int], ExportTemplate] = field(default_factory=dict)
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()
    """In the order they fire."""
    screen_agents: Mapping[str, ScreenAgent] = field(default_factory=dict)


INITIAL = Entries(
    MappingProxyType({1: Account(1, "System")}),
    MappingProxyType({1: Route(1, 1, "Default", priority=0)}),
)
"""What is there from the start: the System account and a route that records everything."""


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

    @property
    def entries(self) -> Entries:
        """The entries as known now; never waits."""
        return self._entries

    async def load(self) -> None:
        """Read the entries from the database. Raises StorageUnavailable, having read the cache."""
        raise NotImplementedError

    async def watch(self, every_s: float = 1.0) -> None:
        """Follow what other processes change; runs for the life of the process, whatever fails."""
        raise NotImplementedError

    async def put(self, entry: Entry) -> Change | None:
        """Add or replace one entry; None if it is there already, just so.

        Raises InvalidEntry if it contradicts others, StorageUnavailable.
        """
        raise NotImplementedError

    async def remove(self, kind: str, key: str) -> None:
        """Remove one entry. Raises UnknownEntry, InvalidEntry while others name it or it must be."""
        raise NotImplementedError

    async def apply(self, text: bytes, *, yaml: bool = False, dry_run: bool = False) -> list[Change]:
        """Make the directory contain what a directory file says; what it does not name stays.

        A file has a list for each kind: `[[accounts]]`, `[[routes]]`, … All or nothing, and nothing
        the second time. Raises InvalidEntry, which names the place in the file.
        """
        raise NotImplementedError
