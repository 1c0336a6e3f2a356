"""What the body of a FACE command changes."""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.oracle_face import wire
from api.oracle_face.codes import Refusal
from api.oracle_face.criteria import RESERVED
from api.oracle_face.updates import FORM_FIELDS, Update, parse, parse_form
from siprec.logbook import TEXT_CHARACTERS, Changes
from storage.text import FILE_NAME_CHARACTERS, SAFE_CHARACTERS, file_name
from tests.storage.recordings import recording

CUSTOM = frozenset({"case", "Ticket no", "apkt:note"})
EXTENSIONS = frozenset({"apkt:realm", "agentId", "case", "maxListLength"})


def update(**body: str) -> Update:
    return parse(body, CUSTOM, EXTENSIONS)


def refused(body: Mapping[str, str], custom: frozenset[str] = CUSTOM) -> str:
    """What is said of a body that must be refused."""
    with pytest.raises(Refusal) as caught:
        parse(body, custom, EXTENSIONS)
    return f"{caught.value.code} {caught.value}"


# forms


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"filename=startstoptest.wav", {"filename": "startstoptest.wav"}),
        (b"a=1&b=2&a=3", {"a": "3", "b": "2"}),
        (b"a=&b&=c", {"a": "", "b": "", "": "c"}),
        (b"a=1+2%2B3%26%3D%C3%BC", {"a": "1 2+3&=ü"}),
        ("Ticket+no=Mü%C3%BC=".encode(), {"Ticket no": "Müü="}),
        (b"a=100%&b=%zz", {"a": "100%", "b": "%zz"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"a=%00", {"a": "\0"}),
    ],
)
def test_a_form(body: bytes, fields: dict[str, str]) -> None:
    assert parse_form(body) == fields


@pytest.mark.parametrize(
    "body", [b"a=\xff", b"a=%FF", b"\xe4=1", b"%C3=1", b"a=%ED%A0%80", b"a=%C0%AF"]
)
def test_a_form_that_is_not_utf8(body: bytes) -> None:
    with pytest.raises(Refusal, match=r"^Invalid Parameter - body$"):
        parse_form(body)


def test_a_form_has_so_many_fields_at_most() -> None:
    most = "&".join(f"a{number}=" for number in range(FORM_FIELDS)).encode()
    assert len(parse_form(most)) == FORM_FIELDS
    with pytest.raises(Refusal, match=r"^Invalid Parameter - body$"):
        parse_form(most + b"&b=")


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_a_form_says_what_was_put_into_it(fields: dict[str, str]) -> None:
    assert parse_form(urlencode(fields).encode()) == fields


@given(st.binary())
@example(b"%" * 5000)
def test_any_octets_are_a_form_or_refused(body: bytes) -> None:
    try:
        fields = parse_form(body)
    except Refusal:
        return
    assert len(fields) <= body.count(b"&") + 1


# what can be changed


def test_everything_at_once() -> None:
    body = {
        "filename": "a call.wav",
        "agentId": "007",
        "agentTerminal": "",
        "sensitive": "true",
        "setNeverExpire": "0",
        "case": "",
        "Ticket no": "' OR 1=1 --",
        "nobody knows": "me",
    }
    wanted = Update(
        "a call.wav",
        "a call.wav",
        "007",
        "",
        True,
        False,
        {"case": "", "Ticket no": "' OR 1=1 --"},
    )
    assert parse(body, CUSTOM) == wanted
    assert wanted.changes({"case", "other"}) == Changes(
        agent_id="007",
        agent_terminal="",
        sensitive=True,
        never_expire=False,
        custom={"case": ""},
    )
    assert not wanted.is_empty


def test_what_is_not_named_stays() -> None:
    assert update().changes(CUSTOM) == Changes()
    assert update(agentTerminal="T1").changes(CUSTOM) == Changes(agent_terminal="T1")
    assert update(setNeverExpire="true").changes(CUSTOM) == Changes(never_expire=True)


@pytest.mark.parametrize(
    ("body", "is_empty"),
    [
        ({}, True),
        ({"unknown": "x", "Case": "x", "AgentId": "x", "token": "x"}, True),
        ({"maxListLength": "x", "format": "x", "fillWithSilence": "x"}, True),
        ({"filename": "x"}, False),
        ({"agentId": ""}, False),
        ({"agentTerminal": "x"}, False),
        ({"sensitive": "false"}, False),
        ({"setNeverExpire": "0"}, False),
        ({"case": ""}, False),
    ],
)
def test_whether_anything_is_to_be_changed(body: Mapping[str, str], is_empty: bool) -> None:
    assert parse(body, CUSTOM, EXTENSIONS).is_empty == is_empty


