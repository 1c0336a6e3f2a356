import asyncio
import random
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from config.schema import Notify
from examples.webhook import verified
from siprec import __version__
from siprec import courier as module
from siprec.courier import AT_ONCE, IN_ALL, PATIENCE, Courier, Standing, backoff_s, sign
from siprec.outbound import Answer, Outbound
from storage.database import Database
from storage.directory import INITIAL, Directory, Entries
from storage.entries import Destination
from storage.outbox import Notification, Outbox
from storage.records import StorageUnavailable
from storage.tables import OUTBOX_SCHEMA
from tests.siprec.receivers import CUT, DRIP, HANG, HUGE, OK, Received, Receiver, receiving, status

ROOT = Path(__file__).parents[2]
NOTIFY = Notify(allow=["127.0.0.0/8"], timeout_s=1, retry_max_s=1)


class Known(Directory):
    """A directory with the destinations it is told of."""

    known = INITIAL

    @property
    def entries(self) -> Entries:
        return self.known

    def know(self, *destinations: Destination) -> None:
        found = {destination.name: destination for destination in destinations}
        self.known = replace(INITIAL, destinations=MappingProxyType(found))


@dataclass(slots=True)
class Desk:
    """A courier at work, and what it works with."""

    courier: Courier
    outbox: Outbox
    directory: Known
    path: Path

    async def empty(self) -> None:
        """Wait until all that was put is delivered or dead."""
        assert await self.courier.drain(30)
        while await self.outbox.count("pending"):
            await asyncio.sleep(0.02)

    def failures(self) -> int:
        """In a row, of the receiver that has most, as the courier counts them."""
        return max((each.failures for each in self.courier._standings.values()), default=0)

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            await asyncio.sleep(0.02)

    async def errors(self, state: str = "dead") -> dict[str, str]:
        found = await self.outbox.find(state, limit=1000)
        return {queued.notification.event_id: queued.error for queued in found}


@asynccontextmanager
async def at_work(folder: Path, notify: Notify = NOTIFY, *names: str) -> AsyncIterator[Desk]:
    """A courier whose directory knows destinations with these names (`crm` and `erp` if none)."""
    path = folder / "outbox.db"
    database = Database(f"sqlite:///{path}", OUTBOX_SCHEMA)
    outbox, directory, outbound = Outbox(database), Known(database), Outbound(notify)
    await database.migrate()
    directory.know(*(destination(name) for name in names or ("crm", "erp")))
    courier = Courier(outbox, directory, notify, outbound)
    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            runner = group.create_task(courier.run(), name="courier")
            yield Desk(courier, outbox, directory, path)
            runner.cancel()
    finally:
        await outbound.close()
        await database.close()


def destination(name: str, **fields: Any) -> Destination:
    return Destination(name, "RECORDING_STARTED_EVENT", "http://127.0.0.1/", **fields)


def told(
    event_id: str, receiver: Receiver, name: str = "crm", lane: str = "call-1", **fields: Any
) -> Notification:
    url = f"{receiver.url}/{name.replace(' ', '-')}/{lane}?id={event_id}"
    return replace(Notification(event_id, name, lane, datetime.now(UTC), "GET", url), **fields)


def event_ids(requests: Iterable[Received]) -> list[str]:
    return [request.headers["x-siprecd-event-id"] for request in requests]


def firsts(requests: Iterable[Received]) -> dict[str, list[str]]:
    """Event ids by path, in the order in which each came for the first time."""
    lanes: dict[str, list[str]] = defaultdict(list)
    for request in requests:
        lane = lanes[request.target.partition("?")[0]]
        if (event_id := request.headers["x-siprecd-event-id"]) not in lane:
            lane.append(event_id)
    return lanes


# what is sent


