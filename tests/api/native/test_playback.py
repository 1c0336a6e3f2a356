"""Playback: which integration looks, as whom, what it finds, and what is sent."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession
from msgspec import structs

from api.native.playback import Playable, Playback
from api.scopes import partition_guid
from storage.entries import Account, Entry, Permission, Route, User, key_of, kind_of
from storage.platforms import Integration
from tests.api.native.asking import get
from tests.api.node import STARTED, Node
from tests.storage.people import make_hashing_cheap

PLAYBACK, AUDIO = "/srs/v1/playback", "/srs/v1/playback/audio"
ALL, OF_100, OF_7 = "1:1:1:1", "2:1:1:1", "3:1:1:1"
DIRECTORY: tuple[Entry, ...] = (
    Account(100),
    Account(200),
    Account(300),
    Route(7, 100),
    Route(8, 100),
    Route(9, 200),
    User("all@x", 1, "api"),
    User("shop@x", 100, "api", username="shop"),
    User("bank@x", 200, "api"),
    User("seven@x", 100, "api", routes=[7]),
    User("deaf@x", 100, "api", permissions=["control"]),
    User("off@x", 100, "api", enabled=False),
    Integration(ALL, 11, "everybody's", users=["all@x"]),
    Integration(OF_100, 12, "the shop's", account=100, users=["shop"], hosts=["rec.example/uk1"]),
    Integration(
        OF_7,
        13,
        "of route 7",
        account=100,
        route=7,
        users=["seven@x"],
        hosts=["http://a.example:8080/x/", "b.example"],
    ),
)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords take no time."""
    make_hashing_cheap(monkeypatch)


@pytest.fixture
async def filled(node: Node) -> Node:
    """A node with two accounts, integrations for each scope, and recordings."""
    wanted = {(kind_of(entry), key_of(entry)): entry for entry in DIRECTORY}
    await node.services.directory.edit(lambda _: wanted)
    await node.stored("r7", account=100, route=7, ucid="U", ani="1234", dnis="555")
    later = STARTED + timedelta(hours=1)
    await node.stored("r8", account=100, route=8, ucid="U", ani="1234", started_at=later)
    await node.stored("r9", account=200, route=9, ucid="U", ani="1234", call_id="bank")
    return node


@pytest.fixture
async def client(filled: Node) -> AsyncIterator[ClientSession]:
    """An operator of the System account."""
    async with filled.client("operator") as session:
        yield session


async def of_account(node: Node, account: int, role: str = "operator") -> ClientSession:
    token = await node.services.keys.add(f"{role} {account}", role, account)
    return ClientSession(node.server.url, headers={"Authorization": f"Bearer {token}"})


async def found(client: ClientSession, **query: Any) -> tuple[str, list[str]]:
    """GUID of the integration, and recordings."""
    answer = await get(client, PLAYBACK, Playback, **query)
    assert answer.present == bool(answer.items)
    return answer.integration, [each.recording_id for each in answer.items]


async def refused(client: ClientSession, path: str = PLAYBACK, **query: Any) -> tuple[int, str]:
    """Status and detail."""
    async with client.get(path, params=query) as response:
        assert response.content_type == "application/problem+json"
        return response.status, (await response.json())["detail"]


# which integration


GUID_7 = partition_guid(100, 7)
SCOPES: tuple[tuple[dict[str, Any], str, list[str]], ...] = (
    ({}, ALL, ["r7", "r9", "r8"]),
    ({"tel_sys_id": 100}, OF_100, ["r7", "r8"]),
    ({"tel_sys_id": 200}, ALL, ["r9"]),
    ({"tel_sys_id": 300}, ALL, []),
    ({"tel_sys_id": 100, "partition": "7"}, OF_7, ["r7"]),
    ({"tel_sys_id": 100, "partition": "8"}, OF_100, ["r8"]),
    ({"tel_sys_id": 200, "partition": "9"}, ALL, ["r9"]),
    ({"partition": "7"}, OF_7, ["r7"]),
    ({"partition": GUID_7}, OF_7, ["r7"]),
    ({"tel_sys_id": 100, "partition": GUID_7}, OF_7, ["r7"]),
)


async def test_the_most_special_integration_looks_within_the_scope(client: ClientSession) -> None:
    for scope, guid, ids in SCOPES:
        assert await found(client, ucid="U", **scope) == (guid, ids), scope


async def test_a_scope_that_is_not_there(filled: Node, client: ClientSession) -> None:
    for scope in (
        {"tel_sys_id": 900},
        {"partition": "99"},
        {"partition": "1:1:1:1"},
        {"partition": "--"},
        {"tel_sys_id": 200, "partition": "7"},
        {"tel_sys_id": 200, "partition": GUID_7},
    ):
        expected = (404, "there is no such account or route")
        assert await refused(client, ucid="U", **scope) == expected, scope
    async with await of_account(filled, 200) as bank:
        for scope in ({"tel_sys_id": 100}, {"partition": "7"}, {"partition": GUID_7}):
            assert (await refused(bank, ucid="U", **scope))[0] == 404


