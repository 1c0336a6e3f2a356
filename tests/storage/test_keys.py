import hashlib
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.database import Database
from storage.keys import ROLES, ApiKeys
from storage.records import StorageError, StorageUnavailable
from tests.storage.conftest import locked


@pytest.fixture
async def keys(database: Database) -> ApiKeys:
    await database.migrate()
    return ApiKeys(database)


@pytest.fixture
async def elsewhere(path: Path) -> AsyncIterator[ApiKeys]:
    """The same keys as another process sees them."""
    database = Database(f"sqlite:///{path}")
    yield ApiKeys(database)
    await database.close()


def take_away(path: Path) -> None:
    path.rename(path.with_name("away"))


@pytest.mark.parametrize("role", ROLES)
async def test_a_new_key_is_known_at_once(keys: ApiKeys, role: str) -> None:
    token = await keys.add("ann", role)
    assert re.fullmatch(r"srs_[A-Za-z0-9_-]{43}", token)
    found = keys.check(token)
    assert found is not None
    assert (found.name, found.role) == ("ann", role)
    assert await keys.count() == 1


async def test_keys_differ(keys: ApiKeys) -> None:
    assert await keys.add("ann", "admin") != await keys.add("bob", "admin")
    assert await keys.count() == 2


async def test_only_the_digest_is_kept(keys: ApiKeys, database: Database, path: Path) -> None:
    token = await keys.add("ann", "admin")
    await database.close()
    octets = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert hashlib.sha256(token.encode()).hexdigest().encode() in octets
    assert token.removeprefix("srs_").encode() not in octets


async def test_keys_outlive_the_process(keys: ApiKeys, elsewhere: ApiKeys) -> None:
    token = await keys.add("ann", "operator")
    assert elsewhere.check(token) is None
    await elsewhere.load()
    assert elsewhere.check(token) == keys.check(token)


async def test_refresh_finds_added_keys_and_drops_removed_ones(
    keys: ApiKeys, elsewhere: ApiKeys, path: Path
) -> None:
    old = await keys.add("old", "admin")
    new = await elsewhere.add("new", "control")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM api_keys WHERE name = 'old'")
        connection.commit()
    assert await keys.refresh()
    assert keys.check(new) is not None
    assert keys.check(old) is None


async def test_known_keys_work_without_a_database(keys: ApiKeys, path: Path) -> None:
    token = await keys.add("ann", "admin")
    take_away(path)
    assert not await keys.refresh()
    assert keys.check(token) is not None
    with pytest.raises(StorageUnavailable):
        await keys.load()
    with pytest.raises(StorageUnavailable):
        await keys.count()


async def test_a_name_is_given_once(keys: ApiKeys, elsewhere: ApiKeys) -> None:
    token = await keys.add("ann", "control")
    with pytest.raises(StorageError, match="there is a key 'ann' already"):
        await elsewhere.add("ann", "admin")
    await keys.load()
    found = keys.check(token)
    assert found is not None
    assert found.role == "control"
    assert await keys.count() == 1


@pytest.mark.parametrize("role", ["", "Admin", "root", "system"])
async def test_unknown_roles_are_refused(keys: ApiKeys, role: str) -> None:
    with pytest.raises(StorageError, match="role: "):
        await keys.add("ann", role)
    assert await keys.count() == 0


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00", "\udcff", "a" * 101])
async def test_unusable_names_are_refused(keys: ApiKeys, name: str) -> None:
    with pytest.raises(StorageError, match="name: "):
        await keys.add(name, "admin")


async def test_a_key_that_was_not_stored_does_not_work(keys: ApiKeys, path: Path) -> None:
    with locked(path), pytest.raises(StorageUnavailable):
        await keys.add("ann", "admin")
    assert await keys.count() == 0
    assert keys._keys == {}


async def test_almost_a_key_is_none(keys: ApiKeys) -> None:
    token = await keys.add("ann", "admin")
    for wrong in (
        "",
        token[:-1],
        token + "A",
        token.upper(),
        f" {token}",
        token.removeprefix("srs_"),
    ):
        assert keys.check(wrong) is None


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_checked(token: str) -> None:
    assert ApiKeys(Database("sqlite:///unused.db")).check(token) is None
