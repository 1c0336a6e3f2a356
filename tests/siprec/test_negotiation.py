from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.negotiation import NotAcceptable, Origin, Plan, answer, plan
from siprec.sdp import SdpError, SessionDescription, parse

ORIGIN = Origin("srs", "7001")
TELEPHONE = "a=rtpmap:101 telephone-event/8000"


def described(*lines: str) -> SessionDescription:
    head = ["v=0", "o=edge 20 3 IN IP4 198.51.100.7", "s=-", "c=IN IP4 198.51.100.7", "t=0 0"]
    return parse("\r\n".join([*head, *lines]).encode())


def audio(port: int, label: str = "", formats: str = "8", *lines: str) -> list[str]:
    label_line = [f"a=label:{label}"] if label else []
    return [f"m=audio {port} RTP/AVP {formats}", *lines, *label_line]


def offered(*sections: list[str]) -> SessionDescription:
    return described(*(line for section in sections for line in section))


def ports(plan: Plan) -> Mapping[int, int]:
    return {slot.index: 30000 + 2 * slot.stream for slot in plan.slots if slot.accepted}


def answered(plan: Plan, previous: SessionDescription | None = None) -> SessionDescription:
    return answer(plan, ports(plan), "203.0.113.20", ORIGIN, previous)


def streams(plan: Plan) -> list[int]:
    return [slot.stream for slot in plan.slots]


VIDEO = ["m=video 50000 RTP/AVP 96", "a=rtpmap:96 H264/90000"]


def test_two_labelled_streams_are_answered() -> None:
    offer = offered(
        [*audio(41000, "1", "8 101", TELEPHONE, "a=fmtp:101 0-16"), "a=sendonly"],
        [*audio(41002, "2", "8 101", TELEPHONE), "a=inactive"],
    )
    assert answered(plan(offer)).encode() == (
        b"v=0\r\n"
        b"o=srs 7001 1 IN IP4 203.0.113.20\r\n"
        b"s=-\r\n"
        b"c=IN IP4 203.0.113.20\r\n"
        b"t=0 0\r\n"
        b"m=audio 30000 RTP/AVP 8 101\r\n"
        b"a=rtpmap:8 PCMA/8000\r\n"
        b"a=rtpmap:101 telephone-event/8000\r\n"
        b"a=fmtp:101 0-15\r\n"
        b"a=recvonly\r\n"
        b"a=label:1\r\n"
        b"m=audio 30002 RTP/AVP 8 101\r\n"
        b"a=rtpmap:8 PCMA/8000\r\n"
        b"a=rtpmap:101 telephone-event/8000\r\n"
        b"a=fmtp:101 0-15\r\n"
        b"a=inactive\r\n"
        b"a=label:2\r\n"
    )


def test_an_ipv6_answer() -> None:
    first = plan(offered(audio(41000)))
    text = answer(first, {0: 30000}, "2001:db8::20", ORIGIN).encode()
    assert b"o=srs 7001 1 IN IP6 2001:db8::20\r\n" in text
    assert b"c=IN IP6 2001:db8::20\r\n" in text


def test_a_slot_has_what_the_media_process_needs() -> None:
    (slot,) = plan(offered(audio(41000, "left", "13 8 0 101", TELEPHONE))).slots
    assert slot.formats == {13: "CN", 8: "PCMA", 0: "PCMU", 101: "telephone-event"}
    assert list(slot.formats) == [13, 8, 0, 101]
    assert slot.clock_rates == dict.fromkeys([13, 8, 0, 101], 8000)
    assert (slot.label, slot.labelled, slot.accepted) == ("left", True, True)
    assert (slot.rtcp_host, slot.rtcp_port) == ("198.51.100.7", 41001)


