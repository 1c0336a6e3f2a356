"""Which calls are on a line."""

from dataclasses import replace

import pytest

from api.imagicle.lines import Line, is_known, is_on
from siprec.session import Actor
from storage.directory import INITIAL
from storage.entries import User
from storage.records import Extension, Participant, Recording, SiprecSession, StreamRecord
from tests.storage.recordings import T0

ANN = User("ann@x.example", 100, lines=["101", "102"], devices=["SEP101"])
BEA = User("bea@y.example", 200, lines=["201"], devices=["SEP201"])
ENTRIES = replace(
    INITIAL,
    users={ANN.email: ANN, BEA.email: BEA},
    lines={(100, "101"): ANN, (100, "102"): ANN, (200, "201"): BEA},
)
CALL = Recording("", "s", "c", "recording", T0, account=100, local_party="101", ani="9800")
NAMED = replace(
    CALL,
    local_party="",
    participants=(Participant("p", "sip:Cara@x", "", (Extension("pbx:device-name", ("SEPX",)),)),),
    siprec_sessions=(SiprecSession("s", None, (Extension("deviceName", ("SEPS",)),)),),
    streams=(StreamRecord("s", "1", extensions=(Extension("Device_Name", ("SEPT",)),)),),
)


@pytest.mark.parametrize(
    ("call", "device", "number", "expected"),
    [
        (CALL, "", "", True),
        (CALL, "", "101", True),
        (CALL, "", "9800", True),
        (CALL, "", "102", False),
        (CALL, "", "10", False),
        (CALL, "SEP101", "", True),
        (CALL, "sep101", "101", True),
        (CALL, "SEP101", "102", False),
        (CALL, "SEP201", "", False),
        (CALL, "SEP201", "101", False),
        (replace(CALL, account=200), "SEP101", "", False),
        (NAMED, "", "cara", True),
        (NAMED, "SEPX", "", True),
        (NAMED, "SEPS", "CARA", True),
        (NAMED, "SEPT", "", True),
        (NAMED, "SEP101", "", False),
    ],
)
def test_a_call_is_on_a_line(call: Recording, device: str, number: str, expected: bool) -> None:
    assert is_on(call, Line(device, number), ENTRIES) is expected


@pytest.mark.parametrize(
    ("account", "device", "number", "expected"),
    [
        (100, "", "102", True),
        (100, "SEP101", "", True),
        (100, "sep101", "102", True),
        (100, "", "103", False),
        (100, "SEP102", "102", False),
        (100, "SEP101", "103", False),
        (100, "", "201", False),
        (100, "SEP201", "", False),
        (200, "SEP201", "201", True),
        (1, "SEP201", "101", True),
        (100, "", "cara", True),
        (100, "SEPS", "9800", True),
    ],
)
def test_a_line_is_known_by_the_directory_or_by_a_call(
    account: int, device: str, number: str, expected: bool
) -> None:
    actor = Actor("boss", account=account)
    assert is_known(Line(device, number), [NAMED], ENTRIES, actor) is expected


def test_a_line_is_named_by_either() -> None:
    assert [Line().is_named, Line("d").is_named, Line("", "n").is_named] == [False, True, True]
