"""Searches of a large catalogue: how long each criterion takes, for values few and many bear.

    python -m tests.bench.catalog [--rows 1000000] [--quick] [--postgres] [--write-docs]

Builds a catalogue of recordings as a busy site has them, of the rows that `Catalog.save` makes.
With `--postgres`, or where SRS_TEST_DATABASE_URL is set, on PostgreSQL as well. Nothing here fails.
"""

import argparse
import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import asyncpg
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalog import Catalog, attributes_of, row_of
from storage.database import Database
from storage.records import (
    AuditEntry,
    Extension,
    FileRecord,
    Participant,
    Recording,
    RecordingQuery,
    SiprecSession,
    StreamRecord,
    SupplementalFile,
)
from storage.tables import attributes, audit, counters, recordings
from tests.bench import machine
from tests.bench.__main__ import DOCUMENT, MARK
from tests.bench.report import Table
from tests.storage import postgres

ROWS = 1_000_000
TRANSACTION, BATCH = 50_000, 500
SEARCHES = 20
PAGE, LONG_PAGE = 50, 1000
AIM_MS, LONG_AIM_MS = 50, 500
BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
BETWEEN = timedelta(seconds=60)
BEGIN_MARK = "<!-- catalogue: written by `python -m tests.bench.catalog --write-docs` -->"
END_MARK = "<!-- end of catalogue -->"
NOTE = (
    f"{SEARCHES} searches each, records decoded. Aims: {AIM_MS} ms for a page of {PAGE}, "
    f"{LONG_AIM_MS} ms for one of {LONG_PAGE:,}. Few: another value each time; many: one value, "
    "from any time on."
)


def call(n: int) -> Recording:
    """The `n`-th recording, the same in each run. A third of all go to one number."""
    random = Random(n)
    at = BEGAN + n * BETWEEN
    busy = random.random() < 0.3
    dnis = "8675309" if busy else f"555{random.randrange(5000):04}"
    ani = f"4930{random.randrange(200_000):06}"
    account = random.choices((2, 3, 4, 5), (60, 30, 9.9, 0.1))[0]
    name, call_id, ucid = f"{n:032x}", f"{n:x}-{random.getrandbits(64):x}@sbc", f"00FA{n:016X}"
    realm = Extension("apkt:realm", (random.choice(("core", "peer", "access")),))
    return Recording(
        name,
        f"{random.getrandbits(128):032x}",
        call_id,
        "failed" if n % 1000 == 1 else "complete",
        at,
        account=account,
        route=account * 10 + n % 7,
        ended_at=at + timedelta(seconds=180),
        duration_ms=180_000,
        filename=f"{dnis}-{ucid}.wav",
        from_aor=f"sip:{ani}@carrier.example",
        to_aor=f"sip:{dnis}@pbx.example",
        ani=ani,
        dnis=dnis,
        ucid=ucid,
        egress_call_id=f"{random.getrandbits(64):x}@egress",
        realm=realm.values[0],
        third_party_id=f"screen-{n}" if n % 100 == 2 else "",
        agent_id=(agent := f"agent{random.randrange(2000)}"),
        owner=f"{agent}@pbx.example",
        local_party=dnis if n % 3 else ani,
        remote_party=ani if n % 3 else dnis,
        direction="incoming" if n % 3 else "outgoing",
        custom={"outcome": "sold" if busy else "none", "customer": f"c{random.randrange(500_000)}"},
        siprec_sessions=(
            SiprecSession(f"{n:022x}==", at, (Extension("apkt:ucid", (ucid,)), realm)),
        ),
        participants=(
            Participant("p1", f"sip:{ani}@carrier.example", "", calling=True),
            Participant("p2", f"sip:{dnis}@pbx.example", "Sales"),
        ),
        streams=tuple(
            StreamRecord(f"s{i}", str(i), i, "PCMU", f"p{i}", 9000, started_at=at) for i in (0, 1)
        ),
        files=(
            FileRecord("wav", f"{at:%Y-%m-%d/%H/%M}/{name}.wav", 2_880_044, "ab" * 32, 2, 8000),
            FileRecord("peaks", f"{at:%Y-%m-%d/%H/%M}/{name}.peaks.json", 9000, "cd" * 32),
        ),
        supplemental_files=(
            (SupplementalFile(1, "video", "v.mp4", FileRecord("mp4", f"{name}.mp4", 9, "ef" * 32)),)
            if n % 100 == 3
            else ()
        ),
        history=(AuditEntry(name, 1, at, "ann", "pause"),) if n % 10 == 0 else (),
    )


