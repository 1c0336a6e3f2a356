"""What one tenant has, over FACE, seen from another one: nothing, by whatever name."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from tests.api.oracle_face.desk import Desk, Said, open_desk
from tests.attacks.face import BANK, ISR, SELECTING, brief, code_of, shop

MARK = "of-the-shop"
BODY = {"agentId": "7", "testCustomData1": "of the bank"}
NOTHING = "nothing"


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """FACE with two tenants."""
    async with open_desk(tmp_path, migrated) as opened:
        yield opened


async def ask(desk: Desk, method: str, path: str, who: str, **query: Any) -> Said:
    """A command, with a body where one can be."""
    return await desk.ask(method, path, who, body=BODY if method == "POST" else None, **query)


async def grant(desk: Desk, who: str) -> None:
    """Let somebody do everything in their account."""
    user = desk.node.services.directory.entries.users[who]
    rights = desk.node.services.directory.entries.users[ISR].permissions
    await desk.node.services.directory.put(replace(user, permissions=rights))


async def test_nothing_is_found_by_any_criterion(desk: Desk) -> None:
    await grant(desk, BANK)
    there = await shop(desk)
    before = await there.holdings()
    for method, path in SELECTING:
        nothing = brief(await ask(desk, method, path, BANK, filename=NOTHING))
        by_id = brief(await ask(desk, method, path, BANK, isrUcid=NOTHING))
        for name, values in there.criteria.items():
            for value in values:
                said = await ask(desk, method, path, BANK, **{name: value})
                assert MARK not in said.text, (path, name)
                found = brief(said)
                refused = found[2].startswith("Invalid Parameter - ")
                assert found in {nothing, by_id} or refused, (method, path, name, said.text)
    assert await there.holdings() == before


async def test_the_first_tenant_finds_it_by_each(desk: Desk) -> None:
    """What is refused above is refused for who asks, not for what is asked."""
    there = await shop(desk)
    for name, values in there.criteria.items():
        paths = ("audioRecording/details", "audioRecording/pause")
        method = {paths[0]: "GET", paths[1]: "POST"}
        asked: list[dict[str, Any]] = [{name: value} for value in values]
        codes = [
            code_of(await desk.ask(method[path], path, ISR, **query))
            for query in asked
            for path in paths
        ]
        texts = [(await desk.get(paths[0], ISR, **query)).text for query in asked]
        assert any(MARK in text for text in texts) or not {*codes}.isdisjoint({0, 12}), name


async def test_lists_without_criteria_show_ones_own(desk: Desk) -> None:
    await grant(desk, BANK)
    there = await shop(desk)
    assert brief(await desk.get("audioRecording/details", BANK))[1] == 19
    own = await desk.call("555", "200", ucid="of-the-bank")
    shown = (await desk.get("audioRecording/details", BANK)).recording
    assert shown["isrUcid"] == "of-the-bank"
    before = await there.holdings()
    said = await desk.post("audioRecording/pause", BANK, rssId=1)
    assert said.recording["isrUcid"] == "of-the-bank" and own.state == "paused"
    assert await there.holdings() == before


async def test_no_address_of_a_file_leads_to_it(desk: Desk) -> None:
    await grant(desk, BANK)
    there = await shop(desk)
    number = there.row.number * 1000 + 1
    file = {"filename": "of-the-shop.mp4", "supplementalFileId": number}
    assert (await desk.get("file/download", ISR, **file)).body[4:8] == b"ftyp"
    assert brief(await desk.get("file/download", BANK, **file))[1] == 19
    location = (await desk.get("audioRecording/redirect", ISR, isrUcid=there.row.ucid)).headers[
        "Location"
    ]
    place, _, ticket = location.removeprefix("/Face/").partition("?ticket=")
    assert (await desk.get(place, ISR)).status == 200
    for path in (place, "Recordings/of-the-shop.wav", "Recordings//of-the-shop.wav"):
        assert brief(await desk.get(path, BANK))[1] == 11
    await desk.node.stored("b1", account=200, route=20, ucid="b", filename="b.wav")
    mine = (await desk.get("audioRecording/redirect", BANK, isrUcid="b")).headers["Location"]
    own = mine.partition("?ticket=")[2]
    until, mark = own.split(".")[1:]
    assert (await desk.get("Recordings/2026-11-22/14/05/b.wav", None, ticket=own)).status == 200
    for forged in (
        own,
        f"r1.{until}.{mark}",
        f"b1.{until}0.{mark}",
        f"{own}.r1",
        f"r1.{own}",
        own.replace("b1.", "r1.b1."),
        ticket[:-1],
        ticket.upper(),
        ticket.replace("r1.", "R1."),
        ticket.replace(".", "%2e") + "=",
        re.sub(r"\.\d+\.", ".99999999999.", ticket),
        "",
        "..",
        "r1",
        "\ud800.1.x".encode("utf-8", "replace").decode(),
    ):
        said = await desk.get(place, None, ticket=forged)
        assert brief(said)[1] == 11, forged
    said = await desk.get(place, BANK, ticket=own)
    assert brief(said)[1] == 11, "a ticket of one's own beside a token of one's own"


async def test_machines_of_the_other_do_nothing_to_it(desk: Desk) -> None:
    await grant(desk, BANK)
    there = await shop(desk)
    before = await there.holdings()
    for ucid in (there.live.identity.ucid, there.live.call_id):
        for event in ("AudioRecordingStarted", "AudioRecordingEnded"):
            query: dict[str, Any] = {"event": event, "ucid": ucid, "calledAors": "sip:x@192.0.2.1"}
            said = await desk.get("eventNotify", BANK, **query)
            nobody = await desk.get("eventNotify", BANK, **{**query, "ucid": NOTHING})
            assert brief(said) == brief(nobody)
        screen = {"IsrId": ucid, "ScreenIP": "192.0.2.1"}
        assert brief(await desk.get("StartScreenCapture", BANK, **screen))[1] == 26
    assert await there.holdings() == before


async def test_custom_data_of_others_is_no_criterion(desk: Desk) -> None:
    """A field of another account is as unknown as one that there is not."""
    theirs = await desk.get("audioRecording/details", ISR, bankOnly="x")
    unknown = await desk.get("audioRecording/details", ISR, bankOnle="x")
    assert theirs.text.replace("bankOnly", "") == unknown.text.replace("bankOnle", "")
    there = await shop(desk)
    said = await desk.post(
        "audioRecording/details", ISR, recordingId=there.row.number, body={"bankOnly": "x"}
    )
    assert said.code == 0 and "bankOnly" not in said.text


async def test_the_name_another_tenant_has_given_says_nothing(desk: Desk) -> None:
    """Names are files in a folder of all: who takes a taken one gets another, with its message."""
    there = await shop(desk)
    await grant(desk, BANK)
    await desk.node.stored("b1", account=200, route=20, ucid="b", filename="b.wav")
    said = await desk.post(
        "audioRecording/details", BANK, isrUcid="b", body={"filename": there.row.filename}
    )
    assert said.code == 0 and said.recording["filename"] != there.row.filename
    place = f"Recordings/2026-11-22/14/05/{quote(there.row.filename)}"
    assert brief(await desk.get(place, BANK))[1] == 11
