import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from storage.database import Database
from storage.keys import ROLES, ApiKeys
from storage.records import StorageError, StorageUnavailable, UnknownEntry
from tests.storage.conftest import locked
from tests.storage.people import until, watching


@pytest.fixture
async def keys(database: Database) -> ApiKeys:
    await database.migrate()
    return ApiKeys(database)


@pytest.fixture
async def elsewhere(url: str) -> AsyncIterator[ApiKeys]:
    """The same keys as another process sees them."""
    database = Database(url)
    yield ApiKeys(database)
    await database.close()


@pytest.fixture
async def alone(path: Path, short_waits: None) -> AsyncIterator[ApiKeys]:
    """Keys in a file that can be locked and taken away."""
    database = Database(f"sqlite:///{path}")
    await database.migrate()
    yield ApiKeys(database)
    await database.close()


def take_away(path: Path) -> None:
    path.rename(path.with_name("away"))


@pytest.mark.parametrize("role", ROLES)
async def test_a_new_key_is_known_at_once(alone: ApiKeys, role: str) -> None:
    token = await alone.add("ann", role)
    assert re.fullmatch(r"srs_[A-Za-z0-9_-]{43}", token)
    found = alone.check(token)
    assert found is not None
    assert (found.name, found.role) == ("ann", role)
    assert await alone.count() == 1


async def test_a_key_belongs_to_an_account(keys: ApiKeys, elsewhere: ApiKeys) -> None:
    first, second = await keys.add("ann", "admin"), await keys.add("bob", "control", 100)
    await elsewhere.load()
    for each in (keys, elsewhere):
        accounts = [key.account for key in map(each.check, (first, second)) if key]
        assert accounts == [1, 100]


async def test_keys_are_listed_by_name_as_the_database_has_them(
    keys: ApiKeys, elsewhere: ApiKeys
) -> None:
    assert await keys.list() == ()
    await keys.add("bob", "admin")
    await elsewhere.add("ann", "control", 100)
    listed = [(key.name, key.role, key.account) for key in await keys.list()]
    assert listed == [("ann", "control", 100), ("bob", "admin", 1)]


async def test_a_removed_key_is_none_here_at_once_and_elsewhere_soon(
    keys: ApiKeys, elsewhere: ApiKeys
) -> None:
    gone, stays = await keys.add("gone", "admin"), await keys.add("stays", "admin")
    await elsewhere.load()
    async with watching(elsewhere):
        await keys.remove("gone")
        assert keys.check(gone) is None
        await until(lambda: elsewhere.check(gone) is None)
    for each in (keys, elsewhere):
        assert each.check(stays) is not None
    assert [key.name for key in await elsewhere.list()] == ["stays"]


async def test_only_what_is_there_can_be_removed(keys: ApiKeys) -> None:
    await keys.add("ann", "admin")
    with pytest.raises(UnknownEntry, match="'Ann'"):
        await keys.remove("Ann")
    assert await keys.count() == 1


async def test_a_key_that_could_not_be_removed_still_works(alone: ApiKeys, path: Path) -> None:
    token = await alone.add("ann", "admin")
    with locked(path), pytest.raises(StorageUnavailable):
        await alone.remove("ann")
    assert alone.check(token) is not None


async def test_watching_goes_on_when_the_database_comes_back(alone: ApiKeys, path: Path) -> None:
    old = await alone.add("old", "admin")
    async with watching(alone):
        take_away(path)
        with pytest.raises(StorageUnavailable):
            await alone.count()
        assert alone.check(old) is not None
        path.with_name("away").rename(path)
        other = Database(f"sqlite:///{path}")
        new = await ApiKeys(other).add("new", "control")
        await other.close()
        await until(lambda: alone.check(new) is not None)


async def test_keys_differ(keys: ApiKeys) -> None:
    assert await keys.add("ann", "admin") != await keys.add("bob", "admin")
    assert await keys.count() == 2


async def test_only_the_digest_is_kept(alone: ApiKeys, path: Path) -> None:
    token = await alone.add("ann", "admin")
    octets = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert hashlib.sha256(token.encode()).hexdigest().encode() in octets
    assert token.removeprefix("srs_").encode() not in octets


async def test_keys_outlive_the_process(keys: ApiKeys, elsewhere: ApiKeys) -> None:
    token = await keys.add("ann", "operator")
    assert elsewhere.check(token) is None
    await elsewhere.load()
    assert elsewhere.check(token) == keys.check(token)


async def test_refresh_finds_added_keys_and_drops_removed_ones(
    keys: ApiKeys, elsewhere: ApiKeys
) -> None:
    old = await keys.add("old", "admin")
    new = await elsewhere.add("new", "control")
    await elsewhere.remove("old")
    assert await keys.refresh()
    assert keys.check(new) is not None
    assert keys.check(old) is None


