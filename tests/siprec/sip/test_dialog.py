from dataclasses import replace

import pytest

from siprec.sip.dialog import Dialog, Dialogs
from siprec.sip.errors import MessageError
from siprec.sip.inspection import RETRY_LATER, Refusal
from siprec.sip.message import Request
from siprec.sip.transaction import ServerTransaction
from siprec.sip.transaction_layer import TransactionLayer
from tests.siprec.sip.compose import SDP, TCP, UDP, parse_request, request

TOO_EARLY = Refusal(500, RETRY_LATER)


def opened(message: Request) -> ServerTransaction:
    return TransactionLayer().open_server(message, UDP, "ours", 0.0)


def begin(*routes: str, **changes: str) -> Dialog:
    headers = [("Record-Route", route) for route in routes]
    invite = parse_request(request(headers=headers, body=SDP, **changes))  # type: ignore[arg-type]
    return Dialog.begin(invite, opened(invite), UDP)


def confirmed(body: bytes = SDP) -> tuple[Dialog, ServerTransaction]:
    invite = parse_request(request(body=body))
    server = opened(invite)
    dialog = Dialog.begin(invite, server, UDP)
    dialog.conclude(server, invite, 200)
    return dialog, server


def within(method: str, cseq: int, body: bytes = b"", contact: str = "<sip:new@h>") -> Request:
    data = request(method, cseq, to_tag="ours", body=body, contact=contact)
    return parse_request(data)


def test_begin() -> None:
    dialog = begin()
    assert (dialog.id, dialog.call_id, dialog.remote_tag) == ("ours", "c1@192.0.2.10", "from-1")
    assert dialog.remote_target == "sip:src@192.0.2.10:5062"
    assert dialog.invite and dialog.invite.dialog_id == "ours"
    assert not dialog.confirmed


@pytest.mark.parametrize("contact", ["", ";;", "<>", "<sip:a b@h>", "<sip:x\t@h>"])
def test_a_contact_that_cannot_be_used_is_replaced_by_the_source(contact: str) -> None:
    assert begin(contact=contact).remote_target == "sip:192.0.2.10:5062"


def test_a_record_route_that_cannot_be_read_starts_nothing() -> None:
    with pytest.raises(MessageError):
        begin("<sip:p1;lr>, nonsense")


@pytest.mark.parametrize(
    ("uri", "route", "contact", "secure"),
    [
        ("sip:r@h", None, "<sip:a@h>", False),
        ("sips:r@h", None, "<sip:a@h>", True),
        ("sip:r@h", None, "<SIPS:a@h>", True),
        ("sip:r@h", "<sip:p;lr>", "<sips:a@h>", False),
        ("sip:r@h", "<sips:p;lr>", "<sip:a@h>", True),
    ],
)
def test_secure(uri: str, route: str | None, contact: str, secure: bool) -> None:
    routes = [route] if route else []
    assert begin(*routes, uri=uri, contact=contact).secure is secure


def test_matches_by_call_id_and_tags_whatever_the_request_uri() -> None:
    dialog = begin()
    assert dialog.matches(within("BYE", 2))
    assert dialog.matches(parse_request(request("BYE", 2, to_tag="ours", uri="sip:dialled@h")))
    assert not dialog.matches(parse_request(request("BYE", 2, to_tag="ours", from_tag="x")))
    assert not dialog.matches(parse_request(request("BYE", 2, to_tag="ours", call_id="x")))


def test_a_lower_cseq_is_out_of_order_and_gaps_are_not() -> None:
    dialog, _ = confirmed()
    server = opened(within("OPTIONS", 9))
    assert dialog.inspect(within("OPTIONS", 9)) is None
    dialog.receive(within("OPTIONS", 9), server, UDP)
    assert dialog.inspect(within("BYE", 8)) == Refusal(500, reason="CSeq out of order")
    assert dialog.inspect(within("BYE", 9)) is None


def test_requests_that_overlap() -> None:
    dialog, _ = confirmed()
    again, update = within("INVITE", 2, SDP), within("UPDATE", 3)
    server = opened(again)
    dialog.receive(again, server, UDP)
    assert dialog.inspect(within("INVITE", 3, SDP)) == TOO_EARLY
    assert dialog.inspect(update) is None
    assert dialog.inspect(within("UPDATE", 3, SDP)) == TOO_EARLY
    dialog.conclude(server, again, 488)
    assert dialog.inspect(within("INVITE", 3, SDP)) is None
    dialog.receive(update, pending := opened(update), UDP)
    assert dialog.inspect(within("UPDATE", 4)) == TOO_EARLY
    dialog.conclude(pending, update, 200)
    assert dialog.inspect(within("UPDATE", 4)) is None


