"""Header field values: Via, name-addr, CSeq, URI and their parameters (RFC 3261 19.1, 20, 25.1).

Values are parsed leniently where a real client needs it and kept verbatim, so that what is echoed
is what was received. Every function is linear in its input: the patterns cannot backtrack.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self

from siprec.sip.errors import MessageError

Params = tuple[tuple[str, str | None], ...]
"""Parameters in order, values verbatim with their quotes; `None` for a parameter without value."""

MAGIC_COOKIE = "z9hG4bK"
"""What the branch of an RFC 3261 client starts with (8.1.1.7)."""

ITEMS_MAX = 256
"""Elements of one list and parameters of one value; Max-Forwards alone allows 70 Vias."""

SPACE = " \t"
"""Linear white space of an unfolded line; `str.strip` alone would take more than that."""
WORD = r"[A-Za-z0-9.!%*_+`'~-]++"
"""Pattern of a token (25.1)."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_LIST_MARKS = re.compile(r'\\.|[",<>]', re.DOTALL)
_PARAM_MARKS = re.compile(r'\\.|[";<>]', re.DOTALL)
_HOST_PORT = (
    r"(?P<host>\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9._-]++)[ \t]*+(?::[ \t]*+(?P<port>[0-9]{1,5}+)?)?"
)
_URI_HOST = re.compile(_HOST_PORT)
_VIA = re.compile(
    rf"SIP[ \t]*+/[ \t]*+[0-9.]++[ \t]*+/[ \t]*+(?P<transport>{WORD})[ \t]++{_HOST_PORT}[ \t]*+"
    r"(?P<params>;.*)?",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_CSEQ = re.compile(rf"0*+(?P<number>[0-9]{{0,10}}+)[ \t]++(?P<method>{WORD})")


def _split(text: str, marks: re.Pattern[str], separator: str) -> list[str]:
    """Non-empty pieces between separators outside quotes and angle brackets, stripped."""
    if '"' not in text and "<" not in text:
        pieces = text.split(separator, ITEMS_MAX)
    else:
        pieces = _split_outside(text, marks, separator)
    if len(pieces) > ITEMS_MAX:
        raise MessageError(513, "Too many list elements")
    return [stripped for piece in pieces if (stripped := piece.strip(SPACE))]


def _split_outside(text: str, marks: re.Pattern[str], separator: str) -> list[str]:
    pieces, start, quoted, bracketed = [], 0, False, False
    for mark in marks.finditer(text):
        sign = mark.group()
        if sign == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif sign in "<>":
            bracketed = sign == "<"
        elif sign == separator and not bracketed:
            pieces.append(text[start : mark.start()])
            start = mark.end()
    if quoted:
        raise MessageError(400, "Unterminated quoted string")
    pieces.append(text[start:])
    return pieces


def split_list(text: str) -> list[str]:
    """The elements of a comma-separated value (RFC 3261 7.3.1). Raises `MessageError`."""
    return _split(text, _LIST_MARKS, ",")


def parse_params(text: str) -> Params:
    """Parameters of `;name=value;name…`. Raises `MessageError` on an open quote."""
    if not text:
        return ()
    pairs = [item.partition("=") for item in _split(text, _PARAM_MARKS, ";")]
    return tuple(
        [
            (name.rstrip(SPACE), value.lstrip(SPACE) if equals else None)
            for name, equals, value in pairs
        ]
    )


def format_params(params: Params) -> str:
    """The inverse of `parse_params`: `;name=value;name`, or empty."""
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params)


def find_param(params: Params, name: str) -> str | None:
    """Value of the first parameter of that name (any case), empty if it has none; else `None`."""
    for key, value in params:
        if key.lower() == name:
            return value or ""
    return None


