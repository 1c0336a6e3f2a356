"""Logging in and out, and the passwords of users.

Whoever fails gets one answer, whatever the reason and in the same time; only who knows the password
is told that it is too old. Failures are counted for each remote address as well as for each user.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from api.auth import Failures, bearer
from api.native import wire
from api.native.encode import timestamp
from api.problem import ApiError
from api.typed import Call, Nothing, Route
from storage.entries import UserType
from storage.records import UnknownEntry
from storage.users import LoginRefused, PasswordExpired, TooManyLogins, WeakPassword

FAILURES_PER_MINUTE = 20
"""Failed logins of a remote address; what follows is 429 until the minute is over."""

FAILURES = web.AppKey("failed_logins", Failures)

Email = Annotated[str, Meta(min_length=1, max_length=255)]
Password = Annotated[str, Meta(min_length=1, max_length=1000)]


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants a token, and for how long; without `expiration_s` as long as there is."""

    email: Email
    password: Password
    expiration_s: Annotated[int, Meta(ge=1)] | UnsetType = UNSET


class LoggedIn(Struct, frozen=True):
    """A token, to be sent as `Authorization: Bearer`."""

    token: str
    expires_at: wire.Timestamp
    account: int
    type: UserType


class NewPassword(Struct, frozen=True, forbid_unknown_fields=True):
    """A user's new password; `old_password` is for users who change their own."""

    email: Email
    password: Password
    old_password: Password | UnsetType = UNSET


class OneUser(Struct, frozen=True, forbid_unknown_fields=True):
    """One user."""

    email: Email


async def login(call: Call[Login]) -> LoggedIn:
    """Give a token to who knows the password."""
    ask, now = call.ask, datetime.now(UTC)
    lifetime_s = None if ask.expiration_s is UNSET else ask.expiration_s
    async with _counted(call.request):
        token = await call.services.users.login(ask.email, ask.password, lifetime_s, now)
    user = token.user
    return LoggedIn(token.text, timestamp(token.expires_at), user.account, user.type)


async def logout(call: Call[Nothing]) -> None:
    """End the token of this request; an API key goes on."""
    token = bearer(call.request.headers.getall("Authorization", []))
    await call.services.users.logout(token or "")


async def set_password(call: Call[NewPassword]) -> None:
    """Give a user another password, which ends all of the user's tokens."""
    users, ask, now = call.services.users, call.ask, datetime.now(UTC)
    if ask.old_password is not UNSET and ask.email.lower() == call.actor.name.lower():
        async with _counted(call.request):
            await users.prove(ask.email, ask.old_password, now)
    else:
        _administered(call)
    try:
        await users.set_password(ask.email, ask.password, now)
    except WeakPassword as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from None
    except UnknownEntry:
        raise _unknown() from None


async def unlock_user(call: Call[OneUser]) -> None:
    """Let a user log in again who failed too often."""
    _administered(call)
    try:
        await call.services.users.unlock(call.ask.email)
    except UnknownEntry:
        raise _unknown() from None


@asynccontextmanager
async def _counted(request: web.Request) -> AsyncIterator[None]:
    """Check a password as one of the few tries a remote address has; those that wait count too."""
    failures, remote = request.app[FAILURES], request.remote or ""
    if wait_s := failures.add(remote):
        raise _later("too many failed logins", wait_s)
    try:
        yield
    except LoginRefused as error:
        headers = {"WWW-Authenticate": 'Bearer realm="siprecd"'}
        raise ApiError(HTTPStatus.UNAUTHORIZED, str(error), headers) from None
    except TooManyLogins as error:
        failures.take_back(remote)
        raise _later(str(error), 1) from None
    except PasswordExpired as error:
        failures.take_back(remote)
        raise ApiError(HTTPStatus.FORBIDDEN, str(error)) from None
    failures.take_back(remote)


def _administered(call: Call[NewPassword] | Call[OneUser]) -> None:
    """Whether the actor administers the user; users of other accounts do not exist."""
    if call.actor.role != "admin":
        raise ApiError(HTTPStatus.FORBIDDEN, "this needs role admin")
    user = call.services.directory.entries.users.get(call.ask.email.lower())
    if user is None or not call.actor.sees(user.account):
        raise _unknown()


def _later(detail: str, wait_s: int) -> ApiError:
    return ApiError(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(wait_s)})


def _unknown() -> ApiError:
    return ApiError(HTTPStatus.NOT_FOUND, "there is no user of this e-mail address")


_USER = f"{wire.PREFIX}/directory/users/{{email}}"

ROUTES: tuple[Route[Any], ...] = (
    Route(
        "POST",
        f"{wire.PREFIX}/login",
        None,
        login,
        Login,
        LoggedIn,
        "Get a token for a password",
        problems=(401, 403, 408, 413, 415, 429),
    ),
    Route(
        "POST",
        f"{wire.PREFIX}/logout",
        "control",
        logout,
        Nothing,
        None,
        "End the token this is asked with",
        problems=(408, 413, 415),
    ),
    Route(
        "POST",
        f"{_USER}/password",
        "control",
        set_password,
        NewPassword,
        None,
        "Set a user's password; everybody may change their own",
        problems=(404, 408, 413, 415, 503),
    ),
    Route(
        "POST",
        f"{_USER}/unlock",
        "admin",
        unlock_user,
        OneUser,
        None,
        "Let a locked user log in again",
        problems=(404, 408, 413, 415, 503),
    ),
)
