"""From a SIP request to the `Offer` the core takes: bodies parsed, signs of recording found.

What is wrong with the metadata never costs the call: it becomes a warning. What is wrong with the
SDP does, because there is nothing to record then.
"""

import re
from dataclasses import replace
from datetime import datetime

from siprec import metadata, multipart, sdp
from siprec.multipart import Bodies, BodyError
from siprec.session import Offer, Refused
from siprec.sip.errors import MessageError
from siprec.sip.message import Request
from storage.text import plain

MAX_UCID = 1024
"""Characters of a universal call id that are kept; those of the field have up to 64."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read(
    request: Request,
    dialog_id: str,
    local_host: str,
    received_at: datetime,
    *,
    peer: str = "",
    transport: str = "",
    local_port: int = 0,
    ucid_header: str = "X-ISR-UCID",
) -> Offer:
    """The offer in an INVITE or UPDATE. Raises Refused with 400, 413 or 415.

    `peer`: network address it came from. `transport`, `local_port`: by which listener of ours; with
    `local_host` they tell the recording platform. `ucid_header`: name of the header that holds the
    call's universal id.
    """
    try:
        bodies = multipart.select(
            multipart.split(
                request.content_type, request.body, request.get("Content-Disposition") or ""
            )
        )
    except BodyError as error:
        raise Refused(error.status, str(error)) from error
    offer = replace(
        _envelope(request, bodies, dialog_id, local_host, received_at),
        peer=peer,
        transport=transport,
        local_port=local_port,
        ucid=_ucid(request, ucid_header),
    )
    return _with_sdp(_with_metadata(offer, bodies), bodies)


def read_last(request: Request, dialog_id: str, received_at: datetime) -> Offer:
    """The closing metadata of a BYE, if there is any that can be read."""
    try:
        return read(request, dialog_id, "", received_at)
    except Refused:
        return Offer(dialog_id, request.call_id, frozenset(), "", received_at)


def _envelope(
    request: Request, bodies: Bodies, dialog_id: str, local_host: str, received_at: datetime
) -> Offer:
    return Offer(
        dialog_id,
        request.call_id,
        _signs(request, bodies),
        local_host,
        received_at,
        from_aor=_aor(request, "From"),
        to_aor=_aor(request, "To"),
        warnings=bodies.warnings,
    )


def _signs(request: Request, bodies: Bodies) -> frozenset[str]:
    contact = request.contact
    feature = contact.param("+sip.src") if contact else None
    draft = contact.param("src") if contact else None
    signs = {
        "require": "siprec" in {tag.lower() for tag in request.values("Require")},
        # RFC 3840 9: a feature parameter may state FALSE
        "sip.src": feature is not None and feature.strip('"').upper() != "FALSE",
        "src": draft is not None,
        "metadata": bodies.metadata is not None,
    }
    return frozenset(name for name, seen in signs.items() if seen)


def _aor(request: Request, header: str) -> str:
    try:
        return plain((request.from_ if header == "From" else request.to).uri)
    except MessageError:
        return ""


def _ucid(request: Request, header: str) -> str:
    """The value as received, but for what no database takes; the first of several."""
    value = (request.get(header) or "").strip()
    return _CONTROL.sub("?", plain(value[:MAX_UCID]))


def _with_metadata(offer: Offer, bodies: Bodies) -> Offer:
    if bodies.metadata is None:
        return offer
    try:
        document = metadata.parse(bodies.metadata, bodies.charset)
    except metadata.MetadataError:
        return replace(offer, warnings=(*offer.warnings, "metadata_malformed"))
    return replace(offer, metadata=document)


def _with_sdp(offer: Offer, bodies: Bodies) -> Offer:
    if bodies.sdp is None:
        return offer
    try:
        return replace(offer, sdp=sdp.parse(bodies.sdp))
    except sdp.SdpError as error:
        raise Refused(error.status, str(error), error.warning) from error
