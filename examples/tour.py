"""What the routes of `examples/directory.toml` do: two more calls of the demonstration.

An adviser's call, recorded from a little before the moment it is asked for, and one that must not
be recorded. Uses nothing of the recorder.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from examples.service import Service
from examples.sip import Agent
from examples.src import RecordingClient
from examples.webhook import Notice

SECRET = "change me to something long"
"""Of the destination that signs, as the directory file says."""
CALLER = ("sip:ann@example.com", "Ann Caller")
ADVISER = ("sip:cara@example.com", "Cara Adviser")
COUNCIL = ("sip:dora@example.com", "Dora Works Council")
BEFORE_S, AFTER_S = 2.0, 1.5

Step = Callable[[str], None]
Check = tuple[str, bool]


async def on_demand(service: Service, step: Step) -> list[Check]:
    """A call that is recorded once asked for, with what was said just before."""
    async with (
        Agent(service.uri) as agent,
        RecordingClient(agent, parties=(CALLER, ADVISER)) as call,
    ):
        await call.invite()
        before = await service.session(call.call_id)
        step(f"call to {ADVISER[1]}: route {before['route']}, {before['record']}, nothing recorded")
        await call.play(BEFORE_S)
        session = await service.post(f"sessions/{before['id']}/start", {"prebuffer": True})
        step(f"POST start with its pre-buffer: {session['duration_ms'] / 1000:.1f} s are in it")
        await call.play(AFTER_S)
        await call.bye()
    recording = await service.recording(call.call_id)
    seconds = recording["duration_ms"] / 1000
    return [
        ("on demand: idle until it was started", before["state"] == "idle"),
        (f"on demand: {seconds:.1f} s, {BEFORE_S:.1f} of them from before", seconds > 3.2),
        ("on demand: of account 200", recording["account"] == 200),
    ]


async def never(service: Service, step: Step) -> list[Check]:
    """A call that is taken, and thrown away."""
    async with (
        Agent(service.uri) as agent,
        RecordingClient(agent, parties=(CALLER, COUNCIL)) as call,
    ):
        await call.invite()
        session = await service.session(call.call_id)
        await call.play(0.5)
        refusal = await refused(service, f"sessions/{session['id']}/start")
        step(f"call to {COUNCIL[1]}: route {session['route']}; POST start: {refusal}")
        await call.bye()
    found = (await service.get("recordings", call_id=call.call_id))["items"]
    return [("never: start refused, nothing kept", refusal.startswith("409") and not found)]


async def refused(service: Service, path: str) -> str:
    """The refusal of a POST: status and detail."""
    async with service.http.post(f"/srs/v1/{path}", json={}) as response:
        problem: dict[str, Any] = await response.json()
        return f"{response.status} {problem.get('detail', '')}"


async def told(notices: list[Notice]) -> list[Check]:
    """Whether those who wanted to know were told; waits for the last of them."""
    expected = {"/wallboard": 1, "/audit": 2, "/crm": 2}
    for _ in range(200):
        if len(notices) >= sum(expected.values()):
            break
        await asyncio.sleep(0.05)
    targets = [notice.target.partition("?")[0] for notice in notices]
    signed = {notice.signed for notice in notices if notice.target == "/crm"}
    return [
        *(
            (
                f"webhook: {targets.count(target)} notifications at {target}",
                targets.count(target) == count,
            )
            for target, count in expected.items()
        ),
        ("webhook: those with a secret are signed", signed == {True}),
    ]


async def tour(service: Service, step: Step) -> list[Check]:
    """Both calls; every check with its outcome. Raises ServiceError."""
    return [*await on_demand(service, step), *await never(service, step)]
