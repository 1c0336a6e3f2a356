"""Files over FACE: downloads, redirects, direct URLs and videos, as their users fetch them."""

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from media.spec import MediaFile
from siprec import conversion
from storage.records import Recording
from tests.api.oracle_face.desk import Desk, Said

DOWNLOAD = "audioRecording/download"
REDIRECT = "audioRecording/redirect"
DETAILS = "audioRecording/details"
SHOP, BANK, WEAK = "isr@shop.example", "isr@bank.example", "weak@shop.example"
MP3 = {"Accept": "audio/mpeg"}
NO_FILE = (200, 11, "Error retrieving file with supplied criteria")
STARTED = datetime(2026, 11, 22, 14, 5, 6, 789_000, UTC)
FOLDER = "2026-11-22/14/05"


async def stored(desk: Desk, recording_id: str, **changes: Any) -> Recording:
    """A finished recording of the shop, with 256 octets for a WAV, and the number it was given."""
    shop = {"account": 100, "route": 13, "filename": f"{recording_id}.wav"}
    await desk.node.stored(recording_id, **{**shop, **changes})
    return await desk.node.services.library.get(recording_id)


async def native(desk: Desk, row: Recording, format: str = "wav") -> bytes:
    """The file as the native interface gives it."""
    async with desk.node.client("admin") as client:
        url = f"/srs/v1/recordings/{row.id}/media?format={format}"
        async with client.get(url) as response:
            assert response.status == 200
            return await response.read()


async def fetch(desk: Desk, path: str, base: str = "", **headers: str) -> Said:
    """GET of a path of the server as it stands, without a token."""
    url = URL((base or desk.node.server.url) + path, encoded=True)
    async with desk.http.get(url, headers=headers, allow_redirects=False) as response:
        return Said(response.status, dict(response.headers), await response.read())


def said(answer: Said) -> tuple[int, int, str]:
    return answer.status, answer.code, answer.message


