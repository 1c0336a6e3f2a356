"""The JSON hub protocol, byte by byte, without a socket."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.anywherenow import signalr
from api.anywherenow.signalr import MOST_BYTES, Accepted, Call, Connection, Over

HANDSHAKE = b'{"protocol":"json","version":1}\x1e'
CALL = b'{"type":1,"invocationId":"0","target":"Subscribe","arguments":["ucc"]}\x1e'


def opened() -> Connection:
    connection = Connection()
    assert [*connection.receive(HANDSHAKE)] == [Accepted()]
    assert connection.is_open
    return connection


def last_of(steps: Iterator[Accepted | Call | Over]) -> Any:
    (over,) = steps
    assert isinstance(over, Over)
    assert over.last.endswith(b"\x1e")
    return json.loads(over.last[:-1])


@pytest.mark.parametrize("size", [1, 2, 7, 31, 32, 33, 200])
def test_messages_may_be_cut_anywhere(size: int) -> None:
    data, connection = HANDSHAKE + CALL + b'{"type":6}\x1e' + CALL, Connection()
    steps = [
        step
        for start in range(0, len(data), size)
        for step in connection.receive(data[start : start + size])
    ]
    assert steps == [Accepted(), *2 * [Call("Subscribe", ["ucc"], "0")]]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"protocol": "messagepack", "version": 1}, "The protocol 'messagepack' is not supported."),
        (
            {"protocol": "json", "version": 2},
            "The server does not support version 2 of the 'json' protocol.",
        ),
        (
            {"protocol": "json", "version": 10**30},
            "The server does not support version 10000000000000000000 of the 'json' protocol.",
        ),
        *(
            (
                said,
                "An unexpected error occurred during connection handshake. "
                "the handshake must name protocol and version",
            )
            for said in (
                {},
                {"protocol": "json"},
                {"version": 1},
                {"protocol": "json", "version": "1"},
                {"protocol": "json", "version": True},
                {"protocol": 1, "version": 1},
                {"type": 6},
            )
        ),
    ],
)
def test_handshakes_that_fail(said: object, error: str) -> None:
    connection = Connection()
    assert last_of(connection.receive(json.dumps(said).encode() + b"\x1e")) == {"error": error}
    assert not connection.is_open
    assert [*connection.receive(HANDSHAKE + CALL)] == []


def test_a_handshake_may_say_more_than_we_know() -> None:
    said = b'{"protocol":"json","version":1,"minorVersion":0}\x1e'
    assert [*Connection().receive(said)] == [Accepted()]


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ({"type": 1, "target": "A", "arguments": []}, Call("A", [], None)),
        ({"type": 1, "target": "A", "arguments": [], "invocationId": None}, Call("A", [], None)),
        (
            {"type": 1, "target": "A", "arguments": [1, None], "headers": {"a": "b"}},
            Call("A", [1, None], None),
        ),
        (
            {"type": 4, "target": "A", "arguments": [], "invocationId": "s"},
            Call("A", [], "s", is_stream=True),
        ),
    ],
)
def test_calls(said: object, call: Call) -> None:
    assert [*opened().receive(json.dumps(said).encode() + b"\x1e")] == [call]


@pytest.mark.parametrize(
    "said",
    [
        {"type": 2, "invocationId": "1", "item": 1},
        {"type": 3, "invocationId": "1"},
        {"type": 5, "invocationId": "1"},
        {"type": 6},
        {"type": 8, "sequenceId": 1},
        {"type": 9, "sequenceId": 1},
        {"type": 77},
    ],
)
def test_what_is_passed_over(said: object) -> None:
    connection = opened()
    assert [*connection.receive(json.dumps(said).encode() + b"\x1e" + CALL)] == [
        Call("Subscribe", ["ucc"], "0")
    ]


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (b"", "the message is no JSON"),
        (b"\xff\xfe", "the message is no JSON"),
        (b"{", "the message is no JSON"),
        (b"[" * 30_000, "the message is no JSON"),
        (b"[]", "the message is no JSON object"),
        (b"null", "the message is no JSON object"),
        (b"{}", "a message needs a type"),
        (b'{"type":"1"}', "a message needs a type"),
        (b'{"type":true}', "a message needs a type"),
        (b'{"type":1,"arguments":[]}', "an invocation needs target and arguments"),
        (b'{"type":1,"target":"A"}', "an invocation needs target and arguments"),
        (b'{"type":1,"target":1,"arguments":[]}', "an invocation needs target and arguments"),
        (b'{"type":1,"target":"A","arguments":{}}', "an invocation needs target and arguments"),
        (
            b'{"type":1,"target":"A","arguments":[],"invocationId":1}',
            "invocationId must be a string",
        ),
        (b'{"type":4,"target":"A","arguments":[]}', "a stream invocation needs an invocationId"),
        (b"x" * (MOST_BYTES + 1), "The maximum message size of 32768B was exceeded."),
    ],
)
def test_what_breaks_the_protocol(said: bytes, detail: str) -> None:
    connection = opened()
    error = f"Connection closed with an error. {detail}"
    assert last_of(connection.receive(said + b"\x1e" + CALL)) == {"type": 7, "error": error}
    assert [*connection.receive(CALL)] == []


def test_a_message_that_never_ends_is_not_kept() -> None:
    connection = opened()
    assert [*connection.receive(b"x" * MOST_BYTES)] == []
    assert "maximum message size" in last_of(connection.receive(b"x"))["error"]
    large = b'{"type":1,"target":"A","arguments":["' + b"x" * (MOST_BYTES - 40) + b'"]}\x1e'
    (call,) = opened().receive(large)
    assert isinstance(call, Call)


def test_the_client_may_close() -> None:
    assert [*opened().receive(b'{"type":7}\x1e' + CALL)] == [Over("closed by the client")]


def test_what_the_server_says() -> None:
    assert signalr.HANDSHAKEN == b"{}\x1e"
    assert signalr.PINGED == b'{"type":6}\x1e'
    assert signalr.invocation("E", {"a": 1}) == (
        b'{"type":1,"target":"E","arguments":[{"a":1}]}\x1e'
    )
    assert signalr.completion("7") == b'{"type":3,"invocationId":"7","result":null}\x1e'
    assert signalr.completion("7", "no") == b'{"type":3,"invocationId":"7","error":"no"}\x1e'
    assert signalr.closed() == b'{"type":7}\x1e'
    assert signalr.closed("e", allow_reconnect=True) == (
        b'{"type":7,"error":"e","allowReconnect":true}\x1e'
    )


def test_negotiation() -> None:
    transports = [{"transport": "WebSockets", "transferFormats": ["Text"]}]
    assert json.loads(signalr.negotiated(1, "id", "token")) == {
        "negotiateVersion": 1,
        "connectionId": "id",
        "connectionToken": "token",
        "availableTransports": transports,
    }
    assert json.loads(signalr.negotiated(0, "id", "token")) == {
        "negotiateVersion": 0,
        "connectionId": "token",
        "availableTransports": transports,
    }
    asked = [("", 0), ("0", 0), ("1", 1), ("17", 1), ("-1", None), ("x", None), ("²", None)]
    for text, version in [*asked, ("9" * 5000, None)]:
        assert signalr.negotiate_version(text) == version


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"\x1e", CALL, b'{"type":6}\x1e'])))
def test_whatever_comes_ends_at_most_once(chunks: list[bytes]) -> None:
    connection, steps = Connection(), []
    for chunk in [HANDSHAKE, *chunks]:
        steps += [*connection.receive(chunk)]
    assert steps[0] == Accepted()
    assert sum(isinstance(step, Over) for step in steps) <= 1
    assert not any(isinstance(step, Over) for step in steps[:-1])
