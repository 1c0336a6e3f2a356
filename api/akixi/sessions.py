"""Sessions: what a client holds between its requests, in memory.

Those nobody has logged in to are counted apart, so that a flood of them ends no other.
"""

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic

from storage.users import Token

MOST = 1000
"""Sessions with a user, and as many without; one more ends the one that was idle longest."""


@dataclass(slots=True)
class Session:
    """One session."""

    used_s: float
    """When it was used last, on a clock that is never set."""
    id: str = field(default_factory=lambda: secrets.token_hex(16).upper())
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))
    """Given out for passwords to be hashed with; nobody knows how, so they are not."""
    token: Token | None = None
    """Of the user's login; None: nobody has logged in."""


class Sessions:
    """All sessions. `logout` ends the token of one that is over."""

    def __init__(
        self,
        idle_s: float,
        logout: Callable[[str], Awaitable[None]],
        most: int = MOST,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._idle_s = idle_s
        self._logout = logout
        self._most = most
        self._now = now
        self._without: OrderedDict[str, Session] = OrderedDict()
        self._with: OrderedDict[str, Session] = OrderedDict()

    async def create(self) -> Session:
        """A new one, without a user."""
        session = Session(self._now())
        await self._add(self._without, session)
        return session

    async def find(self, session_id: str) -> Session | None:
        """The session of this id, used now; None if there is none, or it was idle too long."""
        for held in (self._without, self._with):
            await self._tidy(held)
            if session := held.get(session_id):
                session.used_s = self._now()
                held.move_to_end(session_id)
                return session
        return None

    async def bind(self, session: Session, token: Token) -> None:
        """Somebody has logged in to the session; it needs its nonce no longer."""
        await self.end(session)
        session.token, session.nonce, session.used_s = token, "", self._now()
        await self._add(self._with, session)

    async def end(self, session: Session) -> None:
        """It is none any more, nor is its user logged in through it."""
        for held in (self._without, self._with):
            held.pop(session.id, None)
        await self._forget(session)

    async def _add(self, held: OrderedDict[str, Session], session: Session) -> None:
        held[session.id] = session
        await self._tidy(held)

    async def _tidy(self, held: OrderedDict[str, Session]) -> None:
        """End what was idle too long, and what is too many; the oldest come first."""
        until_s = self._now() - self._idle_s
        while held and (len(held) > self._most or next(iter(held.values())).used_s <= until_s):
            _, session = held.popitem(last=False)
            await self._forget(session)

    async def _forget(self, session: Session) -> None:
        token, session.token = session.token, None
        if token:
            await self._logout(token.text)
