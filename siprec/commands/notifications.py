"""`siprecd notifications`."""

import click


@click.group()
def notifications() -> None:
    """What event destinations are still to be told."""
