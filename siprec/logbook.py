"""What is written down about a live session: its `Recording` row, built as pure values.

`siprec.recorder` decides when; nothing here touches a clock, a disk or the media process.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from siprec.metadata import Model
from siprec.session import (
    PLAIN,
    Actor,
    LiveSession,
    NegotiatedStream,
    RecorderError,
    State,
    Terms,
)
from storage.records import (
    AuditEntry,
    Participant,
    Pause,
    Recording,
    SiprecSession,
    StreamRecord,
)
from storage.text import file_name, safe_file_name

TEXT_CHARACTERS = 1024
"""Most of any text that people give a recording."""


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
    discard: bool | None = None
    custom: Mapping[str, str] = field(default_factory=dict)
    """Name -> value; an empty value takes the name away, names not here keep theirs."""


_PLAIN = tuple(each.name for each in fields(Changes) if each.name not in {"filename", "custom"})


class InvalidChange(RecorderError):
    """A change that cannot be made; the text names the field and what is wrong."""


def changed(recording: Recording, changes: Changes, now: datetime, actor: Actor) -> Recording:
    """`recording` with `changes` in it, and in its history who made them.

    A new file name takes the old one to `previous_filename`; what is as it was is no change. Raises
    InvalidChange for a name that would be a path (`storage.text.file_name`) and for texts of more
    than `TEXT_CHARACTERS`.
    """
    wanted = {name: getattr(changes, name) for name in _PLAIN}
    wanted["filename"] = None if changes.filename is None else wav_name(changes.filename)
    wanted["custom"] = _custom(recording.custom, changes.custom)
    known = {name: getattr(recording, name) for name in wanted}
    new = {name: value for name, value in wanted.items() if value not in (None, known[name])}
    for name, value in new.items():
        _check_text(name, value)
    if not new:
        return recording
    told = ", ".join(_told(new, recording.custom))
    if "filename" in new:
        new["previous_filename"] = recording.filename
    return audited(replace(recording, **new), now, actor, "update", told)


def wav_name(text: str) -> str:
    """A file name from outside, with `.wav` if it lacks that. Raises InvalidChange."""
    try:
        name = file_name(text)
        return name if name.lower().endswith(".wav") else file_name(f"{name}.wav")
    except ValueError as error:
        raise InvalidChange(f"filename: {error}") from None


def directory_of(recording: Recording) -> str:
    """The folder people see a recording in: `/2026-11-22/14/05`, the minute it began in UTC."""
    return f"{recording.started_at.astimezone(UTC):/%Y-%m-%d/%H/%M}"


def _custom(known: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    for name, value in changes.items():
        _check_text(f"custom {name}", value)
    return {name: value for name, value in {**known, **changes}.items() if value}


def _check_text(name: str, value: object) -> None:
    if isinstance(value, str) and len(value) > TEXT_CHARACTERS:
        raise InvalidChange(f"{name}: {len(value)} characters, {TEXT_CHARACTERS} are the most")


def _told(new: Mapping[str, Any], custom: Mapping[str, str]) -> Iterator[str]:
    """What was changed, for the history: flags with their value, texts by their name only."""
    for name, value in new.items():
        if name == "custom":
            both = {**custom, **value}
            yield from (f"custom {each}" for each in both if custom.get(each) != value.get(each))
        else:
            yield f"{name}={str(value).lower()}" if isinstance(value, bool) else name


def opened(live: LiveSession, now: datetime, node: int, terms: Terms = PLAIN) -> Recording:
    """The next recording of `live` on a node, with an unguessable id, safe as a file name."""
    decision = live.decision
    return Recording(
        secrets.token_hex(16),
        live.id,
        live.call_id,
        "recording",
        now,
        segment=live.segments + 1,
        node=node,
        account=decision.account,
        route=decision.route,
        profile=terms.profile or decision.profile,
        filename=terms.filename or file_name_of(live),
        from_aor=live.from_aor,
        to_aor=live.to_aor,
        discard=live.discards,
    )


def outlined(live: LiveSession, model: Model, node: int) -> Recording:
    """What a recording of a session would say if it had one: it has no id and no name."""
    blank = replace(opened(live, live.started_at, node), id="", filename="")
    return described(live, blank, model)


def file_name_of(live: LiveSession) -> str:
    """What the next recording of `live` is called until somebody renames it."""
    identity = live.identity
    parts = [identity.dnis, identity.ucid or live.call_id, str(live.segments or "")]
    return safe_file_name("-".join(filter(None, parts))) + ".wav"


def current(live: LiveSession, recording: Recording, now: datetime) -> Recording:
    """`recording` brought up to date with what its session knows."""
    return replace(
        recording,
        warnings=live.warnings,
        pauses=live.pauses,
        marks=live.marks,
        discard=live.discards,
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


def reopened(pauses: tuple[Pause, ...]) -> tuple[Pause, ...]:
    """`pauses` with the last one going on."""
    return (*pauses[:-1], replace(pauses[-1], ended_at=None)) if pauses else pauses


def participants(live: LiveSession, model: Model, *, past: bool = False) -> tuple[Participant, ...]:
    """The parties in the order the client declared them; with `past`, whoever took part."""
    calling = live.identity.calling
    return tuple(
        Participant(
            person.participant_id,
            person.aor,
            person.name,
            person.extensions,
            person.participant_id in calling,
        )
        for person in model.participants(past=past)
    )


def described(live: LiveSession, recording: Recording, model: Model) -> Recording:
    """`recording` with what the metadata says now."""
    identity = live.identity
    return replace(
        recording,
        ani=identity.ani,
        dnis=identity.dnis,
        ucid=identity.ucid,
        egress_call_id=identity.egress_call_id,
        realm=identity.realm,
        owner=live.sides.owner,
        local_party=live.sides.local,
        remote_party=live.sides.remote,
        direction=live.sides.direction,
        siprec_sessions=_sessions(model),
        participants=participants(live, model, past=True),
        streams=streams(live, model),
    )


def _sessions(model: Model) -> tuple[SiprecSession, ...]:
    return tuple(
        SiprecSession(session.session_id, session.began, session.extensions or ())
        for session in model.sessions(past=True)
    )


def streams(live: LiveSession, model: Model) -> tuple[StreamRecord, ...]:
    """Every stream the session has or had, with its channel: the caller's is the left one.

    Over a platform that sends the owner's media apart it is the owner's, whoever called. Streams of
    others follow in the order they were declared, those without a known sender in the order they
    were offered.
    """
    calling = live.identity.calling
    was_called = live.is_dual and live.sides.direction == "incoming"
    people = [person.participant_id for person in model.participants(past=True)]
    people.sort(key=lambda participant_id: (participant_id in calling) is was_called)

    def rank(number: int) -> tuple[int, int]:
        sender = model.sender_of(number)
        return (people.index(sender) if sender in people else len(people), number)

    ordered = sorted(live.streams, key=lambda stream: (*rank(stream.number), stream.closed))
    return tuple(_stream(stream, channel, model) for channel, stream in enumerate(ordered))


def _stream(stream: NegotiatedStream, channel: int, model: Model) -> StreamRecord:
    record = StreamRecord(
        stream.spec.stream_id,
        stream.spec.label,
        channel,
        participant_id=model.sender_of(stream.number) or "",
    )
    stated = model.stream_of(stream.number)
    if stated is None:
        return record
    return replace(
        record,
        siprec_stream_id=stated.stream_id,
        started_at=stated.began,
        extensions=stated.extensions or (),
    )
