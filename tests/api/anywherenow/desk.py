"""AnywhereNow as its clients meet it: a recorder with two UCCs, live calls, JSON."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import structs
from yarl import URL

from config.dialects import AnywhereNow
from config.schema import Api
from siprec.session import LiveSession
from storage.entries import Account, Entry, Route, User, key_of, kind_of
from tests.api.node import Node, running

PASSWORD = "Admin1234 and more"
AGENT = "sip:ann@shop.example"
PREFIX = "/attendantservice"
V1, V2 = f"{PREFIX}/api/recording", f"{PREFIX}/api/v2/recording"
DIRECTORY: tuple[Entry, ...] = (
    Account(100, "ucc-shop"),
    Account(200, "ucc-bank"),
    Account(300, "ucc-off"),
    Account(400, "ucc-locked", agents_may_control=False),
    Route(10, 100, "Sales", pattern="8675309%"),
    Route(11, 100, pattern="777%", record="on_demand"),
    Route(12, 100, pattern="666%", record="never"),
    Route(13, 100, "Service", pattern="555%", agents_may_control=False),
    Route(20, 200, pattern="200%"),
    Route(30, 300, pattern="300%", record="never"),
    Route(40, 400, pattern="400%"),
    User("pay@shop.example", 100, "api", username="pay", permissions=["control"]),
    User("pay@bank.example", 200, "api"),
    User("boss@shop.example", 100, "admin"),
    User("isr@system.example", 1, "api"),
    User("ann@shop.example", 100, sip_uri=AGENT),
    User("eve@shop.example", 100, permissions=["control"], routes=[10], sip_uri="eve@shop.example"),
    User("off@shop.example", 100, "api", sip_uri="sip:off@shop.example", enabled=False),
    User("bob@bank.example", 200, sip_uri="sip:bob@bank.example"),
    User("lea@locked.example", 400, sip_uri="sip:lea@locked.example"),
)
"""UCCs that record, never record, keep their agents from acting; programs and agents."""


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

    @property
    def error(self) -> tuple[int, str] | None:
        """Type and message of the error in an ordinary answer."""
        assert self.status == 200, self
        said = self.json["ErrorMessage"]
        return said and (said["ErrorType"], said["Message"])

    @property
    def states(self) -> tuple[int, int, int]:
        """Recording, marking and saving state."""
        said = self.json
        return said["RecordingState"], said["MarkingState"], said["SavingState"]


@dataclass(slots=True)
class Desk:
    """A recorder with this interface on it, and somebody who uses it."""

    node: Node
    http: aiohttp.ClientSession
    tokens: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    async def call(self, dnis: str = "8675309", **changes: Any) -> LiveSession:
        """A new live call."""
        self.calls += 1
        to_aor = f"sip:{dnis}@shop.example"
        return await self.node.call(f"call-{self.calls}@src", to_aor=to_aor, **changes)

    async def token(self, email: str) -> str:
        """The token of a user who is logged in with `PASSWORD`."""
        if email not in self.tokens:
            users, now = self.node.services.users, datetime.now(UTC)
            await users.set_password(email, PASSWORD, now)
            token = await users.login(email, PASSWORD, None, now)
            self.tokens[email] = token.text
        return self.tokens[email]

    async def ask(
        self,
        method: str,
        path: str,
        who: str | None = "pay@shop.example",
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Said:
        """One request, its path as it is, with the token of `who` (None: without)."""
        given = dict(headers or {})
        if who:
            given = {"Authorization": f"Bearer {await self.token(who)}", **given}
        url = URL(f"{self.node.server.url}{path}", encoded=True)
        async with self.http.request(
            method, url, data=body, headers=given, allow_redirects=False
        ) as response:
            return Said(response.status, dict(response.headers), await response.read())

    async def state(
        self, ucc: str, id_: str, who: str | None = "pay@shop.example", base: str = V1
    ) -> Said:
        """GET the state of a call."""
        return await self.ask("GET", f"{base}/{ucc}/{id_}", who)

    async def set(
        self,
        action: object,
        id_: str,
        who: str | None = "pay@shop.example",
        *,
        ucc: str = "ucc-shop",
        requester: str = AGENT,
        base: str = V1,
    ) -> Said:
        """POST an order."""
        body = {
            "Action": action,
            "RequesterSipUri": requester,
            "CorrelationId": id_,
            "UCCName": ucc,
        }
        return await self.post(json.dumps(body).encode(), who, base=base)

    async def post(
        self,
        body: bytes,
        who: str | None = "pay@shop.example",
        content_type: str = "application/json",
        base: str = V1,
    ) -> Said:
        """POST any body as an order."""
        headers = {"Content-Type": content_type}
        return await self.ask("POST", f"{base}/set", who, body=body, headers=headers)


@asynccontextmanager
async def open_desk(
    folder: Path,
    migrated: Path,
    section: AnywhereNow | None = None,
    is_idle: bool = False,
    **sections: Any,
) -> AsyncIterator[Desk]:
    """A recorder with `DIRECTORY` and, unless idle, a media process."""
    api = structs.replace(sections.pop("api", Api()), anywherenow=section or AnywhereNow())
    async with running(folder, migrated, api=api, **sections) as node, AsyncExitStack() as stack:
        if not is_idle:
            await node.engine.start()
        entries = {(kind_of(entry), key_of(entry)): entry for entry in DIRECTORY}
        await node.services.directory.edit(lambda _: entries)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Desk(node, http)