class Slow:
    """A renderer whose jobs wait to be let go on."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, job: str) -> None:
        library = desk.node.services.library
        renderer = library._conversions._converter._renderer
        self.begun, self.asked, self.go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._do, self._finished = getattr(renderer, job), library.finished
        monkeypatch.setattr(renderer, job, self.do)
        monkeypatch.setattr(library, "finished", self.finished)

    async def do(self, *args: Any) -> MediaFile:
        self.begun.set()
        await self.go_on.wait()
        made: MediaFile = await self._do(*args)
        return made

    async def finished(self, *args: Any) -> Recording:
        self.asked.set()
        return await self._finished(*args)


# download


async def test_the_audio_is_that_of_the_native_interface(desk: Desk) -> None:
    name = "8675309-20746@192.0.2.1.wav"
    row = await desk.recorded(await desk.call(ucid="20746@192.0.2.1"))
    audio = await native(desk, row)
    assert row.filename == name
    assert (audio[:4], audio[8:12]) == (b"RIFF", b"WAVE")
    for way in ({"filename": name}, {"isrUcid": row.ucid}, {"recordingId": row.number}):
        whole = await desk.get(DOWNLOAD, **way)
        assert (whole.status, whole.body) == (200, audio)
    assert whole.headers["Content-Type"] == "audio/wav"
    assert whole.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert whole.headers["Accept-Ranges"] == "bytes"
    head = await desk.ask("HEAD", DOWNLOAD, filename=name)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(audio))
    part = await desk.get(DOWNLOAD, filename=name, headers={"Range": "bytes=8-11"})
    assert (part.status, part.body) == (206, b"WAVE")
    assert part.headers["Content-Range"] == f"bytes 8-11/{len(audio)}"
    beyond = await desk.get(DOWNLOAD, filename=name, headers={"Range": f"bytes={len(audio)}-"})
    assert said(beyond) == (416, -1, "the range lies outside the file")
    assert beyond.headers["Content-Range"] == f"bytes */{len(audio)}"
    known = {"If-None-Match": whole.headers["Etag"]}
    again = await desk.get(DOWNLOAD, filename=name, headers=known)
    assert (again.status, again.body) == (304, b"")


async def test_who_may_download_and_which(desk: Desk) -> None:
    first = await stored(desk, "r1", ani="1234", custom={"testCustomData1": "x"})
    second = await stored(desk, "r2", ani="1234", started_at=STARTED + timedelta(hours=1))
    for command in (DOWNLOAD, REDIRECT):
        several = await desk.get(command, from_="1234")
        assert several.message == (
            "Selection criteria insufficient to determine recording. Returning all matches."
        )
        numbers = [each["recordingId"] for each in several.matches]
        assert numbers == [str(first.number), str(second.number)]
        few = await desk.get(command, from_="1234", maxListLength=1)
        assert "more matches than maxListLength" in few.message
        assert [each["recordingId"] for each in few.matches] == [str(first.number)]
        refused = await desk.get(command, WEAK, recordingId=first.number)
        assert said(refused) == (200, -1, "Permission denied")
        assert said(await desk.get(command, BANK, recordingId=first.number)) == NO_FILE
        typo = await desk.get(command, fileName="r1.wav")
        assert said(typo) == (200, -1, "Invalid Parameter - fileName")
    assert (await desk.get(DOWNLOAD, "isr@system.example", filename="r1.wav")).status == 200
    one = await desk.get(DOWNLOAD, testCustomData1="x")
    assert one.body == bytes(range(256))


async def test_a_name_is_offered_as_everybody_can_read_it(desk: Desk) -> None:
    row = await stored(desk, "r1", filename="before.wav")
    renamed = await desk.post(DETAILS, recordingId=row.number, body={"filename": 'Grüße "1".wav'})
    name = renamed.recording["filename"]
    whole = await desk.get(DOWNLOAD, filename=name)
    offered = whole.headers["Content-Disposition"]
    assert (whole.status, whole.body) == (200, bytes(range(256)))
    assert re.fullmatch(
        r"attachment; filename=\"Gr__e [^\"]+\.wav\"; filename\*=UTF-8''Gr%C3%BC%C3%9Fe%20.+\.wav",
        offered,
    )
    assert said(await desk.get(DOWNLOAD, filename="before.wav")) == NO_FILE
    location = (await desk.get(REDIRECT, recordingId=row.number)).headers["Location"]
    assert location.startswith(f"/Face/Recordings/{FOLDER}/Gr%C3%BC%C3%9Fe%20")
    assert (await fetch(desk, location)).headers["Content-Disposition"] == offered


async def test_what_is_just_being_made_is_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(desk, monkeypatch, "render")
    live = await desk.call(ucid="U1")
    assert live.recording
    assert said(await desk.get(DOWNLOAD, isrUcid="U1")) == NO_FILE
    assert said(await desk.get(REDIRECT, isrUcid="U1")) == NO_FILE
    await desk.calls[live.id].play(0.1)
    recording_id = live.recording.id
    assert (await desk.post("audioRecording/stop", isrUcid="U1")).code == 0
    await slow.begun.wait()
    assert (await desk.node.services.library.get(recording_id)).status == "processing"
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "LIMIT_S", 0.05)
        for command in (DOWNLOAD, REDIRECT):
            late = await desk.get(command, isrUcid="U1")
            assert said(late) == (200, 24, "Timed out waiting for file conversion")
    slow.asked.clear()
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(desk.get(each, isrUcid="U1")) for each in (DOWNLOAD, REDIRECT)]
        await slow.asked.wait()
        slow.go_on.set()
    whole, elsewhere = (answer.result() for answer in answers)
    row = await desk.node.services.library.get(recording_id)
    assert (whole.status, whole.body) == (200, await native(desk, row))
    assert (await fetch(desk, elsewhere.headers["Location"])).body == whole.body


@pytest.mark.parametrize("gone", ["file", "live", "failed", "deleting", "nothing"])
async def test_what_is_said_of_a_file_that_is_not_there(desk: Desk, gone: str) -> None:
    at = {"ani": "a&b", "dnis": "8675309", "start": "2026-11-22T14:05:06"}
    people = {"ani": "a&b", "dnis": "8675309"}
    match gone:
        case "file":
            row = await stored(desk, "r1", **people)
            desk.node.services.blobs.delete(row.files[0].key)
        case "live":
            live = await desk.call(ani="a&b")
            at["start"] = f"{live.started_at:%Y-%m-%dT%H:%M:%S.%f}"[:-3]
        case "failed":
            await stored(desk, "r1", status="failed", reason="no_media", files=(), **people)
        case "deleting":
            await stored(desk, "r1", deleting=True, **people)
    parties = f"ANI a&b DNIS 8675309 at timestamp of {at['start']}"
    from_to = {"from": "a&b", "to": "8675309", "start": at["start"]}
    for criteria in (at, from_to):
        whole = await desk.get(DOWNLOAD, **criteria)
        assert said(whole) == (200, 11, f"Error retrieving file for {parties}")
        elsewhere = await desk.get(REDIRECT, **criteria)
        assert said(elsewhere) == (200, 11, f"Error retrieving filename for {parties}")
    for criteria in (people, {**at, "filename": "r1.wav"}, {"isrUcid": "nobody"}):
        for command in (DOWNLOAD, REDIRECT):
            assert said(await desk.get(command, **criteria)) == NO_FILE


async def test_the_same_in_json(desk: Desk) -> None:
    answer = await desk.get(DOWNLOAD, filename="x.wav", headers={"Accept": "application/json"})
    assert answer.text == (
        '{"result":{"code":11,"message":"Error retrieving file with supplied criteria"}}'
    )


# MP3


async def test_an_mp3_for_who_accepts_that_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await desk.recorded(await desk.call(ucid="U1"))
    assert (await desk.get(DETAILS, isrUcid="U1")).recording["conversionStatus"] == "0"
    for accept in ("*/*", "audio/*", "audio/mpeg, audio/wav;q=0.5", "application/json"):
        wav = await desk.get(DOWNLOAD, isrUcid="U1", headers={"Accept": accept})
        assert wav.headers["Content-Type"] == "audio/wav"
    slow = Slow(desk, monkeypatch, "mp3")
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "LIMIT_S", 0.05)
        for path in (DOWNLOAD, f"Recordings//{row.filename}"):
            criteria = {"isrUcid": "U1"} if path == DOWNLOAD else {}
            late = await desk.get(path, headers=MP3, **criteria)
            assert said(late) == (200, 24, "Timed out waiting for file conversion")
    await slow.begun.wait()
    other = await desk.get(DOWNLOAD, "isr@system.example", isrUcid="U1", headers=MP3)
    text = "Conversion already initiated by another user, please try again later"
    assert said(other) == (200, 25, text)
    async with asyncio.TaskGroup() as group:
        same = group.create_task(desk.get(DOWNLOAD, isrUcid="U1", headers=MP3))
        slow.go_on.set()
    made = same.result()
    assert made.body == await native(desk, row, "mp3")
    assert made.headers["Content-Type"] == "audio/mpeg"
    assert made.headers["Content-Disposition"] == 'attachment; filename="8675309-U1.mp3"'
    odd = {"Accept": "Audio/MPEG;q=0.9, */*;q=0.1"}
    again = await desk.get(DOWNLOAD, "isr@system.example", isrUcid="U1", headers=odd)
    assert again.body == made.body
    location = (await desk.get(REDIRECT, isrUcid="U1", headers=MP3)).headers["Location"]
    assert (await fetch(desk, location, **MP3)).body == made.body
    assert (await desk.get(DETAILS, isrUcid="U1")).recording["conversionStatus"] == "2"


async def test_what_cannot_be_converted(desk: Desk) -> None:
    await stored(desk, "r1")
    failed = (200, 23, "Could not convert file to playable format")
    assert said(await desk.get(DOWNLOAD, filename="r1.wav", headers=MP3)) == failed
    location = (await desk.get(REDIRECT, filename="r1.wav")).headers["Location"]
    assert said(await fetch(desk, location, **MP3)) == failed
    assert (await fetch(desk, location)).body == bytes(range(256))
    await stored(desk, "r2", status="failed", reason="render_failed", files=())
    for command in (DOWNLOAD, REDIRECT):
        assert said(await desk.get(command, filename="r2.wav")) == failed


async def test_calls_that_last_are_no_candidates_for_a_download(desk: Desk) -> None:
    stored = await desk.recorded(await desk.call(ani="555", ucid="U1"))
    await desk.call(ani="555", ucid="U2")
    for command, status in (("audioRecording/download", 200), ("audioRecording/redirect", 302)):
        said = await desk.get(command, ani="555")
        assert said.status == status, said.text
    said = await desk.get("audioRecording/download", ani="555")
    assert hashlib.sha256(said.body).hexdigest() == stored.files[0].sha256
