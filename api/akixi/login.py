"""Who asks: sessions that are opened, logged in to and ended, in XML and by the cookie of the REST
interface.

A session is as good as the login behind it: a user who was disabled or removed, or who has another
password since, is refused from then on.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import BasicAuth, web

from api.akixi import codes
from api.akixi.codes import Refusal
from api.akixi.sessions import Session, Sessions
from api.basic import email_of
from api.dialect import Context
from api.remote import Network, is_within, networks
from storage.entries import User
from storage.users import LoginRefused, PasswordExpired, Token, TooManyLogins

COOKIE = "JSESSIONID"
LOOPBACK = networks(["127.0.0.0/8", "::1/128"])
RELAYED = ("X-Forwarded-For", "Forwarded", "Via")
"""Headers of requests that a proxy has passed on (RFC 7239, RFC 9110 section 7.6.3)."""


class Login:
    """The sessions of this interface and the users in them."""

    def __init__(self, context: Context) -> None:
        self._users = context.services.users
        self._directory = context.services.directory
        self._failures = context.logins
        self._proxies = networks(context.config.proxies)
        minutes = context.config.akixi.session_minutes
        self._sessions = Sessions(minutes * 60.0, self._users.logout)

    async def create(self) -> Session:
        """A new session, without a user."""
        return await self._sessions.create()

    async def session(self, session_id: str, request: web.Request) -> Session:
        """The session of a request, which names it or sends its cookie. Raises Refusal."""
        session_id = session_id or request.cookies.get(COOKIE, "")
        if not session_id:
            raise Refusal(codes.NO_SESSION_ID)
        session = await self._sessions.find(session_id)
        if session is None:
            raise Refusal(codes.NO_SESSION)
        return session

    async def user(self, session: Session) -> User:
        """Who is logged in to the session, as the directory has them now. Raises Refusal."""
        token, now = session.token, datetime.now(UTC)
        if token is None:
            raise Refusal(codes.NOT_AUTHENTICATED)
        if user := self._users.check(token.text, now):
            return user
        await self._sessions.end(session)
        if now >= token.expires_at:
            raise Refusal(codes.NO_SESSION)
        raise Refusal(codes.EXPIRED if self._has_expired(token.user, now) else codes.BAD_LOGIN)

    async def authenticate(
        self, session: Session, name: str, password: str, request: web.Request
    ) -> User:
        """Log in to the session, which is over if that fails. Raises Refusal."""
        try:
            if not _is_private(request, self._proxies):
                raise Refusal(codes.BAD_LOGIN, codes.INSECURE)
            token = await self._token(name, password, request.remote or "")
        except Refusal:
            await self._sessions.end(session)
            raise
        await self._sessions.bind(session, token)
        return token.user

    async def by_basic(self, request: web.Request) -> tuple[Session, User]:
        """Log in as HTTP Basic says (RFC 7617), to the session of the cookie or a new one.

        Raises Refusal.
        """
        headers = request.headers.getall("Authorization", [])
        try:
            sent = BasicAuth.decode(headers[0] if len(headers) == 1 else "", "utf-8")
        except ValueError:
            raise Refusal(codes.BAD_LOGIN) from None
        found = await self._sessions.find(request.cookies.get(COOKIE, ""))
        session = found or await self.create()
        return session, await self.authenticate(session, sent.login, sent.password, request)

    async def end(self, session: Session) -> None:
        """End a session."""
        await self._sessions.end(session)

    async def _token(self, name: str, password: str, remote: str) -> Token:
        """Failures count for the address too. Raises Refusal."""
        if wait_s := self._failures.add(remote):
            headers = {"Retry-After": str(wait_s)}
            raise Refusal(codes.BAD_LOGIN, codes.TOO_MANY, HTTPStatus.TOO_MANY_REQUESTS, headers)
        email = email_of(name, self._directory.entries)
        try:
            token = await self._users.login(email, password, None, datetime.now(UTC))
        except LoginRefused:
            raise Refusal(codes.BAD_LOGIN) from None
        except PasswordExpired:
            self._failures.take_back(remote)
            raise Refusal(codes.EXPIRED) from None
        except TooManyLogins:
            self._failures.take_back(remote)
            status, headers = HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "1"}
            raise Refusal(codes.NO_RESOURCE, status=status, headers=headers) from None
        self._failures.take_back(remote)
        return token

    def _has_expired(self, user: User, now: datetime) -> bool:
        known = self._directory.entries.users.get(user.email.lower())
        if known is None or not known.enabled:
            return False
        expires_at = self._users.standing(user.email, now).expires_at
        return expires_at is not None and now >= expires_at


def _is_private(request: web.Request, proxies: Sequence[Network]) -> bool:
    """Whether nobody else can have read the request: TLS, a proxy that has it, or this machine."""
    if request.secure:
        return True
    peer = request.transport and request.transport.get_extra_info("peername")
    address = str(peer[0]) if peer else ""
    if is_within(address, proxies):
        last = ",".join(request.headers.getall("X-Forwarded-Proto", ["https"])).rpartition(",")[2]
        return last.strip().lower() == "https"
    # A proxy on this machine that nobody configured may have it from anywhere.
    return is_within(address, LOOPBACK) and request.headers.keys().isdisjoint(RELAYED)
