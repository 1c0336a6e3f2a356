"""Logging in, tokens, locks, and what becomes of them when the database or the clock plays up."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import func, select
from structlog.testing import capture_logs

from config.schema import Users as Rules
from storage import passwords, tables
from storage.database import Database
from storage.directory import Directory
from storage.entries import User
from storage.records import StorageUnavailable, UnknownEntry
from storage.users import (
    LoginRefused,
    PasswordExpired,
    Standing,
    TooManyLogins,
    Users,
    WeakPassword,
)
from tests.storage.conftest import locked
from tests.storage.people import PASSWORD, make_hashing_cheap, until, watching

NOW = datetime.now(UTC)
ANN = User("Ann@example.com", 1, "api")
EMAIL = ANN.email
RULES = Rules(lock_after=3, token_s=3600)
LOCK = timedelta(minutes=RULES.lock_minutes)


class Clock:
    """A monotonic clock that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Process:
    """Users as one process has them, with the directory they come from."""

    database: Database
    directory: Directory
    users: Users
    clock: Clock

    async def token(self, at: datetime = NOW) -> str:
        return (await self.users.login(EMAIL, PASSWORD, None, at)).text

    async def fail(self, times: int = 1, at: datetime = NOW) -> None:
        for _ in range(times):
            with pytest.raises(LoginRefused):
                await self.users.login(EMAIL, "wrong password", None, at)

    async def is_refused(self, at: datetime = NOW) -> bool:
        """Whether even the right password is."""
        try:
            await self.users.prove(EMAIL, PASSWORD, at)
        except LoginRefused:
            return True
        return False

    async def tell(self, **changes: Any) -> None:
        """Change Ann's entry."""
        await self.directory.put(replace(ANN, **changes))


async def process(url: str, rules: Rules = RULES) -> Process:
    database = Database(url)
    directory = Directory(database)
    clock = Clock()
    users = Users(database, directory, rules, clock)
    await directory.load()
    await users.load()
    return Process(database, directory, users, clock)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hashing_cheap(monkeypatch)


@pytest.fixture
async def here(url: str, short_waits: None) -> AsyncIterator[Process]:
    """A process, and Ann with a password."""
    started = await process(url)
    await started.directory.put(ANN)
    await started.users.set_password(EMAIL, PASSWORD, NOW)
    yield started
    await started.database.close()


@pytest.fixture
async def there(url: str, here: Process) -> AsyncIterator[Process]:
    """Another process on the same database, or the same after a restart."""
    started = await process(url)
    yield started
    await started.database.close()


@pytest.fixture
async def alone(path: Path, short_waits: None) -> AsyncIterator[Process]:
    """A process on a file that can be locked and taken away, and Ann with a password."""
    started = await process(f"sqlite:///{path}")
    await started.directory.put(ANN)
    await started.users.set_password(EMAIL, PASSWORD, NOW)
    yield started
    await started.database.close()


async def rows(here: Process, table: Any) -> int:
    async with here.database.reading() as connection:
        return await connection.scalar(select(func.count()).select_from(table)) or 0


# tokens


async def test_who_knows_the_password_gets_a_token(alone: Process) -> None:
    token = await alone.users.login("ANN@Example.com", PASSWORD, None, NOW)
    assert str(UUID(token.text)) == token.text and UUID(token.text).version == 4
    assert (token.user, token.expires_at) == (ANN, NOW + timedelta(hours=1))
    assert alone.users.check(token.text, NOW) == ANN
    assert token.text != await alone.token()


@pytest.mark.parametrize(("asked", "given"), [(None, 3600), (60, 60), (10**12, 3600)])
async def test_a_token_holds_as_long_as_was_asked_and_not_longer(
    alone: Process, asked: int | None, given: int
) -> None:
    token = await alone.users.login(EMAIL, PASSWORD, asked, NOW)
    end = NOW + timedelta(seconds=given)
    assert token.expires_at == end
    assert alone.users.check(token.text, end - timedelta(microseconds=1)) == ANN
    assert alone.users.check(token.text, end) is None


