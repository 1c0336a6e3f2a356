"""`siprecd apikey`, as typed."""

import asyncio
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from siprec.cli import main
from storage.database import Database
from storage.directory import Directory
from storage.entries import Account
from storage.keys import ApiKeys
from storage.records import ApiKey
from tests.storage.conftest import locked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where there is a configuration, and an account 100."""
    (tmp_path / "srs.toml").write_text(f'[storage]\ndatabase = "sqlite:///{tmp_path}/srs.db"\n')

    async def prepare() -> None:
        database = Database(f"sqlite:///{tmp_path}/srs.db")
        await Directory(database).put(Account(100))
        await database.close()

    asyncio.run(prepare())
    return tmp_path


def apikey(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["apikey", *words, "--config", str(folder / "srs.toml")])


def refused(folder: Path, *words: str) -> str:
    """The one line a command fails with."""
    result = apikey(folder, *words)
    assert result.exit_code == 1 and not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("siprecd: ")
    return line


def key_of(folder: Path, token: str) -> ApiKey | None:
    """What a server on the same database takes the token for."""

    async def check() -> ApiKey | None:
        database = Database(f"sqlite:///{folder}/srs.db")
        keys = ApiKeys(database)
        await keys.load()
        await database.close()
        return keys.check(token)

    return asyncio.run(check())


@pytest.mark.parametrize(("words", "account"), [((), 1), (("--account", "100"), 100)])
def test_a_key_is_printed_once_and_works(
    folder: Path, words: tuple[str, ...], account: int
) -> None:
    result = apikey(folder, "add", "desk", "--role", "operator", *words)
    assert result.exit_code == 0
    token = result.output.splitlines()[-1]
    found = key_of(folder, token)
    assert found is not None
    assert (found.name, found.role, found.account) == ("desk", "operator", account)
    assert token not in apikey(folder, "list").output


def test_what_cannot_be_made_is_said_and_not_made(folder: Path) -> None:
    role = ("--role", "control")
    assert "no account 9" in refused(folder, "add", "desk", *role, "--account", "9")
    assert "name" in refused(folder, "add", "a\nb", *role)
    apikey(folder, "add", "desk", *role)
    assert "already" in refused(folder, "add", "desk", *role)
    for words in (("add", "x"), ("add", "x", "--role", "owner"), ("add", *role), ("remove",)):
        result = apikey(folder, *words)
        assert result.exit_code == 2 and "Usage" in result.stderr
    assert len(apikey(folder, "list").output.splitlines()) == 1


def test_keys_are_listed_by_name(folder: Path) -> None:
    assert apikey(folder, "list").output == ""
    apikey(folder, "add", "till", "--role", "control", "--account", "100")
    apikey(folder, "add", "boss", "--role", "admin")
    first, second = apikey(folder, "list").output.splitlines()
    assert re.fullmatch(r"boss\tadmin\taccount 1\t\d{4}-\d\d-\d\d \d\d:\d\d UTC", first)
    assert second.startswith("till\tcontrol\taccount 100\t")


def test_a_removed_key_is_none(folder: Path) -> None:
    tokens = [
        apikey(folder, "add", name, "--role", "admin").output.splitlines()[-1]
        for name in ("gone", "stays")
    ]
    assert apikey(folder, "remove", "gone").exit_code == 0
    assert [bool(key_of(folder, token)) for token in tokens] == [False, True]
    assert "gone" in refused(folder, "remove", "gone")


def test_a_database_that_is_away_is_one_clear_line(folder: Path) -> None:
    apikey(folder, "add", "desk", "--role", "admin")
    with locked(folder / "srs.db"):
        for words in (("add", "till", "--role", "control"), ("remove", "desk")):
            assert "srs.db" in refused(folder, *words)
    assert len(apikey(folder, "list").output.splitlines()) == 1
