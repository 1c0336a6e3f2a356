"""`siprecd directory`, as typed."""

import asyncio
import stat
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from config.schema import Route as Defaults
from siprec.cli import main
from siprec.policy import decide
from siprec.session import Identity, Offer
from storage.database import Database
from storage.declaration import read
from storage.directory import INITIAL, Directory, Entries

EXAMPLE = Path(__file__).parents[3] / "examples" / "directory.toml"
FILE = """
[[accounts]]
number = 100
name = "Contact centre"

[[destinations]]
name = "hook"
event = "RECORDING_ENDED_EVENT"
url = "http://hooks.example/in"
secret = "hush"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "srs.toml").write_text(f'[storage]\ndatabase = "sqlite:///{tmp_path}/siprecd.db"\n')
    (tmp_path / "directory.toml").write_text(FILE)
    return tmp_path


def directory(folder: Path, *words: str) -> Result:
    """`siprecd directory …` with the configuration in `folder`."""
    arguments = ["directory", *words, "--config", str(folder / "srs.toml")]
    return CliRunner().invoke(main, arguments)


def said(folder: Path, *words: str) -> str:
    result = directory(folder, *words)
    assert result.exit_code == 0, result.stderr
    assert not result.stderr
    return result.stdout


def refused(folder: Path, *words: str) -> str:
    """The one line that says why."""
    result = directory(folder, *words)
    assert result.exit_code == 1 and not result.stdout
    assert result.stderr.startswith("siprecd: ") and result.stderr.count("\n") == 1
    return result.stderr


def test_a_file_is_applied_with_a_line_for_each_change(folder: Path) -> None:
    file = str(folder / "directory.toml")
    assert said(folder, "apply", file) == "accounts 100 added\ndestinations hook added\n"
    assert said(folder, "apply", file) == "nothing to change\n"
    (folder / "directory.toml").write_text(FILE.replace("Contact", "Call"))
    assert said(folder, "apply", file) == "accounts 100 changed\n"


def test_a_dry_run_only_says_what_would_be(folder: Path) -> None:
    file = str(folder / "directory.toml")
    expected = "accounts 100 to be added\ndestinations hook to be added\n"
    assert said(folder, "apply", file, "--dry-run") == expected
    assert said(folder, "apply", file, "--dry-run") == expected
    assert "100" not in said(folder, "show", "accounts")


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "A.YAML"])
def test_a_file_may_be_yaml(folder: Path, name: str) -> None:
    (folder / name).write_text("accounts:\n  - number: 200\n")
    assert said(folder, "apply", str(folder / name)) == "accounts 200 added\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "[[accounts]]\nnumber = 'x'", ["a.toml", "accounts, no. 1", "number"]),
        ("a.toml", "[[routes]]\nid = 7\naccount = 9", ["a.toml", "routes 7", "account 9"]),
        ("a.toml", "accounts:\n- number: 5", ["a.toml", "not TOML"]),
        ("a.yaml", "a: &a\nb: *a", ["a.yaml", "not YAML", "line 2"]),
        ("a.toml", "#" * (4 * 1024 * 1024 + 1), ["a.toml", "larger than"]),
    ],
)
def test_a_wrong_file_is_one_clear_line(
    folder: Path, name: str, text: str, words: list[str]
) -> None:
    (folder / name).write_text(text)
    line = refused(folder, "apply", str(folder / name))
    assert all(word in line for word in words), line


def test_what_cannot_be_read_is_one_clear_line(folder: Path) -> None:
    assert "nowhere.toml: No such file" in refused(folder, "apply", str(folder / "nowhere.toml"))
    assert "Is a directory" in refused(folder, "apply", str(folder))


def test_what_is_shown_can_be_applied_and_keeps_secrets(folder: Path) -> None:
    said(folder, "apply", str(folder / "directory.toml"))
    text = said(folder, "show")
    assert "hush" not in text and 'secret = "***"' in text
    assert [each["number"] for each in tomllib.loads(text)["accounts"]] == [1, 100]
    (folder / "again.toml").write_text(text.replace('in"\n', 'out"\n'))
    assert said(folder, "apply", str(folder / "again.toml")) == "destinations hook changed\n"
    assert secrets_of(folder) == ["hush"]


def secrets_of(folder: Path) -> list[str]:
    async def read() -> list[str]:
        database = Database(f"sqlite:///{folder}/siprecd.db")
        opened = Directory(database)
        await opened.load()
        await database.close()
        return [each.secret for each in opened.entries.destinations.values()]

    return asyncio.run(read())


def test_one_kind_or_one_entry_can_be_shown(folder: Path) -> None:
    said(folder, "apply", str(folder / "directory.toml"))
    assert list(tomllib.loads(said(folder, "show", "routes"))) == ["routes"]
    assert "[Dubber: Demonstration Simulator]" in said(folder, "show", "integrations")
    assert said(folder, "show", "accounts", "100") == (
        '[[accounts]]\nnumber = 100\nname = "Contact centre"\n'
    )
    assert said(folder, "show", "policies") == ""
    assert "'colours', only platforms, recording-properties, accounts" in refused(
        folder, "show", "colours"
    )
    assert "key '7' among routes" in refused(folder, "show", "routes", "7")


def test_an_entry_is_removed_unless_it_is_needed(folder: Path) -> None:
    said(folder, "apply", str(folder / "directory.toml"))
    (folder / "more.toml").write_text("[[routes]]\nid = 7\naccount = 100\n")
    said(folder, "apply", str(folder / "more.toml"))
    assert "routes 7: account 100 does not exist" in refused(folder, "remove", "accounts", "100")
    assert said(folder, "remove", "routes", "7") == "routes 7 removed\n"
    assert said(folder, "remove", "accounts", "100") == "accounts 100 removed\n"
    assert "nothing with key '100'" in refused(folder, "remove", "accounts", "100")
    assert "always there" in refused(folder, "remove", "routes", "1")


def test_the_database_is_private(folder: Path) -> None:
    said(folder, "apply", str(folder / "directory.toml"))
    assert stat.S_IMODE((folder / "siprecd.db").stat().st_mode) == 0o600


def test_a_database_that_is_away_is_one_clear_line(folder: Path) -> None:
    (folder / "siprecd.db").mkdir()
    for words in (["apply", str(folder / "directory.toml")], ["show"], ["remove", "routes", "7"]):
        assert "siprecd.db" in refused(folder, *words)


@pytest.mark.parametrize(
    ("caller", "called", "expected"),
    [
        ("ann", "ben", (100, 100, "always", 0)),
        ("ann", "cara", (200, 200, "on_demand", 5000)),
        ("ann", "dora", (210, 200, "never", 0)),
        ("dora", "ben", (210, 200, "never", 0)),
        ("ann", "eve", (1, 1, "always", 0)),
    ],
)
def test_the_routes_of_the_example_do_what_they_say(
    caller: str, called: str, expected: tuple[int, int, str, int]
) -> None:
    entries = Entries.of([*INITIAL, *read(EXAMPLE.read_bytes())])
    aors = (f"sip:{caller}@example.com",), (f"sip:{called}@example.com",)
    identity = Identity(caller, called, calling_aors=aors[0], called_aors=aors[1])
    offer = Offer("d", "c", frozenset(), "127.0.0.1", datetime.now(UTC))
    found = decide(entries, offer, identity, Defaults())
    assert (found.route, found.account, found.record, found.prebuffer_ms) == expected


def test_the_example_can_be_applied_and_is_what_is_shown_then(folder: Path) -> None:
    first = said(folder, "apply", str(EXAMPLE))
    assert first.count("\n") > 15
    assert said(folder, "apply", str(EXAMPLE)) == "nothing to change\n"
    shown = said(folder, "show")
    kinds = set(tomllib.loads(shown))
    assert kinds == set(tomllib.loads(EXAMPLE.read_text())), "an example of every kind"
    (folder / "again.toml").write_text(shown)
    assert said(folder, "apply", str(folder / "again.toml")) == "nothing to change\n"
