"""Direct URLs of audio: after a redirect without a token, by hand with one, never for others."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from api.oracle_face import tickets
from api.server import ApiServer
from config.schema import Api
from tests.api.oracle_face.desk import Desk
from tests.api.oracle_face.test_media import (
    BANK,
    FOLDER,
    NO_FILE,
    REDIRECT,
    STARTED,
    WEAK,
    fetch,
    said,
    stored,
)

AUDIO = bytes(range(256))
PLACE = f"/Face/Recordings/{FOLDER}"


async def test_a_redirect_leads_to_the_audio_without_a_token(desk: Desk) -> None:
    row = await stored(desk, "r1", filename="5@192.0.2.1.wav")
    answer = await desk.get(REDIRECT, filename=row.filename)
    location = answer.headers["Location"]
    assert (answer.status, answer.body) == (302, b"")
    assert re.fullmatch(rf"{PLACE}/5@192\.0\.2\.1\.wav\?ticket=r1\.\d+\.[\w-]{{43}}", location)
    until = datetime.fromtimestamp(int(location.split("ticket=r1.")[1].split(".")[0]), UTC)
    assert timedelta(minutes=1) < until - datetime.now(UTC) <= timedelta(minutes=5)
    whole = await fetch(desk, location)
    assert (whole.status, whole.body) == (200, AUDIO)
    assert whole.headers["Content-Type"] == "audio/wav"
    assert whole.headers["Content-Disposition"] == 'attachment; filename="5@192.0.2.1.wav"'
    assert (await fetch(desk, location, Range="bytes=-2")).body == b"\xfe\xff"
    assert said(await fetch(desk, location, Range="bytes=256-"))[:2] == (416, -1)
    followed = await desk.get(REDIRECT, filename=row.filename, redirects=True)
    assert (followed.status, followed.body) == (200, AUDIO)
    head = await desk.ask("HEAD", REDIRECT, filename=row.filename)
    assert (head.status, head.headers["Location"][:20]) == (302, location[:20])


async def test_a_ticket_is_for_one_recording_one_process_and_a_short_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("r1", "r2"):
        await stored(desk, name)
    location = (await desk.get(REDIRECT, filename="r1.wav")).headers["Location"]
    ticket = parse_qs(urlsplit(location).query)["ticket"][0]
    elsewhere = (await desk.get(REDIRECT, filename="r2.wav")).headers["Location"]
    for url in (
        location.replace("r1.wav", "r2.wav"),
        location.replace("ticket=r1", "ticket=r2"),
        elsewhere.partition("?")[0] + f"?ticket={ticket}",
        location[:-1] + ("A" if location[-1] != "A" else "B"),
        location.partition("?")[0] + "?ticket=",
        location.partition("?")[0] + "?ticket=%00.%ff.%F0%9F%98%80",
    ):
        assert said(await fetch(desk, url)) == NO_FILE
    refused = await desk.get("audioRecording/details", None, query=f"&ticket={ticket}")
    assert (refused.code, refused.message) == (27, "Missing Parameter - token is required")
    api = msgspec.structs.replace(Api(), listen="127.0.0.1:0")
    restarted = ApiServer(api, desk.node.services)
    await restarted.start()
    try:
        assert said(await fetch(desk, location, restarted.url)) == NO_FILE
    finally:
        await restarted.stop()
    monkeypatch.setattr(tickets, "LIFETIME", timedelta(0))
    ended = (await desk.get(REDIRECT, filename="r1.wav")).headers["Location"]
    assert said(await fetch(desk, ended)) == NO_FILE
    assert (await fetch(desk, location)).body == AUDIO
    await desk.node.services.library.delete("r1")
    assert said(await fetch(desk, location)) == NO_FILE


async def test_a_direct_url_needs_the_token_of_somebody_who_may(desk: Desk) -> None:
    await stored(desk, "r1")
    path = f"Recordings/{FOLDER}/r1.wav"
    assert (await desk.get(path)).body == AUDIO
    assert (await desk.get(f"Recordings//{FOLDER}/r1.wav")).body == AUDIO
    assert (await desk.get("Recordings//r1.wav", "isr@system.example")).body == AUDIO
    assert (await desk.ask("HEAD", path)).headers["Content-Length"] == "256"
    assert said(await desk.get(path, BANK)) == NO_FILE
    assert said(await desk.get(path, WEAK)) == (200, -1, "Permission denied")
    missing = await desk.get(path, None)
    assert said(missing) == (200, 27, "Missing Parameter - token is required")
    unknown = await desk.get(path, None, token="7653a545-9815-4e85-970a-14ff53b84a80")
    assert said(unknown) == (401, -1, "Invalid or expired token")
    wrong = await desk.post(path)
    assert said(wrong) == (405, 5, "Invalid Command")
    assert wrong.headers["Allow"] == "GET, HEAD"


async def test_a_path_leads_nowhere_else(desk: Desk) -> None:
    row = await stored(desk, "r1")
    key = row.files[0].key
    assert desk.node.services.blobs.exists(key)
    for path in (
        "",
        "/",
        "r2.wav",
        "r1.WAV",
        "..",
        "..%2f",
        f"{FOLDER}/..%2f05%2fr1.wav",
        f"..%2frecordings%2f{key}",
        f"%2e%2e/recordings/{key}",
        f"..%5crecordings%5c{key}",
        "%2fetc%2fpasswd",
        "..%252f..%252fetc%252fpasswd",
        "r1.wav%00",
        "r1.wav%00.wav",
        "%ff",
        f"{FOLDER}/",
        f"{FOLDER}/r1.wav/",
        f"{FOLDER}/x/r1.wav",
        "2026-11-22/14/06/r1.wav",
        "2026-02-30/14/05/r1.wav",
        "9999-12-31/23/59/r1.wav",
        "0001-01-01/00/00/r1.wav",
        "r1.peaks.json",
    ):
        answer = await desk.get(f"Recordings/{path}")
        assert said(answer) == NO_FILE, path
    assert (await desk.get(f"Recordings/{FOLDER}%2fr1.wav")).body == AUDIO


async def test_a_name_that_several_bear_is_nobodys(desk: Desk) -> None:
    later = STARTED + timedelta(hours=1)
    await stored(desk, "r1", filename="same.wav")
    await stored(desk, "r2", filename="same.wav", started_at=later)
    assert said(await desk.get("Recordings//same.wav")) == NO_FILE
    assert (await desk.get(f"Recordings/{FOLDER}/same.wav")).body == AUDIO
    await stored(desk, "r3", filename="same.wav")
    assert said(await desk.get(f"Recordings/{FOLDER}/same.wav")) == NO_FILE
    twins = {"earliestStart": "2026-11-22T14:05:00", "latestStart": "2026-11-22T14:05:59"}
    listed = (await desk.get(REDIRECT, filename="same.wav", **twins)).matches
    for each in listed:
        location = (await desk.get(REDIRECT, recordingId=each["recordingId"])).headers["Location"]
        assert (await fetch(desk, location)).body == AUDIO
    assert len(listed) == 2


async def test_the_audio_of_a_live_call_has_no_url_yet(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    assert live.recording
    name = live.recording.filename
    assert said(await desk.get(f"Recordings//{name}")) == NO_FILE
    row = await desk.recorded(live)
    assert (await desk.get(f"Recordings//{name}")).body[:4] == b"RIFF"
    folder = f"{row.started_at:%Y-%m-%d/%H/%M}"
    assert (await desk.get(f"Recordings/{folder}/{name}")).body[:4] == b"RIFF"
