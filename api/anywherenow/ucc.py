"""Unified contact centres (UCC): what AnywhereNow calls an account, or one of its routes, by name.

Pure: the directory is an argument. Also how a call is named there, by a GUID.
"""

import re
from dataclasses import dataclass
from uuid import UUID

from storage.directory import Entries
from storage.entries import Account, Route, User
from storage.text import without_scheme

_GUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ucc:
    """A UCC, with its settings as the directory has them now."""

    name: str
    """As in the directory."""
    account: int
    route: int | None
    """Only this route of the account; None: all of it."""
    uses_recording: bool
    """Whether any of its calls can be recorded."""
    agents_may_control: bool
    """Whether agents may give commands to any of its calls that can be recorded."""

    def owns(self, account: int, route: int) -> bool:
        """Whether a call of this account and route is one of its calls."""
        return self.account == account and self.route in {None, route}


def find(entries: Entries, name: str) -> Ucc | None:
    """The account of this name, else the route with this label, in any case.

    None if there is none, or more than one of the same sort.
    """
    wanted = name.casefold()
    if not wanted:
        return None
    accounts = [each for each in entries.accounts.values() if each.name.casefold() == wanted]
    if accounts:
        return _of_account(entries, accounts[0]) if len(accounts) == 1 else None
    routes = [each for each in entries.routes.values() if each.label.casefold() == wanted]
    return _of_route(entries, routes[0]) if len(routes) == 1 else None


def named(entries: Entries, account: int, route: int) -> str:
    """The name of the UCC that a call belongs to; empty if `find` knows none that owns it.

    The account's, or if that has none of its own, the route's label.
    """
    holder, way = entries.accounts.get(account), entries.routes.get(route)
    for name in (holder.name if holder else "", way.label if way else ""):
        ucc = find(entries, name)
        if ucc is not None and ucc.owns(account, route):
            return ucc.name
    return ""


def agent(entries: Entries, ucc: Ucc, uri: str) -> User | None:
    """The enabled user of the UCC's account with this SIP URI; of several, the first.

    The scheme may be missing, and the host is of any case (RFC 3261 section 19.1.4).
    """
    wanted = _address(uri)
    own = (user for user in entries.users.values() if user.account == ucc.account and user.enabled)
    return next((user for user in own if user.sip_uri and _address(user.sip_uri) == wanted), None)


def agents_may_control(entries: Entries, route: Route) -> bool:
    """Whether agents may give commands to calls of this route."""
    if route.agents_may_control is not None:
        return route.agents_may_control
    return entries.accounts[route.account].agents_may_control


def correlation_id(live_id: str) -> str:
    """The GUID of a live session, from its id of 32 hexadecimal digits."""
    return str(UUID(live_id))


def guid(text: str) -> UUID | None:
    """A GUID with or without its hyphens or braces, in any case; None if it is none."""
    bare = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    return UUID(bare) if _GUID.fullmatch(bare) else None


def _address(uri: str) -> str:
    user, at, host = without_scheme(uri.strip()).rpartition("@")
    return f"{user}{at}{host.lower()}"


def _of_account(entries: Entries, account: Account) -> Ucc:
    routes = [each for each in entries.routes.values() if each.account == account.number]
    return _ucc(entries, account.name, account.number, None, routes)


def _of_route(entries: Entries, route: Route) -> Ucc:
    return _ucc(entries, route.label, route.account, route.id, [route])


def _ucc(entries: Entries, name: str, account: int, route: int | None, routes: list[Route]) -> Ucc:
    recording = [each for each in routes if each.record != "never"]
    allowed = any(agents_may_control(entries, each) for each in recording)
    return Ucc(name, account, route, bool(recording), allowed)
