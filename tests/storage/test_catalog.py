import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, text

from storage import search
from storage.catalog import Catalog
from storage.database import Database
from storage.records import (
    AuditEntry,
    Extension,
    FileRecord,
    InvalidQuery,
    Page,
    Participant,
    Recording,
    RecordingQuery,
    SiprecSession,
    StorageError,
    StorageUnavailable,
    StreamRecord,
    SupplementalFile,
    UnknownRecording,
)
from storage.tables import TEXTS, attributes, audit
from storage.text import clean, index_key, without_scheme
from tests.storage.recordings import T0, recording

NAIVE = datetime(2026, 1, 1)
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


async def ids(catalog: Catalog, query: RecordingQuery) -> list[str]:
    """Every match, gathered page by page."""
    found: list[str] = []
    page = await catalog.find(query)
    found += [item.id for item in page.items]
    while page.next:
        page = await catalog.find(replace(query, cursor=page.next))
        assert page.items, "a cursor leads to more"
        found += [item.id for item in page.items]
    return found


async def test_what_is_saved_is_what_is_found(catalog: Catalog) -> None:
    await catalog.save(recording())
    assert await catalog.get("rec-0001") == recording()
    assert (await catalog.find(RecordingQuery())).items == (recording(),)


async def test_a_bare_record_is_saved_too(catalog: Catalog) -> None:
    bare = Recording("r", "s", "c", "recording", T0)
    assert await catalog.save(bare) == {"r": 1}
    assert await catalog.get("r") == replace(bare, number=1)


async def test_saving_again_replaces_all_of_it(catalog: Catalog) -> None:
    await catalog.save(recording())
    await catalog.save(recording())
    changed = replace(
        recording(status="complete", call_id="other", pauses=(), ended_at=None, reason=""),
        participants=(Participant("p3", "sip:cat@example.com"),),
    )
    await catalog.save(changed)
    assert await catalog.get("rec-0001") == changed
    assert await ids(catalog, RecordingQuery(aor="sip:ann@example.com")) == []


async def test_many_are_saved_at_once_or_not_at_all(catalog: Catalog) -> None:
    many = [recording(f"r{n}", n) for n in range(250)]
    await catalog.save(*many)
    assert await ids(catalog, RecordingQuery()) == [one.id for one in reversed(many)]
    broken = recording("broken", started_at=datetime(2026, 1, 1))
    with pytest.raises(StorageError):
        await catalog.save(recording("good"), broken)
    with pytest.raises(UnknownRecording):
        await catalog.get("good")


async def test_of_two_states_the_later_one_is_saved(catalog: Catalog) -> None:
    await catalog.save(recording(status="recording"), recording(status="complete"))
    assert (await catalog.get("rec-0001")).status == "complete"


async def test_times_of_any_zone_come_back_as_utc(catalog: Catalog) -> None:
    tokyo = timezone(timedelta(hours=9))
    await catalog.save(recording(started_at=T0.astimezone(tokyo)))
    found = (await catalog.get("rec-0001")).started_at
    assert found == T0
    assert found.tzinfo is UTC


async def test_history_only_grows(catalog: Catalog) -> None:
    await catalog.save(recording())
    first, second = recording().history
    third = AuditEntry("rec-0001", 3, T0, "bob", "stop", "done")
    await catalog.save(recording(history=(replace(first, actor="mallory"), second, third)))
    assert (await catalog.get("rec-0001")).history == (first, second, third)
    await catalog.save(recording(history=()))
    assert (await catalog.get("rec-0001")).history == (first, second, third)


async def test_history_outlives_the_recording(catalog: Catalog, database: Database) -> None:
    await catalog.save(recording())
    await catalog.delete("rec-0001")
    async with database.reading() as connection:
        actors = (await connection.scalars(select(audit.c.actor))).all()
    assert actors == ["ann", "ann"]


