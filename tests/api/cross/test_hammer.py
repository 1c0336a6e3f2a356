"""Eight clients, two of each interface, who give one call commands all at once.

Afterwards there must be one order of all their commands that explains every answer, and that is in
the histories of the recordings; and what was said in a pause must be in no file.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np
import pytest

from examples.rtp import Packet
from examples.src import RecordingClient
from siprec.journal import FEED
from siprec.session import Action, LiveSession
from storage.records import AuditEntry, Recording, RecordingQuery
from tests.api.cross.desk import Desk, Told, open_desk
from tests.api.cross.linear import Entry, Model, Op, Span, explain, spans, unexcused
from tests.api.cross.operators import NOTICED, PUSHED, Operator, everybody
from tests.bench.pause import numbers
from tests.storage.people import make_hashing_cheap

SEED = 7
WEIGHTS = {
    Action.START: 5,
    Action.PAUSE: 8,
    Action.RESUME: 8,
    Action.STOP: 1,
    Action.SPLIT: 4,
    Action.MARK: 1,
    Action.UNMARK: 1,
    Action.SAVE: 1,
    Action.DISCARD: 1,
}
"""How often each is asked for."""
FINALE = [Action.START, Action.STOP, Action.START, Action.SPLIT, Action.PAUSE, Action.RESUME]
FINALE += [Action.MARK, Action.UNMARK, Action.DISCARD, Action.SAVE]
"""What one client asks for when all the others are done: each action succeeds once, whatever came
before, and in the end everything stays."""
MOST_BETWEEN_S = 0.08
"""Longest time between an answer and the next command of a client."""
HUSTLE_S, LULL_S = 0.6, 0.3
"""After each hustle nobody asks for anything, so that something is said while all is answered."""


class Client:
    """Gives commands at random, one after the other, and writes down what is answered."""

    def __init__(self, operator: Operator, live: LiveSession, seed: int) -> None:
        self.operator = operator
        self._live = live
        self._rng = random.Random(seed)
        self.ops: list[Op] = []

    async def give(self, action: Action) -> None:
        """One command."""
        clock = asyncio.get_running_loop().time
        sent_at = clock()
        outcome = await self.operator.give(self._live, action)
        self.ops.append(Op(self.operator, action, sent_at, clock(), outcome))

    async def hammer(self, until: float) -> None:
        """Commands until that time of the event loop, but none in a lull."""
        actions = [action for action in WEIGHTS if action in self.operator.actions]
        weights = [WEIGHTS[action] for action in actions]
        clock = asyncio.get_running_loop().time
        while clock() < until:
            if clock() % (HUSTLE_S + LULL_S) > HUSTLE_S:
                await asyncio.sleep(0.02)
                continue
            await self.give(*self._rng.choices(actions, weights))
            await asyncio.sleep(self._rng.choice((0, self._rng.uniform(0, MOST_BETWEEN_S))))


async def play(client: RecordingClient, over: asyncio.Event) -> list[Packet]:
    """Speak until `over`; all packets."""
    packets = []
    while not over.is_set():
        packets += await client.play(0.2)
    return packets


async def listen(desk: Desk, over: asyncio.Event) -> None:
    """Hear what is told until `over`; who does not read what they are told is cut off."""
    while not over.is_set():
        await desk.listen()
        await asyncio.sleep(0.5)


async def finished(desk: Desk, live: LiveSession) -> list[Recording]:
    """The recordings of a call that has ended, in order, with their files."""
    query = RecordingQuery(session_id=live.id, limit=live.segments + 1)
    rows = await desk.node.services.library.match(query)
    rows = [await desk.stored(row.id) for row in sorted(rows, key=lambda row: row.segment)]
    assert [row.segment for row in rows] == [*range(1, live.segments + 1)]
    return rows


def written(rows: Sequence[Recording], actors: Container[str]) -> list[Entry]:
    """What these people did, as the histories of the recordings have it."""
    for row in rows:
        assert row.history[0].action == "start"
    every = (entry for row in rows for entry in row.history if entry.actor in actors)
    return [(entry.action, named(entry)) for entry in every if entry.action in WEIGHTS]


def named(entry: AuditEntry) -> str:
    """The name of the command it tells of."""
    return f"{entry.actor} {entry.reason}" if entry.reason.isdecimal() else entry.actor


async def held(desk: Desk, rows: Sequence[Recording]) -> list[list[int]]:
    """Numbers of the packets in the files, of each stream."""
    found: list[list[int]] = [[], []]
    for row in rows:
        if row.files:
            for stream, samples in enumerate((await desk.audio(row.id)).T):
                found[stream] += numbers(samples)
    return found


def judge(packets: Sequence[Packet], held: Sequence[int], certain: Sequence[Span]) -> Counter[bool]:
    """What must not be in the files is not, what must be is; of one stream of a call.

    Returns how many packets must not be there, and must.
    """
    times = np.array([packet.sent_at for packet in packets])
    present, counted = np.zeros(len(times), bool), Counter[bool]()
    assert min(held) >= 0, "a packet is not whole"
    present[[*held]] = True
    assert len({*held}) == len(held), "a packet is there twice"
    for span in certain:
        inside = (times > span.since) & (times < span.until)
        wrong = np.flatnonzero(inside & (present != span.is_recorded))
        assert not len(wrong), (span, wrong)
        counted[span.is_recorded] += int(inside.sum())
    return counted


async def hammered(desk: Desk, seconds: float) -> tuple[list[Client], list[Packet], LiveSession]:
    """A call, and all that was asked of it while somebody spoke."""
    live = await desk.call()
    over, clock = asyncio.Event(), asyncio.get_running_loop().time
    operators = everybody(desk, (1, 2))
    clients = [Client(each, live, SEED + n) for n, each in enumerate(operators)]
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(play(desk.calls[live.id], over), name="play")
        group.create_task(listen(desk, over), name="listen")
        async with asyncio.TaskGroup() as hammering:
            until = clock() + seconds
            for client in clients:
                hammering.create_task(client.hammer(until), name="hammer")
        for action in FINALE:
            await clients[0].give(action)
        over.set()
    return clients, playing.result(), live


async def check(desk: Desk, seconds: float) -> None:
    """Hammer a call, and have everything explained."""
    clients, packets, live = await hammered(desk, seconds)
    last, ended = Model(live.state, live.marking, live.saving), asyncio.get_running_loop().time()
    told = await desk.told(live)
    await asyncio.gather(*(each.sees(live, live.state) for each in everybody(desk)))
    await desk.hang_up(live)
    rows = await finished(desk, live)
    history = written(rows, {client.operator.actor for client in clients})
    assert not unexcused([op for client in clients for op in client.ops])
    steps = explain([client.ops for client in clients], history, last)
    done = [(step.action, step.op.operator.actor) for step in steps if step.action]
    assert {action for action, _ in done} == {*WEIGHTS}
    check_told(told, done)
    certain = spans(steps, 0, ended)
    for stream, found in enumerate(await held(desk, rows)):
        own = [each for each in packets if each.stream == stream]
        counted = judge(own, found, certain)
        assert min(counted[True], counted[False]) > len(own) // 50, counted


def check_told(told: Told, done: Sequence[tuple[Action, str]]) -> None:
    """Everything that was done was told once, and what is recorded in the order it was done."""
    kinds = [(FEED[action].removeprefix("recording."), actor) for action, actor in done]
    assert Counter(told.events) == Counter(kinds)
    assert Counter(told.hub) == Counter(n for action, _ in done for n in PUSHED[action])
    said = {FEED[action].removeprefix("recording.") for action in NOTICED}
    assert [each for each in told.events if each[0] in said] == [
        each for each in kinds if each[0] in said
    ]
    assert [n for n in told.hub if n < 4] == [
        n for action, _ in done for n in PUSHED[action] if n < 4
    ]
    if told.notices:
        assert told.successes == [each for action, _ in done for each in NOTICED.get(action, [])]


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.slow)])
async def test_one_order_explains_everything(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    make_hashing_cheap(monkeypatch)
    # Notifications of one call go out one by one: after a minute they would take minutes.
    async with open_desk(tmp_path, migrated, notifies=seconds < 10) as desk:
        await check(desk, seconds)
