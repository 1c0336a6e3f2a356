"""The SIP user agent of a session recording server, without I/O (RFC 3261 8.2, 9.2, 12 to 15).

Messages and a clock reading go in, events and messages come out; `events` is its counterpart. After
every call drain `next_event` and `outgoing`, and call `handle_timer` when `next_timer` is reached.
What needs no decision is done here: retransmissions, CANCEL, ACK, refusals by syntax and state.
"""

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from siprec.sip.dialog import Dialog, Dialogs
from siprec.sip.errors import MessageError
from siprec.sip.events import (
    AckReceived,
    ByeReceived,
    Cancelled,
    DialogEnded,
    Event,
    Flow,
    InviteReceived,
    MessageRefused,
    OptionsReceived,
    UpdateReceived,
)
from siprec.sip.headers import MAGIC_COOKIE
from siprec.sip.inspection import (
    RETRY_LATER,
    Refusal,
    inspect_method,
    inspect_require,
    inspect_uri,
)
from siprec.sip.message import Header, Request, Response, parse
from siprec.sip.reply import compose, has_to_tag, is_answerable
from siprec.sip.routing import contact_uri, reply_flow, sent_by, stamp
from siprec.sip.transaction import (
    Action,
    Input,
    ServerTransaction,
    Timer,
    Transaction,
    input_for,
    server_key,
)
from siprec.sip.transaction_layer import TransactionLayer

PENDING_MAX_S = 180.0
"""An INVITE nobody answers is ended after this, the time proxies give up (RFC 3261 timer C)."""


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """What an endpoint says about itself, and its bound."""

    contact_host: str = ""
    """Host of our Contact and Via; empty: the local address of the flow."""
    server: str = "siprecd"
    """Server and User-Agent."""
    transactions_max: int = 20_000
    """Server transactions kept at once, some 3 kB each; more requests get 503."""


def _token() -> str:
    return secrets.token_hex(8)


