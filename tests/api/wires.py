"""Raw bytes to a server and back."""

import asyncio


async def exchange(address: tuple[str, int], request: bytes) -> bytes:
    """Send `request` and read until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
