"""What FACE answers, as trees that are XML and JSON alike (`api.xml`).

Names, order and types of the elements are those of the FACE guide. Pure: what the recorder knows
beyond the recording's row comes in `Shown`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from string import ascii_lowercase
from typing import Any

from api.oracle_face import codes
from siprec.logbook import directory_of
from storage.records import Extension, Participant, Recording, SiprecSession, StreamRecord
from storage.text import clean, without_scheme

Tree = dict[str, Any]

SUPPLEMENTAL_FILES = 1000
"""More than a recording has supplemental files; their ids are made with it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A recording, and what an answer says of it beyond its row."""

    row: Recording
    tmp_id: int = 0
    """Its tmpRecordingId; 0: it is stored, and its `number` is its recordingId."""
    is_missing: bool = False
    """Its file is not on disk."""
    is_renamed: bool = False
    """The command that is being answered renamed it."""
    name_before: str = ""
    """File name before that command, shown even if it is the same; empty: as the row says."""


def time(at: datetime) -> str:
    """`at` in UTC with milliseconds: `2016-07-19 16:21:45.356`."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds")


def second(at: datetime) -> str:
    """`at` in UTC without what is less than a second."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds")


def result(code: int, message: str, **more: Any) -> Tree:
    """The usual answer: code, message, and what else the command has to say."""
    return {"result": {"code": code, "message": message, **more}}


def response(code: int, message: str) -> Tree:
    """The answer of the commands about events and screens."""
    return {"response": {"Code": code, "message": message}}


def matches(found: Sequence[Tree], limit: int) -> Tree:
    """The answer to criteria that several recordings match: the first `limit` of them."""
    message = codes.MORE_MATCHES if len(found) > limit else codes.ALL_MATCHES
    shown = [{"match": each} for each in found[:limit]]
    return result(codes.FAILURE, message, matches=shown)


def match(row: Recording, tmp_id: int = 0, channel: int = 0) -> Tree:
    """One entry of that list.

    A row without an id is a live session that has no recording. `channel`: the channelNumber that
    selects it, shown with its rssId unless 0.
    """
    row = clean(row)
    return _stated(
        **(_id(row, tmp_id) if row.id else {}),
        isrUcid=row.ucid or None,
        ingressCallId=row.call_id or None,
        filename=row.filename if row.id else None,
        **{"from": row.ani},
        to=row.dnis,
        start=second(row.started_at),
        hasVideo=row.has_video,
        channelNumber=channel or None,
        rssId=row.node if channel else None,
    )


def recording(shown: Shown) -> Tree:
    """All there is to say of one recording, the content of `<recording>`."""
    # A live row may hold what neither JSON nor the catalogue can; stored it looks the same.
    row = clean(shown.row)
    archived = _is_archived(row)
    return _stated(
        **_id(row, shown.tmp_id),
        filename=row.filename,
        fileStatus=int(shown.is_missing),
        ani=row.ani,
        dnis=row.dnis,
        account=str(row.account),
        duration=0 if shown.tmp_id else row.duration_ms,  # it has none before it ends
        startTime=time(row.started_at),
        directory=directory_of(row) if archived else None,
        rss=row.node,
        archived=int(archived),
        route=row.route,
        archivalRemarks=_remarks(row) if archived else None,
        archivalFailCount=0,
        agentId=row.agent_id or None,
        agentTerminal=row.agent_terminal or None,
        archiverMode="Primary",
        sensitive=int(row.sensitive),
        neverExpire=row.never_expire or None,
        pauseLength=row.paused_ms,
        deleteFlag=row.is_to_go,
        location=2 if archived else 1,
        previousFilename=shown.name_before or row.previous_filename or None,
        archiverAction=_archiver_action(shown),
        conversionStatus=_conversion_status(row),
        isrUcid=row.ucid or None,
        ingressCallId=row.call_id or None,
        egressCallId=row.egress_call_id or None,
        pausedWithSilence=any(pause.fill == "silence" for pause in row.pauses),
        hasVideo=row.has_video,
        customDataSets=_custom(row.custom),
        siprecDataSets=_siprec(row),
        dtmfDigits=None if shown.tmp_id else _digits(row),
        supplementalFiles=_supplemental(row) or None,
    )


def _is_archived(row: Recording) -> bool:
    """Its files are made, and where they stay."""
    return row.is_finished and "wav" in _formats(row)


def supplemental_id(row: Recording, number: int) -> int:
    """supplementalFileId of a recording's supplemental file."""
    return row.number * SUPPLEMENTAL_FILES + number


def supplemental_place(id: int) -> tuple[int, int]:
    """Number of the recording and of its supplemental file that a supplementalFileId stands for."""
    return divmod(id, SUPPLEMENTAL_FILES)


def _stated(**elements: Any) -> Tree:
    """The elements without those that have no value."""
    return {name: value for name, value in elements.items() if value is not None}


def _id(row: Recording, tmp_id: int) -> Tree:
    return {"tmpRecordingId": tmp_id} if tmp_id else {"recordingId": row.number}


def _formats(row: Recording) -> set[str]:
    return {file.format for file in row.files}


def _remarks(row: Recording) -> str:
    ended = f" after the recording ended at {second(row.ended_at)} UTC" if row.ended_at else ""
    return f"Archived by node {row.node}{ended}"


def _archiver_action(shown: Shown) -> int:
    """1: it will be deleted; 2: it is renamed, or will be once its files are made."""
    row = shown.row
    if row.is_to_go:
        return 1
    return 2 if shown.is_renamed or (row.previous_filename and not row.is_finished) else 0


