"""Bearer API keys: token -> Actor, and what each role may do (RFC 6750).

Keys are checked in memory, so that no database stands between a request and a pause. A token never
reaches a log line, an error text or a database parameter from here.
"""

from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic

from api.problem import ApiError
from siprec.session import Actor
from storage.keys import ApiKeys
from storage.records import ApiKey

ROLES = {"control": 1, "operator": 2, "admin": 3}
"""Each role may do what a lesser one may."""

FAILURES_PER_MINUTE = 50
"""Refused tokens a remote address may send; what follows is 429 until the minute is over."""

REFRESH_S = 1.0
"""An unknown key makes us look for new keys at most this often."""

_WINDOW_S = 60.0
_ADDRESSES = 10_000
"""Remote addresses remembered, so that an address range cannot fill the memory."""


class Authenticator:
    """Turns the token of a request into the actor it belongs to."""

    def __init__(self, keys: ApiKeys, now: Callable[[], float] = monotonic) -> None:
        self._keys = keys
        self._now = now
        self._refreshed_at = -REFRESH_S
        self._failures: Counter[str] = Counter()
        self._window_from = now()

    async def admit(self, token: str | None, remote: str, role: str) -> Actor:
        """The actor behind `token`, if it has `role` or a higher one.

        `remote`: address the request came from; `token` None: none was sent. Raises ApiError: 401
        without a known key, 403 if its role does not suffice, 429 if the address failed too often.
        """
        key = await self._key(token) if token else None
        if key is None:
            raise self._refusal(remote, sent=token is not None)
        if ROLES.get(key.role, 0) < ROLES[role]:
            raise ApiError(HTTPStatus.FORBIDDEN, f"this needs a key with role {role}")
        return Actor(key.name, key.role)

    async def _key(self, token: str) -> ApiKey | None:
        if key := self._keys.check(token):
            return key
        if self._now() - self._refreshed_at < REFRESH_S:
            return None
        self._refreshed_at = self._now()
        await self._keys.refresh()
        return self._keys.check(token)

    def _refusal(self, remote: str, *, sent: bool) -> ApiError:
        if self._now() - self._window_from >= _WINDOW_S or len(self._failures) >= _ADDRESSES:
            self._failures.clear()
            self._window_from = self._now()
        self._failures[remote] += 1
        if self._failures[remote] > FAILURES_PER_MINUTE:
            wait_s = int(self._window_from + _WINDOW_S - self._now()) + 1
            headers = {"Retry-After": str(wait_s)}
            return ApiError(HTTPStatus.TOO_MANY_REQUESTS, "too many refused keys", headers)
        challenge = 'Bearer realm="siprecd"' + (', error="invalid_token"' if sent else "")
        detail = "this key is not known" if sent else "an API key is needed: Authorization: Bearer"
        return ApiError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})


def bearer(authorization: list[str]) -> str | None:
    """The token of the Authorization headers of a request; None without exactly one."""
    scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
    return token.strip() or None if scheme.lower() == "bearer" else None
