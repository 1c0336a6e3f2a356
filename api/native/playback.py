"""Playback for reporting applications: is there a recording of a call segment, and its audio.

The integration entry of the calls' scope says as which user to look; what is found is what both
that user and whoever asks may see. Nothing is fetched from anywhere: the entry's hosts only say
how the recorder is called where the application is.
"""

import re
from datetime import UTC
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from api import problem
from api.auth import actor_of
from api.basic import email_of
from api.native import recordings, wire
from api.native.encode import timestamp
from api.problem import ApiError
from api.scopes import integration_for, partition_of
from api.typed import Call, Route
from siprec.session import Actor
from storage import records
from storage.directory import Entries
from storage.entries import SYSTEM_ACCOUNT, User
from storage.platforms import Integration
from storage.records import InvalidQuery, RecordingQuery

MOST = 100
"""Recordings in an answer."""
LISTENING = frozenset({"playback", "download"})
"""Permissions of which the entry's user needs one."""

Number = Annotated[int, Meta(ge=1, le=2_000_000_000)]
Partition = Annotated[str, Meta(pattern=r"^[0-9a-f:-]{1,64}(?!\n)$")]

_CRITERIA = ("call_id", "ucid", "ani", "dnis")
_TIMES = ("started_after", "started_before")
_ROUTE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_HOST = re.compile(
    r"(https?://)?((?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
    r"(?:/[A-Za-z0-9._~-]{1,100}){0,10})/?"
)


class FindPlayback(Struct, frozen=True, forbid_unknown_fields=True):
    """A call segment of a scope; every criterion given must match, and one has to be there.

    `tel_sys_id`: the account; `partition`: number or partition GUID of a route. Without them: all
    that whoever asks may see.
    """

    tel_sys_id: Number | UnsetType = UNSET
    partition: Partition | UnsetType = UNSET
    call_id: wire.Wanted | UnsetType = UNSET
    ucid: wire.Wanted | UnsetType = UNSET
    ani: wire.Wanted | UnsetType = UNSET
    dnis: wire.Wanted | UnsetType = UNSET
    started_after: wire.Moment | UnsetType = UNSET
    started_before: wire.Moment | UnsetType = UNSET


class FindAudio(FindPlayback, frozen=True, forbid_unknown_fields=True):
    """The same; `recording_id` chooses one of several."""

    recording_id: wire.Id | UnsetType = UNSET
    format: Literal["wav", "mp3"] = "wav"


class Playable(Struct, frozen=True):
    """A recording that can be played, at `url` and, if that does not answer, `fallback_url`."""

    recording_id: str
    started_at: wire.Timestamp
    duration_ms: int
    ani: str
    dnis: str
    url: str
    fallback_url: str | None


class Playback(Struct, frozen=True):
    """What there is of the segment, oldest first and at most 100, and by which entry."""

    integration: str
    description: str
    present: bool
    items: list[Playable]


class Ambiguous(problem.Problem, frozen=True, kw_only=True):
    """A problem with the recordings among which to choose."""

    items: list[Playable]


async def find_playback(call: Call[FindPlayback]) -> Playback:
    """Whether the segment was recorded."""
    entry, rows = await _found(call)
    items = [_playable(row, entry) for row in rows]
    return Playback(entry.guid, entry.description, bool(items), items)


async def get_audio(call: Call[FindAudio]) -> web.StreamResponse:
    """The audio of the one recording there is."""
    entry, rows = await _found(call)
    wanted = call.ask.recording_id
    rows = [row for row in rows if wanted in {UNSET, row.id}]
    if not rows:
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such recording")
    if len(rows) > 1:
        return _ambiguous(call.request.path, [_playable(row, entry) for row in rows])
    row = rows[0]
    if call.ask.format == "mp3":
        row = await call.services.library.mp3(row.id, call.actor)
    return await recordings.send(call, row, call.ask.format)


async def _found(call: Call[Any]) -> tuple[Integration, list[records.Recording]]:
    """The entry and the recordings. Raises ApiError, InvalidQuery, StorageUnavailable."""
    entries = call.services.directory.entries
    if all(getattr(call.ask, name) is UNSET for name in (*_CRITERIA, *_TIMES)):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"one of {', '.join((*_CRITERIA, *_TIMES))}")
    account, route = _scope(call.ask, call.actor, entries)
    entry = integration_for(entries, account, route)
    if entry is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "no integration is for this scope")
    query = _query(call.ask, _accounts(account, call.actor), _routes(route, call.actor))
    actor = actor_of(_user(entry, entries))
    if actor.rights.isdisjoint(LISTENING):
        raise ApiError(HTTPStatus.FORBIDDEN, "the user of the integration may not listen")
    return entry, await call.services.library.match(query, actor, _is_playable)


