"""SIP messages: requests and responses, from bytes and to bytes (RFC 3261 7, 18.3, 25.1).

A message keeps its header fields as received: in order, names in their case, values unfolded but
otherwise verbatim, with bytes that are not UTF-8 as surrogate escapes. Typed readings of them are
made when asked for. What a request says is not judged here: that is `inspection`.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from siprec.sip.errors import MessageError
from siprec.sip.headers import SPACE, WORD, CSeq, NameAddr, Via, split_list

Header = tuple[str, str]
"""Name as received and unfolded value."""

HEAD_MAX_BYTES = 65_536
"""Start-line and header fields; more than a datagram can hold, eight times what nginx allows."""
BODY_MAX_BYTES = 262_144
"""Body; the largest recording metadata seen in the field is some 30 kB."""
LINES_MAX = 512
"""Header lines, continuation lines included."""

HEAD_END = re.compile(rb"\r?\n\r?\n")
"""The empty line after the header fields; line ends without CR are taken too."""

COMPACT = {
    "a": "accept-contact",  # RFC 3841
    "b": "referred-by",  # RFC 3892
    "c": "content-type",
    "d": "request-disposition",  # RFC 3841
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",  # RFC 3841
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",  # RFC 6665
    "r": "refer-to",  # RFC 3515
    "s": "subject",
    "t": "to",
    "u": "allow-events",  # RFC 6665
    "v": "via",
    "x": "session-expires",  # RFC 4028
    "y": "identity",  # RFC 8224
}
"""Compact form -> full name in lower case."""

_REQUEST = re.compile(rf"({WORD}) ([^ \t]++) SIP/([0-9]++\.[0-9]++)", re.ASCII | re.IGNORECASE)
_RESPONSE = re.compile(
    r"SIP/2\.0 ([1-6][0-9][0-9])(?: (.*))?", re.ASCII | re.IGNORECASE | re.DOTALL
)
_NAME = re.compile(WORD)
_CALL_ID = re.compile(r"[!-~]++")
_DIGITS = re.compile(r"[0-9]{1,10}+")
# A control character is legal only in a quoted pair (RFC 3261 25.1), a CR only before a LF. Letting
# others through would let one peer's value read as two lines at another.
_CONTROL = re.compile(rb"(?<!\\)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")


class Message:
    """What requests and responses have in common."""

    headers: tuple[Header, ...]
    body: bytes

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = {}
        for name, value in self.headers:
            key = name.lower()
            index.setdefault(COMPACT.get(key, key), []).append(value)
        return index

    def get_all(self, name: str) -> list[str]:
        """Values of every header field of that name, compact or not, as received."""
        return self._index.get(name.lower(), [])

    def get(self, name: str) -> str | None:
        """Value of the first header field of that name; `None` if there is none."""
        values = self.get_all(name)
        return values[0] if values else None

    def values(self, name: str) -> list[str]:
        """Elements of a list header field over all its lines (RFC 3261 7.3.1)."""
        return [element for value in self.get_all(name) for element in split_list(value)]

    def _one(self, name: str) -> str:
        values = self.get_all(name)
        if len(values) != 1:
            # Two readings of one message are how a filter in front of us is passed.
            raise MessageError(400, f"Missing {name}" if not values else f"Duplicate {name}")
        return values[0]

    @cached_property
    def vias(self) -> tuple[str, ...]:
        """Every hop, verbatim, the nearest first. Raises `MessageError` if there is none."""
        elements = tuple(self.values("Via"))
        if not elements:
            raise MessageError(400, "Missing Via")
        return elements

    @cached_property
    def via(self) -> Via:
        """The hop the message came from. Raises `MessageError`."""
        return Via.parse(self.vias[0])

    @cached_property
    def from_(self) -> NameAddr:
        """Who made the dialog's first request, or this one. Raises `MessageError`."""
        return NameAddr.parse(self._one("From"))

    @cached_property
    def to(self) -> NameAddr:
        """Whom it is for; its tag is empty outside a dialog. Raises `MessageError`."""
        return NameAddr.parse(self._one("To"))

    @cached_property
    def cseq(self) -> CSeq:
        """Raises `MessageError`."""
        return CSeq.parse(self._one("CSeq"))

    @cached_property
    def call_id(self) -> str:
        """Printable ASCII without spaces. Raises `MessageError`."""
        value = self._one("Call-ID")
        if not _CALL_ID.fullmatch(value):
            raise MessageError(400, "Malformed Call-ID")
        return value

    @cached_property
    def contact(self) -> NameAddr | None:
        """The first Contact; `None` if there is none or it cannot be read."""
        try:
            return next((NameAddr.parse(value) for value in self.values("Contact")), None)
        except MessageError:
            return None

    @property
    def content_type(self) -> str:
        """Content-Type verbatim; empty if there is none."""
        return self.get("Content-Type") or ""

    def _to_bytes(self, start_line: str) -> bytes:
        lines = [start_line, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


# Not slotted: `cached_property` keeps its value in the instance's dictionary.
@dataclass(frozen=True)
class Request(Message):
    """A request (RFC 3261 7.1)."""

    method: str
    uri: str
    """Request-URI, verbatim."""
    headers: tuple[Header, ...]
    body: bytes = b""

    def __bytes__(self) -> bytes:
        return self._to_bytes(f"{self.method} {self.uri} SIP/2.0")


@dataclass(frozen=True)
class Response(Message):
    """A response (RFC 3261 7.2)."""

    status: int
    reason: str
    headers: tuple[Header, ...]
    body: bytes = b""

    def __bytes__(self) -> bytes:
        return self._to_bytes(f"SIP/2.0 {self.status} {self.reason}")


def parse(data: bytes) -> Request | Response:
    """Read one complete message: a datagram, or what a `StreamFramer` cut out of a stream.

    Bytes past Content-Length are dropped, a message without one goes to the end (RFC 3261 18.3).
    Raises `MessageError`, with the request in it when there is enough of it for an answer.
    """
    data = data.lstrip(b"\r\n")
    end = HEAD_END.search(data)
    head, body = (data[: end.start()], data[end.end() :]) if end else (data.rstrip(b"\r\n"), b"")
    start_line, headers = parse_head(head)
    if start_line[:4].upper() == "SIP/":
        return _response(start_line, headers, body)
    return _request(start_line, headers, body)


def parse_head(head: bytes) -> tuple[str, tuple[Header, ...]]:
    """Start-line and header fields of the bytes before the empty line. Raises `MessageError`.

    Lines that are no header field are left out, as RFC 3261 8.2.2 asks for what is not needed.
    """
    if len(head) > HEAD_MAX_BYTES:
        raise MessageError(513, "Header too large")
    if _CONTROL.search(head):
        raise MessageError(400, "Control character in header")
    lines = head.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n")
    if len(lines) > LINES_MAX:
        raise MessageError(513, "Too many header lines", _readable(lines[:LINES_MAX]))
    return lines[0].rstrip(SPACE), _fields(lines)


def _fields(lines: list[str]) -> tuple[Header, ...]:
    unfolded: list[list[str]] = []
    for line in lines[1:]:
        if not line.startswith((" ", "\t")):
            unfolded.append([line])
        elif unfolded:
            unfolded[-1].append(line.strip(SPACE))
        else:
            raise MessageError(400, "Folded start-line")
    pairs = (" ".join(pieces).partition(":") for pieces in unfolded)
    return tuple(
        (name, value.strip(SPACE))
        for raw_name, colon, value in pairs
        if colon and _NAME.fullmatch(name := raw_name.rstrip(SPACE))
    )


def body_length(headers: tuple[Header, ...]) -> int | None:
    """Content-Length; `None` if absent. Raises `MessageError` 400 unless all of them agree."""
    values = {value for name, value in headers if name.lower() in ("content-length", "l")}
    if not values:
        return None
    if len(values) > 1 or not _DIGITS.fullmatch(value := values.pop()):
        raise MessageError(400, "Malformed Content-Length")
    return int(value)


def _cut(headers: tuple[Header, ...], body: bytes) -> bytes:
    length = body_length(headers)
    if length is not None and len(body) < length:
        raise MessageError(400, "Body shorter than Content-Length")
    if len(body) > BODY_MAX_BYTES:
        raise MessageError(513, "Body too large")
    return body[:length]


def _readable(lines: list[str]) -> Request | None:
    """A request that breaks the grammar, as far as an answer to it needs it."""
    words = lines[0].split()
    if len(words) < 3 or not words[-1].upper().startswith("SIP/"):
        return None
    return Request(words[0], " ".join(words[1:-1]), _fields(lines))


def _request(start_line: str, headers: tuple[Header, ...], body: bytes) -> Request:
    match = _REQUEST.fullmatch(start_line)
    if match is None:
        partial = _readable([start_line, *(f"{name}: {value}" for name, value in headers)])
        raise MessageError(400, "Malformed Request-Line", partial)
    request = Request(match[1], match[2], headers)
    try:
        if match[3] != "2.0":
            raise MessageError(505, "Version Not Supported")
        request = Request(match[1], match[2], headers, _cut(headers, body))
        _check_mandatory(request)
    except MessageError as error:
        raise MessageError(error.status, str(error), request) from error
    return request


def _check_mandatory(request: Request) -> None:
    """RFC 3261 8.1.1, less Max-Forwards, which only matters to proxies."""
    for hop in request.vias[1:]:
        Via.parse(hop)
    _ = request.via, request.from_, request.to, request.call_id
    if request.cseq.method != request.method:
        raise MessageError(400, "CSeq does not match method")


def _response(start_line: str, headers: tuple[Header, ...], body: bytes) -> Response:
    match = _RESPONSE.fullmatch(start_line)
    if match is None:
        raise MessageError(400, "Malformed Status-Line")
    response = Response(int(match[1]), match[2] or "", headers, _cut(headers, body))
    _ = response.via, response.call_id, response.cseq
    return response
