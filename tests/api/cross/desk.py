"""A recorder with every published interface on it, live calls, and who hears what happens."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, get_args

import aiohttp
import numpy as np
from yarl import URL

from config.schema import Notify, Sip
from examples.demo import decode_wav
from examples.rtp import FRAME_S
from examples.sip import Agent
from examples.src import RecordingClient
from examples.webhook import Receiver, receiving
from siprec.journal import FEED
from siprec.server import SipServer
from siprec.session import SYSTEM, Action, LiveSession
from storage.entries import (
    Account,
    CustomField,
    Destination,
    Entry,
    Parameter,
    Route,
    User,
    key_of,
    kind_of,
)
from storage.records import Recording, StorageError
from tests.api.node import Node, running
from tests.bench.pause import numbered

PASSWORD = "Admin1234 and more"
PATIENCE_S = 60
SHOP, BANK = "Shop", "Bank"
LONGEST_S = 120
"""Of calls: after that time packets bear the numbers of earlier ones."""
EVERYTHING: Any = ["control", "playback", "download", "delete", "edit"]
OWNER = "owner@shop.example"
SYSTEM_USER = "root@system.example"
DIRECTORY: tuple[Entry, ...] = (
    Account(100, SHOP),
    Account(200, BANK),
    Route(10, 100, pattern="10%", record="on_demand"),
    Route(20, 100, pattern="20%"),
    Route(30, 200, pattern="30%", record="on_demand"),
    CustomField("caseNumber"),
    User(SYSTEM_USER, 1, "admin"),
    User(OWNER, 100, lines=[f"10{number}" for number in range(100, 400)]),
    User("clerk@shop.example", 100, level=2),
    User("bank@bank.example", 200, "api"),
    User("client@shop.example", 100, "api"),
    *(User(f"face-{n}@shop.example", 100, "api", permissions=EVERYTHING) for n in (1, 2)),
    *(User(f"boss-{n}@shop.example", 100, "admin") for n in (1, 2)),
    *(User(f"agent-{n}@shop.example", 100, sip_uri=f"sip:agent-{n}@shop.example") for n in (1, 2)),
)
"""Two of each that may give commands, the one whose calls they are, and people of another shop."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass(slots=True)
class Told:
    """What was told of one call, in order."""

    events: list[tuple[str, str]] = field(default_factory=list)
    """Commands in the native event stream: type and actor."""
    hub: list[int] = field(default_factory=list)
    """`StateAction`."""
    notices: list[str] = field(default_factory=list)
    """`STARTED success` and the like."""

    @property
    def successes(self) -> list[str]:
        """The notices of what was done."""
        return [each.split()[0] for each in self.notices if each.endswith(" success")]


def recording_of(live: LiveSession) -> str:
    """Id of the recording of a call that is recorded."""
    assert live.recording
    return live.recording.id


