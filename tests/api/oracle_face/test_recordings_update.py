"""Recordings that are changed over FACE: custom data, flags and names."""

from collections.abc import Sequence
from typing import Any

import pytest

from storage.records import Recording
from tests.api.oracle_face.desk import Desk, Said, simultaneously

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
DETAILS = "audioRecording/details"
DELETE = (("DELETE", DETAILS), ("POST", "audioRecording/delete"))
ALL = "Selection criteria insufficient to determine recording. Returning all matches."
ACK = (0, "ACK")
NONE = (19, "No recording found with supplied criteria")
RENAMED = (
    "This file has been renamed by the recorder, please use the following new filename for future "
    "commands: {}"
)


async def change(desk: Desk, ucid: str = "U1", **body: str) -> Said:
    return await desk.post(DETAILS, isrUcid=ucid, body=body)


async def rows(desk: Desk, *numbers: int) -> list[Recording]:
    """Recordings as the catalogue has them."""
    return [await desk.node.services.catalog.get(f"r{number}") for number in numbers or (1,)]


def custom(said: Said) -> dict[str, str]:
    sets = [each["customData"] for each in said.recording["customDataSets"]]
    return {each["name"]: each["value"] for each in sets}


# data


async def test_custom_data_as_in_the_guide(desk: Desk) -> None:
    row = await desk.stored()
    ended = row.ended_at or row.started_at
    said = await change(desk, testCustomData1="testValue1")
    assert (said.status, said.text) == (
        200,
        f"{PROLOG}<result><code>0</code><message>ACK</message><recording>"
        "<recordingId>1</recordingId><filename>r1.wav</filename><fileStatus>0</fileStatus>"
        "<ani>1234</ani><dnis>8675309</dnis><account>100</account><duration>20</duration>"
        "<startTime>2017-03-22 15:06:59.842</startTime><directory>/2017-03-22/15/06</directory>"
        "<rss>1</rss><archived>1</archived><route>13</route><archivalRemarks>Archived by node 1 "
        f"after the recording ended at {ended:%Y-%m-%d %H:%M:%S} UTC</archivalRemarks>"
        "<archivalFailCount>0</archivalFailCount><archiverMode>Primary</archiverMode>"
        "<sensitive>0</sensitive><pauseLength>0</pauseLength><deleteFlag>false</deleteFlag>"
        "<location>2</location><archiverAction>0</archiverAction>"
        "<conversionStatus>0</conversionStatus><isrUcid>U1</isrUcid>"
        "<ingressCallId>call-1@src</ingressCallId><pausedWithSilence>false</pausedWithSilence>"
        "<hasVideo>false</hasVideo><customDataSets><customData><name>testCustomData1</name>"
        "<value>testValue1</value></customData></customDataSets><siprecDataSets/><dtmfDigits/>"
        "</recording></result>",
    )
    assert (await desk.get(DETAILS, testCustomData1="testValue1")).text == said.text
    await desk.stored(2, custom={"testCustomData1": "testValue1"})
    said = await desk.get(DETAILS, testCustomData1="testValue1")
    assert said.answer == (-1, ALL)
    assert [each["recordingId"] for each in said.matches] == ["1", "2"]


async def test_custom_data_is_set_kept_and_cleared(desk: Desk) -> None:
    await desk.stored()
    said = await change(desk, testCustomData1=" a&b=é ", otherName="1", hidden="x")
    assert custom(said) == {"testCustomData1": " a&b=é ", "otherName": "1", "hidden": "x"}
    said = await change(desk, otherName="2")
    assert custom(said) == {"testCustomData1": " a&b=é ", "otherName": "2", "hidden": "x"}
    said = await change(desk, testCustomData1="")
    assert custom(said) == {"otherName": "2", "hidden": "x"}
    assert custom(await desk.get(DETAILS)) == {"otherName": "2", "hidden": "x"}
    assert [dict(row.custom) for row in await rows(desk)] == [{"otherName": "2", "hidden": "x"}]


async def test_names_that_mean_nothing_are_passed_over(desk: Desk) -> None:
    await desk.stored()
    before = await desk.get(DETAILS)
    for name in ("bankOnly", "TestCustomData1", "nothing", "AgentId", "neverexpire"):
        said = await change(desk, **{name: "x"})
        assert said.text == before.text, name
    said = await change(desk, nothing="x", bankOnly="y", otherName="z")
    assert custom(said) == {"otherName": "z"}