async def test_what_is_put_arrives_once_with_its_headers(tmp_path: Path) -> None:
    async with receiving() as receiver, at_work(tmp_path) as desk:
        await desk.courier.put([told("e1", receiver)])
        body = '{"ANI":"+49 ä"}'
        post = told("e2", receiver, "policy x", method="POST", body=body)
        await desk.courier.put([post])
        await desk.empty()
    get, post_ = sorted(receiver.requests, key=lambda request: request.method)
    assert (get.method, get.target, get.body) == ("GET", "/crm/call-1?id=e1", b"")
    assert (post_.method, post_.body) == ("POST", body.encode())
    assert post_.headers["content-type"] == "application/json"
    assert get.headers["user-agent"] == f"siprecd/{__version__}"
    assert event_ids([get, post_]) == ["e1", "e2"]
    sent_at = datetime.fromtimestamp(int(get.headers["x-siprecd-timestamp"]), UTC)
    assert abs(sent_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert "x-siprecd-signature" not in get.headers


async def test_what_has_a_secret_is_signed_so_that_a_receiver_can_tell(tmp_path: Path) -> None:
    async with receiving() as receiver, at_work(tmp_path) as desk:
        desk.directory.know(destination("crm", secret="s3crét"))
        await desk.courier.put([told("e1", receiver, url=f"{receiver.url}?a=%2F&b=~#no")])
        await desk.courier.put([told("e2", receiver, method="POST", body='{"a":"ä"}')])
        await desk.empty()
    for request in receiver.requests:
        names = {name.title(): value for name, value in request.headers.items()}
        arguments = request.method, request.target, names, request.body
        assert verified("s3crét", *arguments) is True
        assert verified("other", *arguments) is False
    assert {request.target for request in receiver.requests} == {"/?a=%2F&b=~", "/crm/call-1?id=e2"}


def test_the_signature_is_this_one() -> None:
    assert (
        sign("key", "1700000000", "e1", "POST", "/a?b", b"{}")
        == "v1=9d3607db17fc1da8c325a259344887faf3f1b30e2c0fad65181e2b640c6c2c98"
    )


async def test_a_secret_is_the_one_of_the_moment(tmp_path: Path) -> None:
    async with receiving() as receiver, at_work(tmp_path) as desk:
        await receiver.stop()
        await desk.courier.put([told("e1", receiver)])
        await desk.until(lambda: desk.failures() > 0)
        desk.directory.know(destination("crm", secret="new"))
        await receiver.start()
        await desk.empty()
    assert "x-siprecd-signature" in receiver.requests[-1].headers


# order and numbers


async def test_the_order_of_each_call_is_kept_and_calls_go_side_by_side(tmp_path: Path) -> None:
    chance = random.Random(7)
    script = lambda request: OK if chance.random() < 0.7 else status(503)  # noqa: E731
    async with receiving(script) as receiver, at_work(tmp_path, NOTIFY, "a", "b") as desk:
        for n in range(60):
            lane = f"call-{n % 6}"
            desk.courier.put([told(f"{n:03}-{name}", receiver, name, lane) for name in "ab"])
        await desk.empty()
    lanes = firsts(receiver.requests)
    assert sum(map(len, lanes.values())) == 120
    assert all(lane == sorted(lane) for lane in lanes.values())


class Gate(Outbound):
    """Lets the first four requests to each receiver pass, and holds the others until `open`."""

    def __init__(self, config: Notify) -> None:
        super().__init__(config)
        self.passed, self.held = Counter[str](), Counter[str]()
        self.open = asyncio.Event()

    async def send(self, method: str, url: str, *rest: Any, **options: Any) -> Answer:
        name = url.split("/")[2]
        self.passed[name] += 1
        if self.passed[name] > 4:
            self.held[name] += 1
            await self.open.wait()
        return await super().send(method, url, *rest, **options)


@pytest.mark.parametrize(("count", "at_once"), [(3, 3 * AT_ONCE), (12, IN_ALL)])
async def test_eight_at_a_time_go_to_one_receiver_and_sixty_four_in_all(
    tmp_path: Path, count: int, at_once: int
) -> None:
    async with AsyncExitStack() as stack, at_work(tmp_path) as desk:
        receivers = [await stack.enter_async_context(receiving()) for _ in range(count)]
        desk.courier._outbound = gate = Gate(NOTIFY)
        many = [
            told(f"{n}-{index}", receiver, lane=f"call-{n}")
            for n in range(20)
            for index, receiver in enumerate(receivers)
        ]
        await desk.courier.put(many)
        await desk.until(lambda: gate.held.total() >= at_once)
        await asyncio.sleep(0.2)
        assert gate.held.total() == at_once
        assert max(gate.held.values()) <= AT_ONCE
        gate.open.set()
        await desk.empty()
        await gate.close()
    assert [len(receiver.requests) for receiver in receivers] == [20] * count


# receivers of every temper


@pytest.mark.parametrize("temper", [status(500), status(302), CUT, HANG, "refuses"])
async def test_a_receiver_that_comes_back_gets_everything_in_order_under_the_same_ids(
    tmp_path: Path, temper: bytes | str
) -> None:
    well = False

    def script(request: Received) -> bytes:
        return OK if well or isinstance(temper, str) else temper

    async with receiving(script) as receiver, at_work(tmp_path) as desk:
        if temper == "refuses":
            await receiver.stop()
        for n in range(30):
            await desk.courier.put([told(f"{n:02}", receiver, lane=f"call-{n % 3}")])
        await desk.until(lambda: desk.failures() > PATIENCE)
        assert await desk.outbox.count("pending") == 30
        well = True
        if temper == "refuses":
            await receiver.start()
        await desk.empty()
        assert await desk.outbox.count("dead") == 0
    lanes = firsts(receiver.requests)
    assert sorted(chain.from_iterable(lanes.values())) == [f"{n:02}" for n in range(30)]
    assert all(lane == sorted(lane) for lane in lanes.values())
    assert set(event_ids(receiver.requests)) == {f"{n:02}" for n in range(30)}


async def test_no_redirect_leads_inside(tmp_path: Path) -> None:
    async with receiving() as inside, at_work(tmp_path) as desk:
        moved = status(302, f"Location: {inside.url}/")
        async with receiving(lambda request: moved) as receiver:
            await desk.courier.put([told("e1", receiver)])
            await desk.until(lambda: len(receiver.requests) > 1)
        assert inside.connects == 0
        assert (await desk.errors("pending"))["e1"] in {"status_302", "refused", "reset"}


async def test_success_is_the_status_however_long_the_answer_takes(tmp_path: Path) -> None:
    slow = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx"
    tempers = {"a": HUGE, "b": slow}
    script = lambda request: tempers[request.target[1]]  # noqa: E731
    async with receiving(script) as receiver, at_work(tmp_path, NOTIFY, "a", "b") as desk:
        await desk.courier.put([told("e1", receiver, "a"), told("e2", receiver, "b")])
        await desk.empty()
    assert sorted(event_ids(receiver.requests)) == ["e1", "e2"]


async def test_receivers_that_hang_or_drip_delay_no_other(tmp_path: Path) -> None:
    tempers = [lambda request: HANG, lambda request: DRIP]
    async with (
        AsyncExitStack() as stack,
        receiving() as well,
        at_work(tmp_path, replace_notify(timeout_s=3)) as desk,
    ):
        bad = [await stack.enter_async_context(receiving(tempers[n % 2])) for n in range(40)]
        for n in range(20):
            some = [told(f"{index}-{n}", each, lane=f"call-{n}") for index, each in enumerate(bad)]
            await desk.courier.put(some)
        await desk.until(lambda: sum(len(each.requests) for each in bad) >= 40)
        for n in range(50):
            await desk.courier.put([told(f"good-{n}", well, lane=f"call-{n}")])
        await desk.until(lambda: len(well.requests) == 50)
        assert not any(standing.is_down for standing in desk.courier._standings.values())


def replace_notify(**fields: Any) -> Notify:
    return msgspec.structs.replace(NOTIFY, **fields)


async def test_a_dead_destination_costs_one_request_at_a_time(tmp_path: Path) -> None:
    async with receiving(lambda request: status(500)) as receiver, at_work(tmp_path) as desk:
        with capture_logs() as logs:
            for n in range(200):
                desk.courier.put([told(f"{n}", receiver, lane=f"call-{n}")])
            await desk.until(lambda: desk.failures() > PATIENCE + 2)
            assert len(receiver.requests) <= PATIENCE + 4
            assert receiver.most_open == 1
    assert [(log["event"], log["reason"]) for log in logs] == [("receiver_down", "status_500")]


async def test_one_that_is_never_taken_does_not_hold_up_other_calls(tmp_path: Path) -> None:
    script = lambda request: status(400) if "bad" in request.target else OK  # noqa: E731
    async with receiving(script) as receiver, at_work(tmp_path) as desk:
        await desk.courier.put([told(f"bad-{n}", receiver, lane=f"bad-{n}") for n in range(3)])
        for n in range(100):
            await desk.courier.put([told(f"{n}", receiver, lane=f"call-{n}")])
        while await desk.outbox.count("pending") > 3:
            await asyncio.sleep(0.02)
        assert set(await desk.errors("pending")) == {"bad-0", "bad-1", "bad-2"}


# what is given up


async def test_what_is_too_old_becomes_a_dead_letter_after_one_more_attempt(tmp_path: Path) -> None:
    old = datetime.now(UTC) - timedelta(hours=2)
    notify = replace_notify(give_up_hours=1)
    async with (
        receiving(lambda request: status(500)) as receiver,
        at_work(tmp_path, notify) as desk,
    ):
        await desk.courier.put([told("old", receiver, created_at=old), told("new", receiver)])
        await desk.until(lambda: "new" in event_ids(receiver.requests))
        assert await desk.errors() == {"old": "status_500"}
        assert event_ids(receiver.requests)[:2] == ["old", "new"]


async def test_all_that_waited_too_long_for_a_dead_destination_is_given_up(tmp_path: Path) -> None:
    old = datetime.now(UTC) - timedelta(hours=2)
    async with receiving() as receiver, at_work(tmp_path, replace_notify(give_up_hours=1)) as desk:
        await receiver.stop()
        many = [told(f"{n}", receiver, lane=f"call-{n % 40}", created_at=old) for n in range(200)]
        await desk.courier.put([*many, told("young", receiver)])
        while await desk.outbox.count("dead") < 200:
            await asyncio.sleep(0.02)
        assert desk.failures() < 20
        assert set(await desk.errors("pending")) == {"young"}
        await receiver.start()
        await desk.outbox.replay(datetime.now(UTC))
        await desk.empty()
    assert sum(map(len, firsts(receiver.requests).values())) == 201


async def test_what_may_not_be_sent_is_a_dead_letter_at_once_and_told_once(tmp_path: Path) -> None:
    async with receiving() as receiver, at_work(tmp_path, Notify()) as desk:
        with capture_logs() as logs:
            for n in range(20):
                await desk.courier.put([told(f"{n}", receiver, lane=f"call-{n}")])
            await desk.courier.put([told("port", receiver, url="http://127.0.0.1:22/?ani=+491")])
            await desk.empty()
        assert receiver.connects == 0
        errors = await desk.errors()
    assert errors.pop("port") == "port"
    assert set(errors.values()) == {"address_forbidden"} and len(errors) == 20
    assert [(log["event"], log["reason"]) for log in logs] == [
        ("notification_dead", "address_forbidden"),
        ("notification_dead", "port"),
    ]
    assert "+491" not in str(logs)


async def test_a_url_that_cannot_be_signed_ends_nothing(tmp_path: Path) -> None:
    async with receiving() as receiver, at_work(tmp_path) as desk:
        desk.directory.know(destination("crm", secret="s"))
        await desk.courier.put([told("bad", receiver, url="http://h:99999/"), told("e1", receiver)])
        await desk.empty()
        assert await desk.errors() == {"bad": "port"}
    assert event_ids(receiver.requests) == ["e1"]


async def test_what_is_for_nobody_any_more_is_a_dead_letter(tmp_path: Path) -> None:
    async with receiving() as receiver, at_work(tmp_path) as desk:
        await desk.courier.put([told("e1", receiver, "gone"), told("e2", receiver, "policy x")])
        await desk.empty()
        assert await desk.errors() == {"e1": "destination_removed"}
    assert event_ids(receiver.requests) == ["e2"]


async def test_nothing_is_sent_or_buried_before_the_directory_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.05)
    async with receiving() as receiver, at_work(tmp_path) as desk:
        desk.directory.known = INITIAL
        await desk.courier.put([told("e1", receiver)])
        await asyncio.sleep(0.3)
        assert await desk.outbox.count("pending") == 1
        desk.directory.know(destination("crm"))
        await desk.empty()
    assert event_ids(receiver.requests) == ["e1"]


