"""Problem details: what every failed request is answered with (RFC 9457).

`ERRORS` says which failure of the core or of the storage room is which HTTP status. Nothing about
the inside leaves with a 5xx.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from siprec.logbook import InvalidChange
from siprec.session import (
    ChannelsInUse,
    ControlFailed,
    ConversionBusy,
    ConversionFailed,
    ConversionTimeout,
    InvalidTransition,
    NotFinished,
    NotRecordable,
    UnknownSession,
)
from storage.records import (
    InvalidEntry,
    InvalidQuery,
    NameTaken,
    OnHold,
    StorageUnavailable,
    UnknownEntry,
    UnknownFile,
    UnknownRecording,
)

CONTENT_TYPE = "application/problem+json"

ERRORS: tuple[tuple[type[Exception], HTTPStatus, str], ...] = (
    (UnknownSession, HTTPStatus.NOT_FOUND, "no live session has this id"),
    (UnknownRecording, HTTPStatus.NOT_FOUND, "no recording has this id"),
    (UnknownFile, HTTPStatus.NOT_FOUND, "the file is gone"),
    (UnknownEntry, HTTPStatus.NOT_FOUND, "the directory has no such entry"),
    (InvalidQuery, HTTPStatus.BAD_REQUEST, ""),
    (InvalidChange, HTTPStatus.BAD_REQUEST, ""),
    (InvalidEntry, HTTPStatus.BAD_REQUEST, ""),
    (InvalidTransition, HTTPStatus.CONFLICT, ""),
    (NotRecordable, HTTPStatus.CONFLICT, ""),
    (ChannelsInUse, HTTPStatus.SERVICE_UNAVAILABLE, ""),
    (NotFinished, HTTPStatus.CONFLICT, ""),
    (NameTaken, HTTPStatus.CONFLICT, ""),
    (OnHold, HTTPStatus.CONFLICT, ""),
    (ConversionBusy, HTTPStatus.CONFLICT, ""),
    (ConversionTimeout, HTTPStatus.SERVICE_UNAVAILABLE, ""),
    (
        ConversionFailed,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the recording could not be converted; the log of the server says why",
    ),
    (
        ControlFailed,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the media process did not confirm in time; all but a resume stays asked for",
    ),
    (
        StorageUnavailable,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the database or the file store does not answer now",
    ),
)
"""Failure, its status, and its detail (empty: its own text). The first row whose type matches; any
other error is a 500."""

_RETRY_AFTER_S = 1
"""When to come again while something does not answer."""
_CONVERTED_AFTER_S = 10
"""When to come again for a file that is being made."""


class Problem(Struct, frozen=True):
    """What went wrong with a request (RFC 9457 section 3)."""

    title: str
    status: int
    detail: str
    instance: str
    """Path of the request, without its query."""
    type: str = "about:blank"
    state: str | UnsetType = UNSET
    """State of the session, when that is why a command was refused."""


class ApiError(Exception):
    """A request this room itself will not serve."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}


def answer(error: Exception, instance: str) -> web.Response:
    """The response for `error`, raised while the request for path `instance` was served."""
    if isinstance(error, ApiError):
        return respond(error.status, str(error), instance, error.headers)
    if isinstance(error, web.HTTPException):
        return _of_aiohttp(error, instance)
    for kind, status, detail in ERRORS:
        if isinstance(error, kind):
            return _of_core(error, status, detail or str(error), instance)
    return respond(HTTPStatus.INTERNAL_SERVER_ERROR, "the request failed inside", instance)


def is_expected(error: Exception) -> bool:
    """Whether `error` is an ordinary refusal, not worth a traceback in the log."""
    known = (ApiError, web.HTTPException, *(kind for kind, _, _ in ERRORS))
    return isinstance(error, known) and not isinstance(error, web.HTTPServerError)


def respond(
    status: HTTPStatus,
    detail: str,
    instance: str,
    headers: Mapping[str, str] | None = None,
    state: str | UnsetType = UNSET,
) -> web.Response:
    """A problem as an HTTP response."""
    problem = Problem(status.phrase, status.value, detail, instance, state=state)
    return web.Response(
        status=status.value,
        body=msgspec.json.encode(problem),
        content_type=CONTENT_TYPE,
        headers=headers,
    )


def _of_core(error: Exception, status: HTTPStatus, detail: str, instance: str) -> web.Response:
    state = str(error.state) if isinstance(error, InvalidTransition) else UNSET
    wait_s = _wait_s(error, status)
    headers = {"Retry-After": str(wait_s)} if wait_s else None
    return respond(status, detail, instance, headers, state)


def _wait_s(error: Exception, status: HTTPStatus) -> int:
    if isinstance(error, ConversionBusy | ConversionTimeout):
        return _CONVERTED_AFTER_S
    return _RETRY_AFTER_S if status is HTTPStatus.SERVICE_UNAVAILABLE else 0


def _of_aiohttp(error: web.HTTPException, instance: str) -> web.Response:
    status = HTTPStatus(error.status)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return respond(status, status.description or status.phrase, instance, headers)
