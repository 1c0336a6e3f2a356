"""Offer and answer of a recording session (RFC 3264, RFC 7866 7): what we take, and how we say so.

`plan` turns an offer into one slot per m-line, `answer` turns slots and our ports into SDP. Pure:
no port is opened, no state is kept but the `Plan` handed back. Counterpart: `siprec.sdp`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import count

from siprec.sdp import Encoding, MediaDescription, SdpError, SessionDescription, parse

PROTOCOLS = frozenset({"RTP/AVP", "RTP/AVPF"})
"""Transports we take; the secure ones join this set together with their keys."""

AUDIO = {"PCMU": 8000, "PCMA": 8000}
"""Encodings that can be recorded, with clock rate in Hz; one of them makes an m-line acceptable."""
COMPANIONS = {"telephone-event": 0, "CN": 8000}
"""Encodings taken beside audio (RFC 4733, RFC 3389); clock rate 0: any."""

ANSWERS = {
    "sendonly": "recvonly",
    "sendrecv": "recvonly",
    "recvonly": "inactive",
    "inactive": "inactive",
}
"""Offered direction -> ours: we only ever receive (RFC 3264 6.1, RFC 7866 7.2)."""

AGENT = "siprecd"
"""Our name in a Warning header (RFC 3261 20.43)."""

_CODECS = {name.lower(): (name, clock_hz) for name, clock_hz in (AUDIO | COMPANIONS).items()}


class NotAcceptable(SdpError):
    """An offer without anything we can record: 488 with a warning (RFC 3261 13.3.1.3)."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text, 488, f'{code} {AGENT} "{text}"')


@dataclass(frozen=True, slots=True)
class Slot:
    """One m-line as we take it."""

    index: int
    """Position of the m-line in this offer."""
    stream: int
    """Number of the media stream, unique in the session: stays while the stream lives, wherever its
    m-line moves; a re-used m-line gets a new one."""
    media: str
    protocol: str
    accepted: bool
    direction: str
    """Ours: `recvonly` or `inactive`."""
    label: str
    """The offered label, or a number made up for an m-line without."""
    labelled: bool
    """Whether the label was offered; only then the answer has it."""
    formats: dict[int, str]
    """Payload type -> encoding name, in the order offered; empty unless accepted."""
    clock_rates: dict[int, int]
    """Payload type -> clock rate in Hz, same keys."""
    offered: tuple[str, ...]
    """Format tokens of the offer."""
    remote: tuple[str, int]
    """Where the offer would have RTP sent: tells m-lines apart, not where packets come from."""
    rtcp_host: str = ""
    """Where our receiver reports go, an IP literal; empty: nowhere."""
    rtcp_port: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What an offer comes to. Equal plans mean nothing changed."""

    slots: tuple[Slot, ...] = ()
    timing: str = "0 0"
    """The t-line of the offer, to be repeated (RFC 3264 6)."""
    warnings: tuple[str, ...] = ()
    """Reason codes: `label_duplicate`, `media_refused`, `media_missing`, `media_moved`."""
    next_stream: int = 0

    @property
    def streams(self) -> dict[int, Slot]:
        """Stream number -> slot of every accepted stream; a number no longer here has ended."""
        return {slot.stream: slot for slot in self.slots if slot.accepted}

    @property
    def labels(self) -> dict[str, int]:
        """Offered label -> stream number, for `metadata.merge`; of equal labels the first."""
        return {slot.label: slot.stream for slot in reversed(self.slots) if slot.labelled}


@dataclass(frozen=True, slots=True)
class Origin:
    """Who we are in the o-line (RFC 8866 5.2); constant for a dialog."""

    username: str
    session_id: str
    """Digits."""


def plan(offer: SessionDescription, previous: Plan | None = None) -> Plan:
    """Decide on every m-line of an offer; `previous` is what the last one in the dialog came to.

    The peer's answer to a description of ours is planned the same way: what it sends, we take.
    Raises `NotAcceptable` if m-lines are offered and none of them can be recorded.
    """
    before = previous or Plan()
    drafts = [_draft(index, media) for index, media in enumerate(offer.media)]
    offered = [media for media in offer.media if media.port]
    if offered and not any(draft.accepted for draft in drafts):
        raise _refusal(offered)
    slots, next_stream = _numbered(_labelled(drafts), before)
    return Plan(slots, offer.timing, _warnings(slots, before), next_stream)


def answer(
    plan: Plan,
    ports: Mapping[int, int],
    address: str,
    origin: Origin,
    previous: SessionDescription | None = None,
) -> SessionDescription:
    """Return our description for a plan; also what to offer when the peer asks for one.

    `ports`: m-line index -> our RTP port, for every accepted slot. `address`: our IP literal.
    `previous`: our last description in the dialog; it is returned again if nothing differs, else
    the version is one more (RFC 3264 8).
    """
    if previous is None:
        return parse(_text(plan, ports, address, origin, 1))
    version = int(previous.origin.split()[2])
    if _text(plan, ports, address, origin, version) == previous.encode():
        return previous
    return parse(_text(plan, ports, address, origin, version + 1))


def _draft(index: int, media: MediaDescription) -> Slot:
    encodings = _recordable(media) if media.port else {}
    accepted = any(encoding.name in AUDIO for encoding in encodings.values())
    host, port = media.rtcp
    if not accepted or not port or not _is_unicast(host):
        host, port = "", 0
    return Slot(
        index=index,
        stream=-1,
        media=media.media,
        protocol=media.protocol,
        accepted=accepted,
        direction=ANSWERS[media.direction],
        label=media.label,
        labelled=bool(media.label),
        formats={number: e.name for number, e in encodings.items()} if accepted else {},
        clock_rates={number: e.clock_hz for number, e in encodings.items()} if accepted else {},
        offered=media.formats,
        remote=(media.address, media.port),
        rtcp_host=host,
        rtcp_port=port,
    )


def _recordable(media: MediaDescription) -> dict[int, Encoding]:
    """Every format we can record, under our spelling of its name, in the order offered.

    All of them are answered, not the best: some peers hang up over a missing payload type.
    """
    if media.media != "audio" or media.protocol.upper() not in PROTOCOLS:
        return {}
    found = {}
    for number, encoding in media.encodings.items():
        name, clock_hz = _CODECS.get(encoding.name.lower(), ("", -1))
        if encoding.channels == 1 and clock_hz in (0, encoding.clock_hz):
            found[number] = Encoding(name, encoding.clock_hz)
    return found


def _is_unicast(host: str) -> bool:
    """False for no address, 0.0.0.0 (RFC 3264 8.4) and groups: nothing may be sent there."""
    if not host:
        return False
    address = ip_address(host)
    return not (address.is_unspecified or address.is_multicast)


def _refusal(offered: Sequence[MediaDescription]) -> NotAcceptable:
    audio = [media for media in offered if media.media == "audio"]
    if not audio:
        return NotAcceptable("Media type not available", 304)
    if any(media.protocol.upper() in PROTOCOLS for media in audio):
        return NotAcceptable("Incompatible media format", 305)
    return NotAcceptable("Incompatible transport protocol", 302)


def _labelled(slots: Sequence[Slot]) -> list[Slot]:
    """Give m-lines without a label the lowest free numbers, counting from 1."""
    taken = {slot.label for slot in slots}
    free = (str(number) for number in count(1) if str(number) not in taken)
    return [slot if slot.labelled else replace(slot, label=next(free)) for slot in slots]


def _numbered(slots: Sequence[Slot], before: Plan) -> tuple[tuple[Slot, ...], int]:
    claims = _claims(slots, before.slots)
    fresh = count(before.next_stream)
    numbered = tuple(
        replace(slot, stream=claims[slot.index] if slot.index in claims else next(fresh))
        for slot in slots
    )
    return numbered, next(fresh)


def _same_place(slot: Slot, old: Slot) -> bool:
    return slot.index == old.index and (_same_label(slot, old) or slot.remote == old.remote)


def _same_label(slot: Slot, old: Slot) -> bool:
    return slot.labelled and old.labelled and slot.label == old.label


def _same_index(slot: Slot, old: Slot) -> bool:
    return slot.index == old.index


CONTINUATIONS: tuple[Callable[[Slot, Slot], bool], ...] = (_same_place, _same_label, _same_index)
"""What makes an m-line the continuation of an earlier one, strongest first.

