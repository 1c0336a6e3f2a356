"""Commands to live calls: what they do, what they are answered, and which call they are for."""

import re
import wave
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.oracle_face.control import channel_number
from config.dialects import Face
from storage.entries import User
from storage.records import Recording
from tests.api.oracle_face.desk import PASSWORD, Desk, Said, open_desk
from tests.api.oracle_face.hearing import give, open_hearing

JSON = {"Accept": "application/json"}


async def test_start_and_stop_by_from_and_to(desk: Desk) -> None:
    """Both with the name of the file, as the guide has it, and every octet of the answers."""
    live = await desk.call("sipp", "777", "x-isr-ucid-1-4355@10.10.248.107")
    where: dict[str, Any] = {"from_": "sipp", "to": "777", "body": {"filename": "test.wav"}}
    said = await desk.post("audioRecording/start", **where)
    assert said.headers["Content-Type"] == "application/xml;charset=UTF-8"
    assert live.recording
    row = live.recording
    assert plain(said) == XML.format(
        id="<tmpRecordingId>1</tmpRecordingId>", duration=0, rename="", action=0, converting=0,
        digits="", **facts(row),
    )  # fmt: skip
    await desk.calls[live.id].play(0.2)
    said = await desk.post("audioRecording/stop", **where)
    duration = said.recording["duration"]
    assert int(duration) >= 200
    assert live.recording is None
    assert plain(said) == XML.format(
        id="<recordingId>1</recordingId>", duration=duration,
        rename="<previousFilename>test.wav</previousFilename>", action=2, converting=1,
        digits="<dtmfDigits/>", **facts(row),
    )  # fmt: skip
    finished = await desk.node.services.library.finished(row.id)
    assert abs(finished.duration_ms - int(duration)) < 100
    assert (finished.number, finished.filename, finished.status) == (1, "test.wav", "complete")


XML = (
    '<?xml version="1.0" encoding="UTF-8"?><result><code>0</code><message>ACK</message><recording>'
    "{id}<filename>{filename}</filename><fileStatus>0</fileStatus><ani>{ani}</ani>"
    "<dnis>{dnis}</dnis><account>100</account><duration>{duration}</duration>"
    "<startTime>{start}</startTime><rss>1</rss><archived>0</archived><route>14</route>"
    "<archivalFailCount>0</archivalFailCount><archiverMode>Primary</archiverMode>"
    "<sensitive>0</sensitive><pauseLength>0</pauseLength><deleteFlag>false</deleteFlag>"
    "<location>1</location>{rename}<archiverAction>{action}</archiverAction>"
    "<conversionStatus>{converting}</conversionStatus><isrUcid>{ucid}</isrUcid>"
    "<ingressCallId>{call_id}</ingressCallId><pausedWithSilence>false</pausedWithSilence>"
    "<hasVideo>false</hasVideo><customDataSets/><siprecDataSets/>{digits}</recording></result>"
)


def plain(said: Said) -> str:
    """The answer without what the metadata says, which is the same for all commands."""
    return re.sub("<siprecDataSets>.*</siprecDataSets>", "<siprecDataSets/>", said.text)


def facts(row: Recording) -> dict[str, str]:
    """What the answers show of a recording."""
    start = row.started_at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds")
    return {
        "filename": row.filename,
        "ani": row.ani,
        "dnis": row.dnis,
        "ucid": row.ucid,
        "call_id": row.call_id,
        "start": start,
    }


async def test_the_same_in_json(desk: Desk) -> None:
    live = await desk.call("sipp", "777", "U1")
    said = await give(desk, "start", live, body={"filename": "test.wav"}, headers=JSON)
    assert said.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert live.recording
    known = facts(live.recording)
    text = re.sub(r'"siprecDataSets":\[\{.*\}\]', '"siprecDataSets":[]', said.text)
    assert text == (
        '{"result":{"code":0,"message":"ACK","recording":{"tmpRecordingId":1,'
        '"filename":"test.wav","fileStatus":0,"ani":"sipp","dnis":"777","account":"100",'
        f'"duration":0,"startTime":"{known["start"]}","rss":1,"archived":0,"route":14,'
        '"archivalFailCount":0,"archiverMode":"Primary","sensitive":0,"pauseLength":0,'
        '"deleteFlag":false,"location":1,"archiverAction":0,"conversionStatus":0,'
        f'"isrUcid":"U1","ingressCallId":"{live.call_id}","pausedWithSilence":false,'
        '"hasVideo":false,"customDataSets":[],"siprecDataSets":[]}}}'
    )
    said = await give(desk, "start", live, headers=JSON)
    assert said.text == (
        '{"result":{"code":12,"message":"Recording has already started on this channel."}}'
    )


