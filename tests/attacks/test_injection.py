"""Texts that would be headers, lines of the log, queries or scripts where they end up."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from aiohttp import ClientSession

from storage.entries import Account, CustomField, MetadataType, User
from storage.records import Extension, Participant, SiprecSession
from tests.api.node import Node
from tests.api.wires import exchange
from tests.attacks.lists import LINES, NAMES, SCRIPTS, SQL
from tests.attacks.tenants import ask
from tests.e2e.srs import Srs

RECORDINGS = "/srs/v1/recordings"
JSON = {"Content-Type": "application/json"}
CRITERIA = (
    "call_id",
    "egress_call_id",
    "ucid",
    "any_ucid",
    "session_id",
    "siprec_session_id",
    "third_party_id",
    "ani",
    "dnis",
    "filename",
    "agent_id",
    "realm",
    "aor",
)


@pytest.fixture
async def filled(node: Node) -> Node:
    """A node with two recordings and custom data."""
    await node.services.directory.put(CustomField("case"))
    await node.services.directory.put(MetadataType("apkt:x"))
    await node.stored("r1")
    await node.stored("r2", call_id="call-2@src")
    return node


# headers


def saved_as(disposition: str) -> str:
    """The name a client saves a download under (RFC 6266)."""
    found = re.fullmatch(
        r'attachment; filename="([^"\\]*)"(?:; filename\*=UTF-8\'\'(\S+))?', disposition
    )
    assert found, disposition
    return unquote(found[2]) if found[2] else found[1]


async def test_a_name_stays_in_its_header(filled: Node) -> None:
    """Names that were stored before there were rules, or by others, are offered as they are."""
    for number, name in enumerate((*NAMES, *LINES, *SCRIPTS, 'a"b', "a\\b", "a;b=c", "ä%41.wav")):
        recording_id = f"n{number}"
        await filled.stored(recording_id, filename=name)
        row = await filled.services.catalog.get(recording_id)
        request = (
            f"HEAD {RECORDINGS}/{recording_id}/media HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {filled.keys['operator']}\r\n\r\n"
        )
        answer = await exchange(filled.server.address, request.encode())
        lines = answer.removesuffix(b"\r\n\r\n").split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 200 OK", name
        assert len(re.findall(rb"[\r\n]", answer)) == 2 * len(lines) + 2
        assert all(re.fullmatch(rb"[A-Za-z-]+: [ -~]*", line) for line in lines[1:]), name
        (offered,) = [line for line in lines if line.startswith(b"Content-Disposition: ")]
        text = offered.decode().partition(": ")[2]
        assert row
        stem = row.filename[:-4] if row.filename.lower().endswith(".wav") else row.filename
        assert saved_as(text) == f"{stem}.wav"


# the log


async def test_one_line_for_each_request_whatever_is_in_it(tmp_path: Path) -> None:
    async with Srs(tmp_path) as srs:
        host, port = srs.url.removeprefix("http://").rsplit(":", 1)
        before, sent = len(srs.log().splitlines()), 0
        for text in (*LINES, *SCRIPTS, *SQL):
            clean = text.encode().replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
            clean = re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", clean)
            for octets in (
                f"GET /srs/v1/{quote(text, safe='')} HTTP/1.1\r\n".encode(),
                b"GET /srs/v1/sessions HTTP/1.1\r\nUser-Agent: " + clean + b"\r\n",
                b"GET /srs/v1/sessions HTTP/1.1\r\nAuthorization: Bearer " + clean + b"\r\n",
                b"GET /srs/v1/sessions HTTP/1.1\r\nX-Forwarded-For: " + clean + b"\r\n",
                f"GET /srs/v1/sessions?x={quote(text, safe='')} HTTP/1.1\r\n".encode(),
            ):
                whole = octets + b"Host: x\r\nConnection: close\r\n\r\n"
                answer = await exchange((host, int(port)), whole)
                assert answer.startswith(b"HTTP/1."), octets
                sent += 1
            body = json.dumps({"email": text or "x", "password": text or "x"})
            async with srs.request("POST", "login", data=body, headers=JSON) as response:
                assert response.status in {400, 401, 429}
            sent += 1
        await srs.stop()
        raw = (tmp_path / "log").read_bytes()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", raw), "a terminal would obey it"
    lines = [json.loads(line) for line in raw.decode().split("\n")[before:] if line]
    requests = [line for line in lines if line["event"] in {"request", "request_malformed"}]
    assert len(requests) == sent
    assert not [line for line in lines if line["event"] == "forged"]


# the database


async def test_a_search_is_for_the_text_itself(filled: Node) -> None:
    async with filled.client("operator") as client:
        for text in SQL:
            for name in CRITERIA:
                status, found = await ask(client, "GET", f"{RECORDINGS}?{name}={quote(text)}")
                assert status == 200 and json.loads(found)["items"] == [], (name, text)
            for name in ("custom", "extension"):
                known = "case" if name == "custom" else "apkt:x"
                path = f"{RECORDINGS}?{name}={quote(f'{known}={text}')}"
                status, found = await ask(client, "GET", path)
                assert status == 200 and json.loads(found)["items"] == [], (name, text)
                path = f"{RECORDINGS}?{name}={quote(text.replace('=', ''))}={quote(text)}"
                assert (await ask(client, "GET", path))[0] == 400, (name, text)
            for name in ("cursor", "number", "account", "limit", "started_after", "oldest_first"):
                path = f"{RECORDINGS}?{name}={quote(text)}"
                assert (await ask(client, "GET", path))[0] == 400, (name, text)
            for path in (
                f"{RECORDINGS}/{quote(text, safe='')}",
                f"/srs/v1/sessions/{quote(text, safe='')}",
            ):
                assert (await ask(client, "GET", path))[0] == 404, path
        assert len(json.loads((await ask(client, "GET", RECORDINGS))[1])["items"]) == 2


async def test_a_stored_text_is_found_by_itself_only(filled: Node) -> None:
    async with filled.client() as client:
        for text in (*SQL, *SCRIPTS):
            body = {"note": text, "agent_id": text, "custom": {"case": text}}
            status, answer = await ask(client, "POST", f"{RECORDINGS}/r1", body)
            assert status == 200, text
            kept = json.loads(answer)
            assert (kept["note"], kept["agent_id"], kept["custom"]["case"]) == (text, text, text)
            for query in (f"agent_id={quote(text)}", f"custom=case%3D{quote(text)}"):
                found = json.loads((await ask(client, "GET", f"{RECORDINGS}?{query}"))[1])["items"]
                assert [each["id"] for each in found] == ["r1"], (text, query)


# the browser


async def _is_harmless(client: ClientSession, path: str) -> str:
    async with client.get(path) as response:
        text = await response.text(errors="replace")
        assert response.status in {200, 400, 404}, path
        assert response.content_type in {
            "application/json",
            "application/problem+json",
            "audio/wav",
        }
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        policy = response.headers["Content-Security-Policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"
        assert "Access-Control-Allow-Origin" not in response.headers
        if response.content_type == "audio/wav":
            assert response.headers["Content-Disposition"].startswith("attachment; ")
        return text


async def test_a_script_is_text(filled: Node) -> None:
    for text in SCRIPTS:
        people = (Participant("p", text, text, extensions=(Extension(text, (text,)),)),)
        session = SiprecSession(text, None, (Extension(text, (text,)),))
        row: dict[str, Any] = {
            "ani": text,
            "note": text,
            "filename": text,
            "custom": {"case": text},
        }
        await filled.stored("r1", participants=people, siprec_sessions=(session,), **row)
        await filled.services.directory.put(Account(100, text))
        await filled.services.directory.put(User("x@y", 100, username=text))
        encoded = quote(text, safe="")
        async with filled.client() as client:
            assert json.loads(await _is_harmless(client, f"{RECORDINGS}/r1"))["note"] == text
            for path in (
                RECORDINGS,
                f"{RECORDINGS}/r1/media",
                f"{RECORDINGS}/{encoded}",
                f"{RECORDINGS}?{encoded}=1",
                f"{RECORDINGS}?custom={encoded}%3D1",
                "/srs/v1/directory/accounts",
                "/srs/v1/directory/users/x@y",
                f"/srs/v1/directory/users/{encoded}",
                f"/{encoded}",
            ):
                await _is_harmless(client, path)


async def test_an_origin_elsewhere_is_told_nothing(filled: Node) -> None:
    """No script of another page reads an answer: there is no header that lets it."""
    headers = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    async with filled.client() as client:
        for method in ("GET", "POST", "OPTIONS"):
            async with client.request(method, RECORDINGS, headers=headers) as response:
                assert not [name for name in response.headers if name.startswith("Access-Control")]
