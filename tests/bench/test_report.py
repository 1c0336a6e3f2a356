"""Tables as text, and their place in the documentation."""

from pathlib import Path

import pytest

from tests.bench.__main__ import DOCUMENT, MARK, write_docs
from tests.bench.report import Table, percentiles_ms

TABLE = Table("Speed", ("figure", "aim"), (("a", "1 ms"), ("long name", "2")), "A note.")


def test_a_table_is_markdown() -> None:
    assert str(TABLE) == (
        "## Speed\n\n"
        "| figure    | aim  |\n"
        "| --------- | ---- |\n"
        "| a         | 1 ms |\n"
        "| long name | 2    |\n\n"
        "A note."
    )


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles_ms([0.001] * 98 + [0.5, 0.5]) == ("1.00 ms", "500.00 ms")


def test_new_figures_replace_the_old(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text(f"# Text\n\n{MARK}\n\nold figures\n")
    for _ in range(2):
        write_docs([TABLE], "a machine", path)
    text = path.read_text()
    assert text.startswith(f"# Text\n\n{MARK}\n\nMeasured 20")
    assert " on a machine.\n" in text
    assert text.count("## Speed") == 1
    assert "old" not in text
    assert MARK in DOCUMENT.read_text()


def test_a_table_is_rectangular() -> None:
    with pytest.raises(ValueError, match="shorter"):
        str(Table("x", ("a", "b"), (("only one",),)))
