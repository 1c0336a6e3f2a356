"""Export templates over FACE: Verint's byte for byte, those of a directory, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from api.oracle_face.templates import OUTPUT_OCTETS
from config.dialects import Face
from storage.entries import ExportTemplate
from storage.records import Recording
from tests.api.oracle_face.desk import Desk, Said, open_desk
from tests.api.oracle_face.test_media import FOLDER, said, stored

DETAILS = "audioRecording/details"
VERINT = {"format": "template", "formatName": "verint"}
NOT_FOUND = (200, -1, "Template not found")


def verint(row: Recording, url: str, start: str, seconds: int) -> str:
    """What Verint Import Manager is to be given."""
    return (
        '<Call xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Data><audio><audio_segment>'
        "<channel_id>false</channel_id><recording_order>1</recording_order>"
        f"<audio_url>{url}</audio_url><StartTime>{start}</StartTime>"
        f"<Duration>{seconds}</Duration></audio_segment></audio>"
        f"<ani>{row.ani}</ani><dnis>{row.dnis}</dnis>"
        f"<unique_identifier>{row.number}</unique_identifier>"
        "<time_offset>0</time_offset><direction>0</direction></Data></Call>"
    )


async def put(desk: Desk, name: str, version: int, text: str, **more: Any) -> None:
    await desk.node.services.directory.put(ExportTemplate(name, version, text, **more))


async def exported(desk: Desk, name: str, who: str = "isr@shop.example", **more: Any) -> Said:
    return await desk.get(
        DETAILS, who, filename="r1.wav", format="template", formatName=name, **more
    )


async def test_a_call_for_verint(desk: Desk) -> None:
    live = await desk.call(ani="sipp_g711_ulaw", ucid="4355@192.0.2.1")
    assert live.recording
    base, name = f"{desk.node.server.url}/Face/Recordings/", "8675309-4355@192.0.2.1.wav"
    early = await desk.get(DETAILS, isrUcid="4355@192.0.2.1", **VERINT)
    assert f"<audio_url>{base}/{name}</audio_url>" in early.text
    row = await desk.recorded(live, 1.2)
    start = f"{row.started_at:%Y-%m-%dT%H:%M:%S}"
    url = f"{base}{row.started_at:%Y-%m-%d/%H/%M}/{name}"
    expected = verint(row, url, start, row.duration_ms // 1000)
    assert row.duration_ms > 1000
    for way in (
        VERINT,
        {**VERINT, "formatName": "Verint"},
        {**VERINT, "formatName": "VERINT", "version": "1"},
        {**VERINT, "headers": {"Accept": "application/json"}},
    ):
        answer = await desk.get(DETAILS, isrUcid="4355@192.0.2.1", **way)
        assert (answer.status, answer.text) == (200, expected)
        assert answer.headers["Content-Type"] == "application/xml"
    path = url.removeprefix(f"{desk.node.server.url}/Face/")
    audio = await desk.get(path)
    assert audio.body == (await desk.get("audioRecording/download", filename=name)).body
    assert (await desk.get(path, None)).code == 27


async def test_a_directory_puts_its_own_in_the_place_of_ours(desk: Desk) -> None:
    nasty = '</x>&"]]>${ani}\r'
    row = await stored(desk, "r1", ani="1234", custom={"testCustomData1": nasty})
    custom = "${custom.testCustomData1}|${custom.none}|${nothing}|${ani}"
    await put(desk, "verint", 2, "<x>${recordingId}</x>", media_type="application/xml")
    await put(desk, "CRM", 9, f"<x>{custom}</x>", media_type="text/xml")
    await put(desk, "CRM", 10, f'{{"x":"{custom}"}}', media_type="application/json")
    await put(desk, "CRM", 3, f'"{custom}"', media_type="text/csv")
    newest = await exported(desk, "Verint")
    assert newest.text == f"<x>{row.number}</x>"
    assert "<Call " in (await exported(desk, "Verint", version=1)).text
    await put(desk, "verint", 1, "own")
    assert (await exported(desk, "Verint", version=1)).text == "own"
    json = await exported(desk, "crm")
    assert json.text == '{"x":"</x>&\\"]]>${ani}\\r|||1234"}'
    assert json.headers["Content-Type"] == "application/json"
    xml = await exported(desk, "crm", version=9)
    assert xml.text == "<x>&lt;/x&gt;&amp;&quot;]]&gt;${ani}&#13;|||1234</x>"
    assert xml.headers["Content-Type"] == "text/xml"
    csv = await exported(desk, "CRM", version=3)
    assert csv.text == '"</x>&""]]>${ani} |||1234"'
    assert csv.headers["Content-Type"] == "text/csv"


async def test_what_no_template_is_given_for(desk: Desk) -> None:
    first = await stored(desk, "r1", ani="1234")
    second = await stored(desk, "r2", ani="1234")
    plain = {"filename": "r1.wav"}
    for parameters, code, text in (
        ({"format": "template"}, 27, "Missing Parameter - formatName is required"),
        ({"format": "other", "formatName": "Verint"}, -1, "Invalid Parameter - format"),
        ({"format": "Template", "formatName": "Verint"}, -1, "Invalid Parameter - format"),
        ({"formatName": "Verint"}, -1, "Invalid Parameter - formatName"),
        ({"version": "1"}, -1, "Invalid Parameter - version"),
        ({**VERINT, "version": "x"}, -1, "Invalid Parameter - version"),
        ({**VERINT, "version": "0"}, -1, "Invalid Parameter - version"),
        ({**VERINT, "version": "2"}, -1, "Template not found"),
        ({**VERINT, "formatName": "CRM"}, -1, "Template not found"),
    ):
        assert said(await desk.get(DETAILS, **plain, **parameters)) == (200, code, text)
    several = await desk.get(DETAILS, from_="1234", **VERINT)
    numbers = [each["recordingId"] for each in several.matches]
    assert numbers == [str(first.number), str(second.number)]
    nobody = await desk.get(DETAILS, from_="4321", **VERINT)
    assert said(nobody) == (200, 19, "No recording found with supplied criteria")
    assert (await exported(desk, "Verint", "isr@bank.example")).code == 19
    json = await desk.get(
        DETAILS, from_="1234", **VERINT, formatname="x", headers={"Accept": "application/json"}
    )
    assert json.text == '{"result":{"code":-1,"message":"Invalid Parameter - formatname"}}'
    posted = await desk.post("audioRecording/start", **plain, **VERINT)
    assert said(posted) == (200, -1, "Invalid Parameter - format")


async def test_no_more_comes_out_than_may(desk: Desk) -> None:
    await stored(desk, "r1", custom={"testCustomData1": "x" * 1024})
    part = "${custom.testCustomData1}"
    await put(desk, "Most", 1, part * (OUTPUT_OCTETS // 1024), media_type="text/plain")
    await put(desk, "More", 1, part * (OUTPUT_OCTETS // 1024) + ".", media_type="text/plain")
    assert len((await exported(desk, "Most")).body) == OUTPUT_OCTETS == 1_048_576
    assert said(await exported(desk, "More")) == (200, -1, "Template output too large")


@pytest.mark.parametrize("base", ["http://192.0.2.9:8080/Recordings/", ""])
async def test_where_exports_say_the_audio_is(tmp_path: Path, migrated: Path, base: str) -> None:
    async with open_desk(tmp_path, migrated, face=Face(recordings_url=base)) as desk:
        await stored(desk, "r1", filename='Grüße "1" & 2.wav', duration_ms=6999)
        name = "Gr%C3%BC%C3%9Fe%20%221%22%20%26%202.wav"
        criteria = {"filename": 'Grüße "1" & 2.wav', **VERINT}
        text = (await desk.get(DETAILS, **criteria)).text
        url = f"{base or desk.node.server.url + '/Face/Recordings/'}{FOLDER}/{name}"
        assert f"<audio_url>{url}</audio_url><StartTime>2026-11-22T14:05:06</StartTime>" in text
        assert "<Duration>6</Duration>" in text
        path = f"Recordings/{FOLDER}/{name}"
        assert (await desk.get(path)).body == bytes(range(256))
