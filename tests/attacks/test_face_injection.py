"""Texts that would be paths, queries, markup or templates where FACE puts them."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest
from lxml import etree

from storage.entries import ExportTemplate
from storage.records import Extension, Participant, SiprecSession
from tests.api.oracle_face.desk import APKT, Desk, open_desk
from tests.api.wires import exchange
from tests.attacks.face import (
    CONTROL,
    DETAILS,
    FILES,
    JSON,
    SELECTING,
    UNSAFE,
    XML,
    brief,
    code_of,
    shop,
)
from tests.attacks.lists import LINES, NAMES, SCRIPTS, SQL
from tests.attacks.tenants import tree, untouched

MARKUP = (
    "]]>",
    "<![CDATA[x]]>",
    "a&b",
    "&amp;",
    "&#0;",
    "&#x1F;",
    "&lol;",
    "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
    "<?xml version='1.0'?>",
    "--><x/>",
    "</message><code>0</code>",
    "\ufffe\uffff",
    "\U0001fffe",
    "\x01\x02\x08\x0b\x0c\x0e\x1f",
    "\x7f\x80\x85\x9f",
    "\t\r\n",
    "\u2028\u2029",
    "\U0001f600",
    "e\u0301",
    "\u202e\u200b\ufeff",
    "\"'`",
    "\\u0000",
    " ",
)
"""What XML does not carry, or only escaped."""
UNFIT = ("\0", "a\0b", "\ud800", "\udfff\ud800", "\udcff")
"""What cannot be sent in a request; a call may bring it all the same."""
EXPRESSIONS = (
    "${recordingId}",
    "${custom.otherName}",
    "$${ani}",
    "${${ani}}",
    "{{7*7}}",
    "#{7*7}",
    "<%= 7*7 %>",
    "%s%n",
    "{0.__class__}",
)
PARTS_OF_PATHS = ("/", "\\", "..", "%2f", "%2e", "\uff0f", "\uff0e")
HOSTILE = (*NAMES[:8], "..\\x", "x\0.wav", "-i", "~", "CON", "\u202egpj.wav", "x" * 300)


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """FACE with two tenants."""
    async with open_desk(tmp_path, migrated) as opened:
        yield opened


# names that would be paths


def anything_outside() -> bool:
    """Whether one of `NAMES` was made where it says."""
    return any(Path(name).exists() for name in ("/etc/x", "/tmp/x", "/tmp/x.wav", "/x"))


async def test_a_new_name_is_refused_or_a_name_and_never_a_path(desk: Desk, tmp_path: Path) -> None:
    there = await shop(desk)
    which: dict[str, Any] = {"recordingId": there.row.number}
    async with untouched(tmp_path / "recordings"):
        for name in (*NAMES, *LINES, *SCRIPTS, *MARKUP):
            said = await desk.post(DETAILS, **which, body={"filename": name})
            kept = (await desk.get(DETAILS, **which)).recording["filename"]
            assert not UNSAFE.search(kept) and len(kept) <= 204, (name, kept)
            if code_of(said):
                assert said.message == "Invalid Parameter - filename", name
                assert kept == "of-the-shop.wav"
                continue
            assert not any(part in name for part in PARTS_OF_PATHS), name
            assert said.recording["filename"] == kept and kept.endswith(".wav")
            assert not UNSAFE.search(unquote(kept)) or "%" in kept, kept
            if kept not in {name, f"{name}.wav"}:
                assert said.message.endswith(f"future commands: {kept}"), name
            whole = await desk.get(FILES[0], **which)
            assert whole.body == bytes(range(256)), "the file is where it was"
            back = await desk.post(DETAILS, **which, body={"filename": "of-the-shop.wav"})
            assert back.code == 0
    assert not anything_outside()


async def test_a_recording_is_not_started_or_ended_under_a_path(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    state = "recording"
    for name in HOSTILE:
        for path, then in ((CONTROL[1], "stopped"), (CONTROL[0], "recording")):
            said = await desk.post(path, isrUcid="U1", body={"filename": name})
            if code_of(said) == 0:
                state = then
                assert not UNSAFE.search(said.recording["filename"]), name
            else:
                assert said.message == "Invalid Parameter - filename", name
            assert live.state == state, name
            if state != then:
                assert (await desk.post(path, isrUcid="U1")).code == 0
                state = then
    files = {path.name for path in (desk.node.folder / "recordings").rglob("*") if path.is_file()}
    assert all(re.fullmatch(r"[0-9a-f]{32}(\.[a-z0-9]+)+", name) for name in files), files


async def test_a_path_that_is_asked_for_is_a_name(desk: Desk, tmp_path: Path) -> None:
    there = await shop(desk)
    for folder in (tmp_path, tmp_path / "recordings"):
        (folder / "secret").write_bytes(b"nobody's business")
    for name in (*NAMES, "../secret", "secret", "../../secret", "of-the-shop.wav/../../secret"):
        for query in {name.replace("\n", " "), quote(name, safe="")}:
            found = [await desk.get(path, filename=query) for path in FILES]
            number = there.row.number * 1000 + 1
            video: dict[str, Any] = {"filename": query, "supplementalFileId": number}
            found.append(await desk.get("file/download", **video))
            for encoded in (quote(query, safe=""), f"2026-11-22/14/05/{quote(query, safe='')}"):
                found.append(await desk.get(f"Recordings/{encoded}"))
            for said in found:
                assert brief(said)[1] in {-1, 4, 5, 11, 19}, (name, said.text)
                assert b"nobody's" not in said.body


def escaped(name: str) -> str:
    """What a document can hold of a name."""
    return escape("".join(c for c in name if c in "\t\n" or c >= " ")).replace('"', "&quot;")


def in_a_line(name: str) -> str:
    """What a header of SIP can hold of a name."""
    return re.sub(r"[\x00-\x20\x7f]", "", name)


async def test_what_a_call_says_of_itself_makes_safe_names(desk: Desk, tmp_path: Path) -> None:
    told = (*NAMES[:12], *HOSTILE[8:], *LINES[:4], *SCRIPTS[:3])
    for number, name in enumerate(told):
        values = "".join(
            f"<apkt:{tag}>{escaped(name)}</apkt:{tag}>" for tag in ("ucid", "realm", "EgressCallId")
        )
        extension = f'<extensiondata xmlns:apkt="{APKT}">{values}</extensiondata>'
        ucid = in_a_line(name) if number % 2 else ""
        live = await desk.call(quote(name[:40]), ucid=ucid, extension=extension)
        assert (await desk.post(CONTROL[1], ingressCallId=live.call_id)).code == 0
        await desk.hang_up(live)
        shown = (await desk.get(DETAILS, ingressCallId=live.call_id)).recording
        assert not UNSAFE.search(shown["filename"]), (name, shown["filename"])
        await _is_offered_safely(desk, int(shown["recordingId"]))
    known = {"recordings", "spool", "source", "siprecd.db", "siprecd.db-wal", "siprecd.db-shm"}
    assert {path.partition("/")[0] for path in tree(tmp_path)} <= known
    assert not anything_outside()


async def head(desk: Desk, path: str, token: str, number: int) -> bytes:
    """The octets of an answer to HEAD."""
    request = (
        f"HEAD /Face/{path}?token={token}&recordingId={number} HTTP/1.1\r\n"
        "Host: x\r\nConnection: close\r\n\r\n"
    )
    return await exchange(desk.node.server.address, request.encode())


async def _is_offered_safely(desk: Desk, number: int) -> None:
    """Headers of download and redirect: one line each, a name that can be saved under."""
    token = await desk.token()
    for path in FILES:
        head = f"HEAD /Face/{path}?token={token}&recordingId={number} HTTP/1.1\r\nHost: x\r\n"
        answer = await exchange(
            desk.node.server.address, f"{head}Connection: close\r\n\r\n".encode()
        )
        lines = answer.removesuffix(b"\r\n\r\n").split(b"\r\n")
        assert len(re.findall(rb"[\r\n]", answer)) == 2 * len(lines) + 2
        assert all(re.fullmatch(rb"[A-Za-z-]+: [ -~]*", line) for line in lines[1:]), lines
        headers = dict(line.decode().split(": ", 1) for line in lines[1:])
        if path == FILES[1]:
            place = urlsplit(headers["Location"])
            assert (place.scheme, place.netloc) == ("", "")
            assert re.fullmatch(r"/Face/Recordings/[\d-]+/\d\d/\d\d/[^/]+", place.path)
            assert ".." not in unquote(place.path).split("/")
            assert re.fullmatch(r"ticket=[\w.-]+", place.query) and not place.fragment
        else:
            shape = r"attachment; filename=\"([^\"\\]*)\"(?:; filename\*=UTF-8''(\S+))?"
            offered = re.fullmatch(shape, headers["Content-Disposition"])
            assert offered and not UNSAFE.search(offered[1])
            assert not UNSAFE.search(unquote(offered[2] or "x"))


async def test_a_name_that_is_stored_stays_in_its_header(desk: Desk) -> None:
    """Names that were stored before there were rules are offered as safely."""
    for number, name in enumerate((*NAMES, *LINES, *SCRIPTS, 'a"b', "a;b=c", "ä%41.wav")):
        await desk.node.stored(f"n{number}", account=100, route=13, filename=name)
        row = await desk.node.services.library.get(f"n{number}")
        answer = await head(desk, FILES[0], await desk.token(), row.number)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), name
        assert all(re.fullmatch(rb"[ -~]*", line) for line in answer.split(b"\r\n")), name


# markup


def flat(found: Any) -> list[str]:
    """All texts of an answer in JSON."""
    match found:
        case dict():
            return [text for value in found.values() for text in flat(value)]
        case list():
            return [text for value in found for text in flat(value)]
    return [str(found)]


async def _parses(desk: Desk, **query: Any) -> tuple[list[str], list[str]]:
    """Texts of an answer in XML and in JSON."""
    said = await desk.get(DETAILS, **query)
    assert said.headers["Content-Type"] == XML and code_of(said) == 0, said.text
    again = await desk.get(DETAILS, **query, headers={"Accept": "application/json"})
    assert again.headers["Content-Type"] == JSON and code_of(again) == 0
    verint = await desk.get(DETAILS, **query, format="template", formatName="Verint")
    assert etree.fromstring(verint.body).tag == "Call"
    texts = [each.text or "" for each in etree.fromstring(said.body).iter() if not len(each)]
    return texts, flat(json.loads(again.body))


async def test_every_stored_text_can_be_shown(desk: Desk) -> None:
    """Whatever it is: answers parse, and what XML can carry is shown as it is."""
    for number, text in enumerate((*MARKUP, *UNFIT, *SCRIPTS, *LINES, *EXPRESSIONS, *SQL)):
        people = (Participant("p", text, text, extensions=(Extension(text, (text,)),)),)
        row = {
            "ani": text,
            "dnis": text,
            "agent_id": text,
            "filename": text,
            "custom": {"otherName": text},
            "participants": people,
            "siprec_sessions": (SiprecSession(text, None, (Extension(text, (text, text)),)),),
        }
        await desk.node.stored(f"m{number}", account=100, route=13, ucid=f"u{number}", **row)
        xml, json_texts = await _parses(desk, isrUcid=f"u{number}")
        if text.isprintable() and text.strip():
            assert xml.count(text) == json_texts.count(text) >= 9, text


async def test_every_text_of_a_live_call_can_be_shown(desk: Desk) -> None:
    for number, text in enumerate((*MARKUP, *UNFIT)):
        aors = {"from_aor": f"sip:{text}@x", "to_aor": f"sip:8675309{text}@x"}
        live = await desk.node.call(f"live{number}@x", **aors)
        assert live.decision.account == 100
        await _parses(desk, ingressCallId=live.call_id)
        said = await desk.post(CONTROL[2], ingressCallId=live.call_id)
        assert said.code == 0, text
        await _parses(desk, ingressCallId=live.call_id)
    for headers in ({}, {"Accept": "application/json"}):
        said = await desk.get(DETAILS, headers=headers)
        assert code_of(said) == -1 and said.body.count(b"filename") >= len(MARKUP)


async def test_every_text_in_a_request_can_be_said_again(desk: Desk) -> None:
    """Names of parameters and events, and what is not to be updated, stand in messages."""
    await desk.token()
    for text in (*MARKUP, *SCRIPTS, *LINES, *EXPRESSIONS, "\0"):
        for headers in ({}, {"Accept": "application/json"}):
            name = quote(text, safe="")
            said = await desk.get(DETAILS, query=f"&{name}=1", headers=headers)
            assert code_of(said) == -1
            said = await desk.get("eventNotify", None, event=text, headers=headers)
            assert code_of(said) == -1 or not text.strip()
    for octets in ("%ff", "%ed%a0%80", "%c0%80", "%", "%zz", "%u0041"):
        assert code_of(await desk.get(DETAILS, query=f"&{octets}=1")) == -1
        assert code_of(await desk.get(DETAILS, query=f"&isrUcid={octets}")) == 26


# templates


async def test_a_value_is_never_a_template(desk: Desk) -> None:
    directory = desk.node.services.directory
    text = '{"ani":"${ani}","agent":"${agentId}","own":"${custom.otherName}","id":${recordingId}}'
    await directory.put(ExportTemplate("shop", 1, text, "application/json"))
    there = await shop(desk)
    which: dict[str, Any] = {"recordingId": there.row.number, "format": "template"}
    for value in (*EXPRESSIONS, *SCRIPTS, *MARKUP):
        body = {"agentId": value, "otherName": value}
        said = await desk.post(DETAILS, recordingId=there.row.number, body=body)
        assert said.code == 0, value
        made = json.loads((await desk.get(DETAILS, **which, formatName="shop")).body)
        if value.isprintable():
            assert (made["agent"], made["own"], made["id"]) == (value, value, there.row.number)
    for name in (*EXPRESSIONS, *NAMES, *SQL):
        said = await desk.get(DETAILS, **which, formatName=name)
        assert brief(said) == (200, -1, "Template not found"), name


# queries


TEXTS = (
    "isrUcid",
    "ingressCallId",
    "egressCallId",
    "thirdpartyId",
    "ani",
    "from",
    "dnis",
    "to",
    "filename",
    "aor",
    "otherName",
    "apkt:realm",
)
NUMBERS = ("recordingId", "tmpRecordingId", "maxListLength", "start", "earliestStart", "audioOnly")


async def test_a_criterion_is_the_text_itself(desk: Desk) -> None:
    there = await shop(desk)
    before = await there.holdings()
    for text in SQL:
        for name in TEXTS:
            said = await desk.ask("DELETE", DETAILS, query=f"&{name}={quote(text)}")
            assert brief(said)[1] in {19, 26}, (name, text)
        for name in NUMBERS:
            said = await desk.ask("DELETE", DETAILS, query=f"&{name}={quote(text)}")
            assert brief(said) == (200, -1, f"Invalid Parameter - {name}"), (name, text)
        for method, path in SELECTING:
            body = {"agentId": "evil"} if method == "POST" else None
            said = await desk.ask(method, path, body=body, query=f"&{quote(text, safe='')}=1")
            assert code_of(said) == -1, (path, text)
    assert await there.holdings() == before


async def test_a_stored_text_is_found_by_itself_only(desk: Desk) -> None:
    there = await shop(desk)
    for text in (*SQL, *SCRIPTS):
        body = {"otherName": text, "agentId": text, text: "1"}
        said = await desk.post(DETAILS, recordingId=there.row.number, body=body)
        assert said.recording["agentId"] == text
        assert (await desk.get(DETAILS, otherName=text)).recording["agentId"] == text
        assert brief(await desk.get(DETAILS, otherName=f"{text}x"))[1] == 19
