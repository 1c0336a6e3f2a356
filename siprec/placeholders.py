"""Texts with placeholders, as operators write them into policies and screen URLs.

No logic: each placeholder is looked up by its whole name, in one pass, and what it stands for is
never looked into again. What it stands for may come from a caller, so that in a URL it can be
nothing but a value. Counterparts: `siprec.policies`, `siprec.screen`, `siprec.notifications`.
"""

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import quote, unquote

from storage.text import plain

VALUE_LIMIT = 1024
"""Characters of one value; no address, name or identifier of a call is longer by right."""
OCTETS = 12
"""Most octets one character takes in a URL: four in UTF-8, three each (RFC 3986 2.1)."""
URL_LIMIT = 8192
"""Octets of a URL; servers commonly take request lines of this length (RFC 9112 3)."""

DOLLAR = re.compile(r"\$\{([^{}]{0,128})\}")
"""`${name}`, in policies."""
BRACES = re.compile(r"\{([^{}]{0,128})\}")
"""`{name}`, in `[screen]` of the configuration."""

_PRINTABLE = re.compile(r"[!-~]+")
_PARTS = re.compile(r"(https?://)([^/?#]+)([^#]*)", re.IGNORECASE)

Lookup = Callable[[str], str]
"""Name -> what it stands for; empty if nothing."""


class UnusableUrl(ValueError):
    """With these values the URL would not be the operator's any more; the text is a reason code."""


def fill(text: str, placeholder: re.Pattern[str], lookup: Lookup) -> str:
    """`text` with every placeholder replaced."""
    return placeholder.sub(lambda found: bounded(lookup(found[1])), text)


def fill_url(url: str, placeholder: re.Pattern[str], lookup: Lookup) -> str:
    """`url` with every placeholder replaced, percent-encoded (RFC 3986 2.1).

    Where the host stands, only an IP address may take the place of a placeholder: whom we connect
    to is for the operator to say, and no name that a caller chose is ever resolved. Raises
    UnusableUrl.
    """
    parts = _PARTS.match(url)
    if parts is None:
        raise UnusableUrl("url_invalid")
    host = placeholder.sub(lambda found: _host(lookup(found[1])), parts[2])
    rest = placeholder.sub(lambda found: encoded(lookup(found[1])), parts[3])
    path = unquote(rest.partition("?")[0])
    if {".", ".."} & {*re.split(r"[/\\]", path)}:
        raise UnusableUrl("dot_segment")
    filled = parts[1] + host + rest
    if len(filled) > URL_LIMIT:
        raise UnusableUrl("url_too_long")
    if not _PRINTABLE.fullmatch(filled):
        raise UnusableUrl("url_invalid")
    return filled


def bounded(value: str) -> str:
    """`value` as UTF-8 can carry it, cut at `VALUE_LIMIT`."""
    return plain(value[:VALUE_LIMIT])


def encoded(value: str, room: int = VALUE_LIMIT * OCTETS) -> str:
    """`value`, bounded, as it can stand anywhere in a URL: letters, digits, `-._~` and `%`.

    It is at most `room` octets long, characters that no longer fit are left out.
    """
    text = quote(bounded(value), safe="")
    if len(text) <= room:
        return text
    fits = bounded(value).encode()[: max(0, room) // 3]
    return quote(fits.decode("utf-8", "ignore"), safe="")


def ip_address(text: str) -> str:
    """The IP address that `text` is, in its canonical form; empty if it is none, or has a zone."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return "" if "%" in str(address) else str(address)


def _host(value: str) -> str:
    address = ip_address(value)
    if not address:
        raise UnusableUrl("host_not_an_address")
    return f"[{address}]" if ":" in address else address
