"""Which recordings a URL of FACE selects, live and stored ones alike."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from storage.entries import CustomField
from storage.records import Extension, Participant, SiprecSession, StreamRecord, SupplementalFile
from tests.api.oracle_face.desk import APKT, FIRST_DAY, Desk

DETAILS = "audioRecording/details"
NONE = (19, "No recording found with supplied criteria")
NO_UCID = (26, "No session or file was found matching the provided UCID")
LIVE, ONE, TWO = "8675309-LIVE.wav", "one.wav", "two.wav"
SECOND = timedelta(milliseconds=999 - 842)


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """Two stored recordings of one second, the second with video, and one that is live."""
    await desk.stored(
        1,
        filename=ONE,
        previous_filename="uno.wav",
        call_id="in-1@src",
        egress_call_id="out-1@src",
        third_party_id="screen-1",
        ani="+49 (1) 2&3",
        from_aor="sip:+4912@soh.net;user=phone",
        siprec_sessions=(SiprecSession("s", None, (Extension("apkt:realm", ("core", "peer")),)),),
        streams=(StreamRecord("1", "1", extensions=(Extension("apkt:secret", ("x",)),)),),
        custom={"testCustomData1": "testValue1", "hidden": "h", "otherName": "Ä b"},
    )
    video = SupplementalFile(1, "video", "two-1.mp4", desk.node.put("v2", "mp4", b"video"))
    await desk.stored(
        2,
        filename=TWO,
        started_at=FIRST_DAY + SECOND,
        participants=(
            Participant("p", "sips:Bob@x.org", extensions=(Extension("apkt:realm", ("splan",)),)),
        ),
        supplemental_files=(video,),
        custom={"testCustomData1": "testValue1", "case": "7"},
    )
    realm = f'<apkt:x xmlns:apkt="{APKT}"><apkt:realm>splan</apkt:realm></apkt:x>'
    await desk.call(ucid="LIVE", caller_extension=realm)
    listed = (await desk.get(DETAILS)).matches
    assert [next(iter(each.values())) for each in listed] == ["1", "1", "2"]
    return desk


async def found(desk: Desk, query: str, who: str = "isr@shop.example") -> list[str]:
    """File names of what a query selects; the codes for nothing are told apart."""
    said = await desk.get(DETAILS, who, query=f"&{query}")
    if said.answer in {NONE, NO_UCID}:
        return [said.message]
    if said.code == 0:
        return [said.recording["filename"]]
    return [each["filename"] for each in said.matches]


NOTHING, NO_ID = [NONE[1]], [NO_UCID[1]]
ALL = [LIVE, ONE, TWO]
SELECTED = {
    "": ALL,
    "isrUcid=U1": [ONE],
    "isrUcid=LIVE": [LIVE],
    "isrUcid=u1": NO_ID,
    "isrUcid=U": NO_ID,
    "isrUcid=%25": NO_ID,
    "isrUcid=*": NO_ID,
    "isrUcid=in-1@src": NO_ID,
    "ingressCallId=in-1@src": [ONE],
    "ingressCallId=IN-1@src": NO_ID,
    "ingressCallId=U1": NO_ID,
    "egressCallId=out-1@src": [ONE],
    "egressCallId=out-1": NO_ID,
    "thirdpartyId=screen-1": [ONE],
    "thirdpartyId=Screen-1": NOTHING,
    "ani=1234": [LIVE, TWO],
    "from=1234": [LIVE, TWO],
    "from=%2B49%20(1)%202%263": [ONE],
    "from=123_": NOTHING,
    "from=8675309": NOTHING,
    "dnis=8675309": ALL,
    "to=8675309": ALL,
    "to=1234": NOTHING,
    "ani=1234&from=1234&to=8675309": [LIVE, TWO],
    "ani=1234&from=1235": NOTHING,  # both names must hold
    "from=1235&from=1234": [LIVE, TWO],  # the last counts
    "from=1234&from=1235": NOTHING,
    "filename=one.wav": [ONE],
    f"filename={LIVE}": [LIVE],
    "filename=ONE.wav": NOTHING,
    "filename=one": NOTHING,
    "filename=uno.wav": NOTHING,  # what it was called before
    "aor=%2B4912@soh.net;user=phone": [ONE],
    "aor=%2B4912@soh.net": NOTHING,
    "aor=1234@soh.net": [LIVE],
    "aor=sip:1234@soh.net": [LIVE],
    "aor=SIPS:8675309@sh.net": [LIVE],
    "aor=sip:Bob@x.org": [TWO],
    "aor=bob@x.org": NOTHING,
    "apkt:realm=splan": [LIVE, TWO],
    "apkt%3Arealm=peer": [ONE],
    "apkt:realm=Peer": NOTHING,
    "testCustomData1=testValue1": [ONE, TWO],
    "testCustomData1=TestValue1": NOTHING,
    "otherName=%C3%84%20b": [ONE],
    "otherName=%C3%84+b": [ONE],
    "testCustomData1=testValue1&apkt:realm=splan": [TWO],
    "recordingId=1": [ONE],
    "recordingId=2": [TWO],
    "recordingId=3": NOTHING,  # the one in progress has it already, and does not show it
    "tmpRecordingId=1": [LIVE],
    "tmpRecordingId=2": NOTHING,
    "tmpRecordingId=1&recordingId=1": NOTHING,
    "audioOnly=true": [LIVE, ONE],
    "audioOnly=false": ALL,
    "mustHaveVideo=true": [TWO],
    "mustHaveVideo=false": ALL,
    "audioOnly=true&mustHaveVideo=true": NOTHING,
    "isrUcid=U1&from=1234": NOTHING,
    "isrUcid=U1&ingressCallId=call-2@src": NO_ID,
    "isrUcid=U2&to=8675309&audioOnly=false&maxListLength=1": [TWO],
    "maxListLength=2": [LIVE, ONE],
    "maxListLength=1000": ALL,
}
TIMES = {
    "start=2017-03-22T15:06:59": [ONE, TWO],
    "start=2017-03-22T15:06:59.842": [ONE],
    "start=2017-03-22%2015:06:59.842": [ONE],
    "start=2017-03-22+15:06:59": [ONE, TWO],
    "start=2017-03-22T15%3A06%3A59": [ONE, TWO],
    "start=2017-03-22T15:06:59.841": NOTHING,
    "start=2017-03-22T15:06:58": NOTHING,
    "start=2017-03-22T15:07:00": NOTHING,
    "earliestStart=2017-03-22T15:06:59.842&latestStart=2017-03-22T15:06:59.842": [ONE],
    "earliestStart=2017-03-22T15:06:59.843": [LIVE, TWO],
    "earliestStart=2017-03-22T15:07:00": [LIVE],
    "latestStart=2017-03-22T15:06:59": [ONE, TWO],
    "latestStart=2017-03-22T15:06:59.998": [ONE],
    "latestStart=2017-03-22T15:06:59.999": [ONE, TWO],
    "latestStart=2017-03-22T15:06:58": NOTHING,
    "earliestStart=2017-03-22T00:00:00&latestStart=2017-03-22T23:59:59": [ONE, TWO],
    "earliestStart=2017-03-23T00:00:00&latestStart=2017-03-22T00:00:00": NOTHING,
    "start=2017-03-22T15:06:59&latestStart=2017-03-22T15:06:59.900": [ONE],
    "earliestStart=0001-01-01T00:00:00&latestStart=9999-12-31T23:59:59": ALL,
}


async def test_every_criterion(desk: Desk) -> None:
    wrong = {
        query: names
        for query, expected in {**SELECTED, **TIMES}.items()
        if (names := await found(desk, query)) != expected
    }
    assert not wrong


REFUSED = {
    "isrUCID=U1": "isrUCID",
    "ANI=1234": "ANI",
    "typo=1": "typo",
    "isrUcid=U1&typo=": "typo",
    "channelNumber=1": "channelNumber",
    "rssId=1": "rssId",
    "fillWithSilence=true": "fillWithSilence",
    "codecProfile=1": "codecProfile",
    "segmentId=1": "segmentId",
    "apkt:secret=x": "apkt:secret",
    "apkt:ucid=x": "apkt:ucid",
    "Apkt:realm=splan": "Apkt:realm",
    "hidden=h": "hidden",
    "bankOnly=1": "bankOnly",
    "TestCustomData1=testValue1": "TestCustomData1",
    "case=7": "case",
    **{
        f"{name}={value}": name
        for name, values in {
            "isrUcid": [""],
            "from": [""],
            "aor": ["", "sip:"],
            "testCustomData1": [""],
            "start": ["", "2017-03-22", "2017-03-22T15:06", "2017-02-30T00:00:00", "now"],
            "earliestStart": ["2017-03-22T15:06:59Z", "2017-03-22T15:06:59.8", "1490195219"],
            "latestStart": ["2017-03-22T24:00:00", "22.03.2017", "2017-03-22T15:06:59.842000"],
            "recordingId": ["", "0", "-1", "1.0", "x", "%D9%A1", "9999999999999"],
            "tmpRecordingId": ["", "0", "one"],
            "audioOnly": ["", "1", "TRUE", "yes"],
            "mustHaveVideo": ["True", "0"],
            "maxListLength": ["", "0", "1001", "-1", "1e2", "ten"],
            "format": ["template2", "Template", ""],
        }.items()
        for value in values
    },
}


async def test_what_cannot_be_read_is_refused(desk: Desk) -> None:
    for query, name in REFUSED.items():
        said = await desk.get(DETAILS, query=f"&{query}")
        assert said.answer == (-1, f"Invalid Parameter - {name}"), query
    said = await desk.get(DETAILS, query="&format=template")
    assert said.answer == (27, "Missing Parameter - formatName is required")


async def test_a_post_selects_as_a_get_does(desk: Desk) -> None:
    body = {"agentId": "7", "isrUcid": "U2"}
    said = await desk.post(DETAILS, isrUcid="U1", body=body)
    assert said.answer == (-1, "Parameter isrUcid cannot be updated")
    said = await desk.post(DETAILS, tmpRecordingId=1, body={"agentId": "7"})
    assert (said.recording["filename"], said.recording["agentId"]) == (LIVE, "7")
    said = await desk.post(DETAILS, recordingId=2, agentId="7", body={"agentId": "8"})
    assert said.answer == (-1, "Invalid Parameter - agentId")
    said = await desk.post(DETAILS, query="&from=%2B49%20(1)%202%263", body={"agentId": "8"})
    assert (said.recording["filename"], said.recording["agentId"]) == (ONE, "8")


async def test_a_delete_selects_as_a_get_does(desk: Desk) -> None:
    where = "start=2017-03-22T15:06:59&aor=Bob@x.org&apkt:realm=splan&mustHaveVideo=true"
    said = await desk.ask("DELETE", DETAILS, query=f"&{where}&otherName=x")
    assert said.answer == NONE
    said = await desk.ask("DELETE", DETAILS, query=f"&{where}")
    assert said.code == 0
    assert await found(desk, "") == [LIVE, ONE]
    said = await desk.post("audioRecording/delete", tmpRecordingId=2)
    assert said.answer == NONE
    said = await desk.post("audioRecording/delete", recordingId=1)
    assert said.code == 0
    assert await found(desk, "") == [LIVE]


async def test_video_is_for_whom_user_account_and_route_let_have_it(desk: Desk) -> None:
    directory = desk.node.services.directory
    entries = directory.entries
    user, account, route = (
        entries.users["isr@shop.example"],
        entries.accounts[100],
        entries.routes[13],
    )
    rights: Any = [each for each in user.permissions or [] if each != "video"]
    video = "mustHaveVideo=true"
    for denied, usual in (
        (replace(user, permissions=rights), user),
        (replace(account, video_access=False), account),
        (replace(route, video_access=False), route),
    ):
        await directory.put(denied)
        assert await found(desk, video) == NOTHING
        assert await found(desk, "isrUcid=U2") == [TWO]
        assert await found(desk, "audioOnly=true") == [LIVE, ONE]
        said = await desk.ask("DELETE", DETAILS, isrUcid="U2", mustHaveVideo="true")
        assert said.answer == NONE
        await directory.put(usual)
        assert await found(desk, video) == [TWO]


async def test_criteria_are_the_directorys_of_now(desk: Desk) -> None:
    directory = desk.node.services.directory
    await directory.put(CustomField("case"))
    assert await found(desk, "case=7") == [TWO]
    await directory.put(CustomField("case", searchable=False))
    said = await desk.get(DETAILS, case=7)
    assert said.answer == (-1, "Invalid Parameter - case")


async def test_whose_custom_field_it_is(desk: Desk) -> None:
    await desk.stored(3, account=200, route=20, filename="b.wav", custom={"bankOnly": "1"})
    assert await found(desk, "bankOnly=1", "isr@bank.example") == ["b.wav"]
    assert await found(desk, "bankOnly=1", "isr@system.example") == ["b.wav"]
    said = await desk.get(DETAILS, bankOnly=1)
    assert said.answer == (-1, "Invalid Parameter - bankOnly")
