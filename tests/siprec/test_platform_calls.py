"""Real calls over a recording platform, and the same calls without one."""

import asyncio
import os
import signal
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.schema import Media, Sip
from examples.sip import Agent, CallError, Message
from examples.src import Answer, RecordingClient
from media import ports, process
from siprec.server import SipServer
from siprec.session import LiveSession
from storage.entries import Account, Route, User
from storage.platforms import RecordingPlatform, RecordingProperties
from tests.api.node import Node, running

NAME = "Call Rec 1"
FAILURE = "continue_call_after_recording_failure"


class Caller(Agent):
    """One that remembers what the recorder asked of it."""

    def __init__(self, uri: str, transport: str) -> None:
        super().__init__(uri, transport)
        self.asked: list[Message] = []

    def _serve(self, request: Message, source: tuple[str, int]) -> None:
        self.asked.append(request)
        super()._serve(request, source)


class Client(RecordingClient):
    """One that can offer video besides."""

    video = 0
    """Its port; 0: none is offered."""

    def offer(self) -> bytes:
        line = f"m=video {self.video} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        return super().offer() + (line.encode() if self.video else b"")


@dataclass(slots=True)
class Desk:
    """A recorder, its SIP server, and who calls it."""

    node: Node
    server: SipServer
    folder: Path
    stack: AsyncExitStack
    agents: dict[str, Caller] = field(default_factory=dict)

    def port(self, kind: str = "udp") -> int:
        """Of the listener."""
        url = next(each for each in self.server.addresses if each.startswith(kind))
        return int(url.rpartition(":")[2])

    async def agent(self, kind: str = "udp") -> Caller:
        """Who calls by this transport."""
        if kind not in self.agents:
            made = Caller(f"sip:srs@127.0.0.1:{self.port(kind)}", kind)
            self.agents[kind] = await self.stack.enter_async_context(made)
        return self.agents[kind]

    async def register(self, *, over: str = "UDP", port: int = 0, **changes: Any) -> None:
        """Make this recorder a platform, with these properties."""
        own = {name: changes.pop(name) for name in [*changes] if name in PLATFORM}
        kind = "tcp" if over == "TCP" else "udp"
        usual = {"media_stream": "Dual", "schema_version": "3.0", "support_video_recording": False}
        entry = RecordingPlatform(
            NAME,
            "127.0.0.1",
            **{**usual, **own},
            transport_protocol=over,  # type: ignore[arg-type]
            port=port or self.port(kind),
        )
        await self.node.services.directory.put(entry)
        await self.node.services.directory.put(RecordingProperties(NAME, **changes))

    async def client(self, kind: str = "udp", streams: int = 2, **more: Any) -> Client:
        """Somebody about to call."""
        frames = [[bytes([16 * n + 3]) * 160] * 500 for n in range(streams)]
        made = Client(await self.agent(kind), frames, **more)
        return await self.stack.enter_async_context(made)

    async def call(self, kind: str = "udp", streams: int = 2, **more: Any) -> "Placed":
        """A call that was accepted."""
        client = await self.client(kind, streams, **more)
        return Placed(client, await client.invite(), self.live(client))

    def live(self, client: Client) -> LiveSession:
        """The session of a call."""
        every = self.node.services.recorder.sessions()
        return next(live for live in every if live.call_id == client.call_id)


@dataclass(slots=True)
class Placed:
    """A call that was accepted."""

    client: Client
    answer: Answer
    live: LiveSession


PLATFORM = {"media_stream", "schema_version", "support_video_recording"}


@asynccontextmanager
async def opened(
    folder: Path, migrated: Path, pairs: int = 500, delay_ms: int = 0
) -> AsyncIterator[Desk]:
    media = Media(port_min=PORTS, port_max=PORTS + 2 * pairs - 1)
    config = Sip(listen=["udp://127.0.0.1:0", "tcp://127.0.0.1:0"], answer_delay_ms=delay_ms)
    async with (
        running(folder, migrated, media=media, sip=config) as node,
        AsyncExitStack() as stack,
    ):
        await node.engine.start()
        server = SipServer(config, node.services.recorder)
        await server.start()
        stack.push_async_callback(server.stop)
        yield Desk(node, server, folder, stack)


