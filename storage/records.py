"""Frozen rows: what the catalogue stores and returns, and what a sidecar beside a spool holds.

All times are aware UTC datetimes; all durations are milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


class StorageError(Exception):
    """Base of what can go wrong in this room."""


class StorageUnavailable(StorageError):
    """The database or the file store does not answer now; the same call may succeed later."""


class UnknownRecording(StorageError):
    """No recording has this id."""


class UnknownFile(StorageError):
    """The file store has no file under this key."""


class InvalidQuery(StorageError):
    """A filter or cursor that cannot be used; the text says which."""


class InvalidEntry(StorageError):
    """A directory entry that cannot be used; the text names it and what is wrong."""


class UnknownEntry(StorageError):
    """The directory has no such entry."""


class NameTaken(StorageError):
    """Another recording of the same folder bears this file name."""


class OnHold(StorageError):
    """The recording is held and must not be deleted."""


@dataclass(frozen=True, slots=True)
class Extension:
    """One name of extension data with all its values, verbatim (RFC 7865 6, foreign elements)."""

    name: str
    """As clients know it, prefix included: `apkt:realm`; for a SIP header its label."""
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SiprecSession:
    """A communication session as the metadata tells of it (RFC 7865 6.3)."""

    session_id: str
    started_at: datetime | None = None
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Participant:
    """A party of the recorded call (RFC 7865 6.5)."""

    participant_id: str
    aor: str = ""
    """Address of record, verbatim."""
    name: str = ""
    extensions: tuple[Extension, ...] = ()
    calling: bool = False
    """It placed the call, as far as is known."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without media."""

    start_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One recorded m-line."""

    stream_id: str
    label: str
    channel: int = 0
    """Index in the file, 0 is left."""
    encoding: str = ""
    participant_id: str = ""
    """The first participant that sends it, empty if unknown."""
    packets: int = 0
    lost: int = 0
    duplicates: int = 0
    gaps: tuple[Gap, ...] = ()
    siprec_stream_id: str = ""
    """stream_id of the metadata (RFC 7865 6.7), empty if there was none."""
    started_at: datetime | None = None
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A finished file in the file store."""

    format: str
    """`wav`, `mp3` or `peaks`."""
    key: str
    """Name within the store; made from our own ids only."""
    size_bytes: int
    sha256: str
    channels: int = 0
    sample_rate_hz: int = 0


@dataclass(frozen=True, slots=True)
class Digit:
    """A key that was pressed (RFC 4733)."""

    key: str
    offset_ms: int
    """From the beginning of the recording's file."""
    origin: str
    """`caller`, `callee` or empty."""


@dataclass(frozen=True, slots=True)
class SupplementalFile:
    """A further file of a recording, e.g. its video."""

    number: int
    """1, 2, … within the recording."""
    kind: str
    """`video`."""
    filename: str
    file: FileRecord


