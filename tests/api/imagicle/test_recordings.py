"""Stored recordings: listed by every filter and page by page, shown, downloaded."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from api.imagicle import recordings
from media.wav import header
from siprec.logbook import Changes
from siprec.session import Action, Actor
from storage.records import Recording
from tests.api.imagicle.desk import FIRST, LIVE, STORED, UNKNOWN, Desk, speaking

BOSS, ANN, BANK = "boss@shop.example", "ann@shop.example", "boss@bank.example"
WAV = header(1, 8000, 2000) + bytes(4000)
"""A quarter of a second of silence."""


def guid(row: Recording) -> str:
    return str(UUID(row.id))


async def numbers(desk: Desk, query: str, who: str = BOSS) -> tuple[int, list[int]]:
    """How many match, and which of the stored are on the page."""
    said = (await desk.get(STORED + query, who)).json
    return said["totalCount"], [int(UUID(each["id"])) for each in said["recordings"]]


# list


async def shelf(desk: Desk) -> None:
    """Six recordings of the shop, one of the bank, and some that are not there for anybody."""
    await desk.stored(1, direction="outgoing")
    await desk.stored(2, remote_party="+39;02\\5")
    await desk.stored(3, local_party="Front Desk", status="partial")
    await desk.stored(4, owner="bob@shop.example", remote_party="+390244")
    await desk.stored(5, owner="gone@shop.example", direction="")
    await desk.stored(6, owner="", started_at=FIRST + timedelta(hours=1))
    await desk.stored(7, account=200, owner="bea@bank.example")
    await desk.stored(8, status="failed")
    await desk.stored(9, status="processing")


START = "2018-11-01T14:39:15"
LISTS: tuple[tuple[str, str, int, list[int]], ...] = (
    (BOSS, "", 6, [5, 4, 3, 6, 2, 1]),
    (BANK, "", 1, [7]),
    ("root@system.example", "", 7, [7, 5, 4, 3, 6, 2, 1]),
    (ANN, "", 3, [3, 2, 1]),
    ("bob@shop.example", "", 1, [4]),
    ("lead@shop.example", "?direction=0", 1, [5]),
    (BOSS, f"?startTime={START}Z", 1, [1]),
    (BOSS, f"?startTime=equals:{START}.0000000%2B00:00", 1, [1]),
    (BOSS, f"?startTime=before:{START}Z", 0, []),
    (BOSS, "?startTime=before:2018-11-01T15:39:15Z", 1, [1]),
    (BOSS, "?startTime=after:2018-11-01T16:39:15Z", 2, [5, 4]),
    (BOSS, "?startTime=after:2018-11-01T18:39:15+02:00", 2, [5, 4]),
    (BOSS, "?startTime=between:2018-11-01T15:39:15Z;2018-11-01T17:39:15Z", 3, [3, 6, 2]),
    (BOSS, "?endTime=2018-11-01T14:40:46.87Z", 1, [1]),
    (BOSS, "?endTime=after:2018-11-01T17:40:46.87Z", 2, [5, 6]),
    (BOSS, "?endTime=before:2018-11-01T14:40:46.87Z", 0, []),
    (BOSS, "?endTime=between:2018-11-01T14:40:46.87Z;2018-11-01T16:40:46.87Z", 2, [2, 1]),
    (BOSS, "?localPartyNumber=101", 5, [5, 4, 6, 2, 1]),
    (BOSS, "?localPartyNumber=front%20DESK", 1, [3]),
    (BOSS, "?localPartyNumber=10", 0, []),
    (BOSS, "?remotePartyNumber=%2B390244", 1, [4]),
    (BOSS, "?remotePartyNumber=contains:%2B39", 2, [4, 2]),
    (BOSS, "?remoteParty=contains:%25", 0, []),
    (BOSS, r"?remotePartyNumber=contains:%5C;02%5C%5C5", 1, [2]),
    (BOSS, "?ownerUsername=ANN", 3, [3, 2, 1]),
    (BOSS, "?ownerUsername=equals:bob@shop.example", 1, [4]),
    (BOSS, "?ownerUsername=Gone@shop.example", 1, [5]),
    (BOSS, "?ownerUsername=nobody", 0, []),
    (BOSS, "?ownerUsername=bea", 0, []),
    (BOSS, "?ownerUsername=", 1, [6]),
    (ANN, "?ownerUsername=ann", 3, [3, 2, 1]),
    (ANN, "?ownerUsername=bob", 0, []),
    (BOSS, "?direction=1", 4, [4, 3, 6, 2]),
    (BOSS, "?direction=equals:2", 1, [1]),
    (BOSS, "?direction=1&ownerUsername=ann&remotePartyNumber=980200", 1, [3]),
    (BOSS, "?pageSize=2", 6, [5, 4]),
    (BOSS, "?page=1&pageSize=2", 6, [3, 6]),
    (BOSS, "?page=2&pageSize=2", 6, [2, 1]),
    (BOSS, "?page=3&pageSize=2", 6, []),
    (BOSS, "?page=1&pageSize=4", 6, [2, 1]),
    (BOSS, "?page=2147483647&pageSize=2147483647", 6, []),
    (BOSS, "?page=0&pageSize=2147483647&direction=1", 4, [4, 3, 6, 2]),
)


async def test_lists_by_every_filter(idle_desk: Desk) -> None:
    await shelf(idle_desk)
    for who, query, total, found in LISTS:
        # Two that began together stand in the order they came to the catalogue.
        assert await numbers(idle_desk, query, who) == (total, found), (who, query)
    assert (await idle_desk.get(STORED, "none@shop.example")).short == (403, None)


async def test_lists_nobody_can_have(idle_desk: Desk) -> None:
    for query, reason, message in (
        ("?startTime=before:2018/45/01&direction=5", 0, "startTime: '2018/45/01' is not an ISO"),
        ("?direction=5", 0, "direction: '5' is not 0, 1 or 2"),
        ("?direction=1&direction=1", 0, "direction: stated more than once"),
        ("?localPartyNumber=contains:1", 0, "localPartyNumber: contains is not possible here"),
        ("?page=1", 1, "page: there is no pageSize"),
        ("?page=-1&pageSize=1", 1, "page: '-1' is not"),
        ("?pageSize=0", 1, "pageSize: it is 0"),
    ):
        said = await idle_desk.get(STORED + query)
        assert said.status == 400
        assert said.json["reason"] == reason
        assert said.json["message"].startswith(message)


async def test_what_a_list_shows(idle_desk: Desk) -> None:
    row = await idle_desk.stored(1)
    assert (await idle_desk.get(STORED)).json == {
        "totalCount": 1,
        "recordings": [
            {
                "id": "00000000-0000-0000-0000-000000000001",
                "referenceNumber": f"2018{row.number:08}",
                "startTime": "2018-11-01T14:39:15.0000000+00:00",
                "duration": "PT1M31.87S",
                "direction": 1,
                "localPartyNumber": "101",
                "remotePartyNumber": "980200",
                "ownerUsername": "Ann",
            }
        ],
    }


async def test_a_long_list_is_sent_as_it_is_read(
    idle_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "PAGE", 4)
    for number in range(1, 11):
        await idle_desk.stored(number)
    for query, found in (
        ("", range(10, 0, -1)),
        ("?pageSize=4&page=1", range(6, 2, -1)),
        ("?pageSize=7", range(10, 3, -1)),
        ("?pageSize=7&page=1", range(3, 0, -1)),
    ):
        assert await numbers(idle_desk, query) == (10, [*found]), query


# one


@pytest.mark.parametrize("path", ["", "/Media"])
async def test_who_may_have_which(idle_desk: Desk, path: str) -> None:
    desk = idle_desk
    mine = guid(await desk.stored(1))
    his = guid(await desk.stored(2, owner="bob@shop.example"))
    theirs = guid(await desk.stored(3, account=200, owner="bea@bank.example"))
    failed = guid(await desk.stored(4, status="failed"))
    leaving = guid(await desk.stored(5, deleting=True))
    empty = guid(await desk.stored(6, files=()))
    for name, who, status in (
        ("x", BOSS, 400),
        ("1", ANN, 400),
        (mine, "none@shop.example", 403),
        (his, ANN, 403),
        (theirs, ANN, 403),
        (theirs, BOSS, 403),
        (mine, BANK, 403),
        (UNKNOWN, BOSS, 404),
        (UNKNOWN, ANN, 404),
        (failed, BOSS, 404),
        (leaving, BOSS, 404),
    ):
        said = await desk.get(f"{STORED}/{name}{path}", who)
        assert said.short == (status, None), (name, who)
    if path:
        assert (await desk.get(f"{STORED}/{mine}/Media", "mute@shop.example")).status == 403
        assert (await desk.get(f"{STORED}/{empty}/Media")).status == 404
    else:
        for name, who in ((mine, ANN), (mine.upper(), BOSS), (theirs, "root@system.example")):
            assert (await desk.get(f"{STORED}/{name}", who)).json["id"] == name.lower()
        assert (await desk.get(f"{STORED}/{empty}")).json["hash"] is None


async def test_what_is_shown_of_one(idle_desk: Desk) -> None:
    row = await idle_desk.stored(1, direction="outgoing")
    library = idle_desk.node.services.library
    await library.update(row.id, Changes(never_expire=True), Actor("bob@shop.example"))
    await library.update(row.id, Changes(note="Ref. 1234ABC"), Actor(ANN))
    person = {
        "username": "Ann",
        "firstName": "Ann",
        "lastName": "Smith",
        "phoneNumber": "101",
        "group": "Group1",
        "department": "Sales",
    }
    bob = dict.fromkeys(person) | {"username": "bob", "phoneNumber": "103"}
    shown = (await idle_desk.get(f"{STORED}/{guid(row)}")).json
    assert shown == {
        "id": "00000000-0000-0000-0000-000000000001",
        "referenceNumber": f"2018{row.number:08}",
        "pbxCallId": "call-1@src",
        "startTime": "2018-11-01T14:39:15.0000000+00:00",
        "duration": "PT1M31.87S",
        "direction": 2,
        "localPartyNumber": "101",
        "remotePartyNumber": "980200",
        "owner": person,
        "preservingUser": bob,
        "note": {"owner": person, "text": "Ref. 1234ABC"},
        "size": 256,
        "hash": {"SHA256": hashlib.sha256(bytes(range(256))).hexdigest().upper()},
    }


async def test_what_is_deleted_or_goes_on_is_not_there(desk: Desk) -> None:
    row = await desk.stored(1)
    live = await desk.call()
    said = await desk.start(directoryNumber="101")
    for path in ("", "/Media"):
        assert (await desk.get(f"{STORED}/{said.json['id']}{path}")).short == (404, None)
    await desk.node.services.library.delete(row.id)
    for path in ("", "/Media"):
        assert (await desk.get(f"{STORED}/{guid(row)}{path}")).short == (404, None)
    assert desk.state(live) == "recording"


# media


async def audible(desk: Desk, number: int = 1, **fields: Any) -> Recording:
    """A stored recording that can be listened to."""
    row = await desk.stored(number, **fields)
    row = replace(row, files=(desk.node.put(row.id, "wav", WAV),))
    await desk.node.services.catalog.save(row)
    return row


async def test_the_audio_is_downloaded_as_mp3_and_the_history_tells(idle_desk: Desk) -> None:
    row = await audible(idle_desk)
    path = f"{STORED}/{guid(row)}/Media"
    said = await idle_desk.get(path, ANN)
    assert (said.status, said.headers["Content-Type"]) == (200, "audio/mpeg")
    name = f"2018{row.number:08}.mp3"
    assert said.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert (said.body[0], said.body[1] & 0xE6) == (0xFF, 0xE2), "a frame of MPEG layer III"

    async def told() -> list[str]:
        history = (await idle_desk.node.services.library.get(row.id)).history
        return [entry.actor for entry in history if entry.action == "Download Recording"]

    assert await told() == [ANN]
    part = await idle_desk.get(path, headers={"Range": "bytes=0-9"})
    assert (part.status, part.body) == (206, said.body[:10])
    rest = await idle_desk.get(path, headers={"Range": "bytes=10-"})
    assert (rest.status, part.body + rest.body) == (206, said.body)
    assert (await idle_desk.ask("HEAD", path)).status == 200
    outside = await idle_desk.get(path, headers={"Range": "bytes=9999999-"})
    assert outside.short == (416, None)
    assert outside.headers["Content-Range"] == f"bytes */{len(said.body)}"
    assert await told() == [ANN, BOSS]


async def test_audio_that_cannot_be_converted(idle_desk: Desk) -> None:
    row = await idle_desk.stored(1)
    assert (await idle_desk.get(f"{STORED}/{guid(row)}/Media")).short == (500, None)


async def test_audio_whose_file_is_gone(idle_desk: Desk) -> None:
    row = await audible(idle_desk)
    await asyncio.to_thread(idle_desk.node.services.blobs.delete, row.files[0].key)
    said = await idle_desk.get(f"{STORED}/{guid(row)}/Media")
    assert said.body == b""
    assert said.status in {404, 500}


# a desktop client's day


async def test_from_a_start_to_the_download_of_what_was_said(desk: Desk) -> None:
    async with speaking(desk, "980200", "101") as call:
        said = await desk.start(deviceName="SEP101")
        assert said.status == 201
        name = said.json["id"]
        (shown,) = (await desk.get(f"{LIVE}?directoryNumber=101")).json
        assert shown["id"] == name
        assert shown["remoteParty"] == {
            "firstName": "Mary Ann",
            "lastName": "Miller",
            "phoneNumber": "980200",
        }
        await call.play(0.3)
        assert (await desk.put(f"{name}/Pause")).status == 204
        assert (await desk.put(f"{name}/Resume")).status == 204
        await call.play(0.1)
        assert (await desk.delete(f"/{name}")).short == (204, None)
        assert not call.ended.is_set(), "the call goes on"
        detail = (await desk.get(f"{STORED}/{name}", ANN)).json
        assert detail["id"] == name
        assert detail["size"] > 3000
        assert detail["owner"]["username"] == "Ann"
        media = await desk.get(f"{STORED}/{name}/Media", ANN)
        assert (media.status, len(media.body) > 200) == (200, True)
        assert (await desk.delete(f"/{name}")).short == (409, None)
        listed = (await desk.get(f"{STORED}?ownerUsername=ann", ANN)).json
        assert [each["id"] for each in listed["recordings"]] == [name]
        await call.bye()


async def test_what_is_discarded_is_gone_with_its_call(desk: Desk) -> None:
    async with speaking(desk, "980200", "101") as call:
        name = (await desk.start(directoryNumber="101")).json["id"]
        await call.play(0.1)
        (live,) = desk.node.services.recorder.sessions()
        await desk.control(live, Action.DISCARD)
        assert (await desk.delete(f"/{name}")).status == 204
        assert (await desk.get(f"{STORED}/{name}")).status == 200
        with desk.node.services.feed.subscribe() as events:
            await call.bye()
            async for event in events:
                if event.type == "recording.deleted":
                    break
    assert (await desk.get(f"{STORED}/{name}")).status == 404
    assert (await desk.get(STORED)).json["totalCount"] == 0
