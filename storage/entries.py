"""What a directory holds: accounts, routes, users, and what else an operator sets up.

Plain typed values, the same in a directory file, in the native interface and in the database
(`storage.directory`). Passwords are not here (`storage.users`), nor are calls.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, get_args

from msgspec import Meta, Struct, field, structs

from storage import platforms
from storage.platforms import Integration, PlatformName, RecordingPlatform, RecordingProperties

Entry: TypeAlias = platforms.Entry
Name: TypeAlias = platforms.Name
Number: TypeAlias = platforms.Number
Text: TypeAlias = platforms.Text

SYSTEM_ACCOUNT = 1
"""The account that is always there; who belongs to it sees all accounts."""
DEFAULT_ROUTE = 1
"""The route that is always there and takes what no other takes."""
SYSTEM = "system"
"""Key of the one entry there is of a kind."""
KEEP = "***"
"""Shown in place of a secret; where it is written back, the secret stays as it was."""

Days = Annotated[int, Meta(ge=0, le=36_500)]
"""0: for ever."""
Url = Annotated[str, Meta(pattern=r"^https?://[!-~]{1,2000}(?!\n)$")]
MediaType = Annotated[str, Meta(pattern=r"^[a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}(?!\n)$")]

Profile = Literal["default", "smallest", "small", "best_quality", "firefox_compatible"]
Fill = Literal["silence", "cut"]
Record = Literal["always", "on_demand", "never"]
Permission = Literal["control", "playback", "download", "delete", "edit", "video"]
UserType = Literal["api", "admin", "tenant"]
Direction = Literal["incoming", "outgoing"]
Traffic = Literal["internal", "external"]

DEFAULT_PERMISSIONS: Mapping[UserType, frozenset[Permission]] = MappingProxyType(
    {
        "admin": frozenset(get_args(Permission)),
        "api": frozenset(get_args(Permission)) - {"delete"},
        "tenant": frozenset({"playback", "download"}),
    }
)
"""What users may do unless their entry says."""

RECORDING_EVENTS = (
    "RECORDING_STARTED_EVENT",
    "RECORDING_PAUSED_EVENT",
    "RECORDING_RESUMED_EVENT",
    "RECORDING_ENDED_EVENT",
)
"""What destinations can be told of."""

PARAMETERS = (
    "EVENT",
    "EVENT_ID",
    "SESSION_ID",
    "ANI",
    "DNIS",
    "ISR_UCID",
    "INGRESS_CALLID",
    "EGRESS_CALLID",
    "UNKNOWN_UCID",
    "CALL_ID",
    "RESULT",
    "FILENAME",
    "START_TIME",
    "END_TIME",
    "DURATION",
    "PAUSE_LENGTH",
    "PAUSE_SILENCE",
    "CALLING_AORS",
    "CALLED_AORS",
)
"""What can be told of an event, by the names destinations ask for."""


class Format(Struct, frozen=True):
    """What a format profile makes of a recording on request, beside the WAV that always is."""

    bitrate_kbps: int
    channels: Literal["mono", "split"]


PROFILES: Mapping[str, Format | None] = MappingProxyType(
    {
        "default": None,
        "smallest": Format(16, "mono"),
        "small": Format(24, "mono"),
        "best_quality": Format(128, "split"),
        "firefox_compatible": Format(64, "mono"),
    }
)
"""Format profile -> MP3 it makes; None: as `[render]` of the configuration says."""


class Account(Entry, frozen=True, forbid_unknown_fields=True):
    """A tenant: what its routes and users have in common."""

    number: Number
    name: Text = ""
    retention_days: Days = 0
    """How long recordings are kept after their end; 0: for ever."""
    profile: Profile = "default"
    pause_fill: Fill = "silence"
    """What a pause leaves in the file, unless the command says."""
    dtmf_mask: bool = False
    """Pressed keys are not kept."""
    video_access: bool = True
    save_by_default: bool = True
    """Recordings stay after their call unless somebody discards them; else only if somebody saves
    them."""
    agents_may_control: bool = True
    """Interfaces through which agents give commands take them."""
    channels: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Recordings at the same time beyond which `start` is refused; 0: any number. What is recorded
    from its beginning counts, but is never refused."""
    tenant: Text = ""
    """Enterprise or service provider of the telephony platform whose group this account is."""
    platform: PlatformName | None = None
    """The recording platform its calls come over; None: the default one."""