@pytest.mark.parametrize(
    ("asked", "is_silent"),
    [({"fillWithSilence": "true"}, True), ({"fillWithSilence": "false"}, False), ({}, False)],
)
async def test_a_pause_leaves_silence_or_nothing(
    desk: Desk, asked: dict[str, str], is_silent: bool
) -> None:
    live = await desk.call(ucid="U1")
    call = desk.calls[live.id]
    await call.play(0.2)
    paused = (await desk.post("audioRecording/pause", isrUcid="U1", **asked)).recording
    assert paused["pausedWithSilence"] == str(is_silent).lower()
    await call.play(0.6)
    resumed = (await desk.post("audioRecording/resume", isrUcid="U1")).recording
    assert int(resumed["pauseLength"]) >= 600
    row = await desk.recorded(live)
    shown = (await desk.get("audioRecording/details", isrUcid="U1")).recording
    assert shown["pausedWithSilence"] == paused["pausedWithSilence"]
    assert abs(int(shown["pauseLength"]) - int(resumed["pauseLength"])) < 10
    for channel in samples(desk, row).T:
        audible = np.flatnonzero(channel)
        first, second = audible[:1600], audible[1600:]
        # Ten frames before and ten after, each whole and in one piece.
        assert [len(first), len(second)] == [1600, 1600]
        assert first[-1] - first[0] == second[-1] - second[0] == 1599
        assert len({int(channel[at]) for at in audible}) == 1
        gap_ms = int(second[0] - first[-1] - 1) / 8
        assert abs(gap_ms - (600 if is_silent else 0)) < 250


def samples(desk: Desk, row: Recording) -> np.ndarray:
    """The samples of a recording's file: int16[samples, channels]."""
    (key,) = (file.key for file in row.files if file.format == "wav")
    with wave.open(str(desk.node.folder / "recordings" / key)) as file:
        found = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return found.reshape(-1, file.getnchannels())


@pytest.mark.parametrize(
    ("codec_profile", "profile"),
    [
        ({"codecProfile": "1"}, "default"),
        ({"codecProfile": "2"}, "smallest"),
        ({"codecProfile": "3"}, "small"),
        ({"codecProfile": "4"}, "best_quality"),
        ({"codecProfile": "5"}, "firefox_compatible"),
        ({}, "default"),
    ],
)
async def test_the_profile_of_a_start(
    desk: Desk, codec_profile: dict[str, str], profile: str
) -> None:
    live = await desk.call(dnis="777")
    assert (await give(desk, "start", live, **codec_profile)).code == 0
    assert live.recording and live.recording.profile == profile


async def test_a_command_that_also_changes_the_recording(desk: Desk) -> None:
    live = await desk.call(dnis="777", ucid="U1")
    body = {"agentId": "007", "sensitive": "true", "testCustomData1": "a", "unknown": "x"}
    said = (await give(desk, "start", live, body=body)).recording
    assert (said["agentId"], said["sensitive"]) == ("007", "1")
    assert said["customDataSets"] == [{"customData": {"name": "testCustomData1", "value": "a"}}]
    assert "neverExpire" not in said and "agentTerminal" not in said
    body = {"agentTerminal": "T1", "setNeverExpire": "1", "otherName": "b", "bankOnly": "c"}
    said = (await give(desk, "pause", live, body=body)).recording
    assert (said["agentId"], said["agentTerminal"], said["neverExpire"]) == ("007", "T1", "true")
    custom = [each["customData"]["name"] for each in said["customDataSets"]]
    assert custom == ["testCustomData1", "otherName"]
    body = {"testCustomData1": "", "sensitive": "0"}
    said = (await give(desk, "resume", live, body=body)).recording
    assert (said["sensitive"], len(said["customDataSets"])) == ("0", 1)
    said = (await give(desk, "stop", live, body={"otherName": "c", "agentId": "8"})).recording
    assert "previousFilename" not in said and "tmpRecordingId" not in said
    stored = (await desk.get("audioRecording/details", otherName="c")).recording
    assert (stored["recordingId"], stored["agentId"]) == (said["recordingId"], "8")
    assert (stored["neverExpire"], stored["isrUcid"]) == ("true", "U1")


# what is not done


def refused(code: int, message: str, **asked: Any) -> Any:
    """A command that must do nothing."""
    return pytest.param(asked, (code, message), id=f"{asked}")


