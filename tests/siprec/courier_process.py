"""A process that queues and delivers until it is killed; prints the event ids whose put returned.

Arguments: the outbox file, the receiver's URL, the first number, how many.
"""

import asyncio
import sys
from datetime import UTC, datetime

import structlog

from config.schema import Notify
from siprec.courier import Courier
from siprec.outbound import Outbound
from storage.database import Database
from storage.directory import Directory, Entries
from storage.outbox import Notification, Outbox
from storage.tables import OUTBOX_SCHEMA


class Known(Directory):
    """A directory that was read and knows no destinations: only policies send."""

    entries = Entries({}, {})


async def main(path: str, url: str, first: int, count: int) -> None:
    """Queue `count` notifications in five lanes, then wait until all are delivered."""
    database = Database(f"sqlite:///{path}", OUTBOX_SCHEMA)
    outbox, outbound = Outbox(database), Outbound(Notify(allow=["127.0.0.0/8"]))
    courier = Courier(outbox, Known(database), Notify(), outbound)
    async with asyncio.TaskGroup() as group:
        group.create_task(courier.run(), name="courier")
        for number in range(first, first + count):
            lane, at = f"call-{number % 5}", datetime.now(UTC)
            await courier.put(
                [Notification(f"{number:06}", "policy crm", lane, at, "GET", f"{url}/{lane}")]
            )
            print(f"{number:06}", flush=True)
        while await outbox.count("pending"):
            await asyncio.sleep(0.05)
        print("done", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
