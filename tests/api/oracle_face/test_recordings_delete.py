"""Recordings that are deleted over FACE, and who may see, change and delete them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from config.dialects import Face
from siprec import conversion
from siprec.logbook import Changes
from storage.entries import User
from storage.records import FileRecord, Recording, SupplementalFile
from tests.api.oracle_face.desk import PASSWORD, Desk, Said, open_desk

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
DETAILS = "audioRecording/details"
DELETE = (("DELETE", DETAILS), ("POST", "audioRecording/delete"))
DELETED = (0, "delete command returned successfully")
DENIED = (-1, "Permission denied")
NONE = (19, "No recording found with supplied criteria")
NO_UCID = (26, "No session or file was found matching the provided UCID")


async def change(desk: Desk, ucid: str = "U1", **body: str) -> Said:
    return await desk.post(DETAILS, isrUcid=ucid, body=body)


async def rows(desk: Desk, *numbers: int) -> list[Recording]:
    """Recordings as the catalogue has them."""
    return [await desk.node.services.catalog.get(f"r{number}") for number in numbers or (1,)]


# delete


@pytest.mark.parametrize(("method", "path"), DELETE)
async def test_a_recording_and_all_its_files_go(desk: Desk, method: str, path: str) -> None:
    blobs = desk.node.services.blobs
    video = SupplementalFile(1, "video", "r1-1.mp4", desk.node.put("v1", "mp4", b"video"))
    row = await desk.stored(supplemental_files=(video,), never_expire=True)
    await desk.stored(2)
    said = await desk.ask(method, path, isrUcid="U1")
    assert (said.status, said.text) == (
        200,
        f"{PROLOG}<result><code>0</code>"
        "<message>delete command returned successfully</message></result>",
    )
    assert (await desk.get(DETAILS, isrUcid="U1")).answer == NO_UCID
    assert (await desk.ask(method, path, isrUcid="U1")).answer == NO_UCID
    files: list[FileRecord] = [*row.files, video.file]
    assert [blobs.exists(file.key) for file in files] == [False] * 3
    assert (await desk.get(DETAILS)).recording["isrUcid"] == "U2"
    said = await desk.ask(method, path, isrUcid="U2", headers={"Accept": "application/json"})
    assert said.text == '{"result":{"code":0,"message":"delete command returned successfully"}}'


async def test_what_is_not_deleted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "LIMIT_S", 0.1)
    live = await desk.call(ucid="U1")
    await desk.stored(2, hold=True)
    await desk.stored(3, status="processing")  # by a node that is away
    for method, path in DELETE:
        criteria: dict[str, Any]
        for criteria in ({}, {"maxListLength": 1}, {"audioOnly": "false"}):
            said = await desk.ask(method, path, **criteria)
            assert said.answer == (3, "Parameter Missing"), criteria
        for query, message in (
            ("isrUcid=U2&isrucid=U2", "Invalid Parameter - isrucid"),
            ("isrUcid=U2&fillWithSilence=true", "Invalid Parameter - fillWithSilence"),
            ("isrUcid=U2&format=template&formatName=verint", "Invalid Parameter - format"),
            ("isrUcid=", "Invalid Parameter - isrUcid"),
            ("isrUcid=U1", "Cannot delete a recording in progress"),
            ("isrUcid=U2", "Cannot delete a recording that is on hold"),
        ):
            assert (await desk.ask(method, path, query=f"&{query}")).answer == (-1, message)
        said = await desk.ask(method, path, isrUcid="U3")
        assert said.answer == (24, "Timed out waiting for file conversion")
    assert live.state == "recording"
    held, other = await rows(desk, 2, 3)
    assert (held.deleting, other.deleting) == (False, False)
    assert [each.action for each in held.history] == ["delete refused"]


async def test_of_segments_all_are_deleted_or_none(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated, Face(release="6.4")) as desk:
        for number, hold in ((1, False), (2, True), (3, False)):
            await desk.stored(number, session_id="s", segment=number, hold=hold)
        said = await desk.ask("DELETE", DETAILS, isrUcid="U1")
        assert said.answer == (-1, "Cannot delete a recording that is on hold")
        found = await rows(desk, 1, 2, 3)
        assert [row.deleting for row in found] == [False] * 3
        assert [len(row.history) for row in found] == [0, 1, 0]
        await desk.node.services.library.update("r2", Changes(hold=False))
        assert (await desk.ask("DELETE", DETAILS, isrUcid="U1")).answer == DELETED
        assert (await desk.get(DETAILS)).answer == NONE


async def test_what_has_just_ended_is_deleted_once_it_is_made(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    await desk.calls[live.id].play(0.2)
    await desk.hang_up(live)
    assert (await desk.ask("DELETE", DETAILS, isrUcid="U1")).answer == DELETED
    assert (await desk.get(DETAILS)).answer == NONE
    assert not [path for path in (desk.node.folder / "recordings").rglob("*") if path.is_file()]


async def test_what_another_node_has_is_marked_until_that_erases_it(desk: Desk) -> None:
    await desk.stored(node=2)
    assert (await desk.ask("DELETE", DETAILS, isrUcid="U1")).answer == DELETED
    shown = (await desk.get(DETAILS)).recording
    assert (shown["deleteFlag"], shown["archiverAction"], shown["rss"]) == ("true", "1", "2")
    assert (await change(desk, agentId="7")).answer == (-1, "the recording is being deleted")
    assert (await change(desk, filename="x.wav")).answer[0] == 22
    assert (await desk.ask("DELETE", DETAILS, isrUcid="U1")).answer == DELETED


# who may


async def test_permissions(desk: Desk) -> None:
    await desk.stored()
    before = await rows(desk)
    who = "weak@shop.example"
    assert (await desk.get(DETAILS, who)).recording["isrUcid"] == "U1"
    assert (await desk.post(DETAILS, who, isrUcid="U1", body={"agentId": "7"})).answer == DENIED
    for method, path in DELETE:
        assert (await desk.ask(method, path, who, isrUcid="U1")).answer == DENIED
        assert (await desk.ask(method, path, who, isrUcid="nobody")).answer == DENIED
    assert await rows(desk) == before
    user = desk.node.services.directory.entries.users[who]
    for permission, allowed in (("edit", (0, -1)), ("delete", (-1, 0)), ("edit", (26, -1))):
        await desk.node.services.directory.put(structs.replace(user, permissions=[permission]))
        said = [
            await desk.post(DETAILS, who, isrUcid="U1", body={"agentId": "7"}),
            await desk.ask("DELETE", DETAILS, who, isrUcid="U1"),
        ]
        assert tuple(each.code for each in said) == allowed


async def test_others_recordings_are_not_there(desk: Desk) -> None:
    everything: Any = ["control", "playback", "download", "delete", "edit", "video"]
    users = desk.node.services.users
    for user in (
        User("boss@bank.example", 200, "api", permissions=everything),
        User("one@shop.example", 100, "api", permissions=everything, routes=[14]),
    ):
        await desk.node.services.directory.put(user)
        await users.set_password(user.email, PASSWORD, datetime.now(UTC))
    live = await desk.call(ucid="U9")
    assert live.recording
    await desk.stored()
    before = await rows(desk)
    ids: list[dict[str, Any]] = [{"isrUcid": "U1"}, {"isrUcid": "U9"}]
    ids.append({"ingressCallId": "call-1@src"})
    rest: list[dict[str, Any]] = [{"filename": "r1.wav"}, {"to": "8675309"}]
    rest += [{"recordingId": 1}, {"tmpRecordingId": 1}]
    assert (await desk.get(DETAILS)).matches[0]["tmpRecordingId"] == "1"
    for who in ("boss@bank.example", "one@shop.example"):
        assert (await desk.get(DETAILS, who)).answer == NONE
        for criteria in (*ids, *rest):
            expected = NO_UCID if criteria in ids else NONE
            for method, path in (("GET", DETAILS), ("POST", DETAILS), *DELETE):
                body = {"agentId": "7"}
                said = await desk.ask(method, path, who, body=body, **criteria)
                assert said.answer == expected, (method, criteria)
    assert await rows(desk) == before and live.recording.agent_id == ""
    said = await desk.get(DETAILS, "isr@system.example")
    assert [each["isrUcid"] for each in said.matches] == ["U9", "U1"]
