"""What an `Endpoint` tells its user; the counterpart of the bytes that went in.

Each event is fired at most once per request: retransmissions are absorbed below. Where an event
carries a `transaction`, the user owes exactly one `Endpoint.respond` with a final status.
"""

from dataclasses import dataclass

from siprec.sip.message import Request


@dataclass(frozen=True, slots=True)
class Flow:
    """The path a message came by and its answer goes back on."""

    transport: str
    """`udp` or `tcp`."""
    local: tuple[str, int]
    """Our address and port, as the packet was addressed to where that is known."""
    remote: tuple[str, int]
    """The peer's address and port as seen on the wire."""
    connection: int = 0
    """Distinguishes stream connections; 0 for datagrams."""


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class InviteReceived(Event):
    """Fired for an INVITE: initial (`initial`), or within a dialog (re-INVITE)."""

    transaction: str
    dialog_id: str
    """Identifies the dialog from its first request on; a new one when `initial`."""
    initial: bool
    request: Request
    flow: Flow
    at: float
    """When it was read, on the clock of the endpoint."""


@dataclass(frozen=True, slots=True)
class AckReceived(Event):
    """Fired for the first ACK to a 2xx of ours. It may carry an SDP answer."""

    dialog_id: str
    request: Request


@dataclass(frozen=True, slots=True)
class UpdateReceived(Event):
    """Fired for an UPDATE within a dialog (RFC 3311)."""

    transaction: str
    dialog_id: str
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class ByeReceived(Event):
    """Fired for a BYE within a dialog. The dialog is gone; the BYE is still to be answered."""

    transaction: str
    dialog_id: str
    request: Request


@dataclass(frozen=True, slots=True)
class OptionsReceived(Event):
    """Fired for an OPTIONS, in a dialog or outside (RFC 3261 11)."""

    transaction: str
    dialog_id: str | None
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """Fired when a CANCEL, or its Expires, ended a pending initial INVITE.

    It was answered 487, nothing is owed.
    """

    dialog_id: str


@dataclass(frozen=True, slots=True)
class DialogEnded(Event):
    """Fired when a dialog ended without a BYE of the peer; `reason` is a stable code.

    `no_ack`: a 2xx was never acknowledged (RFC 3261 13.3.1.4; BYE was sent). `hung_up`: our BYE was
    answered or timed out.
    """

    dialog_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class MessageRefused(Event):
    """Fired for a message that could not be read; it was answered if that was possible."""

    cause: str
    """One of a fixed set of texts, with nothing of the peer in it."""
    flow: Flow
