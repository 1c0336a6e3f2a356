"""Notifications over HTTP: who sees which, and how dead letters come back."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp import ClientSession

from api.native.notifications import ROUTES, NotificationList, Replayed
from siprec.courier import Courier
from storage.entries import Account, Destination
from storage.outbox import Notification
from tests.api.native.asking import get, status_of
from tests.api.node import Node
from tests.storage.conftest import locked

PATH = "/srs/v1/notifications"
T0 = datetime(2026, 11, 22, 12, 0, 0, 500_000, tzinfo=UTC)
FIRST = Notification("e1", "gone", "call-1@src", T0, "GET", "http://h.example/a?ani=%2B49")
OURS = Destination("ours", "RECORDING_STARTED_EVENT", "http://h.example/", "account", 100)


@pytest.fixture(autouse=True)
def resting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is delivered: what was queued again stays where it is."""

    async def rest(courier: Courier) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Courier, "run", rest)


@pytest.fixture
async def told(node: Node) -> Node:
    """A node with six dead letters: 1, 3, 5 about account 1, the others about account 100."""
    outbox, directory = node.services.outbox, node.services.directory
    await directory.put(Account(100, "Contact centre"))
    await directory.put(OURS)
    names = ("gone", "gone", "gone", "ours", "gone", "gone")
    await outbox.put(
        [
            replace(FIRST, event_id=f"e{n}", account=1 if n % 2 else 100, destination=name)
            for n, name in enumerate(names, 1)
        ]
    )
    for sequence in range(1, 7):
        await outbox.bury(sequence, "refused")
    return node


async def client_of(node: Node, account: int) -> ClientSession:
    key = await node.services.keys.add(f"admin of {account}", "admin", account)
    headers = {"Authorization": f"Bearer {key}"}
    return ClientSession(node.server.url, headers=headers)


async def states(node: Node) -> str:
    found = await node.services.outbox.find()
    return "".join(queued.state[0] for queued in found)


async def replayed(client: ClientSession, path: str) -> int:
    async with client.post(f"{PATH}{path}") as response:
        assert response.status == 200, await response.text()
        return int((await response.json())["count"])


def test_only_admins_have_these_routes() -> None:
    assert {route.role for route in ROUTES} == {"admin"}
    assert [(route.method, route.path) for route in ROUTES] == [
        ("GET", PATH),
        ("POST", f"{PATH}/replay"),
        ("POST", f"{PATH}/{{sequence}}/replay"),
    ]
    assert Replayed(1).count == 1


async def test_what_is_shown_of_a_notification(told: Node) -> None:
    async with told.client() as client:
        found = await get(client, PATH, NotificationList, limit=1)
    (first,) = found.items
    assert (first.sequence, first.event_id, first.account) == (1, "e1", 1)
    assert (first.destination, first.call_id) == ("gone", "call-1@src")
    assert (first.state, first.attempts, first.error) == ("dead", 1, "refused")
    assert (first.method, first.url) == ("GET", "http://h.example/a")
    assert first.created_at == first.next_at == "2026-11-22T12:00:00.500Z"
    assert found.next == 1


async def test_pages_and_states(told: Node) -> None:
    async with told.client() as client:
        page = await get(client, PATH, NotificationList, limit=4, state="dead")
        assert [each.sequence for each in page.items] == [1, 2, 3, 4]
        page = await get(client, PATH, NotificationList, limit=4, after=page.next)
        assert ([each.sequence for each in page.items], page.next) == ([5, 6], None)
        page = await get(client, PATH, NotificationList, state="pending")
        assert page.items == []


async def test_an_account_sees_and_replays_what_is_about_its_calls_only(told: Node) -> None:
    async with await client_of(told, 100) as client:
        page = await get(client, PATH, NotificationList)
        assert [each.sequence for each in page.items] == [2, 4, 6]
        assert [each.url for each in page.items] == ["", "http://h.example/a", ""]
        assert await status_of(client, "POST", f"{PATH}/1/replay") == 404
        assert await states(told) == "dddddd"
        assert await replayed(client, "/4/replay") == 1
        assert await replayed(client, "/replay") == 2
    found = await told.services.outbox.find(accounts=frozenset({1}))
    assert {queued.state for queued in found} == {"dead"}
    async with await client_of(told, 200) as client:
        assert (await get(client, PATH, NotificationList)).items == []
        assert await replayed(client, "/replay") == 0


async def test_the_system_account_replays_everything(told: Node) -> None:
    async with told.client() as client:
        assert await replayed(client, "/3/replay") == 1
        assert await states(told) == "ddpddd"
        assert await replayed(client, "/replay") == 5
    assert await states(told) == "pppppp"


@pytest.mark.parametrize("number", ["0", "99", "-1", "1.5", "x", "9" * 30])
async def test_numbers_of_nothing_are_404(told: Node, number: str) -> None:
    async with told.client() as client:
        assert await status_of(client, "POST", f"{PATH}/{number}/replay") == 404
    assert await states(told) == "dddddd"


@pytest.mark.parametrize(
    "query", ["state=open", "after=-1", "after=x", "limit=0", "limit=1001", "a=b"]
)
async def test_questions_that_make_no_sense_are_400(told: Node, query: str) -> None:
    async with told.client() as client:
        assert await status_of(client, "GET", f"{PATH}?{query}") == 400


@pytest.mark.parametrize("role", ["control", "operator", None])
async def test_others_are_refused(told: Node, role: str | None) -> None:
    async with told.client(role) as client:
        for method, path in (("GET", ""), ("POST", "/replay"), ("POST", "/1/replay")):
            status = await status_of(client, method, PATH + path)
            assert status == (403 if role else 401)
    assert await states(told) == "dddddd"


async def test_an_outbox_that_does_not_answer_is_503(told: Node) -> None:
    async with told.client() as client:
        with locked(told.folder / "spool" / "outbox.db"):
            assert await status_of(client, "POST", f"{PATH}/replay") == 503
