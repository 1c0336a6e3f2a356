"""The catalogue bench builds what it says it does, and finds what it looks for."""

import gc
from dataclasses import replace
from pathlib import Path

import pytest

from storage.catalog import Catalog
from storage.database import Database
from tests.bench import catalog as catalog_bench
from tests.bench.__main__ import MARK
from tests.bench.catalog import BEGIN_MARK, END_MARK, build, call, measure, searches, write_docs
from tests.bench.report import Table

ROWS = 1000


async def test_every_search_finds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_bench, "SEARCHES", 3)
    database = Database(f"sqlite:///{tmp_path}/x.db")
    await database.migrate()
    await build(database, ROWS)
    catalog = Catalog(database)
    assert await catalog.count() == ROWS
    found = await catalog.get(call(7).id)
    assert found == replace(call(7), number=8)
    met = {
        name: sum([len((await catalog.find(query)).items) for query in queries])
        for name, queries in searches(ROWS).items()
    }
    await database.close()
    # Some are so rare that they are not among so few.
    assert {name for name, count in met.items() if not count} <= {
        "nothing (few)",
        "third_party_id (few)",
        "dnis (few)",
        "dnis, custom (many)",
        "account of few, dnis (many)",
    }
    assert met["dnis (many)"] > 100


async def test_a_table_comes_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_bench, "SEARCHES", 2)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    table = await measure(f"sqlite:///{tmp_path}/x.db", "SQLite", 200)
    assert table.title.startswith("Searching the catalogue: SQLite, 200 recordings, built at ")
    assert {row[0] for row in table.rows} > {"dnis (few)", "dnis (many)", "count"}


def test_new_figures_replace_the_old_and_leave_the_others(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text(f"# Text\n\n{MARK}\n\nother figures\n")
    for title in ("Old", "New"):
        write_docs([Table(title, ("a",), (("1",),))], "a machine", path)
    text = path.read_text()
    assert text.startswith(f"# Text\n\n{BEGIN_MARK}\n\nMeasured 20")
    assert text.endswith(f"{END_MARK}\n\n{MARK}\n\nother figures\n")
    assert "## New" in text
    assert "Old" not in text
