import pytest

from siprec.sip.message import Request, Response
from siprec.sip.reply import ACCEPT, REASONS, compose, has_to_tag, is_answerable
from tests.siprec.sip.compose import parse_request, request

ROUTES = [("Record-Route", "<sip:p1;lr>, <sip:p2;lr>"), ("Record-Route", "<sip:p3;lr>")]


def reply(method: str, status: int, **given: object) -> Response:
    invite = parse_request(request(method, headers=[*ROUTES, ("Timestamp", "54.2")]))
    return compose(invite, ["v1", "v2"], status, to_tag="t", contact="<sip:us>", **given)  # type: ignore[arg-type]


def test_what_every_response_copies() -> None:
    response = reply("BYE", 200)
    assert response.headers == (
        ("Via", "v1"),
        ("Via", "v2"),
        *ROUTES,
        ("To", "<sip:rec@rec.example>;tag=t"),
        ("From", "<sip:src@edge.example>;tag=from-1"),
        ("Call-ID", "c1@192.0.2.10"),
        ("CSeq", "1 BYE"),
        ("Content-Length", "0"),
    )
    assert (response.status, response.reason, response.body) == (200, "OK", b"")


def test_100_has_the_timestamp_and_no_tag_nor_contact() -> None:
    response = reply("INVITE", 100)
    assert response.get("To") == "<sip:rec@rec.example>"
    assert response.get("Timestamp") == "54.2"
    assert response.get("Contact") is None
    assert response.get("Record-Route") is None


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        ("INVITE", 180, "<sip:us>"),
        ("INVITE", 200, "<sip:us>"),
        ("UPDATE", 200, "<sip:us>"),
        ("INVITE", 488, None),
        ("OPTIONS", 200, None),
        ("BYE", 200, None),
    ],
)
def test_contact(method: str, status: int, expected: str | None) -> None:
    response = reply(method, status)
    assert response.get("Contact") == expected
    assert len(response.get_all("Record-Route")) == (2 if status < 300 else 0)
    assert response.get("Timestamp") is None


def test_capabilities() -> None:
    options = reply("OPTIONS", 200)
    assert options.get("Allow") == "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE"
    assert options.get("Accept") == ACCEPT
    assert (options.get("Supported"), options.get("Accept-Encoding")) == ("", "identity")
    assert options.get("Accept-Language") == "en"
    invite = reply("INVITE", 202)
    assert invite.get("Allow") and invite.get("Accept") == ACCEPT
    assert reply("UPDATE", 200).get("Allow")
    assert reply("INVITE", 415).get("Accept") == ACCEPT
    assert reply("INVITE", 488).get("Accept") is None


def test_given_fields_replace_ours() -> None:
    response = reply("INVITE", 200, headers=[("supported", "timer"), ("X-Own", "1")])
    assert response.get_all("Supported") == ["timer"]
    assert response.get("X-Own") == "1"
    assert response.get("Allow")


def test_body_and_reason() -> None:
    response = reply("INVITE", 200, body=b"12345", content_type="text/plain", reason="Fine")
    assert (response.body, response.content_type, response.reason) == (
        b"12345",
        "text/plain",
        "Fine",
    )
    assert response.get("Content-Length") == "5"
    assert bytes(reply("INVITE", 699)).startswith(b"SIP/2.0 699 Unknown\r\n")


def test_reasons_are_those_of_final_and_provisional_responses() -> None:
    known = {100: "Trying", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
    known |= {406: "Not Acceptable", 415: "Unsupported Media Type", 486: "Busy Here"}
    known |= {487: "Request Terminated", 488: "Not Acceptable Here", 503: "Service Unavailable"}
    assert known.items() <= REASONS.items()
    assert all(100 <= status < 700 and reason for status, reason in REASONS.items())


def test_is_answerable() -> None:
    whole = parse_request(request())
    assert is_answerable(whole)
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        fields = tuple(field for field in whole.headers if field[0] != name)
        assert not is_answerable(Request("INVITE", "sip:a", fields))
    broken = Request("INVITE", "sip:a", (("Via", "?"), *whole.headers))
    assert not is_answerable(broken)


def test_has_to_tag() -> None:
    assert has_to_tag(parse_request(request(to_tag="x")))
    assert not has_to_tag(parse_request(request()))
    assert not has_to_tag(Request("INVITE", "sip:a", (("To", '"'),)))
