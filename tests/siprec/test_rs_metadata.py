from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from siprec.elements import (
    Extended,
    Group,
    NameId,
    Participant,
    ParticipantSession,
    ParticipantStream,
    Reason,
    Session,
    SessionRecording,
    Stream,
)
from siprec.extensions import MAX_NAMES
from siprec.rs_metadata import UNREADABLE, Document, MetadataError, parse
from siprec.xml import MAX_BYTES, MAX_ELEMENTS
from storage.records import Extension

NAMESPACE = "urn:ietf:params:xml:ns:recording:1"
NINE = datetime(2026, 5, 4, 9, tzinfo=UTC)


def read(inner: str, namespace: str = NAMESPACE, attributes: str = "") -> Document:
    return parse(f'<recording xmlns="{namespace}" {attributes}>{inner}</recording>'.encode())


WHOLE = """
<datamode>complete</datamode>
<group group_id="g1=="><associate-time>2026-05-04T09:00:00Z</associate-time></group>
<session session_id="s/1+=">
  <sipSessionID>11aa
    ;remote=22bb</sipSessionID><sipSessionID>33cc</sipSessionID>
  <reason cause="200" protocol="SIP">Call completed elsewhere</reason><reason cause="16"/>
  <group-ref>g1
  ==</group-ref>
  <start-time>2026-05-04T09:00:00Z</start-time><stop-time>2026-05-04T09:00:00Z</stop-time>
</session>
<participant participant_id="p1">
  <nameID aor="sip:ann@corp.example"><name xml:lang="it"> Ann </name></nameID>
  <nameID aor="tel:+15550123"/>
</participant>
<stream stream_id="m1" session_id="s/1+="><label>96</label></stream>
<sessionrecordingassoc session_id="s/1+=">
  <associate-time>2026-05-04T09:00:00Z</associate-time>
</sessionrecordingassoc>
<participantsessionassoc participant_id="p1" session_id="s/1+=">
  <disassociate-time>2026-05-04T09:00:00Z</disassociate-time>
  <param pname="isfocus" pval="true"/>
</participantsessionassoc>
<participantstreamassoc participant_id="p1">
  <send>m1</send><send>m2</send><recv>m3</recv>
</participantstreamassoc>
"""


def test_every_element_of_the_schema_is_read() -> None:
    document = read(WHOLE)
    assert document.complete
    assert document.warnings == ()
    assert list(document.elements.values()) == [
        Group(group_id="g1==", began=NINE),
        Session(
            session_id="s/1+=",
            began=NINE,
            ended=NINE,
            sip_session_ids=("11aa;remote=22bb", "33cc"),
            reasons=(Reason("SIP", "200", "Call completed elsewhere"), Reason("SIP", "16")),
            group_ref="g1==",
        ),
        Participant(
            participant_id="p1",
            names=(NameId("sip:ann@corp.example", "Ann", "it"), NameId("tel:+15550123")),
        ),
        Stream(stream_id="m1", session_id="s/1+=", label="96"),
        SessionRecording(session_id="s/1+=", began=NINE),
        ParticipantSession(
            participant_id="p1",
            session_id="s/1+=",
            ended=NINE,
            params=(("isfocus", "true"),),
        ),
        ParticipantStream(participant_id="p1", send=("m1", "m2"), recv=("m3",)),
    ]
    assert document.of(Stream) == (Stream(stream_id="m1", session_id="s/1+=", label="96"),)


def test_the_bytes_are_kept() -> None:
    data = b"\r\n" + f'<recording xmlns="{NAMESPACE}"/>\r\n'.encode()
    assert parse(data).raw == data


def test_order_prefix_and_foreign_elements_do_not_matter() -> None:
    plain = read('<stream stream_id="m1"/><participant participant_id="p1"/>')
    odd = parse(
        f"""<r:recording xmlns:r="{NAMESPACE}" xmlns:v="urn:example:v" v:id="9">
        <v:participant participant_id="other"/><!-- note -->
        <r:stream stream_id="m1"><v:label/></r:stream>
        <r:participant participant_id="p1"><v:extra><r:nameID aor="x"/></v:extra></r:participant>
        </r:recording>""".encode()
    )
    assert (odd.elements, odd.warnings) == (plain.elements, ())


