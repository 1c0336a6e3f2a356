"""What other systems set up here: recording platforms and playback integrations.

Also what all entries are made of; the rest of the directory is in `storage.entries`.
"""

import re
from ipaddress import ip_address
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:@/+-]{0,99}(?!\n)$")]
Text = Annotated[str, Meta(max_length=255)]
Number = Annotated[int, Meta(ge=1, le=2_000_000_000)]
PlatformName = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,80}(?!\n)$")]

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\.?\Z){_LABEL}\.?", re.ASCII)
"""Names of hosts as they are in use (RFC 1123 section 2.1, with underscores); the last label of
none is a number."""


def is_host(text: str) -> bool:
    """Whether it is an IP address, without brackets or scope, or can be the name of a host."""
    try:
        ip_address(text)
    except ValueError:
        return _HOST.fullmatch(text) is not None
    return "%" not in text


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all entries."""


class RecordingPlatform(Entry, frozen=True, forbid_unknown_fields=True):
    """A recorder as a telephony platform knows it: one of our listeners, or another recorder."""

    name: PlatformName
    net_address: Annotated[str, Meta(pattern=r"^[!-~]{1,80}(?!\n)$")]
    """IP address, host or domain: `is_host`."""
    media_stream: Literal["Dual", "Single"]
    """The subscriber's media and the others' apart, or all in one stream."""
    transport_protocol: Literal["UDP", "TCP", "Unspecified"]
    schema_version: Literal["1.0", "2.0", "3.0"]
    """Of the extension metadata that is sent."""
    support_video_recording: bool
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    """None: 5060."""
    description: Annotated[str, Meta(max_length=80)] = ""


class RecordingProperties(Entry, frozen=True, forbid_unknown_fields=True):
    """What holds for all recording platforms. There is one such entry, with key `system`."""

    default_platform: PlatformName | None = None
    continue_call_after_recording_failure: bool = True
    """A call that cannot be recorded is accepted all the same, and flagged; else refused or ended,
    for the platform to end the call."""
    continue_call_after_video_recording_failure: bool = True
    """The same for its video."""
    refresh_period_s: Annotated[int, Meta(ge=10, le=300)] = 60
    """Between two looks whether a platform answers."""
    max_consecutive_failures: Annotated[int, Meta(ge=1, le=10)] = 1
    """Looks without an answer after which it counts as down."""
    max_response_wait_ms: Annotated[int, Meta(ge=50, le=10_000)] = 3000
    """Within which an INVITE gets its final answer."""


class Integration(Entry, frozen=True, forbid_unknown_fields=True):
    """Where and as whom a reporting application gets recordings for playback, for a scope.

    `account` None: for all; `route` None: for all of the account.
    """

    guid: Annotated[
        str, Meta(pattern=r"^[0-9a-f]{1,16}:-?[0-9a-f]{1,8}:[0-9a-f]{1,16}:-?[0-9a-f]{1,4}(?!\n)$")
    ]
    number: Number
    """In the order they were added."""
    description: Text = ""
    type: Literal["Dubber"] = "Dubber"
    account: Number | None = None
    route: Number | None = None
    hosts: Annotated[list[Text], Meta(max_length=2)] = field(default_factory=list)
    """Host, possibly with a path; the second for when the first does not answer."""
    users: Annotated[list[Text], Meta(max_length=2)] = field(default_factory=list)
    """As whom, at each host: e-mail address of a user here."""
    parameters: Annotated[list[Text], Meta(max_length=2)] = field(default_factory=list)