@dataclass(frozen=True, slots=True)
class Pause:
    """A span in which nothing was recorded, by command."""

    started_at: datetime
    ended_at: datetime | None
    """None while it lasts, and for good if the recording ended paused."""
    fill: str
    """`silence` or `cut`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point somebody marked."""

    at: datetime
    text: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to a recording, when and why. Append only."""

    recording_id: str
    sequence: int
    """1, 2, … within the recording."""
    at: datetime
    actor: str
    action: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording, live or finished.

    A split ends one and opens the next: recordings with the same `session_id` are the segments of
    one conversation, in the order of `segment`.
    """

    id: str
    """Unguessable; also the name of spool and files."""
    session_id: str
    call_id: str
    """Call-ID of the recording session: the ingress call id."""
    status: str
    """`recording`, `processing`, `complete`, `partial` or `failed`."""
    started_at: datetime
    number: int = 0
    """1, 2, … in the order recordings came to the catalogue; 0 until then."""
    segment: int = 1
    """1, 2, … within the live session."""
    node: int = 1
    """Number of the recorder that made it and has its files."""
    account: int = 1
    route: int = 1
    profile: str = "default"
    """Format profile, a key of `storage.entries.PROFILES`."""
    reason: str = ""
    """Why it is partial or failed, e.g. `crash`, `no_media`, `enospc`."""
    ended_at: datetime | None = None
    duration_ms: int = 0
    paused_ms: int = 0
    paused_at_end: bool = False
    """It ended, or was cut off, while paused: the same call starts paused again."""
    filename: str = ""
    """What people call it; never a path, and unrelated to the name of the stored file."""
    previous_filename: str = ""
    from_aor: str = ""
    to_aor: str = ""
    ani: str = ""
    """Who calls: the user part of the caller's address."""
    dnis: str = ""
    """Who is called."""
    ucid: str = ""
    """Universal call id; empty unless the client states one (`siprec.identity`)."""
    egress_call_id: str = ""
    realm: str = ""
    """The realm the client names in its extension data, the first of several."""
    third_party_id: str = ""
    """Session id of another system, e.g. of a screen recorder."""
    agent_id: str = ""
    agent_terminal: str = ""
    note: str = ""
    sensitive: bool = False
    never_expire: bool = False
    """Retention passes it over."""
    hold: bool = False
    """Nobody and nothing may delete it."""
    deleting: bool = False
    """Its deletion was asked for and goes on until files and row are gone."""
    discard: bool = False
    """It is deleted once its call has ended."""
    owner: str = ""
    """E-mail address of the user whose line was recorded; empty if it is nobody's."""
    local_party: str = ""
    """The number recorded for: the owner's line, else the called party."""
    remote_party: str = ""
    """The other number."""
    direction: str = ""
    """`incoming` or `outgoing` for the owner; empty if it has none."""
    custom: dict[str, str] = field(default_factory=dict)
    """Custom data, by the names the directory defines."""
    siprec_sessions: tuple[SiprecSession, ...] = ()
    participants: tuple[Participant, ...] = ()
    streams: tuple[StreamRecord, ...] = ()
    pauses: tuple[Pause, ...] = ()
    marks: tuple[Mark, ...] = ()
    digits: tuple[Digit, ...] = ()
    warnings: tuple[str, ...] = ()
    files: tuple[FileRecord, ...] = ()
    supplemental_files: tuple[SupplementalFile, ...] = ()
    history: tuple[AuditEntry, ...] = ()

    @property
    def siprec_session_ids(self) -> tuple[str, ...]:
        """session_id values of the metadata (RFC 7865 6.3)."""
        return tuple(session.session_id for session in self.siprec_sessions)

    @property
    def is_finished(self) -> bool:
        """It has ended, and its files are as they will be."""
        return self.status not in {"recording", "processing"}

    @property
    def is_to_go(self) -> bool:
        """It is being deleted, or will be once its call has ended."""
        return self.deleting or self.discard

    @property
    def has_video(self) -> bool:
        """There is a video file."""
        return any(file.kind == "video" for file in self.supplemental_files)


@dataclass(frozen=True, slots=True)
class RecordingQuery:
    """Which recordings to list; every criterion given must match, exactly and with its case.

    The case of `local_party` and `remote_party` does not count (`storage.tables.FOLDED`).
    """

    accounts: frozenset[int] | None = None
    """Only recordings of these; None: of all."""
    status: str | None = None
    statuses: frozenset[str] | None = None
    """Any of them."""
    number: int | None = None
    call_id: str | None = None
    """The ingress call id."""
    egress_call_id: str | None = None
    ucid: str | None = None
    any_ucid: str | None = None
    """Either `ucid` or `call_id`."""
    session_id: str | None = None
    siprec_session_id: str | None = None
    third_party_id: str | None = None
    ani: str | None = None
    dnis: str | None = None
    filename: str | None = None
    agent_id: str | None = None
    realm: str | None = None
    owner: str | None = None
    local_party: str | None = None
    remote_party: str | None = None
    remote_party_contains: str | None = None
    """Somewhere in it; of one too long for an index only the beginning is looked at."""
    direction: str | None = None
    routes: frozenset[int] | None = None
    aor: str | None = None
    """Address of record of any participant; a leading `sip:` or `sips:` does not count."""
    custom: Mapping[str, str] = field(default_factory=dict)
    extensions: Mapping[str, str] = field(default_factory=dict)
    """Name -> value of extension data of any session, participant or stream."""
    has_video: bool | None = None
    audio_only: bool | None = None
    """True: no supplemental files; False: some."""
    started_after: datetime | None = None
    """Inclusive."""
    started_before: datetime | None = None
    """Exclusive."""
    ended_after: datetime | None = None
    """Inclusive. What has not ended yet did neither after nor before anything."""
    ended_before: datetime | None = None
    """Exclusive."""
    limit: int = 50
    cursor: str | None = None
    offset: int = 0
    """How many to pass over; rows added meanwhile move them. With a cursor: after its place."""
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of recordings, newest first unless asked otherwise, and the next one's cursor."""

    items: tuple[Recording, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A bearer key of the control API; only its SHA-256 is kept."""

    name: str
    role: str
    """`control`, `operator` or `admin`."""
    sha256: str
    created_at: datetime
    account: int = 1
    """Whose recordings it may see; 1, the System account: all."""
