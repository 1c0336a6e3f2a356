import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.multipart import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_PARTS,
    BodyError,
    Part,
    select,
    split,
)

SDP = b"v=0\r\no=- 4 1 IN IP4 198.51.100.7\r\ns=-\r\nt=0 0\r\n"
XML = b"<recording xmlns='urn:ietf:params:xml:ns:recording:1'/>"


def joined(*parts: bytes, boundary: bytes = b"edge", end: bytes = b"\r\n") -> bytes:
    lines = [b"--" + boundary + end + part + end for part in parts]
    return b"".join(lines) + b"--" + boundary + b"--" + end


def sdp_part(content: bytes = SDP) -> bytes:
    return b"Content-Type: application/sdp\r\n\r\n" + content


def xml_part(content: bytes = XML, type_: bytes = b"application/rs-metadata+xml") -> bytes:
    return (
        b"Content-Type: " + type_ + b"\r\nContent-Disposition: recording-session\r\n\r\n" + content
    )


def only(body: bytes, content_type: str = "multipart/mixed;boundary=edge") -> list[bytes]:
    return [part.content for part in split(content_type, body)]


def test_a_body_of_both_parts_is_split_exactly() -> None:
    sdp, xml = split("multipart/mixed; boundary=edge", joined(sdp_part(), xml_part()))
    assert (sdp.content_type, sdp.content, sdp.disposition) == ("application/sdp", SDP, "")
    assert (xml.content_type, xml.content) == ("application/rs-metadata+xml", XML)
    assert (xml.disposition, xml.handling) == ("recording-session", "required")


def test_a_plain_body_is_one_part_with_its_parameters() -> None:
    (part,) = split('Application/SDP; Charset="utf-8"', SDP, "session;handling=optional")
    assert part == Part("application/sdp", {"charset": "utf-8"}, "session", "optional", SDP)
    assert split("application/sdp", b"") == ()


@pytest.mark.parametrize(
    ("parameter", "boundary"),
    [
        ("boundary=edge", b"edge"),
        ('boundary="edge"', b"edge"),
        (" BOUNDARY = edge ", b"edge"),
        ("boundary=ab:cd/ef=_1'()+,-.?", b"ab:cd/ef=_1'()+,-.?"),
        ('boundary="with space"', b"with space"),
        ('type="a;b"; boundary=edge', b"edge"),
        ('boundary="a\\"b"', b'a"b'),
        ("boundary=" + "x" * 70, b"x" * 70),
    ],
)
def test_boundaries_quoted_or_not(parameter: str, boundary: bytes) -> None:
    body = joined(sdp_part(), boundary=boundary)
    assert only(body, f"multipart/mixed;{parameter}") == [SDP]


@pytest.mark.parametrize("parameter", ["", "boundary=", 'boundary=""', "boundary=" + "x" * 71])
def test_a_multipart_without_a_usable_boundary_is_refused(parameter: str) -> None:
    with pytest.raises(BodyError, match="without a boundary") as caught:
        split(f"multipart/mixed;{parameter}", joined(sdp_part()))
    assert caught.value.status == 400


def test_preamble_and_epilogue_are_not_content() -> None:
    body = b"\r\npreamble --edge \r\n" + joined(sdp_part()) + b"epilogue\r\n--edge\r\nmore"
    assert only(body) == [SDP]


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_the_line_end_before_a_delimiter_is_not_content(line_end: bytes) -> None:
    body = joined(b"Content-Type: application/sdp" + line_end * 2 + b"v=0", end=line_end)
    assert only(body) == [b"v=0"]


def test_a_delimiter_may_be_padded_and_the_last_one_missing() -> None:
    assert only(b"--edge \t\r\n" + sdp_part() + b"\r\n--edge-- ") == [SDP]
    assert only(b"--edge\r\n" + sdp_part()) == [SDP]
    assert only(b"\n--edge\r\n" + sdp_part() + b"\r\n--edge--") == [SDP]


def test_what_only_looks_like_a_delimiter_is_content() -> None:
    content = b"x--edge\r\n--edgeways\r\n--edge x\r\n"
    assert only(joined(b"Content-Type: a/b\r\n\r\n" + content)) == [content]


def test_binary_content_is_untouched() -> None:
    content = bytes(range(256)) + b"\r\n\r\n\x00--edg\r"
    assert only(joined(b"Content-Type: a/b\r\n\r\n" + content)) == [content]


def test_part_headers_are_read_leniently() -> None:
    header = (
        b"content-DISPOSITION:recording-session;\r\n\thandling=Optional\r\n"
        b"Content-Length: 9999\r\nContent-Type :application/rs-metadata\r\n\r\n"
    )
    (part,) = split("multipart/mixed;boundary=edge", joined(header + XML))
    assert part.content_type == "application/rs-metadata"
    assert (part.disposition, part.handling, part.content) == ("recording-session", "optional", XML)


