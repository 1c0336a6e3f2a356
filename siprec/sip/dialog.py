"""The dialog as its server sees it (RFC 3261 12)."""

import re
from dataclasses import dataclass, field
from typing import Self

from siprec.sip.errors import MessageError
from siprec.sip.events import Flow
from siprec.sip.headers import NameAddr, Uri
from siprec.sip.inspection import RETRY_LATER, Refusal
from siprec.sip.message import Header, Request
from siprec.sip.routing import host_port, request_flow
from siprec.sip.transaction import ServerTransaction, State, Transaction

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+:[^\s<>\"]++")
"""What may stand in a Request-Line."""


@dataclass(slots=True, eq=False)
class Dialog:
    """One peer relationship: two tags, a route, two CSeq spaces, and what is pending in it."""

    id: str
    """Our tag."""
    call_id: str
    remote_tag: str
    local: str
    """From of our requests: the peer's To, with our tag."""
    remote: str
    """To of our requests: the peer's From, verbatim."""
    remote_target: str
    """URI the peer wants to be reached at, verbatim."""
    route_set: tuple[str, ...]
    """Route values in the order of our requests; fixed for the dialog's life (12.2)."""
    secure: bool
    """Whether our Contact must be a `sips:` URI (12.1.1)."""
    remote_cseq: int
    flow: Flow
    """The path the last request came by."""
    reachable: bool = True
    """False while the connection of `flow` is gone."""
    local_cseq: int = 0
    confirmed: bool = False
    """Whether an INVITE in it was answered 2xx."""
    closing: bool = False
    """Whether we sent a BYE."""
    farewell: str | None = None
    """Reason of the BYE that waits for the ACK; `None` when none does (15)."""
    invite: ServerTransaction | None = None
    """The INVITE that waits for its final response."""
    update: ServerTransaction | None = None
    """The UPDATE that waits for its final response, or was never given one."""
    unacknowledged: dict[int, ServerTransaction] = field(default_factory=dict)
    """INVITEs answered 2xx, by CSeq, until their ACK."""
    offering: bool = False
    """Whether the 2xx that waits for its ACK answered an INVITE without SDP: the offer is ours."""

    @classmethod
    def begin(cls, request: Request, server: ServerTransaction, flow: Flow) -> Self:
        """The dialog an initial INVITE starts. Raises `MessageError` for a bad Record-Route."""
        tag = server.to_tag
        route_set = tuple(request.values("Record-Route"))
        for route in route_set:
            NameAddr.parse(route)
        target = _target(request) or f"sip:{host_port(flow.remote)}"
        server.dialog_id = tag
        return cls(
            id=tag,
            call_id=request.call_id,
            remote_tag=request.from_.tag,
            local=f"{request.get('To')};tag={tag}",
            remote=request.get("From") or "",
            remote_target=target,
            route_set=route_set,
            secure=_is_secure(request, route_set, target),
            remote_cseq=request.cseq.number,
            flow=flow,
            invite=server,
        )

    def matches(self, request: Request) -> bool:
        """Whether a request with our tag belongs here: by Call-ID and the peer's tag (12.2.2)."""
        return self.call_id == request.call_id and self.remote_tag == request.from_.tag

    @property
    def has_failed(self) -> bool:
        """Whether its first INVITE was refused."""
        return not self.confirmed and self.invite is None

    def inspect(self, request: Request) -> Refusal | None:
        """What the state of the dialog says against a request (12.2.2, 14.2; RFC 3311 5.2)."""
        if self.closing and request.method != "BYE":
            return Refusal(481)
        if request.cseq.number < self.remote_cseq:
            return Refusal(500, reason="CSeq out of order")
        if request.method == "INVITE" and self.invite:
            return Refusal(500, RETRY_LATER)
        if request.method == "UPDATE":
            return self._inspect_update(request)
        return None

    def _inspect_update(self, request: Request) -> Refusal | None:
        if self.update and self.update.state is State.TRYING:
            return Refusal(500, RETRY_LATER)
        if not _has_offer(request):
            return None
        if self.offering:
            return Refusal(491)
        pending = self.invite.request if self.invite else None
        return Refusal(500, RETRY_LATER) if pending and _has_offer(pending) else None

    def receive(self, request: Request, server: ServerTransaction, flow: Flow) -> None:
        """Take in a request that passed `inspect`."""
        self.remote_cseq, self.flow, self.reachable = request.cseq.number, flow, True
        server.dialog_id = self.id
        if request.method == "INVITE":
            self.invite = server
        elif request.method == "UPDATE":
            self.update = server

    def conclude(self, server: ServerTransaction, request: Request, status: int) -> None:
        """Note the final response to a request. A 2xx moves the remote target (12.2.2)."""
        if request.method in ("INVITE", "UPDATE") and status < 300:
            self.remote_target = _target(request) or self.remote_target
        if server is self.update:
            self.update = None
        elif server is self.invite:
            self.invite = None
            if status < 300:
                self.confirmed = True
                self.unacknowledged[request.cseq.number] = server
                self.offering = not _has_offer(request)

    def acknowledge(self, server: Transaction) -> None:
        """Stop waiting for the ACK to a 2xx."""
        self.unacknowledged = {n: s for n, s in self.unacknowledged.items() if s is not server}
        self.offering = self.offering and bool(self.unacknowledged)

    def request(
        self, method: str, branch: str, sent_by: str, headers: tuple[Header, ...] = ()
    ) -> Request:
        """Our next request in the dialog (12.2.1.1), without body; `sent_by` is our HOST:PORT."""
        self.local_cseq += 1
        uri, routes = self._route()
        via = f"SIP/2.0/{self.flow.transport.upper()} {sent_by}"
        fields = (
            ("Via", f"{via};branch={branch};rport"),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in routes),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.local_cseq} {method}"),
            *headers,
            ("Content-Length", "0"),
        )
        return Request(method, uri, fields)

    def request_flow(self) -> Flow:
        """The path our requests go."""
        uri, routes = self._route()
        return request_flow(NameAddr.parse(routes[0]).uri if self._is_loose() else uri, self.flow)

    def _is_loose(self) -> bool:
        if not self.route_set:
            return False
        try:
            return Uri.parse(NameAddr.parse(self.route_set[0]).uri).param("lr") is not None
        except MessageError:
            return True

    def _route(self) -> tuple[str, tuple[str, ...]]:
        """Request-URI and Route values; a strict router (without `lr`) is the URI itself."""
        if not self.route_set or self._is_loose():
            return self.remote_target, self.route_set
        first = NameAddr.parse(self.route_set[0]).uri
        return first, (*self.route_set[1:], f"<{self.remote_target}>")


