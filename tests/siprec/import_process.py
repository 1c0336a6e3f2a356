"""A process that takes an upload and is killed on the way.

Arguments: its folder, a migrated database, the audio file, and where it dies: `draft`, `one file`,
`booked` or `answered`.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from siprec.session import Actor
from tests.siprec.shelves import shelf
from tests.siprec.test_importer import GIULIANO, importer, upload


def die(*_: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: Path, migrated: Path, audio: bytes, point: str) -> None:
    """Take it, as far as that goes."""
    async with shelf(folder, migrated) as books:
        await books.directory.put(GIULIANO)
        door = importer(books)
        put, calls = books.blobs.put, iter(range(9))
        if point == "one file":
            books.blobs.put = lambda *args: die() if next(calls) else put(*args)  # type: ignore
        elif point == "booked":
            door._tidy = die  # type: ignore
        with door.draft() as draft:
            await draft.write(audio)
            if point == "draft":
                die()
            row = await door.take(upload(), draft.path, Actor("ann@shop.example"))
            print(row.id, flush=True)
            die()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    _, folder, migrated, audio, point = sys.argv
    asyncio.run(main(Path(folder), Path(migrated), Path(audio).read_bytes(), point))
