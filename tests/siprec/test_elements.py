from datetime import UTC, datetime

import pytest

from siprec.elements import (
    Element,
    Group,
    Participant,
    ParticipantSession,
    ParticipantStream,
    Session,
    SessionRecording,
    Stream,
    extended,
    overlaid,
)
from storage.records import Extension

NINE = datetime(2026, 5, 4, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("element", "key"),
    [
        (Group(group_id="g"), ("group", "g")),
        (Session(session_id="s"), ("session", "s")),
        (Participant(participant_id="p"), ("participant", "p")),
        (Stream(stream_id="m", session_id="s"), ("stream", "m")),
        (SessionRecording(session_id="s"), ("sessionrecordingassoc", "s")),
        (
            ParticipantSession(participant_id="p", session_id="s"),
            ("participantsessionassoc", "p", "s"),
        ),
        (ParticipantStream(participant_id="p", send=("m",)), ("participantstreamassoc", "p")),
    ],
)
def test_elements_are_known_by_kind_and_ids(element: Element, key: tuple[str, ...]) -> None:
    assert element.key == key


def test_what_is_not_said_again_is_kept() -> None:
    old = Session(session_id="s", began=NINE, sip_session_ids=("a", "b"), group_ref="g")
    new = Session(session_id="s", ended=NINE, sip_session_ids=("c",))
    assert overlaid(old, new) == Session(
        session_id="s", began=NINE, ended=NINE, sip_session_ids=("c",), group_ref="g"
    )


def test_the_streams_of_a_participant_are_always_said() -> None:
    old = ParticipantStream(participant_id="p", send=("m",), recv=("n",), began=NINE)
    new = ParticipantStream(participant_id="p", recv=("m",))
    assert overlaid(old, new) == ParticipantStream(participant_id="p", recv=("m",), began=NINE)


def test_extension_data_is_kept_unless_there_is_other() -> None:
    realm, ucid = Extension("a:realm", ("core",)), Extension("a:ucid", ("1",))
    old = Participant(participant_id="p", extensions=(realm,))
    assert overlaid(old, Participant(participant_id="p", began=NINE)).extensions == (realm,)
    assert overlaid(old, Participant(participant_id="p", extensions=(ucid,))).extensions == (ucid,)
    assert overlaid(old, Participant(participant_id="p", extensions=())).extensions == ()


def test_what_is_inherited_never_hides_what_is_owned() -> None:
    own = (Extension("a:realm", ("core",)),)
    inherited = (Extension("a:ucid", ("1",)), Extension("a:realm", ("trunk",)))
    assert extended(own, inherited) == (*own, inherited[0])
    assert extended(None, inherited) == inherited
    assert extended(own, ()) == own
