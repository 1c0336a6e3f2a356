"""From a plan to open ports, and to the answer that names them."""

from datetime import UTC, datetime

from media.spec import DISCARD, Target
from siprec import negotiation, sdp, streams
from siprec.session import LiveSession, State
from storage.records import Pause, Recording
from tests.api.node import SDP, Node

NOW = datetime.now(UTC)
NOW_NS = int(NOW.timestamp() * 1e9)


def live(state: State = State.RECORDING, *pauses: Pause) -> LiveSession:
    recording = Recording("r1", "a" * 32, "c", "recording", NOW)
    return LiveSession("a" * 32, "d", "c", NOW, state, recording, pauses=pauses)


def test_where_media_goes_follows_the_state() -> None:
    assert streams.target(live()) == Target("r1")
    paused = live(State.PAUSED, Pause(NOW, None, "cut"))
    assert streams.target(paused) == Target("r1", paused=True, fill=False)
    stopped = live(State.STOPPED)
    stopped.recording = None
    assert streams.target(stopped) == DISCARD


async def test_inactive_streams_stay_open_and_say_so(node: Node) -> None:
    session = live()
    plan = negotiation.plan(sdp.parse(SDP))
    streams.align(node.engine, session, plan, NOW_NS)
    before = streams.answer(session, plan, "192.0.2.7", None)
    held = negotiation.plan(sdp.parse(SDP.replace(b"sendonly", b"inactive")), plan)
    streams.align(node.engine, session, held, NOW_NS)
    after = streams.answer(session, held, "192.0.2.7", before)
    assert [stream.spec.active for stream in session.streams] == [False, False]
    assert [m.port for m in after.media] == [m.port for m in before.media]
    assert [m.direction for m in after.media] == ["inactive", "inactive"]
    assert b"192.0.2.7" in after.encode()


async def test_equal_plans_change_nothing(node: Node) -> None:
    session = live()
    plan = negotiation.plan(sdp.parse(SDP))
    streams.align(node.engine, session, plan, NOW_NS)
    before = streams.answer(session, plan, "127.0.0.1", None)
    ids = [stream.spec.stream_id for stream in session.streams]
    again = negotiation.plan(sdp.parse(SDP), plan)
    streams.align(node.engine, session, again, NOW_NS)
    assert [stream.spec.stream_id for stream in session.streams] == ids
    assert streams.answer(session, again, "127.0.0.1", before).encode() == before.encode()
