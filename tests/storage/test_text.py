import unicodedata
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.records import Mark, Participant, Recording
from storage.text import (
    FILE_NAME_CHARACTERS,
    INDEX_OCTETS,
    SAFE_CHARACTERS,
    clean,
    file_name,
    index_key,
    plain,
    safe_file_name,
    without_scheme,
)
from tests.storage.recordings import T0, recording

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def test_a_clean_record_is_left_alone() -> None:
    record = recording()
    assert clean(record) is record


@given(ANY_TEXT)
@example("a\x00b")
def test_plain_text_is_storable_and_changed_no_more_than_needed(text: str) -> None:
    stored = plain(text)
    assert b"\x00" not in stored.encode()
    assert len(stored) == len(text)
    assert all(new in (old, "?") for old, new in zip(text, stored, strict=True))


@given(ANY_TEXT)
@example("\\u0000")
@example("\x00")
def test_any_text_from_the_wire_can_be_stored(text: str) -> None:
    record = Recording("r", "s", text, "recording", T0, marks=(Mark(T0, text),))
    record = replace(record, participants=(Participant("p", text, text),), warnings=(text,))
    stored = clean(replace(record, custom={text: text}))
    assert b"\\u0000" not in msgspec.json.encode(stored).replace(b"\\\\", b"")
    assert stored.participants == (Participant("p", plain(text), plain(text)),)
    assert stored.marks == (Mark(T0, plain(text)),)
    assert stored.warnings == (plain(text),)
    assert stored.custom == {plain(text): plain(text)}
    assert stored.started_at == T0


LONG = st.builds(lambda text, times: text * times, ANY_TEXT, st.integers(1, 600))


@given(LONG)
@example("x" * INDEX_OCTETS)
@example("x" * (INDEX_OCTETS + 1))
@example("ü" * 257)
def test_an_index_key_is_the_text_or_short_enough(text: str) -> None:
    key = index_key(plain(text))
    assert len(key.encode()) <= INDEX_OCTETS + 65
    assert (key == plain(text)) == (len(plain(text).encode()) <= INDEX_OCTETS)


@given(LONG, LONG)
@example("x" * 600, "x" * 601)
@example("x" * 600, index_key("x" * 600))
def test_texts_with_the_same_index_key_are_the_same(one: str, other: str) -> None:
    assert (index_key(plain(one)) == index_key(plain(other))) == (plain(one) == plain(other))


@pytest.mark.parametrize(
    ("aor", "rest"),
    [
        ("sip:ann@example.com", "ann@example.com"),
        ("SIPS:Ann@Example.com", "Ann@Example.com"),
        ("ann@example.com", "ann@example.com"),
        ("tel:+49301234", "tel:+49301234"),
        ("sip:sip:ann", "sip:ann"),
        ("sip", "sip"),
        ("sip:", ""),
        ("", ""),
    ],
)
def test_an_address_without_its_scheme(aor: str, rest: str) -> None:
    assert without_scheme(aor) == rest


GOOD = [
    "call.wav",
    "8675309-00FA080018803B69810C6D.wav",
    "Anruf von Müller (2).wav",
    "100% sure.wav",
    "a..b",
    "a;b",
    "日本語.wav",
    "x" * FILE_NAME_CHARACTERS,
    "console.wav",
    "com10",
    "%zz.wav",
]


@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_good_file_names_are_taken(name: str) -> None:
    assert file_name(name) == name


def test_a_file_name_is_composed() -> None:
    assert file_name("Mu\u0308ller.wav") == "M\u00fcller.wav"


BAD = {
    "": "must not be empty",
    "   ": "must not be empty",
    "x" * (FILE_NAME_CHARACTERS + 1): "has at most 200 characters",
    "../x": "must not hold `/` or `\\`",
    "/etc/passwd": "must not hold",
    "..\\x": "must not hold",
    "a\x00.wav": "cannot be stored",
    "a\udcff.wav": "cannot be stored",
    "a\nb": "control characters",
    "a\rb": "control characters",
    "a\x1b[31mb": "control characters",
    "a\x7fb": "control characters",
    "a\u2028b": "control characters",
    "a\u202egpj.exe": "control characters",
    "a\u200bb": "control characters",
    "\ufeffa": "control characters",
    ".": "must not begin",
    "..": "must not begin",
    ".hidden": "must not begin",
    "-i": "must not begin",
    "~": "must not begin",
    "~root": "must not begin",
    " a": "must not begin",
    "a.": "must not end",
    "a ": "must not end",
    "a\u3000": "must not end",
    "\uff0e\uff0e\uff0f": "must not hold",
    "a\uff0fb": "must not hold",
    "a\uff3cb": "must not hold",
    "\uff0e\uff0e": "must not begin",
    "\u2025": "must not begin",
    "\u2100": "must not hold",
    "..%2fx": "must not",
    "a..%2f..%2fx": "must not hold",
    "a%2Fb": "must not hold",
    "a%5cb": "must not hold",
    "%2e%2e": "must not begin",
    "%252e%252e": "must not begin",
    "a%25252fb": "must not hold",
    "a%00.wav": "control characters",
    "a%0d%0aSet-Cookie: x": "control characters",
    "a%ef%bc%8fb": "must not hold",
    "a\uff052fb": "must not hold",
    "con": "device",
    "CON.wav": "device",
    "nul.txt": "device",
    "Com1": "device",
    "lpt9.x": "device",
    "\uff43on": "device",
}


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_bad_file_names_are_refused_with_a_reason(name: str) -> None:
    with pytest.raises(ValueError, match="a file name") as caught:
        file_name(name)
    assert BAD[name] in str(caught.value)
    assert name not in str(caught.value) or len(name) < 3, "what was sent is not sent back"


TRICKY = st.text(
    st.sampled_from(
        "ab./\\~- %25eEfFcC0\x00\n:con\uff0e\uff0f\uff3c\uff05\u2025\u2100é\u0301\udcff"
    )
)


@given(ANY_TEXT | TRICKY)
def test_a_name_that_is_taken_names_one_file_in_its_folder(text: str) -> None:
    try:
        name = file_name(text)
    except ValueError:
        return
    folder = Path("/recordings")
    for form in (name, unicodedata.normalize("NFKC", name)):
        assert (folder / form).parts == ("/", "recordings", form)
        assert not form.startswith((".", "-", "~")) and form.isprintable()
    assert file_name(name) == name
    assert len(name) <= FILE_NAME_CHARACTERS


@given(ANY_TEXT | TRICKY | LONG)
@example("con.wav")
@example("." * 300)
@example("%252e%252e%252f")
@example("x" * 149 + ".wav")
@example("_" * 200)
@example("\u2025")
def test_a_safe_file_name_can_be_made_of_anything(text: str) -> None:
    name = safe_file_name(text)
    assert file_name(name) == name
    assert 1 <= len(name) <= SAFE_CHARACTERS
    assert safe_file_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a84b4c76e66710@10.1.2.3", "a84b4c76e66710@10.1.2.3"),
        ("sip:ann@example.com;tag=7", "sip_ann@example.com_tag=7"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("Müller", "Müller"),
        ("a b\tc", "a_b_c"),
        ("", "_"),
    ],
)
def test_a_safe_file_name_is_like_its_text(text: str, name: str) -> None:
    assert safe_file_name(text) == name


def test_a_long_name_is_refused_before_it_is_looked_into() -> None:
    with pytest.raises(ValueError, match="at most 200 characters"):
        file_name("%" + "25" * 1_000_000)
