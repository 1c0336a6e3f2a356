"""What the answers are made of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.imagicle import wire
from api.imagicle.metadata import InvalidMetadata, parse
from storage.directory import INITIAL
from storage.entries import User
from storage.records import AuditEntry, FileRecord, Participant, Recording

AT = datetime(2018, 11, 1, 14, 39, 15, 5, tzinfo=UTC)
ID = "75a90276e47e4e9eb463e3c743d5ff3a"
ANN = User("ann@x.example", 100, username="Ann", lines=["101"], first_name="Ann", group="G")
ENTRIES = replace(INITIAL, users={ANN.email: ANN}, lines={(100, "101"): ANN})
ROW = Recording(
    ID,
    "s",
    "32158149@pbx",
    "complete",
    AT,
    account=100,
    number=175,
    ended_at=AT + timedelta(seconds=91.87),
    owner=ANN.email,
    local_party="101",
    remote_party="9800",
    direction="outgoing",
    files=(FileRecord("mp3", "k", 9, "11"), FileRecord("wav", "k", 356112, "ab" * 32)),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("75A90276-E47E-4e9e-B463-E3C743D5FF3A", ID),
        (ID, ID),
        ("", None),
        ("x", None),
        ("75A90276-E47E-4e9e-B463-E3C743D5FF3", None),
        ("{75A90276-E47E-4e9e-B463-E3C743D5FF3A}", None),
        ("75A90276-E47E-4e9e-B463-E3C743D5FF3A\n", None),
        ("75A90276-E47E-4e9e-B463-E3C743D5FF3\u0661", None),
        ("../../../../etc/passwd", None),
    ],
)
def test_a_guid_is_a_recording_id(text: str, found: str | None) -> None:
    assert wire.recording_id(text) == found


@given(st.uuids())
def test_ids_and_guids_stand_for_each_other(value: object) -> None:
    text = str(value)
    assert wire.guid(wire.recording_id(text.upper()) or "") == text


@pytest.mark.parametrize("hours", [0, 5, -12])
def test_times_have_seven_decimals_and_an_offset(hours: int) -> None:
    at = AT.astimezone(timezone(timedelta(hours=hours)))
    assert wire.moment(at) == "2018-11-01T14:39:15.0000050+00:00"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (91_870, "PT1M31.87S"),
        (90_000, "PT1M30S"),
        (12_400, "PT0M12.4S"),
        (7, "PT0M0.007S"),
        (0, "PT0M0S"),
        (-5, "PT0M0S"),
        (3_600_000, "PT1H0M0S"),
        (90_061_001, "PT25H1M1.001S"),
    ],
)
def test_durations(ms: int, text: str) -> None:
    assert wire.duration(timedelta(milliseconds=ms)) == text


@given(st.integers(1, 10**9))
def test_what_is_said_of_a_duration_can_be_said_of_an_upload(ms: int) -> None:
    text = wire.duration(timedelta(milliseconds=ms))
    said = f'"startDateTime":"2018-11-01","duration":"{text}","direction":1'
    party = '"localParty":{"username":"a","phoneNumber":"1"}'
    try:
        upload = parse(f"{{{said},{party}}}".encode(), datetime.now(UTC))
    except InvalidMetadata as error:
        pytest.fail(str(error))
    assert upload.duration_ms == ms


def test_a_reference_number_is_year_and_number() -> None:
    assert wire.reference_number(ROW) == "201800000175"
    new_year = datetime(2019, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert wire.reference_number(replace(ROW, started_at=new_year)) == "201800000175"


def test_a_recording_in_a_list() -> None:
    assert wire.listed(ROW, ENTRIES) == {
        "id": "75a90276-e47e-4e9e-b463-e3c743d5ff3a",
        "referenceNumber": "201800000175",
        "startTime": "2018-11-01T14:39:15.0000050+00:00",
        "duration": "PT1M31.87S",
        "direction": 2,
        "localPartyNumber": "101",
        "remotePartyNumber": "9800",
        "ownerUsername": "Ann",
    }


def test_what_is_not_known_is_null() -> None:
    bare = Recording(ID, "s", "", "complete", AT, duration_ms=1500)
    found = wire.listed(bare, ENTRIES)
    assert (found["duration"], found["direction"]) == ("PT0M1.5S", 0)
    nulls = ("localPartyNumber", "remotePartyNumber", "ownerUsername")
    assert [found[name] for name in nulls] == [None] * 3
    shown = wire.detailed(bare, ENTRIES)
    unknown = ("pbxCallId", "owner", "preservingUser", "note", "size", "hash")
    assert [shown[name] for name in unknown] == [None] * 6


PERSON = {
    "username": "Ann",
    "firstName": "Ann",
    "lastName": None,
    "phoneNumber": "101",
    "group": "G",
    "department": None,
}
STRANGER = dict.fromkeys(PERSON) | {"username": "key one"}


def edited(number: int, actor: str, told: str, action: str = "update") -> AuditEntry:
    return AuditEntry(ID, number, AT, actor, action, told)


@pytest.mark.parametrize(
    ("changes", "history", "keeper", "editor"),
    [
        ({}, [], None, None),
        ({"note": "n"}, [], None, None),
        ({"note": "n"}, [edited(1, "ANN@x.example", "note")], None, PERSON),
        ({}, [edited(1, ANN.email, "note")], None, "no note"),
        (
            {"note": "n", "never_expire": True},
            [
                edited(1, ANN.email, "agent_id, note, never_expire=true"),
                edited(2, "key one", "custom note"),
            ],
            PERSON,
            PERSON,
        ),
        (
            {"note": "n", "hold": True},
            [edited(1, ANN.email, "note"), edited(2, "key one", "note, hold=true")],
            STRANGER,
            STRANGER,
        ),
        ({}, [edited(1, ANN.email, "never_expire=true")], None, None),
        ({"hold": True}, [edited(1, ANN.email, "hold=true", "stop")], None, None),
    ],
)
def test_who_keeps_it_and_who_wrote_the_note(
    changes: dict[str, object], history: list[AuditEntry], keeper: object, editor: object
) -> None:
    row = replace(ROW, history=tuple(history), **changes)  # type: ignore[arg-type]
    shown = wire.detailed(row, ENTRIES)
    assert shown["preservingUser"] == keeper
    if "note" in changes:
        assert shown["note"] == {"owner": editor, "text": "n"}
    else:
        assert shown["note"] is None


def test_a_recording_by_itself() -> None:
    shown = wire.detailed(ROW, ENTRIES)
    assert shown["pbxCallId"] == "32158149@pbx"
    assert shown["owner"] == PERSON
    assert (shown["size"], shown["hash"]) == (356112, {"SHA256": "AB" * 32})
    assert "ownerUsername" not in shown


@pytest.mark.parametrize(
    ("remote", "names", "first", "last"),
    [
        ("9800", [], None, None),
        ("9800", ["Mary Ann Miller"], "Mary Ann", "Miller"),
        ("9800", ["", "Cher"], None, "Cher"),
        ("101", ["Somebody Else"], "Ann", None),
        ("", ["Nobody"], None, None),
    ],
)
def test_the_other_is_a_user_or_as_the_client_calls_them(
    remote: str, names: list[str], first: str | None, last: str | None
) -> None:
    people = tuple(Participant("p", f"sip:{remote or 9}@x", name) for name in names)
    row = replace(ROW, remote_party=remote, participants=people, paused_at_end=True)
    shown = wire.live(row, ENTRIES, AT + timedelta(seconds=12.4))
    assert shown == {
        "id": "75a90276-e47e-4e9e-b463-e3c743d5ff3a",
        "duration": "PT0M12.4S",
        "startedAt": "2018-11-01T14:39:15.0000050+00:00",
        "localParty": {"username": "Ann"},
        "remoteParty": {"firstName": first, "lastName": last, "phoneNumber": remote or None},
        "isPaused": True,
    }


@pytest.mark.parametrize(
    ("aor", "number"),
    [
        ("sip:101@x", "101"),
        ("SIPS:101;phone-context=x@x", "101"),
        ("tel:+39;ext=1", "+39"),
        ("101", "101"),
        ("", ""),
        ("sip:pbx:5060", "pbx"),
    ],
)
def test_the_number_in_an_address(aor: str, number: str) -> None:
    assert wire.number_of(aor) == number
