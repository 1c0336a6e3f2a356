from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from siprec.elements import (
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
from siprec.rs_metadata import UNREADABLE, Document, MetadataError, parse

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


TAGS = st.sampled_from(
    ["group", "session", "participant", "nameID", "aor", "stream", "label", "send", "recv"]
) | st.sampled_from(["participantstreamassoc", "participantsessionassoc", "stop-time", "reason"])
NAMES = st.sampled_from(["id", "group_id", "session_id", "participant_id", "stream_id", "session"])
TEXTS = st.sampled_from(["", "1", "p", "2026-05-04T09:00:00Z", "9999-12-31T23:59:59-23:59", "é&<"])


def _element(tag: str, attributes: dict[str, str], inner: list[str]) -> str:
    element = etree.Element(tag, attributes)
    start = etree.tostring(element, encoding="unicode").removesuffix("/>")
    return f"{start}>{''.join(inner)}</{tag}>"


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
