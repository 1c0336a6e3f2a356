"""Files over FACE: the audio of a recording, a redirect to it, and supplemental files as video."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from aiohttp import web

from api import files
from api.dialect import Context
from api.oracle_face import codes
from api.oracle_face.asking import Ask
from api.oracle_face.codes import Refusal, invalid, missing
from api.oracle_face.criteria import Selection
from api.oracle_face.recordings import Recordings, place
from api.oracle_face.tickets import Tickets
from api.oracle_face.wire import supplemental_place
from siprec.session import (
    SYSTEM,
    Actor,
    ConversionBusy,
    ConversionFailed,
    ConversionTimeout,
    NotFinished,
)
from storage.records import Recording, RecordingQuery, UnknownFile, UnknownRecording

MEDIA_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}
FILES = "Face/Recordings"
"""Where the direct URLs of audio lie."""
FOR_ANI = {
    "download": "Error retrieving file for ANI {} DNIS {} at timestamp of {}",
    "redirect": "Error retrieving filename for ANI {} DNIS {} at timestamp of {}",
}
"""What is said of a missing file if calling and called party and start were the criteria."""

_FOLDER = re.compile(r"/*(?:([0-9]{4}-[0-9]{2}-[0-9]{2})/([0-9]{2})/([0-9]{2})/)?([^/]+)", re.ASCII)
_MINUTE = timedelta(minutes=1)
_OWN_PARAMETERS = frozenset({"filename", "supplementalFileId", "type"})


class Media:
    """What the commands about files do."""

    def __init__(self, context: Context, recordings: Recordings) -> None:
        self._services = context.services
        self._recordings = recordings
        self._tickets = Tickets()

    async def download(self, ask: Ask) -> web.StreamResponse:
        """The audio of the one recording that matches: WAV, or MP3 for who accepts only that."""
        selection, row = await self._chosen(ask)
        try:
            return await self._send(ask.request, row, ask.actor)
        except (UnknownFile, NotFinished):
            raise _no_file(ask, selection) from None

    async def redirect(self, ask: Ask) -> web.Response:
        """302 to a URL of that audio that needs no token, for a few minutes."""
        selection, row = await self._chosen(ask)
        if not row.files:
            raise _no_file(ask, selection)
        ticket = self._tickets.make(row.id, datetime.now(UTC))
        location = f"/{FILES}/{place(row)}?ticket={ticket}"
        return web.Response(status=302, headers={"Location": location})

    async def direct(self, ask: Ask) -> web.StreamResponse:
        """The audio at its direct URL, for who has a ticket for it or a token."""
        try:
            if ticket := ask.parameters.get("ticket"):
                recording_id = self._tickets.check(ticket, datetime.now(UTC))
                row = await self._services.library.finished(recording_id, SYSTEM)
            else:
                ask.need("download")
                row = await self._at(ask)
            return await self._send(ask.request, row, SYSTEM)
        except (UnknownRecording, UnknownFile, NotFinished):
            raise Refusal(codes.NO_FILE) from None

    async def file(self, ask: Ask) -> web.StreamResponse:
        """A supplemental file."""
        for name in ("filename", "supplementalFileId"):
            if name not in ask.parameters:
                raise missing(name)
        for name in ask.parameters.keys() - _OWN_PARAMETERS:
            raise invalid(name)
        if ask.parameters.get("type", "video") != "video":
            raise invalid("type")
        number, position = supplemental_place(_integer(ask.parameters["supplementalFileId"]))
        page = RecordingQuery(number=number, limit=1)
        rows = await self._services.library.match(page, ask.actor) if number else []
        found = [
            (row, each)
            for row in rows
            for each in row.supplemental_files
            if (each.number, each.filename) == (position, ask.parameters["filename"])
        ]
        if not found:
            raise Refusal(codes.NO_RECORDING)
        ((row, each),) = found
        ask.need("download")
        if not self._recordings.may_see_video(ask.actor, row):
            raise Refusal(codes.NOT_LICENSED)
        stored = files.StoredFile(
            self._services.blobs, each.file.key, "video/mp4", each.file.sha256, each.filename
        )
        return await files.send(ask.request, stored)

    async def _chosen(self, ask: Ask) -> tuple[Selection, Recording]:
        """The recording that matches, with its files made. Raises Refusal, Several."""
        ask.need("download")
        selection = self._recordings.selection(ask)
        rows = await self._recordings.one(ask, selection)
        if len(rows) > 1:
            text = "The recording has several segments, use audioRecording/segment/"
            raise Refusal(codes.FAILURE, text + ask.verb)
        return selection, await self._finished(ask, selection, rows)

    async def _finished(
        self, ask: Ask, selection: Selection, rows: Sequence[Recording]
    ) -> Recording:
        try:
            row = await self._services.library.finished(rows[0].id, ask.actor)
        except ConversionTimeout:
            raise Refusal(codes.CONVERSION_TIMEOUT) from None
        except (NotFinished, UnknownRecording):
            raise _no_file(ask, selection) from None
        if row.reason == "render_failed":
            raise Refusal(codes.NOT_CONVERTED)
        if row.deleting:
            raise _no_file(ask, selection)
        return row

    async def _at(self, ask: Ask) -> Recording:
        """The recording at the place a direct URL names. Raises Refusal."""
        parts = _FOLDER.fullmatch(ask.command.removeprefix("Recordings/"))
        if parts is None:
            raise Refusal(codes.NO_FILE)
        query = RecordingQuery(filename=parts[4], limit=2)
        if parts[1]:
            query = _within(query, parts[1], parts[2], parts[3])
        rows = await self._services.library.match(query, ask.actor)
        if not rows:
            raise Refusal(codes.NO_FILE)
        return await self._services.library.finished(rows[0].id, ask.actor)

    async def _send(self, request: web.Request, row: Recording, actor: Actor) -> web.StreamResponse:
        """Raises UnknownFile, NotFinished, Refusal."""
        kind = "mp3" if _wants_mp3(request) else "wav"
        try:
            if kind == "mp3":
                row = await self._services.library.mp3(row.id, actor)
        except ConversionFailed:
            raise Refusal(codes.NOT_CONVERTED) from None
        except ConversionTimeout:
            raise Refusal(codes.CONVERSION_TIMEOUT) from None
        except ConversionBusy:
            raise Refusal(codes.CONVERSION_BUSY) from None
        file = next((each for each in row.files if each.format == kind), None)
        if file is None:
            raise UnknownFile(f"recording {row.id} has no {kind} file")
        name = row.filename if kind == "wav" else f"{row.filename.removesuffix('.wav')}.mp3"
        stored = files.StoredFile(
            self._services.blobs, file.key, MEDIA_TYPES[kind], file.sha256, name
        )
        return await files.send(request, stored)


def _wants_mp3(request: web.Request) -> bool:
    accepted = [
        part.partition(";")[0].strip() for part in request.headers.get("Accept", "").split(",")
    ]
    return MEDIA_TYPES["mp3"] in accepted and MEDIA_TYPES["wav"] not in accepted


def _within(query: RecordingQuery, day: str, hour: str, minute: str) -> RecordingQuery:
    try:
        at = datetime.fromisoformat(f"{day}T{hour}:{minute}:00+00:00")
    except ValueError:
        raise Refusal(codes.NO_FILE) from None
    return replace(query, started_after=at, started_before=at + _MINUTE)


def _no_file(ask: Ask, selection: Selection) -> Refusal:
    criteria, text = selection.ani_dnis_start, FOR_ANI.get(ask.verb)
    return Refusal(codes.NO_FILE, text.format(*criteria) if criteria and text else "")


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise invalid("supplementalFileId")
    return int(text)