def searches(rows: int) -> dict[str, list[RecordingQuery]]:
    """What is searched for -> queries, each for another value or another place in time."""
    random = Random(rows)
    some = [call(n) for n in random.sample(range(rows), SEARCHES)]
    times = [BEGAN + random.uniform(0.05, 1) * rows * BETWEEN for _ in range(SEARCHES)]

    def each(field: str) -> list[RecordingQuery]:
        return [RecordingQuery(**{field: getattr(one, field)}) for one in some]

    def at_any_time(query: RecordingQuery) -> list[RecordingQuery]:
        return [query, *(replace(query, started_before=time) for time in times[1:])]

    rare = {
        name: each(name)
        for name in ("number", "call_id", "ucid", "session_id", "egress_call_id", "filename", "ani")
    }
    rare["number"] = [RecordingQuery(number=int(one.id, 16) + 1) for one in some]
    rare |= {
        "any_ucid": [RecordingQuery(any_ucid=one.call_id) for one in some],
        "siprec_session_id": [
            RecordingQuery(siprec_session_id=one.siprec_session_ids[0]) for one in some
        ],
        "third_party_id": [RecordingQuery(third_party_id=f"screen-{n}02") for n in range(SEARCHES)],
        "agent_id": each("agent_id"),
        "owner": each("owner"),
        "remote_party": each("remote_party"),
        "aor": [RecordingQuery(aor=one.from_aor) for one in some],
        "custom": [RecordingQuery(custom={"customer": one.custom["customer"]}) for one in some],
        "extensions": [RecordingQuery(extensions={"apkt:ucid": one.ucid}) for one in some],
        "dnis": [RecordingQuery(dnis=f"555{n:04}") for n in range(SEARCHES)],
        "nothing": [RecordingQuery(dnis=f"none{n}") for n in range(SEARCHES)],
    }
    busy = {
        "no criterion": RecordingQuery(),
        "dnis": RecordingQuery(dnis="8675309"),
        "aor": RecordingQuery(aor="sip:8675309@pbx.example"),
        "custom": RecordingQuery(custom={"outcome": "sold"}),
        "extensions": RecordingQuery(extensions={"apkt:realm": "core"}),
        "realm": RecordingQuery(realm="core"),
        "status": RecordingQuery(status="complete"),
        "status, rare": RecordingQuery(status="failed"),
        "accounts": RecordingQuery(accounts=frozenset({2})),
        "accounts, several": RecordingQuery(accounts=frozenset({2, 3, 5})),
        "routes": RecordingQuery(routes=frozenset({21})),
        "routes, several": RecordingQuery(routes=frozenset(range(20, 27))),
        "has_video": RecordingQuery(has_video=True),
        "has_video, no": RecordingQuery(has_video=False),
        "audio_only": RecordingQuery(audio_only=True),
        "audio_only, no": RecordingQuery(audio_only=False),
        "oldest first": RecordingQuery(oldest_first=True),
        "local_party": RecordingQuery(local_party="8675309"),
        "direction": RecordingQuery(direction="outgoing"),
        "several states": RecordingQuery(statuses=frozenset({"complete", "partial"})),
        "remote party contains": RecordingQuery(remote_party_contains="4930"),
        "page 10 by offset": RecordingQuery(offset=9 * PAGE),
        "account of few, dnis": RecordingQuery(accounts=frozenset({5}), dnis="8675309"),
        "account, dnis": RecordingQuery(accounts=frozenset({2}), dnis="8675309"),
        "account, custom": RecordingQuery(accounts=frozenset({3}), custom={"outcome": "sold"}),
        "dnis, custom": RecordingQuery(dnis="5550001", custom={"outcome": "none"}),
    }
    return {f"{name} (few)": found for name, found in rare.items()} | {
        f"{name} (many)": at_any_time(query) for name, query in busy.items()
    }


async def build(database: Database, rows: int) -> float:
    """Fill an empty catalogue; recordings per second."""
    began = time.perf_counter()
    for first in range(0, rows, TRANSACTION):
        last = min(first + TRANSACTION, rows)
        async with database.writing() as connection:
            if connection.dialect.name == "sqlite":
                await connection.exec_driver_sql("PRAGMA cache_size = -1000000")  # kB
            for n in range(first, last, BATCH):
                await _add(connection, range(n, min(n + BATCH, last)))
        rate = last / (time.perf_counter() - began)
        print(f"  {last:,} of {rows:,}, {rate:,.0f}/s", flush=True)
    async with database.writing() as connection:
        await connection.execute(update(counters).values(value=rows))
    return rows / (time.perf_counter() - began)


async def _add(connection: AsyncConnection, numbers: range) -> None:
    """Add some recordings, as `Catalog.save` would."""
    calls = [call(n) for n in numbers]
    made = [row_of(record, number) for number, record in enumerate(calls, numbers.start + 1)]
    named = [row for each in made for row in attributes_of(each)]
    written = [asdict(entry) for record in calls for entry in record.history]
    await connection.execute(insert(recordings), made)
    await connection.execute(insert(attributes), named)
    await connection.execute(insert(audit), written)


