"""Many calls at once, and RTP into them from another process."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from examples.service import Service
from examples.sip import Agent, Message
from examples.src import RecordingClient

SILENCE = [[b"\xff" * 160]] * 2
"""For calls whose RTP comes from elsewhere."""
AT_ONCE = 16


class TimedAgent(Agent):
    """Keeps how long each request took, from sending it to its final response (seconds)."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.took_s: dict[str, list[float]] = {}
        """By method."""

    async def request(self, message: Message, to: tuple[str, int] | None = None) -> Message:
        """As `Agent.request`, timed."""
        began = time.perf_counter()
        response = await super().request(message, to)
        took_s = self.took_s.setdefault(message.start.split()[0], [])
        took_s.append(time.perf_counter() - began)
        return response


@asynccontextmanager
async def standing(agent: Agent, count: int) -> AsyncIterator[list[RecordingClient]]:
    """`count` established calls; they are hung up in the end."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def gently(call: RecordingClient, verb: str) -> None:
        async with limit:
            await (call.invite() if verb == "invite" else call.bye())

    async def all_of(calls: Sequence[RecordingClient], verb: str) -> None:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(gently(call, verb), name=verb)

    async with AsyncExitStack() as stack:
        made = [RecordingClient(agent, SILENCE, seed=number) for number in range(count)]
        calls = [await stack.enter_async_context(each) for each in made]
        await all_of(calls, "invite")
        yield calls
        await all_of(calls, "bye")


def ports_of(calls: Sequence[RecordingClient]) -> list[int]:
    """The recorder's RTP ports of all streams."""
    return [stream.remote[1] for call in calls for stream in call.streams if stream.remote]


async def start_generator(ports: Sequence[int], seconds: float) -> asyncio.subprocess.Process:
    """50 packets a second into every port, from a process of its own."""
    words = ("--ports", ",".join(map(str, ports)), "--pps", "50", "--seconds", str(seconds))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.generator", *words), stdout=subprocess.PIPE
    )


async def finish_generator(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """What a generator says at its end: `sent` packets, `cpu_s` it used."""
    shown, _ = await process.communicate()
    return dict(json.loads(shown))


async def recordings(service: Service, count: int) -> list[dict[str, Any]]:
    """The recordings that are finished, as soon as there are `count` and none is in the making."""
    async with asyncio.timeout(300):
        while True:
            if not (await service.get("recordings", status="processing", limit="1"))["items"]:
                items = await everything(service)
                done = [item for item in items if item["status"] != "recording"]
                if len(done) >= count:
                    return done
            await asyncio.sleep(1)


async def everything(service: Service) -> list[dict[str, Any]]:
    """All recordings, page by page."""
    page = await service.get("recordings", limit="1000")
    items = list(page["items"])
    while page["next"]:
        page = await service.get("recordings", limit="1000", cursor=page["next"])
        items += page["items"]
    return items