@pytest.mark.parametrize("name", ["sensitive", "setNeverExpire"])
def test_flags(name: str) -> None:
    field = {"sensitive": "sensitive", "setNeverExpire": "never_expire"}[name]
    for text, value in {"true": True, "1": True, "false": False, "0": False}.items():
        assert update(**{name: text}) == replace(Update(), **{field: value})  # type: ignore[arg-type]
    for text in ("", "True", "FALSE", "yes", "on", "2", "-1", " 1", "١"):
        assert refused({name: text}) == f"-1 Invalid Parameter - {name}"


@pytest.mark.parametrize("name", ["agentId", "agentTerminal", "case"])
def test_texts_have_an_end(name: str) -> None:
    longest = "ü" * TEXT_CHARACTERS
    assert longest in {*update(**{name: longest}).custom.values()} | {
        update(**{name: longest}).agent_id,
        update(**{name: longest}).agent_terminal,
    }
    assert refused({name: longest + "x"}) == f"-1 Invalid Parameter - {name}"
    assert refused({"unknown": "x" * 9999, name: longest + "x"}).endswith(name)


def test_what_nobody_reads_may_be_long() -> None:
    assert update(unknown="x" * 99999).is_empty


@pytest.mark.parametrize(
    "name",
    [
        *("isrUcid", "ingressCallId", "egressCallId", "thirdpartyId", "aor"),
        *("ani", "from", "dnis", "to", "start", "startTime", "duration", "pauseLength"),
        *("recordingId", "tmpRecordingId", "account", "route", "rss", "rssId", "channelNumber"),
        *("directory", "location", "archived", "archivalRemarks", "archivalFailCount"),
        *("archiverMode", "archiverAction", "conversionStatus", "deleteFlag", "fileStatus"),
        *("previousFilename", "pausedWithSilence", "hasVideo", "neverExpire"),
        *("siprecSessionId", "siprecParticipantId", "siprecStreamId", "participantId"),
        *("name", "label", "mode", "customDataSets", "siprecDataSets", "dtmfDigits"),
        *("supplementalFiles", "supplementalFileId", "segments", "segmentId", "apkt:realm"),
    ],
)
def test_what_the_system_says_is_not_for_people_to_say(name: str) -> None:
    for text in ("x", "", "x" * 9999):
        said = refused({"agentId": "1", name: text})
        assert said == f"-1 Parameter {name} cannot be updated"


def elements(tree: Any) -> Iterator[str]:
    """The names of all elements of an answer."""
    if isinstance(tree, dict):
        for name, content in tree.items():
            yield name
            yield from elements(content)
    elif isinstance(tree, list):
        for item in tree:
            yield from elements(item)


def test_what_is_shown_is_the_systems_unless_it_can_be_changed() -> None:
    row = recording(previous_filename="a.wav", agent_terminal="T", never_expire=True)
    stored, live = wire.Shown(row), wire.Shown(row, tmp_id=5)
    answers = [
        *(wire.recording(shown) for shown in (stored, live)),
        *(wire.match(row, tmp_id, 3) for tmp_id in (0, 5)),
        wire.conversation([stored]),
    ]
    shown = {*elements(answers)} - {"filename", "agentId", "agentTerminal", "sensitive"}
    assert {"startTime", "siprecStreamId", "offsetMs", "checksumMismatch"} <= shown
    for name in shown:
        assert refused({name: "x"}) == f"-1 Parameter {name} cannot be updated"


def test_names_of_our_own_cannot_be_taken() -> None:
    custom = RESERVED | {"agentId", "sensitive", "setNeverExpire"}
    assert refused({"ani": "1"}, custom) == "-1 Parameter ani cannot be updated"
    assert refused({"rssId": "1"}, custom) == "-1 Parameter rssId cannot be updated"
    body = {"agentId": "7", "filename": "a.wav", "sensitive": "1", "token": "x", "version": "3"}
    assert parse(body, custom, EXTENSIONS) == Update("a.wav", "a.wav", "7", sensitive=True)
    assert refused({"setNeverExpire": "x"}, custom) == "-1 Invalid Parameter - setNeverExpire"


def test_a_custom_field_may_be_called_like_what_is_only_shown() -> None:
    assert parse({"location": "Ulm"}, frozenset({"location"})).custom == {"location": "Ulm"}


