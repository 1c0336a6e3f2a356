"""The configuration tree: every key with its type, default and unit.

`config.load` fills it from a TOML file and the environment; `examples/srs.toml` shows all of it.
Constraints live beside the fields, so that a wrong value is named by the decoder itself.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from config.dialects import Akixi, AnywhereNow, Apio, Dialects, Face, Imagicle

Port = Annotated[int, Meta(ge=1, le=65535)]
Milliseconds = Annotated[int, Meta(ge=0, le=60_000)]

SELF_SIGNED = "self-signed"
"""Instead of the file of a certificate."""


class ConfigError(Exception):
    """A configuration that cannot be used; the text names the file, the key and the reason."""


class Sip(Struct, frozen=True, forbid_unknown_fields=True):
    """`[sip]`: where session recording clients reach us and whom we record."""

    listen: list[str] = field(
        default_factory=lambda: ["udp://127.0.0.1:5060", "tcp://127.0.0.1:5060"]
    )
    """Listeners as `udp://HOST:PORT` or `tcp://HOST:PORT`; port 0 takes a free one."""
    advertise: str = ""
    """Host written into Contact and SDP instead of the local address; empty: the local address."""
    accept: Literal["lenient", "strict", "any"] = "lenient"
    """Which INVITEs are recording sessions: any one sign of SIPREC, RFC 7866 6.2 to the letter,
    or every INVITE with SDP. Others get 403."""
    answer_delay_ms: Annotated[int, Meta(ge=0, le=150)] = 5
    """The 200 to an INVITE leaves no earlier than this after it came: some clients lose track of a
    call answered within a millisecond."""
    drain_s: Annotated[int, Meta(ge=0, le=86_400)] = 30
    """On SIGTERM, how long live calls may go on before we hang up."""
    ucid_header: Annotated[str, Meta(pattern=r"^[!-9;-~]{1,64}$")] = "X-ISR-UCID"
    """Header of the INVITE, or label of a header in its extension data, that holds the call's
    universal id (UCID). `Call-ID` makes it the Call-ID."""


class Route(Struct, frozen=True, forbid_unknown_fields=True):
    """`[route]`: what holds for routes of the directory that do not say otherwise."""

    prebuffer_s: Annotated[int, Meta(ge=0, le=60)] = 0
    """How much of what was said before `start` an on-demand route keeps in memory, in case it is
    wanted. About 16 kB a second and call."""
    seed: str = ""
    """Changes which calls a route with `percent` below 100 takes. Nodes shall have the same."""


class Media(Struct, frozen=True, forbid_unknown_fields=True):
    """`[media]`: where RTP arrives and how often it is collected."""

    address: str = "127.0.0.1"
    """Local address the RTP and RTCP sockets are bound to."""
    port_min: Port = 20_000
    """First port of the range; each stream takes an even port and the odd one above it."""
    port_max: Port = 29_999
    """Last port of the range."""
    tick_ms: Annotated[int, Meta(ge=10, le=500)] = 100
    """Time between two sweeps over the sockets. Longer is cheaper; a pause is exact anyway."""


class Api(Struct, frozen=True, forbid_unknown_fields=True):
    """`[api]`: the HTTP control interface."""

    listen: str = "127.0.0.1:8080"
    """`HOST:PORT`; port 0 takes a free one."""
    certificate: str = ""
    """PEM file with certificate and chain: the interface is HTTPS. Empty: plain HTTP.
    `self-signed`: one that is made at the first start and kept beside the spool, for trials."""
    key: str = ""
    """PEM file of its private key; empty: it is in the file of the certificate."""
    proxies: list[str] = field(default_factory=list)
    """Networks of reverse proxies whose X-Forwarded-For is believed; empty: nobody's."""
    dialects: Dialects = Dialects()
    face: Face = Face()
    anywherenow: AnywhereNow = AnywhereNow()
    imagicle: Imagicle = Imagicle()
    apio: Apio = Apio()
    akixi: Akixi = Akixi()


