"""`siprecd retention`, as typed."""

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from siprec.cli import main
from storage import blobs
from storage.catalog import Catalog
from storage.database import Database
from storage.directory import Directory
from storage.entries import Account, Route
from storage.records import FileRecord, Recording

NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration, books of three accounts and a few recordings."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "srs.toml").write_text(
        f"""
        [storage]
        database = "sqlite:///{tmp_path}/siprecd.db"
        recordings = "file://{tmp_path}/recordings"
        spool = "{tmp_path}/spool"
        [log]
        level = "error"
        """
    )
    asyncio.run(_fill(tmp_path))
    return tmp_path


async def _fill(folder: Path) -> None:
    database = Database(f"sqlite:///{folder}/siprecd.db")
    directory = Directory(database)
    await directory.load()
    for entry in (
        Account(100, retention_days=30),
        Account(200),
        Route(7, 100),
        Route(8, 100, retention_days=90),
    ):
        await directory.put(entry)
    await database.close()
    await _save(
        folder,
        [
            _row(folder, "old", 31),
            _row(folder, "older", 400),
            _row(folder, "young", 29),
            _row(folder, "held", 400, hold=True),
            _row(folder, "ever", 400, never_expire=True),
            _row(folder, "by-route", 91, route=8),
            _row(folder, "kept-by-route", 89, route=8),
            _row(folder, "other", 9999, account=200, route=1),
        ],
    )


async def _save(folder: Path, rows: Iterable[Recording]) -> None:
    database = Database(f"sqlite:///{folder}/siprecd.db")
    await Catalog(database).save(*rows)
    await database.close()


def _row(folder: Path, recording_id: str, days: float, **changes: Any) -> Recording:
    """A finished recording with its file, which ended so many days ago."""
    at, key = NOW - timedelta(days=days), f"2026-01-01/00/00/{recording_id}.wav"
    source = folder / "source"
    source.write_bytes(b"RIFF")
    blobs.from_url(f"file://{folder}/recordings").put(key, source)
    fields: dict[str, Any] = {"account": 100, "route": 7, "files": (FileRecord("wav", key, 4, ""),)}
    return Recording(recording_id, "s", "c", "complete", at, ended_at=at, **(fields | changes))


def retention(folder: Path, *options: str) -> Result:
    """`siprecd retention …` with the configuration in `folder`."""
    return CliRunner().invoke(main, ["retention", *options, "--config", str(folder / "srs.toml")])


def left(folder: Path) -> set[str]:
    """What is in the catalogue, which is what is in the store."""
    with closing(sqlite3.connect(folder / "siprecd.db")) as connection:
        rows = {row[0] for row in connection.execute("SELECT id FROM recordings")}
    assert {path.stem for path in (folder / "recordings").rglob("*.wav")} == rows
    return rows


ALL = {"old", "older", "young", "held", "ever", "by-route", "kept-by-route", "other"}
DUE = {"old", "older", "by-route"}


def test_a_dry_run_says_what_would_go_and_changes_nothing(folder: Path) -> None:
    before = (folder / "siprecd.db").read_bytes()
    result = retention(folder, "--dry-run")
    assert result.exit_code == 0, result.stderr
    head, one, two, total, forecast = result.stdout.splitlines()
    assert head.split() == ["account", "route", "keeps", "due", "oldest", "ended"]
    oldest = f"{NOW - timedelta(days=400):%Y-%m-%d %H:%M} UTC"
    assert one.split(maxsplit=5) == ["100", "7", "30", "d", "2", oldest]
    assert two.split()[:5] == ["100", "8", "90", "d", "1"]
    assert total.startswith("3 of 8 recordings are due at 20")
    assert forecast == "would delete 3"
    assert left(folder) == ALL
    assert (folder / "siprecd.db").read_bytes() == before


def test_what_is_due_goes_and_nothing_else(folder: Path) -> None:
    result = retention(folder)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-4:] == [
        "deleting 3",
        "account 100, route 7: 2 deleted",
        "account 100, route 8: 1 deleted",
        "deleted 3 of 3",
    ]
    assert left(folder) == ALL - DUE
    result = retention(folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "nothing to delete")


def test_very_much_at_once_needs_to_be_confirmed(folder: Path) -> None:
    asyncio.run(_save(folder, [_row(folder, f"mass-{number}", 31) for number in range(98)]))
    everything = left(folder)
    result = retention(folder)
    assert result.exit_code == 1
    assert "101 of 106 recordings are due" in result.stdout
    assert result.stderr.startswith("siprecd: nothing is deleted")
    assert "siprecd retention --confirm" in result.stderr and result.stderr.count("\n") == 1
    assert left(folder) == everything
    result = retention(folder, "--dry-run")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (
        0,
        "would delete 101, with --confirm only",
    )
    result = retention(folder, "--dry-run", "--confirm")
    assert (result.exit_code, left(folder)) == (0, everything)
    result = retention(folder, "--confirm")
    assert (result.exit_code, left(folder)) == (0, ALL - DUE)
    assert result.stdout.splitlines()[-1] == "deleted 101 of 101"


def test_a_database_that_is_away_is_one_clear_line(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "siprecd.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        result = retention(folder)
    assert result.exit_code == 1 and not result.stdout
    assert result.stderr.startswith("siprecd: ") and result.stderr.count("\n") == 1
    assert left(folder) == ALL
