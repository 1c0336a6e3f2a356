"""The journal: what happens to live sessions, written down and told.

The row of a recording goes to `siprec.archive`, changes to the feed, occurrences to whoever listens
(`siprec.dispatcher`). Nothing here waits. Counterparts: `siprec.recorder` decides what happens,
`siprec.logbook` says how it looks in a row.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from config.schema import Config
from siprec import identity, logbook, policy
from siprec.archive import Archive
from siprec.feed import EventFeed, FeedEvent
from siprec.occurrence import ENDED, PAUSED, RESUMED, STARTED, Occurrence
from siprec.session import Action, Actor, LiveSession, RecordingSession
from storage.directory import Directory
from storage.records import Recording

logger = structlog.get_logger(__name__)

FEED = {
    Action.START: "recording.started",
    Action.PAUSE: "recording.paused",
    Action.RESUME: "recording.resumed",
    Action.STOP: "recording.stopped",
    Action.SPLIT: "recording.started",
    Action.MARK: "recording.marked",
    Action.UNMARK: "recording.unmarked",
    Action.SAVE: "recording.saved",
    Action.DISCARD: "recording.discarded",
}
"""Action -> what the feed calls it."""

OCCURRENCES = {
    Action.START: STARTED,
    Action.PAUSE: PAUSED,
    Action.RESUME: RESUMED,
    Action.STOP: ENDED,
    Action.SPLIT: STARTED,
}
"""Action -> the event others are told of."""

PATIENCE_S = 0.25
"""How long a command may wait for its notifications to be safe: a few milliseconds are usual, and a
disk that is full or hangs must not make a pause slow."""


def _nobody(_: Occurrence) -> Awaitable[None] | None:
    return None


class Journal:
    """Keeps the rows of open recordings up to date and says what happened."""

    def __init__(
        self, archive: Archive, feed: EventFeed, config: Config, directory: Directory
    ) -> None:
        self._archive = archive
        self._feed = feed
        self._directory = directory
        self._ucid_header = config.sip.ucid_header
        self._node = config.storage.node
        self.on_occurrence: Callable[[Occurrence], Awaitable[None] | None] = _nobody
        """Told of everything; what it returns is done once that outlives the process."""

    def refresh(self, session: RecordingSession, warnings: tuple[str, ...] = ()) -> None:
        """Carry metadata, streams and warnings into the session and its open recording."""
        live, model = session.live, session.metadata
        known = identity.identify(session.offer, model, self._ucid_header)
        # A client need not repeat what it said of a call once: its ids stay.
        live.identity = replace(
            known,
            ucid=known.ucid or live.identity.ucid,
            egress_call_id=known.egress_call_id or live.identity.egress_call_id,
            realm=known.realm or live.identity.realm,
        )
        live.sides = policy.sides(self._directory.entries, live.decision.account, live.identity)
        live.participants = logbook.participants(live, model)
        found = (*live.warnings, *warnings, *session.plan.warnings, *model.warnings)
        live.warnings = tuple(dict.fromkeys(found))
        live.outline = None
        if live.recording:
            live.recording = logbook.described(live, live.recording, model)
        self.save(live)

    def save(self, live: LiveSession) -> None:
        """Book the open recording as it is now."""
        if live.recording:
            live.recording = logbook.current(live, live.recording, datetime.now(UTC))
            self._archive.note(live.recording)

    def audit(self, live: LiveSession, actor: Actor, action: str, reason: str = "") -> None:
        """Add to the history of the open recording, if there is one."""
        if live.recording:
            now = datetime.now(UTC)
            live.recording = logbook.audited(live.recording, now, actor, action, reason)
            self.save(live)

    def announce(
        self,
        kind: str,
        live: LiveSession,
        actor: str = "",
        reason: str = "",
        recording: Recording | None = None,
        *,
        is_split: bool = False,
    ) -> None:
        """Say it in the feed, of a recording or, by default, of the open one."""
        about = recording or live.recording
        recording_id = about.id if about else ""
        self._feed.publish(
            FeedEvent(
                kind,
                datetime.now(UTC),
                live.id,
                recording_id,
                live.call_id,
                actor,
                reason,
                live.decision.account,
                live.decision.route,
                is_split,
            )
        )
        if kind.startswith("session."):
            logger.info(
                kind,
                session=live.id,
                call_id=live.call_id,
                recording=recording_id,
                platform=live.platform,
            )

    def tell(
        self, event: str, live: LiveSession, recording: Recording | None = None, *, ok: bool = True
    ) -> list[Awaitable[None]]:
        """Tell of an event of `recording`, by default the open one; what there is to wait for."""
        now = datetime.now(UTC)
        row = recording or live.recording or replace(logbook.opened(live, now, self._node), id="")
        told = self.on_occurrence(Occurrence(event, now, row, "success" if ok else "fail"))
        return [told] if told else []

    def done(
        self,
        action: Action,
        live: LiveSession,
        about: Recording | None,
        ended: Recording | None,
    ) -> list[Awaitable[None]]:
        """Tell what a command did to the recording it was about; `ended`: the one it closed."""
        told = self.tell(ENDED, live, ended) if ended else []
        if action in OCCURRENCES and action is not Action.STOP:
            told += self.tell(OCCURRENCES[action], live, about)
        return told

    def fail(self, action: Action, live: LiveSession, recording: Recording | None = None) -> None:
        """Tell that a command was refused or not confirmed."""
        if action in OCCURRENCES:
            self.tell(OCCURRENCES[action], live, recording, ok=False)

    async def safe(self, told: Iterable[Awaitable[None]]) -> None:
        """Wait until what was told is safe, but not for long: no command waits for a dead disk."""
        waiting = [*told]
        if not waiting:
            return
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.gather(*waiting)), PATIENCE_S)
        except TimeoutError:
            logger.error("notifications_not_safe", count=len(waiting))
