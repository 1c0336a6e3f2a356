"""What happens is told and acted upon, and nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from msgspec import structs
from structlog.testing import capture_logs

from config.schema import Notify, Screen
from siprec import dispatcher
from siprec.dispatcher import Dispatcher, TooManyEvents, UnknownEvent
from siprec.logbook import Changes
from siprec.occurrence import ENDED, PAUSED, STARTED, Occurrence
from siprec.screen import ScreenRefused, Screens
from siprec.session import (
    Action,
    Actor,
    AlreadyInState,
    Decision,
    Identity,
    InvalidTransition,
    LiveSession,
    State,
)
from storage.directory import INITIAL, Directory, Entries
from storage.entries import Account, Destination, Entry, Policy, PolicyAction, Route, When
from storage.outbox import Notification
from storage.records import Page, Recording, RecordingQuery, StorageUnavailable
from tests.api.node import Node, running

NOW = datetime(2026, 11, 22, 14, 5, 6, tzinfo=UTC)
RECORDING = Recording(
    "r1", "s1", "call@src", "recording", NOW, account=100, to_aor="sip:agent@10.0.0.11"
)
URL = "https://receiver.example/hook"
NOTIFY = PolicyAction("HttpNotify", "https://x.example/?call=${ucid}")
START, STOP = PolicyAction("StartAudio"), PolicyAction("StopAudio")
SCREEN, NO_SCREEN = PolicyAction("InitiateRecordScreen"), PolicyAction("TerminateRecordScreen")


def of(action: PolicyAction, ucid: str) -> PolicyAction:
    """`action` on another call."""
    return structs.replace(action, isr_ucid=ucid)


def policy(name: str, event: str, *actions: PolicyAction, **when: Any) -> Policy:
    return Policy(name, event, [*actions], When(**when))


@dataclass
class Recorder:
    """Live sessions that tell of what is done to them, as the real one's do."""

    tell: Callable[[Occurrence], Any] = print
    live: list[LiveSession] = field(default_factory=list)
    done: list[tuple[str, str, str]] = field(default_factory=list)
    """Call-ID, action and actor of each command."""

    def add(self, call_id: str, account: int = 100, ucid: str = "", route: int = 7) -> LiveSession:
        made = LiveSession(f"id of {call_id}", "d", call_id, NOW, State.STOPPED)
        made.decision = Decision(account=account, route=route)
        made.identity = Identity(ucid=ucid)
        self.live.insert(0, made)
        return made

    def sessions(self, actor: Actor) -> list[LiveSession]:
        return [live for live in self.live if live.is_seen_by(actor)]

    async def control(self, session_id: str, action: Action, actor: Actor) -> LiveSession:
        (live,) = [live for live in self.sessions(actor) if live.id == session_id]
        goal = State.RECORDING if action is Action.START else State.STOPPED
        if live.state is goal:
            raise AlreadyInState(action, live.state)
        if live.state is State.PAUSED:
            raise InvalidTransition(action, live.state)
        live.state = goal
        self.done.append((live.call_id, action, actor.name))
        event = STARTED if action is Action.START else ENDED
        decision = live.decision
        recording = replace(
            RECORDING, call_id=live.call_id, account=decision.account, route=decision.route
        )
        self.tell(Occurrence(event, NOW, recording))
        return live


@dataclass
class Library:
    """Stored recordings."""

    rows: list[Recording] = field(default_factory=list)
    updates: list[tuple[str, Changes, Actor]] = field(default_factory=list)
    gone: bool = False

    async def find(self, query: RecordingQuery, actor: Actor) -> Page:
        if self.gone:
            raise StorageUnavailable("gone")
        found = [
            row
            for row in self.rows
            if query.any_ucid in {row.ucid, row.call_id} and actor.sees(row.account, row.route)
        ]
        return Page(tuple(found[: query.limit]), None)

    async def update(self, recording_id: str, changes: Changes, actor: Actor) -> Recording:
        if self.gone:
            raise StorageUnavailable("gone")
        self.updates.append((recording_id, changes, actor))
        return RECORDING