def _scope(ask: FindPlayback, actor: Actor, entries: Entries) -> tuple[int | None, int | None]:
    """Account and route that are meant; None: any. Raises ApiError if they are not there."""
    account = None if ask.tel_sys_id is UNSET else ask.tel_sys_id
    route = None
    if ask.partition is not UNSET:
        route = partition_of(ask.partition, entries)
        if route is None and _ROUTE.fullmatch(ask.partition):
            route = entries.routes.get(int(ask.partition))
        if route is None or account not in {None, route.account}:
            raise _no_scope()
        account = route.account
    elif account is None and actor.account != SYSTEM_ACCOUNT:
        account = actor.account
    number = route.id if route else None
    if account is not None and not (
        account in entries.accounts and actor.sees(account, number or 0)
    ):
        raise _no_scope()
    return account, number


def _no_scope() -> ApiError:
    return ApiError(HTTPStatus.NOT_FOUND, "there is no such account or route")


def _accounts(account: int | None, actor: Actor) -> frozenset[int] | None:
    if account is not None:
        return frozenset({account})
    return None if actor.account == SYSTEM_ACCOUNT else frozenset({actor.account})


def _routes(route: int | None, actor: Actor) -> frozenset[int] | None:
    return frozenset({route}) if route is not None else actor.routes or None


def _user(entry: Integration, entries: Entries) -> User:
    """As whom the entry acts: its first user who can. Raises ApiError."""
    for name in filter(None, entry.users):
        user = entries.users.get(email_of(name, entries).lower())
        if user and user.enabled:
            return user
    text = "the users of the integration are unknown or disabled"
    raise ApiError(HTTPStatus.FORBIDDEN, text)


def _query(
    ask: FindPlayback, accounts: frozenset[int] | None, routes: frozenset[int] | None
) -> RecordingQuery:
    given = {name: getattr(ask, name) for name in (*_CRITERIA, *_TIMES)}
    given = {name: value for name, value in given.items() if value is not UNSET}
    try:
        moments = {name: given[name].astimezone(UTC) for name in _TIMES if name in given}
    except OverflowError:
        raise InvalidQuery("this time is outside the years 1 to 9999") from None
    return RecordingQuery(accounts=accounts, routes=routes, limit=MOST, **{**given, **moments})


def _is_playable(row: records.Recording) -> bool:
    has_audio = any(file.format == "wav" for file in row.files)
    return row.is_finished and has_audio and not (row.deleting or row.discard)


def _playable(row: records.Recording, entry: Integration) -> Playable:
    path = f"{wire.PREFIX}/recordings/{row.id}/media"
    urls = [url for host in entry.hosts if (url := _url(host, path))]
    return Playable(
        row.id,
        timestamp(row.started_at),
        row.duration_ms,
        row.ani,
        row.dnis,
        urls[0] if urls else path,
        urls[1] if len(urls) > 1 else None,
    )


def _url(host: str, path: str) -> str:
    """`path` at a host, possibly below a path of its own; empty if that is none."""
    found = _HOST.fullmatch(host)
    return f"{found[1] or 'https://'}{found[2]}{path}" if found else ""


def _ambiguous(path: str, items: list[Playable]) -> web.Response:
    status = HTTPStatus.CONFLICT
    detail = "several recordings match; name one by recording_id"
    body = Ambiguous(
        title=status.phrase, status=status.value, detail=detail, instance=path, items=items
    )
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type=problem.CONTENT_TYPE
    )


_ALL = f"{wire.PREFIX}/playback"
_AUDIO = ("audio/wav", "audio/mpeg")

ROUTES: tuple[Route[Any], ...] = (
    Route(
        "GET",
        _ALL,
        "operator",
        find_playback,
        FindPlayback,
        Playback,
        "Whether a call segment was recorded, as the integration of its scope sees it",
        problems=(404, 503),
        right="playback",
    ),
    Route(
        "GET",
        f"{_ALL}/audio",
        "operator",
        get_audio,
        FindAudio,
        None,
        "Get the audio of a call segment, whole or a range of it",
        problems=(404, 409, 416, 503),
        answers={200: _AUDIO, 206: _AUDIO, 304: ()},
        right="playback",
    ),
)
"""Every operation of playback."""
