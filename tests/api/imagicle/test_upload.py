"""Uploads as clients send them: every answer, every way a body can come, and what is left of it."""

import asyncio
import hashlib
import io
import json
import random
import re
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
from msgspec import structs

from api.imagicle.upload import JSON_BYTES, MOST_PARTS, OVERHEAD_BYTES
from api.listener import Limits
from config.dialects import Imagicle
from config.schema import Api
from media.wav import header
from siprec import importer
from storage.entries import Account, Entry, User
from storage.records import Recording, RecordingQuery
from tests.api.node import Node, running

PATH = "/fw/Apps/Recorder/WebAPI/Recordings"
PASSWORD = "Admin1234 and more"
BOUNDARY = "8d0d51ed-3539-48fa-a239-fb4ee91b3b99"
DIRECTORY: tuple[Entry, ...] = (
    Account(100, "Shop", retention_days=30),
    User("manager@shop.example", 100, "admin", username="manager"),
    User("giuliano@shop.example", 100, username="giuliano", lines=["376"]),
    User("bank@bank.example", 1, "admin", username="bank"),
)
SAMPLES = np.random.default_rng(8).integers(-9_000, 9_000, 8_000, dtype=np.int16)
WAV = header(1, 8_000, 8_000) + SAMPLES.tobytes()
STEREO = header(2, 8_000, 4_000) + SAMPLES.tobytes()


def metadata(**fields: Any) -> dict[str, Any]:
    return {
        "direction": 2,
        "localParty": {"phoneNumber": "376", "username": "giuliano"},
        "pbxCallId": "1",
        "preserved": True,
        "duration": "PT1S",
        "notes": "text describing recording content",
        "startDateTime": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
        "remoteParty": {"phoneNumber": "123456"},
        **fields,
    }


def part(headers: str, body: bytes) -> bytes:
    return headers.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


def described(said: Any = None) -> bytes:
    """The part `jsondata`, with the headers of the published example."""
    body = said if isinstance(said, bytes) else json.dumps(said or metadata(), indent=4).encode()
    head = "Content-Type: multipart/form-data\nContent-Disposition: form-data; name=jsondata"
    return part(head, body)


def attached(audio: bytes = WAV, name: str = "sample.wav") -> bytes:
    """The part `attachment`, with the headers of the published example."""
    head = "Content-Type: audio/mpeg\nContent-Disposition: form-data; name=attachment; "
    return part(f"{head}filename={name}; filename*=utf-8''{name}", audio)


def form(*parts: bytes, end: bytes = b"--\r\n") -> bytes:
    delimiter = f"\r\n--{BOUNDARY}".encode()
    body = b"".join(delimiter + b"\r\n" + each for each in parts)
    return body.removeprefix(b"\r\n") + delimiter + end


def credentials(name: str = "manager", password: str = PASSWORD) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    headers: Any
    body: bytes

    @property
    def refusal(self) -> tuple[int, int | None, str]:
        """Status, reason and message."""
        if not self.body:
            return self.status, None, ""
        tree = json.loads(self.body)
        assert set(tree) == {"reason", "message"}, tree
        assert self.headers["Content-Type"] == "application/json"
        return self.status, tree["reason"], tree["message"]


