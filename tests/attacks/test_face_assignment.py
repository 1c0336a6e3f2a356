"""Setting over FACE what nobody was asked for: by a field too many, or a parameter too many."""

from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from storage.entries import MetadataType
from storage.records import Recording
from tests.api.oracle_face.desk import Desk, open_desk
from tests.attacks.face import CONTROL, DELETE, DETAILS, Shop, brief, shop
from tests.attacks.lists import FIELDS

_SHOWN = """
account accountId ani archivalFailCount archivalRemarks archived archiverAction archiverMode
channelNumber conversionStatus customData customDataSets deleteFlag directory dnis dtmfDigits
duration egressCallId end extensionData fileStatus from hasVideo ingressCallId isrUcid key label
location locationId name neverExpire participants pausedWithSilence pauseLength previousFilename
recordingId route routeId rss rssId segment segmentId segments sequence siprecDataSets start
startTime siprecSessionId streams supplementalFileId supplementalFiles thirdpartyId tmpRecordingId
to value
"""
SHOWN = _SHOWN.split()
"""What FACE shows of a recording or selects it by, and people are not to say."""
MEANINGLESS = sorted(
    {*FIELDS, "sha256", "history", "number", "segment", "hold", "note", "session_id", "reason"}
    | {"agentId[]", "agentId.x", "AgentId", "agentid", "agent_id", "custom", "custom.otherName"}
    | {"never_expire", "setNeverExpire ", "profile", "fill", "is_strict", "codecProfile"}
    | {"fillWithSilence", "maxListLength", "format", "testcustomdata1", "bankOnly", ""}
)
VALUES = ("1", "true", "")


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """FACE with two tenants."""
    async with open_desk(tmp_path, migrated) as opened:
        yield opened


async def row_of(there: Shop) -> Recording:
    """The stored recording as it is now."""
    row = await there.desk.node.services.catalog.get(there.row.id)
    assert row
    return row


async def test_what_the_recorder_says_is_refused_in_a_body(desk: Desk) -> None:
    there = await shop(desk)
    before = await there.holdings()
    for name in SHOWN:
        for value in VALUES:
            body = {"agentId": "evil", "filename": "evil.wav", name: value}
            said = await desk.post(DETAILS, recordingId=there.row.number, body=body)
            expected = (200, -1, f"Parameter {name} cannot be updated")
            assert brief(said) == expected, (name, value)
    assert await there.holdings() == before


async def test_no_command_is_carried_out_with_a_field_too_many(desk: Desk) -> None:
    there = await shop(desk)
    before = await there.holdings()
    for path in CONTROL:
        for name in SHOWN:
            said = await desk.post(path, isrUcid=there.live.identity.ucid, body={name: "1"})
            assert brief(said) == (200, -1, f"Parameter {name} cannot be updated"), path
    assert await there.holdings() == before


async def test_names_of_our_own_mean_nothing(desk: Desk) -> None:
    """Neither those of columns nor those of Python: they are passed over, and change nothing."""
    there = await shop(desk)
    before = await there.holdings()
    for name in MEANINGLESS:
        for value in VALUES:
            body = {name: value}
            said = await desk.post(DETAILS, recordingId=there.row.number, body=body)
            code = brief(said)[1]
            assert code == 0 or said.message == f"Parameter {name} cannot be updated", name
    assert await there.holdings() == before


async def test_what_may_be_set_is_set_and_nothing_beside(desk: Desk) -> None:
    there = await shop(desk)
    before = await row_of(there)
    beside = dict.fromkeys({*MEANINGLESS} - {*SHOWN}, "1")
    assert len(beside) > 30
    body = {"agentId": "7", "sensitive": "1", **beside}
    assert (await desk.post(DETAILS, recordingId=there.row.number, body=body)).code == 0
    after = await row_of(there)
    changed = {
        field.name
        for field in fields(before)
        if getattr(before, field.name) != getattr(after, field.name)
    }
    assert changed - {"history"} == {"agent_id", "sensitive"}