async def test_almost_a_token_is_none(alone: Process) -> None:
    token = await alone.token()
    fullwidth = "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in token)
    arabic = "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in token)
    cut = [token[:-1], token[1:], token[:8], token.replace("-", ""), f"{{{token}}}"]
    padded = [f" {token}", f"{token} ", f"{token}\n", f"{token}\0", token * 2, f"urn:uuid:{token}"]
    for wrong in ("", *cut, *padded, token.upper(), token.title(), fullwidth, arabic):
        assert alone.users.check(wrong, NOW) is None, wrong


async def test_random_tokens_are_never_let_in(alone: Process) -> None:
    await alone.token()
    assert not any(alone.users.check(str(uuid4()), NOW) for _ in range(100_000))


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_checked(token: str) -> None:
    database = Database("sqlite:///unused.db")
    assert Users(database, Directory(database), RULES).check(token, NOW) is None


async def test_only_a_digest_of_a_token_is_kept(here: Process, url: str, path: Path) -> None:
    token = await here.token()
    await here.users.save()
    assert await rows(here, tables.tokens) == 1
    await here.database.close()
    if url.startswith("sqlite"):
        octets = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert token.encode() not in octets and PASSWORD.encode() not in octets


async def test_tokens_outlive_the_process(here: Process, url: str) -> None:
    token = await here.token()
    await here.users.save()
    after = await process(url)
    assert after.users.check(token, NOW) == ANN
    await after.database.close()


async def test_a_clock_set_back_revives_no_token(alone: Process) -> None:
    token = await alone.token()
    alone.clock.now += 3599
    assert alone.users.check(token, NOW - timedelta(days=1)) == ANN
    alone.clock.now += 1
    assert alone.users.check(token, NOW - timedelta(days=1)) is None


async def test_nor_does_one_set_back_while_we_were_down(here: Process, there: Process) -> None:
    token = await here.token(NOW + timedelta(days=30))
    await here.users.save()
    await there.users.load()
    there.clock.now += 3599
    assert there.users.check(token, NOW) == ANN
    there.clock.now += 1
    assert there.users.check(token, NOW) is None


async def test_reading_again_prolongs_no_token(here: Process) -> None:
    token = await here.token()
    await here.users.save()
    here.clock.now += 3599
    await here.users.load()
    assert here.users.check(token, NOW) == ANN
    here.clock.now += 1
    assert here.users.check(token, NOW) is None


async def test_a_hundred_tokens_are_enough(here: Process, there: Process) -> None:
    held = [await here.token(NOW + timedelta(seconds=second)) for second in range(101)]
    assert here.users.check(held[0], NOW) is None
    assert all(here.users.check(token, NOW) for token in held[1:])
    await here.users.save()
    assert await rows(here, tables.tokens) == 100


async def test_expired_tokens_are_forgotten(here: Process) -> None:
    old = await here.users.login(EMAIL, PASSWORD, 60, NOW - timedelta(minutes=5))
    new = await here.token()
    await here.users.save()
    async with watching(here.users):
        await until(lambda: not here.users._tokens.untold() and here.users._swept is not None)
    assert await rows(here, tables.tokens) == 1
    assert here.users._tokens.find(old.text) is None
    assert here.users.check(new, NOW) == ANN


# the end of tokens, way by way


async def log_out(here: Process, token: str) -> None:
    await here.users.logout(token)


async def remove(here: Process, token: str) -> None:
    await here.directory.remove("users", EMAIL)


async def disable(here: Process, token: str) -> None:
    await here.tell(enabled=False)


async def retype(here: Process, token: str) -> None:
    await here.tell(type="admin")


async def set_password(here: Process, token: str) -> None:
    await here.users.set_password(EMAIL, "another horse battery", NOW)


async def forget(here: Process, token: str) -> None:
    await here.users.forget(EMAIL)


ENDS = [log_out, remove, disable, retype, set_password, forget]


