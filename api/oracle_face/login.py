"""Logging in to FACE: a token for API users, and one answer for whoever gets none."""

from datetime import UTC, datetime
from http import HTTPStatus

from api.dialect import Context
from api.oracle_face import codes, wire
from api.oracle_face.asking import Ask
from api.oracle_face.codes import Refusal, invalid, missing
from api.oracle_face.wire import Tree
from storage.users import LoginRefused, PasswordExpired, Token, TooManyLogins

REFUSED = "Invalid credentials or user locked out"
EXPIRED = "Password has expired"
_LONGEST = 10
"""Digits of expirationSeconds; more is longer than any token holds."""


class Login:
    """What the command `login` does."""

    def __init__(self, context: Context) -> None:
        self._users = context.services.users
        self._directory = context.services.directory
        self._failures = context.logins

    async def log_in(self, ask: Ask) -> Tree:
        """Give a token to an API user who knows the password."""
        for name in ("userEmail", "password"):
            if not ask.body.get(name):
                raise missing(name)
        lifetime_s = _lifetime(ask.body.get("expirationSeconds"))
        now = datetime.now(UTC)
        token = await self._token(ask, lifetime_s, now)
        seconds = round((token.expires_at - now).total_seconds())
        return wire.result(0, codes.ACK, token=token.text, expiration=f"{seconds}seconds")

    async def _token(self, ask: Ask, lifetime_s: int | None, now: datetime) -> Token:
        """Failures count for the address too. Raises Refusal, the same for all that is wrong."""
        remote, email = ask.request.remote or "", ask.body["userEmail"]
        if self._failures.add(remote):
            raise Refusal(codes.FAILURE, REFUSED, HTTPStatus.TOO_MANY_REQUESTS)
        try:
            token = await self._users.login(email, ask.body["password"], lifetime_s, now)
        except LoginRefused:
            raise Refusal(codes.FAILURE, REFUSED) from None
        except PasswordExpired:
            self._failures.take_back(remote)
            text = EXPIRED if self._is_api_user(email) else REFUSED
            raise Refusal(codes.FAILURE, text) from None
        except TooManyLogins:
            self._failures.take_back(remote)
            raise Refusal(codes.NO_TOKEN) from None
        if token.user.type != "api":
            await self._users.logout(token.text)
            raise Refusal(codes.FAILURE, REFUSED)
        self._failures.take_back(remote)
        return token

    def _is_api_user(self, email: str) -> bool:
        user = self._directory.entries.users.get(email.lower())
        return user is not None and user.type == "api"


def _lifetime(text: str | None) -> int | None:
    """Seconds; None: as long as there is. Raises Refusal."""
    if text is None:
        return None
    digits = text.lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        raise invalid("expirationSeconds")
    return int(digits) if len(digits) <= _LONGEST else None
