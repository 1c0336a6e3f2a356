"""`siprecd retention`: delete recordings that are due, and say which before doing so.

Works beside a running server, and without one.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.schema import Config
from siprec.commands.common import CommandError, config_option, read_config, run

if TYPE_CHECKING:
    from siprec.library import Library
    from storage.retention import Due, RetentionPlan

_COLUMNS = "{:>10}  {:>10}  {:>8}  {:>9}  {}"
_REFUSAL = (
    "nothing is deleted: these are more than 100 and more than {} % of all recordings, so that the "
    "time or a rule may be wrong. If both are right: siprecd retention --confirm"
)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--confirm", is_flag=True, help="Delete although it is very much at once.")
@config_option
def retention(path: Path | None, dry_run: bool, confirm: bool) -> None:
    """Delete recordings that ended longer ago than their route or account keeps them.

    Held recordings and those that never expire stay. More than `[retention] guard_percent` of all
    recordings at once, and more than 100, are deleted only with --confirm.
    """
    run(_retention(read_config(path), dry_run, confirm))


async def _retention(config: Config, dry_run: bool, confirm: bool) -> int:
    from siprec.rooms import Background, opened
    from storage.records import StorageError

    try:
        async with asyncio.TaskGroup() as group, opened(config, Background(group).spawn) as rooms:
            await rooms.books.directory.load()
            guard_percent = 100 if confirm else config.retention.guard_percent
            await _run(rooms.services.library, dry_run, guard_percent)
    except* (CommandError, StorageError) as errors:
        raise errors.exceptions[0] from None
    return 0


async def _run(library: "Library", dry_run: bool, guard_percent: int) -> None:
    now = datetime.now(UTC)
    plan = await library.plan_retention(now)
    await _show(library, plan, now)
    too_much = plan.is_mass_delete(guard_percent)
    if not plan.count:
        click.echo("nothing to delete")
    elif dry_run:
        click.echo(f"would delete {plan.count:,}" + (", with --confirm only" if too_much else ""))
    elif too_much:
        raise CommandError(_REFUSAL.format(guard_percent))
    else:
        await _delete(library, plan)


async def _show(library: "Library", plan: "RetentionPlan", now: datetime) -> None:
    """The plan as a table."""
    if plan.due:
        click.echo(_COLUMNS.format("account", "route", "keeps", "due", "oldest ended"))
    for due in plan.due:
        keeps, count = f"{due.retention_days} d", f"{len(due.recording_ids):,}"
        click.echo(
            _COLUMNS.format(due.account, due.route, keeps, count, await _oldest(library, due))
        )
    click.echo(f"{plan.count:,} of {plan.total:,} recordings are due at {_minute(now)}")


async def _oldest(library: "Library", due: "Due") -> str:
    from storage.records import UnknownRecording

    try:
        oldest = await library.get(due.recording_ids[0])
    except UnknownRecording:
        return "gone meanwhile"
    return _minute(oldest.ended_at or oldest.started_at)


async def _delete(library: "Library", plan: "RetentionPlan") -> None:
    from storage.retention import RetentionPlan

    click.echo(f"deleting {plan.count:,}")
    deleted = 0
    for due in plan.due:
        count = await library.retire(RetentionPlan((due,), plan.total))
        deleted += count
        click.echo(f"account {due.account}, route {due.route}: {count:,} deleted")
    click.echo(f"deleted {deleted:,} of {plan.count:,}")


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