async def test_deleting_takes_one_recording_with_its_attributes(
    catalog: Catalog, database: Database
) -> None:
    await catalog.save(recording("a"), recording("b"))
    await catalog.delete("a")
    for act in (catalog.get, catalog.delete):
        with pytest.raises(UnknownRecording):
            await act("a")
    assert await ids(catalog, RecordingQuery()) == ["b"]
    async with database.reading() as connection:
        left = await connection.scalars(select(attributes.c.number).distinct())
    assert [*left] == [2]


@pytest.mark.parametrize("name", ["", "nobody", "a" * 5000, "a\x00", "\udcff", "'; DROP TABLE x"])
async def test_unknown_names_are_unknown(catalog: Catalog, name: str) -> None:
    with pytest.raises(UnknownRecording):
        await catalog.get(name)
    with pytest.raises(UnknownRecording):
        await catalog.delete(name)


async def test_text_no_database_takes_is_stored_readably(catalog: Catalog) -> None:
    await catalog.save(recording(from_aor="sip:\udcffann@example.com", call_id="\udcff"))
    assert (await catalog.get("rec-0001")).from_aor == "sip:?ann@example.com"
    assert await ids(catalog, RecordingQuery(call_id="\udcff")) == ["rec-0001"]


FEW = ("", "x", "y")
"""So few values that many recordings share them."""


def some_recording(random: Random, n: int) -> Recording:
    def one() -> str:
        return random.choice(FEW)

    def extensions() -> tuple[Extension, ...]:
        return (Extension(random.choice("pq"), (one(), one())),) if random.random() < 0.5 else ()

    video = SupplementalFile(1, random.choice(("video", "map")), "v", FileRecord("v", "v", 1, ""))
    texts: dict[str, Any] = {name: one() for name in TEXTS}
    return Recording(
        f"r{n:03}",
        status=random.choice(("recording", "complete")),
        started_at=T0 + timedelta(seconds=random.randrange(20)),
        account=random.randrange(1, 4),
        route=random.randrange(1, 4),
        **texts,
        from_aor=f"sip:{one()}",
        custom={name: one() for name in random.sample("pq", random.randrange(3))},
        ended_at=random.choice((None, T0 + timedelta(seconds=random.randrange(30)))),
        siprec_sessions=(SiprecSession(one(), None, extensions()),),
        participants=(
            Participant("p", random.choice(("sip:", "SIPS:", "")) + one(), "", extensions()),
        ),
        streams=(StreamRecord("s", "1", extensions=extensions()),),
        supplemental_files=(video,) if random.random() < 0.5 else (),
    )


def some_query(random: Random) -> RecordingQuery:
    def one() -> str:
        return random.choice(FEW)

    possible: dict[str, Any] = {
        **{name: one() for name in TEXTS},
        "number": random.randrange(60),
        "any_ucid": one(),
        "siprec_session_id": one(),
        "status": random.choice(("recording", "complete")),
        "aor": random.choice(("sip:x", "y", "sips:y")),
        "custom": {random.choice("pq"): one()},
        "extensions": {random.choice("pq"): one()},
        "accounts": frozenset(random.sample(range(4), random.randrange(4))),
        "routes": frozenset(random.sample(range(40), random.randrange(30))),
        "has_video": random.random() < 0.5,
        "audio_only": random.random() < 0.5,
        "started_after": T0 + timedelta(seconds=random.randrange(20)),
        "started_before": T0 + timedelta(seconds=random.randrange(20)),
        "ended_after": T0 + timedelta(seconds=random.randrange(30)),
        "ended_before": T0 + timedelta(seconds=random.randrange(30)),
        "statuses": frozenset(random.sample(("recording", "complete", "y"), random.randrange(4))),
        "remote_party_contains": random.choice(("", "X", "y", "xy")),
    }
    names = random.sample([*possible], random.randrange(4))
    query = RecordingQuery(**{name: possible[name] for name in names})
    return replace(query, limit=random.choice((5, 100)), oldest_first=random.random() < 0.5)


