"""Bodies: what they may say, what is said of those that may not, and what is answered."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.apio import codes, wire
from api.apio.codes import Refusal
from storage.entries import Account
from storage.platforms import RecordingPlatform, RecordingProperties

BODY: dict[str, Any] = {
    "name": "Call Rec Platform 2",
    "netAddress": "10.0.32.55",
    "port": 222,
    "mediaStream": "Dual",
    "transportProtocol": "UDP",
    "description": "test description",
    "schemaVersion": "1.0",
    "supportVideoRecording": False,
}
"""As printed in the publisher's page."""
ENTRY = RecordingPlatform(
    "Call Rec Platform 2", "10.0.32.55", "Dual", "UDP", "1.0", False, 222, "test description"
)
REQUIRED = [name for name in BODY if name not in {"port", "description"}]

GOOD: tuple[tuple[str, Any, str, Any], ...] = (
    ("name", "a", "name", "a"),
    ("name", "Größe/№ 1: _x_", "name", "Größe/№ 1: _x_"),
    ("name", "n" * 80, "name", "n" * 80),
    ("netAddress", "srs.example.com.", "net_address", "srs.example.com."),
    ("netAddress", "2001:db8::1", "net_address", "2001:db8::1"),
    ("netAddress", "localhost", "net_address", "localhost"),
    ("port", 1, "port", 1),
    ("port", 65_535, "port", 65_535),
    ("mediaStream", "Single", "media_stream", "Single"),
    ("transportProtocol", "TCP", "transport_protocol", "TCP"),
    ("transportProtocol", "Unspecified", "transport_protocol", "Unspecified"),
    ("description", "d" * 80, "description", "d" * 80),
    ("description", "", "description", ""),
    ("schemaVersion", "2.0", "schema_version", "2.0"),
    ("schemaVersion", "3.0", "schema_version", "3.0"),
    ("supportVideoRecording", True, "support_video_recording", True),
)
BAD: tuple[tuple[str, Any], ...] = (
    *((name, None) for name in BODY),
    *((name, []) for name in BODY),
    *((name, {"a": 1}) for name in BODY),
    *((name, 7.5) for name in BODY),
    ("name", ""),
    ("name", "n" * 81),
    ("name", "a\nb"),
    ("name", "a\x00"),
    ("name", ".."),
    ("name", 5),
    ("netAddress", ""),
    ("netAddress", "a" * 81),
    ("netAddress", "two words"),
    ("netAddress", "10.0.0.256"),
    ("netAddress", "http://a/"),
    ("netAddress", "a:5060"),
    ("netAddress", "[::1]"),
    ("netAddress", "grö.example"),
    ("port", -1),
    ("port", 65_536),
    ("port", 10**30),
    ("port", "222"),
    ("port", True),
    ("mediaStream", "dual"),
    ("mediaStream", "Triple"),
    ("mediaStream", ""),
    ("transportProtocol", "TLS"),
    ("transportProtocol", "udp"),
    ("description", "d" * 81),
    ("description", 5),
    ("schemaVersion", 1),
    ("schemaVersion", "4.0"),
    ("supportVideoRecording", "false"),
    ("supportVideoRecording", 0),
)
PROPERTIES: dict[str, Any] = {
    "continueCallAfterRecordingFailure": True,
    "refreshPeriodSeconds": 60,
    "maxConsecutiveFailures": 1,
    "maxResponseWaitTimeMilliseconds": 3000,
    "continueCallAfterVideoRecordingFailure": True,
}
"""As printed in the publisher's page."""
RANGES = {
    "refreshPeriodSeconds": ("refresh_period_s", 10, 300),
    "maxConsecutiveFailures": ("max_consecutive_failures", 1, 10),
    "maxResponseWaitTimeMilliseconds": ("max_response_wait_ms", 50, 10_000),
}


def refused(make: Any, body: dict[str, Any]) -> str:
    with pytest.raises(Refusal) as caught:
        make(body)
    assert (caught.value.status, caught.value.code) == (400, None)
    return str(caught.value)


def test_the_published_example() -> None:
    assert wire.new_platform(BODY) == ENTRY
    assert wire.changes(BODY) == {
        name: value
        for name, value in zip(ENTRY.__struct_fields__, vars_of(ENTRY), strict=True)
        if name != "name"
    }
    shown = wire.platform_list([ENTRY], "Call Rec Platform 1")
    assert shown == {"systemDefault": "Call Rec Platform 1", "callRecordingPlatforms": [BODY]}
    assert list(shown["callRecordingPlatforms"][0]) == list(BODY), "in this order"


def vars_of(entry: RecordingPlatform) -> list[object]:
    return [getattr(entry, name) for name in entry.__struct_fields__]


