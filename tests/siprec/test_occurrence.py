"""What an occurrence says of its call."""

from datetime import UTC, datetime

import pytest

from siprec.occurrence import ENDED, STARTED, Occurrence, host_of
from storage.records import Participant, Recording

NOW = datetime(2026, 11, 22, 14, 5, 6, tzinfo=UTC)
ALICE = Participant("a", "sip:alice@a.example", calling=True)
BOB = Participant("b", "bob@b.example")
CAROL = Participant("c", "tel:+4930123456")


def of(called_aors: tuple[str, ...] | None = None, *people: Participant) -> Occurrence:
    recording = Recording(
        "r",
        "s",
        "call",
        "recording",
        NOW,
        from_aor="sip:from@x",
        to_aor="to@x",
        participants=people,
    )
    return Occurrence(STARTED, NOW, recording, called_aors=called_aors)


def test_only_a_failed_command_is_a_failure() -> None:
    assert not of().is_failure
    assert Occurrence(ENDED, NOW, of().recording, "fail").is_failure


@pytest.mark.parametrize(
    ("ucid", "said"), [("", "call"), ("00FA;encoding=hex", "00FA;encoding=hex")]
)
def test_a_call_goes_by_its_ucid_or_else_by_its_call_id(ucid: str, said: str) -> None:
    recording = Recording("r", "s", "call", "recording", NOW, ucid=ucid)
    assert Occurrence(STARTED, NOW, recording).unknown_ucid == said


@pytest.mark.parametrize(
    ("occurrence", "callers", "callees"),
    [
        (of(), ("sip:from@x",), ("sip:to@x",)),
        (of(None, ALICE, BOB), ("sip:alice@a.example",), ("sip:bob@b.example",)),
        (of(None, BOB, ALICE, CAROL), (ALICE.aor,), ("sip:bob@b.example", CAROL.aor)),
        (of(None, ALICE), (ALICE.aor,), ("sip:to@x",)),
        (of(None, ALICE, BOB, BOB), (ALICE.aor,), ("sip:bob@b.example",)),
        (of(None, ALICE, Participant("d")), (ALICE.aor,), ()),
        (of(("sips:x@y", " x@y"), ALICE, BOB), (ALICE.aor,), ("sips:x@y", "sip:x@y")),
        (of((), ALICE, BOB), (ALICE.aor,), ()),
    ],
)
def test_parties_are_told_apart_and_bear_a_scheme(
    occurrence: Occurrence, callers: tuple[str, ...], callees: tuple[str, ...]
) -> None:
    assert (occurrence.callers, occurrence.callees) == (callers, callees)


@pytest.mark.parametrize(
    ("aor", "host"),
    [
        ("sip:agent@10.0.0.11", "10.0.0.11"),
        ("sip:7654321@1.2.3.1:5060", "1.2.3.1"),
        ("SIPS:agent@[2001:db8::1]:5061;transport=tls", "2001:db8::1"),
        ("agent@10.0.0.11;x=@10.0.0.12", "10.0.0.11"),
        ("sip:a;b=c@10.0.0.11?h=v", "10.0.0.11"),
        ("sip:10.0.0.11", "10.0.0.11"),
        ("sip:agent@10.0.0.11,sip:other@10.0.0.12", "10.0.0.11"),
        ("tel:+49301234", ""),
        ("sip:agent@", ""),
        ("", ""),
    ],
)
def test_the_host_of_an_address_is_bare(aor: str, host: str) -> None:
    assert host_of(aor) == host
