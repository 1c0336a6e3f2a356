"""Session descriptions (RFC 8866): every line kept in order, with typed views on the ones we use.

Bytes in, frozen values out; `encode` is the inverse. It knows nothing of offers and answers, see
`siprec.negotiation`. Attributes read here: RFC 8866 (rtpmap, fmtp, ptime, directions), RFC 3605
(rtcp), RFC 4574 (label), RFC 5761 (rtcp-mux), RFC 4568 (crypto, left as text).
"""

import ipaddress
import re
from dataclasses import dataclass

MAX_BYTES = 65_536
"""A description of 64 m-lines with twelve keys each is about half of this."""
MAX_LINES = 4096
"""64 in each of as many m-lines; every view reads all lines of its m-line."""
MAX_MEDIA = 64
"""Each m-line accepted costs two sockets."""
MAX_FORMATS = 128
"""There are no more RTP payload types (RFC 3551 6)."""
MAX_LABEL = 128

DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})

_LINE_ENDS = re.compile(r"\r\n|\n|\r")
_MEDIA = re.compile(r"(\S+)\s+(\d{1,5})(?:/(\d{1,5}))?\s+(\S+)((?:\s+\S+)*)\s*", re.ASCII)
_RTPMAP = re.compile(r"(\d{1,3})\s+([^\s/]{1,64})/(\d{1,7})(?:/(\d{1,3}))?\s*", re.ASCII)
_FMTP = re.compile(r"(\d{1,3})\s+(.*)", re.ASCII)
_RTCP = re.compile(r"(\d{1,5})(?:\s+IN\s+IP[46]\s+(\S+))?\s*", re.IGNORECASE | re.ASCII)
_CONNECTION = re.compile(r"IN\s+IP[46]\s+([^\s/]+)(?:/\d+)*\s*", re.IGNORECASE | re.ASCII)


class SdpError(Exception):
    """A session description that cannot be read or taken; the sender's fault."""

    def __init__(self, text: str, status: int = 400, warning: str = "") -> None:
        super().__init__(text)
        self.status = status
        """The SIP status to answer: 400, 413 (too long) or 488 (not acceptable)."""
        self.warning = warning
        """Value of a Warning header (RFC 3261 20.43), or empty."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a payload type means (RFC 8866 6.6, RFC 3551 6)."""

    name: str
    """Encoding name as written; compare without case."""
    clock_hz: int
    channels: int = 1


STATIC_ENCODINGS: dict[int, Encoding] = {
    0: Encoding("PCMU", 8000),
    3: Encoding("GSM", 8000),
    4: Encoding("G723", 8000),
    8: Encoding("PCMA", 8000),
    9: Encoding("G722", 8000),
    10: Encoding("L16", 44100, 2),
    11: Encoding("L16", 44100),
    13: Encoding("CN", 8000),
    15: Encoding("G728", 8000),
    18: Encoding("G729", 8000),
}
"""Payload types that need no rtpmap (RFC 3551 table 4)."""


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One m-line with what belongs to it; `address` and `direction` are inherited where absent."""

    media: str
    """`audio`, `video`, … in lower case."""
    port: int
    """0: the stream is refused or removed (RFC 3264 6, 8.2)."""
    port_count: int
    protocol: str
    """The transport token as written, e.g. `RTP/AVP`."""
    formats: tuple[str, ...]
    """Format tokens in the order of preference; payload types for RTP."""
    lines: tuple[str, ...]
    """All lines of this description, the m-line first."""
    address: str
    """Connection address, an IP literal of the media or session level; empty without one."""
    direction: str
    """One of `DIRECTIONS`, `sendrecv` if nothing is said (RFC 8866 6.7)."""

    def attributes(self, name: str) -> tuple[str, ...]:
        """Return the values of every `a=name:value` line; a bare `a=name` gives an empty string."""
        return _attributes(self.lines, name)

    def attribute(self, name: str) -> str | None:
        """Return the value of the first `a=name` line; None without one."""
        return next(iter(self.attributes(name)), None)

    @property
    def label(self) -> str:
        """The label (RFC 4574 4); empty without one, or if it is not printable or overlong."""
        value = (self.attribute("label") or "").strip()
        return value if len(value) <= MAX_LABEL and value.isprintable() else ""

    @property
    def encodings(self) -> dict[int, Encoding]:
        """Payload type -> encoding, in the order of the m-line; unknown formats are left out."""
        mapped = _rtpmaps(self.attributes("rtpmap"))
        numbers = [int(token) for token in self.formats if _is_payload_type(token)]
        known = STATIC_ENCODINGS | mapped
        return {number: known[number] for number in numbers if number in known}

    @property
    def fmtp(self) -> dict[int, str]:
        """Payload type -> format parameters as written (RFC 8866 6.15)."""
        matches = map(_FMTP.fullmatch, self.attributes("fmtp"))
        return {int(match[1]): match[2].strip() for match in matches if match}

    @property
    def ptime_ms(self) -> int | None:
        """Packet time in milliseconds (RFC 8866 6.4); None without one between 1 and 1000."""
        value = (self.attribute("ptime") or "").strip()
        if not re.fullmatch(r"[0-9]{1,4}", value):
            return None
        return int(value) if 1 <= int(value) <= 1000 else None

    @property
    def rtcp(self) -> tuple[str, int]:
        """Address and port the peer takes RTCP on: `a=rtcp` (RFC 3605 2.1), else one above RTP.

        Port 0 where there is no such port; the address is empty where there is none.
        """
        match = _RTCP.fullmatch(self.attribute("rtcp") or "")
        port = int(match[1]) if match else self.port + 1
        if not self.port or not 0 < port <= 0xFFFF:
            return self.address, 0
        if match and match[2]:
            return _literal(match[2]), port
        return self.address, port

    @property
    def rtcp_mux(self) -> bool:
        """Whether RTCP may share the RTP port (RFC 5761 5.1.1)."""
        return self.attribute("rtcp-mux") is not None

    @property
    def crypto(self) -> tuple[str, ...]:
        """The values of the `a=crypto` lines, untouched (RFC 4568 9.1)."""
        return self.attributes("crypto")


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description: session-level lines, then media descriptions, in the order received."""

    lines: tuple[str, ...]
    """Session-level lines, without line ends."""
    media: tuple[MediaDescription, ...]

    @property
    def origin(self) -> str:
        """The value of the o-line (RFC 8866 5.2); empty without one."""
        return _value(self.lines, "o") or ""

    @property
    def timing(self) -> str:
        """The value of the first t-line (RFC 8866 5.9), `0 0` without a proper one."""
        value = (_value(self.lines, "t") or "").strip()
        return value if re.fullmatch(r"[0-9]{1,20} [0-9]{1,20}", value) else "0 0"

    def encode(self) -> bytes:
        """Return the description as it goes on the wire: every line, CRLF after each."""
        lines = [*self.lines, *(line for media in self.media for line in media.lines)]
        return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")

    def __bytes__(self) -> bytes:
        return self.encode()


