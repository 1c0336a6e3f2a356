"""Recording platforms, their properties, integrations: what a field may be."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.entries import Entry
from storage.platforms import Integration, RecordingPlatform, RecordingProperties, is_host

PLATFORM: dict[str, Any] = {
    "name": "Call Rec Platform 1",
    "net_address": "10.0.32.55",
    "media_stream": "Dual",
    "transport_protocol": "UDP",
    "schema_version": "1.0",
    "support_video_recording": False,
}
INTEGRATION: dict[str, Any] = {"guid": "d7ae7ea9bf56ebdc:-3f5d0705:1559c8e762d:-8000", "number": 1}

HOSTS = (
    "192.0.2.1",
    "2001:db8::1",
    "::1",
    "localhost",
    "srs.example.com",
    "srs.example.com.",
    "SBC_1.example.com",
    "3com.example",
    "1.2.3.4.example",
    "xn--gre-6ka8i.example",
    "a" * 63,
)
NO_HOSTS = (
    "",
    ".",
    "..",
    "a..b",
    ".a",
    "-a",
    "a-",
    "a b",
    "a\n",
    "a:5060",
    "[::1]",
    "fe80::1%eth0",
    "10.0.0.256",
    "10.0.0",
    "10",
    "10.",
    "sip:a",
    "a/b",
    "a@b",
    "größe.example",
    "1٢.example٣",
    "a" * 64,
)

GOOD: tuple[tuple[type[Entry], dict[str, Any]], ...] = (
    (RecordingPlatform, PLATFORM),
    (RecordingPlatform, PLATFORM | {"name": "№ 1/2 'größe'", "port": 65_535}),
    (RecordingPlatform, PLATFORM | {"description": "d" * 80, "media_stream": "Single"}),
    (RecordingPlatform, PLATFORM | {"transport_protocol": "Unspecified", "schema_version": "3.0"}),
    (RecordingProperties, {}),
    (
        RecordingProperties,
        {"refresh_period_s": 10, "max_consecutive_failures": 10, "max_response_wait_ms": 50},
    ),
    (Integration, INTEGRATION),
    (Integration, INTEGRATION | {"account": 100, "route": 7, "hosts": ["a.example/x", "b"]}),
)
BAD: tuple[tuple[type[Entry], dict[str, Any], str], ...] = (
    (RecordingPlatform, PLATFORM | {"name": ""}, "name"),
    (RecordingPlatform, PLATFORM | {"name": "n" * 81}, "name"),
    (RecordingPlatform, PLATFORM | {"name": "a\n"}, "name"),
    (RecordingPlatform, PLATFORM | {"name": "a\x7f"}, "name"),
    (RecordingPlatform, PLATFORM | {"net_address": ""}, "net_address"),
    (RecordingPlatform, PLATFORM | {"net_address": "a" * 81}, "net_address"),
    (RecordingPlatform, PLATFORM | {"port": 0}, "port"),
    (RecordingPlatform, PLATFORM | {"port": 65_536}, "port"),
    (RecordingPlatform, PLATFORM | {"media_stream": "dual"}, "media_stream"),
    (RecordingPlatform, PLATFORM | {"transport_protocol": "TLS"}, "transport_protocol"),
    (RecordingPlatform, PLATFORM | {"schema_version": "4.0"}, "schema_version"),
    (RecordingPlatform, PLATFORM | {"support_video_recording": 0}, "support_video_recording"),
    (RecordingPlatform, PLATFORM | {"description": "d" * 81}, "description"),
    (RecordingPlatform, PLATFORM | {"default": True}, "default"),
    (RecordingProperties, {"default_platform": ""}, "default_platform"),
    (RecordingProperties, {"refresh_period_s": 9}, "refresh_period_s"),
    (RecordingProperties, {"refresh_period_s": 301}, "refresh_period_s"),
    (RecordingProperties, {"max_consecutive_failures": 0}, "max_consecutive_failures"),
    (RecordingProperties, {"max_consecutive_failures": 11}, "max_consecutive_failures"),
    (RecordingProperties, {"max_response_wait_ms": 49}, "max_response_wait_ms"),
    (RecordingProperties, {"max_response_wait_ms": 10_001}, "max_response_wait_ms"),
    (
        RecordingProperties,
        {"continue_call_after_recording_failure": "yes"},
        "continue_call_after_recording_failure",
    ),
    (Integration, INTEGRATION | {"guid": "1-2-3"}, "guid"),
    (Integration, INTEGRATION | {"number": 0}, "number"),
    (Integration, INTEGRATION | {"type": "Other"}, "type"),
    (Integration, INTEGRATION | {"hosts": ["a", "b", "c"]}, "hosts"),
)


@pytest.mark.parametrize("text", HOSTS)
def test_what_can_be_a_host(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize("text", NO_HOSTS)
def test_what_cannot(text: str) -> None:
    assert not is_host(text)


@given(st.text(max_size=300))
def test_any_text_is_a_host_or_not(text: str) -> None:
    assert is_host(text) in {True, False}


@pytest.mark.parametrize(("kind", "fields"), GOOD, ids=str)
def test_an_entry_is_the_same_after_json(kind: type[Entry], fields: dict[str, Any]) -> None:
    entry = msgspec.convert(fields, kind)
    assert msgspec.json.decode(msgspec.json.encode(entry), type=kind) == entry


@pytest.mark.parametrize(("kind", "fields", "name"), BAD, ids=str)
def test_a_value_out_of_bounds_is_named(
    kind: type[Entry], fields: dict[str, Any], name: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(fields, kind)
    assert f"{name}" in str(caught.value)


def test_what_holds_unless_somebody_says() -> None:
    properties = RecordingProperties()
    assert properties.continue_call_after_recording_failure
    assert properties.continue_call_after_video_recording_failure
    assert (properties.refresh_period_s, properties.max_consecutive_failures) == (60, 1)
    assert (properties.max_response_wait_ms, properties.default_platform) == (3000, None)
