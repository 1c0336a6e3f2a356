"""The interface as its clients meet it: a recorder with two shops, live calls, HTTP Basic, JSON."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import structs
from yarl import URL

from config.dialects import Imagicle
from config.schema import Api, Sip
from examples.sip import Agent
from examples.src import RecordingClient
from siprec.server import SipServer
from siprec.session import Action, Actor, LiveSession
from storage.entries import Account, Entry, Route, User, key_of, kind_of
from storage.records import Recording
from tests.api.node import Node, running

PASSWORD = "Admin1234 and more"
BASE = "/fw/Apps/Recorder/WebAPI"
LIVE, STORED = f"{BASE}/LiveRecordings", f"{BASE}/Recordings"
FIRST = datetime(2018, 11, 1, 14, 39, 15, tzinfo=UTC)
UNKNOWN = "014309c0-cc7c-4be1-b6ee-6011a67441aa"
DIRECTORY: tuple[Entry, ...] = (
    Account(100, "Shop"),
    Account(200, "Bank"),
    Account(300, "Kiosk", channels=1),
    Route(10, 100, pattern="10%", record="on_demand"),
    Route(20, 100, pattern="20%"),
    Route(30, 100, pattern="30%", record="never"),
    Route(40, 100, pattern="40%", record="on_demand", directions=["outgoing"]),
    Route(50, 100, pattern="50%", record="on_demand", traffic=["internal"]),
    Route(60, 100, pattern="60%", record="on_demand", blocked=["666%"]),
    Route(70, 100, pattern="70%", record="on_demand"),
    Route(21, 200, pattern="B%", record="on_demand"),
    Route(31, 300, pattern="K%", record="on_demand"),
    User("root@system.example", 1, "api", "root"),
    User("boss@shop.example", 100, "admin", "boss"),
    User("boss@bank.example", 200, "admin", "boss"),
    User("boss@kiosk.example", 300, "admin"),
    User("lead@shop.example", 100, username="lead", level=10),
    User("none@shop.example", 100, username="none", level=1, lines=["109"]),
    User("mute@shop.example", 100, "api", "mute", permissions=["edit"]),
    User(
        "ann@shop.example",
        100,
        username="Ann",
        lines=["101", "102"],
        devices=["SEP101"],
        first_name="Ann",
        last_name="Smith",
        group="Group1",
        department="Sales",
        numeric_id="4711",
    ),
    User("bob@shop.example", 100, username="bob", lines=["103"]),
    User("auto@shop.example", 100, username="auto", lines=["201"]),
    User("never@shop.example", 100, username="never", lines=["301"]),
    User("in@shop.example", 100, lines=["401", "501", "601"]),
    User("off@shop.example", 100, username="off", lines=["701"], enabled=False),
    User("denied@shop.example", 100, lines=["702"], permissions=["playback"]),
    User("bea@bank.example", 200, username="bea", lines=["B1"], devices=["SEPB1"]),
    User("kim@kiosk.example", 300, lines=["K1"]),
    User("kit@kiosk.example", 300, lines=["K2"]),
)
"""Who manages, who is recorded, and routes that bar their calls, each in its way."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        assert self.headers["Content-Type"] == "application/json", self
        return json.loads(self.body)

    @property
    def short(self) -> tuple[int, Any]:
        """Status and body; None if there is none."""
        return self.status, self.json if self.body else None


