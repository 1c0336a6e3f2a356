"""The house rules: which room may import which, and which modules touch the world."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("config", "media", "storage", "siprec", "api")
MODULES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))

ALLOWED = {
    "config": {"config"},
    "media": {"media", "config"},
    "storage": {"storage", "config"},
    "siprec": {"siprec", "media", "storage", "config"},
    "api": {"api", "siprec", "storage", "config"},
}
COMPOSITION = {"siprec/app.py", "siprec/rooms.py"}

CORE_SEEN_BY_API = {
    "siprec.recorder",
    "siprec.criteria",
    "siprec.library",
    "siprec.importer",
    "siprec.platform_watch",
    "siprec.dispatcher",
    "siprec.logbook",
    "siprec.screen",
    "siprec.session",
    "siprec.feed",
    "siprec.__version__",
}

WORLD = {
    "asyncio",
    "socket",
    "ssl",
    "time",
    "threading",
    "aiohttp",
    "sqlalchemy",
    "aiosqlite",
    "select",
    "subprocess",
    "os",
}
SANS_IO = (
    "siprec/sip/",
    "siprec/multipart.py",
    "siprec/sdp.py",
    "siprec/metadata.py",
    "siprec/rs_metadata.py",
    "siprec/elements.py",
    "siprec/xml.py",
    "siprec/negotiation.py",
    "siprec/session.py",
    "siprec/logbook.py",
    "siprec/policy.py",
    "siprec/policies.py",
    "siprec/platforms.py",
    "siprec/identity.py",
    "siprec/placeholders.py",
    "siprec/extensions.py",
    "siprec/offer.py",
    "siprec/notifications.py",
    "siprec/occurrence.py",
    "siprec/paused.py",
    "storage/entries.py",
    "storage/snapshot.py",
    "storage/declaration.py",
    "storage/records.py",
    "media/spec.py",
    "media/rtp.py",
    "media/rtcp.py",
    "media/clock.py",
    "media/reorder.py",
    "media/track.py",
    "media/timeline.py",
    "media/codecs/",
)


def imports(path: Path) -> Iterator[str]:
    """Every dotted name a module imports, `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} & set(ROOMS)


def is_sans_io(path: Path) -> bool:
    return path.as_posix().startswith(SANS_IO) or path.name in {
        "wire.py",
        "criteria.py",
        "signalr.py",
    }


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    if path.as_posix() not in COMPOSITION:
        assert rooms_of(path) <= ALLOWED[path.parts[0]]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_the_composition_root_is_imported_by_the_command_line_only(path: Path) -> None:
    if path.as_posix() not in {"siprec/cli.py", *COMPOSITION} and path.parts[1] != "commands":
        roots = ("siprec.app", "siprec.rooms")
        assert not {name for name in imports(path) if name.startswith(roots)}


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[0] == "api"], ids=str)
def test_the_api_sees_only_the_doors_of_the_core(path: Path) -> None:
    for name in imports(path):
        if name.startswith("siprec."):
            assert name.startswith(tuple(CORE_SEEN_BY_API)), name


@pytest.mark.parametrize("path", [p for p in MODULES if is_sans_io(p)], ids=str)
def test_pure_cores_touch_no_socket_clock_or_disk(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & WORLD


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[:2] == ("siprec", "sip")], ids=str)
def test_the_sip_core_stands_alone(path: Path) -> None:
    outside = {name for name in imports(path) if not name.startswith("siprec.sip")}
    assert not {name for name in outside if name.split(".")[0] in ROOMS}
    assert not {name.split(".")[0] for name in outside} & {"lxml", "msgspec", "numpy", "structlog"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_the_environment_is_read_in_config_and_the_command_line_only(path: Path) -> None:
    if path.parts[0] != "config" and path.as_posix() != "siprec/commands/common.py":
        source = (ROOT / path).read_text()
        assert "os.environ" not in source and "getenv" not in source


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_files_and_functions_stay_small(path: Path) -> None:
    source = (ROOT / path).read_text()
    assert source.count("\n") <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name