async def test_extension_data_of_calls_is_not_for_people(desk: Desk) -> None:
    there = await shop(desk)
    await desk.node.services.directory.put(MetadataType("apkt:x", searchable=False))
    before = await there.holdings()
    for name in ("apkt:realm", "apkt:x", "apkt:secret"):
        said = await desk.post(DETAILS, recordingId=there.row.number, body={name: "1"})
        assert brief(said) == (200, -1, f"Parameter {name} cannot be updated")
    assert await there.holdings() == before


UPDATES = ("agentId", "agentTerminal", "sensitive", "setNeverExpire", "hold", "password", "role")


async def test_the_url_changes_nothing(desk: Desk) -> None:
    """A link somebody follows sets no data: there is no parameter that does."""
    there = await shop(desk)
    before = await there.holdings()
    number: dict[str, Any] = {"recordingId": there.row.number}
    for name in (*UPDATES, *FIELDS):
        expected = (200, -1, f"Invalid Parameter - {name}")
        for method, path in (("GET", DETAILS), ("POST", DETAILS), ("DELETE", DETAILS)):
            body = {"agentId": "evil"} if method == "POST" else None
            said = await desk.ask(method, path, body=body, **number, query=f"&{name}=1")
            assert brief(said) == expected, name
    for name in ("method", "_method", "X-HTTP-Method-Override"):
        assert brief(await desk.get(DETAILS, **number, query=f"&{name}=DELETE"))[1] == -1
        headers = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
        assert (await desk.get(DETAILS, **number, headers=headers)).code == 0
    assert await there.holdings() == before


# one reading


async def test_of_a_name_that_is_there_twice_the_last_one_counts(desk: Desk) -> None:
    there = await shop(desk)
    await desk.node.stored("r2", account=100, route=13, filename="two.wav", ucid="second")
    second = await desk.node.services.library.get("r2")
    await desk.token()
    query = f"&recordingId={there.row.number}&recordingId={second.number}"
    assert (await desk.post(DELETE, query=query)).code == 0
    assert await desk.node.services.catalog.get(there.row.id), "only one is deleted, the last one"
    assert brief(await desk.get(DETAILS, isrUcid="second")) != (200, 0, "ACK") or (
        (await desk.get(DETAILS, isrUcid="second")).recording["deleteFlag"] == "true"
    )
    body = b"agentId=1&agentId=2&%61gentId=3"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    said = await desk.post(DETAILS, recordingId=there.row.number, body=body, headers=headers)
    assert said.recording["agentId"] == "3"


async def test_two_names_of_one_thing_must_agree(desk: Desk) -> None:
    there = await shop(desk)
    before = await there.holdings()
    for query in (
        "&ani=of-the-shop&from=nobody",
        "&from=of-the-shop&ani=nobody",
        "&dnis=8675309&to=1",
    ):
        for method, path in (("GET", DETAILS), ("POST", DELETE), ("POST", CONTROL[1])):
            assert brief(await desk.ask(method, path, query=query))[1] == 19, (path, query)
    assert await there.holdings() == before


async def test_what_is_almost_a_criterion_never_widens_a_command(desk: Desk) -> None:
    there = await shop(desk)
    before = await there.holdings()
    for query in (
        "&isrucid=x",
        "&isrUcid[]=x",
        "&isrUcid%00=x",
        "&isrUcid%20=x",
        "&%EF%BD%89srUcid=x",
        "&isrUcid",
        "&isrUcid=",
        "&recordingId=",
        "&recordingId=0",
        "&recordingId=-1",
        "&recordingId=1.0",
        "&recordingId=1e0",
        "&recordingId=0x1",
        "&recordingId=%D9%A1",
        "&recordingId=99999999999999999999",
        "&recordingId=null",
        "&recordingId=1;recordingId=2",
        "&recordingId=1,2",
        "&aor=sip:",
        "&maxListLength=1000",
        "&audioOnly=false",
        "&",
        "&=",
        "&=x",
        "#isrUcid=x",
    ):
        for method, path in (("DELETE", DETAILS), ("POST", DELETE), ("POST", CONTROL[1])):
            said = await desk.ask(method, path, query=query)
            assert brief(said)[1] in {-1, 3}, (query, said.text)
            assert "matches" not in said.tree, (query, said.text)
    assert await there.holdings() == before
