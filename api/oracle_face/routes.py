"""The door of FACE: which request is which command, and who may give it.

One handler has all paths below `/Face`, so that everything there is answered in FACE's own words.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import structlog
from aiohttp import web

from api.dialect import FAULTS, Context
from api.oracle_face import asking, codes, wire
from api.oracle_face.asking import Ask
from api.oracle_face.capture import Capture
from api.oracle_face.codes import Refusal, missing
from api.oracle_face.control import Control
from api.oracle_face.login import Login
from api.oracle_face.media import Media
from api.oracle_face.numbers import TemporaryIds
from api.oracle_face.recordings import Recordings, Several
from api.oracle_face.wire import Tree
from api.problem import ApiError
from api.remote import is_relayed, is_within, networks
from api.typed import ACTOR, NOBODY
from siprec import __version__
from siprec.logbook import InvalidChange
from siprec.session import Actor, ControlFailed
from storage.records import NameTaken, StorageUnavailable, UnknownFile, UnknownRecording

logger = structlog.get_logger(__name__)

PREFIX = "/Face"
RECORDING = "audioRecording"
MACHINE = Actor("face", "system")
"""Who asks without a token from a host that needs none."""

HIDDEN = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
"""HTTP status codes that are 200 for clients that read nothing else. What is about the transfer
itself keeps its own: a client must not take a refusal for a part of a file."""

Answer = Tree | web.StreamResponse
Act = Callable[[Ask], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Command:
    """One path of FACE and one of its methods."""

    act: Act
    access: Literal["token", "known host", "ticket", "open"] = "token"
    """Who may give it: who has a token, or instead comes from a known host, or has a ticket."""
    is_response: bool = False
    """It answers with `<response>` instead of `<result>`."""


def face(context: Context) -> Iterable[web.RouteDef]:
    """The routes of FACE."""
    door = Door(context)
    return [web.route("*", PREFIX + r"{tail:(/[\s\S]*)?}", door.serve)]


class Door:
    """Takes requests apart, has commands carried out, and puts answers together."""

    def __init__(self, context: Context) -> None:
        self._authenticator = context.authenticator
        self._config = context.config.face
        self._allowed = networks(context.config.face.allow)
        self._known = networks(context.config.face.allow_events)
        self._has_proxies = bool(context.config.proxies)
        self._body_s = context.body_s
        self._commands = _commands(context)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request to FACE."""
        path = request.match_info["tail"].removeprefix("/")
        methods = self._methods(path)
        is_response = any(command.is_response for command in methods.values())

        def failed(error: Exception, _: str) -> web.StreamResponse:
            return self._refused(request, path, error, is_response)

        request[FAULTS] = failed
        try:
            found = await self._carry_out(request, path, methods)
        except Several as several:
            found = several.tree
        except (Refusal, *EXPECTED) as error:
            return failed(error, path)
        if isinstance(found, web.StreamResponse):
            return found
        return asking.answer(request, found)

    def _methods(self, path: str) -> Mapping[str, Command]:
        """The commands at this path, by method."""
        if path.startswith("Recordings/"):
            path = "Recordings/"
        return self._commands.get(path, {})

    async def _carry_out(
        self, request: web.Request, path: str, methods: Mapping[str, Command]
    ) -> Answer:
        if self._allowed and not is_within(request.remote or "", self._allowed):
            raise Refusal(codes.NOT_AUTHORIZED)
        parameters = asking.parameters(request)
        if not methods:
            raise self._unknown(request, path, parameters)
        method = "GET" if request.method == "HEAD" else request.method
        if method not in methods:
            raise Refusal(codes.INVALID_COMMAND, status=HTTPStatus.METHOD_NOT_ALLOWED)
        command = methods[method]
        actor = self._actor(request, command, parameters)
        request[ACTOR] = actor.name
        body = await asking.form(request, self._body_s) if method == "POST" else {}
        return await command.act(Ask(path, actor, parameters, request, body))

    def _unknown(self, request: web.Request, path: str, parameters: dict[str, str]) -> Refusal:
        """What is said of a path that no command has."""
        if path not in {RECORDING, f"{RECORDING}/"} and not path.startswith(f"{RECORDING}/"):
            return Refusal(codes.INVALID_COMMAND, status=HTTPStatus.NOT_FOUND)
        self._admitted(request, parameters)
        is_named = path.removeprefix(RECORDING).strip("/")
        return Refusal(codes.INVALID_COMMAND if is_named else codes.MISSING_COMMAND)

    def _actor(self, request: web.Request, command: Command, parameters: dict[str, str]) -> Actor:
        """Who gives the command; the parameters lose the token. Raises Refusal, ApiError."""
        if command.access == "open" or (command.access == "ticket" and "ticket" in parameters):
            return NOBODY
        if command.access == "known host" and "token" not in parameters:
            if not self._is_known(request):
                raise Refusal(codes.NOT_AUTHORIZED)
            return MACHINE
        return self._admitted(request, parameters)

    def _is_known(self, request: web.Request) -> bool:
        """Whether it comes from a host that needs no token.

        Behind a proxy that nobody configured everybody has the address of the proxy, often ours.
        """
        if is_relayed(request.headers) and not self._has_proxies:
            return False
        return is_within(request.remote or "", self._known)

    def _admitted(self, request: web.Request, parameters: dict[str, str]) -> Actor:
        token = parameters.pop("token", "")
        if not token:
            raise missing("token")
        return self._authenticator.admit_user(token, request.remote or "", "api")

    def _refused(
        self, request: web.Request, path: str, error: Exception, is_response: bool
    ) -> web.StreamResponse:
        refusal, methods = _refusal_of(error), self._methods(path)
        command = path if path in self._commands else ""  # what else is there may be a secret
        logger.info("face_refused", command=command, code=refusal.code)
        make = wire.response if is_response else wire.result
        is_hidden = self._config.always_http_200 and refusal.status in HIDDEN
        status = HTTPStatus.OK if is_hidden else refusal.status
        response = asking.answer(request, make(refusal.code, str(refusal)), status)
        if isinstance(error, ApiError):
            response.headers.update(error.headers)
        if refusal.status is HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = ", ".join(_with_head(methods))
        return response


