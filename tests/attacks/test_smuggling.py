"""Requests that two servers could read differently, and requests without an end."""

import asyncio
import re

import pytest
from structlog.testing import capture_logs

from tests.api.node import Node
from tests.attacks.lists import oversized, smuggled

LOGIN = "/srs/v1/login"
HIDDEN = "/srs/v1/hidden"
SMUGGLED = dict(smuggled(LOGIN, HIDDEN))
OVERSIZED = dict(oversized(LOGIN))


async def answer_to(node: Node, octets: bytes) -> bytes:
    """The answer to `octets`: its head, as soon as it is there, whether or not all is read."""
    reader, writer = await asyncio.open_connection(*node.server.address)
    try:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            sending = group.create_task(_send(writer, octets), name="sending")
            head = await reader.readuntil(b"\r\n\r\n")
            sending.cancel()
        return head
    finally:
        writer.transport.abort()


async def everything_for(node: Node, octets: bytes) -> bytes:
    """All that is answered to `octets` until the server closes."""
    reader, writer = await asyncio.open_connection(*node.server.address)
    try:
        async with asyncio.timeout(30):
            await _send(writer, octets)
            return await reader.read()
    finally:
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, octets: bytes) -> None:
    try:
        writer.write(octets)
        await writer.drain()
    except ConnectionError:
        pass


async def is_up(node: Node) -> bool:
    async with node.client(None) as client, client.get("/health") as response:
        return response.status == 200


@pytest.mark.parametrize("what", SMUGGLED)
async def test_what_can_be_read_in_two_ways_is_read_in_none(node: Node, what: str) -> None:
    with capture_logs() as lines:
        answers = await everything_for(node, SMUGGLED[what])
    assert re.findall(rb"HTTP/1\.[01] (\d+)", answers) == [b"400"]
    assert HIDDEN not in str(lines)
    assert [line["event"] for line in lines] == ["request_malformed"]


async def test_what_can_be_read_in_one_way_is_read_in_that(node: Node) -> None:
    """The refusals above are not for their parts: two requests in a row are two requests."""
    first = f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    second = f"GET {HIDDEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with capture_logs() as lines:
        answers = await everything_for(node, (first + second).encode())
    assert answers.count(b"HTTP/1.1 ") == 2
    assert [(line["path"], line["status"]) for line in lines] == [(LOGIN, 400), (HIDDEN, 404)]


async def test_parameters_given_twice_are_refused_however_they_are_written(node: Node) -> None:
    for query in ("limit=1&limit=2", "limit=1&%6cimit=2", "limit=1&limit=1", "limit=1;limit=2"):
        async with node.client() as client, client.get(f"/srs/v1/sessions?{query}") as response:
            assert response.status == 400, query


@pytest.mark.parametrize("what", OVERSIZED)
async def test_what_has_no_end_is_cut_off(node: Node, what: str) -> None:
    head = await answer_to(node, OVERSIZED[what])
    assert head.split()[1] in {b"400", b"413", b"431"}, head
    assert await is_up(node)