def matches(record: Recording, query: RecordingQuery) -> bool:
    """What a query means, said once more and without a database."""
    parts: list[Any] = [*record.siprec_sessions, *record.participants, *record.streams]
    said = {(e.name, value) for part in parts for e in part.extensions for value in e.values}
    aors = {record.from_aor, record.to_aor, *(party.aor for party in record.participants)}
    kinds = {file.kind for file in record.supplemental_files}
    wanted = (*TEXTS, "number", "status")
    return all(
        [
            *(getattr(query, name) in (None, getattr(record, name)) for name in wanted),
            query.any_ucid is None or query.any_ucid in (record.ucid, record.call_id),
            query.siprec_session_id in (None, *record.siprec_session_ids),
            query.aor is None or without_scheme(query.aor) in map(without_scheme, aors),
            query.custom.items() <= record.custom.items(),
            query.extensions.items() <= said,
            query.accounts is None or record.account in query.accounts,
            query.routes is None or record.route in query.routes,
            query.has_video in (None, "video" in kinds),
            query.audio_only in (None, not kinds),
            query.started_after is None or record.started_at >= query.started_after,
            query.started_before is None or record.started_at < query.started_before,
            query.ended_after is None or (record.ended_at or LONG_AGO) >= query.ended_after,
            query.ended_before is None
            or record.started_at < query.ended_before > (record.ended_at or query.ended_before),
            query.statuses is None or record.status in query.statuses,
            (query.remote_party_contains or "").lower() in record.remote_party,
        ]
    )


@pytest.mark.parametrize("seed", range(2))
async def test_what_matches_is_found_page_by_page_in_order(catalog: Catalog, seed: int) -> None:
    random = Random(seed)
    records = [some_recording(random, n) for n in range(60)]
    numbers = await catalog.save(*records)
    records = [replace(each, number=numbers[each.id]) for each in records]
    records.sort(key=lambda each: (each.started_at, each.number))
    sizes = set()
    for query in (some_query(random) for _ in range(40)):
        expected = [each.id for each in records if matches(each, query)]
        if not query.oldest_first:
            expected.reverse()
        assert await ids(catalog, query) == expected, query
        assert await catalog.count_of(query) == len(expected), query
        passed = await catalog.find(replace(query, offset=3))
        assert [row.id for row in passed.items] == expected[3:][: query.limit], query
        sizes.add(min(len(expected), 5))
    assert sizes >= {0, 1, 5}, "queries with few and with many answers were tried"


@pytest.mark.parametrize("query", [{"custom": {"p": "x"}}, {"dnis": "x"}, {}], ids=str)
async def test_the_criterion_that_fewest_meet_leads(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, query: dict[str, Any]
) -> None:
    led: list[object] = []
    page = search.page

    def noted(asked: RecordingQuery, criteria: Any, first: Any) -> Any:
        led.append(first and [*criteria].index(first))
        return page(asked, criteria, first)

    monkeypatch.setattr(search, "page", noted)
    await catalog.save(*(recording(f"r{n}", n, account=1, dnis="y", custom={}) for n in range(5)))
    await catalog.save(recording("z", account=1, dnis="x", custom={"p": "x"}))
    await catalog.find(RecordingQuery(accounts=frozenset({1}), **query))
    assert led == [0]
    await catalog.find(RecordingQuery(accounts=frozenset({2}), dnis="y"))
    assert led == [0, 1]
    await catalog.find(RecordingQuery())
    assert led == [0, 1, None]


@pytest.mark.parametrize(
    "query",
    [
        RecordingQuery(accounts=frozenset({2**31, 2**70, -1})),
        RecordingQuery(routes=frozenset({2**40})),
        RecordingQuery(routes=frozenset()),
        RecordingQuery(accounts=frozenset()),
        RecordingQuery(number=2**63),
        RecordingQuery(number=-(2**70)),
        RecordingQuery(has_video=True, audio_only=True),
    ],
)
async def test_what_no_recording_can_be_is_not_found(
    catalog: Catalog, query: RecordingQuery
) -> None:
    await catalog.save(recording())
    assert await ids(catalog, query) == []