@pytest.mark.parametrize(
    ("session", "media", "ours"),
    [
        ("", "", "recvonly"),
        ("", "sendonly", "recvonly"),
        ("", "sendrecv", "recvonly"),
        ("", "recvonly", "inactive"),
        ("", "inactive", "inactive"),
        ("sendonly", "", "recvonly"),
        ("inactive", "", "inactive"),
        ("inactive", "sendonly", "recvonly"),
    ],
)
def test_directions(session: str, media: str, ours: str) -> None:
    lines = [f"a={session}"] if session else []
    offer = described(*lines, *audio(41000), *([f"a={media}"] if media else []))
    (slot,) = plan(offer).slots
    assert slot.direction == ours
    assert f"a={ours}\r\n".encode() in answered(plan(offer)).encode()


def test_every_recordable_payload_type_is_answered_in_offer_order() -> None:
    offer = offered(
        audio(
            41000,
            "1",
            "111 18 2 8 0 107 101 19",
            "a=rtpmap:111 opus/48000/2",
            "a=rtpmap:107 telephone-event/48000",
            TELEPHONE,
        )
    )
    text = answered(plan(offer)).encode()
    assert b"m=audio 30000 RTP/AVP 8 0 107 101\r\n" in text
    assert b"a=rtpmap:107 telephone-event/48000\r\na=fmtp:107 0-15\r\n" in text
    assert b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n" in text


def test_names_are_matched_without_case_and_dynamic_types_by_name() -> None:
    offer = offered(audio(41000, "1", "96 97", "a=rtpmap:96 pcmu/8000", "a=rtpmap:97 PCMA/16000"))
    (slot,) = plan(offer).slots
    assert slot.formats == {96: "PCMU"}


def test_two_channels_in_one_stream_are_not_recordable() -> None:
    with pytest.raises(NotAcceptable):
        plan(offered(audio(41000, "1", "96", "a=rtpmap:96 PCMU/8000/2")))


def test_a_static_type_mapped_to_something_else_is_that() -> None:
    with pytest.raises(NotAcceptable):
        plan(offered(audio(41000, "1", "0", "a=rtpmap:0 opus/48000/2")))


def test_unacceptable_media_keep_their_place() -> None:
    offer = offered(
        ["m=image 9000 udptl t38"],
        VIDEO,
        audio(41000, "1"),
        ["m=audio 41004 RTP/SAVP 8", "a=label:s"],
        audio(41006, "g", "18"),
        audio(41008, "e", "101", TELEPHONE),
        ["m=application 9 DTLS/SCTP"],
    )
    result = plan(offer)
    assert [slot.accepted for slot in result.slots] == [False, False, True, *[False] * 4]
    assert result.warnings == ("media_refused",)
    text = answered(result).encode()
    assert [line for line in text.splitlines() if line.startswith(b"m=")] == [
        b"m=image 0 udptl t38",
        b"m=video 0 RTP/AVP 96",
        b"m=audio 30004 RTP/AVP 8",
        b"m=audio 0 RTP/SAVP 8",
        b"m=audio 0 RTP/AVP 18",
        b"m=audio 0 RTP/AVP 101",
        b"m=application 0 DTLS/SCTP 0",
    ]
    assert [media.label for media in parse(text).media] == ["", "", "1", "s", "g", "e", ""]