def _conversion_status(row: Recording) -> int:
    """0: nothing to be done; 1: being made; 2: there is an MP3; 3: it could not be made."""
    if "mp3" in _formats(row):
        return 2
    if row.reason == "render_failed":
        return 3
    return int(row.status == "processing")


def _custom(values: Mapping[str, str]) -> list[Tree]:
    return [{"customData": {"name": name, "value": value}} for name, value in values.items()]


def _siprec(row: Recording) -> list[Tree]:
    """One entry for each communication session, and none without.

    A row does not say which session somebody took part in. A recording has one nearly always, so
    all parties and streams stand in the first entry. Without any session there is no entry they
    could stand in: readers of the guide look for a siprecSessionId in each.
    """
    people = [{"participant": _participant(each)} for each in row.participants]
    streams = [{"stream": _stream(each)} for each in row.streams]
    return [
        {
            "siprecData": {
                "session": _session(session),
                "participants": [] if index else people,
                "streams": [] if index else streams,
            }
        }
        for index, session in enumerate(row.siprec_sessions)
    ]


def _session(session: SiprecSession) -> Tree:
    return _stated(
        startTime=second(session.started_at) if session.started_at else None,
        siprecSessionId=session.session_id,
        extensionDataSets=_extensions(session.extensions),
    )


def _participant(person: Participant) -> Tree:
    return _stated(
        siprecParticipantId=person.participant_id,
        aor=without_scheme(person.aor) or None,
        name=person.name or None,
        extensionDataSets=_extensions(person.extensions),
    )


def _stream(stream: StreamRecord) -> Tree:
    return _stated(
        mode=_mode(stream.channel),
        participantId=stream.participant_id or None,
        siprecStreamId=stream.siprec_stream_id or None,
        startTime=second(stream.started_at) if stream.started_at else None,
        label=stream.label or None,
        extensionDataSets=_extensions(stream.extensions),
    )


def _mode(channel: int) -> str:
    """Letter of a channel: a, b, …, z, aa, bb, …"""
    again, letter = divmod(channel, len(ascii_lowercase))
    return ascii_lowercase[letter] * (again + 1)


def _extensions(extensions: Sequence[Extension]) -> list[Tree]:
    return [
        {"extensionData": {"name": each.name, "values": [{"value": v} for v in each.values]}}
        for each in extensions
    ]


def _digits(row: Recording) -> list[Tree]:
    return [
        {"dtmfDigit": _stated(key=digit.key, offsetMs=digit.offset_ms, origin=digit.origin or None)}
        for digit in row.digits
    ]


def _supplemental(row: Recording) -> list[Tree]:
    return [
        {
            "supplementalFile": {
                "supplementalFileId": supplemental_id(row, each.number),
                "fileType": each.kind,
                "filename": each.filename,
            }
        }
        for each in row.supplemental_files
    ]


# release 6.4: a call is one recording, its recordings are the segments of that

_SEGMENT = (
    "segmentId",
    "tmpRecordingId",
    "recordingId",
    "sequence",
    "filename",
    "previousFilename",
    "fileStatus",
    "locationId",
    "accountId",
    "routeId",
    "start",
    "end",
    "checksumMismatch",
    "agentId",
    "agentTerminal",
    "pauseLength",
    "pausedWithSilence",
    "securedMedia",
    "hasVideo",
    "archived",
    "archivalFailCount",
    "archiverMode",
    "archiverAction",
    "conversionStatus",
    "customDataSets",
    "dtmfDigits",
    "siprecDataSets",
    "supplementalFiles",
)
"""Elements of `<segment>` in their order."""


def conversation(rows: Sequence[Shown]) -> Tree:
    """All there is to say of one call in release 6.4, the content of `<recording>`.

    `rows`: its recordings in the order of `segment`, at least one. The call has the ids and names
    of the first, and the durations of those that have ended.
    """
    first = clean(rows[0].row)
    custom: dict[str, str] = {}
    for shown in rows:
        custom |= clean(shown.row).custom
    return _stated(
        **_id(first, rows[0].tmp_id),
        ani=first.ani,
        dnis=first.dnis,
        account=str(first.account),
        duration=sum(shown.row.duration_ms for shown in rows if not shown.tmp_id),
        startTime=time(first.started_at),
        route=first.route,
        sensitive=int(any(shown.row.sensitive for shown in rows)),
        deleteFlag=all(shown.row.is_to_go for shown in rows),
        isrUcid=first.ucid or None,
        ingressCallId=first.call_id or None,
        egressCallId=first.egress_call_id or None,
        customDataSets=_custom(custom),
        segments=[{"segment": segment(shown, rows[0])} for shown in rows],
    )


def segment(shown: Shown, first: Shown | None = None) -> Tree:
    """One recording as the segment of a call, the content of `<segment>`.

    `first`: the first of the call, whose recordingId is the call's; None: it is that itself. One
    that is live has no segmentId yet, but a tmpRecordingId.
    """
    row, first = shown.row, first or shown
    elements = recording(shown)
    elements |= {
        "segmentId": None if shown.tmp_id else row.number,
        "recordingId": None if first.tmp_id else first.row.number,
        "sequence": row.segment,
        "locationId": elements["location"],
        "accountId": row.account,
        "routeId": row.route,
        "start": elements["startTime"],
        "end": time(row.ended_at) if row.ended_at else None,
        "checksumMismatch": False,
        "securedMedia": False,
    }
    return _stated(**{name: elements.get(name) for name in _SEGMENT})
