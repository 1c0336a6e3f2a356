"""Uploads: a recording from outside comes as multipart/form-data (RFC 7578).

The parts are `jsondata`, which says what it is, and `attachment`, the audio, in any order. The
audio goes to disk as it comes. Counterparts: `siprec.importer`, which makes a recording of it;
`api.imagicle.metadata`, which reads the JSON.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import json
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from api.dialect import Context
from api.imagicle import metadata
from api.imagicle.metadata import InvalidData, InvalidMetadata
from siprec.importer import (
    Draft,
    OutOfRetention,
    TooManyUploads,
    UnknownOwner,
    UnusableUpload,
    Upload,
)
from siprec.logbook import InvalidChange
from siprec.session import Actor, ConversionFailed
from storage.records import Recording, StorageUnavailable

logger = structlog.get_logger(__name__)

INVALID_DATA, INVALID_METADATA, INVALID_AUDIO = 0, 1, 2
"""Reasons of a 400."""
MOST_PARTS = 16
JSON_BYTES = 64 * 1024
OVERHEAD_BYTES = 1 << 20
"""Of a body beside its audio: the other parts, boundaries and headers."""
BLOCK_BYTES = 64 * 1024
"""What has to come within the time for a body: who sends less does not get on."""
RETRY_AFTER_S = 10
"""For who finds as many uploads under way as may be."""


class Refusal(Exception):
    """An upload that is not taken; without a reason the answer has no body."""

    def __init__(self, status: HTTPStatus, reason: int | None = None, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class _Form:
    """What has come so far."""

    draft: Draft
    audio_limit: int
    """Octets."""
    described: bytearray | None = None
    """The part `jsondata`."""
    audio_bytes: int | None = None
    """Octets of the part `attachment`; None: it has not come."""
    filename: str = ""
    _part: str = field(default="", init=False)

    def begin(self, part: MultipartSegment) -> None:
        """Another part follows. Raises Refusal if there was one of its name."""
        self._part = part.name
        if part.name == "jsondata":
            if self.described is not None:
                raise _invalid("More than one part jsondata")
            self.described = bytearray()
        elif part.name == "attachment":
            if self.audio_bytes is not None:
                raise _invalid("More than one part attachment")
            self.audio_bytes, self.filename = 0, part.filename or ""

    async def add(self, octets: bytes) -> None:
        """The next octets of the part. Raises Refusal, StorageUnavailable."""
        if self._part == "jsondata" and self.described is not None:
            self.described += octets
            if len(self.described) > JSON_BYTES:
                raise _invalid("The part jsondata is too large")
        elif self._part == "attachment" and self.audio_bytes is not None:
            self.audio_bytes += len(octets)
            if self.audio_bytes > self.audio_limit:
                raise _too_large(self.audio_limit)
            await self.draft.write(octets)


class Uploads:
    """Receives uploads."""

    def __init__(self, context: Context) -> None:
        self._importer = context.services.importer
        self._config = context.config.imagicle
        self._limit = self._config.upload_mb << 20
        self._body_s = context.body_s

    async def receive(self, request: web.Request, actor: Actor) -> web.Response:
        """Take an upload of somebody who may; what was wrong with it is an answer, too."""
        try:
            row = await self._received(request, actor)
        except EXPECTED as error:
            return _refused(request, _refusal_of(error))
        body = json.encode({"id": str(UUID(row.id))})
        return web.Response(status=201, body=body, content_type="application/json")

    async def _received(self, request: web.Request, actor: Actor) -> Recording:
        parser = self._parser(request)
        with self._importer.draft() as draft:
            form = _Form(draft, self._limit)
            with parser:
                async for piece in self._pieces(request):
                    for event in parser.parse(piece):
                        if isinstance(event, MultipartSegment):
                            form.begin(event)
                        elif event:
                            await form.add(event)
            return await self._importer.take(self._described(form), draft.path, actor)

    def _parser(self, request: web.Request) -> PushMultipartParser:
        """Raises Refusal for a body that is none, or too large, as far as its head tells."""
        kind, options = parse_options_header(request.headers.get("Content-Type", ""))
        coding = request.headers.get("Content-Encoding", "identity").lower()
        boundary = options.get("boundary", "")
        if kind != "multipart/form-data" or not boundary or coding != "identity":
            raise _invalid("The body must be multipart/form-data")
        if (request.content_length or 0) > self._limit + OVERHEAD_BYTES:
            raise _too_large(self._limit)
        return PushMultipartParser(boundary, max_segment_count=MOST_PARTS)

    async def _pieces(self, request: web.Request) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Refusal if it does not get on, or does not end."""
        left, now = self._limit + OVERHEAD_BYTES, asyncio.get_running_loop().time
        due, awaited = now() + self._body_s, BLOCK_BYTES
        while piece := await _piece(request, due):
            left -= len(piece)
            awaited -= len(piece)
            if left < 0:
                raise _too_large(self._limit)
            if awaited <= 0:
                due, awaited = now() + self._body_s, BLOCK_BYTES
            yield piece

    def _described(self, form: _Form) -> Upload:
        if form.described is None:
            raise _invalid("There is no part jsondata")
        upload = metadata.parse(bytes(form.described), datetime.now(UTC))
        if form.audio_bytes is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, INVALID_AUDIO, "There is no part attachment")
        return replace(upload, filename=form.filename, keep_stereo=self._config.stereo_uploads)


