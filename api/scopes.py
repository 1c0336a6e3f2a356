"""Which playback integration is for which calls: everybody's, an account's, or a route's.

The most special one is taken. Pure; `storage.platforms.Integration` says what one is.
"""

from functools import lru_cache
from hashlib import sha256

from storage.directory import Entries
from storage.entries import Route
from storage.platforms import Integration


@lru_cache(maxsize=100_000)
def partition_guid(account: int, route: int) -> str:
    """A name of the route that other systems take for a GUID: always the same one."""
    digest = sha256(f"partition {account} {route}".encode()).hexdigest()
    return f"{digest[:16]}:{digest[16:24]}:{digest[24:35]}:-{digest[35:39]}"


def partition_of(guid: str, entries: Entries) -> Route | None:
    """The route of this `partition_guid`."""
    for route in entries.routes.values():
        if partition_guid(route.account, route.id) == guid:
            return route
    return None


def integration_for(entries: Entries, account: int | None, route: int | None) -> Integration | None:
    """The integration for calls of this scope: the route's, else the account's, else everybody's.

    Of several for the same scope the first that was added; one that names no user is for nobody.
    """
    able = [each for each in entries.integrations.values() if any(each.users)]
    for scope in ((account, route), (account, None), (None, None)):
        for each in able:
            if (each.account, each.route) == scope:
                return each
    return None
