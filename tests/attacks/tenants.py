"""Two tenants on one node: what the first has, and who the second is."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from yarl import URL

from storage.outbox import Notification
from tests.api.node import Node
from tests.storage.people import PASSWORD

Answer = tuple[int, str]
OURS, THEIRS = 100, 200
"""Accounts: of who is attacked, and of who attacks."""
MARK = "of-the-first"
"""In everything the first tenant has."""
DIRECTORY = f"""
[[accounts]]
number = {OURS}
name = "{MARK}"
[[accounts]]
number = {THEIRS}
[[routes]]
id = 10
account = {OURS}
label = "{MARK}"
pattern = "alice@%"
match = "from"
[[routes]]
id = 20
account = {THEIRS}
pattern = "nobody@%"
[[users]]
email = "ann@{MARK}.example"
account = {OURS}
type = "api"
[[users]]
email = "mallory@second.example"
account = {THEIRS}
type = "admin"
[[custom-fields]]
name = "{MARK} case"
accounts = [{OURS}]
[[destinations]]
name = "{MARK} target"
event = "RECORDING_ENDED_EVENT"
url = "http://127.0.0.1:9/{MARK}"
scope = "account"
of = {OURS}
[[screen-agents]]
agent_id = "{MARK} 7001"
address = "192.0.2.1"
account = {OURS}
[[policies]]
name = "{MARK} policy"
event = "agreed"
actions = [{{ type = "StopAudio" }}]
when = {{ account = {OURS} }}
"""


@dataclass(frozen=True, slots=True)
class Tenants:
    """A node with two accounts, of which the first has one of everything."""

    node: Node
    session_id: str
    sequence: int
    """Of a dead letter of the first."""

    def client(self, token: str) -> ClientSession:
        """Who has `token`."""
        headers = {"Authorization": f"Bearer {token}"}
        return ClientSession(self.node.server.url, headers=headers)

    async def tokens(self) -> dict[str, str]:
        """Everybody of the second account: who it is -> token."""
        keys, users = self.node.services.keys, self.node.services.users
        found = {
            f"{role} key": await keys.add(f"{role} of the second", role, THEIRS)
            for role in ("control", "operator", "admin")
        }
        mallory = "mallory@second.example"
        await users.set_password(mallory, PASSWORD, datetime.now(UTC))
        token = await users.login(mallory, PASSWORD, None, datetime.now(UTC))
        return {**found, "admin": token.text}

    async def holdings(self) -> Any:
        """All the first tenant has, to be compared."""
        services = self.node.services
        found = services.directory.entries.by_key()
        live = services.recorder.find(self.session_id)
        return (
            {key: entry for key, entry in found.items() if MARK in str(entry)},
            await services.catalog.get("r1"),
            (live.state, live.marks, live.pauses, live.recording and live.recording.id),
            [each for each in await services.outbox.find() if each.sequence == self.sequence],
            tree(self.node.folder / "recordings"),
        )


async def tenants(node: Node) -> Tenants:
    """Make them; `node` must be able to record."""
    await node.services.directory.apply(DIRECTORY.encode())
    live = await node.call(f"{MARK}@src")
    assert live.decision.account == OURS
    await node.stored("r1", account=OURS, route=10, filename=f"{MARK}.wav", call_id=f"{MARK}@src")
    url = "http://127.0.0.1:9/x"
    target = f"{MARK} target"
    now = datetime.now(UTC)
    letter = Notification("e1", target, f"{MARK}@src", now, "GET", url, account=OURS)
    await node.services.outbox.put([letter])
    (queued,) = await node.services.outbox.find()
    await node.services.outbox.bury(queued.sequence, "refused")
    return Tenants(node, live.id, queued.sequence)


async def ask(client: ClientSession, method: str, path: str, body: Any = None) -> Answer:
    """Status and text of an answer; `path` is sent as it is."""
    url = URL(str(client._base_url).rstrip("/") + path, encoded=True)
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if body is not None else {}
    async with client.request(method, url, data=data, headers=headers) as response:
        return response.status, await response.text(errors="replace")


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, with its size and the time it was changed."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@asynccontextmanager
async def untouched(folder: Path) -> AsyncIterator[None]:
    """Nothing below `folder` comes, goes or changes meanwhile."""
    before = tree(folder)
    yield
    assert tree(folder) == before
