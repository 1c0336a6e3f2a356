"""A stored file over HTTP: whole or one range of it, by its hash (RFC 9110 sections 8.8, 13, 14).

The entity tag is the SHA-256 of the file, so that it holds across copies and restarts.
"""

import asyncio
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web

from api.problem import ApiError
from storage.blobs.base import BlobStore

CHUNK_BYTES = 256 * 1024
"""Read and sent at a time; what one download holds in memory."""

_OUTSIDE = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
_UNSAFE = re.compile(r'[^ -~]|["%\\]')
"""In a quoted file name: what is not ASCII or cannot be quoted the same everywhere (appendix D)."""
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is to be sent and how it is called there."""

    store: BlobStore
    key: str
    media_type: str
    sha256: str
    name: str
    """File name offered to whoever saves it; any text."""


async def send(request: web.Request, file: StoredFile) -> web.StreamResponse:
    """Answer `request` (GET or HEAD) with `file`.

    Raises UnknownFile, StorageUnavailable, and ApiError 416 for a range outside it.
    """
    tag = f'"{file.sha256}"'
    if _tags(request.headers.get("If-None-Match", "")) & {tag, "*"}:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    source, size = await asyncio.to_thread(file.store.open, file.key)
    try:
        return await _send(request, file, tag, source, size)
    finally:
        await asyncio.to_thread(source.close)


async def _send(
    request: web.Request, file: StoredFile, tag: str, source: BinaryIO, size: int
) -> web.StreamResponse:
    span = requested_range(_range_header(request, tag), size)
    response = web.StreamResponse(headers=_headers(file, tag))
    if span is None:
        span = range(size)
    else:
        response.set_status(HTTPStatus.PARTIAL_CONTENT)
        response.headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    response.content_length = len(span)
    await response.prepare(request)
    if request.method != "HEAD":
        await _copy(source, span, response)
    await response.write_eof()
    return response


async def _copy(source: BinaryIO, span: range, response: web.StreamResponse) -> None:
    await asyncio.to_thread(source.seek, span.start)
    for left in range(len(span), 0, -CHUNK_BYTES):
        chunk = await asyncio.to_thread(source.read, min(left, CHUNK_BYTES))
        if not chunk:
            raise OSError("the file has become shorter")
        await response.write(chunk)


def requested_range(header: str | None, size: int) -> range | None:
    """The octets a Range header asks for of a file of `size` octets; None: all of them.

    Several ranges, other units and what cannot be read count as no header, as RFC 9110 section
    14.2 permits. Raises ApiError 416 when nothing of the range is in the file.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        span = range(max(0, size - int(last)), size)
    elif last and int(last) < int(first):
        return None
    else:
        span = range(int(first), min(int(last) + 1, size) if last else size)
    if not span:
        headers = {"Content-Range": f"bytes */{size}"}
        raise ApiError(_OUTSIDE, "the range lies outside the file", headers)
    return span


def attachment(name: str) -> str:
    """Content-Disposition that offers to save under a name of any text (RFC 6266 section 4).

    What not every client reads right stands percent-encoded in `filename*` (RFC 8187), and as `_`
    in `filename`, for those that do not know the other.
    """
    plain = _UNSAFE.sub("_", name)
    if plain == name:
        return f'attachment; filename="{plain}"'
    encoded = quote(name, safe="!#$&+-.^_`|~", errors="replace")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def _range_header(request: web.Request, tag: str) -> str | None:
    """The Range header if it is to be heeded: not for HEAD, not if If-Range has another version."""
    if request.method != "GET" or request.headers.get("If-Range", tag) != tag:
        return None
    return request.headers.get("Range")


def _tags(header: str) -> set[str]:
    return {part.strip().removeprefix("W/") for part in header.split(",")}


def _headers(file: StoredFile, tag: str) -> dict[str, str]:
    return {
        "Content-Type": file.media_type,
        "Content-Disposition": attachment(file.name),
        "Accept-Ranges": "bytes",
        "ETag": tag,
    }
