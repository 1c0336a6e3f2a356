"""Users who log in with a password, and the tokens they hold.

Who may log in is an entry of the directory; here are password hashes (argon2id), failures, locks
and tokens. A lock stops logins only: tokens given before go on, so that nobody can be kept from
pausing by failing to log in under their name. Checking a token is done in memory and never waits.
"""

from dataclasses import dataclass
from datetime import datetime

from config.schema import Users as Rules
from storage.database import Database
from storage.directory import Directory
from storage.entries import User
from storage.records import StorageError


class LoginRefused(StorageError):
    """Wrong password, unknown, disabled or locked user: one and the same to who asks."""


class PasswordExpired(StorageError):
    """The right password, too old."""


class WeakPassword(StorageError):
    """A password that will not do; the text says why."""


class TooManyLogins(StorageError):
    """More logins wait to be checked than will be."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a login gives; the text is not kept."""

    text: str
    """UUID of 122 random bits, in the form clients of the field expect."""
    expires_at: datetime
    user: User


class Users:
    """Passwords and tokens in the database and, after `load`, in memory."""

    def __init__(self, database: Database, directory: Directory, rules: Rules) -> None:
        self._database = database
        self._directory = directory
        self._rules = rules

    async def load(self) -> None:
        """Read hashes, locks and tokens from the database. Raises StorageUnavailable."""
        raise NotImplementedError

    async def watch(self, every_s: float = 1.0) -> None:
        """Follow what other processes change: a password, a lock, a token taken back."""
        raise NotImplementedError

    async def set_password(self, email: str, password: str, now: datetime) -> None:
        """Give a user a password, which ends locks and tokens. Raises UnknownEntry, WeakPassword,
        StorageUnavailable."""
        raise NotImplementedError

    async def login(self, email: str, password: str, lifetime_s: int | None, now: datetime) -> Token:
        """A token for who knows the password; takes as long for who does not.

        `lifetime_s` None or too long: the longest there is. Raises LoginRefused, PasswordExpired,
        TooManyLogins.
        """
        raise NotImplementedError

    def check(self, token: str, now: datetime) -> User | None:
        """Whose token this is, None if it is nobody's or holds no longer. Never waits."""
        raise NotImplementedError

    async def logout(self, token: str) -> None:
        """End a token; nothing happens if it is none."""
        raise NotImplementedError

    async def unlock(self, email: str) -> None:
        """Let a locked user log in again. Raises UnknownEntry, StorageUnavailable."""
        raise NotImplementedError
