"""What tests of the native interface ask, and how they check that the answer is a whole one."""

import asyncio
import json
import socket
import struct
from typing import Any, TypeVar

import msgspec
from aiohttp import ClientSession

from siprec.feed import Subscription

T = TypeVar("T")


async def get(client: ClientSession, path: str, kind: type[T], **query: Any) -> T:
    """What is answered, having exactly the members `kind` has."""
    async with client.get(path, params=query) as response:
        body = await response.read()
        assert response.status == 200, body
        assert response.content_type == "application/json"
    found = msgspec.json.decode(body, type=kind)
    assert msgspec.to_builtins(found) == json.loads(body)
    return found


async def status_of(client: ClientSession, method: str, path: str, **body: Any) -> int:
    """The status of an answer that is thrown away. `body`: members of a JSON object to send."""
    async with client.request(method, path, json=body or None) as response:
        await response.read()
        return response.status


def speak(port: int, packets: int, ssrc: int = 7) -> None:
    """PCMU packets of 20 ms to a port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for number in range(packets):
            head = struct.pack("!BBHII", 0x80, 0, number, number * 160, ssrc)
            peer.sendto(head + b"\x55" * 160, ("127.0.0.1", port))


async def until(subscription: Subscription, kind: str) -> None:
    """Wait for an event."""
    async with asyncio.timeout(15):
        async for change in subscription:
            if change.type == kind:
                return
