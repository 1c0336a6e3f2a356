"""Expiry: looks for recordings that are due every now and then, and has them deleted gently.

Counterparts: `storage.retention` says what is due, `siprec.library` deletes. What would delete very
much, or follows a clock that was set, waits for somebody to look.
"""

import asyncio
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

import structlog

from config.schema import Retention
from storage.records import StorageError
from storage.retention import CLOCK_TOLERANCE, Clock, RetentionPlan

logger = structlog.get_logger(__name__)

PROGRESS_S = 10.0
"""Time between two lines in the log while much is being deleted."""


class Shelves(Protocol):
    """What is expired from: the library."""

    async def plan_retention(self, now: datetime | None = None) -> RetentionPlan:
        """What is due."""

    async def expire(self, recording_id: str, before: datetime) -> bool:
        """Delete a recording if it is due still."""

    async def resume(self) -> None:
        """Finish deletions that were cut off."""


class Expiry:
    """Retention of one node."""

    def __init__(self, config: Retention, library: Shelves) -> None:
        self._config = config
        self._library = library
        self._clock = Clock()

    async def keep(self) -> None:
        """Look every now and then; runs for the life of the process."""
        while self._config.every_minutes:
            try:
                await self.look(datetime.now(UTC), monotonic())
            except StorageError as error:
                logger.error("retention_failed", error=str(error))
            await asyncio.sleep(self._config.every_minutes * 60)

    async def look(self, now: datetime, monotonic_s: float) -> int:
        """Delete what is due, unless a clock or a rule may be wrong; how many.

        `monotonic_s`: the same moment by a clock that nobody sets. Raises StorageError.
        """
        moved = self._clock.moved(now, monotonic_s)
        if abs(moved) > CLOCK_TOLERANCE:
            logger.error("retention_skipped", clock_moved_s=round(moved.total_seconds()))
            return 0
        await self._library.resume()
        plan = await self._library.plan_retention(now)
        if plan.is_mass_delete(self._config.guard_percent):
            logger.error(
                "retention_waits",
                due=plan.count,
                total=plan.total,
                advice="check time and rules with `siprecd retention --dry-run`, then `--confirm`",
            )
            return 0
        return await self.retire(plan)

    async def retire(self, plan: RetentionPlan) -> int:
        """Delete what a plan names, as far as it is still due; how many.

        Others have their turn after each for as long as it took. Raises StorageError.
        """
        deleted, told_at = 0, monotonic()
        for due in plan.due:
            for recording_id in due.recording_ids:
                began = monotonic()
                deleted += await self._library.expire(recording_id, due.before)
                if began - told_at >= PROGRESS_S:
                    logger.info("retention_goes_on", deleted=deleted, due=plan.count)
                    told_at = began
                await asyncio.sleep(monotonic() - began)
        if plan.count:
            logger.info("retention_done", deleted=deleted, due=plan.count, total=plan.total)
        return deleted