async def timed_ms(catalog: Catalog, queries: Sequence[RecordingQuery], limit: int) -> list[float]:
    """Milliseconds that each query takes, until its page is decoded."""
    took = []
    for query in queries:
        began = time.perf_counter()
        await catalog.find(replace(query, limit=limit))
        took.append(1000 * (time.perf_counter() - began))
    return took


async def measure(url: str, kind: str, rows: int) -> Table:
    """Build a catalogue at `url` and search it."""
    database = Database(url)
    await database.migrate()
    rate = await build(database, rows)
    await database.close()
    if url.startswith("postgresql:"):
        await _analyse(url)
    return await search(url, f"{kind}, {rows:,} recordings, built at {rate:,.0f}/s", rows)


async def _analyse(url: str) -> None:
    """What the server does by itself before long, and takes longer than `Database` waits."""
    connection = await asyncpg.connect(url)
    await connection.execute("ANALYZE")
    await connection.close()


async def search(url: str, title: str, rows: int) -> Table:
    """Search a catalogue of so many rows."""
    database = Database(url)
    catalog = Catalog(database)
    await catalog.find(RecordingQuery(limit=1))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as `siprecd serve` does
    lines = []
    for name, queries in searches(rows).items():
        short = await timed_ms(catalog, queries, PAGE)
        long = await timed_ms(catalog, queries, LONG_PAGE) if "(many)" in name else []
        lines.append((name, *_figures(short), *_figures(long)))
    lines += [(name, *_figures(took), "", "") for name, took in await _questions(catalog, rows)]
    await database.close()
    pages = (f"page of {PAGE}, median", "worst", f"{LONG_PAGE:,}, median", "worst")
    return Table(f"Searching the catalogue: {title}", ("searched for", *pages), tuple(lines), NOTE)


async def _questions(catalog: Catalog, rows: int) -> list[tuple[str, list[float]]]:
    """What others than people ask the catalogue."""
    end = BEGAN + rows * BETWEEN
    name = call(rows // 2).filename
    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "count": catalog.count,
        "count of a direction": lambda: catalog.count_of(RecordingQuery(direction="outgoing")),
        "count of what contains": lambda: catalog.count_of(
            RecordingQuery(remote_party_contains="12345")
        ),
        "owners": catalog.owners,
        "unfinished": lambda: catalog.unfinished(1),
        "deleting": lambda: catalog.deleting(1),
        "due": lambda: catalog.due(1, 2, 21, end),
        "is_taken": lambda: catalog.is_taken(name, BEGAN + rows // 2 * BETWEEN),
    }
    found = []
    for question, ask in asked.items():
        took = []
        for _ in range(5):
            began = time.perf_counter()
            await ask()
            took.append(1000 * (time.perf_counter() - began))
        found.append((question, took))
    return found


def _figures(took_ms: Sequence[float]) -> tuple[str, str]:
    if not took_ms:
        return "", ""
    return f"{statistics.median(took_ms):.1f} ms", f"{max(took_ms):.1f} ms"


@contextmanager
def _urls(folder: Path, with_postgres: bool) -> Iterator[dict[str, str]]:
    """Kind of database -> URL of an empty one."""
    urls = {"SQLite": f"sqlite:///{folder}/siprecd.db"}
    if not with_postgres:
        yield urls
        return
    name = f"siprecd_bench_{os.getpid()}"
    with (
        postgres.shared(name, folder / "lock") as server,
        postgres.copy(server, "template1", name) as url,
    ):
        yield urls | {"PostgreSQL": url}


def write_docs(tables: Sequence[Table], where: str, path: Path = DOCUMENT) -> None:
    """Put the tables between their marks in the document, above the other figures."""
    whole = path.read_text()
    head, begin, rest = whole.partition(BEGIN_MARK)
    if begin:
        tail = rest.partition(END_MARK)[2]
    else:
        head, mark, tail = whole.partition(MARK)
        tail = f"\n\n{mark}{tail}"
    measured = f"Measured {time.strftime('%Y-%m-%d')} on {where}."
    section = "\n\n".join([BEGIN_MARK, measured, *map(str, tables), END_MARK])
    path.write_text(head + section + tail)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Measure searches of a large catalogue.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--quick", action="store_true", help="20,000 recordings")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL as well")
    parser.add_argument("--write-docs", action="store_true", help=f"into {DOCUMENT.name}")
    options = parser.parse_args()
    rows = 20_000 if options.quick else options.rows
    where = machine.describe()
    print(where, flush=True)
    tables: list[Table] = []
    with (
        tempfile.TemporaryDirectory(prefix="siprecd-bench-") as folder,
        _urls(Path(folder), options.postgres or "SRS_TEST_DATABASE_URL" in os.environ) as urls,
    ):
        for kind, url in urls.items():
            print(f"{kind}: building", flush=True)
            tables.append(asyncio.run(measure(url, kind, rows)))
            print(f"\n{tables[-1]}\n", flush=True)
    if options.write_docs:
        write_docs(tables, where)


if __name__ == "__main__":
    main()
