"""Who calls whom: decision tables over composed offers and metadata."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.elements import Element, Group, NameId, Participant, Session, Stream
from siprec.identity import MAX_NUMBER, identify, user_part
from siprec.metadata import Document, Model, merge, parse
from siprec.session import Identity, Offer
from storage.records import Extension

NOW = datetime(2026, 5, 4, 9, tzinfo=UTC)
OFFER = Offer(
    "d1",
    "call-1@sbc.example",
    frozenset(),
    "127.0.0.1",
    NOW,
    from_aor="sip:sbc@198.51.100.7",
    to_aor="sip:recorder@srs.example",
)
HEADER = "X-ISR-UCID"
ANN, BOB, CYD = "sip:+15550100@corp.example", "tel:+15550123;phone-context=x", "1234@soh.example"


def data(**values: str) -> tuple[Extension, ...]:
    return tuple(Extension(f"apkt:{name}", (value,)) for name, value in values.items())


def party(id_: str, *aors: str, calling: str = "", **more: str) -> Participant:
    said = data(**({"callingParty": calling} if calling else {}), **more)
    return Participant(
        participant_id=id_, names=tuple(map(NameId, aors)) or None, extensions=said or None
    )


def model(*elements: Element, then: tuple[Element, ...] | None = None) -> Model:
    """What one complete document adds up to, or with `then` two."""
    state = Model()
    for each in (elements, then):
        if each is not None:
            document = Document(True, {element.key: element for element in each}, (), b"")
            state = merge(state, document, {}, NOW)
    return state


def identity(*elements: Element, offer: Offer = OFFER) -> Identity:
    return identify(offer, model(*elements), HEADER)


def sides(found: Identity) -> tuple[str, str, set[str]]:
    return found.ani, found.dnis, {*found.calling}


@pytest.mark.parametrize(
    ("aor", "user"),
    [
        ("8675309@sh.net", "8675309"),
        ("sip:8675309@sh.net", "8675309"),
        ("SIPS:ann@sh.net:5061;transport=tls", "ann"),
        ("sip:+15550100;noa=international@sbc.example;user=phone", "+15550100"),
        ("sip:ann:secret@sh.net", "ann"),
        ("sip:ann@sh.net;maddr=a@b", "ann"),
        ("tel:+49-30-1234;phone-context=+49", "+49-30-1234"),
        ("7602922411", "7602922411"),
        ("sip:host.example", "host.example"),
        ("sip:host.example:5060;lr?x=1", "host.example"),
        ("sip:@host.example", "host.example"),
        ("sip:[2001:db8::1]:5060", "[2001:db8::1]"),
        ("sip:ann@[2001:db8::1]:5060", "ann"),
        ("Extension-12@", "Extension-12"),
        ('"Ann" <sip:ann@sh.net>;tag=1', "ann"),
        ("anonymous@anonymous.invalid", "anonymous"),
        ("urn:service:sos", "urn:service:sos"),
        ("mailto:ann@sh.net", "mailto:ann@sh.net"),
        ("sip:", "sip:"),
        ("sip:@", "sip:@"),
        ("", ""),
    ],
)
def test_the_user_part_of_an_address(aor: str, user: str) -> None:
    assert user_part(aor) == user


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("sip:tel@;?<>[]a1+ \0é")) | st.text())
def test_any_text_has_a_user_part(aor: str) -> None:
    assert bool(user_part(aor)) == bool(aor)
    assert len(user_part(aor)) <= len(aor)


@pytest.mark.parametrize("size", [100_000])
@pytest.mark.parametrize("piece", ["@", ":", ";", "<", "[", "sip:", "a@b"])
def test_a_number_is_bounded_whatever_the_address(piece: str, size: int) -> None:
    found = identity(party("a", "sip:" + piece * size), party("b", "sip:" + "9" * size))
    assert len(found.ani) <= MAX_NUMBER
    assert found.dnis == "9" * MAX_NUMBER


def test_without_participants_the_addresses_of_the_invite_stand_for_them() -> None:
    assert identity() == Identity(
        ani="sbc",
        dnis="recorder",
        calling_aors=("sip:sbc@198.51.100.7",),
        called_aors=("sip:recorder@srs.example",),
    )


def test_an_invite_that_says_nothing_at_all() -> None:
    assert identity(offer=replace(OFFER, from_aor="", to_aor="")) == Identity()


CALLERS = [
    # calling marks of a and b, From of the INVITE -> ani, dnis, who is calling
    ("", "", "sip:sbc@h", "+15550100", "+15550123", {"a"}),
    ("true", "", "sip:sbc@h", "+15550100", "+15550123", {"a"}),
    ("", "true", "sip:sbc@h", "+15550123", "+15550100", {"b"}),
    ("", "TRUE", "sip:sbc@h", "+15550123", "+15550100", {"b"}),
    ("", "1", "sip:sbc@h", "+15550123", "+15550100", {"b"}),
    ("false", "true", "sip:+15550100@h", "+15550123", "+15550100", {"b"}),
    ("false", "", "sip:sbc@h", "+15550123", "+15550100", {"b"}),
    ("false", "", "sip:+15550100@h", "+15550123", "+15550100", {"b"}),
    ("maybe", "", "sip:sbc@h", "+15550100", "+15550123", {"a"}),
    ("", "", "sip:+15550123@h", "+15550123", "+15550100", {"b"}),
    ("", "", "sip:+15550100@h", "+15550100", "+15550123", {"a"}),
    ("", "", "", "+15550100", "+15550123", {"a"}),
    ("false", "false", "sip:sbc@h", "+15550100", "+15550123", {"a"}),
    ("true", "true", "sip:sbc@h", "+15550100", "+15550123", {"a"}),
    ("true", "true", "sip:+15550123@h", "+15550123", "+15550100", {"b"}),
]


@pytest.mark.parametrize(("first", "second", "source", "ani", "dnis", "calling"), CALLERS)
def test_who_the_caller_is(
    first: str, second: str, source: str, ani: str, dnis: str, calling: set[str]
) -> None:
    found = identity(
        party("a", ANN, calling=first),
        party("b", BOB, calling=second),
        offer=replace(OFFER, from_aor=source),
    )
    assert sides(found) == (ani, dnis, calling)


@pytest.mark.parametrize(
    ("calling", "expected"),
    [
        ("true", ("+15550100", "recorder", {"a"})),
        ("", ("+15550100", "recorder", {"a"})),
        ("false", ("sbc", "+15550100", set[str]())),
    ],
)
def test_the_other_side_of_a_lone_participant_is_in_the_invite(
    calling: str, expected: tuple[str, str, set[str]]
) -> None:
    found = identity(party("a", ANN, calling=calling))
    assert sides(found) == expected
    lone, other = found.calling_aors, found.called_aors
    if calling == "false":
        lone, other = other, lone
    assert lone == (ANN,)
    assert other in {(OFFER.from_aor,), (OFFER.to_aor,)}


def test_everybody_but_the_caller_is_called() -> None:
    found = identity(party("c", CYD), party("a", ANN, "sip:a@x", calling="true"), party("b", BOB))
    assert sides(found) == ("+15550100", "1234", {"a"})
    assert found.calling_aors == (ANN, "sip:a@x")
    assert found.called_aors == (CYD, BOB)


def test_any_address_of_a_participant_may_be_that_of_the_invite() -> None:
    found = identity(
        party("a", ANN), party("b", BOB, "sip:bob@x"), offer=replace(OFFER, from_aor="sip:bob@y")
    )
    assert sides(found) == ("+15550123", "+15550100", {"b"})


def test_several_may_be_on_the_callers_side() -> None:
    found = identity(
        party("a", ANN, calling="true"), party("b", BOB), party("c", CYD, calling="true")
    )
    assert sides(found) == ("+15550100", "+15550123", {"a", "c"})
    assert (found.calling_aors, found.called_aors) == ((ANN, CYD), (BOB,))


def test_a_participant_without_address_has_that_of_the_invite() -> None:
    found = identity(party("a"), party("b"))
    assert sides(found) == ("sbc", "recorder", {"a"})
    assert (found.calling_aors, found.called_aors) == ((OFFER.from_aor,), (OFFER.to_aor,))


def test_a_caller_who_leaves_remains_the_caller() -> None:
    state = model(
        party("a", ANN, calling="true", realm="core"),
        party("b", BOB),
        then=(party("b", BOB), party("c", CYD)),
    )
    found = identify(OFFER, state, HEADER)
    assert sides(found) == ("+15550100", "+15550123", {"a"})
    assert found.realm == "core"


def test_a_session_that_is_over_keeps_its_universal_call_id() -> None:
    first, next_ = (Session(session_id=id_, extensions=data(ucid=id_)) for id_ in ("s1", "s2"))
    assert identify(OFFER, model(first, then=(next_,)), HEADER).ucid == "s1"


def test_a_participant_renamed_is_called_by_the_new_name() -> None:
    state = model(party("a", "sip:dummy@sbc"), party("b", BOB), then=(party("a", ANN),))
    assert identify(OFFER, state, HEADER).ani == "+15550100"


UCIDS = [*product((False, True), repeat=3)]


@pytest.mark.parametrize(("header", "label", "element"), UCIDS)
def test_precedence_of_the_universal_call_id(header: bool, label: bool, element: bool) -> None:
    labelled = (Extension("x-isr-ucid", ("LABEL;encoding=hex", "second")),) if label else ()
    found = identity(
        Session(session_id="s", extensions=data(ucid="00FA08;encoding=hex") if element else None),
        party("a", ANN, realm="core"),
        Participant(participant_id="b", extensions=labelled or None),
        offer=replace(OFFER, ucid="HEADER" if header else ""),
    )
    stated = [("HEADER", header), ("LABEL;encoding=hex", label), ("00FA08;encoding=hex", element)]
    assert found.ucid == next((value for value, there in stated if there), "")


@pytest.mark.parametrize("name", ["apkt:ucid", "ucid", "v:UCID", "a:b:ucid"])
def test_any_prefix_may_stand_before_the_universal_call_id(name: str) -> None:
    session = Session(session_id="s", extensions=(Extension(name, ("1;a=b", "2")),))
    assert identity(session).ucid == "1;a=b"


@pytest.mark.parametrize("name", ["apkt:ucids", "ucid:apkt", "apkt:x-isr-ucid-2", "Call-ID"])
def test_other_names_are_no_universal_call_id(name: str) -> None:
    session = Session(session_id="s", extensions=(Extension(name, ("1",)),))
    assert identity(session).ucid == ""


def test_the_label_asked_for_is_the_one_configured() -> None:
    state = model(
        party("a", ANN),
        Participant(participant_id="b", extensions=(Extension("Call-ID", ("c9@x",)),)),
    )
    assert identify(OFFER, state, "Call-ID").ucid == "c9@x"
    assert identify(replace(OFFER, ucid="c1@x"), state, "Call-ID").ucid == "c1@x"
    assert identify(OFFER, state, HEADER).ucid == ""


def test_the_session_tells_the_universal_call_id_before_others_do() -> None:
    elements: list[Element] = [
        Group(group_id="g", extensions=data(ucid="group")),
        Stream(stream_id="m", extensions=data(ucid="stream")),
        party("b", BOB, ucid="called"),
        party("a", ANN, calling="true", ucid="caller"),
        Session(session_id="s", extensions=data(ucid="session")),
    ]
    for expected in ("session", "caller", "called", "stream", "group"):
        assert identity(*elements).ucid == expected
        elements = [each for each in elements if f"'{expected}'" not in str(each)]
        if expected == "caller":
            elements.append(party("a", ANN, calling="true"))


def test_the_group_of_a_session_speaks_for_it() -> None:
    group = Group(group_id="g", extensions=data(ucid="7"))
    assert identity(group, Session(session_id="s", group_ref="g"), party("a", ucid="8")).ucid == "7"


def test_realms_of_the_callers_side_come_first() -> None:
    found = identity(
        Session(session_id="s", extensions=data(realm="trunk")),
        party("b", BOB, realm="agents"),
        party("a", ANN, calling="true", realm="core"),
        party("c", CYD, realm="core"),
    )
    assert (found.realm, found.realms) == ("core", ("core", "agents", "trunk"))


def test_the_caller_may_have_no_realm() -> None:
    found = identity(party("a", ANN, **{"in-realm": "no"}), party("b", BOB, realm="splan"))
    assert (found.realm, found.realms) == ("splan", ("splan",))


@pytest.mark.parametrize(
    "name", ["apkt:egressCallId", "apkt:egress-call-id", "EGRESS_CALL_ID", "v:egresscallid"]
)
def test_spellings_of_the_egress_call_id(name: str) -> None:
    stated = Participant(participant_id="b", extensions=(Extension(name, ("e1@x", "e2")),))
    assert identity(party("a", ANN), stated).egress_call_id == "e1@x"
    assert identity(party("a", ANN)).egress_call_id == ""


def test_the_document_of_a_session_border_controller() -> None:
    document = parse(
        b"""<recording xmlns="urn:ietf:params:xml:ns:recording">
        <datamode>complete</datamode>
        <session id="s1"><associate-time>2026-05-04T09:00:00</associate-time>
          <extensiondata xmlns:apkt="urn:example:apkt">
            <apkt:ucid>00FA0802;encoding=hex</apkt:ucid><apkt:callerOrig>true</apkt:callerOrig>
          </extensiondata></session>
        <participant id="p1" session="s1"><nameID aor="8675309@sh.example"><name>8675309</name>
          </nameID><extensiondata xmlns:apkt="urn:example:apkt">
            <apkt:callingParty>false</apkt:callingParty><apkt:realm>splan</apkt:realm>
          </extensiondata></participant>
        <participant id="p2" session="s1"><nameID aor="1234@soh.example"/>
          <extensiondata xmlns:apkt="urn:example:apkt">
            <apkt:callingParty>true</apkt:callingParty>
            <apkt:header label="X-Other"><value>x</value></apkt:header>
          </extensiondata></participant>
        </recording>"""
    )
    found = identify(OFFER, merge(Model(), document, {}, NOW), HEADER)
    assert found == Identity(
        ani="1234",
        dnis="8675309",
        ucid="00FA0802;encoding=hex",
        realm="splan",
        realms=("splan",),
        calling=frozenset({"p2"}),
        calling_aors=("1234@soh.example",),
        called_aors=("8675309@sh.example",),
    )


TEXTS = st.sampled_from(["true", "false", "core", ANN, BOB, ""])
DATA = st.lists(
    st.builds(
        Extension,
        st.sampled_from(["a:callingParty", "a:realm", "ucid", "X-ISR-UCID", "", ":"]),
        st.lists(TEXTS.filter(bool), min_size=1, max_size=2).map(tuple),
    ),
    max_size=3,
).map(tuple)
PARTIES = st.lists(
    st.builds(
        Participant,
        participant_id=st.sampled_from("abcd"),
        names=st.none() | st.lists(st.builds(NameId, TEXTS), max_size=2).map(tuple),
        extensions=st.none() | DATA,
    ),
    max_size=4,
)


@settings(deadline=None)
@given(PARTIES, TEXTS, TEXTS)
def test_everybody_is_on_one_side(people: list[Participant], source: str, target: str) -> None:
    found = identity(*people, offer=replace(OFFER, from_aor=source, to_aor=target))
    declared = {person.participant_id for person in people}
    assert found.calling <= declared
    if len(declared) > 1:
        assert declared > found.calling
        assert found.calling
    assert (found.realm,) == found.realms[:1] or not found.realm
    assert not found.calling_aors or found.ani
