"""Names that would be paths: in what people type, and in what a call says of itself."""

import json
import re
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from examples.sip import Agent, CallError
from examples.src import RecordingClient
from storage.entries import CustomField
from tests.api.node import Node
from tests.attacks.lists import LINES, NAMES
from tests.attacks.tenants import ask, tree, untouched
from tests.e2e.srs import Json, Srs

RECORDINGS = "/srs/v1/recordings"
UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]|^[.~ -]|[. ]$")
"""Of a name somebody saves a recording under."""
OF_OURS = re.compile(
    r"(data(/(recordings|spool|siprecd\.db(-wal|-shm)?|[a-z]+\.(json|db(-wal|-shm)?|lock)))?|log"
    r"|data/recordings/\d{4}-\d\d-\d\d(/\d\d(/\d\d(/[0-9a-f]{32}(\.[a-z0-9]+)+)?)?)?"
    r"|data/spool/[0-9a-z.-]+)"
)
"""Every file and folder of a recorder, relative to where it was started."""


@pytest.fixture
async def filled(node: Node) -> Node:
    """A node with two recordings of one folder."""
    await node.services.directory.put(CustomField("case"))
    await node.stored("r1", filename="one.wav")
    await node.stored("r2", filename="Two.wav")
    return node


def anything_outside() -> bool:
    """Whether one of `NAMES` was made where it says."""
    return any(Path(name).exists() for name in ("/etc/x", "/tmp/x", "/tmp/x.wav", "/x"))


# what people type


async def test_a_file_name_is_refused_or_a_name_and_never_a_path(
    filled: Node, tmp_path: Path
) -> None:
    recordings = tmp_path / "recordings"
    async with filled.client() as client, untouched(recordings):
        for name in (*NAMES, *LINES):
            body = {"filename": name}
            status, text = await ask(client, "POST", f"{RECORDINGS}/r1", body)
            assert status in {200, 400}, (name, text)
            kept = json.loads((await ask(client, "GET", f"{RECORDINGS}/r1"))[1])["filename"]
            assert not UNSAFE.search(kept) and len(kept) <= 200, (name, kept)
            assert (status == 200) == (kept != "one.wav"), (name, kept)
            if status == 200:
                assert not UNSAFE.search(unquote(kept)) or "%" in kept, kept
                await ask(client, "POST", f"{RECORDINGS}/r1", {"filename": "one.wav"})
            async with client.get(f"{RECORDINGS}/r1/media") as response:
                assert await response.read() == bytes(range(256)), "the file is where it was"
    assert not anything_outside()


@pytest.mark.parametrize("name", ["Two.wav", "two.wav", "TWO.WAV", "two", "\uff34wo.wav"])
async def test_the_name_of_another_recording_is_taken(filled: Node, name: str) -> None:
    async with filled.client() as client:
        status, _ = await ask(client, "POST", f"{RECORDINGS}/r1", {"filename": name})
        kept = json.loads((await ask(client, "GET", f"{RECORDINGS}/r1"))[1])["filename"]
    assert (status, kept) == (409, "one.wav") or (status == 200 and name[0] == "\uff34")


async def test_an_id_is_never_a_path(filled: Node, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"of nobody's business")
    paths = (
        "recordings/{}",
        "recordings/{}/media",
        "recordings/{}/peaks",
        "sessions/{}",
        "directory/users/{}",
        "directory/templates/{}",
        "{}",
    )
    names = (*NAMES, "../secret", "../../secret", "../siprecd.db", "r1/../../secret")
    async with filled.client() as client, untouched(tmp_path / "recordings"):
        for name in names:
            for encoded in {quote(name, safe=""), quote(quote(name, safe=""), safe="")}:
                for path in paths:
                    status, text = await ask(client, "GET", f"/srs/v1/{path.format(encoded)}")
                    assert status == 404, (path, name)
                    assert "nobody's" not in text
            status, _ = await ask(client, "DELETE", f"{RECORDINGS}/{quote(name, safe='')}")
            assert status == 404
            query = f"{RECORDINGS}/r1/media?format={quote(name)}"
            assert (await ask(client, "GET", query))[0] == 400


# what a call says of itself


