import asyncio
import random
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite as sqlite_dialect

from storage import outbox as module
from storage.database import Database
from storage.outbox import LONGEST_WAIT, Notification, Outbox, Queued
from storage.records import StorageError, StorageUnavailable
from storage.tables import OUTBOX_SCHEMA

T0 = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def told(event_id: str, destination: str = "crm", lane: str = "call-1", **f: Any) -> Notification:
    """A notification for a receiver that bears the name of its destination, unless it has a URL."""
    url = f"http://{destination.replace(' ', '-')}/"
    return replace(Notification(event_id, destination, lane, T0, "GET", url), **f)


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    database = Database(f"sqlite:///{tmp_path}/outbox.db", OUTBOX_SCHEMA)
    yield Outbox(database)
    await database.close()


def names(found: list[Queued]) -> list[str]:
    return [queued.notification.event_id for queued in found]


async def due(outbox: Outbox, now: datetime = T0, limit: int = 100, **options: Any) -> list[str]:
    return names(await outbox.due(now, limit, **options))


async def sequence(outbox: Outbox, event_id: str) -> int:
    found = await outbox.find(limit=1000)
    return next(each.sequence for each in found if each.notification.event_id == event_id)


async def test_what_is_put_is_found_again_as_it_was(outbox: Outbox) -> None:
    first = told("e1", method="POST", body='{"a":"ä"}', account=7, url="http://h/?x=%20")
    second = told("e2", "policy screens", "call ü")
    await outbox.put([first, second])
    await outbox.put([])
    found = await outbox.find()
    assert [queued.notification for queued in found] == [first, second]
    assert found[0] == Queued(found[0].sequence, first, "pending", 0, T0, "")
    assert found[0].sequence < found[1].sequence


async def test_what_is_put_outlives_the_process(outbox: Outbox, tmp_path: Path) -> None:
    await outbox.put([told("e1")])
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as other:
        assert other.execute("SELECT event_id FROM outbox").fetchall() == [("e1",)]


async def test_a_put_is_all_or_nothing(outbox: Outbox) -> None:
    with pytest.raises(StorageError):
        await outbox.put([told("e1"), told("e2", lane="\ud800")])
    assert await outbox.find() == []


async def test_only_the_first_of_each_receiver_and_lane_is_due(outbox: Outbox) -> None:
    await outbox.put([told("a1"), told("a2"), told("b1", lane="call-2"), told("c1", "erp")])
    await outbox.put([told("a3"), told("b2", lane="call-2"), told("d1", "erp", "call-2")])
    assert await due(outbox) == ["a1", "b1", "c1", "d1"]


async def test_the_next_of_a_lane_gets_its_turn_when_one_is_delivered_or_dead(
    outbox: Outbox,
) -> None:
    await outbox.put([told(f"a{n}") for n in range(4)])
    await outbox.delivered(await sequence(outbox, "a0"))
    assert await due(outbox) == ["a1"]
    await outbox.bury(await sequence(outbox, "a1"), "refused")
    assert await due(outbox) == ["a2"]
    await outbox.delivered(await sequence(outbox, "a2"), await sequence(outbox, "a3"))
    assert await due(outbox) == []
    await outbox.put([told("a4")])
    assert await due(outbox) == ["a4"]


async def test_a_failed_one_waits_and_those_behind_it_wait_with_it(outbox: Outbox) -> None:
    await outbox.put([told("a1"), told("a2"), told("b1", lane="call-2")])
    await outbox.retry(await sequence(outbox, "a1"), T0 + 9 * SECOND, "refused")
    assert await due(outbox) == ["b1"]
    assert await due(outbox, T0 + 8 * SECOND) == ["b1"]
    assert await outbox.next_at(T0) == T0 + 9 * SECOND
    assert await due(outbox, T0 + 9 * SECOND) == ["b1", "a1"]
    failed = (await outbox.find())[0]
    assert (failed.state, failed.attempts, failed.error) == ("pending", 1, "refused")
    assert failed.next_at == T0 + 9 * SECOND


async def test_nothing_waits_for_ever_because_the_clock_was_set_back(outbox: Outbox) -> None:
    await outbox.put([told("e1", created_at=T0 + timedelta(days=365))])
    assert await due(outbox, T0) == ["e1"]
    await outbox.retry(await sequence(outbox, "e1"), T0 + LONGEST_WAIT, "refused")
    assert await due(outbox, T0) == []
    assert await due(outbox, T0 - SECOND) == ["e1"]


async def test_the_longest_due_come_first(outbox: Outbox) -> None:
    for n in (3, 1, 2):
        await outbox.put([told(f"e{n}", f"d{n}", created_at=T0 + n * SECOND)])
    assert await due(outbox, T0 + 5 * SECOND) == ["e1", "e2", "e3"]
    assert await due(outbox, T0 + 5 * SECOND, limit=2) == ["e1", "e2"]
    assert await due(outbox, T0 + 2 * SECOND) == ["e1", "e2"]


