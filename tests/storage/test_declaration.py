"""Directory files: what is read, what is refused and where, and what is written."""

import time
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from storage.declaration import MAX_OCTETS, convert, read, write
from storage.entries import (
    Account,
    Destination,
    Entry,
    ExportTemplate,
    Parameter,
    Policy,
    PolicyAction,
    Route,
    When,
)
from storage.platforms import Integration, RecordingPlatform, RecordingProperties
from storage.records import InvalidEntry

TOML = b"""
[[policies]]
name = "screens"
event = "AudioRecordingStarted"
when = { account = 100 }
actions = [{ type = "HttpNotify", url = "http://a/" }]

[[accounts]]
number = 100
name = "Contact centre"
"""
YAML = b"""
accounts:
  - number: 100
    name: Contact centre
policies:
  - name: screens
    event: AudioRecordingStarted
    when: {account: 100}
    actions:
      - {type: HttpNotify, url: "http://a/"}
"""
ENTRIES: list[Entry] = [
    Account(100, "Contact centre"),
    Policy(
        "screens",
        "AudioRecordingStarted",
        [PolicyAction("HttpNotify", url="http://a/")],
        When(account=100),
    ),
]

PLATFORMS_TOML = b"""
[[platforms]]
name = "Call Rec 1"
net_address = "srs.example.com"
media_stream = "Dual"
transport_protocol = "UDP"
schema_version = "1.0"
support_video_recording = false
"""
PLATFORMS_YAML = b"""
integrations:
  - {guid: "1f:-2:3:-4", number: 2, hosts: [srs.example.com], users: [ann@example.com]}
recording-properties:
  - {default_platform: Call Rec 1, refresh_period_s: 30}
accounts:
  - {number: 100, tenant: Enterprise, platform: Call Rec 1}
platforms:
  - name: Call Rec 1
    net_address: srs.example.com
    media_stream: Dual
    transport_protocol: UDP
    schema_version: "1.0"
    support_video_recording: false
"""
PLATFORMS: list[Entry] = [
    RecordingPlatform("Call Rec 1", "srs.example.com", "Dual", "UDP", "1.0", False),
    RecordingProperties("Call Rec 1", refresh_period_s=30),
    Account(100, tenant="Enterprise", platform="Call Rec 1"),
    Integration("1f:-2:3:-4", 2, hosts=["srs.example.com"], users=["ann@example.com"]),
]

WRONG_TOML: tuple[tuple[bytes, str], ...] = (
    (
        b"[[route]]\nid = 7",
        "route: unknown kind, expected one of platforms, recording-prop",
    ),
    (b'"a\\nb" = 1', "a b: unknown kind"),
    (b"accounts = 5", "accounts: expected a list of tables, [[accounts]]"),
    (b"[accounts]\nnumber = 5", "accounts: expected a list of tables"),
    (b"accounts = [5]", "accounts, no. 1: Expected `object`, got `int`"),
    (
        b"[[accounts]]\nnumber = 5\n[[accounts]]\nnumbr = 6",
        "accounts, no. 2: Object contains unknown field `numbr`",
    ),
    (b"[[accounts]]\nname = 'x'", "accounts, no. 1: Object missing required field `number`"),
    (b"[[accounts]]\nnumber = '5'", "accounts, no. 1: number: Expected `int`, got `str`"),
    (b"[[accounts]]\nnumber = 5\n" * 2, "accounts, no. 2: 5 is there twice"),
    (
        b"[[users]]\nemail = 'a@b'\naccount = 1\n[[users]]\nemail = 'A@b'\naccount = 1",
        "users, no. 2: a@b is there twice",
    ),
    (
        b"[[policies]]\nname = 'p'\nevent = 'e'\nactions = [{ type = 'StopAudio', url = 5 }]",
        "policies, no. 1: actions[0].url: Expected `str`, got `int`",
    ),
    (b"[[accounts]]\nnumber = 5\nnumber = 5", "not TOML: Cannot overwrite a value (at "),
    (b"accounts", "not TOML: Expected '=' after a key"),
    (b"\xff", "not UTF-8 at octet 0"),
    (b"[[accounts]]\nnumber = " + b"9" * 5000, "not TOML: Exceeds the limit"),
    (b"a = " + b"[" * 100_000, "not TOML: "),
    (b"#" * (MAX_OCTETS + 1), "larger than 4194304 octets"),
)
BOMB = b"a: &a [x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n + 1, n + 1, b", ".join([b"*%c" % n] * 9)) for n in range(97, 120)
)
WRONG_YAML: tuple[tuple[bytes, str], ...] = (
    (b"- number: 5", "not a directory file: expected a mapping of kinds"),
    (b"accounts: {number: 5}", "accounts: expected a list of tables"),
    (b"accounts:\n- number: 5\n  number: 6", "keys must be text, and each there once"),
    (b"accounts: []\naccounts: []", "keys must be text, and each there once"),
    (b"accounts:\n- 5: 6", "keys must be text, and each there once"),
    (b"accounts:\n- ? [a]\n  : 6", "not YAML: "),
    (b"accounts:\n- &a {number: 5}\n- *a", "an alias, or nested too deep"),
    (BOMB, "an alias, or nested too deep"),
    (b"accounts: " + b"[" * 1_000_000, "an alias, or nested too deep"),
    (b"accounts:\n" + b"".join(b" " * n + b"- a:\n" for n in range(0, 200, 2)), "nested too deep"),
    (b"accounts: !!python/object/apply:os.system ['id']", "could not determine a constructor"),
    (b"accounts:\n- !!python/name:os.system", "could not determine a constructor"),
    (b"accounts:\n- 2026-02-30", "not YAML: day "),
    (b"accounts:\n- number: 5\n  name: on", "accounts, no. 1: name: Expected `str`, got `bool`"),
    (b"accounts:\n- number: 5\n  name: 2026-01-01", "accounts, no. 1: name: Expected `str`"),
    (b'accounts:\n- number: 5\n  name: "\\ud800"', "not YAML: "),
    (b"accounts: [", "not YAML: "),
    (b"\xff\xfe", "not UTF-8 at octet 0"),
    (b"a\x00b", "not YAML: "),
    (b"--- 1\n--- 2\n", "not YAML: "),
)


