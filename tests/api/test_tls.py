"""HTTPS: the same server under TLS, with the same limits, and a certificate that is renewed."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorCertificateError, ClientSession, TCPConnector, WSMsgType
from structlog.testing import capture_logs

from api.listener import Limits
from api.server import ApiServer
from config.certificate import LIFETIME, Certificate, kept, self_signed
from config.schema import SELF_SIGNED, Api
from tests.api.node import Node
from tests.e2e.srs import Srs
from tests.siprec.test_cli import siprecd

SHORT = Limits(head_s=0.5, body_s=0.2, stalled_s=0.5, stop_s=0.2)
PATIENCE_S = 30
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def secured(
    node: Node, limits: Limits | None = None, certificate: str = SELF_SIGNED
) -> AsyncIterator[ApiServer]:
    """Another server of `node`, with a certificate."""
    config = Api(listen="127.0.0.1:0", certificate=certificate)
    shown = Certificate(config, node.folder, datetime.now(UTC))
    server = ApiServer(config, node.services, limits, shown)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def trusting(file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=file)


def client(node: Node, server: ApiServer) -> ClientSession:
    headers = {"Authorization": f"Bearer {node.keys['admin']}"}
    connector = TCPConnector(ssl=trusting(kept(node.folder)))
    return ClientSession(server.url, headers=headers, connector=connector)


async def opened(
    node: Node, server: ApiServer
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*server.address, ssl=trusting(kept(node.folder)))


async def exchange(node: Node, server: ApiServer, request: bytes) -> bytes:
    """Send `request` over TLS and read until the server closes."""
    reader, writer = await opened(node, server)
    try:
        writer.write(request)
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        writer.transport.abort()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(0.01)


async def is_served(node: Node, server: ApiServer) -> bool:
    with suppress(OSError):
        request = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        return (await exchange(node, server, request)).startswith(b"HTTP/1.1 200 ")
    return False


async def test_everything_goes_over_tls(calling: Node) -> None:
    node = calling
    await node.stored()
    node.put("r1", "wav", bytes(3_000_000))
    async with secured(node) as server, client(node, server) as session:
        assert server.url == f"https://127.0.0.1:{server.address[1]}"
        async with session.get("/health") as response:
            assert response.status == 200
        async with session.get("/srs/v1/recordings/r1/media") as response:
            assert await response.read() == bytes(3_000_000)
        async with session.post("/srs/v1/recordings/r1", json={"note": "checked"}) as response:
            assert response.status == 200
        async with session.ws_connect("/srs/v1/events") as stream:
            await node.call()
            assert "call-1@src" in await stream.receive_str(timeout=PATIENCE_S)


async def test_plain_http_gets_nothing_and_leaves_no_trace(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    async with secured(node, Limits(connections=1)) as server:
        with capture_logs() as lines, caplog.at_level(logging.INFO):
            for request in (HEALTH, b"\x16\x03\x01\x00\x05rubbish", b"\0" * 100_000, b"\n"):
                reader, writer = await asyncio.open_connection(*server.address)
                writer.write(request)
                writer.write_eof()
                async with asyncio.timeout(PATIENCE_S):
                    with suppress(ConnectionResetError):
                        assert b"HTTP" not in await reader.read()
                writer.close()
        assert (lines, unhandled) == ([], [])
        assert not [record for record in caplog.records if record.name == "asyncio"]
        await until(lambda: is_served(node, server))


async def test_a_client_that_does_not_trust_us_costs_nothing_afterwards(node: Node) -> None:
    async with secured(node, Limits(connections=1)) as server:
        for _ in range(3):
            with pytest.raises((ssl.SSLCertVerificationError, ConnectionResetError)):
                await asyncio.open_connection(*server.address, ssl=ssl.create_default_context())
        await until(lambda: is_served(node, server))


@pytest.mark.parametrize("begin", [b"", b"\x16", b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"])
async def test_a_handshake_that_never_ends_is_not_waited_for(node: Node, begin: bytes) -> None:
    async with secured(node, SHORT) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(begin)
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()


async def test_handshakes_count_as_connections(node: Node) -> None:
    async with secured(node, Limits(head_s=600, connections=3)) as server:
        held = [await asyncio.open_connection(*server.address) for _ in range(3)]
        assert not await is_served(node, server)
        for _, writer in held:
            writer.close()
        await until(lambda: is_served(node, server))


async def test_open_connections_count(node: Node) -> None:
    async with secured(node, Limits(connections=2)) as server:
        held = [await opened(node, server) for _ in range(2)]
        assert not await is_served(node, server)
        for _, writer in held:
            writer.transport.abort()
        await until(lambda: is_served(node, server))


async def test_a_silent_connection_is_closed(node: Node) -> None:
    async with secured(node, SHORT) as server:
        assert await exchange(node, server, b"") == b""
        assert (await exchange(node, server, HEALTH)).startswith(b"HTTP/1.1 200 ")


async def test_a_head_that_never_ends_is_not_waited_for(node: Node) -> None:
    async with secured(node, SHORT) as server:
        reader, writer = await opened(node, server)

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
        writer.transport.abort()


async def test_a_body_has_the_same_limits(node: Node) -> None:
    head = "POST /srs/v1/sessions/s/pause HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {node.keys['control']}\r\nContent-Length: "
    async with secured(node, SHORT) as server:
        answer = await exchange(node, server, f"{head}10\r\n\r\n{{".encode())
        assert answer.startswith(b"HTTP/1.1 408 ")
        body = b'{"reason": "' + b"x" * 100_000 + b'"}'
        answer = await exchange(node, server, f"{head}{len(body)}\r\n\r\n".encode() + body)
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_peer_that_stops_reading_is_cut_off(node: Node) -> None:
    await node.stored()
    node.put("r1", "wav", bytes(16_000_000))
    request = "GET /srs/v1/recordings/r1/media HTTP/1.1\r\nHost: x\r\n"
    request += f"Authorization: Bearer {node.keys['admin']}\r\n\r\n"
    async with secured(node, SHORT) as server:
        context, address = trusting(kept(node.folder)), server.address

        def connect() -> ssl.SSLSocket:
            raw = socket.create_connection(address)
            peer = context.wrap_socket(raw, server_hostname="127.0.0.1")
            peer.sendall(request.encode())
            return peer

        with capture_logs() as lines, await asyncio.to_thread(connect):

            async def is_cut() -> bool:
                return any(line.get("status") == 499 for line in lines)

            await until(is_cut)


async def test_stopping_closes_event_streams_and_the_listener(node: Node) -> None:
    async with secured(node) as server:
        address = server.address
        async with client(node, server) as session, session.ws_connect("/srs/v1/events") as stream:
            async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
                group.create_task(server.stop())
                message = await stream.receive()
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)


async def test_a_renewed_certificate_is_shown_to_new_clients(node: Node) -> None:
    file = node.folder / "both.pem"
    now = datetime.now(UTC)
    pems = [self_signed("127.0.0.1", now - timedelta(days=past)) for past in (400, 200)]
    file.write_bytes(pems[0])
    kept(node.folder).write_bytes(pems[0])
    async with secured(node, certificate=str(file)) as server, asyncio.TaskGroup() as group:
        watching = group.create_task(server.watch_certificate(0.01))
        async with client(node, server) as before:
            async with before.get("/health") as response:
                assert response.status == 200
            with capture_logs() as lines:
                file.write_bytes(b"rubbish")
                await until(lambda: _has(lines, 1))
                assert await is_served(node, server)
                (node.folder / "new.pem").write_bytes(pems[1])
                (node.folder / "new.pem").replace(file)
                kept(node.folder).write_bytes(pems[1])
                await until(lambda: is_served(node, server))
                file.unlink()
                await until(lambda: _has(lines, 3))
                await asyncio.sleep(0.1)
            async with before.get("/health") as response:
                assert response.status == 200
        watching.cancel()
    told = [(line["event"], line["log_level"]) for line in lines if line["event"] != "request"]
    refused = ("certificate_not_renewed", "error")
    assert told == [refused, ("certificate_renewed", "info"), refused]
    assert "rubbish" not in str(lines)


async def test_one_that_cannot_be_renewed_is_told_once_and_tried_again(node: Node) -> None:
    folder, away = node.folder / "made", node.folder / "away"
    folder.mkdir()
    config = Api(listen="127.0.0.1:0", certificate=SELF_SIGNED)
    long_ago = datetime.now(UTC) - LIFETIME + timedelta(days=10)
    server = ApiServer(config, node.services, certificate=Certificate(config, folder, long_ago))
    folder.rename(away)
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(server.watch_certificate(0.01))
            await until(lambda: _has(lines, 1))
            await asyncio.sleep(0.2)
            away.rename(folder)
            await until(lambda: _has(lines, 2))
            watching.cancel()
    told = [(line["event"], line["log_level"]) for line in lines]
    assert told == [("certificate_not_renewed", "error"), ("certificate_renewed", "info")]


async def _has(lines: list[Any], count: int) -> bool:
    return len([line for line in lines if line["event"].startswith("certificate")]) >= count


async def test_one_that_has_ended_is_shown_and_told(node: Node) -> None:
    file = node.folder / "old.pem"
    file.write_bytes(self_signed("127.0.0.1", datetime.now(UTC) - LIFETIME))
    with capture_logs() as lines:
        async with secured(node, certificate=str(file)):
            pass
    assert [line["event"] for line in lines] == ["certificate_not_valid"]
    assert lines[0]["log_level"] == "warning"


async def test_https_is_never_plain_by_oversight(node: Node) -> None:
    with pytest.raises(ValueError, match="needs its certificate"):
        ApiServer(Api(certificate=SELF_SIGNED), node.services)
    certificate = Certificate(Api(certificate=SELF_SIGNED), node.folder, datetime.now(UTC))
    with pytest.raises(ValueError, match="and no other one"):
        ApiServer(Api(), node.services, certificate=certificate)


async def test_without_a_certificate_there_is_nothing_to_watch(node: Node) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await node.server.watch_certificate()


async def test_the_process_makes_a_certificate_and_keeps_it(tmp_path: Path) -> None:
    file = kept(tmp_path / "data/spool")
    async with Srs(tmp_path, SRS_API_CERTIFICATE=SELF_SIGNED) as srs:
        assert srs.url.startswith("https://")
        async with srs.request("GET", "/srs/v1/sessions", ssl=trusting(file)) as response:
            assert response.status == 200
        made = file.read_bytes()
        assert await srs.stop() == 0
        await srs.start()
        async with srs.request("GET", "/srs/v1/sessions", ssl=trusting(file)) as response:
            assert response.status == 200
    assert file.read_bytes() == made
    assert "Traceback" not in srs.log()


@pytest.mark.slow
async def test_the_process_looks_for_a_renewed_certificate(tmp_path: Path) -> None:
    file, now = tmp_path / "both.pem", datetime.now(UTC)
    file.write_bytes(self_signed("127.0.0.1", now))
    async with Srs(tmp_path, SRS_API_CERTIFICATE="both.pem") as srs:
        async with srs.request("GET", "/health", ssl=trusting(file)) as response:
            assert response.status == 200
        (tmp_path / "new.pem").write_bytes(self_signed("127.0.0.1", now))
        (tmp_path / "new.pem").replace(file)
        fresh = trusting(file)

        async def is_taken() -> bool:
            with suppress(ClientConnectorCertificateError):
                async with srs.request("GET", "/health", ssl=fresh) as response:
                    return response.status == 200
            return False

        await until(is_taken)


async def test_the_process_says_what_is_wrong_with_a_certificate(tmp_path: Path) -> None:
    run = await asyncio.to_thread(siprecd, tmp_path, "serve", SRS_API_CERTIFICATE="none.pem")
    assert run.returncode == 1
    assert run.stderr == "siprecd: api.certificate: none.pem: no such file\n"
