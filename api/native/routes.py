"""The native interface: its table of routes, and what each of them does.

Control routes touch neither database nor object store, so that a pause is as fast as the media
process; what they answer carries no packet figures for the same reason.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from api.native import (
    directory,
    encode,
    events,
    login,
    metrics,
    notifications,
    platforms,
    playback,
    recordings,
    wire,
)
from api.problem import ApiError
from api.typed import Call, Route
from siprec.session import Action, AlreadyInState, Terms


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
    if ask.action is Action.DISCARD and "delete" not in call.actor.rights:
        raise ApiError(HTTPStatus.FORBIDDEN, "this needs the permission delete")
    try:
        terms = Terms(ask.fill or "", ask.reason, ask.text, ask.prebuffer)
        live = await recorder.control(ask.session_id, ask.action, call.actor, terms)
    except AlreadyInState:
        live = recorder.find(ask.session_id, call.actor)
    return encode.session(live, {}, datetime.now(UTC))


_SESSIONS = f"{wire.PREFIX}/sessions"

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
        "Start, pause, resume, stop, split, mark, save, discard; in force when it is answered",
        problems=(404, 408, 409, 413, 415, 503),
        right="control",
    ),
    Route(
        "GET",
        f"{wire.PREFIX}/events",
        "control",
        events.watch,
        wire.Watch,
        None,
        "Follow all changes over a WebSocket: each a JSON text message, `Event`",
        problems=(426, 503),
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
        right="control",
    ),
    *recordings.ROUTES,
    *playback.ROUTES,
    *platforms.ROUTES,
    *metrics.ROUTES,
    *notifications.ROUTES,
    *login.ROUTES,
    *directory.ROUTES,
)
"""Every operation of this dialect."""