def test_a_blank_line_before_the_content_stays() -> None:
    assert only(joined(xml_part(b"\r\n" + XML))) == [b"\r\n" + XML]


def test_a_part_without_headers_is_plain_text() -> None:
    parts = split("multipart/mixed;boundary=edge", joined(b"\r\nhello", b"hello again"))
    assert [(part.content_type, part.content) for part in parts] == [
        ("text/plain", b"hello"),
        ("text/plain", b"hello again"),
    ]


def test_parts_follow_each_other_without_content() -> None:
    assert only(b"--edge\r\n--edge\r\n\r\n--edge--\r\n") == [b"", b""]


@pytest.mark.parametrize(
    ("name", "encoded"),
    [(b"quoted-printable", b"v=3D0\r\n"), (b"BASE64", b"dj0wDQo=")],
)
def test_transfer_encodings_are_removed(name: bytes, encoded: bytes) -> None:
    header = b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: " + name + b"\r\n\r\n"
    assert only(joined(header + encoded)) == [b"v=0\r\n"]


def test_broken_base64_is_refused() -> None:
    header = b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    with pytest.raises(BodyError, match="part is not base64"):
        split("multipart/mixed;boundary=edge", joined(header + b"dj0wD"))


def test_nested_multiparts_are_flattened_in_order() -> None:
    inner = b"Content-Type: multipart/related;boundary=in\r\n\r\n" + joined(
        xml_part(), boundary=b"in"
    )
    assert only(joined(sdp_part(), inner, sdp_part(b"v=1"))) == [SDP, XML, b"v=1"]


def test_of_alternatives_the_last_one_understood_counts() -> None:
    kind = "multipart/alternative;boundary=edge"
    foreign = b"Content-Type: text/html\r\n\r\n<p>"
    assert only(joined(sdp_part(b"v=1"), sdp_part(SDP), foreign), kind) == [SDP]
    assert only(joined(foreign, b"Content-Type: a/b\r\n\r\nlast"), kind) == [b"last"]


def test_an_optional_multipart_makes_its_parts_optional() -> None:
    inner = (
        b"Content-Type: multipart/mixed;boundary=in\r\n"
        b"Content-Disposition: signal;handling=optional\r\n\r\n"
    ) + joined(b"Content-Type: a/b\r\n\r\nx", boundary=b"in")
    bodies = select(split("multipart/mixed;boundary=edge", joined(sdp_part(), inner)))
    assert (bodies.sdp, bodies.ignored, bodies.warnings) == (SDP, ("a/b",), ())


def nested(depth: int) -> bytes:
    body = sdp_part()
    for level in range(depth, 0, -1):
        mark = b"b%d" % level
        body = (
            b"Content-Type: multipart/mixed;boundary="
            + mark
            + b"\r\n\r\n"
            + joined(body, boundary=mark)
        )
    return body


def test_nesting_is_followed_so_far_and_no_further() -> None:
    assert only(joined(nested(MAX_DEPTH - 1))) == [SDP]
    with pytest.raises(BodyError, match="nested deeper than 4") as caught:
        split("multipart/mixed;boundary=edge", joined(nested(MAX_DEPTH)))
    assert caught.value.status == 413


def test_a_thousand_nested_multiparts_or_messages_do_no_harm() -> None:
    with pytest.raises(BodyError):
        split("multipart/mixed;boundary=edge", joined(nested(1200)))
    messages = b"Content-Type: message/rfc822\r\n\r\n" * 1200
    (part,) = split("multipart/mixed;boundary=edge", joined(messages))
    assert part.content_type == "message/rfc822"


def test_parts_are_counted() -> None:
    assert len(only(joined(*[sdp_part()] * MAX_PARTS))) == MAX_PARTS
    with pytest.raises(BodyError, match="more than 16 parts") as caught:
        split("multipart/mixed;boundary=edge", joined(*[sdp_part()] * (MAX_PARTS + 1)))
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * (MAX_BYTES + 1), 413),
        (b"no delimiter", 400),
        (b"--edge\r\n" + b"a: b\r\n" * 33, 400),
        (b"--edge\r\nContent-Type: a/b;" + b"x=1;" * 500 + b"\r\n\r\n", 400),
        (b"--edge\r\n" + b"\r\n--edges" * 2000, 413),
    ],
    ids=["size", "delimiter", "fields", "field", "lookalikes"],
)
def test_limits(body: bytes, status: int) -> None:
    with pytest.raises(BodyError) as caught:
        split("multipart/mixed;boundary=edge", body)
    assert caught.value.status == status


