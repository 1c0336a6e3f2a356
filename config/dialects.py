"""The part of the configuration tree about the published interfaces: `[api.dialects]` and below.

The rest is in `config.schema`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field


class Dialects(Struct, frozen=True, forbid_unknown_fields=True):
    """`[api.dialects]`: which published interfaces are served beside the native one."""

    face: bool = True
    """Oracle ISR FACE, below `/Face`."""
    anywherenow: bool = True
    """AnywhereNow REST recording interface and its SignalR hubs, below `/attendantservice`."""
    imagicle: bool = True
    """Imagicle product integration, below `/fw/Apps/Recorder/WebAPI`."""
    apio: bool = True
    """BroadWorks recording platforms as Apio has them, below `/api/v1/system`."""
    akixi: bool = True
    """Akixi recording integration entries, below `/CCS/API`."""


class Face(Struct, frozen=True, forbid_unknown_fields=True):
    """`[api.face]`: the Oracle ISR FACE interface."""

    listen: str = ""
    """`HOST:PORT` for this interface alone; empty: with the others on that of `[api]`."""
    release: Literal["6.1", "6.4"] = "6.1"
    """Whose commands and answers: 6.4 has `split` and shows a call's recordings as segments."""
    allow: list[str] = field(default_factory=list)
    """Networks whose clients may use it; empty: any. Others get code 2."""
    allow_events: list[str] = field(default_factory=lambda: ["127.0.0.0/8", "::1/128"])
    """Networks whose clients need no token for eventNotify, StartScreenCapture and
    StopScreenCapture. Others get code 2, unless they send one."""
    always_http_200: bool = False
    """Answer with HTTP status 200 where it would be 401, 404, 405 or 429."""
    require_ani_dnis: bool = False
    """Commands to live calls need `ani` and `dnis`, as in releases long ago (codes 6 and 7)."""
    recordings_url: str = ""
    """What URLs in exports begin with; empty: where the request came to, `/Face/Recordings/`."""


class AnywhereNow(Struct, frozen=True, forbid_unknown_fields=True):
    """`[api.anywherenow]`: the AnywhereNow interface."""

    listen: str = ""
    """`HOST:PORT` for this interface alone; empty: with the others on that of `[api]`."""
    auth: Literal["bearer", "none"] = "bearer"
    """Whether clients need a token; `none` holds for the networks of `allow` only."""
    allow: list[str] = field(default_factory=lambda: ["127.0.0.0/8", "::1/128"])
    """Networks whose clients need no token if `auth` is `none`."""
    hub: str = "/attendantservice/hubs/recording"
    """Path of the ASP.NET Core SignalR hub."""
    signalr: str = "/attendantservice/signalr"
    """Path of the ASP.NET SignalR 2 endpoint."""
    issuer: str = ""
    """Whose JSON Web Tokens are taken beside our own tokens; empty: nobody's."""
    jwks: str = ""
    """Where the keys of the issuer are: `https://…` or a file."""
    audience: str = ""
    """For whom its tokens must be; empty: for anybody."""
    user_claim: Annotated[str, Meta(min_length=1)] = "preferred_username"
    """What of its tokens names our user, by e-mail address or user name."""


class Imagicle(Struct, frozen=True, forbid_unknown_fields=True):
    """`[api.imagicle]`: the Imagicle interface."""

    listen: str = ""
    """`HOST:PORT` for this interface alone; empty: with the others on that of `[api]`."""
    stereo_uploads: bool = False
    """Stereo uploads stay stereo, instead of being mixed."""
    upload_mb: Annotated[int, Meta(ge=1, le=4096)] = 256
    """Largest upload, in MiB."""
    start_own_line: bool = False
    """A start that names no line starts the recording of the user's own."""


class Apio(Struct, frozen=True, forbid_unknown_fields=True):
    """`[api.apio]`: the interface to BroadWorks recording platforms."""

    listen: str = ""
    """`HOST:PORT` for this interface alone; empty: with the others on that of `[api]`."""


class Akixi(Struct, frozen=True, forbid_unknown_fields=True):
    """`[api.akixi]`: the Akixi interface."""

    listen: str = ""
    """`HOST:PORT` for this interface alone; empty: with the others on that of `[api]`."""
    administration: bool = True
    """Whether entries can be added, changed and removed; else code 10700."""
    session_minutes: Annotated[int, Meta(ge=1, le=1440)] = 30
    """How long a session may be idle."""