@pytest.mark.parametrize("end", ENDS)
async def test_what_ends_a_token_ends_it_here_at_once_and_elsewhere_soon(
    here: Process, there: Process, end: Any
) -> None:
    token = await here.token()
    await here.users.save()
    await there.users.load()
    assert there.users.check(token, NOW) == ANN
    async with watching(here.users, there.users), asyncio.TaskGroup() as group:
        follow = group.create_task(there.directory.watch(0.02))
        await end(here, token)
        assert here.users.check(token, NOW) is None
        await until(lambda: there.users.check(token, NOW) is None)
        follow.cancel()


@pytest.mark.parametrize("end", [disable, retype])
async def test_taking_the_change_back_does_not_revive_the_token(
    here: Process, there: Process, end: Any
) -> None:
    token = await here.token()
    await here.users.save()
    await end(here, token)
    async with watching(here.users):
        await until(lambda: here.users._swept is here.directory.entries.users)
        await here.tell(enabled=True, type="api")
        assert here.users.check(token, NOW) is None
    await there.directory.load()
    await there.users.load()
    assert there.users.check(token, NOW) is None


async def test_a_user_who_comes_back_after_removal_has_no_password(here: Process) -> None:
    token = await here.token()
    await here.directory.remove("users", EMAIL)
    async with watching(here.users):
        await until(lambda: EMAIL.lower() not in here.users._credentials)
    assert await rows(here, tables.credentials) == 0
    await here.directory.put(ANN)
    assert here.users.check(token, NOW) is None
    assert await here.is_refused()


async def test_users_and_tokens_of_others_stay_when_one_is_removed(
    here: Process, there: Process
) -> None:
    await here.directory.put(User("bob@example.com", 1))
    await here.users.set_password("bob@example.com", PASSWORD, NOW)
    bobs = await here.users.login("bob@example.com", PASSWORD, None, NOW)
    await here.directory.remove("users", EMAIL)
    async with watching(here.users):
        await until(lambda: EMAIL.lower() not in here.users._credentials)
    await there.directory.load()
    await there.users.load()
    for process in (here, there):
        assert process.users.check(bobs.text, NOW) == bobs.user


async def test_a_token_of_a_user_just_made_elsewhere_is_not_ended_here(
    here: Process, there: Process
) -> None:
    """`there` hears of token and password before it hears of the user."""
    await here.directory.put(User("bob@example.com", 1))
    await here.users.set_password("bob@example.com", PASSWORD, NOW)
    token = (await here.users.login("bob@example.com", PASSWORD, None, NOW)).text
    await here.users.save()
    async with watching(there.users):
        await until(lambda: there.users._tokens.find(token))
        assert there.users.check(token, NOW) is None
        there.clock.now += 61  # until the next look for what is over
        await until(lambda: there.users._tidied_s == there.clock.now)
    await there.directory.load()
    assert there.users.check(token, NOW) is not None


async def test_moving_to_another_account_keeps_the_token(alone: Process) -> None:
    token = await alone.token()
    await alone.tell(permissions=["control"])
    found = alone.users.check(token, NOW)
    assert found is not None and found.permissions == ["control"]


# passwords


async def test_an_old_password_gets_no_token_and_ends_those_there_are(alone: Process) -> None:
    old = NOW + timedelta(days=RULES.password_days)
    token = (await alone.users.login(EMAIL, PASSWORD, None, old - timedelta(minutes=1))).text
    assert alone.users.check(token, old - timedelta(seconds=1)) == ANN
    assert alone.users.check(token, old) is None
    with pytest.raises(PasswordExpired):
        await alone.users.login(EMAIL, PASSWORD, None, old)
    await alone.fail(at=old)
    await alone.users.set_password(EMAIL, "another horse battery", old)
    assert await alone.users.login(EMAIL, "another horse battery", None, old)


async def test_passwords_of_some_users_never_get_too_old(alone: Process) -> None:
    await alone.tell(password_expires=False)
    assert await alone.token(NOW + timedelta(days=10_000))


async def test_only_users_of_the_directory_get_a_password(alone: Process) -> None:
    with pytest.raises(UnknownEntry, match="nobody@example"):
        await alone.users.set_password("nobody@example.com", PASSWORD, NOW)
    with pytest.raises(WeakPassword):
        await alone.users.set_password(EMAIL, "short", NOW)
    assert not await alone.is_refused()


