"""The Akixi interface as its users meet it: a node, its directory, and who sends XML to it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import aiohttp
from lxml import etree

from storage.entries import Account, Entry, Route, User, key_of, kind_of
from tests.api.node import Node, running

PASSWORD = "Admin1234 and more"
ROOT, SHOP, CLERK, READER, WRITER, MACHINE, BANK, TILL = (
    "root@system.example",
    "ann@shop.example",
    "clerk@shop.example",
    "reader@shop.example",
    "writer@shop.example",
    "machine@shop.example",
    "bea@bank.example",
    "till@shop.example",
)
DIRECTORY: tuple[Entry, ...] = (
    Account(100, "Shop"),
    Account(200, "Bank"),
    Route(13, 100, pattern="8675309%"),
    Route(14, 100, pattern="777%"),
    Route(20, 200, pattern="200%"),
    User(ROOT, 1, "admin"),
    User(SHOP, 100, "admin", username="ann"),
    User(CLERK, 100, "admin", level=9),
    User(READER, 100, "admin", permissions=["playback"]),
    User(WRITER, 100, "admin", permissions=["edit"]),
    User(MACHINE, 100, "api"),
    User(BANK, 200, "admin"),
    User(TILL, 100, "admin", routes=[14]),
    User("off@shop.example", 100, "admin", enabled=False),
)
"""Two telephony servers with three partitions, and users who may do more and less."""

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
DEMONSTRATION = "d7ae7ea9bf56ebdc:-3f5d0705:1559c8e762d:-8000"
GUID = r"[0-9a-f]{1,16}:-?[0-9a-f]{1,8}:[0-9a-f]{1,16}:-?[0-9a-f]{1,4}"
SETTINGS = {
    "IPAddrOrHost1": "api.dubber.net/uk1",
    "IPAddrOrHost2": "api.dubber.net/uk2",
    "AuthUserID1": "ex25dejpdb85vpqtsxr7napv",
    "AuthUserID2": "userid2",
    "APIParameter1": "param1",
    "APIParameter2": "param2",
}
NEW = {"CallRecIntType": "Dubber", "TelSysID": "100", "Description": "Demo Call Rec Int"}


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()

    @property
    def root(self) -> Any:
        """The `<Response>`, taken out of an envelope if it is in one."""
        root = etree.fromstring(self.body)
        return root if root.tag == "Response" else root.find(".//Response")

    @property
    def code(self) -> int:
        """The error code; 0 of a success."""
        if self.root.get("Result") == "Success":
            return 0
        return int(self.root.findtext("Fail/ErrorCode"))

    @property
    def message(self) -> str:
        """What is said with the code."""
        return str(self.root.findtext("Fail/ErrorMessage"))

    @property
    def properties(self) -> dict[str, str]:
        """The data of a success, those of containers included."""
        assert self.code == 0, self.text
        return {
            each.get("Name"): each.text or "" for each in self.root.iterfind("Success//Property")
        }

    @property
    def entries(self) -> list[dict[str, str]]:
        """What a list shows."""
        assert self.code == 0, self.text
        return [
            {each.get("Name"): each.text or "" for each in container.iter("Property")}
            for container in self.root.iterfind("Success/Container")
        ]


def request(
    operation: str | None,
    session: str | None = None,
    properties: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    *,
    invoke: str | None = "9",
    more: str = "",
) -> str:
    """A request; None: without that."""

    def listed(values: Mapping[str, str] | None) -> str:
        pairs = (values or {}).items()
        return "".join(
            f'<Property Name="{name}">{escape(value)}</Property>' for name, value in pairs
        )

    head = "Request" if operation is None else f'Request Operation="{operation}"'
    container = f'<Container Name="APICommunicationSettings">{listed(settings)}</Container>'
    return (
        f"<{head}>"
        + (f"<InvokeID>{invoke}</InvokeID>" if invoke is not None else "")
        + (f"<SessionID>{session}</SessionID>" if session is not None else "")
        + more
        + f"<OperationPayload>{listed(properties)}{container if settings else ''}"
        + "</OperationPayload></Request>"
    )


@dataclass(slots=True)
class Desk:
    """A node with the interface on it, and somebody who uses it."""

    node: Node
    http: aiohttp.ClientSession
    sessions: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the interface is."""
        return f"{self.node.server.url}/CCS/API"

    async def send(self, body: str | bytes, **headers: str) -> Said:
        """POST a document."""
        data = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": "text/xml", **headers}
        async with self.http.post(f"{self.url}/ws", data=data, headers=headers) as response:
            return Said(response.status, dict(response.headers), await response.read())

    async def get(self, method: str, path: str, **more: Any) -> Said:
        """Any request below the interface."""
        async with self.http.request(method, f"{self.url}{path}", **more) as response:
            return Said(response.status, dict(response.headers), await response.read())

    async def create(self) -> str:
        """A new session."""
        return (await self.send(request("CreateSession"))).properties["SessionID"]

    async def authenticate(self, session: str, name: str, password: str = PASSWORD) -> Said:
        """Log in to a session."""
        credentials = {"UserName": name, "Password": password}
        return await self.send(request("Authenticate", session, credentials))

    async def session(self, who: str) -> str:
        """The session of a user."""
        if who not in self.sessions:
            self.sessions[who] = await self.create()
            assert (await self.authenticate(self.sessions[who], who)).code == 0
        return self.sessions[who]

    async def ask(
        self,
        operation: str,
        who: str = ROOT,
        properties: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        more: str = "",
    ) -> Said:
        """An operation in the session of a user."""
        session = await self.session(who)
        return await self.send(request(operation, session, properties, settings, more=more))

    async def add(self, who: str = ROOT, **properties: str) -> str:
        """A new entry; its GUID."""
        before = set(self.node.services.directory.entries.integrations)
        said = await self.ask("CallRecIntAdd", who, {**NEW, **properties}, SETTINGS)
        assert said.code == 0, said.text
        (guid,) = set(self.node.services.directory.entries.integrations) - before
        return guid


@asynccontextmanager
async def open_desk(folder: Path, migrated: Path, **sections: Any) -> AsyncIterator[Desk]:
    """A node with `DIRECTORY`, its users with `PASSWORD`."""
    async with running(folder, migrated, **sections) as node:
        wanted = {(kind_of(entry), key_of(entry)): entry for entry in DIRECTORY}
        await node.services.directory.edit(lambda _: wanted)
        for user in DIRECTORY:
            if isinstance(user, User):
                await node.services.users.set_password(user.email, PASSWORD, datetime.now(UTC))
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(cookie_jar=jar) as http:
            yield Desk(node, http)
