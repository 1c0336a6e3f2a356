from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec import metadata
from siprec.elements import (
    Element,
    Group,
    Key,
    NameId,
    Participant,
    ParticipantSession,
    ParticipantStream,
    Session,
    Stream,
)
from siprec.metadata import MAX_ENTRIES, MAX_SPANS, Document, Model, Span, merge, parse
from storage.records import Extension

NINE = datetime(2026, 5, 4, 9, tzinfo=UTC)
LABELS = {"1": 0, "2": 1, "3": 2}

S, A, B, C = "s/+x", "ann", "bob", "cyd"
ANN_AUDIO, BOB_AUDIO, CYD_AUDIO = "m1", "m2", "m3"


def minute(number: float) -> datetime:
    return NINE + timedelta(minutes=number)


def document(*elements: Element, partial: bool = False) -> Document:
    return Document(not partial, {element.key: element for element in elements}, (), b"")


def folded(*documents: Document, labels: Mapping[str, int] | None = LABELS) -> Model:
    """The documents arrive one minute after the other."""
    model = Model()
    for number, each in enumerate(documents):
        model = merge(model, each, labels, minute(number))
    return model


def person(id_: str, aor: str = "") -> Participant:
    return Participant(participant_id=id_, names=(NameId(aor or f"sip:{id_}@corp.example"),))


def stay(id_: str, began: datetime | None = None, ended: datetime | None = None) -> Element:
    return ParticipantSession(participant_id=id_, session_id=S, began=began, ended=ended)


def flow(id_: str, send: str = "", recv: str = "", **times: datetime) -> Element:
    return ParticipantStream(
        participant_id=id_, send=tuple(send.split()), recv=tuple(recv.split()), **times
    )


def stream(id_: str, label: str | None = None) -> Stream:
    return Stream(stream_id=id_, session_id=S, label=label)


CALL = document(
    Session(session_id=S, began=NINE, sip_session_ids=("11", "22"), group_ref="g"),
    person(A),
    person(B),
    stream(ANN_AUDIO, "1"),
    stream(BOB_AUDIO, "2"),
    stay(A, NINE),
    stay(B, NINE),
    flow(A, ANN_AUDIO, BOB_AUDIO),
    flow(B, BOB_AUDIO, ANN_AUDIO),
)


def spans(model: Model, *key: str) -> tuple[tuple[datetime, datetime | None], ...]:
    return tuple((span.start, span.end) for span in model.entries[key].spans)


def names(model: Model, past: bool = False) -> list[str]:
    return [each.participant_id for each in model.participants(past=past)]


def test_the_empty_model() -> None:
    model = Model()
    assert (model.participants(), model.session_ids(), model.senders(0)) == ((), (), ())
    assert (model.sender_of(0), model.needs_snapshot, model.warnings) == ("", False, ())


def test_a_complete_document() -> None:
    model = folded(CALL)
    assert names(model) == [A, B]
    assert model.session_ids() == (S,)
    assert [model.sender_of(number) for number in (0, 1, 2)] == [A, B, ""]
    assert (model.based, model.needs_snapshot, model.warnings) == (True, False, ())
    assert spans(model, "participantsessionassoc", A, S) == ((NINE, None),)


def test_the_first_address_and_the_first_name_stand_for_a_person() -> None:
    pairs = (NameId("tel:+15550123"), NameId("sip:bob@x", "Bob", "en"), NameId("sip:b@y", "B"))
    (found,) = folded(document(Participant(participant_id=B, names=pairs))).participants()
    assert (found.aor, found.name, found.names) == ("tel:+15550123", "Bob", pairs)
    (bare,) = folded(document(Participant(participant_id=B))).participants()
    assert (bare.aor, bare.name, bare.names) == ("", "", ())


def test_a_partial_document_leaves_the_rest_alone() -> None:
    joining = document(
        person(C),
        stream(CYD_AUDIO, "3"),
        stay(C, minute(0.5)),
        flow(C, CYD_AUDIO, "m1 m2"),
        partial=True,
    )
    model = folded(CALL, joining)
    assert names(model) == [A, B, C]
    assert [model.sender_of(number) for number in (0, 1, 2)] == [A, B, C]
    assert spans(model, "participantsessionassoc", C, S) == ((minute(0.5), None),)
    assert model.receiving[C, ANN_AUDIO] == (Span(minute(1)),)