async def test_a_new_password_holds_elsewhere_too(here: Process, there: Process) -> None:
    await here.users.set_password(EMAIL, "another horse battery", NOW)
    async with watching(there.users):
        async with asyncio.timeout(20):
            while not await there.is_refused():
                await asyncio.sleep(0.01)
    assert await there.users.login(EMAIL, "another horse battery", None, NOW)


# locks


async def test_the_last_failure_allowed_locks_and_not_one_before(alone: Process) -> None:
    await alone.fail(2)
    await alone.token()
    await alone.fail(2)
    assert not await alone.is_refused()
    await alone.fail(3)
    assert await alone.is_refused()


async def test_ten_failures_lock_for_half_an_hour_by_default(here: Process, url: str) -> None:
    usual = await process(url, Rules())
    await usual.fail(9)
    assert usual.users.standing(EMAIL, NOW).locked_until is None
    await usual.fail()
    assert await usual.is_refused(NOW + timedelta(minutes=29, seconds=59))
    assert not await usual.is_refused(NOW + timedelta(minutes=30))
    await usual.database.close()


async def test_a_lock_ends_by_itself_whatever_was_tried_meanwhile(alone: Process) -> None:
    await alone.fail(3)
    await alone.fail(5, NOW + LOCK - timedelta(seconds=1))
    assert await alone.is_refused(NOW + LOCK - timedelta(seconds=1))
    assert not await alone.is_refused(NOW + LOCK)


async def test_a_lock_ends_by_unlocking_and_by_a_new_password(here: Process) -> None:
    await here.fail(3)
    await here.users.unlock("ann@EXAMPLE.com")
    assert not await here.is_refused()
    await here.fail(3)
    await here.users.set_password(EMAIL, PASSWORD, NOW)
    assert not await here.is_refused()
    with pytest.raises(UnknownEntry):
        await here.users.unlock("nobody@example.com")


async def test_tokens_outlive_a_lock_and_a_hundred_failures(alone: Process) -> None:
    token = await alone.token()
    await alone.fail(100)
    assert await alone.is_refused()
    assert alone.users.check(token, NOW) == ANN
    await alone.users.save()
    await alone.users.load()
    assert alone.users.check(token, NOW) == ANN


async def test_failures_and_locks_outlive_the_process(here: Process, url: str) -> None:
    await here.fail(2)
    await here.users.save()
    second = await process(url)
    await second.fail()
    await second.users.save()
    third = await process(url)
    assert await third.is_refused()
    assert third.users.standing(EMAIL, NOW).locked_until == NOW + LOCK
    await third.users.unlock(EMAIL)
    fourth = await process(url)
    assert not await fourth.is_refused()
    for each in (second, third, fourth):
        await each.database.close()


async def test_a_failure_is_told_once(here: Process, there: Process) -> None:
    await here.fail()
    for _ in range(3):
        await here.users.save()
        await here.users.load()
    await there.users.load()
    for process in (here, there):
        await process.fail()
        assert process.users.standing(EMAIL, NOW).locked_until is None


def is_locked(users: Users) -> bool:
    return users.standing(EMAIL, NOW).locked_until is not None


async def test_failures_in_several_processes_add_up(here: Process, there: Process) -> None:
    async with watching(here.users, there.users):
        await here.fail()
        await there.fail(2)
        for process in (here, there):
            users = process.users
            await until(partial(is_locked, users))
    assert await here.is_refused() and await there.is_refused()


async def test_of_many_guesses_at_once_only_so_many_count(alone: Process) -> None:
    guesses = [f"guess {number} at it" for number in range(12)] + [PASSWORD]
    results = await asyncio.gather(
        *(alone.users.prove(EMAIL, guess, NOW) for guess in guesses), return_exceptions=True
    )
    assert all(isinstance(result, LoginRefused) for result in results)


