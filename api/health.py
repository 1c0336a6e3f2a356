"""Whether the recorder is well, answered at once whatever the database does."""

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from api.services import Services
from siprec import __version__
from storage.records import RecordingQuery, StorageError

WAIT_S = 0.5
"""How long database and outbox may take before they count as unavailable."""

FRESH_S = 1.0
"""How long an answer of the database holds, so that asking us cannot load it."""


T = TypeVar("T")

Database = Literal["ok", "behind", "unavailable"]
"""`behind`: it can be read, but what is recorded waits to be written."""


class Health(Struct, frozen=True):
    """State of the whole: `draining` before a stop, `degraded` while the database is not well."""

    status: Literal["ok", "draining", "degraded"]
    version: str
    sessions: int
    database: Database
    notifications_pending: int | None
    """Still to be delivered; null while the outbox does not answer."""
    notifications_dead: int | None
    """Given up; `siprecd notifications replay` queues them again."""


class Probe(Generic[T]):
    """Asks something slow, at most one question at a time, and never waits long."""

    def __init__(self, name: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._name = name
        self._ask = ask
        self._question: asyncio.Task[T] | None = None
        self._asked_at = 0.0

    async def answer(self, now: float) -> T | None:
        """What is known, not older than `FRESH_S`; None if it is not known within `WAIT_S`."""
        question = self._question
        if question is None or (question.done() and now - self._asked_at > FRESH_S):
            loop = asyncio.get_running_loop()
            question = self._question = loop.create_task(self._ask(), name=self._name)
            self._asked_at = now
        # Not cancelled when it is late: undoing a statement can hang as the statement does.
        await asyncio.wait({question}, timeout=WAIT_S)
        return question.result() if question.done() and not question.cancelled() else None

    async def close(self) -> None:
        """Forget a question that is still open."""
        if self._question:
            self._question.cancel()
            await asyncio.wait({self._question}, timeout=WAIT_S)


class Doctor:
    """Asks database and outbox for something small."""

    def __init__(self, services: Services, now: Callable[[], float] = monotonic) -> None:
        self._services = services
        self._now = now
        self._database = Probe("database probe", self._find)
        self._outbox = Probe("outbox probe", self._count)

    async def examine(self) -> Health:
        """How the recorder is; known within `WAIT_S`."""
        recorder, now = self._services.recorder, self._now()
        answers, counts = await asyncio.gather(self._database.answer(now), self._outbox.answer(now))
        database = self._state(answers)
        status: Literal["ok", "degraded"] = "ok" if database == "ok" else "degraded"
        pending, dead = counts or (None, None)
        return Health(
            status=status if recorder.accepting else "draining",
            version=__version__,
            sessions=len(recorder.sessions()),
            database=database,
            notifications_pending=pending,
            notifications_dead=dead,
        )

    async def close(self) -> None:
        """Forget questions that are still open."""
        await asyncio.gather(self._database.close(), self._outbox.close())

    def _state(self, answers: bool | None) -> Database:
        if not answers:
            return "unavailable"
        return "behind" if self._services.writer.behind else "ok"

    async def _find(self) -> bool:
        try:
            await self._services.catalog.find(RecordingQuery(limit=1))
        except StorageError:
            return False
        return True

    async def _count(self) -> tuple[int, int] | None:
        outbox = self._services.outbox
        try:
            return await outbox.count("pending"), await outbox.count("dead")
        except StorageError:
            return None
