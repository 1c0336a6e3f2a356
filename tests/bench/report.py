"""Tables of figures: printed, and written into the documentation on request."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Table:
    """A title, rows of text under columns, and what to know when reading them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __str__(self) -> str:
        """Markdown with aligned columns."""
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        rule = tuple("-" * width for width in widths)
        lines = [
            "| "
            + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            + " |"
            for row in (self.columns, rule, *self.rows)
        ]
        return "\n".join([f"## {self.title}", "", *lines, *(["", self.note] if self.note else [])])


def percentiles_ms(durations_s: Sequence[float]) -> tuple[str, str]:
    """p50 and p99 in milliseconds, as text."""
    p50, p99 = np.percentile(durations_s, (50, 99)) * 1000
    return f"{p50:.2f} ms", f"{p99:.2f} ms"