class Users(Struct, frozen=True, forbid_unknown_fields=True):
    """`[users]`: people and programs that log in with a password."""

    password_min_length: Annotated[int, Meta(ge=8, le=128)] = 12
    """Characters a new password needs."""
    password_days: Annotated[int, Meta(ge=0, le=3650)] = 90
    """How long a password holds; 0: for ever."""
    lock_after: Annotated[int, Meta(ge=1, le=10)] = 10
    """Failed logins in a row after which a user is locked. Tokens already given stay valid."""
    lock_minutes: Annotated[int, Meta(ge=30, le=100_000)] = 30
    """How long a user stays locked."""
    token_s: Annotated[int, Meta(ge=60, le=2_592_000)] = 86_400
    """Longest time a token holds."""


class Storage(Struct, frozen=True, forbid_unknown_fields=True):
    """`[storage]`: what must survive a restart."""

    database: str = "sqlite:///data/siprecd.db"
    """Catalogue and directory: `sqlite:///RELATIVE`, `sqlite:////ABSOLUTE`, or
    `postgresql://USER:PASSWORD@HOST/NAME`."""
    recordings: str = "file://data/recordings"
    """Finished files: `file://FOLDER`, relative to the working directory or absolute."""
    spool: str = "data/spool"
    """Folder of growing recordings; keep it on a local disk."""
    node: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    """Number of this recorder; must differ among those that share a database."""


class Render(Struct, frozen=True, forbid_unknown_fields=True):
    """`[render]`: finished files made from what was received."""

    mp3: Literal["on_request", "at_end"] = "on_request"
    """When the MP3 of a recording is made."""
    mp3_channels: Literal["mono", "split"] = "mono"
    """All streams mixed into one channel, or (two streams) caller left and callee right."""
    mp3_bitrate_kbps: Annotated[int, Meta(ge=8, le=320)] = 32
    """Bit rate of the MP3."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """Low-priority processes that render."""


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """`[retention]`: how recordings that are due are deleted."""

    every_minutes: Annotated[int, Meta(ge=0, le=10_080)] = 60
    """How often the server looks; 0: never, for those who call `siprecd retention` themselves."""
    guard_percent: Annotated[int, Meta(ge=1, le=100)] = 1
    """Most of all recordings that one run may delete unasked. More than that, and more than 100,
    waits for `siprecd retention --confirm`: a clock or a rule may be wrong."""


class Notify(Struct, frozen=True, forbid_unknown_fields=True):
    """`[notify]`: requests that the recorder itself sends, to event destinations and screens."""

    allow: list[str] = field(default_factory=list)
    """Networks that may be called although they are private, local or reserved: `10.1.0.0/16`."""
    timeout_s: Annotated[int, Meta(ge=1, le=60)] = 5
    """For one attempt."""
    retry_max_s: Annotated[int, Meta(ge=1, le=3600)] = 60
    """Longest pause between attempts; the first is a fifth of a second, and each doubles it."""
    give_up_hours: Annotated[int, Meta(ge=1, le=720)] = 72
    """When what could not be delivered becomes a dead letter."""


class Screen(Struct, frozen=True, forbid_unknown_fields=True):
    """`[screen]`: the recorder of agents' screens, if there is one.

    `{ip}` and `{isr_id}` are replaced in the URLs, percent-encoded; as the host, `{ip}` becomes the
    bare address.
    """

    start_url: str = ""
    """Starts a screen recording; empty: there is no screen recorder."""
    stop_url: str = ""
    """Stops it."""
    method: Literal["GET", "POST"] = "POST"
    """Of both requests."""
    session_id: str = "$.sessionId"
    """Where in the JSON answer to the start the session id is: names after `$`, joined by dots.
    Empty: the whole answer as text."""


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """`[log]`: one line per event on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level written."""
    format: Literal["json", "console"] = "json"
    """JSON for machines, console for eyes."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything `siprecd` can be told."""

    sip: Sip = Sip()
    route: Route = Route()
    media: Media = Media()
    api: Api = Api()
    users: Users = Users()
    storage: Storage = Storage()
    render: Render = Render()
    retention: Retention = Retention()
    notify: Notify = Notify()
    screen: Screen = Screen()
    log: Log = Log()
