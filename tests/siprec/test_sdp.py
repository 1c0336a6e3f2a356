import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.sdp import (
    DIRECTIONS,
    MAX_BYTES,
    MAX_FORMATS,
    MAX_LINES,
    MAX_MEDIA,
    Encoding,
    MediaDescription,
    SdpError,
    SessionDescription,
    parse,
)

OFFER = (
    b"v=0\r\n"
    b"o=edge 20 3 IN IP4 198.51.100.7\r\n"
    b"s=recorded\r\n"
    b"b=AS:128\r\n"
    b"c=IN IP4 198.51.100.7\r\n"
    b"t=0 0\r\n"
    b"a=sendonly\r\n"
    b"a=3gOoBTC\r\n"
    b"m=audio 41000 RTP/AVP 8 0 101\r\n"
    b"i=caller\r\n"
    b"b=X:128.5\r\n"
    b"c=IN IP6 2001:db8::7\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-16\r\n"
    b"a=ptime:20\r\n"
    b"a=label:caller leg\r\n"
    b"a=rtcp:41999 IN IP4 198.51.100.8\r\n"
    b"a=rtcp-mux\r\n"
    b"m=Video 0/2 RTP/SAVPF 96\r\n"
    b"a=inactive\r\n"
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc\r\n"
    b"a=crypto:2 AEAD_AES_128_GCM inline:def\r\n"
)


def audio(*lines: str, formats: str = "0") -> MediaDescription:
    head = f"v=0\nc=IN IP4 192.0.2.4\nm=audio 7000 RTP/AVP {formats}\n"
    return parse((head + "".join(f"{line}\n" for line in lines)).encode()).media[0]


def test_every_line_comes_back_in_order() -> None:
    assert parse(OFFER).encode() == OFFER
    assert bytes(parse(OFFER.replace(b"\r\n", b"\n"))) == OFFER


def test_typed_views() -> None:
    description = parse(OFFER)
    first, second = description.media
    assert description.origin == "edge 20 3 IN IP4 198.51.100.7"
    assert (first.media, first.port, first.port_count, first.protocol) == (
        "audio",
        41000,
        1,
        "RTP/AVP",
    )
    assert (first.formats, first.label, first.ptime_ms) == (("8", "0", "101"), "caller leg", 20)
    assert first.fmtp == {101: "0-16"}
    assert (first.rtcp, first.rtcp_mux) == (("198.51.100.8", 41999), True)
    assert (second.media, second.port, second.port_count) == ("video", 0, 2)
    assert (second.label, second.ptime_ms, second.rtcp_mux, second.crypto) == (
        "",
        None,
        False,
        ("1 AES_CM_128_HMAC_SHA1_80 inline:abc", "2 AEAD_AES_128_GCM inline:def"),
    )


def test_media_level_goes_before_session_level() -> None:
    first, second = parse(OFFER).media
    assert (first.address, first.direction) == ("2001:db8::7", "sendonly")
    assert (second.address, second.direction) == ("198.51.100.7", "inactive")


def test_without_any_direction_it_is_sendrecv() -> None:
    assert audio().direction == "sendrecv"
    assert audio("a=RecvOnly ").direction == "recvonly"


def test_encodings_follow_the_order_of_the_media_line() -> None:
    media = audio(
        "a=rtpmap:0 pcmu/8000",
        "a=rtpmap:107 opus/48000/2",
        "a=rtpmap:96 nobody/0",
        "a=rtpmap:110 unused/8000",
        formats="18 107 0 9 96 97 128 x",
    )
    assert list(media.encodings.items()) == [
        (18, Encoding("G729", 8000)),
        (107, Encoding("opus", 48000, 2)),
        (0, Encoding("pcmu", 8000)),
        (9, Encoding("G722", 8000)),
    ]


