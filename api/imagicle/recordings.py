"""Stored recordings: listed, shown and downloaded."""

from collections.abc import AsyncIterator
from dataclasses import replace
from http import HTTPStatus

import msgspec
from aiohttp import web

from api import files
from api.basic import email_of
from api.dialect import Context
from api.imagicle import asking, criteria, wire
from api.imagicle.asking import BASE_ACCESS, COMPLETE_MANAGEMENT, Ask, Refusal
from api.imagicle.criteria import Asked, InvalidFilter
from siprec.session import SYSTEM
from storage.directory import Entries
from storage.records import Recording, RecordingQuery

STORED = frozenset({"complete", "partial"})
"""Statuses of recordings that are there for these clients."""
PAGE = 1000
"""Recordings read from the catalogue at a time."""
DOWNLOADED = "Download Recording"
"""What the history calls it."""


class Recordings:
    """What the requests about stored recordings do."""

    def __init__(self, context: Context) -> None:
        self._services = context.services

    async def find(self, ask: Ask) -> web.StreamResponse:
        """Those that meet all filters, newest first, and how many there are."""
        _need_base(ask)
        try:
            asked = criteria.parse(ask.request.query.items())
        except InvalidFilter as error:
            body = {"reason": error.reason, "message": str(error)}
            raise Refusal(HTTPStatus.BAD_REQUEST, body) from None
        query = self._query(ask, asked)
        total = await self._services.library.count(query, ask.actor) if query else 0
        wanted = range(total)
        if asked.size is not None:
            wanted = wanted[asked.page * asked.size :][: asked.size]
        if query is None or not wanted:
            return asking.answer({"totalCount": total, "recordings": []})
        return await self._send(ask, query, total, wanted)

    def _query(self, ask: Ask, asked: Asked) -> RecordingQuery | None:
        """None: nothing can match."""
        query = RecordingQuery(statuses=STORED, **asked.criteria)
        if asked.owner is not None:
            query = replace(query, owner=self._email(ask, asked.owner))
        if ask.level < COMPLETE_MANAGEMENT:
            own = ask.user.email.lower()
            if query.owner not in {None, own}:
                return None
            query = replace(query, owner=own)
        return query

    def _email(self, ask: Ask, name: str) -> str:
        """Whose user name, or e-mail address, it is; of others only those of the account count."""
        users = self._entries.users.items()
        mine = {key: user for key, user in users if ask.actor.sees(user.account)}
        return email_of(name, replace(self._entries, users=mine)).lower()

    async def _send(
        self, ask: Ask, query: RecordingQuery, total: int, wanted: range
    ) -> web.StreamResponse:
        """At once what fits in a page, else as it is read."""
        parts = self._parts(ask, query, wanted)
        head = b'{"totalCount":%d,"recordings":[' % total
        first = await anext(parts, b"")
        if len(wanted) <= PAGE:
            body = head + first + b"]}"
            return web.Response(body=body, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(ask.request)
        await response.write(head + first)
        async for part in parts:
            await response.write(b"," + part)
        await response.write(b"]}")
        await response.write_eof()
        return response

    async def _parts(self, ask: Ask, query: RecordingQuery, wanted: range) -> AsyncIterator[bytes]:
        """Rows as JSON with commas between, a page of the catalogue each."""
        query, left = replace(query, offset=wanted.start), len(wanted)
        while left > 0:
            page = await self._services.library.find(
                replace(query, limit=min(left, PAGE)), ask.actor
            )
            rows = (wire.listed(row, self._entries) for row in page.items)
            if page.items:
                yield b",".join(map(msgspec.json.encode, rows))
            left -= len(page.items)
            if page.next is None:
                return
            query = replace(query, cursor=page.next, offset=0)

    async def show(self, ask: Ask) -> web.Response:
        """One of them."""
        _need_base(ask)
        row = await self._found(ask)
        return asking.answer(wire.detailed(row, self._entries))

    async def media(self, ask: Ask) -> web.StreamResponse:
        """Its audio as MP3, made now if nobody had it made before; its history tells who took it.

        A range other than from the beginning is the rest of a download that was told of.
        """
        _need_base(ask)
        if not ask.may("download", "playback"):
            raise Refusal(HTTPStatus.FORBIDDEN)
        row = await self._found(ask)
        library = self._services.library
        row = await library.mp3(row.id, ask.actor)
        file = next(each for each in row.files if each.format == "mp3")
        if ask.request.method == "GET" and _is_from_beginning(ask.request):
            await library.noted(row.id, DOWNLOADED, ask.actor)
        name = f"{wire.reference_number(row)}.mp3"
        stored = files.StoredFile(self._services.blobs, file.key, "audio/mpeg", file.sha256, name)
        return await files.send(ask.request, stored)

    async def _found(self, ask: Ask) -> Recording:
        """The finished recording with the id in the path.

        Raises Refusal, UnknownRecording, NotFinished, ConversionTimeout, StorageUnavailable.
        """
        recording_id = wire.recording_id(ask.named)
        if recording_id is None:
            raise Refusal(HTTPStatus.BAD_REQUEST)
        library = self._services.library
        row = await library.get(recording_id, SYSTEM)
        is_own = row.owner == ask.user.email.lower() or ask.level >= COMPLETE_MANAGEMENT
        if not (is_own and ask.actor.sees(row.account, row.route)):
            raise Refusal(HTTPStatus.FORBIDDEN)
        row = await library.finished(recording_id)
        if row.deleting or row.status not in STORED:
            raise Refusal(HTTPStatus.NOT_FOUND)
        return row if row.number else await library.booked(recording_id)

    @property
    def _entries(self) -> Entries:
        return self._services.directory.entries


def _need_base(ask: Ask) -> None:
    if ask.level < BASE_ACCESS:
        raise Refusal(HTTPStatus.FORBIDDEN)


def _is_from_beginning(request: web.Request) -> bool:
    return request.headers.get("Range", "bytes=0-").startswith("bytes=0-")
