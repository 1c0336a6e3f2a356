"""Whom an occurrence is told to, and in which words."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.notifications import VALUES, compose, with_query
from siprec.occurrence import ENDED, PAUSED, STARTED, Occurrence
from siprec.placeholders import URL_LIMIT, VALUE_LIMIT, bounded
from storage.directory import INITIAL, Entries
from storage.entries import PARAMETERS, Destination, Parameter
from storage.outbox import Notification
from storage.records import Participant, Pause, Recording, SiprecSession

TOKYO = timezone(timedelta(hours=9))
NOW = datetime(2026, 11, 22, 14, 5, 6, 789_123, UTC)
RECORDING = Recording(
    "r1",
    "s1",
    "13-23132@1.2.3.4",
    "recording",
    NOW,
    account=100,
    route=7,
    ended_at=NOW + timedelta(seconds=61),
    duration_ms=61_000,
    paused_ms=5_000,
    filename="call 1.wav",
    ani="8675309",
    dnis="7654321",
    ucid="00FA;encoding=hex",
    egress_call_id="out@1.2.3.5",
    realm="pstn",
    siprec_sessions=(SiprecSession("c2Vzc2lvbg=="), SiprecSession("other")),
    participants=(
        Participant("a", "sip:8675309@sh.net", calling=True),
        Participant("b", "7654321@1.2.3.1:5060"),
        Participant("c", "sip:bob,alice@x"),
    ),
    pauses=(Pause(NOW, NOW, "cut"), Pause(NOW, None, "silence")),
)
URL = "https://receiver.example/hook"


def occurrence(event: str = STARTED, result: Any = "success", **changes: Any) -> Occurrence:
    return Occurrence(event, NOW, replace(RECORDING, **changes), result)


def entries(*destinations: Destination) -> Entries:
    return replace(INITIAL, destinations={each.name: each for each in destinations})


def told(occurrence: Occurrence, *destinations: Destination) -> list[Notification]:
    numbers = count(1)
    return compose(occurrence, entries(*destinations), lambda: f"id-{next(numbers)}")


def values(occurrence: Occurrence, method: Any = "GET") -> Mapping[str, str]:
    """All that one destination is told."""
    (one,) = told(occurrence, Destination("d", occurrence.event, URL, method=method))  # type: ignore[arg-type]
    if method == "POST":
        assert one.url == URL
        return msgspec.json.decode(one.body, type=dict[str, str])
    assert one.body == "" and one.url.startswith(f"{URL}?")
    pairs = parse_qsl(urlsplit(one.url).query, keep_blank_values=True, strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


FULL = {
    "EVENT": "RECORDING_STARTED_EVENT",
    "EVENT_ID": "id-1",
    "SESSION_ID": "c2Vzc2lvbg==",
    "ANI": "8675309",
    "DNIS": "7654321",
    "ISR_UCID": "00FA;encoding=hex",
    "INGRESS_CALLID": "13-23132@1.2.3.4",
    "EGRESS_CALLID": "out@1.2.3.5",
    "UNKNOWN_UCID": "00FA;encoding=hex",
    "CALL_ID": "13-23132@1.2.3.4",
    "RESULT": "success",
    "FILENAME": "call 1.wav",
    "START_TIME": "2026-11-22 14:05:06.789",
    "END_TIME": "2026-11-22 14:06:07.789",
    "DURATION": "61000",
    "PAUSE_LENGTH": "5000",
    "PAUSE_SILENCE": "true",
    "CALLING_AORS": "sip:8675309@sh.net",
    "CALLED_AORS": "sip:7654321@1.2.3.1:5060,sip:bob%2Calice@x",
}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_parameters_of_its_own_a_destination_is_told_everything(method: str) -> None:
    assert values(occurrence(), method) == FULL
    assert tuple(FULL) == PARAMETERS and {*VALUES} == {*PARAMETERS} - {"EVENT_ID"}


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"ucid": ""}, "UNKNOWN_UCID", "13-23132@1.2.3.4"),
        ({"ucid": ""}, "ISR_UCID", ""),
        ({"siprec_sessions": ()}, "SESSION_ID", ""),
        ({"ended_at": None}, "END_TIME", ""),
        (
            {"started_at": NOW.astimezone(timezone(timedelta(hours=9)))},
            "START_TIME",
            FULL["START_TIME"],
        ),
        ({"started_at": NOW.replace(microsecond=0)}, "START_TIME", "2026-11-22 14:05:06.000"),
        ({"pauses": ()}, "PAUSE_SILENCE", "false"),
        ({"pauses": RECORDING.pauses[:1]}, "PAUSE_SILENCE", "false"),
        ({"pauses": RECORDING.pauses[::-1]}, "PAUSE_SILENCE", "false"),
        ({"paused_ms": 0}, "PAUSE_LENGTH", "0"),
        ({"duration_ms": 0}, "DURATION", "0"),
        ({"participants": (), "from_aor": "a@x"}, "CALLING_AORS", "sip:a@x"),
        ({"participants": (), "to_aor": ""}, "CALLED_AORS", ""),
        ({"ani": "+49 (30) €"}, "ANI", "+49 (30) €"),
        ({"filename": "a&b=c#d?.wav"}, "FILENAME", "a&b=c#d?.wav"),
        *(
            ({"id": ""}, name, "")
            for name in PARAMETERS[PARAMETERS.index("FILENAME") : PARAMETERS.index("CALLING_AORS")]
        ),
        ({"id": ""}, "CALLED_AORS", FULL["CALLED_AORS"]),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_parameter_has_its_form(
    changes: dict[str, Any], name: str, value: str, method: str
) -> None:
    assert values(occurrence(**changes), method)[name] == value


def test_a_failed_command_is_told_as_such() -> None:
    assert values(occurrence(PAUSED, "fail"))["RESULT"] == "fail"


def test_called_parties_are_those_that_were_stated() -> None:
    assert values(replace(occurrence(), called_aors=("x@y",)))["CALLED_AORS"] == "sip:x@y"


SCOPES = [
    Destination("everyone", STARTED, URL),
    Destination("mine", STARTED, URL, "account", 100),
    Destination("mine by text", STARTED, URL, "account", "100"),
    Destination("theirs", STARTED, URL, "account", 7),
    Destination("my route", STARTED, URL, "route", 7),
    Destination("their route", STARTED, URL, "route", 100),
    Destination("my realm", STARTED, URL, "realm", "pstn"),
    Destination("their realm", STARTED, URL, "realm", "PSTN"),
    Destination("no realm", STARTED, URL, "realm", ""),
    Destination("at the end", ENDED, URL),
]


@pytest.mark.parametrize(
    ("event", "changes", "names"),
    [
        (STARTED, {}, ["everyone", "mine", "mine by text", "my route", "my realm"]),
        (STARTED, {"account": 7, "route": 1, "realm": ""}, ["everyone", "theirs"]),
        (
            STARTED,
            {"account": 1, "route": 100, "realm": "PSTN"},
            ["everyone", "their route", "their realm"],
        ),
        (ENDED, {}, ["at the end"]),
        (PAUSED, {}, []),
        ("AudioRecordingStarted", {}, []),
    ],
)
def test_every_destination_whose_event_and_scope_match_is_told_once(
    event: str, changes: dict[str, Any], names: list[str]
) -> None:
    notifications = told(occurrence(event, **changes), *SCOPES)
    assert [each.destination for each in notifications] == names
    assert [each.event_id for each in notifications] == [f"id-{n + 1}" for n in range(len(names))]


def test_a_notification_says_whose_call_it_is_about_and_which_and_when() -> None:
    (one,) = told(occurrence(), Destination("d", STARTED, URL, method="POST"))
    assert (one.account, one.lane, one.created_at, one.method) == (
        100,
        RECORDING.call_id,
        NOW,
        "POST",
    )


def test_the_loop_back_of_the_field_can_be_configured() -> None:
    parameters = [
        Parameter("event", literal="AudioRecordingStarted"),
        Parameter("calledAors", "CALLED_AORS"),
        Parameter("ucid", "INGRESS_CALLID"),
    ]
    url = "https://1.2.3.4:8443/Face/eventNotify"
    (one,) = told(
        occurrence(participants=(Participant("b", "7654321@1.2.3.1:5060"),)),
        Destination("face", STARTED, url, parameters=parameters),
    )
    assert one.url == (
        f"{url}?event=AudioRecordingStarted"
        "&calledAors=sip%3A7654321%401.2.3.1%3A5060&ucid=13-23132%401.2.3.4"
    )


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("http://x.example", "http://x.example?a=1&b=%26"),
        ("http://x.example/p?", "http://x.example/p?a=1&b=%26"),
        ("http://x.example/p?k=%20v", "http://x.example/p?k=%20v&a=1&b=%26"),
        ("http://x.example/p?k=v&", "http://x.example/p?k=v&a=1&b=%26"),
        ("http://x.example/p#top", "http://x.example/p?a=1&b=%26"),
    ],
)
def test_parameters_follow_the_url_as_it_is(url: str, whole: str) -> None:
    assert with_query(url, [("a", "1"), ("b", "&")]) == whole


def test_a_parameters_name_cannot_add_another() -> None:
    (one,) = told(
        occurrence(), Destination("d", STARTED, URL, parameters=[Parameter("a=1&b", literal="2")])
    )
    assert parse_qs(urlsplit(one.url).query) == {"a=1&b": ["2"]}


def test_addresses_are_worked_out_only_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def callees(_: Occurrence) -> tuple[str, ...]:
        asked.append("callees")
        return ("sip:b@x",)

    monkeypatch.setattr(Occurrence, "callees", property(callees))
    short = [Parameter("ucid", "ISR_UCID")]
    told(occurrence(), Destination("d", STARTED, URL, parameters=short))
    assert asked == []
    told(occurrence(), Destination("d", STARTED, URL), Destination("e", STARTED, URL))
    assert asked == ["callees"]


HOSTILE = st.text(
    st.characters() | st.sampled_from("\r\n\0\"'&=#?/\\%;, \x1b\ud800\udfff\u2028"), max_size=60
) | st.sampled_from(["€" * 10_240, "x" * 10_240, "\r\nX-Admin: 1\r\n\r\n", "&RESULT=fail#"])


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_whatever_a_caller_says_is_one_value(ani: str, ucid: str, filename: str, aor: str) -> None:
    hostile = occurrence(
        ani=ani,
        ucid=ucid,
        filename=filename,
        call_id=ucid,
        participants=(Participant("a", aor, calling=True), Participant("b", aor)),
    )
    body = values(hostile, "POST")
    assert {*body} == {*FULL} and body["RESULT"] == "success"
    assert body["ANI"] == bounded(ani) and body["ISR_UCID"] == bounded(ucid)
    assert body["FILENAME"] == bounded(filename)
    assert body["CALLED_AORS"].count(",") == 0
    (one,) = told(hostile, SCOPES[0])
    assert one.url.isascii() and one.url.isprintable() and " " not in one.url
    assert len(one.url) <= URL_LIMIT and not one.lane.encode().strip(b"\x00")[VALUE_LIMIT * 4 :]
    query = dict(parse_qsl(urlsplit(one.url).query, keep_blank_values=True, strict_parsing=True))
    assert {*query} == {*FULL}
    assert all(body[name].startswith(query[name]) for name in {*FULL} - {"EVENT_ID"})


def test_a_long_name_hides_nothing_but_its_own_end() -> None:
    query = values(occurrence(ani="x" * 10_000, dnis="€" * 10_000, ucid="\U0001f600" * 10_000))
    assert query["RESULT"] == "success" and query["CALL_ID"] == RECORDING.call_id
    assert len(query["ANI"]) > 100 and len(query["DNIS"]) > 30


def test_a_list_of_addresses_is_cut_between_addresses() -> None:
    crowd = tuple(Participant(str(n), f"sip:{n:04}@{'x' * 95}") for n in range(50))
    listed = values(occurrence(participants=crowd), "POST")["CALLED_AORS"].split(",")
    assert len(listed) == VALUE_LIMIT // 105 and {len(aor) for aor in listed} == {104}
