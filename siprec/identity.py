"""Who calls whom, and under which ids other systems know the call.

Neither RFC 7866 nor RFC 7865 says it: it is put together from the INVITE, the participants and the
extension data (`siprec.extensions`) clients add. Pure: a function of the initial offer and of what
its metadata and all later add up to (`siprec.metadata`), so it may change while the call runs.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from siprec.elements import Group, Stream
from siprec.metadata import Model, Person
from siprec.session import Identity, Offer
from storage.records import Extension

MAX_NUMBER = 255
"""Characters of a calling or called number; addresses of record are kept whole elsewhere."""

SCHEMES = frozenset({"sip", "sips", "tel"})
"""Of the addresses whose user part we know."""

CALLING = "callingparty"
REALM = "realm"
UCID = "ucid"
EGRESS_CALL_ID = "egresscallid"
"""Names of extension data, as `_key` has them."""

_SAID = {"true": True, "1": True, "false": False, "0": False}
_END = re.compile("[:;?]")


def identify(offer: Offer, model: Model, ucid_header: str) -> Identity:
    """Return the identity of a call; `offer` is that of its initial INVITE.

    Who has left counts as much as who is there: that a caller hangs up changes no number.

    `ucid_header`: name of a SIP header, or label of one in extension data, that holds the universal
    call id. The header of the INVITE goes before the label, and that before an element `ucid` of
    any prefix. The Call-ID is none of them unless it is the header named.
    """
    people = model.participants(past=True)
    calling, called = _sides(people, offer.from_aor)
    spoken = [person.extensions for person in (*calling, *called)]
    stated = [session.extensions or () for session in model.sessions(past=True)]
    rest = [each.extensions or () for each in _others(model)]
    realms = tuple(dict.fromkeys(_values((*spoken, *stated, *rest), REALM)))
    known = (*stated, *spoken, *rest)
    return Identity(
        ani=_number(calling, offer.from_aor),
        dnis=_number(called, offer.to_aor),
        ucid=offer.ucid or _labelled(known, ucid_header) or next(_values(known, UCID), ""),
        egress_call_id=next(_values(known, EGRESS_CALL_ID), ""),
        realm=next(iter(realms), ""),
        realms=realms,
        calling=frozenset(person.participant_id for person in calling),
        calling_aors=_aors(calling, offer.from_aor),
        called_aors=_aors(called, offer.to_aor),
    )


def user_part(aor: str) -> str:
    """The user part of an address, without password and parameters (RFC 3261 19.1.1, RFC 3966 3).

    Without one it is the host; what is neither, or of a scheme unknown here, is returned as it is.
    """
    text = (aor.partition("<")[2].partition(">")[0] or aor).strip()
    scheme, _, rest = text.partition(":")
    if scheme.lower() in SCHEMES:
        text = rest
    elif ":" in text.partition("@")[0]:
        return aor
    user, _, host = text.partition("@")
    return _bare(user) or _bare(host) or aor


def _bare(text: str) -> str:
    """Up to the port, password, parameters or headers."""
    literal, closed, _ = text.partition("]")
    if text.startswith("[") and closed:
        return f"{literal}]"
    return _END.split(text, maxsplit=1)[0]


def _sides(
    people: tuple[Person, ...], from_aor: str
) -> tuple[tuple[Person, ...], tuple[Person, ...]]:
    """The caller's side and the others, either of them possibly empty.

    The client's word counts first. Without it the caller is whom the From of the INVITE names, if
    that is not the client itself, and else who was declared first.
    """
    said = [_said(person) for person in people]
    if len(people) > 1 and len({*said}) == 1:
        said = [None] * len(people)  # what is said of everybody tells nobody apart
    callers = [person for person, word in zip(people, said, strict=True) if word]
    if not callers:
        possible = [person for person, word in zip(people, said, strict=True) if word is None]
        user = user_part(from_aor)
        named = [person for person in possible if user in map(user_part, _own(person))]
        callers = (named or possible)[:1]
    ids = {person.participant_id for person in callers}
    return tuple(callers), tuple(each for each in people if each.participant_id not in ids)


def _said(person: Person) -> bool | None:
    """Whether the client says that somebody is the caller; None: it does not say."""
    value = next(_values((person.extensions,), CALLING), "")
    return _SAID.get(value.lower())


def _others(model: Model) -> Iterator[Stream | Group]:
    yield from model.of(Stream, past=True)
    yield from model.of(Group, past=True)


def _number(side: tuple[Person, ...], fallback: str) -> str:
    """The first address of a side as a number; without one that of the SIP header."""
    stated = side[0].aor if side else ""
    return user_part(stated or fallback)[:MAX_NUMBER]


def _aors(side: tuple[Person, ...], fallback: str) -> tuple[str, ...]:
    own = (aor for person in side for aor in _own(person))
    return tuple(dict.fromkeys(own)) or tuple(filter(None, (fallback,)))


def _own(person: Person) -> list[str]:
    return [name.aor for name in person.names if name.aor]


def _values(data: Iterable[tuple[Extension, ...]], wanted: str) -> Iterator[str]:
    """All values under a name, whatever its prefix."""
    for extensions in data:
        for extension in extensions:
            if _key(extension.name) == wanted:
                yield from extension.values


def _labelled(data: Iterable[tuple[Extension, ...]], header: str) -> str:
    """The first value of a SIP header among the extension data, whose names know no case."""
    for extensions in data:
        for extension in extensions:
            if extension.name.lower() == header.lower():
                return extension.values[0]
    return ""


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    """A name without its prefix, as clients spell it differently: `apkt:egress-call-id`."""
    return name.rpartition(":")[2].lower().replace("-", "").replace("_", "")