async def test_a_guess_that_waited_for_its_turn_is_not_held_to_another_password(
    alone: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = passwords.Hasher.verify

    async def change(self: passwords.Hasher, known: str | None, password: str) -> bool:
        right = await verify(self, known, password)
        await alone.users.set_password(EMAIL, "another horse battery", NOW)
        return right

    monkeypatch.setattr(passwords.Hasher, "verify", change)
    with pytest.raises(LoginRefused):
        await alone.users.login(EMAIL, PASSWORD, None, NOW)


async def test_the_lock_is_told_to_operators_once_and_names_no_password(alone: Process) -> None:
    with capture_logs() as logs:
        await alone.fail(20)
    assert [entry["event"] for entry in logs] == ["user_locked"]
    assert logs[0]["user"] == EMAIL.lower() and "wrong password" not in str(logs)


# nobody learns who there is


@pytest.fixture
async def people(alone: Process) -> dict[str, str]:
    """Somebody of each kind that is refused."""
    for name in ("locked", "disabled", "passwordless"):
        await alone.directory.put(User(f"{name}@example.com", 1))
    for name in ("locked", "disabled"):
        await alone.users.set_password(f"{name}@example.com", PASSWORD, NOW)
    await alone.directory.put(User("disabled@example.com", 1, enabled=False))
    for _ in range(3):
        with pytest.raises(LoginRefused):
            await alone.users.login("locked@example.com", "wrong", None, NOW)
    names = ("locked", "disabled", "passwordless", "unknown")
    return {name: f"{name}@example.com" for name in names} | {"known": EMAIL}


async def test_every_refusal_reads_the_same_and_costs_one_verification(
    alone: Process, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verified, verify = list[str](), PasswordHasher.verify

    def count(self: PasswordHasher, known: str, password: bytes) -> bool:
        verified.append(known)
        return verify(self, known, password)

    monkeypatch.setattr(PasswordHasher, "verify", count)
    for name, email in people.items():
        for password in ("wrong", "x" * 1001, "", "\udcff"):
            if name == "known":
                await alone.users.unlock(EMAIL)
            verified.clear()
            with pytest.raises(LoginRefused) as caught:
                await alone.users.login(email, password, None, NOW)
            assert len(verified) == 1, name
            assert str(caught.value) == "wrong e-mail address or password"
    for name in ("locked", "disabled", "passwordless", "unknown"):
        verified.clear()
        with pytest.raises(LoginRefused):
            await alone.users.login(people[name], PASSWORD, None, NOW)
        assert len(verified) == 1, name


async def test_every_refusal_takes_the_same_work(
    alone: Process, people: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Times are printed; what is asserted is that all are checked against equal work."""
    medians = {}
    for name, email in people.items():
        times = []
        for _ in range(5):
            began = time.perf_counter()
            with pytest.raises(LoginRefused):
                await alone.users.login(email, "wrong", None, NOW)
            times.append(time.perf_counter() - began)
        medians[name] = round(statistics.median(times) * 1000, 2)
    with capsys.disabled():
        print(f"\nmedian ms of a refused login (cheap hashes): {medians}")
    nobodys = alone.users._hasher._nobodys
    known = alone.users._credentials[EMAIL.lower()].password
    assert nobodys.rsplit("$", 2)[0] == known.rsplit("$", 2)[0]


# without the database


async def restarted(alone: Process, path: Path) -> Process:
    await alone.database.close()
    return await process(f"sqlite:///{path}")


@contextmanager
def gone(path: Path) -> Iterator[None]:
    """The file is not there."""
    away = path.with_name("away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


@pytest.mark.parametrize("trouble", [locked, gone])
async def test_logins_go_on_without_the_database_which_is_told_later(
    alone: Process, path: Path, trouble: Any
) -> None:
    known = await alone.token()
    await alone.users.save()
    with capture_logs() as logs:
        async with watching(alone.users):
            with trouble(path):
                token = await alone.token()
                await alone.fail(3)
                assert await alone.is_refused()
                assert alone.users.check(token, NOW) == alone.users.check(known, NOW) == ANN
                await alone.users.logout(known)
                await until(lambda: said(logs, "users_unavailable"))
                with pytest.raises(StorageUnavailable):
                    await alone.users.save()
            await until(lambda: said(logs, "users_available"))
    after = await restarted(alone, path)
    assert after.users.check(token, NOW) == ANN
    assert after.users.check(known, NOW) is None
    assert await after.is_refused()
    assert len(logs) == 3
    await after.database.close()


def said(logs: list[Any], event: str) -> bool:
    return event in [entry["event"] for entry in logs]


async def test_a_start_without_the_database_is_made_up_for(alone: Process, path: Path) -> None:
    token = await alone.token()
    await alone.users.save()
    late = Users(alone.database, alone.directory, RULES)
    with gone(path), pytest.raises(StorageUnavailable):
        await late.load()
    assert late.check(token, NOW) is None
    async with watching(late):
        await until(lambda: late.check(token, NOW) == ANN)


async def test_what_was_counted_without_the_database_is_added_to_what_it_knows(
    alone: Process, path: Path
) -> None:
    other = await process(f"sqlite:///{path}")
    with locked(path):
        await alone.fail(1)
    await other.fail(1)
    await other.users.save()
    assert alone.users.standing(EMAIL, NOW).locked_until is None
    await alone.users.save()
    await alone.fail(1)
    assert await alone.is_refused()
    await other.database.close()


async def test_a_token_given_without_the_database_ends_with_a_password_changed_elsewhere(
    alone: Process, path: Path
) -> None:
    other = await process(f"sqlite:///{path}")
    token = await alone.token()
    await other.users.set_password(EMAIL, "another horse battery", NOW)
    await alone.users.save()
    assert await rows(alone, tables.tokens) == 0
    async with watching(alone.users):
        await until(lambda: alone.users.check(token, NOW) is None)
    await other.database.close()


async def test_a_password_that_was_not_stored_does_not_hold(alone: Process, path: Path) -> None:
    token = await alone.token()
    with locked(path), pytest.raises(StorageUnavailable):
        await alone.users.set_password(EMAIL, "another horse battery", NOW)
    assert alone.users.check(token, NOW) == ANN
    assert not await alone.is_refused()


async def test_what_waits_for_the_database_is_bounded(alone: Process, path: Path) -> None:
    with locked(path):
        for minute in range(0, 3 * 24 * 60, 10):
            at = NOW + timedelta(minutes=minute)
            await alone.token(at) if minute % 100 else await alone.fail(2, at)
    untold = alone.users._tokens.untold()
    assert len(untold.given) <= 100 and len(alone.users._attempts[EMAIL.lower()]) <= 100


async def test_a_login_is_never_kept_waiting_by_the_database(
    alone: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a login asked the database")

    monkeypatch.setattr(Database, "reading", refuse)
    monkeypatch.setattr(Database, "writing", refuse)
    assert await alone.token()
    await alone.fail(4)


async def test_too_many_logins_at_once_are_turned_away(
    alone: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "WAITING", 3)
    results = await asyncio.gather(
        *(alone.users.login(EMAIL, PASSWORD, None, NOW) for _ in range(20)), return_exceptions=True
    )
    assert [isinstance(result, TooManyLogins) for result in results] == [False] * 5 + [True] * 15
    assert alone.users.standing(EMAIL, NOW).locked_until is None


async def test_standing_says_what_is_in_the_way(here: Process) -> None:
    expires_at = NOW + timedelta(days=RULES.password_days)
    assert here.users.standing(EMAIL, NOW) == Standing(True, None, expires_at)
    await here.fail(3)
    assert here.users.standing(EMAIL, NOW) == Standing(True, NOW + LOCK, expires_at)
    assert here.users.standing(EMAIL, NOW + LOCK).locked_until is None
    await here.tell(password_expires=False)
    assert here.users.standing(EMAIL, NOW).expires_at is None
    await here.users.forget(EMAIL)
    assert here.users.standing(EMAIL, NOW) == Standing()
    with pytest.raises(UnknownEntry):
        here.users.standing("nobody@example.com", NOW)
