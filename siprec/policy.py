"""Whom we record: the decision taken for every initial INVITE."""

from siprec.session import Offer, Refused

_STRICT = frozenset({"require", "sip.src"})


def decide(offer: Offer, accept: str) -> None:
    """Return if `offer` is to be recorded, else raise `Refused` (403).

    `accept` is the configured mode: `lenient` takes any one sign of a recording session, because
    clients of the field rarely show all; `strict` demands both marks of RFC 7866 section 6.2;
    `any` takes every INVITE.
    """
    if accept == "any":
        return
    if accept == "strict" and not offer.signs >= _STRICT:
        raise Refused(403, "Recording needs Require: siprec and a +sip.src contact")
    if not offer.signs:
        raise Refused(403, "Not a recording session")
