"""What a server refuses before it looks at meaning (RFC 3261 8.2.1 and 8.2.2)."""

from dataclasses import dataclass

from siprec.sip.errors import MessageError
from siprec.sip.headers import Uri
from siprec.sip.message import Header, Request

ALLOW = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "UPDATE")
"""Methods we serve."""

KNOWN = (*ALLOW, "INFO", "MESSAGE", "NOTIFY", "PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE")
"""Methods there are; others get 501 instead of 405."""

UNDERSTOOD = frozenset({"siprec", "100rel", "timer", "replaces", "histinfo", "from-change"})
"""Option tags a request may require of us. 100rel costs nothing: we send no provisional response
but 100 (RFC 3262 3). The others ask for nothing that a recorder would have to do."""

RETRY_LATER: tuple[Header, ...] = (("Retry-After", "5"),)
"""The middle of the 0 to 10 s of RFC 3261 14.2."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final response and the header fields that explain it."""

    status: int
    headers: tuple[Header, ...] = ()
    reason: str = ""
    """Reason phrase; empty for the usual one of the status."""


def inspect_method(request: Request) -> Refusal | None:
    """405 or 501; `None` if we serve the method (8.2.1)."""
    if request.method in ALLOW:
        return None
    if request.method in KNOWN:
        return Refusal(405, (("Allow", ", ".join(ALLOW)),))
    return Refusal(501)


def inspect_uri(request: Request) -> Refusal | None:
    """400 or 416; `None` if the Request-URI is one of ours to read (8.2.2.1)."""
    try:
        uri = Uri.parse(request.uri)
    except MessageError as error:
        return Refusal(error.status, reason=str(error))
    if uri.headers:
        return Refusal(400, reason="Headers in Request-URI")
    return None


def inspect_require(request: Request) -> Refusal | None:
    """420 naming the option tags that are not understood; `None` if all are (8.2.2.3)."""
    if request.method in ("ACK", "CANCEL"):
        return None
    try:
        tags = request.values("Require")
    except MessageError as error:
        return Refusal(error.status, reason=str(error))
    unknown = [tag for tag in tags if tag.lower() not in UNDERSTOOD]
    return Refusal(420, (("Unsupported", ", ".join(unknown)),)) if unknown else None
