"""One `rs-metadata` document (RFC 7865 9): XML in, the elements it states out.

Read tolerantly: names are matched without case or prefix, in any order, foreign elements are kept
as extension data (`siprec.extensions`), and what clients are known to write differently is a row of
`NAMESPACES`, `NAMES`, `ATTRIBUTES` or `READERS`. What the documents of a session add up to is
`siprec.metadata`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from lxml import etree

from siprec import extensions, xml
from siprec.elements import (
    E,
    Element,
    Extended,
    Group,
    Key,
    NameId,
    Participant,
    ParticipantSession,
    ParticipantStream,
    Reason,
    Session,
    SessionRecording,
    Stream,
    Time,
    extended,
    overlaid,
)
from storage.records import Extension

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


class MetadataError(Exception):
    """Bytes that are no recording metadata. The call is recorded all the same."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document as received."""

    complete: bool
    """Whether it states the whole, or only what changed (RFC 7865 5.1.2)."""
    elements: dict[Key, Element]
    """In document order; what is stated twice is folded into one."""
    warnings: tuple[str, ...]
    """Reason codes: `metadata_recovered`, `charset_invalid`, `namespace_unknown`,
    `datamode_unknown`, `time_invalid`, `id_missing`, `extension_truncated`."""
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
    warnings = [*repairs]
    namespace, name = _split(str(element.tag))
    root = _Node(element, name, NAMESPACES | {namespace})
    if root.name != "recording":
        raise MetadataError(f"the root element is {name[:40]!r}, not recording")
    if namespace not in NAMESPACES:
        warnings.append("namespace_unknown")
    mode = (root.value("datamode") or "complete").lower()
    if mode not in {"complete", "partial"}:
        warnings.append("datamode_unknown")
    elements = _elements(root, warnings)
    return Document(mode != "partial", elements, tuple(dict.fromkeys(warnings)), data)


class _Node:
    """An XML element under the names of RFC 7865, in lower case, with what is in its namespace."""

    __slots__ = ("_children", "_element", "_foreign", "_named", "_namespaces", "attributes", "name")

    def __init__(
        self, element: etree._Element, name: str, namespaces: frozenset[str] = NAMESPACES
    ) -> None:
        self._element, self._namespaces = element, namespaces
        self._children: list[_Node] | None = None
        self._named: dict[str, list[_Node]] = {}
        self._foreign: list[etree._Element] = []
        self.name = NAMES.get(name, name)
        self.attributes: dict[str, str] = {}
        for tag, value in element.items():
            seen = _split(str(tag))[1]
            self.attributes[ATTRIBUTES.get((self.name, seen), seen)] = str(value)

    @property
    def children(self) -> list["_Node"]:
        if self._children is None:
            self._children = self._parted()
        return self._children

    @property
    def foreign(self) -> list[etree._Element]:
        """The children that are extension data."""
        return self._foreign if self.children is not None else []

    def named(self, name: str) -> list["_Node"]:
        if self._children is None:
            self._children = self._parted()
        return self._named.get(name, [])

    def _parted(self) -> list["_Node"]:
        known = []
        for element in self._element.iterchildren("*") if len(self._element) else ():
            namespace, name = _split(element.tag)
            if namespace in self._namespaces and name not in extensions.CONTAINERS:
                child = _Node(element, name, self._namespaces)
                known.append(child)
                self._named.setdefault(child.name, []).append(child)
            else:
                self._foreign.append(element)
        return known

    def value(self, name: str) -> str | None:
        """The text of an attribute or else of the first such child; None without either."""
        if name in self.attributes:
            return self.attributes[name].strip()
        found = self.named(name)
        return found[0].text if found else None

    def identifier(self, name: str) -> str:
        """Ids are base64: white space inside means nothing (RFC 7865 9)."""
        return "".join((self.value(name) or "").split())

    def ids(self, name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys("".join(child.text.split()) for child in self.named(name)))

    @property
    def text(self) -> str:
        whole = self._element.itertext() if len(self._element) else (self._element.text or "",)
        return "".join(map(str, whole)).strip()


@lru_cache(maxsize=256)
def _split(tag: str) -> tuple[str, str]:
    namespace, _, local = tag.rpartition("}")
    return namespace[1:], local.lower()


def _elements(root: _Node, warnings: list[str]) -> dict[Key, Element]:
    found: dict[Key, Element] = {}
    for node in root.children:
        began = _time(node, ("associate-time", "start-time"), warnings)
        ended = _time(node, ("disassociate-time", "stop-time"), warnings)
        for read in READERS.get(node.name, ()):
            if element := read(node, began, ended):
                if node.foreign and isinstance(element, Extended):
                    element = replace(element, extensions=_extensions(node.foreign, warnings))
                if all(key := element.key):
                    found[key] = _folded(found[key], element) if key in found else element
                else:
                    warnings.append("id_missing")
    if root.foreign:
        _attach(root.foreign, found, warnings)
    return found


