"""The configuration tree: every key with its type, default and unit.

`config.load` fills it from a TOML file and the environment; `examples/srs.toml` shows all of it.
Constraints live beside the fields, so that a wrong value is named by the decoder itself.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Port = Annotated[int, Meta(ge=1, le=65535)]
Milliseconds = Annotated[int, Meta(ge=0, le=60_000)]


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


class Storage(Struct, frozen=True, forbid_unknown_fields=True):
    """`[storage]`: what must survive a restart."""

    database: str = "sqlite:///data/siprecd.db"
    """Catalogue of recordings: `sqlite:///RELATIVE` or `sqlite:////ABSOLUTE`."""
    recordings: str = "file://data/recordings"
    """Finished files: `file://FOLDER`, relative to the working directory or absolute."""
    spool: str = "data/spool"
    """Folder of growing recordings; keep it on a local disk."""


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


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """`[log]`: one line per event on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level written."""
    format: Literal["json", "console"] = "json"
    """JSON for machines, console for eyes."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything `siprecd` can be told."""

    sip: Sip = Sip()
    media: Media = Media()
    api: Api = Api()
    storage: Storage = Storage()
    render: Render = Render()
    log: Log = Log()
