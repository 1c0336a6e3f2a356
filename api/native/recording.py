"""The JSON of recordings: what is asked and what is answered, and how each is made.

Times are RFC 3339 in UTC with milliseconds. Pure; `api.native.recordings` has the routes.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal, cast

from msgspec import UNSET, Meta, Struct, UnsetType, field, structs

from api.native.encode import marks, pauses, timestamp
from api.native.wire import PREFIX, Id, Limit, Mark, Moment, Pause, Status, Text, Timestamp, Wanted
from siprec.logbook import Changes, directory_of
from storage import records

Number = Annotated[int, Meta(ge=1)]
Pair = Annotated[str, Meta(pattern=r"^[^=]{1,128}=[\s\S]{0,1024}$")]
Pairs = Annotated[list[Pair], Meta(max_length=16)]
"""`NAME=VALUE`, each."""
Direction = Literal["", "incoming", "outgoing"]
CustomData = Annotated[dict[Wanted, Text], Meta(max_length=100)]


# what is asked


class FindRecordings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which recordings to list; every criterion given must match."""

    status: Status | UnsetType = UNSET
    statuses: list[Status] = field(default_factory=list)
    """Any of them; none: all."""
    number: Number | UnsetType = UNSET
    call_id: Wanted | UnsetType = UNSET
    egress_call_id: Wanted | UnsetType = UNSET
    ucid: Wanted | UnsetType = UNSET
    any_ucid: Wanted | UnsetType = UNSET
    session_id: Wanted | UnsetType = UNSET
    siprec_session_id: Wanted | UnsetType = UNSET
    third_party_id: Wanted | UnsetType = UNSET
    ani: Wanted | UnsetType = UNSET
    dnis: Wanted | UnsetType = UNSET
    filename: Wanted | UnsetType = UNSET
    agent_id: Wanted | UnsetType = UNSET
    realm: Wanted | UnsetType = UNSET
    owner: Wanted | UnsetType = UNSET
    local_party: Wanted | UnsetType = UNSET
    remote_party: Wanted | UnsetType = UNSET
    remote_party_contains: Wanted | UnsetType = UNSET
    direction: Direction | UnsetType = UNSET
    aor: Wanted | UnsetType = UNSET
    account: Number | UnsetType = UNSET
    route: Number | UnsetType = UNSET
    custom: Pairs = field(default_factory=list)
    extension: Pairs = field(default_factory=list)
    has_video: bool | UnsetType = UNSET
    audio_only: bool | UnsetType = UNSET
    started_after: Moment | UnsetType = UNSET
    started_before: Moment | UnsetType = UNSET
    ended_after: Moment | UnsetType = UNSET
    ended_before: Moment | UnsetType = UNSET
    limit: Limit = 50
    cursor: Wanted | UnsetType = UNSET
    oldest_first: bool = False


class OneRecording(Struct, frozen=True, forbid_unknown_fields=True):
    """One recording."""

    recording_id: Id


class OneFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The audio of one recording."""

    recording_id: Id
    format: Literal["wav", "mp3"] = "wav"


class ChangeRecording(Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of one recording; what is not there stays as it is.

    An empty value of `custom` takes the name away. `hold` and `never_expire` need role admin.
    """

    recording_id: Id
    filename: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    agent_id: Text | UnsetType = UNSET
    agent_terminal: Text | UnsetType = UNSET
    note: Text | UnsetType = UNSET
    third_party_id: Text | UnsetType = UNSET
    sensitive: bool | UnsetType = UNSET
    never_expire: bool | UnsetType = UNSET
    hold: bool | UnsetType = UNSET
    custom: CustomData = field(default_factory=dict)


# what is answered


class Extension(Struct, frozen=True):
    """One name of extension data with all its values."""

    name: str
    values: list[str]


class SiprecSession(Struct, frozen=True):
    """A communication session as the metadata tells of it (RFC 7865)."""

    session_id: str
    started_at: Timestamp | None
    extensions: list[Extension]


class RecordedParticipant(Struct, frozen=True):
    """A party of the recorded call; `calling` if it placed it."""

    participant_id: str
    aor: str
    name: str
    calling: bool
    extensions: list[Extension]


class Gap(Struct, frozen=True):
    """A stretch of a stream without media."""

    start_ms: int
    duration_ms: int


class RecordedStream(Struct, frozen=True):
    """One stream of a recording and the channel it has in the file."""

    stream_id: str
    label: str
    channel: int
    encoding: str
    participant_id: str
    packets: int
    lost: int
    duplicates: int
    gaps: list[Gap]
    siprec_stream_id: str
    started_at: Timestamp | None
    extensions: list[Extension]


class Digit(Struct, frozen=True):
    """A key that was pressed, by its place in the file."""

    key: str
    offset_ms: int
    origin: str


class File(Struct, frozen=True):
    """A finished file, to be had at `url`."""

    format: str
    size_bytes: int
    sha256: str
    channels: int
    sample_rate_hz: int
    url: str


class SupplementalFile(Struct, frozen=True):
    """A further file of a recording, e.g. its video."""

    number: int
    kind: str
    filename: str
    size_bytes: int
    sha256: str


class HistoryEntry(Struct, frozen=True):
    """Who did what to a recording, when and why."""

    at: Timestamp
    actor: str
    action: str
    reason: str