class Route(Entry, frozen=True, forbid_unknown_fields=True):
    """Which calls belong to an account, and whether they are recorded."""

    id: Number
    account: Number
    label: Text = ""
    match: Literal["from", "to", "from_or_to", "realm", "peer"] = "to"
    """What of the call is compared: the caller's or the called party's address, the realm its
    extension data names, or the network address of the recording client."""
    pattern: Annotated[str, Meta(min_length=1, max_length=255)] = "%"
    """Compared with the whole address without `sip:` and with its user part; `%` stands for any
    text. For `peer` also a network, `192.0.2.0/24`."""
    priority: Annotated[int, Meta(ge=0, le=1000)] = 5
    """The highest that matches decides; among equals the lowest id."""
    record: Record = "always"
    percent: Annotated[int, Meta(ge=0, le=100)] = 100
    """Share of the calls that `always` records."""
    prebuffer_s: Annotated[int, Meta(ge=0, le=60)] | None = None
    """How much of what was said before `start` an on-demand route keeps in memory, in case it is
    wanted; None: as `[route]` of the configuration says."""
    profile: Profile | None = None
    """None, here and below: as the account says."""
    retention_days: Days | None = None
    pause_fill: Fill | None = None
    dtmf_mask: bool | None = None
    video_access: bool | None = None
    save_by_default: bool | None = None
    agents_may_control: bool | None = None
    directions: list[Direction] = field(default_factory=list)
    """Calls in other directions, seen from the user whose line they concern, are never recorded;
    none: any."""
    traffic: list[Traffic] = field(default_factory=list)
    """Other calls are never recorded: `internal` are those between two users; none: any."""
    blocked: list[Text] = field(default_factory=list)
    """Calls with these remote parties are never recorded; `%` stands for any text."""


class User(Entry, frozen=True, forbid_unknown_fields=True):
    """A person or a program that logs in with a password."""

    email: Annotated[str, Meta(pattern=r"^[!-~]{1,64}@[!-~]{1,190}(?!\n)$")]
    account: Number
    type: UserType = "tenant"
    username: Text = ""
    level: Annotated[int, Meta(ge=0, le=10)] | None = None
    """0 to 10; None: 10 for `api` and `admin`, 2 for `tenant`."""
    permissions: list[Permission] | None = None
    """None: those of `DEFAULT_PERMISSIONS`."""
    routes: list[Number] = field(default_factory=list)
    """Routes whose recordings the user may reach; none: all of the account."""
    enabled: bool = True
    password_expires: bool = True
    lines: list[Text] = field(default_factory=list)
    """Directory numbers."""
    devices: list[Text] = field(default_factory=list)
    """Device names."""
    sip_uri: Text = ""
    first_name: Text = ""
    last_name: Text = ""
    department: Text = ""
    group: Text = ""
    """Of the people of the account, e.g. a team."""
    numeric_id: Text = ""
    """Number other systems know the user by."""


class CustomField(Entry, frozen=True, forbid_unknown_fields=True):
    """A name under which custom data can be kept with a recording."""

    name: Name
    accounts: list[Number] = field(default_factory=list)
    """Whose recordings may bear it; none: all."""
    searchable: bool = True


class MetadataType(Entry, frozen=True, forbid_unknown_fields=True):
    """A name of extension data that can be searched for. All are kept, listed here or not."""

    name: Annotated[str, Meta(pattern=r"^[!-~]{1,128}(?!\n)$")]
    """Prefix included: `apkt:realm`."""
    searchable: bool = True


class ExportTemplate(Entry, frozen=True, forbid_unknown_fields=True):
    """A text with `${field}` in it that a recording is exported as."""

    name: Name
    version: Number
    text: Annotated[str, Meta(max_length=65_536)]
    media_type: MediaType = "application/xml"


class Parameter(Struct, frozen=True, forbid_unknown_fields=True):
    """One parameter of a notification: a literal, or the value of one of `PARAMETERS`."""

    name: Annotated[str, Meta(pattern=r"^[!-~]{1,64}(?!\n)$")]
    value: str = ""
    literal: Text = ""