HOSTILE = (
    "' OR '1'='1",
    "x'; DROP TABLE recordings; --",
    '" OR 1=1 --',
    "%",
    "_",
    "r*",
    "?",
    "$1",
    ":ids",
    "%(ids)s",
    "__[POSTCOMPILE_ids]",
    "\\'",
    "x') UNION SELECT * FROM api_keys --",
    "a\x00b",
    "\udcff",
    "𝒳" * 3000,
    "é",
    "e\u0301",
    " x ",
    "X",
)


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
async def test_values_and_names_are_never_read_as_anything_else(
    catalog: Catalog, value: str
) -> None:
    texts: dict[str, Any] = dict.fromkeys(TEXTS, value)
    extension = Extension(value, (value,))
    hostile = recording(
        "hostile",
        **texts,
        custom={value: value},
        participants=(Participant("p", value, value, (extension,)),),
        siprec_sessions=(SiprecSession(value),),
    )
    others: dict[str, Any] = dict.fromkeys(TEXTS, "other")
    plain_one = recording("plain", custom={"a": "x"}, **others)
    await catalog.save(hostile, plain_one)
    queries = [
        *(RecordingQuery(**{name: value}) for name in TEXTS),  # type: ignore[arg-type]
        RecordingQuery(remote_party_contains=value[:100]),
        RecordingQuery(any_ucid=value),
        RecordingQuery(siprec_session_id=value),
        RecordingQuery(aor=value),
        RecordingQuery(custom={value: value}),
        RecordingQuery(extensions={value: value}),
        RecordingQuery(dnis=value, custom={value: value}, accounts=frozenset({7})),
    ]
    for query in queries:
        assert await ids(catalog, query) == ["hostile"], query
    assert await ids(catalog, RecordingQuery(status=value)) == []
    assert await ids(catalog, RecordingQuery(custom={"a": value})) == []
    assert await ids(catalog, RecordingQuery(custom={value: "x"})) == []
    assert await catalog.get("hostile") == clean(hostile)
    assert await catalog.count() == 2


async def test_long_values_are_kept_whole_and_told_apart(catalog: Catalog) -> None:
    long = "x" * 60_000
    first = recording("a", call_id=f"{long}1", filename=f"{long}1", custom={f"{long}1": f"{long}1"})
    other = recording("b", call_id=f"{long}2", filename=f"{long}2", custom={f"{long}1": f"{long}2"})
    await catalog.save(first, replace(other, number=2))
    assert [await catalog.get("a"), await catalog.get("b")] == [first, replace(other, number=2)]
    assert await ids(catalog, RecordingQuery(call_id=f"{long}1")) == ["a"]
    assert await ids(catalog, RecordingQuery(custom={f"{long}1": f"{long}2"})) == ["b"]
    assert await ids(catalog, RecordingQuery(call_id=index_key(f"{long}1"))) == []
    assert await ids(catalog, RecordingQuery(custom={f"{long}2": f"{long}2"})) == []
    await catalog.save(replace(first, call_id="short"))
    assert (await catalog.get("a")).call_id == "short"


async def test_a_recording_with_thousands_of_attributes_is_saved(catalog: Catalog) -> None:
    values = tuple(f"value{n}" for n in range(5000))
    party = Participant("p", "sip:x", extensions=(Extension("apkt:header", values),))
    await catalog.save(recording(participants=(party,)))
    assert await ids(catalog, RecordingQuery(extensions={"apkt:header": "value4999"})) == [
        "rec-0001"
    ]


async def test_numbers_are_given_once_in_order_and_never_again(catalog: Catalog) -> None:
    first = await catalog.save(*(recording(f"r{n}", number=0) for n in range(3)))
    assert first == {"r0": 1, "r1": 2, "r2": 3}
    again = await catalog.save(recording("r3", number=0), recording("r1", number=77))
    assert again == {"r1": 2, "r3": 4}
    assert (await catalog.get("r1")).number == 2
    await catalog.delete("r3")
    assert await catalog.save(recording("r4"), recording("r3")) == {"r4": 5, "r3": 6}