class Desk:
    """The recorder, somebody who asks, and who is told."""

    def __init__(self, node: Node, agent: Agent, receiver: Receiver | None) -> None:
        self.node = node
        self.agent = agent
        self.calls: dict[str, RecordingClient] = {}
        """By session id."""
        self._receiver = receiver
        self._stack = AsyncExitStack()
        self._numbers = count(100)
        self._tokens: dict[str, str] = {}
        self._keys: dict[int, str] = {}
        self._lives: list[LiveSession] = []
        self._heard: dict[str, Told] = defaultdict(Told)
        self._rung = 0

    async def open(self) -> None:
        """Connect to everything that tells."""
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession())
        for number in (1, 2):
            with suppress(StorageError):  # an earlier desk's, whose token is not known
                await self.node.services.keys.remove(f"key {number}")
            self._keys[number] = await self.node.services.keys.add(f"key {number}", "admin")
        token = await self.token("client@shop.example")
        self._events = await self._connect("/srs/v1/events", self._keys[1])
        self._hub = await self._connect("/attendantservice/hubs/recording", token)
        await self._hub.send_str('{"protocol":"json","version":1}\x1e')
        subscription = {"type": 1, "invocationId": "1", "target": "Subscribe", "arguments": [SHOP]}
        await self._hub.send_str(json.dumps(subscription) + "\x1e")
        for _ in range(2):
            assert "error" not in json.loads((await self._hub.receive_str()).strip("\x1e"))
        if self._receiver:
            await self._ask_to_be_told(self._receiver.url)
        self._bell = await self.call("20")

    async def _ask_to_be_told(self, url: str) -> None:
        for name in get_args(Destination.__annotations__["event"]):
            asked = [Parameter(each, each) for each in ("EVENT", "CALL_ID", "RESULT")]
            await self.node.services.directory.put(Destination(name, name, url, parameters=asked))

    async def close(self) -> None:
        """Leave."""
        await self._stack.aclose()

    async def _connect(self, path: str, token: str) -> aiohttp.ClientWebSocketResponse:
        headers = {"Authorization": f"Bearer {token}"}
        connecting = self.http.ws_connect(f"{self.node.server.url}{path}", headers=headers)
        return await self._stack.enter_async_context(connecting)

    # calls

    async def call(self, dnis: str = "", ucid: str = "", agent: Agent | None = None) -> LiveSession:
        """A new live call by SIPREC, by default to a line of its own where nothing is recorded."""
        dnis = dnis or f"10{next(self._numbers)}"
        parties = [("sip:980200@pbx.example", "Mary"), (f"sip:{dnis}@pbx.example", "Owner")]
        frames = [numbered(int(LONGEST_S / FRAME_S))] * 2
        headers = [("X-ISR-UCID", ucid)] if ucid else []
        client = RecordingClient(agent or self.agent, frames, parties=parties, headers=headers)
        await self._stack.enter_async_context(client)
        await client.invite()
        every = self.node.services.recorder.sessions()
        live = next(each for each in every if each.call_id == client.call_id)
        self.calls[live.id] = client
        self._lives.append(live)
        return live

    async def started(self, ucid: str = "") -> LiveSession:
        """A new live call that is recorded."""
        live = await self.call(ucid=ucid)
        await self.node.services.recorder.control(live.id, Action.START, SYSTEM)
        return live

    async def hang_up(self, live: LiveSession) -> None:
        """End a call, as its client does."""
        await self.calls[live.id].bye()

    async def stored(self, recording_id: str) -> Recording:
        """A recording that has ended, once it has files and number."""
        await self.node.services.library.finished(recording_id)
        return await self.node.services.library.booked(recording_id)

    async def audio(self, recording_id: str) -> np.ndarray:
        """Samples of a recording that has ended: int16[samples, channels]."""
        await self.stored(recording_id)
        said = await self.native("GET", f"recordings/{recording_id}/media?format=wav")
        assert said.status == 200, said
        return decode_wav(said.body)

    # requests

    async def token(self, email: str) -> str:
        """The token of a user, who has `PASSWORD`."""
        if email not in self._tokens:
            users, now = self.node.services.users, datetime.now(UTC)
            await users.set_password(email, PASSWORD, now)
            self._tokens[email] = (await users.login(email, PASSWORD, None, now)).text
        return self._tokens[email]

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Said:
        """One request, its path as it is."""
        url = URL(f"{self.node.server.url}{path}", encoded=True)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(
            method, url, data=body, headers=headers, allow_redirects=False
        ) as response:
            return Said(response.status, dict(response.headers), await response.read())

    async def native(self, method: str, path: str, body: Any = None, key: int = 1) -> Said:
        """A request of the native interface with one of two keys."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._keys[key]}"}
        if data is not None:
            headers["Content_Type"] = "application/json"
        return await self.ask(method, f"/srs/v1/{path}", data, **headers)

    # what is told

    async def told(self, live: LiveSession) -> Told:
        """All that was told of a call until now."""
        await self.listen()
        return self.heard(live)

    def heard(self, live: LiveSession) -> Told:
        """What was told of a call when somebody last listened."""
        return self._heard[live.id]

    async def listen(self) -> None:
        """Hear all that was told until now, by everybody who tells."""
        # What is told of a command given now is the last: streams are in order, and notifications
        # wait in the outbox in theirs.
        action = (Action.PAUSE, Action.RESUME)[self._rung % 2]
        await self.node.services.recorder.control(self._bell.id, action, SYSTEM)
        self._rung += 1
        await self._hub.send_str('{"type":6}\x1e')  # or it hangs up, after half a minute
        bell = self._heard[self._bell.id]
        while len(bell.events) <= self._rung:
            event = await self._events.receive_json(timeout=PATIENCE_S)
            if event["type"] in FEED.values():
                what = event["type"].removeprefix("recording."), event["actor"]
                self._heard[event["session_id"]].events.append(what)
        while len(bell.hub) <= self._rung:
            for each in await self._pushed():
                heard = self._heard[each["CorrelationId"].replace("-", "")]
                heard.hub.append(each["StateAction"])
        if self._receiver:
            await self._listen_to_notices(self._receiver)

    async def _listen_to_notices(self, receiver: Receiver) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(_notices(receiver, self._bell)) <= self._rung:
                await asyncio.sleep(0.01)
            while await self.node.services.outbox.count("pending"):
                await asyncio.sleep(0.01)
        for live in self._lives:
            self._heard[live.id].notices = _notices(receiver, live)

    async def _pushed(self) -> list[dict[str, Any]]:
        """What one frame of the hub says of calls."""
        messages = (await self._hub.receive_str(timeout=PATIENCE_S)).split("\x1e")[:-1]
        return [each for text in messages for each in json.loads(text).get("arguments", ())]


def _notices(receiver: Receiver, live: LiveSession) -> list[str]:
    told = (each.parameters for each in receiver.notices)
    own = (each for each in told if each["CALL_ID"] == live.call_id)
    return [f"{each['EVENT'].split('_')[1]} {each['RESULT']}" for each in own]


@asynccontextmanager
async def open_desk(folder: Path, migrated: Path, *, notifies: bool = True) -> AsyncIterator[Desk]:
    """A recorder with `DIRECTORY` and a media process, and a client to each of its interfaces.

    `notifies`: there are destinations for all events.
    """
    sip_section = Sip(listen=["udp://127.0.0.1:0"])
    notify = Notify(allow=["127.0.0.1/32"], retry_max_s=1)
    async with (
        receiving(0, "", lambda notice: None) as receiver,
        running(folder, migrated, sip=sip_section, notify=notify) as node,
        AsyncExitStack() as stack,
    ):
        await node.engine.start()
        entries = {(kind_of(entry), key_of(entry)): entry for entry in DIRECTORY}
        await node.services.directory.edit(lambda _: entries)
        sip = SipServer(sip_section, node.services.recorder)
        await sip.start()
        stack.push_async_callback(sip.stop)
        uri = f"sip:recorder@{sip.addresses[0].removeprefix('udp://')}"
        agent = await stack.enter_async_context(Agent(uri))
        desk = Desk(node, agent, receiver if notifies else None)
        stack.push_async_callback(desk.close)
        await desk.open()
        yield desk
