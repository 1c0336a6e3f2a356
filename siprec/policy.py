"""Whom we record, and for whom: the decisions taken for every initial INVITE.

Pure: the directory is an argument, and so is what else a decision depends on.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import ip_address, ip_network

from config.schema import Route as Defaults
from siprec.identity import user_part
from siprec.session import Bar, Decision, Identity, Offer, Refused, Sides
from storage.directory import INITIAL, Entries
from storage.entries import DEFAULT_ROUTE, Route

_STRICT = frozenset({"require", "sip.src"})
_SCHEMES = ("sip:", "sips:", "tel:")


def admit(offer: Offer, accept: str) -> None:
    """Return if `offer` is a recording session to take, else raise `Refused` (403).

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


def decide(entries: Entries, offer: Offer, identity: Identity, defaults: Defaults) -> Decision:
    """Which route takes the call, and what it says.

    The first that matches in the order the directory keeps them: highest priority, then lowest id.
    There always is one: a call that no route knows is recorded.
    """
    found = (route for route in entries.routes.values() if _matches(route, offer, identity))
    route = next(found, None) or INITIAL.routes[DEFAULT_ROUTE]
    account = entries.accounts.get(route.account) or INITIAL.accounts[1]
    seconds = defaults.prebuffer_s if route.prebuffer_s is None else route.prebuffer_s
    record = route.record
    barred = _bar(route, entries, account.number, identity)
    if barred:
        record = "never"
    if record == "always" and not drawn(route, offer.call_id, defaults.seed):
        record, seconds = "on_demand", 0
    return Decision(
        account=account.number,
        route=route.id,
        record=record,
        profile=route.profile or account.profile,
        pause_fill=route.pause_fill or account.pause_fill,
        prebuffer_ms=1000 * seconds if record == "on_demand" else 0,
        barred=barred,
        save_by_default=_either(route.save_by_default, account.save_by_default),
        agents_may_control=_either(route.agents_may_control, account.agents_may_control),
    )


def sides(entries: Entries, account: int, identity: Identity) -> Sides:
    """Whose call it is: the user's of the account whose line called, else whose was called.

    Without one it is recorded for the called party.
    """
    if caller := entries.lines.get((account, identity.ani)):
        return Sides(caller.email.lower(), "outgoing", identity.ani, identity.dnis)
    called = entries.lines.get((account, identity.dnis))
    if called is None:
        return Sides(local=identity.dnis, remote=identity.ani)
    return Sides(called.email.lower(), "incoming", identity.dnis, identity.ani)


def _bar(route: Route, entries: Entries, account: int, identity: Identity) -> Bar:
    """What of the call its route bars, by what is known of it at the INVITE."""
    seen = sides(entries, account, identity)
    is_internal = bool(seen.owner) and (account, seen.remote) in entries.lines
    if route.directions and seen.direction not in route.directions:
        return "direction"
    if route.traffic and ("internal" if is_internal else "external") not in route.traffic:
        return "traffic"
    if any(pattern(text).fullmatch(seen.remote) for text in route.blocked):
        return "remote party"
    return ""


def _either(of_route: bool | None, of_account: bool) -> bool:
    return of_account if of_route is None else of_route


def drawn(route: Route, call_id: str, seed: str) -> bool:
    """Whether a call is among the `percent` of a route that are recorded.

    The lot is a digest of the Call-ID: an INVITE that is sent again, to this node or to another
    with the same seed, draws the same.
    """
    digest = hashlib.blake2b(f"{seed}\n{route.id}\n{call_id}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") < route.percent * 2**64 // 100


def _matches(route: Route, offer: Offer, identity: Identity) -> bool:
    if route.match == "peer":
        return _is_within(offer.peer, route.pattern)
    return any(pattern(route.pattern).fullmatch(text) for text in _texts(route, offer, identity))


def _texts(route: Route, offer: Offer, identity: Identity) -> Iterator[str]:
    """What of the call the route compares."""
    if route.match == "realm":
        yield from identity.realms or ("",)
    if route.match in {"from", "from_or_to"}:
        yield identity.ani
        yield from _addresses(identity.calling_aors or (offer.from_aor,))
    if route.match in {"to", "from_or_to"}:
        yield identity.dnis
        yield from _addresses(identity.called_aors or (offer.to_aor,))


def _addresses(aors: Iterable[str]) -> Iterator[str]:
    """Each address without its scheme and parameters, whole and its user part alone."""
    for aor in aors:
        scheme = next((each for each in _SCHEMES if aor.lower().startswith(each)), "")
        address = aor[len(scheme) :].partition(";")[0]
        yield address
        yield user_part(aor)


@lru_cache(maxsize=4096)
def pattern(text: str) -> re.Pattern[str]:
    """The expression for a pattern in which `%` stands for any text; case does not count."""
    pieces = [re.escape(piece) for piece in re.split("%+", text)]
    # Possessive or atomic groups keep a pattern of many % from being tried in every way there is.
    lazy = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1])
    last = f".*{pieces[-1]}" if len(pieces) > 1 else ""
    return re.compile(pieces[0] + lazy + last, re.IGNORECASE | re.DOTALL)


def _is_within(peer: str, network: str) -> bool:
    if "%" in network:
        return pattern(network).fullmatch(peer) is not None
    try:
        return ip_address(peer) in ip_network(network, strict=False)
    except ValueError:
        return False
