import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.sip.errors import MessageError
from siprec.sip.headers import NameAddr, Via
from siprec.sip.message import (
    BODY_MAX_BYTES,
    HEAD_MAX_BYTES,
    LINES_MAX,
    Message,
    Request,
    Response,
    body_length,
    parse,
    parse_head,
)
from tests.siprec.sip.compose import SDP, parse_request, parse_response, request


def lines(*text: str, body: bytes = b"", end: str = "\r\n") -> bytes:
    return end.join([*text, "", ""]).encode() + body


MANDATORY = (
    "Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKm",
    "From: <sip:a@b>;tag=1",
    "To: <sip:c@d>",
    "Call-ID: m1",
    "CSeq: 1 OPTIONS",
)
START = "OPTIONS sip:c@d SIP/2.0"


def refusal(data: bytes) -> MessageError:
    with pytest.raises(MessageError) as refused:
        parse(data)
    return refused.value


def test_request() -> None:
    data = request("INVITE", 7, body=SDP, headers=[("X-Own", "a, b")])
    invite = parse_request(data)
    assert (invite.method, invite.uri) == ("INVITE", "sip:rec@203.0.113.20")
    assert (invite.cseq.number, invite.call_id) == (7, "c1@192.0.2.10")
    assert invite.from_ == NameAddr("", "sip:src@edge.example", (("tag", "from-1"),))
    assert (invite.to.uri, invite.to.tag) == ("sip:rec@rec.example", "")
    assert invite.contact and invite.contact.param("+sip.src") == ""
    assert (invite.content_type, invite.body) == ("application/sdp", SDP)
    assert (invite.get("x-own"), invite.values("X-OWN")) == ("a, b", ["a", "b"])
    assert invite.get("Absent") is None
    assert bytes(invite) == data


def test_response() -> None:
    response = parse_response(lines("SIP/2.0 200 OK then", *MANDATORY, body=b"x"))
    assert (response.status, response.reason, response.body) == (200, "OK then", b"x")
    assert parse_response(lines("SIP/2.0 180 ", *MANDATORY)).reason == ""
    assert parse_response(lines("SIP/2.0 180", *MANDATORY)).status == 180


def test_compact_forms_read_as_the_full_names() -> None:
    compact = parse_request(
        lines(
            "INVITE sip:c@d SIP/2.0",
            "v: SIP/2.0/UDP h;branch=z9hG4bKc",
            "f: <sip:a@b>;tag=1",
            "t: <sip:c@d>",
            "i: m2",
            "CSeq: 1 INVITE",
            "m: <sip:a@h>",
            "c: application/sdp",
            "e: identity",
            "k: timer",
            "s: hello",
            "x: 1800",
            "l: 1",
            body=b"ab",
        )
    )
    assert compact.via.branch == "z9hG4bKc"
    assert compact.contact and compact.contact.uri == "sip:a@h"
    assert compact.content_type == "application/sdp"
    assert compact.get("Content-Encoding") == "identity"
    assert compact.get("Supported") == "timer"
    assert compact.get("Subject") == "hello"
    assert compact.get("Session-Expires") == "1800"
    assert compact.body == b"a"


def test_names_in_any_case_with_space_before_the_colon_and_folded_values() -> None:
    message = parse_request(
        lines(
            START,
            "vIA  : SIP  /   2.0",
            " /UDP",
            "\t192.0.2.2:5060 ;branch = z9hG4bKw,",
            "  SIP/2.0/TCP  h2 ; branch=z9hG4bKv",
            "FROM:",
            '  "Quoted \\"string\\"" <sip:a@b> ; tag = x1',
            "TO :sip:c@d",
            "call-id:m3",
            "cseq: 0009",
            "  OPTIONS",
            "NewThing: a;",
            " b",
        )
    )
    assert message.via == Via("UDP", "192.0.2.2", 5060, (("branch", "z9hG4bKw"),))
    assert len(message.values("Via")) == 2
    assert message.from_ == NameAddr('Quoted "string"', "sip:a@b", (("tag", "x1"),))
    assert (message.to.uri, message.cseq.number) == ("sip:c@d", 9)
    assert message.get("NewThing") == "a; b"


