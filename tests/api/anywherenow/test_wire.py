"""What is read and said, byte for byte, and bodies that are none."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.anywherenow import wire
from api.anywherenow.wire import Order, Refusal
from siprec.session import Action, State

BROKEN = (
    b"",
    b" ",
    b"[]",
    b'"Action"',
    b"null",
    b"5",
    b"{",
    b'{"Action":1',
    b'{"Action":01}',
    b'{"Action":NaN}',
    b'{"Action":1e999}',
    b'{"Action":1}}',
    b"{'Action':1}",
    b'{"Action":1,}',
    b'{"Action":"\xff"}',
    b'{"Action":"\\ud800"}',
    '{"Action":1}'.encode("utf-16"),
    b'{"Action":1,"Action":2}',
    b'{"Action":1,"action":2}',
    b'{"CorrelationId":"a","correlationID":"b"}',
    b'{"Action":' + b"[" * 60_000,
    b'{"Action":' + b"9" * 60_000 + b"}",
    b"Action=1",
)


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
def test_bodies_that_are_no_orders(body: bytes) -> None:
    with pytest.raises(Refusal) as found:
        wire.order(body)
    assert (found.value.kind, found.value.status) == (2, 400)
    assert str(found.value) == "The request body is not a valid JSON object."


def test_an_order() -> None:
    body = '{"Action":3,"RequesterSipUri":"sip:ä@b","CorrelationId":"1","UCCName":"u"}'
    expected = Order("3", "sip:ä@b", "1", "u")
    assert wire.order(body.encode()) == expected
    assert wire.order(b"\xef\xbb\xbf" + body.encode()) == expected
    assert wire.order(body.upper().replace("Ä", "ä").encode()) == Order("3", "SIP:ä@B", "1", "U")
    assert wire.order(b'{"More":{"Action":1}}') == Order(None, None, None, None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        ("1", "1"),
        (1.0, "1.0"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        ([], "[]"),
        ({"a": [1]}, '{"a":[1]}'),
        (" a ", " a "),
        ("", None),
        (" \t", None),
        (None, None),
    ],
)
def test_values_of_any_type(value: object, text: str | None) -> None:
    assert wire.order(json.dumps({"action": value}).encode()).action == text


@pytest.mark.parametrize(
    ("order", "missing"),
    [
        (Order(None, None, None, None), "Action"),
        (Order("1", None, None, None), "RequesterSipUri"),
        (Order("1", "a", None, None), "CorrelationId"),
        (Order("1", "a", "b", None), "UCCName"),
        (Order("1", "a", "b", "c"), ""),
    ],
)
def test_what_is_missing(order: Order, missing: str) -> None:
    assert order.missing == missing


NUMBERS = {1: "Start", 2: "Stop", 3: "Pause", 4: "Save", 5: "Delete", 6: "Mark", 7: "UnMark"}


@pytest.mark.parametrize(("number", "name"), NUMBERS.items())
def test_actions(number: int, name: str) -> None:
    for text in (str(number), f" {number} ", name, name.lower(), name.upper()):
        assert wire.action_name(text) == name
    meant = {"Delete": Action.DISCARD}.get(name) or Action(name.lower())
    assert wire.ACTIONS[name] is meant


@pytest.mark.parametrize(
    "text", ["0", "8", "01", "+1", "1.0", "", "resume", "split", "Un Mark", "٣"]
)
def test_actions_that_there_are_not(text: str) -> None:
    assert wire.action_name(text) is None


def test_states() -> None:
    assert {state: wire.state_name(state) for state in State} == {
        State.IDLE: "Uninitialized",
        State.RECORDING: "Started",
        State.STOPPED: "Stopped",
        State.PAUSED: "Paused",
    }
    assert [wire.RECORDING_STATES[state] for state in State] == [0, 1, 3, 2]


def test_answers() -> None:
    error = wire.ErrorMessage(2, "a \"b\" 'ü'")
    assert wire.encode(wire.StateAnswer("c", 1, 2, 1, error, "u")).decode() == (
        '{"CorrelationId":"c","RecordingState":1,"MarkingState":2,"SavingState":1,'
        '"ErrorMessage":{"ErrorType":2,"Message":"a \\"b\\" \'ü\'"},"UCCName":"u"}'
    )
    assert wire.encode(wire.CapabilitiesAnswer(True, None, "u")) == (
        b'{"AgentCanEditRecordings":true,"ErrorMessage":null,"UCCName":"u"}'
    )
    assert wire.encode(wire.ErrorAnswer(wire.ErrorMessage(3, "x"))) == (
        b'{"ErrorMessage":{"ErrorType":3,"Message":"x"}}'
    )


@pytest.mark.parametrize(
    ("refusal", "kind", "text"),
    [
        (wire.unknown_ucc("x"), 2, "UCC with name:'x' was not found."),
        (wire.no_recording("x"), 1, "Audio recording is not enabled for UCC:'x'."),
        (
            wire.not_for_agents("x"),
            1,
            "Agents are not allowed to edit audio recordings for UCC:'x'.",
        ),
        (wire.unknown_session("x"), 2, "No Audio session with correlation Id:'x' was found."),
    ],
)
def test_refusals(refusal: Refusal, kind: int, text: str) -> None:
    assert refusal.message == wire.ErrorMessage(kind, text)
    assert refusal.status == 200


@given(st.binary(max_size=200))
def test_any_octets_are_an_order_or_refused(body: bytes) -> None:
    try:
        wire.order(body)
    except Refusal as refusal:
        assert refusal.status == 400


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.sampled_from(["Action", "RequesterSipUri", "CorrelationId", "UCCName", "x"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_any_object_is_an_order(members: dict[str, Any]) -> None:
    try:
        body = json.dumps(members, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    order = wire.order(body)
    assert order.action is None or order.action.strip()
    wire.action_name(order.action or "")
