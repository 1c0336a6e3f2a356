"""`siprecd notifications`: what destinations are still to be told, and dead letters.

Works beside a running server, which notices within seconds, and without one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.schema import Config
from siprec.commands.common import CommandError, config_option, read_config, run

if TYPE_CHECKING:
    from storage.outbox import Outbox, Queued

_PAGE = 1000
"""Notifications read at a time."""


@click.group()
def notifications() -> None:
    """What event destinations are still to be told."""


@notifications.command("list")
@click.option("--dead", is_flag=True, help="Only dead letters.")
@config_option
def list_(path: Path | None, dead: bool) -> None:
    """Print what is queued, one a line, oldest first.

    Number, state, attempts, time, account, destination, Call-ID, URL without its query, reason.
    """
    run(_list(read_config(path), "dead" if dead else None))


@notifications.command("replay")
@click.option("--all", "every", is_flag=True, help="All dead letters.")
@click.argument("sequences", metavar="[NUMBER]...", type=click.IntRange(min=1), nargs=-1)
@config_option
def replay(path: Path | None, every: bool, sequences: tuple[int, ...]) -> None:
    """Queue dead letters again: those with these numbers, or --all."""
    if every == bool(sequences):
        raise click.UsageError("say which: numbers of dead letters, or --all")
    run(_replay(read_config(path), sequences or None))


async def _list(config: Config, state: str | None) -> int:
    async with _outbox(config) as outbox:
        after = 0
        while outbox and (page := await outbox.find(state, after=after, limit=_PAGE)):
            for queued in page:
                click.echo(_line(queued))
            after = page[-1].sequence
    return 0


async def _replay(config: Config, sequences: tuple[int, ...] | None) -> int:
    async with _outbox(config) as outbox:
        count = await outbox.replay(datetime.now(UTC), sequences) if outbox else 0
    if sequences and count < len({*sequences}):
        missing = len({*sequences}) - count
        raise CommandError(f"queued again: {count}; {missing} of the numbers are no dead letters")
    click.echo(f"queued again: {count}")
    return 0


@asynccontextmanager
async def _outbox(config: Config) -> AsyncIterator["Outbox | None"]:
    """The outbox of this node; None if nothing was ever put there."""
    from storage.database import Database
    from storage.outbox import Outbox
    from storage.tables import OUTBOX_SCHEMA

    path = Path(config.storage.spool) / "outbox.db"
    if not path.exists():
        yield None
        return
    database = Database(f"sqlite:///{path}", OUTBOX_SCHEMA)
    try:
        yield Outbox(database)
    finally:
        await database.close()


def _line(queued: "Queued") -> str:
    told = queued.notification
    words = (
        str(queued.sequence),
        queued.state,
        str(queued.attempts),
        f"{told.created_at:%Y-%m-%dT%H:%M:%SZ}",
        str(told.account),
        told.destination,
        told.lane,
        told.url.partition("?")[0],
        queued.error,
    )
    return "\t".join(map(_printable, words))


def _printable(text: str) -> str:
    """`text` without what a terminal would act on: names and Call-IDs come from outside."""
    return "".join(each if each.isprintable() else "?" for each in text) or "-"