def test_bare_line_feeds_and_leading_line_ends() -> None:
    message = parse_request(b"\r\n\n" + lines(START, *MANDATORY, body=b"a\nb", end="\n"))
    assert (message.call_id, message.body) == ("m1", b"a\nb")


def test_comma_list_equals_repeated_fields() -> None:
    once = parse_request(
        lines(START, *MANDATORY, "Route: <sip:a;lr>, <sip:b,c;lr>", "Route: <sip:d>")
    )
    assert once.values("Route") == ["<sip:a;lr>", "<sip:b,c;lr>", "<sip:d>"]


def test_bytes_that_are_not_utf_8_survive() -> None:
    data = lines(START, *MANDATORY).replace(b"<sip:a@b>", b'"J\xfcrg \xe2\x82\xac" <sip:a@b>')
    message = parse(data)
    assert bytes(message) == data
    assert "€" in (message.get("From") or "")


def test_unicode_white_space_and_line_separators_are_text() -> None:
    value = "a\u2028b\u00a0\u0085c\u00a0"
    message = parse(lines(START, *MANDATORY, f"Subject: {value}"))
    assert message.get("Subject") == value
    assert message.get("Call-ID") == "m1"


def test_lines_that_are_no_header_field_are_left_out() -> None:
    data = lines(START, "garbage", "Bad Name: 1", "ⅴia: x", ": 2", *MANDATORY)
    assert [name for name, _ in parse(data).headers] == ["Via", "From", "To", "Call-ID", "CSeq"]


def test_unknown_and_malformed_unneeded_fields_do_not_matter() -> None:
    message = parse_request(lines(START, *MANDATORY, "Date: never", "Contact: ;;;", "Expires: x"))
    assert message.contact is None


@pytest.mark.parametrize(
    "field",
    ["t: <sip:x@y>;tag=9", "T : <sip:c@d>", "i: m1", "F:\r\n <sip:a@b>;tag=1", "cSEQ:1 OPTIONS"],
)
def test_no_spelling_gets_a_second_reading_past_us(field: str) -> None:
    error = refusal(lines(START, *MANDATORY, field))
    assert error.status == 400
    assert str(error).startswith("Duplicate ")


# Length (RFC 3261 18.3)


def test_without_content_length_the_body_goes_to_the_end() -> None:
    assert parse(lines(START, *MANDATORY, body=b"all of it")).body == b"all of it"


def test_bytes_past_content_length_are_dropped() -> None:
    second = lines("BYE sip:c@d SIP/2.0", *MANDATORY)
    message = parse(lines(START, *MANDATORY, "Content-Length: 2", body=b"ab" + second))
    assert (message.body, message.cseq.method) == (b"ab", "OPTIONS")


def test_a_short_body_is_refused_with_the_request_at_hand() -> None:
    error = refusal(lines(START, *MANDATORY, "Content-Length: 9", body=b"short"))
    assert (error.status, str(error)) == (400, "Body shorter than Content-Length")
    assert error.request and error.request.call_id == "m1"


@pytest.mark.parametrize(
    "value", ["-1", "+5", "1e3", "4294967328" * 2, "", "5, 5", "٣", "0x5", "5 5", "1" * 20]
)
def test_content_length_that_is_no_number(value: str) -> None:
    error = refusal(lines(START, *MANDATORY, f"Content-Length: {value}", body=b"12345"))
    assert (error.status, str(error)) == (400, "Malformed Content-Length")


def test_content_lengths_must_agree() -> None:
    assert body_length((("Content-Length", "5"), ("l", "5"))) == 5
    assert body_length((("Subject", "5"),)) is None
    with pytest.raises(MessageError, match="Malformed Content-Length"):
        body_length((("Content-Length", "5"), ("L", "6")))


def test_message_without_empty_line() -> None:
    data = lines(START, *MANDATORY).rstrip(b"\r\n")
    assert parse(data) == parse(data + b"\r\n\r\n")


# Refusals


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("OPTIONS  sip:c@d SIP/2.0", 400),
        ("OPTIONS sip:c@d; lr SIP/2.0", 400),
        (" OPTIONS sip:c@d SIP/2.0", 400),
        ("OPTIONS sip:c@d SIP/7.0", 505),
        ("OPTIONS sip:c@d SIP/3", 400),
    ],
)
def test_start_lines_to_be_answered(start: str, status: int) -> None:
    error = refusal(lines(start, *MANDATORY))
    assert error.status == status
    assert error.request and error.request.method == "OPTIONS"


