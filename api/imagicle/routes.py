"""The door of Imagicle's interface: which request is which command, and who may give it.

One handler has all paths below `/fw/Apps/Recorder/WebAPI`, in any case, so that everything there is
answered in its own words: mostly a status without a body.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus

import structlog
from aiohttp import web

from api.auth import actor_of
from api.dialect import FAULTS, Context
from api.imagicle import asking
from api.imagicle.asking import COMPLETE_MANAGEMENT, Ask, Refusal
from api.imagicle.live import Live
from api.imagicle.recordings import Recordings
from api.imagicle.upload import Uploads
from api.problem import ApiError
from api.remote import is_foreign
from api.typed import ACTOR
from siprec.session import (
    ControlFailed,
    ConversionBusy,
    ConversionFailed,
    ConversionTimeout,
    NotFinished,
)
from storage.records import StorageUnavailable, UnknownFile, UnknownRecording

logger = structlog.get_logger(__name__)

PATH = r"/{root:(?i:fw/Apps/Recorder/WebAPI)}{tail:(/[\s\S]*)?}"
REALM = "CallRecording"
CONVERTED_AFTER_S = 10
"""When to come again for audio that is being made."""

Act = Callable[[Ask], Awaitable[web.StreamResponse]]
Methods = Mapping[str, Act]


def imagicle(context: Context) -> Iterable[web.RouteDef]:
    """The routes of this dialect."""
    return [web.route("*", PATH, Door(context).serve)]


class Door:
    """Takes requests apart, has commands carried out, and puts answers together."""

    def __init__(self, context: Context) -> None:
        self._basic = context.basic
        self._body_s = context.body_s
        self._uploads = Uploads(context)
        live, recordings = Live(context), Recordings(context)
        self._named: Mapping[tuple[str, ...], Methods] = {
            ("liverecordings",): {"GET": live.show, "POST": live.start, "DELETE": live.stop_line},
            ("liverecordings", "mine"): {"DELETE": live.stop_mine},
            ("liverecordings", "pause"): {"PUT": live.pause_line},
            ("liverecordings", "resume"): {"PUT": live.resume_line},
            ("recordings",): {"GET": recordings.find, "POST": self._upload},
        }
        """Paths without an id, in lower case."""
        self._by_id: Mapping[tuple[str, ...], Methods] = {
            ("liverecordings",): {"DELETE": live.stop_one},
            ("liverecordings", "pause"): {"PUT": live.pause_one},
            ("liverecordings", "resume"): {"PUT": live.resume_one},
            ("recordings",): {"GET": recordings.show},
            ("recordings", "media"): {"GET": recordings.media},
        }
        """Paths with an id after their first word, without it."""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        request[FAULTS] = _failed
        try:
            return await self._carry_out(request)
        except (Refusal, *EXPECTED) as error:
            return _failed(error, "")

    async def _carry_out(self, request: web.Request) -> web.StreamResponse:
        methods, named = self._methods(request.match_info["tail"])
        if request.method == "POST" and is_foreign(request.headers):
            raise Refusal(HTTPStatus.FORBIDDEN)  # other methods a browser asks about first
        authorization = request.headers.getall("Authorization", [])
        user = await self._basic.admit(authorization, request.remote or "", REALM)
        actor = actor_of(user)
        request[ACTOR] = actor.name
        if not methods:
            raise Refusal(HTTPStatus.NOT_FOUND)
        act = methods.get("GET" if request.method == "HEAD" else request.method)
        if act is None:
            raise _not_allowed(methods)
        return await act(Ask(request, user, actor, named, self._body_s))

    def _methods(self, tail: str) -> tuple[Methods, str]:
        """The commands at a path, by method, and the id in it."""
        words = tail.removeprefix("/").removesuffix("/").split("/")
        bare = tuple(word.lower() for word in words)
        if bare in self._named:
            return self._named[bare], ""
        if len(words) < 2 or not words[1]:
            return {}, ""
        return self._by_id.get((bare[0], *bare[2:]), {}), words[1]

    async def _upload(self, ask: Ask) -> web.StreamResponse:
        if ask.level < COMPLETE_MANAGEMENT:
            raise Refusal(HTTPStatus.FORBIDDEN)
        return await self._uploads.receive(ask.request, ask.actor)


EXPECTED = (
    ApiError,
    ControlFailed,
    ConversionBusy,
    ConversionFailed,
    ConversionTimeout,
    NotFinished,
    StorageUnavailable,
    UnknownFile,
    UnknownRecording,
)
"""What the core raises and the guide has a status for."""


def _failed(error: Exception, _: str) -> web.StreamResponse:
    refusal = _refusal_of(error)
    logger.info("imagicle_refused", status=int(refusal.status), body=refusal.body)
    return asking.refusal(refusal)


def _refusal_of(error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case ApiError():
            return Refusal(error.status, headers=error.headers)
        case ConversionBusy() | ConversionTimeout():
            again = {"Retry-After": str(CONVERTED_AFTER_S)}
            return Refusal(HTTPStatus.GATEWAY_TIMEOUT, headers=again)
        case ControlFailed() | StorageUnavailable():
            return Refusal(HTTPStatus.GATEWAY_TIMEOUT)
        case NotFinished() | UnknownFile() | UnknownRecording():
            return Refusal(HTTPStatus.NOT_FOUND)
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR)


def _not_allowed(methods: Iterable[str]) -> Refusal:
    """Who answers GET answers HEAD."""
    allowed = [each for name in methods for each in (name, *(("HEAD",) if name == "GET" else ()))]
    return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(allowed)})
