"""What somebody may search for, and that it is found in memory as it is in the catalogue."""

import asyncio
import shutil
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from siprec.criteria import narrowed, predicate
from siprec.session import Actor
from storage.catalog import Catalog
from storage.database import Database
from storage.directory import INITIAL
from storage.entries import CustomField, MetadataType
from storage.records import (
    Extension,
    FileRecord,
    InvalidQuery,
    Participant,
    Recording,
    RecordingQuery,
    SiprecSession,
    StreamRecord,
    SupplementalFile,
)

ENTRIES = replace(
    INITIAL,
    custom_fields={
        "case": CustomField("case"),
        "ticket": CustomField("ticket", [100, 200]),
        "remark": CustomField("remark", searchable=False),
    },
    metadata_types={
        "apkt:realm": MetadataType("apkt:realm"),
        "apkt:secret": MetadataType("apkt:secret", searchable=False),
    },
)
EVERYTHING = Actor("root")
HOSTILE = (
    "",
    "Case",
    "case' OR 1=1 --",
    "$.case",
    "custom:case",
    "case\0",
    "%",
    "_ase",
    "c" * 9999,
)


@pytest.mark.parametrize(
    ("account", "routes", "asked", "found"),
    [
        (1, (), (None, None), (None, None)),
        (1, (), ({100}, {7}), ({100}, {7})),
        (1, (7,), (None, None), (None, {7})),
        (100, (), (None, None), ({100}, None)),
        (100, (), ({100, 200}, None), ({100}, None)),
        (100, (), ({200}, None), (set(), None)),
        (100, (7, 8), (None, None), ({100}, {7, 8})),
        (100, (7, 8), (None, {8, 9}), ({100}, {8})),
        (100, (7,), (None, {9}), ({100}, set())),
    ],
)
def test_a_query_is_narrowed_to_what_one_may_see(
    account: int, routes: tuple[int, ...], asked: Any, found: Any
) -> None:
    actor = Actor("ann", account=account, routes=frozenset(routes))
    accounts, over = (None if each is None else frozenset(each) for each in asked)
    query = RecordingQuery(accounts=accounts, routes=over, ani="1", limit=7)
    result = narrowed(query, actor, ENTRIES)
    assert (result.accounts, result.routes) == found
    assert replace(result, accounts=accounts, routes=over) == query


@pytest.mark.parametrize(
    ("account", "name", "fine"),
    [
        (100, "case", True),
        (1, "case", True),
        (100, "ticket", True),
        (300, "ticket", False),
        (1, "ticket", True),
        (1, "remark", False),
        *((1, name, False) for name in HOSTILE),
    ],
)
def test_custom_data_that_can_be_searched_for(account: int, name: str, fine: bool) -> None:
    query = RecordingQuery(custom={name: "x"})
    actor = Actor("ann", account=account)
    if fine:
        assert narrowed(query, actor, ENTRIES).custom == {name: "x"}
    else:
        with pytest.raises(InvalidQuery, match="custom"):
            narrowed(query, actor, ENTRIES)


@pytest.mark.parametrize("name", ["apkt:secret", "apkt:REALM", *HOSTILE])
def test_extension_data_that_cannot_be_searched_for(name: str) -> None:
    with pytest.raises(InvalidQuery, match="extension"):
        narrowed(RecordingQuery(extensions={name: "x"}), EVERYTHING, ENTRIES)


def test_extension_data_that_can_be_searched_for() -> None:
    query = RecordingQuery(extensions={"apkt:realm": "' OR 1=1 --"})
    assert narrowed(query, EVERYTHING, ENTRIES) == query


# in memory as in the catalogue

T0 = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
LONG = "x" * 511 + "\U0001f4b3"
TEXTS = (
    "",
    "a",
    "A",
    "a?",
    "a\0",
    "a\ud800",
    "\U0001f4b3",
    LONG,
    LONG + "1",
    LONG + "2",
    "?" * 513,
)
AORS = (
    *TEXTS,
    "sip:a",
    "SIPS:a",
    "sips:A",
    "tel:a",
    "sip:",
    "sip:sip:a",
    f"sip:{LONG}1",
    "sip:a\0",
)
texts, aors = st.sampled_from(TEXTS), st.sampled_from(AORS)
times = st.builds(
    lambda step, hours: (T0 + timedelta(microseconds=step)).astimezone(
        timezone(timedelta(hours=hours))
    ),
    st.integers(-1, 1),
    st.sampled_from([0, 5]),
)
numbers = st.sampled_from([1, 2, 2**31 - 1])
extensions = st.lists(
    st.builds(Extension, texts, st.lists(texts, max_size=2).map(tuple)), max_size=1
).map(tuple)
MP4 = FileRecord("mp4", "x.mp4", 1, "")
COLUMNS = (
    *("session_id", "call_id", "status", "ucid", "egress_call_id", "third_party_id", "ani", "dnis"),
    *("filename", "agent_id", "realm", "owner", "local_party", "remote_party", "direction"),
)


