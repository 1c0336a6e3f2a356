"""The screen recorder is told what to do, and says which session it is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from config.schema import Notify, Screen
from siprec import screen
from siprec.outbound import Outbound
from siprec.screen import HttpTemplateDriver, NoScreenRecorder, ScreenRefused, Screens
from storage.directory import INITIAL, Directory
from storage.entries import ScreenAgent

IP = "10.0.0.11"
UCID = "fbd5&715a@1.2.3.5/ü"


@dataclass
class ScreenRecorder:
    """A screen recorder behind a real HTTP server."""

    url: str = ""
    status: int = 200
    body: bytes = b'{"sessionId":"S-1","nested":{"deep":{"id":7}}}'
    hangs: bool = False
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and query of each request."""

    async def receive(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path, dict(request.query)))
        if self.hangs:
            await asyncio.sleep(60)
        headers = {"Location": "/elsewhere"} if 300 <= self.status < 400 else {}
        return web.Response(status=self.status, body=self.body, headers=headers)


@pytest.fixture
async def there() -> AsyncIterator[ScreenRecorder]:
    made, app = ScreenRecorder(), web.Application()
    app.router.add_route("*", "/{tail:.*}", made.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    made = Outbound(Notify(allow=["127.0.0.0/8"], timeout_s=1))
    yield made
    await made.close()


def driver(there: ScreenRecorder, outbound: Outbound, **changes: Any) -> HttpTemplateDriver:
    config = {
        "start_url": f"{there.url}/start?screen={{ip}}&call={{isr_id}}",
        "stop_url": f"{there.url}/screens/{{ip}}/stop?call={{isr_id}}",
    }
    return HttpTemplateDriver(Screen(**{**config, **changes}), outbound)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_screen_is_started_and_stopped_by_one_request_each(
    there: ScreenRecorder, outbound: Outbound, method: str
) -> None:
    screens = driver(there, outbound, method=method)
    assert await screens.start(IP, UCID) == "S-1"
    await screens.stop(IP, UCID)
    assert there.asked == [
        (method, "/start", {"screen": IP, "call": UCID}),
        (method, f"/screens/{IP}/stop", {"call": UCID}),
    ]


async def test_the_screen_itself_can_be_asked(there: ScreenRecorder, outbound: Outbound) -> None:
    url = there.url.replace("127.0.0.1", "{ip}") + "/start"
    assert await driver(there, outbound, start_url=url).start("127.0.0.1", UCID) == "S-1"


@pytest.mark.parametrize(
    ("place", "body", "session_id"),
    [
        ("$.sessionId", b'{"sessionId":"a b"}', "a b"),
        ("$.nested.deep.id", b'{"nested":{"deep":{"id":7}}}', "7"),
        ("$", b'"plain"', "plain"),
        ("", b" text\r\n", "text"),
    ],
)
async def test_the_session_is_found_where_the_configuration_says(
    there: ScreenRecorder, outbound: Outbound, place: str, body: bytes, session_id: str
) -> None:
    there.body = body
    assert await driver(there, outbound, session_id=place).start(IP, UCID) == session_id


@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("$.sessionId", b""),
        ("$.sessionId", b"<html>"),
        ("$.sessionId", b"\xff\xfe"),
        ("$.sessionId", b"[" * 50_000),
        ("$.sessionId", b"{}"),
        ("$.sessionId", b"[1]"),
        ("$.sessionId", b'{"sessionId":null}'),
        ("$.sessionId", b'{"sessionId":""}'),
        ("$.sessionId", b'{"sessionId":["x"]}'),
        ("$.sessionId", b'{"sessionId":"a\\r\\nX: y"}'),
        ("$.sessionId", b'{"sessionId":"\\ud800"}'),
        ("$.sessionId.deeper", b'{"sessionId":"x"}'),
        ("", b""),
        ("", b"\xff"),
        ("", b"x" * 256),
        ("", b"line\nline"),
    ],
)
async def test_an_answer_without_a_session_is_a_refusal(
    there: ScreenRecorder, outbound: Outbound, place: str, body: bytes
) -> None:
    there.body = body
    with pytest.raises(ScreenRefused, match="named no session"):
        await driver(there, outbound, session_id=place).start(IP, UCID)


@pytest.mark.parametrize("status", [302, 401, 404, 500, 503])
async def test_what_is_not_done_is_refused(
    there: ScreenRecorder, outbound: Outbound, status: int
) -> None:
    there.status, there.body = status, b'{"sessionId":"secret"}'
    for ask in (driver(there, outbound).start, driver(there, outbound).stop):
        with pytest.raises(ScreenRefused, match=f"answered {status}$"):
            await ask(IP, UCID)
    assert len(there.asked) == 2


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9/{isr_id}", "http://{isr_id}/", "/start"])
async def test_who_cannot_be_asked_refuses_and_the_call_stays_unnamed(
    there: ScreenRecorder, outbound: Outbound, url: str
) -> None:
    with pytest.raises(ScreenRefused, match="cannot be asked") as refusal:
        await driver(there, outbound, stop_url=url).stop(IP, "4711")
    assert "4711" not in str(refusal.value)


