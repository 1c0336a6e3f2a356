"""What a log line looks like."""

import json

import pytest
import structlog

from config.schema import Log
from siprec import logs


@pytest.fixture(autouse=True)
def _restore() -> object:
    yield
    structlog.reset_defaults()


def test_one_json_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Log())
    structlog.get_logger("x").info("session.started", session="s1", call_id="a\nb")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    entry = json.loads(lines[0])
    assert (entry["event"], entry["level"], entry["session"]) == ("session.started", "info", "s1")
    assert entry["call_id"] == "a\nb" and entry["timestamp"].endswith("Z")


def test_the_level_is_respected(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Log(level="warning"))
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["loud"]


def test_a_failure_is_one_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Log())
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("x").exception("background_failed", task="t")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_console_lines_are_for_eyes(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Log(format="console"))
    structlog.get_logger("x").info("ready", port=5060)
    assert "port=5060" in capsys.readouterr().err
