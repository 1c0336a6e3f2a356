"""Platforms and properties as they are on the wire, and what a body may say of them.

Pure. The names are APIO's; what a value may be is said by the entry (`storage.platforms`). Unknown
members are passed over; of those that are wrong, each is named.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import structs

from api.apio.codes import Refusal, invalid
from storage.entries import Account, Entry
from storage.platforms import RecordingPlatform, RecordingProperties, is_host

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an object."""

    name: str
    attribute: str
    """Of the entry."""
    kind: Any
    """Type, with its limits."""
    expected: str
    """What a value must be, for people."""
    holds: Callable[[Any], bool] = lambda _: True
    """What the type cannot say."""
    empty: object = ...
    """Value that takes the one there is away; `...`: there is none."""


def _is_name(text: str) -> bool:
    return text not in {".", ".."}


def _of(kind: type[Entry]) -> Mapping[str, Any]:
    return {each.name: each.type for each in structs.fields(kind)}


_PLATFORM, _PROPERTIES = _of(RecordingPlatform), _of(RecordingProperties)
_BOOLEAN = "true or false"

NAME = Field(
    "name",
    "name",
    _PLATFORM["name"],
    "1 to 80 characters, none of them a control character, and no dots alone",
    _is_name,
)
DEFAULT = Field("default", "default", bool, _BOOLEAN)
FIELDS: Sequence[Field] = (
    Field(
        "netAddress",
        "net_address",
        _PLATFORM["net_address"],
        "an IP address, a host or a domain, of 1 to 80 characters",
        is_host,
    ),
    Field("port", "port", _PLATFORM["port"], "a number from 1 to 65535", empty=0),
    Field("mediaStream", "media_stream", _PLATFORM["media_stream"], '"Dual" or "Single"'),
    Field(
        "transportProtocol",
        "transport_protocol",
        _PLATFORM["transport_protocol"],
        '"UDP", "TCP" or "Unspecified"',
    ),
    Field(
        "description", "description", _PLATFORM["description"], "at most 80 characters", empty=""
    ),
    Field("schemaVersion", "schema_version", _PLATFORM["schema_version"], '"1.0", "2.0" or "3.0"'),
    Field("supportVideoRecording", "support_video_recording", bool, _BOOLEAN),
)
"""Of a platform, besides its name, in the order they are answered."""

PROPERTIES: Sequence[Field] = tuple(
    Field(name, attribute, _PROPERTIES[attribute], expected)
    for name, attribute, expected in (
        ("continueCallAfterRecordingFailure", "continue_call_after_recording_failure", _BOOLEAN),
        ("refreshPeriodSeconds", "refresh_period_s", "a number from 10 to 300"),
        ("maxConsecutiveFailures", "max_consecutive_failures", "a number from 1 to 10"),
        ("maxResponseWaitTimeMilliseconds", "max_response_wait_ms", "a number from 50 to 10000"),
        (
            "continueCallAfterVideoRecordingFailure",
            "continue_call_after_video_recording_failure",
            _BOOLEAN,
        ),
    )
)
"""In the order they are answered."""


def new_platform(body: Mapping[str, object]) -> RecordingPlatform:
    """The platform that a POST describes. Raises Refusal."""
    every = (NAME, *FIELDS)
    optional = {each.name for each in structs.fields(RecordingPlatform) if not each.required}
    missing = [f.name for f in every if f.attribute not in optional and f.name not in body]
    if missing:
        raise invalid(f"{', '.join(missing)}: required")
    return RecordingPlatform(**_values(every, body))


def changes(body: Mapping[str, object]) -> Tree:
    """What a PUT says of a platform, by attribute; `default` is none of the entry's. Raises
    Refusal."""
    without = {
        each.attribute: None if each.name == "port" else ""
        for each in FIELDS
        if each.empty is not ... and _is(body.get(each.name), each.empty)
    }
    rest = (each for each in (DEFAULT, *FIELDS) if each.attribute not in without)
    return {**_values(rest, body), **without}


def property_changes(body: Mapping[str, object]) -> Tree:
    """What a PUT says of the properties, by attribute. Raises Refusal."""
    return _values(PROPERTIES, body)


def _is(value: object, other: object) -> bool:
    """Whether it is the same value of the same type: false is not 0."""
    return type(value) is type(other) and value == other


def _values(expected: Iterable[Field], body: Mapping[str, object]) -> Tree:
    found = {each: body[each.name] for each in expected if each.name in body}
    wrong = [each for each, value in found.items() if not _fits(each, value)]
    if wrong:
        raise _wrong(wrong)
    return {each.attribute: value for each, value in found.items()}


def _fits(field: Field, value: object) -> bool:
    if value is None:
        return False
    try:
        msgspec.convert(value, field.kind)
    except msgspec.ValidationError:
        return False
    return field.holds(value)


def _wrong(wrong: Iterable[Field]) -> Refusal:
    return invalid("; ".join(f"{each.name}: must be {each.expected}" for each in wrong))


def platform_list(platforms: Iterable[RecordingPlatform], default: str | None) -> Tree:
    """All platforms, and which is the system's default."""
    listed = [{"name": each.name, **_tree(FIELDS, each)} for each in platforms]
    return {"systemDefault": default or "", "callRecordingPlatforms": listed}


def platform(entry: RecordingPlatform, default: str | None) -> Tree:
    """One platform: without its name, which is in the path, and whether it is the default."""
    return {"default": entry.name == default, **_tree(FIELDS, entry)}


def properties(entry: RecordingProperties) -> Tree:
    """The properties."""
    return _tree(PROPERTIES, entry)


def usage(groups: Iterable[Account]) -> Tree:
    """The accounts that use a platform, as groups of their tenants."""
    return {
        "groups": [
            {"groupId": each.name or str(each.number), "tenantId": each.tenant} for each in groups
        ]
    }


def refusal(error: Refusal) -> Tree:
    """The body of an answer that refuses."""
    details = str(error)
    if error.code is None:
        return {"details": details}
    code, name = error.code.number, error.code.name
    return {"errors": [{"code": code, "message": name, "details": details}]}


def _tree(fields: Iterable[Field], entry: Entry) -> Tree:
    """The members that say something."""
    found = ((each.name, getattr(entry, each.attribute)) for each in fields)
    return {name: value for name, value in found if value is not None and value != ""}