class Dialogs:
    """The dialogs of an endpoint."""

    def __init__(self) -> None:
        self._by_id: dict[str, Dialog] = {}
        self._callers: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, dialog_id: str) -> Dialog | None:
        """The dialog of that id."""
        return self._by_id.get(dialog_id)

    def find(self, request: Request) -> Dialog | None:
        """By Call-ID and both tags, not by Request-URI: some clients keep the one they dialled."""
        dialog = self._by_id.get(request.to.tag)
        return dialog if dialog and dialog.matches(request) else None

    def has_caller(self, request: Request) -> bool:
        """Whether there is a dialog with this Call-ID and From tag."""
        return (request.call_id, request.from_.tag) in self._callers

    def add(self, dialog: Dialog) -> None:
        """Keep a dialog until it is dropped."""
        self._by_id[dialog.id] = dialog
        self._callers.add((dialog.call_id, dialog.remote_tag))

    def drop(self, dialog: Dialog) -> None:
        """Forget a dialog."""
        self._by_id.pop(dialog.id, None)
        self._callers.discard((dialog.call_id, dialog.remote_tag))

    def lose(self, connection: int) -> None:
        """Note that a stream connection is gone."""
        for dialog in self._by_id.values():
            if dialog.flow.connection == connection:
                dialog.reachable = False


def _target(request: Request) -> str | None:
    contact = request.contact
    return contact.uri if contact and _URI.fullmatch(contact.uri) else None


def _has_offer(request: Request) -> bool:
    """Judged by type: a multipart body brings SDP unless it is very odd."""
    return request.content_type.lower().startswith(("application/sdp", "multipart/"))


def _is_secure(request: Request, route_set: tuple[str, ...], target: str) -> bool:
    top = NameAddr.parse(route_set[0]).uri if route_set else target
    return any(uri.lower().startswith("sips:") for uri in (request.uri, top))
