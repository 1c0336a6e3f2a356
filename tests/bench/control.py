"""Controlling: how long commands to live calls take over HTTP, natively and over FACE.

All calls carry RTP meanwhile. Native commands and those of FACE alternate on the same calls, so
that a busy moment of the machine meets both. One client asks, one request at a time, as it would
for one agent; only the races at the end ask twice at once.
"""

import asyncio
import random
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from examples.service import Service, ServiceError
from examples.sip import Agent, Message
from examples.src import RecordingClient
from tests.bench.calls import ports_of, standing, start_generator
from tests.bench.report import Table, percentiles_ms

CALLS = 200
EMAIL, PASSWORD = "bench@example.com", "correct horse battery"
WARM_UP_S = 3.0
LONGEST_S = 600.0
"""For all commands together; RTP ends then."""
CODE = re.compile(rb"<code>(-?[0-9]+)</code>")
DONE, WRONG_STATE = 0, 12
"""Codes of FACE: of who wins a race, and of who loses it."""


class UcidAgent(Agent):
    """Gives each call a UCID, which is its Call-ID."""

    async def request(self, message: Message, to: tuple[str, int] | None = None) -> Message:
        """As `Agent.request`."""
        if message.start.startswith("INVITE "):
            message.headers.append(("X-ISR-UCID", message.first("call-id")))
        return await super().request(message, to)


@dataclass(slots=True)
class Desk:
    """Somebody who commands calls, and keeps how long it took."""

    service: Service
    token: str
    sessions: dict[str, str]
    """Call-ID -> id of the live session."""
    took_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By command."""

    async def native(self, action: str, call_id: str) -> None:
        """Raises ServiceError unless it is done."""
        began = time.perf_counter()
        await self.service.post(f"sessions/{self.sessions[call_id]}/{action}")
        self.took_s[f"native {action}"].append(time.perf_counter() - began)

    async def face(self, action: str, call_id: str) -> None:
        """Raises ServiceError unless it is done."""
        began = time.perf_counter()
        code = await self.code(action, call_id)
        self.took_s[f"FACE {action}"].append(time.perf_counter() - began)
        if code != DONE:
            raise ServiceError(f"{action}: code {code}")

    async def code(self, action: str, call_id: str) -> int:
        """What FACE answers."""
        path, query = f"/Face/audioRecording/{action}", {"token": self.token, "isrUcid": call_id}
        method = "GET" if action == "details" else "POST"
        async with self.service.http.request(method, path, params=query) as response:
            return code_of(await response.read())


def code_of(body: bytes) -> int:
    """The return code of an answer in XML. Raises ServiceError if it has none."""
    found = CODE.search(body)
    if found is None:
        raise ServiceError(f"not an answer of FACE: {body[:300]!r}")
    return int(found[1])


async def log_in(service: Service) -> str:
    """The token of a new API user of all accounts."""
    directory = "/srs/v1/directory"
    user = {"email": EMAIL, "account": 1, "type": "api"}
    for method, path, body in (
        ("PUT", f"{directory}/users/{EMAIL}", user),
        ("POST", f"{directory}/users/{EMAIL}/password", {"password": PASSWORD}),
    ):
        async with service.http.request(method, path, json=body) as response:
            if response.status >= 300:
                raise ServiceError(f"{path}: {await response.text()}")
    form = {"userEmail": EMAIL, "password": PASSWORD}
    async with service.http.post("/Face/login", data=form) as response:
        found = re.search(r"<token>(.+)</token>", await response.text())
    if found is None:
        raise ServiceError("no token")
    return found[1]


async def command(desk: Desk, calls: Sequence[str], rounds: int, rng: random.Random) -> None:
    """Every command `rounds` times, each time to another call."""
    for _ in range(rounds):
        call_id = rng.choice(calls)
        for ask in (desk.native, desk.face):
            await ask("pause", call_id)
            await ask("resume", call_id)
        await desk.face("details", call_id)
    for _ in range(rounds):
        call_id = rng.choice(calls)
        await desk.face("stop", call_id)
        await desk.face("start", call_id)


async def race(desk: Desk, calls: Sequence[str], rounds: int, rng: random.Random) -> Counter[str]:
    """Pause a call twice at once, `rounds` times; how often it ended in which way."""
    outcomes: Counter[str] = Counter()
    for _ in range(rounds):
        call_id = rng.choice(calls)
        asked = (desk.code("pause", call_id) for _ in range(2))
        outcomes[outcome(await asyncio.gather(*asked))] += 1
        await desk.code("resume", call_id)
    return outcomes


OUTCOMES = ("one winner, one loser", "two winners", "anything else")


def outcome(codes: Iterable[int]) -> str:
    """How a race of two ended."""
    seen = sorted(codes)
    if seen == [DONE, WRONG_STATE]:
        return OUTCOMES[0]
    return OUTCOMES[1] if seen == [DONE, DONE] else OUTCOMES[2]


@asynccontextmanager
async def speaking(calls: Sequence[RecordingClient]) -> AsyncIterator[None]:
    """RTP into all calls meanwhile."""
    generator = await start_generator(ports_of(calls), LONGEST_S)
    try:
        await asyncio.sleep(WARM_UP_S)
        yield
        if generator.returncode is not None:
            raise ServiceError("RTP ended before the commands did")
    finally:
        if generator.returncode is None:
            generator.terminate()
        await generator.communicate()


async def measure(quick: bool) -> list[Table]:
    """All commands, then the races."""
    rounds, races, rng = 50 if quick else 500, 20 if quick else 100, random.Random(1)
    with tempfile.TemporaryDirectory(prefix="siprecd-bench-") as folder:
        async with Service(Path(folder)) as service, UcidAgent(service.uri) as agent:
            token = await log_in(service)
            async with standing(agent, CALLS) as calls, speaking(calls):
                names = [call.call_id for call in calls]
                sessions = {name: (await service.session(name))["id"] for name in names}
                desk = Desk(service, token, sessions)
                await command(desk, names, rounds, rng)
                outcomes = await race(desk, names, races, rng)
    return tables(desk.took_s, outcomes)


AIMS = {"native pause": "50 ms", "FACE pause": "50 ms"}
"""Command -> aim of p99."""


def tables(took_s: dict[str, list[float]], outcomes: Counter[str]) -> list[Table]:
    """Durations and outcomes beside the aims."""
    rows = tuple(
        (name, f"{len(times):,}", *percentiles_ms(times), AIMS.get(name, ""))
        for name, times in took_s.items()
    )
    note = (
        f"{CALLS} calls of two streams that carry RTP; native commands and those of FACE alternate "
        "on the same calls. FACE stop answers once the recording has its recordingId."
    )
    commands = Table("Controlling", ("command", "times", "p50", "p99", "aim of p99"), rows, note)
    total = outcomes.total()
    ends = (str(total), "0", "0")
    shown = tuple(
        (name, aim, str(outcomes[name])) for name, aim in zip(OUTCOMES, ends, strict=True)
    )
    note = f"{total} times two FACE pauses of one call at the same time; a loser gets code 12."
    return [commands, Table("Two pauses at once", ("outcome", "aim", "measured"), shown, note)]
