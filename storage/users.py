"""Users who log in with a password, and the tokens they hold.

Who may log in is an entry of the directory; here are password hashes (argon2id), failures, locks
and tokens. A lock stops logins only: tokens given before go on, so that nobody can be kept from
pausing by failing to log in under their name. Checking a token is done in memory and never waits.

What is in memory is what the database says and what it has not been told yet: logins go on without
it, and `watch` tells it when it is back. Counterparts: `storage.passwords`, `storage.tokens`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import structlog
from sqlalchemy import Row

from config.schema import Users as Rules
from storage import credentials
from storage.database import Database
from storage.directory import Directory
from storage.entries import User
from storage.passwords import (
    Attempt,
    Credential,
    Hasher,
    TooManyLogins,
    WeakPassword,
    check_password,
)
from storage.records import StorageError, UnknownEntry
from storage.tokens import Held, Tokens

__all__ = [
    "LoginRefused",
    "PasswordExpired",
    "Standing",
    "Token",
    "TooManyLogins",
    "Users",
    "WeakPassword",
]

logger = structlog.get_logger(__name__)

_TIDY_S = 60.0
"""Between two looks for what has expired."""
_ATTEMPTS = 100
"""Of one user, kept for the database while it is away."""


class LoginRefused(StorageError):
    """Wrong password, unknown, disabled or locked user: one and the same to who asks."""


class PasswordExpired(StorageError):
    """The right password, too old."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a login gives; the text is not kept."""

    text: str
    """UUID of 122 random bits, in the form clients of the field expect."""
    expires_at: datetime
    user: User


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands between a user and a login."""

    has_password: bool = False
    locked_until: datetime | None = None
    """None: not locked."""
    expires_at: datetime | None = None
    """When the password is too old; None: never."""


class Users:
    """Passwords and tokens in the database and, after `load`, in memory.

    `monotonic`: seconds on a clock that is never set.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        rules: Rules,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._directory = directory
        self._rules = rules
        self._monotonic = monotonic
        self._hasher = Hasher()
        self._credentials: dict[str, Credential] = {}
        self._tokens = Tokens()
        self._attempts: dict[str, tuple[Attempt, ...]] = {}  # the database does not know of
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()
        self._seen = -1
        self._swept: Mapping[str, User] | None = None
        self._tidied_s = -_TIDY_S
        self._away = False

    async def load(self) -> None:
        """Read hashes, locks and tokens from the database. Raises StorageUnavailable."""
        async with self._turn:
            await self._read()

    async def watch(self, every_s: float = 1.0) -> None:
        """Follow what other processes change: a password, a lock, a token taken back.

        Also tells the database what only this process knows, as soon as there is something. Runs
        for the life of the process, whatever fails.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._news.wait()
            self._news.clear()
            try:
                await self._follow(datetime.now(UTC))
            except StorageError as error:
                self._note(error)
            else:
                self._note(None)

    async def save(self) -> None:
        """Tell the database what only this process knows; for a stop. Raises StorageUnavailable,
        and knows it still."""
        async with self._turn:
            untold, attempts = self._tokens.untold(), dict(self._attempts)
            if not (untold or attempts):
                return
            async with self._database.writing() as connection:
                known = await credentials.write_attempts(connection, attempts, self._rules)
                await credentials.write_tokens(connection, untold)
                version = await credentials.count(connection)
            self._tokens.told(untold)
            for key, told in attempts.items():
                self._settle(key, told, known.get(key))
            self._told(version)

    async def set_password(self, email: str, password: str, now: datetime) -> None:
        """Give a user a password, which ends locks and tokens. Raises UnknownEntry, WeakPassword,
        StorageUnavailable."""
        user = self._user(email)
        check_password(password, user.email, self._rules)
        key, credential = email.lower(), Credential(await self._hasher.hash(password), now)
        async with self._turn:
            async with self._database.writing() as connection:
                await credentials.write(connection, key, credential)
                version = await credentials.count(connection)
            self._drop(key)
            self._credentials[key] = credential
            self._told(version)

    async def login(
        self, email: str, password: str, lifetime_s: int | None, now: datetime
    ) -> Token:
        """A token for who knows the password; takes as long for who does not.

        `lifetime_s` None or too long: the longest there is. Raises LoginRefused, PasswordExpired,
        TooManyLogins.
        """
        user = await self.prove(email, password, now)
        longest = self._rules.token_s
        lifetime = min(longest if lifetime_s is None else lifetime_s, longest)
        token = Token(str(uuid4()), now + timedelta(seconds=lifetime), user)
        key, until_s = email.lower(), self._monotonic() + lifetime
        held = Held(key, user.type, self._credentials[key].password, now, token.expires_at, until_s)
        self._tokens.give(token.text, held)
        self._news.set()
        return token

    async def prove(self, email: str, password: str, now: datetime) -> User:
        """As `login`, but gives no token: the user, for who knows the password."""
        key = email.lower()
        before = self._open(key, now)
        right = await self._hasher.verify(before.password if before else None, password)
        # While this one waited, others may have failed, or the password been changed.
        credential = self._open(key, now)
        if before is None or credential is None or credential.password != before.password:
            raise LoginRefused("wrong e-mail address or password")
        self._attempted(key, credential, Attempt(now, right, credential.password))
        if not right:
            raise LoginRefused("wrong e-mail address or password")
        user = self._user(key)
        if self._is_old(user, credential, now):
            raise PasswordExpired("password expired")
        return user

    def check(self, token: str, now: datetime) -> User | None:
        """Whose token this is, None if it is nobody's or holds no longer. Never waits."""
        held = self._tokens.find(token)
        return (
            self._directory.entries.users[held.email] if held and self._holds(held, now) else None
        )

    async def logout(self, token: str) -> None:
        """End a token; nothing happens if it is none."""
        self._tokens.end(token)
        self._news.set()

    async def unlock(self, email: str) -> None:
        """Let a locked user log in again. Raises UnknownEntry, StorageUnavailable."""
        key = self._user(email).email.lower()
        async with self._turn:
            async with self._database.writing() as connection:
                await credentials.unlock(connection, key)
                version = await credentials.count(connection)
            self._attempts.pop(key, None)
            if credential := self._credentials.get(key):
                self._credentials[key] = replace(credential, failures=0, locked_until=None)
            self._told(version)

    async def forget(self, email: str) -> None:
        """Delete password and tokens of who is no user any more. Raises StorageUnavailable."""
        key = email.lower()
        async with self._turn:
            async with self._database.writing() as connection:
                await credentials.forget(connection, key)
                version = await credentials.count(connection)
            self._drop(key)
            self._told(version)

    def standing(self, email: str, now: datetime) -> Standing:
        """Whether a user could log in. Raises UnknownEntry."""
        user = self._user(email)
        credential = self._credentials.get(email.lower())
        if credential is None:
            return Standing()
        locked_until = credential.locked_until if credential.is_locked(now) else None
        expires_at = credential.expires_at(self._rules) if user.password_expires else None
        return Standing(True, locked_until, expires_at)

    def _user(self, email: str) -> User:
        user = self._directory.entries.users.get(email.lower())
        if user is None:
            raise UnknownEntry(f"users: there is no {email!r}")
        return user

    def _open(self, key: str, now: datetime) -> Credential | None:
        """What a login of this name is checked against; None: it is refused, whatever it says."""
        user, credential = self._directory.entries.users.get(key), self._credentials.get(key)
        if user is None or not user.enabled or credential is None or credential.is_locked(now):
            return None
        return credential

    def _holds(self, held: Held, now: datetime) -> bool:
        user = self._directory.entries.users.get(held.email)
        credential = self._credentials.get(held.email)
        if user is None or not user.enabled or credential is None:
            return False
        if now >= held.expires_at or self._monotonic() >= held.until_s:
            return False
        is_same = (user.type, credential.password) == (held.type, held.password)
        return is_same and not self._is_old(user, credential, now)

    def _is_old(self, user: User, credential: Credential, now: datetime) -> bool:
        expires_at = credential.expires_at(self._rules) if user.password_expires else None
        return expires_at is not None and now >= expires_at

    def _attempted(self, key: str, credential: Credential, attempt: Attempt) -> None:
        if attempt.right and not credential.failures:
            return
        before = () if attempt.right else self._attempts.get(key, ())
        self._attempts[key] = (*before, attempt)[-_ATTEMPTS:]
        self._credentials[key] = after = credential.after([attempt], self._rules)
        self._news.set()
        if after.is_locked(attempt.at):
            logger.warning("user_locked", user=key, until=str(after.locked_until))

    def _drop(self, key: str) -> None:
        """Forget what the database has forgotten."""
        self._tokens.drop(key)
        self._attempts.pop(key, None)
        self._credentials.pop(key, None)

    async def _follow(self, now: datetime) -> None:
        users = self._directory.entries.users
        is_due = users is not self._swept or self._monotonic() - self._tidied_s >= _TIDY_S
        if is_due:
            self._tokens.sweep(lambda held: not self._is_over(held, now))
        await self.save()
        async with self._turn:
            if is_due:
                await self._tidy(now)
                self._swept, self._tidied_s = users, self._monotonic()
            async with self._database.reading() as connection:
                version = await credentials.version(connection)
            if version != self._seen:
                await self._read()

    def _is_over(self, held: Held, now: datetime) -> bool:
        """Whether it shall never hold again. Of whom the directory does not know, it may not know
        yet."""
        user = self._directory.entries.users.get(held.email)
        return user is not None and not self._holds(replace(held, type=held.type or user.type), now)

    async def _tidy(self, now: datetime) -> None:
        async with self._database.writing() as connection:
            if await credentials.tidy(connection, now):
                await credentials.count(connection)

    async def _read(self) -> None:
        held: dict[str, Held] = {}
        async with self._database.reading() as connection:
            version = await credentials.version(connection)
            known = await credentials.read(connection)
            async for rows in credentials.read_tokens(connection):
                held |= self._found(rows, known)
        self._take(known, held)
        self._seen = version

    def _found(self, rows: Sequence[Row[Any]], known: Mapping[str, Credential]) -> dict[str, Held]:
        """Tokens of the database as they are held."""
        now, now_s = datetime.now(UTC), self._monotonic()
        found = {}
        for row in rows:
            if row.email in known:
                left = min(row.expires_at - now, row.expires_at - row.created_at).total_seconds()
                before = self._tokens.get(row.sha256)
                found[row.sha256] = Held(
                    row.email,
                    before.type if before else self._type(row.email),
                    known[row.email].password,
                    row.created_at,
                    row.expires_at,
                    before.until_s if before else now_s + left,
                )
        return found

    def _type(self, key: str) -> str:
        user = self._directory.entries.users.get(key)
        return user.type if user else ""

    def _take(self, known: Mapping[str, Credential], held: Mapping[str, Held]) -> None:
        """Replace what is in memory by what the database says and what it does not know yet.

        What of the latter belongs to a password of before holds no longer, and counts for nothing.
        """
        self._tokens.take(held)
        self._credentials = {
            key: credential.after(self._attempts.get(key, ()), self._rules)
            for key, credential in known.items()
        }

    def _settle(self, key: str, told: tuple[Attempt, ...], known: Credential | None) -> None:
        """The database has been told of these attempts; `known` is what it made of them."""
        attempts = self._attempts.pop(key, ())
        rest = attempts[len(told) :] if attempts[: len(told)] == told else attempts
        if rest:
            self._attempts[key] = rest
        if known:
            self._credentials[key] = known.after(rest, self._rules)

    def _told(self, version: int) -> None:
        """Our own change made the counter `version`; unless there were others, all is read."""
        if self._seen == version - 1:
            self._seen = version

    def _note(self, error: StorageError | None) -> None:
        """Log once that the database went away, and once that it is back."""
        if error and not self._away:
            logger.warning("users_unavailable", error=str(error))
        if self._away and error is None:
            logger.info("users_available")
        self._away = error is not None
