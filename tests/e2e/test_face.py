"""FACE on a recorder as a user starts it: a pause is a pause, whatever happens to the process."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from examples.rtp import FRAME_S, Packet
from examples.sip import Agent
from examples.src import RecordingClient
from tests.bench.pause import Outcome, Pause, numbered, numbers, play_until
from tests.e2e.srs import Srs
from tests.e2e.test_pause import FRAMES, heard, split_by

EMAIL, PASSWORD = "isr@shop.example", "Admin1234 and more"
PAUSES = 10
ALREADY = "Recording has already been paused, cannot pause recording."


@dataclass
class Face:
    """A FACE client of a recorder."""

    srs: Srs
    token: str = ""

    async def login(self) -> None:
        """Get a token."""
        form = {"userEmail": EMAIL, "password": PASSWORD}
        async with self.srs.request("POST", "/Face/login", "", data=form) as response:
            found = re.search("<token>(.*)</token>", await response.text())
        assert found
        self.token = found[1]

    async def ask(self, method: str, command: str, **query: str) -> dict[str, str]:
        """Code and message of an answer, and of a recording what has no parts."""
        path = f"/Face/audioRecording/{command}"
        query["token"] = self.token
        async with self.srs.request(method, path, "", params=query) as response:
            root = etree.fromstring(await response.read())
        return {each.tag: each.text or "" for each in root.iter() if not len(each)}

    async def pause(self, call_id: str, **query: str) -> None:
        """A pause that must succeed."""
        said = await self.ask("POST", "pause", ingressCallId=call_id, **query)
        assert (said["code"], said["message"]) == ("0", "ACK")

    async def resume(self, call_id: str) -> None:
        """A resume that must succeed."""
        said = await self.ask("POST", "resume", ingressCallId=call_id)
        assert (said["code"], said["message"]) == ("0", "ACK")


@asynccontextmanager
async def recorder(folder: Path) -> AsyncIterator[Face]:
    """A recorder with an API user, who is logged in."""
    srs = Srs(folder)
    made = ("user", "add", EMAIL, "--type", "api", "--account", "1")
    await srs.command(*made, stdin=f"{PASSWORD}\n")
    async with srs:
        face = Face(srs)
        await face.login()
        yield face


async def disturb(face: Face, call_id: str, fill: str, rng: random.Random) -> list[Pause]:
    """Pause and resume a call at random moments."""
    clock = asyncio.get_running_loop().time
    pauses = []
    for _ in range(PAUSES):
        await asyncio.sleep(rng.uniform(0.05, 0.4))
        asked = clock()
        await face.pause(call_id, fillWithSilence=fill)
        pause = Pause(asked, clock())
        await asyncio.sleep(rng.uniform(0.05, 0.4))
        pause.resume_asked = clock()
        await face.resume(call_id)
        pause.resume_answered = clock()
        pauses.append(pause)
    return pauses


async def one_call(face: Face, agent: Agent, fill: str, seed: int) -> Outcome:
    """What the file of a call shows that was paused again and again."""
    frames = [numbered(int(60 / FRAME_S))] * 2
    async with RecordingClient(agent, frames, seed=seed) as call:
        await call.invite()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(play_until(call, over))
            pauses = await disturb(face, call.call_id, fill, random.Random(seed))
            over.set()
        await call.bye()
    recording = await face.srs.recording(call.call_id)
    assert [pause["fill"] == "silence" for pause in recording["pauses"]] == (
        [fill == "true"] * PAUSES
    )
    outcome = Outcome()
    for stream, channel in enumerate((await face.srs.channels(recording["id"])).T):
        packets = [packet for packet in playing.result() if packet.stream == stream]
        outcome.judge(packets, pauses, [*numbers(channel)])
    return outcome


async def test_nothing_sent_after_the_answer_to_a_pause_is_in_the_file(folder: Path) -> None:
    async with recorder(folder) as face, Agent(face.srs.udp) as agent:
        outcomes = await asyncio.gather(
            one_call(face, agent, "true", 1), one_call(face, agent, "false", 2)
        )
    for outcome in outcomes:
        assert (outcome.leaked, outcome.missing, outcome.torn) == (0, 0, 0)
        assert outcome.sent > 2 * PAUSES


async def test_a_pause_outlives_a_kill_and_new_offers(folder: Path) -> None:
    clock = asyncio.get_running_loop().time
    async with recorder(folder) as face:
        async with Agent(face.srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            sent = await call.play(0.4)
            await face.pause(call.call_id)
            paused_at = clock()
            for again in (call.reinvite, call.update):
                await again()
                said = await face.ask("POST", "pause", ingressCallId=call.call_id)
                assert (said["code"], said["message"]) == ("12", ALREADY)
                sent += await call.play(0.2)
            await face.srs.kill()
            call.ended.set()
            document = call.metadata()
        await face.srs.start()
        # The token and the pause are still good.
        said = await face.ask("GET", "details", ingressCallId=call.call_id)
        assert (said["code"], said["pausedWithSilence"]) == ("0", "false")
        await check(face, call.call_id, sent, paused_at)
        await call_again(face, document)


async def check(face: Face, call_id: str, sent: list[Packet], paused_at: float) -> None:
    """Of the call that was cut off there is nothing that was sent after the answer."""
    recording = await face.srs.recording(call_id)
    kept = heard((await face.srs.channels(recording["id"]))[:, 0])
    _, after = split_by(sent, paused_at, float("inf"))
    assert after and not after & {*kept}
    assert kept == [*range(len(kept))]


async def call_again(face: Face, document: bytes) -> None:
    """The same conversation in another call: paused until somebody resumes it."""
    async with Agent(face.srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
        call.metadata = lambda: document  # type: ignore[method-assign]
        await call.invite()
        said = await face.ask("POST", "pause", ingressCallId=call.call_id)
        assert (said["code"], said["message"]) == ("12", ALREADY)
        await call.play(0.3)
        await face.resume(call.call_id)
        await call.play(0.3)
        await call.bye()
    recording = await face.srs.recording(call.call_id)
    for channel in (await face.srs.channels(recording["id"])).T:
        assert heard(channel) == [*range(15, 30)]