def _extensions(foreign: list[etree._Element], warnings: list[str]) -> tuple[Extension, ...] | None:
    kept, excess = extensions.read(foreign)
    if excess:
        warnings.append("extension_truncated")
    return kept or None


def _attach(foreign: list[etree._Element], found: dict[Key, Element], warnings: list[str]) -> None:
    """Extension data beside the elements is that of the one it names as its `parent`, as in drafts,
    else of every session; what an element itself says under the same name goes before it."""
    owners = {key[1]: key for key, element in found.items() if isinstance(element, Extended)}
    sessions = [key for key, element in found.items() if isinstance(element, Session)]
    parted: dict[Key | None, list[etree._Element]] = {}
    for element in foreign:
        parent = "".join((element.get("parent") or "").split())
        parted.setdefault(owners.get(parent), []).append(element)
    for owner, elements in parted.items():
        inherited = _extensions(elements, warnings) or ()
        for key in [owner] if owner else sessions:
            heir = found[key]
            if inherited and isinstance(heir, Extended):
                found[key] = replace(heir, extensions=extended(heir.extensions, inherited))


def _folded(old: Element, new: Element) -> Element:
    """The later of two statements counts, except that the streams of a participant add up."""
    if isinstance(old, ParticipantStream) and isinstance(new, ParticipantStream):
        send = tuple(dict.fromkeys((*old.send, *new.send)))
        recv = tuple(dict.fromkeys((*old.recv, *new.recv)))
        return overlaid(old, replace(new, send=send, recv=recv))
    return overlaid(old, new)


def _group(node: _Node, began: Time, ended: Time) -> Group:
    return Group(group_id=node.identifier("group_id"), began=began, ended=ended)


def _session(node: _Node, began: Time, ended: Time) -> Session:
    reasons = tuple(
        Reason(reason.value("protocol") or "SIP", reason.value("cause") or "", reason.text)
        for reason in node.named("reason")
    )
    return Session(
        session_id=node.identifier("session_id"),
        began=began,
        ended=ended,
        sip_session_ids=node.ids("sipsessionid") or None,
        reasons=reasons or None,
        group_ref=node.identifier("group-ref") or None,
    )


def _participant(node: _Node, began: Time, ended: Time) -> Participant:
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
    return Participant(
        participant_id=node.identifier("participant_id"),
        began=began,
        ended=ended,
        names=names or None,
    )


def _stream(node: _Node, began: Time, ended: Time) -> Stream:
    return Stream(
        stream_id=node.identifier("stream_id"),
        began=began,
        ended=ended,
        session_id=node.identifier("session_id") or None,
        label=node.value("label") or None,
    )


def _session_recording(node: _Node, began: Time, ended: Time) -> SessionRecording:
    return SessionRecording(session_id=node.identifier("session_id"), began=began, ended=ended)


def _participant_session(node: _Node, began: Time, ended: Time) -> ParticipantSession:
    params = tuple(
        (param.value("pname") or "", param.value("pval") or "") for param in node.named("param")
    )
    return ParticipantSession(
        participant_id=node.identifier("participant_id"),
        began=began,
        ended=ended,
        session_id=node.identifier("session_id"),
        params=params or None,
    )


def _participant_stream(node: _Node, began: Time, ended: Time) -> ParticipantStream:
    return ParticipantStream(
        participant_id=node.identifier("participant_id"),
        began=began,
        ended=ended,
        send=tuple(filter(None, node.ids("send"))),
        recv=tuple(filter(None, node.ids("recv"))),
    )


def _session_inside(node: _Node, began: Time, ended: Time) -> ParticipantSession | None:
    return _participant_session(node, began, ended) if node.value("session_id") else None


def _streams_inside(node: _Node, began: Time, ended: Time) -> ParticipantStream | None:
    streams = node.named("send") or node.named("recv")
    return _participant_stream(node, began, ended) if streams else None


READERS: dict[str, tuple[Callable[[_Node, Time, Time], Element | None], ...]] = {
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


def _time(node: _Node, names: tuple[str, ...], warnings: list[str]) -> Time:
    """RFC 3339, or nearly: no zone means UTC, `+0300` is `+03:00` (RFC 7865 6.9)."""
    stated = next((child.text for name in names for child in node.named(name)), None)
    if stated is None:
        return None
    match = _TIME.fullmatch(stated)
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