async def test_what_is_found_is_what_both_may_see(filled: Node) -> None:
    """The key of an account sees its own through everybody's integration, and through its own."""
    async with await of_account(filled, 200) as bank:
        assert await found(bank, ucid="U") == (ALL, ["r9"])
    async with await of_account(filled, 100) as shop:
        assert await found(shop, ucid="U") == (OF_100, ["r7", "r8"])
        for users, ids in (
            (["seven@x"], ["r7"]),
            (["bank@x"], []),
            (["all@x"], ["r7", "r8"]),
            (["nobody@x", "seven@x"], ["r7"]),
            (["off@x", "shop@x"], ["r7", "r8"]),
            (["", "shop@x"], ["r7", "r8"]),
            (["seven@x", "shop@x"], ["r7"]),
        ):
            await filled.services.directory.put(Integration(OF_100, 12, account=100, users=users))
            assert await found(shop, ucid="U") == (OF_100, ids), users


async def test_a_caller_of_one_route_sees_no_other(filled: Node) -> None:
    users, now = filled.services.users, datetime.now(UTC)
    await users.set_password("seven@x", "correct horse battery", now)
    token = (await users.login("seven@x", "correct horse battery", None, now)).text
    headers = {"Authorization": f"Bearer {token}"}
    async with ClientSession(filled.server.url, headers=headers) as seven:
        assert await found(seven, ucid="U") == (OF_100, ["r7"])
        assert await found(seven, ucid="U", partition="7") == (OF_7, ["r7"])
        assert (await refused(seven, ucid="U", partition="8"))[0] == 404


async def test_an_integration_whose_user_cannot_look(filled: Node, client: ClientSession) -> None:
    scope = {"ucid": "U", "tel_sys_id": 100}
    for users, detail in (
        (["nobody@x", "off@x"], "the users of the integration are unknown or disabled"),
        (["deaf@x", "shop@x"], "the user of the integration may not listen"),
    ):
        await filled.services.directory.put(Integration(OF_100, 12, account=100, users=users))
        for path in (PLAYBACK, AUDIO):
            assert await refused(client, path, **scope) == (403, detail)
    rights: tuple[Permission, ...] = ("playback", "download")
    for right in rights:
        await filled.services.directory.put(User("deaf@x", 100, "api", permissions=[right]))
        assert await found(client, **scope) == (OF_100, ["r7", "r8"])


async def test_without_an_integration_there_is_no_playback(filled: Node) -> None:
    await filled.services.directory.edit(lambda _: {("integrations", ALL): None})
    async with filled.client("operator") as client:
        for path in (PLAYBACK, AUDIO):
            answer = await refused(client, path, ucid="U", tel_sys_id=200)
            assert answer == (404, "no integration is for this scope")


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("control", 403)])
async def test_who_may_not_ask(filled: Node, role: str | None, status: int) -> None:
    async with filled.client(role) as client:
        for path in (PLAYBACK, AUDIO):
            assert (await refused(client, path, ucid="U"))[0] == status


async def test_the_caller_needs_the_permission_playback(filled: Node) -> None:
    users, now = filled.services.users, datetime.now(UTC)
    await filled.services.directory.put(User("deaf@x", 100, "api", permissions=["download"]))
    await users.set_password("deaf@x", "correct horse battery", now)
    token = (await users.login("deaf@x", "correct horse battery", None, now)).text
    headers = {"Authorization": f"Bearer {token}"}
    async with ClientSession(filled.server.url, headers=headers) as client:
        expected = (403, "this needs the permission playback")
        assert await refused(client, ucid="U") == expected


# what is found


async def test_a_segment_by_its_parties_and_time(client: ClientSession) -> None:
    before, after = STARTED - timedelta(minutes=1), STARTED + timedelta(minutes=1)
    window = {"started_after": before.isoformat(), "started_before": after.isoformat()}
    for criteria, ids in (
        (window, ["r7", "r9"]),
        ({**window, "ani": "1234", "dnis": "555"}, ["r7"]),
        ({"call_id": "bank"}, ["r9"]),
        ({"dnis": "555", "ucid": "other"}, []),
        ({"started_after": after.isoformat()}, ["r8"]),
    ):
        assert (await found(client, **criteria))[1] == ids, criteria


async def test_what_cannot_be_played_is_not_present(filled: Node, client: ClientSession) -> None:
    states: tuple[dict[str, Any], ...] = (
        {"status": "recording", "ended_at": None},
        {"status": "processing"},
        {"status": "failed", "files": ()},
        {"deleting": True},
        {"discard": True},
    )
    for number, changes in enumerate(states):
        await filled.stored(f"x{number}", account=100, route=7, ucid="X", **changes)
    assert await found(client, ucid="X", tel_sys_id=100) == (OF_100, [])
    assert (await refused(client, AUDIO, ucid="X", tel_sys_id=100))[0] == 404


