"""The command line: `siprecd serve | check | recover | apikey add | version`.

A command reads its configuration before it imports the rooms: a wrong key is named at once.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from config.load import load
from config.schema import Config, ConfigError
from siprec import __version__, logs

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=None,
    help="TOML file; without it safe defaults apply (loopback, ./data).",
)


def _config(path: Path | None) -> Config:
    try:
        config = load(path, os.environ)
    except ConfigError as error:
        click.echo(f"siprecd: {error}", err=True)
        sys.exit(2)
    logs.configure(config.log)
    return config


def _run(work: Coroutine[Any, Any, int]) -> None:
    from siprec.app import StartError

    try:
        sys.exit(asyncio.run(work))
    except StartError as error:
        click.echo(f"siprecd: {error}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A SIPREC session recording server."""


@main.command()
@config_option
def serve(path: Path | None) -> None:
    """Record until SIGTERM."""
    config = _config(path)
    from siprec import app

    _run(app.serve(config))


@main.command()
@config_option
def check(path: Path | None) -> None:
    """Say whether this set-up would work, and what to do where it would not."""
    config = _config(path)
    from siprec import check as checks

    _run(checks.check(config))


@main.command()
@config_option
def recover(path: Path | None) -> None:
    """Finish recordings that a crash cut off, without serving."""
    config = _config(path)
    from siprec import app

    _run(app.recover(config))


@main.group()
def apikey() -> None:
    """Keys of the control API."""


@apikey.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["control", "operator", "admin"]), required=True)
@config_option
def apikey_add(name: str, role: str, path: Path | None) -> None:
    """Make a key and print it, this once, on the last line."""
    config = _config(path)
    from siprec import app

    _run(app.add_key(config, name, role))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"siprecd {__version__}")