def refusal(text: bytes, *, yaml: bool = False) -> str:
    with pytest.raises(InvalidEntry) as caught:
        read(text, yaml=yaml)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_toml_and_yaml_say_the_same() -> None:
    assert read(TOML) == read(YAML, yaml=True) == ENTRIES


def test_platforms_properties_and_integrations_say_the_same_in_both() -> None:
    text = write(PLATFORMS)
    assert read(text.encode()) == read(PLATFORMS_YAML, yaml=True) == PLATFORMS
    assert text.startswith("[[platforms]]\n") and "port =" not in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[[platforms]]\nname = 'a'", "platforms, no. 1: Object missing required field `net_add"),
        (
            PLATFORMS_TOML.replace(b"Dual", b"dual"),
            "platforms, no. 1: media_stream: Invalid enum value 'dual'",
        ),
        (PLATFORMS_TOML + b"port = 0", "platforms, no. 1: port: Expected `int` >= 1"),
        (PLATFORMS_TOML * 2, "platforms, no. 2: Call Rec 1 is there twice"),
        (b"[[recording-properties]]\n" * 2, "recording-properties, no. 2: system is there twice"),
        (b"[recording-properties]", "recording-properties: expected a list of tables"),
        (b"[[integrations]]\nnumber = 2\nguid = 'x'", "integrations, no. 1: guid: Expected"),
    ],
)
def test_wrong_platforms_are_refused_by_their_place(text: bytes, reason: str) -> None:
    assert reason in refusal(text)


def test_nothing_is_a_directory_file_too() -> None:
    assert read(b"") == read(b"", yaml=True) == read(b"# later\n", yaml=True) == []


@pytest.mark.parametrize(("text", "reason"), WRONG_TOML, ids=range(len(WRONG_TOML)))
def test_wrong_toml_is_refused_by_its_place(text: bytes, reason: str) -> None:
    assert reason in refusal(text)


@pytest.mark.parametrize(("text", "reason"), WRONG_YAML, ids=range(len(WRONG_YAML)))
def test_wrong_yaml_is_refused_by_its_place(text: bytes, reason: str) -> None:
    assert reason in refusal(text, yaml=True)


def test_text_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(InvalidEntry, match="text that is not Unicode"):
        convert({"number": 5, "name": "\ud800"}, Account)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert read(b"\xef\xbb\xbf" + TOML) == read(b"\xef\xbb\xbf" + YAML, yaml=True) == ENTRIES


def test_merged_keys_are_plain_keys() -> None:
    assert read(b"accounts:\n- <<: {name: x}\n  number: 5", yaml=True) == [Account(5, "x")]


def test_what_is_written_can_be_read_by_anybody() -> None:
    text = write(ENTRIES)
    assert read(text.encode()) == ENTRIES
    assert tomllib.loads(text)["accounts"] == [{"number": 100, "name": "Contact centre"}]


def test_only_what_was_said_is_written() -> None:
    assert write([Route(7, 100, dtmf_mask=False)]) == (
        "[[routes]]\nid = 7\naccount = 100\ndtmf_mask = false\n"
    )


def test_long_texts_keep_their_lines() -> None:
    template = ExportTemplate("v", 1, '<a>\r\n"""\\n\t\x7f\x00é💳\n</a>\n')
    text = write([template])
    assert text.count("\n") == 8
    assert read(text.encode()) == [template]


TEXT = st.text(max_size=30)
HOOK = Destination("hook", "RECORDING_STARTED_EVENT", "http://hooks.example/in")


@settings(deadline=None)
@given(TEXT, TEXT, st.lists(TEXT, max_size=3), st.one_of(TEXT, st.integers(1, 9)))
def test_any_text_comes_back(name: str, body: str, more: list[str], of: str | int) -> None:
    parameters = [Parameter("a", literal=each) for each in more]
    entries = [
        Account(7, name),
        ExportTemplate("v", 1, body),
        replace(HOOK, scope="realm", of=of, parameters=parameters),
    ]
    assert read(write(entries).encode()) == entries


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.booleans())
def test_any_octets_are_entries_or_refused(text: bytes, yaml: bool) -> None:
    try:
        read(text, yaml=yaml)
    except InvalidEntry as error:
        assert str(error).isprintable()


def test_a_file_as_large_as_may_be_is_read() -> None:
    line = "  - {number: %d, name: somebody who has a name of some length, video_access: true}\n"
    entries = "".join(line % number for number in range(1, 40_001))
    text = f"accounts:\n{entries}".encode()
    assert MAX_OCTETS / 2 < len(text) < MAX_OCTETS
    started = time.process_time()
    assert len(read(text, yaml=True)) == 40_000
    print(f"{len(text):,} octets of YAML: {time.process_time() - started:.1f} s")
