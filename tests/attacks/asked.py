"""How each route is asked for what the shop has: a right request, by somebody who may or may not.

`Asking` fills in names and credentials; what is wrong with a request is put into it by the test.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from tests.api.akixi import desk as akixi
from tests.attacks.market import (
    BOSS,
    FORM,
    GUEST,
    GUID,
    ISR,
    JSON,
    MARK,
    OTHER,
    OTHER_ISR,
    PASSWORD,
    PLATFORM,
    RECORDING,
    ROOT,
    WEAK,
    WEAK_ISR,
    WRONG,
    XML,
    Market,
    Sent,
    basic,
    encoded,
)
from tests.attacks.routes import AKIXI, AN, APIO, FACE, HUB, IMAGICLE, NATIVE, OIDC, TOKEN, Row

FORMER = {"weak": WEAK, "other": OTHER, "own": BOSS, "wrong": GUEST, "root": ROOT}
LATTER = {"weak": WEAK_ISR, "other": OTHER_ISR, "own": ISR, "wrong": GUEST, "root": ISR}
"""Who asks, where administrators and where programs do."""
BASES = {
    NATIVE: "",
    FACE: "/Face/",
    AN: "/attendantservice",
    HUB: "",
    TOKEN: "",
    IMAGICLE: "/fw/Apps/Recorder/WebAPI/",
    APIO: "/api/v1/system/services/call_recording/",
    AKIXI: "/CCS/API",
}
BOUNDARY = "3f5d0705"


def asked(market: Market, row: Row, who: str) -> Sent:
    """The request; `who` is one of `WHO`, or `own` for who may."""
    path = BASES[row.dialect] + fill(market, row)
    sent = _BUILDERS[row.dialect](market, row, who)
    return replace(sent, method=row.method, path=sent.path or path)


def fill(market: Market, row: Row) -> str:
    """The path with the names of what the shop has."""
    live, kind = market.live, row.path.removeprefix("/srs/v1/directory/").split("/")[0]
    names = {
        "session_id": live.id,
        "recording_id": RECORDING,
        "sequence": str(market.sequence),
        "email": BOSS,
        "action": "pause",
        "key": quote(market.key(kind), safe=""),
        "call_id": live.call_id,
        "ucc": MARK,
        "correlation_id": str(UUID(live.id)),
        "guid": str(UUID(RECORDING)),
        "live": str(UUID(live.recording.id)) if live.recording else "",
        "instance_name": PLATFORM,
        "realm": "any",
    }
    return row.path.format(**names)


def _native(market: Market, row: Row, who: str) -> Sent:
    bodies: Mapping[str, Any] = {
        "/srs/v1/login": {"email": GUEST, "password": WRONG},
        "/srs/v1/events/raise": {
            "event": "agreed",
            "ucid": market.live.call_id,
            "called_aors": ["sip:8675309@shop.example"],
        },
        "/srs/v1/recordings/{recording_id}": {"note": "mine"},
        "/srs/v1/directory/users/{email}/password": {
            "password": "another horse battery",
            "old_password": PASSWORD,
        },
    }
    kind = row.path.removeprefix("/srs/v1/directory/").split("/")[0]
    usual = market.entry(kind) if row.method == "PUT" else {}
    body = encoded(bodies.get(row.path, usual)) if row.method in {"POST", "PUT"} else None
    tokens = market.spare if row.path.endswith("/logout") else market.tokens
    headers = _bearer(tokens, FORMER, who) | (JSON if body is not None else {})
    return Sent("", "", headers, body)


def _face(market: Market, row: Row, who: str) -> Sent:
    token = "" if who == "nobody" else market.tokens.get(LATTER[who], WRONG)
    if row.path == "login":
        form = {"userEmail": LATTER.get(who, ""), "password": WRONG} if token else {}
        return Sent("", "", FORM, urlencode(form).encode())
    path = BASES[FACE] + fill(market, row)
    path += ("&" if "?" in path else "?") + f"token={token}" if token else ""
    body = urlencode({"agentId": "7"}).encode() if row.method == "POST" else None
    return Sent("", path, FORM if body else {}, body)


def _anywherenow(market: Market, row: Row, who: str) -> Sent:
    headers = _bearer(market.tokens, LATTER, who)
    if row.method != "POST" or row.dialect == HUB:
        return Sent("", "", headers)
    order = {
        "Action": "Pause",
        "RequesterSipUri": f"sip:{LATTER.get(who, ISR)}",
        "CorrelationId": str(UUID(market.live.id)),
        "UCCName": MARK,
    }
    return Sent("", "", headers | JSON, encoded(order))


def _token(market: Market, row: Row, who: str) -> Sent:
    form = {"grant_type": "password", "client_id": "coreapi"}
    if who != "nobody":
        form |= {"username": LATTER[who], "password": WRONG}
    if who == "weak":
        form["password"] = PASSWORD
    return Sent("", fill(market, row) + OIDC, FORM, urlencode(form).encode())


def _imagicle(market: Market, row: Row, who: str) -> Sent:
    headers = _basic(who)
    if row.method != "POST":
        return Sent("", "", headers)
    if row.path == "recordings":
        return Sent("", "", headers | MULTIPART, uploaded(who))
    return Sent("", "", headers | JSON, encoded({"directoryNumber": "8675309"}))


MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def uploaded(who: str, audio: bytes = b"no audio") -> bytes:
    """An upload, of a recording of somebody of the shop."""
    described = encoded({"localParty": {"username": BOSS}})
    parts = (("jsondata", "", described), ("attachment", "; filename=a.wav", audio))
    return b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; name={name}{more}\r\n\r\n".encode()
        + body
        + b"\r\n"
        for name, more, body in parts
    ) + (f"--{BOUNDARY}--\r\n".encode())


def _apio(market: Market, row: Row, who: str) -> Sent:
    bodies: Mapping[tuple[str, str], Any] = {
        ("POST", "platforms"): {
            "name": "mine",
            "netAddress": "192.0.2.66",
            "mediaStream": "Dual",
            "transportProtocol": "UDP",
            "schemaVersion": "1.0",
            "supportVideoRecording": False,
        },
        ("PUT", "platforms/{instance_name}"): {"netAddress": "192.0.2.66"},
        ("PUT", "properties"): {"refreshPeriodSeconds": 299},
    }
    found = bodies.get((row.method, row.path))
    body = None if found is None else encoded(found)
    return Sent("", "", _basic(who) | (JSON if body else {}), body)


def _akixi(market: Market, row: Row, who: str) -> Sent:
    if row.path.startswith("/v1"):
        return Sent("", "", _basic(who) if row.method == "GET" else {})
    email = FORMER.get(who, "")
    session = None if who == "nobody" else market.sessions.get(email, WRONG)
    properties = {
        "CallRecIntAdd": {"CallRecIntType": "Dubber", "TelSysID": "100", "Description": "mine"},
        "CallRecIntList": {"TelSysID": "100"},
        "Authenticate": {"UserName": GUEST, "Password": WRONG},
    }.get(row.path, {"CallRecIntGUID": GUID, "Description": "mine"})
    if row.path == "Authenticate":
        session = WRONG if session else None
    if row.path == "EndSession":
        session = WRONG if session else None
    settings = {"IPAddrOrHost1": "mine.example", "AuthUserID1": "mine"}
    text = akixi.request(row.path, session, properties, settings)
    return Sent("", f"{BASES[AKIXI]}/ws", XML, text.encode())


def _bearer(tokens: Mapping[str, str], people: Mapping[str, str], who: str) -> dict[str, str]:
    if who == "nobody":
        return {}
    return {"Authorization": f"Bearer {tokens.get(people[who], WRONG)}"}


def _basic(who: str) -> dict[str, str]:
    if who == "nobody":
        return {}
    return {"Authorization": basic(FORMER[who], WRONG if who == "wrong" else PASSWORD)}


_BUILDERS: Mapping[str, Callable[[Market, Row, str], Sent]] = {
    NATIVE: _native,
    FACE: _face,
    AN: _anywherenow,
    HUB: _anywherenow,
    TOKEN: _token,
    IMAGICLE: _imagicle,
    APIO: _apio,
    AKIXI: _akixi,
}
