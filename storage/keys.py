"""API keys: bearer tokens of the control interface, kept as SHA-256 digests.

A key is 256 random bits, so its plain digest is safe at rest and finding it by digest tells an
attacker nothing. Checking is done in memory: no command waits for the database.
"""

import hashlib
import secrets
from datetime import UTC, datetime

from sqlalchemy import func, insert, select

from storage.database import Database, api_keys
from storage.records import ApiKey, StorageError

ROLES = ("control", "operator", "admin")
PREFIX = "srs_"
"""Lets secret scanners and people tell what a leaked key belongs to."""
_NAME_CHARACTERS = 100


class ApiKeys:
    """The keys in the database and, after `load`, in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, ApiKey] = {}

    async def add(self, name: str, role: str) -> str:
        """Make a key and return it in plain; it cannot be shown again.

        Raises StorageError for an unknown role, an unusable name or one that exists.
        """
        if role not in ROLES:
            raise StorageError(f"role: {role!r} is none of {', '.join(ROLES)}")
        if not (name.isprintable() and name.strip() and len(name) <= _NAME_CHARACTERS):
            raise StorageError(f"name: 1 to {_NAME_CHARACTERS} printable characters, please")
        token = PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(name, role, _digest(token), datetime.now(UTC))
        await self._insert(key)
        self._keys[key.sha256] = key
        return token

    async def _insert(self, key: ApiKey) -> None:
        async with self._database.writing() as connection:
            if await connection.scalar(select(api_keys.c.name).where(api_keys.c.name == key.name)):
                raise StorageError(f"name: there is a key {key.name!r} already")
            await connection.execute(
                insert(api_keys).values(
                    name=key.name, role=key.role, sha256=key.sha256, created_at=key.created_at
                )
            )

    async def count(self) -> int:
        """Keys in the database. Raises StorageUnavailable."""
        async with self._database.reading() as connection:
            return await connection.scalar(select(func.count()).select_from(api_keys)) or 0

    async def load(self) -> None:
        """Replace the keys in memory by those in the database. Raises StorageUnavailable."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(api_keys))).mappings().all()
        self._keys = {row["sha256"]: ApiKey(**row) for row in rows}

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


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
