"""The directory over HTTP: the same four operations for each kind of entry.

An admin of the System account sees and changes everything. An admin of another account sees what
belongs to that account or applies to it, and changes what it has of its own; which calls are whose
is not among that. What one may not see is not there. The rules are asked within the transaction
that makes the change, about the entries as they are then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from api.native import wire
from api.problem import ApiError
from api.typed import Call, Route
from siprec.session import Actor
from storage import entries as nouns
from storage.directory import Entries
from storage.entries import DEFAULT_PERMISSIONS, KINDS, SYSTEM_ACCOUNT, as_key, key_of, shown
from storage.platforms import Integration, RecordingPlatform, RecordingProperties
from storage.records import InvalidEntry, UnknownEntry

Key = Annotated[str, Meta(min_length=1, max_length=300)]

READ_ONLY = (
    nouns.Account,
    nouns.CustomField,
    nouns.MetadataType,
    nouns.ExportTemplate,
    RecordingPlatform,
    RecordingProperties,
)
"""What only the System account's admins change."""
CLAIM = ("match", "pattern", "priority")
"""Fields of a route that say which calls are whose."""


class FindEntries(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of the entries of a kind to list."""

    limit: wire.Limit = 1000
    cursor: Key | UnsetType = UNSET
    """Key after which to go on."""


class OneEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of a kind."""

    key: Key


async def find_entries(kind: str, call: Call[FindEntries]) -> Struct:
    """Entries by key: numbers first, in their order."""
    visible = _visible(kind, call)
    keys = sorted(visible, key=_place)
    if call.ask.cursor:
        keys = [key for key in keys if _place(key) > _place(call.ask.cursor)]
    page = keys[: call.ask.limit]
    following = page[-1] if len(keys) > len(page) else None
    return _LISTS[kind]([visible[key] for key in page], following)


async def get_entry(kind: str, call: Call[OneEntry]) -> nouns.Entry:
    """One entry."""
    found = _visible(kind, call).get(as_key(kind, call.ask.key))
    return found or _not_there()


async def put_entry(kind: str, call: Call[Any]) -> web.Response:
    """Add an entry, or replace it whole."""
    key = as_key(kind, call.ask.key)
    names = KINDS[kind].__struct_fields__
    entry = KINDS[kind](**{name: getattr(call.ask, name) for name in names})
    if key_of(entry) != key:
        detail = f"the path names {key!r}, the entry says that it is {key_of(entry)!r}"
        raise ApiError(HTTPStatus.CONFLICT, detail)

    def guard(entries: Entries) -> None:
        _admit(call.actor, entries, entries.by_key().get((kind, key)), entry)

    with _refusals():
        change = await call.services.directory.put(entry, guard)
    stored = call.services.directory.entries.by_key().get((kind, key), entry)
    return web.Response(
        status=HTTPStatus.CREATED if change and change.verb == "added" else HTTPStatus.OK,
        body=msgspec.json.encode(_as_seen(call.actor, stored)),
        content_type="application/json",
    )


async def delete_entry(kind: str, call: Call[OneEntry]) -> None:
    """Remove an entry that no other names."""
    key = as_key(kind, call.ask.key)

    def guard(entries: Entries) -> None:
        _admit(call.actor, entries, entries.by_key().get((kind, key)), None)

    # Who else names it is nobody's business in another account.
    detail = "" if call.actor.account == SYSTEM_ACCOUNT else "other entries name it"
    with _refusals(detail):
        await call.services.directory.remove(kind, key, guard)
    if kind == "users":
        # Who is added under this address later is somebody else.
        await call.services.users.forget(key)


def _visible(kind: str, call: Call[Any]) -> dict[str, nouns.Entry]:
    """The entries of a kind that exist for who asks, by key."""
    entries, actor = call.services.directory.entries, call.actor
    return {
        key: _as_seen(actor, entry)
        for (of, key), entry in entries.by_key().items()
        if of == kind and _sees(actor, entry, entries)
    }


def _sees(actor: Actor, entry: nouns.Entry, entries: Entries) -> bool:
    if actor.account == SYSTEM_ACCOUNT:
        return True
    if isinstance(entry, nouns.CustomField):
        return not entry.accounts or actor.account in entry.accounts
    if isinstance(entry, nouns.Route):
        return actor.sees(entry.account, entry.id)
    common = isinstance(entry, nouns.MetadataType | nouns.ExportTemplate)
    return common or _owner(entry, entries) == actor.account


def _as_seen(actor: Actor, entry: nouns.Entry) -> nouns.Entry:
    """`entry` without secrets, and without what concerns other accounts."""
    if isinstance(entry, nouns.CustomField) and entry.accounts and actor.account != SYSTEM_ACCOUNT:
        return structs.replace(entry, accounts=[actor.account])
    return shown(entry)


def _owner(entry: nouns.Entry, entries: Entries) -> int | None:
    """The account an entry belongs to; None: to all, or to none."""
    match entry:
        case nouns.Account():
            return entry.number
        case nouns.Route() | nouns.User() | nouns.ScreenAgent() | Integration():
            return entry.account
        case nouns.Destination(scope="account", of=int(number)):
            return number
        case nouns.Destination(scope="route", of=int(number)) if number in entries.routes:
            return entries.routes[number].account
        case nouns.Policy():
            route = entries.routes.get(entry.when.route or 0)
            return entry.when.account or (route.account if route else None)
    return None


def _admit(
    actor: Actor, entries: Entries, old: nouns.Entry | None, new: nouns.Entry | None
) -> None:
    """Return if `actor` may make `new` of `old`, None for what is not there. Raises ApiError."""
    if old is not None and not _sees(actor, old, entries):
        _not_there()
    if reason := _objection(actor, entries, old, new):
        raise ApiError(HTTPStatus.FORBIDDEN, reason)


def _objection(
    actor: Actor, entries: Entries, old: nouns.Entry | None, new: nouns.Entry | None
) -> str:
    if actor.routes:
        return "who is confined to certain routes changes nothing here"
    if isinstance(new, nouns.User):
        wanted = DEFAULT_PERMISSIONS[new.type] if new.permissions is None else new.permissions
        if not actor.rights.issuperset(wanted):
            return "nobody can give a permission they have not"
    if actor.account == SYSTEM_ACCOUNT:
        return ""
    if isinstance(old or new, READ_ONLY):
        return "this is for the System account"
    if new is not None and _owner(new, entries) != actor.account:
        return "this would belong to another account"
    if isinstance(old, nouns.Route) or isinstance(new, nouns.Route):
        claims = [[getattr(route, name, None) for name in CLAIM] for route in (old, new)]
        if claims[0] != claims[1]:
            return "which calls are an account's is for the System account to say"
    return ""


def _not_there() -> Any:
    raise ApiError(HTTPStatus.NOT_FOUND, "nothing has this key")


@contextmanager
def _refusals(detail: str = "") -> Iterator[None]:
    """What the directory refuses as a whole, as an answer (RFC 9110 section 9.3.4)."""
    try:
        yield
    except UnknownEntry:
        _not_there()
    except InvalidEntry as error:
        raise ApiError(HTTPStatus.CONFLICT, detail or str(error)) from None


def _place(key: str) -> tuple[bool, int, str]:
    is_number = key.isascii() and key.isdecimal() and len(key) <= 18
    return not is_number, int(key) if is_number else 0, key


def _put_of(kind: type[nouns.Entry]) -> type[Struct]:
    """What a PUT asks: the key of the path, and the fields of the entry in the body."""
    fields = [("key", Key, msgspec.NODEFAULT), *map(_field, structs.fields(kind))]
    return msgspec.defstruct(
        f"Put{kind.__name__}",
        fields,
        kw_only=True,
        frozen=True,
        forbid_unknown_fields=True,
        module=__name__,
    )


def _field(field: structs.FieldInfo) -> tuple[str, Any, Any]:
    """Name, type and default of a field, to define one like it."""
    factory: Any = field.default_factory
    if factory is msgspec.NODEFAULT:
        return field.name, field.type, field.default
    return field.name, field.type, msgspec.field(default_factory=factory)


def _list_of(kind: type[nouns.Entry]) -> type[Struct]:
    """A page of entries."""
    fields: list[tuple[str, Any]] = [("items", list[kind]), ("next", str | None)]  # type: ignore[valid-type]
    return msgspec.defstruct(f"{kind.__name__}List", fields, frozen=True, module=__name__)


_LISTS = {kind: _list_of(entry) for kind, entry in KINDS.items()}


def _routes(kind: str, entry: type[nouns.Entry]) -> Iterator[Route[Any]]:
    path, name = f"{wire.PREFIX}/directory/{kind}", kind.replace("-", "_")
    one, words = f"{path}/{{key}}", kind.replace("-", " ")
    rows: tuple[tuple[Any, ...], ...] = (
        ("find", "GET", path, find_entries, FindEntries, _LISTS[kind], f"List {words}", ()),
        ("get", "GET", one, get_entry, OneEntry, entry, f"Get one of the {words}", (404,)),
        (
            "put",
            "PUT",
            one,
            put_entry,
            _put_of(entry),
            entry,
            f"Add one of the {words}, or replace it whole",
            (404, 408, 409, 413, 415, 503),
        ),
        (
            "delete",
            "DELETE",
            one,
            delete_entry,
            OneEntry,
            None,
            f"Remove one of the {words}",
            (404, 409, 503),
        ),
    )
    for verb, method, where, handler, ask, answer, summary, problems in rows:
        yield Route(
            method,
            where,
            "admin",
            partial(handler, kind),
            ask,
            answer,
            summary,
            problems,
            answers={200: _JSON, 201: _JSON} if method == "PUT" else None,
            name=f"{verb}_{name}",
        )


_JSON = ("application/json",)

ROUTES: tuple[Route[Any], ...] = tuple(
    route for kind, entry in KINDS.items() for route in _routes(kind, entry)
)
"""Every operation on the directory."""