@dataclass(slots=True)
class Desk:
    """A recorder with this interface on it, and somebody who uses it."""

    node: Node
    http: aiohttp.ClientSession
    known: set[str] = field(default_factory=set)
    """Users who have a password."""
    calls: int = 0

    async def call(self, dnis: str = "101", ani: str = "980200", **changes: Any) -> LiveSession:
        """A new live call."""
        self.calls += 1
        aors = {"from_aor": f"sip:{ani}@pbx.example", "to_aor": f"sip:{dnis}@pbx.example"}
        return await self.node.call(f"call-{self.calls}@src", **{**aors, **changes})

    def state(self, live: LiveSession) -> str:
        """What happens to a call's media."""
        return str(self.node.services.recorder.find(live.id).state)

    async def control(self, live: LiveSession, action: Action) -> None:
        """Another interface gives a command."""
        await self.node.services.recorder.control(live.id, action, Actor("other"))

    def hang_up(self, live: LiveSession) -> None:
        """End a call, as its client does."""
        self.node.services.recorder.end(live.dialog_id, "bye")

    async def stored(self, number: int = 1, **fields: Any) -> Recording:
        """A stored recording of Ann's, each an hour after the one before."""
        start = FIRST + timedelta(hours=number - 1)
        usual = {
            "account": 100,
            "route": 10,
            "started_at": start,
            "ended_at": start + timedelta(seconds=91.87),
            "owner": "ann@shop.example",
            "local_party": "101",
            "remote_party": "980200",
            "direction": "incoming",
        }
        row = await self.node.stored(f"{number:032x}", **{**usual, **fields})
        return await self.node.services.catalog.get(row.id)

    async def basic(self, email: str) -> str:
        """The Authorization header of a user, who has `PASSWORD`."""
        if email not in self.known:
            await self.node.services.users.set_password(email, PASSWORD, datetime.now(UTC))
            self.known.add(email)
        return "Basic " + base64.b64encode(f"{email}:{PASSWORD}".encode()).decode()

    async def ask(
        self,
        method: str,
        path: str,
        who: str | None = "boss@shop.example",
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Said:
        """One request, its path as it is, of `who` (None: nobody)."""
        given = dict(headers or {})
        if who:
            given = {"Authorization": await self.basic(who), **given}
        url = URL(f"{self.node.server.url}{path}", encoded=True)
        async with self.http.request(
            method, url, data=body, headers=given, allow_redirects=False
        ) as response:
            return Said(response.status, dict(response.headers), await response.read())

    async def get(self, path: str, who: str | None = "boss@shop.example", **more: Any) -> Said:
        """GET."""
        return await self.ask("GET", path, who, **more)

    async def start(self, who: str | None = "boss@shop.example", **body: Any) -> Said:
        """POST LiveRecordings; the names in the body as they are there."""
        return await self.ask("POST", LIVE, who, body=json.dumps(body).encode())

    async def delete(self, path: str, who: str | None = "boss@shop.example") -> Said:
        """DELETE below LiveRecordings, `path` with its separator."""
        return await self.ask("DELETE", f"{LIVE}{path}", who)

    async def put(self, path: str, who: str | None = "boss@shop.example") -> Said:
        """PUT below LiveRecordings."""
        return await self.ask("PUT", f"{LIVE}/{path}", who)

    async def recorded(self, who: str = "boss@shop.example") -> list[str]:
        """Ids of the recordings that go on, as they are listed."""
        return [each["id"] for each in (await self.get(LIVE, who)).json]


@asynccontextmanager
async def open_desk(
    folder: Path, migrated: Path, section: Imagicle | None = None, is_idle: bool = False
) -> AsyncIterator[Desk]:
    """A recorder with `DIRECTORY` and, unless idle, a media process."""
    api = structs.replace(Api(), imagicle=section or Imagicle())
    async with running(folder, migrated, api=api) as node, AsyncExitStack() as stack:
        if not is_idle:
            await node.engine.start()
        entries = {(kind_of(entry), key_of(entry)): entry for entry in DIRECTORY}
        await node.services.directory.edit(lambda _: entries)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Desk(node, http)


@asynccontextmanager
async def speaking(desk: Desk, ani: str, dnis: str) -> AsyncIterator[RecordingClient]:
    """A call by SIPREC, answered, with two parties who can speak."""
    config = structs.replace(Sip(), listen=["udp://127.0.0.1:0"])
    sip = SipServer(config, desk.node.services.recorder)
    await sip.start()
    try:
        uri = f"sip:recorder@{sip.addresses[0].removeprefix('udp://')}"
        named = [(ani, "Mary Ann Miller"), (dnis, "Ann")]
        parties = [(f"sip:{number}@pbx.example", name) for number, name in named]
        frames = [[bytes([16 * n + 3]) * 160] * 500 for n in range(2)]
        async with Agent(uri) as agent, RecordingClient(agent, frames, parties=parties) as call:
            await call.invite()
            yield call
    finally:
        await sip.stop()
