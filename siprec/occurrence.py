"""An occurrence: something that happened to a recording, as others are told of it.

Counterparts: `siprec.recorder` says what happened, `siprec.notifications` whom to tell and how,
`siprec.policies` what to do about it. Plain values.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from storage.records import Recording

STARTED: Final = "RECORDING_STARTED_EVENT"
PAUSED: Final = "RECORDING_PAUSED_EVENT"
RESUMED: Final = "RECORDING_RESUMED_EVENT"
ENDED: Final = "RECORDING_ENDED_EVENT"

POLICY_EVENTS = {STARTED: "AudioRecordingStarted", ENDED: "AudioRecordingEnded"}
"""Event -> what policies know it as."""

_SCHEME = re.compile(r"(sips?|tel):", re.IGNORECASE)
_HOST = re.compile(r"(?:sips?:)?(?:[^@]*@)?(\[[^\]]*\]|[^:;?,/>\s]*)", re.IGNORECASE)
"""Host of a SIP address (RFC 3261 19.1.1); brackets stay with an IPv6 address."""


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
    routes: frozenset[int] = frozenset()
    """Who raised the event reaches only calls of these routes; empty: of any."""

    @property
    def is_failure(self) -> bool:
        """The command was refused or not confirmed."""
        return self.result == "fail"

    @property
    def unknown_ucid(self) -> str:
        """What names the call to others: its UCID, else its ingress call id."""
        return self.recording.ucid or self.recording.call_id

    @property
    def callers(self) -> tuple[str, ...]:
        """Addresses of record of the calling parties, each with its scheme."""
        people = self.recording.participants
        return _addresses(
            [person.aor for person in people if person.calling] or [self.recording.from_aor]
        )

    @property
    def callees(self) -> tuple[str, ...]:
        """Addresses of record of the called parties, each with its scheme."""
        if self.called_aors is not None:
            return _addresses(self.called_aors)
        people = self.recording.participants
        return _addresses(
            [person.aor for person in people if not person.calling] or [self.recording.to_aor]
        )


def _addresses(aors: Iterable[str]) -> tuple[str, ...]:
    """Each address once, `sip:` before those that come without a scheme."""
    stated = dict.fromkeys(aor.strip() for aor in aors)
    return tuple(aor if _SCHEME.match(aor) else f"sip:{aor}" for aor in stated if aor)


def host_of(aor: str) -> str:
    """The host in an address of record, without port and brackets; empty if it has none."""
    if aor.lower().startswith("tel:"):
        return ""
    found = _HOST.match(aor)
    return found[1].strip("[]") if found else ""
