"""From the nouns of the core to JSON, and pages of live sessions."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from api.native import encode, wire
from media.spec import StreamPort, StreamSpec
from siprec.feed import FeedEvent
from siprec.session import (
    Decision,
    Identity,
    LiveSession,
    NegotiatedStream,
    ReceptionView,
    Sides,
    State,
)
from storage import records

AT = datetime(2026, 11, 22, 14, 5, 6, 789_654, UTC)


def _live(number: int = 1, **changes: object) -> LiveSession:
    live = LiveSession(f"s{number}", "d", f"call-{number}", AT + timedelta(seconds=number))
    for name, value in changes.items():
        setattr(live, name, value)
    return live


def test_times_are_utc_with_milliseconds() -> None:
    assert encode.timestamp(AT) == "2026-11-22T14:05:06.789Z"
    ahead = datetime(2026, 11, 22, 16, 0, tzinfo=timezone(timedelta(hours=2)))
    assert encode.timestamp(ahead) == "2026-11-22T14:00:00.000Z"


def test_a_live_session() -> None:
    spec = StreamSpec("st1", "1", {0: "PCMU", 8: "PCMA", 101: "telephone-event"})
    row = records.Recording(
        "r1",
        "s1",
        "call-1",
        "recording",
        AT,
        streams=(records.StreamRecord("st1", "1", participant_id="p1"),),
    )
    live = _live(
        state=State.PAUSED,
        recording=row,
        participants=(records.Participant("p1", "sip:a@b", "A"),),
        streams=[
            NegotiatedStream(0, spec, StreamPort("st1", 2000, 2001)),
            NegotiatedStream(1, spec, StreamPort("st2", 2002, 2003), closed=True),
        ],
        pauses=(records.Pause(AT + timedelta(seconds=1), None, "cut"),),
        marks=(records.Mark(AT, "here"),),
        warnings=("odd",),
        from_aor="sip:a@b",
        to_aor="sip:c@d",
        identity=Identity("a", "c", "u", "e", "core"),
        decision=Decision(100, 7, "on_demand", prebuffer_ms=5000),
        sides=Sides("ann@shop.example", "outgoing", "a", "c"),
        marking="mark",
        saving="discard",
        platform="Call Rec 1",
    )
    seen = {"st1": ReceptionView(9, 2, 1, 0.12345, True)}
    assert msgspec.to_builtins(encode.session(live, seen, AT + timedelta(seconds=3))) == {
        "id": "s1",
        "call_id": "call-1",
        "account": 100,
        "route": 7,
        "record": "on_demand",
        "ani": "a",
        "dnis": "c",
        "ucid": "u",
        "egress_call_id": "e",
        "realm": "core",
        "prebuffer_ms": 5000,
        "state": "paused",
        "marking": "mark",
        "saving": "discard",
        "discards": True,
        "owner": "ann@shop.example",
        "direction": "outgoing",
        "platform": "Call Rec 1",
        "recording_id": "r1",
        "started_at": "2026-11-22T14:05:07.789Z",
        "duration_ms": 1000,
        "paused_ms": 2000,
        "from_aor": "sip:a@b",
        "to_aor": "sip:c@d",
        "participants": [{"participant_id": "p1", "aor": "sip:a@b", "name": "A"}],
        "streams": [
            {
                "stream_id": "st1",
                "label": "1",
                "port": 2000,
                "encodings": ["PCMU", "PCMA", "telephone-event"],
                "active": True,
                "packets": 9,
                "lost": 2,
                "duplicates": 1,
                "jitter_ms": 0.123,
                "participant_id": "p1",
            }
        ],
        "pauses": [{"started_at": "2026-11-22T14:05:07.789Z", "ended_at": None, "fill": "cut"}],
        "marks": [{"at": "2026-11-22T14:05:06.789Z", "text": "here"}],
        "warnings": ["odd"],
    }


def test_figures_that_are_not_known_are_null() -> None:
    stream = NegotiatedStream(0, StreamSpec("st1", "1", {}), StreamPort("st1", 2000, 2001))
    found = encode.session(_live(streams=[stream]), {}, AT).streams[0]
    assert (found.packets, found.lost, found.duplicates, found.jitter_ms) == (None,) * 4
    assert found.participant_id is UNSET
    assert encode.session(_live(), {}, AT).recording_id is None


def test_an_event() -> None:
    change = FeedEvent("recording.paused", AT, "s1", "r1", "c1", "desk", "card")
    assert msgspec.json.decode(encode.event(change)) == {
        "type": "recording.paused",
        "at": "2026-11-22T14:05:06.789Z",
        "session_id": "s1",
        "recording_id": "r1",
        "call_id": "c1",
        "actor": "desk",
        "reason": "card",
        "account": 1,
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
def test_pages_hold_every_session_once_newest_first(limit: int) -> None:
    sessions = [_live(number) for number in (3, 1, 5, 2, 4)]
    sessions.append(_live(5, id="s5b"))
    seen: list[str] = []
    items, cursor = encode.page(sessions, wire.FindSessions(limit=limit))
    while cursor:
        seen += [live.id for live in items]
        items, cursor = encode.page(sessions, wire.FindSessions(limit=limit, cursor=cursor))
    assert seen + [live.id for live in items] == ["s5b", "s5", "s4", "s3", "s2", "s1"]


def test_a_page_goes_on_although_its_last_session_has_ended() -> None:
    sessions = [_live(number) for number in (3, 2, 1)]
    items, cursor = encode.page(sessions, wire.FindSessions(limit=2))
    sessions.remove(items[-1])
    sessions.insert(0, _live(4))
    assert cursor
    rest, cursor = encode.page(sessions, wire.FindSessions(limit=2, cursor=cursor))
    assert ([live.id for live in rest], cursor) == (["s1"], None)


def test_sessions_are_found_by_what_they_are() -> None:
    person = records.Participant("p", "sip:carol@b")
    one = _live(1, state=State.PAUSED, from_aor="sip:a@b", to_aor="sip:b@b")
    two = _live(2, participants=(person,))

    def found(**criteria: object) -> list[LiveSession]:
        return encode.page([one, two], msgspec.convert(criteria, wire.FindSessions))[0]

    assert found(state="paused") == [one]
    assert found(call_id="call-2") == [two]
    assert found(aor="sip:b@b") == found(aor="sip:a@b") == [one]
    assert found(aor="sip:carol@b") == [two]
    assert found(aor="sip:carol@b", state="paused") == []
    assert found() == [two, one]


@settings(deadline=None)
@given(st.integers(0, 10**17 - 1), st.text("aZ09_-", min_size=1, max_size=64))
def test_any_cursor_is_a_place(moment: int, session_id: str) -> None:
    ask = msgspec.convert({"cursor": f"{moment}-{session_id}"}, wire.FindSessions)
    older = (moment, session_id) > (1795356307789654, "s1")
    assert encode.page([_live()], ask) == ([_live()] if older else [], None)


@pytest.mark.parametrize(
    "cursor", ["", "s1", "-s1", "5-", "5-a b", "5-s1\n", "٣-s1", "9" * 18 + "-s1"]
)
def test_what_cannot_be_a_cursor(cursor: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"cursor": cursor}, wire.FindSessions)
