"""What holds together, what does not, and how that is said."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from storage.entries import (
    Account,
    CustomField,
    Destination,
    Entry,
    ExportTemplate,
    MetadataType,
    Parameter,
    Policy,
    PolicyAction,
    Route,
    ScreenAgent,
    User,
    When,
)
from storage.platforms import Integration, RecordingPlatform, RecordingProperties
from storage.records import InvalidEntry
from storage.snapshot import INITIAL, Entries, check, problems, sound

HOOK = Destination("hook", "RECORDING_STARTED_EVENT", "http://hooks.example/in")
NOTIFY = PolicyAction("HttpNotify", url="https://a.example/${ucid}")

PLATFORM = RecordingPlatform("a b", "192.0.2.1", "Dual", "UDP", "1.0", False)
SETUP = Integration("1f:-2:3:-4", 2)

BASE: tuple[Entry, ...] = (
    *INITIAL,
    Account(100),
    Account(200),
    Route(10, 100),
    Route(20, 200),
    ScreenAgent("7001", "192.0.2.7", 100),
    MetadataType("apkt:realm"),
    PLATFORM,
)

FINE: tuple[Entry, ...] = (
    Route(1, 1, "Nothing else", priority=0, record="never", percent=50, dtmf_mask=True),
    Route(11, 100, match="peer", pattern="192.0.2.0/24"),
    Route(11, 100, match="peer", pattern="2001:db8::1"),
    Route(11, 100, match="peer", pattern="192.0.2.%"),
    Route(11, 100, match="from", pattern="%@example.com"),
    User("ann@example.com", 100, routes=[10]),
    User("root@example.com", 1, routes=[10, 20]),
    CustomField("Case number", [100, 200]),
    ExportTemplate("verint", 2, ""),
    replace(HOOK, scope="account", of=100),
    replace(HOOK, scope="route", of=20),
    replace(HOOK, scope="realm", of="core"),
    replace(HOOK, url="https://[2001:db8::1]:8443/a?b=${c}"),
    replace(HOOK, parameters=[Parameter("a", "ANI"), Parameter("b", literal="x y")]),
    ScreenAgent("7002", "2001:db8::1", 200),
    Policy("p", "Odd.event-1", [NOTIFY, PolicyAction("StartAudio")], When(100, 10, "core")),
    Policy("p", "e", [PolicyAction("InitiateRecordScreen", agent_id="7001")], When(100)),
    Policy("p", "e", [PolicyAction("InitiateRecordScreen", agent_id="${ani}")]),
    Policy("p", "e", [PolicyAction("TerminateRecordScreen", screen_ip="${calledAors[0].host}")]),
    replace(PLATFORM, net_address="srs.example.com"),
    RecordingProperties("a b"),
    Account(300, tenant="Enterprise", platform="a b"),
    SETUP,
    replace(SETUP, account=100),
    replace(SETUP, account=200, route=20),
)

WRONG: tuple[tuple[Entry, str], ...] = (
    (Route(7, 9), "routes 7: account 9 does not exist"),
    (Route(1, 100, priority=0), "routes 1: the default route keeps"),
    (Route(1, 1, pattern="%1", priority=0), "routes 1: the default route keeps"),
    (Route(1, 1, match="from", priority=0), "routes 1: the default route keeps"),
    (Route(1, 1), "routes 1: the default route keeps"),
    (Route(7, 100, priority=0), "routes 7: priority: 0 is the default route's"),
    (Route(7, 100, match="peer", pattern="example.com"), "routes 7: pattern: 'example.com'"),
    (Route(7, 100, match="peer", pattern="192.0.2.1/24"), "routes 7: pattern: 192.0.2.1/24"),
    (Route(7, 100, match="peer", pattern="sbc%"), "routes 7: pattern: `sbc%` cannot be"),
    (User("ann@b.c", 9), "users ann@b.c: account 9 does not exist"),
    (User("Ann@b.c", 100, routes=[10, 20]), "users ann@b.c: routes: 20 is none of account 100"),
    (User("ann@b.c", 1, routes=[30]), "users ann@b.c: routes: 30 is none of account 1"),
    (CustomField("x", [100, 9]), "custom-fields x: accounts: account 9 does not exist"),
    (CustomField("apkt:realm"), "custom-fields apkt:realm: name: `apkt:realm` is a metadata type"),
    (ExportTemplate("VERINT", 3, ""), "templates verint.1: name: there is `VERINT` already"),
    (replace(HOOK, scope="account", of=9), "destinations hook: of: account 9 does not exist"),
    (replace(HOOK, scope="account", of="100"), "destinations hook: of: account 100 does not"),
    (replace(HOOK, scope="account"), "destinations hook: of: account (none) does not exist"),
    (replace(HOOK, scope="route", of=9), "destinations hook: of: route 9 does not exist"),
    (replace(HOOK, scope="realm"), "destinations hook: of: the name of a realm"),
    (replace(HOOK, scope="realm", of=5), "destinations hook: of: the name of a realm"),
    (replace(HOOK, of=100), "destinations hook: of: a global destination is of nothing"),
    (
        replace(HOOK, parameters=[Parameter("a", "SECRET")]),
        "destinations hook: parameters: `a`: value is none of EVENT,",
    ),
    (replace(HOOK, parameters=[Parameter("a")]), "parameters: `a` needs a value or a literal"),
    (replace(HOOK, parameters=[Parameter("a", "ANI", "b")]), "parameters: `a` needs a value or"),
    (replace(HOOK, parameters=[Parameter("a", "ANI")] * 2), "parameters: `a` is there twice"),
    (
        replace(PLATFORM, net_address="10.0.0.256"),
        "platforms a b: net_address: `10.0.0.256` is no IP address and no name of a host",
    ),
    (
        RecordingProperties("a_b"),
        "recording-properties system: default_platform: there is no recording platform `a_b`",
    ),
    (Account(300, platform="b"), "accounts 300: platform: there is no recording platform `b`"),
    (replace(SETUP, account=9), "integrations 1f:-2:3:-4: account 9 does not exist"),
    (replace(SETUP, account=100, route=20), "route: 20 is none of account 100"),
    (replace(SETUP, account=100, route=9), "route: 9 is none of account 100"),
    (replace(SETUP, route=20), "route: 20 is none of account None"),
    (ScreenAgent("a", "10.0.0.1", 9), "screen-agents a: account 9 does not exist"),
    (ScreenAgent("a", "desk.example"), "screen-agents a: address: `desk.example` is no IP"),
    (ScreenAgent("a", "fe80::1%eth0"), "screen-agents a: address: `fe80::1%eth0` is no IP"),
    (ScreenAgent("a", ""), "screen-agents a: address: `` is no IP"),
    (Policy("p", "e", []), "policies p: actions: at least one"),
    (Policy("p", "e", [NOTIFY], When(account=9)), "policies p: when: account 9 does not exist"),
    (Policy("p", "e", [NOTIFY], When(route=9)), "policies p: when: route 9 does not exist"),
    (
        Policy("p", "e", [NOTIFY], When(account=100, route=20)),
        "policies p: when: route 20 does not exist in account 100",
    ),
    (
        Policy("p", "e", [NOTIFY, PolicyAction("HttpNotify")]),
        "policies p: actions: HttpNotify, no. 2: url: http:// or https:// and a host",
    ),
    (Policy("p", "e", [PolicyAction("StopAudio", url="http://a")]), "url: for HttpNotify only"),
    (Policy("p", "e", [PolicyAction("StartAudio", isr_ucid="")]), "isr_ucid: which call?"),
    (Policy("p", "e", [PolicyAction("StartAudio", agent_id="7001")]), "for screens only"),
    (
        Policy("p", "e", [PolicyAction("InitiateRecordScreen", screen_ip="desk")]),
        "screen_ip: `desk` is no IP address",
    ),
    (
        Policy("p", "e", [PolicyAction("InitiateRecordScreen", agent_id="7009")]),
        "agent_id: `7009` is no screen agent",
    ),
    (
        Policy("p", "e", [PolicyAction("InitiateRecordScreen", agent_id="7001")], When(200)),
        "agent_id: `7001` is no screen agent of account 200",
    ),
)

BAD_URLS = (
    "http://",
    "http://:80/",
    "http://[::1/",
    "http://a:99999/",
    "http://ann:pw@a/",
    "http://127.0.0.1\\@a/",
    "http://a/#b",
    "http://${ani}/",
    "ftp://a/",
    "//a/",
    "a",
    "http://a/é",
    "http://a/b c",
    "http://a/\nb",
)


def with_(*entries: Entry) -> Entries:
    return Entries.of([*BASE, ExportTemplate("verint", 1, ""), *entries])


def refusal(entries: Entries) -> str:
    with pytest.raises(InvalidEntry) as caught:
        check(entries)
    return str(caught.value)


@pytest.mark.parametrize("entry", FINE, ids=str)
def test_what_holds_together_is_taken(entry: Entry) -> None:
    check(with_(entry))


@pytest.mark.parametrize(("entry", "text"), WRONG, ids=str)
def test_what_does_not_names_entry_and_field(entry: Entry, text: str) -> None:
    assert text in refusal(with_(entry))


@pytest.mark.parametrize("url", BAD_URLS)
def test_requests_go_to_hosts_by_http_only(url: str) -> None:
    for entry in (replace(HOOK, url=url), Policy("p", "e", [replace(NOTIFY, url=url)])):
        text = refusal(with_(entry))
        assert "url: " in text
        assert "pw" not in text


@pytest.mark.parametrize(
    "name", ["ani", "ANI", "from", "recordingId", "siprec_session_id", "agentId", "Call_ID", "note"]
)
def test_custom_data_bears_no_name_that_means_something_else(name: str) -> None:
    assert "means something else" in refusal(with_(CustomField(name)))


def test_what_is_there_from_the_start_holds_together() -> None:
    check(INITIAL)
    assert sound([]) == (INITIAL, [])


def test_each_kind_is_in_its_order() -> None:
    policies = [Policy(n, "e", [NOTIFY], position=p) for n, p in (("b", 5), ("c", 1), ("a", 5))]
    routes = [Route(9, 1), Route(3, 1), Route(30, 1, priority=9), Route(1, 1, priority=0)]
    entries = Entries.of([*policies, *routes, User("B@x", 1), User("a@x", 1)])
    assert [policy.name for policy in entries.policies] == ["c", "a", "b"]
    assert list(entries.routes) == [30, 3, 9, 1]
    assert list(entries.users) == ["a@x", "b@x"]


def test_platforms_and_integrations_are_in_their_order() -> None:
    platforms = [replace(PLATFORM, name=name) for name in ("c", "a", "B")]
    integrations = [Integration(f"{n}:2:3:4", 10 - n) for n in range(1, 5)]
    entries = Entries.of([*platforms, *integrations])
    assert list(entries.platforms) == ["B", "a", "c"]
    assert [each.number for each in entries.integrations.values()] == [6, 7, 8, 9]


def test_properties_are_an_entry_once_somebody_has_set_them() -> None:
    key, default = ("recording-properties", "system"), RecordingProperties()
    assert key not in INITIAL.by_key() and INITIAL.properties == default
    assert Entries.of([*INITIAL, default]).by_key()[key] == default
    assert Entries.of([default, RecordingProperties("x")]).properties.default_platform == "x"


def test_what_a_lost_platform_leaves_behind() -> None:
    state, found = sound([Account(7, platform="gone"), RecordingProperties("gone")])
    assert [entry for entry, _ in found] == [
        RecordingProperties("gone"),
        Account(7, platform="gone"),
    ]
    assert state == INITIAL


def test_of_entries_with_one_key_the_last_counts() -> None:
    entries = Entries.of([User("a@x", 1), User("A@x", 2), NOTE, replace(NOTE, position=7)])
    assert [user.account for user in entries.users.values()] == [2]
    assert [policy.position for policy in entries.policies] == [7]


NOTE = Policy("p", "e", [NOTIFY])


def test_a_state_cannot_be_written_to() -> None:
    with pytest.raises(TypeError):
        INITIAL.accounts[2] = Account(2)  # type: ignore[index]


def test_what_contradicts_is_left_out_with_all_that_needs_it() -> None:
    hook = replace(HOOK, scope="route", of=7)
    elsewhere = Route(1, 100, priority=0)
    state, found = sound([Account(100), Route(7, 9), hook, User("a@x", 100), elsewhere])
    assert [entry for entry, _ in found] == [Route(7, 9), elsewhere, hook]
    assert set(state.by_key()) == {
        ("accounts", "1"),
        ("accounts", "100"),
        ("routes", "1"),
        ("users", "a@x"),
    }
    assert state.routes[1] == INITIAL.routes[1]


ENTRIES = st.one_of(
    st.builds(Account, st.integers(1, 3)),
    st.builds(Route, st.integers(1, 3), st.integers(1, 3), priority=st.integers(0, 2)),
    st.builds(User, st.sampled_from(["a@x", "A@x"]), st.integers(1, 3)),
    st.builds(replace, st.just(HOOK), scope=st.just("route"), of=st.integers(1, 3)),
    st.builds(CustomField, st.sampled_from(["a", "ani"]), st.lists(st.integers(1, 3))),
    st.builds(ExportTemplate, st.sampled_from(["v", "V"]), st.integers(1, 2), st.just("")),
    st.builds(Policy, st.just("p"), st.just("e"), st.just([NOTIFY]), st.builds(When, st.just(2))),
)


@settings(deadline=None)
@given(st.lists(ENTRIES, max_size=12))
def test_what_is_left_always_holds_together(entries: Iterable[Entry]) -> None:
    state, found = sound(entries)
    assert not list(problems(state))
    assert {1} <= set(state.accounts) and {1} <= set(state.routes)
    assert state.by_key().keys() >= Entries.of(entries).by_key().keys() - {
        key for entry, _ in found for key in Entries.of([entry]).by_key()
    }
