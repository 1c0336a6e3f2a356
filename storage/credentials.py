"""What the database keeps of users: credentials and tokens as rows, in the caller's transaction.

A counter grows with each change, for processes that hold a copy. Counterpart: `storage.users`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from config.schema import Users as Rules
from storage.passwords import Attempt, Credential
from storage.tables import counters, credentials, directory, tokens
from storage.tokens import Untold

_COUNTER = "users"
_ROWS = 500
"""Rows read before others get their turn."""


async def version(connection: AsyncConnection) -> int:
    """How many changes there have been."""
    found = await connection.scalar(select(counters.c.value).where(counters.c.name == _COUNTER))
    return found or 0


async def count(connection: AsyncConnection) -> int:
    """Count one more change; `version` from now on."""
    first = text("INSERT INTO counters (name, value) VALUES (:name, 0) ON CONFLICT DO NOTHING")
    await connection.execute(first, {"name": _COUNTER})
    grown = update(counters).where(counters.c.name == _COUNTER).values(value=counters.c.value + 1)
    return await connection.scalar(grown.returning(counters.c.value)) or 0


async def read(connection: AsyncConnection) -> dict[str, Credential]:
    """All credentials."""
    rows = await connection.execute(select(credentials))
    return {row.email: _credential(row) for row in rows}


async def read_tokens(connection: AsyncConnection) -> AsyncIterator[Sequence[Row[Any]]]:
    """All tokens, some at a time."""
    stream = await connection.stream(select(tokens))
    async for rows in stream.partitions(_ROWS):
        yield rows


async def write(connection: AsyncConnection, email: str, credential: Credential) -> None:
    """Give a user a credential in place of the one before, and of all tokens."""
    await forget(connection, email)
    await connection.execute(
        insert(credentials).values(
            email=email,
            password=credential.password,
            changed_at=credential.changed_at,
            failures=credential.failures,
            locked_until=credential.locked_until,
        )
    )


async def write_attempts(
    connection: AsyncConnection, attempts: Mapping[str, Sequence[Attempt]], rules: Rules
) -> dict[str, Credential]:
    """Add failures and successes to what is known by now; what came of them."""
    known = {}
    for email in sorted(attempts):  # in one order everywhere, so that no two wait for each other
        row = (await connection.execute(_locked(email))).one_or_none()
        if row is not None:
            known[email] = after = _credential(row).after(attempts[email], rules)
            state = {"failures": after.failures, "locked_until": after.locked_until}
            await connection.execute(
                update(credentials).where(credentials.c.email == email).values(state)
            )
    return known


async def write_tokens(connection: AsyncConnection, untold: Untold) -> None:
    """Store what was given, unless the password has changed since, and delete what has ended."""
    known = {}
    for email in sorted({held.email for held in untold.given.values()}):
        row = (await connection.execute(_locked(email))).one_or_none()
        known[email] = row.password if row else ""
    rows = [
        {
            "sha256": digest,
            "email": held.email,
            "created_at": held.created_at,
            "expires_at": held.expires_at,
        }
        for digest, held in untold.given.items()
        if known[held.email] == held.password
    ]
    # Given ones too: a transaction whose end we did not hear of is made again.
    digests = [{"digest": digest} for digest in (*untold.ended, *untold.given)]
    if digests:
        one = delete(tokens).where(tokens.c.sha256 == bindparam("digest"))
        await connection.execute(one, digests)
    if rows:
        await connection.execute(insert(tokens), rows)


async def unlock(connection: AsyncConnection, email: str) -> None:
    """Forget a user's failures."""
    free = {"failures": 0, "locked_until": None}
    await connection.execute(update(credentials).where(credentials.c.email == email).values(free))


async def forget(connection: AsyncConnection, email: str) -> None:
    """Delete a user's password and tokens."""
    await connection.execute(delete(credentials).where(credentials.c.email == email))
    await end_tokens(connection, email)


async def end_tokens(connection: AsyncConnection, email: str) -> None:
    """Delete a user's tokens."""
    await connection.execute(delete(tokens).where(tokens.c.email == email))


async def tidy(connection: AsyncConnection, now: datetime) -> bool:
    """Delete what expired, and what belongs to users the directory has no more; whether there
    were such."""
    users = select(directory.c.key).where(directory.c.kind == "users")
    gone = delete(credentials).where(credentials.c.email.not_in(users))
    nobodys = (await connection.execute(gone)).rowcount
    orphaned = tokens.c.email.not_in(select(credentials.c.email))
    await connection.execute(delete(tokens).where(or_(tokens.c.expires_at <= now, orphaned)))
    return nobodys > 0


def _locked(email: str) -> Select[Any]:
    """The row of a user, which nobody else changes before the transaction ends."""
    return select(credentials).where(credentials.c.email == email).with_for_update()


def _credential(row: Row[Any]) -> Credential:
    return Credential(row.password, row.changed_at, row.failures, row.locked_until)
