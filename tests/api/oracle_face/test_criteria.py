"""What a URL of FACE selects."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.oracle_face.codes import Refusal
from api.oracle_face.criteria import (
    CODEC_PROFILES,
    CONTROL,
    RESERVED,
    Names,
    Selection,
    names_for,
    parse,
)
from storage.catalog import Catalog
from storage.database import Database
from storage.directory import INITIAL
from storage.entries import PROFILES, CustomField, MetadataType
from storage.records import RecordingQuery
from tests.storage.recordings import recording

NAMES = Names(frozenset({"case", "Ticket no"}), frozenset({"apkt:realm"}))
DEFAULT = RecordingQuery(limit=1001, oldest_first=True)
SEGMENT = frozenset({"segment/details", "segment/download", "segment/redirect"})
STORED = frozenset({"details", "delete", "download", "redirect"}) | SEGMENT
COMMANDS = CONTROL | STORED
APPLICABLE: dict[str, tuple[str, frozenset[str]]] = {
    **dict.fromkeys(("isrUcid", "ingressCallId", "egressCallId"), ("x", COMMANDS)),
    **dict.fromkeys(("thirdpartyId", "filename", "aor"), ("x", COMMANDS)),
    **dict.fromkeys(("ani", "from", "dnis", "to"), ("x", COMMANDS)),
    **dict.fromkeys(("start", "earliestStart", "latestStart"), ("2017-03-22T00:00:00", COMMANDS)),
    "maxListLength": ("7", COMMANDS),
    "apkt:realm": ("x", COMMANDS),
    **dict.fromkeys(("channelNumber", "rssId"), ("1", CONTROL)),
    **dict.fromkeys(("recordingId", "tmpRecordingId"), ("1", STORED)),
    **dict.fromkeys(("audioOnly", "mustHaveVideo"), ("true", STORED)),
    "case": ("x", STORED),
    "segmentId": ("1", SEGMENT),
    "fillWithSilence": ("true", frozenset({"pause"})),
    "codecProfile": ("1", frozenset({"start"})),
    "format": ("template", frozenset({"details", "segment/details"})),
    **dict.fromkeys(
        ("token", "Case", "ANI", "", "formatname", "isrUcid ", "maxlistlength"), ("x", frozenset())
    ),
}
"""Parameter -> a value it can have, and the commands it is for."""

CANONICAL = {"from": "ani", "to": "dnis", "segmentId": "recordingId"}


def query(command: str = "details", /, **parameters: str) -> RecordingQuery:
    return parse(command, parameters, NAMES).query


def refused(command: str, parameters: Mapping[str, str], names: Names = NAMES) -> str:
    """What is said of a request that must be refused."""
    with pytest.raises(Refusal) as caught:
        parse(command, parameters, names)
    return f"{caught.value.code} {caught.value}"


# which parameters there are


@pytest.mark.parametrize("command", sorted(COMMANDS))
@pytest.mark.parametrize("name", APPLICABLE)
def test_each_parameter_is_for_its_commands_only(command: str, name: str) -> None:
    value, commands = APPLICABLE[name]
    more = {"formatName": "Verint"} if name == "format" and command in commands else {}
    if command in commands:
        parse(command, {name: value, **more}, NAMES)
    else:
        said = refused(command, {"ani": "1", name: value})
        assert said == f"-1 Invalid Parameter - {name}"


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("isrUcid", "ucid"),
        ("ingressCallId", "call_id"),
        ("egressCallId", "egress_call_id"),
        ("thirdpartyId", "third_party_id"),
        ("ani", "ani"),
        ("from", "ani"),
        ("dnis", "dnis"),
        ("to", "dnis"),
        ("filename", "filename"),
        ("aor", "aor"),
    ],
)
@pytest.mark.parametrize("command", ["stop", "details"])
def test_a_text_is_compared_as_it_is(command: str, name: str, field: str) -> None:
    text = " sip:Ann%20' OR 1=1 --@example.com;x=ü "
    expected = replace(DEFAULT, **{field: text})  # type: ignore[arg-type]
    selection = parse(command, {name: text}, NAMES)
    assert selection == Selection(expected, frozenset({CANONICAL.get(name, name)}))


def test_names_of_the_operators_own() -> None:
    parameters = {"case": "A", "apkt:realm": "B", "Ticket no": "C"}
    selection = parse("details", parameters, NAMES)
    assert selection.query == replace(
        DEFAULT, custom={"case": "A", "Ticket no": "C"}, extensions={"apkt:realm": "B"}
    )
    assert selection.named == set(parameters)


def test_names_of_our_own_cannot_be_taken() -> None:
    names = Names(RESERVED, RESERVED)
    assert parse("stop", {"ani": "1"}, names) == parse("stop", {"ani": "1"}, NAMES)
    assert refused("stop", {"recordingId": "1"}, names) == "-1 Invalid Parameter - recordingId"
    assert refused("details", {"token": "1"}, names) == "-1 Invalid Parameter - token"
    assert refused("details", {"segmentId": "1"}, names) == "-1 Invalid Parameter - segmentId"


def test_custom_data_is_no_criterion_of_control() -> None:
    assert refused("pause", {"case": "A"}) == "-1 Invalid Parameter - case"


@pytest.mark.parametrize("name", [*sorted(APPLICABLE), "formatName", "version"])
def test_an_empty_value_selects_nothing(name: str) -> None:
    for command in sorted(COMMANDS):
        assert refused(command, {name: ""}) == f"-1 Invalid Parameter - {name}"


def test_an_address_that_is_only_a_scheme_is_empty() -> None:
    assert refused("details", {"aor": "SIP:"}) == "-1 Invalid Parameter - aor"


def test_several_criteria_must_all_hold() -> None:
    selection = parse("delete", {"ani": "1", "to": "2", "isrUcid": "U"}, NAMES)
    assert selection.query == replace(DEFAULT, ani="1", dnis="2", ucid="U")
    assert selection.named == {"ani", "dnis", "isrUcid"}


@pytest.mark.parametrize(
    ("parameters", "same"),
    [
        ({"ani": "1", "from": "1"}, True),
        ({"ani": "1", "from": "2"}, False),
        ({"dnis": "1", "to": "1"}, True),
        ({"to": "2", "dnis": "1"}, False),
        ({"segmentId": "7", "recordingId": "07"}, True),
        ({"segmentId": "7", "recordingId": "8"}, False),
    ],
)
def test_both_names_of_a_criterion(parameters: Mapping[str, str], same: bool) -> None:
    selection = parse("segment/details", parameters, NAMES)
    assert len(selection.named) == 1
    assert selection.query.accounts == (None if same else frozenset())


# values


@pytest.mark.parametrize("name", ["recordingId", "tmpRecordingId", "segmentId", "version"])
@pytest.mark.parametrize("text", ["0", "-1", "+1", " 1", "1.0", "1e3", "٣", "²", "1_0", "x"])
def test_what_is_no_number_of_anything(name: str, text: str) -> None:
    assert refused("segment/details", {name: text}) == f"-1 Invalid Parameter - {name}"


@pytest.mark.parametrize("text", ["2147483648", "9" * 10, "0" * 10 + "1", "9" * 5000])
def test_numbers_are_bounded(text: str) -> None:
    for name in ("recordingId", "tmpRecordingId"):
        assert refused("details", {name: text}) == f"-1 Invalid Parameter - {name}"
    for name in ("channelNumber", "rssId"):
        assert refused("stop", {name: text}) == f"-1 Invalid Parameter - {name}"


def test_numbers_find_what_they_name() -> None:
    assert query(recordingId="2147483647").number == 2147483647
    assert query("segment/redirect", segmentId="12").number == 12
    assert query("details", tmpRecordingId="5") == DEFAULT
    assert parse("details", {"tmpRecordingId": "5"}, NAMES).tmp_recording_id == 5
    live = parse("start", {"channelNumber": "0", "rssId": "3"}, NAMES)
    assert (live.channel_number, live.rss_id, live.query) == (0, 3, DEFAULT)
    assert live.named == {"channelNumber", "rssId"}


@pytest.mark.parametrize("text", ["0", "1001", "-5", "", "ten", "1 ", "99999999999"])
def test_a_list_has_one_to_a_thousand_entries(text: str) -> None:
    assert refused("redirect", {"maxListLength": text}) == "-1 Invalid Parameter - maxListLength"


@pytest.mark.parametrize("text", ["1", "999", "1000"])
def test_one_more_is_looked_for_than_is_listed(text: str) -> None:
    selection = parse("stop", {"maxListLength": text}, NAMES)
    assert (selection.max_list_length, selection.query.limit) == (int(text), int(text) + 1)
    assert selection.is_empty


@pytest.mark.parametrize(
    ("name", "field"), [("audioOnly", "audio_only"), ("mustHaveVideo", "has_video")]
)
def test_flags_that_select(name: str, field: str) -> None:
    yes, no = (parse("download", {name: text}, NAMES) for text in ("true", "false"))
    assert (yes.query, yes.named) == (replace(DEFAULT, **{field: True}), {name})  # type: ignore[arg-type]
    assert no == parse("download", {}, NAMES)
    assert no.is_empty
    for text in ("True", "TRUE", "1", "0", "yes", " true"):
        assert refused("download", {name: text}) == f"-1 Invalid Parameter - {name}"


def test_how_a_pause_is_filled() -> None:
    fills = {text: parse("pause", {"fillWithSilence": text}, NAMES) for text in ("true", "false")}
    assert fills["true"].fill_with_silence
    assert not fills["false"].fill_with_silence
    assert not parse("pause", {"ani": "1"}, NAMES).fill_with_silence
    assert fills["true"].is_empty
    said = refused("pause", {"fillWithSilence": "1"})
    assert said == "-1 Invalid Parameter - fillWithSilence"


def test_codec_profiles_are_numbered() -> None:
    chosen = [parse("start", {"codecProfile": f"{n}"}, NAMES).codec_profile for n in range(1, 6)]
    assert chosen == ["default", "smallest", "small", "best_quality", "firefox_compatible"]
    assert set(CODEC_PROFILES.values()) == set(PROFILES)
    assert parse("start", {"codecProfile": "4"}, NAMES).is_empty
    for text in ("0", "6", "01", "Default", "small"):
        said = refused("start", {"codecProfile": text})
        assert said == "-1 Invalid Parameter - codecProfile"


@pytest.mark.parametrize(
    ("parameters", "template"),
    [
        ({}, None),
        ({"format": "template", "formatName": "verint"}, ("verint", None)),
        ({"format": "template", "formatName": "My own", "version": "3"}, ("My own", 3)),
    ],
)
def test_an_answer_by_template(parameters: Mapping[str, str], template: Any) -> None:
    selection = parse("details", parameters, NAMES)
    assert selection.template == template
    assert selection.is_empty


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"format": "template"}, "27 Missing Parameter - formatName is required"),
        (
            {"format": "template", "version": "1"},
            "27 Missing Parameter - formatName is required",
        ),
        ({"format": "Template", "formatName": "v"}, "-1 Invalid Parameter - format"),
        ({"format": "csv", "formatName": "v"}, "-1 Invalid Parameter - format"),
        ({"formatName": "v"}, "-1 Invalid Parameter - formatName"),
        ({"version": "1"}, "-1 Invalid Parameter - version"),
        (
            {"format": "template", "formatName": "v", "version": "1.0"},
            "-1 Invalid Parameter - version",
        ),
    ],
)
def test_half_a_template(parameters: Mapping[str, str], said: str) -> None:
    assert refused("details", parameters) == said


# times


def at(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize("blank", ["T", " "])
@pytest.mark.parametrize(
    ("times", "after", "before"),
    [
        ({"start": "12:00:00"}, at(2017, 3, 22, 12), at(2017, 3, 22, 12, 0, 1)),
        (
            {"start": "12:00:00.356"},
            at(2017, 3, 22, 12, 0, 0, 356000),
            at(2017, 3, 22, 12, 0, 0, 357000),
        ),
        ({"earliestStart": "23:59:59.999"}, at(2017, 3, 22, 23, 59, 59, 999000), None),
        ({"latestStart": "23:59:59"}, None, at(2017, 3, 23)),
        ({"latestStart": "23:59:59.001"}, None, at(2017, 3, 22, 23, 59, 59, 2000)),
        (
            {"earliestStart": "00:00:00", "latestStart": "23:59:59"},
            at(2017, 3, 22),
            at(2017, 3, 23),
        ),
        (
            {"start": "12:00:00", "earliestStart": "12:00:00.500", "latestStart": "12:00:00.700"},
            at(2017, 3, 22, 12, 0, 0, 500000),
            at(2017, 3, 22, 12, 0, 0, 701000),
        ),
        (
            {"start": "12:00:00", "earliestStart": "11:00:00", "latestStart": "13:00:00"},
            at(2017, 3, 22, 12),
            at(2017, 3, 22, 12, 0, 1),
        ),
    ],
)
def test_when_it_began(
    blank: str, times: Mapping[str, str], after: datetime | None, before: datetime | None
) -> None:
    parameters = {name: f"2017-03-22{blank}{time}" for name, time in times.items()}
    selection = parse("details", parameters, NAMES)
    assert selection.query == replace(DEFAULT, started_after=after, started_before=before)
    assert selection.named == set(times)


@pytest.mark.parametrize("name", ["start", "earliestStart", "latestStart"])
@pytest.mark.parametrize(
    "text",
    [
        "2017-03-22",
        "20170322T000000",
        "2017-03-22t00:00:00",
        "2017-03-22  00:00:00",
        "2017-03-22T00:00",
        "2017-03-22T00:00:00Z",
        "2017-03-22T00:00:00+00:00",
        "2017-03-22T00:00:00.",
        "2017-03-22T00:00:00.1",
        "2017-03-22T00:00:00.1234",
        "2017-03-22T00:00:00,123",
        "2017-02-29T00:00:00",
        "2017-13-01T00:00:00",
        "2017-03-22T24:00:00",
        "2017-03-22T00:00:60",
        "0000-01-01T00:00:00",
        "10000-01-01T00:00:00",
        "-2017-03-22T00:00:00",
        "２０１７-03-22T00:00:00",
        "2017-W12-3T00:00:00",
        "2017-03-22T00:00:00\n",
        "1490140800",
        "now",
    ],
)
def test_what_is_no_time(name: str, text: str) -> None:
    for command in ("details", "stop"):
        assert refused(command, {name: text}) == f"-1 Invalid Parameter - {name}"


def test_the_ends_of_time() -> None:
    first = query(start="0001-01-01T00:00:00")
    assert (first.started_after, first.started_before) == (at(1, 1, 1), at(1, 1, 1, 0, 0, 1))
    last = query(start="9999-12-31T23:59:59")
    assert (last.started_after, last.started_before) == (at(9999, 12, 31, 23, 59, 59), None)
    assert query(latestStart="9999-12-31T23:59:59.999").started_before is None
    both = query(start="2017-03-22T00:00:00", latestStart="9999-12-31T23:59:59")
    assert both.started_before == at(2017, 3, 22, 0, 0, 1)


# what the criteria are


@pytest.mark.parametrize(
    ("parameters", "is_empty", "only_ids"),
    [
        ({}, True, False),
        ({"maxListLength": "5"}, True, False),
        ({"isrUcid": "U"}, False, True),
        ({"ingressCallId": "U"}, False, True),
        ({"egressCallId": "U"}, False, True),
        ({"isrUcid": "U", "ingressCallId": "C", "maxListLength": "5"}, False, True),
        ({"isrUcid": "U", "ani": "1"}, False, False),
        ({"recordingId": "1"}, False, False),
        ({"tmpRecordingId": "1"}, False, False),
        ({"case": "1"}, False, False),
        ({"apkt:realm": "1"}, False, False),
        ({"latestStart": "2017-03-22T00:00:00"}, False, False),
    ],
)
def test_what_kind_of_criteria_there_are(
    parameters: Mapping[str, str], is_empty: bool, only_ids: bool
) -> None:
    selection = parse("details", parameters, NAMES)
    assert (selection.is_empty, selection.only_ids) == (is_empty, only_ids)


START = "2017-03-22 16:02:17"


@pytest.mark.parametrize(
    ("parameters", "two", "three"),
    [
        ({"ani": "1", "dnis": "2"}, True, None),
        ({"from": "1", "to": "2", "maxListLength": "5"}, True, None),
        ({"from": "1", "to": "2", "filename": "f.wav"}, False, None),
        ({"ani": "1"}, False, None),
        ({"from": "1", "dnis": "2", "start": START}, False, ("1", "2", START)),
        ({"ani": "1", "dnis": "2", "earliestStart": START}, False, None),
        ({"ani": "1", "dnis": "2", "start": START, "aor": "a"}, False, None),
    ],
)
def test_the_parties_alone(parameters: Mapping[str, str], two: bool, three: Any) -> None:
    selection = parse("download", parameters, NAMES)
    assert (selection.ani_dnis, selection.ani_dnis_start) == (two, three)


# what there is to select by


def test_who_may_select_by_which_names() -> None:
    entries = replace(
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
    extensions = frozenset({"apkt:realm"})
    assert names_for(entries, 100) == Names(frozenset({"case", "ticket"}), extensions)
    assert names_for(entries, 300) == Names(frozenset({"case"}), extensions)
    assert names_for(entries, 1) == Names(frozenset({"case", "ticket"}), extensions)
    assert names_for(INITIAL, 1) == Names()


# in a real catalogue


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    """Recordings that began around 12:00:00 on a day, each named for when."""
    database = Database(f"sqlite:///{tmp_path}/books.db")
    await database.migrate()
    catalog = Catalog(database)
    noon = at(2017, 3, 22, 12)
    for microseconds in (-1, 0, 356000, 356999, 357000, 999999, 1000000):
        began = noon + timedelta(microseconds=microseconds)
        await catalog.save(recording(f"{microseconds}", started_at=began))
    yield catalog
    await database.close()


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"start": "2017-03-22T12:00:00"}, ["0", "356000", "356999", "357000", "999999"]),
        ({"start": "2017-03-22T12:00:00.356"}, ["356000", "356999"]),
        ({"earliestStart": "2017-03-22 12:00:00.357"}, ["357000", "999999", "1000000"]),
        ({"latestStart": "2017-03-22 12:00:00.356"}, ["-1", "0", "356000", "356999"]),
        ({"latestStart": "2017-03-22 11:59:59"}, ["-1"]),
        ({"start": "2017-03-22T12:00:01", "latestStart": "2017-03-22T12:00:00"}, []),
        ({"start": "0001-01-01T00:00:00"}, []),
        ({"start": "9999-12-31T23:59:59"}, []),
        ({"recordingId": "3"}, ["356000"]),
        ({"recordingId": "2147483647"}, []),
        ({"recordingId": "3", "segmentId": "4"}, []),
        ({"ani": "4930123456", "from": "4930123456", "recordingId": "1"}, ["-1"]),
        ({"ani": "4930123456", "from": "4930123457"}, []),
        ({"aor": "sips:ann@example.com", "recordingId": "1"}, ["-1"]),
        ({"aor": "sip:Ann@example.com", "recordingId": "1"}, []),
        ({"ingressCallId": "A84b4c76e66710@src.example"}, []),
        ({"apkt:realm": "peer1", "recordingId": "1"}, ["-1"]),
        ({"apkt:realm": "peer", "recordingId": "1"}, []),
    ],
)
async def test_what_is_found(
    catalog: Catalog, parameters: Mapping[str, str], found: list[str]
) -> None:
    selection = parse("segment/details", {**parameters, "maxListLength": "99"}, NAMES)
    assert [row.id for row in (await catalog.find(selection.query)).items] == found


# anything

ANY = st.text(st.characters(exclude_categories=()), max_size=30)


@given(
    st.sampled_from(sorted(COMMANDS)),
    st.dictionaries(
        st.one_of(st.sampled_from(sorted(RESERVED | NAMES.custom)), ANY),
        st.one_of(st.sampled_from(["true", "1", "template", "2017-03-22T00:00:00"]), ANY),
    ),
)
@example("details", {"\ud800": "x"})
@example("details", {"ani": "\ud800"})
def test_anything_is_understood_or_refused(command: str, parameters: dict[str, str]) -> None:
    try:
        selection = parse(command, parameters, NAMES)
    except Refusal as refusal:
        assert str(refusal).encode()
        return
    if selection.is_empty:
        assert selection.query == replace(DEFAULT, limit=selection.max_list_length + 1)
    assert selection.named <= {CANONICAL.get(name, name) for name in parameters}


MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))


@given(MOMENTS, st.timedeltas(timedelta(-2 * 10**-5), timedelta(2 * 10**-5)), st.booleans())
def test_a_recording_is_found_by_the_start_that_is_shown(
    began: datetime, other: timedelta, short: bool
) -> None:
    def shown(moment: datetime) -> str:
        return moment.isoformat(" ", "seconds" if short else "milliseconds")

    asked = query(start=shown(began))
    assert asked.started_after is not None
    try:
        moment = (began + other).replace(tzinfo=UTC)
    except OverflowError:
        return
    found = asked.started_after <= moment and (
        asked.started_before is None or moment < asked.started_before
    )
    assert found == (shown(moment.replace(tzinfo=None)) == shown(began))
