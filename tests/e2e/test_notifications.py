"""Those who are to be told are told: of every command, in order, whatever dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from examples.sip import Agent
from examples.src import RecordingClient
from examples.webhook import EVENT_ID, parameters, verified
from tests.e2e.srs import Srs
from tests.e2e.test_pause import FRAMES

SECRET = "between us"
EVENTS = ("STARTED", "PAUSED", "RESUMED", "ENDED")
DIRECTORY = """
[[destinations]]
name = "{event}"
event = "RECORDING_{event}_EVENT"
url = "http://127.0.0.1:{port}/hook?of=demo"
secret = "between us"
parameters = [
    {{ name = "event", value = "EVENT" }},
    {{ name = "call", value = "CALL_ID" }},
    {{ name = "result", value = "RESULT" }},
    {{ name = "to", value = "CALLED_AORS" }},
]
"""
POLICIES = """
[[policies]]
name = "record what is announced"
event = "OrderPlaced"
actions = [
    {{ type = "StartAudio", isr_ucid = "${{ucid}}" }},
    {{ type = "HttpNotify", url = "http://127.0.0.1:{port}/order?call=${{ucid}}" }},
]

[[routes]]
id = 30
account = 1
pattern = "%@demand.example"
record = "on_demand"
"""


@dataclass
class Hook:
    """A receiver that can be told to misbehave."""

    port: int = 0
    status: int = 204
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Event id, path, parameters of each request that was answered well."""
    signatures: set[bool | None] = field(default_factory=set)

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.status == 204:
            found = parameters(request, body)
            self.seen.append((request.headers.get(EVENT_ID, ""), request.path, found))
            signed = verified(SECRET, request.method, request.raw_path, request.headers, body)
            self.signatures.add(signed)
        return web.Response(status=self.status)

    def events(self, call_id: str) -> list[str]:
        """What was told of a call, repetitions left out, in the order it came."""
        once = {
            event_id: told
            for event_id, path, told in self.seen
            if path == "/hook" and told["call"] == call_id
        }
        return [told["event"] for told in once.values()]


@asynccontextmanager
async def hook(port: int = 0) -> AsyncIterator[Hook]:
    made = Hook()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@asynccontextmanager
async def recorder(folder: Path, port: int, more: str = "") -> AsyncIterator[Srs]:
    text = "".join(DIRECTORY.format(event=event, port=port) for event in EVENTS)
    (folder / "directory.toml").write_text(text + more.format(port=port))
    srs = Srs(folder, SRS_NOTIFY_ALLOW="127.0.0.1/32", SRS_NOTIFY_RETRY_MAX_S="1")
    await srs.command("directory", "apply", "directory.toml")
    async with srs:
        yield srs


async def told(hook: Hook, call_id: str, count: int) -> list[str]:
    async with asyncio.timeout(30):
        while len(events := hook.events(call_id)) < count:
            await asyncio.sleep(0.05)
    return events


async def whole_call(srs: Srs) -> str:
    """A call that is paused and resumed; its Call-ID."""
    async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
        await call.invite()
        await call.play(0.1)
        session = await srs.session(call.call_id)
        for verb in ("pause", "resume"):
            await srs.control(session["id"], verb)
        await call.bye()
    return call.call_id


WHOLE = [f"RECORDING_{event}_EVENT" for event in EVENTS]


async def test_every_command_is_told_once_in_order_and_signed(folder: Path) -> None:
    async with hook() as receiver, recorder(folder, receiver.port) as srs:
        call_id = await whole_call(srs)
        assert await told(receiver, call_id, 4) == WHOLE
        assert receiver.signatures == {True}
        assert len(receiver.seen) == 4
        first = receiver.seen[0][2]
        assert first["of"] == "demo" and first["result"] == "success"
        assert first["to"] == "sip:ben@example.com"


async def test_a_command_that_fails_is_told_as_such(folder: Path) -> None:
    async with hook() as receiver, recorder(folder, receiver.port) as srs:
        async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            session = await srs.session(call.call_id)
            async with srs.request("POST", f"sessions/{session['id']}/resume", json={}) as answer:
                assert answer.status in {200, 409}
            await srs.control(session["id"], "stop")
            async with srs.request("POST", f"sessions/{session['id']}/pause", json={}) as answer:
                assert answer.status == 409
            await call.bye()
        await told(receiver, call.call_id, 3)
        results = [(t["event"], t["result"]) for _, _, t in receiver.seen]
        assert results == [
            ("RECORDING_STARTED_EVENT", "success"),
            ("RECORDING_ENDED_EVENT", "success"),
            ("RECORDING_PAUSED_EVENT", "fail"),
        ]


async def test_a_receiver_that_fails_gets_everything_once_it_is_back(folder: Path) -> None:
    async with hook() as receiver, recorder(folder, receiver.port) as srs:
        receiver.status = 500
        calls = [await whole_call(srs) for _ in range(3)]
        await asyncio.sleep(0.5)
        receiver.status = 204
        for call_id in calls:
            assert await told(receiver, call_id, 4) == WHOLE


async def test_what_was_acknowledged_is_told_after_a_kill(folder: Path) -> None:
    """SIGKILL right after the answer to a pause, while the receiver is away."""
    async with hook() as away:
        port = away.port
    async with recorder(folder, port) as srs:
        async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            await call.play(0.1)
            session = await srs.session(call.call_id)
            await srs.control(session["id"], "pause")
            await srs.kill()
        async with hook(port) as receiver:
            await srs.start()
            events = await told(receiver, call.call_id, 3)
            # The process that could have told the end is dead: the next one does.
            assert events == [WHOLE[0], WHOLE[1], WHOLE[3]]
            assert len(receiver.events(call.call_id)) == 3


async def test_an_event_from_outside_starts_a_recording_by_policy(folder: Path) -> None:
    async with hook() as receiver, recorder(folder, receiver.port, POLICIES) as srs:
        parties = (("sip:ann@example.com", "Ann"), ("sip:shop@demand.example", "Shop"))
        async with (
            Agent(srs.udp) as agent,
            RecordingClient(agent, [FRAMES, FRAMES], parties=parties) as call,
        ):
            await call.invite()
            assert (await srs.session(call.call_id))["state"] == "idle"
            body = {"event": "OrderPlaced", "ucid": call.call_id}
            async with srs.request("POST", "events/raise", json=body) as answer:
                assert answer.status == 200, await answer.text()
                assert (await answer.json())["actions"] == 2
            assert await told(receiver, call.call_id, 1) == ["RECORDING_STARTED_EVENT"]
            assert (await srs.session(call.call_id))["state"] == "recording"
            async with asyncio.timeout(10):
                while not any(path == "/order" for _, path, _ in receiver.seen):
                    await asyncio.sleep(0.05)
            order = next(t for _, path, t in receiver.seen if path == "/order")
            assert order == {"call": call.call_id}
            await call.bye()


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/"])
async def test_nothing_inside_is_called_unless_it_is_allowed(folder: Path, url: str) -> None:
    async with hook() as receiver:
        text = DIRECTORY.format(event="STARTED", port=receiver.port)
        text = text.replace(f"http://127.0.0.1:{receiver.port}/", url.format(port=receiver.port))
        (folder / "directory.toml").write_text(text)
        srs = Srs(folder)
        await srs.command("directory", "apply", "directory.toml")
        async with srs:
            await whole_call(srs)
            async with asyncio.timeout(20):
                while not (dead := (await srs.get("notifications?state=dead"))["items"]):
                    await asyncio.sleep(0.1)
            assert dead[0]["error"] == "address_forbidden"
        assert receiver.seen == []
