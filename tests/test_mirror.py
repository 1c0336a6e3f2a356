"""Each source file has its test file at the mirrored path, and each test file its source."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("config", "media", "storage", "siprec", "api")
EXEMPT = ("storage/migrations/",)
SOURCES = sorted(
    path.relative_to(ROOT)
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if path.name not in {"__init__.py", "__main__.py"}
    and not path.relative_to(ROOT).as_posix().startswith(EXEMPT)
)


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_source_has_a_test_file(source: Path) -> None:
    mirrored = ROOT / "tests" / source.parent / f"test_{source.name}"
    assert mirrored.exists(), f"write {mirrored.relative_to(ROOT)}"
