"""Measure the recorder and print the figures beside what is aimed at.

    python -m tests.bench [NAME ...] [--quick] [--write-docs]

Figures are ratios of one run on one machine: a busy machine shifts both sides. Nothing here fails.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import control, events, machine, pause, receive, render, setup, start
from tests.bench.report import Table

BENCHES = {
    "receive": receive.measure,
    "setup": setup.measure,
    "pause": pause.measure,
    "control": control.measure,
    "events": events.measure,
    "render": render.measure,
    "start": start.measure,
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
MARK = "<!-- figures: written by `python -m tests.bench --write-docs` -->"


def write_docs(tables: Sequence[Table], where: str, path: Path = DOCUMENT) -> None:
    """Replace everything below the mark in `docs/performance.md`; `where`: on which machine."""
    head, mark, _ = path.read_text().partition(MARK)
    date = time.strftime("%Y-%m-%d")
    figures = "\n\n".join(map(str, tables))
    path.write_text(f"{head}{mark}\n\nMeasured {date} on {where}.\n\n{figures}\n")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Measure the recorder.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all")
    parser.add_argument("--quick", action="store_true", help="shorter runs, fewer streams")
    parser.add_argument("--write-docs", action="store_true", help=f"into {DOCUMENT.name}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    machine.raise_file_limit()
    where = machine.describe()
    print(where, flush=True)
    tables: list[Table] = []
    for name in options.names or BENCHES:
        made = asyncio.run(BENCHES[name](options.quick))
        print("\n" + "\n\n".join(map(str, made)), flush=True)
        tables += made
    if options.write_docs:
        write_docs(tables, where)


if __name__ == "__main__":
    main()
