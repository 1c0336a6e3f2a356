"""What is written down about a live session."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from media.spec import StreamPort, StreamSpec
from siprec import logbook, metadata
from siprec.session import Actor, LiveSession, NegotiatedStream, State
from storage.records import Pause

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=10)
NS = "urn:ietf:params:xml:ns:recording:1"
DOCUMENT = f"""<recording xmlns="{NS}"><datamode>complete</datamode>
<session session_id="c2Vzc2lvbg=="/>
<participant participant_id="YWxpY2U=">
<nameID aor="sip:alice@a.example"><name>Alice</name></nameID></participant>
<participant participant_id="Ym9i"><nameID aor="sip:bob@b.example"/></participant>
<stream stream_id="b25l" session_id="c2Vzc2lvbg=="><label>one</label></stream>
<stream stream_id="dHdv" session_id="c2Vzc2lvbg=="><label>two</label></stream>
<participantstreamassoc participant_id="YWxpY2U="><send>dHdv</send></participantstreamassoc>
<participantstreamassoc participant_id="Ym9i"><send>b25l</send></participantstreamassoc>
</recording>""".encode()


def live(count: int = 3) -> LiveSession:
    session = LiveSession("s", "d", "call", NOW, State.RECORDING)
    session.streams = [
        NegotiatedStream(n, StreamSpec(f"m{n}", label, {0: "PCMU"}), StreamPort(f"m{n}", 2, 3))
        for n, label in zip(range(count), ("one", "two", "three"), strict=False)
    ]
    return session


def model() -> metadata.Model:
    return metadata.merge(
        metadata.Model(), metadata.parse(DOCUMENT), {"one": 0, "two": 1, "three": 2}, NOW
    )


def test_the_first_declared_participant_is_on_the_left() -> None:
    rows = logbook.streams(live(), model())
    assert [(row.stream_id, row.channel) for row in rows] == [("m1", 0), ("m0", 1), ("m2", 2)]
    assert rows[0].participant_id == "YWxpY2U=" and rows[2].participant_id == ""


def test_without_metadata_the_order_of_the_offer_counts() -> None:
    rows = logbook.streams(live(), metadata.Model())
    assert [row.stream_id for row in rows] == ["m0", "m1", "m2"]


def test_participants_keep_address_and_name() -> None:
    assert [(p.aor, p.name) for p in logbook.participants(live(), model())] == [
        ("sip:alice@a.example", "Alice"),
        ("sip:bob@b.example", ""),
    ]


def test_ids_are_unguessable_and_safe_as_names() -> None:
    ids = {logbook.opened(live(), NOW, 1).id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(each) == 32 and each.isalnum() for each in ids)


def test_a_recording_closed_while_paused_says_so_and_ends_its_pause() -> None:
    session = live()
    session.state = State.PAUSED
    session.pauses = (Pause(NOW, None, "cut"),)
    session.recording = logbook.opened(session, NOW, 1)
    row = logbook.closed(session, session.recording, LATER)
    assert row.paused_at_end and row.status == "processing"
    assert row.pauses == (Pause(NOW, LATER, "cut"),)
    assert (row.paused_ms, row.duration_ms) == (10_000, 0)


def test_history_is_numbered() -> None:
    row = logbook.opened(live(), NOW, 1)
    for action in ("start", "pause"):
        row = logbook.audited(row, NOW, Actor("desk 4"), action, "card")
    assert [(e.sequence, e.action, e.actor) for e in row.history] == [
        (1, "start", "desk 4"),
        (2, "pause", "desk 4"),
    ]


def test_only_an_open_pause_is_ended() -> None:
    done = (Pause(NOW, NOW, "cut"),)
    assert logbook.resumed(done, LATER) == done
    assert logbook.resumed((), LATER) == ()
    assert logbook.resumed((*done, replace(done[0], ended_at=None)), LATER)[1].ended_at == LATER