@pytest.mark.parametrize(
    "start",
    [
        "",
        "OPTIONS",
        "hello world",
        "GET / HTTP/1.1",
        "SIP/2.0 99 x",
        "SIP/2.0 4294967301 OK",
        "SIP/3.0 200 OK",
    ],
)
def test_start_lines_nobody_can_answer(start: str) -> None:
    assert refusal(lines(start, *MANDATORY) if start else b"").request is None


def test_trailing_space_after_the_version_is_forgiven() -> None:
    assert parse_request(lines(START + "  ", *MANDATORY)).uri == "sip:c@d"


@pytest.mark.parametrize("index", range(5))
def test_mandatory_fields_must_be_there_once(index: int) -> None:
    field = MANDATORY[index]
    name = field.partition(":")[0]
    without = refusal(lines(START, *(m for m in MANDATORY if m is not field)))
    assert (without.status, str(without)) == (400, f"Missing {name}")
    if name != "Via":
        twice = refusal(lines(START, *MANDATORY, field.lower()))
        assert (twice.status, str(twice)) == (400, f"Duplicate {name}")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("CSeq: 1 INVITE", "CSeq does not match method"),
        ("CSeq: 36893488147419103232 OPTIONS", "Malformed CSeq"),
        ("CSeq: 4294967295 OPTIONS", "CSeq out of range"),
        ('To: "Mr. J <sip:j@h>', "Unterminated quoted string"),
        ("Via: SIP/2.0/UDP 192.0.2.15;;,;,,", "Malformed Via"),
        ("Via: SIP/2.0/UDP h;branch=z9hG4bK", "Empty branch"),
        ("Call-ID: a b", "Malformed Call-ID"),
        ("Call-ID: ä", "Malformed Call-ID"),
        ("Call-ID:", "Malformed Call-ID"),
        ("From: a@b", "Malformed address"),
    ],
)
def test_malformed_mandatory_fields(field: str, text: str) -> None:
    name = field.partition(":")[0]
    error = refusal(lines(START, *(m for m in MANDATORY if not m.startswith(name)), field))
    assert (error.status, str(error)) == (400, text)
    assert error.request is not None


@pytest.mark.parametrize("control", ["\0", "\x07", "\x7f", "\x0b", "\r"])
def test_control_characters_in_the_head(control: str) -> None:
    error = refusal(lines(START, *MANDATORY, f"Subject: a{control}Call-ID: b"))
    assert str(error) == "Control character in header"


def test_quoted_control_characters_are_legal() -> None:
    data = lines(START, *MANDATORY).replace(b"<sip:c@d>", b'"BEL \\\x07 NUL \\\0" <sip:c@d>')
    assert parse_request(data).to.display_name == "BEL \x07 NUL \0"


def test_a_start_line_cannot_be_folded() -> None:
    with pytest.raises(MessageError, match="Folded start-line"):
        parse_head(b"OPTIONS sip:c@d SIP/2.0\r\n more")


@pytest.mark.parametrize("field", ["Via: SIP/2.0/UDP h", "Route: <sip:h;lr>", "X: 1", " folded"])
def test_too_many_lines_are_refused_with_an_answer(field: str) -> None:
    error = refusal(lines(START, *MANDATORY, *[field] * LINES_MAX))
    assert error.status == 513
    assert error.request and error.request.via.branch == "z9hG4bKm"


def test_too_large_a_head_or_body() -> None:
    filler = HEAD_MAX_BYTES - len(lines(START, *MANDATORY, "X: ")) + 4
    assert parse(lines(START, *MANDATORY, "X: " + "y" * filler)).call_id == "m1"
    assert refusal(lines(START, *MANDATORY, "X: " + "y" * (filler + 1))).status == 513
    assert refusal(lines(START, *MANDATORY, "X: " + "y" * HEAD_MAX_BYTES)).status == 513
    assert refusal(lines(START, *MANDATORY, body=bytes(BODY_MAX_BYTES + 1))).status == 513
    assert len(parse(lines(START, *MANDATORY, body=bytes(BODY_MAX_BYTES))).body) == BODY_MAX_BYTES