class Liar(RecordingClient):
    """A recording client whose metadata says what it likes."""

    told = b""

    def metadata(self) -> bytes:
        """What it was told to say."""
        return self.told


def metadata_of(name: str) -> bytes:
    """A document in which everything is called `name`, so far as XML can say it."""
    text = "".join(c for c in name if c in "\t\n" or c >= " ").encode("ascii", "xmlcharrefreplace")
    word = text.replace(b"&#", b"\0").replace(b"&", b"&amp;").replace(b"\0", b"&#")
    word = word.replace(b"<", b"&lt;").replace(b'"', b"&quot;")
    return (
        b'<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"'
        b' xmlns:apkt="http://acmepacket.com/siprec/extensiondata"><datamode>complete</datamode>'
        b'<session session_id="%(n)s"><sipSessionID>%(n)s</sipSessionID>'
        b"<extensiondata><apkt:ucid>%(n)s</apkt:ucid><apkt:realm>%(n)s</apkt:realm>"
        b"<apkt:EgressCallId>%(n)s</apkt:EgressCallId></extensiondata></session>"
        b'<participant participant_id="%(n)s"><nameID aor="%(n)s"><name>%(n)s</name></nameID>'
        b'</participant><stream stream_id="%(n)s" session_id="%(n)s"><label>%(n)s</label></stream>'
        b'<participantstreamassoc participant_id="%(n)s"><send>%(n)s</send>'
        b"</participantstreamassoc></recording>" % {b"n": word}
    )


def in_a_line(name: str) -> str:
    """What a line of SIP or SDP can hold of `name`; more of it is no line."""
    return re.sub(r"[\x00-\x20\x7f]", "", name)


async def called(agent: Agent, call_id: str, name: str) -> None:
    """A short call that calls everything `name`. Raises CallError."""
    frames = [b"\x55" * 160] * 3
    call = Liar(agent, [frames, frames], parties=((f"sip:{name}@x", name),))
    call.told = metadata_of(name)
    call.call_id = call_id
    for stream in call.streams:
        stream.label = in_a_line(name) or stream.label
    async with call:
        await call.invite()
        await call.play()
        await call.bye()


async def finished(srs: Srs, count: int) -> list[Json]:
    """All recordings, once there are `count` and all have their files."""
    return await srs.recordings("", count)


@pytest.mark.slow
async def test_whatever_a_call_says_its_files_have_names_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "recorder"
    folder.mkdir(parents=True)
    names = [name for name in (*NAMES, *LINES) if len(in_a_line(name).encode()) < 500]
    async with Srs(folder) as srs, Agent(srs.tcp, "tcp") as agent:
        refused = 0
        for number, name in enumerate(names):
            try:
                await called(agent, f"{number}{in_a_line(name)}", name)
            except CallError as error:
                assert (error.status, str(error)) == (400, "400 Malformed Call-ID"), name
                refused += 1
                await called(agent, f"{number}@src", name)
        assert 0 < refused < len(names) - 10, "of what a Call-ID can hold, much is tried"
        rows = await finished(srs, len(names))
        assert len(rows) == len(names)
        assert {"../x", "/etc/x", "..\\x", "-i", "~"} <= {row["ucid"] for row in rows}
        for row in rows:
            assert not UNSAFE.search(row["filename"]), row["filename"]
            await _is_offered_under_a_safe_name(srs, row)
        await srs.stop()
        log = (folder / "log").read_bytes()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", log)
    assert all(isinstance(json.loads(line), dict) for line in log.decode().splitlines()[1:] if line)
    assert {*tree(tmp_path)} - {"a", "a/b", "a/b/recorder"} == {
        f"a/b/recorder/{path}" for path in tree(folder)
    }
    assert not [path for path in tree(folder) if not OF_OURS.fullmatch(path)]
    assert not anything_outside()


async def _is_offered_under_a_safe_name(srs: Srs, row: Json) -> None:
    path = f"recordings/{row['id']}/media"
    async with srs.request("GET", path) as response:
        await response.read()
        assert response.status in {200, 404}, row
        if response.status == 200:
            offered = response.content_disposition
            assert offered and offered.filename and not UNSAFE.search(offered.filename)