@dataclass(slots=True)
class Desk:
    """A node, and somebody who uploads to it."""

    node: Node
    http: aiohttp.ClientSession

    async def post(self, body: Any, who: str | None = "manager", **headers: str) -> Said:
        usual = {"Content-Type": f'multipart/form-data; boundary="{BOUNDARY}"'}
        if who:
            usual["Authorization"] = credentials(who)
        url = self.node.server.url + PATH
        body = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.http.post(url, data=body, headers={**usual, **headers}) as response:
            return Said(response.status, response.headers, await response.read())

    async def fetch(self, path: str) -> bytes:
        """What is at a path below that of recordings."""
        headers = {"Authorization": credentials()}
        async with self.http.get(self.node.server.url + PATH + path, headers=headers) as response:
            assert response.status == 200
            return await response.read()

    async def get(self, path: str) -> Any:
        return json.loads(await self.fetch(path))

    async def row(self, said: Said) -> Recording:
        """The recording that an answer names."""
        assert said.status == 201, (said.status, said.body)
        assert said.headers["Content-Type"] == "application/json"
        (name,) = re.fullmatch(
            rb'\{"id":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"\}', said.body
        ).groups()  # type: ignore[union-attr]
        return await self.node.services.catalog.get(name.decode().replace("-", ""))

    async def opened(self, length: int | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which the head of an upload was sent; length None: it is chunked."""
        host, port = self.node.server.address
        reader, writer = await asyncio.open_connection(host, port)
        size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        writer.write(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {credentials()}\r\n{size}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
        )
        await writer.drain()
        return reader, writer

    @property
    def left(self) -> list[str]:
        """Files that lie about while nothing is being uploaded."""
        folder = self.node.folder / "spool" / importer.FOLDER
        return [path.name for path in folder.glob("*")]

    @property
    def stored(self) -> list[Path]:
        return [p for p in (self.node.folder / "recordings").rglob("*") if p.is_file()]


async def answer(reader: asyncio.StreamReader) -> Said:
    """The answer on a connection, which is closed after it."""
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.title(): text for name, _, text in (line.partition(": ") for line in lines)}
    return Said(int(first.split()[1]), headers, body)


@asynccontextmanager
async def open_desk(
    folder: Path, migrated: Path, limits: Limits | None = None, **settings: Any
) -> AsyncIterator[Desk]:
    api = structs.replace(Api(), imagicle=Imagicle(**settings))
    async with running(folder, migrated, limits, api=api) as node:
        for entry in DIRECTORY:
            await node.services.directory.put(entry)
            if isinstance(entry, User):
                await node.services.users.set_password(entry.email, PASSWORD, datetime.now(UTC))
        async with aiohttp.ClientSession() as http:
            yield Desk(node, http)


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, migrated, upload_mb=1) as desk:
        yield desk


# what is taken


async def test_the_published_example(desk: Desk) -> None:
    row = await desk.row(await desk.post(form(described(), attached())))
    assert (row.status, row.owner, row.local_party, row.remote_party, row.direction) == (
        "complete",
        "giuliano@shop.example",
        "376",
        "123456",
        "outgoing",
    )
    assert (row.account, row.call_id, row.note, row.never_expire, row.duration_ms) == (
        100,
        "1",
        "text describing recording content",
        True,
        1_000,
    )
    assert (row.filename, row.warnings) == ("sample.wav", ())
    assert [(each.actor, each.action, each.reason) for each in row.history] == [
        ("manager@shop.example", "upload", ""),
        ("manager@shop.example", "update", "note, never_expire=true"),
    ]
    path = desk.node.services.blobs.path(row.files[0].key)
    assert path and path.read_bytes() == WAV
    assert desk.left == []
    page = await desk.node.services.library.find(RecordingQuery(owner="giuliano@shop.example"))
    assert [each.id for each in page.items] == [row.id]


async def test_it_is_listed_shown_and_downloaded_as_any_other(desk: Desk) -> None:
    at_16_khz = header(1, 16_000, 16_000) + np.repeat(SAMPLES, 2).tobytes()
    said = metadata(startDateTime="2026-11-22T13:00:00.0000000+01:00")
    await desk.node.services.directory.put(Account(100, "Shop"))
    answered = json.loads((await desk.post(form(described(said), attached(at_16_khz)))).body)
    (listed,) = (await desk.get("?ownerUsername=giuliano"))["recordings"]
    shown = await desk.get(f"/{answered['id']}")
    row = await desk.node.services.catalog.get(answered["id"].replace("-", ""))
    assert listed == {
        "id": answered["id"],
        "referenceNumber": f"2026{row.number:08}",
        "startTime": "2026-11-22T12:00:00.0000000+00:00",
        "duration": "PT0M1S",
        "direction": 2,
        "localPartyNumber": "376",
        "remotePartyNumber": "123456",
        "ownerUsername": "giuliano",
    }
    assert shown["pbxCallId"] == "1"
    assert shown["owner"]["username"] == "giuliano"
    assert shown["preservingUser"]["username"] == "manager"
    assert shown["note"]["owner"]["username"] == "manager"
    assert shown["note"]["text"] == "text describing recording content"
    assert shown["size"] == len(at_16_khz)
    assert shown["hash"] == {"SHA256": hashlib.sha256(at_16_khz).hexdigest().upper()}
    with av.open(io.BytesIO(await desk.fetch(f"/{answered['id']}/Media")), "r") as container:
        (stream,) = container.streams.audio
        heard = np.concatenate([each.to_ndarray() for each in container.decode(stream)], axis=1)
    assert (stream.codec_context.name, stream.rate, heard.shape) == (
        "mp3float",
        16_000,
        (1, 16_000),
    )


async def test_every_way_a_body_can_come(desk: Desk) -> None:
    whole = form(described(), attached())

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for begin in range(0, len(whole), size):
            yield whole[begin : begin + size]

    other = part('Content-Disposition: form-data; name="other"', bytes(70_000))
    quoted = part(
        'content-disposition: form-data; name="jsondata"\ncontent-type: application/json',
        json.dumps(metadata()).encode(),
    )
    bodies: dict[str, Any] = {
        "chunks of 61": pieces(61),
        "chunks of 1,000": pieces(1_000),
        "the audio first": form(attached(), described()),
        "other parts before, between and after": form(other, described(), other, attached(), other),
        "as many parts as may be": form(described(), *[other[:60]] * (MOST_PARTS - 2), attached()),
        "with application/json": form(quoted, attached()),
        "a preamble and an epilogue": b"preamble\r\n" + whole + b"epilogue",
        "without a name of the file": form(
            described(), part("Content-Disposition: form-data; name=attachment", WAV)
        ),
        "the boundary almost in it": form(
            described(), attached(WAV + f"\r\n--{BOUNDARY[:-1]}\r\n".encode())
        ),
        "a byte order mark": form(
            described(b"\xef\xbb\xbf" + json.dumps(metadata()).encode()), attached()
        ),
    }
    for name, body in bodies.items():
        row = await desk.row(await desk.post(body))
        assert row.duration_ms == 1_000, name
    assert await desk.node.services.catalog.count() == len(bodies)
    assert desk.left == []


async def test_the_audio_is_known_by_its_content(desk: Desk) -> None:
    for codes in (6, 7):
        octets = bytearray(header(1, 8_000, 4_000) + bytes(8_000))
        octets[20:22], octets[32:34], octets[34:36] = (
            codes.to_bytes(2, "little"),
            b"\1\0",
            b"\x08\0",
        )
        row = await desk.row(await desk.post(form(described(), attached(bytes(octets)))))
        assert (row.files[0].channels, row.duration_ms) == (1, 1_000)


async def test_stereo_is_mixed_unless_the_setting_says(tmp_path: Path, migrated: Path) -> None:
    for stereo, channels in ((False, 1), (True, 2)):
        folder = tmp_path / str(channels)
        folder.mkdir()
        async with open_desk(folder, migrated, stereo_uploads=stereo) as desk:
            row = await desk.row(await desk.post(form(described(), attached(STEREO))))
            assert row.files[0].channels == channels


async def test_real_clients(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "said.json").write_text(json.dumps(metadata()))
    (tmp_path / "sample.wav").write_bytes(WAV)
    url = desk.node.server.url + PATH
    script = (
        "const fs = require('fs'); const form = new FormData();"
        "const [url, authorization] = process.argv.slice(1);"
        "form.append('jsondata', new Blob([fs.readFileSync('said.json')],"
        " {type: 'application/json'}));"
        "form.append('attachment', new Blob([fs.readFileSync('sample.wav')]), 'sample.wav');"
        "fetch(url, {method: 'POST', headers: {authorization}, body: form})"
        ".then(r => r.text()).then(t => process.stdout.write(t));"
    )
    commands = [
        [
            *("curl", "-s", "-u", f"manager:{PASSWORD}", url),
            *("-F", "jsondata=<said.json;type=application/json"),
            *("-F", "attachment=@sample.wav;type=audio/wave"),
        ],
        ["node", "-e", script, url, credentials()],
    ]
    for command in commands:
        if not shutil.which(command[0]):
            continue
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        row = await desk.node.services.catalog.get(json.loads(out)["id"].replace("-", ""))
        assert (row.duration_ms, row.filename) == (1_000, "sample.wav"), command[0]
    data = aiohttp.FormData()
    data.add_field("jsondata", json.dumps(metadata()), content_type="application/json")
    data.add_field("attachment", WAV, filename="sample.wav", content_type="audio/x-wav")
    async with desk.http.post(url, data=data, headers={"Authorization": credentials()}) as response:
        assert response.status == 201


# what is refused


def old(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def rows() -> Iterator[tuple[str, bytes, tuple[int, int | None, str]]]:
    """Name, body, and status, reason and message of its answer."""
    whole = form(described(), attached())
    broken = "The body is not proper multipart/form-data"
    small = part('Content-Disposition: form-data; name="x"', b"")
    deep = b'{"a":' * 12_000
    yield "nothing", b"", (400, 0, broken)
    yield "no form", b"{}", (400, 0, broken)
    yield "cut off in the JSON", whole[:300], (400, 0, broken)
    yield "cut off in the audio", whole[:-3_000], (400, 0, broken)
    yield "without its end", whole[:-4], (400, 0, broken)
    yield "another boundary", whole.replace(b"8d0d51ed", b"8d0d51ee"), (400, 0, broken)
    yield "line feeds only", whole.replace(b"\r\n", b"\n"), (400, 0, broken)
    yield "no headers", form(b"\r\n{}", attached()), (400, 0, broken)
    yield "too many parts", form(described(), *[small] * MOST_PARTS), (400, 0, broken)
    yield "100,000 parts", form(*[small] * 15_000), (400, 0, broken)
    yield "a header of 100 kB", form(part("X: " + "x" * 100_000, b"")), (400, 0, broken)
    yield "100 headers", form(part("X: y\n" * 100 + "Z: y", b"")), (400, 0, broken)
    yield "no part", form(), (400, 0, "There is no part jsondata")
    yield "no jsondata", form(attached()), (400, 0, "There is no part jsondata")
    yield (
        "null",
        form(described(b"null"), attached()),
        (400, 0, "The body is null or no JSON object"),
    )
    yield (
        "no JSON",
        form(described(b"x=1"), attached()),
        (400, 0, "The body cannot be parsed as JSON"),
    )
    yield "deep", form(described(deep), attached()), (400, 0, "The body cannot be parsed as JSON")
    yield (
        "jsondata too large",
        form(described(b" " * (JSON_BYTES + 1)), attached()),
        (400, 0, "The part jsondata is too large"),
    )
    yield "twice", form(described(), described()), (400, 0, "More than one part jsondata")
    yield "two files", form(attached(), attached()), (400, 0, "More than one part attachment")
    for fields, message in (
        ({"startDateTime": "2018/45/01"}, "startDateTime: not an ISO 8601 date and time"),
        ({"startDateTime": old(-1)}, "startDateTime: it is in the future"),
        ({"duration": "PT0S"}, "duration: it is not more than 0"),
        ({"direction": 5}, "Invalid enum value 5 - at `$.direction`"),
        ({"localParty": None}, "Expected `object`, got `null` - at `$.localParty`"),
        (
            {"localParty": {"username": "giuliano"}},
            "Object missing required field `phoneNumber` - at `$.localParty`",
        ),
        (
            {"localParty": {"username": "nobody", "phoneNumber": "1"}},
            "localParty.username: no user, or more than one, is called 'nobody'",
        ),
        (
            {"localParty": {"username": "bank", "phoneNumber": "1"}},
            "localParty.username: no user, or more than one, is called 'bank'",
        ),
        ({"notes": "x" * 1_025}, "note: 1025 characters, 1024 are the most"),
    ):
        yield message, form(described(metadata(**fields)), attached()), (400, 1, message)
    yield "no attachment", form(described()), (400, 2, "There is no part attachment")
    for audio, message in (
        (b"", "The attachment cannot be used: not a WAV file"),
        (b"ID3\x04" + bytes(5_000), "The attachment cannot be used: not a WAV file"),
        (
            header(3, 8_000, 5) + bytes(30),
            "The attachment cannot be used: 3 channels: neither mono nor stereo",
        ),
        (header(1, 8_000, 0), "The attachment cannot be used: a WAV file without audio"),
    ):
        yield message, form(described(), attached(audio)), (400, 2, message)
    too_large = (400, 2, "The attachment is larger than 1 MiB")
    yield "too large", form(described(), attached(bytes((1 << 20) + 1))), too_large
    rest = part("Content-Disposition: form-data; name=x", bytes((2 << 20) + 1))
    yield "something else too large", form(described(), rest), too_large
    yield "too old", form(described(metadata(startDateTime=old(31))), attached()), (409, None, "")


async def test_what_is_refused_and_why(desk: Desk) -> None:
    found = {name: (await desk.post(body)).refusal for name, body, _ in rows()}
    assert found == {name: wanted for name, _, wanted in rows()}
    assert await desk.node.services.catalog.count() == 0
    assert (desk.left, desk.stored) == ([], [])


async def test_the_largest_that_fits(desk: Desk) -> None:
    frames = (1 << 19) - 22
    audio = header(1, 48_000, frames) + bytes(2 * frames)
    assert len(audio) == 1 << 20
    row = await desk.row(await desk.post(form(described(), attached(audio))))
    assert row.duration_ms == frames // 48
    assert row.warnings == ("duration_differs",)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": f"multipart/mixed; boundary={BOUNDARY}"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
    ids=str,
)
async def test_another_kind_of_body(desk: Desk, headers: dict[str, str]) -> None:
    said = await desk.post(form(described(), attached()), **headers)
    assert said.refusal == (400, 0, "The body must be multipart/form-data")


async def test_who_may_upload(desk: Desk) -> None:
    body = form(described(), attached())
    said = await desk.post(body, None)
    assert (said.status, said.body) == (401, b"")
    assert said.headers["WWW-Authenticate"].startswith('Basic realm="CallRecording"')
    wrong = await desk.post(body, None, Authorization=credentials("manager", "guess"))
    assert (wrong.status, wrong.body) == (401, b"")
    low = await desk.post(body, "giuliano")
    assert (low.status, low.body) == (403, b"")
    everybody = await desk.row(await desk.post(body, "bank"))
    assert everybody.account == 100
    assert await desk.node.services.catalog.count() == 1


async def test_what_is_too_large_by_its_head_is_not_waited_for(desk: Desk) -> None:
    reader, writer = await desk.opened((1 << 20) + OVERHEAD_BYTES + 1)
    said = await answer(reader)
    assert said.refusal == (400, 2, "The attachment is larger than 1 MiB")
    assert said.headers["Connection"] == "close"
    writer.close()


async def test_what_is_too_large_is_refused_as_soon_as_it_is_known(desk: Desk) -> None:
    body = form(described(), attached(bytes((1 << 20) + 999)))[:-99]
    reader, writer = await desk.opened(len(body) + 200_000)
    writer.write(body)
    said = await answer(reader)
    assert said.refusal == (400, 2, "The attachment is larger than 1 MiB")
    assert desk.left == []
    writer.close()


async def test_what_does_not_get_on_is_given_up(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated, Limits(body_s=0.2)) as desk:
        body = form(described(), attached())
        reader, writer = await desk.opened(len(body))
        writer.write(body[:-100])
        said = await answer(reader)
        assert (said.status, said.body, said.headers["Connection"]) == (408, b"", "close")
        assert desk.left == []
        writer.close()


async def test_what_gets_on_may_take_its_time(tmp_path: Path, migrated: Path) -> None:
    frames = 240_000
    body = form(described(), attached(header(1, 8_000, frames) + bytes(2 * frames)))
    async with open_desk(tmp_path, migrated, Limits(body_s=1.0)) as desk:

        async def slowly() -> AsyncIterator[bytes]:
            for begin in range(0, len(body), 1 << 16):
                yield body[begin : begin + (1 << 16)]
                await asyncio.sleep(0.2)

        began = asyncio.get_running_loop().time()
        row = await desk.row(await desk.post(slowly()))
        assert asyncio.get_running_loop().time() - began > 1.0
        assert row.duration_ms == 30_000


async def test_a_client_that_goes_away_leaves_nothing(desk: Desk) -> None:
    for length in (None, 100_000):
        _, writer = await desk.opened(length)
        body = form(described(), attached())[:10_000]
        writer.write(body if length else b"%x\r\n%s\r\n" % (len(body), body))
        await writer.drain()
        while not desk.left:
            await asyncio.sleep(0.01)
        writer.transport.abort()
        while desk.left:
            await asyncio.sleep(0.01)
    assert await desk.node.services.catalog.count() == 0
    await desk.row(await desk.post(form(described(), attached())))


async def test_chunks_that_are_none(desk: Desk) -> None:
    reader, writer = await desk.opened(None)
    writer.write(b"5\r\n--8d0\r\nzz\r\n\r\n")
    said = await answer(reader)
    assert said.status == 400
    assert desk.left == []
    writer.close()


async def test_no_more_than_some_at_once(desk: Desk) -> None:
    body = form(described(), attached())
    open_now = [await desk.opened(len(body)) for _ in range(importer.MOST)]
    for _, writer in open_now:
        writer.write(body[:500])
    while len(desk.left) < importer.MOST:
        await asyncio.sleep(0.01)
    said = await desk.post(body)
    assert (said.status, said.body, said.headers["Retry-After"]) == (503, b"", "10")
    for _, writer in open_now:
        writer.write(body[500:])
    for reader, writer in open_now:
        assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
        writer.close()
    assert (await desk.post(body)).status == 201


async def test_a_disk_without_room(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "KEPT_FREE", 1 << 62)
    assert (await desk.post(form(described(), attached()))).refusal == (504, None, "")
    assert (desk.left, desk.stored) == ([], [])


async def test_audio_that_cannot_be_made(desk: Desk) -> None:
    await desk.node.services.importer._renderer.close()
    assert (await desk.post(form(described(), attached()))).refusal == (500, None, "")
    assert (desk.left, desk.stored) == ([], [])


async def test_anything_is_answered(desk: Desk) -> None:
    chance = random.Random(7)
    whole = form(described(), attached(WAV[:500]))
    for _ in range(150):
        octets = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            begin = chance.randrange(len(octets))
            with_what = chance.choice([b"", b"\r\n", b"--", b"\0", BOUNDARY.encode(), b'"', b";"])
            octets[begin : begin + chance.randint(0, 3)] = with_what
        said = await desk.post(bytes(octets))
        assert said.status in {201, 400, 409}, (said.status, octets)
    assert desk.left == []


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_upload(tmp_path: Path, migrated: Path) -> None:
    frames = 100 << 20

    async def body() -> AsyncIterator[bytes]:
        yield form(described(), attached(header(1, 8_000, frames)), end=b"")[: -len(BOUNDARY) - 4]
        for _ in range(200):
            yield bytes(1 << 20)
        yield form(end=b"--\r\n").join([b"\r\n", b""])

    async with open_desk(tmp_path, migrated) as desk:
        await desk.row(await desk.post(form(described(), attached())))
        before = peak_kib(begin=True)
        row = await desk.row(await desk.post(body()))
        assert row.files[0].size_bytes == 44 + 2 * frames
        assert peak_kib() - before < 16 << 10


def peak_kib(begin: bool = False) -> int:
    """The most memory this process had since this was begun."""
    if begin:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])
