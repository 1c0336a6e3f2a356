"""Tickets: URLs of one recording that a player may follow without a token, for a short time.

A redirect leads to one, so that the token of the client stays with the client.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from hashlib import sha256

LIFETIME = timedelta(minutes=5)


class Tickets:
    """The tickets of one process: after a restart none of them holds."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def make(self, recording_id: str, now: datetime) -> str:
        """A ticket for one recording."""
        until = int((now + LIFETIME).timestamp())
        return f"{recording_id}.{until}.{self._mark(recording_id, until)}"

    def check(self, ticket: str, now: datetime) -> str:
        """The id of the recording a ticket is for, empty if it is none or holds no longer."""
        recording_id, _, rest = ticket.partition(".")
        until, _, mark = rest.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) <= 12):
            return ""
        expected = self._mark(recording_id, int(until))
        if not hmac.compare_digest(mark.encode("utf-8", "replace"), expected.encode()):
            return ""
        return recording_id if now.timestamp() < int(until) else ""

    def _mark(self, recording_id: str, until: int) -> str:
        text = f"{recording_id}.{until}".encode("utf-8", "replace")
        return urlsafe_b64encode(hmac.digest(self._secret, text, sha256)).decode().rstrip("=")
