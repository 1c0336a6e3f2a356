"""API keys: bearer tokens of the control interface, kept as SHA-256 digests.

A key is 256 random bits, so its plain digest is safe at rest and finding it by digest tells an
attacker nothing. Checking is done in memory: no command waits for the database, and a start without
one knows the keys of last time. Keys know no locks and no expiry: what pauses must go on to, and is
taken back by removing the key.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog
from sqlalchemy import delete, func, insert, select

from storage.database import Database
from storage.entries import SYSTEM_ACCOUNT
from storage.records import ApiKey, StorageError, StorageUnavailable, UnknownEntry
from storage.tables import api_keys

ROLES = ("control", "operator", "admin")
PREFIX = "srs_"
"""Lets secret scanners and people tell what a leaked key belongs to."""
_NAME_CHARACTERS = 100
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

logger = structlog.get_logger(__name__)


class ApiKeys:
    """The keys in the database and, after `load`, in memory.

    `cache`: file that holds the last known keys, as digests, for a start without the database.
    """

    def __init__(self, database: Database, cache: Path | None = None) -> None:
        self._database = database
        self._cache = cache
        self._keys: Mapping[str, ApiKey] = {}
        self._cached: Mapping[str, ApiKey] | None = None
        self._cache_failed = False

    async def add(self, name: str, role: str, account: int = SYSTEM_ACCOUNT) -> str:
        """Make a key and return it in plain; it cannot be shown again.

        `account`: whose calls and recordings it reaches; the System account's reaches all. Raises
        StorageError for an unknown role, an unusable name or one that exists.
        """
        if role not in ROLES:
            raise StorageError(f"role: {role!r} is none of {', '.join(ROLES)}")
        if not (name.isprintable() and name.strip() and len(name) <= _NAME_CHARACTERS):
            raise StorageError(f"name: 1 to {_NAME_CHARACTERS} printable characters, please")
        token = PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(name, role, _digest(token), datetime.now(UTC), account)
        await self._insert(key)
        self._keys = {**self._keys, key.sha256: key}
        await self._remember()
        return token

    async def _insert(self, key: ApiKey) -> None:
        async with self._database.writing() as connection:
            if await connection.scalar(select(api_keys.c.name).where(api_keys.c.name == key.name)):
                raise StorageError(f"name: there is a key {key.name!r} already")
            await connection.execute(
                insert(api_keys).values(
                    name=key.name,
                    role=key.role,
                    account=key.account,
                    sha256=key.sha256,
                    created_at=key.created_at,
                )
            )

    async def list(self) -> tuple[ApiKey, ...]:
        """All keys by name. Raises StorageUnavailable."""
        await self.load()
        return tuple(sorted(self._keys.values(), key=lambda key: key.name))

    async def remove(self, name: str) -> None:
        """Take a key back; other processes notice within a second (`watch`).

        Raises UnknownEntry, StorageUnavailable.
        """
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(api_keys).where(api_keys.c.name == name))
        if not gone.rowcount:
            raise UnknownEntry(f"name: there is no key {name!r}")
        self._keys = {digest: key for digest, key in self._keys.items() if key.name != name}
        await self._remember()

    async def watch(self, every_s: float = 1.0) -> None:
        """Follow what other processes add and remove; runs for the life of the process."""
        while True:
            await asyncio.sleep(every_s)
            await self.refresh()

    async def count(self) -> int:
        """Keys in the database. Raises StorageUnavailable."""
        async with self._database.reading() as connection:
            return await connection.scalar(select(func.count()).select_from(api_keys)) or 0

    async def load(self) -> None:
        """Replace the keys in memory by those in the database.

        Raises StorageUnavailable; if none were known, those of the cache are from then on.
        """
        try:
            async with self._database.reading() as connection:
                rows = (await connection.execute(select(api_keys))).mappings().all()
        except StorageUnavailable:
            if self._cached is None:
                await self._recall()
            raise
        self._keys = {row["sha256"]: ApiKey(**row) for row in rows}
        await self._remember()

    async def _remember(self) -> None:
        """Bring the cache up to date."""
        if self._cache is None or self._keys == self._cached:
            return
        keys = self._keys
        try:
            await asyncio.to_thread(_write, self._cache, keys)
        except OSError as error:
            if not self._cache_failed:
                logger.warning("keys_cache_failed", file=str(self._cache), error=str(error))
            self._cache_failed = True
            return
        self._cached, self._cache_failed = keys, False

    async def _recall(self) -> None:
        """Take what the cache has; nothing if it cannot be read."""
        if self._cache is None:
            return
        try:
            octets = await asyncio.to_thread(self._cache.read_bytes)
            keys = msgspec.json.decode(octets, type=list[ApiKey])
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            logger.error("keys_cache_failed", file=str(self._cache), error=str(error))
            return
        self._keys = self._cached = {key.sha256: key for key in keys}

    async def refresh(self) -> bool:
        """`load`, keeping the keys we know if the database is away; False then."""
        try:
            await self.load()
        except StorageError:
            return False
        return True

    def check(self, token: str) -> ApiKey | None:
        """The key this token is, None if it is none. Never waits."""
        return self._keys.get(_digest(token))


def _write(path: Path, keys: Mapping[str, ApiKey]) -> None:
    """Put the keys in place of those there, readable by us only."""
    temporary = path.with_name(path.name + ".part")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, _FLAGS, 0o600), "wb") as file:
        file.write(msgspec.json.encode([*keys.values()]))
    temporary.replace(path)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