PORTS = 41_000 + 2_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8)
"""First RTP port: one test at a time has the range."""


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path, migrated) as made:
        yield made


@pytest.fixture
async def narrow(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """One that has ports for one call of two streams."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ports, "QUARANTINE_S", 0)
        async with opened(tmp_path, migrated, pairs=2) as made:
            yield made


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.01)


async def test_a_call_says_over_which_platform_it_came(desk: Desk) -> None:
    await desk.register(over="TCP")
    with capture_logs() as logs:
        over, past = await desk.call("tcp"), await desk.call("udp")
    assert (over.live.platform, past.live.platform) == (NAME, "")
    assert over.live.warnings == ()
    begun = [each["platform"] for each in logs if each["event"] == "session.started"]
    assert begun == [NAME, ""]
    async with desk.node.client("operator") as http:
        desk.node.services.platforms.listeners = desk.server.addresses
        shown = await (await http.get("/srs/v1/platforms")).json()
        (item,) = shown["items"]
        assert (item["name"], item["sessions"], item["listener"]) == (NAME, 1, True)
        live = await (await http.get(f"/srs/v1/sessions/{over.live.id}")).json()
        assert live["platform"] == NAME


async def test_what_is_not_as_agreed_is_recorded_and_flagged(desk: Desk) -> None:
    await desk.register(media_stream="Single")
    both = await desk.call(streams=2)
    assert both.live.warnings == ("platform_streams",) and len(both.live.streams) == 2
    one = await desk.call(streams=1)
    assert [*one.live.warnings] == []
    one.client.streams.append(both.client.streams[1])
    await one.client.reinvite()
    assert [*one.live.warnings] == ["platform_streams"]


async def test_a_single_stream_becomes_one_channel(desk: Desk) -> None:
    await desk.register(media_stream="Single")
    placed = await desk.call(streams=1)
    assert placed.live.recording
    recording_id = placed.live.recording.id
    await placed.client.play(0.2)
    await placed.client.bye()
    library = desk.node.services.library
    await library.finished(recording_id)
    row = await library.booked(recording_id)
    (wav,) = [file for file in row.files if file.format == "wav"]
    octets = (desk.folder / "recordings" / wav.key).read_bytes()
    with wave.open(BytesIO(octets)) as sound:
        assert sound.getnchannels() == 1 and sound.getnframes() > 0


@pytest.mark.parametrize(
    ("media_stream", "line", "left"),
    [
        ("Dual", "Agent", "Agent"),
        ("Dual", "Caller", "Caller"),
        ("Dual", "", "Caller"),
        ("Single", "Agent", "Caller"),
        ("", "Agent", "Caller"),
    ],
)
async def test_the_left_channel_is_the_subscribers(
    desk: Desk, media_stream: str, line: str, left: str
) -> None:
    if media_stream:
        await desk.register(media_stream=media_stream)
    directory = desk.node.services.directory
    await directory.put(Account(100, "Shop"))
    await directory.put(Route(10, 100, match="to", pattern="777"))
    numbers = {"Caller": "1234", "Agent": "777"}
    if line:
        await directory.put(User("ann@shop.example", 100, "tenant", lines=[numbers[line]]))
    parties = [(f"sip:{number}@h", name) for name, number in numbers.items()]
    placed = await desk.call(parties=parties)
    recording = placed.live.recording
    assert recording
    names = {each.participant_id: each.name for each in recording.participants}
    first = next(stream for stream in recording.streams if stream.channel == 0)
    assert names[first.participant_id] == left


async def test_a_call_without_ports_goes_on_unrecorded_and_is_recorded_once_there_are(
    narrow: Desk,
) -> None:
    await narrow.register()
    first = await narrow.call()
    with capture_logs() as logs, narrow.node.services.feed.subscribe() as told:
        second = await narrow.call()
        async with asyncio.timeout(5):
            assert [event.type async for event in _few(told, 2)][-1] == "session.not_recorded"
    assert [(line.port, line.direction) for line in second.answer.media] == [(9, "inactive")] * 2
    assert second.live.warnings == ("not_recorded",) and second.live.streams == []
    (alarm,) = [each for each in logs if each.get("alarm")]
    assert (alarm["event"], alarm["log_level"]) == ("not_recorded", "error")
    assert (alarm["session"], alarm["platform"]) == (second.live.id, NAME)
    again = await second.client.reinvite()
    assert [line.port for line in again.media] == [9, 9]
    await first.client.bye()
    free = narrow.node.engine._ports._resting
    await until(lambda: len(free) == 2)
    answer = await second.client.reinvite()
    assert [line.direction for line in answer.media] == ["recvonly"] * 2
    assert {line.port for line in answer.media} <= set(range(PORTS, PORTS + 4))
    await second.client.play(0.2)
    assert second.live.recording
    recording_id = second.live.recording.id
    await second.client.bye()
    library = narrow.node.services.library
    await library.finished(recording_id)
    row = await library.booked(recording_id)
    assert (row.status, row.reason) == ("partial", "not_recorded")
    assert sum(stream.packets for stream in row.streams) >= 10


async def test_a_call_never_recorded_leaves_a_row_that_says_so(narrow: Desk) -> None:
    await narrow.register()
    await narrow.call()
    second = await narrow.call()
    assert second.live.recording
    recording_id = second.live.recording.id
    await second.client.bye()
    library = narrow.node.services.library

    async def status() -> str:
        return (await library.get(recording_id)).status

    async with asyncio.timeout(10):
        while await status() in {"recording", "processing"}:
            await asyncio.sleep(0.01)
    row = await library.get(recording_id)
    assert (row.status, row.reason) == ("failed", "no_media")
    assert "not_recorded" in row.warnings


async def test_a_stream_added_without_ports_stays_inactive_and_the_others_go_on(
    narrow: Desk,
) -> None:
    await narrow.register()
    placed = await narrow.call()
    more = await narrow.client(streams=3)
    placed.client.streams.append(more.streams[2])
    answer = await placed.client.reinvite()
    assert [line.direction for line in answer.media] == ["recvonly", "recvonly", "inactive"]
    assert answer.media[2].port == 9
    assert set(placed.live.warnings) == {"not_recorded", "platform_streams"}


@pytest.mark.parametrize("registered", [True, False])
async def test_a_call_without_ports_is_refused(narrow: Desk, registered: bool) -> None:
    """Without a platform always, over one if calls are not to go on unrecorded."""
    if registered:
        await narrow.register(continue_call_after_recording_failure=False)
    else:
        await narrow.register(port=9)
    await narrow.call()
    client = await narrow.client()
    with pytest.raises(CallError) as caught:
        await client.invite()
    assert caught.value.status == 503
    assert len(narrow.node.services.recorder.sessions()) == 1


@pytest.mark.parametrize(
    ("registered", "rule", "ends"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
@pytest.mark.parametrize("kind", ["udp", "tcp"])
async def test_a_recording_that_fails_ends_its_call_if_that_is_agreed(
    desk: Desk, kind: str, registered: bool, rule: bool, ends: bool
) -> None:
    over = "Unspecified" if kind == "udp" else "TCP"
    await desk.register(over=over, port=0 if registered else 9, **{FAILURE: rule})
    spool = desk.folder / "spool"
    (spool / "sidelined").mkdir()
    spool.rename(desk.folder / "away")
    spool.write_text("a disk that nothing can be written to")
    try:
        client, feed = await desk.client(kind), desk.node.services.feed
        with capture_logs() as logs, feed.subscribe() as told:
            await client.invite()
            async with asyncio.timeout(5):
                while (await anext(aiter(told))).reason != "spool_write_failed":
                    await client.play(0.02)
                if ends:
                    await client.ended.wait()
    finally:
        spool.unlink()
        (desk.folder / "away").rename(spool)
    assert any(each.get("alarm") for each in logs) is registered
    asked = (await desk.agent(kind)).asked
    live = desk.node.services.recorder.sessions()
    if ends:
        (bye,) = [each for each in asked if each.start.startswith("BYE ")]
        assert bye.first("reason") == 'SIP;cause=503;text="Recording failed"'
        assert live == []
    else:
        assert asked == []
        assert [each.call_id for each in live] == [client.call_id]
        assert "spool_write_failed" in live[0].warnings


@pytest.mark.parametrize("rule", [True, False])
async def test_while_the_media_process_is_gone(
    desk: Desk, rule: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.register(over="TCP", **{FAILURE: rule})
    monkeypatch.setattr(process, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(process, "GONE_S", 0.1)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    over, past = await desk.call("tcp"), await desk.call("udp")
    client, engine = await desk.client("tcp"), desk.node.engine
    assert engine.worker_pid
    await engine.reports([over.live.id])  # by then it knows them
    os.kill(engine.worker_pid, signal.SIGKILL)
    await until(lambda: engine.is_gone)
    assert past.live.warnings == over.live.warnings == ("media_gone",)
    assert past.live.recording and not past.client.ended.is_set()
    if rule:
        answer = await client.invite()
        assert [(line.port, line.direction) for line in answer.media] == [(9, "inactive")] * 2
        assert not over.client.ended.is_set()
    else:
        async with asyncio.timeout(5):
            await over.client.ended.wait()
        with pytest.raises(CallError) as caught:
            await client.invite()
        assert caught.value.status == 503
    another = await desk.call("udp")
    assert [line.direction for line in another.answer.media] == ["recvonly"] * 2
    monkeypatch.undo()
    await until(lambda: not engine.is_gone)


@pytest.mark.parametrize(
    ("able", "rule", "status", "warnings"),
    [
        (True, True, 200, {"media_refused", "video_not_recorded"}),
        (True, False, 503, set()),
        (False, False, 200, {"media_refused"}),
        (None, False, 200, {"media_refused"}),
    ],
)
async def test_video(
    desk: Desk, able: bool | None, rule: bool, status: int, warnings: set[str]
) -> None:
    await desk.register(
        port=9 if able is None else 0,
        support_video_recording=bool(able),
        continue_call_after_video_recording_failure=rule,
    )
    client = await desk.client()
    client.video = 40_100
    if status == 503:
        with pytest.raises(CallError) as caught:
            await client.invite()
        assert caught.value.status == status
        client.video = 0
        assert desk.node.services.recorder.sessions() == []
        return
    answer = await client.invite()
    assert [line.port > 0 for line in answer.media] == [True, True, False]
    assert set(desk.live(client).warnings) == warnings


async def test_video_added_where_it_must_be_recorded_is_refused_and_the_call_goes_on(
    desk: Desk,
) -> None:
    await desk.register(
        support_video_recording=True, continue_call_after_video_recording_failure=False
    )
    placed = await desk.call()
    placed.client.video = 40_100
    with pytest.raises(CallError) as caught:
        await placed.client.reinvite()
    assert caught.value.status == 503
    assert [not stream.closed for stream in placed.live.streams] == [True, True]


@pytest.mark.parametrize(("registered", "status"), [(True, 503), (False, 200)])
async def test_an_answer_that_comes_too_late_is_a_refusal(
    tmp_path: Path, migrated: Path, registered: bool, status: int
) -> None:
    async with opened(tmp_path, migrated, delay_ms=40) as desk:
        await desk.register(max_response_wait_ms=50, port=0 if registered else 9)
        client, recorder = await desk.client(), desk.node.services.recorder
        with capture_logs() as logs:
            answer = asyncio.gather(client.invite(), return_exceptions=True)
            await until(recorder.sessions)
            time.sleep(0.1)  # noqa: ASYNC251 - nobody gets a turn
            (said,) = await answer
        late = [each for each in logs if each["event"] == "answer_too_late"]
        if status == 200:
            assert isinstance(said, Answer) and late == []
            return
        assert isinstance(said, CallError) and said.status == 503
        assert recorder.sessions() == [] and late[0]["within_ms"] == 50
        assert late[0]["call_id"] == client.call_id and late[0]["waited_ms"] >= 50


async def test_no_answer_is_held_back_longer_than_agreed(tmp_path: Path, migrated: Path) -> None:
    async with opened(tmp_path, migrated, delay_ms=150) as desk:
        await desk.register(max_response_wait_ms=140)
        client = await desk.client()
        began = asyncio.get_running_loop().time()
        assert (await client.invite()).status.startswith("200")
        assert asyncio.get_running_loop().time() - began < 0.15


async def _few(told: Any, count: int) -> AsyncIterator[Any]:
    """The next events of sessions."""
    async for event in told:
        if event.type.startswith("session."):
            yield event
            count -= 1
            if not count:
                return
