"""What is written down about a live session: its `Recording` row, built as pure values.

`siprec.recorder` decides when; nothing here touches a clock, a disk or the media process.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from siprec.metadata import Model
from siprec.session import Actor, LiveSession, RecorderError, State
from storage.records import AuditEntry, Participant, Pause, Recording, StreamRecord


@dataclass(frozen=True, slots=True)
class Changes:
    """What people may change of a recording; None leaves it as it is."""

    filename: str | None = None
    agent_id: str | None = None
    agent_terminal: str | None = None
    note: str | None = None
    third_party_id: str | None = None
    sensitive: bool | None = None
    never_expire: bool | None = None
    hold: bool | None = None
    custom: Mapping[str, str] = field(default_factory=dict)
    """Name -> value; an empty value takes the name away, names not here keep theirs."""


class InvalidChange(RecorderError):
    """A change that cannot be made; the text names the field and what is wrong."""


def changed(recording: Recording, changes: Changes, now: datetime, actor: Actor) -> Recording:
    """`recording` with `changes` in it, and in its history who made them.

    A new file name takes the old one to `previous_filename`. Raises InvalidChange for a name that
    would be a path (`storage.text.file_name`).
    """
    raise NotImplementedError


def opened(live: LiveSession, now: datetime) -> Recording:
    """A new recording of `live`, with an unguessable id that is safe as a file name."""
    return Recording(
        secrets.token_hex(16),
        live.id,
        live.call_id,
        "recording",
        now,
        from_aor=live.from_aor,
        to_aor=live.to_aor,
    )


def current(live: LiveSession, recording: Recording, now: datetime) -> Recording:
    """`recording` brought up to date with what its session knows."""
    return replace(
        recording,
        warnings=live.warnings,
        pauses=live.pauses,
        marks=live.marks,
        duration_ms=live.duration_ms(now),
        paused_ms=live.paused_ms(now),
        paused_at_end=live.state is State.PAUSED,
    )


def closed(live: LiveSession, recording: Recording, now: datetime) -> Recording:
    """`recording` as it is at its end, before its files are made."""
    return replace(
        current(live, recording, now),
        status="processing",
        ended_at=now,
        pauses=resumed(live.pauses, now),
    )


def audited(
    recording: Recording, now: datetime, actor: Actor, action: str, reason: str
) -> Recording:
    """`recording` with one more entry in its history."""
    sequence = len(recording.history) + 1
    entry = AuditEntry(recording.id, sequence, now, actor.name, action, reason)
    return replace(recording, history=(*recording.history, entry))


def resumed(pauses: tuple[Pause, ...], now: datetime) -> tuple[Pause, ...]:
    """`pauses` with the last one ended, if it is open."""
    if not pauses or pauses[-1].ended_at:
        return pauses
    return (*pauses[:-1], replace(pauses[-1], ended_at=now))


def participants(model: Model, *, past: bool = False) -> tuple[Participant, ...]:
    """The parties in the order the client declared them; with `past`, whoever took part."""
    return tuple(
        Participant(person.participant_id, person.aor, person.name)
        for person in model.participants(past=past)
    )


def streams(live: LiveSession, model: Model) -> tuple[StreamRecord, ...]:
    """Every stream the session has or had, with its channel: the caller's is the left one.

    Who calls is not said by RFC 7865; the first participant declared is taken as the caller, and
    streams without a known sender follow in the order they were offered.
    """
    people = [person.participant_id for person in model.participants(past=True)]

    def rank(number: int) -> tuple[int, int]:
        sender = model.sender_of(number)
        return (people.index(sender) if sender in people else len(people), number)

    ordered = sorted(live.streams, key=lambda stream: (*rank(stream.number), stream.closed))
    return tuple(
        StreamRecord(
            stream.spec.stream_id,
            stream.spec.label,
            channel,
            participant_id=model.sender_of(stream.number) or "",
        )
        for channel, stream in enumerate(ordered)
    )