class Destination(Entry, frozen=True, forbid_unknown_fields=True):
    """Who is told of an event of which calls, by HTTP."""

    name: Name
    event: Literal[
        "RECORDING_STARTED_EVENT",
        "RECORDING_PAUSED_EVENT",
        "RECORDING_RESUMED_EVENT",
        "RECORDING_ENDED_EVENT",
    ]
    url: Url
    """Sent as it is, with the parameters after it."""
    scope: Literal["global", "account", "route", "realm"] = "global"
    of: Text | Number = ""
    """Number of the account or route, or name of the realm."""
    method: Literal["GET", "POST"] = "GET"
    """GET with the parameters in the query, or POST with them as a JSON object."""
    parameters: list[Parameter] = field(default_factory=list)
    """None: all of `PARAMETERS` under their own names."""
    secret: Annotated[str, Meta(max_length=255)] = ""
    """Signs what is sent (HMAC-SHA256) unless empty; never shown again.
    `***`: the one it has."""


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """Which calls a policy is about; None: any."""

    account: Number | None = None
    route: Number | None = None
    realm: Text | None = None


class PolicyAction(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing a policy does. Texts may hold `${ucid}`, `${calledAors[0].host}` and the like."""

    type: Literal[
        "HttpNotify", "StartAudio", "StopAudio", "InitiateRecordScreen", "TerminateRecordScreen"
    ]
    url: Annotated[str, Meta(max_length=2000)] = ""
    """For HttpNotify."""
    isr_ucid: Text = "${ucid}"
    """The call: for audio which to start or stop, for a screen which it belongs to."""
    screen_ip: Text = ""
    """For screens: an address, or empty for the agent's or the first called address's host."""
    agent_id: Text = ""
    """For screens: the `ScreenAgent` to look up."""


class Policy(Entry, frozen=True, forbid_unknown_fields=True):
    """What to do on an event; all policies that match do it, in the order of `position`, name."""

    name: Name
    event: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}(?!\n)$")]
    """`AudioRecordingStarted`, `AudioRecordingEnded` or a name of your own."""
    actions: list[PolicyAction]
    when: When = When()
    position: Annotated[int, Meta(ge=0, le=100_000)] = 100


class ScreenAgent(Entry, frozen=True, forbid_unknown_fields=True):
    """Where the screen of an agent is recorded."""

    agent_id: Name
    """Registered ANI or DNIS, or an agent's name."""
    address: Text
    """IP address of the screen."""
    account: Number = SYSTEM_ACCOUNT


KINDS: Mapping[str, type[Entry]] = MappingProxyType(
    {
        "platforms": RecordingPlatform,
        "recording-properties": RecordingProperties,
        "accounts": Account,
        "routes": Route,
        "users": User,
        "custom-fields": CustomField,
        "metadata-types": MetadataType,
        "templates": ExportTemplate,
        "destinations": Destination,
        "screen-agents": ScreenAgent,
        "policies": Policy,
        "integrations": Integration,
    }
)
"""Kind of entry, as in URLs and files -> its type. What entries name comes before them."""
_KIND_OF = {kind: name for name, kind in KINDS.items()}


def kind_of(entry: Entry) -> str:
    """The kind, a key of `KINDS`."""
    return _KIND_OF[type(entry)]


def shown(entry: Entry) -> Entry:
    """`entry` as people may see it: `KEEP` in place of a secret."""
    if isinstance(entry, Destination) and entry.secret:
        return structs.replace(entry, secret=KEEP)
    return entry


def key_of(entry: Entry) -> str:
    """What tells an entry from others of its kind, as text."""
    match entry:
        case Account():
            return str(entry.number)
        case Route():
            return str(entry.id)
        case User():
            return entry.email.lower()
        case ExportTemplate():
            return f"{entry.name}.{entry.version}"
        case ScreenAgent():
            return entry.agent_id
        case RecordingProperties():
            return SYSTEM
        case Integration():
            return entry.guid
    name: Any = getattr(entry, "name")  # noqa: B009 - all others have one
    return str(name)


def as_key(kind: str, text: str) -> str:
    """`text`, typed by somebody to name an entry, as `key_of` would have it."""
    return text.lower() if kind == "users" else text
