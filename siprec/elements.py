"""The classes of the recording metadata model (RFC 7865 6), as single statements about one thing.

Plain values: `siprec.rs_metadata` reads them from XML, `siprec.metadata` adds them up.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import ClassVar, TypeVar

from storage.records import Extension

Key = tuple[str, ...]
"""Name of an element and the ids that tell it from its like (RFC 7865 6)."""


Time = datetime | None
"""A time in UTC, as the client claims it; None: none stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """What a document says about one thing; None in a field: it says nothing there."""

    name: ClassVar[str]
    identity: ClassVar[tuple[str, ...]]
    began: Time = None
    """associate-time or start-time."""
    ended: Time = None
    """disassociate-time or stop-time."""

    @property
    def key(self) -> Key:
        """The key under which later documents update the element."""
        return (self.name, *(getattr(self, field) for field in self.identity))


E = TypeVar("E", bound=Element)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extended(Element):
    """An element with whatever the client adds to it in names of its own (RFC 7865 9, `any`)."""

    extensions: tuple[Extension, ...] | None = None
    """In document order."""


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
class Group(Extended):
    """A communication session group (RFC 7865 6.2)."""

    name: ClassVar[str] = "group"
    identity: ClassVar[tuple[str, ...]] = ("group_id",)
    group_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(Extended):
    """A communication session (RFC 7865 6.3)."""

    name: ClassVar[str] = "session"
    identity: ClassVar[tuple[str, ...]] = ("session_id",)
    session_id: str
    sip_session_ids: tuple[str, ...] | None = None
    reasons: tuple[Reason, ...] | None = None
    group_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant(Extended):
    """A party (RFC 7865 6.5)."""

    name: ClassVar[str] = "participant"
    identity: ClassVar[tuple[str, ...]] = ("participant_id",)
    participant_id: str
    names: tuple[NameId, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream(Extended):
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


def overlaid(old: E, new: Element) -> E:
    """Return `old` with all that `new`, of the same kind, says; what it does not say is kept."""
    if old is new:
        return old
    said = {field.name: getattr(new, field.name) for field in fields(new)}
    return replace(old, **{name: value for name, value in said.items() if value is not None})


def extended(
    own: tuple[Extension, ...] | None, inherited: tuple[Extension, ...]
) -> tuple[Extension, ...]:
    """Return an element's own extension data and what it inherits under other names."""
    known = {extension.name for extension in own or ()}
    return (*(own or ()), *(each for each in inherited if each.name not in known))
