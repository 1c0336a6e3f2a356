"""`siprecd retention`."""

from pathlib import Path

import click

from siprec.commands.common import config_option


@click.command()
@config_option
def retention(path: Path | None) -> None:
    """Delete recordings that are due."""