def test_a_complete_document_ends_what_it_leaves_out() -> None:
    rest = {k: v for k, v in CALL.elements.items() if B not in k and BOB_AUDIO not in k}
    model = folded(CALL, Document(True, rest, (), b""))
    assert names(model) == [A]
    assert names(model, past=True) == [A, B]
    assert spans(model, "participantsessionassoc", B, S) == ((NINE, minute(1)),)
    assert model.sending[B, BOB_AUDIO] == (Span(NINE, minute(1)),)
    assert spans(model, "participantsessionassoc", A, S) == ((NINE, None),)
    assert (model.senders(1), model.sender_of(1)) == ((), B)


def test_sessions_left_out_are_only_listed_as_past() -> None:
    model = folded(CALL, document(Session(session_id="s2")))
    assert model.session_ids() == ("s2",)
    assert model.session_ids(past=True) == (S, "s2")


def test_a_complete_document_clears_absent_children_a_partial_one_keeps_them() -> None:
    key: Key = ("session", S)
    update = Session(session_id=S, sip_session_ids=("33",))
    partial = folded(CALL, document(update, partial=True)).entries[key].element
    whole = folded(CALL, document(update)).entries[key].element
    assert partial == Session(session_id=S, began=NINE, sip_session_ids=("33",), group_ref="g")
    assert whole == update


def test_who_was_left_out_starts_afresh() -> None:
    back = document(Participant(participant_id=B), partial=True)
    model = folded(CALL, document(person(A)), back)
    assert names(model) == [A, B]
    assert model.participants()[1].names == ()
    assert spans(model, "participant", B) == ((NINE, minute(1)), (minute(2), None))


def test_hold_and_resume() -> None:
    model = folded(
        CALL,
        document(flow(A), flow(B, BOB_AUDIO), partial=True),
        document(flow(A, ANN_AUDIO, BOB_AUDIO), flow(B, BOB_AUDIO, ANN_AUDIO), partial=True),
    )
    assert model.sending[A, ANN_AUDIO] == (Span(NINE, minute(1)), Span(minute(2)))
    assert model.sending[B, BOB_AUDIO] == (Span(NINE),)
    assert model.receiving[B, ANN_AUDIO] == (Span(NINE, minute(1)), Span(minute(2)))
    held = folded(CALL, document(flow(A), partial=True))
    assert (held.senders(0), held.sender_of(0), held.senders(1)) == ((), A, (B,))
    assert held.is_present(A)


def test_claimed_times_are_used_where_they_make_sense() -> None:
    model = folded(
        CALL,
        document(flow(A, ended=minute(0.25)), partial=True),
        document(flow(A, ANN_AUDIO, began=minute(1.5)), partial=True),
        document(flow(A, ended=minute(-5)), partial=True),
        document(flow(A, ANN_AUDIO, began=NINE), partial=True),
    )
    assert model.sending[A, ANN_AUDIO] == (
        Span(NINE, minute(0.25)),
        Span(minute(1.5), minute(1.5)),
        Span(minute(4)),
    )


def test_leaving_and_coming_back() -> None:
    model = folded(
        CALL,
        document(stay(B, ended=minute(0.5)), partial=True),
        document(stay(B, began=minute(1.5)), partial=True),
        document(stay(B, began=minute(1.5)), partial=True),
        document(stay(B, ended=minute(3.5)), partial=True),
        document(stay(B, ended=minute(3.5)), partial=True),
    )
    assert spans(model, "participantsessionassoc", B, S) == (
        (NINE, minute(0.5)),
        (minute(1.5), minute(3.5)),
    )
    assert not model.is_present(B)
    assert names(model) == [A, B]


def test_an_element_with_only_the_end_keeps_its_beginning() -> None:
    model = folded(CALL, document(stay(B, ended=minute(0.5)), partial=True))
    element = model.entries["participantsessionassoc", B, S].element
    assert (element.began, element.ended) == (NINE, minute(0.5))


def test_both_ways_in_one_document() -> None:
    stays = folded(
        document(stay(A, NINE), stay(B, NINE, minute(-1)), stay(C, minute(-3), minute(-2))),
        document(stay(A, minute(0.7), minute(0.4)), partial=True),
    )
    assert spans(stays, "participantsessionassoc", A, S) == (
        (NINE, minute(0.4)),
        (minute(0.7), None),
    )
    assert spans(stays, "participantsessionassoc", B, S) == ((NINE, None),)
    assert spans(stays, "participantsessionassoc", C, S) == ((minute(-3), minute(-2)),)


