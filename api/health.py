"""Whether the recorder is well, answered at once whatever the database does."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Literal

from msgspec import Struct

from api.services import Services
from siprec import __version__
from storage.records import RecordingQuery, StorageError

WAIT_S = 0.5
"""How long the database may take before it counts as unavailable."""

FRESH_S = 1.0
"""How long an answer of the database holds, so that asking us cannot load it."""


Database = Literal["ok", "behind", "unavailable"]
"""`behind`: it can be read, but what is recorded waits to be written."""


class Health(Struct, frozen=True):
    """State of the whole: `draining` before a stop, `degraded` while the database is not well."""

    status: Literal["ok", "draining", "degraded"]
    version: str
    sessions: int
    database: Database


class Doctor:
    """Asks the database for something small, at most one question at a time."""

    def __init__(self, services: Services, now: Callable[[], float] = monotonic) -> None:
        self._services = services
        self._now = now
        self._question: asyncio.Task[bool] | None = None
        self._asked_at = 0.0

    async def examine(self) -> Health:
        """How the recorder is; known within `WAIT_S`."""
        recorder = self._services.recorder
        database = await self._database()
        status: Literal["ok", "degraded"] = "ok" if database == "ok" else "degraded"
        return Health(
            status=status if recorder.accepting else "draining",
            version=__version__,
            sessions=len(recorder.sessions()),
            database=database,
        )

    async def close(self) -> None:
        """Forget a question that is still open."""
        if self._question:
            self._question.cancel()
            await asyncio.wait({self._question}, timeout=WAIT_S)

    async def _database(self) -> Database:
        if not await self._database_answers():
            return "unavailable"
        return "behind" if self._services.writer.behind else "ok"

    async def _database_answers(self) -> bool:
        question = self._question
        if question is None or (question.done() and self._now() - self._asked_at > FRESH_S):
            loop = asyncio.get_running_loop()
            question = self._question = loop.create_task(self._ask(), name="database probe")
            self._asked_at = self._now()
        # Not cancelled when it is late: undoing a statement can hang as the statement does.
        await asyncio.wait({question}, timeout=WAIT_S)
        return question.done() and not question.cancelled() and question.result()

    async def _ask(self) -> bool:
        try:
            await self._services.catalog.find(RecordingQuery(limit=1))
        except StorageError:
            return False
        return True
