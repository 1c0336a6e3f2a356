"""What all commands share: reading the configuration, and running work that may fail clearly.

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
from siprec import logs

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=None,
    help="TOML file; without it safe defaults apply (loopback, ./data).",
)


class CommandError(Exception):
    """A command cannot be carried out; the text says why and what to do."""


def read_config(path: Path | None) -> Config:
    """The configuration; a wrong one ends the process with status 2 and one line."""
    try:
        config = load(path, os.environ)
    except ConfigError as error:
        click.echo(f"siprecd: {error}", err=True)
        sys.exit(2)
    logs.configure(config.log)
    return config


def run(work: Coroutine[Any, Any, int]) -> None:
    """Do `work` and exit with its status; CommandError and StorageError: 1 and one line."""
    from storage.records import StorageError

    try:
        sys.exit(asyncio.run(work))
    except (CommandError, StorageError) as error:
        click.echo(f"siprecd: {error}", err=True)
        sys.exit(1)
