"""Tokens in URLs, against the real process at its most talkative: they stay where they belong.

No token, password or ticket is in the log, nor in an answer but that of the login, and the ticket
in the Location of a redirect; and whatever was sent is one line of the log.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from api.oracle_face.asking import FORM
from examples.sip import Agent
from examples.src import RecordingClient
from tests.api.oracle_face.desk import UUID, open_desk
from tests.api.wires import exchange
from tests.attacks.face import DETAILS, HEADERS, code_of, shop
from tests.attacks.lists import LINES, SCRIPTS
from tests.e2e.srs import Srs

EMAIL, PASSWORD = "isr@shop.example", "correct horse battery staple"
WRONG = "nearly the horse staple"
FRAMES = [b"\x55" * 160] * 25
PATHS = (
    *(
        "login",
        "version",
        "eventNotify",
        "StartScreenCapture",
        "StopScreenCapture",
        "file/download",
    ),
    *("nothing", "", "audioRecording", "audioRecording/nothing", "Recordings/nothing.wav"),
    *(
        f"audioRecording/{command}"
        for command in ("details", "delete", "download", "redirect", "start", "pause", "resume")
    ),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")


@dataclass(slots=True)
class Wire:
    """Somebody who writes requests by hand and keeps the answers."""

    srs: Srs
    token: str = ""
    ticket: str = ""
    sent: int = 0
    answers: list[bytes] = field(default_factory=list)

    async def send(self, octets: bytes) -> bytes:
        """One request on a connection of its own, and its answer, which the next one may follow."""
        host, port = self.srs.url.removeprefix("http://").rsplit(":", 1)
        answer = await exchange((host, int(port)), octets)
        self.sent += 1
        self.answers.append(answer)
        return answer

    async def ask(
        self, method: str, target: str, headers: str = "", form: dict[str, str] | None = None
    ) -> bytes:
        """One proper request."""
        body = urlencode(form or {}).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}"
        if form is not None:
            head += f"Content-Type: {FORM}\r\nContent-Length: {len(body)}\r\n"
        return await self.send(head.encode() + b"\r\n" + body)


@asynccontextmanager
async def recorder(folder: Path) -> AsyncIterator[Wire]:
    """A recorder at log level debug, with an API user who has a token."""
    async with Srs(folder, SRS_LOG_LEVEL="debug") as srs:
        user: dict[str, Any] = {"email": EMAIL, "account": 1, "type": "api"}
        user["permissions"] = ["control", "playback", "download", "delete", "edit", "video"]
        for method, path, body in (
            ("PUT", f"directory/users/{EMAIL}", user),
            ("PUT", "directory/custom-fields/case", {"name": "case"}),
            ("POST", f"directory/users/{EMAIL}/password", {"password": PASSWORD}),
        ):
            async with srs.request(method, path, json=body) as response:
                assert response.status < 300, await response.text()
        wire = Wire(srs)
        form = {"userEmail": EMAIL, "password": PASSWORD}
        answer = await wire.ask("POST", "/Face/login", form=form)
        found = re.search(rf"<token>({UUID.pattern})</token>".encode(), answer)
        assert found, answer
        wire.token = found[1].decode()
        wire.answers.clear()
        yield wire


def broken(token: str) -> Iterator[bytes]:
    """Requests that are none, with a token in them."""
    target = f"/Face/{DETAILS}?token={token}"
    end = "Host: x\r\nConnection: close\r\n\r\n"
    yield f"GET {target} HTTP/9.9\r\n{end}".encode()
    yield f"GET {target}\r\n{end}".encode()
    yield f"GET {target} and more HTTP/1.1\r\n{end}".encode()
    yield f"G=T {target} HTTP/1.1\r\n{end}".encode()
    yield f"GET {target}&x={'x' * 9000} HTTP/1.1\r\n{end}".encode()
    yield f"GET {target} HTTP/1.1\r\nX Y: z\r\n{end}".encode()
    yield f"GET {target} HTTP/1.1\r\nX: {token}\x00\r\n{end}".encode()
    yield f"GET {target} HTTP/1.1\r\nContent-Length: {token}\r\n{end}".encode()
    yield f"GET {target} HTTP/1.1\r\nTransfer-Encoding: {token}\r\n{end}".encode()
    yield f"POST {target} HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n{end}".encode()
    yield f"GET {target}\xff HTTP/1.1\r\n{end}".encode("latin-1")
    yield f"{token} {target} HTTP/1.1\r\n{end}".encode()


async def commanded(wire: Wire, call_id: str) -> None:
    """Everything there is, done to a live call, then to its recording."""
    which = f"token={wire.token}&ingressCallId={call_id}"
    for verb in ("pause", "resume", "stop"):
        form = {"agentId": "7"}
        answer = await wire.ask("POST", f"/Face/audioRecording/{verb}?{which}", form=form)
        assert b"<code>0</code>" in answer, answer
    for path in ("details", "download", "redirect"):
        answer = await wire.ask("GET", f"/Face/audioRecording/{path}?{which}")
        assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 302")), answer
    found = re.search(rb"Location: (\S+\?ticket=(\S+))\r\n", wire.answers.pop())
    assert found
    wire.ticket = found[2].decode()
    for place in (found[1].decode(), f"/Face/Recordings/x.wav?ticket={wire.ticket}"):
        await wire.ask("GET", place)
        await wire.ask("GET", f"{place}&token={wire.token}")


async def misused(wire: Wire) -> None:
    """Every path by every method, and what is no request."""
    for token in (wire.token, wire.token[:-1]):
        for path in PATHS:
            for method in METHODS:
                query = f"?token={token}&isrUcid=nobody&password={quote(PASSWORD)}"
                await wire.ask(method, f"/Face/{path}{query}")
        for headers in (
            "Expect: 200-ok\r\n",
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
            "Range: bytes=9-1\r\n",
            "Accept: audio/mpeg\r\n",
            "Authorization: Bearer " + token + "\r\n",
            "Content-Type: application/json\r\n",
            f"Referer: http://x/?token={token}\r\nCookie: token={token}\r\n",
        ):
            await wire.ask("GET", f"/Face/{DETAILS}?token={token}&x=1", headers)
        await wire.ask("GET", f"http://x/Face/{DETAILS}?token={token}")
        await wire.ask("GET", f"/other?token={token}")
        await wire.ask("GET", f"/srs/v1/recordings?token={token}")
        for slip in ("&", ";", "%3F", "%3ftoken%3D1&", "/"):
            await wire.ask("GET", f"/Face/{DETAILS}{slip}token={token}")
            await wire.ask("GET", f"/other{slip}access_token%3d{token}")
            await wire.ask("GET", f"/Face/Recordings/x.wav{slip}Ticket={wire.ticket}")
        for octets in broken(token):
            await wire.send(octets)
    for email, password in ((EMAIL, WRONG), ("nobody@x", PASSWORD), (EMAIL, PASSWORD + "x")):
        form = {"userEmail": email, "password": password, "expirationSeconds": "1x"}
        await wire.ask("POST", "/Face/login", form=form)
        await wire.ask("POST", "/Face/login", form={**form, "expirationSeconds": "60"})
        await wire.ask("POST", "/Face/version", form=form)


async def test_secrets_stay_where_they_belong(tmp_path: Path) -> None:
    async with recorder(tmp_path) as wire, Agent(wire.srs.udp) as agent:
        async with RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            await call.play()
            await commanded(wire, call.call_id)
            await call.bye()
        await misused(wire)
        await wire.ask("GET", f"/Face/version?token={wire.token}")
        assert b"<version>" in wire.answers[-1], "it goes on"
        await wire.srs.stop()
        log = wire.srs.log()
    secrets = (wire.token, wire.token[:-1], wire.ticket, wire.ticket.split(".")[2], PASSWORD, WRONG)
    assert all(len(secret) > 20 for secret in secrets)
    for secret in secrets:
        assert secret not in log and quote(secret) not in log
        assert not [each for each in wire.answers if secret.encode() in each], secret
    heads = [each.partition(b"\r\n\r\n")[0].decode() for each in wire.answers]
    for head in heads:
        for name, text in HEADERS.items():
            assert f"\r\n{name}: {text}" in head, head
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    seen = [line for line in lines if line["event"] in {"request", "request_malformed"}]
    assert len(seen) >= wire.sent > 300, "all of it was logged, without what is secret"
    assert {"/Face/login", f"/Face/{DETAILS}"} <= {line.get("path") for line in seen}


async def test_one_line_for_each_request_whatever_is_in_it(tmp_path: Path) -> None:
    async with recorder(tmp_path) as wire, Agent(wire.srs.udp) as agent:
        async with RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            await call.play()
            await call.bye()
            await wire.srs.recording(call.call_id)
        which = f"token={wire.token}&ingressCallId={call.call_id}"
        before, began = len(wire.srs.log().splitlines()), wire.sent
        for text in (*LINES, *SCRIPTS):
            value = quote(text, safe="")
            header = re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", "", text)
            for form in ({"filename": text}, {"agentId": text, "case": text}, {text or "x": "1"}):
                await wire.ask("POST", f"/Face/{DETAILS}?{which}", form=form)
            for target in (
                f"/Face/{DETAILS}?{which}&{value}=1",
                f"/Face/{DETAILS}?token={wire.token}&filename={value}",
                f"/Face/eventNotify?event={value}&ucid={value}",
                f"/Face/{value}",
                f"/Face/version?x={uuid4()}",
            ):
                agent_name = f"User-Agent: {header}\r\nX-Forwarded-For: {header}\r\n"
                await wire.ask("GET", target, agent_name + f"Accept: {header}\r\n")
            form = {"userEmail": text, "password": text}
            await wire.ask("POST", "/Face/login", form=form)
        sent = wire.sent - began
        await wire.srs.stop()
        raw = (tmp_path / "log").read_bytes()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", raw), "a terminal would obey it"
    assert not re.search("[\x80-\x9f\u2028\u2029\u202e]", raw.decode())
    lines = [json.loads(line) for line in raw.decode().split("\n")[before:] if line]
    assert len([line for line in lines if line["event"] == "request"]) == sent
    assert not [line for line in lines if line["event"] == "forged"]
    for answer in wire.answers:
        head = answer.partition(b"\r\n\r\n")[0]
        assert b"X-Injected" not in head and not re.search(rb"[^\r]\n|\r[^\n]", head), head


async def test_a_failure_nobody_foresaw_tells_nothing(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error deep inside is a 500 in FACE's own words; what it says is for the log only."""
    async with open_desk(tmp_path, migrated) as desk:
        there, token = await shop(desk), await desk.token()

        async def fail(*_: object) -> None:
            raise RuntimeError("the inside of the recorder")

        monkeypatch.setattr(desk.node.services.library, "match", fail)
        for headers in ({}, {"Accept": "application/json"}):
            with capture_logs() as lines:
                said = await desk.get(DETAILS, headers=headers, isrUcid=there.row.ucid)
            assert said.status == 500 and b"inside" not in said.body
            assert b"NACK" in said.body and token.encode() not in said.body
            assert {name: said.headers.get(name) for name in HEADERS} == HEADERS
            assert [line["event"] for line in lines if "request" in line["event"]] == [
                "request_failed",
                "request",
            ]
            assert token not in str(lines)
        monkeypatch.undo()
        assert code_of(await desk.get(DETAILS, isrUcid=there.row.ucid)) == 0
