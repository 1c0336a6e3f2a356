"""Credentials and tokens as rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from config.schema import Users as Rules
from storage import credentials, tables
from storage.database import Database
from storage.passwords import Attempt, Credential
from storage.tokens import Held, Untold

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULES = Rules(lock_after=3)
ANN = Credential("hash", NOW)
HELD = Held("ann", "api", "hash", NOW, NOW + timedelta(hours=1), 0.0)
WRONG = Attempt(NOW, False, "hash")


async def tokens_in(database: Database) -> set[str]:
    async with database.reading() as connection:
        return {row.sha256 async for rows in credentials.read_tokens(connection) for row in rows}


async def test_each_change_is_counted(database: Database) -> None:
    async with database.reading() as connection:
        assert await credentials.version(connection) == 0
    for number in (1, 2):
        async with database.writing() as connection:
            assert await credentials.count(connection) == number
            assert await credentials.version(connection) == number


async def test_what_is_written_is_read(database: Database) -> None:
    locked = Credential("hash", NOW, 3, NOW + timedelta(minutes=30))
    async with database.writing() as connection:
        await credentials.write(connection, "ann", locked)
        assert await credentials.read(connection) == {"ann": locked}
        await credentials.write(connection, "ann", ANN)
        assert await credentials.read(connection) == {"ann": ANN}


async def test_attempts_are_added_to_what_is_known_by_now(database: Database) -> None:
    async with database.writing() as connection:
        await credentials.write(connection, "ann", replace(ANN, failures=2))
        known = await credentials.write_attempts(
            connection, {"bob": [WRONG], "ann": [WRONG]}, RULES
        )
        assert {*known} == {"ann"} and known["ann"].is_locked(NOW)
        assert await credentials.read(connection) == known
        await credentials.unlock(connection, "ann")
        assert await credentials.read(connection) == {"ann": ANN}


async def test_tokens_are_stored_once_however_often_they_are_told(database: Database) -> None:
    async with database.writing() as connection:
        await credentials.write(connection, "ann", ANN)
    for _ in range(2):
        async with database.writing() as connection:
            await credentials.write_tokens(connection, Untold({"a": HELD, "b": HELD}, frozenset()))
    async with database.writing() as connection:
        await credentials.write_tokens(connection, Untold({}, frozenset({"b", "unknown"})))
    assert await tokens_in(database) == {"a"}


async def test_tokens_of_another_password_are_not_stored(database: Database) -> None:
    held = {"a": replace(HELD, password="older"), "b": replace(HELD, email="bob"), "c": HELD}
    async with database.writing() as connection:
        await credentials.write(connection, "ann", ANN)
        await credentials.write_tokens(connection, Untold(held, frozenset()))
    assert await tokens_in(database) == {"c"}


async def test_a_new_password_takes_the_tokens_with_it(database: Database) -> None:
    async with database.writing() as connection:
        await credentials.write(connection, "ann", ANN)
        await credentials.write_tokens(connection, Untold({"a": HELD}, frozenset()))
        await credentials.write(connection, "ann", replace(ANN, password="newer"))
    assert await tokens_in(database) == set()


async def test_many_tokens_are_read_in_parts(database: Database) -> None:
    held = {str(number): HELD for number in range(1200)}
    async with database.writing() as connection:
        await credentials.write(connection, "ann", ANN)
        await credentials.write_tokens(connection, Untold(held, frozenset()))
    async with database.reading() as connection:
        parts = [len(rows) async for rows in credentials.read_tokens(connection)]
    assert sum(parts) == 1200 and max(parts) <= 500


async def test_tidying_deletes_what_is_late_or_nobodys_and_nothing_else(database: Database) -> None:
    late = replace(HELD, expires_at=NOW)
    async with database.writing() as connection:
        for kind, key in (("users", "ann"), ("routes", "bob")):
            row = {"kind": kind, "key": key, "entry": "{}"}
            await connection.execute(insert(tables.directory).values(row))
        for email in ("ann", "bob"):
            await credentials.write(connection, email, ANN)
        held = {"a": HELD, "late": late, "bobs": replace(HELD, email="bob")}
        await credentials.write_tokens(connection, Untold(held, frozenset()))
        assert await credentials.tidy(connection, NOW)
        assert {*await credentials.read(connection)} == {"ann"}
        assert not await credentials.tidy(connection, NOW)
    assert await tokens_in(database) == {"a"}
