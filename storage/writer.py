"""CatalogWriter: what stands between a call and a database that may be slow, locked or gone.

Whoever changes a recording puts the new record here and goes on. One runner brings the records to
the catalogue, oldest first, and tries again for as long as it takes.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from time import monotonic

import structlog

from storage.catalog import Catalog
from storage.records import Recording, StorageError, StorageUnavailable

LINGER_S = 1.0
"""How long to collect after storing: a transaction costs much more than a record in it. What comes
after a quiet second is stored at once."""
BATCH = 100
"""Most records in one transaction; keeps the write lock short."""
FIRST_DELAY_S = 0.1
"""Pause after a failed attempt; doubled with each further one."""
LAST_DELAY_S = 5.0
"""Where the doubling ends."""

logger = structlog.get_logger(__name__)


class CatalogWriter:
    """The newest state of each recording that is not stored yet: one record per recording."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._pending: dict[str, Recording] = {}
        self._refused: dict[str, StorageError] = {}
        self._numbers: dict[str, int] = {}
        self._put = asyncio.Event()
        self._hurry = asyncio.Event()
        self._settled = asyncio.Condition()
        self._behind_since: float | None = None

    @property
    def pending(self) -> int:
        """Recordings whose newest state is not stored yet."""
        return len(self._pending)

    @property
    def behind(self) -> bool:
        """Whether the catalogue refuses writes at present."""
        return self._behind_since is not None

    def put(self, recording: Recording) -> None:
        """Have the record stored in place of any earlier one of its id. Never waits or fails.

        While a recording is unfinished its number is known here, if not to whoever changes it.
        """
        self._refused.pop(recording.id, None)
        self._pending[recording.id] = _numbered(recording, self._numbers)
        self._put.set()

    def get_pending(self, recording_id: str) -> Recording | None:
        """The newest state of a recording, None once it is stored."""
        return self._pending.get(recording_id)

    def waiting(self) -> list[Recording]:
        """The newest states of all recordings that are not stored yet, in the order of storing."""
        return [*self._pending.values()]

    def number(self, recording_id: str) -> int:
        """The number that the catalogue gave a recording, as long as it is not stored for good.

        0: not known here.
        """
        pending = self._pending.get(recording_id)
        return self._numbers.get(recording_id) or (pending.number if pending else 0)

    async def stored(self, recording_id: str, *, hurry: bool = False) -> None:
        """Return once nothing of this recording is pending, however long the database is away.

        `hurry`: somebody waits, so store now what there is, without collecting any longer. Raises
        StorageError if its record is one that cannot be stored.
        """
        if hurry and recording_id in self._pending:
            self._hurry.set()
        async with self._settled:
            await self._settled.wait_for(lambda: recording_id not in self._pending)
        if recording_id in self._refused:
            raise self._refused[recording_id]

    async def drain(self, timeout_s: float) -> bool:
        """Store what is pending now, without waiting out a back-off; False if time ran out."""
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_s), self._settled:
                await self._settled.wait_for(lambda: not self._pending)
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Store what is put, in order, until cancelled."""
        while True:
            await self._put.wait()
            self._put.clear()
            while self._pending:
                await self._store()
            self._caught_up()
            self._hurry.clear()  # who was in a hurry while this was being stored has it
            await self._pause(LINGER_S)

    async def _store(self) -> None:
        """Store the oldest of what is pending, with as many attempts as it takes."""
        delay_s = FIRST_DELAY_S
        while not await self._attempt([*islice(self._pending.values(), BATCH)]):
            hurried = await self._pause(delay_s)
            delay_s = FIRST_DELAY_S if hurried else min(2 * delay_s, LAST_DELAY_S)

    async def _attempt(self, batch: list[Recording]) -> bool:
        numbers: Mapping[str, int] = {}
        try:
            numbers = await self._catalog.save(*batch)
        except StorageUnavailable as error:
            self._fell_behind(error)
            return False
        except StorageError as error:
            if len(batch) > 1:
                return all([await self._attempt([recording]) for recording in batch])
            logger.error("record_refused", recording=batch[0].id, error=str(error))
            self._refused[batch[0].id] = error
        await self._settle(batch, numbers)
        return True

    async def _settle(self, batch: list[Recording], numbers: Mapping[str, int]) -> None:
        async with self._settled:
            for recording in batch:
                newest = self._pending[recording.id]
                if newest is recording:
                    del self._pending[recording.id]
                else:
                    self._pending[recording.id] = _numbered(newest, numbers)
                if newest.is_finished:
                    self._numbers.pop(recording.id, None)
                elif recording.id in numbers:
                    self._numbers[recording.id] = numbers[recording.id]
            self._settled.notify_all()

    async def _pause(self, delay_s: float) -> bool:
        """Let time pass; True if somebody in a hurry cut it short."""
        try:
            async with asyncio.timeout(delay_s):
                await self._hurry.wait()
        except TimeoutError:
            return False
        self._hurry.clear()
        return True

    def _fell_behind(self, error: StorageUnavailable) -> None:
        if self._behind_since is None:
            self._behind_since = monotonic()
            logger.warning("catalog_behind", error=str(error), pending=self.pending)

    def _caught_up(self) -> None:
        if self._behind_since is not None:
            behind_s = round(monotonic() - self._behind_since, 1)
            logger.info("catalog_caught_up", behind_s=behind_s)
            self._behind_since = None


def _numbered(recording: Recording, numbers: Mapping[str, int]) -> Recording:
    number = numbers.get(recording.id, 0)
    return replace(recording, number=number) if number and not recording.number else recording
