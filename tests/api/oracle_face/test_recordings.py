"""Recordings over FACE: shown, listed, changed, deleted."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from examples.metadata import identifier
from tests.api.oracle_face.desk import APKT, Desk

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
JSON = {"Accept": "application/json"}
DETAILS = "audioRecording/details"
ALL = "Selection criteria insufficient to determine recording. Returning all matches."
MORE = (
    "Selection criteria insufficient to determine recording. There were more matches than "
    "maxListLength, please refine your search if the entry you require is not in this list."
)
NONE = (19, "No recording found with supplied criteria")
NO_UCID = (26, "No session or file was found matching the provided UCID")
DENIED = (-1, "Permission denied")
DELETED = (0, "delete command returned successfully")


# one recording

SESSION = (
    "<start-time>2016-07-19T08:07:06</start-time>"
    f'<apkt:extensiondata xmlns:apkt="{APKT}"><apkt:ucid>dferi8dsmrt0gdk</apkt:ucid>'
    "<apkt:callerOrig>true</apkt:callerOrig></apkt:extensiondata>"
)
CALLER = (
    f'<apkt:extensiondata xmlns:apkt="{APKT}"><apkt:callingParty>true</apkt:callingParty>'
    '<apkt:realm>splan</apkt:realm><apkt:header label="P-Asserted-Identity">'
    "<value>&lt;sip:1234@soh.net&gt;</value><value>tel:1234</value></apkt:header>"
    "</apkt:extensiondata>"
)
SIPREC = (
    "<siprecDataSets><siprecData><session><startTime>2016-07-19 08:07:06</startTime>"
    "<siprecSessionId>{session}</siprecSessionId><extensionDataSets>"
    "<extensionData><name>apkt:ucid</name><values><value>dferi8dsmrt0gdk</value></values>"
    "</extensionData><extensionData><name>apkt:callerOrig</name><values><value>true</value>"
    "</values></extensionData></extensionDataSets></session><participants><participant>"
    "<siprecParticipantId>{caller}</siprecParticipantId><aor>1234@soh.net</aor><name>Caller</name>"
    "<extensionDataSets><extensionData><name>apkt:callingParty</name><values><value>true</value>"
    "</values></extensionData><extensionData><name>apkt:realm</name><values><value>splan</value>"
    "</values></extensionData><extensionData><name>P-Asserted-Identity</name><values>"
    "<value>&lt;sip:1234@soh.net&gt;</value><value>tel:1234</value></values></extensionData>"
    "</extensionDataSets></participant><participant><siprecParticipantId>{agent}"
    "</siprecParticipantId><aor>8675309@sh.net</aor><name>Agent</name><extensionDataSets/>"
    "</participant></participants><streams><stream><mode>a</mode><participantId>{caller}"
    "</participantId><siprecStreamId>{first}</siprecStreamId><startTime>2016-07-19 08:07:07"
    "</startTime><label>1</label><extensionDataSets/></stream><stream><mode>b</mode>"
    "<participantId>{agent}</participantId><siprecStreamId>{second}</siprecStreamId><label>2"
    "</label><extensionDataSets/></stream></streams></siprecData></siprecDataSets>"
)
SIPREC_JSON = (
    '"siprecDataSets":[{{"siprecData":{{"session":{{"startTime":"2016-07-19 08:07:06",'
    '"siprecSessionId":"{session}","extensionDataSets":[{{"extensionData":{{"name":"apkt:ucid",'
    '"values":[{{"value":"dferi8dsmrt0gdk"}}]}}}},{{"extensionData":{{"name":"apkt:callerOrig",'
    '"values":[{{"value":"true"}}]}}}}]}},"participants":[{{"participant":{{'
    '"siprecParticipantId":"{caller}","aor":"1234@soh.net","name":"Caller","extensionDataSets":['
    '{{"extensionData":{{"name":"apkt:callingParty","values":[{{"value":"true"}}]}}}},'
    '{{"extensionData":{{"name":"apkt:realm","values":[{{"value":"splan"}}]}}}},'
    '{{"extensionData":{{"name":"P-Asserted-Identity","values":[{{"value":"<sip:1234@soh.net>"}},'
    '{{"value":"tel:1234"}}]}}}}]}}}},{{"participant":{{"siprecParticipantId":"{agent}",'
    '"aor":"8675309@sh.net","name":"Agent","extensionDataSets":[]}}}}],"streams":[{{"stream":{{'
    '"mode":"a","participantId":"{caller}","siprecStreamId":"{first}",'
    '"startTime":"2016-07-19 08:07:07","label":"1","extensionDataSets":[]}}}},{{"stream":{{'
    '"mode":"b","participantId":"{agent}","siprecStreamId":"{second}","label":"2",'
    '"extensionDataSets":[]}}}}]}}}}]'
)


def ids(call_id: str) -> Mapping[str, str]:
    """What the metadata of the client calls its things."""
    names = {
        "session": "session",
        "caller": "participant sip:1234@soh.net",
        "agent": "participant sip:8675309@sh.net",
        "first": "stream 1",
        "second": "stream 2",
    }
    return {key: identifier(call_id, name) for key, name in names.items()}


async def test_a_call_while_it_lasts_and_when_it_is_stored(desk: Desk) -> None:
    live = await desk.call(extension=SESSION, caller_extension=CALLER)
    client = desk.calls[live.id]
    since = b"<associate-time>2016-07-19T08:07:07Z</associate-time><label>1<"
    await client.update(client.metadata().replace(b"<label>1<", since))
    assert live.recording
    row, known = live.recording, ids(live.call_id)
    start = f"{row.started_at:%Y-%m-%d %H:%M:%S}.{row.started_at.microsecond // 1000:03}"
    said = await desk.get(DETAILS, isrUcid="dferi8dsmrt0gdk")
    assert said.text == (
        f"{PROLOG}<result><code>0</code><message>ACK</message><recording>"
        "<tmpRecordingId>1</tmpRecordingId><filename>8675309-dferi8dsmrt0gdk.wav</filename>"
        "<fileStatus>0</fileStatus><ani>1234</ani><dnis>8675309</dnis><account>100</account>"
        f"<duration>0</duration><startTime>{start}</startTime><rss>1</rss>"
        "<archived>0</archived><route>13</route><archivalFailCount>0</archivalFailCount>"
        "<archiverMode>Primary</archiverMode><sensitive>0</sensitive><pauseLength>0</pauseLength>"
        "<deleteFlag>false</deleteFlag><location>1</location><archiverAction>0</archiverAction>"
        "<conversionStatus>0</conversionStatus><isrUcid>dferi8dsmrt0gdk</isrUcid>"
        f"<ingressCallId>{live.call_id}</ingressCallId>"
        "<pausedWithSilence>false</pausedWithSilence><hasVideo>false</hasVideo><customDataSets/>"
        f"{SIPREC.format_map(known)}</recording></result>"
    )
    row = await desk.recorded(live)
    ended = row.ended_at or row.started_at
    said = await desk.get(DETAILS, isrUcid="dferi8dsmrt0gdk")
    assert said.text == (
        f"{PROLOG}<result><code>0</code><message>ACK</message><recording>"
        "<recordingId>1</recordingId><filename>8675309-dferi8dsmrt0gdk.wav</filename>"
        "<fileStatus>0</fileStatus><ani>1234</ani><dnis>8675309</dnis><account>100</account>"
        f"<duration>{row.duration_ms}</duration><startTime>{start}</startTime>"
        f"<directory>{row.started_at:/%Y-%m-%d/%H/%M}</directory><rss>1</rss>"
        "<archived>1</archived><route>13</route><archivalRemarks>Archived by node 1 after the "
        f"recording ended at {ended:%Y-%m-%d %H:%M:%S} UTC</archivalRemarks>"
        "<archivalFailCount>0</archivalFailCount>"
        "<archiverMode>Primary</archiverMode><sensitive>0</sensitive><pauseLength>0</pauseLength>"
        "<deleteFlag>false</deleteFlag><location>2</location><archiverAction>0</archiverAction>"
        "<conversionStatus>0</conversionStatus><isrUcid>dferi8dsmrt0gdk</isrUcid>"
        f"<ingressCallId>{live.call_id}</ingressCallId>"
        "<pausedWithSilence>false</pausedWithSilence><hasVideo>false</hasVideo><customDataSets/>"
        f"{SIPREC.format_map(known)}<dtmfDigits/></recording></result>"
    )
    assert 200 <= row.duration_ms < 60_000


async def test_the_same_in_json(desk: Desk) -> None:
    live = await desk.call(extension=SESSION, caller_extension=CALLER)
    client = desk.calls[live.id]
    since = b"<associate-time>2016-07-19T08:07:07Z</associate-time><label>1<"
    await client.update(client.metadata().replace(b"<label>1<", since))
    await desk.post("audioRecording/pause", isrUcid="dferi8dsmrt0gdk", fillWithSilence="true")
    said = await desk.get(DETAILS, isrUcid="dferi8dsmrt0gdk", headers=JSON)
    row, known = await desk.recorded(live), ids(live.call_id)
    start = f"{row.started_at:%Y-%m-%d %H:%M:%S}.{row.started_at.microsecond // 1000:03}"
    paused_ms = said.text.partition('"pauseLength":')[2].split(",")[0]
    assert paused_ms.isdigit()
    assert said.text == (
        '{"result":{"code":0,"message":"ACK","recording":{"tmpRecordingId":1,'
        '"filename":"8675309-dferi8dsmrt0gdk.wav","fileStatus":0,"ani":"1234","dnis":"8675309",'
        f'"account":"100","duration":0,"startTime":"{start}","rss":1,'
        '"archived":0,"route":13,"archivalFailCount":0,"archiverMode":"Primary","sensitive":0,'
        f'"pauseLength":{paused_ms},"deleteFlag":false,"location":1,'
        '"archiverAction":0,"conversionStatus":0,"isrUcid":"dferi8dsmrt0gdk",'
        f'"ingressCallId":"{live.call_id}","pausedWithSilence":true,"hasVideo":false,'
        f'"customDataSets":[],{SIPREC_JSON.format_map(known)}}}}}}}'
    )
    said = await desk.get(DETAILS, isrUcid="dferi8dsmrt0gdk", headers=JSON)
    ended = row.ended_at or row.started_at
    assert said.text == (
        '{"result":{"code":0,"message":"ACK","recording":{"recordingId":1,'
        '"filename":"8675309-dferi8dsmrt0gdk.wav","fileStatus":0,"ani":"1234","dnis":"8675309",'
        f'"account":"100","duration":{row.duration_ms},"startTime":"{start}",'
        f'"directory":"{row.started_at:/%Y-%m-%d/%H/%M}","rss":1,"archived":1,"route":13,'
        '"archivalRemarks":"Archived by node 1 after the recording ended at '
        f'{ended:%Y-%m-%d %H:%M:%S} UTC","archivalFailCount":0,"archiverMode":"Primary",'
        f'"sensitive":0,"pauseLength":{row.paused_ms},"deleteFlag":false,"location":2,'
        '"archiverAction":0,"conversionStatus":0,"isrUcid":"dferi8dsmrt0gdk",'
        f'"ingressCallId":"{live.call_id}","pausedWithSilence":true,"hasVideo":false,'
        f'"customDataSets":[],{SIPREC_JSON.format_map(known)},"dtmfDigits":[]}}}}}}'
    )
    assert row.paused_ms > 0


async def test_a_file_that_is_gone(desk: Desk) -> None:
    row = await desk.stored()
    desk.node.services.blobs.delete(row.files[0].key)
    assert (await desk.get(DETAILS)).recording["fileStatus"] == "1"


# lists


async def test_a_list(desk: Desk) -> None:
    await desk.stored()
    live = await desk.call(ucid="U9")
    assert live.recording
    start = f"{live.recording.started_at:%Y-%m-%d %H:%M:%S}"
    said = await desk.get(DETAILS)
    assert (said.status, said.text) == (
        200,
        f"{PROLOG}<result><code>-1</code><message>{ALL}</message><matches>"
        "<match><tmpRecordingId>1</tmpRecordingId><isrUcid>U9</isrUcid>"
        f"<ingressCallId>{live.call_id}</ingressCallId><filename>8675309-U9.wav</filename>"
        f"<from>1234</from><to>8675309</to><start>{start}</start><hasVideo>false</hasVideo></match>"
        "<match><recordingId>1</recordingId><isrUcid>U1</isrUcid>"
        "<ingressCallId>call-1@src</ingressCallId><filename>r1.wav</filename><from>1234</from>"
        "<to>8675309</to><start>2017-03-22 15:06:59</start><hasVideo>false</hasVideo></match>"
        "</matches></result>",
    )
    said = await desk.get(DETAILS, headers=JSON)
    assert said.text == (
        f'{{"result":{{"code":-1,"message":"{ALL}","matches":[{{"match":{{"tmpRecordingId":1,'
        f'"isrUcid":"U9","ingressCallId":"{live.call_id}","filename":"8675309-U9.wav",'
        f'"from":"1234","to":"8675309","start":"{start}","hasVideo":false}}}},'
        '{"match":{"recordingId":1,"isrUcid":"U1","ingressCallId":"call-1@src",'
        '"filename":"r1.wav","from":"1234","to":"8675309","start":"2017-03-22 15:06:59",'
        '"hasVideo":false}}]}}'
    )


async def test_a_list_as_long_as_it_may_be_and_longer(desk: Desk) -> None:
    for number in (1, 2, 3):
        await desk.stored(number)
    for longest, message, found in (
        (1, MORE, ["r1.wav"]),
        (2, MORE, ["r1.wav", "r2.wav"]),
        (3, ALL, ["r1.wav", "r2.wav", "r3.wav"]),
        (4, ALL, ["r1.wav", "r2.wav", "r3.wav"]),
    ):
        said = await desk.get(DETAILS, maxListLength=longest)
        assert said.answer == (-1, message)
        assert [each["filename"] for each in said.matches] == found
    said = await desk.get(DETAILS, maxListLength=1, isrUcid="U2")
    assert said.recording["filename"] == "r2.wav"


async def test_the_longest_list_there_is(desk: Desk) -> None:
    row = await desk.stored()
    rows = [replace(row, id=f"r{n}", number=0, filename=f"r{n}.wav") for n in range(2, 1001)]
    await desk.node.services.catalog.save(*rows)
    said = await desk.get(DETAILS)
    assert said.answer == (-1, ALL)
    assert [int(each["recordingId"]) for each in said.matches] == [*range(1, 1001)]
    await desk.node.services.catalog.save(replace(row, id="r1001", number=0))
    said = await desk.get(DETAILS)
    assert said.answer == (-1, MORE)
    assert [int(each["recordingId"]) for each in said.matches] == [*range(1, 1001)]


async def test_the_order_of_a_list(desk: Desk) -> None:
    """What is in progress first, then by id, not by time."""
    await desk.stored(2)
    await desk.stored(1)
    lives = [await desk.call(ucid=f"L{number}") for number in (1, 2)]
    await desk.get(DETAILS, isrUcid="L2")  # the first that is asked for has the first id
    shown = [next(iter(each.items())) for each in (await desk.get(DETAILS)).matches]
    assert shown == [
        ("tmpRecordingId", "1"),
        ("tmpRecordingId", "2"),
        ("recordingId", "1"),
        ("recordingId", "2"),
    ]
    said = await desk.get(DETAILS, tmpRecordingId=1)
    assert said.recording["isrUcid"] == "L2"
    await desk.hang_up(lives[0])
    shown = [next(iter(each.items())) for each in (await desk.get(DETAILS)).matches]
    assert [value for _, value in shown] == ["1", "1", "2", "3"]


async def test_what_has_just_ended_has_its_id_at_once(desk: Desk) -> None:
    await desk.token()
    for number in (1, 2, 3):  # the catalogue takes the second in a second from the first
        live = await desk.call(ucid=f"U{number}")
        await desk.hang_up(live)
        said = await desk.get(DETAILS, isrUcid=f"U{number}")
        assert said.recording["recordingId"] == str(number)


# no recording


async def test_nothing_that_matches(desk: Desk) -> None:
    assert (await desk.get(DETAILS)).answer == NONE
    await desk.call(ucid="U1")
    ids: list[dict[str, Any]] = [{"isrUcid": "x"}, {"ingressCallId": "x"}, {"egressCallId": "x"}]
    ids.append({"isrUcid": "x", "ingressCallId": "x", "maxListLength": 7})
    mixed: list[dict[str, Any]] = [{"isrUcid": "x", "from": "1234"}, {"from": "x"}]
    mixed.append({"recordingId": 9})
    for method, path in (
        ("GET", DETAILS),
        ("POST", DETAILS),
        ("DELETE", DETAILS),
        ("POST", "audioRecording/delete"),
    ):
        body = {"agentId": "7"}
        for criteria in (*ids, *mixed):
            said = await desk.ask(method, path, body=body, **criteria)
            assert said.answer == (NONE if criteria in mixed else NO_UCID), criteria


async def test_a_catalogue_that_is_away(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    await desk.token()
    database = desk.node.folder / "siprecd.db"
    database.rename(desk.node.folder / "away.db")
    for method, path in (
        ("GET", DETAILS),
        ("POST", DETAILS),
        ("DELETE", DETAILS),
        ("POST", "audioRecording/delete"),
        ("GET", "audioRecording/download"),
        ("GET", "audioRecording/redirect"),
    ):
        said = await desk.ask(method, path, body={"agentId": "7"}, isrUcid="U9")
        assert said.answer == (10, "Error establishing database connection"), path
    for command, state in (("pause", "paused"), ("resume", "recording")):
        said = await desk.post(f"audioRecording/{command}", isrUcid="U1", body={"agentId": "7"})
        assert (said.recording["agentId"], live.state) == ("7", state)
    (desk.node.folder / "away.db").rename(database)
    assert (await desk.get(DETAILS, isrUcid="U1")).recording["agentId"] == "7"


async def test_a_row_nobody_can_read(desk: Desk) -> None:
    row = await desk.stored()
    with closing(sqlite3.connect(desk.node.folder / "siprecd.db")) as books, books:
        books.execute("UPDATE recordings SET participants = '[damaged'")
    said = await desk.get(DETAILS, filename=row.filename)
    assert (said.status, said.code) == (200, 11)
    assert said.message == "Error retrieving file with supplied criteria"
    start = f"{row.started_at:%Y-%m-%dT%H:%M:%S}"
    said = await desk.get(DETAILS, ani="1234", dnis="8675309", start=start)
    text = f"Error retrieving file info for ANI 1234 DNIS 8675309 at timestamp of {start}"
    assert (said.code, said.message) == (11, text)
