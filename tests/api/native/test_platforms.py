"""Recording platforms as the native interface shows them."""

from datetime import UTC, datetime

from aiohttp import ClientSession

from api.native.platforms import PlatformList
from storage.entries import Account
from storage.platforms import RecordingPlatform, RecordingProperties
from tests.api.native.asking import get, status_of
from tests.api.node import Node

PATH = "/srs/v1/platforms"


def platform(name: str, port: int | None = None) -> RecordingPlatform:
    return RecordingPlatform(name, "127.0.0.1", "Dual", "UDP", "3.0", True, port, "Text")


async def test_what_is_known_of_each(node: Node, client: ClientSession) -> None:
    assert await get(client, PATH, PlatformList) == PlatformList([])
    directory, watch = node.services.directory, node.services.platforms
    watch.listeners = ["udp://127.0.0.1:5070"]
    for entry in (platform("b", 5070), platform("a"), RecordingProperties("b")):
        await directory.put(entry)
    begun = datetime.now(UTC)
    first, second = (await get(client, PATH, PlatformList)).items
    assert (first.name, first.port, first.listener, first.is_default) == ("a", None, False, False)
    assert (second.name, second.port, second.listener, second.is_default) == ("b", 5070, True, True)
    assert (first.net_address, first.media_stream, first.transport_protocol) == (
        *("127.0.0.1", "Dual", "UDP"),
    )
    assert (first.schema_version, first.support_video_recording) == ("3.0", True)
    assert (first.description, first.state, first.failures) == ("Text", "unknown", 0)
    assert (first.answered_at, first.rtt_ms, first.cause) == (None, None, "")
    assert abs((datetime.fromisoformat(first.since) - begun).total_seconds()) < 5


async def test_calls_are_counted_where_they_came_over(calling: Node, client: ClientSession) -> None:
    await calling.services.directory.put(platform("a", 5070))
    live = await calling.call("over@src", transport="udp", local_port=5070)
    await calling.call("past@src", transport="udp", local_port=5080)
    (shown,) = (await get(client, PATH, PlatformList)).items
    assert shown.sessions == 1 and live.platform == "a"


async def test_it_is_for_operators_of_the_system_account(node: Node) -> None:
    await node.services.directory.put(Account(100, "Shop"))
    node.keys["shop"] = await node.services.keys.add("shop", "admin", 100)
    for who, status in (("operator", 200), ("control", 403), ("shop", 403), (None, 401)):
        async with node.client(who) as client:
            assert await status_of(client, "GET", PATH) == status, who