async def test_custom_data_is_for_accounts_whosoever_sets_it(desk: Desk) -> None:
    await desk.stored()
    await desk.stored(2, account=200, route=20)
    for who, ucid, known in (
        ("isr@system.example", "U1", {"otherName": "1"}),
        ("isr@system.example", "U2", {"otherName": "1", "bankOnly": "2"}),
        ("isr@bank.example", "U2", {"otherName": "1", "bankOnly": "3"}),
    ):
        body = {"otherName": "1", "bankOnly": known.get("bankOnly", "0")}
        said = await desk.post(DETAILS, who, isrUcid=ucid, body=body)
        assert custom(said) == known


async def test_flags_and_texts(desk: Desk) -> None:
    await desk.stored()
    body = {"agentId": "007", "agentTerminal": "T 1", "sensitive": "true", "setNeverExpire": "1"}
    shown = (await change(desk, **body)).recording
    assert [(name, shown[name]) for name in shown if name in {*body, "neverExpire"}] == [
        ("agentId", "007"),
        ("agentTerminal", "T 1"),
        ("sensitive", "1"),
        ("neverExpire", "true"),
    ]
    json = await desk.get(DETAILS, headers={"Accept": "application/json"})
    assert '"agentId":"007","agentTerminal":"T 1",' in json.text
    assert '"sensitive":1,"neverExpire":true,' in json.text
    shown = (await change(desk, sensitive="0", setNeverExpire="false", agentId="")).recording
    assert (shown["sensitive"], shown["agentTerminal"]) == ("0", "T 1")
    assert not {"agentId", "neverExpire"} & {*shown}
    ((row,),) = [await rows(desk)]
    assert (row.agent_id, row.sensitive, row.never_expire) == ("", False, False)
    who = "isr@shop.example"
    assert [(each.actor, each.action) for each in row.history] == [(who, "update"), (who, "update")]


SYSTEM = (
    "isrUcid ani from dnis to startTime duration account route recordingId deleteFlag "
    "siprecSessionId aor apkt:realm apkt:secret"
)
REFUSED: Sequence[tuple[dict[str, str], tuple[int, str]]] = [
    *(({name: "x"}, (-1, f"Parameter {name} cannot be updated")) for name in SYSTEM.split()),
    ({"sensitive": "yes"}, (-1, "Invalid Parameter - sensitive")),
    ({"sensitive": "TRUE"}, (-1, "Invalid Parameter - sensitive")),
    ({"setNeverExpire": ""}, (-1, "Invalid Parameter - setNeverExpire")),
    ({"agentTerminal": "x" * 1025}, (-1, "Invalid Parameter - agentTerminal")),
    ({"otherName": "x" * 1025}, (-1, "Invalid Parameter - otherName")),
    ({"filename": "../x.wav"}, (-1, "Invalid Parameter - filename")),
    ({"filename": "a/b.wav"}, (-1, "Invalid Parameter - filename")),
    ({"filename": "a\\b.wav"}, (-1, "Invalid Parameter - filename")),
    ({"filename": "a%2Fb.wav"}, (-1, "Invalid Parameter - filename")),
    ({"filename": ""}, (-1, "Invalid Parameter - filename")),
]


async def test_what_is_refused_changes_nothing(desk: Desk) -> None:
    await desk.stored()
    before = await rows(desk)
    for body, expected in REFUSED:
        assert (await change(desk, **body, agentId="7")).answer == expected, body
    assert (await change(desk)).answer == (3, "Parameter Missing")
    said = await desk.post(DETAILS, isrUcid="U1", typo="x", body={"agentId": "7"})
    assert said.answer == (-1, "Invalid Parameter - typo")
    assert await rows(desk) == before


async def test_a_change_can_be_answered_in_a_template(desk: Desk) -> None:
    await desk.stored()
    where: dict[str, Any] = {"isrUcid": "U1", "format": "template"}
    said = await desk.post(DETAILS, **where, formatName="none", body={"agentId": "7"})
    assert said.answer == (-1, "Template not found")
    assert [row.agent_id for row in await rows(desk)] == [""]
    said = await desk.post(DETAILS, **where, formatName="verint", body={"filename": "x.wav"})
    assert said.text.startswith("<Call ") and "/2017-03-22/15/06/x.wav</audio_url>" in said.text


async def test_nothing_is_changed_of_several(desk: Desk) -> None:
    for number in (1, 2):
        await desk.stored(number)
    before = await rows(desk, 1, 2)
    one: dict[str, Any] = {"from": "1234"}
    for criteria in (one, {}):
        said = await desk.post(DETAILS, body={"agentId": "7"}, **criteria)
        assert said.answer == (-1, ALL)
        assert [each["filename"] for each in said.matches] == ["r1.wav", "r2.wav"]
    for method, path in DELETE:
        said = await desk.ask(method, path, **one)
        assert said.answer == (-1, ALL)
        assert [each["filename"] for each in said.matches] == ["r1.wav", "r2.wav"]
    assert await rows(desk, 1, 2) == before


