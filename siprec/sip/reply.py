"""Responses to a request (RFC 3261 8.2.6, 12.1.1, 20)."""

from collections.abc import Sequence

from siprec.sip.errors import MessageError
from siprec.sip.inspection import ALLOW
from siprec.sip.message import Header, Request, Response

ACCEPT = "application/sdp, application/rs-metadata+xml, application/rs-metadata, multipart/mixed"
"""Bodies we read; the third is what RFC 7866 called the second before RFC 9806."""

REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    493: "Undecipherable",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "Version Not Supported",
    513: "Message Too Large",
    603: "Decline",
}
"""Reason phrases; the status alone tells what to do (7.2)."""

_CAPABILITIES: dict[tuple[str, int], tuple[str, ...]] = {
    ("INVITE", 200): ("Allow", "Accept", "Supported"),
    ("UPDATE", 200): ("Allow",),
    ("OPTIONS", 200): ("Allow", "Accept", "Supported", "Accept-Encoding", "Accept-Language"),
}
_CAPABILITY_VALUES = {
    "Allow": ", ".join(ALLOW),
    "Accept": ACCEPT,
    "Supported": "",
    "Accept-Encoding": "identity",
    "Accept-Language": "en",
}


def compose(
    request: Request,
    vias: Sequence[str],
    status: int,
    *,
    reason: str = "",
    to_tag: str = "",
    contact: str = "",
    headers: Sequence[Header] = (),
    body: bytes = b"",
    content_type: str = "",
) -> Response:
    """The response to `request`; what it has to copy is copied.

    `vias` are the Via values with the first one stamped, `to_tag` is added to To unless the status
    is 100, `contact` goes into responses that make or refresh a dialog. A header
    field given in `headers` replaces the one that would be written otherwise.
    """
    establishing = 100 < status < 300
    fields: list[Header] = [("Via", via) for via in vias]
    if establishing:
        fields += [("Record-Route", route) for route in request.get_all("Record-Route")]
    fields += _copied(request, to_tag if status > 100 else "")
    if status == 100 and (timestamp := request.get("Timestamp")):
        fields.append(("Timestamp", timestamp))
    if establishing and contact and request.method in ("INVITE", "UPDATE"):
        fields.append(("Contact", contact))
    given = {name.lower() for name, _ in headers}
    fields += [
        field for field in _capabilities(request.method, status) if field[0].lower() not in given
    ]
    fields += headers
    if body:
        fields.append(("Content-Type", content_type))
    fields.append(("Content-Length", str(len(body))))
    return Response(status, reason or REASONS.get(status, "Unknown"), tuple(fields), body)


def is_answerable(request: Request) -> bool:
    """Whether a request that breaks the grammar has what a response must copy, and a way back."""
    try:
        _ = request.via
    except MessageError:
        return False
    return all(request.get(name) is not None for name in ("From", "To", "Call-ID", "CSeq"))


def has_to_tag(request: Request) -> bool:
    """Whether To has a tag; not if it cannot be read."""
    try:
        return bool(request.to.tag)
    except MessageError:
        return False


def _copied(request: Request, to_tag: str) -> list[Header]:
    to = request.get("To") or ""
    if to_tag:
        to = f"{to};tag={to_tag}"
    copies = [(name, request.get(name)) for name in ("From", "Call-ID", "CSeq")]
    return [("To", to), *((name, value) for name, value in copies if value is not None)]


def _capabilities(method: str, status: int) -> list[Header]:
    names = _CAPABILITIES.get((method, 200 if 200 <= status < 300 else status), ())
    if status == 415:
        names = ("Accept",)
    return [(name, _CAPABILITY_VALUES[name]) for name in names]
