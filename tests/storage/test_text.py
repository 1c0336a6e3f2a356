from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from storage.records import Mark, Participant, Recording
from storage.text import clean, plain
from tests.storage.recordings import T0, recording

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def test_a_clean_record_is_left_alone() -> None:
    record = recording()
    assert clean(record) is record


@given(ANY_TEXT)
def test_plain_text_is_utf8_and_changed_no_more_than_needed(text: str) -> None:
    stored = plain(text)
    stored.encode()
    assert len(stored) == len(text)
    assert all(new in (old, "?") for old, new in zip(text, stored, strict=True))


@given(ANY_TEXT)
def test_any_text_from_the_wire_can_be_stored(text: str) -> None:
    record = Recording("r", "s", text, "recording", T0, marks=(Mark(T0, text),))
    record = replace(record, participants=(Participant("p", text, text),), warnings=(text,))
    stored = clean(record)
    msgspec.json.encode(stored)
    assert stored.participants == (Participant("p", plain(text), plain(text)),)
    assert stored.marks == (Mark(T0, plain(text)),)
    assert stored.warnings == (plain(text),)
    assert stored.started_at == T0
