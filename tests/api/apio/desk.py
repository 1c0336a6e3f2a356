"""A node with people of every authorization level, and what is asked of it."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import ClientSession
from yarl import URL

from api.listener import Limits
from config.dialects import Dialects
from config.schema import Api
from storage.entries import Account, User
from storage.snapshot import Entries
from tests.api.node import Node, running

BASE = "/api/v1/system/services/call_recording/"
PASSWORD = "correct horse 7"
ROOT, ANN, TOM, BOT = "root@srs.example", "ann@one.example", "tom@one.example", "bot@srs.example"
PEOPLE = (
    User(ROOT, 1, "admin", username="root"),
    User("part@srs.example", 1, "admin", routes=[1]),
    User(BOT, 1, "api"),
    User(ANN, 100, "admin"),
    User(TOM, 100, "tenant"),
)
FIRST: dict[str, Any] = {
    "name": "Call Rec Platform 1",
    "netAddress": "10.0.32.55",
    "port": 222,
    "mediaStream": "Dual",
    "transportProtocol": "UDP",
    "description": "test description",
    "schemaVersion": "1.0",
    "supportVideoRecording": False,
}
SECOND = FIRST | {"name": "Call Rec Platform 2"}
ONE, TWO = "platforms/Call_Rec_Platform_1/", "platforms/Call_Rec_Platform_2/"
NO_PLATFORM = {
    "errors": [
        {
            "code": 18,
            "message": "INVALID_OPERATION",
            "details": "Call Recording platform does not exist.",
        }
    ]
}

ALONE = Api(
    dialects=Dialects(face=False, anywherenow=False, imagicle=False, apio=True, akixi=False)
)

Answer = tuple[int, Any]


def basic(name: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def instance(listed: Mapping[str, Any], default: bool) -> dict[str, Any]:
    """A platform as it is answered alone."""
    return {"default": default} | {name: listed[name] for name in listed if name != "name"}


@dataclass(slots=True)
class Desk:
    """A running node and a client that is its root."""

    node: Node
    http: ClientSession

    @property
    def entries(self) -> Entries:
        """The directory as it is."""
        return self.node.services.directory.entries

    async def ask(
        self, method: str, path: str, body: Any = None, who: str = ROOT, **headers: str
    ) -> Answer:
        """Status and body of an answer, which must be JSON. `body`: octets, or what becomes JSON;
        `who`: an e-mail address, or nobody."""
        response, text = await self.raw(method, path, body, who, **headers)
        assert response.content_type == "application/json"
        return response.status, json.loads(text)

    async def raw(
        self, method: str, path: str, body: Any = None, who: str = ROOT, **headers: str
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        """An answer and its octets. `path`: below the service, or from the root."""
        url = URL(self.node.server.url + (path if path[:1] == "/" else BASE + path), encoded=True)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if who:
            sent.setdefault("Authorization", basic(who, PASSWORD))
        skipped = ["Content-Type"] if sent.get("Content-Type") == "" else []
        sent = {name: value for name, value in sent.items() if name not in skipped}
        async with self.http.request(
            method, url, data=data, headers=sent, skip_auto_headers=["Content-Type", "Accept"]
        ) as response:
            return response, await response.read()

    async def add(self, *platforms: dict[str, Any]) -> None:
        """Add platforms; the first becomes the default."""
        for each in platforms:
            status, found = await self.ask("POST", "platforms/", each)
            assert status == 200, found

    async def group(
        self, number: int, name: str = "", tenant: str = "", platform: str | None = None
    ) -> None:
        """An account that is the group of a tenant."""
        account = Account(number, name, tenant=tenant, platform=platform)
        await self.node.services.directory.put(account)


@asynccontextmanager
async def open_desk(
    folder: Path, migrated: Path, limits: Limits | None = None, **sections: Any
) -> AsyncIterator[Desk]:
    """A desk on a node in `folder`, with all of `PEOPLE`."""
    sections = {"api": ALONE} | sections
    async with running(folder, migrated, limits, **sections) as node, ClientSession() as http:
        directory, users = node.services.directory, node.services.users
        await directory.edit(
            lambda _: {
                ("accounts", "100"): Account(100, "One"),
                **{("users", user.email): user for user in PEOPLE},
            }
        )
        for user in PEOPLE:
            await users.set_password(user.email, PASSWORD, datetime.now(UTC))
        yield Desk(node, http)
