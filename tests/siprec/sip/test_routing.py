from dataclasses import replace

import pytest

from siprec.sip.events import Flow
from siprec.sip.headers import Via
from siprec.sip.routing import contact_uri, host_port, reply_flow, request_flow, sent_by, stamp
from tests.siprec.sip.compose import TCP, UDP, parse_request, request

SIX = Flow("udp", ("2001:db8::1", 5060), ("2001:db8::2", 5062))


def top(via: str, flow: Flow = UDP) -> str:
    data = request("OPTIONS").replace(
        b"SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-OPTIONS-1;rport", via.encode()
    )
    return stamp(parse_request(data), flow)[0]


@pytest.mark.parametrize(
    ("via", "stamped"),
    [
        ("SIP/2.0/UDP 192.0.2.10:5062;branch=b", "SIP/2.0/UDP 192.0.2.10:5062;branch=b"),
        ("SIP/2.0/UDP 192.0.2.10;branch=b", "SIP/2.0/UDP 192.0.2.10;branch=b"),
        ("SIP/2.0/UDP h:9;branch=b", "SIP/2.0/UDP h:9;branch=b;received=192.0.2.10"),
        (
            "SIP/2.0/UDP 10.0.0.1:5060;rport;branch=b",
            "SIP/2.0/UDP 10.0.0.1:5060;rport=5062;branch=b;received=192.0.2.10",
        ),
        (
            "SIP/2.0/UDP 192.0.2.10:5062;branch=b;rport",
            "SIP/2.0/UDP 192.0.2.10:5062;branch=b;rport=5062;received=192.0.2.10",
        ),
        (
            "SIP/2.0/UDP h;rport=1;received=9.9.9.9;branch=b",
            "SIP/2.0/UDP h;rport=5062;branch=b;received=192.0.2.10",
        ),
        (
            "SIP/2.0/UDP 192.0.2.10:5062;received=9.9.9.9;branch=b",
            "SIP/2.0/UDP 192.0.2.10:5062;branch=b",
        ),
    ],
)
def test_stamp(via: str, stamped: str) -> None:
    assert top(via) == stamped


def test_stamp_compares_addresses_not_spellings() -> None:
    assert "received" not in top("SIP/2.0/UDP [2001:DB8:0::2]:5062;branch=b", SIX)
    assert top("SIP/2.0/UDP [2001:db8::3];branch=b", SIX).endswith(";received=2001:db8::2")


def test_stamp_leaves_the_other_hops_alone() -> None:
    second = "SIP / 2.0 / UDP  other;branch=z9hG4bKx;rport"
    data = request("OPTIONS", headers=[("Via", second)])
    assert stamp(parse_request(data), UDP)[1:] == (second,)


@pytest.mark.parametrize(
    ("via", "remote"),
    [
        ("SIP/2.0/UDP 10.0.0.1:5070;rport", ("192.0.2.10", 5062)),
        ("SIP/2.0/UDP 10.0.0.1:5070", ("192.0.2.10", 5070)),
        ("SIP/2.0/UDP 10.0.0.1", ("192.0.2.10", 5060)),
        ("SIP/2.0/UDP 10.0.0.1;maddr=224.0.0.1", ("192.0.2.10", 5060)),
    ],
)
def test_reply_flow_over_udp(via: str, remote: tuple[str, int]) -> None:
    assert reply_flow(Via.parse(via), UDP) == replace(UDP, remote=remote)


def test_reply_flow_over_a_stream_is_its_connection() -> None:
    assert reply_flow(Via.parse("SIP/2.0/TCP 10.0.0.1:5070"), TCP) == TCP


@pytest.mark.parametrize(
    ("target", "remote"),
    [
        ("sip:src@198.51.100.7:5080", ("198.51.100.7", 5080)),
        ("sip:src@198.51.100.7", ("198.51.100.7", 5060)),
        ("sip:198.51.100.7;transport=UDP", ("198.51.100.7", 5060)),
        ("sip:src@198.51.100.7;transport=tcp", UDP.remote),
        ("sip:src@edge.example", UDP.remote),
        ("sip:src@[2001:db8::9]:5080", UDP.remote),
        ("tel:+15550100", UDP.remote),
    ],
)
def test_request_flow_over_udp(target: str, remote: tuple[str, int]) -> None:
    assert request_flow(target, UDP) == replace(UDP, remote=remote)


def test_request_flow_over_ip_6_has_no_brackets() -> None:
    assert request_flow("sip:[2001:db8::9]", SIX).remote == ("2001:db8::9", 5060)


def test_request_flow_over_a_stream_is_its_connection() -> None:
    assert request_flow("sip:src@198.51.100.7:5080", TCP) == TCP


def test_our_own_address() -> None:
    assert host_port(("::1", 5060)) == "[::1]:5060"
    assert sent_by(UDP, "") == "203.0.113.20:5060"
    assert sent_by(UDP, "rec.example") == "rec.example:5060"
    assert contact_uri(UDP, "", secure=False) == "sip:srs@203.0.113.20:5060"
    assert contact_uri(SIX, "", secure=True) == "sips:srs@[2001:db8::1]:5060"
    assert contact_uri(TCP, "h", secure=False) == "sip:srs@h:5060;transport=tcp"