class Driver:
    """A screen recorder."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.fails = False
        self.go = asyncio.Event()
        self.go.set()

    async def start(self, ip: str, isr_id: str) -> str:
        await self.go.wait()
        if self.fails:
            raise ScreenRefused("no")
        self.asked.append(("start", ip, isr_id))
        return f"screen of {isr_id}"

    async def stop(self, ip: str, isr_id: str) -> None:
        self.asked.append(("stop", ip, isr_id))


class Desk:
    """A dispatcher between stand-ins."""

    def __init__(self) -> None:
        self.entries: Entries = INITIAL
        self.recorder, self.library, self.driver = Recorder(), Library(), Driver()
        self.put: list[Notification] = []
        self.work: list[asyncio.Task[None]] = []
        directory = cast("Directory", self)
        screens = Screens(self.driver, directory)
        self.dispatcher = Dispatcher(directory, self._put, screens, self._spawn)
        self.dispatcher.recorder = cast("Any", self.recorder)
        self.dispatcher.library = cast("Any", self.library)
        self.recorder.tell = self.dispatcher.tell

    def _put(self, notifications: list[Notification]) -> Awaitable[None]:
        self.put += notifications
        safe = asyncio.get_running_loop().create_future()
        safe.set_result(None)
        return safe

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.work.append(asyncio.get_running_loop().create_task(work, name=name))

    def has(self, *policies: Policy, destinations: Iterable[Destination] = ()) -> None:
        named = {each.name: each for each in destinations}
        self.entries = replace(INITIAL, policies=policies, destinations=named)

    async def settled(self) -> list[str]:
        """Wait until all work is done; its names."""
        names = []
        async with asyncio.timeout(20):
            while self.work:
                task = self.work.pop(0)
                names.append(task.get_name())
                await task
        return names

    async def happens(self, event: str, **changes: Any) -> list[str]:
        self.dispatcher.tell(Occurrence(event, NOW, replace(RECORDING, **changes)))
        return await self.settled()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    assert made.dispatcher.unfinished == 0 and not made.work


async def test_destinations_are_told_and_the_promise_is_the_outboxs(desk: Desk) -> None:
    desk.has(destinations=[Destination("a", STARTED, URL), Destination("b", STARTED, URL)])
    safe = desk.dispatcher.tell(Occurrence(STARTED, NOW, RECORDING))
    assert [each.destination for each in desk.put] == ["a", "b"]
    assert len({each.event_id for each in desk.put}) == 2
    assert safe is not None
    await safe


async def test_when_nobody_is_told_there_is_nothing_to_wait_for(desk: Desk) -> None:
    desk.has(policy("p", "e", NOTIFY), destinations=[Destination("a", ENDED, URL)])
    assert desk.dispatcher.tell(Occurrence(STARTED, NOW, RECORDING)) is None
    assert desk.put == [] and await desk.settled() == []


async def test_a_policy_notifies_under_its_own_name(desk: Desk) -> None:
    desk.has(policy("p", "AudioRecordingStarted", NOTIFY, NOTIFY))
    assert await desk.happens(STARTED, ucid="u&1", call_id="c\ud800") == ["policy p"]
    one, two = desk.put
    assert one.event_id != two.event_id
    assert replace(one, event_id="") == Notification(
        "", "policy p", "c?", NOW, "GET", "https://x.example/?call=u%261", "", 100
    )


@pytest.mark.parametrize("named", ["call@src", "u1"])
async def test_audio_is_started_and_stopped_by_either_id_of_the_call(
    desk: Desk, named: str
) -> None:
    desk.recorder.add("call@src", ucid="u1")
    desk.recorder.add("other", ucid="u2")
    start, stop = (of(each, named) for each in (START, STOP))
    desk.has(policy("on", "On", start), policy("off", "Off", stop))
    await desk.happens("On", call_id="elsewhere")
    await desk.happens("Off", call_id="elsewhere")
    assert desk.recorder.done == [
        ("call@src", Action.START, "policy on"),
        ("call@src", Action.STOP, "policy off"),
    ]


async def test_a_policy_moves_no_call_of_another_account(desk: Desk) -> None:
    desk.recorder.add("theirs", account=200)
    desk.has(policy("p", "e", of(START, "theirs")))
    with capture_logs() as lines:
        await desk.happens("e", account=100)
    assert desk.recorder.done == []
    assert [line["event"] for line in lines] == ["policy_action_failed"]
    await desk.happens("e", account=200)
    assert desk.recorder.done == [("theirs", Action.START, "policy p")]


async def test_the_actions_of_a_policy_are_taken_in_order(desk: Desk) -> None:
    live = desk.recorder.add("call@src")
    desk.has(policy("p", "e", START, NOTIFY, STOP, START))
    await desk.happens("e")
    assert [action for _, action, _ in desk.recorder.done] == ["start", "stop", "start"]
    assert live.state is State.RECORDING and len(desk.put) == 1


async def test_a_slow_policy_delays_neither_the_recorder_nor_another_policy(desk: Desk) -> None:
    desk.recorder.add("call@src")
    desk.driver.go.clear()
    desk.has(policy("slow", "e", SCREEN), policy("quick", "e", START))
    desk.dispatcher.tell(Occurrence("e", NOW, RECORDING))
    for _ in range(10):
        await asyncio.sleep(0)
    assert desk.recorder.done and desk.driver.asked == [] and desk.dispatcher.unfinished == 1
    desk.driver.go.set()
    assert await desk.settled() == ["policy slow", "policy quick"]


async def test_a_failed_action_is_one_line_and_changes_nothing_else(desk: Desk) -> None:
    live = desk.recorder.add("call@src")
    desk.driver.fails = True
    desk.has(policy("p", "e", SCREEN, PolicyAction("HttpNotify"), of(STOP, "nobody"), START))
    with capture_logs() as lines:
        await desk.happens("e")
    assert live.state is State.RECORDING and desk.library.updates == []
    assert [(line["event"], line["action"]) for line in lines] == [
        ("policy_action_failed", "InitiateRecordScreen"),
        ("policy_action_skipped", "HttpNotify"),
        ("policy_action_failed", "StopAudio"),
        ("policy_action_taken", "StartAudio"),
    ]
    assert {(line["policy"], line["call_id"]) for line in lines} == {("p", "call@src")}


async def test_being_there_already_is_no_failure_and_an_impossible_move_is(desk: Desk) -> None:
    live = desk.recorder.add("call@src")
    live.state = State.RECORDING
    desk.has(policy("p", "e", START))
    with capture_logs() as lines:
        await desk.happens("e")
        live.state = State.PAUSED
        await desk.happens("e")
    assert [line["event"] for line in lines] == ["policy_action_taken", "policy_action_failed"]


async def test_a_placeholder_that_means_nothing_is_said_once(desk: Desk) -> None:
    desk.has(policy("p", "e", PolicyAction("HttpNotify", "https://x.example/?a=${no}&b=${no}")))
    with capture_logs() as lines:
        await desk.happens("e")
        await desk.happens("e")
    warnings = [line for line in lines if line["event"] == "policy_placeholder_unknown"]
    assert [line["placeholder"] for line in warnings] == ["no"]
    assert [each.url for each in desk.put] == ["https://x.example/?a=&b="] * 2


async def test_a_failure_is_told_but_not_acted_upon(desk: Desk) -> None:
    destination = Destination("d", ENDED, URL)
    desk.has(policy("p", "AudioRecordingEnded", NOTIFY), destinations=[destination])
    desk.dispatcher.tell(Occurrence(ENDED, NOW, RECORDING, "fail"))
    assert await desk.settled() == []
    assert [each.destination for each in desk.put] == ["d"]


# policies that set each other off


async def test_a_policy_does_not_act_on_what_it_did_itself(desk: Desk) -> None:
    desk.recorder.add("call@src").state = State.RECORDING
    desk.has(policy("p", "AudioRecordingStarted", STOP, START))
    assert await desk.happens(STARTED) == ["policy p"]
    assert [action for _, action, _ in desk.recorder.done] == ["stop", "start"]


async def test_policies_that_undo_each_other_come_to_an_end(desk: Desk) -> None:
    desk.recorder.add("call@src")
    desk.has(
        policy("on", "AudioRecordingEnded", START),
        policy("off", "AudioRecordingStarted", STOP),
        policy("off too", "AudioRecordingStarted", STOP),
    )
    with capture_logs() as lines:
        names = await desk.happens(ENDED)
    assert names == ["policy on", "policy off", "policy off too"]
    assert [action for _, action, _ in desk.recorder.done] == ["start", "stop"]
    assert "policies_not_followed" in {line["event"] for line in lines}


async def test_a_chain_of_policies_ends_after_the_second(desk: Desk) -> None:
    for route, call_id in enumerate("abc", 1):
        desk.recorder.add(call_id, route=route)
    desk.has(
        policy("first", "e", of(START, "a")),
        policy("second", "AudioRecordingStarted", of(START, "b"), route=1),
        policy("third", "AudioRecordingStarted", of(START, "c"), route=2),
    )
    assert await desk.happens("e") == ["policy first", "policy second"]
    assert desk.recorder.done == [("a", "start", "policy first"), ("b", "start", "policy second")]


async def test_what_happens_after_a_policy_is_not_its_doing(desk: Desk) -> None:
    live = desk.recorder.add("call@src")
    desk.has(policy("p", "AudioRecordingStarted", STOP))
    for _ in range(3):
        live.state = State.RECORDING
        assert await desk.happens(STARTED) == ["policy p"]


# screens


async def test_the_screen_of_a_call_is_recorded_with_it_and_named_in_it(desk: Desk) -> None:
    desk.has(
        policy("on", "AudioRecordingStarted", SCREEN),
        policy("off", "AudioRecordingEnded", NO_SCREEN),
    )
    await desk.happens(STARTED)
    await desk.happens(ENDED)
    assert desk.driver.asked == [
        ("start", "10.0.0.11", "call@src"),
        ("stop", "10.0.0.11", "call@src"),
    ]
    ((recording_id, changes, actor),) = desk.library.updates
    assert (recording_id, changes) == ("r1", Changes(third_party_id="screen of call@src"))
    assert (actor.name, actor.account) == ("policy on", 100)


async def test_a_call_that_ends_before_its_screen_has_begun_leaves_no_screen_on(
    desk: Desk,
) -> None:
    desk.driver.go.clear()
    desk.has(
        policy("on", "AudioRecordingStarted", NOTIFY, SCREEN),
        policy("off", "AudioRecordingEnded", NO_SCREEN),
    )
    for event in (STARTED, ENDED):
        desk.dispatcher.tell(Occurrence(event, NOW, RECORDING))
    await asyncio.sleep(0)
    desk.driver.go.set()
    await desk.settled()
    assert [asked[0] for asked in desk.driver.asked] == ["start", "stop"]


async def test_the_screen_of_the_next_call_is_left_alone(desk: Desk) -> None:
    desk.has(
        policy("on", "AudioRecordingStarted", SCREEN),
        policy("off", "AudioRecordingEnded", NO_SCREEN),
    )
    await desk.happens(STARTED, call_id="first")
    await desk.happens(STARTED, call_id="second")
    await desk.happens(ENDED, call_id="first")
    assert [asked for asked in desk.driver.asked if asked[0] == "stop"] == []


async def test_a_screen_whose_recording_cannot_be_named_is_one_line(desk: Desk) -> None:
    desk.library.gone = True
    desk.has(policy("on", "AudioRecordingStarted", SCREEN))
    with capture_logs() as lines:
        await desk.happens(STARTED)
    assert [line["event"] for line in lines] == ["policy_action_failed"]


# events from outside


async def raised(desk: Desk, event: str, ucid: str = "", account: int = 1, *aors: str) -> int:
    actions = await desk.dispatcher.raise_event(event, ucid, aors or None, account)
    await desk.settled()
    return actions


@pytest.mark.parametrize(
    "event", ["AudioRecordingStarted", "AudioRecordingEnded", STARTED, PAUSED, "Own"]
)
async def test_an_event_is_known_by_itself_or_by_a_policy(desk: Desk, event: str) -> None:
    desk.has(policy("p", "Own", NOTIFY), destinations=[Destination("d", STARTED, URL)])
    assert await raised(desk, event) == (event == "Own")
    assert {each.destination for each in desk.put} <= {"policy p"}


@pytest.mark.parametrize(("event", "account"), [("own", 1), ("", 1), ("Theirs", 100)])
async def test_an_event_nobody_is_about_is_unknown(desk: Desk, event: str, account: int) -> None:
    desk.has(policy("p", "Own", NOTIFY), policy("q", "Theirs", NOTIFY, account=200))
    with pytest.raises(UnknownEvent):
        await raised(desk, event, account=account)
    assert await raised(desk, "Own", account=100) == 1


@pytest.mark.parametrize("named", ["live@src", "u1"])
async def test_an_event_is_about_the_live_call_that_is_named(desk: Desk, named: str) -> None:
    live = desk.recorder.add("live@src", ucid="u1")
    live.recording = replace(RECORDING, call_id="live@src", route=7)
    url = "https://x.example/${account}/${route}/${ucid}"
    desk.has(policy("p", "Own", PolicyAction("HttpNotify", url), account=100, route=7))
    assert await raised(desk, "Own", named) == 1
    assert [each.url for each in desk.put] == ["https://x.example/100/7/live%40src"]


async def test_a_live_call_need_not_be_recorded(desk: Desk) -> None:
    desk.recorder.add("live@src", ucid="u1")
    desk.has(policy("p", "Own", START, NOTIFY, account=100, route=7))
    assert await raised(desk, "Own", "live@src") == 2
    assert desk.recorder.done == [("live@src", "start", "policy p")]
    assert [each.url for each in desk.put] == ["https://x.example/?call=u1"]


async def test_an_event_is_about_a_stored_call_if_none_is_live(desk: Desk) -> None:
    desk.library.rows = [RECORDING]
    desk.has(policy("p", "Own", SCREEN, account=100))
    assert await raised(desk, "Own", "call@src", 1, "sip:a@10.9.9.9") == 1
    assert desk.driver.asked == [("start", "10.9.9.9", "call@src")]
    assert desk.library.updates[0][0] == "r1"


async def test_without_a_call_what_needs_none_is_done(desk: Desk) -> None:
    desk.has(
        policy("p", "Own", NOTIFY, NO_SCREEN, START),
        policy("of a route", "Own", NOTIFY, route=1),
        policy("of an account", "Own", NOTIFY, account=100),
    )
    assert await raised(desk, "Own", "", 1, "sip:a@10.9.9.9") == 3
    assert desk.driver.asked == [("stop", "10.9.9.9", "")]
    assert [each.url for each in desk.put] == ["https://x.example/?call="]


async def test_a_database_that_is_away_stops_no_event(desk: Desk) -> None:
    desk.library.gone = True
    desk.has(policy("p", "Own", NOTIFY))
    assert await raised(desk, "Own", "u9") == 1
    assert [each.url for each in desk.put] == ["https://x.example/?call=u9"]


async def test_nobody_moves_or_learns_of_another_accounts_call_by_an_event(desk: Desk) -> None:
    live = desk.recorder.add("theirs", account=200)
    live.recording = replace(RECORDING, call_id="theirs", account=200, ani="secret")
    desk.library.rows = [replace(live.recording, id="stored", call_id="older")]
    url = "https://x.example/?ani=${ani}"
    desk.has(policy("p", "Own", START, PolicyAction("HttpNotify", url)))
    for ucid in ("theirs", "older"):
        assert await raised(desk, "Own", ucid, 100) == 2
    assert desk.recorder.done == []
    assert {(each.url, each.account) for each in desk.put} == {("https://x.example/?ani=", 100)}


async def test_who_is_limited_to_routes_moves_calls_of_these_only(desk: Desk) -> None:
    desk.recorder.add("mine", route=7)
    desk.recorder.add("yours", route=8)
    desk.has(policy("p", "Own", START, NOTIFY))
    for call_id in ("mine", "yours"):
        await desk.dispatcher.raise_event("Own", call_id, None, 100, frozenset({7}))
    await desk.settled()
    assert desk.recorder.done == [("mine", "start", "policy p")]


async def test_events_are_refused_while_too_much_is_under_way(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "BACKLOG", 2)
    desk.driver.go.clear()
    desk.has(policy("p", "Own", SCREEN), policy("q", "Own", SCREEN))
    await desk.dispatcher.raise_event("Own", "u", ("sip:a@10.0.0.1",), 1)
    with pytest.raises(TooManyEvents):
        await desk.dispatcher.raise_event("Own", "u", ("sip:a@10.0.0.1",), 1)
    desk.driver.go.set()
    await desk.settled()
    assert await raised(desk, "Own", "u", 1, "sip:a@10.0.0.1") == 2


# the whole chain: real calls, a real outbox, real receivers


@dataclass
class Receiver:
    """An HTTP server that is told, and that is a screen recorder too."""

    url: str = ""
    got: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and query of each request."""

    async def receive(self, request: web.Request) -> web.Response:
        self.got.append((request.path, dict(request.query)))
        return web.json_response({"sessionId": "screen 7"})

    def paths(self) -> list[str]:
        return [path for path, _ in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made, app = Receiver(), web.Application()
    app.router.add_route("*", "/{tail:.*}", made.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@asynccontextmanager
async def recording_node(
    folder: Path, migrated: Path, receiver: Receiver, *entries: Entry
) -> AsyncIterator[Node]:
    """A node that can record, may call `receiver`, and has `entries` in its directory."""
    screen = Screen(
        start_url=f"{receiver.url}/screens/{{ip}}/start?call={{isr_id}}",
        stop_url=f"{receiver.url}/screens/{{ip}}/stop?call={{isr_id}}",
    )
    notify = Notify(allow=["127.0.0.0/8"])
    async with running(folder, migrated, notify=notify, screen=screen) as node:
        for entry in entries:
            await node.services.directory.put(entry)
        await node.engine.start()
        yield node


async def until(done: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.02)


async def test_a_call_is_told_of_from_its_beginning_to_its_end(
    tmp_path: Path, migrated: Path, receiver: Receiver
) -> None:
    destinations = [
        Destination(event, event, f"{receiver.url}/{event}?fixed=1")
        for event in (STARTED, PAUSED, ENDED)
    ]
    async with recording_node(tmp_path, migrated, receiver, *destinations) as node:
        live = await node.call("call&1@src")
        await node.services.recorder.control(live.id, Action.PAUSE, Actor("desk"))
        node.services.recorder.end(live.dialog_id, "bye")
        await until(lambda: len(receiver.got) == 3)
    told = dict(receiver.got)
    assert {*told} == {f"/{event}" for event in (STARTED, PAUSED, ENDED)}
    ended = told[f"/{ENDED}"]
    assert (ended["fixed"], ended["EVENT"], ended["CALL_ID"]) == ("1", ENDED, "call&1@src")
    assert ended["CALLED_AORS"] == "sip:bob@example.com" and ended["END_TIME"]
    assert ended["RESULT"] == "success" and ended["PAUSE_SILENCE"] == "true"


async def test_an_event_starts_a_call_on_demand_and_the_recording_says_who_did(
    tmp_path: Path, migrated: Path, receiver: Receiver
) -> None:
    entries = (
        Account(100),
        Route(7, 100, pattern="%bob%", record="on_demand"),
        policy("order", "Order", START, account=100),
    )
    async with recording_node(tmp_path, migrated, receiver, *entries) as node:
        live = await node.call("call-7@src")
        assert live.state is State.IDLE
        assert await node.services.dispatcher.raise_event("Order", "call-7@src", None, 1) == 1
        await until(lambda: live.state is State.RECORDING)
        assert live.recording is not None
        assert [entry.actor for entry in live.recording.history] == ["policy order"]


async def test_real_policies_that_undo_each_other_come_to_an_end(
    tmp_path: Path, migrated: Path, receiver: Receiver
) -> None:
    entries = (
        policy("on", "AudioRecordingEnded", START),
        policy("off", "AudioRecordingStarted", STOP),
    )
    async with recording_node(tmp_path, migrated, receiver, *entries) as node:
        live = await node.call()
        await until(lambda: live.segments == 2 and live.state is State.RECORDING)
        await until(lambda: not node.services.dispatcher.unfinished)
        assert live.segments == 2 and live.state is State.RECORDING


async def test_the_screen_is_recorded_with_the_call_and_found_by_its_session(
    tmp_path: Path, migrated: Path, receiver: Receiver
) -> None:
    entries = (
        policy("on", "AudioRecordingStarted", SCREEN),
        policy("off", "AudioRecordingEnded", NO_SCREEN),
    )
    async with recording_node(tmp_path, migrated, receiver, *entries) as node:
        live = await node.call(to_aor="sip:agent@10.0.0.11:5060")
        await until(lambda: live.recording and live.recording.third_party_id)
        node.services.recorder.end(live.dialog_id, "bye")
        await until(lambda: len(receiver.got) == 2)
        query = RecordingQuery(third_party_id="screen 7")
        async with asyncio.timeout(20):
            while not (await node.services.library.find(query)).items:
                await asyncio.sleep(0.05)
    assert receiver.got == [
        ("/screens/10.0.0.11/start", {"call": "call-1@src"}),
        ("/screens/10.0.0.11/stop", {"call": "call-1@src"}),
    ]