NOT_FOUND = "No recording found with supplied criteria"
NO_UCID = "No session or file was found matching the provided UCID"
NO_RENAMING = "Cannot change name of file while recording is in progress"
REFUSED = [
    refused(-1, "Invalid Parameter - sensitive", body={"sensitive": "x"}),
    refused(-1, "Invalid Parameter - setNeverExpire", body={"agentId": "1", "setNeverExpire": ""}),
    refused(-1, "Parameter ani cannot be updated", body={"ani": "5", "agentId": "5"}),
    refused(-1, "Parameter duration cannot be updated", body={"duration": "5"}),
    refused(-1, "Parameter apkt:realm cannot be updated", body={"apkt:realm": "a"}),
    refused(-1, "Invalid Parameter - agentId", body={"agentId": "x" * 1025}),
    refused(-1, "Invalid Parameter - filename", verb="stop", body={"filename": "../x.wav"}),
    refused(-1, "Invalid Parameter - filename", verb="stop", body={"filename": ""}),
    refused(21, NO_RENAMING, body={"filename": "x.wav"}),
    refused(21, NO_RENAMING, verb="resume", body={"filename": "x.wav", "agentId": "5"}),
    refused(-1, "Invalid Parameter - fillWithSilence", fillWithSilence="yes"),
    refused(-1, "Invalid Parameter - fillWithSilence", verb="stop", fillWithSilence="true"),
    refused(-1, "Invalid Parameter - codecProfile", codecProfile="1"),
    refused(-1, "Invalid Parameter - codecProfile", verb="start", codecProfile="6"),
    refused(-1, "Invalid Parameter - codecProfile", verb="start", codecProfile="x"),
    refused(-1, "Invalid Parameter - channelNumber", channelNumber="-1"),
    refused(-1, "Invalid Parameter - rssId", rssId="one"),
    refused(-1, "Invalid Parameter - earliestStart", earliestStart="yesterday"),
    refused(-1, "Invalid Parameter - maxListLength", maxListLength="1001"),
    refused(-1, "Invalid Parameter - isrucid", isrucid="U1"),
    refused(-1, "Invalid Parameter - recordingId", recordingId="1"),
    refused(-1, "Invalid Parameter - tmpRecordingId", tmpRecordingId="1"),
    refused(-1, "Invalid Parameter - audioOnly", audioOnly="true"),
    refused(-1, "Invalid Parameter - testCustomData1", testCustomData1="a"),
    refused(-1, "Invalid Parameter - apkt:secret", **{"apkt:secret": "a"}),
    refused(-1, "Permission denied", who="weak@shop.example"),
    refused(-1, "Permission denied", who="control@shop.example", body={"agentId": "1"}),
    refused(3, "Parameter Missing", isrUcid=None),
    refused(3, "Parameter Missing", isrUcid=None, maxListLength="1"),
    refused(3, "Parameter Missing", isrUcid=None, verb="start", codecProfile="1"),
    refused(27, "Missing Parameter - token is required", who=None),
    refused(26, NO_UCID, isrUcid="u1"),
    refused(26, NO_UCID, ingressCallId="nobody"),
    refused(26, NO_UCID, egressCallId="nobody"),
    refused(26, NO_UCID, who="isr@bank.example"),
    refused(19, NOT_FOUND, who="isr@bank.example", rssId="1"),
    refused(19, NOT_FOUND, who="isr@bank.example", isrUcid=None, from_="1234"),
    refused(19, NOT_FOUND, ani="123"),
    refused(19, NOT_FOUND, to="8675309", from_="8675309"),
    refused(19, NOT_FOUND, filename="8675309-U1.WAV"),
    refused(19, NOT_FOUND, rssId="2"),
    refused(19, NOT_FOUND, channelNumber="1"),
    refused(19, NOT_FOUND, latestStart="2020-01-01T00:00:00"),
    refused(19, NOT_FOUND, aor="sip:nobody@soh.net"),
    refused(19, NOT_FOUND, **{"apkt:realm": "a"}),
    refused(19, NOT_FOUND, thirdpartyId="T1"),
]


async def test_what_is_refused_does_nothing(desk: Desk) -> None:
    permitted = User("control@shop.example", 100, "api", permissions=["control"])
    await desk.node.services.directory.put(permitted)
    users = desk.node.services.users
    await users.set_password(permitted.email, PASSWORD, datetime.now(UTC))
    live = await desk.call(ucid="U1")
    before = live.recording
    for param in REFUSED:
        asked, expected = param.values
        parameters = {"verb": "pause", "isrUcid": "U1", **asked}
        given = {name: value for name, value in parameters.items() if value is not None}
        if "who" in asked:
            given["who"] = asked["who"]
        said = await desk.post(f"audioRecording/{given.pop('verb')}", **given)
        assert (said.code, said.message) == expected, param.id
        assert {*said.tree} == {"code", "message"}, param.id
        assert (live.state, live.recording) == ("recording", before), param.id
    given = {"who": permitted.email, "isrUcid": "U1"}
    assert (await desk.post("audioRecording/pause", **given)).code == 0