def unquote(text: str) -> str:
    """A quoted-string without its quotes and escapes; other text as it is."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return text


def _port(digits: str | None) -> int | None:
    if digits is None:
        return None
    if not 0 < int(digits) < 65536:
        raise MessageError(400, "Port out of range")
    return int(digits)


def ip_literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address a host is written as, IPv6 with or without brackets; `None` for a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Uri:
    """A `sip:` or `sips:` URI (RFC 3261 19.1.1)."""

    scheme: str
    """`sip` or `sips`."""
    user: str
    """User part with its password, verbatim; empty if there is none."""
    host: str
    """Name or address; IPv6 in brackets."""
    port: int | None
    """`None` when the default of the transport is meant."""
    params: Params
    headers: str
    """What followed `?`, verbatim."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `MessageError` 400, or 416 for another scheme."""
        scheme, colon, rest = text.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
            raise MessageError(400, "Malformed URI")
        if scheme.lower() not in ("sip", "sips"):
            raise MessageError(416, "Unsupported URI Scheme")
        user, _, rest = rest.rpartition("@")
        rest, _, headers = rest.partition("?")
        authority, _, params = rest.partition(";")
        match = _URI_HOST.fullmatch(authority)
        if match is None or any(sign in text for sign in '<>" \t'):
            raise MessageError(400, "Malformed URI")
        port = _port(match["port"])
        return cls(scheme.lower(), user, match["host"], port, parse_params(params), headers)

    def param(self, name: str) -> str | None:
        """Value of a parameter, empty if it has none; `None` if absent."""
        return find_param(self.params, name)


@dataclass(frozen=True, slots=True)
class NameAddr:
    """From, To, Contact, Route or Record-Route (RFC 3261 20.10)."""

    display_name: str
    """Without quotes and escapes; empty if there is none."""
    uri: str
    """Verbatim: any scheme, not checked; `Uri.parse` does that."""
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `MessageError`.

        Takes `<<sip:a>;+sip.src>` (a client that puts a whole Contact in brackets again) and a URI
        without its closing bracket, whose parameters are then the header field's.
        """
        text = text.strip(SPACE)
        quoted = _QUOTED.match(text)
        if quoted is None and text.startswith('"'):
            raise MessageError(400, "Unterminated quoted string")
        start = text.find("<", quoted.end() if quoted else 0)
        if start < 0:
            return cls._plain("", text)
        name = unquote(quoted.group()) if quoted else text[:start].strip(SPACE)
        inner = text[start + 1 :]
        doubled = inner.startswith("<")
        uri, closed, tail = inner.removeprefix("<").partition(">")
        if not closed:
            return cls._plain(name, uri)
        tail = tail.strip(SPACE)
        if doubled:
            tail = tail.removesuffix(">")
        if tail and not tail.startswith(";"):
            raise MessageError(400, "Malformed address")
        return cls(name, uri.strip(SPACE), parse_params(tail))

    @classmethod
    def _plain(cls, name: str, text: str) -> Self:
        uri, _, params = text.partition(";")
        uri = uri.strip(SPACE)
        if ":" not in uri or '"' in uri:
            raise MessageError(400, "Malformed address")
        return cls(name, uri, parse_params(params))

    def param(self, name: str) -> str | None:
        """Value of a parameter such as `+sip.src`, empty if it has none; `None` if absent."""
        return find_param(self.params, name)

    @property
    def tag(self) -> str:
        """The tag; empty in a To that starts a dialog, and in a From of an RFC 2543 client."""
        return self.param("tag") or ""


@dataclass(frozen=True, slots=True)
class Via:
    """One hop of the response's way back (RFC 3261 20.42)."""

    transport: str
    host: str
    """Host of sent-by; IPv6 in brackets."""
    port: int | None
    """Port of sent-by; `None` means 5060, or 5061 for TLS."""
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `MessageError` 400."""
        match = _VIA.fullmatch(text.strip(SPACE))
        if match is None:
            raise MessageError(400, "Malformed Via")
        via = cls(
            match["transport"],
            match["host"],
            _port(match["port"]),
            parse_params(match["params"] or ""),
        )
        if via.branch == MAGIC_COOKIE:
            raise MessageError(400, "Empty branch")
        return via

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{format_params(self.params)}"

    def param(self, name: str) -> str | None:
        """Value of a parameter, empty if it has none; `None` if absent."""
        return find_param(self.params, name)

    @property
    def branch(self) -> str:
        """The branch; empty if there is none."""
        return self.param("branch") or ""


@dataclass(frozen=True, slots=True)
class CSeq:
    """Order and method of a request (RFC 3261 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `MessageError` 400, also for numbers of 2**31 and more (8.1.1.5)."""
        match = _CSEQ.fullmatch(text.strip(SPACE))
        if match is None:
            raise MessageError(400, "Malformed CSeq")
        number = int(match["number"] or 0)
        if number >= 2**31:
            raise MessageError(400, "CSeq out of range")
        return cls(number, match["method"])
