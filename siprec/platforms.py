"""Recording platforms: which of them a call came over, and what was agreed for such calls.

Pure: the directory is an argument. A call that came over none is treated as if there were no
platforms at all. Counterparts: `storage.platforms` has the entries, `siprec.platform_watch` looks
whether they answer.
"""

from dataclasses import dataclass, replace
from ipaddress import ip_address

from siprec.elements import Extended
from siprec.metadata import Document
from siprec.negotiation import Plan
from siprec.sdp import SessionDescription
from siprec.session import Offer, Refused
from siprec.sip.routing import DEFAULT_PORT
from storage.directory import Entries
from storage.platforms import RecordingPlatform, RecordingProperties

STREAMS = {"Dual": 2, "Single": 1}
"""Media streams a call has."""
SCHEMA_VERSION = "schemaversion"
"""Name of extension data, without prefix and in lower case, that states its version."""
FATAL = frozenset({"enospc", "spool_write_failed", "media_gone"})
"""What the media process tells of a recording when all that follows is lost."""

WILDCARDS = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Agreement:
    """What holds for a call that came over a platform."""

    platform: RecordingPlatform
    properties: RecordingProperties

    @property
    def is_dual(self) -> bool:
        """Whether the subscriber's media is a stream of its own."""
        return self.platform.media_stream == "Dual"

    @property
    def outlasts_failure(self) -> bool:
        """Whether the call goes on when it cannot be recorded."""
        return self.properties.continue_call_after_recording_failure

    @property
    def answer_within_s(self) -> float:
        """When an INVITE must have its final answer, from its arrival."""
        return self.properties.max_response_wait_ms / 1000


def platform_of(
    entries: Entries, transport: str, host: str, port: int, advertise: str = ""
) -> RecordingPlatform | None:
    """The platform that has this listener of ours for its recorder; None without one.

    `transport`: `udp` or `tcp`; `host`: the address the request came to; `advertise`: what we call
    ourselves. Of several the one that names the transport, then the default, then the first name.
    """
    found = [
        platform
        for _, platform in sorted(entries.platforms.items())
        if is_listener(platform, transport, host, port, advertise)
    ]
    default = entries.properties.default_platform
    found.sort(key=lambda p: (p.transport_protocol == "Unspecified", p.name != default))
    return found[0] if found else None


def is_listener(
    platform: RecordingPlatform, transport: str, host: str, port: int, advertise: str = ""
) -> bool:
    """Whether this listener of ours is the recorder a platform names."""
    return (
        platform.transport_protocol in {transport.upper(), "Unspecified"}
        and (platform.port or DEFAULT_PORT) == port
        and any(_same(platform.net_address, ours) for ours in (host, advertise) if ours)
    )


def agreed(entries: Entries, offer: Offer, advertise: str) -> Agreement | None:
    """What holds for a call by the listener its offer came to; None: it came over no platform."""
    if not entries.platforms:
        return None
    platform = platform_of(entries, offer.transport, offer.local_host, offer.local_port, advertise)
    return Agreement(platform, entries.properties) if platform else None


def standing(entries: Entries, name: str) -> Agreement | None:
    """What holds now for a call that came over the platform of this name."""
    platform = entries.platforms.get(name)
    return Agreement(platform, entries.properties) if platform else None


def examined(offer: Offer, plan: Plan, agreement: Agreement | None) -> Offer:
    """`offer` with a warning for each way in which it is not as agreed.

    `platform_streams`: it has another number of audio streams; `platform_schema`: its extension
    data is of another version; `video_not_recorded`. Raises Refused (503) if a call whose video
    cannot be recorded is not to go on.
    """
    if agreement is None:
        return offer
    flags = {
        "platform_streams": _has_other_streams(offer.sdp, agreement.platform),
        "platform_schema": _has_other_schema(offer.metadata, agreement.platform),
        "video_not_recorded": _lacks_video(offer, plan, agreement),
    }
    found = tuple(code for code, raised in flags.items() if raised)
    return replace(offer, warnings=(*offer.warnings, *found)) if found else offer


def _has_other_streams(sdp: SessionDescription | None, platform: RecordingPlatform) -> bool:
    if sdp is None:
        return False
    audio = sum(media.media == "audio" and media.port > 0 for media in sdp.media)
    return audio != STREAMS[platform.media_stream]


def _has_other_schema(document: Document | None, platform: RecordingPlatform) -> bool:
    elements = document.elements.values() if document else ()
    stated = {
        value
        for element in elements
        for extension in (isinstance(element, Extended) and element.extensions) or ()
        if extension.name.rpartition(":")[2].lower() == SCHEMA_VERSION
        for value in extension.values
    }
    return bool(stated - {platform.schema_version})


def _lacks_video(offer: Offer, plan: Plan, agreement: Agreement) -> bool:
    """Whether video the platform is to have recorded will not be."""
    if offer.sdp is None or not agreement.platform.support_video_recording:
        return False
    taken = {slot.index for slot in plan.slots if slot.accepted}
    lacking = any(
        media.media == "video" and media.port and index not in taken
        for index, media in enumerate(offer.sdp.media)
    )
    if lacking and not agreement.properties.continue_call_after_video_recording_failure:
        raise Refused(503, "Video cannot be recorded")
    return lacking


def _same(one: str, other: str) -> bool:
    """Whether two texts name the same host, as far as they say; nothing is looked up."""
    try:
        return ip_address(one.strip("[]")) == ip_address(other.strip("[]"))
    except ValueError:
        return one.rstrip(".").lower() == other.rstrip(".").lower()