def test_a_stay_reported_after_it_was_over_is_added() -> None:
    model = folded(
        document(stay(A, NINE, minute(0.1))),
        document(stay(A, minute(0.3), minute(0.6)), partial=True),
    )
    assert spans(model, "participantsessionassoc", A, S) == (
        (NINE, minute(0.1)),
        (minute(0.3), minute(0.6)),
    )


def test_spans_do_not_overlap_when_an_end_lies_ahead() -> None:
    model = folded(CALL, document(stay(A, ended=minute(9)), partial=True), CALL, document(stay(A)))
    assert spans(model, "participantsessionassoc", A, S) == ((NINE, minute(9)), (minute(9), None))


def test_a_complete_document_repeated_changes_nothing_but_what_it_says() -> None:
    once, twice = folded(CALL), folded(CALL, CALL)
    assert twice == once


def test_a_time_that_cannot_be_read_is_that_of_receipt() -> None:
    changes = parse(
        b'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>partial</datamode>'
        b'<participantsessionassoc participant_id="bob" session_id="s/+x">'
        b"<disassociate-time>later</disassociate-time></participantsessionassoc>"
        b'<participantsessionassoc participant_id="cyd" session_id="s/+x">'
        b"<associate-time>soon</associate-time></participantsessionassoc></recording>"
    )
    model = folded(CALL, changes)
    assert spans(model, "participantsessionassoc", B, S) == ((NINE, minute(1)),)
    assert spans(model, "participantsessionassoc", C, S) == ((minute(1), None),)
    assert model.warnings == ("time_invalid",)


def test_a_session_that_stops_has_nobody_in_it() -> None:
    stop = document(Session(session_id=S, ended=minute(0.75)), partial=True)
    model = folded(CALL, stop)
    for participant in (A, B):
        assert spans(model, "participantsessionassoc", participant, S) == ((NINE, minute(0.75)),)
        assert not model.is_present(participant)
    assert model.senders(0) == ()
    assert model.sending[A, ANN_AUDIO] == (Span(NINE, minute(0.75)),)
    assert model.receiving[A, BOB_AUDIO] == (Span(NINE, minute(0.75)),)
    assert (names(model), model.session_ids(), model.sender_of(0)) == ([A, B], (S,), A)
    assert not model.entries["session", S].open


def test_a_stop_from_another_time_stops_too() -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    model = folded(CALL, document(Session(session_id=S, ended=epoch), partial=True))
    assert spans(model, "session", S) == ((NINE, NINE),)
    assert spans(model, "participantsessionassoc", A, S) == ((NINE, NINE),)


def test_the_next_session_on_the_same_media_has_its_own_senders() -> None:
    following = document(
        Session(session_id="s2"),
        person(C),
        Stream(stream_id=CYD_AUDIO, session_id="s2", label="1"),
        flow(C, CYD_AUDIO),
        partial=True,
    )
    stop = document(Session(session_id=S, ended=minute(1)), partial=True)
    model = folded(CALL, stop, following)
    assert (model.senders(0), model.sender_of(0), model.sender_of(1)) == ((C,), C, B)


def test_a_mixed_stream_has_several_senders() -> None:
    model = folded(document(stream("mix", "1"), flow(A, "mix", "mix"), flow(B, "mix", "mix")))
    assert model.senders(0) == (A, B)
    assert model.sender_of(0) == A


def test_who_has_left_does_not_send() -> None:
    model = folded(CALL, document(stay(A, ended=minute(1)), partial=True))
    assert (model.senders(0), model.sender_of(0)) == ((), A)


def test_a_label_is_resolved_once() -> None:
    model = merge(folded(CALL), document(stream(ANN_AUDIO), partial=True), {"2": 0}, minute(1))
    assert model.media == {ANN_AUDIO: 0, BOB_AUDIO: 1}
    later = merge(model, document(stream(CYD_AUDIO, "2"), partial=True), None, minute(2))
    assert later.media == {ANN_AUDIO: 0, BOB_AUDIO: 1, CYD_AUDIO: 0}


def test_a_stream_given_a_label_again_is_bound_again() -> None:
    model = merge(folded(CALL), CALL, {"1": 5, "2": 4}, minute(1))
    assert (model.sender_of(5), model.sender_of(4), model.sender_of(0)) == (A, B, "")


