"""Every route there is, native and of each dialect, and what is answered to whom.

`TABLE` is written by hand; `served` reads it off the running server, so that no route is forgotten.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from api.akixi.routes import Door as Akixi
from api.anywherenow.paths import Paths
from api.anywherenow.routes import Door as AnywhereNow
from api.anywherenow.tokens import Tokens
from api.apio.routes import Door as Apio
from api.imagicle.routes import Door as Imagicle
from api.listener import Listener
from api.oracle_face.routes import Door as Face
from api.typed import Endpoint
from storage.entries import KINDS

NATIVE, FACE, AN, HUB, TOKEN, IMAGICLE, APIO, AKIXI = (
    "native",
    "face",
    "anywherenow",
    "hub",
    "token",
    "imagicle",
    "apio",
    "akixi",
)
OIDC = "/protocol/openid-connect/token"
"""How paths of `TOKEN` end."""
DIALECTS = (NATIVE, FACE, AN, HUB, TOKEN, IMAGICLE, APIO, AKIXI)
WHO = ("nobody", "wrong", "weak", "other")
"""Without a token or password; with one that is none; who may little; who runs the bank."""
TABLE = """
native GET /health                                                     200 200 200 200
native GET /metrics                                                    401 401 403 403
native GET /srs/v1/openapi.json                                        200 200 200 200
native POST /srs/v1/login                                              401 401 401 401
native POST /srs/v1/logout                                             401 401 204 204
native GET /srs/v1/sessions                                            401 401 200 200
native GET /srs/v1/sessions/{session_id}                               401 401 200 404
native POST /srs/v1/sessions/{session_id}/{action}                     401 401 403 404
native GET /srs/v1/events                                              401 401 426 426
native POST /srs/v1/events/raise                                       401 401 403 404
native GET /srs/v1/recordings                                          401 401 200 200
native GET /srs/v1/recordings/{recording_id}                           401 401 200 404
native POST /srs/v1/recordings/{recording_id}                          401 401 403 404
native DELETE /srs/v1/recordings/{recording_id}                        401 401 403 404
native GET /srs/v1/recordings/{recording_id}/media                     401 401 403 404
native GET /srs/v1/recordings/{recording_id}/peaks                     401 401 403 404
native GET /srs/v1/playback?tel_sys_id=100&partition=10&ucid=stored 401 401 403 404
native GET /srs/v1/playback/audio?tel_sys_id=100&partition=10&ucid=stored 401 401 403 404
native GET /srs/v1/platforms                                           401 401 403 403
native GET /srs/v1/notifications                                       401 401 403 200
native POST /srs/v1/notifications/replay                               401 401 403 200
native POST /srs/v1/notifications/{sequence}/replay                    401 401 403 404
native GET /srs/v1/directory/{kind}                                    401 401 403 200
native GET /srs/v1/directory/{kind}/{key}                              401 401 403 404
native GET /srs/v1/directory/metadata-types/{key}                      401 401 403 200
native GET /srs/v1/directory/templates/{key}                           401 401 403 200
native PUT /srs/v1/directory/{kind}/{key}                              401 401 403 404
native PUT /srs/v1/directory/metadata-types/{key}                      401 401 403 403
native PUT /srs/v1/directory/templates/{key}                           401 401 403 403
native DELETE /srs/v1/directory/{kind}/{key}                           401 401 403 404
native DELETE /srs/v1/directory/metadata-types/{key}                   401 401 403 403
native DELETE /srs/v1/directory/templates/{key}                        401 401 403 403
native POST /srs/v1/directory/users/{email}/password                   401 401 403 404
native POST /srs/v1/directory/users/{email}/unlock                     401 401 403 404
face POST login                                                        200/27 200/-1 200/-1 200/-1
face GET version                                                       200/0 200/0 200/0 200/0
face GET eventNotify?event=nothing                                     200/-1 401/-1 200/-1 200/-1
face GET StartScreenCapture?IsrId={call_id}&ScreenIP=192.0.2.2         200/1 401/-1 200/-1 200/-1
face GET StopScreenCapture?ScreenIP=192.0.2.2                          200/1 401/-1 200/-1 200/-1
face GET file/download?filename=of-the-shop.wav&supplementalFileId=1001 200/27 401/-1 200/19 200/19
face GET Recordings/?ticket=x                                          200/11 200/11 200/11 200/11
face GET audioRecording/details?ingressCallId={call_id}                200/27 401/-1 200/0 200/26
face POST audioRecording/details?ingressCallId={call_id}               200/27 401/-1 200/-1 200/26
face DELETE audioRecording/details?ingressCallId=stored                200/27 401/-1 200/-1 200/26
face POST audioRecording/delete?ingressCallId=stored                   200/27 401/-1 200/-1 200/26
face GET audioRecording/download?ingressCallId=stored                  200/27 401/-1 200/-1 200/11
face GET audioRecording/redirect?ingressCallId=stored                  200/27 401/-1 200/-1 200/11
face POST audioRecording/start?ingressCallId={call_id}                 200/27 401/-1 200/-1 200/26
face POST audioRecording/stop?ingressCallId={call_id}                  200/27 401/-1 200/-1 200/26
face POST audioRecording/pause?ingressCallId={call_id}                 200/27 401/-1 200/-1 200/26
face POST audioRecording/resume?ingressCallId={call_id}                200/27 401/-1 200/-1 200/26
face POST audioRecording/split?ingressCallId={call_id}                 200/27 401/-1 200/-1 200/26
face GET audioRecording/segment/details?ingressCallId=stored           200/27 401/-1 200/0 200/26
face GET audioRecording/segment/download?ingressCallId=stored          200/27 401/-1 200/-1 200/11
face GET audioRecording/segment/redirect?ingressCallId=stored          200/27 401/-1 200/-1 200/11
anywherenow POST /api/recording/set                                    401 401 403 200/2
anywherenow GET /api/recording/capabilities/{ucc}                      401 401 403 200/2
anywherenow GET /api/recording/{ucc}/{correlation_id}                  401 401 403 200/2
hub GET /attendantservice/hubs/recording                               401 401 403 426
hub POST /attendantservice/hubs/recording/negotiate                    401 401 403 200
hub GET /attendantservice/signalr/negotiate                            401 401 403 200
hub POST /attendantservice/signalr/negotiate                           401 401 403 200
hub GET /attendantservice/signalr/connect                              401 401 403 400
hub GET /attendantservice/signalr/reconnect                            401 401 403 400
hub GET /attendantservice/signalr/start                                401 401 403 200
hub POST /attendantservice/signalr/start                               401 401 403 200
hub GET /attendantservice/signalr/ping                                 401 401 403 200
hub POST /attendantservice/signalr/ping                                401 401 403 200
hub POST /attendantservice/signalr/abort                               401 401 403 200
token POST /attendantservice/auth/realms/{realm} 400/request 400/grant 400/grant 400/grant
token POST /auth/realms/{realm} 400/request 400/grant 400/grant 400/grant
imagicle GET liverecordings                                            401 401 403 200
imagicle POST liverecordings                                           401 401 403/0 400/1
imagicle DELETE liverecordings?directoryNumber=8675309                 401 401 403 409
imagicle DELETE liverecordings/mine                                    401 401 403 409
imagicle DELETE liverecordings/{live}                                  401 401 403 409
imagicle PUT liverecordings/pause?directoryNumber=8675309              401 401 403 409
imagicle PUT liverecordings/resume?directoryNumber=8675309             401 401 403 409
imagicle PUT liverecordings/{live}/pause                               401 401 403 409
imagicle PUT liverecordings/{live}/resume                              401 401 403 409
imagicle GET recordings                                                401 401 403 200
imagicle POST recordings                                               401 401 403 400/1
imagicle GET recordings/{guid}                                         401 401 403 403
imagicle GET recordings/{guid}/media                                   401 401 403 403
apio GET platforms                                                     401 401 403 200
apio POST platforms                                                    401 401 403 403
apio GET platforms/{instance_name}                                     401 401 403 403
apio PUT platforms/{instance_name}                                     401 401 403 403
apio DELETE platforms/{instance_name}                                  401 401 403 403
apio GET platforms/{instance_name}/usage                               401 401 403 403
apio GET properties                                                    401 401 403 403
apio PUT properties                                                    401 401 403 403
akixi POST CreateSession                 200 200 200 200
akixi POST Authenticate                  200/10301 200/10302 200/10302 200/10302
akixi POST EndSession                    200/10301 200/10302 200/10302 200/10302
akixi POST CallRecIntAdd                 200/10301 200/10302 200/10511 200/10514
akixi POST CallRecIntChange              200/10301 200/10302 200/10511 200/10514
akixi POST CallRecIntDelete              200/10301 200/10302 200/10511 200/10514
akixi POST CallRecIntList                200/10301 200/10302 200/10511 200/10514
akixi POST CallRecIntInfo                200/10301 200/10302 200/10511 200/10514
akixi POST /v1/session                   200 200 200 200
akixi GET /v1/login                      401/10307 401/10307 200 200
"""
"""Dialect, method, path as the dialect has it, answer to each of `WHO`: status, and the dialect's
own code after a slash. The requests are right, and ask for what the shop has."""


@dataclass(frozen=True, slots=True)
class Row:
    """One route."""

    dialect: str
    method: str
    path: str
    """As the dialect has it, with names in braces; a query is as it is asked."""
    answers: tuple[str, ...]
    """To each of `WHO`: status, and the dialect's own code after a slash."""

    def __str__(self) -> str:
        return f"{self.dialect} {self.method} {self.path}"

    @property
    def is_login(self) -> bool:
        """It wants a password in the request itself: failures are counted by address."""
        return self.dialect == TOKEN or self.path in {"login", "/srs/v1/login", "/v1/login"}

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is called in `served`."""
        return _plain(self.dialect, self.method, self.path.partition("?")[0])


def rows() -> list[Row]:
    """All routes; those about a kind of directory entry once for each kind."""
    found: list[Row] = []
    for line in TABLE.strip().splitlines():
        dialect, method, path, *answers = line.split()
        for kind in KINDS if "{kind}" in path else ("",):
            own = path.replace("{kind}", kind)
            if own == path or f" {method} {own} " not in TABLE:
                found.append(Row(dialect, method, own, tuple(answers)))
    return found


def served(listener: Listener) -> set[tuple[str, str, str]]:
    """Dialect, method and path of all that is answered, read off the server.

    Raises LookupError for routes nobody has said how to read.
    """
    application = listener._runner.app
    routes = (each for each in application.router.routes() if each.method != "HEAD")
    return {_plain(*each) for route in routes for each in _of(route)}


def _plain(dialect: str, method: str, path: str) -> tuple[str, str, str]:
    """The same without the names of what is in braces."""
    return dialect, method, re.sub(r"\{\w+\}", "{}", path)


def _of(route: web.AbstractRoute) -> Iterator[tuple[str, str, str]]:
    resource, owner = route.resource, getattr(route.handler, "__self__", None)
    path = resource.canonical if resource else ""
    match owner:
        case Endpoint():
            yield NATIVE, route.method, path
        case Face():
            yield from _pairs(FACE, owner._commands)
        case AnywhereNow():
            for pattern, method, _ in owner._table:
                readable = pattern.pattern.replace("(?:/v2)?", "").replace("([^/]+)", "{name}")
                yield AN, method, readable
        case Paths():
            for tail, (methods, _) in owner._table.items():
                yield from ((HUB, method, owner._base + tail) for method in methods)
        case Tokens():
            yield TOKEN, "POST", path.removesuffix(OIDC)
        case Imagicle():
            yield from _pairs(IMAGICLE, {"/".join(k): v for k, v in owner._named.items()})
            by_id = {"/".join((k[0], "{id}", *k[1:])): v for k, v in owner._by_id.items()}
            yield from _pairs(IMAGICLE, by_id)
        case Apio():
            yield from _pairs(APIO, {"/".join(k): v for k, v in owner._table.items()})
        case Akixi():
            for operation in (*owner._operations, *owner._sessions):
                yield AKIXI, "POST", operation
            yield from ((AKIXI, method, path) for path, (method, _) in owner._rest.items())
        case _:
            raise LookupError(f"say in tests/attacks/routes.py what {route} serves")


def _pairs(dialect: str, table: Any) -> Iterator[tuple[str, str, str]]:
    for path, methods in table.items():
        yield from ((dialect, method, path) for method in methods)