def few(values: SearchStrategy[Any]) -> SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, max_size=2).map(tuple)


def _recording(found: dict[str, Any]) -> Recording:
    return Recording(id="", **found)


recordings = st.fixed_dictionaries(
    {
        **dict.fromkeys(COLUMNS, texts),
        "from_aor": aors,
        "to_aor": aors,
        "started_at": times,
        "ended_at": st.none() | times,
        "account": numbers,
        "route": numbers,
        "custom": st.dictionaries(texts, texts, max_size=2),
        "siprec_sessions": few(st.builds(SiprecSession, texts, st.none(), extensions)),
        "participants": few(
            st.builds(lambda aor, more: Participant("p", aor, extensions=more), aors, extensions)
        ),
        "streams": few(st.builds(lambda more: StreamRecord("s", "1", extensions=more), extensions)),
        "supplemental_files": few(
            st.sampled_from(["video", "screen"]).map(
                lambda kind: SupplementalFile(1, kind, "x.mp4", MP4)
            )
        ),
    }
).map(_recording)
which = st.frozensets(st.sampled_from([-1, 0, 1, 2, 2**31 - 1, 2**31, 2**70]), max_size=3)
"""Of accounts and routes."""
CRITERIA: dict[str, SearchStrategy[Any]] = {
    **dict.fromkeys((*COLUMNS, "any_ucid", "siprec_session_id"), texts),
    "number": st.sampled_from([-1, 0, 1, 2, 2**63, 2**70]),
    "aor": aors,
    "accounts": which,
    "routes": which,
    "custom": st.dictionaries(texts, texts, min_size=1, max_size=2),
    "extensions": st.dictionaries(texts, texts, min_size=1, max_size=2),
    "has_video": st.booleans(),
    "audio_only": st.booleans(),
    "started_after": times,
    "started_before": times,
    "ended_after": times,
    "ended_before": times,
    "statuses": st.frozensets(texts, max_size=2),
    "remote_party_contains": st.sampled_from(
        (*TEXTS, "%", "_", "\\", "/", "X", "xxx\U0001f4b3 ", "x" * 513, "y" * 99_999)
    ),
}
asked = st.lists(st.sampled_from([*CRITERIA]), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: CRITERIA[name] for name in names})
)


