"""Which passwords will do, what failed logins lead to, and hashing."""

import asyncio
import os
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from hypothesis import given
from hypothesis import strategies as st

from config.schema import Users as Rules
from storage import passwords
from storage.passwords import (
    AT_ONCE,
    LONGEST,
    WAITING,
    Attempt,
    Credential,
    Hasher,
    TooManyLogins,
    WeakPassword,
    check_password,
)
from tests.storage.people import make_hashing_cheap, until

EMAIL = "Payments-Desk@example.com"
RULES = Rules(lock_after=3)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LOCK = timedelta(minutes=30)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hashing_cheap(monkeypatch)


def fail(*minutes: float, password: str = "hash") -> list[Attempt]:
    return [Attempt(NOW + timedelta(minutes=at), False, password) for at in minutes]


@pytest.mark.parametrize("password", ["twelve chars", "ж" * 11 + "б", "a" + "b" * (LONGEST - 1)])
def test_passwords_that_will_do(password: str) -> None:
    check_password(password, EMAIL, RULES)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "at least 12"),
        ("eleven char", "at least 12"),
        ("e\u0301" * 11, "at least 12"),  # eleven letters with their accents apart
        ("a" + "b" * LONGEST, "at most 1000"),
        ("a" * 12, "repeated"),
        ("aA" * 6, "repeated"),
        ("aａ" * 6, "repeated"),
        (EMAIL, "e-mail"),
        (EMAIL.upper(), "e-mail"),
        ("payments-desk", "e-mail"),
        ("ｐayments-desk", "e-mail"),
        ("twelve chars\udcff", "UTF-8"),
    ],
)
def test_passwords_that_will_not_do(password: str, words: str) -> None:
    with pytest.raises(WeakPassword, match=words):
        check_password(password, EMAIL, RULES)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_a_password_or_a_weak_one(password: str) -> None:
    try:
        check_password(password, EMAIL, RULES)
    except WeakPassword as error:
        assert password not in str(error) or len(password) < 12


def test_a_lock_begins_with_the_last_failure_allowed_and_ends_by_itself() -> None:
    fresh = Credential("hash", NOW)
    twice = fresh.after(fail(0, 1), RULES)
    assert twice.failures == 2 and not twice.is_locked(NOW + timedelta(minutes=1))
    locked = twice.after(fail(2), RULES)
    end = NOW + timedelta(minutes=2) + LOCK
    assert locked.is_locked(end - timedelta(microseconds=1)) and not locked.is_locked(end)


def test_attempts_during_a_lock_do_not_prolong_it() -> None:
    locked = Credential("hash", NOW).after(fail(0, 0, 0), RULES)
    assert locked.after(fail(1, 29.9), RULES) == locked
    assert locked.after([Attempt(NOW, True, "hash")], RULES) == locked


def test_after_a_lock_counting_begins_anew() -> None:
    locked = Credential("hash", NOW).after(fail(0, 0, 0), RULES)
    once = locked.after(fail(30), RULES)
    assert (once.failures, once.locked_until) == (1, None)
    assert once.after(fail(31, 32), RULES).is_locked(NOW + timedelta(minutes=33))


def test_a_success_ends_the_row_of_failures() -> None:
    twice = Credential("hash", NOW).after(fail(0, 0), RULES)
    assert twice.after([Attempt(NOW, True, "hash")], RULES) == Credential("hash", NOW)


def test_attempts_against_another_password_do_not_count() -> None:
    fresh = Credential("hash", NOW)
    assert fresh.after(fail(0, 0, 0, password="older"), RULES) == fresh


@given(st.lists(st.tuples(st.integers(0, 120), st.booleans()), max_size=40))
def test_nobody_gets_more_tries_than_there_are(tries: list[tuple[int, bool]]) -> None:
    credential, checked = Credential("hash", NOW), list[tuple[int, bool]]()
    for minute, right in sorted(tries):
        at = NOW + timedelta(minutes=minute)
        if not credential.is_locked(at):
            checked.append((minute, right))
        credential = credential.after([Attempt(at, right, "hash")], RULES)
    for first, (minute, _) in enumerate(checked):
        run = [right for later, right in checked[first:] if later < minute + 30]
        assert True in run[:6] or len(run) <= 2 * RULES.lock_after


def test_a_password_gets_too_old_unless_none_does() -> None:
    assert Credential("hash", NOW).expires_at(Rules(password_days=2)) == NOW + timedelta(days=2)
    assert Credential("hash", NOW).expires_at(Rules(password_days=0)) is None


async def test_hashes_are_argon2id_of_rfc_9106() -> None:
    digest = await Hasher().hash("correct horse")
    assert extract_parameters(digest) == RFC_9106_LOW_MEMORY
    assert extract_parameters(passwords._random_hash()) == RFC_9106_LOW_MEMORY
    assert re.fullmatch(r"\$argon2id\$v=19\$m=65536,t=3,p=4\$[^$]{22}\$[^$]{43}", digest)


async def test_a_hash_is_of_its_password_only(cheap: None) -> None:
    hasher = Hasher()
    digest = await hasher.hash("correct horse")
    assert digest != await hasher.hash("correct horse")
    assert await hasher.verify(digest, "correct horse")
    for wrong in ("correct horsf", "", "correct horse ", "Correct horse", "\udcff", "x" * 70_000):
        assert not await hasher.verify(digest, wrong)
    assert not await hasher.verify(None, "correct horse")
    assert not await hasher.verify("damaged", "correct horse")


async def test_however_the_same_characters_are_typed(cheap: None) -> None:
    hasher = Hasher()
    assert await hasher.verify(await hasher.hash("cafe\u0301 ｈorse"), "caf\u00e9 horse")


async def test_more_than_the_longest_password_is_never_cut_to_fit(cheap: None) -> None:
    hasher = Hasher()
    for password in ("", "b" * LONGEST):
        digest = await hasher.hash(password)
        assert not await hasher.verify(digest, password + "b" * (LONGEST + 1))


async def test_so_many_wait_and_no_more(cheap: None, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, running = threading.Event(), list[str]()

    def wait(self: PasswordHasher, known: str, password: bytes) -> bool:
        running.append(threading.current_thread().name)
        gate.wait(20)
        return True

    monkeypatch.setattr(PasswordHasher, "verify", wait)
    hasher = Hasher()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(hasher.verify("known", "password"))
                for _ in range(AT_ONCE + WAITING)
            ]
            await until(lambda: len(running) == AT_ONCE)
            with pytest.raises(TooManyLogins):
                await hasher.verify("known", "password")
            gate.set()
    finally:
        gate.set()
    assert len(set(running)) == AT_ONCE
    assert all(task.result() for task in tasks)
    assert await hasher.verify("known", "password")


async def test_hashing_gives_way_to_media(cheap: None, monkeypatch: pytest.MonkeyPatch) -> None:
    niceness = list[int]()

    def look(self: PasswordHasher, known: str, password: bytes) -> bool:
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return True

    monkeypatch.setattr(PasswordHasher, "verify", look)
    await Hasher().verify("known", "password")
    assert niceness[0] == os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + 5
