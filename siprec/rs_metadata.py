"""One `rs-metadata` document (RFC 7865 9): XML in, the elements it states out.

Read tolerantly: names are matched without case or prefix, in any order, foreign elements are passed
over, and what clients are known to write differently is a row of `NAMESPACES`, `NAMES`,
`ATTRIBUTES` or `READERS`. What the documents of a session add up to is `siprec.metadata`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import ClassVar, TypeVar

from lxml import etree

from siprec import xml

MAX_ELEMENTS = 2048
"""Elements read below the root, enough for 500 participants; the rest is dropped with a warning."""

NAMESPACES = frozenset(
    {
        "urn:ietf:params:xml:ns:recording:1",  # RFC 7865
        "urn:ietf:params:xml:ns:recording",  # drafts, and most clients
        "urn:ietf:params:xml:ns:siprec",  # early drafts
    }
)
NAMES = {"recording_metadata": "recording", "recording-metadata": "recording"}
"""Element name seen -> name in RFC 7865, both in lower case."""
ATTRIBUTES = {
    ("group", "id"): "group_id",
    ("session", "id"): "session_id",
    ("participant", "id"): "participant_id",
    ("participant", "session"): "session_id",
    ("stream", "id"): "stream_id",
    ("stream", "session"): "session_id",
    ("stream", "media_label"): "label",
}
"""Element and attribute name seen -> name of the attribute or child in RFC 7865."""

UNREADABLE = datetime.min.replace(tzinfo=UTC)
"""A time that is stated but cannot be read; stands for the time of receipt."""

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d):(\d\d)(?:[.,](\d+))?\s*(?:Z|([+-])(\d\d):?(\d\d))?",
    re.IGNORECASE | re.ASCII,
)
Key = tuple[str, ...]
"""Name of an element and the ids that tell it from its like (RFC 7865 6)."""


class MetadataError(Exception):
    """Bytes that are no recording metadata. The call is recorded all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """What a document says about one thing; None in a field: it says nothing there."""

    name: ClassVar[str]
    identity: ClassVar[tuple[str, ...]]
    began: datetime | None = None
    """associate-time or start-time in UTC, as the client claims it."""
    ended: datetime | None = None
    """disassociate-time or stop-time, likewise."""

    @property
    def key(self) -> Key:
        """The key under which later documents update the element."""
        return (self.name, *(getattr(self, field) for field in self.identity))


E = TypeVar("E", bound=Element)


@dataclass(frozen=True, slots=True)
class NameId:
    """One (address, name) pair of a participant (RFC 7865 6.5.1), verbatim."""

    aor: str
    name: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a session ended (RFC 3326)."""

    protocol: str
    cause: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Element):
    """A communication session group (RFC 7865 6.2)."""

    name: ClassVar[str] = "group"
    identity: ClassVar[tuple[str, ...]] = ("group_id",)
    group_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(Element):
    """A communication session (RFC 7865 6.3)."""

    name: ClassVar[str] = "session"
    identity: ClassVar[tuple[str, ...]] = ("session_id",)
    session_id: str
    sip_session_ids: tuple[str, ...] | None = None
    reasons: tuple[Reason, ...] | None = None
    group_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant(Element):
    """A party (RFC 7865 6.5)."""

    name: ClassVar[str] = "participant"
    identity: ClassVar[tuple[str, ...]] = ("participant_id",)
    participant_id: str
    names: tuple[NameId, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream(Element):
    """A media stream (RFC 7865 6.7)."""

    name: ClassVar[str] = "stream"
    identity: ClassVar[tuple[str, ...]] = ("stream_id",)
    stream_id: str
    session_id: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecording(Element):
    """Association of a communication session with the recording session (RFC 7865 6.4)."""

    name: ClassVar[str] = "sessionrecordingassoc"
    identity: ClassVar[tuple[str, ...]] = ("session_id",)
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantSession(Element):
    """Association of a participant with a communication session (RFC 7865 6.6)."""

    name: ClassVar[str] = "participantsessionassoc"
    identity: ClassVar[tuple[str, ...]] = ("participant_id", "session_id")
    participant_id: str
    session_id: str
    params: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantStream(Element):
    """All streams a participant sends and receives: absent means none (RFC 7865 6.8.1)."""

    name: ClassVar[str] = "participantstreamassoc"
    identity: ClassVar[tuple[str, ...]] = ("participant_id",)
    participant_id: str
    send: tuple[str, ...] = ()
    recv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One document as received."""

    complete: bool
    """Whether it states the whole, or only what changed (RFC 7865 5.1.2)."""
    elements: dict[Key, Element]
    """In document order; what is stated twice is folded into one."""
    warnings: tuple[str, ...]
    """Reason codes: `metadata_recovered`, `metadata_truncated`, `charset_invalid`,
    `namespace_unknown`, `datamode_unknown`, `time_invalid`, `id_missing`."""
    raw: bytes
    """The bytes, exact."""

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """Return the elements of one kind, e.g. `document.of(Session)`."""
        return tuple(element for element in self.elements.values() if isinstance(element, kind))


