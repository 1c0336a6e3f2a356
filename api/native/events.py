"""The event stream: every change of the recorder as a text message of a WebSocket (RFC 6455).

What readers send is ignored. Counterpart: `api.sockets`, which writes to them all.
"""

from collections.abc import Hashable
from http import HTTPStatus

from aiohttp import WSCloseCode, web

from api.native import encode, wire
from api.problem import ApiError
from api.sockets import REVOKED, STOPPED, Ending, Fanout, Reader
from api.typed import Call
from siprec.dispatcher import TooManyEvents, UnknownEvent
from siprec.feed import FeedEvent

FANOUT = web.AppKey("fanout", Fanout)
"""What serves event streams."""

_MAX_MESSAGE_BYTES = 4096


class Watcher:
    """Who reads the stream (`api.sockets.Party`)."""

    def __init__(self, call: Call[wire.Watch]) -> None:
        self._call = call
        self.name = call.actor.name

    @property
    def group(self) -> Hashable:
        """Who sees the same calls hears the same."""
        return "native", self._call.actor.account, self._call.actor.routes

    def tell(self, event: FeedEvent) -> bytes:
        """Every change of calls that the reader may see."""
        seen = self._call.actor.sees(event.account, event.route)
        return encode.event(event) if seen else b""

    def heard(self, data: bytes, reader: Reader) -> None:
        """Ignore it."""

    async def look(self, now: float, reader: Reader) -> Ending | None:
        """End the stream once the token of its reader holds no longer."""
        if self._call.holds():
            return None
        return Ending(WSCloseCode.POLICY_VIOLATION, REVOKED)

    def stopped(self) -> Ending:
        """The server goes away."""
        return Ending(WSCloseCode.GOING_AWAY, STOPPED)


async def watch(call: Call[wire.Watch]) -> web.StreamResponse:
    """Send events until the reader leaves or the server stops. Raises ApiError 426, 503."""
    fanout = call.request.app[FANOUT]
    return await fanout.serve(call.request, Watcher(call), _MAX_MESSAGE_BYTES)


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
