"""Routes of the native interface about recordings, live and stored.

Whatever belongs to an account or route the caller may not see is not there.
"""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from api import files
from api.native import recording as json
from api.native import wire
from api.problem import ApiError
from api.typed import Call, Route
from siprec.session import NotFinished
from storage import records

MEDIA_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg", "peaks": "application/json"}
"""Format of a stored file -> media type."""
_LISTENING = ("download", "playback")
"""Permissions of which one is needed for audio."""


async def find_recordings(call: Call[json.FindRecordings]) -> json.RecordingList:
    """Stored and live recordings."""
    page = await call.services.library.find(json.query(call.ask), call.actor)
    return json.RecordingList([json.recording(row) for row in page.items], page.next)


async def get_recording(call: Call[json.OneRecording]) -> json.Recording:
    """One recording."""
    return json.recording(await call.services.library.get(call.ask.recording_id, call.actor))


async def change_recording(call: Call[json.ChangeRecording]) -> json.Recording:
    """Change what people may change of one recording."""
    changes = json.changes(call.ask)
    if (changes.hold, changes.never_expire) != (None, None) and call.actor.role != "admin":
        raise ApiError(HTTPStatus.FORBIDDEN, "hold and never_expire need the role admin")
    library = call.services.library
    return json.recording(await library.update(call.ask.recording_id, changes, call.actor))


async def get_media(call: Call[json.OneFile]) -> web.StreamResponse:
    """The audio of a finished recording; the first request for MP3 makes it."""
    row = await _finished(call, call.ask.recording_id)
    if call.ask.format == "mp3" and row.files:
        row = await call.services.library.mp3(row.id, call.actor)
    return await send(call, row, call.ask.format)


async def get_peaks(call: Call[json.OneRecording]) -> web.StreamResponse:
    """The waveform of a finished recording."""
    return await send(call, await _finished(call, call.ask.recording_id), "peaks")


async def delete_recording(call: Call[json.OneRecording]) -> None:
    """Remove a finished recording with its files."""
    await call.services.library.delete(call.ask.recording_id, call.actor)


async def _finished(call: Call[Any], recording_id: str) -> records.Recording:
    """A recording whose files may be sent. Raises NotFinished, ApiError 403 and 410."""
    if call.actor.rights.isdisjoint(_LISTENING):
        text = f"this needs the permission {' or '.join(_LISTENING)}"
        raise ApiError(HTTPStatus.FORBIDDEN, text)
    row = await call.services.library.get(recording_id, call.actor)
    if row.deleting:
        raise ApiError(HTTPStatus.GONE, "the recording is being deleted")
    if not row.is_finished:
        raise NotFinished(f"the recording is {row.status}: not finished yet")
    return row


async def send(call: Call[Any], row: records.Recording, kind: str) -> web.StreamResponse:
    """One of the files of a recording. Raises ApiError 404 and 416, UnknownFile."""
    file = next((each for each in row.files if each.format == kind), None)
    if file is None:
        text = f"the recording is {row.status} and has no {kind} file"
        raise ApiError(HTTPStatus.NOT_FOUND, text)
    stored = files.StoredFile(
        call.services.blobs, file.key, MEDIA_TYPES[kind], file.sha256, _name(row, file)
    )
    return await files.send(call.request, stored)


def _name(row: records.Recording, file: records.FileRecord) -> str:
    """What people call the recording, with the ending of this file."""
    name = row.filename or row.id
    stem = name[:-4] if name.lower().endswith(".wav") else name
    return f"{stem}.{file.key.rpartition('.')[2]}"


_AUDIO = (MEDIA_TYPES["wav"], MEDIA_TYPES["mp3"])
_JSON = (MEDIA_TYPES["peaks"],)
_ALL = f"{wire.PREFIX}/recordings"
_ONE = f"{_ALL}/{{recording_id}}"

ROUTES: tuple[Route[Any], ...] = (
    Route(
        "GET",
        _ALL,
        "operator",
        find_recordings,
        json.FindRecordings,
        json.RecordingList,
        "List recordings, newest first",
        problems=(503,),
    ),
    Route(
        "GET",
        _ONE,
        "operator",
        get_recording,
        json.OneRecording,
        json.Recording,
        "Get one recording",
        problems=(404, 503),
    ),
    Route(
        "POST",
        _ONE,
        "operator",
        change_recording,
        json.ChangeRecording,
        json.Recording,
        "Change name, notes, custom data or marks of one recording; in force when it is answered",
        problems=(404, 408, 409, 413, 415, 503),
        right="edit",
    ),
    Route(
        "GET",
        f"{_ONE}/media",
        "operator",
        get_media,
        json.OneFile,
        None,
        "Get the audio, whole or a range of it",
        problems=(404, 409, 410, 416, 503),
        answers={200: _AUDIO, 206: _AUDIO, 304: ()},
    ),
    Route(
        "GET",
        f"{_ONE}/peaks",
        "operator",
        get_peaks,
        json.OneRecording,
        json.Peaks,
        "Get the waveform",
        problems=(404, 409, 410, 416, 503),
        answers={200: _JSON, 206: (), 304: ()},
    ),
    Route(
        "DELETE",
        _ONE,
        "operator",
        delete_recording,
        json.OneRecording,
        None,
        "Delete a finished recording with its files",
        problems=(404, 409, 503),
        right="delete",
    ),
)
"""Every operation on recordings."""