class Endpoint:
    """Transactions and dialogs of one server, over any number of flows.

    `token` makes tags and branches: at least 64 random bits as token characters.
    """

    def __init__(
        self, config: EndpointConfig | None = None, *, token: Callable[[], str] = _token
    ) -> None:
        self._config = config or EndpointConfig()
        self._token = token
        self._events: deque[Event] = deque()
        self._layer = TransactionLayer()
        self._dialogs = Dialogs()

    @property
    def dialogs(self) -> int:
        """Dialogs that have begun and not ended."""
        return len(self._dialogs)

    @property
    def is_idle(self) -> bool:
        """Whether there is no dialog and no request of ours without an answer."""
        return not self._dialogs and not self._layer.is_waiting

    def next_event(self) -> Event | None:
        """The oldest event not taken yet."""
        return self._events.popleft() if self._events else None

    def outgoing(self) -> list[tuple[Flow, bytes]]:
        """Take what is to be sent, in order: each message to the `remote` of its flow."""
        taken, self._layer.outgoing = self._layer.outgoing, []
        return taken

    def next_timer(self) -> float | None:
        """When to call `handle_timer`, on the clock of `now`; `None`: not before the next input."""
        return self._layer.timers.next()

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""
        for transaction, actions in self._layer.due(now):
            self._after(transaction, actions, now)

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one message: a datagram, or what a `StreamFramer` cut out. `now` in seconds."""
        if not data.strip(b"\r\n\0"):
            return
        try:
            message = parse(data)
        except MessageError as error:
            self._refuse(error, flow)
            return
        if isinstance(message, Response):
            self._receive_response(message, now)
        elif message.method == "ACK":
            self._receive_ack(message, now)
        else:
            self._receive_request(message, flow, now)

    def connection_lost(self, flow: Flow, now: float) -> None:
        """A stream connection is gone. Its dialogs live on: the peer may come back by another."""
        self._dialogs.lose(flow.connection)
        for client in self._layer.clients_on(flow.connection):
            self._after(client, self._layer.step(client, Input.LOST, now), now)

    def respond(
        self,
        transaction: str,
        status: int,
        now: float,
        *,
        reason: str = "",
        headers: Sequence[Header] = (),
        body: bytes = b"",
        content_type: str = "",
    ) -> None:
        """Answer the request of an event.

        Without effect if it was answered meanwhile (by a CANCEL, say). Header fields given here
        replace those of the same name that are written anyway (Allow, Accept, Supported). Raises
        `ValueError` for what RFC 4320 4 forbids: 1xx and 408 to anything but INVITE.
        """
        server = self._layer.server(transaction)
        if server is None or server.request is None:
            return
        request = server.request
        if request.method != "INVITE" and (status < 200 or status == 408):
            raise ValueError(f"{status} to {request.method}")
        dialog = self._dialogs.get(server.dialog_id)
        contact = contact_uri(
            server.flow, self._config.contact_host, secure=dialog is not None and dialog.secure
        )
        response = compose(
            request,
            server.vias,
            status,
            reason=reason,
            to_tag=server.to_tag,
            contact=f"<{contact}>;+sip.srs",
            headers=(("Server", self._config.server), *headers),
            body=body,
            content_type=content_type,
        )
        self._layer.answer(server, response, now)
        if dialog and status >= 200:
            dialog.conclude(server, request, status)
            if dialog.has_failed:
                self._dialogs.drop(dialog)

    def hang_up(self, dialog_id: str, now: float, *, reason: str = "") -> None:
        """End a dialog: `DialogEnded` follows, unless a BYE of the peer is faster.

        A BYE is sent, once the 2xx was acknowledged (RFC 3261 15); a dialog whose INVITE is not
        answered gets 480. `reason` is the value of a Reason header field (RFC 3326), or empty.
        Without effect if there is no such dialog.
        """
        dialog = self._dialogs.get(dialog_id)
        if dialog is None or dialog.closing:
            return
        if dialog.unacknowledged:
            dialog.farewell = reason
        elif dialog.confirmed:
            self._send_bye(dialog, reason, now)
        elif dialog.invite:
            self.respond(dialog.invite.id, 480, now)
            self._events.append(DialogEnded(dialog_id, "hung_up"))

    # Requests

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        known = self._layer.server(server_key(request, request.method))
        if known is not None:
            self._layer.step(known, Input.REQUEST, now)
        elif len(self._layer) >= self._config.transactions_max:
            self._reply(request, flow, Refusal(503, RETRY_LATER))
        else:
            server = self._layer.open_server(request, flow, self._token(), now)
            if request.method == "CANCEL":
                self._cancel(server, request, now)
            elif refusal := self._inspect(server, request) or self._deliver(
                server, request, flow, now
            ):
                self._respond_refusal(server, refusal, now)

    def _respond_refusal(self, server: ServerTransaction, refusal: Refusal, now: float) -> None:
        self.respond(server.id, refusal.status, now, reason=refusal.reason, headers=refusal.headers)

    def _inspect(self, server: ServerTransaction, request: Request) -> Refusal | None:
        """The checks in the order of RFC 3261 8.2, those of 12.2.2 in the place of 8.2.2.2."""
        return (
            inspect_method(request)
            or inspect_uri(request)
            or self._inspect_dialog(server, request)
            or inspect_require(request)
        )

    def _inspect_dialog(self, server: ServerTransaction, request: Request) -> Refusal | None:
        if request.to.tag:
            dialog = self._dialogs.find(request)
            return dialog.inspect(request) if dialog else Refusal(481)
        if request.method in ("BYE", "UPDATE"):
            return Refusal(481)
        known = request.method == "INVITE" and self._dialogs.has_caller(request)
        return Refusal(482) if known or self._layer.is_merged(server) else None

    def _deliver(
        self, server: ServerTransaction, request: Request, flow: Flow, now: float
    ) -> Refusal | None:
        """Turn a request into an event, or find at last that it cannot be."""
        dialog = self._dialogs.find(request)
        if dialog:
            dialog.receive(request, server, flow)
        elif request.method == "INVITE":
            try:
                dialog = Dialog.begin(request, server, flow)
            except MessageError as error:
                return Refusal(error.status, reason=str(error))
            self._dialogs.add(dialog)
        self._announce(server, request, flow, dialog, now)
        return None

    def _announce(
        self,
        server: ServerTransaction,
        request: Request,
        flow: Flow,
        dialog: Dialog | None,
        now: float,
    ) -> None:
        if dialog is None:
            self._events.append(OptionsReceived(server.id, None, request, flow))
        elif request.method == "INVITE":
            self._start_expiry(server, request, now)
            initial = not request.to.tag
            self._events.append(InviteReceived(server.id, dialog.id, initial, request, flow, now))
        elif request.method == "UPDATE":
            self._events.append(UpdateReceived(server.id, dialog.id, request, flow))
        elif request.method == "OPTIONS":
            self._events.append(OptionsReceived(server.id, dialog.id, request, flow))
        else:
            self._end(dialog, now)
            self._events.append(ByeReceived(server.id, dialog.id, request))

    def _start_expiry(self, server: ServerTransaction, request: Request, now: float) -> None:
        text = request.get("Expires") or ""
        seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
        self._layer.timers.start(
            server, Timer.EXPIRES, now + min(seconds or PENDING_MAX_S, PENDING_MAX_S)
        )

    def _cancel(self, server: ServerTransaction, request: Request, now: float) -> None:
        """RFC 3261 9.2."""
        invite = self._layer.server(server_key(request, "INVITE"))
        if invite is None:
            self.respond(server.id, 481, now)
            return
        server.to_tag = invite.to_tag
        self.respond(server.id, 200, now)
        self._terminate(invite, now)

    def _terminate(self, invite: Transaction, now: float) -> None:
        """Answer an INVITE 487 if it is pending."""
        if not isinstance(invite, ServerTransaction) or invite.request is None:
            return
        initial = not invite.request.to.tag
        self.respond(invite.id, 487, now)
        if initial and invite.dialog_id:
            self._events.append(Cancelled(invite.dialog_id))

    def _receive_ack(self, request: Request, now: float) -> None:
        dialog = self._dialogs.find(request)
        server = self._layer.server(server_key(request, "INVITE"))
        if server is None and dialog:
            server = dialog.unacknowledged.get(request.cseq.number)
        if server is None or Action.ACKNOWLEDGED not in self._layer.step(server, Input.ACK, now):
            return
        dialog = self._dialogs.get(server.dialog_id)
        if dialog is None:
            return
        dialog.acknowledge(server)
        self._events.append(AckReceived(dialog.id, request))
        if dialog.farewell is not None and not dialog.unacknowledged:
            self._send_bye(dialog, dialog.farewell, now)

    # Dialogs

    def _end(self, dialog: Dialog, now: float) -> None:
        """Close what is open in a dialog, and forget it (RFC 3261 15.1.2)."""
        for pending in (dialog.invite, dialog.update):
            if pending:
                self.respond(pending.id, 487, now)
        for server in dialog.unacknowledged.values():
            self._layer.step(server, Input.ACK, now)
        self._dialogs.drop(dialog)

    def _send_bye(self, dialog: Dialog, reason: str, now: float) -> None:
        for pending in (dialog.invite, dialog.update):
            if pending:
                self.respond(pending.id, 487, now)
        dialog.closing = True
        if not dialog.reachable:
            self._hung_up(dialog.id)
            return
        branch = MAGIC_COOKIE + self._token()
        headers = [("User-Agent", self._config.server)]
        if reason:
            headers.append(("Reason", reason))
        address = sent_by(dialog.flow, self._config.contact_host)
        request = dialog.request("BYE", branch, address, tuple(headers))
        self._layer.send(request, branch, dialog.request_flow(), dialog.id, now)

    def _hung_up(self, dialog_id: str) -> None:
        dialog = self._dialogs.get(dialog_id)
        if dialog:
            self._dialogs.drop(dialog)
            self._events.append(DialogEnded(dialog_id, "hung_up"))

    def _not_acknowledged(self, server: Transaction, now: float) -> None:
        """RFC 3261 13.3.1.4: without an ACK the session is to be ended."""
        dialog = self._dialogs.get(server.dialog_id)
        if dialog is None:
            return
        dialog.acknowledge(server)
        if dialog.reachable:
            self._send_bye(dialog, dialog.farewell or "", now)
        self._end(dialog, now)
        self._events.append(DialogEnded(dialog.id, "no_ack"))

    # Responses and timers

    def _receive_response(self, response: Response, now: float) -> None:
        client = self._layer.client(response)
        if client:
            actions = self._layer.step(client, input_for(response.status), now)
            self._after(client, actions, now)

    def _after(self, transaction: Transaction, actions: tuple[Action, ...], now: float) -> None:
        if Action.FINISHED in actions:
            self._hung_up(transaction.dialog_id)
        elif Action.EXPIRED in actions:
            self._terminate(transaction, now)
        elif Action.NO_ACK in actions:
            self._not_acknowledged(transaction, now)

    # What we write

    def _refuse(self, error: MessageError, flow: Flow) -> None:
        self._events.append(MessageRefused(str(error), flow))
        request = error.request
        if request and request.method != "ACK" and is_answerable(request):
            self._reply(request, flow, Refusal(error.status, reason=str(error)))

    def _reply(self, request: Request, flow: Flow, refusal: Refusal) -> None:
        """Answer without keeping a transaction."""
        response = compose(
            request,
            stamp(request, flow),
            refusal.status,
            reason=refusal.reason,
            to_tag="" if has_to_tag(request) else self._token(),
            headers=(("Server", self._config.server), *refusal.headers),
        )
        self._layer.outgoing.append((reply_flow(request.via, flow), bytes(response)))