@pytest.mark.parametrize(
    ("inner", "attributes", "complete", "warnings"),
    [
        ("", "", True, ()),
        ("<datamode/>", "", True, ()),
        ("<datamode>partial</datamode>", "", False, ()),
        ("<dataMode> Partial </dataMode>", "", False, ()),
        ("", 'dataMode="partial"', False, ()),
        ("<datamode>COMPLETE</datamode>", "", True, ()),
        ("<datamode>some</datamode>", "", True, ("datamode_unknown",)),
    ],
)
def test_data_modes(inner: str, attributes: str, complete: bool, warnings: tuple[str]) -> None:
    document = read(inner, attributes=attributes)
    assert (document.complete, document.warnings) == (complete, warnings)


@pytest.mark.parametrize(
    ("namespace", "warnings"),
    [
        ("urn:ietf:params:xml:ns:recording", ()),
        ("urn:ietf:params:xml:ns:siprec", ()),
        ("urn:example:other", ("namespace_unknown",)),
        ("", ("namespace_unknown",)),
    ],
)
def test_namespaces_of_the_field(namespace: str, warnings: tuple[str]) -> None:
    document = read('<stream stream_id="m1"/>', namespace)
    assert (document.of(Stream), document.warnings) == ((Stream(stream_id="m1"),), warnings)


def test_the_form_of_early_drafts_gives_the_same_elements() -> None:
    draft = parse(
        b"""<recording_metadata xmlns="urn:ietf:params:xml:ns:siprec">
        <dataMode>complete</dataMode>
        <recording id="urn:uuid:r"><requestor>x</requestor></recording>
        <session id="urn:uuid:s"/>
        <participant id="urn:uuid:p" session="urn:uuid:s">
          <aor>sip:ann@corp.example</aor><name>Ann</name>
          <send><id>urn:uuid:m</id></send><recv> urn:uuid:n </recv>
          <associate-time>2026-05-04T09:00:00</associate-time>
        </participant>
        <stream id="urn:uuid:m" session="urn:uuid:s"><label>inbound</label></stream>
        </recording_metadata>"""
    )
    assert list(draft.elements.values()) == [
        Session(session_id="urn:uuid:s"),
        Participant(
            participant_id="urn:uuid:p",
            began=NINE,
            names=(NameId("sip:ann@corp.example", "Ann"),),
        ),
        ParticipantSession(participant_id="urn:uuid:p", session_id="urn:uuid:s", began=NINE),
        ParticipantStream(
            participant_id="urn:uuid:p", began=NINE, send=("urn:uuid:m",), recv=("urn:uuid:n",)
        ),
        Stream(stream_id="urn:uuid:m", session_id="urn:uuid:s", label="inbound"),
    ]
    assert draft.warnings == ()


def test_a_label_may_be_an_attribute_beside_a_name() -> None:
    document = read('<stream stream_id="m1" media_label="2"><label>customer</label></stream>')
    assert document.of(Stream)[0].label == "2"


def test_addresses_may_be_children_of_the_name_id() -> None:
    document = read(
        '<participant participant_id="p"><nameID><aor>7602922411</aor><name> </name></nameID>'
        "</participant>"
    )
    assert document.of(Participant)[0].names == (NameId("7602922411"),)


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-04T09:00:00Z",
        "2026-05-04t09:00:00z",
        "2026-05-04T09:00:00",
        "2026-05-04 09:00:00.000",
        "2026-05-04T09:00:00+00:00",
        "2026-05-04T09:00:00+0000",
        "2026-05-04T12:30:00+0330",
        "2026-05-04T02:00:00.000000000-07:00",
        "\n 2026-05-04T09:00:00Z ",
    ],
)
def test_times_of_the_field(text: str) -> None:
    document = read(f'<group group_id="g"><associate-time>{text}</associate-time></group>')
    assert document.of(Group)[0].began == NINE
    assert document.warnings == ()