def test_parts_are_selected_by_type_whatever_their_order_or_spelling() -> None:
    for name in (b"application/rs-metadata+xml", b"Application/RS-Metadata+XML;charset=latin1"):
        parts = split("multipart/mixed;boundary=edge", joined(xml_part(type_=name), sdp_part()))
        bodies = select(parts)
        assert (bodies.sdp, bodies.metadata, bodies.warnings) == (SDP, XML, ())
    assert bodies.charset == "latin1"
    legacy = split("application/rs-metadata", XML)
    assert select(legacy).metadata == XML
    assert select(legacy).sdp is None
    assert select(()) == select(split("", b""))


def test_the_first_of_two_descriptions_counts() -> None:
    body = joined(sdp_part(), sdp_part(b"v=1"), xml_part(), xml_part(b"<other/>"))
    bodies = select(split("multipart/mixed;boundary=edge", body))
    assert (bodies.sdp, bodies.metadata) == (SDP, XML)
    assert bodies.warnings == ("sdp_duplicate", "metadata_duplicate")
    assert bodies.ignored == ("application/sdp", "application/rs-metadata+xml")


@pytest.mark.parametrize(
    ("disposition", "warnings"),
    [(b"", ("part_unknown",)), (b"Content-Disposition: signal;handling=optional\r\n", ())],
)
def test_an_unknown_part_is_passed_over(disposition: bytes, warnings: tuple[str, ...]) -> None:
    unknown = b"Content-Type: application/gtd\r\n" + disposition + b"\r\nIAM,"
    bodies = select(split("multipart/mixed;boundary=edge", joined(unknown, sdp_part())))
    assert (bodies.sdp, bodies.ignored) == (SDP, ("application/gtd",))
    assert bodies.warnings == warnings


@pytest.mark.parametrize("disposition", [b"signal;handling=required", b"signal"])
def test_an_unknown_part_that_must_be_understood_is_refused(disposition: bytes) -> None:
    unknown = (
        b"Content-Type: application/isup\r\nContent-Disposition: " + disposition + b"\r\n\r\n."
    )
    with pytest.raises(BodyError, match="cannot read application/isup") as caught:
        select(split("multipart/mixed;boundary=edge", joined(sdp_part(), unknown)))
    assert caught.value.status == 415


def test_nothing_readable_at_all_is_refused() -> None:
    with pytest.raises(BodyError) as caught:
        select(split("text/plain", b"hello"))
    assert caught.value.status == 415


def test_an_encoded_part_is_not_readable() -> None:
    header = b"Content-Type: application/sdp\r\nContent-Encoding: "
    parts = split(
        "multipart/mixed;boundary=edge",
        joined(header + b"gzip\r\n\r\n\x1f\x8b", header + b"identity\r\n\r\n" + SDP),
    )
    assert [part.readable for part in parts] == [False, True]
    assert select(parts).sdp == SDP


FRAGMENTS = st.sampled_from(
    [
        b"--edge",
        b"--edge--",
        b"--in",
        b"\r\n",
        b"\n",
        b"\r",
        b"Content-Type: multipart/mixed;boundary=in\r\n",
        b"Content-Type: multipart/alternative;boundary=edge\r\n",
        b"Content-Type: application/sdp\r\n",
        b"Content-Disposition: signal;handling=",
        b'Content-Type: a/b;x="\\"\r\n',
        b"Content-Transfer-Encoding: base64\r\n",
        b" folded\r\n",
        b"\xff\x00",
    ]
)


@settings(deadline=None)
@given(st.lists(FRAGMENTS | st.binary(max_size=8), max_size=60).map(b"".join))
def test_any_body_is_split_or_refused(body: bytes) -> None:
    try:
        parts = split("multipart/mixed;boundary=edge", body)
        select(parts)
    except BodyError as error:
        assert error.status in {400, 413, 415}
    else:
        assert len(parts) <= MAX_PARTS
        assert sum(len(part.content) for part in parts) <= len(body)


@settings(deadline=None)
@given(st.text(max_size=100), st.text(max_size=40), st.binary(min_size=1, max_size=40))
def test_any_header_value_is_read_or_refused(kind: str, disposition: str, body: bytes) -> None:
    for content_type in (kind, f"multipart/mixed;{kind}", f"application/sdp;{kind}"):
        try:
            split(content_type, body, disposition)
        except BodyError as error:
            assert error.status in {400, 413, 415}


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=60).filter(lambda b: b"--edge" not in b), min_size=1, max_size=9)
)
def test_content_survives_exactly(contents: list[bytes]) -> None:
    assert (
        only(joined(*(b"Content-Type: a/b\r\n\r\n" + content for content in contents))) == contents
    )