# what survives


async def test_what_was_left_over_is_sent_after_a_start(tmp_path: Path) -> None:
    async with receiving() as receiver:
        await receiver.stop()
        async with at_work(tmp_path) as desk:
            await desk.courier.put([told(f"e{n}", receiver) for n in range(5)])
        await receiver.start()
        async with at_work(tmp_path) as desk:
            await desk.empty()
    assert event_ids(receiver.requests) == [f"e{n}" for n in range(5)]


async def test_what_another_process_replays_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.05)
    async with receiving() as receiver, at_work(tmp_path) as desk:
        desk.directory.know()
        await desk.courier.put([told("e1", receiver)])
        await desk.empty()
        desk.directory.know(destination("crm"))
        database = Database(f"sqlite:///{desk.path}", OUTBOX_SCHEMA)
        assert await Outbox(database).replay(datetime.now(UTC)) == 1
        await database.close()
        await desk.empty()
    assert event_ids(receiver.requests) == ["e1"]


async def test_a_disk_that_fails_makes_nobody_hear_the_same_again_and_again(
    tmp_path: Path,
) -> None:
    async with receiving() as receiver, at_work(tmp_path) as desk:
        write, failing = desk.outbox.delivered, True

        async def delivered(*sequences: int) -> None:
            if failing:
                raise StorageUnavailable("disk full")
            await write(*sequences)

        desk.outbox.delivered = delivered  # type: ignore[method-assign]
        with capture_logs() as logs:
            await desk.courier.put([told("e1", receiver), told("e2", receiver)])
            await desk.until(lambda: len(logs) > 0)
            await asyncio.sleep(0.3)
            assert event_ids(receiver.requests) == ["e1"]
            failing = False
            await desk.empty()
        assert [log["event"] for log in logs] == ["outbox_unavailable"]
    assert event_ids(receiver.requests) == ["e1", "e2"]


