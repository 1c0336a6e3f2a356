"""What the directory says decides over live calls, and over who sees them."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from examples.sip import Agent
from examples.src import RecordingClient
from tests.e2e.srs import Json, Srs
from tests.e2e.test_pause import FRAMES, heard

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIRECTORY = """
[[accounts]]
number = 100
name = "Contact centre"
pause_fill = "cut"

[[accounts]]
number = 200
name = "Back office"

[[routes]]
id = 10
account = 100
match = "to"
pattern = "sales%"

[[routes]]
id = 11
account = 100
match = "to"
pattern = "%@demand.example"
record = "on_demand"
prebuffer_s = 20

[[routes]]
id = 12
account = 100
match = "from"
pattern = "doctor"
record = "never"
priority = 9

[[routes]]
id = 20
account = 200
match = "from_or_to"
pattern = "back-office%"

[[routes]]
id = 21
account = 200
match = "to"
pattern = "lottery"
percent = 50

[[users]]
email = "pay@shop.example"
account = 100
type = "api"
"""
SECRET = "correct horse battery"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def srs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Srs]:
    """A recorder with a directory, keys of two accounts, and a user of the first."""
    folder = tmp_path_factory.mktemp("srs")
    (folder / "directory.toml").write_text(DIRECTORY)
    recorder = Srs(folder, SRS_ROUTE_SEED="seed")
    await recorder.command("directory", "apply", "directory.toml")
    await recorder.command("user", "password", "pay@shop.example", stdin=SECRET + "\n")
    async with recorder:
        yield recorder


async def status(srs: Srs, method: str, path: str, key: str | None = None, **options: Json) -> int:
    async with srs.request(method, path, key, **options) as answer:
        return answer.status


async def key_of(srs: Srs, account: int, role: str = "admin") -> str:
    words = ("apikey", "add", f"{role} {account} {id(object())}", "--role", role)
    printed = await srs.command(*words, "--account", str(account))
    return printed.split()[-1]


@asynccontextmanager
async def calling(srs: Srs, caller: str, called: str) -> AsyncIterator[RecordingClient]:
    """A call that is up, with numbered frames."""
    parties = ((f"sip:{caller}", "A"), (f"sip:{called}", "B"))
    async with (
        Agent(srs.udp) as agent,
        RecordingClient(agent, [FRAMES, FRAMES], parties=parties) as call,
    ):
        await call.invite()
        yield call
        await call.bye()


@pytest.mark.parametrize(
    ("caller", "called", "expected"),
    [
        ("ann@a.example", "nobody@b.example", (1, 1, "always", "recording")),
        ("ann@a.example", "sales-3@b.example", (100, 10, "always", "recording")),
        ("ann@a.example", "bob@demand.example", (100, 11, "on_demand", "idle")),
        ("doctor@a.example", "sales-3@b.example", (100, 12, "never", "idle")),
        ("back-office-1@a.example", "x@b.example", (200, 20, "always", "recording")),
        ("x@a.example", "back-office-1@b.example", (200, 20, "always", "recording")),
    ],
)
async def test_the_route_decides_whose_a_call_is_and_whether_it_is_recorded(
    srs: Srs, caller: str, called: str, expected: tuple[int, int, str, str]
) -> None:
    async with calling(srs, caller, called) as call:
        session = await srs.session(call.call_id)
        found = tuple(session[name] for name in ("account", "route", "record", "state"))
        assert found == expected
        users = tuple(address.partition("@")[0] for address in (caller, called))
        assert (session["ani"], session["dnis"]) == users


async def test_a_share_of_the_calls_is_recorded_as_drawn(srs: Srs) -> None:
    states: list[str] = []
    for _ in range(16):
        async with calling(srs, "x@a.example", "lottery@b.example") as call:
            states.append((await srs.session(call.call_id))["state"])
    assert set(states) == {"idle", "recording"}, states


async def test_a_start_includes_what_was_just_said_when_asked(srs: Srs) -> None:
    async with calling(srs, "ann@a.example", "bob@demand.example") as call:
        sent = await call.play(1.5)
        session = await srs.session(call.call_id)
        assert session["recording_id"] is None and session["prebuffer_ms"] == 20_000
        started = await srs.control(session["id"], "start", prebuffer=True)
        sent += await call.play(1.0)
    recording = await srs.recording(call.call_id)
    assert recording["id"] == started["recording_id"]
    assert (recording["account"], recording["route"]) == (100, 11)
    channels = await srs.channels(recording["id"])
    expected = [FRAMES.index(packet.payload) for packet in sent if packet.stream == 0]
    assert heard(channels[:, 0]) == expected
    assert heard(channels[:, 1]) == expected


async def test_a_start_without_asking_includes_nothing_of_before(srs: Srs) -> None:
    async with calling(srs, "ann@a.example", "bob@demand.example") as call:
        before = await call.play(1.0)
        session = await srs.session(call.call_id)
        await srs.control(session["id"], "start")
        after = await call.play(1.0)
    recording = await srs.recording(call.call_id)
    numbers = heard((await srs.channels(recording["id"]))[:, 0])
    assert set(numbers) <= {FRAMES.index(packet.payload) for packet in after}
    assert not set(numbers) & {FRAMES.index(packet.payload) for packet in before}
    assert len(numbers) > 40


async def test_a_call_never_started_leaves_nothing(srs: Srs) -> None:
    async with calling(srs, "ann@a.example", "bob@demand.example") as call:
        await call.play(0.3)
    async with calling(srs, "doctor@a.example", "sales@b.example") as never:
        await never.play(0.3)
        session = await srs.session(never.call_id)
        answer = await status(srs, "POST", f"sessions/{session['id']}/start", json={})
        assert answer == 409
    for call_id in (call.call_id, never.call_id):
        assert (await srs.get(f"recordings?call_id={call_id}"))["items"] == []


async def test_a_pause_leaves_what_the_account_says(srs: Srs) -> None:
    async with calling(srs, "ann@a.example", "sales@b.example") as call:
        await call.play(0.5)
        session = await srs.session(call.call_id)
        paused = await srs.control(session["id"], "pause")
        assert paused["pauses"][0]["fill"] == "cut"
        await call.play(0.5)
        await srs.control(session["id"], "resume")
        await call.play(0.5)
    recording = await srs.recording(call.call_id)
    assert 900 <= recording["duration_ms"] <= 1_400


async def test_an_account_sees_its_own_calls_only(srs: Srs) -> None:
    ours, theirs = await key_of(srs, 100), await key_of(srs, 200)
    async with calling(srs, "ann@a.example", "sales@b.example") as call:
        session = await srs.session(call.call_id)
        path = f"sessions/{session['id']}"
        assert await status(srs, "GET", path, ours) == 200
        assert await status(srs, "GET", path, theirs) == 404
        for verb in ("start", "pause", "resume", "stop", "split", "mark"):
            assert await status(srs, "POST", f"{path}/{verb}", theirs, json={}) == 404
        for key, count in ((ours, 1), (theirs, 0)):
            async with srs.request("GET", f"sessions?call_id={call.call_id}", key) as answer:
                assert len((await answer.json())["items"]) == count
        await call.play(0.2)
        assert (await srs.session(call.call_id))["state"] == "recording"
    recording = await srs.recording(call.call_id)
    path = f"recordings/{recording['id']}"
    for suffix in ("", "/media", "/peaks"):
        assert await status(srs, "GET", path + suffix, ours) == 200
        assert await status(srs, "GET", path + suffix, theirs) == 404
    assert await status(srs, "POST", path, theirs, json={"note": "x"}) == 404
    assert await status(srs, "DELETE", path, theirs) == 404
    for key, count in ((ours, 1), (theirs, 0)):
        async with srs.request("GET", f"recordings?call_id={call.call_id}", key) as answer:
            assert len((await answer.json())["items"]) == count


async def test_a_lock_stops_logins_and_not_a_pause(srs: Srs) -> None:
    """Somebody who fails to log in again and again cannot keep card numbers in the recording."""
    login = {"email": "pay@shop.example", "password": SECRET}
    async with srs.request("POST", "login", "", json=login) as answer:
        assert answer.status == 200, await answer.text()
        token = (await answer.json())["token"]
    for _ in range(10):
        wrong = login | {"password": "wrong horse battery"}
        assert await status(srs, "POST", "login", "", json=wrong) == 401
    assert await status(srs, "POST", "login", "", json=login) == 401
    async with calling(srs, "ann@a.example", "sales@b.example") as call:
        await call.play(0.3)
        session = await srs.session(call.call_id)
        path = f"sessions/{session['id']}/pause"
        assert await status(srs, "POST", path, token, json={}) == 200
        assert (await srs.session(call.call_id))["state"] == "paused"


async def crowd(srs: Srs, calls: int) -> list[str]:
    """Calls of one packet each, twenty at a time; their Call-IDs."""
    slots = asyncio.Semaphore(20)

    async def one() -> str:
        async with slots, calling(srs, "ann@a.example", "sales@b.example") as call:
            await call.play(0.06)
            return call.call_id

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(), name=f"call {n}") for n in range(calls)]
    return [task.result() for task in tasks]


@pytest.mark.slow
async def test_no_call_waits_for_a_locked_database_and_none_is_missing_after(folder: Path) -> None:
    """Another process holds the lock for 30 seconds; 200 calls come and go."""
    async with Srs(folder) as srs:
        other = sqlite3.connect(folder / "data" / "siprecd.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        clock = asyncio.get_running_loop().time
        until = clock() + 30
        calls = await crowd(srs, 200)
        assert clock() < until, "the calls waited for the database"
        await asyncio.sleep(until - clock())
        other.rollback()
        other.close()
        unlocked = clock()
        while True:
            found = (await srs.get("recordings?limit=1000"))["items"]
            if {row["call_id"] for row in found} >= set(calls):
                break
            assert clock() < unlocked + 5, f"{len(found)} of {len(calls)} rows"
            await asyncio.sleep(0.1)


async def test_a_start_without_its_database_still_pauses(folder: Path) -> None:
    """The payment page has its key, the directory is that of last time."""
    (folder / "directory.toml").write_text(DIRECTORY)
    srs = Srs(folder)
    await srs.command("directory", "apply", "directory.toml")
    async with srs:
        await srs.stop()
        books = folder / "data" / "siprecd.db"
        books.rename(folder / "away.db")
        books.mkdir()
        await srs.start()
        async with calling(srs, "ann@a.example", "sales@b.example") as call:
            await call.play(0.3)
            session = await srs.session(call.call_id)
            assert (session["account"], session["state"]) == (100, "recording")
            assert (await srs.control(session["id"], "pause"))["state"] == "paused"
            await call.play(0.2)
        books.rmdir()
        (folder / "away.db").rename(books)
        assert (await srs.recording(call.call_id))["status"] == "complete"