async def test_calling_and_called_party_can_be_demanded(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated, face=Face(require_ani_dnis=True)) as desk:
        live = await desk.call(ucid="U1")
        for criteria, code, name in (
            ({"isrUcid": "U1"}, 6, "ANI"),
            ({"dnis": "8675309"}, 6, "ANI"),
            ({"from_": "1234", "isrUcid": "U1"}, 7, "DNIS"),
        ):
            said = await desk.post("audioRecording/pause", **criteria)
            text = f"Missing Parameter - {name} parameter is required"
            assert (said.code, said.message) == (code, text)
        assert (await desk.post("audioRecording/pause")).code == 3
        assert live.state == "recording"
        assert (await desk.post("audioRecording/pause", from_="1234", to="8675309")).code == 0
        assert (await desk.get("audioRecording/details", isrUcid="U1")).code == 0


# several calls


async def test_two_calls_that_match_are_listed_and_left_alone(
    tmp_path: Path, migrated: Path
) -> None:
    async with open_hearing(tmp_path, migrated) as hearing:
        desk = hearing.desk
        first = await desk.call(ucid="U1")
        second = await desk.call(dnis="777", ucid="U2")
        before = [(live.state, live.recording) for live in (first, second)]
        for verb in ("start", "pause", "resume", "stop"):
            said = await desk.post(f"audioRecording/{verb}", from_="1234", body={"agentId": "5"})
            assert said.message == (
                "Selection criteria insufficient to determine recording. Returning all matches."
            )
            assert [[*each] for each in said.matches] == [
                [
                    *("tmpRecordingId", "isrUcid", "ingressCallId", "filename", "from", "to"),
                    *("start", "hasVideo", "channelNumber", "rssId"),
                ],
                [
                    *("isrUcid", "ingressCallId", "from", "to", "start", "hasVideo"),
                    *("channelNumber", "rssId"),
                ],
            ]
            assert [each["isrUcid"] for each in said.matches] == ["U1", "U2"]
        assert [(live.state, live.recording) for live in (first, second)] == before
        short = await desk.post("audioRecording/pause", from_="1234", maxListLength=1)
        assert short.message == (
            "Selection criteria insufficient to determine recording. There were more matches "
            "than maxListLength, please refine your search if the entry you require is not in "
            "this list."
        )
        assert [each["isrUcid"] for each in short.matches] == ["U1"]
        (row,) = [await desk.recorded(first)]
        assert [stream.packets for stream in row.streams] == [10, 10]
        assert row.agent_id == ""
        told = await hearing.told()
        assert told[first.call_id] == ["STARTED success", "ENDED success"]
        assert told[second.call_id] == []


async def test_what_the_list_says_selects_one_of_them(desk: Desk) -> None:
    calls = [await desk.call("1", dnis) for dnis in ("777", "7771", "8675309")]
    listed = (await desk.post("audioRecording/start", from_="1")).matches
    channels = [each["channelNumber"] for each in listed]
    assert channels == [str(channel_number(live)) for live in calls]
    assert len({*channels}) == 3
    assert [each["rssId"] for each in listed] == ["1", "1", "1"]
    said = await desk.post("audioRecording/start", channelNumber=channels[1], rssId=1)
    assert said.recording["ingressCallId"] == calls[1].call_id
    assert [live.state for live in calls] == ["idle", "recording", "recording"]
    several = await desk.post("audioRecording/stop", rssId=1)
    assert len(several.matches) == 3
    await desk.hang_up(calls[0])
    await desk.hang_up(calls[1])
    assert (await desk.post("audioRecording/stop", rssId=1)).code == 0
    assert calls[2].state == "stopped"


async def test_a_user_of_the_system_account_reaches_all_and_others_their_own(desk: Desk) -> None:
    shop, bank = await desk.call("1", "777"), await desk.call("1", "2001")
    assert (
        len((await desk.post("audioRecording/pause", "isr@system.example", ani="1")).matches) == 2
    )
    assert (await desk.post("audioRecording/pause", "isr@bank.example", ani="1")).code == 0
    assert (shop.state, bank.state) == ("idle", "paused")
    assert (await desk.post("audioRecording/start", ani="1")).code == 0
    assert (shop.state, bank.state) == ("recording", "paused")


@pytest.mark.parametrize(
    "criteria",
    [
        {"isrUcid": "U2"},
        {"to": "777"},
        {"dnis": "777"},
        {"aor": "sip:777@sh.net"},
        {"aor": "777@sh.net"},
        {"apkt:realm": "core"},
        {"earliestStart": "2020-01-01T00:00:00", "dnis": "777"},
    ],
    ids=str,
)
async def test_criteria_of_a_call_without_a_recording(desk: Desk, criteria: dict[str, str]) -> None:
    realm = (
        '<apkt:extensiondata xmlns:apkt="http://acmepacket.com/siprec/extensiondata">'
        "<apkt:realm>core</apkt:realm></apkt:extensiondata>"
    )
    await desk.call(ucid="U1")
    live = await desk.call(dnis="777", ucid="U2", extension=realm)
    assert (await desk.post("audioRecording/start", **criteria)).code == 0
    assert live.state == "recording"
