"""What policies plan on an occurrence."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.occurrence import ENDED, PAUSED, STARTED, Occurrence
from siprec.placeholders import VALUE_LIMIT
from siprec.policies import Planned, planned
from storage.entries import Policy, PolicyAction, ScreenAgent, When
from storage.records import Participant, Recording

NOW = datetime(2026, 11, 22, 14, 5, 6, tzinfo=UTC)
RECORDING = Recording(
    "r1",
    "s1",
    "call@src",
    "recording",
    NOW,
    account=100,
    route=7,
    filename="call 1.wav",
    ani="8675309",
    dnis="7654321",
    realm="pstn",
    custom={"Cost Centre": "4711", "empty": ""},
    participants=(
        Participant("a", "sip:8675309@10.0.0.1", calling=True),
        Participant("b", "sip:agentX@10.0.0.11:5060"),
        Participant("c", "sip:agentY@[2001:db8::13]"),
    ),
)
START_SCREEN = PolicyAction("InitiateRecordScreen")
AGENTS = {
    "7654321": ScreenAgent("7654321", "10.0.0.77"),
    "anna": ScreenAgent("anna", "10.0.0.78", account=100),
    "other": ScreenAgent("other", "10.0.0.79", account=200),
}


def occurrence(event: str = STARTED, **changes: Any) -> Occurrence:
    return Occurrence(event, NOW, replace(RECORDING, **changes))


def policy(name: str, *actions: PolicyAction, event: str = "e", when: When = When()) -> Policy:  # noqa: B008
    return Policy(name, event, [*actions], when)


def one(
    action: PolicyAction,
    happened: Occurrence | None = None,
    agents: Mapping[str, ScreenAgent] = AGENTS,
) -> Planned:
    (found,) = planned(happened or occurrence("e"), [policy("p", action)], agents)
    return found


@pytest.mark.parametrize(
    ("event", "fired"),
    [
        (STARTED, ["started", "raw"]),
        (ENDED, ["ended"]),
        (PAUSED, []),
        ("AudioRecordingStarted", ["started"]),
        ("Transferred", ["own"]),
    ],
)
def test_a_policy_fires_on_its_event_only(event: str, fired: list[str]) -> None:
    policies = [
        policy("started", START_SCREEN, event="AudioRecordingStarted"),
        policy("raw", START_SCREEN, event=STARTED),
        policy("ended", START_SCREEN, event="AudioRecordingEnded"),
        policy("own", START_SCREEN, event="Transferred"),
    ]
    assert [each.policy for each in planned(occurrence(event), policies)] == fired


@pytest.mark.parametrize(
    ("when", "fires"),
    [
        (When(), True),
        (When(account=100), True),
        (When(account=200), False),
        (When(route=7), True),
        (When(route=8), False),
        (When(realm="pstn"), True),
        (When(realm="lan"), False),
        (When(account=100, route=7, realm="pstn"), True),
        (When(account=100, route=7, realm="lan"), False),
        (When(account=200, route=7, realm="pstn"), False),
    ],
)
def test_a_policy_fires_for_its_calls_only(when: When, fires: bool) -> None:
    assert bool(planned(occurrence("e"), [policy("p", START_SCREEN, when=when)])) == fires


def test_nothing_is_done_about_a_command_that_failed() -> None:
    failed = replace(occurrence("e"), result="fail")
    assert planned(failed, [policy("p", START_SCREEN)]) == []


def test_all_policies_that_match_act_in_the_order_given() -> None:
    stop, start = PolicyAction("StopAudio"), PolicyAction("StartAudio")
    found = planned(occurrence("e"), [policy("z", stop, start), policy("a", start)])
    assert [(each.policy, each.type) for each in found] == [
        ("z", "StopAudio"),
        ("z", "StartAudio"),
        ("a", "StartAudio"),
    ]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${ucid}", "call@src"),
        ("${ani}-${dnis}", "8675309-7654321"),
        ("${account}/${route}/${realm}", "100/7/pstn"),
        ("${filename}", "call 1.wav"),
        ("${custom.Cost Centre}|${custom.empty}|${custom.none}", "4711||"),
        ("${calledAors[0]} ${calledAors[0].host}", "sip:agentX@10.0.0.11:5060 10.0.0.11"),
        ("${calledAors[1].host}", "2001:db8::13"),
        ("${callingAors[0].host}", "10.0.0.1"),
        ("${calledAors[2]}${calledAors[999].host}|", "|"),
        ("literal", "literal"),
    ],
)
def test_each_placeholder_stands_for_its_value(text: str, filled: str) -> None:
    found = one(PolicyAction("StopAudio", isr_ucid=text))
    assert (found.isr_ucid, found.unknown) == (filled, ())


def test_a_ucid_is_preferred_to_the_call_id() -> None:
    assert one(PolicyAction("StopAudio"), occurrence("e", ucid="U;encoding=hex")).isr_ucid == (
        "U;encoding=hex"
    )


@pytest.mark.parametrize(
    "name",
    [
        "7*7",
        "id",
        "recording.history",
        "__class__",
        "calledAors",
        "calledAors[]",
        "calledAors[-1]",
        "calledAors[0].__class__",
        "calledAors[1000]",
        "calledAors[٣]",
        "Ucid",
        "ucid ",
    ],
)
def test_a_name_that_means_nothing_stays_empty_and_is_reported_once(name: str) -> None:
    found = one(PolicyAction("StopAudio", isr_ucid=f"a${{{name}}}b${{{name}}}c"))
    assert (found.isr_ucid, found.unknown) == ("abc", (name,))


@given(st.text(max_size=300))
def test_no_text_of_an_operator_breaks_planning(text: str) -> None:
    action = PolicyAction("HttpNotify", text, text, text, text)
    found = one(action)
    assert found.skipped or found.url.isascii()
    assert len(found.isr_ucid) <= len(text) * VALUE_LIMIT


def test_values_in_a_url_are_percent_encoded() -> None:
    url = "https://x.example/hook/${ani}?call=${ucid}&to=${calledAors[0]}&file=${filename}&x=${no}"
    found = one(PolicyAction("HttpNotify", url), occurrence("e", ani="a/b&c=\r\n", ucid="ü#"))
    assert found.url == (
        "https://x.example/hook/a%2Fb%26c%3D%0D%0A?call=%C3%BC%23"
        "&to=sip%3AagentX%4010.0.0.11%3A5060&file=call%201.wav&x="
    )
    assert found.unknown == ("no",)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "url_invalid"),
        ("${ucid}", "url_invalid"),
        ("https://${realm}/", "host_not_an_address"),
        ("https://x.example/${realm}/", "dot_segment"),
    ],
)
def test_a_url_that_would_lead_elsewhere_is_not_asked(url: str, reason: str) -> None:
    found = one(PolicyAction("HttpNotify", url), occurrence("e", realm=".."))
    assert (found.skipped, found.url) == (reason, "")


@pytest.mark.parametrize(
    ("screen_ip", "agent_id", "address"),
    [
        ("10.0.0.5", "anna", "10.0.0.5"),
        ("${calledAors[1].host}", "", "2001:db8::13"),
        ("${custom.none}", "anna", "10.0.0.78"),
        ("", "anna", "10.0.0.78"),
        ("", "${dnis}", "10.0.0.77"),
        ("", "other", "10.0.0.11"),
        ("", "nobody", "10.0.0.11"),
        ("", "", "10.0.0.11"),
    ],
)
@pytest.mark.parametrize("kind", ["InitiateRecordScreen", "TerminateRecordScreen"])
def test_the_screen_is_stated_or_the_agents_or_the_first_calleds(
    kind: Any, screen_ip: str, agent_id: str, address: str
) -> None:
    found = one(PolicyAction(kind, screen_ip=screen_ip, agent_id=agent_id))
    assert (found.screen_ip, found.skipped) == (address, "")


@pytest.mark.parametrize(
    ("screen_ip", "called"),
    [
        ("agent-pc", ("sip:a@10.0.0.1",)),
        ("", ("sip:agentX@1.2.3.4.11",)),
        ("", ("sip:agent@example.com", "sip:b@10.0.0.1")),
        ("", ("tel:+4930",)),
        ("", ()),
    ],
)
def test_a_screen_without_an_address_is_skipped(screen_ip: str, called: tuple[str, ...]) -> None:
    happened = replace(occurrence("e"), called_aors=called)
    found = one(PolicyAction("InitiateRecordScreen", screen_ip=screen_ip), happened)
    assert (found.screen_ip, found.skipped) == ("", "screen_not_an_address")


@pytest.mark.parametrize(
    ("kind", "skipped"),
    [
        ("StartAudio", "no_call"),
        ("StopAudio", "no_call"),
        ("InitiateRecordScreen", "no_call"),
        ("TerminateRecordScreen", ""),
        ("HttpNotify", ""),
    ],
)
def test_without_a_call_what_needs_none_is_still_done(kind: Any, skipped: str) -> None:
    nobody = Occurrence("e", NOW, Recording("", "", "", "", NOW), called_aors=("sip:a@10.0.0.1",))
    assert one(PolicyAction(kind, "https://x.example/"), nobody).skipped == skipped