async def test_what_one_receiver_is_told_of_a_call_is_in_order_whatever_it_is(
    outbox: Outbox,
) -> None:
    """Started and paused are two destinations, and where they go is one receiver."""
    urls = ("https://H.example:8443/a?x", "https://h.example:8443#b", "https://h.example/c")
    for number, url in enumerate(urls):
        await outbox.put([told(f"e{number}", f"d{number}", url=url)])
    assert await due(outbox) == ["e0", "e2"]
    await outbox.delivered(await sequence(outbox, "e0"))
    assert await due(outbox) == ["e1", "e2"]


async def test_busy_lanes_and_resting_receivers_are_left_out(outbox: Outbox) -> None:
    lanes = [told(f"{name}{n}", name, f"call-{n}") for name in "abc" for n in range(3)]
    await outbox.put(lanes)
    busy = [("http://a", "call-0"), ("http://b", "call-2")]
    assert await due(outbox, busy=busy, resting=["http://c"]) == [
        "a1",
        "a2",
        "b0",
        "b1",
    ]
    resting = ["http://a", "http://b", "http://c", "http://x"]
    assert await due(outbox, busy=[("http://x", "call-0")], resting=resting) == []


async def test_one_receiver_does_not_crowd_out_others(outbox: Outbox) -> None:
    await outbox.put([told(f"a{n}", "a", f"call-{n}") for n in range(50)])
    await outbox.put([told("b0", "b")])
    assert await due(outbox, limit=4, each=3) == ["a0", "a1", "a2", "b0"]


async def test_when_the_next_may_be_tried(outbox: Outbox) -> None:
    assert await outbox.next_at(T0) is None
    await outbox.put([told(f"e{n}", f"d{n}") for n in range(4)])
    assert await outbox.next_at(T0) is None
    for n in (3, 1, 2):
        await outbox.retry(await sequence(outbox, f"e{n}"), T0 + n * SECOND, "x")
    assert await outbox.next_at(T0) == T0 + SECOND
    assert await outbox.next_at(T0 + SECOND) == T0 + 2 * SECOND


