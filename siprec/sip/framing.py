"""A byte stream cut into messages (RFC 3261 7.5, 18.3; keep-alives RFC 5626 4.4.1).

Between messages there may be line ends; anything else must be a message. There is no search for the
next start-line: a peer that miscounts its body is cut off, not guessed at.
"""

import re

from siprec.sip.errors import FramingError, MessageError
from siprec.sip.message import BODY_MAX_BYTES, HEAD_END, HEAD_MAX_BYTES, body_length, parse_head

PING = b"\r\n\r\n"
"""A keep-alive, as `StreamFramer.next_message` returns it."""
PONG = b"\r\n"
"""What answers a `PING`."""

_LINE_ENDS = re.compile(rb"[\r\n]++")


class StreamFramer:
    """Bytes of one connection in, whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._size = 0

    @property
    def is_partial(self) -> bool:
        """Whether something has come that is not yet a whole message."""
        return len(self._buffer) >= len(PING) or bool(self._buffer.strip(PING))

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the stream, cut anywhere."""
        self._buffer += data

    def next_message(self) -> bytes | None:
        """The next message or `PING`; `None` until one is complete. Raises `FramingError`."""
        if not self._size:
            if self._buffer.startswith(PING):
                return self._take(len(PING))
            self._skip_line_ends()
            self._size = self._measure()
        if not self._size or len(self._buffer) < self._size:
            return None
        return self._take(self._size)

    def _take(self, size: int) -> bytes:
        message = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._searched = self._size = 0
        return message

    def _skip_line_ends(self) -> None:
        match = _LINE_ENDS.match(self._buffer)
        # Up to three bytes may still become a PING.
        if match and not PING.startswith(self._buffer):
            del self._buffer[: match.end()]

    def _measure(self) -> int:
        """Size of the message at the start of the buffer; 0 while its head is not complete."""
        end = HEAD_END.search(self._buffer, self._searched)
        if (end.start() if end else len(self._buffer)) > HEAD_MAX_BYTES:
            raise FramingError("Header too large")
        if end is None:
            self._searched = max(0, len(self._buffer) - len(PING))
            return 0
        return end.end() + self._body_length(bytes(self._buffer[: end.start()]))

    @staticmethod
    def _body_length(head: bytes) -> int:
        try:
            length = body_length(parse_head(head)[1])
        except MessageError as error:
            raise FramingError(str(error)) from error
        if length is None:
            raise FramingError("Missing Content-Length")
        if length > BODY_MAX_BYTES:
            raise FramingError("Body too large")
        return length
