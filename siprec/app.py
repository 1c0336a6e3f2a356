"""The process: runs the rooms and takes them down in reverse order of their start."""

import asyncio
import fcntl
import gc
import os
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import structlog

from api.server import ApiServer
from config.certificate import Certificate
from config.schema import Config, ConfigError
from siprec import __version__, rooms
from siprec.commands.common import CommandError
from siprec.recorder import Recorder
from siprec.rooms import Background, Books, Rooms
from siprec.server import SipServer
from storage.keys import ApiKeys
from storage.records import StorageError, StorageUnavailable

logger = structlog.get_logger(__name__)

FAREWELL_S = 2.0
"""After the drain limit: for our BYEs to be answered."""
WRITE_OUT_S = 30.0
"""At the end: for files to be rendered."""


def _lock(spool: Path) -> int:
    """Claim the spool folder for this process; held until it exits."""
    try:
        spool.mkdir(parents=True, exist_ok=True, mode=0o750)
        fd = os.open(spool / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CommandError(f"[storage] spool: cannot use {spool}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise CommandError(f"[storage] spool: {spool} is in use by another siprecd") from None
    return fd


async def serve(config: Config) -> int:
    """Run the server until SIGTERM or SIGINT; returns the exit status."""
    return await _alone(config, _serve)


async def recover(config: Config) -> int:
    """Finish what a crash cut off and return; for use while no server runs."""
    return await _alone(config, _recover)


async def _alone(
    config: Config,
    work: Callable[[Config, Rooms, Background], Coroutine[Any, Any, None]],
) -> int:
    """Do `work` as the only process on the spool folder. Raises CommandError."""
    lock = _lock(Path(config.storage.spool))
    try:
        async with asyncio.TaskGroup() as group:
            background = Background(group)
            async with rooms.opened(config, background.spawn) as opened:
                await work(config, opened, background)
    except* CommandError as errors:
        raise errors.exceptions[0] from None
    finally:
        os.close(lock)
    return 0


async def _serve(config: Config, node: Rooms, background: Background) -> None:
    services, archive, recorder = node.services, node.archive, node.services.recorder
    sip = SipServer(config.sip, recorder)
    http = ApiServer(config.api, services, certificate=_certificate(config))
    stop = _signals()
    background.keep("sidecars", archive.write_notes)
    await asyncio.gather(node.engine.start(), _open_books(node.books))
    _follow(node, background)
    background.keep("certificate", http.watch_certificate)
    leftovers = await archive.leftovers()
    recorder.paused_calls.load([*await archive.ended_paused(), *leftovers], datetime.now(UTC))
    try:
        await _start(sip, http)
        services.platforms.listeners = sip.addresses
        archive.recover(leftovers)
        background.spawn("deletions", _delete_rest(node))
        _settle_memory()
        apis = " ".join(listener.url for listener in http.listeners.values())
        click.echo(f"siprecd {__version__} ready: SIP {' '.join(sip.addresses)}, API {apis}")
        await stop.first.wait()
        await _drain(config.sip.drain_s, recorder, sip, stop)
    finally:
        await sip.stop()
        await _write_out(node, stop)
        await http.stop()
        await node.engine.close()
        await background.stop()


async def _delete_rest(node: Rooms) -> None:
    """Delete what an earlier process began to, or should have."""
    await node.services.library.resume()
    await node.disposal.resume()
    try:
        await node.services.importer.resume()
    except StorageError as error:
        logger.error("uploads_unknown", error=str(error))


def _certificate(config: Config) -> Certificate | None:
    """That of the control interface, None for plain HTTP. Raises CommandError."""
    if not config.api.certificate:
        return None
    try:
        return Certificate(config.api, Path(config.storage.spool), datetime.now(UTC))
    except ConfigError as error:
        raise CommandError(str(error)) from None


def _follow(node: Rooms, background: Background) -> None:
    """Start what runs for the life of the process."""
    books = node.books
    background.keep("catalog writer", books.writer.run)
    background.keep("directory", books.directory.watch)
    background.keep("users", books.users.watch)
    background.keep("keys", books.keys.watch)
    background.keep("courier", node.courier.run)
    background.keep("platforms", node.services.platforms.run)
    background.keep("retention", node.services.library.keep_retention)


def _settle_memory() -> None:
    """What is here now stays: looking through it again and again would make callers wait."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


async def _start(sip: SipServer, http: ApiServer) -> None:
    try:
        await sip.start()
        await http.start()
    except OSError as error:
        raise CommandError(f"cannot listen: {error}") from error


async def _open_books(books: Books) -> None:
    """Read the books; a database that is away does not keep us from recording and pausing."""
    for load in (books.directory.load, books.users.load, books.keys.load):
        try:
            await load()
        except StorageUnavailable as error:
            logger.error("database_unavailable", error=str(error))
        except StorageError as error:
            raise CommandError(f"[storage] database: {error}") from error
    await _first_key(books.keys)


async def _first_key(keys: ApiKeys) -> None:
    """Make a key if there is none at all, and show it."""
    with suppress(StorageUnavailable):
        if await keys.count() == 0:
            key = await keys.add("admin", "admin")
            click.echo(f"first start: admin API key, shown this once:\n{key}")


@dataclass(frozen=True, slots=True)
class _Stop:
    """How often we were asked to stop."""

    first: asyncio.Event
    second: asyncio.Event


def _signals() -> _Stop:
    stop = _Stop(asyncio.Event(), asyncio.Event())

    def asked() -> None:
        (stop.second if stop.first.is_set() else stop.first).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)
    return stop


async def _drain(drain_s: int, recorder: Recorder, sip: SipServer, stop: _Stop) -> None:
    """Let live calls end by themselves until the limit, then hang up."""
    recorder.accepting = False
    logger.info("draining", sessions=len(recorder.sessions()), limit_s=drain_s)
    await _until(lambda: not recorder.dialogs(), drain_s, stop)
    for dialog_id in recorder.dialogs():
        sip.hang_up(dialog_id)
        recorder.end(dialog_id, "drained")
    await _until(lambda: sip.idle, FAREWELL_S, stop)


async def _write_out(node: Rooms, stop: _Stop) -> None:
    """Wait until every file is whole and booked; what is not, the next start finishes."""
    await _until(lambda: not node.archive.unfinished, WRITE_OUT_S, stop)
    await _until(lambda: not node.services.dispatcher.unfinished, FAREWELL_S, stop)
    if await node.books.writer.drain(FAREWELL_S):
        await _until(lambda: node.archive.is_idle, FAREWELL_S, stop)
    await node.courier.drain(FAREWELL_S)
    with suppress(StorageError):
        await node.books.users.save()


async def _until(done: Any, limit_s: float, stop: _Stop) -> None:
    deadline = time.monotonic() + limit_s
    while not done() and time.monotonic() < deadline and not stop.second.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.second.wait(), 0.05)


async def _recover(_: Config, node: Rooms, background: Background) -> None:
    await _open_books(node.books)
    background.keep("catalog writer", node.books.writer.run)
    background.keep("courier", node.courier.run)
    leftovers = await node.archive.leftovers()
    click.echo(f"{len(leftovers)} unfinished recordings")
    node.archive.recover(leftovers)
    while node.archive.unfinished:
        click.echo(f"{len(node.archive.unfinished)} to go")
        await asyncio.sleep(1)
    await _delete_rest(node)
    if not await node.books.writer.drain(WRITE_OUT_S):
        raise CommandError("the database does not answer: try again when it does")
    await _until(lambda: node.archive.is_idle, WRITE_OUT_S, _Stop(asyncio.Event(), asyncio.Event()))
    await node.courier.drain(FAREWELL_S)
    await background.stop()
