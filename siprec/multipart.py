"""Message bodies: multipart trees into flat parts, and the two parts a recorder reads.

RFC 2046 5.1 and RFC 5621, read tolerantly and as bytes: bare LF, transport padding, preamble,
epilogue, a missing close delimiter. Not the standard library's MIME parser: that one recurses into
hostile trees without a limit, takes quadratic time over parameters, and raises what it likes for
RFC 2231 values. Counterparts for what is inside: `siprec.sdp`, `siprec.metadata`.
"""

import base64
import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_BYTES = 393_216
"""The largest SDP and the largest metadata document, with room for a part we pass over."""
MAX_DEPTH = 4
MAX_PARTS = 16
MAX_BOUNDARY = 70
"""RFC 2046 5.1.1."""
MAX_FIELD = 1024
"""Length of a header field; quoting can make reading its parameters quadratic."""
MAX_FIELDS = 32
"""Header fields of a part; there are a dozen in RFC 2045 and 2183."""
MAX_LOOKALIKES = 1024
"""Lines that begin like a delimiter and are none, before it is an attack."""

SDP_TYPE = "application/sdp"
METADATA_TYPES = frozenset({"application/rs-metadata+xml", "application/rs-metadata"})
"""RFC 9806 2, and the name of RFC 7866 9 that most peers still send."""
READABLE = METADATA_TYPES | {SDP_TYPE}

_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t]++[^\s][^\n]*+)*+)(?:\n|\Z)")
_BLANK = re.compile(rb"[ \t\r]*+\n")
_TAIL = re.compile(rb"(--)?[ \t]*+(?=\r?\n|\Z)")
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)')
_FOLD = re.compile(r"\s*\n\s+")
_ESCAPED = re.compile(r"\\(.)")


class BodyError(Exception):
    """A body we cannot or must not take; `status` is the SIP answer: 400, 413 or 415."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf of a body."""

    content_type: str
    """`type/subtype` in lower case; `text/plain` where a part names none (RFC 2046 5.2)."""
    params: dict[str, str]
    """Parameters of the content type, names in lower case."""
    disposition: str
    """Content-Disposition in lower case; empty where there is none."""
    handling: str
    """`required` (the default, RFC 3261 20.11) or `optional`, stated here or around the part."""
    content: bytes
    """The content, transfer encoding removed, otherwise exact."""
    encoding: str = ""
    """Content-Encoding in lower case; empty for none or `identity`."""

    @property
    def readable(self) -> bool:
        """Whether the content is of a type and encoding we read."""
        return self.content_type in READABLE and not self.encoding


@dataclass(frozen=True, slots=True)
class Bodies:
    """What a recorder takes from a body."""

    sdp: bytes | None = None
    metadata: bytes | None = None
    charset: str | None = None
    """`charset` of the metadata part; it overrides the XML declaration (RFC 7865 5.1)."""
    ignored: tuple[str, ...] = ()
    """Content types of the parts passed over."""
    warnings: tuple[str, ...] = ()
    """Reason codes: `sdp_duplicate`, `metadata_duplicate`, `part_unknown`."""


def split(content_type: str, body: bytes, disposition: str = "") -> tuple[Part, ...]:
    """Return the leaves of a body in order; of `multipart/alternative` only the last we can read.

    `content_type` and `disposition` are the message's header values. A body that is not multipart
    is one part; an empty one is none. Raises `BodyError`: 400 for a multipart that cannot be split,
    413 for more than `MAX_BYTES`, `MAX_PARTS` or `MAX_DEPTH`.
    """
    if len(body) > MAX_BYTES:
        raise BodyError(f"body of {len(body)} bytes, at most {MAX_BYTES}", 413)
    if not body:
        return ()
    fields = {"content-type": content_type}
    if disposition:
        fields["content-disposition"] = disposition
    return tuple(_leaves(fields, body, "required", MAX_DEPTH, iter(range(MAX_PARTS))))


def select(parts: tuple[Part, ...]) -> Bodies:
    """Pick the session description and the metadata by type; the first of each counts.

    Raises `BodyError` 415 for a part we cannot read that says it must be (RFC 5621 8.4), or if
    nothing else is there. A part that states no disposition never costs a recording: beside
    something readable it is passed over with the warning `part_unknown`.
    """
    readable = [part for part in parts if part.readable]
    unknown = [part for part in parts if not part.readable]
    for part in unknown:
        if part.handling == "required" and (part.disposition or not readable):
            raise BodyError(f"cannot read {part.content_type} {part.encoding}".rstrip(), 415)
    descriptions = [part for part in readable if part.content_type == SDP_TYPE]
    documents = [part for part in readable if part.content_type in METADATA_TYPES]
    flags = {
        "sdp_duplicate": len(descriptions) > 1,
        "metadata_duplicate": len(documents) > 1,
        "part_unknown": any(part.handling == "required" for part in unknown),
    }
    return Bodies(
        sdp=descriptions[0].content if descriptions else None,
        metadata=documents[0].content if documents else None,
        charset=documents[0].params.get("charset") if documents else None,
        ignored=tuple(part.content_type for part in [*unknown, *descriptions[1:], *documents[1:]]),
        warnings=tuple(code for code, raised in flags.items() if raised),
    )