def test_fractions_and_leap_seconds() -> None:
    document = read(
        '<group group_id="g"><associate-time>2026-05-04T09:00:00.25Z</associate-time>'
        "<disassociate-time>2026-12-31T23:59:60Z</disassociate-time></group>"
    )
    (group,) = document.of(Group)
    assert group.began == NINE.replace(microsecond=250_000)
    assert group.ended == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-04T09:00:00Z", "2026-05-04T24:00:00Z", "0001-01-01T00:00:00+23:00"]
)
def test_a_time_that_cannot_be_read_is_still_stated(text: str) -> None:
    document = read(f'<group group_id="g"><disassociate-time>{text}</disassociate-time></group>')
    assert document.of(Group)[0].ended == UNREADABLE
    assert document.warnings == ("time_invalid",)


def test_elements_without_an_id_are_passed_over() -> None:
    document = read(
        '<stream stream_id=""/><participant/><session session_id=" "/>'
        '<participantsessionassoc participant_id="p"/><stream stream_id="m"/>'
    )
    assert list(document.elements) == [("stream", "m")]
    assert document.warnings == ("id_missing",)


def test_streams_of_several_associations_of_a_participant_add_up() -> None:
    document = read(
        '<participantstreamassoc participant_id="p"><send>a</send><recv>b</recv>'
        "</participantstreamassoc>"
        '<participantstreamassoc participant_id="p"><send>c</send><send>a</send>'
        "</participantstreamassoc>"
    )
    (flow,) = document.of(ParticipantStream)
    assert (flow.send, flow.recv) == (("a", "c"), ("b",))


def test_what_is_stated_twice_is_folded() -> None:
    document = read(
        '<participant participant_id="p"><nameID aor="sip:a@x"/></participant>'
        '<participant participant_id="p"/>'
        '<stream stream_id="m"><label>1</label></stream>'
        '<stream stream_id="m"><label>2</label></stream>'
    )
    assert document.of(Participant)[0].names == (NameId("sip:a@x"),)
    assert document.of(Stream)[0].label == "2"


def test_repaired_documents_say_so() -> None:
    document = read(
        '<participant participant_id="p"><nameID aor="sip:a@x"><name>Bob & Co</name></nameID>'
        "</participant>"
    )
    assert document.of(Participant)[0].names == (NameId("sip:a@x", "Bob & Co"),)
    assert document.warnings == ("metadata_recovered",)


APKT = 'xmlns:apkt="urn:example:apkt"'


def added(document: Document) -> dict[str, dict[str, tuple[str, ...]]]:
    """Of each element with extension data its id, and the data."""
    return {
        element.key[1]: {each.name: each.values for each in element.extensions}
        for element in document.elements.values()
        if isinstance(element, Extended) and element.extensions is not None
    }


def test_foreign_children_are_extension_data() -> None:
    document = read(
        f"""<group group_id="g"><apkt:a {APKT}>1</apkt:a></group>
        <session session_id="s"><apkt:b {APKT}>2</apkt:b><start-time>2026-05-04T09:00:00Z
          </start-time><apkt:c {APKT}>3</apkt:c></session>
        <participant participant_id="p"><nameID aor="sip:a@x"><name>Ann</name></nameID>
          <v xmlns="urn:example:v"><nameID aor="sip:b@x">4</nameID></v></participant>
        <stream stream_id="m"><label>1</label><apkt:d {APKT}>5</apkt:d></stream>"""
    )
    assert added(document) == {
        "g": {"apkt:a": ("1",)},
        "s": {"apkt:b": ("2",), "apkt:c": ("3",)},
        "p": {"nameID": ("4",)},
        "m": {"apkt:d": ("5",)},
    }
    assert document.of(Participant)[0].names == (NameId("sip:a@x", "Ann"),)
    assert document.of(Session)[0].began == NINE
    assert document.warnings == ()


@pytest.mark.parametrize("namespace", [NAMESPACE, "urn:ietf:params:xml:ns:recording", "urn:x", ""])
@pytest.mark.parametrize("container", ["extensiondata", "extensionData", "ExtensionParameters"])
def test_containers_hold_extension_data_in_any_namespace(namespace: str, container: str) -> None:
    document = read(
        f"""<participant id="p"><nameID aor="sip:a@x"/>
        <{container} {APKT}><apkt:realm>core</apkt:realm><own>1</own>
          <apkt:header label="X-ISR-UCID"><value>u1</value></apkt:header></{container}>
        <send>m1</send></participant>""",
        namespace,
    )
    assert added(document) == {"p": {"apkt:realm": ("core",), "own": ("1",), "X-ISR-UCID": ("u1",)}}
    assert document.of(Participant)[0].names == (NameId("sip:a@x"),)
    assert document.of(ParticipantStream)[0].send == ("m1",)