def parse(data: bytes, charset: str | None = None) -> Document:
    """Read a document. `charset` is that of the MIME part and goes before the XML declaration.

    Raises `MetadataError` for what `siprec.xml` refuses and what is not a `recording` element.
    """
    try:
        element, repairs = xml.read(data, charset)
    except xml.XmlError as error:
        raise MetadataError(str(error)) from error
    root, warnings = _Node(element), [*repairs]
    if root.name != "recording":
        raise MetadataError(f"the root element is {root.name[:40]!r}, not recording")
    if root.namespace not in NAMESPACES:
        warnings.append("namespace_unknown")
    mode = (root.value("datamode") or "complete").lower()
    if mode not in {"complete", "partial"}:
        warnings.append("datamode_unknown")
    elements = _elements(root, warnings)
    return Document(mode != "partial", elements, tuple(dict.fromkeys(warnings)), data)


class _Node:
    """An XML element under the names of RFC 7865, in lower case, with what is in its namespace."""

    def __init__(self, element: etree._Element, known: frozenset[str] = NAMESPACES) -> None:
        self._element = element
        self.namespace, local = _split(element.tag)
        self._known = known | {self.namespace}
        self._children: dict[str, list[_Node]] | None = None
        self.name = NAMES.get(local, local)
        self.attributes = {
            ATTRIBUTES.get((self.name, seen), seen): str(value)
            for seen, value in ((_split(name)[1], value) for name, value in element.items())
        }

    def children(self) -> Iterator["_Node"]:
        """At most `MAX_ELEMENTS`, in order."""
        for child in islice(self._element.iterchildren("*"), MAX_ELEMENTS):
            if _split(child.tag)[0] in self._known:
                yield _Node(child, self._known)

    def named(self, name: str) -> list["_Node"]:
        if self._children is None:
            self._children = {}
            for child in self.children():
                self._children.setdefault(child.name, []).append(child)
        return self._children.get(name, [])

    def value(self, name: str) -> str | None:
        """The text of an attribute or else of the first such child; None without either."""
        if name in self.attributes:
            return self.attributes[name].strip()
        return next((child.text for child in self.named(name)), None)

    def identifier(self, name: str) -> str:
        """Ids are base64: white space inside means nothing (RFC 7865 9)."""
        return "".join((self.value(name) or "").split())

    def ids(self, name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys("".join(child.text.split()) for child in self.named(name)))

    @property
    def text(self) -> str:
        return "".join(map(str, self._element.itertext())).strip()


def _split(tag: str | bytes | bytearray | etree.QName) -> tuple[str, str]:
    namespace, _, local = str(tag).rpartition("}")
    return namespace.removeprefix("{"), local.lower()


def _elements(root: _Node, warnings: list[str]) -> dict[Key, Element]:
    found: dict[Key, Element] = {}
    children = [child for child in root.children() if child.name in READERS]
    if len(children) == MAX_ELEMENTS:
        warnings.append("metadata_truncated")
    for node in children:
        began = _time(node, ("associate-time", "start-time"), warnings)
        ended = _time(node, ("disassociate-time", "stop-time"), warnings)
        for element in filter(None, (read(node) for read in READERS[node.name])):
            if all(element.key):
                _fold(found, replace(element, began=began, ended=ended))
            else:
                warnings.append("id_missing")
    return found


