"""What somebody may search for: their query, narrowed to what exists for them, and what meets it.

Counterpart: `storage.search`, which asks the database the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from siprec.session import Actor
from storage.directory import Entries
from storage.entries import SYSTEM_ACCOUNT
from storage.records import Extension, InvalidQuery, Recording, RecordingQuery
from storage.tables import FOLDED, TEXTS, column_key
from storage.text import plain, without_scheme

Test = Callable[[Recording], bool]


def narrowed(query: RecordingQuery, actor: Actor, entries: Entries) -> RecordingQuery:
    """`query` for recordings `actor` may see; accounts or routes may be none at all then.

    Raises InvalidQuery for custom data and extension data the directory does not make searchable,
    and for custom fields other accounts have for themselves.
    """
    for name in query.custom:
        field = entries.custom_fields.get(name)
        mine = field and (not field.accounts or actor.account in {SYSTEM_ACCOUNT, *field.accounts})
        if not (field and mine and field.searchable):
            raise InvalidQuery(f"custom: {name} is not a custom field that can be searched for")
    for name in query.extensions:
        known = entries.metadata_types.get(name)
        if not (known and known.searchable):
            raise InvalidQuery(f"extension: {name} is not a name that can be searched for")
    accounts = None if actor.account == SYSTEM_ACCOUNT else frozenset({actor.account})
    return replace(
        query,
        accounts=_both(query.accounts, accounts),
        routes=_both(query.routes, actor.routes or None),
    )


def _both(one: frozenset[int] | None, other: frozenset[int] | None) -> frozenset[int] | None:
    """What is in both; None stands for everything."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def predicate(query: RecordingQuery) -> Test:
    """Whether a recording in memory meets `query`, as it would in the catalogue.

    Limit, offset, cursor and order aside. Built once, to be asked of many. Raises InvalidQuery for
    a time without a zone.
    """
    tests = [*_columns(query), *_parts(query), *_files(query), *_times(query)]
    return lambda row: all(test(row) for test in tests)


def _columns(query: RecordingQuery) -> Iterator[Test]:
    """What a recording has one of. Texts count as they are stored (`storage.text.plain`)."""
    for name in (*TEXTS, "status"):
        if (value := getattr(query, name)) is not None:
            yield _text(name, plain(value))
    if (statuses := query.statuses) is not None:
        known = frozenset(map(plain, statuses))
        yield lambda row: plain(row.status) in known
    if (part := query.remote_party_contains) is not None:
        within = plain(part).casefold()
        yield lambda row: within in column_key("remote_party", plain(row.remote_party))
    if (ucid := query.any_ucid) is not None:
        one, other = _text("ucid", plain(ucid)), _text("call_id", plain(ucid))
        yield lambda row: one(row) or other(row)
    if (number := query.number) is not None:
        yield lambda row: row.number == number != 0  # 0: the catalogue has given it none yet
    if (accounts := query.accounts) is not None:
        yield lambda row: row.account in accounts
    if (routes := query.routes) is not None:
        yield lambda row: row.route in routes


def _text(name: str, wanted: str) -> Test:
    if name in FOLDED:
        folded = wanted.casefold()
        return lambda row: plain(getattr(row, name)).casefold() == folded
    return lambda row: plain(getattr(row, name)) == wanted


def _parts(query: RecordingQuery) -> Iterator[Test]:
    """What a recording may have several of."""
    if (session_id := query.siprec_session_id) is not None:
        session = plain(session_id)
        yield lambda row: session in map(plain, row.siprec_session_ids)
    if (aor := query.aor) is not None:
        address = plain(without_scheme(aor))
        yield lambda row: address in _addresses(row)
    for name, value in query.extensions.items():
        yield _extension(plain(name), plain(value))
    for name, value in query.custom.items():
        yield _custom(plain(name), plain(value))


def _addresses(row: Recording) -> Iterator[str]:
    for aor in (row.from_aor, row.to_aor, *(party.aor for party in row.participants)):
        if aor:
            yield plain(without_scheme(aor))


def _extension(name: str, value: str) -> Test:
    return lambda row: any(
        plain(extension.name) == name and value in map(plain, extension.values)
        for extension in _extensions(row)
    )


def _extensions(row: Recording) -> Iterator[Extension]:
    for session in row.siprec_sessions:
        yield from session.extensions
    for party in row.participants:
        yield from party.extensions
    for stream in row.streams:
        yield from stream.extensions


def _custom(name: str, value: str) -> Test:
    def test(row: Recording) -> bool:
        # Of names that are one when they are stored, the last counts.
        values = [plain(data) for each, data in row.custom.items() if plain(each) == name]
        return values[-1:] == [value]

    return test


def _files(query: RecordingQuery) -> Iterator[Test]:
    if (has_video := query.has_video) is not None:
        yield lambda row: row.has_video == has_video
    if (audio_only := query.audio_only) is not None:
        yield lambda row: (not row.supplemental_files) == audio_only


def _times(query: RecordingQuery) -> Iterator[Test]:
    if (after := _aware("started_after", query.started_after)) is not None:
        yield lambda row: row.started_at >= after
    if (before := _aware("started_before", query.started_before)) is not None:
        yield lambda row: row.started_at < before
    if (ended_after := _aware("ended_after", query.ended_after)) is not None:
        yield lambda row: row.ended_at is not None and row.ended_at >= ended_after
    if (ended := _aware("ended_before", query.ended_before)) is not None:
        yield lambda row: row.ended_at is not None and row.ended_at < ended > row.started_at


def _aware(name: str, value: datetime | None) -> datetime | None:
    """Raises InvalidQuery."""
    if value is not None and value.utcoffset() is None:
        raise InvalidQuery(f"{name}: a time without a time zone")
    return value