async def test_a_save_that_fails_gives_no_number(catalog: Catalog) -> None:
    with pytest.raises(StorageError):
        await catalog.save(recording("broken", started_at=NAIVE))
    assert await catalog.save(recording("good")) == {"good": 1}


async def test_two_nodes_never_give_the_same_number(url: str) -> None:
    nodes = [Database(url) for _ in range(2)]
    await nodes[0].migrate()
    given: list[int] = []

    async def save(node: int) -> None:
        for n in range(20):
            numbers = await Catalog(nodes[node]).save(recording(f"{node}-{n}"))
            given.extend(numbers.values())

    async with asyncio.TaskGroup() as group:
        for node in range(2):
            group.create_task(save(node))
    assert sorted(given) == [*range(1, 41)]
    for database in nodes:
        await database.close()


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """What databases are asked, with the values."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


WRITES = ("INSERT", "UPDATE", "DELETE")


async def test_a_change_writes_what_changed_and_no_more(catalog: Catalog) -> None:
    await catalog.save(recording(history=()))
    with statements() as asked:
        await catalog.save(recording(history=()))
        assert not [sql for sql, _ in asked if sql.startswith(WRITES)]
        await catalog.save(recording(history=(), status="complete", duration_ms=1))
    (change,) = [sql for sql, _ in asked if sql.startswith(WRITES)]
    named = {word.partition("=")[0] for word in change.partition(" WHERE ")[0].split()}
    assert named >= {"status", "duration_ms"}
    assert not named & {"dnis", "streams", "number"}


async def test_attributes_follow_what_they_were_made_of(catalog: Catalog) -> None:
    await catalog.save(recording("a", custom={"p": "x"}), recording("b", custom={"p": "x"}))
    moved = recording("a", second=60, account=9, custom={"p": "x"})
    await catalog.save(moved)
    assert await ids(catalog, RecordingQuery(custom={"p": "x"})) == ["a", "b"]
    mine = RecordingQuery(custom={"p": "x"}, accounts=frozenset({9}))
    assert await ids(catalog, mine) == ["a"]
    await catalog.save(replace(moved, custom={}, streams=(), participants=(), siprec_sessions=()))
    assert await ids(catalog, RecordingQuery(custom={"p": "x"})) == ["b"]
    assert await ids(catalog, RecordingQuery(extensions={"apkt:realm": "peer1"})) == ["b"]


async def test_pages_neither_repeat_nor_skip_while_rows_come_and_go(catalog: Catalog) -> None:
    await catalog.save(*(recording(f"r{n:02}", second=n // 4) for n in range(20)))
    seen: list[str] = []
    page = await catalog.find(RecordingQuery(limit=3))
    seen += [item.id for item in page.items]
    for turn in range(20):
        if not page.next:
            break
        await catalog.save(recording(f"new{turn}", second=100 + turn))
        await catalog.delete(seen[-1])
        page = await catalog.find(RecordingQuery(limit=3, cursor=page.next))
        seen += [item.id for item in page.items]
    assert seen == [f"r{n:02}" for n in reversed(range(20))]


async def test_a_cursor_opens_no_time_that_was_not_asked_for(catalog: Catalog) -> None:
    await catalog.save(*(recording(f"r{n}", n) for n in range(6)))
    newest = await catalog.find(RecordingQuery(limit=1))
    before = RecordingQuery(cursor=newest.next, started_before=T0 + timedelta(seconds=2))
    assert await ids(catalog, before) == ["r1", "r0"]
    oldest = await catalog.find(RecordingQuery(limit=1, oldest_first=True))
    after = RecordingQuery(
        cursor=oldest.next, started_after=T0 + timedelta(seconds=4), oldest_first=True
    )
    assert await ids(catalog, after) == ["r4", "r5"]


async def test_a_last_full_page_has_no_cursor(catalog: Catalog) -> None:
    await catalog.save(*(recording(f"r{n}", n) for n in range(4)))
    page = await catalog.find(RecordingQuery(limit=2))
    assert page.next is not None
    page = await catalog.find(RecordingQuery(limit=2, cursor=page.next))
    assert [item.id for item in page.items] == ["r1", "r0"]
    assert page.next is None


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_limits_out_of_range(catalog: Catalog, limit: int) -> None:
    with pytest.raises(InvalidQuery, match=f"limit: {limit} is not in 1..1000"):
        await catalog.find(RecordingQuery(limit=limit))


@pytest.mark.parametrize(
    "query", [RecordingQuery(started_after=NAIVE), RecordingQuery(started_before=NAIVE)]
)
async def test_naive_times_are_refused(catalog: Catalog, query: RecordingQuery) -> None:
    with pytest.raises(InvalidQuery, match="a time without a time zone"):
        await catalog.find(query)


async def test_a_long_cursor_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InvalidQuery):
        await catalog.find(RecordingQuery(cursor="A" * 1_000_000))


async def test_unfinished(catalog: Catalog) -> None:
    states = ("recording", "processing", "complete", "partial", "failed")
    await catalog.save(*(recording(state, n, status=state) for n, state in enumerate(states)))
    assert [one.id for one in await catalog.unfinished(3)] == ["processing", "recording"]
    assert await catalog.unfinished(4) == []


async def test_a_change_is_made_to_what_is_stored_and_not_to_what_was_read(
    catalog: Catalog,
) -> None:
    await catalog.save(recording("r", note="first"))
    await catalog.save(recording("r", note="second", hold=True))
    changed = await catalog.change("r", lambda row: replace(row, agent_id="7"))
    found = await catalog.get("r")
    assert (found.note, found.hold, found.agent_id) == ("second", True, "7")
    assert changed.agent_id == "7" and found.number == changed.number


async def test_a_change_that_fails_changes_nothing(catalog: Catalog) -> None:
    await catalog.save(recording("r", note="first"))

    def refuse(row: Recording) -> Recording:
        raise InvalidQuery("no")

    with pytest.raises(InvalidQuery):
        await catalog.change("r", refuse)
    assert (await catalog.get("r")).note == "first"


async def test_what_was_deleted_does_not_come_back_by_a_change(catalog: Catalog) -> None:
    await catalog.save(recording("r"))
    await catalog.delete("r")
    with pytest.raises(UnknownRecording):
        await catalog.change("r", lambda row: replace(row, note="x"))
    assert await catalog.count() == 0


async def test_paused_calls(catalog: Catalog) -> None:
    early, late = T0 - timedelta(hours=2), T0 + timedelta(hours=2)
    await catalog.save(
        recording("ended-late", started_at=early, ended_at=late, paused_at_end=True),
        recording("ended-early", started_at=early, ended_at=early, paused_at_end=True),
        recording("never-ended", started_at=late, ended_at=None, paused_at_end=True),
        recording("ended-on-the-dot", ended_at=T0, paused_at_end=True),
        recording("not-paused", started_at=late, ended_at=late),
    )
    found = {one.id for one in await catalog.paused_calls(T0)}
    assert found == {"ended-late", "never-ended", "ended-on-the-dot"}


async def test_due_are_finished_recordings_that_may_go_oldest_first(catalog: Catalog) -> None:
    old: dict[str, Any] = {"account": 2, "route": 3, "status": "complete"}
    end = T0 + timedelta(seconds=100)
    await catalog.save(
        recording("late", 50, **old, ended_at=end - timedelta(microseconds=1)),
        recording("early", 60, **old, ended_at=end - timedelta(seconds=50)),
        recording(
            "failed", 60, **(old | {"status": "failed"}), ended_at=end - timedelta(seconds=40)
        ),
        recording("on the dot", 50, **old, ended_at=end),
        recording("held", **old, hold=True),
        recording("kept", **old, never_expire=True),
        recording("going", **old, deleting=True),
        recording("live", **(old | {"status": "recording"}), ended_at=None),
        recording("cut off", **(old | {"status": "processing"})),
        recording("endless", **old, ended_at=None),
        recording("other route", **(old | {"route": 4})),
        recording("other account", **(old | {"account": 3})),
        recording("other node", **old, node=4),
    )
    assert await catalog.due(3, 2, 3, end) == ["early", "failed", "late"]
    assert await catalog.due(3, 2, 3, end, limit=2) == ["early", "failed"]
    assert await catalog.due(3, 2, 5, end) == []
    assert await catalog.owners() == {(2, 3), (2, 4), (3, 3)}
    assert await catalog.count() == 13
    assert [one.id for one in await catalog.deleting(3)] == ["going"]


async def test_an_empty_catalogue(catalog: Catalog) -> None:
    assert await catalog.find(RecordingQuery(dnis="x", aor="y")) == Page((), None)
    assert await catalog.due(3, 1, 1, T0) == []
    assert await catalog.owners() == set()
    assert await catalog.count() == 0
    assert await catalog.deleting(3) == await catalog.unfinished(3) == []
    assert await catalog.save() == {}


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_questions_of_housekeeping_look_through_no_table(
    catalog: Catalog, database: Database, path: Path
) -> None:
    await catalog.count()
    with statements() as asked:
        await catalog.due(3, 1, 1, T0)
        await catalog.deleting(3)
        await catalog.unfinished(3)
        await catalog.paused_calls(T0)
        await catalog.is_taken("x", T0)
        await catalog.owners()
    with closing(sqlite3.connect(path)) as connection:
        for sql, values in asked:
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert "SCAN recordings" not in steps, sql
            assert not [step for step in steps if "TEMP B-TREE" in step], sql


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("call.wav", True),
        ("CALL.WAV", True),
        ("other.wav", False),
        ("call.wa", False),
        ("call_wav", False),
        ("Straße", True),
        ("STRASSE", True),
        ("e\u0301", True),
        ("x" * 3000, True),
        ("x" * 2999 + "y", False),
        ("", False),
    ],
    ids=ascii,
)
async def test_a_file_name_is_taken_within_its_minute(
    catalog: Catalog, name: str, taken: bool
) -> None:
    minute = T0.replace(second=0, microsecond=0)
    names = ("call.wav", "straße", "\u00e9", "x" * 3000)
    await catalog.save(
        *(recording(str(n), started_at=minute, filename=one) for n, one in enumerate(names)),
    )
    last = minute + timedelta(seconds=59, microseconds=999_999)
    assert await catalog.is_taken(name, minute) is taken
    assert await catalog.is_taken(name, last.astimezone(timezone(timedelta(hours=5)))) is taken
    assert not await catalog.is_taken(name, minute + timedelta(minutes=1))
    assert not await catalog.is_taken(name, minute - timedelta(microseconds=1))
    assert not await catalog.is_taken("call.wav", minute, but_id="0")


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No file may grow beyond what the write-ahead log has now."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = Path(f"{path}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


async def test_a_full_disk_is_unavailable_until_there_is_room(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    catalog = Catalog(database)
    await catalog.save(recording("a"))
    big = recording("b", number=2, reason="x" * 1_000_000)
    with full_disk(path):
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                await catalog.save(big)
        assert await catalog.get("a") == recording("a")
    await catalog.save(big)
    assert await catalog.get("b") == big
    await database.close()


async def test_damaged_rows_are_an_error_of_this_room(catalog: Catalog, database: Database) -> None:
    await catalog.save(recording())
    async with database.writing() as connection:
        await connection.execute(text("UPDATE recordings SET streams = '{'"))
    with pytest.raises(StorageError):
        await catalog.get("rec-0001")


async def test_readers_and_writers_do_not_disturb_each_other(url: str) -> None:
    database = Database(url)
    catalog = Catalog(database)
    await catalog.save(recording("r"))

    async def write(name: str) -> None:
        for n in range(10):
            await catalog.save(recording(name, duration_ms=n))

    async def read() -> None:
        for _ in range(10):
            assert (await catalog.get("r")).participants == recording("r").participants

    async with asyncio.TaskGroup() as group:
        for work in (write("r"), write("s"), read(), read()):
            group.create_task(work)
    assert (await catalog.get("s")).duration_ms == 9
    await database.close()
