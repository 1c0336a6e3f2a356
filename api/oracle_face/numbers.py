"""TemporaryIds: the numbers that FACE gives recordings in progress, a sequence of their own."""

from collections.abc import Callable

FIRST_LOOK = 1000
"""So many numbers are given before those of recordings that have ended are looked for."""


class TemporaryIds:
    """Recording id <-> tmpRecordingId; numbers are never given twice by one process."""

    def __init__(self, is_open: Callable[[str], object]) -> None:
        """`is_open`: whether a recording is still in progress; else its number may go."""
        self._is_open = is_open
        self._numbers: dict[str, int] = {}
        self._recordings: dict[int, str] = {}
        self._last = 0
        self._look_at = FIRST_LOOK

    def of(self, recording_id: str) -> int:
        """The number of a recording in progress, a new one if it has none."""
        known = self._numbers.get(recording_id)
        if known is not None:
            return known
        if len(self._numbers) >= self._look_at:
            self._forget_ended()
        self._last += 1
        self._numbers[recording_id] = self._last
        self._recordings[self._last] = recording_id
        return self._last

    def recording(self, number: int) -> str:
        """The id of the recording that has this number, empty if none has."""
        return self._recordings.get(number, "")

    def _forget_ended(self) -> None:
        self._numbers = {key: n for key, n in self._numbers.items() if self._is_open(key)}
        self._recordings = {number: key for key, number in self._numbers.items()}
        self._look_at = max(FIRST_LOOK, 2 * len(self._numbers))