async def test_known_keys_work_without_a_database(alone: ApiKeys, path: Path) -> None:
    token = await alone.add("ann", "admin")
    take_away(path)
    assert not await alone.refresh()
    assert alone.check(token) is not None
    with pytest.raises(StorageUnavailable):
        await alone.load()
    with pytest.raises(StorageUnavailable):
        await alone.count()


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
async def test_unknown_roles_are_refused(alone: ApiKeys, role: str) -> None:
    with pytest.raises(StorageError, match="role: "):
        await alone.add("ann", role)
    assert await alone.count() == 0


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00", "\udcff", "a" * 101])
async def test_unusable_names_are_refused(alone: ApiKeys, name: str) -> None:
    with pytest.raises(StorageError, match="name: "):
        await alone.add(name, "admin")


async def test_a_key_that_was_not_stored_does_not_work(alone: ApiKeys, path: Path) -> None:
    with locked(path), pytest.raises(StorageUnavailable):
        await alone.add("ann", "admin")
    assert await alone.count() == 0
    assert alone._keys == {}


async def test_almost_a_key_is_none(alone: ApiKeys) -> None:
    token = await alone.add("ann", "admin")
    for wrong in (
        "",
        token[:-1],
        token + "A",
        token.upper(),
        f" {token}",
        token.removeprefix("srs_"),
    ):
        assert alone.check(wrong) is None


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_checked(token: str) -> None:
    assert ApiKeys(Database("sqlite:///unused.db")).check(token) is None


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Something else is where the database was."""
    away = path.with_name("unreadable")
    path.rename(away)
    path.mkdir()
    yield
    path.rmdir()
    away.rename(path)


async def test_a_start_without_the_database_knows_the_keys_of_last_time(
    path: Path, tmp_path: Path, short_waits: None
) -> None:
    cache = tmp_path / "keys"
    database = Database(f"sqlite:///{path}")
    keys = ApiKeys(database, cache)
    kept, gone = await keys.add("ann", "control", 100), await keys.add("bob", "admin")
    await keys.remove("bob")
    assert cache.stat().st_mode & 0o777 == 0o600
    assert kept.encode() not in cache.read_bytes()
    await database.close()
    started = ApiKeys(database, cache)
    with unreadable(path):
        with pytest.raises(StorageUnavailable):
            await started.load()
        found = started.check(kept)
        assert found and (found.name, found.role, found.account) == ("ann", "control", 100)
        assert started.check(gone) is None
    late = await ApiKeys(database).add("eve", "operator")
    await started.load()
    assert started.check(late) and started.check(kept)
    await database.close()


@pytest.mark.parametrize("octets", [b"", b"[", b"{}", b'[{"name": 1}]', b"\xff", b"[" * 100_000])
async def test_a_damaged_cache_admits_nobody_and_is_no_obstacle(
    path: Path, tmp_path: Path, short_waits: None, octets: bytes
) -> None:
    cache = tmp_path / "keys"
    cache.write_bytes(octets)
    database = Database(f"sqlite:///{path}")
    await database.migrate()
    keys = ApiKeys(database, cache)
    await database.close()
    with unreadable(path), pytest.raises(StorageUnavailable):
        await keys.load()
    token = await keys.add("ann", "admin")
    assert keys.check(token)
    assert b"ann" in cache.read_bytes()
    await database.close()


async def test_a_link_in_place_of_the_cache_is_not_followed(
    alone: ApiKeys, path: Path, tmp_path: Path
) -> None:
    target, cache = tmp_path / "target", tmp_path / "keys"
    target.write_text("precious")
    (tmp_path / "keys.part").symlink_to(target)
    database = Database(f"sqlite:///{path}")
    await ApiKeys(database, cache).add("ann", "admin")
    assert target.read_text() == "precious" and not cache.is_symlink()
    await database.close()


async def test_a_cache_that_could_not_be_written_is_written_later(
    path: Path, tmp_path: Path
) -> None:
    """A key that was taken back while the disk was full must not come back with a restart."""
    folder = tmp_path / "spool"
    folder.mkdir()
    database = Database(f"sqlite:///{path}")
    keys = ApiKeys(database, folder / "keys")
    await keys.add("ann", "admin")
    folder.rename(tmp_path / "away")
    with capture_logs() as logs:
        await keys.remove("ann")
        await keys.load()
        await keys.load()
    assert [line["event"] for line in logs] == ["keys_cache_failed"]
    (tmp_path / "away").rename(folder)
    await keys.load()
    assert (folder / "keys").read_bytes() == b"[]"
    await database.close()
