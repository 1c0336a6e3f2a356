"""A desk, and somebody who is told by HTTP of everything that happens at it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from config.schema import Notify
from examples.webhook import Receiver, receiving
from siprec.session import SYSTEM, Action, LiveSession
from storage.entries import Destination, Parameter
from tests.api.oracle_face.desk import Desk, Said, open_desk

TOLD = ("EVENT", "CALL_ID", "RESULT", "FILENAME", "PAUSE_SILENCE")
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who is told."""

    desk: Desk
    receiver: Receiver

    async def told(self) -> dict[str, list[str]]:
        """All that was told of each call until now, in order: `STARTED success` and the like."""
        # Notifications are safe in the order of what they tell of, and this one when it is
        # answered: what comes before it is on its way, or has come.
        last = await self.desk.call("999", "8675309999")
        await self.desk.node.services.recorder.control(last.id, Action.PAUSE, SYSTEM)
        async with asyncio.timeout(PATIENCE_S):
            while (last.call_id, "PAUSED success") not in self._so_far():
                await asyncio.sleep(0.02)
            while await self.desk.node.services.outbox.count("pending"):
                await asyncio.sleep(0.02)
        found = defaultdict[str, list[str]](list)
        for call_id, what in self._so_far():
            found[call_id].append(what)
        return found

    def _so_far(self) -> list[tuple[str, str]]:
        told = [each.parameters for each in self.receiver.notices]
        return [(one["CALL_ID"], f"{one['EVENT'].split('_')[1]} {one['RESULT']}") for one in told]


@asynccontextmanager
async def open_hearing(folder: Path, migrated: Path, **sections: Any) -> AsyncIterator[Hearing]:
    """A desk whose events are all told, to the global destinations of each."""
    notify = Notify(allow=["127.0.0.1/32"], retry_max_s=1)
    async with (
        receiving(0, "", lambda notice: None) as receiver,
        open_desk(folder, migrated, notify=notify, **sections) as desk,
    ):
        events = get_args(Destination.__annotations__["event"])
        for event in events:
            asked = [Parameter(name, name) for name in TOLD]
            entry = Destination(event, event, receiver.url, parameters=asked)
            await desk.node.services.directory.put(entry)
        yield Hearing(desk, receiver)


async def give(desk: Desk, verb: str, live: LiveSession, **more: Any) -> Said:
    """A command to one call, selected by its Call-ID."""
    return await desk.post(f"audioRecording/{verb}", ingressCallId=live.call_id, **more)
