"""How every command reads its configuration, and how it fails."""

import asyncio
from pathlib import Path

import pytest

from config.schema import Config
from siprec.commands.common import CommandError, read_config, run
from storage.records import InvalidEntry


async def work(outcome: int | Exception) -> int:
    await asyncio.sleep(0)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def status(outcome: int | Exception) -> object:
    with pytest.raises(SystemExit) as exit_:
        run(work(outcome))
    return exit_.value.code


def test_the_status_is_that_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert (status(0), status(3)) == (0, 3)
    assert capsys.readouterr().err == ""


def test_what_cannot_be_done_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(CommandError("the spool is in use")) == 1
    assert status(InvalidEntry("routes 7: account 9 does not exist")) == 1
    assert capsys.readouterr().err.splitlines() == [
        "siprecd: the spool is in use",
        "siprecd: routes 7: account 9 does not exist",
    ]


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run(work(ZeroDivisionError()))


def test_a_wrong_configuration_names_file_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "srs.toml"
    path.write_text("[media]\nport_min = 0\n")
    with pytest.raises(SystemExit) as exit_:
        read_config(path)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "srs.toml" in line and "media.port_min" in line


def test_without_a_file_the_defaults_hold() -> None:
    assert read_config(None) == Config()
