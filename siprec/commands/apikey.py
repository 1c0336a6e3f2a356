"""`siprecd apikey`: keys of the control API."""

from pathlib import Path

import click

from config.schema import Config
from siprec.commands.common import config_option, read_config, run


@click.group()
def apikey() -> None:
    """Keys of the control API."""


@apikey.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["control", "operator", "admin"]), required=True)
@config_option
def add(name: str, role: str, path: Path | None) -> None:
    """Make a key and print it, this once, on the last line."""
    run(_add(read_config(path), name, role))


async def _add(config: Config, name: str, role: str) -> int:
    from storage.database import Database
    from storage.keys import ApiKeys

    database = Database(config.storage.database)
    try:
        await database.migrate()
        click.echo(await ApiKeys(database).add(name, role))
    finally:
        await database.close()
    return 0
