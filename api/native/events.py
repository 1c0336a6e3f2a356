"""The event stream: every change of the recorder as a text frame of a WebSocket (RFC 6455).

A reader that does not keep up loses its oldest events and is told how many; one that does not
answer pings is dropped. What readers send is ignored.
"""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from weakref import WeakSet

import msgspec
from aiohttp import WSCloseCode, web

from api.native import encode, wire
from api.problem import ApiError
from api.typed import Call
from siprec.dispatcher import TooManyEvents, UnknownEvent
from siprec.feed import Subscription
from siprec.session import Actor

OPEN = web.AppKey("event_streams", WeakSet[web.WebSocketResponse])
"""Every open stream, to be closed when the server stops."""

HEARTBEAT_S = 20.0
"""Time between pings; a reader has half of it to answer."""

CHECK_S = 1.0
"""Time between two looks whether the reader's token still holds."""

_MAX_FRAME_BYTES = 4096
_CLOSE_S = 2.0


async def watch(call: Call[wire.Watch]) -> web.WebSocketResponse:
    """Send events until the reader leaves or the server stops. Raises ApiError 426."""
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S, timeout=_CLOSE_S, max_msg_size=_MAX_FRAME_BYTES
    )
    if not socket.can_prepare(call.request):
        status = HTTPStatus.UPGRADE_REQUIRED
        raise ApiError(status, "this is a WebSocket", {"Upgrade": "websocket"})
    with call.services.feed.subscribe() as subscription:
        await socket.prepare(call.request)
        call.request.app[OPEN].add(socket)
        await _serve(socket, subscription, call)
    return socket


async def raise_event(call: Call[wire.RaiseEvent]) -> wire.Raised:
    """Have the policies of an event act; their actions go on after the answer."""
    ask = call.ask
    aors = tuple(ask.called_aors) or None
    try:
        actions = await call.services.dispatcher.raise_event(
            ask.event, ask.ucid, aors, call.actor.account, call.actor.routes
        )
    except UnknownEvent as error:
        raise ApiError(HTTPStatus.NOT_FOUND, str(error)) from None
    except TooManyEvents as error:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        raise ApiError(status, str(error), {"Retry-After": "1"}) from None
    return wire.Raised(actions)


async def close_all(app: web.Application) -> None:
    """Tell every reader that the server goes away."""
    closing = (
        socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops")
        for socket in [*app[OPEN]]
    )
    await asyncio.gather(*closing)


async def _serve(
    socket: web.WebSocketResponse, subscription: Subscription, call: Call[wire.Watch]
) -> None:
    async with asyncio.TaskGroup() as group:
        sender = group.create_task(_send(socket, subscription, call.actor), name="event stream")
        guard = group.create_task(_guard(socket, call), name="event stream guard")
        async for _ in socket:
            pass
        sender.cancel()
        guard.cancel()


async def _guard(socket: web.WebSocketResponse, call: Call[wire.Watch]) -> None:
    """Close the stream once the token of its reader holds no longer."""
    while call.holds():  # noqa: ASYNC110 - nothing tells us that a token ends
        await asyncio.sleep(CHECK_S)
    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"the token holds no longer")


async def _send(socket: web.WebSocketResponse, subscription: Subscription, actor: Actor) -> None:
    told = 0
    with suppress(ConnectionError):
        async for change in subscription:
            if subscription.missed > told:
                missed, told = subscription.missed - told, subscription.missed
                await _put(socket, wire.Missed(missed))
            if actor.sees(change.account, change.route):
                await _put(socket, encode.event(change))


async def _put(socket: web.WebSocketResponse, frame: wire.Event | wire.Missed) -> None:
    await socket.send_str(msgspec.json.encode(frame).decode())
