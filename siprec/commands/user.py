"""`siprecd user`: people and programs that log in with a password.

A password is read from standard input, never from the command line, where others could see it.
Works beside a running server, which notices within a second, and without one.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from config.schema import Config
from siprec.commands.common import CommandError, config_option, read_config, run
from storage.entries import Permission, UserType

if TYPE_CHECKING:
    from storage.directory import Directory, Entries
    from storage.entries import User
    from storage.users import Users

_LINE = 4096
"""Characters of a line with a password that are read."""


@click.group()
def user() -> None:
    """People and programs that log in with a password."""


@user.command("add")
@click.argument("email")
@click.option("--type", "kind", type=click.Choice(get_args(UserType)), required=True)
@click.option("--account", type=int, required=True, help="Number of the account.")
@click.option("--permission", type=click.Choice(get_args(Permission)), multiple=True)
@click.option("--line", multiple=True, help="Directory number.")
@click.option("--device", multiple=True, help="Device name.")
@click.option("--sip-uri", default="")
@config_option
def add(path: Path | None, **given: Any) -> None:
    """Make a user; the password is read from standard input, one line.

    Without --permission: all for admin; all but delete for api; playback and download for tenant.
    """
    run(_add(read_config(path), given))


@user.command("password")
@click.argument("email")
@config_option
def password(email: str, path: Path | None) -> None:
    """Set a user's password, read from standard input; ends locks and tokens."""
    run(_password(read_config(path), email))


@user.command("unlock")
@click.argument("email")
@config_option
def unlock(email: str, path: Path | None) -> None:
    """Let a user log in again who failed too often."""
    run(_unlock(read_config(path), email))


@user.command("list")
@config_option
def list_(path: Path | None) -> None:
    """Print the users, one a line: address, type, account, state."""
    run(_list(read_config(path)))


@user.command("remove")
@click.argument("email")
@config_option
def remove(email: str, path: Path | None) -> None:
    """Remove a user with password and tokens."""
    run(_remove(read_config(path), email))


@dataclass(frozen=True, slots=True)
class _Books:
    directory: "Directory"
    users: "Users"


@asynccontextmanager
async def _books(config: Config) -> AsyncIterator[_Books]:
    from storage.database import Database
    from storage.directory import Directory
    from storage.users import Users

    database = Database(config.storage.database)
    try:
        directory = Directory(database)
        users = Users(database, directory, config.users)
        await directory.load()
        await users.load()
        yield _Books(directory, users)
    finally:
        await database.close()


async def _add(config: Config, given: dict[str, Any]) -> int:
    from storage.passwords import check_password
    from storage.records import StorageError

    entry = _entry(given)
    secret = _read_password()
    check_password(secret, entry.email, config.users)
    async with _books(config) as books:
        await books.directory.put(entry, _unless_there(entry.email))
        try:
            await books.users.set_password(entry.email, secret, datetime.now(UTC))
        except StorageError:
            await books.directory.remove("users", entry.email)
            raise
    click.echo(f"added {entry.email}")
    return 0


def _entry(given: dict[str, Any]) -> "User":
    """The entry the options describe. Raises CommandError."""
    import msgspec

    from storage.entries import User

    fields = {
        "email": given["email"],
        "account": given["account"],
        "type": given["kind"],
        "permissions": list(given["permission"]) or None,
        "lines": list(given["line"]),
        "devices": list(given["device"]),
        "sip_uri": given["sip_uri"],
    }
    try:
        return msgspec.convert(fields, User)
    except msgspec.ValidationError as error:
        raise CommandError(f"user {given['email']!r}: {error}") from None


def _unless_there(email: str) -> Any:
    def guard(entries: "Entries") -> None:
        if email.lower() in entries.users:
            raise CommandError(f"there is a user {email} already; change it with `user password`")

    return guard


def _read_password() -> str:
    """One line of standard input, or what is typed unseen. Raises CommandError."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    try:
        line = sys.stdin.readline(_LINE).rstrip("\r\n")
    except UnicodeDecodeError:
        raise CommandError("the password on standard input is not UTF-8") from None
    if not line:
        raise CommandError("no password: it is read from standard input, one line")
    return line


async def _password(config: Config, email: str) -> int:
    secret = _read_password()
    async with _books(config) as books:
        await books.users.set_password(email, secret, datetime.now(UTC))
    click.echo(f"password of {email} set")
    return 0


async def _unlock(config: Config, email: str) -> int:
    async with _books(config) as books:
        await books.users.unlock(email)
    click.echo(f"unlocked {email}")
    return 0


async def _list(config: Config) -> int:
    async with _books(config) as books:
        for entry in sorted(books.directory.entries.users.values(), key=lambda one: one.email):
            click.echo(_line_of(entry, books.users, datetime.now(UTC)))
    return 0


def _line_of(entry: "User", users: "Users", now: datetime) -> str:
    standing = users.standing(entry.email, now)
    states = {
        "disabled": not entry.enabled,
        "no password": not standing.has_password,
        f"locked until {_minute(standing.locked_until)}": standing.locked_until,
        "password expired": standing.expires_at and standing.expires_at <= now,
    }
    state = ", ".join(text for text, holds in states.items() if holds) or "can log in"
    return f"{entry.email}\t{entry.type}\taccount {entry.account}\t{state}"


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else ""


async def _remove(config: Config, email: str) -> int:
    async with _books(config) as books:
        await books.directory.remove("users", email)
        await books.users.forget(email)
    click.echo(f"removed {email}")
    return 0