def test_an_offer_while_ours_is_not_answered() -> None:
    dialog, server = confirmed(body=b"")
    assert dialog.inspect(within("UPDATE", 2, SDP)) == Refusal(491)
    assert dialog.inspect(within("UPDATE", 2)) is None
    dialog.acknowledge(server)
    assert dialog.inspect(within("UPDATE", 2, SDP)) is None


def test_after_our_bye_only_a_bye_is_taken() -> None:
    dialog, _ = confirmed()
    dialog.closing = True
    assert dialog.inspect(within("UPDATE", 2)) == Refusal(481)
    assert dialog.inspect(within("BYE", 2)) is None


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_the_target_moves_with_a_2xx_only(method: str) -> None:
    dialog, _ = confirmed()
    moved = within(method, 2, contact="<sip:moved@198.51.100.9>")
    dialog.receive(moved, server := opened(moved), TCP)
    assert dialog.flow == TCP
    dialog.conclude(server, moved, 488)
    assert dialog.remote_target == "sip:src@192.0.2.10:5062"
    dialog.conclude(server, moved, 200)
    assert dialog.remote_target == "sip:moved@198.51.100.9"


def test_has_failed() -> None:
    invite = parse_request(request())
    dialog = Dialog.begin(invite, server := opened(invite), UDP)
    assert not dialog.has_failed
    dialog.conclude(server, invite, 403)
    assert dialog.has_failed
    assert not confirmed()[0].has_failed


def test_unacknowledged_until_the_ack() -> None:
    dialog, server = confirmed()
    assert dialog.unacknowledged == {1: server}
    dialog.acknowledge(server)
    assert dialog.unacknowledged == {}


def test_our_request_follows_the_route_set() -> None:
    dialog = begin("<sip:p1:5070;lr>;x=1, <sip:p2;lr>", "<sip:p3;lr>")
    bye = dialog.request("BYE", "z9hG4bKo", "us:5060", (("Reason", "SIP;cause=500"),))
    assert bytes(bye).decode().split("\r\n") == [
        "BYE sip:src@192.0.2.10:5062 SIP/2.0",
        "Via: SIP/2.0/UDP us:5060;branch=z9hG4bKo;rport",
        "Max-Forwards: 70",
        "Route: <sip:p1:5070;lr>;x=1",
        "Route: <sip:p2;lr>",
        "Route: <sip:p3;lr>",
        "From: <sip:rec@rec.example>;tag=ours",
        "To: <sip:src@edge.example>;tag=from-1",
        "Call-ID: c1@192.0.2.10",
        "CSeq: 1 BYE",
        "Reason: SIP;cause=500",
        "Content-Length: 0",
        "",
        "",
    ]
    assert dialog.request("BYE", "z9hG4bKp", "us").cseq.number == 2


def test_a_strict_router_takes_the_request_uri() -> None:
    dialog = begin("<sip:198.51.100.1>", "<sip:p2;lr>")
    bye = dialog.request("BYE", "z9hG4bKo", "us")
    assert bye.uri == "sip:198.51.100.1"
    assert bye.get_all("Route") == ["<sip:p2;lr>", "<sip:src@192.0.2.10:5062>"]
    assert dialog.request_flow() == replace(UDP, remote=("198.51.100.1", 5060))


def test_where_our_request_goes() -> None:
    assert begin().request_flow() == UDP
    assert begin(contact="<sip:a@198.51.100.2:5>").request_flow().remote == ("198.51.100.2", 5)
    assert begin("<sip:198.51.100.3;lr>").request_flow().remote == ("198.51.100.3", 5060)
    assert begin("<sip:proxy.example;lr>").request_flow() == UDP


def test_dialogs() -> None:
    dialogs, dialog = Dialogs(), begin()
    assert not dialogs.has_caller(parse_request(request()))
    dialogs.add(dialog)
    assert len(dialogs) == 1
    assert dialogs.has_caller(parse_request(request(cseq=2)))
    assert not dialogs.has_caller(parse_request(request(from_tag="other")))
    assert dialogs.get("ours") is dialog
    assert dialogs.find(within("BYE", 2)) is dialog
    assert dialogs.find(parse_request(request("BYE", 2, to_tag="ours", call_id="x"))) is None
    dialogs.lose(7)
    assert dialog.reachable
    dialog.flow = TCP
    dialogs.lose(7)
    assert not dialog.reachable
    dialogs.drop(dialog)
    dialogs.drop(dialog)
    assert len(dialogs) == 0
    assert not dialogs.has_caller(parse_request(request()))
