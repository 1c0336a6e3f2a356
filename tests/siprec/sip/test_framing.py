from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.sip.errors import FramingError
from siprec.sip.framing import PING, StreamFramer
from siprec.sip.message import BODY_MAX_BYTES, HEAD_MAX_BYTES
from tests.siprec.sip.compose import SDP, request

INVITE = request("INVITE", body=SDP)
ACK = request("ACK")
BYE = request("BYE", 2, body=b"\r\n\r\nOPTIONS sip:x SIP/2.0\r\n\r\n")


def frames(*pieces: bytes) -> list[bytes]:
    framer, found = StreamFramer(), []
    for piece in pieces:
        framer.receive(piece)
        found += list(iter(framer.next_message, None))
    assert not framer.is_partial
    return found


def test_several_messages_in_one_write() -> None:
    assert frames(INVITE + ACK + BYE) == [INVITE, ACK, BYE]


def test_byte_by_byte() -> None:
    stream = INVITE + b"\r\n" + ACK + BYE
    assert frames(*(stream[i : i + 1] for i in range(len(stream)))) == [INVITE, ACK, BYE]


@given(st.lists(st.integers(0, len(INVITE + PING + ACK + BYE)), max_size=12))
def test_cut_anywhere(cuts: list[int]) -> None:
    stream = INVITE + PING + ACK + BYE
    edges = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert frames(*pieces) == [INVITE, PING, ACK, BYE]


def test_keep_alives() -> None:
    assert frames(PING, PING + PING + ACK) == [PING, PING, PING, ACK]
    assert frames(b"\r\n" + ACK) == [ACK]
    assert frames(b"\n\n\n" + ACK) == [ACK]


def test_single_line_ends_are_not_the_start_of_a_message() -> None:
    framer = StreamFramer()
    framer.receive(b"\r\n")
    assert framer.next_message() is None
    assert not framer.is_partial
    framer.receive(b"O")
    assert framer.next_message() is None
    assert framer.is_partial


@pytest.mark.parametrize(
    "field", [b"Content-Length : 4", b"l:4", b"CONTENT-LENGTH:\r\n 4", b"L: 0004\r\nl: 0004"]
)
def test_content_length_in_every_spelling(field: bytes) -> None:
    message = b"X sip:a SIP/2.0\r\n" + field + b"\r\n\r\nabcd"
    assert frames(message + ACK) == [message, ACK]


def test_line_feeds_only() -> None:
    message = b"X sip:a SIP/2.0\nl: 4\n\nabcd"
    assert frames(message + ACK) == [message, ACK]


@pytest.mark.parametrize(
    ("head", "cause"),
    [
        (b"X sip:a SIP/2.0", "Missing Content-Length"),
        (b"X sip:a SIP/2.0\r\nl: -1", "Malformed Content-Length"),
        (b"X sip:a SIP/2.0\r\nl: 4294967328", "Body too large"),
        (b"X sip:a SIP/2.0\r\nl: 1e3", "Malformed Content-Length"),
        (b"X sip:a SIP/2.0\r\nl: +5", "Malformed Content-Length"),
        (b"X sip:a SIP/2.0\r\nl: 99999999999999999999", "Malformed Content-Length"),
        (b"X sip:a SIP/2.0\r\nl: 5\r\nContent-Length: 6", "Malformed Content-Length"),
        (b"X sip:a SIP/2.0\r\nl: %d" % (BODY_MAX_BYTES + 1), "Body too large"),
        (b"\x16\x03\x01\x02", "Control character in header"),
        (b"X\r\n" * 600 + b"l: 0", "Too many header lines"),
    ],
)
def test_a_stream_that_cannot_be_framed(head: bytes, cause: str) -> None:
    framer = StreamFramer()
    framer.receive(ACK + head + b"\r\n\r\n" + INVITE)
    assert framer.next_message() == ACK
    for _ in range(2):
        with pytest.raises(FramingError, match=cause):
            framer.next_message()


def test_head_without_end() -> None:
    framer = StreamFramer()
    framer.receive(b"X" * HEAD_MAX_BYTES)
    assert framer.next_message() is None
    framer.receive(b"X")
    with pytest.raises(FramingError, match="Header too large"):
        framer.next_message()


def test_largest_body() -> None:
    message = b"X sip:a SIP/2.0\r\nl: %d\r\n\r\n" % BODY_MAX_BYTES + bytes(BODY_MAX_BYTES)
    assert frames(message, ACK) == [message, ACK]


def test_a_body_is_never_read_as_a_message() -> None:
    """The count is wrong by one: the rest is not searched for something that looks right."""
    framer = StreamFramer()
    framer.receive(b"X sip:a SIP/2.0\r\nl: 3\r\n\r\nabcd" + ACK)
    assert framer.next_message() == b"X sip:a SIP/2.0\r\nl: 3\r\n\r\nabc"
    assert framer.next_message() == b"d" + ACK


@given(st.lists(st.binary(max_size=30) | st.sampled_from([ACK, PING, b"l: 2\r\n\r\n"]), max_size=9))
def test_hostile_streams_raise_framing_error_only(pieces: list[bytes]) -> None:
    framer, stream = StreamFramer(), b"".join(pieces)
    taken = 0
    try:
        for piece in pieces:
            framer.receive(piece)
            for message in iter(framer.next_message, None):
                assert message in stream
                taken += len(message)
    except FramingError:
        pass
    assert taken <= len(stream)
