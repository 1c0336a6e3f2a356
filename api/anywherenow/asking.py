"""Bodies of requests: read within limits of time and size, and of the type they must be."""

import asyncio
from http import HTTPStatus

from aiohttp import web

from api.anywherenow.wire import VALIDATION, Refusal

JSON = frozenset({"application/json", "text/json"})
FORM = frozenset({"application/x-www-form-urlencoded"})
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})


async def body(request: web.Request, types: frozenset[str], limit_s: float) -> bytes:
    """The body of a request. Raises Refusal: 408, 413, or 415 unless it is one of `types` in
    UTF-8."""
    _check_type(request, types)
    most, announced = request.client_max_size, request.content_length or 0
    try:
        if announced > most:
            raise web.HTTPRequestEntityTooLarge(most, announced)
        async with asyncio.timeout(limit_s):
            return await request.read()
    except TimeoutError:
        status = HTTPStatus.REQUEST_TIMEOUT
        text = "The request body did not arrive in time."
        raise Refusal(VALIDATION, text, "body too late", status) from None
    except web.HTTPRequestEntityTooLarge:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        raise Refusal(VALIDATION, "The request body is too large.", "too large", status) from None


def _check_type(request: web.Request, types: frozenset[str]) -> None:
    stated = request.headers.get("Content-Type") and request.content_type
    coding = request.headers.get("Content-Encoding", "identity").lower()
    charset = (request.charset or "utf-8").lower()
    if stated not in types or coding != "identity" or charset not in _CHARSETS:
        text = f"The request body must be {min(types)} in UTF-8."
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        raise Refusal(VALIDATION, text, "unsupported type", status)
