"""What somebody may search for: their query, narrowed to what exists for them."""

from dataclasses import replace

from siprec.session import Actor
from storage.directory import Entries
from storage.entries import SYSTEM_ACCOUNT
from storage.records import InvalidQuery, RecordingQuery


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
