"""A request, taken apart: who asks, for what; and how it is refused."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from siprec.session import Actor
from storage.entries import Permission, User

BASE_ACCESS, COMPLETE_MANAGEMENT = 2, 10
"""Levels: who may read their own recordings; who may control calls, and reach all recordings."""


class Refusal(Exception):
    """A request that is not carried out; without a body unless the guide has one."""

    def __init__(
        self,
        status: int,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {body or ''}".strip())
        self.status = status
        self.body = body
        self.headers = headers or {}


def refused(status: HTTPStatus, reason: int, **more: Any) -> Refusal:
    """A refusal with its reason."""
    return Refusal(status, {"reason": reason, **more})


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of somebody who is known."""

    request: web.Request
    user: User
    actor: Actor
    named: str = ""
    """The id in the path, as it is there."""
    body_s: float = 10.0
    """How long a body may take to come."""

    @property
    def level(self) -> int:
        """How much the user may do."""
        if self.user.level is not None:
            return self.user.level
        return BASE_ACCESS if self.user.type == "tenant" else COMPLETE_MANAGEMENT

    def may(self, *permissions: Permission) -> bool:
        """Whether the user has one of the permissions; without a list of them the level counts."""
        granted = self.user.permissions
        return granted is None or not {*permissions}.isdisjoint(granted)

    @property
    def parameters(self) -> dict[str, str]:
        """The query, names in lower case; of a repeated one the last. Empty ones do not count."""
        return {name.lower(): value for name, value in self.request.query.items() if value}

    async def tree(self) -> dict[str, Any]:
        """The JSON object in the body, names in lower case; empty without a body.

        Raises Refusal: 400 with reason 0, 408, 413.
        """
        try:
            async with asyncio.timeout(self.body_s):
                body = await self.request.read()
        except TimeoutError:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT) from None
        except web.HTTPRequestEntityTooLarge:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE) from None
        body = body.removeprefix(b"\xef\xbb\xbf")
        return parsed(body) if body.strip() else {}


def parsed(body: bytes) -> dict[str, Any]:
    """A JSON object with its names in lower case. Raises Refusal."""
    try:
        tree = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise refused(HTTPStatus.BAD_REQUEST, 0) from None
    return {name.lower(): value for name, value in tree.items()}


def answer(tree: Any, status: int = HTTPStatus.OK) -> web.Response:
    """`tree` as JSON."""
    body = msgspec.json.encode(tree)
    return web.Response(status=status, body=body, content_type="application/json")


def nothing() -> web.Response:
    """It has been done."""
    return web.Response(status=HTTPStatus.NO_CONTENT)


def refusal(error: Refusal) -> web.Response:
    """The answer to what was refused."""
    response = (
        web.Response(status=error.status)
        if error.body is None
        else answer(error.body, error.status)
    )
    response.headers.update(error.headers)
    return response