async def test_an_outbox_that_is_locked_holds_up_nobody_and_loses_nothing(tmp_path: Path) -> None:
    async with receiving() as receiver, at_work(tmp_path) as desk:
        await desk.courier.put([told("e0", receiver)])
        await desk.empty()
        with closing(sqlite3.connect(desk.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            puts = [desk.courier.put([told(f"e{n}", receiver)]) for n in range(1, 100)]
            await desk.until(lambda: desk.courier.behind)
        await asyncio.gather(*puts)
        await desk.empty()
    assert event_ids(receiver.requests) == [f"e{n}" for n in range(100)]


async def test_a_long_queue_costs_no_memory(tmp_path: Path) -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    async with receiving() as receiver, at_work(tmp_path) as desk:
        await receiver.stop()
        await desk.courier.put([told("warm", receiver)])
        await desk.until(lambda: bool(desk.courier._standings))
        before, most_tasks = resident_bytes(), 0
        for n in range(20_000):
            desk.courier.put([told(f"e{n}", receiver, lane=f"call-{n // 3}", body="x" * 1000)])
            if n % 500 == 0:
                await desk.courier.drain(10)
                most_tasks = max(most_tasks, len(asyncio.all_tasks()))
        assert await desk.courier.drain(30)
        assert await desk.outbox.count("pending") == 20_001
        assert most_tasks < 20
        assert resident_bytes() - before < 16 * 1024 * 1024


async def test_what_was_queued_survives_being_killed(tmp_path: Path) -> None:
    chance, queued, first = random.Random(9), set[str](), 0
    script = lambda request: OK if chance.random() < 0.95 else status(500)  # noqa: E731
    async with asyncio.timeout(60), receiving(script) as receiver:
        for kill_after in (3, 20, 11, 0):
            words = [str(tmp_path / "outbox.db"), receiver.url, str(first), "40"]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.siprec.courier_process", *words),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout
            async for line in process.stdout:
                if line == b"done\n":
                    break
                queued.add(line.decode().strip())
                if kill_after and int(line) >= first + kill_after:
                    break
            process.kill()
            rest = await process.stdout.read()
            await process.wait()
            queued |= {*rest.decode().split()} - {"done"}
            first += 40
    lanes = firsts(receiver.requests)
    arrived = set(event_ids(receiver.requests))
    assert len(queued) >= 3 + 20 + 11 + 40
    assert queued <= arrived
    assert all(lane == sorted(lane) for lane in lanes.values())


# what is known of a destination


def test_back_off_doubles_up_to_the_longest_with_jitter() -> None:
    for failures, most in ((1, 0.2), (2, 0.4), (3, 0.8), (9, 51.2), (10, 60), (10_000, 60)):
        pauses = [backoff_s(failures, 60) for _ in range(200)]
        assert most / 2 <= min(pauses) and max(pauses) <= most
        assert max(pauses) - min(pauses) > most / 4


def test_a_destination_earns_room_by_answering() -> None:
    standing = Standing()
    rooms = []
    for _ in range(5):
        rooms.append(standing.room(0))
        standing.succeeded()
    assert rooms == [1, 2, 4, 8, 8]
    standing.requests = 3
    assert standing.room(0) == 5
    standing.failed(1, 2, 60)
    assert standing.room(2) == 0
    standing.requests = 0
    assert standing.room(2) == 1 and not standing.is_down


def test_requests_under_way_together_fail_as_one() -> None:
    standing = Standing()
    for _ in range(8):
        standing.failed(began=1.0, now=5.0, longest_s=60)
    assert standing.failures == 1
    standing.failed(began=5.0, now=6.0, longest_s=60)
    assert standing.failures == 2


def test_a_destination_rests_longer_and_longer_until_it_answers() -> None:
    standing, now = Standing(), 0.0
    rests = []
    for _ in range(PATIENCE + 12):
        assert standing.room(now) == 1
        standing.failed(now, now + 0.1, 60)
        rests.append(max(0.0, standing.rest_until - now - 0.1))
        assert standing.room(now + 0.1) == (0 if rests[-1] else 1)
        now = max(now + 0.1, standing.rest_until)
    assert rests[: PATIENCE - 1] == [0, 0]
    assert 0.1 <= rests[PATIENCE - 1] <= 0.2
    assert 30 <= rests[-1] <= 60
    standing.succeeded()
    assert standing.room(now) == 2 and not standing.is_down
