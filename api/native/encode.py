"""From the nouns of the core to the JSON of the native interface, and pages of live sessions.

Pure functions: time is an argument.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

from msgspec import UNSET, UnsetType

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
        recording_id=recording.id if recording else None,
        started_at=timestamp(live.started_at),
        duration_ms=live.duration_ms(now),
        paused_ms=live.paused_ms(now),
        from_aor=live.from_aor,
        to_aor=live.to_aor,
        participants=_participants(live.participants),
        streams=[_stream(s, figures, senders) for s in live.streams if not s.closed],
        pauses=_pauses(live.pauses),
        marks=_marks(live.marks),
        warnings=[*live.warnings],
    )


def recording(row: records.Recording) -> wire.Recording:
    """A stored recording."""
    return wire.Recording(
        id=row.id,
        session_id=row.session_id,
        call_id=row.call_id,
        status=cast(wire.Status, row.status),
        reason=row.reason,
        started_at=timestamp(row.started_at),
        ended_at=timestamp(row.ended_at) if row.ended_at else None,
        duration_ms=row.duration_ms,
        paused_ms=row.paused_ms,
        from_aor=row.from_aor,
        to_aor=row.to_aor,
        participants=_participants(row.participants),
        streams=[_recorded_stream(stream) for stream in row.streams],
        pauses=_pauses(row.pauses),
        marks=_marks(row.marks),
        warnings=[*row.warnings],
        files=[_file(row.id, file) for file in row.files],
        history=[
            wire.HistoryEntry(timestamp(e.at), e.actor, e.action, e.reason) for e in row.history
        ],
    )


def query(ask: wire.FindRecordings) -> records.RecordingQuery:
    """What is asked of the catalogue. Raises InvalidQuery."""
    return records.RecordingQuery(
        status=ask.status or None,
        call_id=ask.call_id or None,
        session_id=ask.session_id or None,
        aor=ask.aor or None,
        started_after=_utc(ask.started_after),
        started_before=_utc(ask.started_before),
        limit=ask.limit,
        cursor=ask.cursor or None,
    )


def event(change: FeedEvent) -> wire.Event:
    """One frame of the event stream."""
    return wire.Event(
        change.type,
        timestamp(change.at),
        change.session_id,
        change.recording_id,
        change.call_id,
        change.actor,
        change.reason,
        change.account,
    )


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


def _utc(moment: datetime | UnsetType) -> datetime | None:
    try:
        return moment.astimezone(UTC) if isinstance(moment, datetime) else None
    except OverflowError:
        raise records.InvalidQuery("this time is outside the years 1 to 9999") from None


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


def _recorded_stream(stream: records.StreamRecord) -> wire.RecordedStream:
    return wire.RecordedStream(
        stream_id=stream.stream_id,
        label=stream.label,
        channel=stream.channel,
        encoding=stream.encoding,
        participant_id=stream.participant_id,
        packets=stream.packets,
        lost=stream.lost,
        duplicates=stream.duplicates,
        gaps=[wire.Gap(gap.start_ms, gap.duration_ms) for gap in stream.gaps],
    )


def _file(recording_id: str, file: records.FileRecord) -> wire.File:
    path = "peaks" if file.format == "peaks" else f"media?format={file.format}"
    return wire.File(
        format=file.format,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        channels=file.channels,
        sample_rate_hz=file.sample_rate_hz,
        url=f"{wire.PREFIX}/recordings/{recording_id}/{path}",
    )


def _participants(people: Sequence[records.Participant]) -> list[wire.Participant]:
    return [wire.Participant(person.participant_id, person.aor, person.name) for person in people]


def _pauses(pauses: Sequence[records.Pause]) -> list[wire.Pause]:
    return [
        wire.Pause(
            timestamp(pause.started_at),
            timestamp(pause.ended_at) if pause.ended_at else None,
            pause.fill,
        )
        for pause in pauses
    ]


def _marks(marks: Sequence[records.Mark]) -> list[wire.Mark]:
    return [wire.Mark(timestamp(mark.at), mark.text) for mark in marks]
