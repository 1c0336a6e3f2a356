"""Passwords: which will do, their hashes (argon2id, RFC 9106), and what failed logins lead to.

Rules and locks are pure; only `Hasher` computes. Counterpart: `storage.users`, which keeps them.
"""

import asyncio
import os
import secrets
import threading
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from config.schema import Users as Rules
from storage.records import StorageError

PARAMETERS = RFC_9106_LOW_MEMORY
"""The second recommended option of RFC 9106 section 4: 64 MiB, about a tenth of a second."""
LONGEST = 1000
"""Characters of a password; bounds the work that a login can ask for."""
AT_ONCE = 2
"""Hashes computed at the same time."""
WAITING = 16
"""Verifications that may wait for their turn: one to two seconds of work."""
_NICENESS = 5
"""More than the server has itself: media and signalling go first."""


T = TypeVar("T")


class WeakPassword(StorageError):
    """A password that will not do; the text says why."""


class TooManyLogins(StorageError):
    """More logins wait to be checked than will be."""


def check_password(password: str, email: str, rules: Rules) -> None:
    """Whether the user `email` may have `password`. Raises WeakPassword."""
    if len(password) > LONGEST:
        raise WeakPassword(f"a password has at most {LONGEST} characters")
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise WeakPassword("a password is text in UTF-8")
    normal = unicodedata.normalize("NFKC", password)
    if len(normal) < rules.password_min_length:
        raise WeakPassword(f"a password needs at least {rules.password_min_length} characters")
    folded = normal.casefold()
    if len(set(folded)) == 1:
        raise WeakPassword("a password needs more than one character repeated")
    address = email.casefold()
    if folded in {address, address.partition("@")[0]}:
        raise WeakPassword("a password must not be the e-mail address or its beginning")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that was checked."""

    at: datetime
    right: bool
    password: str
    """The hash it was checked against."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The password of a user, as a hash, and how often it was missed."""

    password: str
    changed_at: datetime
    failures: int = 0
    """In a row, the last lock not counted that is over."""
    locked_until: datetime | None = None

    def is_locked(self, now: datetime) -> bool:
        """Whether no login is let in."""
        return self.locked_until is not None and now < self.locked_until

    def expires_at(self, rules: Rules) -> datetime | None:
        """When the password is too old; None: never."""
        return (
            self.changed_at + timedelta(days=rules.password_days) if rules.password_days else None
        )

    def after(self, attempts: Iterable[Attempt], rules: Rules) -> "Credential":
        """What it is after these; those made while locked or against another hash do not count."""
        credential = self
        for attempt in attempts:
            if attempt.password == self.password and not credential.is_locked(attempt.at):
                credential = credential._after(attempt, rules)
        return credential

    def _after(self, attempt: Attempt, rules: Rules) -> "Credential":
        if attempt.right:
            return replace(self, failures=0, locked_until=None)
        failures = 1 if self.locked_until else self.failures + 1
        lock = attempt.at + timedelta(minutes=rules.lock_minutes)
        return replace(
            self, failures=failures, locked_until=lock if failures >= rules.lock_after else None
        )


class Hasher:
    """Computes hashes in threads of their own, so that neither a call nor a pause waits for one."""

    def __init__(self) -> None:
        self._argon2 = PasswordHasher.from_parameters(PARAMETERS)
        self._nobodys = _random_hash()
        self._threads = ThreadPoolExecutor(AT_ONCE, "argon2", _give_way)
        self._asked = 0

    async def hash(self, password: str) -> str:
        """A new salted hash of `password`."""
        return await self._run(lambda: self._argon2.hash(_octets(password)))

    async def verify(self, known: str | None, password: str) -> bool:
        """Whether `known` is a hash of `password`.

        None: of none; to say so takes as long. Raises TooManyLogins.
        """
        if self._asked >= AT_ONCE + WAITING:
            raise TooManyLogins("too many logins wait to be checked")
        self._asked += 1
        try:
            return await self._run(lambda: self._verify(known, password))
        finally:
            self._asked -= 1

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _verify(self, known: str | None, password: str) -> bool:
        too_long = len(password) > LONGEST
        usable = self._nobodys if known is None or too_long else known
        try:
            self._argon2.verify(usable, _octets("" if too_long else password))
        except (VerificationError, InvalidHashError):
            return False
        return True


def _octets(password: str) -> bytes:
    """The same octets for all the ways to type the same characters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _random_hash() -> str:
    """The hash of nothing: to verify against it takes as long as against any."""
    salt, digest = (
        b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()
        for size in (PARAMETERS.salt_len, PARAMETERS.hash_len)
    )
    cost = f"m={PARAMETERS.memory_cost},t={PARAMETERS.time_cost},p={PARAMETERS.parallelism}"
    return f"$argon2id$v={PARAMETERS.version}${cost}${salt}${digest}"


def _give_way() -> None:
    """Lower the priority of this thread, and of those that argon2 starts from it (Linux)."""
    thread = threading.get_native_id()
    with suppress(OSError):
        niceness = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, niceness + _NICENESS)