async def test_what_is_said_of_a_recording(client: ClientSession) -> None:
    path = "/srs/v1/recordings/r7/media"
    rows: tuple[tuple[dict[str, Any], str, str | None], ...] = (
        ({}, path, None),
        ({"tel_sys_id": 100}, f"https://rec.example/uk1{path}", None),
        ({"partition": "7"}, f"http://a.example:8080/x{path}", f"https://b.example{path}"),
    )
    for scope, url, fallback in rows:
        answer = await get(client, PLAYBACK, Playback, dnis="555", **scope)
        assert answer.items == [
            Playable("r7", "2026-11-22T14:05:06.789Z", 20, "1234", "555", url, fallback)
        ]
    assert answer.description == "of route 7"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("rec.example", "https://rec.example"),
        ("192.0.2.1:8443", "https://192.0.2.1:8443"),
        ("[2001:db8::1]:8443/a/b", "https://[2001:db8::1]:8443/a/b"),
        ("https://rec.example/", "https://rec.example"),
        ("a b", ""),
        ("javascript:alert(1)//", ""),
        ("ftp://rec.example", ""),
        ("u:p@rec.example", ""),
        ("rec.example?x=", ""),
        ("rec.example/#", ""),
        ("rec.example\n.evil.example", ""),
        ("x" * 255, ""),
    ],
)
async def test_only_what_is_a_host_makes_a_url(
    filled: Node, client: ClientSession, host: str, url: str
) -> None:
    entry = filled.services.directory.entries.integrations[OF_100]
    await filled.services.directory.put(structs.replace(entry, hosts=[host]))
    answer = await get(client, PLAYBACK, Playback, dnis="555", tel_sys_id=100)
    assert answer.items[0].url == f"{url}/srs/v1/recordings/r7/media"


# the audio


async def test_the_audio_whole_and_in_parts(client: ClientSession) -> None:
    whole = bytes(range(256))
    for headers, status, body in (
        ({}, 200, whole),
        ({"Range": "bytes=10-19"}, 206, whole[10:20]),
        ({"Range": "bytes=-6"}, 206, whole[-6:]),
    ):
        async with client.get(AUDIO, params={"dnis": "555"}, headers=headers) as response:
            assert response.status == status
            assert response.content_type == "audio/wav"
            assert await response.read() == body
    async with client.head(AUDIO, params={"dnis": "555"}) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, "256")
    async with client.get(
        AUDIO, params={"dnis": "555"}, headers={"Range": "bytes=999-"}
    ) as response:
        assert response.status == 416


async def test_the_audio_as_mp3(filled: Node, client: ClientSession) -> None:
    row = await filled.services.catalog.get("r7")
    mp3 = filled.put("r7", "mp3", b"\xff\xfb made before")
    await filled.services.catalog.change(row.id, lambda row: replace(row, files=(*row.files, mp3)))
    async with client.get(AUDIO, params={"dnis": "555", "format": "mp3"}) as response:
        assert (response.status, response.content_type) == (200, "audio/mpeg")
        assert await response.read() == b"\xff\xfb made before"


async def test_of_several_one_has_to_be_chosen(client: ClientSession) -> None:
    query = {"ucid": "U", "tel_sys_id": "100"}
    async with client.get(AUDIO, params=query) as response:
        assert (response.status, response.content_type) == (409, "application/problem+json")
        said = json.loads(await response.read())
    assert [each["recording_id"] for each in said["items"]] == ["r7", "r8"]
    assert said["instance"] == AUDIO and said["detail"]
    for chosen, status in (("r7", 200), ("r8", 200), ("r9", 404), ("other", 404)):
        async with client.get(AUDIO, params={**query, "recording_id": chosen}) as response:
            assert response.status == status
            await response.read()
    assert (await refused(client, AUDIO, ucid="nothing"))[0] == 404


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"tel_sys_id": "100"},
        {"partition": "7"},
        {"ucid": "U", "tel_sys_id": "0"},
        {"ucid": "U", "tel_sys_id": "x"},
        {"ucid": "U", "partition": "x'; --"},
        {"ucid": "U", "partition": "1" * 65},
        {"ucid": ""},
        {"ucid": "U", "unknown": "1"},
        {"started_after": "yesterday"},
        {"started_after": "0001-01-01T00:00:00+14:00"},
        {"started_after": "2026-11-22T14:05:06"},
    ],
)
async def test_what_cannot_be_asked(client: ClientSession, query: dict[str, str]) -> None:
    for path in (PLAYBACK, AUDIO):
        assert (await refused(client, path, **query))[0] == 400