async def _piece(request: web.Request, due: float) -> bytes:
    """What has come of the body; nothing at its end. Raises Refusal."""
    try:
        async with asyncio.timeout_at(due):
            return await request.content.readany()
    except TimeoutError:
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT) from None


ERRORS: tuple[tuple[type[Exception], HTTPStatus, int | None, str], ...] = (
    (InvalidData, HTTPStatus.BAD_REQUEST, INVALID_DATA, ""),
    (InvalidMetadata, HTTPStatus.BAD_REQUEST, INVALID_METADATA, ""),
    (InvalidChange, HTTPStatus.BAD_REQUEST, INVALID_METADATA, ""),
    (UnknownOwner, HTTPStatus.BAD_REQUEST, INVALID_METADATA, "localParty.username: "),
    (UnusableUpload, HTTPStatus.BAD_REQUEST, INVALID_AUDIO, "The attachment cannot be used: "),
    (OutOfRetention, HTTPStatus.CONFLICT, None, ""),
    (TooManyUploads, HTTPStatus.SERVICE_UNAVAILABLE, None, ""),
    (ConversionFailed, HTTPStatus.INTERNAL_SERVER_ERROR, None, ""),
    (StorageUnavailable, HTTPStatus.GATEWAY_TIMEOUT, None, ""),
)
"""What goes wrong with uploads: failure, status, reason, and what its text follows."""
BROKEN: tuple[type[Exception], ...] = (MultipartError, HttpProcessingError, web.RequestPayloadError)
"""What a body raises that is not as it should be."""
EXPECTED: tuple[type[Exception], ...] = (Refusal, *BROKEN, *(kind for kind, *_ in ERRORS))


def _refusal_of(error: Exception) -> Refusal:
    """Of one of `EXPECTED`."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, BROKEN):
        return _invalid("The body is not proper multipart/form-data")
    _, status, reason, before = next(row for row in ERRORS if isinstance(error, row[0]))
    return Refusal(status, reason, f"{before}{error}")


def _refused(request: web.Request, refusal: Refusal) -> web.Response:
    """The answer; what of the body has not come is not waited for."""
    logger.info("upload_refused", status=refusal.status.value, detail=str(refusal))
    response = web.Response(status=refusal.status.value)
    if refusal.reason is not None:
        response.body = json.encode({"reason": refusal.reason, "message": str(refusal)})
        response.content_type = "application/json"
    if refusal.status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if not request.content.at_eof():
        response.force_close()
    return response


def _invalid(message: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, INVALID_DATA, message)


def _too_large(limit: int) -> Refusal:
    message = f"The attachment is larger than {limit >> 20} MiB"
    return Refusal(HTTPStatus.BAD_REQUEST, INVALID_AUDIO, message)
