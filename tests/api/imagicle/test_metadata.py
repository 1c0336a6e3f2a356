"""What is said of an upload: every field, and what it may not be."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.imagicle.metadata import InvalidData, InvalidMetadata, parse
from siprec.importer import Upload

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PUBLISHED = b"""{
    "direction": 2,
    "localParty": {
                       "phoneNumber": "376",
                       "username": "giuliano"
    },
    "pbxCallId": "1",
    "preserved": true,
    "duration": "PT1M30S",
    "notes": "text describing recording content",
    "startDateTime": "2018-09-25T13:00:00.0000000Z",
    "remoteParty": {
                        "phoneNumber": "123456"
    }
}"""
LEAST = {
    "startDateTime": "2026-11-22T10:00:00Z",
    "duration": "PT1S",
    "direction": 0,
    "localParty": {"username": "giuliano", "phoneNumber": "376"},
}


def said(**fields: Any) -> Upload:
    return parse(msgspec.json.encode({**LEAST, **fields}), NOW)


def test_the_published_example() -> None:
    assert parse(PUBLISHED, NOW) == Upload(
        username="giuliano",
        started_at=datetime(2018, 9, 25, 13, 0, tzinfo=UTC),
        duration_ms=90_000,
        local_party="376",
        remote_party="123456",
        direction="outgoing",
        call_id="1",
        note="text describing recording content",
        never_expire=True,
    )


@pytest.mark.parametrize(
    "absent", [{}, dict.fromkeys(("remoteParty", "pbxCallId", "notes", "preserved"))]
)
def test_what_need_not_be_said(absent: dict[str, None]) -> None:
    began = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert said(**absent) == Upload("giuliano", began, 1_000, "376")
    assert said(remoteParty={}).remote_party == said(remoteParty={"phoneNumber": None}).remote_party
    assert said(somethingElse=[1]) == said()


@pytest.mark.parametrize("number, direction", [(0, ""), (1, "incoming"), (2, "outgoing")])
def test_directions(number: int, direction: str) -> None:
    assert said(direction=number).direction == direction


@pytest.mark.parametrize(
    "text, at",
    [
        ("2018-11-01T16:39:15.0000000+02:00", datetime(2018, 11, 1, 14, 39, 15, tzinfo=UTC)),
        ("2018-11-01T16:39:15.1234567Z", datetime(2018, 11, 1, 16, 39, 15, 123_456, UTC)),
        ("2018-11-01T16:39:15", datetime(2018, 11, 1, 16, 39, 15, tzinfo=UTC)),
        ("20181101T163915Z", datetime(2018, 11, 1, 16, 39, 15, tzinfo=UTC)),
        ("2018-11-01", datetime(2018, 11, 1, tzinfo=UTC)),
        ("2026-11-22T12:00:00Z", NOW),
    ],
)
def test_times(text: str, at: datetime) -> None:
    found = said(startDateTime=text).started_at
    assert (found, found.tzinfo) == (at, UTC)


@pytest.mark.parametrize(
    "text, ms",
    [
        ("PT1M30S", 90_000),
        ("PT1M31.87S", 91_870),
        ("PT0M12.4S", 12_400),
        ("PT2H", 7_200_000),
        ("P1DT1S", 86_401_000),
        ("PT0.0001S", 1),
    ],
)
def test_durations(text: str, ms: int) -> None:
    assert said(duration=text).duration_ms == ms


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b"{'direction': 1}",
        b'{"direction": NaN}',
        b"\xff\xfe{}",
        b'{"a":"\xff"}',
        b"[" * 60_000,
        b'{"a":' * 12_000,
    ],
)
def test_what_is_no_object_is_invalid_data(body: bytes) -> None:
    with pytest.raises(InvalidData):
        parse(body, NOW)


def test_a_byte_order_mark_does_not_matter() -> None:
    assert parse(b"\xef\xbb\xbf" + msgspec.json.encode(LEAST), NOW) == said()


def test_of_a_name_that_comes_twice_the_last_counts() -> None:
    body = msgspec.json.encode(LEAST).replace(b'"direction":0', b'"direction":9,"direction":1')
    assert parse(body, NOW).direction == "incoming"


INVALID: list[tuple[dict[str, Any], str]] = [
    *[({name: None}, f"- at `$.{name}`") for name in LEAST],
    ({"startDateTime": "2018/45/01"}, "startDateTime: not an ISO 8601 date and time"),
    ({"startDateTime": "yesterday"}, "startDateTime: not an ISO 8601 date and time"),
    ({"startDateTime": ""}, "startDateTime: not an ISO 8601 date and time"),
    ({"startDateTime": "0001-01-01T00:00:00+14:00"}, "startDateTime: not an ISO"),
    ({"startDateTime": 1_537_880_400}, "Expected `str`, got `int` - at `$.startDateTime`"),
    ({"startDateTime": "2026-11-22T12:00:01Z"}, "startDateTime: it is in the future"),
    ({"startDateTime": "2026-11-22T12:00:00-01:00"}, "startDateTime: it is in the future"),
    ({"duration": "90"}, "duration: not an ISO 8601 duration"),
    ({"duration": ""}, "duration: not an ISO 8601 duration"),
    ({"duration": "PT"}, "duration: not an ISO 8601 duration"),
    ({"duration": "P1Y"}, "duration: not an ISO 8601 duration"),
    ({"duration": "00:01:30"}, "duration: not an ISO 8601 duration"),
    ({"duration": "P999999999999D"}, "duration: not an ISO 8601 duration"),
    ({"duration": "PT0S"}, "duration: it is not more than 0"),
    ({"duration": "-PT1S"}, "duration: it is not more than 0"),
    ({"duration": 90}, "Expected `str`, got `int` - at `$.duration`"),
    ({"direction": 3}, "Invalid enum value 3 - at `$.direction`"),
    ({"direction": -1}, "Invalid enum value -1 - at `$.direction`"),
    ({"direction": "1"}, "Expected `int`, got `str` - at `$.direction`"),
    ({"direction": True}, "Expected `int`, got `bool` - at `$.direction`"),
    ({"localParty": {}}, "Object missing required field `username` - at `$.localParty`"),
    (
        {"localParty": {"username": "a"}},
        "Object missing required field `phoneNumber` - at `$.localParty`",
    ),
    ({"localParty": {"username": "", "phoneNumber": "1"}}, "- at `$.localParty.username`"),
    ({"localParty": {"username": "a", "phoneNumber": ""}}, "- at `$.localParty.phoneNumber`"),
    ({"localParty": "giuliano"}, "Expected `object`, got `str` - at `$.localParty`"),
    ({"remoteParty": {"phoneNumber": 5}}, "- at `$.remoteParty.phoneNumber`"),
    ({"remoteParty": {"phoneNumber": "5" * 256}}, "- at `$.remoteParty.phoneNumber`"),
    ({"pbxCallId": 1}, "- at `$.pbxCallId`"),
    ({"notes": ["a"]}, "- at `$.notes`"),
    ({"preserved": "true"}, "- at `$.preserved`"),
]


@pytest.mark.parametrize("fields, message", INVALID, ids=str)
def test_what_a_field_may_not_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidMetadata) as caught:
        said(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", LEAST)
def test_what_must_be_there(name: str) -> None:
    body = {key: value for key, value in LEAST.items() if key != name}
    with pytest.raises(InvalidMetadata, match=f"Object missing required field `{name}`"):
        parse(msgspec.json.encode(body), NOW)


def test_a_number_nobody_can_hold() -> None:
    body = msgspec.json.encode(LEAST).replace(b'"direction":0', b'"direction":' + b"9" * 60_000)
    with pytest.raises((InvalidData, InvalidMetadata)):
        parse(body, NOW)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary() | st.fixed_dictionaries({}, optional=dict.fromkeys(LEAST, VALUES)))
def test_anything_is_read_or_refused(body: bytes | dict[str, Any]) -> None:
    octets = body if isinstance(body, bytes) else msgspec.json.encode({**LEAST, **body})
    try:
        found = parse(octets, NOW)
    except (InvalidData, InvalidMetadata):
        return
    assert found.duration_ms > 0 and found.started_at <= NOW