async def test_a_live_recording_is_changed_and_keeps_it(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    body = {"agentId": "7", "testCustomData1": "v", "setNeverExpire": "true"}
    said = await change(desk, **body)
    assert said.recording["tmpRecordingId"] == "1"
    assert (said.recording["agentId"], custom(said)) == ("7", {"testCustomData1": "v"})
    assert (await desk.get(DETAILS, testCustomData1="v")).recording["isrUcid"] == "U1"
    row = await desk.recorded(live)
    assert (row.agent_id, row.custom, row.never_expire) == ("7", {"testCustomData1": "v"}, True)
    said = await desk.get(DETAILS, testCustomData1="v")
    assert said.recording["recordingId"] == "1"


# names


async def test_a_recording_gets_another_name(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    await desk.recorded(live)
    before = (await desk.get(DETAILS)).recording
    audio = (await desk.get("audioRecording/download")).body
    said = await change(desk, filename="complaint 7.wav")
    assert said.answer == ACK
    assert said.recording == {
        **before,
        "filename": "complaint 7.wav",
        "previousFilename": "8675309-U1.wav",
        "archiverAction": "2",
    }
    shown = (await desk.get(DETAILS, filename="complaint 7.wav")).recording
    assert shown == {**said.recording, "archiverAction": "0"}
    assert (await desk.get(DETAILS, filename="8675309-U1.wav")).answer == NONE
    file = await desk.get("audioRecording/download", filename="complaint 7.wav")
    assert file.headers["Content-Disposition"] == 'attachment; filename="complaint 7.wav"'
    assert file.body == audio
    again = (await change(desk, filename="complaint 7.wav")).recording
    assert (again["filename"], again["previousFilename"]) == ("complaint 7.wav",) * 2
    third = (await change(desk, filename="third.wav")).recording
    assert (third["filename"], third["previousFilename"]) == ("third.wav", "complaint 7.wav")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("call", "call.wav"),
        ("call.mp3", "call.mp3.wav"),
        ("a:b?.wav", "a:b?.wav"),
        ("a\nb.wav", "a_b.wav"),
        (".hidden.wav", "hidden.wav"),
        ("con.wav", "_con.wav"),
        ("R2.WAV", "R2-1.WAV"),  # taken, whatever its case
        ("r2.wav", "r2-1.wav"),
        ("r3.wav", "r3.wav"),  # of another minute
    ],
)
async def test_names_the_recorder_chooses(desk: Desk, asked: str, name: str) -> None:
    row = await desk.stored()
    await desk.stored(2, started_at=row.started_at)
    await desk.stored(3)
    said = await change(desk, filename=asked)
    assert said.answer == (0, "ACK" if asked == name else RENAMED.format(name))
    assert said.recording["filename"] == name
    assert (await desk.get(DETAILS, filename=name, isrUcid="U1")).code == 0


async def test_who_asks_for_the_same_name_at_once_gets_another(desk: Desk) -> None:
    started_at = (await desk.stored()).started_at
    for number in range(2, 7):
        await desk.stored(number, started_at=started_at)
    await desk.token()
    said = await simultaneously(*(change(desk, f"U{n}", filename="x.wav") for n in range(1, 7)))
    assert [each.code for each in said] == [0] * 6
    names = [each.recording["filename"] for each in said]
    assert sorted(names) == ["x-1.wav", "x-2.wav", "x-3.wav", "x-4.wav", "x-5.wav", "x.wav"]
    assert [row.filename for row in await rows(desk, *range(1, 7))] == names


async def test_what_cannot_get_another_name(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    assert live.recording
    said = await change(desk, filename="x.wav", agentId="7")
    assert said.answer == (21, "Cannot change name of file while recording is in progress")
    assert (live.recording.filename, live.recording.agent_id) == ("8675309-U1.wav", "")
    for number, flag in ((2, "deleting"), (3, "discard")):
        await desk.stored(number, **{flag: True})
        said = await change(desk, f"U{number}", filename="x.wav", agentId="7")
        assert said.answer == (22, "Cannot rename a file that is set to be deleted")
        ((row,),) = [await rows(desk, number)]
        assert (row.filename, row.agent_id) == (f"r{number}.wav", "")
