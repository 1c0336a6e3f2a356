"""The spool of the rendering bench is one of speech."""

import wave
from pathlib import Path

import numpy as np

from media.render import render
from tests.bench.render import write_spool


def test_the_spool_becomes_a_file_of_its_length(tmp_path: Path) -> None:
    write_spool(tmp_path / "x.srsp", 24)
    rendered = render(tmp_path / "x.srsp", tmp_path, "x", ["stream0", "stream1"])
    assert rendered.duration_ms == 24_000
    assert [stream.packets for stream in rendered.streams] == [1200, 1200]
    assert [stream.lost for stream in rendered.streams] == [0, 0]
    with wave.open(rendered.wav.path) as file:
        samples = np.frombuffer(file.readframes(24 * 8000), "<i2").reshape(-1, 2)
    assert (np.abs(samples.astype(int)).max(axis=0) > 5000).all()
