"""An occurrence: something that happened to a recording, as others are told of it.

Counterparts: `siprec.recorder` says what happened, `siprec.notifications` whom to tell and how,
`siprec.policies` what to do about it. Plain values.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from storage.records import Recording

STARTED = "RECORDING_STARTED_EVENT"
PAUSED = "RECORDING_PAUSED_EVENT"
RESUMED = "RECORDING_RESUMED_EVENT"
ENDED = "RECORDING_ENDED_EVENT"

POLICY_EVENTS = {STARTED: "AudioRecordingStarted", ENDED: "AudioRecordingEnded"}
"""Event -> what policies know it as."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event of one recording."""

    event: str
    """`RECORDING_STARTED_EVENT` and so on, or the name of a policy event of the operator's own."""
    at: datetime
    recording: Recording
    """As it was then; with an empty id if a command failed while none was open."""
    result: Literal["success", "fail"] = "success"
    called_aors: tuple[str, ...] | None = None
    """Stated by who raised the event; None: those of the recording."""

    @property
    def is_failure(self) -> bool:
        """The command was refused or not confirmed."""
        return self.result == "fail"
