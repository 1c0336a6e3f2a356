"""Tokens as they are held in memory, and what the database has not been told of them yet.

A token is kept as a digest together with its user's type, so that it is none once the user is of
another type. No I/O here; counterpart: `storage.users`.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args

from storage.entries import UserType

LIVE = 100
"""Tokens of one user; one more ends the oldest."""

_TYPES: tuple[str, ...] = get_args(UserType)


@dataclass(frozen=True, slots=True)
class Held:
    """A token somebody holds."""

    email: str
    """Key of the user in the directory."""
    type: str
    """Of the user, when it was given or, after a start, read."""
    password: str
    """Hash of the password it was given for."""
    created_at: datetime
    expires_at: datetime
    until_s: float
    """When it expires on a clock that is never set; setting the other one back does not help."""


@dataclass(frozen=True, slots=True)
class Untold:
    """What the database does not know: tokens given and tokens ended, by their digests."""

    given: Mapping[str, Held]
    ended: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.given or self.ended)


class Tokens:
    """All tokens that may still hold, by their digests."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._given: set[str] = set()
        self._ended: set[str] = set()

    def give(self, text: str, held: Held) -> None:
        """Remember a new token, ending the user's oldest if there are too many."""
        own = [digest for digest, other in self._held.items() if other.email == held.email]
        own.sort(key=lambda digest: self._held[digest].created_at)
        for digest in own[: max(0, len(own) + 1 - LIVE)]:
            self._end(digest)
        digest = digest_of(text, held.type)
        self._held[digest] = held
        self._given.add(digest)

    def find(self, text: str) -> Held | None:
        """The token this text is, with the type it was given for; finding it by its digest tells
        an attacker nothing."""
        for kind in _TYPES:
            if held := self._held.get(digest_of(text, kind)):
                return replace(held, type=kind)
        return None

    def get(self, digest: str) -> Held | None:
        """The token of this digest."""
        return self._held.get(digest)

    def end(self, text: str) -> None:
        """End a token, if it is one."""
        for kind in _TYPES:
            self._end(digest_of(text, kind))

    def sweep(self, holds: Callable[[Held], bool]) -> None:
        """End for good what holds no longer, or a change taken back would revive it."""
        for digest in [digest for digest, held in self._held.items() if not holds(held)]:
            self._end(digest)

    def drop(self, email: str) -> None:
        """Forget a user's tokens, which the database has forgotten already."""
        self._keep({digest: held for digest, held in self._held.items() if held.email != email})

    def take(self, stored: Mapping[str, Held]) -> None:
        """Hold what the database says and what it does not know yet."""
        known = {digest: held for digest, held in stored.items() if digest not in self._ended}
        self._keep(known | {digest: self._held[digest] for digest in self._given})

    def untold(self) -> Untold:
        """What the database is to be told."""
        given = {digest: self._held[digest] for digest in self._given}
        return Untold(given, frozenset(self._ended))

    def told(self, untold: Untold) -> None:
        """The database knows this now."""
        self._given -= untold.given.keys()
        self._ended -= untold.ended

    def _keep(self, held: dict[str, Held]) -> None:
        self._held = held
        self._given &= held.keys()

    def _end(self, digest: str) -> None:
        if self._held.pop(digest, None):
            self._given.discard(digest)
            # Even one it has not been told of: it may be hearing of it at this moment.
            self._ended.add(digest)


def digest_of(text: str, kind: str) -> str:
    """What is kept of a token that was given to a user of type `kind`."""
    return hashlib.sha256(f"{kind} {text}".encode("utf-8", "surrogatepass")).hexdigest()
