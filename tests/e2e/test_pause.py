"""A pause is a pause: over HTTP, in both forms, through whatever SIP does meanwhile."""

import asyncio

import numpy as np
import pytest

from examples.rtp import Packet
from examples.sip import Agent
from examples.src import RecordingClient
from tests.e2e.srs import Json, Srs

pytestmark = pytest.mark.asyncio(loop_scope="module")


def numbered(count: int) -> list[bytes]:
    """Frames that carry their number: 160 octets, number in the low seven bits of two, no zeros."""
    return [bytes([0x80 | n >> 6, 0x80 | n & 0x3F] * 80) for n in range(count)]


FRAMES = numbered(400)
DECODER = {
    (-1 if c & 0x80 == 0 else 1) * (((((~c & 0x0F) << 3) + 132) << (~c >> 4 & 7)) - 132): c
    for c in range(0x80, 0x100)
}


def heard(samples: np.ndarray) -> list[int]:
    """Numbers of the whole frames in one channel, in order; anything else there is an error."""
    audible = np.flatnonzero(samples)
    numbers: list[int] = []
    at = 0
    while (next_one := int(np.searchsorted(audible, at))) < len(audible):
        at = int(audible[next_one])
        octets = [DECODER[int(value)] for value in samples[at : at + 160]]
        assert len(octets) == 160 and octets == octets[:2] * 80, octets[:8]
        numbers.append((octets[0] & 0x7F) << 6 | octets[1] & 0x3F)
        at += 160
    return numbers


def split_by(sent: list[Packet], begin: float, end: float) -> tuple[set[int], set[int]]:
    """(frames sent outside the span, frames sent inside), of the first stream."""
    inside = {FRAMES.index(p.payload) for p in sent if p.stream == 0 and begin < p.sent_at < end}
    outside = {
        FRAMES.index(p.payload) for p in sent if p.stream == 0 and not begin < p.sent_at < end
    }
    return outside, inside


async def paused_call(
    srs: Srs, fill: str, meanwhile: str = ""
) -> tuple[Json, list[int], list[Packet], tuple[float, float, float, float]]:
    """A call of three seconds, paused for one; what was recorded, sent, and when."""
    clock = asyncio.get_running_loop().time
    async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
        await call.invite()
        sent = await call.play(1.0)
        session = await srs.session(call.call_id)
        asked = clock()
        paused = await srs.control(session["id"], "pause", fill=fill, reason="card number")
        assert paused["state"] == "paused"
        confirmed = clock()
        sent += await call.play(0.5)
        await do(srs, call, session["id"], meanwhile)
        sent += await call.play(0.5)
        resuming = clock()
        assert (await srs.control(session["id"], "resume"))["state"] == "recording"
        resumed = clock()
        sent += await call.play(1.0)
        await call.bye()
    recording = await srs.recording(call.call_id)
    channels = await srs.channels(recording["id"])
    left, right = heard(channels[:, 0]), heard(channels[:, 1])
    assert left == right
    return recording, left, sent, (asked, confirmed, resuming, resumed)


async def do(srs: Srs, call: RecordingClient, session_id: str, what: str) -> None:
    """Something that must not end a pause."""
    if what == "re-INVITE":
        await call.reinvite()
    elif what == "UPDATE":
        assert (await call.update()).status == 200
    elif what == "hold":
        for direction in ("inactive", "sendonly"):
            for stream in call.streams:
                stream.direction = direction
            await call.reinvite()
    elif what == "new source":
        for stream in call.streams:
            stream.ssrc ^= 0x0BADCAFE
            stream.timestamp = stream.timestamp + 0x4000_0000 & 0xFFFF_FFFF
    elif what == "pause again":
        assert (await srs.control(session_id, "pause"))["state"] == "paused"
    assert (await srs.session(call.call_id))["state"] == "paused"


