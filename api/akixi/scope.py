"""Of which telephony server and partition an entry is: here an account and one of its routes.

A request says so in numbers or by the GUID of the partition. Who may not reach them is not told
whether they exist.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from api.akixi import codes
from api.akixi.codes import Refusal
from api.auth import actor_of
from api.scopes import partition_of
from storage.directory import Entries
from storage.entries import SYSTEM_ACCOUNT, User

NAMES = ("TelSysID", "PartIDInTelSys", "PartitionGUID")
_NUMBER = re.compile(r"0{0,9}([1-9][0-9]{0,9})", re.ASCII)
_LARGEST = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Scope:
    """An account and a route of it; None: of all, and of all of the account."""

    account: int | None = None
    route: int | None = None


EVERYWHERE = Scope()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of a scope."""

    account: int | None
    route: int | None
    guid: str
    """Of a partition; empty: none is named so."""


def asked(properties: Mapping[str, str], before: Scope = EVERYWHERE) -> Asked:
    """What properties say; of what they do not say, what was so before. Raises Refusal."""
    guid = properties.get("PartitionGUID", "")
    if "PartitionGUID" in properties:
        before = EVERYWHERE if guid else Scope(before.account)
    account = _number(properties.get("TelSysID"), before.account, codes.BAD_SERVER_ID)
    route = _number(properties.get("PartIDInTelSys"), before.route, codes.BAD_PARTITION_ID)
    if route is not None and account is None and not guid:
        raise Refusal(codes.NO_SERVER_ID)
    return Asked(account, route, guid)


def listed(properties: Mapping[str, str]) -> Asked:
    """The same of a list, where the GUID goes before the numbers. Raises Refusal."""
    if guid := properties.get("PartitionGUID", ""):
        return Asked(None, None, guid)
    return asked(properties)


def sees(user: User, account: int) -> bool:
    """Whether the user may have to do with anything of this account."""
    return actor_of(user).sees(account)


def reaches(user: User, scope: Scope) -> bool:
    """Whether the user may have to do with what is of this scope."""
    if scope.account is None:
        return user.account == SYSTEM_ACCOUNT and not user.routes
    if not actor_of(user).sees(scope.account, scope.route or 0):
        return False
    return scope.route is not None or not user.routes


def resolved(wanted: Asked, entries: Entries, user: User) -> Scope:
    """The scope that is meant, if the user reaches it and there is such a one. Raises Refusal."""
    scope = _of_guid(wanted, entries, user) if wanted.guid else Scope(wanted.account, wanted.route)
    if not reaches(user, scope):
        raise Refusal(codes.OUT_OF_SCOPE)
    if wanted.guid:
        if wanted.account not in {None, scope.account} or wanted.route not in {None, scope.route}:
            raise Refusal(codes.NO_PARTITION_GUID)
        return scope
    if scope.account is not None and scope.account not in entries.accounts:
        raise Refusal(codes.NO_SERVER)
    route = entries.routes.get(scope.route or 0)
    if scope.route is not None and (route is None or route.account != scope.account):
        raise Refusal(codes.NO_PARTITION)
    return scope


def _of_guid(wanted: Asked, entries: Entries, user: User) -> Scope:
    if route := partition_of(wanted.guid, entries):
        return Scope(route.account, route.id)
    is_everywhere = reaches(user, EVERYWHERE)
    raise Refusal(codes.NO_PARTITION_GUID if is_everywhere else codes.OUT_OF_SCOPE)


def _number(text: str | None, before: int | None, code: int) -> int | None:
    if text is None:
        return before
    if not text:
        return None
    found = _NUMBER.fullmatch(text)
    if found is None or int(found[1]) > _LARGEST:
        raise Refusal(code)
    return int(found[1])
