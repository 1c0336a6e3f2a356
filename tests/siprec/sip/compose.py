"""SIP messages for tests, and a wire between a test and an `Endpoint` with a clock you move."""

from collections.abc import Sequence
from itertools import count
from typing import TypeVar

from siprec.sip.endpoint import Endpoint, EndpointConfig
from siprec.sip.events import AckReceived, Event, Flow, InviteReceived
from siprec.sip.message import Request, Response, parse

Kind = TypeVar("Kind", bound=Event)

UDP = Flow("udp", ("203.0.113.20", 5060), ("192.0.2.10", 5062))
TCP = Flow("tcp", ("203.0.113.20", 5060), ("192.0.2.10", 40112), 7)
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nt=0 0\r\nm=audio 42000 RTP/AVP 0\r\n"


def request(
    method: str = "INVITE",
    cseq: int = 1,
    *,
    to_tag: str = "",
    branch: str = "",
    uri: str = "sip:rec@203.0.113.20",
    call_id: str = "c1@192.0.2.10",
    from_tag: str = "from-1",
    via: str = "SIP/2.0/UDP 192.0.2.10:5062",
    contact: str = "<sip:src@192.0.2.10:5062>;+sip.src",
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    content_type: str = "application/sdp",
) -> bytes:
    """A request of a well-behaved client; its branch is a function of method and CSeq."""
    transaction = "INVITE" if method == "CANCEL" else method
    branch = branch or f"z9hG4bK-{transaction}-{cseq}"
    fields = [
        ("Via", f"{via};branch={branch};rport"),
        ("Max-Forwards", "70"),
        ("From", f"<sip:src@edge.example>;tag={from_tag}"),
        ("To", "<sip:rec@rec.example>" + (f";tag={to_tag}" if to_tag else "")),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
    ]
    if method in ("INVITE", "UPDATE"):
        fields.append(("Contact", contact))
    fields += headers
    if body:
        fields.append(("Content-Type", content_type))
    fields.append(("Content-Length", str(len(body))))
    return bytes(Request(method, uri, tuple(fields), body))


def response_to(data: bytes, status: int, reason: str = "Whatever") -> bytes:
    """A peer's response to a request of ours."""
    ours = parse_request(data)
    copied = [(name, ours.get(name) or "") for name in ("Via", "From", "To", "Call-ID", "CSeq")]
    return bytes(Response(status, reason, (*copied, ("Content-Length", "0"))))


def parse_request(data: bytes) -> Request:
    """`data` as the request it must be."""
    message = parse(data)
    assert isinstance(message, Request)
    return message


def parse_response(data: bytes) -> Response:
    """`data` as the response it must be."""
    message = parse(data)
    assert isinstance(message, Response)
    return message


class Wire:
    """One peer of an endpoint, over one flow, at a time you choose."""

    def __init__(self, flow: Flow = UDP, config: EndpointConfig | None = None) -> None:
        tokens = count(1)
        self.endpoint = Endpoint(config, token=lambda: f"token-{next(tokens)}")
        self.flow = flow
        self.now = 100.0
        self.sent: list[tuple[float, Flow, bytes]] = []
        """Everything the endpoint sent: when, where, what."""

    def say(self, data: bytes, flow: Flow | None = None) -> list[bytes]:
        """Send to the endpoint; returns what it sends at once."""
        self.endpoint.receive(data, flow or self.flow, self.now)
        return self.take()

    def take(self) -> list[bytes]:
        """What the endpoint sent since the last look."""
        out = self.endpoint.outgoing()
        self.sent += [(self.now, flow, data) for flow, data in out]
        return [data for _, data in out]

    def statuses(self, data: bytes) -> list[int]:
        """Statuses of the responses the endpoint gives at once."""
        return [parse_response(answer).status for answer in self.say(data)]

    def events(self) -> list[Event]:
        """Events since the last look."""
        return list(iter(self.endpoint.next_event, None))

    def event(self, kind: type[Kind]) -> Kind:
        """The only event there is, which must be of that kind."""
        (event,) = self.events()
        assert isinstance(event, kind), event
        return event

    def answer(self, transaction: str, status: int = 200, body: bytes = b"") -> list[bytes]:
        """Respond as the user of the endpoint; returns what is sent at once."""
        content_type = "application/sdp" if body else ""
        self.endpoint.respond(transaction, status, self.now, body=body, content_type=content_type)
        return self.take()

    def wait(self, seconds: float) -> list[tuple[float, bytes]]:
        """Let time pass; returns what is sent meanwhile, with seconds from now."""
        start, first = self.now, len(self.sent)
        end = start + seconds
        while (when := self.endpoint.next_timer()) is not None and when <= end:
            self.now = when
            self.endpoint.handle_timer(when)
            self.take()
        self.now = end
        return [(when - start, data) for when, _, data in self.sent[first:]]

    def call(self, cseq: int = 1, call_id: str = "c1@192.0.2.10", from_tag: str = "from-1") -> str:
        """Set up a call up to the ACK; returns the dialog's id."""
        branch = f"z9hG4bK-{call_id}"
        self.say(
            request("INVITE", cseq, body=SDP, branch=branch, call_id=call_id, from_tag=from_tag)
        )
        invite = self.event(InviteReceived)
        self.answer(invite.transaction, body=SDP)
        tag = invite.dialog_id
        self.say(request("ACK", cseq, to_tag=tag, call_id=call_id, from_tag=from_tag))
        self.event(AckReceived)
        return invite.dialog_id
