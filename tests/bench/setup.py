"""Setting calls up: INVITE to 200, and processor time per call, while RTP runs."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from examples.service import Service
from examples.sip import CallError
from examples.src import RecordingClient
from tests.bench import machine
from tests.bench.calls import (
    SILENCE,
    TimedAgent,
    finish_generator,
    ports_of,
    recordings,
    standing,
    start_generator,
)
from tests.bench.report import Table, percentiles_ms

BACKGROUND_CALLS = 100
RATE = 20
"""Calls begun each second."""


async def dial(call: RecordingClient, number: int) -> bool:
    """Set one call up in its turn; False if it failed."""
    await asyncio.sleep(number / RATE)
    try:
        await call.invite()
    except CallError:
        return False
    return True


async def dial_all(calls: Sequence[RecordingClient], seconds: float) -> int:
    """Set all calls up; returns after `seconds` how many went well."""
    end = asyncio.get_running_loop().time() + seconds
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(dial(call, n), name="dial") for n, call in enumerate(calls)]
    await asyncio.sleep(end - asyncio.get_running_loop().time())
    return sum(task.result() for task in tasks)


async def measure(quick: bool) -> list[Table]:
    """The set-ups, beside a background of calls with RTP."""
    count = 60 if quick else 200
    window_s = count / RATE + 2
    with tempfile.TemporaryDirectory(prefix="siprecd-bench-") as folder:
        async with (
            Service(Path(folder), answer_delay_ms=0) as service,
            TimedAgent(service.uri) as agent,
            standing(agent, BACKGROUND_CALLS) as background,
            AsyncExitStack() as stack,
        ):
            made = [RecordingClient(agent, SILENCE) for _ in range(count)]
            calls = [await stack.enter_async_context(each) for each in made]
            generator = await start_generator(ports_of(background), 2 * window_s + 2)
            marks = [machine.cpu_s(service.pid)]
            await asyncio.sleep(window_s)
            marks.append(machine.cpu_s(service.pid))
            agent.took_s.clear()
            passed = await dial_all(calls, window_s)
            marks.append(machine.cpu_s(service.pid))
            took_s = list(agent.took_s["INVITE"])
            await finish_generator(generator)
            filed_ms = await hang_up(service, calls) / count * 1000
    setup_ms = (marks[2] - marks[1] - (marks[1] - marks[0])) / count * 1000
    p50, p99 = percentiles_ms(took_s)
    rows = (
        ("INVITE to 200, p50", "2 ms", p50),
        ("INVITE to 200, p99", "10 ms", p99),
        ("processor time of a set-up", "3 ms", f"{setup_ms:.2f} ms"),
        ("processor time from BYE to file", "", f"{filed_ms:.2f} ms"),
        ("calls failed", "0", str(count - passed)),
    )
    note = (
        f"{count} calls at {RATE}/s beside {BACKGROUND_CALLS} calls with RTP, answer delay off. "
        "Processor time is that of the process tree, less that of an equal time without set-ups."
    )
    return [Table("Setting up", ("figure", "aim", "measured"), rows, note)]


async def hang_up(service: Service, calls: Sequence[RecordingClient]) -> float:
    """End the calls and wait for their files; processor seconds it took the recorder."""
    before = machine.cpu_s(service.pid)
    for call in calls:
        await call.bye()
    await recordings(service, len(calls))
    return machine.cpu_s(service.pid) - before
