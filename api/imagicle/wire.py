"""What the answers are made of: ids, times, durations, users, recordings. Pure.

Names and forms are those of the product integration guide; what is not known is null.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from api.imagicle.metadata import DIRECTIONS
from storage.directory import Entries
from storage.entries import User
from storage.records import AuditEntry, FileRecord, Recording

Tree = dict[str, Any]

DIRECTION_NUMBERS: dict[str, int] = {ours: number for number, ours in DIRECTIONS.items()}
_GUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def recording_id(text: str) -> str | None:
    """The id of the recording that a GUID stands for, in either case; None: it is no GUID."""
    return UUID(text).hex if _GUID.fullmatch(text) else None


def guid(recording_id: str) -> str:
    """A recording's id as a GUID, in lower case."""
    return str(UUID(recording_id))


def moment(at: datetime) -> str:
    """`at` in UTC with seven decimals: `2018-11-01T14:39:15.0000000+00:00`."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}0+00:00"


def duration(length: timedelta) -> str:
    """An ISO 8601 duration to the millisecond: `PT1M31.87S`, `PT2H0M0S`."""
    seconds, ms = divmod(max(length, timedelta(0)) // timedelta(milliseconds=1), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    decimals = f".{ms:03}".rstrip("0") if ms else ""
    return f"PT{f'{hours}H' if hours else ''}{minutes}M{seconds}{decimals}S"


def reference_number(row: Recording) -> str:
    """The year it began in, and its number in eight digits: `201700000175`."""
    return f"{row.started_at.astimezone(UTC):%Y}{row.number:08}"


def username(entries: Entries, email: str) -> str | None:
    """What a user is called; who has no user name, or is no longer there, by e-mail address."""
    user = entries.users.get(email.lower())
    return (user.username if user else "") or email or None


def person(entries: Entries, email: str) -> Tree | None:
    """A user, also one who is no longer there; None if it is nobody."""
    if not email:
        return None
    user = entries.users.get(email.lower()) or User(email, 1)
    return {
        "username": username(entries, email),
        "firstName": user.first_name or None,
        "lastName": user.last_name or None,
        "phoneNumber": next(iter(user.lines), None),
        "group": user.group or None,
        "department": user.department or None,
    }


def listed(row: Recording, entries: Entries) -> Tree:
    """A recording in a list."""
    return {**_common(row), "ownerUsername": username(entries, row.owner)}


def detailed(row: Recording, entries: Entries) -> Tree:
    """A recording by itself."""
    audio = next((file for file in row.files if file.format == "wav"), None)
    is_kept = row.never_expire or row.hold
    keeper = editor(row, "never_expire=true", "hold=true") if is_kept else ""
    note = {"owner": person(entries, editor(row, "note")), "text": row.note}
    return {
        **_common(row),
        "pbxCallId": row.call_id or None,
        "owner": person(entries, row.owner),
        "preservingUser": person(entries, keeper),
        "note": note if row.note else None,
        **_file(audio),
    }


def live(row: Recording, entries: Entries, now: datetime) -> Tree:
    """A recording that goes on."""
    return {
        "id": guid(row.id),
        "duration": duration(now - row.started_at),
        "startedAt": moment(row.started_at),
        "localParty": {"username": username(entries, row.owner)},
        "remoteParty": _contact(row, entries),
        "isPaused": row.paused_at_end,
    }


def editor(row: Recording, *changes: str) -> str:
    """Who made the last of these changes, as the history has them; empty if it does not say."""
    told = (entry.actor for entry in reversed(row.history) if {*_changes(entry)} & {*changes})
    return next(told, "")


def _changes(entry: AuditEntry) -> Iterator[str]:
    if entry.action == "update":
        yield from entry.reason.split(", ")


def _common(row: Recording) -> Tree:
    ended_at = row.ended_at or row.started_at + timedelta(milliseconds=row.duration_ms)
    return {
        "id": guid(row.id),
        "referenceNumber": reference_number(row),
        "startTime": moment(row.started_at),
        "duration": duration(ended_at - row.started_at),
        "direction": DIRECTION_NUMBERS.get(row.direction, 0),
        "localPartyNumber": row.local_party or None,
        "remotePartyNumber": row.remote_party or None,
    }


def _file(audio: FileRecord | None) -> Tree:
    if audio is None:
        return {"size": None, "hash": None}
    return {"size": audio.size_bytes, "hash": {"SHA256": audio.sha256.upper()}}


def _contact(row: Recording, entries: Entries) -> Tree:
    """Who the other is: a user of the account, or as the recording client calls them."""
    user = entries.lines.get((row.account, row.remote_party))
    if user:
        first, last = user.first_name, user.last_name
    else:
        names = (each.name for each in row.participants if number_of(each.aor) == row.remote_party)
        first, _, last = next(filter(None, names), "").strip().rpartition(" ")
    return {
        "firstName": first or None,
        "lastName": last or None,
        "phoneNumber": row.remote_party or None,
    }


_SCHEME = re.compile(r"(sips?|tel):", re.IGNORECASE)


def number_of(aor: str) -> str:
    """The user part of an address of record, without parameters."""
    return re.split("[@:;?]", _SCHEME.sub("", aor.strip(), count=1), maxsplit=1)[0]
