"""Transcripts: what a peer says, what the endpoint answers, what its user is told."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.sip.endpoint import PENDING_MAX_S, EndpointConfig
from siprec.sip.events import (
    AckReceived,
    ByeReceived,
    Cancelled,
    DialogEnded,
    Flow,
    InviteReceived,
    MessageRefused,
    OptionsReceived,
    UpdateReceived,
)
from siprec.sip.message import Response
from tests.siprec.sip.compose import (
    SDP,
    TCP,
    UDP,
    Wire,
    parse_request,
    parse_response,
    request,
    response_to,
)

INVITE = request("INVITE", body=SDP, headers=[("Require", "siprec")])


def only(data: list[bytes]) -> Response:
    """The one response in `data`."""
    (message,) = data
    return parse_response(message)


def invited(wire: Wire, data: bytes = INVITE) -> InviteReceived:
    wire.say(data)
    return wire.event(InviteReceived)


# A call


def test_a_whole_call() -> None:
    wire = Wire()
    assert wire.say(INVITE) == []
    invite = wire.event(InviteReceived)
    assert (invite.initial, invite.request.body, invite.flow) == (True, SDP, UDP)
    assert wire.endpoint.dialogs == 1

    ok = only(wire.answer(invite.transaction, body=SDP))
    assert (ok.status, ok.body, ok.content_type) == (200, SDP, "application/sdp")
    assert ok.get("Contact") == "<sip:srs@203.0.113.20:5060>;+sip.srs"
    assert ok.to.tag == invite.dialog_id
    assert "UPDATE" in ok.values("Allow")
    assert "application/rs-metadata+xml" in ok.values("Accept")

    assert wire.say(request("ACK", to_tag=invite.dialog_id)) == []
    assert wire.event(AckReceived).dialog_id == invite.dialog_id

    wire.say(request("BYE", 2, to_tag=invite.dialog_id))
    bye = wire.event(ByeReceived)
    assert bye.dialog_id == invite.dialog_id
    assert only(wire.answer(bye.transaction)).status == 200
    assert (wire.endpoint.dialogs, wire.endpoint.is_idle) == (0, True)
    assert wire.wait(60) == []
    assert wire.endpoint.next_timer() is None


def test_eleven_invites_make_one_call_with_one_answer() -> None:
    wire = Wire()
    invite = invited(wire)
    (trying,) = wire.answer(invite.transaction, 100)
    assert [wire.say(INVITE) for _ in range(4)] == [[trying]] * 4
    (ok,) = wire.answer(invite.transaction, body=SDP)
    assert [wire.say(INVITE) for _ in range(6)] == [[]] * 6
    assert [data for _, data in wire.wait(8)] == [ok] * 4
    assert (wire.events(), wire.endpoint.dialogs) == ([], 1)


def test_eleven_byes_make_one_event_and_one_answer() -> None:
    wire = Wire()
    bye = request("BYE", 2, to_tag=wire.call())
    assert wire.say(bye) == []
    assert wire.say(bye) == []
    (ok,) = wire.answer(wire.event(ByeReceived).transaction)
    assert [wire.say(bye) for _ in range(9)] == [[ok]] * 9
    assert wire.events() == []


def test_identical_bytes_to_a_repeated_refusal() -> None:
    wire = Wire()
    data = request("INVITE", headers=[("Require", "unheard-of")])
    first = wire.say(data)
    assert only(first).status == 420
    assert [wire.say(data) for _ in range(10)] == [first] * 10


def test_100_has_the_timestamp_and_no_tag() -> None:
    wire = Wire()
    invite = invited(wire, request("INVITE", headers=[("Timestamp", "54")]))
    trying = only(wire.answer(invite.transaction, 100))
    assert (trying.status, trying.to.tag, trying.get("Timestamp")) == (100, "", "54")
    ringing = only(wire.answer(invite.transaction, 180))
    ok = only(wire.answer(invite.transaction))
    assert ringing.to.tag == ok.to.tag == invite.dialog_id
    assert ringing.get("Contact") == ok.get("Contact")


def test_vias_and_record_routes_are_copied_in_order() -> None:
    routes = [("Record-Route", "<sip:p1;lr>"), ("Record-Route", "<sip:p2;lr>")]
    wire = Wire()
    invite = invited(wire, request("INVITE", headers=[("Via", "SIP/2.0/UDP far"), *routes]))
    ok = only(wire.answer(invite.transaction))
    assert ok.get_all("Record-Route") == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert ok.get_all("Via") == [
        "SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-INVITE-1;rport=5062;received=192.0.2.10",
        "SIP/2.0/UDP far",
    ]


def test_responses_find_a_client_behind_nat() -> None:
    nat = replace(UDP, remote=("198.51.100.77", 33_333))
    wire = Wire(nat)
    wire.say(request("OPTIONS", to_tag="gone"))
    assert [flow for _, flow, _ in wire.sent] == [nat]
    plain = request("OPTIONS", 2, to_tag="gone").replace(b";rport", b"")
    wire.say(plain)
    assert wire.sent[-1][1].remote == ("198.51.100.77", 5062)


def test_contact_over_tcp_with_a_configured_host_and_sips() -> None:
    wire = Wire(TCP, EndpointConfig(contact_host="rec.example"))
    invite = invited(wire, request("INVITE", uri="sips:rec@rec.example"))
    ok = only(wire.answer(invite.transaction))
    assert ok.get("Contact") == "<sips:srs@rec.example:5060;transport=tcp>;+sip.srs"


# Retransmission of final responses


def test_a_2xx_is_repeated_over_any_transport_until_the_ack() -> None:
    for flow in (UDP, TCP):
        wire = Wire(flow)
        invite = invited(wire)
        (ok,) = wire.answer(invite.transaction)
        assert wire.wait(4) == [(0.5, ok), (1.5, ok), (3.5, ok)]
        wire.say(request("ACK", to_tag=invite.dialog_id))
        wire.event(AckReceived)
        assert wire.wait(100) == []


def test_a_2xx_without_ack_ends_in_a_bye() -> None:
    wire = Wire(TCP)
    invite = invited(wire)
    (ok,) = wire.answer(invite.transaction)
    sent = wire.wait(31.9)
    assert [data for _, data in sent] == [ok] * 10
    ((when, bye),) = wire.wait(1)
    assert when == pytest.approx(0.1)
    assert parse_request(bye).method == "BYE"
    assert wire.event(DialogEnded) == DialogEnded(invite.dialog_id, "no_ack")
    assert (wire.endpoint.dialogs, wire.endpoint.is_idle) == (0, False)
    wire.say(response_to(bye, 200))
    assert wire.endpoint.is_idle
    assert wire.events() == []


def test_a_repeated_ack_is_absorbed() -> None:
    wire = Wire()
    dialog_id = wire.call()
    for branch in ("", "z9hG4bK-again"):
        assert wire.say(request("ACK", to_tag=dialog_id, branch=branch)) == []
    assert wire.events() == []


def test_an_ack_with_the_branch_of_its_invite_or_of_rfc_2543_counts() -> None:
    for branch in ("z9hG4bK-INVITE-1", "1"):
        wire = Wire()
        invite = invited(wire, request("INVITE", branch=branch))
        wire.answer(invite.transaction)
        wire.say(request("ACK", to_tag=invite.dialog_id, branch=branch))
        assert wire.event(AckReceived).dialog_id == invite.dialog_id


def test_stray_acks_and_responses_are_dropped() -> None:
    wire = Wire()
    dialog_id = wire.call()
    stray = [
        request("ACK", to_tag="nobody"),
        request("ACK", 5, to_tag=dialog_id),
        request("ACK"),
        response_to(request("BYE"), 200),
        response_to(request("INVITE"), 180),
    ]
    assert [wire.say(data) for data in stray] == [[]] * 5
    assert wire.events() == []


def test_a_refusal_is_repeated_over_udp_until_the_ack() -> None:
    wire = Wire()
    (busy,) = wire.answer(invited(wire).transaction, 486)
    assert wire.endpoint.dialogs == 0
    assert wire.wait(4) == [(0.5, busy), (1.5, busy), (3.5, busy)]
    tag = parse_response(busy).to.tag
    assert wire.say(request("ACK", to_tag=tag, branch="z9hG4bK-INVITE-1")) == []
    assert (wire.wait(100), wire.events()) == ([], [])
    stream = Wire(TCP)
    stream.answer(invited(stream).transaction, 486)
    assert stream.wait(100) == []


# Refusals


@pytest.mark.parametrize(
    ("data", "status", "field"),
    [
        (request("REGISTER"), 405, ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE")),
        (request("FLY"), 501, None),
        (request("INVITE", uri="tel:+15550100"), 416, None),
        (request("INVITE", uri="<sip:a@b>"), 400, None),
        (request("INVITE", headers=[("Require", "siprec, x, y")]), 420, ("Unsupported", "x, y")),
        (request("INVITE", headers=[("Require", '"')]), 400, None),
        (request("INVITE", headers=[("Record-Route", "<sip:p> x")]), 400, None),
        (request("INVITE", to_tag="unknown"), 481, None),
        (request("BYE", to_tag="unknown"), 481, None),
        (request("OPTIONS", to_tag="unknown"), 481, None),
        (request("BYE"), 481, None),
        (request("UPDATE"), 481, None),
        (request("CANCEL"), 481, None),
    ],
)
def test_refused_without_an_event(data: bytes, status: int, field: tuple[str, str] | None) -> None:
    wire = Wire()
    response = only(wire.say(data))
    assert response.status == status
    assert response.to.tag
    if field:
        assert response.get(field[0]) == field[1]
    assert (wire.events(), wire.endpoint.dialogs) == ([], 0)


def test_checks_come_in_the_order_of_the_rfc() -> None:
    extra = [("Require", "x")]
    wire = Wire()
    assert wire.statuses(request("REGISTER", uri="tel:1", headers=extra)) == [405]
    assert wire.statuses(request("OPTIONS", uri="tel:1", headers=extra)) == [416]
    assert wire.statuses(request("OPTIONS", 2, to_tag="no", headers=extra)) == [481]
    assert wire.statuses(request("OPTIONS", 3, headers=extra)) == [420]
    assert wire.statuses(request("OPTIONS", 3, branch="z9hG4bK-2", headers=extra)) == [482]


@pytest.mark.parametrize(
    ("old", "new", "status", "cause"),
    [
        (b"SIP/2.0\r\n", b"SIP/7.0\r\n", 505, "Version Not Supported"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 BYE", 400, "CSeq does not match method"),
        (b"Length: %d" % len(SDP), b"Length: 9999", 400, "Body shorter than Content-Length"),
        (b"Length: %d" % len(SDP), b"Length: x", 400, "Malformed Content-Length"),
        (b"Content-Type: application/sdp\r\n", b"X: 1\r\n" * 600, 513, "Too many header lines"),
        (b"From: <sip:", b'From: "<sip:', 400, "Unterminated quoted string"),
    ],
)
def test_malformed_requests_are_answered_when_they_can_be(
    old: bytes, new: bytes, status: int, cause: str
) -> None:
    wire = Wire()
    answers = wire.say(INVITE.replace(old, new, 1))
    (answer,) = answers
    assert answer.startswith(f"SIP/2.0 {status} {cause}\r\n".encode())
    assert b"Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-INVITE-1;rport=5062" in answer
    assert b";tag=token-1\r\n" in answer
    assert b"Call-ID: c1@192.0.2.10\r\n" in answer
    assert wire.event(MessageRefused) == MessageRefused(cause, UDP)
    assert wire.endpoint.next_timer() is None


@pytest.mark.parametrize(
    "data",
    [
        INVITE.replace(b"Call-ID", b"X-Call-ID"),
        INVITE.replace(b"SIP/2.0/UDP", b"?"),
        request("ACK").replace(b"CSeq: 1", b"CSeq: x"),
        response_to(INVITE, 200).replace(b"CSeq: 1", b"CSeq: x"),
        b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
        b"\x16\xfe\xfd\x00\x00",
        bytes(65_507) + b"x",
        b"hello",
    ],
)
def test_garbage_is_counted_and_not_answered(data: bytes) -> None:
    wire = Wire()
    assert wire.say(data) == []
    wire.event(MessageRefused)


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0\0\0\0", b"\r\n"])
def test_keep_alives_are_nothing(data: bytes) -> None:
    wire = Wire()
    assert (wire.say(data), wire.events()) == ([], [])


def test_a_request_that_came_by_two_paths() -> None:
    wire = Wire()
    invited(wire)
    assert wire.statuses(request("INVITE", branch="z9hG4bK-fork", body=SDP)) == [482]
    assert wire.statuses(request("INVITE", 2, body=SDP)) == [482]
    assert wire.events() == []


def test_a_new_attempt_after_a_refusal_is_not_merged() -> None:
    wire = Wire()
    wire.answer(invited(wire).transaction, 503)
    again = invited(wire, request("INVITE", 2, body=SDP))
    assert again.initial


def test_same_branch_from_another_sent_by_is_another_request() -> None:
    wire = Wire()
    for host in ("192.0.2.10:5062", "192.0.2.11:5062"):
        wire.say(request("OPTIONS", via=f"SIP/2.0/UDP {host}", call_id=host))
        wire.event(OptionsReceived)


def test_a_full_endpoint_refuses_what_is_new() -> None:
    wire = Wire(config=EndpointConfig(transactions_max=1))
    invite = invited(wire)
    full = only(wire.say(request("INVITE", call_id="other", branch="z9hG4bK-2")))
    assert (full.status, full.get("Retry-After")) == (503, "5")
    wire.answer(invite.transaction, 486)
    wire.wait(33)
    wire.say(request("INVITE", call_id="third"))
    wire.event(InviteReceived)


def test_quirks_of_real_clients() -> None:
    wire = Wire()
    invite = invited(wire, request("INVITE").replace(b"\r\n", b"\n"))
    wire.answer(invite.transaction)
    wire.say(request("ACK", to_tag=invite.dialog_id, uri="sip:dialled@h"))
    wire.event(AckReceived)
    wire.say(
        request("INVITE", 2, to_tag=invite.dialog_id, contact="<<sip:src@192.0.2.99>;+sip.src>")
    )
    again = wire.event(InviteReceived)
    assert again.request.contact and again.request.contact.param("+sip.src") == ""
    wire.answer(again.transaction)
    wire.say(request("ACK", 2, to_tag=invite.dialog_id))
    wire.event(AckReceived)
    wire.endpoint.hang_up(invite.dialog_id, wire.now)
    (bye,) = wire.take()
    assert wire.sent[-1][1].remote == ("192.0.2.99", 5060)
    wire.say(response_to(bye, 405))
    assert wire.event(DialogEnded).reason == "hung_up"


# CANCEL and Expires


def test_cancel_of_a_pending_invite() -> None:
    wire = Wire()
    invite = invited(wire)
    cancelled, ended = map(parse_response, wire.say(request("CANCEL")))
    assert (cancelled.status, cancelled.cseq.method) == (200, "CANCEL")
    assert (ended.status, ended.cseq.method) == (487, "INVITE")
    assert cancelled.to.tag == ended.to.tag == invite.dialog_id
    assert wire.event(Cancelled).dialog_id == invite.dialog_id
    assert wire.endpoint.dialogs == 0
    assert wire.answer(invite.transaction) == []
    again = only(wire.say(request("CANCEL")))
    assert again == cancelled
    assert wire.say(request("ACK", to_tag=ended.to.tag, branch="z9hG4bK-INVITE-1")) == []
    assert wire.events() == []


def test_cancel_after_the_answer_changes_nothing() -> None:
    wire = Wire()
    invite = invited(wire)
    wire.answer(invite.transaction)
    assert wire.statuses(request("CANCEL")) == [200]
    assert (wire.events(), wire.endpoint.dialogs) == ([], 1)


def test_cancel_of_a_re_invite_leaves_the_call() -> None:
    wire = Wire()
    dialog_id = wire.call()
    invited(wire, request("INVITE", 2, to_tag=dialog_id, body=SDP))
    assert wire.statuses(request("CANCEL", 2, to_tag=dialog_id)) == [200, 487]
    assert (wire.events(), wire.endpoint.dialogs) == ([], 1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("999999", PENDING_MAX_S), ("soon", PENDING_MAX_S), ("0", PENDING_MAX_S)],
)
def test_an_invite_that_waits_too_long_is_ended(value: str, seconds: float) -> None:
    wire = Wire()
    invite = invited(wire, request("INVITE", headers=[("Expires", value)]))
    assert wire.wait(seconds - 0.1) == []
    ended = wire.wait(0.2)
    assert [parse_response(data).status for _, data in ended] == [487]
    assert wire.event(Cancelled).dialog_id == invite.dialog_id


def test_expires_does_not_matter_after_the_answer() -> None:
    wire = Wire()
    invite = invited(wire, request("INVITE", headers=[("Expires", "1")]))
    wire.answer(invite.transaction)
    wire.say(request("ACK", to_tag=invite.dialog_id))
    wire.event(AckReceived)
    assert (wire.wait(40), wire.events(), wire.endpoint.dialogs) == ([], [], 1)


# Within the dialog


def test_re_invite_and_update() -> None:
    wire = Wire()
    dialog_id = wire.call()
    wire.say(request("INVITE", 5, to_tag=dialog_id, body=SDP))
    again = wire.event(InviteReceived)
    assert (again.initial, again.dialog_id) == (False, dialog_id)
    ok = only(wire.answer(again.transaction, body=SDP))
    assert (ok.to.tag, ok.get("Contact")) == (dialog_id, "<sip:srs@203.0.113.20:5060>;+sip.srs")
    wire.say(request("ACK", 5, to_tag=dialog_id))
    wire.event(AckReceived)
    wire.say(request("UPDATE", 6, to_tag=dialog_id, body=b"<x/>", content_type="a/b"))
    update = wire.event(UpdateReceived)
    assert (update.dialog_id, update.request.body) == (dialog_id, b"<x/>")
    ok = only(wire.answer(update.transaction))
    assert (ok.body, ok.get("Contact")) == (b"", "<sip:srs@203.0.113.20:5060>;+sip.srs")
    assert "UPDATE" in ok.values("Allow")


def test_a_duplicate_update_is_applied_once() -> None:
    wire = Wire()
    update = request("UPDATE", 2, to_tag=wire.call())
    wire.say(update)
    first = wire.answer(wire.event(UpdateReceived).transaction)
    assert (wire.say(update), wire.events()) == (first, [])


def test_an_old_cseq_is_refused_and_the_call_goes_on() -> None:
    wire = Wire()
    dialog_id = wire.call(cseq=9)
    assert wire.statuses(request("UPDATE", 8, to_tag=dialog_id)) == [500]
    assert wire.events() == []
    wire.say(request("BYE", 9, to_tag=dialog_id))
    wire.event(ByeReceived)


def test_an_overlapping_invite_is_told_to_retry() -> None:
    wire = Wire()
    dialog_id = wire.call()
    first = invited(wire, request("INVITE", 2, to_tag=dialog_id, body=SDP))
    second = only(wire.say(request("INVITE", 3, to_tag=dialog_id, body=SDP)))
    assert (second.status, second.get("Retry-After")) == (500, "5")
    assert only(wire.answer(first.transaction, body=SDP)).status == 200


def test_a_refused_re_invite_leaves_the_call() -> None:
    wire = Wire()
    dialog_id = wire.call()
    again = invited(wire, request("INVITE", 2, to_tag=dialog_id, body=SDP))
    assert only(wire.answer(again.transaction, 488)).status == 488
    assert (wire.endpoint.dialogs, wire.events()) == (1, [])


def test_options_in_and_out_of_a_dialog() -> None:
    wire = Wire()
    dialog_id = wire.call()
    for cseq, tag, expected in ((1, "", None), (2, dialog_id, dialog_id)):
        wire.say(request("OPTIONS", cseq, to_tag=tag, call_id="c1@192.0.2.10"))
        options = wire.event(OptionsReceived)
        assert options.dialog_id == expected
        ok = only(wire.answer(options.transaction))
        assert ok.get("Accept-Encoding") == "identity"
        assert ok.get("Supported") == ""
    assert wire.endpoint.dialogs == 1


def test_a_user_cannot_answer_what_rfc_4320_forbids() -> None:
    wire = Wire()
    wire.say(request("OPTIONS"))
    options = wire.event(OptionsReceived)
    for status in (100, 180, 408):
        with pytest.raises(ValueError, match=f"{status} to OPTIONS"):
            wire.answer(options.transaction, status)
    assert only(wire.answer(options.transaction)).status == 200
    assert wire.answer(options.transaction) == []
    assert wire.answer("no such transaction") == []


def test_a_request_nobody_answers_is_forgotten() -> None:
    wire = Wire()
    dialog_id = wire.call()
    wire.say(request("UPDATE", 2, to_tag=dialog_id))
    first = wire.event(UpdateReceived)
    assert wire.statuses(request("UPDATE", 3, to_tag=dialog_id)) == [500]
    assert wire.wait(33) == []
    assert wire.answer(first.transaction) == []
    wire.say(request("UPDATE", 4, to_tag=dialog_id))
    wire.event(UpdateReceived)


# The end


def test_bye_before_the_ack_stops_the_2xx() -> None:
    wire = Wire()
    invite = invited(wire)
    wire.answer(invite.transaction)
    wire.say(request("BYE", 2, to_tag=invite.dialog_id))
    wire.answer(wire.event(ByeReceived).transaction)
    assert wire.wait(40) == []
    assert wire.events() == []


def test_bye_during_a_pending_invite_ends_that_with_487() -> None:
    wire = Wire()
    invite = invited(wire)
    wire.answer(invite.transaction, 180)
    assert wire.statuses(request("BYE", 2, to_tag=invite.dialog_id)) == [487]
    bye = wire.event(ByeReceived)
    assert only(wire.answer(bye.transaction)).status == 200
    assert wire.endpoint.dialogs == 0


def test_bye_during_a_re_invite_and_an_update() -> None:
    wire = Wire()
    dialog_id = wire.call()
    again = invited(wire, request("INVITE", 2, to_tag=dialog_id, body=SDP))
    wire.say(request("UPDATE", 3, to_tag=dialog_id))
    update = wire.event(UpdateReceived)
    assert wire.statuses(request("BYE", 4, to_tag=dialog_id)) == [487, 487]
    wire.answer(wire.event(ByeReceived).transaction)
    assert wire.answer(again.transaction) == wire.answer(update.transaction) == []
    assert wire.statuses(request("INVITE", 5, to_tag=dialog_id)) == [481]


def test_hang_up() -> None:
    wire = Wire()
    dialog_id = wire.call()
    wire.endpoint.hang_up(dialog_id, wire.now, reason="SIP;cause=503")
    wire.endpoint.hang_up(dialog_id, wire.now)
    (data,) = wire.take()
    bye = parse_request(data)
    assert (bye.method, bye.uri) == ("BYE", "sip:src@192.0.2.10:5062")
    assert (bye.from_.tag, bye.to.tag) == (dialog_id, "from-1")
    assert (bye.get("Reason"), bye.cseq.number) == ("SIP;cause=503", 1)
    assert re.fullmatch(
        r"SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bKtoken-\d+;rport", str(bye.via)
    )
    assert wire.statuses(request("UPDATE", 2, to_tag=dialog_id)) == [481]
    assert (wire.endpoint.dialogs, wire.events()) == (1, [])
    wire.say(response_to(data, 100))
    wire.say(response_to(data, 200))
    wire.say(response_to(data, 200))
    assert wire.event(DialogEnded) == DialogEnded(dialog_id, "hung_up")
    assert wire.endpoint.is_idle


def test_hang_up_that_nobody_answers() -> None:
    wire = Wire()
    dialog_id = wire.call()
    wire.endpoint.hang_up(dialog_id, wire.now)
    (bye,) = wire.take()
    sent = wire.wait(60)
    assert [data for _, data in sent] == [bye] * 10
    assert sent[-1][0] == 31.5
    assert wire.event(DialogEnded) == DialogEnded(dialog_id, "hung_up")


def test_hang_up_waits_for_the_ack() -> None:
    wire = Wire()
    invite = invited(wire)
    wire.answer(invite.transaction)
    wire.endpoint.hang_up(invite.dialog_id, wire.now, reason="SIP;cause=500")
    assert wire.take() == []
    (bye,) = wire.say(request("ACK", to_tag=invite.dialog_id))
    assert parse_request(bye).get("Reason") == "SIP;cause=500"
    wire.event(AckReceived)


def test_hang_up_before_the_answer() -> None:
    wire = Wire()
    invite = invited(wire)
    wire.endpoint.hang_up(invite.dialog_id, wire.now)
    assert only(wire.take()).status == 480
    assert wire.event(DialogEnded) == DialogEnded(invite.dialog_id, "hung_up")
    wire.endpoint.hang_up(invite.dialog_id, wire.now)
    assert (wire.take(), wire.endpoint.dialogs) == ([], 0)


def test_hang_up_ends_a_pending_re_invite() -> None:
    wire = Wire()
    dialog_id = wire.call()
    invited(wire, request("INVITE", 2, to_tag=dialog_id, body=SDP))
    wire.endpoint.hang_up(dialog_id, wire.now)
    ended, bye = wire.take()
    assert parse_response(ended).status == 487
    assert parse_request(bye).method == "BYE"


def test_byes_that_cross_make_one_end() -> None:
    wire = Wire()
    dialog_id = wire.call()
    wire.endpoint.hang_up(dialog_id, wire.now)
    (ours,) = wire.take()
    wire.say(request("BYE", 2, to_tag=dialog_id))
    wire.answer(wire.event(ByeReceived).transaction)
    wire.say(response_to(ours, 481))
    assert (wire.events(), wire.endpoint.is_idle) == ([], True)


def test_our_bye_follows_the_route_and_the_newest_contact() -> None:
    wire = Wire()
    routes = [("Record-Route", "<sip:198.51.100.1:5070;lr>, <sip:p2;lr>")]
    invite = invited(wire, request("INVITE", headers=routes))
    wire.answer(invite.transaction)
    wire.say(request("ACK", to_tag=invite.dialog_id))
    wire.say(request("UPDATE", 2, to_tag=invite.dialog_id, contact="<sip:moved@h>"))
    _, update = wire.events()
    assert isinstance(update, UpdateReceived)
    wire.answer(update.transaction)
    wire.endpoint.hang_up(invite.dialog_id, wire.now)
    bye = parse_request(wire.take()[0])
    assert bye.uri == "sip:moved@h"
    assert bye.get_all("Route") == ["<sip:198.51.100.1:5070;lr>", "<sip:p2;lr>"]
    assert wire.sent[-1][1].remote == ("198.51.100.1", 5070)


# Streams


def test_a_stream_answers_on_its_connection_and_keeps_nothing_after() -> None:
    wire = Wire(TCP)
    dialog_id = wire.call()
    wire.say(request("BYE", 2, to_tag=dialog_id))
    wire.answer(wire.event(ByeReceived).transaction)
    assert {flow for _, flow, _ in wire.sent} == {TCP}
    wire.wait(0)
    assert wire.statuses(request("BYE", 2, to_tag=dialog_id)) == [481]


def test_a_call_survives_its_connection_and_moves_to_the_next() -> None:
    wire = Wire(TCP)
    dialog_id = wire.call()
    wire.endpoint.connection_lost(TCP, wire.now)
    assert (wire.endpoint.dialogs, wire.events()) == (1, [])
    newer = Flow("tcp", TCP.local, ("192.0.2.10", 40_113), 8)
    wire.say(request("OPTIONS", 2, to_tag=dialog_id), newer)
    wire.answer(wire.event(OptionsReceived).transaction)
    wire.endpoint.hang_up(dialog_id, wire.now)
    assert len(wire.take()) == 1
    assert wire.sent[-1][1] == newer


def test_hang_up_without_a_connection_ends_at_once() -> None:
    wire = Wire(TCP)
    dialog_id = wire.call()
    wire.endpoint.connection_lost(TCP, wire.now)
    wire.endpoint.hang_up(dialog_id, wire.now)
    assert wire.take() == []
    assert wire.event(DialogEnded) == DialogEnded(dialog_id, "hung_up")


def test_a_connection_lost_during_our_bye_ends_it() -> None:
    wire = Wire(TCP)
    dialog_id = wire.call()
    wire.endpoint.hang_up(dialog_id, wire.now)
    wire.endpoint.connection_lost(replace(TCP, connection=8), wire.now)
    assert wire.events() == []
    wire.endpoint.connection_lost(TCP, wire.now)
    assert wire.event(DialogEnded) == DialogEnded(dialog_id, "hung_up")
    assert wire.endpoint.is_idle


def test_no_ack_and_no_connection() -> None:
    wire = Wire(TCP)
    invite = invited(wire)
    (ok,) = wire.answer(invite.transaction)
    wire.endpoint.connection_lost(TCP, wire.now)
    assert {data for _, data in wire.wait(33)} == {ok}
    assert wire.event(DialogEnded) == DialogEnded(invite.dialog_id, "no_ack")


# Bounds


def test_nothing_is_left_of_a_thousand_calls() -> None:
    wire = Wire()
    for number in range(1000):
        dialog_id = wire.call(call_id=f"call-{number}", from_tag=f"f{number}")
        wire.say(
            request(
                "BYE",
                2,
                to_tag=dialog_id,
                call_id=f"call-{number}",
                from_tag=f"f{number}",
                branch=f"z9hG4bK-bye-{number}",
            )
        )
        wire.answer(wire.event(ByeReceived).transaction)
    wire.wait(33)
    layer, dialogs = wire.endpoint._layer, wire.endpoint._dialogs
    assert (len(layer), layer._merged, len(dialogs), dialogs._callers) == (0, {}, 0, set())
    assert wire.endpoint.next_timer() is None


def test_real_tags_and_branches_are_unguessable() -> None:
    tags = set()
    for number in range(50):
        wire = Wire()
        wire.endpoint = type(wire.endpoint)()
        invite = invited(wire, request("INVITE", call_id=str(number)))
        assert re.fullmatch(r"[0-9a-f]{16}", invite.dialog_id)
        tags.add(invite.dialog_id)
    assert len(tags) == 50


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "OPTIONS", "INFO", "wait"]),
        st.integers(1, 4),
        st.booleans(),
        st.sampled_from([100, 180, 200, 486, 0]),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(STEPS)
def test_no_sequence_of_requests_leaves_anything_stuck(
    steps: list[tuple[str, int, bool, int]],
) -> None:
    wire, tag = Wire(), ""
    for method, cseq, within, status in steps:
        if method == "wait":
            wire.wait(cseq * 7.0)
            continue
        wire.say(request(method, cseq, to_tag=tag if within else "", body=SDP))
        for event in wire.events():
            tag = getattr(event, "dialog_id", None) or tag
            transaction = getattr(event, "transaction", None)
            if transaction and (status >= 200 or (status and isinstance(event, InviteReceived))):
                wire.answer(transaction, status)
    wire.wait(PENDING_MAX_S + 33)
    if wire.endpoint.dialogs:
        wire.endpoint.hang_up(tag, wire.now)
        wire.wait(33)
    assert wire.endpoint.is_idle
    assert len(wire.endpoint._layer) == 0
    assert wire.endpoint.next_timer() is None