By RFC 3264 8 it is the position. Some peers insert and drop m-lines: there the label is right. But
a label means nothing beyond its message (RFC 7866 7.1.1), so it does not outweigh an m-line that
kept its position and its port."""


def _claims(slots: Sequence[Slot], before: Sequence[Slot]) -> dict[int, int]:
    """Return m-line index -> number of the stream it continues."""
    claims: dict[int, int] = {}
    for continues in CONTINUATIONS:
        for slot in slots:
            free = (old for old in before if old.stream not in claims.values())
            old = next((old for old in free if _alike(slot, old) and continues(slot, old)), None)
            if old and slot.index not in claims:
                claims[slot.index] = old.stream
    return claims


def _alike(slot: Slot, old: Slot) -> bool:
    """A refused m-line that is taken up, or changes its medium, is a new stream (RFC 3264 8.1)."""
    return slot.media == old.media and slot.accepted == old.accepted


def _warnings(slots: Sequence[Slot], before: Plan) -> tuple[str, ...]:
    labels = [slot.label for slot in slots if slot.labelled]
    places = {number: slot.index for number, slot in before.streams.items()}
    flags = {
        "label_duplicate": len(labels) > len(set(labels)),
        "media_refused": any(slot.remote[1] and not slot.accepted for slot in slots),
        "media_missing": len(slots) < len(before.slots),
        "media_moved": any(places.get(slot.stream, slot.index) != slot.index for slot in slots),
    }
    return tuple(code for code, raised in flags.items() if raised)


def _text(
    plan: Plan, ports: Mapping[int, int], address: str, origin: Origin, version: int
) -> bytes:
    family = "IP6" if ":" in address else "IP4"
    lines = [
        "v=0",
        f"o={origin.username} {origin.session_id} {version} IN {family} {address}",
        "s=-",
        f"c=IN {family} {address}",
        f"t={plan.timing}",
    ]
    for slot in plan.slots:
        lines += _section(slot, ports[slot.index]) if slot.accepted else _closed(slot)
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


def _section(slot: Slot, port: int) -> list[str]:
    numbers = " ".join(map(str, slot.formats))
    lines = [f"m={slot.media} {port} {slot.protocol} {numbers}"]
    for number, name in slot.formats.items():
        lines.append(f"a=rtpmap:{number} {name}/{slot.clock_rates[number]}")
        if name == "telephone-event":
            lines.append(f"a=fmtp:{number} 0-15")
    return [*lines, f"a={slot.direction}", *_label(slot)]


def _closed(slot: Slot) -> list[str]:
    """A refused m-line keeps its place and needs a format (RFC 3264 6)."""
    return [f"m={slot.media} 0 {slot.protocol} {' '.join(slot.offered) or '0'}", *_label(slot)]


def _label(slot: Slot) -> list[str]:
    return [f"a=label:{slot.label}"] if slot.labelled else []
