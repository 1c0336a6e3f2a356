"""`siprecd apikey`: keys of the control API.

Works beside a running server, which notices within a second, and without one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.schema import Config
from siprec.commands.common import CommandError, config_option, read_config, run

if TYPE_CHECKING:
    from storage.database import Database


@click.group()
def apikey() -> None:
    """Keys of the control API."""


@apikey.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["control", "operator", "admin"]), required=True)
@click.option(
    "--account", type=int, default=1, help="Whose recordings it reaches; 1, the default: all."
)
@config_option
def add(name: str, role: str, account: int, path: Path | None) -> None:
    """Make a key and print it, this once, on the last line."""
    run(_add(read_config(path), name, role, account))


@apikey.command("list")
@config_option
def list_(path: Path | None) -> None:
    """Print the keys, one a line: name, role, account, when it was made."""
    run(_list(read_config(path)))


@apikey.command("remove")
@click.argument("name")
@config_option
def remove(name: str, path: Path | None) -> None:
    """Take a key back."""
    run(_remove(read_config(path), name))


@asynccontextmanager
async def _opened(config: Config) -> "AsyncIterator[Database]":
    from storage.database import Database

    database = Database(config.storage.database)
    try:
        yield database
    finally:
        await database.close()


async def _add(config: Config, name: str, role: str, account: int) -> int:
    from storage.directory import Directory
    from storage.keys import ApiKeys

    async with _opened(config) as database:
        directory = Directory(database)
        await directory.load()
        if account not in directory.entries.accounts:
            raise CommandError(f"there is no account {account}")
        click.echo(await ApiKeys(database).add(name, role, account))
    return 0


async def _list(config: Config) -> int:
    from storage.keys import ApiKeys

    async with _opened(config) as database:
        for key in await ApiKeys(database).list():
            made = f"{key.created_at:%Y-%m-%d %H:%M} UTC"
            click.echo(f"{key.name}\t{key.role}\taccount {key.account}\t{made}")
    return 0


async def _remove(config: Config, name: str) -> int:
    from storage.keys import ApiKeys

    async with _opened(config) as database:
        await ApiKeys(database).remove(name)
    click.echo(f"removed {name}")
    return 0
