"""Every sample of both channels, through real sockets and files, whatever the network did."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from examples.rtp import Packet
from examples.sip import Agent
from examples.src import RecordingClient
from tests.e2e.srs import Srs

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 150
DECODED = {
    "PCMU": np.array(
        [(-1 if c & 0x80 == 0 else 1) * (((((~c & 0x0F) << 3) + 132) << (~c >> 4 & 7)) - 132)
         for c in range(256)], np.int16),
}  # fmt: skip


def alaw(code: int) -> int:
    """One A-law octet to linear (ITU-T G.711)."""
    code ^= 0x55
    exponent, mantissa = code >> 4 & 7, code & 0x0F
    magnitude = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 264) << (exponent - 1)
    return magnitude if code & 0x80 else -magnitude


DECODED["PCMA"] = np.array([alaw(code) for code in range(256)], np.int16)


def noise(seed: int) -> list[bytes]:
    """Frames of random octets that begin and end audibly."""
    rng = random.Random(seed)
    return [b"\x10" + rng.randbytes(158) + b"\x90" for _ in range(FRAMES)]


def clean(packets: list[Packet]) -> list[Packet]:
    """Nothing happens."""
    return packets


def loss(packets: list[Packet]) -> list[Packet]:
    """5 % are lost, neither the first nor the last."""
    rng = random.Random(5)
    edge = {*map(id, packets[:4]), *map(id, packets[-4:])}
    return [p for p in packets if id(p) in edge or rng.random() >= 0.05]


def reorder(packets: list[Packet]) -> list[Packet]:
    """Packets swap places with others up to ten later."""
    rng = random.Random(6)
    order = sorted(range(len(packets)), key=lambda i: i + rng.random() * 20)
    times = [packet.due_s for packet in packets]
    return [replace(packets[i], due_s=due) for i, due in zip(order, times, strict=True)]


def duplicate(packets: list[Packet]) -> list[Packet]:
    """Every packet comes twice."""
    return [packet for packet in packets for _ in (0, 1)]


def new_ssrc(packets: list[Packet]) -> list[Packet]:
    """Half way, a new source with its own sequence numbers and timestamps goes on."""
    half = FRAMES // 2 * 0.02
    return [
        packet
        if packet.due_s < half
        else replace(
            packet,
            ssrc=packet.ssrc ^ 0x5A5A5A5A,
            sequence_number=packet.sequence_number + 31_000 & 0xFFFF,
            timestamp=packet.timestamp + 0x7123_4567 & 0xFFFF_FFFF,
        )
        for packet in packets
    ]


def expected(frames: list[bytes], sent: list[Packet], codec: str) -> np.ndarray:
    """The samples of one stream: what was sent in its place, zeros elsewhere."""
    arrived = {packet.payload for packet in sent}
    table = DECODED[codec]
    return np.concatenate(
        [
            table[np.frombuffer(f, np.uint8)] if f in arrived else np.zeros(160, np.int16)
            for f in frames
        ]
    )


CASES: list[tuple[str, str, Callable[[list[Packet]], list[Packet]], int, int]] = [
    ("clean", "PCMU", clean, 1000, 1000),
    ("clean A-law", "PCMA", clean, 1000, 1000),
    ("loss", "PCMU", loss, 1000, 1000),
    ("reorder", "PCMU", reorder, 1000, 1000),
    ("duplicates", "PCMU", duplicate, 1000, 1000),
    ("SSRC change", "PCMU", new_ssrc, 1000, 1000),
    ("sequence wrap", "PCMU", clean, 65_500, 1000),
    ("timestamp wrap", "PCMU", clean, 1000, 2**32 - 320),
    ("both wraps, loss and reorder", "PCMA", lambda p: reorder(loss(p)), 65_530, 2**32 - 480),
]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_every_sample_is_in_its_place(srs: Srs, transport: str) -> None:
    uri = srs.udp if transport == "udp" else srs.tcp
    async with Agent(uri, transport) as agent, asyncio.TaskGroup() as group:
        for case in CASES:
            group.create_task(one_call(srs, agent, *case))


async def one_call(
    srs: Srs,
    agent: Agent,
    name: str,
    codec: str,
    impair: Callable[[list[Packet]], list[Packet]],
    sequence_number: int,
    timestamp: int,
) -> None:
    frames = [noise(1), noise(2)]
    async with RecordingClient(agent, frames, codec=codec) as call:
        for stream in call.streams:
            stream.sequence_number, stream.timestamp = sequence_number, timestamp
        await call.invite()
        sent = await call.play(impair=impair)
        await call.bye()
    recording = await srs.recording(call.call_id)
    assert recording["status"] == "complete", (name, recording)
    samples = await srs.channels(recording["id"])
    starts = []
    for channel, want in enumerate(frames):
        reference = expected(want, [p for p in sent if p.stream == channel], codec)
        got = samples[:, channel]
        start = int(np.flatnonzero(got)[0])
        starts.append(start)
        end = start + len(reference)
        assert np.array_equal(got[start:end], reference), name
        assert not got[end:].any(), name
        lost = FRAMES - len({p.payload for p in sent if p.stream == channel})
        assert recording["streams"][channel]["lost"] == lost, name
    assert abs(starts[0] - starts[1]) <= 160, name
