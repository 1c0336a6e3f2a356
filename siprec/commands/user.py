"""`siprecd user`."""

import click


@click.group()
def user() -> None:
    """People and programs that log in with a password."""
