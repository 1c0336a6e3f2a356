"""Which platform a call came over, and what is not as agreed."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec import metadata, negotiation, sdp
from siprec.platforms import Agreement, agreed, examined, platform_of, standing
from siprec.session import Offer, Refused
from storage.directory import INITIAL, Entries
from storage.platforms import RecordingPlatform, RecordingProperties

NOW = datetime.now(UTC)
AUDIO = "m=audio 4000 RTP/AVP 0\r\n"
VIDEO = "m=video 4100 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
SESSION = '<session session_id="s1">{}</session>'


def platform(name: str = "p", **changes: Any) -> RecordingPlatform:
    fields = {
        "net_address": "192.0.2.7",
        "media_stream": "Dual",
        "transport_protocol": "Unspecified",
        "schema_version": "3.0",
        "support_video_recording": False,
    }
    return RecordingPlatform(name, **{**fields, **changes})


def entries(*platforms: RecordingPlatform, **properties: Any) -> Entries:
    return Entries.of([*INITIAL.by_key().values(), *platforms, RecordingProperties(**properties)])


def offer(*media: str, document: str = "", **changes: Any) -> Offer:
    text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    described = sdp.parse((text + "".join(media)).encode()) if media else None
    head = '<recording xmlns="urn:ietf:params:xml:ns:recording:1">'
    stated = metadata.parse(f"{head}{document}</recording>".encode()) if document else None
    made = Offer("d", "c", frozenset(), "192.0.2.7", NOW, described, stated)
    return replace(made, transport="udp", local_port=5060, **changes)


def warned(made: Offer, of: RecordingPlatform, **properties: Any) -> tuple[str, ...]:
    plan = negotiation.plan(made.sdp, None) if made.sdp else negotiation.Plan()
    agreement = Agreement(of, RecordingProperties(**properties))
    return examined(made, plan, agreement).warnings


@pytest.mark.parametrize(
    ("entry", "transport", "host", "port", "is_it"),
    [
        ({}, "udp", "192.0.2.7", 5060, True),
        ({}, "tcp", "192.0.2.7", 5060, True),
        ({}, "udp", "192.0.2.8", 5060, False),
        ({}, "udp", "192.0.2.7", 5070, False),
        ({"port": 5070}, "udp", "192.0.2.7", 5070, True),
        ({"port": 5060}, "udp", "192.0.2.7", 5060, True),
        ({"transport_protocol": "UDP"}, "udp", "192.0.2.7", 5060, True),
        ({"transport_protocol": "UDP"}, "tcp", "192.0.2.7", 5060, False),
        ({"transport_protocol": "TCP"}, "tcp", "192.0.2.7", 5060, True),
        ({"transport_protocol": "TCP"}, "udp", "192.0.2.7", 5060, False),
        ({"net_address": "2001:DB8:0::7"}, "udp", "2001:db8::7", 5060, True),
        ({"net_address": "[2001:db8::7]"}, "udp", "2001:db8::7", 5060, True),
        ({"net_address": "srs.example"}, "udp", "10.0.0.1", 5060, True),
        ({"net_address": "SRS.Example."}, "udp", "10.0.0.1", 5060, True),
        ({"net_address": "srs.example.org"}, "udp", "10.0.0.1", 5060, False),
    ],
)
def test_a_call_came_over_the_platform_whose_address_is_our_listener(
    entry: dict[str, Any], transport: str, host: str, port: int, is_it: bool
) -> None:
    found = platform_of(entries(platform(**entry)), transport, host, port, "srs.example")
    assert (found is not None) is is_it


@pytest.mark.parametrize(
    ("named", "default", "first"),
    [
        ([("a", "Unspecified"), ("b", "UDP")], None, "b"),
        ([("a", "UDP"), ("b", "UDP")], None, "a"),
        ([("a", "UDP"), ("b", "UDP")], "b", "b"),
        ([("a", "Unspecified"), ("b", "UDP")], "a", "b"),
        ([("a", "TCP"), ("b", "Unspecified")], "a", "b"),
    ],
)
def test_of_several_the_nearest_is_it(
    named: list[tuple[str, str]], default: str | None, first: str
) -> None:
    every = [platform(name, transport_protocol=kind) for name, kind in named]
    found = platform_of(entries(*every, default_platform=default), "udp", "192.0.2.7", 5060)
    assert found is not None and found.name == first


def test_without_a_platform_nothing_is_agreed_and_nothing_is_examined() -> None:
    assert agreed(INITIAL, offer(AUDIO), "") is None
    assert agreed(entries(platform(port=5070)), offer(AUDIO), "") is None
    assert (
        agreed(entries(platform()), replace(offer(AUDIO), transport="", local_port=0), "") is None
    )
    made = offer(AUDIO, VIDEO)
    assert made.sdp is not None
    assert examined(made, negotiation.plan(made.sdp), None) is made


def test_what_is_agreed_is_what_the_directory_says_now() -> None:
    one = entries(platform(), max_response_wait_ms=250)
    found = agreed(one, offer(AUDIO), "")
    assert found == standing(one, "p") == Agreement(platform(), one.properties)
    assert found.answer_within_s == 0.25 and found.outlasts_failure and found.is_dual
    assert standing(one, "") is None and standing(INITIAL, "p") is None


@pytest.mark.parametrize(
    ("media_stream", "media", "is_odd"),
    [
        ("Dual", [AUDIO, AUDIO], False),
        ("Dual", [AUDIO], True),
        ("Dual", [AUDIO, AUDIO, AUDIO], True),
        ("Dual", [AUDIO, AUDIO, AUDIO.replace("4000", "0")], False),
        ("Dual", [AUDIO, AUDIO, VIDEO], False),
        ("Single", [AUDIO], False),
        ("Single", [AUDIO, AUDIO], True),
        ("Single", [], False),
    ],
)
def test_another_number_of_streams_is_flagged(
    media_stream: str, media: list[str], is_odd: bool
) -> None:
    found = warned(offer(*media), platform(media_stream=media_stream))
    assert found == (("platform_streams",) if is_odd else ())


FIRST = 'version="1.0"'
DATA = '<x:callData xmlns:x="urn:x" {}><userID>u</userID></x:callData>'


@pytest.mark.parametrize(
    ("document", "is_odd"),
    [
        ("", False),
        (SESSION.format(""), False),
        (SESSION.format(DATA.format('version="3.0"')), False),
        (SESSION.format(DATA.format('version="1.0"')), True),
        (SESSION.format(DATA.format('schemaVersion="2.0"')), True),
        (SESSION.format(DATA.format('schemaVersion=" 3.0 "')), False),
        (SESSION.format(DATA.format("")), False),
        (
            SESSION.format("") + f"<extensiondata>{DATA.format(FIRST)}</extensiondata>",
            True,
        ),
        (SESSION.format('<x:y xmlns:x="urn:x" version="1.0"><x:z>1</x:z></x:y>'), False),
        (SESSION.format('<x:schemaVersion xmlns:x="urn:x">1.0</x:schemaVersion>'), True),
    ],
)
def test_another_version_of_the_extension_data_is_flagged(document: str, is_odd: bool) -> None:
    found = warned(offer(AUDIO, document=document), platform(media_stream="Single"))
    assert found == (("platform_schema",) if is_odd else ())


@pytest.mark.parametrize("goes_on", [True, False])
def test_video_that_nobody_asked_to_be_recorded_costs_nothing(goes_on: bool) -> None:
    rule = {"continue_call_after_video_recording_failure": goes_on}
    one = platform(media_stream="Single")
    assert warned(offer(AUDIO, VIDEO), one, **rule) == ()
    able = platform(media_stream="Single", support_video_recording=True)
    assert warned(offer(AUDIO), able, **rule) == ()
    assert warned(offer(AUDIO, VIDEO.replace("4100", "0")), able, **rule) == ()


def test_video_that_cannot_be_recorded_is_flagged_or_costs_the_call() -> None:
    able = platform(media_stream="Single", support_video_recording=True)
    assert warned(offer(AUDIO, VIDEO), able) == ("video_not_recorded",)
    with pytest.raises(Refused) as caught:
        warned(offer(AUDIO, VIDEO), able, continue_call_after_video_recording_failure=False)
    assert caught.value.status == 503


@given(host=st.text(max_size=90), port=st.integers(0, 70_000), other=st.text(max_size=90))
def test_no_text_is_too_odd_for_an_address(host: str, port: int, other: str) -> None:
    one = entries(platform(net_address=host))
    found = platform_of(one, "udp", other, port, other)
    assert found is None or port == 5060
