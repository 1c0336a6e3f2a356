"""A receiver of event notifications that prints what it gets and checks the signatures.

    python examples/webhook.py --port 8099 --secret "what the destination says"

Answers every request with 204. Uses nothing of the recorder: `verified` is all that a receiver of
your own needs.
"""

import argparse
import asyncio
import hashlib
import hmac
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

SIGNATURE, TIMESTAMP, EVENT_ID = (
    "X-Siprecd-Signature",
    "X-Siprecd-Timestamp",
    "X-Siprecd-Event-Id",
)


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification as it came."""

    event_id: str
    method: str
    target: str
    """Path and query, as sent."""
    parameters: Mapping[str, str]
    signed: bool | None
    """Whether the signature is right; None without one."""

    def __str__(self) -> str:
        shown = {None: "unsigned", True: "signature ok", False: "SIGNATURE WRONG"}[self.signed]
        named = "".join(f"\n  {name}={value}" for name, value in self.parameters.items() if value)
        return f"{self.method} {self.target.partition('?')[0]} ({shown}){named}"


@dataclass(slots=True)
class Receiver:
    """Keeps the notices it got, and hands each to `show`."""

    secret: str
    show: Callable[[Notice], None]
    notices: list[Notice] = field(default_factory=list)
    url: str = ""

    async def receive(self, request: web.Request) -> web.Response:
        """Take one notification; its event id tells a repetition, which is not shown again."""
        body = await request.read()
        notice = Notice(
            request.headers.get(EVENT_ID, ""),
            request.method,
            request.raw_path,
            parameters(request, body),
            verified(self.secret, request.method, request.raw_path, request.headers, body),
        )
        if notice.event_id not in {each.event_id for each in self.notices}:
            self.notices.append(notice)
            self.show(notice)
        return web.Response(status=204)


def parameters(request: web.Request, body: bytes) -> dict[str, str]:
    """The parameters of a notification, wherever they are."""
    if request.method == "POST":
        return msgspec.json.decode(body, type=dict[str, str])
    return dict(parse_qsl(request.query_string, keep_blank_values=True))


def verified(
    secret: str, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> bool | None:
    """Whether the request was signed with `secret`; None if it is not signed at all."""
    if SIGNATURE not in headers:
        return None
    told = f"{headers[TIMESTAMP]}.{headers[EVENT_ID]}.{method} {target}\n".encode() + body
    expected = "v1=" + hmac.new(secret.encode(), told, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, headers[SIGNATURE])


@asynccontextmanager
async def receiving(
    port: int, secret: str, show: Callable[[Notice], None]
) -> AsyncIterator[Receiver]:
    """A receiver on 127.0.0.1 for as long as the block lasts. Raises OSError."""
    receiver = Receiver(secret, show)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receiver.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        receiver.url = "http://{}:{}/".format(*runner.addresses[0])
        yield receiver
    finally:
        await runner.cleanup()


def _show(notice: Notice) -> None:
    print(f"{datetime.now():%H:%M:%S}  {notice}", flush=True)


async def _run(port: int, secret: str) -> None:
    async with receiving(port, secret, _show):
        print(f"listening on http://127.0.0.1:{port}/", flush=True)
        await asyncio.Event().wait()


def main() -> int:
    """Run as a program until interrupted."""
    options = argparse.ArgumentParser(description="Print event notifications.")
    options.add_argument("--port", type=int, default=8099)
    options.add_argument("--secret", default="", help="of the destination in the directory")
    chosen = options.parse_args()
    try:
        asyncio.run(_run(chosen.port, chosen.secret))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
