"""The recording metadata model (RFC 7865 6): what the documents of one session add up to.

`merge` folds a document into a `Model` and returns the new one. Nothing said is ever lost: what is
no longer so gets an end in time. Pure: times are arguments, nothing is logged. Documents are read
by `siprec.rs_metadata`; `Plan.labels` of `siprec.negotiation` says which media a label means.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from siprec.elements import (
    E,
    Element,
    Group,
    Key,
    NameId,
    Participant,
    ParticipantSession,
    ParticipantStream,
    Session,
    Stream,
    extended,
    overlaid,
)
from siprec.rs_metadata import UNREADABLE, Document, MetadataError, parse
from storage.records import Extension

__all__ = ["Document", "Entry", "MetadataError", "Model", "Person", "Span", "merge", "parse"]

MAX_ENTRIES = 8192
"""Things remembered of one recording session, which may stay up for months; oldest go first."""
MAX_SPANS = 256
"""Comings and goings remembered of one thing."""

IDENTIFIED = (Group.name, Session.name, Participant.name, Stream.name)
"""Elements with an id of their own; no two of them may share one (RFC 7865 6.10)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in UTC; `end` is None while it lasts and never before `start`."""

    start: datetime
    end: datetime | None = None


Spans = tuple[Span, ...]
Pair = tuple[str, str]
"""Participant id and stream id."""
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Entry:
    """One element with all that was said of it."""

    element: Element
    current: bool
    """False once a complete document leaves it out."""
    spans: Spans
    """When it was so: by the times claimed for it, else by those of receipt."""

    @property
    def open(self) -> bool:
        """Whether the last span still lasts: the session goes on, the participant is there."""
        return _is_open(self.spans)


@dataclass(frozen=True, slots=True)
class Person:
    """A participant as others want it."""

    participant_id: str
    aor: str
    """The first address of record, verbatim."""
    name: str
    """The first name given, empty without one."""
    names: tuple[NameId, ...] = ()
    """All (address, name) pairs."""
    extensions: tuple[Extension, ...] = ()
    """What the client says of them in names of its own."""


@dataclass(frozen=True, slots=True)
class Model:
    """The merged state of one recording session; `Model()` is the start."""

    entries: Mapping[Key, Entry] = field(default_factory=dict)
    """Everything ever stated, in the order of first mention."""
    sending: Mapping[Pair, Spans] = field(default_factory=dict)
    """When a participant sent a stream; either id may be undefined so far (RFC 7866 9.2)."""
    receiving: Mapping[Pair, Spans] = field(default_factory=dict)
    media: Mapping[str, int] = field(default_factory=dict)
    """Stream id -> number of the media stream its label meant when it was last given."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """The labels of the last session description."""
    based: bool = False
    """Whether there was a complete document, to which partial ones refer."""
    needs_snapshot: bool = False
    """Whether a partial document came first: one should be asked for (RFC 7866 9.2)."""
    warnings: tuple[str, ...] = ()
    """Reason codes: those of the documents, `duplicate_id`, `label_duplicate`, `label_unknown`."""

    def participants(self, *, past: bool = False) -> tuple[Person, ...]:
        """Return the participants in the order they were declared.

        Somebody who left is still one of them, see `is_present`; whom a complete document leaves
        out is only listed with `past`.
        """
        return tuple(_person(element) for element in self.of(Participant, past=past))

    def sessions(self, *, past: bool = False) -> tuple[Session, ...]:
        """Return the communication sessions, stopped ones too; `past` as in `participants`.

        `began` is the time the client claims; extension data of a session's group is its own too.
        """
        return tuple(self._grouped(session) for session in self.of(Session, past=past))

    def session_ids(self, *, past: bool = False) -> tuple[str, ...]:
        """Return the ids of `sessions`."""
        return tuple(session.session_id for session in self.of(Session, past=past))

    def stream_of(self, media: int) -> Stream | None:
        """Return what is said of a media stream, `media` as in `senders`; None: nothing.

        The media of one session may carry those of the next: the stream bound last counts, and one
        that a complete document leaves out only if there is no other.
        """
        bound = [(Stream.name, id_) for id_, number in self.media.items() if number == media]
        known = [entry for key in reversed(bound) if (entry := self.entries.get(key))]
        found = next((entry for entry in known if entry.current), next(iter(known), None))
        return found.element if found and isinstance(found.element, Stream) else None

    def of(self, kind: type[E], *, past: bool = False) -> tuple[E, ...]:
        """Return the elements of one kind, e.g. `model.of(Group)`; `past` as in `participants`."""
        return tuple(
            entry.element
            for entry in self.entries.values()
            if isinstance(entry.element, kind) and (past or entry.current)
        )

    def is_present(self, participant_id: str) -> bool:
        """Whether a participant is in a session now, as far as associations are stated at all."""
        stays = [
            entry.open
            for entry in self.entries.values()
            if isinstance(entry.element, ParticipantSession)
            and entry.element.participant_id == participant_id
        ]
        return any(stays) or not stays

    def senders(self, media: int) -> tuple[str, ...]:
        """Return the ids of all participants that now send into a media stream.

        `media` is a number of the labels given to `merge`. A mixed stream has several senders.
        """
        found = (pair[0] for pair, spans in self._sent(media) if _is_open(spans))
        return tuple(dict.fromkeys(filter(self.is_present, found)))

    def sender_of(self, media: int) -> str:
        """Return the first current sender, else the one who sent last; empty if none is known."""
        last = max(self._sent(media), key=lambda item: _last_end(item[1]), default=(("", ""), ()))
        return next(iter(self.senders(media)), last[0][0])

    def _sent(self, media: int) -> list[tuple[Pair, Spans]]:
        return [item for item in self.sending.items() if self.media.get(item[0][1]) == media]

    def _grouped(self, session: Session) -> Session:
        entry = self.entries.get((Group.name, session.group_ref or ""))
        group = entry.element if entry else None
        if not isinstance(group, Group) or not group.extensions:
            return session
        return replace(session, extensions=extended(session.extensions, group.extensions))


def merge(
    model: Model, document: Document, labels: Mapping[str, int] | None, at: datetime
) -> Model:
    """Return the state after a document that came with an accepted request.

    `labels`: `a=label` -> number of its media stream, `Plan.labels`; None: the last ones given.
    `at`: time of receipt, UTC. A complete document ends what it leaves out, a partial one changes
    what it names (RFC 7865 5.1.2); a participant's streams are replaced as a set (6.8.1).
    """
    labels = model.labels if labels is None else dict(labels)
    stated = _accepted(model.entries, document, at)
    entries = _entered(model.entries, stated, document.complete, at)
    flows = {e.participant_id: e for e in stated.values() if isinstance(e, ParticipantStream)}
    sending = _related(model.sending, flows, lambda flow: flow.send, document.complete, at)
    receiving = _related(model.receiving, flows, lambda flow: flow.recv, document.complete, at)
    stops = _stops(entries)
    return Model(
        entries=_bounded(_left(entries, stops), lambda entry: entry.current),
        sending=_bounded(_silenced(sending, entries, stops), _is_open),
        receiving=_bounded(_silenced(receiving, entries, stops), _is_open),
        media={**model.media, **_bindings(stated, labels)},
        labels=labels,
        based=model.based or document.complete,
        needs_snapshot=not (model.based or document.complete),
        warnings=_warnings(model, document, stated, labels),
    )


def _accepted(entries: Mapping[Key, Entry], document: Document, at: datetime) -> dict[Key, Element]:
    """Pass over what takes the id of another kind of thing, now or earlier (RFC 7865 6.10)."""
    accepted: dict[Key, Element] = {}
    for key, element in document.elements.items():
        others = [(name, key[1]) for name in IDENTIFIED if name != key[0]]
        if key[0] in IDENTIFIED and any(k in entries or k in accepted for k in others):
            continue
        accepted[key] = _dated(element, at)
    return accepted


def _dated(element: Element, at: datetime) -> Element:
    """A time that was stated but cannot be read is that of receipt."""
    began = at if element.began is UNREADABLE else element.began
    ended = at if element.ended is UNREADABLE else element.ended
    if began is element.began and ended is element.ended:
        return element
    return replace(element, began=began, ended=ended)


def _entered(
    old: Mapping[Key, Entry], stated: Mapping[Key, Element], complete: bool, at: datetime
) -> dict[Key, Entry]:
    entries = dict(old)
    for key, entry in old.items() if complete else ():
        if key not in stated:
            entries[key] = Entry(entry.element, False, _closed(entry.spans, at))
    for key, element in stated.items():
        known = old.get(key)
        kept = known.element if known and known.current and not complete else element
        merged, spans = overlaid(kept, element), known.spans if known else ()
        entries[key] = Entry(merged, True, _updated(spans, merged, at))
    return entries


def _related(
    old: Mapping[Pair, Spans],
    flows: Mapping[str, ParticipantStream],
    streams: Callable[[ParticipantStream], tuple[str, ...]],
    complete: bool,
    at: datetime,
) -> dict[Pair, Spans]:
    """End what is no longer sent or received, begin what is now; of a partial, by participant."""
    relations = dict(old)
    for pair, spans in old.items():
        flow = flows.get(pair[0])
        if (flow and pair[1] not in streams(flow)) or (complete and not flow):
            relations[pair] = _closed(spans, (flow and flow.ended) or at)
    for flow in flows.values():
        for stream in streams(flow):
            pair = (flow.participant_id, stream)
            relations[pair] = _opened(relations.get(pair, ()), flow.began, at)
    return relations


def _stops(entries: Mapping[Key, Entry]) -> dict[str, datetime]:
    return {
        entry.element.session_id: entry.spans[-1].end
        for entry in entries.values()
        if isinstance(entry.element, Session) and entry.element.ended and entry.spans[-1].end
    }


def _left(entries: dict[Key, Entry], stops: Mapping[str, datetime]) -> dict[Key, Entry]:
    """A session that stops has no participants any more, though nobody says so (RFC 8068 3.2.3)."""
    for key, entry in entries.items() if stops else ():
        element = entry.element
        if isinstance(element, ParticipantSession) and element.session_id in stops:
            entries[key] = replace(entry, spans=_closed(entry.spans, stops[element.session_id]))
    return entries


def _silenced(
    relations: dict[Pair, Spans], entries: Mapping[Key, Entry], stops: Mapping[str, datetime]
) -> dict[Pair, Spans]:
    """Nor does anybody send or receive its streams."""
    for pair, spans in relations.items() if stops else ():
        entry = entries.get((Stream.name, pair[1]))
        session = entry.element.session_id if entry and isinstance(entry.element, Stream) else None
        if stop := stops.get(session or ""):
            relations[pair] = _closed(spans, stop)
    return relations


def _bindings(stated: Mapping[Key, Element], labels: Mapping[str, int]) -> dict[str, int]:
    """A label is resolved when it arrives and never again (RFC 7866 7.1.1)."""
    return {
        stream.stream_id: labels[stream.label]
        for stream in stated.values()
        if isinstance(stream, Stream) and stream.label is not None and stream.label in labels
    }


def _warnings(
    model: Model, document: Document, stated: Mapping[Key, Element], labels: Mapping[str, int]
) -> tuple[str, ...]:
    named = [e.label for e in stated.values() if isinstance(e, Stream) and e.label is not None]
    flags = {
        "duplicate_id": len(stated) < len(document.elements),
        "label_duplicate": len(named) > len(set(named)),
        "label_unknown": any(label not in labels for label in named),
    }
    codes = (code for code, raised in flags.items() if raised)
    return tuple(dict.fromkeys((*model.warnings, *document.warnings, *codes)))


def _updated(spans: Spans, element: Element, at: datetime) -> Spans:
    """Bring the spans of an element up to date with the times it has now.

    Leaving and coming back is told by a later associate-time beside the old disassociate-time.
    """
    began, ended = element.began, element.ended
    if ended is None:
        return _opened(spans, began, at)
    if began and began > ended and not isinstance(element, Session):
        back = _is_open(spans) and spans[-1].start < began
        return _opened(_closed(spans, ended) if back else spans, began, at)
    if not spans or (spans[-1].end and began and spans[-1].end < began):
        return _closed(_opened(spans, began or ended, ended), ended)
    return _closed(spans, ended)


def _opened(spans: Spans, began: datetime | None, at: datetime) -> Spans:
    """Begin a span at the time claimed, unless it lies within the one before; else at `at`."""
    if _is_open(spans):
        return spans
    floor = spans[-1].end if spans else None
    if floor is None:
        return (Span(began or at),)
    start = began if began and began >= floor else max(at, floor)
    return (*spans[1 - MAX_SPANS :], Span(start))


def _closed(spans: Spans, at: datetime) -> Spans:
    if not _is_open(spans):
        return spans
    start = spans[-1].start
    return (*spans[:-1], Span(start, max(start, at)))


def _is_open(spans: Spans) -> bool:
    return bool(spans) and spans[-1].end is None


def _last_end(spans: Spans) -> datetime:
    """The end of the last span; the end of time while it lasts."""
    return (spans[-1].end if spans else None) or datetime.max.replace(tzinfo=UTC)


def _bounded(things: dict[K, V], keep: Callable[[V], bool]) -> dict[K, V]:
    """Forget the oldest of too many things, those that ended before those that last."""
    excess = max(0, len(things) - MAX_ENTRIES)
    for key in sorted(things, key=lambda key: keep(things[key]))[:excess] if excess else ():
        del things[key]
    return things


def _person(participant: Participant) -> Person:
    names = participant.names or ()
    return Person(
        participant.participant_id,
        names[0].aor if names else "",
        next((name.name for name in names if name.name), ""),
        names,
        participant.extensions or (),
    )