@pytest.mark.parametrize(
    ("section", "warning"),
    [
        (VIDEO, '304 siprecd "Media type not available"'),
        (audio(41000, "1", "18 101", TELEPHONE), '305 siprecd "Incompatible media format"'),
        (["m=audio 9 RTP/SAVPF 0"], '302 siprecd "Incompatible transport protocol"'),
    ],
)
def test_an_offer_of_nothing_recordable_is_refused(section: list[str], warning: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        plan(offered(section))
    assert (caught.value.status, caught.value.warning) == (488, warning)
    assert isinstance(caught.value, SdpError)


def test_avpf_is_taken_and_its_token_repeated() -> None:
    result = plan(described("m=audio 9 RTP/AVPF 0", "a=rtcp-fb:* nack", "a=rtcp-mux"))
    text = answered(result).encode()
    assert b"m=audio 30000 RTP/AVPF 0\r\n" in text
    assert b"rtcp" not in text


def test_nothing_but_our_own_attributes_is_answered() -> None:
    lines = ["a=record:on", "a=recordpref:off", "a=ice-ufrag:x", "a=mid:0", "a=setup:actpass"]
    text = answered(plan(described("a=group:BUNDLE 0", *audio(41000, "1"), *lines))).encode()
    names = {line[2:].split(b":")[0] for line in text.splitlines() if line.startswith(b"a=")}
    assert names == {b"rtpmap", b"recvonly", b"label"}


@pytest.mark.parametrize(
    ("lines", "rtcp"),
    [
        (["a=rtcp:9001"], ("198.51.100.7", 9001)),
        (["a=rtcp:9001 IN IP4 198.51.100.9"], ("198.51.100.9", 9001)),
        (["c=IN IP4 0.0.0.0"], ("", 0)),
        (["c=IN IP6 ::"], ("", 0)),
        (["c=IN IP4 233.252.0.1/127"], ("", 0)),
        (["c=IN IP4 sbc.example"], ("", 0)),
    ],
)
def test_where_reports_go(lines: list[str], rtcp: tuple[str, int]) -> None:
    (slot,) = plan(offered([*audio(41000), *lines])).slots
    assert slot.accepted
    assert (slot.rtcp_host, slot.rtcp_port) == rtcp


def test_missing_labels_are_made_up_but_not_answered() -> None:
    result = plan(offered(audio(41000), audio(41002, "1"), audio(41004)))
    assert [slot.label for slot in result.slots] == ["2", "1", "3"]
    assert result.labels == {"1": 1}
    assert answered(result).encode().count(b"a=label") == 1


def test_of_equal_labels_the_first_counts() -> None:
    result = plan(offered(audio(41000, "1"), audio(41002, "1")))
    assert (result.labels, result.warnings) == ({"1": 0}, ("label_duplicate",))
    assert sorted(result.streams) == [0, 1]


def test_the_timing_is_repeated() -> None:
    offer = parse(b"v=0\r\nt=3700000000 3700003600\r\nm=audio 9 RTP/AVP 0\r\n")
    assert b"t=3700000000 3700003600\r\n" in answered(plan(offer)).encode()


def test_the_version_changes_with_the_text_only() -> None:
    offer = offered(audio(41000, "1"))
    first = answered(plan(offer))
    assert answered(plan(offer), first) is first
    held = answered(plan(offered([*audio(41000, "1"), "a=inactive"])), first)
    assert held.origin == "srs 7001 2 IN IP4 203.0.113.20"
    assert answered(plan(offer), held).origin == "srs 7001 3 IN IP4 203.0.113.20"


def test_the_same_offer_again_is_the_same_plan() -> None:
    offer = offered(audio(41000, "1"), VIDEO, audio(0, "3"), audio(41006))
    first = plan(offer)
    assert plan(offer, first) == first


def test_streams_are_added_removed_and_their_slots_re_used() -> None:
    one = plan(offered(audio(41000, "1")))
    two = plan(offered(audio(41000, "1"), audio(41002, "2")), one)
    gone = plan(offered(audio(41000, "1"), audio(0, "2")), two)
    back = plan(offered(audio(41000, "1"), audio(41010, "3")), gone)
    assert list(one.streams) == [0]
    assert list(two.streams) == [0, 1]
    assert list(gone.streams) == [0]
    assert gone.warnings == ()
    first, second = back.slots
    assert first.stream == 0
    assert second.accepted
    assert second.stream not in {0, 1}


def test_a_slot_that_changes_its_medium_is_a_new_stream() -> None:
    before = plan(offered(audio(41000, "1"), audio(41002, "2")))
    after = plan(offered(audio(41000, "1"), VIDEO), before)
    assert list(after.streams) == [0]
    again = plan(offered(audio(41000, "1"), audio(41002, "2")), after)
    assert set(again.streams) - {0, 1}


def test_a_refused_slot_that_changes_its_medium_is_a_new_stream_too() -> None:
    before = plan(offered(audio(41000, "1"), VIDEO))
    image = plan(offered(audio(41000, "1"), ["m=image 50000 udptl t38"]), before)
    assert streams(before) == [0, 1]
    assert streams(image) == [0, 2]


def test_a_stream_lives_through_a_new_port_or_a_new_label() -> None:
    before = plan(offered(audio(41000, "1"), audio(41002, "2")))
    moved = plan(offered(audio(45000, "1"), audio(45002, "2")), before)
    renamed = plan(offered(audio(45000, "a"), audio(45002, "b")), moved)
    both = plan(offered(audio(46000, "x"), audio(46002, "y")), renamed)
    for later in (moved, renamed, both):
        assert (streams(later), later.warnings) == ([0, 1], ())


def test_swapped_labels_alone_do_not_swap_streams() -> None:
    before = plan(offered(audio(41000, "1"), audio(41002, "2")))
    after = plan(offered(audio(41000, "2"), audio(41002, "1")), before)
    assert streams(after) == [0, 1]
    assert after.labels == {"2": 0, "1": 1}


def test_an_m_line_put_in_front_moves_the_others_along() -> None:
    before = plan(offered(audio(41000, "1"), audio(41002, "2")))
    video = plan(offered([*VIDEO, "a=label:v"], audio(43000, "1"), audio(43002, "2")), before)
    assert streams(video)[1:] == [0, 1]
    assert video.warnings == ("media_refused", "media_moved")
    shrunk = plan(offered(audio(43000, "1"), audio(43002, "2")), video)
    assert streams(shrunk) == [0, 1]
    assert shrunk.warnings == ("media_missing", "media_moved")
    added = plan(offered(audio(43010, "3"), audio(43000, "1"), audio(43002, "2")), shrunk)
    assert streams(added)[1:] == [0, 1]
    assert streams(added)[0] not in {0, 1}


def test_missing_m_lines_are_closed() -> None:
    before = plan(offered(audio(41000, "1"), audio(41002, "2")))
    after = plan(offered(audio(41000, "1")), before)
    assert (list(after.streams), after.warnings) == ([0], ("media_missing",))
    assert answered(after).encode().count(b"m=") == 1


def test_all_streams_may_be_removed() -> None:
    before = plan(offered(audio(41000, "1")))
    after = plan(offered(audio(0, "1")), before)
    assert after.streams == {}
    assert b"m=audio 0 RTP/AVP 8\r\n" in answered(after).encode()
    assert plan(described()).slots == ()


def test_an_answer_of_the_peer_is_planned_like_an_offer() -> None:
    ours = plan(offered(audio(41000, "1"), audio(41002, "2")))
    theirs = plan(offered([*audio(47000, "1"), "a=sendonly"], audio(0, "2")), ours)
    assert list(theirs.streams) == [0]
    assert theirs.streams[0].rtcp_port == 47001


SECTIONS = st.builds(
    lambda media, port, protocol, formats, lines: [
        f"m={media} {port} {protocol} {formats}",
        *lines,
    ],
    st.sampled_from(["audio", "audio", "video", "image"]),
    st.sampled_from([0, 9, 41000, 65535]),
    st.sampled_from(["RTP/AVP", "rtp/avpf", "RTP/SAVP", "udptl"]),
    st.sampled_from(["0", "8 101", "0 0 13", "18", "t38", "128 -1 0"]),
    st.lists(
        st.sampled_from(
            ["a=label:1", "a=label:2", "a=inactive", "a=rtpmap:101 telephone-event/8000", "c=x"]
        ),
        max_size=3,
    ),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(SECTIONS, max_size=4), max_size=4))
def test_any_sequence_of_offers_is_answered_line_by_line(offers: list[list[list[str]]]) -> None:
    before, said = Plan(), None
    ended: set[int] = set()
    for sections in offers:
        offer = offered(*sections)
        try:
            after = plan(offer, before)
        except NotAcceptable:
            continue
        assert len(set(streams(after))) == len(after.slots) == len(offer.media)
        assert not ended & set(after.streams)
        ended |= set(before.streams) - set(after.streams)
        said = answered(after, said)
        for theirs, ours, slot in zip(offer.media, said.media, after.slots, strict=True):
            assert (ours.media, ours.protocol) == (theirs.media, theirs.protocol)
            assert ours.formats
            assert bool(ours.port) == slot.accepted <= bool(theirs.port)
        before = after
