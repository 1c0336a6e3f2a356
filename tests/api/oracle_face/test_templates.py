"""Export templates: one pass, no logic, and nothing a caller says can be more than a value."""

import csv
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from api.oracle_face import templates, wire
from api.oracle_face.codes import FAILURE, Refusal
from api.oracle_face.templates import OUTPUT_OCTETS, VERINT
from api.oracle_face.wire import Shown
from storage.entries import ExportTemplate
from storage.records import Digit, FileRecord, Recording
from storage.snapshot import Entries, problems

AT = datetime(2026, 6, 20, 19, 46, 0, 987_654, UTC)
NASTY = st.text(
    st.characters() | st.sampled_from("\r\n\0\"'&<>]${}|=+-@\t,;\ud800\u2028"), max_size=40
)


def _row(**fields: Any) -> Recording:
    given: dict[str, Any] = {
        "status": "complete",
        "number": 1000,
        "duration_ms": 6999,
        "filename": "callee-1.wav",
        "ani": "caller & co",
        "dnis": "<callee>",
        "files": (FileRecord("wav", "k", 44, ""),),
    }
    return Recording("r1", "s1", "1@src", started_at=AT, **(given | fields))


def _template(
    text: str, media_type: str = "text/plain", name: str = "t", version: int = 1
) -> ExportTemplate:
    return ExportTemplate(name, version, text, media_type)


def _rendered(text: str, media_type: str = "text/plain", **values: str) -> str:
    return templates.render(_template(text, media_type), values).decode()


# Verint


def test_a_recording_for_verint() -> None:
    url = "http://192.0.2.1:8080/Recordings//callee-1.wav?a=1&b=2"
    rendered = templates.render(VERINT, templates.fields(Shown(_row()), url))
    assert rendered.decode() == (
        '<Call xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Data><audio><audio_segment>'
        "<channel_id>false</channel_id><recording_order>1</recording_order>"
        "<audio_url>http://192.0.2.1:8080/Recordings//callee-1.wav?a=1&amp;b=2</audio_url>"
        "<StartTime>2026-06-20T19:46:00</StartTime><Duration>6</Duration></audio_segment></audio>"
        "<ani>caller &amp; co</ani><dnis>&lt;callee&gt;</dnis>"
        "<unique_identifier>1000</unique_identifier><time_offset>0</time_offset>"
        "<direction>0</direction></Data></Call>"
    )
    assert VERINT.media_type == "application/xml"


def test_our_template_could_stand_in_a_directory() -> None:
    entry = msgspec.convert(msgspec.to_builtins(VERINT), ExportTemplate)
    assert not [*problems(Entries.of([entry]))]


# which one


def _of(*entries: ExportTemplate) -> dict[tuple[str, int], ExportTemplate]:
    return {(entry.name, entry.version): entry for entry in entries}


CRM = [_template(f"v{version}", name="CRM", version=version) for version in (2, 10, 9)]


@pytest.mark.parametrize("name", ["CRM", "crm", "Crm"])
def test_the_highest_version_unless_one_is_asked_for(name: str) -> None:
    assert templates.find(_of(*CRM), name, None).text == "v10"
    assert templates.find(_of(*CRM), name, 2).text == "v2"


def test_ours_is_there_unless_the_directory_has_another() -> None:
    assert templates.find({}, "verint", None) is VERINT
    assert templates.find(_of(*CRM), "VERINT", 1) is VERINT
    other = _template("other", name="verint", version=1)
    assert templates.find(_of(other), "Verint", None) is other
    newer = _template("newer", name="Verint", version=2)
    assert templates.find(_of(newer), "verint", None) is newer
    assert templates.find(_of(newer), "verint", 1) is VERINT


@pytest.mark.parametrize(
    ("name", "version"), [("CRM", 3), ("CRM", 0), ("", None), ("CR", None), ("Verint", 2)]
)
def test_what_is_not_there(name: str, version: int | None) -> None:
    with pytest.raises(Refusal, match=r"^Template not found$") as refusal:
        templates.find(_of(*CRM), name, version)
    assert refusal.value.code == FAILURE


# fields


