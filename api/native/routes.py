"""The native interface: its table of routes, and what each of them does.

Control routes touch neither database nor object store, so that a pause is as fast as the media
process; what they answer carries no packet figures for the same reason.
"""

from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from api import files
from api.native import encode, events, wire
from api.problem import ApiError
from api.typed import Call, Route
from siprec.recorder import Recorder
from siprec.session import AlreadyInState, UnknownSession
from storage import records

MEDIA_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg", "peaks": "application/json"}
"""Format of a stored file -> media type."""


async def find_sessions(call: Call[wire.FindSessions]) -> wire.SessionList:
    """Live sessions with the figures the media process has now."""
    recorder = call.services.recorder
    items, cursor = encode.page(recorder.sessions(call.actor), call.ask)
    figures = await recorder.reports([live.id for live in items])
    now = datetime.now(UTC)
    sessions = [encode.session(live, figures.get(live.id, {}), now) for live in items]
    return wire.SessionList(sessions, cursor)


async def get_session(call: Call[wire.OneSession]) -> wire.Session:
    """One live session."""
    recorder = call.services.recorder
    live = recorder.find(call.ask.session_id, call.actor)
    figures = await recorder.reports([live.id])
    return encode.session(live, figures.get(live.id, {}), datetime.now(UTC))


async def control_session(call: Call[wire.Control]) -> wire.Session:
    """Carry out a command; being there already is success."""
    recorder, ask = call.services.recorder, call.ask
    try:
        live = await recorder.control(
            ask.session_id,
            ask.action,
            call.actor,
            fill=ask.fill or "",
            reason=ask.reason,
            text=ask.text,
            prebuffer=ask.prebuffer,
        )
    except AlreadyInState:
        live = recorder.find(ask.session_id, call.actor)
    return encode.session(live, {}, datetime.now(UTC))


async def find_recordings(call: Call[wire.FindRecordings]) -> wire.RecordingList:
    """Stored and live recordings."""
    page = await call.services.catalog.find(encode.query(call.ask))
    items = [encode.recording(_as_of_now(call.services.recorder, row)) for row in page.items]
    return wire.RecordingList(items, page.next)


async def get_recording(call: Call[wire.OneRecording]) -> wire.Recording:
    """One recording."""
    row = await call.services.recorder.get(call.ask.recording_id)
    return encode.recording(_as_of_now(call.services.recorder, row))


async def get_media(call: Call[wire.OneFile]) -> web.StreamResponse:
    """The audio of a finished recording; the first request for MP3 makes it."""
    recorder, ask = call.services.recorder, call.ask
    row = _finished(await recorder.get(ask.recording_id))
    if ask.format == "mp3" and row.files:
        row = await recorder.mp3(row.id)
    return await _send(call, row, ask.format)


async def get_peaks(call: Call[wire.OneRecording]) -> web.StreamResponse:
    """The waveform of a finished recording."""
    row = _finished(await call.services.recorder.get(call.ask.recording_id))
    return await _send(call, row, "peaks")


async def delete_recording(call: Call[wire.OneRecording]) -> None:
    """Remove a finished recording with its files."""
    await call.services.recorder.delete(call.ask.recording_id, call.actor)


def _as_of_now(recorder: Recorder, row: records.Recording) -> records.Recording:
    """`row` as its live session knows it at this moment, if it has one."""
    try:
        live = recorder.find(row.session_id)
    except UnknownSession:
        return row
    if live.recording is None or live.recording.id != row.id:
        return row
    now = datetime.now(UTC)
    return replace(live.recording, duration_ms=live.duration_ms(now), paused_ms=live.paused_ms(now))


def _finished(row: records.Recording) -> records.Recording:
    if row.status in {"recording", "processing"}:
        raise ApiError(HTTPStatus.CONFLICT, f"the recording is {row.status}: not finished yet")
    return row


async def _send(
    call: Call[wire.OneFile] | Call[wire.OneRecording], row: records.Recording, kind: str
) -> web.StreamResponse:
    for file in row.files:
        if file.format == kind:
            name = f"{row.id}.{file.key.rpartition('.')[2]}"
            stored = files.StoredFile(
                call.services.blobs, file.key, MEDIA_TYPES[kind], file.sha256, name
            )
            return await files.send(call.request, stored)
    raise ApiError(HTTPStatus.NOT_FOUND, f"the recording is {row.status} and has no {kind} file")


_AUDIO = (MEDIA_TYPES["wav"], MEDIA_TYPES["mp3"])
_JSON = (MEDIA_TYPES["peaks"],)
_SESSIONS = f"{wire.PREFIX}/sessions"
_RECORDINGS = f"{wire.PREFIX}/recordings"

ROUTES: tuple[Route[Any], ...] = (
    Route(
        "GET",
        _SESSIONS,
        "control",
        find_sessions,
        wire.FindSessions,
        wire.SessionList,
        "List live sessions, newest first",
    ),
    Route(
        "GET",
        f"{_SESSIONS}/{{session_id}}",
        "control",
        get_session,
        wire.OneSession,
        wire.Session,
        "Get one live session",
        problems=(404,),
    ),
    Route(
        "POST",
        f"{_SESSIONS}/{{session_id}}/{{action}}",
        "control",
        control_session,
        wire.Control,
        wire.Session,
        "Start, pause, resume, stop, split or mark; in force when it is answered",
        problems=(404, 408, 409, 413, 415, 503),
    ),
    Route(
        "GET",
        _RECORDINGS,
        "operator",
        find_recordings,
        wire.FindRecordings,
        wire.RecordingList,
        "List recordings, newest first",
        problems=(503,),
    ),
    Route(
        "GET",
        f"{_RECORDINGS}/{{recording_id}}",
        "operator",
        get_recording,
        wire.OneRecording,
        wire.Recording,
        "Get one recording",
        problems=(404, 503),
    ),
    Route(
        "GET",
        f"{_RECORDINGS}/{{recording_id}}/media",
        "operator",
        get_media,
        wire.OneFile,
        None,
        "Get the audio, whole or a range of it",
        problems=(404, 409, 416, 503),
        answers={200: _AUDIO, 206: _AUDIO, 304: ()},
    ),
    Route(
        "GET",
        f"{_RECORDINGS}/{{recording_id}}/peaks",
        "operator",
        get_peaks,
        wire.OneRecording,
        wire.Peaks,
        "Get the waveform",
        problems=(404, 409, 416, 503),
        answers={200: _JSON, 206: (), 304: ()},
    ),
    Route(
        "DELETE",
        f"{_RECORDINGS}/{{recording_id}}",
        "admin",
        delete_recording,
        wire.OneRecording,
        None,
        "Delete a finished recording with its files",
        problems=(404, 409, 503),
    ),
    Route(
        "GET",
        f"{wire.PREFIX}/events",
        "control",
        events.watch,
        wire.Watch,
        None,
        "Follow all changes over a WebSocket: JSON text frames, `Event` or `Missed`",
        problems=(426,),
        answers={101: ()},
        token_in_query=True,
    ),
    Route(
        "POST",
        f"{wire.PREFIX}/events/raise",
        "control",
        events.raise_event,
        wire.RaiseEvent,
        wire.Raised,
        "Have the policies of an event act",
        problems=(404, 408, 413, 415, 503),
    ),
)
"""Every operation of this dialect."""