def test_every_criterion_is_drawn() -> None:
    known = {each.name for each in fields(RecordingQuery)}
    assert {*CRITERIA} == known - {"limit", "cursor", "offset", "oldest_first"}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all its tables and no rows."""
    path = tmp_path_factory.mktemp("books") / "empty.db"

    async def create() -> None:
        database = Database(f"sqlite:///{path}")
        await database.migrate()
        await database.close()

    asyncio.run(create())
    return path


async def stored(path: Path, rows: list[Recording], queries: list[RecordingQuery]) -> list[Any]:
    """The rows with their numbers; and by query the ids that the catalogue finds."""
    database = Database(f"sqlite:///{path}")
    catalog = Catalog(database)
    given = await catalog.save(*rows)
    found = [{row.id for row in (await catalog.find(query)).items} for query in queries]
    await database.close()
    return [[replace(row, number=given[row.id]) for row in rows], found]


@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.lists(recordings, min_size=4, max_size=4), st.lists(asked, min_size=30, max_size=30))
def test_memory_and_catalogue_find_the_same(
    empty: Path, rows: list[Recording], asked: list[dict[str, Any]]
) -> None:
    path = empty.with_name("books.db")
    shutil.copyfile(empty, path)
    named = [replace(row, id=f"r{n}") for n, row in enumerate(rows)]
    queries = [RecordingQuery(**each) for each in asked]
    numbered, expected = asyncio.run(stored(path, named, queries))
    for query, ids in zip(queries, expected, strict=True):
        matches = predicate(query)
        assert {row.id for row in numbered if matches(row)} == ids, query


FULL = Recording(
    "r1",
    "ses",
    "ingress",
    "complete",
    T0,
    number=7,
    account=100,
    route=17,
    filename="F.wav",
    from_aor="sip:src@x",
    to_aor="tel:1",
    ani="1",
    dnis="2",
    ucid="U",
    egress_call_id="egress",
    realm="peer",
    third_party_id="scr",
    agent_id="007",
    local_party="Ann",
    remote_party="+39 0%2_Büro",
    direction="incoming",
    ended_at=T0 + timedelta(seconds=1),
    custom={"case": "4711", "a\0": "first", "a?": "last"},
    siprec_sessions=(SiprecSession("sps", T0, (Extension("on", ("session", "both")),)),),
    participants=(
        Participant("p", "sips:Ann@x", extensions=(Extension("on", ("party",)),)),
        Participant("q"),
    ),
    streams=(StreamRecord("s", "1", extensions=(Extension("on", ("stream",)),)),),
    supplemental_files=(SupplementalFile(1, "screen", "x", MP4),),
)


@pytest.mark.parametrize(
    ("criterion", "met", "missed"),
    [
        ("number", [7], [0, 8]),
        ("status", ["complete"], ["Complete", ""]),
        ("statuses", [{"complete"}, {"failed", "complete"}], [set(), {"Complete"}]),
        ("local_party", ["Ann", "aNN"], ["An", ""]),
        ("remote_party", ["+39 0%2_büro"], ["+39"]),
        ("remote_party_contains", ["+39", "0%2_b", "BÜRO", ""], ["39%", "+39_", "0%%2", "buro"]),
        ("direction", ["incoming"], ["Incoming", "outgoing", ""]),
        ("ended_after", [T0, T0 + timedelta(seconds=1)], [T0 + timedelta(seconds=2)]),
        ("ended_before", [T0 + timedelta(seconds=2)], [T0, T0 + timedelta(seconds=1)]),
        ("any_ucid", ["U", "ingress"], ["egress", "u", ""]),
        ("filename", ["F.wav"], ["f.wav", "F%", "F.wav "]),
        ("aor", ["src@x", "SIP:src@x", "tel:1", "sip:Ann@x"], ["1", "ann@x", "tel:src@x", ""]),
        ("siprec_session_id", ["sps"], ["ses", ""]),
        ("accounts", [{100}, {1, 100}], [set(), {1}]),
        ("routes", [{17}], [set(), {100}]),
        (
            "custom",
            [{"case": "4711"}, {"a?": "last"}, {"a\0": "last"}],
            [{"a?": "first"}, {"b": ""}],
        ),
        ("custom", [{}], [{"case": "4711", "b": ""}, {"Case": "4711"}, {"case": "471"}]),
        ("extensions", [{"on": each} for each in ("session", "both", "party", "stream")], []),
        ("extensions", [], [{"on": "x"}, {"On": "both"}, {"on": "both", "off": ""}]),
        ("has_video", [False], [True]),
        ("audio_only", [False], [True]),
        ("started_after", [T0], [T0 + timedelta(microseconds=1)]),
        ("started_before", [T0 + timedelta(microseconds=1)], [T0]),
    ],
)
def test_what_meets_a_criterion(criterion: str, met: list[Any], missed: list[Any]) -> None:
    for values, expected in ((met, True), (missed, False)):
        for value in values:
            wanted: Any = frozenset(value) if isinstance(value, set) else value
            query = replace(RecordingQuery(), **{criterion: wanted})
            assert predicate(query)(FULL) is expected, value


@pytest.mark.parametrize("name", ["ended_after", "ended_before"])
def test_what_has_not_ended_ended_neither_after_nor_before_anything(name: str) -> None:
    asked: Any = {name: T0 + timedelta(days=1 if name == "ended_before" else -1)}
    assert predicate(RecordingQuery(**asked))(FULL)
    assert not predicate(RecordingQuery(**asked))(replace(FULL, ended_at=None))


def test_what_has_no_number_yet_is_not_found_by_one() -> None:
    assert not predicate(RecordingQuery(number=0))(replace(FULL, number=0))


@pytest.mark.parametrize("name", ["started_after", "started_before", "ended_after", "ended_before"])
def test_a_time_without_a_zone_asks_for_nothing(name: str) -> None:
    naive: Any = datetime(2026, 1, 1)
    with pytest.raises(InvalidQuery, match=name):
        predicate(replace(RecordingQuery(), **{name: naive}))
