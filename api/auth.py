"""Bearer tokens: token -> Actor, and what an actor may do (RFC 6750).

A token is an API key or what a user got by logging in. Both are checked in memory, so that no
database stands between a request and a pause. A token never reaches a log line, an error text or a
database parameter from here.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Network, ip_address
from time import monotonic

from api.problem import ApiError
from siprec.session import RIGHTS, Actor
from storage.entries import DEFAULT_PERMISSIONS, User, UserType
from storage.keys import ApiKeys
from storage.records import ApiKey
from storage.users import Users

ROLES = {"control": 1, "operator": 2, "admin": 3}
"""Each role may do what a lesser one may, as far as its rights go."""

KEY_RIGHTS: Mapping[str, frozenset[str]] = {
    "control": frozenset({"control"}),
    "operator": frozenset({"control", "playback", "download", "edit"}),
    "admin": RIGHTS,
}
"""Role of an API key -> its rights."""

USER_ROLES = {"admin": "admin", "api": "operator", "tenant": "operator"}
"""Type of a user -> role."""

FAILURES_PER_MINUTE = 50
"""Different refused tokens of a remote address; what follows is 429 until the minute is over. No
token is no guess, and who asks again with one that has ended is not guessing."""

REFRESH_S = 1.0
"""An unknown token makes us look for new keys at most this often."""

_WINDOW_S = 60.0
_ADDRESSES = 10_000
"""Remote addresses remembered, so that an address range cannot fill the memory."""
_GUESSES = 100_000
"""Guesses remembered, for the same reason; only their hashes are."""
_IPV6_NETWORK = 64
"""Bits of an IPv6 address that tell one customer from the other."""


class Failures:
    """How often each remote address failed in the current minute; IPv6 by its /64."""

    def __init__(self, most: int, now: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._now = now
        self._counts: Counter[str] = Counter()
        self._guesses: set[int] = set()
        self._window_from = now()

    def add(self, remote: str, guess: str = "") -> int:
        """Count one more; the seconds to wait if that is too many, else 0.

        The same `guess` from the same address counts once a minute; an empty one every time.
        """
        if self._now() - self._window_from >= _WINDOW_S or len(self._counts) >= _ADDRESSES:
            self._counts.clear()
            self._guesses.clear()
            self._window_from = self._now()
        network = _network(remote)
        if self._counts[network] <= self._most and self._is_new(network, guess):
            self._counts[network] += 1
        if self._counts[network] <= self._most:
            return 0
        return int(self._window_from + _WINDOW_S - self._now()) + 1

    def _is_new(self, network: str, guess: str) -> bool:
        if not guess:
            return True
        if len(self._guesses) >= _GUESSES:
            self._guesses.clear()
        before = len(self._guesses)
        self._guesses.add(hash((network, guess)))
        return len(self._guesses) > before

    def take_back(self, remote: str, guess: str = "") -> None:
        """The last one, or this guess, was none; a guess that did not count takes nothing back."""
        network = _network(remote)
        if guess:
            known = hash((network, guess))
            if known not in self._guesses:
                return
            self._guesses.discard(known)
        if self._counts[network] > 0:
            self._counts[network] -= 1


class Authenticator:
    """Turns the token of a request into the actor it belongs to."""

    def __init__(self, keys: ApiKeys, users: Users, now: Callable[[], float] = monotonic) -> None:
        self._keys = keys
        self._users = users
        self._now = now
        self._refreshed_at = -REFRESH_S
        self._failures = Failures(FAILURES_PER_MINUTE, now)

    async def admit(self, token: str | None, remote: str, role: str, right: str = "") -> Actor:
        """The actor behind `token`, if it has `role` or a higher one, and `right` if one is named.

        `remote`: address the request came from; `token` None: none was sent. Raises ApiError: 401
        without a known token, 403 if role or right is missing, 429 if the address failed too often.
        """
        actor = await self._actor(token) if token else None
        if actor is None:
            raise self._refusal(remote, token)
        if ROLES.get(actor.role, 0) < ROLES[role]:
            raise ApiError(HTTPStatus.FORBIDDEN, f"this needs role {role}")
        if right and right not in actor.rights:
            raise ApiError(HTTPStatus.FORBIDDEN, f"this needs the permission {right}")
        return actor

    def admit_user(self, token: str, remote: str, kind: UserType) -> Actor:
        """The user of type `kind` who holds `token`; for dialects that know no other tokens.

        Raises ApiError: 401, or 429 if the address failed too often.
        """
        user = self._users.check(token, datetime.now(UTC))
        if user is None or user.type != kind:
            raise self._refusal(remote, token)
        return actor_of(user)

    def holds(self, token: str | None, actor: Actor) -> bool:
        """Whether `token` still makes whoever has it this actor. Never waits."""
        return token is not None and self._known(token) == actor

    async def _actor(self, token: str) -> Actor | None:
        if actor := self._known(token):
            return actor
        if self._now() - self._refreshed_at < REFRESH_S:
            return None
        self._refreshed_at = self._now()
        await self._keys.refresh()
        return self._known(token)

    def _known(self, token: str) -> Actor | None:
        if key := self._keys.check(token):
            return _of_key(key)
        if user := self._users.check(token, datetime.now(UTC)):
            return actor_of(user)
        return None

    def _refusal(self, remote: str, token: str | None) -> ApiError:
        challenge = 'Bearer realm="siprecd"'
        if not token:
            detail = "an API key or a token is needed: Authorization: Bearer"
            return ApiError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})
        if wait_s := self._failures.add(remote, token):
            headers = {"Retry-After": str(wait_s)}
            return ApiError(HTTPStatus.TOO_MANY_REQUESTS, "too many refused tokens", headers)
        headers = {"WWW-Authenticate": f'{challenge}, error="invalid_token"'}
        return ApiError(HTTPStatus.UNAUTHORIZED, "this key or token is not known", headers)


def actor_of(user: User) -> Actor:
    """Who gives commands when this user does."""
    granted = (
        frozenset(DEFAULT_PERMISSIONS[user.type])
        if user.permissions is None
        else frozenset(user.permissions)
    )
    return Actor(user.email, USER_ROLES[user.type], user.account, granted, frozenset(user.routes))


def bearer(authorization: list[str]) -> str | None:
    """The token of the Authorization headers of a request; None without exactly one."""
    scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _of_key(key: ApiKey) -> Actor:
    return Actor(key.name, key.role, key.account, KEY_RIGHTS.get(key.role, frozenset()))


def _network(remote: str) -> str:
    """What shares one count: a peer has as many IPv6 addresses as it wants."""
    try:
        address = ip_address(remote)
    except ValueError:
        return remote
    if isinstance(address, IPv4Address):
        return remote
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), _IPV6_NETWORK), strict=False))