def test_a_container_of_a_foreign_namespace_holds_it_too() -> None:
    document = read(
        f'<session session_id="s"><v:extensionData xmlns:v="urn:example:v" {APKT}>'
        "<apkt:ucid>00FA;encoding=hex</apkt:ucid></v:extensionData></session>"
    )
    assert added(document) == {"s": {"apkt:ucid": ("00FA;encoding=hex",)}}


def test_without_extension_data_nothing_is_said_about_it() -> None:
    document = read(f'{WHOLE}<session session_id="t"><extensiondata/></session>')
    assert added(document) == {}


def test_elements_of_known_namespaces_are_never_extension_data() -> None:
    document = parse(
        f"""<recording xmlns="urn:example:other" xmlns:r="{NAMESPACE}"><r:session session_id="s">
        <mode>x</mode><r:mode>y</r:mode></r:session></recording>""".encode()
    )
    assert added(document) == {}


def test_what_stands_beside_the_elements_is_said_of_every_session() -> None:
    document = read(
        f"""<apkt:realm {APKT}>trunk</apkt:realm><session session_id="s"/>
        <session session_id="t"><apkt:realm {APKT}>core</apkt:realm></session>
        <participant participant_id="p"/>
        <extensiondata {APKT}><apkt:site>Rome</apkt:site></extensiondata>"""
    )
    assert added(document) == {
        "s": {"apkt:realm": ("trunk",), "apkt:site": ("Rome",)},
        "t": {"apkt:realm": ("core",), "apkt:site": ("Rome",)},
    }


def test_data_beside_the_elements_may_name_its_parent() -> None:
    document = read(
        f"""<extensiondata {APKT} id="e1" parent="p/
        1=="><apkt:realm>core</apkt:realm></extensiondata>
        <session id="s"/><participant id="p/1=="><apkt:realm {APKT}>own</apkt:realm></participant>
        <stream id="m"/>
        <extensiondata {APKT} parent="m"><apkt:a>1</apkt:a></extensiondata>
        <extensiondata {APKT} parent="p/1=="><apkt:ucid>7</apkt:ucid></extensiondata>
        <extensiondata {APKT} parent="nobody"><apkt:b>2</apkt:b></extensiondata>"""
    )
    assert added(document) == {
        "p/1==": {"apkt:realm": ("own",), "apkt:ucid": ("7",)},
        "m": {"apkt:a": ("1",)},
        "s": {"apkt:b": ("2",)},
    }


def test_data_beside_the_elements_without_a_session_is_passed_over() -> None:
    document = read(f'<participant participant_id="p"/><apkt:a {APKT}>1</apkt:a>')
    assert (added(document), document.warnings) == ({}, ())


def test_extension_data_that_is_cut_is_told_of_once() -> None:
    many = "".join(f"<apkt:n{n}>1</apkt:n{n}>" for n in range(MAX_NAMES + 1))
    inner = f"<extensiondata {APKT}>{many}</extensiondata>"
    document = read(
        f'<session session_id="s">{inner}</session><stream stream_id="m">{inner}</stream>'
    )
    assert [len(each) for each in added(document).values()] == [MAX_NAMES, MAX_NAMES]
    assert document.warnings == ("extension_truncated",)


def test_extension_data_of_a_document_that_had_to_be_repaired() -> None:
    document = read(
        '<session session_id="s"><extensiondata><apkt:ucid>A&B;encoding=hex</apkt:ucid>'
        '<apkt:header label="X"><value>1</value></apkt:header></extensiondata></session>'
    )
    assert added(document) == {"s": {"apkt:ucid": ("A&B;encoding=hex",), "X": ("1",)}}
    assert document.warnings == ("metadata_recovered",)


