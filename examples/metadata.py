"""Recording metadata as a client sends it: the complete document of one call (RFC 7865)."""

import uuid
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

NAMESPACE = "urn:ietf:params:xml:ns:recording:1"


def identifier(call_id: str, name: str) -> str:
    """The id of a thing in a call: always the same UUID, in base64 (RFC 7865 6.10)."""
    return b64encode(uuid.uuid5(uuid.NAMESPACE_URL, f"{call_id}/{name}").bytes).decode()


def complete(
    call_id: str, labels: Sequence[str], parties: Sequence[tuple[str, str]], now: datetime
) -> bytes:
    """One session in which each of `parties` (address, name) sends the stream of the same place.

    `labels`: those of the SDP. With fewer parties than streams the last one sends the rest.
    """
    session = identifier(call_id, "session")
    since = f"<associate-time>{now:%Y-%m-%dT%H:%M:%SZ}</associate-time>"
    streams = [identifier(call_id, f"stream {label}") for label in labels]
    people = [identifier(call_id, f"participant {aor}") for aor, _ in parties]
    owners = [people[min(index, len(people) - 1)] for index in range(len(streams))]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<recording xmlns="{NAMESPACE}">',
        "<datamode>complete</datamode>",
        f'<session session_id="{session}">{_sip_session_id(call_id)}</session>',
    ]
    for person, (aor, name) in zip(people, parties, strict=True):
        named = f"<nameID aor={quoteattr(aor)}><name>{escape(name)}</name></nameID>"
        lines.append(f'<participant participant_id="{person}">{named}</participant>')
    for stream, label in zip(streams, labels, strict=True):
        shown = f"<label>{escape(label)}</label>"
        lines.append(f'<stream stream_id="{stream}" session_id="{session}">{shown}</stream>')
    lines.append(f'<sessionrecordingassoc session_id="{session}">{since}</sessionrecordingassoc>')
    for person in people:
        attributes = f'participant_id="{person}" session_id="{session}"'
        lines.append(f"<participantsessionassoc {attributes}>{since}</participantsessionassoc>")
    for person in people:
        pairs = list(zip(streams, owners, strict=True))
        flows = "".join(f"<send>{stream}</send>" for stream, owner in pairs if owner == person)
        flows += "".join(f"<recv>{stream}</recv>" for stream, owner in pairs if owner != person)
        lines.append(
            f'<participantstreamassoc participant_id="{person}">{flows}</participantstreamassoc>'
        )
    return "\r\n".join([*lines, "</recording>", ""]).encode()


def _sip_session_id(call_id: str) -> str:
    legs = (uuid.uuid5(uuid.NAMESPACE_URL, f"{call_id}/{leg}").hex for leg in ("local", "remote"))
    return f"<sipSessionID>{';remote='.join(legs)}</sipSessionID>"
