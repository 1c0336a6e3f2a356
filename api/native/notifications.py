"""Notifications over HTTP: what destinations are still to be told, dead letters, and their replay.

An admin of the System account sees all; one of another account what is about that account's calls.
The query of a URL and the body hold what is told of a call: they are not shown.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, cast

from msgspec import UNSET, Meta, Struct, UnsetType

from api.native import wire
from api.native.encode import timestamp
from api.problem import ApiError
from api.typed import Call, Nothing, Route
from siprec.session import Actor
from storage.directory import Entries
from storage.entries import SYSTEM_ACCOUNT
from storage.outbox import Queued

State = Literal["pending", "dead"]
Sequence = Annotated[int, Meta(ge=0, le=2**53)]
Number = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,15}(?!\n)$")]
"""A sequence number in a path."""


class FindNotifications(Struct, frozen=True, forbid_unknown_fields=True):
    """Which notifications to list, oldest first; `after`: only those with a higher number."""

    state: State | UnsetType = UNSET
    after: Sequence = 0
    limit: wire.Limit = 50


class OneNotification(Struct, frozen=True, forbid_unknown_fields=True):
    """One notification."""

    sequence: Number


class Notification(Struct, frozen=True):
    """One notification in the outbox; `next_at`: it is not tried again before."""

    sequence: int
    event_id: str
    destination: str
    call_id: str
    account: int
    state: State
    method: str
    url: str
    """Without its query; empty if the destination is not one of the caller's account."""
    created_at: wire.Timestamp
    next_at: wire.Timestamp
    attempts: int
    error: str
    """Why the last attempt failed."""


class NotificationList(Struct, frozen=True):
    """Notifications by number; `next`: for `after`, to get the next ones."""

    items: list[Notification]
    next: int | None


class Replayed(Struct, frozen=True):
    """How many dead letters were queued again."""

    count: int


async def find_notifications(call: Call[FindNotifications]) -> NotificationList:
    """Notifications that wait, and dead letters."""
    ask, entries = call.ask, call.services.directory.entries
    found = await call.services.outbox.find(
        None if ask.state is UNSET else cast(str, ask.state),
        _accounts(call.actor),
        ask.after,
        ask.limit + 1,
    )
    page = found[: ask.limit]
    following = page[-1].sequence if len(found) > len(page) else None
    return NotificationList([_shown(each, call.actor, entries) for each in page], following)


async def replay_notification(call: Call[OneNotification]) -> Replayed:
    """Queue one dead letter again."""
    return await _replay(call, [int(call.ask.sequence)])


async def replay_notifications(call: Call[Nothing]) -> Replayed:
    """Queue all dead letters again."""
    return await _replay(call, None)


async def _replay(call: Call[Any], sequences: list[int] | None) -> Replayed:
    outbox = call.services.outbox
    count = await outbox.replay(datetime.now(UTC), sequences, _accounts(call.actor))
    if sequences and not count:
        raise ApiError(HTTPStatus.NOT_FOUND, "no dead letter has this number")
    return Replayed(count)


def _accounts(actor: Actor) -> frozenset[int] | None:
    """Whose notifications exist for the actor; None: everybody's."""
    return None if actor.account == SYSTEM_ACCOUNT else frozenset({actor.account})


def _shown(queued: Queued, actor: Actor, entries: Entries) -> Notification:
    told = queued.notification
    destination = entries.destinations.get(told.destination)
    theirs = destination is not None and destination.scope in {"account", "route"}
    known = actor.account == SYSTEM_ACCOUNT or theirs
    return Notification(
        queued.sequence,
        told.event_id,
        told.destination,
        told.lane,
        told.account,
        cast(State, queued.state),
        told.method,
        told.url.partition("?")[0] if known else "",
        timestamp(told.created_at),
        timestamp(queued.next_at),
        queued.attempts,
        queued.error,
    )


_NOTIFICATIONS = f"{wire.PREFIX}/notifications"

ROUTES: tuple[Route[Any], ...] = (
    Route(
        "GET",
        _NOTIFICATIONS,
        "admin",
        find_notifications,
        FindNotifications,
        NotificationList,
        "List notifications that wait to be delivered, and dead letters",
        problems=(503,),
    ),
    Route(
        "POST",
        f"{_NOTIFICATIONS}/replay",
        "admin",
        replay_notifications,
        Nothing,
        Replayed,
        "Queue all dead letters again",
        problems=(503,),
    ),
    Route(
        "POST",
        f"{_NOTIFICATIONS}/{{sequence}}/replay",
        "admin",
        replay_notification,
        OneNotification,
        Replayed,
        "Queue one dead letter again",
        problems=(404, 503),
    ),
)
"""The operations about notifications."""