async def test_what_has_waited_too_long_for_a_receiver_is_given_up(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    old = [told(f"o{n}", "a", f"call-{n % 4}") for n in range(10)]
    new = [told(f"n{n}", "a", f"call-{n % 4}", created_at=T0 + 5 * SECOND) for n in range(4)]
    await outbox.put([*old, *new, told("b", "b")])
    await outbox.retry(await sequence(outbox, "o1"), T0 + 9 * SECOND, "x")
    assert await outbox.expire("http://a", T0 + SECOND, "timeout") == 7
    dead = await outbox.find("dead")
    assert names(dead) == ["o0", "o2", "o3", "o4", "o6", "o7", "o8"]
    assert {(each.state, each.error) for each in dead} == {("dead", "timeout")}
    assert await due(outbox, T0 + 9 * SECOND) == ["b", "n0", "n2", "n3", "o1"]
    assert await outbox.expire("http://a", T0 + SECOND, "timeout") == 0


async def test_dead_letters_come_back_in_their_places(outbox: Outbox) -> None:
    await outbox.put([told(f"a{n}") for n in range(4)])
    for name in ("a0", "a1"):
        await outbox.bury(await sequence(outbox, name), "refused")
    await outbox.retry(await sequence(outbox, "a2"), T0 + 9 * SECOND, "refused")
    assert await outbox.replay(T0 + SECOND) == 2
    assert await outbox.count("dead") == 0
    assert await due(outbox, T0) == []
    assert await due(outbox, T0 + SECOND) == ["a0"]
    found = (await outbox.find())[0]
    assert (found.state, found.attempts, found.next_at) == ("pending", 0, T0 + SECOND)
    for name in ("a0", "a1"):
        assert await due(outbox, T0 + 9 * SECOND) == [name]
        await outbox.delivered(await sequence(outbox, name))
    assert await due(outbox, T0 + 8 * SECOND) == []
    assert await due(outbox, T0 + 9 * SECOND) == ["a2"]


async def test_one_under_way_may_be_overtaken_by_a_dead_letter_and_still_end(
    outbox: Outbox,
) -> None:
    await outbox.put([told("a0"), told("a1"), told("a2")])
    await outbox.bury(await sequence(outbox, "a0"), "refused")
    under_way = await sequence(outbox, "a1")
    await outbox.replay(T0)
    await outbox.delivered(under_way)
    assert await due(outbox) == ["a0"]
    await outbox.delivered(await sequence(outbox, "a0"))
    assert await due(outbox) == ["a2"]


async def test_chosen_dead_letters_are_replayed_and_only_of_ones_own_accounts(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    await outbox.put([told(f"e{n}", f"d{n}", account=n % 2) for n in range(12)])
    numbers = {each.notification.event_id: each.sequence for each in await outbox.find()}
    for name in [*numbers][:10]:
        await outbox.bury(numbers[name], "refused")
    one = frozenset({1})
    assert await outbox.replay(T0, [numbers["e0"]], one) == 0
    assert await outbox.replay(T0, [numbers["e1"], numbers["e11"], 999], one) == 1
    assert await outbox.replay(T0, [numbers["e1"]]) == 0
    assert await outbox.replay(T0, []) == 0
    assert await outbox.replay(T0, None, one) == 4
    assert names(await outbox.find("dead")) == ["e0", "e2", "e4", "e6", "e8"]
    assert await outbox.replay(T0) == 5
    assert len(await due(outbox)) == 12


async def test_finding_by_state_account_and_place(outbox: Outbox) -> None:
    await outbox.put([told(f"e{n}", account=1 + n % 2) for n in range(6)])
    await outbox.bury(await sequence(outbox, "e2"), "x")
    assert names(await outbox.find("dead")) == ["e2"]
    assert names(await outbox.find("pending")) == ["e0", "e1", "e3", "e4", "e5"]
    assert names(await outbox.find(accounts=frozenset({1}))) == ["e0", "e2", "e4"]
    assert names(await outbox.find("pending", frozenset({1}))) == ["e0", "e4"]
    assert names(await outbox.find(accounts=frozenset())) == []
    first = await outbox.find(limit=2)
    assert names(first) == ["e0", "e1"]
    assert names(await outbox.find(after=first[-1].sequence, limit=3)) == ["e2", "e3", "e4"]


async def test_counting_and_the_age_of_the_queue(outbox: Outbox) -> None:
    assert (await outbox.count("pending"), await outbox.oldest()) == (0, None)
    await outbox.put([told(f"e{n}", created_at=T0 + n * SECOND) for n in range(3)])
    await outbox.put([told("f", "erp", created_at=T0 + 9 * SECOND)])
    await outbox.bury(await sequence(outbox, "e0"), "x")
    assert (await outbox.count("pending"), await outbox.count("dead")) == (3, 1)
    assert await outbox.oldest() == T0 + SECOND


async def test_numbers_are_never_given_again(outbox: Outbox) -> None:
    await outbox.put([told("e1")])
    first = await sequence(outbox, "e1")
    await outbox.delivered(first)
    await outbox.put([told("e2")])
    assert await sequence(outbox, "e2") > first


async def test_a_locked_file_is_an_outage_and_nothing_else(outbox: Outbox, tmp_path: Path) -> None:
    await outbox.put([told("e1")])
    with closing(sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageUnavailable):
            await outbox.put([told("e2")])
    await outbox.put([told("e3")])
    assert names(await outbox.find()) == ["e1", "e3"]


async def test_whatever_happens_each_lane_keeps_its_order_and_nothing_is_lost(
    outbox: Outbox,
) -> None:
    """A random life of the queue against a model of it: lists of event ids by lane."""
    chance = random.Random(20261122)
    model: dict[tuple[str, str], list[int]] = defaultdict(list)
    dead: set[int] = set()
    made: dict[int, int] = {}
    for step in range(400):
        action = chance.choice(["put", "put", "deliver", "bury", "retry", "replay"])
        ready = await outbox.due(T0, 100, each=100)
        firsts = {lane[0] for lane in (pending(lane, dead) for lane in model.values()) if lane}
        assert {made[each.sequence] for each in ready} == firsts
        if action == "put":
            batch = [
                told(str(step * 10 + n), chance.choice("ab"), chance.choice("xyz"))
                for n in range(chance.randint(1, 4))
            ]
            await outbox.put(batch)
            for each in batch:
                model[each.destination, each.lane].append(int(each.event_id))
            made |= {q.sequence: int(q.notification.event_id) for q in await outbox.find(limit=999)}
        elif action == "replay":
            chosen = [number for number, event in made.items() if event in dead][:2]
            assert await outbox.replay(T0, chosen) == len(chosen)
            dead -= {made[number] for number in chosen}
        elif ready:
            one = chance.choice(ready)
            lane = model[one.notification.destination, one.notification.lane]
            if action == "deliver":
                await outbox.delivered(one.sequence)
                lane.remove(made[one.sequence])
            elif action == "bury":
                await outbox.bury(one.sequence, "x")
                dead.add(made[one.sequence])
            else:
                await outbox.retry(one.sequence, T0, "x")
    left = sorted(event for lane in model.values() for event in lane)
    assert sorted(int(name) for name in names(await outbox.find(limit=10_000))) == left


def pending(lane: list[int], dead: set[int]) -> list[int]:
    return [event for event in lane if event not in dead]


async def test_two_nodes_worth_of_writers_do_not_mix_up_a_lane(outbox: Outbox) -> None:
    await asyncio.gather(*(outbox.put([told(f"e{n}")]) for n in range(20)))
    found = names(await outbox.find())
    order: list[str] = []
    while first := await outbox.due(T0, 10):
        order += names(first)
        await outbox.delivered(first[0].sequence)
    assert order == found and len(found) == 20


async def test_what_is_due_is_found_without_reading_the_queue(
    outbox: Outbox, tmp_path: Path
) -> None:
    await outbox.put([told("e1")])
    query = module._due(T0, 64, [("a", "b")], ["c"], 8)
    options = {"literal_binds": True, "render_postcompile": True}
    text = str(query.compile(dialect=sqlite_dialect.dialect(), compile_kwargs=options))
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as other:
        steps = [row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {text}")]
    assert not [step for step in steps if step.startswith(("SCAN outbox", "SCAN row"))]
