"""What FACE answers, compared whole: names, order, types, and nothing besides."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from api import xml
from api.oracle_face import codes, wire
from api.oracle_face.wire import Shown, Tree
from storage.records import (
    Digit,
    Extension,
    FileRecord,
    Participant,
    Pause,
    Recording,
    SiprecSession,
    StreamRecord,
    SupplementalFile,
)
from tests.storage.recordings import recording as full_row

AT = datetime(2026, 7, 19, 16, 21, 45, 356_999, UTC)
JOINED = datetime(2026, 7, 19, 8, 7, 6, 999_999, UTC)
PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'


def _file(format: str) -> FileRecord:
    return FileRecord(format, f"key.{format}", 44, "ab" * 32)


def _plain(id: str = "r1", **fields: Any) -> Recording:
    """A call without metadata, its WAV in the store."""
    given: dict[str, Any] = {
        "session_id": "s1",
        "call_id": "515@src",
        "status": "complete",
        "started_at": AT,
        "number": 673,
        "ended_at": AT + timedelta(seconds=10),
        "duration_ms": 10_005,
        "filename": "callee-515.wav",
        "ani": "caller",
        "dnis": "callee",
        "ucid": "ucid-515",
        "files": (_file("wav"), _file("peaks")),
    }
    return Recording(id, **(given | fields))


def _video(number: int) -> SupplementalFile:
    return SupplementalFile(number, "video", f"8675309-dfe-{number}.mp4", _file("mp4"))


def _everything() -> Recording:
    """A recording with something in every element."""
    return _plain(
        number=2342,
        node=3,
        account=7,
        route=13,
        duration_ms=30_037,
        paused_ms=3102,
        filename="8675309-dfe.wav",
        previous_filename="before.wav",
        ani="1234",
        dnis="8675309",
        ucid="dfe;encoding=hex",
        egress_call_id="out@src",
        agent_id="007",
        agent_terminal="T1",
        sensitive=True,
        never_expire=True,
        deleting=True,
        custom={"two": "a & b", "one": "Ä"},
        pauses=(Pause(AT, AT, "cut"), Pause(AT, AT, "silence")),
        siprec_sessions=(
            SiprecSession("azs=", JOINED, (Extension("apkt:ucid", ("dfe", "dfe2")),)),
            SiprecSession("second="),
        ),
        participants=(
            Participant(
                "p1",
                "sip:8675309@sh.net",
                "Ann",
                (Extension("apkt:callingParty", ("false",)), Extension("apkt:realm", ())),
            ),
            Participant("p2", "SIPS:1234@soh.net"),
        ),
        streams=(
            StreamRecord("s1", "L1", 0, "PCMU", "p2", siprec_stream_id="x=", started_at=JOINED),
            StreamRecord("s2", "L2", 1, extensions=(Extension("acme:side", ("callee",)),)),
        ),
        digits=(Digit("3", 1038, "caller"), Digit("#", 13_337, "")),
        files=(_file("wav"), _file("mp3")),
        supplemental_files=(_video(1), _video(2)),
    )


def _sent(tree: Tree) -> tuple[str, str]:
    """The tree as XML, and as JSON."""
    return xml.document(tree).decode(), msgspec.json.encode(tree).decode()


def _acknowledged(shown: Shown) -> tuple[str, str]:
    return _sent(wire.result(0, codes.ACK, recording=wire.recording(shown)))


EVERYTHING_XML = (
    PROLOG + "<result><code>0</code><message>ACK</message><recording>"
    "<recordingId>2342</recordingId><filename>8675309-dfe.wav</filename>"
    "<fileStatus>0</fileStatus><ani>1234</ani><dnis>8675309</dnis><account>7</account>"
    "<duration>30037</duration><startTime>2026-07-19 16:21:45.356</startTime>"
    "<directory>/2026-07-19/16/21</directory><rss>3</rss><archived>1</archived>"
    "<route>13</route>"
    "<archivalRemarks>Archived by node 3 after the recording ended at 2026-07-19 16:21:55 UTC"
    "</archivalRemarks><archivalFailCount>0</archivalFailCount><agentId>007</agentId>"
    "<agentTerminal>T1</agentTerminal><archiverMode>Primary</archiverMode>"
    "<sensitive>1</sensitive><neverExpire>true</neverExpire><pauseLength>3102</pauseLength>"
    "<deleteFlag>true</deleteFlag><location>2</location>"
    "<previousFilename>before.wav</previousFilename><archiverAction>1</archiverAction>"
    "<conversionStatus>2</conversionStatus><isrUcid>dfe;encoding=hex</isrUcid>"
    "<ingressCallId>515@src</ingressCallId><egressCallId>out@src</egressCallId>"
    "<pausedWithSilence>true</pausedWithSilence><hasVideo>true</hasVideo>"
    "<customDataSets><customData><name>two</name><value>a &amp; b</value></customData>"
    "<customData><name>one</name><value>Ä</value></customData></customDataSets>"
    "<siprecDataSets><siprecData><session><startTime>2026-07-19 08:07:06</startTime>"
    "<siprecSessionId>azs=</siprecSessionId><extensionDataSets><extensionData>"
    "<name>apkt:ucid</name><values><value>dfe</value><value>dfe2</value></values>"
    "</extensionData></extensionDataSets></session><participants><participant>"
    "<siprecParticipantId>p1</siprecParticipantId><aor>8675309@sh.net</aor><name>Ann</name>"
    "<extensionDataSets><extensionData><name>apkt:callingParty</name><values>"
    "<value>false</value></values></extensionData><extensionData><name>apkt:realm</name>"
    "<values/></extensionData></extensionDataSets></participant><participant>"
    "<siprecParticipantId>p2</siprecParticipantId><aor>1234@soh.net</aor>"
    "<extensionDataSets/></participant></participants><streams><stream><mode>a</mode>"
    "<participantId>p2</participantId><siprecStreamId>x=</siprecStreamId>"
    "<startTime>2026-07-19 08:07:06</startTime><label>L1</label><extensionDataSets/></stream>"
    "<stream><mode>b</mode><label>L2</label><extensionDataSets><extensionData>"
    "<name>acme:side</name><values><value>callee</value></values></extensionData>"
    "</extensionDataSets></stream></streams></siprecData><siprecData><session>"
    "<siprecSessionId>second=</siprecSessionId><extensionDataSets/></session><participants/>"
    "<streams/></siprecData></siprecDataSets>"
    "<dtmfDigits><dtmfDigit><key>3</key><offsetMs>1038</offsetMs><origin>caller</origin>"
    "</dtmfDigit><dtmfDigit><key>#</key><offsetMs>13337</offsetMs></dtmfDigit></dtmfDigits>"
    "<supplementalFiles><supplementalFile><supplementalFileId>2342001</supplementalFileId>"
    "<fileType>video</fileType><filename>8675309-dfe-1.mp4</filename></supplementalFile>"
    "<supplementalFile><supplementalFileId>2342002</supplementalFileId>"
    "<fileType>video</fileType><filename>8675309-dfe-2.mp4</filename></supplementalFile>"
    "</supplementalFiles></recording></result>"
)
EVERYTHING_JSON = (
    '{"result":{"code":0,"message":"ACK","recording":{'
    '"recordingId":2342,"filename":"8675309-dfe.wav",'
    '"fileStatus":0,"ani":"1234","dnis":"8675309","account":"7",'
    '"duration":30037,"startTime":"2026-07-19 16:21:45.356",'
    '"directory":"/2026-07-19/16/21","rss":3,"archived":1,'
    '"route":13,'
    '"archivalRemarks":"Archived by node 3 after the recording ended at 2026-07-19 16:21:55 UTC'
    '","archivalFailCount":0,"agentId":"007",'
    '"agentTerminal":"T1","archiverMode":"Primary",'
    '"sensitive":1,"neverExpire":true,"pauseLength":3102,'
    '"deleteFlag":true,"location":2,'
    '"previousFilename":"before.wav","archiverAction":1,'
    '"conversionStatus":2,"isrUcid":"dfe;encoding=hex",'
    '"ingressCallId":"515@src","egressCallId":"out@src",'
    '"pausedWithSilence":true,"hasVideo":true,'
    '"customDataSets":[{"customData":{"name":"two","value":"a & b"}},'
    '{"customData":{"name":"one","value":"Ä"}}],'
    '"siprecDataSets":[{"siprecData":{"session":{"startTime":"2026-07-19 08:07:06",'
    '"siprecSessionId":"azs=","extensionDataSets":[{"extensionData":{'
    '"name":"apkt:ucid","values":[{"value":"dfe"},{"value":"dfe2"}]'
    '}}]},"participants":[{"participant":{'
    '"siprecParticipantId":"p1","aor":"8675309@sh.net","name":"Ann",'
    '"extensionDataSets":[{"extensionData":{"name":"apkt:callingParty","values":['
    '{"value":"false"}]}},{"extensionData":{"name":"apkt:realm",'
    '"values":[]}}]}},{"participant":{'
    '"siprecParticipantId":"p2","aor":"1234@soh.net",'
    '"extensionDataSets":[]}}],"streams":[{"stream":{"mode":"a",'
    '"participantId":"p2","siprecStreamId":"x=",'
    '"startTime":"2026-07-19 08:07:06","label":"L1","extensionDataSets":[]}},'
    '{"stream":{"mode":"b","label":"L2","extensionDataSets":[{"extensionData":{'
    '"name":"acme:side","values":[{"value":"callee"}]}}'
    ']}}]}},{"siprecData":{"session":{'
    '"siprecSessionId":"second=","extensionDataSets":[]},"participants":[],'
    '"streams":[]}}],'
    '"dtmfDigits":[{"dtmfDigit":{"key":"3","offsetMs":1038,"origin":"caller"}},'
    '{"dtmfDigit":{"key":"#","offsetMs":13337}}],'
    '"supplementalFiles":[{"supplementalFile":{"supplementalFileId":2342001,'
    '"fileType":"video","filename":"8675309-dfe-1.mp4"}},'
    '{"supplementalFile":{"supplementalFileId":2342002,'
    '"fileType":"video","filename":"8675309-dfe-2.mp4"}}]}}}'
)


def test_a_recording_with_all_there_can_be() -> None:
    assert _acknowledged(Shown(_everything())) == (EVERYTHING_XML, EVERYTHING_JSON)


def test_a_recording_with_no_more_than_there_must_be() -> None:
    row = _plain(call_id="", ani="", dnis="", ucid="", ended_at=None, files=(), status="failed")
    xml_text, json_text = _acknowledged(Shown(row, is_missing=True))
    assert xml_text == (
        PROLOG + "<result><code>0</code><message>ACK</message><recording>"
        "<recordingId>673</recordingId><filename>callee-515.wav</filename>"
        "<fileStatus>1</fileStatus><ani/><dnis/><account>1</account><duration>10005</duration>"
        "<startTime>2026-07-19 16:21:45.356</startTime><rss>1</rss><archived>0</archived>"
        "<route>1</route><archivalFailCount>0</archivalFailCount>"
        "<archiverMode>Primary</archiverMode><sensitive>0</sensitive>"
        "<pauseLength>0</pauseLength><deleteFlag>false</deleteFlag><location>1</location>"
        "<archiverAction>0</archiverAction><conversionStatus>0</conversionStatus>"
        "<pausedWithSilence>false</pausedWithSilence><hasVideo>false</hasVideo>"
        "<customDataSets/><siprecDataSets/><dtmfDigits/></recording></result>"
    )
    assert '"ani":"","dnis":"",' in json_text
    assert '"customDataSets":[],"siprecDataSets":[],"dtmfDigits":[]}}}' in json_text


def test_a_live_recording_has_another_id_and_no_digits() -> None:
    row = _plain(status="recording", number=0, duration_ms=0, ended_at=None, files=())
    xml_text, _ = _acknowledged(Shown(row, tmp_id=596))
    assert xml_text == (
        PROLOG + "<result><code>0</code><message>ACK</message><recording>"
        "<tmpRecordingId>596</tmpRecordingId><filename>callee-515.wav</filename>"
        "<fileStatus>0</fileStatus><ani>caller</ani><dnis>callee</dnis><account>1</account>"
        "<duration>0</duration><startTime>2026-07-19 16:21:45.356</startTime><rss>1</rss>"
        "<archived>0</archived><route>1</route><archivalFailCount>0</archivalFailCount>"
        "<archiverMode>Primary</archiverMode><sensitive>0</sensitive>"
        "<pauseLength>0</pauseLength><deleteFlag>false</deleteFlag><location>1</location>"
        "<archiverAction>0</archiverAction><conversionStatus>0</conversionStatus>"
        "<isrUcid>ucid-515</isrUcid><ingressCallId>515@src</ingressCallId>"
        "<pausedWithSilence>false</pausedWithSilence><hasVideo>false</hasVideo>"
        "<customDataSets/><siprecDataSets/></recording></result>"
    )


def test_a_stop_that_renames_shows_the_name_before_even_if_it_is_the_same() -> None:
    row = _plain(status="processing", files=())
    shown = Shown(row, is_renamed=True, name_before="callee-515.wav")
    tree = wire.recording(shown)
    assert (tree["filename"], tree["previousFilename"]) == ("callee-515.wav", "callee-515.wav")
    assert (tree["archiverAction"], tree["conversionStatus"]) == (2, 1)
    assert tree["recordingId"] == 673
    before = replace(shown, row=replace(row, previous_filename="other.wav"))
    assert wire.recording(before)["previousFilename"] == "callee-515.wav"


@pytest.mark.parametrize(
    ("fields", "is_renamed", "action"),
    [
        ({}, False, 0),
        ({}, True, 2),
        ({"previous_filename": "b.wav"}, False, 0),
        ({"previous_filename": "b.wav", "status": "processing", "files": ()}, False, 2),
        ({"previous_filename": "b.wav", "status": "failed", "files": ()}, False, 0),
        ({"deleting": True}, True, 1),
    ],
)
def test_what_the_archiver_has_still_to_do(
    fields: dict[str, Any], is_renamed: bool, action: int
) -> None:
    tree = wire.recording(Shown(_plain(**fields), is_renamed=is_renamed))
    assert tree["archiverAction"] == action


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 0),
        ({"status": "recording"}, 0),
        ({"status": "processing"}, 1),
        ({"files": (_file("wav"), _file("mp3"))}, 2),
        ({"status": "failed", "reason": "render_failed", "files": ()}, 3),
        ({"status": "failed", "reason": "no_media", "files": ()}, 0),
    ],
)
def test_how_far_a_conversion_is(fields: dict[str, Any], status: int) -> None:
    assert wire.recording(Shown(_plain(**fields)))["conversionStatus"] == status


@pytest.mark.parametrize(
    ("fields", "archived"),
    [
        ({}, 1),
        ({"status": "partial"}, 1),
        ({"status": "processing"}, 0),
        ({"status": "recording"}, 0),
        ({"status": "failed", "files": (_file("peaks"),)}, 0),
    ],
)
def test_what_is_archived_has_a_directory(fields: dict[str, Any], archived: int) -> None:
    tree = wire.recording(Shown(_plain(**fields)))
    assert (tree["archived"], tree["location"]) == (archived, 1 + archived)
    assert ("directory" in tree, "archivalRemarks" in tree) == (bool(archived),) * 2


def test_an_archived_recording_whose_end_is_not_known() -> None:
    tree = wire.recording(Shown(_plain(ended_at=None)))
    assert tree["archivalRemarks"] == "Archived by node 1"


def test_pauses_that_left_nothing_are_not_silence() -> None:
    row = _plain(pauses=(Pause(AT, None, "cut"),), paused_ms=5)
    tree = wire.recording(Shown(row))
    assert (tree["pausedWithSilence"], tree["pauseLength"]) == (False, 5)


def test_parties_without_a_session_are_not_shown() -> None:
    row = replace(_everything(), siprec_sessions=())
    assert wire.recording(Shown(row))["siprecDataSets"] == []


def test_modes_never_run_out() -> None:
    streams = tuple(StreamRecord("s", "l", channel) for channel in (0, 25, 26, 53))
    row = replace(_everything(), streams=streams)
    shown = wire.recording(Shown(row))["siprecDataSets"][0]["siprecData"]["streams"]
    assert [each["stream"]["mode"] for each in shown] == ["a", "z", "aa", "bbb"]


@given(st.integers(1, 2**31), st.integers(1, 999))
def test_an_id_of_a_supplemental_file_leads_back_to_it(number: int, file: int) -> None:
    id = wire.supplemental_id(_plain(number=number), file)
    assert wire.supplemental_place(id) == (number, file)


def test_times_are_utc_and_cut_off() -> None:
    ahead = datetime(2026, 11, 22, 1, 0, 59, 999_999, timezone(timedelta(hours=2)))
    assert wire.time(ahead) == "2026-11-21 23:00:59.999"
    assert wire.second(ahead) == "2026-11-21 23:00:59"
    assert wire.time(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02 00:00:00.000"
    assert wire.time(datetime(1, 1, 2, 3, tzinfo=UTC)) == "0001-01-02 03:00:00.000"


def test_a_list_of_matches() -> None:
    live = _plain(status="recording", number=0, ucid="")
    found = [wire.match(live, 555), wire.match(_everything())]
    assert _sent(wire.matches(found, 2)) == (
        PROLOG + "<result><code>-1</code><message>Selection criteria insufficient to determine "
        "recording. Returning all matches.</message><matches><match>"
        "<tmpRecordingId>555</tmpRecordingId><ingressCallId>515@src</ingressCallId>"
        "<filename>callee-515.wav</filename><from>caller</from><to>callee</to>"
        "<start>2026-07-19 16:21:45</start><hasVideo>false</hasVideo></match><match>"
        "<recordingId>2342</recordingId><isrUcid>dfe;encoding=hex</isrUcid>"
        "<ingressCallId>515@src</ingressCallId><filename>8675309-dfe.wav</filename>"
        "<from>1234</from><to>8675309</to><start>2026-07-19 16:21:45</start>"
        "<hasVideo>true</hasVideo></match></matches></result>",
        '{"result":{"code":-1,"message":"Selection criteria insufficient to determine '
        'recording. Returning all matches.","matches":[{"match":{'
        '"tmpRecordingId":555,"ingressCallId":"515@src",'
        '"filename":"callee-515.wav","from":"caller","to":"callee",'
        '"start":"2026-07-19 16:21:45","hasVideo":false}},{"match":{'
        '"recordingId":2342,"isrUcid":"dfe;encoding=hex",'
        '"ingressCallId":"515@src","filename":"8675309-dfe.wav",'
        '"from":"1234","to":"8675309","start":"2026-07-19 16:21:45",'
        '"hasVideo":true}}]}}',
    )


def test_a_match_without_a_value_has_no_element_for_it() -> None:
    assert list(wire.match(_plain(call_id="", ucid=""))) == [
        "recordingId",
        "filename",
        "from",
        "to",
        "start",
        "hasVideo",
    ]


def test_a_list_that_is_too_long_is_cut_and_says_so() -> None:
    found = [wire.match(_plain(number=number)) for number in (1, 2, 3)]
    cut = wire.matches(found, 2)["result"]
    assert cut["message"] == (
        "Selection criteria insufficient to determine recording. There were more matches than "
        "maxListLength, please refine your search if the entry you require is not in this list."
    )
    assert [each["match"]["recordingId"] for each in cut["matches"]] == [1, 2]
    assert wire.matches(found, 3)["result"]["message"] == codes.ALL_MATCHES


def test_a_session_without_a_recording_is_selected_by_its_channel() -> None:
    session = replace(_plain(node=3, number=0), id="")
    assert _sent({"match": wire.match(session, channel=7)}) == (
        PROLOG + "<match><isrUcid>ucid-515</isrUcid><ingressCallId>515@src</ingressCallId>"
        "<from>caller</from><to>callee</to><start>2026-07-19 16:21:45</start>"
        "<hasVideo>false</hasVideo><channelNumber>7</channelNumber><rssId>3</rssId></match>",
        '{"match":{"isrUcid":"ucid-515","ingressCallId":"515@src",'
        '"from":"caller","to":"callee","start":"2026-07-19 16:21:45",'
        '"hasVideo":false,"channelNumber":7,"rssId":3}}',
    )


def test_the_other_envelopes() -> None:
    assert _sent(wire.response(-1, codes.NACK)) == (
        PROLOG + "<response><Code>-1</Code><message>NACK</message></response>",
        '{"response":{"Code":-1,"message":"NACK"}}',
    )
    assert _sent(wire.result(0, "ACK", token="t", expiration="3600seconds")) == (
        PROLOG + "<result><code>0</code><message>ACK</message><token>t</token>"
        "<expiration>3600seconds</expiration></result>",
        '{"result":{"code":0,"message":"ACK","token":"t","expiration":"3600seconds"}}',
    )


UNFIT = "a\udcffb\0c"


@pytest.mark.parametrize("release", ["6.1", "6.4", "list"])
def test_octets_of_any_kind_can_be_sent(release: str) -> None:
    """A client may send anything in SIP, and a live row has it as it came."""
    row = replace(_everything(), call_id=UNFIT, custom={UNFIT: UNFIT}, siprec_sessions=())
    shown = Shown(replace(row, participants=(Participant(UNFIT, UNFIT),)), tmp_id=1)
    trees = {
        "6.1": wire.recording(shown),
        "6.4": wire.conversation([shown]),
        "list": wire.match(shown.row, 1),
    }
    xml_text, json_text = _sent({"result": trees[release]})
    assert msgspec.json.decode(json_text)["result"]["ingressCallId"] == "a?b?c"
    assert etree.fromstring(xml_text.encode()).findtext("ingressCallId") == "a?b?c"


# release 6.4


def _segments() -> list[Shown]:
    first = _plain(
        number=41,
        custom={"one": "1", "two": "2"},
        deleting=True,
        agent_id="007",
        agent_terminal="T1",
        digits=(Digit("#", 7, "caller"),),
        supplemental_files=(_video(1),),
    )
    second = _plain(
        id="r2",
        status="recording",
        number=0,
        segment=2,
        node=3,
        account=1,
        route=2,
        started_at=AT + timedelta(seconds=10),
        ended_at=None,
        duration_ms=500,
        sensitive=True,
        files=(),
        filename="callee-515-1.wav",
        previous_filename="callee.wav",
        custom={"two": "zwei"},
    )
    return [Shown(first), Shown(second, tmp_id=9)]


CALL_XML = (
    PROLOG + "<result><code>0</code><message>ACK</message><recording>"
    "<recordingId>41</recordingId><ani>caller</ani><dnis>callee</dnis><account>1</account>"
    "<duration>10005</duration><startTime>2026-07-19 16:21:45.356</startTime>"
    "<route>1</route><sensitive>1</sensitive><deleteFlag>false</deleteFlag>"
    "<isrUcid>ucid-515</isrUcid><ingressCallId>515@src</ingressCallId>"
    "<customDataSets><customData><name>one</name><value>1</value></customData>"
    "<customData><name>two</name><value>zwei</value></customData></customDataSets>"
    "<segments><segment><segmentId>41</segmentId><recordingId>41</recordingId>"
    "<sequence>1</sequence><filename>callee-515.wav</filename><fileStatus>0</fileStatus>"
    "<locationId>2</locationId><accountId>1</accountId><routeId>1</routeId>"
    "<start>2026-07-19 16:21:45.356</start><end>2026-07-19 16:21:55.356</end>"
    "<checksumMismatch>false</checksumMismatch><agentId>007</agentId>"
    "<agentTerminal>T1</agentTerminal><pauseLength>0</pauseLength>"
    "<pausedWithSilence>false</pausedWithSilence><securedMedia>false</securedMedia>"
    "<hasVideo>true</hasVideo><archived>1</archived>"
    "<archivalFailCount>0</archivalFailCount><archiverMode>Primary</archiverMode>"
    "<archiverAction>1</archiverAction><conversionStatus>0</conversionStatus>"
    "<customDataSets><customData><name>one</name><value>1</value></customData><customData>"
    "<name>two</name><value>2</value></customData></customDataSets><dtmfDigits><dtmfDigit>"
    "<key>#</key><offsetMs>7</offsetMs><origin>caller</origin></dtmfDigit></dtmfDigits>"
    "<siprecDataSets/><supplementalFiles><supplementalFile>"
    "<supplementalFileId>41001</supplementalFileId><fileType>video</fileType>"
    "<filename>8675309-dfe-1.mp4</filename></supplementalFile></supplementalFiles></segment>"
    "<segment><tmpRecordingId>9</tmpRecordingId><recordingId>41</recordingId>"
    "<sequence>2</sequence><filename>callee-515-1.wav</filename>"
    "<previousFilename>callee.wav</previousFilename><fileStatus>0</fileStatus>"
    "<locationId>1</locationId><accountId>1</accountId><routeId>2</routeId>"
    "<start>2026-07-19 16:21:55.356</start><checksumMismatch>false</checksumMismatch>"
    "<pauseLength>0</pauseLength><pausedWithSilence>false</pausedWithSilence>"
    "<securedMedia>false</securedMedia><hasVideo>false</hasVideo><archived>0</archived>"
    "<archivalFailCount>0</archivalFailCount><archiverMode>Primary</archiverMode>"
    "<archiverAction>2</archiverAction><conversionStatus>0</conversionStatus>"
    "<customDataSets><customData><name>two</name><value>zwei</value></customData>"
    "</customDataSets><siprecDataSets/></segment></segments></recording></result>"
)
CALL_JSON = (
    '{"result":{"code":0,"message":"ACK","recording":{'
    '"recordingId":41,"ani":"caller","dnis":"callee","account":"1",'
    '"duration":10005,"startTime":"2026-07-19 16:21:45.356",'
    '"route":1,"sensitive":1,"deleteFlag":false,'
    '"isrUcid":"ucid-515","ingressCallId":"515@src",'
    '"customDataSets":[{"customData":{"name":"one","value":"1"}},'
    '{"customData":{"name":"two","value":"zwei"}}],'
    '"segments":[{"segment":{"segmentId":41,"recordingId":41,'
    '"sequence":1,"filename":"callee-515.wav","fileStatus":0,'
    '"locationId":2,"accountId":1,"routeId":1,'
    '"start":"2026-07-19 16:21:45.356","end":"2026-07-19 16:21:55.356",'
    '"checksumMismatch":false,"agentId":"007",'
    '"agentTerminal":"T1","pauseLength":0,'
    '"pausedWithSilence":false,"securedMedia":false,'
    '"hasVideo":true,"archived":1,'
    '"archivalFailCount":0,"archiverMode":"Primary",'
    '"archiverAction":1,"conversionStatus":0,'
    '"customDataSets":[{"customData":{"name":"one","value":"1"}},{"customData":{'
    '"name":"two","value":"2"}}],"dtmfDigits":[{"dtmfDigit":{'
    '"key":"#","offsetMs":7,"origin":"caller"}}],'
    '"siprecDataSets":[],"supplementalFiles":[{"supplementalFile":{'
    '"supplementalFileId":41001,"fileType":"video",'
    '"filename":"8675309-dfe-1.mp4"}}]}},'
    '{"segment":{"tmpRecordingId":9,"recordingId":41,'
    '"sequence":2,"filename":"callee-515-1.wav",'
    '"previousFilename":"callee.wav","fileStatus":0,'
    '"locationId":1,"accountId":1,"routeId":2,'
    '"start":"2026-07-19 16:21:55.356","checksumMismatch":false,'
    '"pauseLength":0,"pausedWithSilence":false,'
    '"securedMedia":false,"hasVideo":false,"archived":0,'
    '"archivalFailCount":0,"archiverMode":"Primary",'
    '"archiverAction":2,"conversionStatus":0,'
    '"customDataSets":[{"customData":{"name":"two","value":"zwei"}}'
    '],"siprecDataSets":[]}}]}}}'
)


def test_a_call_and_its_segments() -> None:
    conversation = wire.conversation(_segments())
    assert _sent(wire.result(0, codes.ACK, recording=conversation)) == (CALL_XML, CALL_JSON)


@pytest.mark.parametrize("flag", ["deleting", "discard"])
def test_a_call_is_deleted_once_all_of_it_is(flag: str) -> None:
    marked: dict[str, Any] = {flag: True}
    shown = [Shown(replace(each.row, **marked)) for each in _segments()]
    assert wire.conversation(shown)["deleteFlag"] is True
    alone = wire.recording(shown[0])
    assert (alone["deleteFlag"], alone["archiverAction"]) == (True, 1)


def test_a_segment_alone() -> None:
    first, live = _segments()
    assert wire.segment(first)["recordingId"] == wire.segment(first)["segmentId"] == 41
    assert wire.segment(live)["tmpRecordingId"] == 9
    assert not {"recordingId", "segmentId"} & set(wire.segment(live))
    assert wire.segment(Shown(full_row(number=5)))["sequence"] == 2
