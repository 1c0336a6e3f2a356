"""The command line, as typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from siprec import __version__
from siprec.cli import main

ROOT = Path(__file__).parents[2]


def siprecd(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "siprec", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version() -> None:
    result = CliRunner().invoke(main, ["version"])
    assert (result.exit_code, result.output) == (0, f"siprecd {__version__}\n")


def test_every_command_explains_itself() -> None:
    for command in ([], ["serve"], ["check"], ["recover"], ["apikey", "add"], ["version"]):
        result = CliRunner().invoke(main, [*command, "--help"])
        assert result.exit_code == 0 and "Usage" in result.output


def test_a_key_is_printed_alone_on_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "srs.toml").write_text('[storage]\ndatabase = "sqlite:///keys.db"\n')
    result = siprecd(tmp_path, "apikey", "add", "desk", "--role", "control", "--config", "srs.toml")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith("srs_")
    assert (tmp_path / "keys.db").exists()
    again = siprecd(tmp_path, "apikey", "add", "desk", "--role", "control", "--config", "srs.toml")
    assert again.returncode == 1 and "desk" in again.stderr and not again.stdout


def test_an_unknown_role_is_refused(tmp_path: Path) -> None:
    result = siprecd(tmp_path, "apikey", "add", "desk", "--role", "owner")
    assert result.returncode == 2 and "owner" in result.stderr


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("[media]\nport_min = 70000\n", {}, ["srs.toml", "media.port_min", "65535"]),
        ("[media]\nprot_min = 7000\n", {}, ["srs.toml", "media", "prot_min"]),
        ("[sip]\naccept = 'all'\n", {}, ["srs.toml", "sip.accept"]),
        ("[sip\n", {}, ["srs.toml"]),
        ("", {"SRS_API_LISTEN": "nowhere"}, ["SRS_API_LISTEN"]),
    ],
)
def test_a_wrong_configuration_ends_the_start_with_its_reason(
    tmp_path: Path, text: str, environment: dict[str, str], words: list[str]
) -> None:
    (tmp_path / "srs.toml").write_text(text)
    result = siprecd(tmp_path, "serve", "--config", "srs.toml", **environment)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert all(word in line for word in words), line


def test_the_rooms_are_not_loaded_for_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "srs.toml").write_text("[media]\nport_min = 70000\n")
    code = (
        "import sys; from siprec.cli import main\n"
        "try: main(['serve', '--config', 'srs.toml'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'aiohttp', 'sqlalchemy'} & {*sys.modules}"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        api = f"127.0.0.1:{taken.getsockname()[1]}"
        result = siprecd(
            tmp_path,
            "serve",
            SRS_API_LISTEN=api,
            SRS_SIP_LISTEN="udp://127.0.0.1:0,tcp://127.0.0.1:0",
        )
    assert result.returncode == 1
    assert "cannot listen" in result.stderr.splitlines()[-1]
