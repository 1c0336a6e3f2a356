"""Filters and pages of a list: `name=operator:operand`, right hand side colon syntax. Pure.

Operators: `equals`, which may be left out; of times `before`, `after` and `between`, whose two
limits stand with a semicolon between them, the lower one included; of some texts `contains`. In
texts a backslash stands before a semicolon or backslash that is meant. A prefix that names no
operator of the parameter's type belongs to the operand.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from api.imagicle.metadata import DIRECTIONS

FILTER, PAGING = 0, 1
"""Reasons of a refusal."""
MICROSECOND = timedelta(microseconds=1)
MOST = 2**31 - 1
"""Of page numbers and sizes."""

_INTEGER = re.compile(r"[0-9]{1,10}", re.ASCII)
_PLUS = re.compile(r"(T[0-9:.,]+) ([0-9]{2}(?::?[0-9]{2})?)", re.IGNORECASE)
"""A time whose `+` was taken for a space, as it is in a query that was not encoded."""
_FINER = re.compile(r"[.,][0-9]{6}0*[1-9]")
"""More than six decimals of a second."""
_PIECES = re.compile(r"(?:[^\\;]|\\[\\;])*")


class InvalidFilter(Exception):
    """A list that cannot be asked for so; the text says what is wrong."""

    def __init__(self, reason: int, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Asked:
    """Which recordings are to be listed."""

    criteria: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a `storage.records.RecordingQuery`."""
    owner: str | None = None
    """User name of the owner; None: anybody's."""
    page: int = 0
    size: int | None = None
    """Recordings on a page; None: all on one."""


def parse(query: Iterable[tuple[str, str]]) -> Asked:
    """What the query of a URL asks for. Raises InvalidFilter.

    Names in any case; those that mean nothing here are passed over.
    """
    given: dict[str, str] = {}
    for name, value in query:
        known = NAMES.get(name.lower())
        if known is None:
            continue
        if known in given:
            raise InvalidFilter(_reason(known), f"{known}: stated more than once")
        given[known] = value
    found: dict[str, Any] = {}
    for name, make in FILTERS.items():
        if name in given:
            found |= make(name, given[name])
    owner = found.pop("owner", None)
    return Asked(found, owner, *_paging(given.get("page"), given.get("pageSize")))


def _paging(page: str | None, size: str | None) -> tuple[int, int | None]:
    if size is None:
        if page is not None:
            raise InvalidFilter(PAGING, "page: there is no pageSize")
        return 0, None
    length = _integer("pageSize", size)
    if length == 0:
        raise InvalidFilter(PAGING, "pageSize: it is 0")
    return _integer("page", "0" if page is None else page), length


def _integer(name: str, text: str) -> int:
    if not _INTEGER.fullmatch(text) or int(text) > MOST:
        raise InvalidFilter(PAGING, f"{name}: {text!r} is not a whole number from 0 to {MOST}")
    return int(text)


def _start_time(name: str, text: str) -> dict[str, Any]:
    return _period("started", name, text)


def _end_time(name: str, text: str) -> dict[str, Any]:
    return _period("ended", name, text)


def _period(what: str, name: str, text: str) -> dict[str, Any]:
    """Since when, inclusive, and until when, exclusive."""
    operator, operand = split(text, ("equals", "before", "after", "between"))
    first, last = f"{what}_after", f"{what}_before"
    if operator == "between":
        limits = operand.split(";")
        if len(limits) != 2:
            raise InvalidFilter(FILTER, f"{name}: between needs two times with a semicolon")
        lower, upper = (moment(name, each) for each in limits)
        return {first: lower[1], last: upper[1]}
    down, up = moment(name, operand)
    if operator == "before":
        return {last: up}
    after = {first: down + MICROSECOND}
    return after if operator == "after" else {first: up, last: down + MICROSECOND}


def _equal_to(column: str) -> Callable[[str, str], dict[str, Any]]:
    def make(name: str, text: str) -> dict[str, Any]:
        operator, operand = split(text, ("equals", "contains"))
        if operator == "contains":
            raise InvalidFilter(FILTER, f"{name}: contains is not possible here")
        return {column: unescaped(name, operand)}

    return make


def _remote_party(name: str, text: str) -> dict[str, Any]:
    operator, operand = split(text, ("equals", "contains"))
    column = "remote_party" if operator == "equals" else "remote_party_contains"
    return {column: unescaped(name, operand)}


def _direction(name: str, text: str) -> dict[str, Any]:
    _, operand = split(text, ("equals",))
    if operand not in {"0", "1", "2"}:
        raise InvalidFilter(FILTER, f"{name}: {operand!r} is not 0, 1 or 2")
    return {"direction": DIRECTIONS[int(operand)]}


FILTERS: Mapping[str, Callable[[str, str], dict[str, Any]]] = {
    "startTime": _start_time,
    "endTime": _end_time,
    "localPartyNumber": _equal_to("local_party"),
    "remotePartyNumber": _remote_party,
    "ownerUsername": _equal_to("owner"),
    "direction": _direction,
}
"""Parameter -> what makes criteria of its value."""
NAMES = {name.lower(): name for name in (*FILTERS, "page", "pageSize")} | {
    "remoteparty": "remotePartyNumber"
}
"""Names in lower case, also newer ones -> ours."""


def split(text: str, operators: tuple[str, ...]) -> tuple[str, str]:
    """Operator and operand; without an operator of these the whole text is to be equal."""
    prefix, colon, rest = text.partition(":")
    return (prefix, rest) if colon and prefix in operators else ("equals", text)


def escaped(text: str) -> str:
    """`text` as an operand."""
    return re.sub(r"([\\;])", r"\\\1", text)


def unescaped(name: str, operand: str) -> str:
    """The text an operand stands for. Raises InvalidFilter."""
    if not _PIECES.fullmatch(operand):
        raise InvalidFilter(
            FILTER, f"{name}: a semicolon or backslash without a backslash before it"
        )
    return re.sub(r"\\(.)", r"\1", operand, flags=re.DOTALL)


def moment(name: str, text: str) -> tuple[datetime, datetime]:
    """A time to the microsecond, rounded down and up; without an offset it is UTC.

    Raises InvalidFilter.
    """
    try:
        at = datetime.fromisoformat(_PLUS.sub(r"\1+\2", text.strip()))
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        return at, at + MICROSECOND if _FINER.search(text) else at
    except (ValueError, OverflowError):
        raise InvalidFilter(FILTER, f"{name}: {text!r} is not an ISO 8601 date and time") from None


def _reason(name: str) -> int:
    return PAGING if name in {"page", "pageSize"} else FILTER
