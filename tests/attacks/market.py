"""A node with all dialects and two accounts: the shop has one of everything, the bank wants it."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs
from yarl import URL

from api.listener import HEADERS
from config.dialects import Face, Imagicle
from config.schema import Api
from siprec.session import LiveSession
from storage.entries import (
    Account,
    CustomField,
    Destination,
    Entry,
    ExportTemplate,
    MetadataType,
    Permission,
    Policy,
    PolicyAction,
    Route,
    ScreenAgent,
    User,
    When,
    key_of,
    kind_of,
)
from storage.outbox import Notification
from storage.platforms import Integration, RecordingPlatform, RecordingProperties
from storage.records import RecordingQuery
from tests.api.akixi import desk as akixi
from tests.api.node import STARTED, Node, running
from tests.attacks.tenants import tree
from tests.storage.people import make_hashing_cheap, until

PASSWORD = "Admin1234 and more"
WRONG = "not-" + "1f0e" * 10
"""A token, a password, a session that is none."""
MARK = "of-the-shop"
"""In what the shop has."""
SHOP, BANK = 100, 200
BOSS, ISR = "boss@shop.example", "isr@shop.example"
ROOT = "root@system.example"
WEAK, WEAK_ISR = "weak@shop.example", "weakisr@shop.example"
OTHER, OTHER_ISR = "boss@bank.example", "isr@bank.example"
GUEST = "guest@shop.example"
"""Nobody."""
PLATFORM = "House"
"""Everybody's."""
GUID = "a7ae7ea9bf56ebdc:3f5d0705:1559c8e762d:-8000"
RECORDING = f"{1:032x}"
PERMISSIONS: list[Permission] = ["control", "playback", "download", "delete", "edit", "video"]
DIRECTORY: tuple[Entry, ...] = (
    RecordingPlatform(PLATFORM, "192.0.2.1", "Dual", "UDP", "1.0", False),
    RecordingProperties(default_platform=PLATFORM),
    Account(SHOP, MARK, platform=PLATFORM, tenant=MARK),
    Account(BANK, "bank"),
    Route(10, SHOP, MARK, pattern="8675309%"),
    Route(20, BANK, pattern="200%"),
    User(ROOT, 1, "admin"),
    User(BOSS, SHOP, "admin", sip_uri=f"sip:{BOSS}", lines=["8675309"], devices=[MARK]),
    User(ISR, SHOP, "api", permissions=PERMISSIONS, sip_uri=f"sip:{ISR}"),
    User(WEAK, SHOP, "tenant", permissions=[], level=1),
    User(WEAK_ISR, SHOP, "api", permissions=[]),
    User(OTHER, BANK, "admin", sip_uri=f"sip:{OTHER}", lines=["200"]),
    User(OTHER_ISR, BANK, "api", permissions=PERMISSIONS, sip_uri=f"sip:{OTHER_ISR}"),
    CustomField(MARK, accounts=[SHOP]),
    Destination(MARK, "RECORDING_ENDED_EVENT", f"http://127.0.0.1:9/{MARK}", "account", SHOP),
    ScreenAgent(MARK, "192.0.2.2", SHOP),
    Policy(MARK, "agreed", [PolicyAction("StopAudio")], When(account=SHOP)),
    MetadataType("house:type"),
    ExportTemplate("house", 1, "<x/>"),
    Integration(GUID, 2, MARK, account=SHOP, route=10, hosts=[MARK], users=[BOSS]),
)
WITHIN_S = 5
LOGINS = ("/CCS/API", "/auth/", "/attendantservice/auth/", "/srs/v1/login", "/Face/login")
"""What gives tokens and sessions out, and says those it was asked with."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request; its path as it goes over the wire."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_chunked: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """All of it that could give something away."""
        return f"{dict(self.headers)} {self.body.decode(errors='replace')}"

    @property
    def tree(self) -> Any:
        """The body, which is JSON."""
        return msgspec.json.decode(self.body)


@dataclass(slots=True, repr=False)
class Market:
    """The node, what the shop has, and how everybody gets in."""

    node: Node
    http: aiohttp.ClientSession
    live: LiveSession
    sequence: int
    """Of a notification of the shop's that could not be delivered."""
    tokens: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    """Of the Akixi interface. Both by e-mail address."""
    spare: dict[str, str] = field(default_factory=dict)
    """Other tokens, to be ended."""

    def key(self, kind: str) -> str:
        """The key of the shop's entry of a kind; of a kind without one, any."""
        entries = (entry for entry in DIRECTORY if kind_of(entry) == kind)
        return next((key_of(entry) for entry in entries), "nine.9")

    def entry(self, kind: str) -> Any:
        """The shop's entry of a kind, as JSON has it; empty of a kind without one."""
        by_key = self.node.services.directory.entries.by_key()
        entry = by_key.get((kind, self.key(kind)))
        return msgspec.to_builtins(entry) if entry else {}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What is never said or logged."""
        sent = (basic(email).removeprefix("Basic ") for email in self.tokens)
        return (PASSWORD, WRONG, *self.tokens.values(), *self.sessions.values(), *sent)

    async def send(self, sent: Sent) -> Said:
        """One request, which is logged once, answered soon, and gives no secret away."""
        with capture_logs() as lines:
            async with asyncio.timeout(WITHIN_S), self._request(sent) as response:
                said = Said(response.status, dict(response.headers), await response.read())
            await until(lambda: any(line["event"].startswith("request") for line in lines))
        logged = [line for line in lines if line["event"].startswith("request")]
        assert len(logged) == 1 and logged[0]["status"] == said.status, (sent, lines)
        if logged[0]["event"] == "request_malformed":
            assert said.status == 400, (sent, said)
        else:
            assert (logged[0]["event"], logged[0]["method"]) == ("request", sent.method)
        assert said.status < 500 and b"Traceback" not in said.body, (sent, said)
        assert {name: said.headers.get(name) for name in HEADERS} == HEADERS, (sent, said)
        is_login = sent.path.startswith(LOGINS)
        for secret in self.secrets:
            assert secret not in str(lines), (sent, lines)
            assert is_login or secret not in said.text, (sent, said)
        return said

    def _request(self, sent: Sent) -> Any:
        url = URL(self.node.server.url + sent.path, encoded=True)
        body: Any = sent.body
        if sent.body is not None:
            body = _pieces(sent.body) if sent.is_chunked else io.BytesIO(sent.body)
        return self.http.request(
            sent.method,
            url,
            data=body,
            headers=sent.headers,
            allow_redirects=False,
            skip_auto_headers=["Content-Type", "Accept", "User-Agent"],
        )

    @asynccontextmanager
    async def asking_from(self, address: str) -> AsyncIterator[None]:
        """Requests come from this loopback address, where nobody has failed to log in yet."""
        usual, jar = self.http, aiohttp.DummyCookieJar()
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        async with aiohttp.ClientSession(cookie_jar=jar, connector=connector) as http:
            self.http = http
            try:
                yield
            finally:
                self.http = usual

    async def holdings(self) -> Any:
        """All that is kept, to be compared."""
        live, services = self.live, self.node.services
        return (
            (live.state, live.marking, live.saving, live.marks, live.pauses, live.segments),
            live.recording,
            [each.id for each in services.recorder.sessions()],
            await services.catalog.find(RecordingQuery()),
            services.directory.entries,
            await services.outbox.find(),
            tree(self.node.folder / "recordings"),
        )


def basic(name: str, password: str = PASSWORD) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 16 * 1024):
        yield body[start : start + 16 * 1024]


@asynccontextmanager
async def open_market(folder: Path, migrated: Path) -> AsyncIterator[Market]:
    """Open it: a live call, a stored recording and a dead letter of the shop."""
    api = Api(face=Face(release="6.4"), imagicle=Imagicle(upload_mb=1))
    jar = aiohttp.DummyCookieJar()
    with pytest.MonkeyPatch.context() as patch:
        make_hashing_cheap(patch)
        async with running(folder, migrated, api=api) as node:
            await node.engine.start()
            entries = {(kind_of(entry), key_of(entry)): entry for entry in DIRECTORY}
            await node.services.directory.edit(lambda _: entries)
            live = await node.call(f"{MARK}@src", to_aor="sip:8675309@shop.example")
            assert live.recording and live.decision.account == SHOP
            async with aiohttp.ClientSession(cookie_jar=jar) as http:
                market = Market(node, http, live, await _stored(node))
                await _let_in(market)
                yield market


async def _stored(node: Node) -> int:
    """A recording, and a letter; its number."""
    row = await node.stored(
        RECORDING,
        account=SHOP,
        route=10,
        filename=f"{MARK}.wav",
        call_id="stored",
        ucid="stored",
        owner=BOSS,
        started_at=STARTED,
    )
    mp3 = node.put(RECORDING, "mp3", b"\xff\xfb\x90\0" * 100)  # so that none is made
    await node.services.catalog.save(replace(row, files=(*row.files, mp3)))
    outbox, url = node.services.outbox, "http://127.0.0.1:9/x"
    letter = Notification("e1", MARK, MARK, datetime.now(UTC), "GET", url, account=SHOP)
    await outbox.put([letter])
    (queued,) = await outbox.find()
    await outbox.bury(queued.sequence, "refused")
    return queued.sequence


async def _let_in(market: Market) -> None:
    """Everybody has a password, a token and a session."""
    users, now = market.node.services.users, datetime.now(UTC)
    for person in (entry for entry in DIRECTORY if isinstance(entry, User)):
        await users.set_password(person.email, PASSWORD, now)
        for tokens in (market.tokens, market.spare):
            tokens[person.email] = (await users.login(person.email, PASSWORD, None, now)).text
        made = await market.send(Sent("POST", "/CCS/API/v1/session"))
        market.sessions[person.email] = made.tree["SessionID"]
        credentials = {"UserName": person.email, "Password": PASSWORD}
        body = akixi.request("Authenticate", market.sessions[person.email], credentials)
        said = await market.send(Sent("POST", "/CCS/API/ws", XML, body.encode()))
        assert b'Result="Success"' in said.body


XML = {"Content-Type": "text/xml"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def encoded(tree: object) -> bytes:
    """JSON as clients write it."""
    return json.dumps(tree).encode()