def _leaves(
    fields: dict[str, str], body: bytes, handling: str, depth: int, budget: Iterator[int]
) -> Iterator[Part]:
    part = _part(fields, body, handling)
    if not part.content_type.startswith("multipart/"):
        yield part
        return
    if not depth:
        raise BodyError(f"multipart nested deeper than {MAX_DEPTH}", 413)
    branches: list[tuple[Part, ...]] = []
    for piece in _pieces(body, part.params.get("boundary", "")):
        if next(budget, None) is None:
            raise BodyError(f"more than {MAX_PARTS} parts", 413)
        branches.append(tuple(_leaves(*_divide(piece), part.handling, depth - 1, budget)))
    if part.content_type == "multipart/alternative":
        branches = _last_readable(branches)
    for branch in branches:
        yield from branch


def _last_readable(branches: list[tuple[Part, ...]]) -> list[tuple[Part, ...]]:
    """The best alternative is the last one understood (RFC 2046 5.1.4); else the last of all."""
    readable = [branch for branch in branches if any(part.readable for part in branch)]
    return (readable or branches)[-1:]


def _pieces(body: bytes, boundary: str) -> Iterator[bytes]:
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise BodyError(f"multipart without a boundary of 1 to {MAX_BOUNDARY} characters")
    start = None
    for before, after, last in _delimiters(body, b"--" + boundary.encode("utf-8", "replace")):
        if start is not None:
            yield body[start:before]
        if last:
            return
        start = after
    if start is None:
        raise BodyError("the boundary does not occur in the body")
    yield body[start:]


def _delimiters(body: bytes, mark: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield where each delimiter line begins and ends, and whether it is the closing one.

    The line end before it is part of it; the one after it is left, for the next may begin there.
    """
    found = 0 if body.startswith(mark) else body.find(b"\n" + mark)
    for _ in range(MAX_LOOKALIKES):
        if found < 0:
            return
        after = found + len(mark) + (body[found] == 0x0A)
        if tail := _TAIL.match(body, after):
            yield found - (body[found - 1 : found] == b"\r"), tail.end(), bool(tail[1])
        found = body.find(b"\n" + mark, after)
    raise BodyError(f"more than {MAX_LOOKALIKES} lines like the boundary", 413)


def _divide(piece: bytes) -> tuple[dict[str, str], bytes]:
    """Split off the header fields; what does not look like one begins the content."""
    fields: dict[str, str] = {}
    blank = _BLANK.match(piece)
    position = blank.end() if blank else 0
    for count in range(MAX_FIELDS + 1):
        field = _FIELD.match(piece, position)
        if field is None:
            break
        if len(field[2]) > MAX_FIELD or count == MAX_FIELDS:
            raise BodyError(f"part header past {MAX_FIELDS} fields or {MAX_FIELD} bytes in one")
        position = field.end()
        text = _FOLD.sub(" ", field[2].decode("utf-8", "surrogateescape"))
        fields.setdefault(field[1].decode("ascii").lower(), text.strip())
    blank = _BLANK.match(piece, position)
    return fields, piece[blank.end() if blank else position :]


def _part(fields: dict[str, str], body: bytes, handling: str) -> Part:
    content_type, params = _parameters(fields.get("content-type", "text/plain"))
    disposition, options = _parameters(fields.get("content-disposition", ""))
    encoding = fields.get("content-encoding", "").lower()
    return Part(
        content_type=content_type,
        params=params,
        disposition=disposition,
        handling=options.get("handling", handling).lower(),
        content=_decoded(fields.get("content-transfer-encoding", "").lower(), body),
        encoding="" if encoding == "identity" else encoding,
    )


def _parameters(value: str) -> tuple[str, dict[str, str]]:
    if len(value) > MAX_FIELD:
        raise BodyError(f"field of {len(value)} characters, at most {MAX_FIELD}")
    head, _, _ = value.partition(";")
    found: dict[str, str] = {}
    for name, text in _PARAMETER.findall(value, len(head)):
        plain = _ESCAPED.sub(r"\1", text[1:-1]) if text.startswith('"') else text.strip()
        found.setdefault(name.lower(), plain)
    return head.strip().lower(), found


def _decoded(transfer_encoding: str, content: bytes) -> bytes:
    if transfer_encoding == "quoted-printable":
        return quopri.decodestring(content)
    if transfer_encoding != "base64":
        return content
    try:
        return base64.b64decode(content)
    except binascii.Error as error:
        raise BodyError(f"part is not base64: {error}") from error
