"""`siprecd directory`."""

import click


@click.group()
def directory() -> None:
    """Accounts, routes, users and what else an operator sets up."""