class Recording(Struct, frozen=True):
    """One recording, live or finished; `ended_at` is null while it is live.

    `number` is 0 until the recording has one. `directory` is the folder people see it in, and
    neither it nor `filename` says where anything is stored.
    """

    id: str
    number: int
    session_id: str
    segment: int
    node: int
    call_id: str
    status: Status
    reason: str
    account: int
    route: int
    profile: str
    started_at: Timestamp
    ended_at: Timestamp | None
    duration_ms: int
    paused_ms: int
    filename: str
    previous_filename: str
    directory: str
    from_aor: str
    to_aor: str
    ani: str
    dnis: str
    ucid: str
    egress_call_id: str
    realm: str
    third_party_id: str
    agent_id: str
    agent_terminal: str
    note: str
    sensitive: bool
    never_expire: bool
    hold: bool
    deleting: bool
    discard: bool
    """Deleted once its call has ended."""
    owner: str
    """E-mail address of the user whose line it was; empty: nobody's."""
    local_party: str
    remote_party: str
    direction: Direction
    has_video: bool
    custom: dict[str, str]
    siprec_sessions: list[SiprecSession]
    participants: list[RecordedParticipant]
    streams: list[RecordedStream]
    pauses: list[Pause]
    marks: list[Mark]
    digits: list[Digit]
    warnings: list[str]
    files: list[File]
    supplemental_files: list[SupplementalFile]
    history: list[HistoryEntry]


class RecordingList(Struct, frozen=True):
    """Recordings, newest first unless asked otherwise."""

    items: list[Recording]
    next: str | None


class Peaks(Struct, frozen=True):
    """Waveform of a recording: for each channel the largest amplitude, 0 to 1, of each span."""

    sample_rate_hz: int
    samples_per_peak: int
    channels: list[list[float]]


# from the one to the other


def query(ask: FindRecordings) -> records.RecordingQuery:
    """What is asked of the library. Raises InvalidQuery."""
    return records.RecordingQuery(
        **{name: value for name in _SAME if (value := getattr(ask, name)) is not UNSET},
        accounts=_only(ask.account),
        routes=_only(ask.route),
        custom=_pairs("custom", ask.custom),
        extensions=_pairs("extension", ask.extension),
        started_after=_utc(ask.started_after),
        started_before=_utc(ask.started_before),
        ended_after=_utc(ask.ended_after),
        ended_before=_utc(ask.ended_before),
        statuses=frozenset(ask.statuses) or None,
    )


def changes(ask: ChangeRecording) -> Changes:
    """What is to be changed."""
    asked = structs.asdict(ask)
    del asked["recording_id"]
    return Changes(**{name: value for name, value in asked.items() if value is not UNSET})


def recording(row: records.Recording) -> Recording:
    """A recording, live or stored."""
    same = {name: getattr(row, name) for name in _PLAIN}
    return Recording(
        **same,
        status=cast(Status, row.status),
        started_at=timestamp(row.started_at),
        ended_at=_moment(row.ended_at),
        directory=directory_of(row),
        direction=cast(Direction, row.direction),
        siprec_sessions=[
            SiprecSession(each.session_id, _moment(each.started_at), _extensions(each.extensions))
            for each in row.siprec_sessions
        ],
        participants=[
            RecordedParticipant(
                each.participant_id,
                each.aor,
                each.name,
                each.calling,
                _extensions(each.extensions),
            )
            for each in row.participants
        ],
        streams=[_stream(each) for each in row.streams],
        pauses=pauses(row.pauses),
        marks=marks(row.marks),
        digits=[Digit(each.key, each.offset_ms, each.origin) for each in row.digits],
        warnings=[*row.warnings],
        files=[_file(row.id, each) for each in row.files],
        supplemental_files=[
            SupplementalFile(
                each.number, each.kind, each.filename, each.file.size_bytes, each.file.sha256
            )
            for each in row.supplemental_files
        ],
        history=[
            HistoryEntry(timestamp(each.at), each.actor, each.action, each.reason)
            for each in row.history
        ],
    )


_SAME = {each.name for each in structs.fields(FindRecordings)} & {
    *records.RecordingQuery.__slots__
} - {"custom", "statuses", "started_after", "started_before", "ended_after", "ended_before"}
"""Criteria that are asked for as they are."""
_PLAIN = tuple(
    each.name
    for each in structs.fields(Recording)
    if each.type in (str, int, bool, dict[str, str]) and each.name != "directory"
)
"""Fields that are answered as they are."""


def _only(number: int | UnsetType) -> frozenset[int] | None:
    return frozenset({number}) if isinstance(number, int) else None


def _pairs(name: str, pairs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, _, value in (pair.partition("=") for pair in pairs):
        if found.setdefault(key, value) != value:
            raise records.InvalidQuery(f"{name}: {key} cannot have two values")
    return found


def _utc(moment: datetime | UnsetType) -> datetime | None:
    try:
        return moment.astimezone(UTC) if isinstance(moment, datetime) else None
    except OverflowError:
        raise records.InvalidQuery("this time is outside the years 1 to 9999") from None


def _moment(at: datetime | None) -> str | None:
    return timestamp(at) if at else None


def _extensions(extensions: Iterable[records.Extension]) -> list[Extension]:
    return [Extension(each.name, [*each.values]) for each in extensions]


def _stream(stream: records.StreamRecord) -> RecordedStream:
    return RecordedStream(
        stream_id=stream.stream_id,
        label=stream.label,
        channel=stream.channel,
        encoding=stream.encoding,
        participant_id=stream.participant_id,
        packets=stream.packets,
        lost=stream.lost,
        duplicates=stream.duplicates,
        gaps=[Gap(gap.start_ms, gap.duration_ms) for gap in stream.gaps],
        siprec_stream_id=stream.siprec_stream_id,
        started_at=_moment(stream.started_at),
        extensions=_extensions(stream.extensions),
    )


def _file(recording_id: str, file: records.FileRecord) -> File:
    path = "peaks" if file.format == "peaks" else f"media?format={file.format}"
    return File(
        format=file.format,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        channels=file.channels,
        sample_rate_hz=file.sample_rate_hz,
        url=f"{PREFIX}/recordings/{recording_id}/{path}",
    )
