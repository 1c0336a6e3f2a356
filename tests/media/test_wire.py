"""Messages come out of the pipe as they went in, and fit into it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import wire
from media.spec import StreamReport, StreamSpec, Target

SPEC = StreamSpec("id", "label", {0: "PCMU", 101: "telephone-event"}, False, "192.0.2.1", 4_001)
COMMANDS = [
    wire.Open(1, "s", [(0, SPEC), (7, SPEC)], Target("r", True, False), b"c" * 16, 5),
    wire.Update(2, "s", [SPEC], 5),
    wire.CloseStreams(3, "s", ["id"], 5),
    wire.Switch(4, "s", Target(), 5),
    wire.End(5, "s", 5),
    wire.Report(6, ["s", "t"]),
]
REPORT = StreamReport("id", 2**40, 2**50, 1, 2, 3, 0.125, 2**32 - 1, 1_790_000_000_000_000_000)
ANSWERS = [
    wire.Ready(),
    wire.Done(1, [("s", REPORT)], last=False),
    wire.Trouble("r", "enospc"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
def test_commands(command: wire.AnyCommand) -> None:
    assert wire.decode_command(wire.encode(command)) == command


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda a: type(a).__name__)
def test_answers(answer: wire.AnyAnswer) -> None:
    assert wire.decode_answer(wire.encode(answer)) == answer


def test_the_longest_records_fit_the_pipe() -> None:
    spec = StreamSpec("i" * 40, "l" * 64, dict.fromkeys(range(96, 128), "telephone-event"))
    streams = [(n, spec) for n in range(wire.STREAMS_PER_MESSAGE)]
    opened = wire.Open(1, "s" * 40, streams, Target("r" * 128), b"c" * 16, 2**62)
    assert len(wire.encode(opened)) < 100_000
    reports = [("s" * 40, REPORT)] * wire.REPORTS_PER_MESSAGE
    assert len(wire.encode(wire.Done(1, reports))) < 100_000
    assert 2 * wire.STREAMS_PER_MESSAGE <= 253


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_noise_is_one_kind_of_error(record: bytes) -> None:
    try:
        wire.decode_command(record)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