@pytest.mark.parametrize("fill", ["silence", "cut"])
async def test_nothing_of_the_paused_span_is_kept_and_nothing_else_is_missing(
    srs: Srs, fill: str
) -> None:
    recording, numbers, sent, (asked, confirmed, resuming, resumed) = await paused_call(srs, fill)
    kept = {FRAMES.index(p.payload) for p in sent if p.stream == 0}
    _, during = split_by(sent, confirmed, resuming)
    must, _ = split_by(sent, asked, resumed)
    assert during and not during & set(numbers)
    assert must <= set(numbers) <= kept
    assert numbers == sorted(numbers)
    wall_ms = (resuming - confirmed) * 1000
    assert abs(recording["paused_ms"] - wall_ms) < 100
    seconds = 3.0 if fill == "silence" else 2.0
    assert abs(recording["duration_ms"] / 1000 - seconds) < 0.4
    (pause,) = recording["pauses"]
    assert pause["fill"] == fill
    history = [(entry["action"], entry["actor"], entry["reason"]) for entry in recording["history"]]
    assert history[1:3] == [("pause", "admin", "card number"), ("resume", "admin", "")]


@pytest.mark.parametrize("meanwhile", ["re-INVITE", "UPDATE", "hold", "new source", "pause again"])
async def test_a_pause_outlives(srs: Srs, meanwhile: str) -> None:
    recording, numbers, sent, times = await paused_call(srs, "silence", meanwhile)
    _, during = split_by(sent, times[1], times[2])
    must, _ = split_by(sent, times[0], times[3])
    assert during and not during & set(numbers)
    assert must <= set(numbers)
    assert recording["status"] == "complete"


async def test_stop_and_start_make_two_recordings(srs: Srs) -> None:
    async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
        await call.invite()
        await call.play(0.4)
        session = await srs.session(call.call_id)
        assert (await srs.control(session["id"], "stop"))["state"] == "stopped"
        await call.play(0.4)
        assert (await srs.control(session["id"], "start"))["state"] == "recording"
        await call.play(0.4)
        await call.bye()
    first, second = await srs.recordings(call.call_id, 2)
    heard_first = heard((await srs.channels(first["id"]))[:, 0])
    heard_second = heard((await srs.channels(second["id"]))[:, 0])
    assert heard_first[0] == 0 and heard_second[-1] == 59
    assert not {*range(25, 38)} & {*heard_first, *heard_second}


async def test_split_loses_and_repeats_nothing(srs: Srs) -> None:
    async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
        await call.invite()
        session = await srs.session(call.call_id)
        async with asyncio.TaskGroup() as group:
            group.create_task(call.play(1.2))
            await asyncio.sleep(0.6)
            split = await srs.control(session["id"], "split")
        assert split["recording_id"] != session["recording_id"]
        await call.bye()
    first, second = await srs.recordings(call.call_id, 2)
    parts = [heard((await srs.channels(each["id"]))[:, 0]) for each in (first, second)]
    assert parts[0] + parts[1] == [*range(60)]
    assert parts[0] and parts[1]


async def test_a_mark_is_kept(srs: Srs) -> None:
    async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
        await call.invite()
        session = await srs.session(call.call_id)
        await srs.control(session["id"], "mark", text="consent given")
        await call.play(0.2)
        await call.bye()
    recording = await srs.recording(call.call_id)
    assert [mark["text"] for mark in recording["marks"]] == ["consent given"]


async def test_what_was_said_before_but_arrives_after_the_pause_is_not_kept(srs: Srs) -> None:
    async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
        await call.invite()
        await call.play(0.2)
        held = [stream.packets(i, 1)[0] for i, stream in enumerate(call.streams)]
        session = await srs.session(call.call_id)
        await srs.control(session["id"], "pause")
        for packet in held:
            call.streams[packet.stream].send(packet)
        await call.play(0.2)
        await call.bye()
    recording = await srs.recording(call.call_id)
    assert heard((await srs.channels(recording["id"]))[:, 0]) == [*range(10)]
