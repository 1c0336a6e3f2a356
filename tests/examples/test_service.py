"""A recorder of one's own: its configuration, and what is told when it does not start."""

import os
import sys
from pathlib import Path

import pytest

from config.load import load
from examples.service import Service, ServiceError, environment, free_port


async def test_the_configuration_is_one_the_recorder_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path / "new folder", answer_delay_ms=0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ServiceError, match="apikey add"):
        await service.__aenter__()
    config = load(tmp_path / "new folder" / "srs.toml", {})
    assert config.sip.listen == [
        f"udp://127.0.0.1:{service.sip_port}",
        f"tcp://127.0.0.1:{service.sip_port}",
    ]
    assert config.sip.answer_delay_ms == 0
    assert config.api.listen == f"127.0.0.1:{service.api_port}"
    assert config.storage.spool == f"{tmp_path}/new folder/spool"


async def test_a_recorder_that_ends_at_once_is_told_with_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\n[ "$3" = apikey ] && echo key || { echo no room; exit 3; }\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(ServiceError, match="did not start: no room"):
        await Service(tmp_path / "x").__aenter__()


def test_settings_of_the_caller_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRS_MEDIA_TICK_MS", "77")
    assert environment() == {k: v for k, v in os.environ.items() if k != "SRS_MEDIA_TICK_MS"}


def test_free_ports_differ() -> None:
    assert 1024 < free_port() < 65_536