def _fold(found: dict[Key, Element], element: Element) -> None:
    """The later of two statements counts, except that the streams of a participant add up."""
    old = found.get(element.key)
    if isinstance(old, ParticipantStream) and isinstance(element, ParticipantStream):
        send = tuple(dict.fromkeys((*old.send, *element.send)))
        recv = tuple(dict.fromkeys((*old.recv, *element.recv)))
        element = replace(element, send=send, recv=recv)
    found[element.key] = overlaid(old, element) if old else element


def overlaid(old: E, new: Element) -> E:
    """Return `old` with all that `new`, of the same kind, says; what it does not say is kept."""
    said = {field.name: getattr(new, field.name) for field in fields(new)}
    return replace(old, **{name: value for name, value in said.items() if value is not None})


def _group(node: _Node) -> Group:
    return Group(group_id=node.identifier("group_id"))


def _session(node: _Node) -> Session:
    reasons = tuple(
        Reason(reason.value("protocol") or "SIP", reason.value("cause") or "", reason.text)
        for reason in node.named("reason")
    )
    return Session(
        session_id=node.identifier("session_id"),
        sip_session_ids=node.ids("sipsessionid") or None,
        reasons=reasons or None,
        group_ref=node.identifier("group-ref") or None,
    )


def _participant(node: _Node) -> Participant:
    """Addresses are in `nameID`, or in drafts in an `aor` child beside the name."""
    holders = node.named("nameid") or ([node] if node.value("aor") else [])
    names = tuple(
        NameId(
            holder.value("aor") or "",
            holder.value("name") or "",
            next((name.value("lang") or "" for name in holder.named("name")), ""),
        )
        for holder in holders
    )
    return Participant(participant_id=node.identifier("participant_id"), names=names or None)


def _stream(node: _Node) -> Stream:
    return Stream(
        stream_id=node.identifier("stream_id"),
        session_id=node.identifier("session_id") or None,
        label=node.value("label") or None,
    )


def _session_recording(node: _Node) -> SessionRecording:
    return SessionRecording(session_id=node.identifier("session_id"))


def _participant_session(node: _Node) -> ParticipantSession:
    params = tuple(
        (param.value("pname") or "", param.value("pval") or "") for param in node.named("param")
    )
    return ParticipantSession(
        participant_id=node.identifier("participant_id"),
        session_id=node.identifier("session_id"),
        params=params or None,
    )


def _participant_stream(node: _Node) -> ParticipantStream:
    return ParticipantStream(
        participant_id=node.identifier("participant_id"),
        send=tuple(filter(None, node.ids("send"))),
        recv=tuple(filter(None, node.ids("recv"))),
    )


def _session_inside(node: _Node) -> ParticipantSession | None:
    return _participant_session(node) if node.value("session_id") else None


def _streams_inside(node: _Node) -> ParticipantStream | None:
    return _participant_stream(node) if node.named("send") or node.named("recv") else None


READERS: dict[str, tuple[Callable[[_Node], Element | None], ...]] = {
    "group": (_group,),
    "session": (_session,),
    # In drafts a participant holds its associations (draft-ietf-siprec-metadata).
    "participant": (_participant, _session_inside, _streams_inside),
    "stream": (_stream,),
    "sessionrecordingassoc": (_session_recording,),
    "participantsessionassoc": (_participant_session,),
    "participantstreamassoc": (_participant_stream,),
}
"""Element name in lower case -> what it is read as."""


def _time(node: _Node, names: tuple[str, ...], warnings: list[str]) -> datetime | None:
    """RFC 3339, or nearly: no zone means UTC, `+0300` is `+03:00` (RFC 7865 6.9)."""
    text = next(filter(None, map(node.value, names)), None)
    if text is None:
        return UNREADABLE if any(map(node.named, names)) else None
    match = _TIME.fullmatch(text)
    try:
        return _instant(match) if match else _unreadable(warnings)
    except (ValueError, OverflowError):
        return _unreadable(warnings)


def _instant(match: re.Match[str]) -> datetime:
    date, clock, second, fraction, sign, hours, minutes = match.groups()
    second = min(second, "59")  # a leap second, which datetime does not know
    local = datetime.fromisoformat(f"{date}T{clock}:{second}.{(fraction or '0')[:6]:0<6}")
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    zone = timezone(-offset if sign == "-" else offset)
    return local.replace(tzinfo=zone).astimezone(UTC)


def _unreadable(warnings: list[str]) -> datetime:
    warnings.append("time_invalid")
    return UNREADABLE
