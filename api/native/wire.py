"""The JSON of the native interface: what is asked and what is answered, as typed values.

Times are RFC 3339 in UTC with milliseconds. `api.native.encode` makes the answers out of what the
core holds.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from siprec.session import Action, State

PREFIX = "/srs/v1"

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}(?!\n)$")]
"""`$` alone lets a line feed follow."""
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Place = Annotated[str, Meta(pattern=r"^[0-9]{1,17}-[A-Za-z0-9_-]{1,64}(?!\n)$")]
"""Where a page of live sessions ended: microseconds since 1970 and id of its last one."""
Moment = Annotated[datetime, Meta(tz=True)]
Text = Annotated[str, Meta(max_length=1024)]
Wanted = Annotated[str, Meta(min_length=1, max_length=1024)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Status = Literal["recording", "processing", "complete", "partial", "failed"]


# what is asked


class FindSessions(Struct, frozen=True, forbid_unknown_fields=True):
    """Which live sessions to list; every criterion given must match."""

    state: State | UnsetType = UNSET
    call_id: Wanted | UnsetType = UNSET
    aor: Wanted | UnsetType = UNSET
    limit: Limit = 50
    cursor: Place | UnsetType = UNSET


class OneSession(Struct, frozen=True, forbid_unknown_fields=True):
    """One live session."""

    session_id: Id


class Control(Struct, frozen=True, forbid_unknown_fields=True):
    """A command to a live session.

    `fill` is for pause; without it the route decides. `text` is for mark; `prebuffer` for start:
    include what was just said, as far as the route keeps it. `discard` has all recordings of the
    call deleted once it has ended, unless `save` takes that back; it needs the permission `delete`.
    """

    session_id: Id
    action: Action
    fill: Literal["silence", "cut"] | UnsetType = UNSET
    reason: Text = ""
    text: Text = ""
    prebuffer: bool = False


class Watch(Struct, frozen=True, forbid_unknown_fields=True):
    """The stream of events; `access_token` is for clients that cannot set headers."""

    access_token: Wanted | UnsetType = UNSET


class RaiseEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """An event that policies are about, and the call it concerns.

    `ucid`: universal or ingress call id of the call; `called_aors` stand for those of the call.
    """

    event: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}(?!\n)$")]
    ucid: Text = ""
    called_aors: Annotated[list[Text], Meta(max_length=64)] = field(default_factory=list)


# what is answered


class Raised(Struct, frozen=True):
    """How many actions of policies were started."""

    actions: int


class Participant(Struct, frozen=True):
    """A party of the recorded call."""

    participant_id: str
    aor: str
    name: str


class Mark(Struct, frozen=True):
    """A point somebody marked."""

    at: Timestamp
    text: str


class Pause(Struct, frozen=True):
    """A span in which nothing was recorded; `ended_at` is null while it lasts."""

    started_at: Timestamp
    ended_at: Timestamp | None
    fill: str


class SessionStream(Struct, frozen=True):
    """One audio stream of a live session; its figures are null when they are not known now."""

    stream_id: str
    label: str
    port: int
    encodings: list[str]
    active: bool
    packets: int | None
    lost: int | None
    duplicates: int | None
    jitter_ms: float | None
    participant_id: str | UnsetType = UNSET


class Session(Struct, frozen=True):
    """A live session; `recording_id` is null while none is open."""

    id: str
    call_id: str
    account: int
    route: int
    record: Literal["always", "on_demand", "never"]
    """What the route says of such calls; a call drawn out by its percentage is `on_demand`."""
    ani: str
    dnis: str
    ucid: str
    egress_call_id: str
    realm: str
    prebuffer_ms: int
    """How much of what was just said a start could include."""
    state: State
    marking: Literal["", "mark", "unmark"]
    saving: Literal["", "save", "discard"]
    """What somebody said is to become of its recordings."""
    discards: bool
    """Its recordings are deleted once the call has ended."""
    owner: str
    """E-mail address of the user whose line it is; empty: nobody's."""
    direction: Literal["", "incoming", "outgoing"]
    platform: str
    """Name of the recording platform it came over; empty: none."""
    recording_id: str | None
    started_at: Timestamp
    duration_ms: int
    paused_ms: int
    from_aor: str
    to_aor: str
    participants: list[Participant]
    streams: list[SessionStream]
    pauses: list[Pause]
    marks: list[Mark]
    warnings: list[str]


class SessionList(Struct, frozen=True):
    """Live sessions, newest first."""

    items: list[Session]
    next: str | None


class Event(Struct, frozen=True):
    """One change of a session or a recording, as a text message of the event stream."""

    type: str
    at: Timestamp
    session_id: str
    recording_id: str
    call_id: str
    actor: str
    reason: str
    account: int