def test_extension_data_stated_twice_is_that_stated_last() -> None:
    document = read(
        f"""<session session_id="s"><apkt:a {APKT}>1</apkt:a></session><session session_id="s"/>
        <stream stream_id="m"><apkt:a {APKT}>1</apkt:a></stream>
        <stream stream_id="m"><apkt:b {APKT}>2</apkt:b></stream>"""
    )
    assert added(document) == {"s": {"apkt:a": ("1",)}, "m": {"apkt:b": ("2",)}}
    assert document.of(Stream)[0].extensions == (Extension("apkt:b", ("2",)),)


def _crowd(beside: str, inside: str) -> str:
    """As many elements as a document may have, each with something to look at."""
    half = (MAX_ELEMENTS - 4) // 4
    people = "".join(f'<participant id="p{n}">{inside}</participant>' for n in range(half))
    return f"<session id='s'/>{people}" + "".join(beside.format(n) for n in range(half))


@pytest.mark.parametrize(
    "inner",
    [
        _crowd('<x:a parent="p{}" xmlns:x="urn:x">1</x:a>', "<extensiondata>1</extensiondata>"),
        _crowd('<session id="s{0}"><v xmlns="urn:x">{0}</v></session>', ""),
        "<v xmlns='urn:x'>" * 200 + "deep" + "</v>" * 200,
        "<session id='s'>" + "<v xmlns='urn:x'>" * 200 + "deep" + "</v>" * 200 + "</session>",
        f"<session id='s'><v xmlns='urn:x'>{'x' * (MAX_BYTES - 300)}</v></session>",
        "<session id='s'>"
        + "".join(f"<a{n}:v xmlns:a{n}='urn:{n}'>{n}</a{n}:v>" for n in range(MAX_ELEMENTS - 8))
        + "</session>",
    ],
    ids=["crowd", "sessions", "deep", "deep inside", "long", "namespaces"],
)
def test_extension_data_of_any_size_is_bounded(inner: str) -> None:
    document = read(inner, "urn:ietf:params:xml:ns:recording")
    for data in added(document).values():
        assert len(data) <= MAX_NAMES
        assert all(len(value) <= 1024 for values in data.values() for value in values)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not XML"),
        (b"v=0\r\n", "not XML"),
        (b"<!DOCTYPE recording><recording/>", "document type"),
        (b"<requestsnapshot xmlns='urn:ietf:params:xml:ns:recording:1'/>", "'requestsnapshot'"),
        (b"<html/>", "not recording"),
    ],
)
def test_what_is_no_recording_metadata_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MetadataError, match=reason):
        parse(data)


TAGS = (
    st.sampled_from(
        ["group", "session", "participant", "nameID", "aor", "stream", "label", "send", "recv"]
    )
    | st.sampled_from(["extensiondata", "{urn:example:v}v", "{urn:example:v}header"])
    | st.sampled_from(["participantstreamassoc", "participantsessionassoc", "stop-time", "reason"])
)
NAMES = st.sampled_from(
    ["id", "group_id", "session_id", "participant_id", "stream_id", "session", "label", "parent"]
)
TEXTS = st.sampled_from(["", "1", "p", "2026-05-04T09:00:00Z", "9999-12-31T23:59:59-23:59", "é&<"])


def _element(tag: str, attributes: dict[str, str], inner: list[str]) -> str:
    element = etree.Element(tag, attributes)
    start = etree.tostring(element, encoding="unicode").removesuffix("/>")
    name = etree.Element(tag).tag.rpartition("}")[2]
    prefix = "ns0:" if "}" in tag else ""
    return f"{start}>{''.join(inner)}</{prefix}{name}>"


TREES = st.recursive(
    TEXTS,
    lambda inner: st.builds(
        _element, TAGS, st.dictionaries(NAMES, TEXTS, max_size=3), st.lists(inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(TREES, max_size=4).map("".join))
def test_any_tree_is_read_or_refused(inner: str) -> None:
    try:
        document = read(inner)
    except MetadataError:
        return
    for key, element in document.elements.items():
        assert key == element.key
        assert all(key)
        for time in (element.began, element.ended):
            assert time is None or time.tzinfo is UTC


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for document in (data, b"<recording>" + data + b"</recording>"):
        try:
            assert parse(document).raw == document
        except MetadataError as error:
            assert str(error)
