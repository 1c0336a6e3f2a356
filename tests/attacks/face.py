"""FACE as it is attacked: all its routes, what is an answer of it, and a shop with something in it.

The desk is the one of its own tests: a whole recorder with SIP, two tenants and their users.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
from lxml import etree

from api.auth import Authenticator, Failures
from api.basic import BasicAuthenticator
from api.dialect import Context
from api.oracle_face.routes import _commands
from api.sockets import Fanout
from config.dialects import Face
from config.schema import Api
from siprec.session import LiveSession
from storage.records import Recording, SupplementalFile
from tests.api.node import STARTED
from tests.api.oracle_face.desk import Desk, Said
from tests.attacks.tenants import tree

ISR, WEAK, BANK = "isr@shop.example", "weak@shop.example", "isr@bank.example"
SYSTEM = "isr@system.example"
RECORDING = "audioRecording"
DETAILS, DELETE = f"{RECORDING}/details", f"{RECORDING}/delete"
CONTROL = tuple(f"{RECORDING}/{verb}" for verb in ("start", "stop", "pause", "resume"))
FILES = (f"{RECORDING}/download", f"{RECORDING}/redirect")
SELECTING = (
    ("GET", DETAILS),
    ("POST", DETAILS),
    ("DELETE", DETAILS),
    ("POST", DELETE),
    *(("POST", path) for path in CONTROL),
    *(("GET", path) for path in FILES),
)
"""Method and path of what is about a recording or a call."""
CODES = frozenset({-1, 0, 1, 2, 3, 4, 5, *range(10, 18), *range(19, 28)})
"""All that is ever answered as FACE is by default."""
XML = "application/xml;charset=UTF-8"
JSON = "application/json;charset=UTF-8"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Server": "siprecd",
}
UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]|^[.~ -]|[. ]$")
"""Of a name somebody saves a recording under."""
BAD_TOKEN = (401, -1, "Invalid or expired token")
NO_TOKEN = (200, 27, "Missing Parameter - token is required")


def routes(desk: Desk, face: Face | None = None) -> set[tuple[str, str]]:
    """Method and path of every command there is."""
    services, api = desk.node.services, Api(face=face or Face())
    failures = Failures(1)
    context = Context(
        services,
        Authenticator(services.keys, services.users),
        BasicAuthenticator(services.users, services.directory, failures),
        failures,
        api,
        1,
        Fanout(services.feed),
        lambda _: None,
    )
    return {(method, path) for path, each in _commands(context).items() for method in each}


def code_of(said: Said) -> int:
    """The code of an answer; whatever it says, it must be one of FACE, whole and known."""
    assert said.status < 500, said.text
    assert {name: said.headers.get(name) for name in HEADERS} == HEADERS
    kind = said.headers["Content-Type"]
    assert kind in {XML, JSON}, (said.status, kind, said.text)
    if kind == JSON:
        ((root, content),) = msgspec.json.decode(said.body).items()
        code = content.get("code", content.get("Code", 0))
        assert type(code) is int
    else:
        element = etree.fromstring(said.body)
        root, content = element.tag, {child.tag: child.text or "" for child in element}
        code = int(content.get("code", content.get("Code", "0")))
    assert root in {"result", "response"}
    assert "version" in content or content["message"], said.text
    assert code in CODES, said.text
    return code


def brief(said: Said) -> tuple[int, int, str]:
    """Status, code and message of an answer."""
    return said.status, code_of(said), said.message


def seen(said: Said) -> tuple[int, tuple[tuple[str, str], ...], str]:
    """All that is to be seen of an answer; two that are equal tell nothing apart."""
    headers = sorted((name, text) for name, text in said.headers.items() if name != "Date")
    return said.status, tuple(headers), said.text


def move(desk: Desk, host: str) -> None:
    """From now on requests come from this loopback address."""
    connector = aiohttp.TCPConnector(local_addr=(host, 0))
    desk.http = aiohttp.ClientSession(connector=connector)
    desk.stack.push_async_callback(desk.http.close)


@dataclass(frozen=True, slots=True)
class Shop:
    """A live call of the first tenant and a stored recording with a video."""

    desk: Desk
    live: LiveSession
    row: Recording

    @property
    def criteria(self) -> dict[str, Iterable[object]]:
        """Criterion -> what it would have to say to find one of the two."""
        live, row = self.live, self.row
        return {
            "isrUcid": (live.identity.ucid, row.ucid),
            "ingressCallId": (live.call_id, row.call_id),
            "egressCallId": (row.egress_call_id,),
            "thirdpartyId": (row.third_party_id,),
            "ani": ("of-the-shop", row.ani),
            "from": ("of-the-shop",),
            "dnis": ("8675309", row.dnis),
            "to": ("8675309",),
            "filename": (row.filename,),
            "aor": ("sip:of-the-shop@soh.net",),
            "earliestStart": ("2000-01-01T00:00:00",),
            "latestStart": ("2100-01-01T00:00:00",),
            "start": (f"{row.started_at:%Y-%m-%dT%H:%M:%S}",),
            "recordingId": (row.number,),
            "tmpRecordingId": (1, 2, 3),
            "rssId": (1,),
            "channelNumber": [stream.port.rtp_port for stream in live.streams],
            "testCustomData1": ("of-the-shop",),
        }

    async def holdings(self) -> Any:
        """All of it, to be compared."""
        live, services = self.live, self.desk.node.services
        return (
            (live.state, live.marks, live.pauses, live.segments),
            live.recording,
            await services.catalog.get(self.row.id),
            services.directory.entries,
            tree(self.desk.node.folder / "recordings"),
        )


async def shop(desk: Desk) -> Shop:
    """Open it."""
    live = await desk.call("of-the-shop", ucid="ucid-of-the-shop")
    token = await desk.token()
    assert (await desk.get(DETAILS, None, token=token, isrUcid="ucid-of-the-shop")).code == 0
    video = desk.node.put("r1", "1.mp4", b"\0\0\0\x18ftypmp42")
    await desk.node.stored(
        "r1",
        account=100,
        route=13,
        session_id="s-of-the-shop",
        call_id="call-of-the-shop",
        egress_call_id="egress-of-the-shop",
        third_party_id="third-of-the-shop",
        ucid="stored-of-the-shop",
        ani="of-the-shop",
        dnis="8675309",
        filename="of-the-shop.wav",
        started_at=STARTED,
        custom={"testCustomData1": "of-the-shop"},
        supplemental_files=(SupplementalFile(1, "video", "of-the-shop.mp4", video),),
    )
    return Shop(desk, live, await desk.node.services.library.get("r1"))


async def native_token(desk: Desk, email: str, password: str) -> str:
    """A token of a user of any type."""
    now = datetime.now(UTC)
    return (await desk.node.services.users.login(email, password, None, now)).text
