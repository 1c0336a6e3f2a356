"""Whose request it is: the peer, or whom a reverse proxy that is believed names in its place."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

RELAYED = ("X-Forwarded-For", "Forwarded", "Via")
"""Headers of requests that a proxy has passed on (RFC 7239, RFC 9110 section 7.6.3)."""

_Address = IPv4Address | IPv6Address
_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?|([^:\[\]]+):[0-9]{1,5}")


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks of a configuration. Raises ValueError."""
    return tuple(map(ip_network, texts))


def is_within(remote: str, known: Sequence[Network]) -> bool:
    """Whether a client's address is in one of the networks; what is no address is in none."""
    address = _address(remote)
    return address is not None and _within(address, known)


def is_relayed(headers: Mapping[str, str]) -> bool:
    """Whether a request with these headers says that a proxy has passed it on."""
    return any(name in headers for name in RELAYED)


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends the request for a web page of another origin (W3C Fetch Metadata).

    It adds the password of HTTP Basic that it keeps, without asking anybody.
    """
    return headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}


def client(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The address a request comes from.

    `peer`: address of the other end; `forwarded`: its headers X-Forwarded-For. Each proxy adds at
    the right end whom it got the request from, so what is left of the first stranger is worth
    nothing. Who is no proxy is not listened to, and what is not understood is left to the peer.
    """
    here = _address(peer)
    if here is None or not _within(here, proxies):
        return peer
    for entry in reversed(",".join(forwarded).split(",")):
        if not (text := entry.strip()):
            continue
        address = _address(_bare(text))
        if address is None:
            return peer
        if not _within(address, proxies):
            return str(address)
    return peer


def _bare(text: str) -> str:
    """Without the port, and without the brackets."""
    found = _WITH_PORT.fullmatch(text)
    return found[1] or found[2] if found else text


def _address(text: str) -> _Address | None:
    """None for what is none. A scope (`%eth0`) says nothing to others than its sender."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id else address.ipv4_mapped or address


def _within(address: _Address, proxies: Sequence[Network]) -> bool:
    return any(address in network for network in proxies)
