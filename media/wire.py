"""The messages on the pipe between `media.engine` and `media.worker`, as msgpack.

One message is one SOCK_SEQPACKET record. `Open` carries the RTP and RTCP descriptors of its
streams, in turn, as SCM_RIGHTS. Every command is answered by `Done` with its number, in one part
or several.
"""

from msgspec import Struct, msgpack

from media.spec import StreamReport, StreamSpec, Target

STREAMS_PER_MESSAGE = 64
"""Two descriptors each; a record carries 253 (unix(7)), and must fit the socket's send buffer."""
REPORTS_PER_MESSAGE = 256
RECORD_OCTETS = 1 << 18
"""Longest record either side reads."""


class Command(Struct, frozen=True, array_like=True):
    """What all commands have."""

    number: int
    """Counts up; the answer repeats it."""


class Open(Command, frozen=True, array_like=True, tag=1):
    """Streams of a new session, or further streams of one that is known (then `target` is void)."""

    session_id: str
    streams: list[tuple[int, StreamSpec]]
    """With the index each has in the spools of the session."""
    target: Target
    cname: bytes
    """RTCP canonical name of the session."""
    at_ns: int


class Update(Command, frozen=True, array_like=True, tag=2):
    """Streams whose specification changed, from `at_ns` on."""

    session_id: str
    streams: list[StreamSpec]
    at_ns: int


class CloseStreams(Command, frozen=True, array_like=True, tag=3):
    """Streams that are no more, from `at_ns` on."""

    session_id: str
    stream_ids: list[str]
    at_ns: int


class Switch(Command, frozen=True, array_like=True, tag=4):
    """Another target, from `at_ns` on."""

    session_id: str
    target: Target
    at_ns: int


class End(Command, frozen=True, array_like=True, tag=5):
    """The session is no more, from `at_ns` on."""

    session_id: str
    at_ns: int


class Report(Command, frozen=True, array_like=True, tag=6):
    """How are these sessions doing?"""

    session_ids: list[str]


class Ready(Struct, frozen=True, array_like=True, tag=1):
    """The media process listens."""


class Done(Struct, frozen=True, array_like=True, tag=2):
    """A command took effect; what is now, was true when it did."""

    number: int
    reports: list[tuple[str, StreamReport]]
    """Session id and report."""
    last: bool = True
    """False: another part follows."""


class Trouble(Struct, frozen=True, array_like=True, tag=3):
    """Something is wrong with a recording: `enospc` or `spool_write_failed`."""

    recording_id: str
    code: str


AnyCut = Update | CloseStreams | Switch | End
"""Commands that change a session from a point in time on."""
AnyCommand = Open | AnyCut | Report
AnyAnswer = Ready | Done | Trouble

encode = msgpack.Encoder().encode
_commands = msgpack.Decoder[AnyCommand](AnyCommand)
_answers = msgpack.Decoder[AnyAnswer](AnyAnswer)


def decode_command(record: bytes) -> AnyCommand:
    """A command from its record."""
    command: AnyCommand = _commands.decode(record)
    return command


def decode_answer(record: bytes) -> AnyAnswer:
    """An answer from its record."""
    answer: AnyAnswer = _answers.decode(record)
    return answer
