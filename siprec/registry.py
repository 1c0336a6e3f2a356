"""Which dialogs, live sessions and open recordings there are, each under its ids."""

from dataclasses import dataclass, field

from siprec.session import Actor, LiveSession, RecordingSession, UnknownSession


@dataclass(frozen=True, slots=True)
class Registry:
    """The state of a node's core; `siprec.recorder` and `siprec.control` alone change it."""

    dialogs: dict[str, RecordingSession] = field(default_factory=dict)
    """By dialog id."""
    sessions: dict[str, LiveSession] = field(default_factory=dict)
    """By session id, oldest first."""
    recorded: dict[str, LiveSession] = field(default_factory=dict)
    """Sessions with an open recording, by its id."""

    def add(self, session: RecordingSession) -> None:
        """Take in a new dialog with its session."""
        live = session.live
        self.dialogs[session.dialog_id] = session
        self.sessions[live.id] = live
        if live.recording:
            self.recorded[live.recording.id] = live

    def find(self, session_id: str, actor: Actor) -> LiveSession:
        """The live session with this id. Raises UnknownSession, also if `actor` may not see it."""
        live = self.sessions.get(session_id)
        if live is None or not live.is_seen_by(actor):
            raise UnknownSession(f"no live session {session_id}")
        return live