@pytest.mark.parametrize(("name", "value", "attribute", "stored"), GOOD)
def test_what_a_member_may_say(name: str, value: Any, attribute: str, stored: Any) -> None:
    assert wire.new_platform(BODY | {name: value}) == replace(ENTRY, **{attribute: stored})
    if name != "name":
        assert wire.changes({name: value}) == {attribute: stored}


@pytest.mark.parametrize(("name", "value"), BAD, ids=repr)
def test_what_it_may_not_is_told_by_its_name(name: str, value: Any) -> None:
    assert refused(wire.new_platform, BODY | {name: value}).startswith(f"{name}: must be ")
    if name != "name":
        assert refused(wire.changes, {name: value}).startswith(f"{name}: must be ")


@pytest.mark.parametrize("name", REQUIRED)
def test_what_a_new_platform_must_say(name: str) -> None:
    body = {each: value for each, value in BODY.items() if each != name}
    assert refused(wire.new_platform, body) == f"{name}: required"


def test_what_a_new_platform_need_not_say() -> None:
    body = {name: BODY[name] for name in REQUIRED}
    assert wire.new_platform(body) == replace(ENTRY, port=None, description="")


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert refused(wire.new_platform, {"port": 5}) == f"{', '.join(REQUIRED)}: required"
    text = refused(wire.changes, {"port": 70_000, "default": 1, "mediaStream": "dual"})
    assert text == (
        "default: must be true or false; port: must be a number from 1 to 65535; "
        'mediaStream: must be "Dual" or "Single"'
    )


def test_a_change_takes_away_what_is_optional() -> None:
    assert wire.changes({"port": 0}) == {"port": None}
    assert wire.changes({"description": ""}) == {"description": ""}
    assert "port: must be" in refused(wire.changes, {"port": False})
    assert "port: must be" in refused(wire.new_platform, BODY | {"port": 0})


def test_members_nobody_knows_are_passed_over() -> None:
    extra: dict[str, Any] = {"id": 5, "systemDefault": None, "groups": []}
    assert wire.new_platform(BODY | extra | {"default": "x"}) == ENTRY
    assert wire.changes(extra | {"name": "Other"}) == {}
    assert wire.property_changes(extra | BODY) == {}


def test_what_is_not_there_is_not_shown() -> None:
    bare = replace(ENTRY, port=None, description="")
    shown = wire.platform(bare, None)
    assert shown == {"default": False} | {n: BODY[n] for n in REQUIRED if n != "name"}
    assert wire.platform(bare, "Call Rec Platform 2")["default"] is True
    assert wire.platform_list([], None) == {"systemDefault": "", "callRecordingPlatforms": []}


def test_the_properties_as_published() -> None:
    shown = wire.properties(RecordingProperties())
    assert shown == PROPERTIES and list(shown) == list(PROPERTIES)
    assert replace(RecordingProperties(), **wire.property_changes(PROPERTIES)) == (
        RecordingProperties()
    )


@pytest.mark.parametrize("name", RANGES)
def test_the_ranges_of_the_properties(name: str) -> None:
    attribute, least, most = RANGES[name]
    for value in (least, most):
        assert wire.property_changes({name: value}) == {attribute: value}
    for wrong in (least - 1, most + 1, str(least), None, True, least + 0.5):
        text = refused(wire.property_changes, {name: wrong})
        assert text == f"{name}: must be a number from {least} to {most}"


@pytest.mark.parametrize("name", ["Recording", "VideoRecording"])
def test_whether_calls_continue(name: str) -> None:
    name = f"continueCallAfter{name}Failure"
    (attribute,) = wire.property_changes({name: False})
    changed = replace(RecordingProperties(), **{attribute: False})
    assert wire.properties(changed) == PROPERTIES | {name: False}
    for value in (0, "true", None):
        assert refused(wire.property_changes, {name: value}) == f"{name}: must be true or false"


def test_groups_are_accounts_by_name() -> None:
    groups = [Account(7, "ApioGrpTest", tenant="ApioSpTest"), Account(8)]
    assert wire.usage(groups) == {
        "groups": [
            {"groupId": "ApioGrpTest", "tenantId": "ApioSpTest"},
            {"groupId": "8", "tenantId": ""},
        ]
    }


def test_a_refusal_has_a_code_or_details() -> None:
    assert wire.refusal(codes.unknown_platform()) == {
        "errors": [
            {
                "code": 18,
                "message": "INVALID_OPERATION",
                "details": "Call Recording platform does not exist.",
            }
        ]
    }
    assert wire.refusal(codes.invalid("a: b")) == {"details": "a: b"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=90),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from([*BODY, *PROPERTIES, "default", "other"])


@settings(deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=8))
def test_any_object_is_taken_or_refused(body: dict[str, Any]) -> None:
    for make in (wire.new_platform, wire.changes, wire.property_changes):
        try:
            make({**BODY, **body})
        except Refusal as refusal:
            assert refusal.status == 400
            assert str(refusal).split(":")[0] in {*BODY, *PROPERTIES, "default"}
