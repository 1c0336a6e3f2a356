"""What can be wrong with bytes a peer sent. Both are the peer's fault, never ours."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from siprec.sip.message import Request


class SipError(Exception):
    """Base of the SIP room's errors. The text is fixed per cause and holds nothing of the peer."""


class MessageError(SipError):
    """A message, or a header field in it, that cannot be understood."""

    def __init__(self, status: int, text: str, request: "Request | None" = None) -> None:
        super().__init__(text)
        self.status = status
        """The answer to give if the message was a request."""
        self.request = request
        """What could be read of the request; `None` when there is nothing to answer."""


class FramingError(SipError):
    """A byte stream in which the next message cannot be found; close the connection."""