def parse(data: bytes) -> SessionDescription:
    """Read a description. Odd order, unknown lines, missing lines and any line end are accepted.

    Raises `SdpError` for what has no `v=` or `m=` line at all, an m-line that cannot be read, and
    what passes `MAX_BYTES`, `MAX_LINES`, `MAX_MEDIA` or `MAX_FORMATS`.
    """
    if len(data) > MAX_BYTES:
        raise SdpError(f"SDP of {len(data)} bytes, at most {MAX_BYTES}", 413)
    text = data.decode("utf-8", "surrogateescape").lstrip("\ufeff \t\r\n\0")
    lines = [line for line in _LINE_ENDS.split(text) if line.strip()]
    if len(lines) > MAX_LINES:
        raise SdpError(f"SDP of {len(lines)} lines, at most {MAX_LINES}", 413)
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    if not starts and not any(line.startswith("v=") for line in lines):
        raise SdpError("no session description: neither v= nor m= line")
    if len(starts) > MAX_MEDIA:
        raise SdpError(f"{len(starts)} m-lines, at most {MAX_MEDIA}", 488)
    session = tuple(lines[: starts[0]] if starts else lines)
    address, direction = _address(session) or "", _direction(session) or "sendrecv"
    ends = [*starts[1:], len(lines)]
    sections = [tuple(lines[start:end]) for start, end in zip(starts, ends, strict=False)]
    return SessionDescription(
        session, tuple(_media(section, address, direction) for section in sections)
    )


def _media(lines: tuple[str, ...], address: str, direction: str) -> MediaDescription:
    match = _MEDIA.fullmatch(lines[0][2:])
    if not match or int(match[2]) > 0xFFFF:
        raise SdpError(f"m-line cannot be read: {lines[0][:80]!r}")
    formats = tuple(match[5].split())
    if len(formats) > MAX_FORMATS:
        raise SdpError(f"{len(formats)} formats in an m-line, at most {MAX_FORMATS}", 488)
    own_address = _address(lines)
    return MediaDescription(
        media=match[1].lower(),
        port=int(match[2]),
        port_count=int(match[3] or 1),
        protocol=match[4],
        formats=formats,
        lines=lines,
        address=address if own_address is None else own_address,
        direction=_direction(lines) or direction,
    )


def _value(lines: tuple[str, ...], letter: str) -> str | None:
    return next((line[2:] for line in lines if line.startswith(f"{letter}=")), None)


def _attributes(lines: tuple[str, ...], name: str) -> tuple[str, ...]:
    prefix, bare = f"a={name}:", f"a={name}"
    return tuple(
        line[len(prefix) :] for line in lines if line.startswith(prefix) or line.rstrip() == bare
    )


def _direction(lines: tuple[str, ...]) -> str | None:
    words = (line[2:].strip().lower() for line in lines if line.startswith("a="))
    return next((word for word in words if word in DIRECTIONS), None)


def _address(lines: tuple[str, ...]) -> str | None:
    """None: no c-line. Empty: one that holds no IP literal; names are never resolved."""
    value = _value(lines, "c")
    if value is None:
        return None
    match = _CONNECTION.fullmatch(value)
    return _literal(match[1]) if match else ""


def _literal(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else ""
    except ValueError:
        return ""


def _rtpmaps(values: tuple[str, ...]) -> dict[int, Encoding]:
    matches = map(_RTPMAP.fullmatch, values)
    return {
        int(match[1]): Encoding(match[2], int(match[3]), int(match[4] or 1))
        for match in matches
        if match and int(match[1]) <= 127 and int(match[3])
    }


def _is_payload_type(token: str) -> bool:
    return token.isascii() and token.isdigit() and len(token) <= 3 and int(token) <= 127
