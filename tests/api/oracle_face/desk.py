"""FACE as its users meet it: a whole recorder, live SIPREC calls, requests as curl sends them."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from lxml import etree
from msgspec import structs
from yarl import URL

from config.dialects import Face
from config.schema import Api, Sip
from config.schema import Users as Rules
from examples.sip import Agent
from examples.src import RecordingClient
from siprec.server import SipServer
from siprec.session import LiveSession
from storage import passwords
from storage.database import Database
from storage.directory import Directory
from storage.entries import Account, CustomField, Entry, MetadataType, Route, User
from storage.records import Recording
from storage.users import Users
from tests.api.node import Node, running

PASSWORD = "Admin1234 and more"
FIRST_DAY = datetime(2017, 3, 22, 15, 6, 59, 842_000, UTC)
APKT = "http://acmepacket.com/siprec/extensiondata"
DIRECTORY: tuple[Entry, ...] = (
    Account(100, "Shop"),
    Account(200, "Bank"),
    Route(13, 100, match="to", pattern="8675309%"),
    Route(14, 100, match="to", pattern="777%", record="on_demand"),
    Route(15, 100, match="to", pattern="666%", record="never"),
    Route(20, 200, match="to", pattern="200%"),
    User(
        "isr@shop.example",
        100,
        "api",
        permissions=["control", "playback", "download", "delete", "edit", "video"],
    ),
    User("weak@shop.example", 100, "api", permissions=[]),
    User("isr@bank.example", 200, "api"),
    User("isr@system.example", 1, "api"),
    User("ann@shop.example", 100, "admin"),
    CustomField("testCustomData1"),
    CustomField("otherName"),
    CustomField("bankOnly", accounts=[200]),
    CustomField("hidden", searchable=False),
    MetadataType("apkt:realm"),
    MetadataType("apkt:secret", searchable=False),
)
"""Two tenants, their API users, and routes that record, wait for a start and never record."""


class Call(RecordingClient):
    """A live call; its metadata can carry extension data of the session and of the caller."""

    extension = ""
    caller_extension = ""

    def metadata(self) -> bytes:
        """The usual document, with `extension` inside the session."""
        text = super().metadata().decode()
        text = text.replace("</session>", f"{self.extension}</session>", 1)
        return text.replace("</participant>", f"{self.caller_extension}</participant>", 1).encode()


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of FACE."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def tree(self) -> Any:
        """The XML as nested dicts and lists of what is below the root; texts are texts."""
        return _plain(etree.fromstring(self.body))

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def code(self) -> int:
        """The return code."""
        return int(self.tree.get("code", self.tree.get("Code")))

    @property
    def message(self) -> str:
        """What is said about it."""
        return str(self.tree["message"])

    @property
    def answer(self) -> tuple[int, str]:
        """Code and message, of an answer that HTTP has nothing to say about."""
        assert self.status == 200, self.status
        return self.code, self.message

    @property
    def recording(self) -> Any:
        """The one recording that is shown, of a command that succeeded."""
        assert self.code == 0, self.text
        return self.tree["recording"]

    @property
    def matches(self) -> list[Any]:
        """The list of matches."""
        assert self.code == -1, self.text
        return [each["match"] for each in self.tree["matches"]]


LISTS = {
    "matches",
    "customDataSets",
    "siprecDataSets",
    "extensionDataSets",
    "values",
    "participants",
    "streams",
    "dtmfDigits",
    "supplementalFiles",
    "segments",
}


def _plain(element: Any) -> Any:
    if element.tag in LISTS:
        return [{child.tag: _plain(child)} for child in element]
    if len(element):
        return {child.tag: _plain(child) for child in element}
    return element.text or ""


@dataclass(slots=True)
class Desk:
    """A recorder with FACE on it, and somebody who uses it."""

    node: Node
    agent: Agent
    http: aiohttp.ClientSession
    stack: AsyncExitStack
    calls: dict[str, Call] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    async def call(
        self,
        ani: str = "1234",
        dnis: str = "8675309",
        ucid: str = "",
        extension: str = "",
        caller_extension: str = "",
    ) -> LiveSession:
        """A new live call by SIPREC, from INVITE to ACK."""
        headers = [("X-ISR-UCID", ucid)] if ucid else []
        parties = [(f"sip:{ani}@soh.net", "Caller"), (f"sip:{dnis}@sh.net", "Agent")]
        frames = [[bytes([16 * n + 3]) * 160] * 500 for n in range(2)]
        call = Call(self.agent, frames, parties=parties, headers=headers)
        call.extension, call.caller_extension = extension, caller_extension
        await self.stack.enter_async_context(call)
        await call.invite()
        live = next(s for s in self.node.services.recorder.sessions() if s.call_id == call.call_id)
        self.calls[live.id] = call
        return live

    async def hang_up(self, live: LiveSession) -> None:
        """End a call, as its client does."""
        await self.calls[live.id].bye()

    async def recorded(self, live: LiveSession, seconds: float = 0.2) -> Recording:
        """Speak for a while, hang up, and wait until the recording is stored with its files."""
        assert live.recording
        recording_id = live.recording.id
        await self.calls[live.id].play(seconds)
        await self.hang_up(live)
        library = self.node.services.library
        await library.finished(recording_id)
        return await library.booked(recording_id)

    async def stored(self, number: int = 1, **fields: Any) -> Recording:
        """A recording of the shop in the catalogue; each a day after the one before."""
        usual = {
            "account": 100,
            "route": 13,
            "session_id": f"s{number}",
            "call_id": f"call-{number}@src",
            "ucid": f"U{number}",
            "ani": "1234",
            "dnis": "8675309",
            "filename": f"r{number}.wav",
            "started_at": FIRST_DAY + timedelta(days=number - 1),
        }
        row = await self.node.stored(f"r{number}", **{**usual, **fields})
        return await self.node.services.catalog.get(row.id)

    async def login(self, email: str, password: str = PASSWORD, **body: str) -> Said:
        """POST /Face/login."""
        return await self.ask(
            "POST", "login", None, body={"userEmail": email, "password": password, **body}
        )

    async def token(self, email: str = "isr@shop.example") -> str:
        """The token of a user who is logged in."""
        if email not in self.tokens:
            self.tokens[email] = (await self.login(email)).tree["token"]
        return self.tokens[email]

    async def ask(
        self,
        method: str,
        path: str,
        who: str | None = "isr@shop.example",
        *,
        body: Mapping[str, str] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        redirects: bool = False,
        query: str = "",
        **parameters: object,
    ) -> Said:
        """One request below /Face with the token of `who` (None: without); `query`: as it is."""
        given = {name.rstrip("_"): str(value) for name, value in parameters.items()}
        if who:
            given = {"token": await self.token(who), **given}
        url = URL(f"{self.node.server.url}/Face/{path}", encoded=True)
        url = URL(f"{url.with_query(given)}{query}", encoded=True)
        data = body if isinstance(body, bytes) else dict(body) if body else None
        async with self.http.request(
            method, url, data=data, headers=headers, allow_redirects=redirects, ssl=False
        ) as response:
            return Said(response.status, dict(response.headers), await response.read())

    async def get(self, path: str, who: str | None = "isr@shop.example", **more: Any) -> Said:
        """GET below /Face."""
        return await self.ask("GET", path, who, **more)

    async def post(self, path: str, who: str | None = "isr@shop.example", **more: Any) -> Said:
        """POST below /Face."""
        return await self.ask("POST", path, who, **more)


async def _staffed(migrated: Path) -> Path:
    """`migrated` with `DIRECTORY` and passwords, made once for each way to hash them."""
    folder = migrated.parent / f"staffed-{passwords.PARAMETERS.memory_cost}"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.copytree(migrated.parent, part, ignore=lambda *_: {part.name})
        await _staff(f"sqlite:///{part / migrated.name}")
        part.rename(folder)
    return folder / migrated.name


async def _staff(url: str) -> None:
    database = Database(url)
    directory = Directory(database)
    users = Users(database, directory, Rules())
    for entry in DIRECTORY:
        await directory.put(entry)
        if isinstance(entry, User):
            await users.set_password(entry.email, PASSWORD, datetime.now(UTC))
    await database.close()


@asynccontextmanager
async def open_desk(
    folder: Path, migrated: Path, face: Face | None = None, **sections: Any
) -> AsyncIterator[Desk]:
    """A recorder with `DIRECTORY`, its users with `PASSWORD`, its media process and SIP."""
    sections["api"] = structs.replace(sections.get("api", Api()), face=face or Face())
    staffed = await _staffed(migrated)
    async with running(folder, staffed, **sections) as node, AsyncExitStack() as stack:
        await node.engine.start()
        config = structs.replace(sections.get("sip", Sip()), listen=["udp://127.0.0.1:0"])
        sip = SipServer(config, node.services.recorder)
        await sip.start()
        stack.push_async_callback(sip.stop)
        uri = f"sip:recorder@{sip.addresses[0].removeprefix('udp://')}"
        agent = await stack.enter_async_context(Agent(uri))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Desk(node, agent, http, stack)


NUMBER = re.compile(r"[0-9]+")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def simultaneously(*asked: Any) -> list[Said]:
    """The answers to requests sent at the same time."""
    return [*await asyncio.gather(*asked)]
