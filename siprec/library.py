"""Library: stored recordings, as far as whoever asks may see them: find, fetch, change, delete.

Counterparts: `siprec.recorder` owns what is live, `siprec.archive` what has ended and whose files are
being made. Nothing here is needed for a pause.
"""

from collections.abc import Callable

from siprec.logbook import Changes
from siprec.session import SYSTEM, Actor
from storage.records import Page, Recording, RecordingQuery
from storage.retention import RetentionPlan

Annotate = Callable[[str, Changes, Actor], Recording | None]


class Library:
    """Every method that takes an actor treats what they may not see as not there."""

    def __init__(self) -> None:
        self.annotate_live: Annotate = lambda recording_id, changes, actor: None
        """Changes an open recording; None if it is not open. Set to `Recorder.annotate`."""
        self.live: Callable[[str], Recording | None] = lambda recording_id: None
        """An open recording as of now; None if it is not open. Set to `Recorder.open_recording`."""

    async def get(self, recording_id: str, actor: Actor = SYSTEM) -> Recording:
        """The newest state of a recording. Raises UnknownRecording, StorageUnavailable."""
        raise NotImplementedError

    async def find(self, query: RecordingQuery, actor: Actor = SYSTEM) -> Page:
        """Recordings as of now; see `Catalog.find`.

        Raises InvalidQuery also for custom data and extension data that the directory does not
        know as searchable.
        """
        raise NotImplementedError

    async def update(self, recording_id: str, changes: Changes, actor: Actor = SYSTEM) -> Recording:
        """Change what people may change, live or stored; returns it as it is then.

        Raises UnknownRecording, InvalidChange, NameTaken, StorageUnavailable.
        """
        raise NotImplementedError

    async def mp3(self, recording_id: str, actor: Actor = SYSTEM) -> Recording:
        """The recording with an MP3 among its files, made now if it is the first request.

        Raises NotFinished, UnknownRecording, StorageUnavailable, ConversionFailed,
        ConversionTimeout, ConversionBusy.
        """
        raise NotImplementedError

    async def delete(self, recording_id: str, actor: Actor = SYSTEM) -> None:
        """Delete a finished recording: marked first, then its files, then its row.

        Cut off in between, `resume` goes on. Raises NotFinished, UnknownRecording, OnHold,
        StorageUnavailable.
        """
        raise NotImplementedError

    async def resume(self) -> None:
        """Finish deletions that were cut off, in the background; called at the start."""
        raise NotImplementedError

    async def plan_retention(self) -> RetentionPlan:
        """What is due now."""
        raise NotImplementedError

    async def retire(self, plan: RetentionPlan) -> int:
        """Delete what a plan names, as far as it is still due; how many."""
        raise NotImplementedError

    async def keep_retention(self) -> None:
        """Look for what is due every now and then; runs for the life of the process."""
        raise NotImplementedError