# file names


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("startstoptest.wav", "startstoptest.wav"),
        ("Anruf von Müller (2).WAV", "Anruf von Müller (2).WAV"),
        ("call", "call.wav"),
        ("call.mp3", "call.mp3.wav"),
        ("wav", "wav.wav"),
        (".wav", "wav.wav"),
        ("Mu\u0308ller.wav", "M\u00fcller.wav"),
        ("a\nb.wav", "a_b.wav"),
        ("a\0b.wav", "a_b.wav"),
        ("a\u202egpj.wav", "a_gpj.wav"),
        ("-i.wav", "i.wav"),
        ("~root.wav", "_root.wav"),
        (" a.wav ", "_a.wav_.wav"),
        ("a.", "a.wav"),
        ("con", "_con.wav"),
        ("nul.wav", "_nul.wav"),
        ("x" * (FILE_NAME_CHARACTERS - 4), "x" * (FILE_NAME_CHARACTERS - 4) + ".wav"),
        ("x" * (FILE_NAME_CHARACTERS - 3), "x" * SAFE_CHARACTERS + ".wav"),
        ("x" * TEXT_CHARACTERS, "x" * SAFE_CHARACTERS + ".wav"),
        ("100% sure.wav", "100% sure.wav"),
    ],
    ids=ascii,
)
def test_a_name_that_can_be_stored(asked: str, stored: str) -> None:
    wanted = update(filename=asked)
    assert (wanted.filename, wanted.asked_filename) == (stored, asked)


PATHS = (
    *("../x.wav", "/etc/passwd", "..\\x", "a/b.wav", "C:\\x.wav", "..", "a..wav", "x/", "\\\\h\\x"),
    *("..%2fx", "%2e%2e", "%2e.", "%252e%252e%252fx", "a%2Fb", "a%5cb", "%25252fetc"),
    *("．．", "．．／x", "a／b", "a＼b", "‥", "…", "a℀b", "．%2e", "%ef%bc%8f", "..%00"),
)


@pytest.mark.parametrize("name", PATHS, ids=ascii)
def test_a_path_is_no_name(name: str) -> None:
    assert refused({"filename": name}) == "-1 Invalid Parameter - filename"
    assert refused({"filename": quote(name)}) == "-1 Invalid Parameter - filename"
    assert refused({"filename": f"{name}\0.wav"}) == "-1 Invalid Parameter - filename"


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u3000", "%20", "x" * (TEXT_CHARACTERS + 1)])
def test_a_name_that_is_none(name: str) -> None:
    assert refused({"filename": name}) == "-1 Invalid Parameter - filename"


# anything

ANY = st.text(st.characters(exclude_categories=()))
PIECES = st.sampled_from(
    [
        "%",
        "25",
        "2e",
        "2F",
        ".",
        "..",
        "/",
        "\\",
        "．",
        "／",
        "\0",
        "\u0338",
        "\ufdfa",
        "con",
        ".wav",
    ]
)
NAMES = st.one_of(ANY, st.lists(st.one_of(PIECES, ANY), max_size=12).map("".join))


def bare(name: str) -> str:
    """The name as whoever takes everything for more than it is would read it."""
    for _ in range(20):
        for code, part in (("%25", "%"), ("%2e", "."), ("%2f", "/"), ("%5c", "\\")):
            name = unicodedata.normalize("NFKC", name).replace(code, part)
            name = name.replace(code.upper(), part)
    return name


@given(NAMES)
@example("%" + "25" * 511)
@example("\ufdfa" * TEXT_CHARACTERS)
def test_every_name_that_comes_out_can_be_stored(text: str) -> None:
    try:
        wanted = update(filename=text)
    except Refusal as refusal:
        assert str(refusal) == "Invalid Parameter - filename"
        return
    assert wanted.filename is not None
    assert file_name(wanted.filename) == wanted.filename
    assert wanted.filename.lower().endswith(".wav")
    assert not {"/", "\\"} & {*bare(wanted.filename)}
    assert ".." not in bare(wanted.filename)


@given(
    st.dictionaries(
        st.one_of(st.sampled_from(["filename", "agentId", "sensitive", "case"]), ANY), ANY
    )
)
def test_any_body_is_an_update_or_refused(body: Any) -> None:
    try:
        wanted = parse(body, CUSTOM, EXTENSIONS)
    except Refusal:
        return
    assert wanted.custom == {name: text for name, text in body.items() if name in CUSTOM}
    assert wanted.asked_filename == body.get("filename", "")