async def test_who_hangs_refuses_in_time(there: ScreenRecorder, outbound: Outbound) -> None:
    there.hangs = True
    async with asyncio.timeout(20):
        with pytest.raises(ScreenRefused, match="cannot be asked"):
            await driver(there, outbound).start(IP, UCID)


async def test_a_screen_recorder_within_is_asked_only_if_that_is_allowed(
    there: ScreenRecorder,
) -> None:
    outbound = Outbound(Notify())
    with pytest.raises(ScreenRefused, match="cannot be asked"):
        await driver(there, outbound).start(IP, UCID)
    await outbound.close()
    assert there.asked == []


class Slow:
    """A driver that waits until it may go on, and says what it was asked in which order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.fails = False

    async def start(self, ip: str, isr_id: str) -> str:
        await self.go.wait()
        self.asked.append(("start", ip, isr_id))
        if self.fails:
            raise ScreenRefused("no")
        return f"session of {isr_id}"

    async def stop(self, ip: str, isr_id: str) -> None:
        self.asked.append(("stop", ip, isr_id))
        if self.fails:
            raise ScreenRefused("no")


AGENTS = {"6789": ScreenAgent("6789", IP), "broken": ScreenAgent("broken", "desk.example")}
DIRECTORY = cast("Directory", SimpleNamespace(entries=replace(INITIAL, screen_agents=AGENTS)))


async def test_an_agent_is_looked_up_and_a_stated_address_wins() -> None:
    slow = Slow()
    screens = Screens(slow, DIRECTORY)
    assert await screens.start("u1", "6789") == "session of u1"
    assert await screens.start("u2", "6789", "2001:DB8::0:1") == "session of u2"
    assert await screens.stop("6789", "2001:db8::1") == "session of u2"
    assert await screens.stop("6789") == "session of u1"
    assert slow.asked == [
        ("start", IP, "u1"),
        ("start", "2001:db8::1", "u2"),
        ("stop", "2001:db8::1", "u2"),
        ("stop", IP, "u1"),
    ]


@pytest.mark.parametrize(
    ("agent_id", "screen_ip"),
    [("", ""), ("nobody", ""), ("broken", ""), ("6789", "desk.example"), ("", "1.2.3.4.11")],
)
async def test_a_screen_nobody_knows_is_refused(agent_id: str, screen_ip: str) -> None:
    slow = Slow()
    screens = Screens(slow, DIRECTORY)
    with pytest.raises(ScreenRefused):
        await screens.start("u", agent_id, screen_ip)
    with pytest.raises(ScreenRefused):
        await screens.stop(agent_id, screen_ip)
    assert slow.asked == []


async def test_without_a_screen_recorder_there_is_none() -> None:
    screens = Screens(None, DIRECTORY)
    with pytest.raises(NoScreenRecorder):
        await screens.start("u", "6789")
    with pytest.raises(NoScreenRecorder):
        await screens.stop("6789")


async def test_one_screen_is_told_in_order_and_no_other_waits() -> None:
    slow = Slow()
    slow.go.clear()
    screens = Screens(slow, DIRECTORY)
    async with asyncio.TaskGroup() as group:
        start = group.create_task(screens.start("u", screen_ip=IP), name="start")
        await asyncio.sleep(0)
        stop = group.create_task(screens.stop(screen_ip=IP, isr_id="u"), name="stop")
        await asyncio.sleep(0)
        await screens.stop(screen_ip="10.0.0.12")
        slow.go.set()
    assert (start.result(), stop.result()) == ("session of u", "session of u")
    assert slow.asked == [("stop", "10.0.0.12", ""), ("start", IP, "u"), ("stop", IP, "u")]


async def test_the_next_call_of_an_agent_is_not_stopped_for_the_one_before() -> None:
    slow = Slow()
    screens = Screens(slow, DIRECTORY)
    await screens.start("first", "6789")
    await screens.start("second", "6789")
    with pytest.raises(ScreenRefused, match="another call"):
        await screens.stop("6789", isr_id="first")
    assert await screens.stop("6789", isr_id="second") == "session of second"


async def test_a_screen_that_was_not_stopped_can_be_stopped_again() -> None:
    slow = Slow()
    screens = Screens(slow, DIRECTORY)
    await screens.start("u", "6789")
    slow.fails = True
    with pytest.raises(ScreenRefused):
        await screens.stop("6789")
    slow.fails = False
    assert await screens.stop("6789", isr_id="u") == "session of u"
    assert await screens.stop("6789", isr_id="u") == ""


async def test_a_start_that_failed_is_not_remembered() -> None:
    slow = Slow()
    slow.fails = True
    screens = Screens(slow, DIRECTORY)
    with pytest.raises(ScreenRefused):
        await screens.start("u", "6789")
    slow.fails = False
    assert await screens.stop("6789") == ""


async def test_the_memory_of_screens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "CAPACITY", 2)
    slow = Slow()
    screens = Screens(slow, DIRECTORY)
    for last in (1, 2, 1, 3):
        await screens.start(f"u{last}", screen_ip=f"10.0.0.{last}")
    assert [await screens.stop(screen_ip=f"10.0.0.{last}") for last in (1, 2, 3)] == [
        "session of u1",
        "",
        "session of u3",
    ]