@pytest.mark.parametrize(
    "value", ["sbc.example", "999.1.1.1", "::1%eth0", "IN IP4", "x" * 1000, "1.2.3.4 5"]
)
def test_an_address_that_is_no_literal_is_none(value: str) -> None:
    assert audio(f"c=IN IP4 {value}").address == ""


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("IN IP4 0.0.0.0", "0.0.0.0"),
        ("IN IP4 233.252.0.1/127/3", "233.252.0.1"),
        ("in ip6 2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_address_literals(value: str, address: str) -> None:
    assert audio(f"c={value}").address == address


@pytest.mark.parametrize(
    ("line", "rtcp"),
    [
        ("a=x", ("192.0.2.4", 7001)),
        ("a=rtcp:9001", ("192.0.2.4", 9001)),
        ("a=rtcp:9001 IN IP6 2001:db8::9", ("2001:db8::9", 9001)),
        ("a=rtcp:9001 IN IP4 rtcp.example", ("", 9001)),
        ("a=rtcp:70000", ("192.0.2.4", 0)),
        ("a=rtcp:0", ("192.0.2.4", 0)),
        ("a=rtcp:port", ("192.0.2.4", 7001)),
    ],
)
def test_where_rtcp_goes(line: str, rtcp: tuple[str, int]) -> None:
    assert audio(line).rtcp == rtcp


def test_no_rtcp_beside_port_zero_or_the_last_port() -> None:
    closed, last = parse(b"m=audio 0 RTP/AVP 0\nm=audio 65535 RTP/AVP 0\n").media
    assert (closed.rtcp[1], last.rtcp[1]) == (0, 0)


@pytest.mark.parametrize("value", ["0", "-1", "1000000000", "20.5", "twenty", ""])
def test_packet_times_out_of_reason_are_none(value: str) -> None:
    assert audio(f"a=ptime:{value}").ptime_ms is None


def test_a_label_is_printable_and_not_overlong() -> None:
    assert audio("a=label: 16777227 ").label == "16777227"
    assert audio("a=label:" + "x" * 128).label == "x" * 128
    assert audio("a=label:" + "x" * 129).label == ""
    assert audio("a=label:a\0b").label == ""


def test_attribute_names_are_whole() -> None:
    media = audio("a=labels:7", "a=fmtp\0:101 0-16", "a=rtcp-fb:* nack", "a=label")
    assert (media.attribute("label"), media.fmtp, media.attribute("nothing")) == ("", {}, None)
    assert media.attributes("rtcp-fb") == ("* nack",)


@pytest.mark.parametrize(
    ("line", "timing"),
    [("t=2873397496 2873404696", "2873397496 2873404696"), ("t=now", "0 0"), ("s=-", "0 0")],
)
def test_timing(line: str, timing: str) -> None:
    assert parse(f"v=0\n{line}\n".encode()).timing == timing


def test_odd_forms_are_accepted() -> None:
    description = parse(
        b"\xef\xbb\xbf\r\n\nv=0\r"
        b"k=clear:x\r"
        b"z\r"
        b"Q=what\r"
        b"m=audio  9  RTP/AVP  0 \t8 \r"
        b"t=0 0\r"
        b"\r"
        b"c=IN IP4 192.0.2.1"
    )
    (media,) = description.media
    assert description.lines == ("v=0", "k=clear:x", "z", "Q=what")
    assert (description.origin, description.timing) == ("", "0 0")
    assert (media.port, media.formats, media.address) == (9, ("0", "8"), "192.0.2.1")


def test_a_description_may_have_no_media() -> None:
    assert parse(b"v=0\r\ns=-\r\n") == SessionDescription(("v=0", "s=-"), ())


@pytest.mark.parametrize(
    "line",
    [
        "m=audio",
        "m=audio x RTP/AVP 0",
        "m=audio -1 RTP/AVP 0",
        "m=audio 65536 RTP/AVP 0",
        "m=audio 4294967296 RTP/AVP 0",
        "m=audio 9",
        "m=",
    ],
)
def test_a_media_line_that_cannot_be_read_is_refused(line: str) -> None:
    with pytest.raises(SdpError, match="m-line cannot be read") as caught:
        parse(f"v=0\r\n{line}\r\n".encode())
    assert caught.value.status == 400


def test_something_else_is_refused() -> None:
    for data in (b"", b"<recording/>", b"\0\0"):
        with pytest.raises(SdpError, match="neither v= nor m= line"):
            parse(data)


def test_limits() -> None:
    line = b"m=audio 9 RTP/AVP 0\n"
    assert len(parse(line * MAX_MEDIA).media) == MAX_MEDIA
    with pytest.raises(SdpError, match="65 m-lines") as caught:
        parse(line * (MAX_MEDIA + 1))
    assert caught.value.status == 488
    formats = b"m=audio 9 RTP/AVP" + b" 0" * MAX_FORMATS
    assert len(parse(formats).media[0].formats) == MAX_FORMATS
    with pytest.raises(SdpError, match="129 formats"):
        parse(formats + b" 0")
    lines = b"v=0\n" + b"a=x\n" * (MAX_LINES - 1)
    assert len(parse(lines).lines) == MAX_LINES
    with pytest.raises(SdpError, match="4097 lines"):
        parse(lines + b"a=x")
    assert parse(b"v=0".ljust(MAX_BYTES))
    with pytest.raises(SdpError, match="at most 65536") as caught:
        parse(b"v=0".ljust(MAX_BYTES + 1))
    assert caught.value.status == 413


def views(media: MediaDescription) -> tuple[object, ...]:
    return (media.encodings, media.fmtp, media.rtcp, media.ptime_ms, media.label, media.crypto)


LINES = st.sampled_from(
    [
        "v=0",
        "m=audio 9 RTP/AVP 0 8",
        "m=audio 70000 x 0",
        "c=IN IP4 ",
        "c=IN IP6 ::",
        "a=rtpmap:",
        "a=rtpmap:0 PCMU/8000",
        "a=fmtp:",
        "a=rtcp:",
        "a=label:",
        "a=ptime:",
        "a=sendonly",
        "\r\n",
        "\n",
        "128 ",
        "-1",
        "٣",
    ]
)


@settings(deadline=None)
@given(st.lists(LINES | st.text(max_size=6), max_size=40).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        description = parse(text.encode("utf-8", "replace"))
    except SdpError as error:
        assert error.status in {400, 413, 488}
        return
    for media in description.media:
        views(media)
        assert 0 <= media.port <= 65535
        assert media.direction in DIRECTIONS
    again = parse(description.encode())
    assert again == description
    assert again.encode() == description.encode()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert parse(b"v=0\n" + data).encode().startswith(b"v=0")
    except SdpError:
        assert b"m=" in data
