"""From the nouns of the core to the JSON of the native interface, and pages of live sessions.

Pure functions: time is an argument.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec
from msgspec import UNSET

from api.native import wire
from siprec.feed import FeedEvent
from siprec.session import LiveSession, NegotiatedStream, ReceptionView
from storage import records

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(at: datetime) -> str:
    """`at` as RFC 3339 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def session(live: LiveSession, figures: Mapping[str, ReceptionView], now: datetime) -> wire.Session:
    """A live session as of `now`. `figures`: by stream_id; empty when they are not known."""
    recording = live.recording
    senders = {s.stream_id: s.participant_id for s in recording.streams} if recording else {}
    return wire.Session(
        id=live.id,
        call_id=live.call_id,
        account=live.decision.account,
        route=live.decision.route,
        record=live.decision.record,
        ani=live.identity.ani,
        dnis=live.identity.dnis,
        ucid=live.identity.ucid,
        egress_call_id=live.identity.egress_call_id,
        realm=live.identity.realm,
        prebuffer_ms=live.decision.prebuffer_ms,
        state=live.state,
        marking=live.marking,
        saving=live.saving,
        discards=live.discards,
        owner=live.sides.owner,
        direction=live.sides.direction,
        platform=live.platform,
        recording_id=recording.id if recording else None,
        started_at=timestamp(live.started_at),
        duration_ms=live.duration_ms(now),
        paused_ms=live.paused_ms(now),
        from_aor=live.from_aor,
        to_aor=live.to_aor,
        participants=_participants(live.participants),
        streams=[_stream(s, figures, senders) for s in live.streams if not s.closed],
        pauses=pauses(live.pauses),
        marks=marks(live.marks),
        warnings=[*live.warnings],
    )


@lru_cache(maxsize=256)
def event(change: FeedEvent) -> bytes:
    """One message of the event stream; made once for all who hear of it."""
    told = wire.Event(
        change.type,
        timestamp(change.at),
        change.session_id,
        change.recording_id,
        change.call_id,
        change.actor,
        change.reason,
        change.account,
    )
    return msgspec.json.encode(told)


def page(
    sessions: Sequence[LiveSession], ask: wire.FindSessions
) -> tuple[list[LiveSession], str | None]:
    """One page of `sessions`, newest first, and the cursor of the next."""
    found = sorted((live for live in sessions if _matches(live, ask)), key=_place, reverse=True)
    if ask.cursor:
        last = _place_of(ask.cursor)
        found = [live for live in found if _place(live) < last]
    items = found[: ask.limit]
    return items, _cursor(items[-1]) if len(found) > len(items) else None


def _matches(live: LiveSession, ask: wire.FindSessions) -> bool:
    aors = {live.from_aor, live.to_aor, *(person.aor for person in live.participants)}
    return (
        ask.state in (UNSET, live.state)
        and ask.call_id in (UNSET, live.call_id)
        and (ask.aor is UNSET or ask.aor in aors)
    )


def _place(live: LiveSession) -> tuple[int, str]:
    return (live.started_at - _EPOCH) // timedelta(microseconds=1), live.id


def _cursor(live: LiveSession) -> str:
    return "{}-{}".format(*_place(live))


def _place_of(cursor: str) -> tuple[int, str]:
    moment, _, session_id = cursor.partition("-")
    return int(moment), session_id


def _stream(
    stream: NegotiatedStream,
    figures: Mapping[str, ReceptionView],
    senders: Mapping[str, str],
) -> wire.SessionStream:
    spec = stream.spec
    seen = figures.get(spec.stream_id)
    return wire.SessionStream(
        stream_id=spec.stream_id,
        label=spec.label,
        port=stream.port.rtp_port,
        encodings=[*dict.fromkeys(spec.formats.values())],
        active=spec.active,
        packets=seen.packets if seen else None,
        lost=seen.lost if seen else None,
        duplicates=seen.duplicates if seen else None,
        jitter_ms=round(seen.jitter_ms, 3) if seen else None,
        participant_id=senders.get(spec.stream_id) or UNSET,
    )


def _participants(people: Sequence[records.Participant]) -> list[wire.Participant]:
    return [wire.Participant(person.participant_id, person.aor, person.name) for person in people]


def pauses(spans: Sequence[records.Pause]) -> list[wire.Pause]:
    """Pauses of a session or a recording."""
    return [
        wire.Pause(
            timestamp(pause.started_at),
            timestamp(pause.ended_at) if pause.ended_at else None,
            pause.fill,
        )
        for pause in spans
    ]


def marks(points: Sequence[records.Mark]) -> list[wire.Mark]:
    """Marks of a session or a recording."""
    return [wire.Mark(timestamp(mark.at), mark.text) for mark in points]
