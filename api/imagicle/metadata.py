"""What is said of an upload: the JSON of its part `jsondata`. Pure.

Counterpart: `api.imagicle.upload`, which receives it.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from siprec.importer import Upload
from storage.entries import Direction

DIRECTIONS: dict[int, Direction | Literal[""]] = {0: "", 1: "incoming", 2: "outgoing"}
"""Direction as a number -> ours."""

Text = Annotated[str, Meta(max_length=255)]
Required = Annotated[str, Meta(min_length=1, max_length=255)]


class InvalidData(Exception):
    """It is null, or nothing that can be read."""


class InvalidMetadata(Exception):
    """Something in it cannot be so; the text says what."""


class LocalParty(Struct, rename="camel"):
    """Whose call it was."""

    username: Required
    phone_number: Required


class RemoteParty(Struct, rename="camel"):
    """With whom."""

    phone_number: Text | None = None


class Metadata(Struct, rename="camel"):
    """The whole of it."""

    start_date_time: str
    duration: str
    direction: Literal[0, 1, 2]
    local_party: LocalParty
    remote_party: RemoteParty | None = None
    pbx_call_id: Text | None = None
    notes: str | None = None
    preserved: bool | None = None


def parse(body: bytes, now: datetime) -> Upload:
    """The upload that is described. Raises InvalidData, InvalidMetadata.

    A time without an offset is UTC; `now`: nothing begins later.
    """
    said = _metadata(_tree(body))
    remote = said.remote_party.phone_number if said.remote_party else None
    return Upload(
        said.local_party.username,
        _start(said.start_date_time, now),
        _duration_ms(said.duration),
        said.local_party.phone_number,
        remote or "",
        DIRECTIONS[said.direction],
        said.pbx_call_id or "",
        said.notes or "",
        bool(said.preserved),
    )


def _tree(body: bytes) -> dict[str, Any]:
    try:
        tree = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidData("The body cannot be parsed as JSON") from None
    if not isinstance(tree, dict):
        raise InvalidData("The body is null or no JSON object")
    return tree


def _metadata(tree: dict[str, Any]) -> Metadata:
    try:
        return msgspec.convert(tree, Metadata)
    except msgspec.ValidationError as error:
        raise InvalidMetadata(str(error)) from None


def _start(text: str, now: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidMetadata("startDateTime: not an ISO 8601 date and time") from None
    if at > now:
        raise InvalidMetadata("startDateTime: it is in the future")
    return at


def _duration_ms(text: str) -> int:
    try:
        duration = msgspec.convert(text, timedelta)
    except (msgspec.ValidationError, OverflowError):
        raise InvalidMetadata("duration: not an ISO 8601 duration") from None
    if duration <= timedelta(0):
        raise InvalidMetadata("duration: it is not more than 0")
    return max(1, duration // timedelta(milliseconds=1))
