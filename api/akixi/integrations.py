"""The operations on recording integration entries: add, change, delete, list, and all of one.

An entry is a `storage.platforms.Integration` of the directory. What a request says is looked at
before what it is about, and that within the transaction that makes the change.
"""

import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog
from msgspec import structs

from api.akixi import codes, scope, wire
from api.akixi.codes import Refusal
from api.akixi.scope import Scope
from api.dialect import Context
from api.scopes import partition_guid
from storage.directory import Entries
from storage.entries import User
from storage.platforms import Integration

logger = structlog.get_logger(__name__)

TYPE = "Dubber"
"""The one there is."""
LONGEST = 255
PAGE = 1000
DEMONSTRATION = "d7ae7ea9bf56ebdc:-3f5d0705:1559c8e762d:-8000"
"""GUID of the entry that is there from the beginning."""

HOSTS = ("IPAddrOrHost1", "IPAddrOrHost2")
USERS = ("AuthUserID1", "AuthUserID2")
PARAMETERS = ("APIParameter1", "APIParameter2")
SETTINGS = (*HOSTS, *USERS, *PARAMETERS)
NEEDED = ("IPAddrOrHost1", "AuthUserID1")
DEFAULT_FIELDS = ("CallRecIntGUID", "Description")

_GUID = re.compile(r"[0-9a-f]{1,16}:-?[0-9a-f]{1,8}:[0-9a-f]{1,16}:-?[0-9a-f]{1,4}", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ask:
    """One operation, and the user who may have it done."""

    request: wire.Request
    user: User


class Integrations:
    """What the operations do. Each returns the data of its answer, None for none."""

    def __init__(self, context: Context) -> None:
        self._directory = context.services.directory

    async def add(self, ask: Ask) -> None:
        """Add an entry, with a GUID that `list_` tells."""
        properties, settings = ask.request.properties, ask.request.settings
        if properties.get("CallRecIntType", "") != TYPE:
            raise Refusal(codes.BAD_TYPE)
        needed = (properties.get("Description"), *(settings.get(name) for name in NEEDED))
        if not all(needed) or _is_too_long(ask.request):
            raise Refusal(codes.PROPERTY_MISSING)
        wanted = scope.asked(properties)

        def change(entries: Entries) -> dict[tuple[str, str], Integration]:
            found = scope.resolved(wanted, entries, ask.user)
            entry = Integration(_new_guid(entries), _next_number(entries))
            entry = _changed(entry, ask.request, found)
            return {("integrations", entry.guid): entry}

        (made,) = await self._directory.edit(change)
        logger.info("integration_added", integration=made.key, actor=ask.user.email)

    async def change(self, ask: Ask) -> None:
        """Change what a request names of an entry; an empty value takes the old one away."""
        guid = _guid(ask)
        properties, settings = ask.request.properties, ask.request.settings
        needed = (properties.get("Description"), *(settings.get(name) for name in NEEDED))
        if "" in needed or _is_too_long(ask.request):
            raise Refusal(codes.INVALID)
        scope.asked(properties, Scope(1))  # whether the numbers are any, before what they name

        def change(entries: Entries) -> dict[tuple[str, str], Integration]:
            old = _entry(entries, guid, ask.user)
            before = found = Scope(old.account, old.route)
            if not properties.keys().isdisjoint(scope.NAMES):
                wanted = scope.asked(properties, before)
                found = scope.resolved(wanted, entries, ask.user)
            return {("integrations", guid): _changed(old, ask.request, found)}

        await self._directory.edit(change)
        logger.info("integration_changed", integration=guid, actor=ask.user.email)

    async def delete(self, ask: Ask) -> None:
        """Remove an entry. No recording is touched."""
        guid = _guid(ask)

        def change(entries: Entries) -> dict[tuple[str, str], None]:
            _entry(entries, guid, ask.user)
            return {("integrations", guid): None}

        await self._directory.edit(change)
        logger.info("integration_removed", integration=guid, actor=ask.user.email)
        if guid == DEMONSTRATION:
            logger.warning("demonstration_integration_removed", actor=ask.user.email)

    async def list_(self, ask: Ask) -> str:
        """The entries of a scope, or all the user may see, in the order they were added."""
        offset = _count(ask.request.offset, 0, 0, 10**9)
        limit = _count(ask.request.limit, PAGE, 1, PAGE)
        wanted = scope.listed(ask.request.properties)
        entries = self._directory.entries
        found = [
            each
            for each in _of_scope(wanted, entries, ask.user)
            if scope.reaches(ask.user, Scope(each.account, each.route))
        ]
        fields = _fields(ask.request.properties.get("CallRecIntFields", ""))
        page = found[offset : offset + limit]
        return "".join(wire.container(_listed(each, fields)) for each in page)

    async def info(self, ask: Ask) -> str:
        """Everything of one entry."""
        entry = _entry(self._directory.entries, _guid(ask), ask.user)
        shown = "".join(wire.one(*each) for each in _properties(entry).items())
        inner = "".join(wire.one(*each) for each in _settings(entry).items())
        return shown + wire.container(inner, wire.SETTINGS)


def _guid(ask: Ask) -> str:
    guid = ask.request.properties.get("CallRecIntGUID", "")
    if not guid:
        raise Refusal(codes.NO_ENTRY_GUID)
    if not _GUID.fullmatch(guid):
        raise Refusal(codes.INVALID)
    return guid


def _entry(entries: Entries, guid: str, user: User) -> Integration:
    entry = entries.integrations.get(guid)
    if entry is None:
        raise Refusal(codes.NO_ENTRY)
    if not scope.reaches(user, Scope(entry.account, entry.route)):
        raise Refusal(codes.OUT_OF_SCOPE)
    return entry


def _is_too_long(request: wire.Request) -> bool:
    texts = [request.properties.get("Description", "")]
    texts += (request.settings.get(name, "") for name in SETTINGS)
    return any(len(text) > LONGEST for text in texts)


def _new_guid(entries: Entries) -> str:
    """Random, in the form of those that others make out of an address, a time and a count."""
    while True:
        head, count = secrets.token_hex(8), secrets.randbelow(0x8000)
        guid = f"{head}:{secrets.randbits(31):x}:{time.time_ns() // 1_000_000:x}:-{count:x}"
        if guid not in entries.integrations:
            return guid


def _next_number(entries: Entries) -> int:
    return 1 + max((each.number for each in entries.integrations.values()), default=0)


def _changed(entry: Integration, request: wire.Request, found: Scope) -> Integration:
    return structs.replace(
        entry,
        description=request.properties.get("Description", entry.description),
        account=found.account,
        route=found.route,
        hosts=_pair(entry.hosts, HOSTS, request.settings),
        users=_pair(entry.users, USERS, request.settings),
        parameters=_pair(entry.parameters, PARAMETERS, request.settings),
    )


def _pair(old: Sequence[str], names: tuple[str, str], settings: Mapping[str, str]) -> list[str]:
    """First and second value, without empty ones at the end."""
    one, two = (settings.get(*each) for each in zip(names, (*old, "", "")[:2], strict=True))
    return [one, two] if two else [one] if one else []


def _of_scope(wanted: scope.Asked, entries: Entries, user: User) -> Iterator[Integration]:
    """Those of a partition, of a server and its partitions, or all. Raises Refusal."""
    every = entries.integrations.values()
    if wanted.guid or wanted.route is not None:
        found = scope.resolved(wanted, entries, user)
        return (each for each in every if Scope(each.account, each.route) == found)
    if wanted.account is None:
        return iter(every)
    if not scope.sees(user, wanted.account):
        raise Refusal(codes.OUT_OF_SCOPE)
    if wanted.account not in entries.accounts:
        raise Refusal(codes.NO_SERVER)
    return (each for each in every if each.account == wanted.account)


def _count(text: str, usual: int, least: int, most: int) -> int:
    if not text:
        return usual
    if not _COUNT.fullmatch(text) or not least <= int(text) <= most:
        raise Refusal(codes.INVALID)
    return int(text)


def _fields(text: str) -> frozenset[str]:
    """Names of what a list shall tell."""
    named = {each.strip() for each in text.split(",")}
    inner = SETTINGS if wire.SETTINGS in named else ()
    return frozenset({*DEFAULT_FIELDS, *named, *inner})


def _properties(entry: Integration) -> dict[str, str]:
    """All but the settings, in the order they are told."""
    guid = partition_guid(entry.account, entry.route) if entry.account and entry.route else ""
    return {
        "CallRecIntGUID": entry.guid,
        "CallRecIntType": entry.type,
        "TelSysID": str(entry.account or ""),
        "PartIDInTelSys": str(entry.route or ""),
        "PartitionGUID": guid,
        "Description": entry.description,
    }


def _settings(entry: Integration) -> dict[str, str]:
    pairs = ((*each, "", "")[:2] for each in (entry.hosts, entry.users, entry.parameters))
    return dict(zip(SETTINGS, (value for pair in pairs for value in pair), strict=True))


def _listed(entry: Integration, fields: frozenset[str]) -> str:
    shown = _ones(_properties(entry), fields)
    inner = _ones(_settings(entry), fields)
    return shown + (wire.container(inner, wire.SETTINGS) if inner else "")


def _ones(values: Mapping[str, str], fields: frozenset[str]) -> str:
    return "".join(wire.one(*each) for each in values.items() if each[0] in fields and each[1])