def test_labels_that_lead_nowhere_or_twice_to_the_same_place() -> None:
    unknown = folded(CALL, document(stream(ANN_AUDIO, "9"), partial=True))
    assert unknown.warnings == ("label_unknown",)
    assert unknown.media[ANN_AUDIO] == 0
    twice = folded(document(stream("a", "1"), stream("b", "1")))
    assert (twice.warnings, twice.media) == (("label_duplicate",), {"a": 0, "b": 0})


def test_a_reference_may_come_before_its_definition() -> None:
    early = folded(document(flow(A, ANN_AUDIO), stay(A)))
    assert (early.participants(), early.senders(0)) == ((), ())
    late = merge(early, document(person(A), stream(ANN_AUDIO, "1"), partial=True), LABELS, NINE)
    assert (late.senders(0), names(late)) == ((A,), [A])


def test_a_partial_document_without_a_base_needs_a_snapshot() -> None:
    update = document(person(C), partial=True)
    model = folded(update)
    assert (model.needs_snapshot, names(model)) == (True, [C])
    assert folded(update, update).needs_snapshot
    assert not folded(update, CALL).needs_snapshot
    assert not folded(CALL, update).needs_snapshot


@pytest.mark.parametrize("other", [Group(group_id=A), Session(session_id=A), stream(A, "3")])
def test_an_id_means_one_thing_for_ever(other: Element) -> None:
    model = folded(CALL, document(other, partial=True))
    assert model.warnings == ("duplicate_id",)
    assert other.key not in model.entries
    assert A not in model.media
    gone = folded(CALL, document(), document(other))
    assert other.key not in gone.entries
    same = folded(document(person(A), other))
    assert (list(same.entries), same.warnings) == ([("participant", A)], ("duplicate_id",))


def test_the_smallest_documents() -> None:
    for elements in (
        (),
        (Session(session_id=S),),
        (person(A),),
        (Stream(stream_id="m"),),
        (stay(A),),
        (flow(A, "m"),),
    ):
        assert folded(document(*elements)).warnings == ()


def test_warnings_are_kept_once_each() -> None:
    odd = Document(False, {}, ("metadata_recovered",), b"")
    assert folded(odd, odd, CALL).warnings == ("metadata_recovered",)


def test_merging_leaves_the_earlier_model_as_it_was() -> None:
    before = folded(CALL)
    entries, sending = dict(before.entries), dict(before.sending)
    merge(before, document(Session(session_id=S, ended=NINE)), {}, minute(1))
    assert (before.entries, before.sending, before.labels) == (entries, sending, LABELS)


def test_memory_is_bounded_and_forgets_the_oldest_past_first() -> None:
    model = folded(CALL)
    for number in range(9):
        crowd = [person(f"{number}-{n}") for n in range(1000)]
        model = merge(model, document(person(A), *crowd), None, minute(number + 1))
    assert len(model.entries) == MAX_ENTRIES
    assert ("session", S) not in model.entries
    assert len(names(model)) == 1001


def test_comings_and_goings_are_bounded() -> None:
    on, off = (document(flow(A, send), partial=True) for send in (ANN_AUDIO, ""))
    model = folded(*[on, off] * (MAX_SPANS + 1))
    assert len(model.sending[A, ANN_AUDIO]) == MAX_SPANS
    assert model.sending[A, ANN_AUDIO][0].start == minute(2)


def test_the_door_reads_documents_too() -> None:
    with pytest.raises(metadata.MetadataError):
        metadata.parse(b"nothing")


REALM, UCID = Extension("apkt:realm", ("core",)), Extension("apkt:ucid", ("00FA", "2"))


def test_extension_data_of_a_person() -> None:
    model = folded(document(Participant(participant_id=A, extensions=(REALM,)), person(B)))
    assert [each.extensions for each in model.participants()] == [(REALM,), ()]


def test_extension_data_is_replaced_by_what_is_said_later() -> None:
    said = document(Participant(participant_id=A, extensions=(REALM,)))
    silent = Participant(participant_id=A)
    other = Participant(participant_id=A, extensions=(UCID,))

    def after(element: Element, *, partial: bool) -> tuple[Extension, ...]:
        (found,) = folded(said, document(element, partial=partial)).participants()
        return found.extensions

    assert after(silent, partial=True) == (REALM,)
    assert after(silent, partial=False) == ()
    assert after(other, partial=True) == after(other, partial=False) == (UCID,)


def test_who_was_left_out_keeps_what_was_said_of_them() -> None:
    model = folded(
        document(Participant(participant_id=A, extensions=(REALM,))), document(person(B))
    )
    assert [each.extensions for each in model.participants(past=True)] == [(REALM,), ()]


