"""The curl lines of the FACE guide: they must work, and the script must see when they do not."""

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "face.sh"
LINES = 14
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BIN": str(Path(sys.executable).parent), **environment}
    return subprocess.run(
        [SCRIPT, folder], env=environment, capture_output=True, text=True, check=False
    )


def program(folder: Path, name: str, text: str) -> None:
    """A stand-in for a program that the script uses."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_every_line_is_answered_as_in_the_guide(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^\$ curl ", done.stdout, re.M)) == LINES
    (token,) = set(re.findall(f"<token>({UUID})</token>", done.stdout))
    log = (tmp_path / "siprecd.log").read_text()
    assert "/Face/audioRecording/stop" in log
    assert token not in log
    assert "Admin1234" not in log


def test_an_answer_that_lacks_something_fails_the_script(tmp_path: Path) -> None:
    stubs, folder = tmp_path / "stubs", tmp_path / "run"
    ready = "ready: SIP udp://127.0.0.1:5060 tcp://127.0.0.1:5060, API https://127.0.0.1:8443"
    program(stubs, "siprecd", f'echo "{ready}"; [ "$1" != serve ] || exec sleep 600')
    program(stubs, "python", "echo 200 OK; [ $5 = 1 ] || exec sleep 600")
    program(stubs, "curl", "echo '<result><code>0</code><message>ACK</message></result>'")
    done = run(folder, BIN=str(stubs), PATH=f"{stubs}:{os.environ['PATH']}")
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("^^^ WRONG: expected code") == LINES


def test_a_recorder_that_does_not_start_fails_the_script(tmp_path: Path) -> None:
    program(tmp_path / "stubs", "siprecd", '[ "$1" != serve ] || { echo no port is free; exit 1; }')
    done = run(tmp_path / "run", BIN=str(tmp_path / "stubs"))
    assert done.returncode == 1
    assert "no port is free" in done.stdout
    assert "$ curl" not in done.stdout
