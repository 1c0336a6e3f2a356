"""Receivers of HTTP requests on loopback, of every temper."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {code} X", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


OK = status(204)
HANG, CUT, DRIP, HUGE = b"hang", b"cut", b"drip", b"huge"
"""What a receiver may do besides answering."""


@dataclass(slots=True)
class Receiver:
    """Answers each request with what `script` says; `connects` counts connections."""

    script: Callable[[Received], bytes] = lambda request: OK
    requests: list[Received] = field(default_factory=list)
    connects: int = 0
    open: int = 0
    most_open: int = 0
    port: int = 0
    host: str = "127.0.0.1"
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and drop those there are."""
        if self._server:
            self._server.close()
            for task in [*self._tasks]:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connects += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        method, target, _ = head.split(" ")
        pairs = (line.partition(": ") for line in lines if line)
        headers = {name.lower(): value for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Received(method, target, headers, body)
        self.requests.append(request)
        return await self._answer(self.script(request), reader, writer)

    async def _answer(
        self, told: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if told == CUT:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
            return False
        if told == HANG:
            await reader.read()
            return False
        if told == DRIP:
            for octet in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
                writer.write(bytes([octet]))
                await asyncio.sleep(1)
        if told == HUGE:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(100):
                writer.write(b"x" * 1_000_000)
                await writer.drain()
        writer.write(told)
        await writer.drain()
        return True


@asynccontextmanager
async def receiving(
    script: Callable[[Received], bytes] = lambda request: OK, host: str = "127.0.0.1"
) -> AsyncIterator[Receiver]:
    """A receiver for as long as the block lasts."""
    receiver = Receiver(script, host=host)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