def test_all_that_is_said_of_a_recording_is_a_field() -> None:
    row = _row(
        custom={"Cost Centre": "7"},
        ended_at=AT + timedelta(seconds=1),
        digits=(Digit("#", 5, "caller"),),
        sensitive=True,
    )
    found = templates.fields(Shown(row), "http://a/b")
    own = {"audioUrl", "endTime", "custom.Cost Centre"}
    assert set(found) == own | set(wire.recording(Shown(row)))
    wanted = {
        "recordingId": "1000",
        "account": "1",
        "duration": "6999",
        "sensitive": "1",
        "deleteFlag": "false",
        "startTime": "2026-06-20 19:46:00.987",
        "endTime": "2026-06-20 19:46:01.987",
        "audioUrl": "http://a/b",
        "custom.Cost Centre": "7",
        "dtmfDigits": '[{"dtmfDigit":{"key":"#","offsetMs":5,"origin":"caller"}}]',
        "siprecDataSets": "[]",
    }
    assert {name: found[name] for name in wanted} == wanted


def test_custom_data_takes_the_place_of_no_other_field() -> None:
    found = templates.fields(Shown(_row(custom={"ani": "x", "audioUrl": "y"})), "u")
    assert (found["ani"], found["audioUrl"]) == ("caller & co", "u")
    assert (found["custom.ani"], found["custom.audioUrl"]) == ("x", "y")


def test_a_live_recording_has_no_recording_id_and_no_end() -> None:
    row = _row(status="recording", number=0, files=())
    found = templates.fields(Shown(row, tmp_id=5), "")
    assert found["tmpRecordingId"] == "5"
    assert "recordingId" not in found
    assert found["endTime"] == ""


def test_octets_of_any_kind_can_be_fields() -> None:
    found = templates.fields(Shown(_row(custom={"a": "\udcff\0"}, agent_id="\udcff")), "")
    assert (found["custom.a"], found["agentId"]) == ("??", "?")
    assert "??" in found["customDataSets"]


# placeholders


def test_each_placeholder_is_replaced_by_what_its_whole_name_stands_for() -> None:
    values = {"ani": "A", "custom.Cost Centre": "7"}
    text = "a${ani}b${custom.Cost Centre}${ani}$ ${none}."
    assert templates.render(_template(text), values) == b"aAb7A$ ."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${duration|sec}", "6"),
        ("${none|sec}", ""),
        ("${startTime|iso}", "2026-06-20T19:46:00"),
        ("${second|iso}", "2026-06-20T19:46:00"),
        ("${ani|iso}", ""),
        ("${ani|sec}", ""),
        ("${startTime|sec}", ""),
        ("${ani|upper}", ""),
        ("${ani|}", "A"),
        ("${duration|sec|iso}", ""),
        ("${duration |sec}", ""),
        ("${duration| sec}", ""),
    ],
)
def test_notations(text: str, expected: str) -> None:
    values = {
        "ani": "A",
        "duration": "6999",
        "startTime": "2026-06-20 19:46:00.987",
        "second": "2026-06-20 19:46:00",
    }
    assert templates.render(_template(text), values).decode() == expected


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [("0", "0"), ("999", "0"), ("1000", "1"), ("61999", "61"), ("007999", "7"), ("-1", ""),
     ("1.5", ""), ("٣٣٣٣", ""), ("1" * 9000, "1" * 8997)],
)  # fmt: skip
def test_milliseconds_as_seconds(milliseconds: str, seconds: str) -> None:
    assert _rendered("${a|sec}", a=milliseconds) == seconds


@pytest.mark.parametrize(
    "time", ["2026-06-20", "2026-06-20 19:46:00Z", "2026-06-20 19:46:00.1\n", "٢٠٢٦-06-20 19:46:00"]
)
def test_what_is_no_time(time: str) -> None:
    assert _rendered("${a|iso}", a=time) == ""


@pytest.mark.parametrize(
    ("attack", "rendered"),
    [
        ("{{7*7}}", "{{7*7}}"),
        ("${7*7}", ""),
        ("{0.__class__.__init__.__globals__}", "{0.__class__.__init__.__globals__}"),
        ("${0.__class__}", ""),
        ("${ani.__class__}", ""),
        ("${ani[0]}", ""),
        ("${ani!r:>999999999}", ""),
        ("%(ani)999999999d", "%(ani)999999999d"),
        ("{ani:>999999999}", "{ani:>999999999}"),
        ("${ani:>999999999}", ""),
        ("$ani", "$ani"),
        ("${}", ""),
        ("${", "${"),
        ("${ani", "${ani"),
        ("$${ani}", "$A"),
        ("${a${ani}}", "${aA}"),
        ("${custom.${ani}}", "${custom.A}"),
        ("{% for x in ani %}", "{% for x in ani %}"),
        ("<% ani %>", "<% ani %>"),
    ],
)
def test_a_template_has_no_logic(attack: str, rendered: str) -> None:
    values = {"ani": "A", "custom.A": "wrong", "aA": "wrong", "0": "wrong"}
    assert templates.render(_template(attack), values).decode() == rendered


