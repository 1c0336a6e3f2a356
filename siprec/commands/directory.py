"""`siprecd directory`: what an operator sets up, from files and in pieces.

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
    from storage.directory import Directory

YAML = {".yaml", ".yml"}
"""Endings of files that are YAML; all others are TOML."""


@click.group()
def directory() -> None:
    """Accounts, routes, users and what else an operator sets up."""


@directory.command("apply")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@config_option
def apply(file: Path, dry_run: bool, path: Path | None) -> None:
    """Make the directory contain what FILE says, all of it or nothing.

    FILE is TOML, or YAML if it is named so. What it does not name stays as it is.
    """
    run(_apply(read_config(path), file, dry_run))


@directory.command("show")
@click.argument("kind", default="")
@click.argument("key", default="")
@config_option
def show(kind: str, key: str, path: Path | None) -> None:
    """Print the entries as a file that `apply` takes: all, those of a KIND, or one.

    Secrets are printed as ***, which `apply` understands as: keep it.
    """
    run(_show(read_config(path), kind, key))


@directory.command("remove")
@click.argument("kind")
@click.argument("key")
@config_option
def remove(kind: str, key: str, path: Path | None) -> None:
    """Remove one entry."""
    run(_remove(read_config(path), kind, key))


async def _apply(config: Config, file: Path, dry_run: bool) -> int:
    from storage.records import InvalidEntry

    text, is_yaml = _read(file), file.suffix.lower() in YAML
    async with _opened(config) as opened:
        try:
            changes = await opened.apply(text, yaml=is_yaml, dry_run=dry_run)
        except InvalidEntry as error:
            raise CommandError(f"{file}: {error}") from error
    for change in changes:
        click.echo(f"{change.kind} {change.key} {'to be ' * dry_run}{change.verb}")
    if not changes:
        click.echo("nothing to change")
    return 0


def _read(file: Path) -> bytes:
    """What is in the file; of one that is too large only so much that it shows."""
    from storage.declaration import MAX_OCTETS

    try:
        with file.open("rb") as opened:
            return opened.read(MAX_OCTETS + 1)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error


async def _show(config: Config, kind: str, key: str) -> int:
    from storage import declaration
    from storage.entries import KINDS, as_key, shown

    if kind and kind not in KINDS:
        raise CommandError(f"there is no kind {kind!r}, only {', '.join(KINDS)}")
    async with _opened(config) as opened:
        await opened.load()
        found = [
            shown(entry)
            for (of, name), entry in opened.entries.by_key().items()
            if kind in {"", of} and as_key(kind, key) in {"", name}
        ]
    if key and not found:
        raise CommandError(f"there is nothing with key {key!r} among {kind}")
    click.echo(declaration.write(found), nl=False)
    return 0


async def _remove(config: Config, kind: str, key: str) -> int:
    async with _opened(config) as opened:
        await opened.remove(kind, key)
    click.echo(f"{kind} {key} removed")
    return 0


@asynccontextmanager
async def _opened(config: Config) -> "AsyncIterator[Directory]":
    from storage.database import Database
    from storage.directory import Directory

    database = Database(config.storage.database)
    try:
        yield Directory(database)
    finally:
        await database.close()
