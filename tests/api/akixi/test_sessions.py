"""Sessions: how long they last, and how many there are."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from api.akixi.sessions import Sessions
from storage.entries import User
from storage.users import Token


@dataclass
class Room:
    """Sessions on a clock that is moved, and the logins they have ended."""

    most: int = 3
    now_s: float = 1000.0
    ended: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sessions = Sessions(60.0, self._logout, self.most, lambda: self.now_s)

    async def _logout(self, token: str) -> None:
        self.ended.append(token)

    async def logged_in(self, name: str) -> str:
        session = await self.sessions.create()
        await self.sessions.bind(session, Token(name, datetime.now(UTC), User(f"{name}@x", 1)))
        return session.id


async def test_ids_and_nonces_are_what_clients_expect() -> None:
    sessions = Room().sessions
    made = [await sessions.create() for _ in range(3)]
    assert all(re.fullmatch("[0-9A-F]{32}", each.id) for each in made)
    assert all(re.fullmatch("[0-9a-f]{32}", each.nonce) for each in made)
    assert len({each.id for each in made}) == 3


async def test_an_idle_session_ends_and_one_that_is_used_does_not() -> None:
    room = Room()
    idle, used = await room.logged_in("idle"), await room.logged_in("used")
    room.now_s += 59
    assert await room.sessions.find(used)
    room.now_s += 1
    assert await room.sessions.find(idle) is None
    assert room.ended == ["idle"]
    assert await room.sessions.find(used)
    room.now_s += 60
    assert await room.sessions.find(used) is None
    assert room.ended == ["idle", "used"]


async def test_a_login_takes_the_nonce_and_ends_the_login_before() -> None:
    room = Room()
    session = await room.sessions.create()
    for name in ("one", "two"):
        await room.sessions.bind(session, Token(name, datetime.now(UTC), User("a@x", 1)))
        assert session.nonce == ""
    assert room.ended == ["one"]
    assert await room.sessions.find(session.id) is session
    await room.sessions.end(session)
    assert room.ended == ["one", "two"]
    assert await room.sessions.find(session.id) is None


async def test_one_too_many_ends_the_one_that_was_idle_longest() -> None:
    room = Room()
    ids = [await room.logged_in(name) for name in "abc"]
    assert await room.sessions.find(ids[0])
    await room.logged_in("d")
    assert room.ended == ["b"]


async def test_a_flood_of_sessions_without_a_user_ends_none_with_one() -> None:
    room = Room()
    kept = await room.logged_in("kept")
    first = (await room.sessions.create()).id
    for _ in range(10):
        await room.sessions.create()
    assert await room.sessions.find(first) is None
    assert await room.sessions.find(kept)
    assert room.ended == []