def test_sessions_say_when_they_began_and_what_clients_add() -> None:
    first = Session(session_id=S, began=NINE, extensions=(UCID,))
    model = folded(document(first), document(Session(session_id="s2")))
    assert model.sessions(past=True) == (first, Session(session_id="s2"))
    assert model.sessions() == (Session(session_id="s2"),)
    assert model.session_ids(past=True) == (S, "s2")


def test_what_is_said_of_a_group_is_said_of_its_sessions() -> None:
    group = Group(group_id="g", extensions=(REALM, UCID))
    own = Extension("apkt:ucid", ("mine",))
    inside = Session(session_id=S, group_ref="g", extensions=(own,))
    outside, lost = Session(session_id="s2"), Session(session_id="s3", group_ref="h")
    found = folded(document(group, inside, outside, lost)).sessions()
    assert [each.extensions for each in found] == [(own, REALM), None, None]


def test_what_is_said_of_a_media_stream() -> None:
    said = Stream(stream_id="m", label="1", began=NINE, extensions=(REALM,))
    model = folded(document(said, stream("n", "2")))
    assert model.stream_of(0) == said
    assert model.stream_of(1) == stream("n", "2")
    assert model.stream_of(2) is None
    assert Model().stream_of(0) is None


def test_the_stream_bound_to_the_media_last_counts() -> None:
    following = document(stream("late", "1"), partial=True)
    assert folded(CALL, following).stream_of(0) == stream("late", "1")
    assert folded(CALL, following, CALL).stream_of(0) == stream(ANN_AUDIO, "1")
    assert folded(CALL, document(person(A))).stream_of(0) == stream(ANN_AUDIO, "1")


def test_a_stream_forgotten_for_its_age_is_not_found() -> None:
    model = folded(CALL, document())
    for number in range(9):
        crowd = [person(f"{number}-{n}") for n in range(1000)]
        model = merge(model, document(*crowd, partial=True), None, minute(number + 2))
    assert model.media[ANN_AUDIO] == 0
    assert model.stream_of(0) is None


def test_elements_of_one_kind() -> None:
    model = folded(document(Group(group_id="g"), person(A)), document(Group(group_id="h")))
    assert model.of(Group) == (Group(group_id="h"),)
    assert model.of(Group, past=True) == (Group(group_id="g"), Group(group_id="h"))


IDS = st.sampled_from(["a", "b", "c"])
TIMES = st.none() | st.integers(-3, 30).map(minute)
FLOWS = st.lists(st.sampled_from(["m", "n", "a"]), max_size=2, unique=True).map(tuple)
ELEMENTS = st.one_of(
    st.builds(Group, group_id=IDS, began=TIMES, ended=TIMES),
    st.builds(Session, session_id=IDS, began=TIMES, ended=TIMES),
    st.builds(Participant, participant_id=IDS),
    st.builds(
        Stream,
        stream_id=st.sampled_from(["m", "n", "a"]),
        session_id=st.none() | IDS,
        label=st.sampled_from([None, "1", "2", "9"]),
    ),
    st.builds(ParticipantSession, participant_id=IDS, session_id=IDS, began=TIMES, ended=TIMES),
    st.builds(
        ParticipantStream, participant_id=IDS, send=FLOWS, recv=FLOWS, began=TIMES, ended=TIMES
    ),
)
DOCUMENTS = st.builds(
    lambda elements, partial: document(*elements, partial=partial),
    st.lists(ELEMENTS, max_size=6),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=6))
def test_any_sequence_of_documents_keeps_time_in_order(documents: list[Document]) -> None:
    model = folded(*documents)
    histories = [entry.spans for entry in model.entries.values()]
    for history in [*histories, *model.sending.values(), *model.receiving.values()]:
        assert history
        for earlier, later in pairwise(history):
            assert earlier.end is not None
            assert earlier.start <= earlier.end <= later.start
        assert history[-1].end is None or history[-1].start <= history[-1].end
    last = documents[-1]
    if last.complete:
        current = {key for key, entry in model.entries.items() if entry.current}
        assert current <= set(last.elements)
    for each in last.of(ParticipantStream):
        for pair, history in model.sending.items():
            if pair[0] == each.participant_id and pair[1] not in each.send:
                assert history[-1].end is not None
    for number in (0, 1):
        assert (model.sender_of(number) in model.senders(number)) == bool(model.senders(number))
