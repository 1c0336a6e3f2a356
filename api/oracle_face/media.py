"""Files over FACE: the audio of a recording, a redirect to it, and supplemental files as video."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from aiohttp import web

from api import files
from api.dialect import Context
from api.oracle_face import codes, wire
from api.oracle_face.asking import Ask
from api.oracle_face.codes import Refusal, invalid, missing
from api.oracle_face.criteria import Selection
from api.oracle_face.recordings import Recordings, place
from api.oracle_face.tickets import Tickets
from siprec.session import (
    SYSTEM,
    Actor,
    ConversionBusy,
    ConversionFailed,
    ConversionTimeout,
    NotFinished,
)
from storage.records import FileRecord, Recording, RecordingQuery, UnknownFile, UnknownRecording

MEDIA_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}
FILES = "Face/Recordings"
"""Where the direct URLs of audio lie."""
FOR_ANI = {
    "download": "Error retrieving file for ANI {} DNIS {} at timestamp of {}",
    "redirect": "Error retrieving filename for ANI {} DNIS {} at timestamp of {}",
}
"""What is said of a missing file if calling and called party and start were the criteria."""

NO_AUDIO = (NotFinished, UnknownFile, UnknownRecording)
"""What the core says of a recording that has no audio now, or never had, or is gone."""

_PLACE = re.compile(r"/*(?:([0-9]{4}-[0-9]{2}-[0-9]{2})/([0-9]{2})/([0-9]{2})/)?([^/]+)", re.ASCII)
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
        selection, recording_id = await self._chosen(ask)
        try:
            row = await self._finished(recording_id, ask.actor)
            return await self._send(ask.request, row, ask.actor)
        except NO_AUDIO:
            raise _no_file(ask, selection) from None

    async def redirect(self, ask: Ask) -> web.Response:
        """302 to a URL of that audio that needs no token, for a few minutes."""
        selection, recording_id = await self._chosen(ask)
        try:
            row = await self._finished(recording_id, ask.actor)
            key = _file(row, "wav").key
            if not await asyncio.to_thread(self._services.blobs.exists, key):
                raise UnknownFile(key)
        except NO_AUDIO:
            raise _no_file(ask, selection) from None
        ticket = self._tickets.make(row.id, datetime.now(UTC))
        location = f"/{FILES}/{place(row)}?ticket={ticket}"
        return web.Response(status=302, headers={"Location": location})

    async def direct(self, ask: Ask) -> web.StreamResponse:
        """The audio at its direct URL, for who has a ticket for it or a token."""
        has_ticket = "ticket" in ask.parameters
        actor = SYSTEM if has_ticket else ask.actor
        try:
            recording_id = self._admitted(ask) if has_ticket else await self._at(ask)
            row = await self._finished(recording_id, actor)
            if _parts(ask)[4] != row.filename:
                raise Refusal(codes.NO_FILE)
            return await self._send(ask.request, row, actor)
        except NO_AUDIO:
            raise Refusal(codes.NO_FILE) from None

    async def file(self, ask: Ask) -> web.StreamResponse:
        """A supplemental file."""
        for name in ("filename", "supplementalFileId"):
            if not ask.parameters.get(name):
                raise missing(name)
        for name in ask.parameters.keys() - _OWN_PARAMETERS:
            raise invalid(name)
        if ask.parameters.get("type", "video") != "video":
            raise invalid("type")
        number, position = wire.supplemental_place(_integer(ask.parameters["supplementalFileId"]))
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

    async def _chosen(self, ask: Ask) -> tuple[Selection, str]:
        """The id of the recording that matches. Raises Refusal, Several."""
        ask.need("download")
        selection = self._recordings.selection(ask)
        try:
            rows = await self._recordings.one(ask, selection, has_ended=True)
        except Refusal as refusal:
            if refusal.code in {codes.NO_RECORDING, codes.NO_UCID}:
                raise _no_file(ask, selection) from None
            raise
        if len(rows) > 1:
            text = "The recording has several segments, use audioRecording/segment/"
            raise Refusal(codes.FAILURE, text + ask.verb)
        return selection, rows[0].id

    async def _finished(self, recording_id: str, actor: Actor) -> Recording:
        """The recording with its files made. Raises Refusal and `NO_AUDIO`."""
        try:
            row = await self._services.library.finished(recording_id, actor)
        except ConversionTimeout:
            raise Refusal(codes.CONVERSION_TIMEOUT) from None
        if row.reason == "render_failed":
            raise Refusal(codes.NOT_CONVERTED)
        if row.deleting:
            raise UnknownFile(f"recording {recording_id} is being deleted")
        return row

    def _admitted(self, ask: Ask) -> str:
        """The recording the ticket is for. Raises Refusal."""
        if recording_id := self._tickets.check(ask.parameters["ticket"], datetime.now(UTC)):
            return recording_id
        raise Refusal(codes.NO_FILE)

    async def _at(self, ask: Ask) -> str:
        """The one recording that is where a direct URL says. Raises Refusal."""
        ask.need("download")
        day, hour, minute, name = _parts(ask).groups()
        query = RecordingQuery(filename=name, limit=2)
        if day:
            query = _within(query, day, hour, minute)
        rows = await self._services.library.match(query, ask.actor)
        if len(rows) != 1:  # names may occur twice, and no call is to be taken for another
            raise Refusal(codes.NO_FILE)
        return rows[0].id

    async def _send(self, request: web.Request, row: Recording, actor: Actor) -> web.StreamResponse:
        """Raises Refusal and `NO_AUDIO`."""
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
        file = _file(row, kind)
        name = row.filename if kind == "wav" else f"{row.filename.removesuffix('.wav')}.mp3"
        stored = files.StoredFile(
            self._services.blobs, file.key, MEDIA_TYPES[kind], file.sha256, name
        )
        return await files.send(request, stored)


def _file(row: Recording, kind: str) -> FileRecord:
    """Raises UnknownFile."""
    for file in row.files:
        if file.format == kind:
            return file
    raise UnknownFile(f"recording {row.id} has no {kind} file")


def _wants_mp3(request: web.Request) -> bool:
    accept = request.headers.get("Accept", "").lower()
    accepted = {part.partition(";")[0].strip() for part in accept.split(",")}
    return MEDIA_TYPES["mp3"] in accepted and MEDIA_TYPES["wav"] not in accepted


def _parts(ask: Ask) -> re.Match[str]:
    """Day, hour, minute and file name of a direct URL; the first three may be None.

    Raises Refusal.
    """
    parts = _PLACE.fullmatch(ask.command.removeprefix("Recordings/"))
    if parts is None:
        raise Refusal(codes.NO_FILE)
    return parts


def _within(query: RecordingQuery, day: str, hour: str, minute: str) -> RecordingQuery:
    try:
        at = datetime.fromisoformat(f"{day}T{hour}:{minute}:00+00:00")
        return replace(query, started_after=at, started_before=at + _MINUTE)
    except (ValueError, OverflowError):
        raise Refusal(codes.NO_FILE) from None


def _no_file(ask: Ask, selection: Selection) -> Refusal:
    criteria, text = selection.ani_dnis_start, FOR_ANI.get(ask.verb)
    return Refusal(codes.NO_FILE, text.format(*criteria) if criteria and text else "")


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise invalid("supplementalFileId")
    return int(text)