def test_too_many_vias_in_one_line() -> None:
    vias = ",".join(["SIP/2.0/UDP h"] * 1000)
    assert refusal(lines(START, f"Via: {vias}", *MANDATORY[1:])).status == 513


# Torture in the manner of RFC 4475, own composition


def test_tortuous_but_valid() -> None:
    uri = "sip:u;p=%40&x=1!(a)'$,/?;:+h@rec.example;x%20y;k=v%41"
    message = parse_request(
        lines(
            f"!odd-Method9_*+`.%~' {uri} SIP/2.0",
            "vIa: SIP/2.0/TCP h1.example;branch=z9hG4bK-.!%66*_+`'~",
            'To: "Esc \\\\\\" quote" <sip:a\'b@c?x=%00>',
            "From: nick_~!%.*'+-name <sip:x@y>; odd'`*%!_param= \"\\\"\"; tag=_t~1'+`*%!-.",
            "Call-ID: od'd%Zto*see_raft!<>:\\\"/[]?{}",
            "CSeq: 000000000000000000123 !odd-Method9_*+`.%~'",
            "ext'Ension: anything goes \u00fc",
        )
    )
    assert message.uri == uri
    assert (message.cseq.number, message.from_.tag) == (123, "_t~1'+`*%!-.")
    assert message.to.uri == "sip:a'b@c?x=%00"


def test_hosts_and_transports_of_any_kind() -> None:
    vias = ("SIP/2.0/SCTP sbc1;branch=z9hG4bKa", "SIP/2.0/X-9 a_b.local", "SIP/2.0/TLS [::1]:5061")
    message = parse_request(lines(START, *(f"Via: {via}" for via in vias), *MANDATORY[1:]))
    assert [Via.parse(via).host for via in message.values("Via")] == ["sbc1", "a_b.local", "[::1]"]


def test_a_very_long_but_ordinary_request() -> None:
    long = "x" * 3000
    data = request("INVITE", from_tag=long, call_id=long, headers=[("Subject", long)], body=SDP)
    message = parse_request(data)
    assert (message.from_.tag, message.call_id, message.body) == (long, long, SDP)


# Properties

FRAGMENTS = st.sampled_from(
    [
        b"OPTIONS sip:c@d SIP/2.0\r\n",
        b"SIP/2.0 200 OK\r\n",
        *(field.encode() + b"\r\n" for field in MANDATORY),
        b"Content-Length: 3\r\n",
        b"l:\r\n 3\r\n",
        b"Via: ",
        b"\r\n",
        b"\n",
        b'"',
        b"<",
        b":",
        b"\0",
        b"\xff",
    ]
)
HOSTILE = st.lists(FRAGMENTS | st.binary(max_size=12), max_size=14).map(b"".join)


@given(HOSTILE)
def test_hostile_bytes_raise_message_error_only(data: bytes) -> None:
    try:
        message: Message = parse(data)
    except MessageError as error:
        assert 400 <= error.status < 600
    else:
        assert message.call_id
        assert message.contact is None or message.contact.uri


@given(HOSTILE)
def test_what_was_parsed_reads_the_same_again(data: bytes) -> None:
    try:
        message = parse(data)
    except MessageError:
        return
    again = parse(bytes(message))
    assert (again.headers, again.body) == (message.headers, message.body)
    assert bytes(again) == bytes(message)


NAMES = st.from_regex(r"X-[A-Za-z0-9.!%*_+`'~-]{1,12}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", min_codepoint=33, exclude_characters="\x7f")).map(
    str.strip
)


@given(
    st.lists(st.tuples(NAMES, VALUES.filter(lambda v: v == v.strip(" \t"))), max_size=8),
    st.binary(max_size=200),
)
def test_serialise_then_parse(extra: list[tuple[str, str]], body: bytes) -> None:
    fields = [(name, value) for name, _, value in (m.partition(": ") for m in MANDATORY)]
    length = ("Content-Length", str(len(body)))
    ours = Request("OPTIONS", "sip:c@d", (*fields, *extra, length), body)
    assert parse(bytes(ours)) == ours
    theirs = Response(200, "OK", (*fields, *extra, length), body)
    assert parse(bytes(theirs)) == theirs
