"""Frozen rows: what the catalogue stores and returns, and what a sidecar beside a spool holds.

All times are aware UTC datetimes; all durations are milliseconds.
"""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Participant:
    """A party of the recorded call (RFC 7865 6.5)."""

    participant_id: str
    aor: str = ""
    """Address of record, verbatim."""
    name: str = ""


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
    """One recording, live or finished."""

    id: str
    session_id: str
    call_id: str
    """Call-ID of the recording session."""
    status: str
    """`recording`, `processing`, `complete`, `partial` or `failed`."""
    started_at: datetime
    reason: str = ""
    """Why it is partial or failed, e.g. `crash`, `no_media`, `enospc`."""
    ended_at: datetime | None = None
    duration_ms: int = 0
    paused_ms: int = 0
    paused_at_end: bool = False
    """It ended, or was cut off, while paused: the same call starts paused again."""
    from_aor: str = ""
    to_aor: str = ""
    siprec_session_ids: tuple[str, ...] = ()
    """session_id values of the metadata (RFC 7865 6.3)."""
    participants: tuple[Participant, ...] = ()
    streams: tuple[StreamRecord, ...] = ()
    pauses: tuple[Pause, ...] = ()
    marks: tuple[Mark, ...] = ()
    warnings: tuple[str, ...] = ()
    files: tuple[FileRecord, ...] = ()
    history: tuple[AuditEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordingQuery:
    """Which recordings to list; every criterion given must match."""

    status: str | None = None
    call_id: str | None = None
    session_id: str | None = None
    aor: str | None = None
    """Exact address of record of any participant."""
    started_after: datetime | None = None
    """Inclusive."""
    started_before: datetime | None = None
    """Exclusive."""
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of recordings, newest first, and the cursor of the next or None."""

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
