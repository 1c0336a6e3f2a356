"""The server as a whole: what protects it, what it logs, how it stops."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from aiohttp import ClientSession, WSMsgType
from structlog.testing import capture_logs

from api.auth import FAILURES_PER_MINUTE
from api.listener import HEADERS, Limits
from api.native import login
from api.server import ApiServer
from config.schema import Api
from tests.api.node import Node, running
from tests.api.wires import exchange

SHORT = Limits(head_s=0.2, body_s=0.2, stalled_s=0.2, stop_s=0.2)
PATIENCE_S = 15


@pytest.fixture
async def hasty(tmp_path: Path, migrated: Path) -> AsyncIterator[Node]:
    """A node whose limits are reached at once."""
    async with running(tmp_path, migrated, SHORT) as started:
        yield started


def _problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    found = json.loads(body)
    assert isinstance(found, dict)
    assert found["status"] == int(head.split()[1])
    return found


async def test_unknown_paths_and_methods_are_problems(client: ClientSession) -> None:
    async with client.get("/srs/v1/nothing?key=secret") as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"
        assert (await response.json(content_type=None))["instance"] == "/srs/v1/nothing"
    async with client.put("/srs/v1/recordings/r1") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "DELETE,GET,HEAD,POST"
    async with client.get("/health", headers={"Expect": "a-miracle"}) as response:
        assert response.status == 417
        assert response.content_type == "application/problem+json"


async def test_every_answer_is_protected(node: Node, client: ClientSession) -> None:
    await node.stored()
    for path in ("/health", "/nothing", "/srs/v1/recordings/r1/media"):
        async with client.get(path) as response:
            for name, value in HEADERS.items():
                assert response.headers.getall(name) == [value]


async def test_what_is_not_http_is_a_problem(node: Node) -> None:
    for request in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer srs_se\x00cret\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
    ):
        with capture_logs() as lines:
            answer = await exchange(node.server.address, request)
        assert _problem(answer)["status"] == 400, request
        assert b"nosniff" in answer
        assert [line["event"] for line in lines] == ["request_malformed"]
        assert b"cret" not in answer and "cret" not in str(lines)


async def test_a_failure_inside_tells_nothing(node: Node, client: ClientSession) -> None:
    node.services.recorder._registry.sessions["broken"] = 7  # type: ignore[assignment]
    with capture_logs() as lines:
        async with client.get("/srs/v1/sessions/broken") as response:
            assert response.status == 500
            found = await response.json(content_type=None)
    assert found["detail"] == "the request failed inside"
    assert "request_failed" in [line["event"] for line in lines]


async def test_one_line_for_each_request_and_never_a_key(node: Node) -> None:
    key = node.keys["control"]
    with capture_logs() as lines:
        async with node.client("control") as client:
            await (await client.get("/srs/v1/sessions?call_id=card-4111")).read()
            await (await client.get("/srs/v1/%0aforged")).read()
        async with node.client(None) as client:
            socket_ = await client.ws_connect("/srs/v1/events", params={"access_token": key})
            await socket_.close()
            await (await client.get("/srs/v1/sessions", params={"access_token": key})).read()
        await node.server.stop()
    requests = [line for line in lines if line["event"] == "request"]
    seen = [(r["method"], r["path"], r["status"], r["actor"]) for r in requests]
    assert sorted(seen) == [
        ("GET", "/srs/v1/%0Aforged", 404, ""),
        ("GET", "/srs/v1/events", 101, "control desk"),
        ("GET", "/srs/v1/sessions", 200, "control desk"),
        ("GET", "/srs/v1/sessions", 401, ""),
    ]
    assert all(r["ms"] >= 0 and r["remote"] == "127.0.0.1" for r in requests)
    assert key not in str(lines)
    assert "card" not in str(lines)


async def test_a_silent_connection_is_closed(hasty: Node) -> None:
    assert await exchange(hasty.server.address, b"") == b""


async def test_a_head_that_never_ends_is_not_waited_for(hasty: Node) -> None:
    reader, writer = await asyncio.open_connection(*hasty.server.address)

    async def trickle() -> None:
        writer.write(b"GET /health HTTP/1.1\r\nX: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        feeding = group.create_task(trickle())
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        feeding.cancel()
    writer.close()


async def test_an_idle_connection_is_closed_after_its_answer(hasty: Node) -> None:
    answer = await exchange(hasty.server.address, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_does_not_come_is_408(hasty: Node) -> None:
    head = (
        b"POST /srs/v1/sessions/s/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
        b"Content-Type: application/json\r\nAuthorization: Bearer %s\r\n\r\n{"
    )
    answer = await exchange(hasty.server.address, head % hasty.keys["control"].encode())
    assert _problem(answer)["status"] == 408


async def test_a_body_nobody_reads_is_not_waited_for(hasty: Node) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    assert _problem(await exchange(hasty.server.address, head))["status"] == 404


async def test_a_connection_too_many_is_closed(tmp_path: Path, migrated: Path) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with running(tmp_path, migrated, Limits(connections=3)) as node:
        held = [await asyncio.open_connection(*node.server.address) for _ in range(3)]
        assert await _answer(node, request) == b""
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(PATIENCE_S):
            while not (await _answer(node, request)).startswith(b"HTTP/1.1 200 "):
                await asyncio.sleep(0)


async def _answer(node: Node, request: bytes) -> bytes:
    """What comes back, nothing if the connection is cut."""
    with suppress(ConnectionError):
        return await exchange(node.server.address, request)
    return b""


async def test_a_peer_that_stops_reading_is_cut_off(hasty: Node) -> None:
    await hasty.stored()
    hasty.put("r1", "wav", bytes(16_000_000))
    ended = asyncio.Event()

    def watch(_: object, __: str, line: Any) -> Any:
        if line.get("status") == 499:
            ended.set()
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    structlog.configure(processors=[watch])
    try:
        with socket.create_connection(hasty.server.address) as peer:
            request = "GET /srs/v1/recordings/r1/media HTTP/1.1\r\nHost: x\r\n"
            request += f"Authorization: Bearer {hasty.keys['admin']}\r\n\r\n"
            peer.sendall(request.encode())
            async with asyncio.timeout(PATIENCE_S):
                await ended.wait()
    finally:
        structlog.configure(processors=processors)


async def test_stopping_closes_event_streams_and_the_listener(node: Node) -> None:
    async with node.client() as client, client.ws_connect("/srs/v1/events") as stream:
        address = node.server.address
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            group.create_task(node.server.stop())
            message = await stream.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)


async def test_addresses(node: Node) -> None:
    host, port = node.server.address
    assert node.server.url == f"http://{host}:{port}"
    six = ApiServer(Api(listen="[::1]:0"), node.services)
    await six.start()
    assert six.url == f"http://[::1]:{six.address[1]}"
    await six.stop()


async def test_an_address_in_use_is_an_oserror(node: Node) -> None:
    taken = ApiServer(Api(listen="{}:{}".format(*node.server.address)), node.services)
    with pytest.raises(OSError, match="in use"):
        await taken.start()
    await taken.stop()
    with pytest.raises(RuntimeError):
        _ = taken.address


PROXIED = Api(listen="127.0.0.1:0", proxies=["127.0.0.0/8", "10.0.0.0/8"])


@pytest.fixture
async def proxied(calling: Node) -> AsyncIterator[Node]:
    """A node that believes proxies on this machine."""
    server = ApiServer(PROXIED, calling.services)
    await server.start()
    yield replace(calling, server=server)
    await server.stop()


def _from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": f"6.6.6.6, {address}, 10.0.0.7"}


async def test_behind_a_proxy_the_client_is_whom_the_proxy_names(proxied: Node) -> None:
    await proxied.stored()
    url = "/srs/v1/recordings/r1"
    with capture_logs() as lines:
        async with proxied.client() as client:
            async with client.post(url, json={"note": "n"}, headers=_from("192.0.2.7")) as response:
                assert response.status == 200
            async with client.ws_connect("/srs/v1/events", headers=_from("192.0.2.8")) as stream:
                await proxied.call()
                assert "call-1@src" in await stream.receive_str(timeout=PATIENCE_S)
            async with client.get("/nothing", headers=_from("2001:db8::9")) as response:
                assert response.status == 404
            async with client.get(f"{url}/media", headers={"X-Forwarded-For": "?"}) as response:
                assert await response.read() == bytes(range(256))
        await proxied.server.stop()
    seen = [
        (r["remote"], r["status"], r["actor"], r["path"]) for r in lines if r["event"] == "request"
    ]
    assert sorted(seen) == [
        ("127.0.0.1", 200, "admin desk", f"{url}/media"),
        ("192.0.2.7", 200, "admin desk", url),
        ("192.0.2.8", 101, "admin desk", "/srs/v1/events"),
        ("2001:db8::9", 404, "", "/nothing"),
    ]


async def _refused(node: Node, address: str, times: int) -> list[int]:
    """What somebody at `address` gets for keys that nobody has."""
    statuses = []
    async with node.client(None) as client:
        for _ in range(times):
            headers = {"Authorization": f"Bearer srs_{uuid4()}", **_from(address)}
            async with client.get("/srs/v1/sessions", headers=headers) as response:
                statuses.append(response.status)
    return statuses[-2:]


async def test_behind_a_proxy_each_client_has_its_own_failures(proxied: Node) -> None:
    assert await _refused(proxied, "192.0.2.7", FAILURES_PER_MINUTE + 1) == [401, 429]
    assert await _refused(proxied, "192.0.2.8", 2) == [401, 401]
    assert await _refused(proxied, "192.0.2.7", 2) == [429, 429]


async def test_who_is_no_proxy_cannot_be_somebody_else(node: Node) -> None:
    with capture_logs() as lines:
        assert await _refused(node, "192.0.2.7", FAILURES_PER_MINUTE + 1) == [401, 429]
        assert await _refused(node, "192.0.2.8", 2) == [429, 429]
    assert {line["remote"] for line in lines if line["event"] == "request"} == {"127.0.0.1"}


async def test_who_is_no_proxy_cannot_guess_passwords_under_many_addresses(node: Node) -> None:
    statuses = []
    async with node.client(None) as client:
        for number in range(login.FAILURES_PER_MINUTE + 1):
            ask = {"email": f"user{number}@example.com", "password": "wrong"}
            headers = _from(f"192.0.2.{number}")
            async with client.post("/srs/v1/login", json=ask, headers=headers) as response:
                statuses.append(response.status)
    assert statuses == [401] * login.FAILURES_PER_MINUTE + [429]
