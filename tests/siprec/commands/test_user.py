"""`siprecd user`, as typed."""

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from config.schema import Users as Rules
from siprec.cli import main
from storage.database import Database
from storage.directory import Directory
from storage.entries import Account, User
from storage.records import StorageUnavailable
from storage.users import LoginRefused, Users
from tests.storage.conftest import locked
from tests.storage.people import PASSWORD, make_hashing_cheap

ROOT = Path(__file__).parents[3]
NEW = "another horse battery"
EMAIL = "pay@example.com"
MADE = ("add", EMAIL, "--type", "api", "--account", "100")
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hashing_cheap(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where there is a configuration, and an account 100."""
    (tmp_path / "srs.toml").write_text(f'[storage]\ndatabase = "sqlite:///{tmp_path}/srs.db"\n')

    async def prepare(directory: Directory, users: Users) -> None:
        await directory.put(Account(100))

    ask(tmp_path, prepare)
    return tmp_path


def ask(folder: Path, question: Callable[[Directory, Users], Coroutine[Any, Any, Any]]) -> Any:
    """What a server on the same database would find."""

    async def answer() -> Any:
        database = Database(f"sqlite:///{folder}/srs.db")
        directory = Directory(database)
        users = Users(database, directory, Rules())
        try:
            await directory.load()
            await users.load()
            return await question(directory, users)
        finally:
            await database.close()

    return asyncio.run(answer())


def user(folder: Path, *words: str, given: str | bytes = "") -> Result:
    arguments = ["user", *words, "--config", str(folder / "srs.toml")]
    return CliRunner().invoke(main, arguments, input=given)


def refused(folder: Path, *words: str, given: str | bytes = "") -> str:
    """The one line a command fails with."""
    result = user(folder, *words, given=given)
    assert result.exit_code == 1 and not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("siprecd: ")
    return line


def login(folder: Path, password: str, email: str = EMAIL) -> User | None:
    """Whom a login gives a token to."""

    async def try_it(_: Directory, users: Users) -> User | None:
        try:
            return (await users.login(email, password, None, datetime.now(UTC))).user
        except LoginRefused:
            return None

    found: User | None = ask(folder, try_it)
    return found


def test_a_user_is_made_with_password_and_entry(folder: Path) -> None:
    more = ("--permission", "control", "--permission", "video", "--line", "1001", "--line", "1002")
    rest = ("--device", "SEP1", "--sip-uri", "sip:pay@example.com")
    result = user(folder, *MADE, *more, *rest, given=f"{PASSWORD}\n")
    assert (result.exit_code, result.output) == (0, f"added {EMAIL}\n")
    assert login(folder, PASSWORD) == User(
        EMAIL,
        100,
        "api",
        permissions=["control", "video"],
        lines=["1001", "1002"],
        devices=["SEP1"],
        sip_uri="sip:pay@example.com",
    )


@pytest.mark.parametrize("line", [PASSWORD, f"{PASSWORD}\r\n", f"{PASSWORD}\nmore\n"])
def test_the_password_is_the_first_line_without_its_end(folder: Path, line: str) -> None:
    assert user(folder, *MADE, given=line).exit_code == 0
    assert login(folder, PASSWORD)


def test_blanks_belong_to_the_password(folder: Path) -> None:
    assert user(folder, *MADE, given=f" {PASSWORD} \n").exit_code == 0
    assert login(folder, f" {PASSWORD} ") and not login(folder, PASSWORD)


@pytest.mark.parametrize(
    ("words", "given", "reason"),
    [
        (MADE, "", "standard input"),
        (MADE, "\n", "standard input"),
        (MADE, "short\n", "at least 12"),
        (MADE, f"{EMAIL}\n", "e-mail"),
        (MADE, "x" * 5000, "at most 1000"),
        (MADE, b"twelve \xff characters\n", "UTF-8"),
        ((*MADE[:-1], "9"), PASSWORD, "account 9 does not exist"),
        ((*MADE[:-1], "0"), PASSWORD, "account"),
        (("add", "nobody", *MADE[2:]), PASSWORD, "email"),
        (("add", "a@b\n", *MADE[2:]), PASSWORD, "email"),
    ],
)
def test_what_cannot_be_made_leaves_nothing_behind(
    folder: Path, words: tuple[str, ...], given: str | bytes, reason: str
) -> None:
    assert reason in refused(folder, *words, given=given)
    assert user(folder, "list").output == ""


def test_a_user_who_exists_is_not_changed_by_adding(folder: Path) -> None:
    user(folder, *MADE, given=PASSWORD)
    words = ("add", "PAY@example.com", "--type", "admin", "--account", "1")
    assert "already" in refused(folder, *words, given=NEW)
    found = login(folder, PASSWORD)
    assert found is not None and found.type == "api"


@pytest.mark.parametrize(
    "words",
    [
        ("add", EMAIL, "--account", "1"),
        ("add", EMAIL, "--type", "api"),
        ("add", EMAIL, "--type", "root", "--account", "1"),
        ("add", EMAIL, "--type", "api", "--account", "one"),
        (*MADE, "--permission", "everything"),
        (*MADE, "--password", PASSWORD),
    ],
)
def test_a_wrong_command_line_is_explained(folder: Path, words: tuple[str, ...]) -> None:
    result = user(folder, *words, given=PASSWORD)
    assert result.exit_code == 2 and "Usage" in result.stderr


def test_a_new_password_replaces_the_old_one_and_ends_a_lock(folder: Path) -> None:
    user(folder, *MADE, given=PASSWORD)
    lock(folder)
    assert user(folder, "password", "Pay@example.com", given=NEW).exit_code == 0
    assert login(folder, NEW) and not login(folder, PASSWORD)
    assert "at least" in refused(folder, "password", EMAIL, given="short")
    assert "nobody@example" in refused(folder, "password", "nobody@example.com", given=NEW)
    assert login(folder, NEW)


def lock(folder: Path) -> None:
    async def fail(directory: Directory, users: Users) -> None:
        for _ in range(10):
            with pytest.raises(LoginRefused):
                await users.login(EMAIL, "wrong", None, datetime.now(UTC))
        await users.save()

    ask(folder, fail)


def test_unlocking_lets_a_user_in(folder: Path) -> None:
    user(folder, *MADE, given=PASSWORD)
    lock(folder)
    assert not login(folder, PASSWORD)
    assert user(folder, "unlock", EMAIL).exit_code == 0
    assert login(folder, PASSWORD)
    assert "nobody@example" in refused(folder, "unlock", "nobody@example.com")


def test_the_list_says_who_can_log_in_and_why_not(folder: Path) -> None:
    user(folder, *MADE, given=PASSWORD)
    lock(folder)

    async def others(directory: Directory, users: Users) -> None:
        for name in ("can", "old"):
            await directory.put(User(f"{name}@example.com", 1, "admin"))
        await users.set_password("can@example.com", PASSWORD, NOW)
        await users.set_password("old@example.com", PASSWORD, NOW - timedelta(days=91))
        await directory.put(User("never@example.com", 100, enabled=False))

    ask(folder, others)
    lines = [line.split("\t") for line in user(folder, "list").output.splitlines()]
    assert lines[0] == ["can@example.com", "admin", "account 1", "can log in"]
    assert lines[1] == ["never@example.com", "tenant", "account 100", "disabled, no password"]
    assert lines[2] == ["old@example.com", "admin", "account 1", "password expired"]
    assert lines[3][:3] == [EMAIL, "api", "account 100"]
    assert lines[3][3].startswith("locked until 20")


def test_who_is_removed_and_made_again_has_the_new_password_only(folder: Path) -> None:
    user(folder, *MADE, given=PASSWORD)
    assert user(folder, "remove", "Pay@example.com").exit_code == 0
    assert user(folder, "list").output == ""

    async def make(directory: Directory, _: Users) -> None:
        await directory.put(User(EMAIL, 1))

    ask(folder, make)
    assert not login(folder, PASSWORD)
    assert user(folder, "password", EMAIL, given=NEW).exit_code == 0
    assert login(folder, NEW)
    assert "nobody@example" in refused(folder, "remove", "nobody@example.com")


def test_a_database_that_is_away_is_one_clear_line(folder: Path) -> None:
    user(folder, *MADE, given=PASSWORD)
    with locked(folder / "srs.db"):
        for words in (("add", "b@example.com", *MADE[2:]), ("password", EMAIL), ("remove", EMAIL)):
            assert "srs.db" in refused(folder, *words, given=NEW)
    assert login(folder, PASSWORD)
    assert len(user(folder, "list").output.splitlines()) == 1


def test_an_entry_does_not_stay_without_its_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise StorageUnavailable("srs.db: away")

    with monkeypatch.context() as patch:
        patch.setattr(Users, "set_password", fail)
        refused(folder, *MADE, given=PASSWORD)
    assert user(folder, "list").output == ""


def test_a_password_is_typed_unseen_and_twice(folder: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "siprec", "user", *MADE, "--config", str(folder / "srs.toml")]
    process = subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    os.close(follower)
    try:
        seen = read_until(leader, b"Password: ")
        os.write(leader, f"{PASSWORD}\n".encode())
        seen += read_until(leader, b"confirmation: ")
        os.write(leader, f"{PASSWORD}\n".encode())
        seen += read_until(leader, b"added")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert PASSWORD.encode() not in seen


def read_until(descriptor: int, words: bytes) -> bytes:
    seen, deadline = b"", time.monotonic() + 60
    while words not in seen:
        ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        assert ready, seen
        seen += os.read(descriptor, 4096)
    return seen
