"""The command line: `siprecd serve | check | recover | version`, and the nouns of `commands`."""

import gc
from pathlib import Path

import click

from siprec import __version__
from siprec.commands.apikey import apikey
from siprec.commands.common import config_option, read_config, run
from siprec.commands.directory import directory
from siprec.commands.notifications import notifications
from siprec.commands.retention import retention
from siprec.commands.user import user


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A SIPREC session recording server."""


@main.command()
@config_option
def serve(path: Path | None) -> None:
    """Record until SIGTERM."""
    config = read_config(path)
    gc.disable()  # nothing to collect while the rooms are loaded; `siprec.app` enables it
    from siprec import app

    run(app.serve(config))


@main.command()
@config_option
def check(path: Path | None) -> None:
    """Say whether this set-up would work, and what to do where it would not."""
    config = read_config(path)
    from siprec import check as checks

    run(checks.check(config))


@main.command()
@config_option
def recover(path: Path | None) -> None:
    """Finish recordings that a crash cut off, without serving."""
    config = read_config(path)
    from siprec import app

    run(app.recover(config))


for group in (apikey, directory, notifications, user):
    main.add_command(group)
main.add_command(retention)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"siprecd {__version__}")
