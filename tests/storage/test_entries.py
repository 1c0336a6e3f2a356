"""The nouns of the directory: what a field may be, and what tells entries apart."""

from typing import Any

import msgspec
import pytest

from storage.entries import (
    DEFAULT_PERMISSIONS,
    KEEP,
    KINDS,
    PROFILES,
    Account,
    CustomField,
    Destination,
    Entry,
    ExportTemplate,
    MetadataType,
    Policy,
    PolicyAction,
    Profile,
    Route,
    ScreenAgent,
    User,
    UserType,
    as_key,
    key_of,
    kind_of,
    shown,
)
from storage.platforms import Integration, RecordingPlatform, RecordingProperties

GUID = "1f:-2:3:-4"
ONE_OF_EACH: tuple[tuple[str, str, Entry], ...] = (
    ("platforms", "a b", RecordingPlatform("a b", "192.0.2.1", "Dual", "UDP", "1.0", False)),
    ("recording-properties", "system", RecordingProperties("a b")),
    ("accounts", "100", Account(100)),
    ("routes", "7", Route(7, 100)),
    ("users", "ann@example.com", User("Ann@Example.com", 100)),
    ("custom-fields", "Case No", CustomField("Case No")),
    ("metadata-types", "apkt:realm", MetadataType("apkt:realm")),
    ("templates", "a.1.2", ExportTemplate("a.1", 2, "")),
    ("destinations", "hook", Destination("hook", "RECORDING_ENDED_EVENT", "http://a/")),
    ("screen-agents", "7001", ScreenAgent("7001", "192.0.2.1")),
    ("policies", "screens", Policy("screens", "x", [PolicyAction("StopAudio")])),
    ("integrations", GUID, Integration(GUID, 2)),
)

BAD: tuple[tuple[type[Entry], dict[str, Any], str], ...] = (
    (Account, {"number": 0}, "$.number"),
    (Account, {"number": 2_000_000_001}, "$.number"),
    (Account, {"number": True}, "$.number"),
    (Account, {"number": 5, "retention_days": -1}, "$.retention_days"),
    (Account, {"number": 5, "name": "n" * 256}, "$.name"),
    (Account, {"number": 5, "channels": -1}, "$.channels"),
    (Account, {"number": 5, "platform": ""}, "$.platform"),
    (Route, {"id": 7, "account": 1, "percent": 101}, "$.percent"),
    (Route, {"id": 7, "account": 1, "pattern": ""}, "$.pattern"),
    (Route, {"id": 7, "account": 1, "prebuffer_s": 61}, "$.prebuffer_s"),
    (Route, {"id": 7, "account": 1, "record": "sometimes"}, "$.record"),
    (Route, {"id": 7, "account": 1, "directions": ["in"]}, "$.directions[0]"),
    (Route, {"id": 7, "account": 1, "traffic": ["local"]}, "$.traffic[0]"),
    (Route, {"id": 7, "account": 1, "blocked": ["9" * 256]}, "$.blocked[0]"),
    (User, {"email": "ann", "account": 1}, "$.email"),
    (User, {"email": "a@b", "account": 1, "numeric_id": 5}, "$.numeric_id"),
    (User, {"email": "ann@b\n", "account": 1}, "$.email"),
    (User, {"email": "ann@b", "account": 1, "permissions": ["root"]}, "$.permissions[0]"),
    (User, {"email": "ann@b", "account": 1, "password": "secret"}, "password"),
    (CustomField, {"name": "../x"}, "$.name"),
    (CustomField, {"name": "a\n"}, "$.name"),
    (CustomField, {"name": "a" * 101}, "$.name"),
    (MetadataType, {"name": "a b"}, "$.name"),
    (ExportTemplate, {"name": "v", "version": 0, "text": ""}, "$.version"),
    (ExportTemplate, {"name": "v", "version": 1, "text": "x" * 65_537}, "$.text"),
    (
        ExportTemplate,
        {"name": "v", "version": 1, "text": "", "media_type": "text/xml\r\nX: 1"},
        "$.media_type",
    ),
    (Destination, {"name": "d", "event": "OTHER", "url": "http://a"}, "$.event"),
    (
        Destination,
        {"name": "d", "event": "RECORDING_ENDED_EVENT", "url": "file:///etc/passwd"},
        "$.url",
    ),
    (
        Destination,
        {"name": "d", "event": "RECORDING_ENDED_EVENT", "url": "http://a/\r\nX: 1"},
        "$.url",
    ),
    (Policy, {"name": "p", "event": "a b", "actions": []}, "$.event"),
    (Policy, {"name": "p", "event": "a", "actions": [{"type": "Reboot"}]}, "$.actions[0].type"),
)


def test_every_kind_is_told_apart_by_its_key() -> None:
    assert [kind for kind, _, _ in ONE_OF_EACH] == list(KINDS)
    for kind, key, entry in ONE_OF_EACH:
        assert (kind_of(entry), key_of(entry)) == (kind, key)
        assert type(entry) is KINDS[kind]


def test_an_entry_is_the_same_after_json() -> None:
    for _, _, entry in ONE_OF_EACH:
        assert msgspec.json.decode(msgspec.json.encode(entry), type=type(entry)) == entry


@pytest.mark.parametrize(("kind", "fields", "place"), BAD, ids=str)
def test_a_value_out_of_bounds_is_named(
    kind: type[Entry], fields: dict[str, Any], place: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(fields, kind)
    assert f"`{place}`" in str(caught.value)


def test_only_the_case_of_addresses_does_not_count() -> None:
    assert as_key("users", "Ann@B") == "ann@b"
    assert as_key("custom-fields", "Case") == "Case"


def test_a_secret_is_never_shown() -> None:
    with_secret = Destination("d", "RECORDING_ENDED_EVENT", "http://a/", secret="hush")
    assert shown(with_secret) == msgspec.structs.replace(with_secret, secret=KEEP)
    without = msgspec.structs.replace(with_secret, secret="")
    assert shown(without) is without
    assert "hush" not in str(shown(with_secret))


def test_there_is_a_format_for_every_profile_and_a_default_for_every_type() -> None:
    assert set(PROFILES) == set(Profile.__args__)  # type: ignore[attr-defined]
    assert set(DEFAULT_PERMISSIONS) == set(UserType.__args__)  # type: ignore[attr-defined]
    assert "delete" not in DEFAULT_PERMISSIONS["api"]
    assert DEFAULT_PERMISSIONS["tenant"] == {"playback", "download"}