@pytest.mark.parametrize(
    "value", ["${b}", "${a}", "{{7*7}}", r"\1\g<0>", "%s", "{0.__class__}", "${a${b}}"]
)
def test_what_a_value_says_is_not_looked_into(value: str) -> None:
    assert _rendered("[${a}]", a=value, b="wrong") == f"[{value}]"


# escapes


@pytest.mark.parametrize(
    "media_type",
    ["application/xml", "text/xml", "image/svg+xml", "text/html", "application/xhtml+xml"],
)
@given(value=NASTY)
def test_a_value_is_text_in_xml(media_type: str, value: str) -> None:
    text = '<a b="${v}">${v}</a>'
    root = etree.fromstring(templates.render(_template(text, media_type), {"v": value}))
    assert len(root) == 0
    assert len(root.get("b") or "") == len(root.text or "") == len(value)
    assert "\0" not in (root.text or "")


def test_what_xml_cannot_carry_is_replaced() -> None:
    assert _rendered("${v}", "text/html", v="<\0'\"&\ud800") == "&lt;\ufffd&#x27;&quot;&amp;\ufffd"


@pytest.mark.parametrize("media_type", ["application/json", "application/hal+json"])
@given(value=NASTY)
def test_a_value_is_a_string_in_json(media_type: str, value: str) -> None:
    rendered = templates.render(_template('{"v":"${v}"}', media_type), {"v": value})
    kept = re.sub("[\0\ud800-\udfff]", "?", value)
    assert msgspec.json.decode(rendered) == {"v": kept}


@pytest.mark.parametrize("media_type", ["text/csv", "text/tab-separated-values"])
@given(value=NASTY)
def test_a_value_is_one_cell_and_no_formula(media_type: str, value: str) -> None:
    rendered = templates.render(_template('"${v}",end', media_type), {"v": value}).decode()
    cell, end = next(csv.reader([rendered], strict=True))
    assert end == "end"
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert not set("\t\r\n\0") & set(cell)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ('say "x"', 'say ""x""'),
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-1", "'-1"),
        ("@sum", "'@sum"),
        ("＝1", "'＝1"),
        ("\t=1", "' =1"),
        ("\r=1", "' =1"),
        ("\n=1", "' =1"),
        ("a=1", "a=1"),
        ("a\r\nb", "a b"),
        ("", ""),
    ],
)
def test_cells(value: str, cell: str) -> None:
    assert _rendered("${v}", "text/csv", v=value) == cell


def test_a_value_in_any_other_text_has_no_controls() -> None:
    value = "a\0\x1b[31m\r\n\t\x9b\ud800<é&\"'"
    assert _rendered("${v}", v=value) == "a��[31m�\n\t��<é&\"'"


def test_what_the_operator_wrote_stays_as_it_is() -> None:
    text = '<a b="1">=&amp;\t\r\n"</a>'
    for media_type in ("application/xml", "application/json", "text/csv", "text/plain"):
        assert _rendered(text, media_type) == text


# size


def test_what_comes_out_has_an_end() -> None:
    value = "x" * (OUTPUT_OCTETS // 4)
    assert len(_rendered("${v}" * 4, v=value)) == OUTPUT_OCTETS
    for text in ("${v}" * 4 + "x", "${v}" * 16_000):
        with pytest.raises(Refusal, match=r"^Template output too large$") as refusal:
            _rendered(text, v=value)
        assert refusal.value.code == FAILURE


def test_octets_are_counted_not_characters() -> None:
    with pytest.raises(Refusal):
        _rendered("${v}", v="é" * (OUTPUT_OCTETS // 2 + 1))
    assert _rendered("${v}", v="é" * (OUTPUT_OCTETS // 2))
    with pytest.raises(Refusal):
        _rendered("${v}", "application/xml", v="&" * (OUTPUT_OCTETS // 5 + 1))
