"""From a request to an offer: signs, bodies, and what is wrong with them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from siprec.offer import MAX_UCID, read, read_last
from siprec.session import Offer, Refused
from siprec.sip.message import Request, parse

NOW = datetime.now(UTC)
SDP = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0\r\n"
)
XML = '<recording xmlns="urn:ietf:params:xml:ns:recording:1"/>'


def parts(*each: tuple[str, str]) -> str:
    return "".join(f"--b\r\nContent-Type: {k}\r\n\r\n{v}\r\n" for k, v in each) + "--b--\r\n"


def request(body: str, kind: str = "application/sdp", **headers: str) -> Request:
    fields = {
        "From": "<sip:src@sbc.example>;tag=1",
        "To": '"Desk" <sip:rec@srs.example>',
        "Call-ID": "c1",
        "CSeq": "1 INVITE",
        "Contact": "<sip:src@192.0.2.1>",
        "Content-Type": kind,
        **headers,
    }
    return Request("INVITE", "sip:rec@srs.example", tuple(fields.items()), body.encode())


def offer(body: str = SDP, kind: str = "application/sdp", **headers: str) -> Offer:
    return read(request(body, kind, **headers), "d1", "127.0.0.1", NOW)


@pytest.mark.parametrize(
    ("headers", "signs"),
    [
        ({}, set()),
        ({"Require": "100rel, SipRec"}, {"require"}),
        ({"Contact": "<sip:s@h>;+sip.src"}, {"sip.src"}),
        ({"Contact": '<sip:s@h>;+sip.src="TRUE"'}, {"sip.src"}),
        ({"Contact": '<sip:s@h>;+sip.src="FALSE"'}, set()),
        ({"Contact": "<sip:s@h;+sip.src>"}, set()),
        ({"Contact": "<sip:s@h>;src"}, {"src"}),
        ({"Supported": "siprec"}, set()),
    ],
)
def test_signs_in_headers(headers: dict[str, str], signs: set[str]) -> None:
    assert offer(**headers).signs == signs


def test_a_metadata_part_is_a_sign() -> None:
    body = parts(("application/rs-metadata", XML), ("application/sdp", SDP))
    both = offer(body, "multipart/mixed;boundary=b")
    assert both.signs == {"metadata"}
    assert both.sdp is not None and both.metadata is not None and both.warnings == ()


def test_addresses_are_those_of_the_call() -> None:
    found = offer()
    assert (found.from_aor, found.to_aor) == ("sip:src@sbc.example", "sip:rec@srs.example")
    assert (found.call_id, found.dialog_id, found.local_host) == ("c1", "d1", "127.0.0.1")


def test_addresses_are_text_that_can_be_stored_and_shown() -> None:
    found = offer(From="<sip:caf\udce9\x00@sbc.example>;tag=1")
    assert found.from_aor == "sip:caf??@sbc.example"


def test_broken_metadata_becomes_a_warning() -> None:
    body = parts(("application/sdp", SDP), ("application/rs-metadata+xml", "no XML at all"))
    found = offer(body, "multipart/mixed;boundary=b")
    assert found.sdp is not None and found.metadata is None
    assert found.warnings == ("metadata_malformed",)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("x", "text/html", 415),
        ("no delimiter", "multipart/mixed;boundary=b", 400),
        ("v=0\r\nm=\x00\r\n", "application/sdp", 400),
    ],
)
def test_what_cannot_be_recorded_is_refused(body: str, kind: str, status: int) -> None:
    with pytest.raises(Refused) as refusal:
        offer(body, kind)
    assert refusal.value.status == status


def test_a_request_without_a_body_offers_nothing() -> None:
    assert offer("", "").sdp is None


def test_the_body_of_a_bye_never_gets_in_its_way() -> None:
    assert read_last(request("x", "text/html"), "d1", NOW).metadata is None
    assert read_last(request(XML, "application/rs-metadata+xml"), "d1", NOW).metadata is not None


@pytest.mark.parametrize(
    ("header", "value", "ucid"),
    [
        ("X-ISR-UCID", "00FA08;encoding=hex", "00FA08;encoding=hex"),
        ("x-isr-ucid", "1, 2", "1, 2"),
        ("X-ISR-UCID", "  padded\t", "padded"),
        ("X-ISR-UCID", "", ""),
        ("X-Other", "1", ""),
        ("X-ISR-UCID", "n" * 10_000, "n" * MAX_UCID),
        ("X-ISR-UCID", "a\\\x00b\x85c", "a\\?b?c"),
        ("X-ISR-UCID", "caf\udce9", "caf?"),
        ("X-ISR-UCID", "日本", "日本"),
    ],
)
def test_the_universal_call_id_is_kept_as_received(header: str, value: str, ucid: str) -> None:
    found = offer(**{header: value})
    assert found.ucid == ucid
    assert found.ucid.encode().decode() == ucid


def test_of_two_headers_the_first_counts() -> None:
    message = request(SDP)
    twice = (*message.headers, ("X-ISR-UCID", "first"), ("x-isr-ucid", "second"))
    assert read(replace(message, headers=twice), "d1", "127.0.0.1", NOW).ucid == "first"


@pytest.mark.parametrize("name", ["Call-ID", "call-id"])
def test_the_call_id_is_the_universal_one_only_if_configured(name: str) -> None:
    message = request(SDP)
    assert read(message, "d1", "127.0.0.1", NOW).ucid == ""
    assert read(message, "d1", "127.0.0.1", NOW, ucid_header=name).ucid == "c1"
    compact = tuple(("i" if name == "Call-ID" else name, value) for name, value in message.headers)
    found = read(replace(message, headers=compact), "d1", "127.0.0.1", NOW, ucid_header=name)
    assert found.ucid == "c1"


def test_a_header_of_another_name_may_hold_the_universal_call_id() -> None:
    message = request(SDP, **{"User-to-User": "00FA;encoding=hex", "X-ISR-UCID": "1"})
    found = read(message, "d1", "127.0.0.1", NOW, ucid_header="User-To-User")
    assert found.ucid == "00FA;encoding=hex"


def test_the_peer_is_the_one_the_request_came_from() -> None:
    assert offer().peer == ""
    found = read(request(SDP), "d1", "127.0.0.1", NOW, peer="2001:db8::1")
    assert (found.peer, found.local_host) == ("2001:db8::1", "127.0.0.1")


def test_bytes_of_any_charset_in_the_header_reach_the_offer_as_text() -> None:
    wire = bytes(request(SDP)).replace(b"Call-ID: c1", b"Call-ID: c1\r\nX-ISR-UCID: \xff\xc3\xa9")
    wire = wire.replace(b"CSeq:", b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCSeq:")
    message = parse(wire)
    assert isinstance(message, Request)
    assert read(message, "d1", "127.0.0.1", NOW).ucid == "?é"
