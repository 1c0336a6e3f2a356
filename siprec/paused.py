"""Calls that ended, or were cut off, while paused: if they come back, they start paused.

A client that loses its recorder calls again for the same communication session. Whoever asked for
the pause believes it still holds.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from storage.records import Recording

MEMORY = timedelta(hours=24)
"""How long a call may take to come back."""


def keys_of(call_id: str, siprec_session_ids: tuple[str, ...]) -> frozenset[str]:
    """What identifies one call across recording sessions and restarts."""
    return frozenset(key for key in (call_id, *siprec_session_ids) if key)


class PausedCalls:
    """Keys of paused calls, oldest first, forgotten after `MEMORY`."""

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}

    def load(self, recordings: Iterable[Recording], now: datetime) -> None:
        """Take over from an earlier process."""
        for recording in recordings:
            if recording.paused_at_end:
                self.add(keys_of(recording.call_id, recording.siprec_session_ids), now)

    def add(self, keys: frozenset[str], now: datetime) -> None:
        """Remember a call, and forget those that are too old."""
        for key in keys:
            self._since.pop(key, None)
            self._since[key] = now
        while now - self._since[oldest := next(iter(self._since))] > MEMORY:
            del self._since[oldest]

    def discard(self, keys: frozenset[str]) -> None:
        """It was resumed."""
        for key in keys:
            self._since.pop(key, None)

    def holds(self, keys: frozenset[str], now: datetime) -> bool:
        """Whether a call with one of these keys was paused within `MEMORY`."""
        found = [self._since[key] for key in keys if key in self._since]
        return any(now - since <= MEMORY for since in found)
