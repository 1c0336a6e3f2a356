"""A recorder of one's own: its configuration, and what is told when it does not start."""

import os
import sys
from pathlib import Path

import pytest

from config.load import load
from examples.service import Service, ServiceError, environment
from examples.sip import Agent
from examples.src import RecordingClient


async def test_the_configuration_is_one_the_recorder_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path / "new folder", answer_delay_ms=0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ServiceError, match="apikey add"):
        await service.__aenter__()
    config = load(tmp_path / "new folder" / "srs.toml", {})
    assert config.sip.listen == ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]
    assert config.sip.answer_delay_ms == 0
    assert config.api.listen == "127.0.0.1:0"
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


async def test_a_recorder_starts_answers_and_stops(tmp_path: Path) -> None:
    async with Service(tmp_path) as service:
        assert (await service.get("recordings"))["items"] == []
        with pytest.raises(ServiceError, match="no live session"):
            await service.session("unknown")
        with pytest.raises(ServiceError, match="recordings/unknown: 404"):
            await service.get("recordings/unknown")
        async with Agent(service.uri) as agent, RecordingClient(agent) as call:
            assert len((await call.invite()).media) == 2
            assert (await service.session(call.call_id))["state"] == "recording"
            await call.bye()
            assert (await service.recording(call.call_id))["call_id"] == call.call_id
