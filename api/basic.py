"""HTTP Basic (RFC 7617): user name and password -> User.

A password costs 50 ms of a core to check, and Basic sends it with every request: what was right
once is remembered as the token of a login, keyed by a digest that only this process can make. So a
lock does not reach clients that are in, and a changed password or a disabled user ends it at once.
"""

import base64
import binascii
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus

from api.auth import Failures
from api.problem import ApiError
from storage.directory import Directory, Entries
from storage.entries import User
from storage.users import LoginRefused, PasswordExpired, TooManyLogins, Users

REMEMBERED = 1000
"""Users whose password need not be checked again."""


class BasicAuthenticator:
    """Turns the Authorization header of a request into the user it belongs to."""

    def __init__(
        self,
        users: Users,
        directory: Directory,
        failures: Failures,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`failures`: logins that failed, by remote address."""
        self._users = users
        self._directory = directory
        self._failures = failures
        self._now = now
        self._secret = secrets.token_bytes(32)
        self._tokens: OrderedDict[bytes, str] = OrderedDict()

    async def admit(self, authorization: Sequence[str], remote: str, realm: str) -> User:
        """The user whose name, or e-mail address, and password were sent.

        `authorization`: the headers of that name; `remote`: address of the client. Raises ApiError:
        401 with a challenge for `realm`, 429 if the address failed too often, 503 if too many log
        in at this moment.
        """
        challenge = {"WWW-Authenticate": f'Basic realm="{realm}", charset="UTF-8"'}
        credentials = _credentials(authorization)
        if credentials is None:
            raise ApiError(HTTPStatus.UNAUTHORIZED, "a user name and a password", challenge)
        name, password = credentials
        digest = hmac.digest(self._secret, f"{name}\0{password}".encode(), sha256)
        return self._remembered(digest) or await self._login(
            name, password, digest, remote, challenge
        )

    def _remembered(self, digest: bytes) -> User | None:
        token = self._tokens.get(digest)
        user = self._users.check(token, self._now()) if token else None
        if token and user is None:
            del self._tokens[digest]
        return user

    async def _login(
        self, name: str, password: str, digest: bytes, remote: str, challenge: dict[str, str]
    ) -> User:
        guess = digest.hex()
        if wait_s := self._failures.add(remote, guess):
            headers = {"Retry-After": str(wait_s)}
            raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, "too many failed logins", headers)
        email = email_of(name, self._directory.entries)
        try:
            token = await self._users.login(email, password, None, self._now())
        except (LoginRefused, PasswordExpired) as error:
            if isinstance(error, PasswordExpired):
                self._failures.take_back(remote, guess)
            detail = "wrong user name or password"
            raise ApiError(HTTPStatus.UNAUTHORIZED, detail, challenge) from None
        except TooManyLogins:
            self._failures.take_back(remote, guess)
            detail, headers = "too many logins at once", {"Retry-After": "1"}
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers) from None
        self._failures.take_back(remote, guess)
        self._tokens[digest] = token.text
        if len(self._tokens) > REMEMBERED:
            self._tokens.popitem(last=False)
        return token.user


def email_of(name: str, entries: Entries) -> str:
    """The e-mail address of the one user of this name, in any case; else `name` itself."""
    if name.lower() in entries.users:
        return name.lower()
    wanted = name.casefold()
    found = [key for key, user in entries.users.items() if user.username.casefold() == wanted]
    return found[0] if len(found) == 1 and name else name


def _credentials(authorization: Sequence[str]) -> tuple[str, str] | None:
    """Name and password of the one header there is; None for anything else."""
    if len(authorization) != 1:
        return None
    scheme, _, text = authorization[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = (
            base64.b64decode(text.strip(), validate=True).decode().partition(":")
        )
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon and name else None