def _commands(context: Context) -> Mapping[str, Mapping[str, Command]]:
    """Path below `/Face` -> method -> command."""
    recorder = context.services.recorder
    ids = TemporaryIds(recorder.open_recording)
    recordings = Recordings(context, ids)
    control, media = Control(context, ids, recordings), Media(context, recordings)
    capture, login = Capture(context), Login(context)
    delete = Command(recordings.delete)
    control_them = {"POST": Command(control.carry_out)}
    table = {
        "login": {"POST": Command(login.log_in, "open")},
        "version": {"GET": Command(version, "open")},
        "eventNotify": {"GET": Command(capture.notify, "known host", True)},
        "StartScreenCapture": {"GET": Command(capture.start_screen, "known host", True)},
        "StopScreenCapture": {"GET": Command(capture.stop_screen, "known host", True)},
        "file/download": {"GET": Command(media.file)},
        "Recordings/": {"GET": Command(media.direct, "ticket")},
        f"{RECORDING}/details": {
            "GET": Command(recordings.details),
            "POST": Command(recordings.update),
            "DELETE": delete,
        },
        f"{RECORDING}/delete": {"POST": delete},
        f"{RECORDING}/download": {"GET": Command(media.download)},
        f"{RECORDING}/redirect": {"GET": Command(media.redirect)},
        **{f"{RECORDING}/{verb}": control_them for verb in ("start", "stop", "pause", "resume")},
    }
    if context.config.face.release == "6.4":
        table |= {
            f"{RECORDING}/split": control_them,
            f"{RECORDING}/segment/details": {"GET": Command(recordings.details)},
            f"{RECORDING}/segment/download": {"GET": Command(media.download)},
            f"{RECORDING}/segment/redirect": {"GET": Command(media.redirect)},
        }
    return table


async def version(_: Ask) -> Tree:
    """Which program this is."""
    return {"result": {"version": f"{__version__} build {_build()}"}}


@cache
def _build() -> str:
    """A fingerprint of the program's source: two that differ anywhere have different ones."""
    root = Path(__file__).parents[2]
    digest = sha256()
    for room in ("api", "config", "media", "siprec", "storage"):
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


EXPECTED = (
    ApiError,
    ControlFailed,
    InvalidChange,
    NameTaken,
    StorageUnavailable,
    UnknownFile,
    UnknownRecording,
)
"""What the core raises and FACE has a code for."""


def _refusal_of(error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case ApiError():
            is_token = error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
            text = "Invalid or expired token" if is_token else str(error)
            return Refusal(codes.FAILURE, text, error.status)
        case InvalidChange() | NameTaken():
            return Refusal(codes.FAILURE, str(error))
        case ControlFailed():
            return Refusal(codes.RSS_FAILED)
        case StorageUnavailable():
            return Refusal(codes.NO_DATABASE)
        case UnknownFile():
            return Refusal(codes.NO_FILE)
        case UnknownRecording():
            return Refusal(codes.NO_RECORDING)
    return Refusal(codes.FAILURE, status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _with_head(methods: Iterable[str]) -> Iterator[str]:
    """Who answers GET answers HEAD."""
    for method in methods:
        yield from ("GET", "HEAD") if method == "GET" else (method,)
