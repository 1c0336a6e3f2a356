import pytest

from siprec.sip.inspection import (
    ALLOW,
    Refusal,
    inspect_method,
    inspect_require,
    inspect_uri,
)
from tests.siprec.sip.compose import parse_request, request

ALLOWED = (("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE"),)


@pytest.mark.parametrize(
    ("method", "refusal"),
    [
        *((method, None) for method in ALLOW),
        ("REGISTER", Refusal(405, ALLOWED)),
        ("INFO", Refusal(405, ALLOWED)),
        ("MESSAGE", Refusal(405, ALLOWED)),
        ("NEWMETHOD", Refusal(501)),
        ("invite", Refusal(501)),
    ],
)
def test_inspect_method(method: str, refusal: Refusal | None) -> None:
    assert inspect_method(parse_request(request(method))) == refusal


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("sip:rec@h", None),
        ("SIPS:rec@h:5061;transport=tcp", None),
        ("tel:+15550100", 416),
        ("nobodyKnowsThisScheme:totallyopaquecontent", 416),
        ("<sip:rec@h>", 400),
        ("sip:rec@h?Route=%3Csip:x%3E", 400),
        ("*", 400),
    ],
)
def test_inspect_uri(uri: str, status: int | None) -> None:
    refusal = inspect_uri(parse_request(request(uri=uri)))
    assert (refusal and refusal.status) == status


@pytest.mark.parametrize(
    ("require", "unsupported"),
    [
        ("siprec", None),
        ("SIPREC, 100rel, timer, replaces", None),
        ("siprec, record-aware", "record-aware"),
        ("foo, siprec, Bar", "foo, Bar"),
    ],
)
def test_inspect_require(require: str, unsupported: str | None) -> None:
    refusal = inspect_require(parse_request(request(headers=[("Require", require)])))
    expected = unsupported and Refusal(420, (("Unsupported", unsupported),))
    assert refusal == expected


def test_require_is_not_looked_at_where_it_must_not_matter() -> None:
    for method in ("ACK", "CANCEL"):
        message = parse_request(request(method, headers=[("Require", "foo")]))
        assert inspect_require(message) is None
    assert inspect_require(parse_request(request(headers=[("Proxy-Require", "privacy")]))) is None


def test_a_require_that_cannot_be_read() -> None:
    refusal = inspect_require(parse_request(request(headers=[("Require", '"')])))
    assert refusal and refusal.status == 400
