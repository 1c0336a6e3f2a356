"""`siprecd notifications`, as typed."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from siprec.cli import main
from storage.database import Database
from storage.outbox import Notification, Outbox
from storage.tables import OUTBOX_SCHEMA
from tests.storage.conftest import locked

T0 = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
FIRST = Notification("e1", "crm", "call-1@src", T0, "GET", "http://h.example/a?ani=%2B49", "", 7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where there is a configuration."""
    (tmp_path / "srs.toml").write_text(f'[storage]\nspool = "{tmp_path}/spool"\n')
    return tmp_path


def ask(folder: Path, question: Callable[[Outbox], Coroutine[Any, Any, Any]]) -> Any:
    """What a server on the same spool would find."""

    async def answer() -> Any:
        database = Database(f"sqlite:///{folder}/spool/outbox.db", OUTBOX_SCHEMA)
        try:
            return await question(Outbox(database))
        finally:
            await database.close()

    return asyncio.run(answer())


@pytest.fixture
def queued(folder: Path) -> Path:
    """Three notifications, of which two are dead."""

    async def prepare(outbox: Outbox) -> None:
        second = replace(FIRST, event_id="e2", destination="policy x", lane="\x1b[31mred\n")
        await outbox.put([FIRST, second, replace(FIRST, event_id="e3")])
        await outbox.bury(1, "refused")
        await outbox.bury(2, "address_forbidden")

    ask(folder, prepare)
    return folder


def notifications(folder: Path, *words: str) -> Result:
    arguments = ["notifications", *words, "--config", str(folder / "srs.toml")]
    return CliRunner().invoke(main, arguments)


def states(folder: Path) -> list[str]:
    async def find(outbox: Outbox) -> list[str]:
        return [queued.state for queued in await outbox.find()]

    return list(ask(folder, find))


def test_all_is_listed_without_what_is_told_of_the_calls(queued: Path) -> None:
    result = notifications(queued, "list")
    first, second, third = (line.split("\t") for line in result.stdout.splitlines())
    assert first == [
        "1",
        "dead",
        "1",
        "2026-11-22T12:00:00Z",
        "7",
        "crm",
        "call-1@src",
        "http://h.example/a",
        "refused",
    ]
    assert second[5:7] == ["policy x", "?[31mred?"]
    assert (third[1], third[2], third[8]) == ("pending", "0", "-")
    assert result.exit_code == 0 and "49" not in result.stdout


def test_dead_letters_alone_are_listed(queued: Path) -> None:
    lines = notifications(queued, "list", "--dead").stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["1", "dead"], ["2", "dead"]]


def test_more_than_one_page_is_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siprec.commands import notifications as module

    monkeypatch.setattr(module, "_PAGE", 3)
    ask(folder, lambda outbox: outbox.put([FIRST] * 10))
    lines = notifications(folder, "list").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(n) for n in range(1, 11)]


def test_one_dead_letter_is_queued_again(queued: Path) -> None:
    result = notifications(queued, "replay", "2")
    assert (result.exit_code, result.stdout) == (0, "queued again: 1\n")
    assert states(queued) == ["dead", "pending", "pending"]


def test_all_dead_letters_are_queued_again(queued: Path) -> None:
    assert notifications(queued, "replay", "--all").stdout == "queued again: 2\n"
    assert states(queued) == ["pending"] * 3
    assert notifications(queued, "replay", "--all").stdout == "queued again: 0\n"


def test_numbers_that_are_no_dead_letters_are_told(queued: Path) -> None:
    result = notifications(queued, "replay", "1", "3", "99")
    assert result.exit_code == 1
    expected = "siprecd: queued again: 1; 2 of the numbers are no dead letters\n"
    assert result.stderr == expected
    assert states(queued) == ["pending", "dead", "pending"]


@pytest.mark.parametrize("words", [[], ["--all", "1"], ["0"], ["x"]])
def test_one_must_say_what_to_replay(queued: Path, words: list[str]) -> None:
    assert notifications(queued, "replay", *words).exit_code == 2
    assert states(queued).count("dead") == 2


def test_where_nothing_was_ever_queued_there_is_nothing_and_nothing_is_made(folder: Path) -> None:
    assert notifications(folder, "list").stdout == ""
    assert notifications(folder, "replay", "--all").stdout == "queued again: 0\n"
    assert notifications(folder, "replay", "1").exit_code == 1
    assert not (folder / "spool").exists()


def test_a_locked_outbox_is_one_line(queued: Path) -> None:
    with locked(queued / "spool" / "outbox.db"):
        result = notifications(queued, "replay", "--all")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("siprecd: ")
