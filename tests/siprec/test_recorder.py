"""The core: offers in, commands, and what is visible of both."""

import asyncio
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from media import process
from siprec import metadata, sdp
from siprec.logbook import Changes
from siprec.occurrence import STARTED, Occurrence
from siprec.session import (
    PLAIN,
    Action,
    Actor,
    AlreadyInState,
    ControlFailed,
    InvalidTransition,
    LiveSession,
    Offer,
    Refused,
    State,
    Terms,
    UnknownSession,
)
from storage.entries import Route
from storage.records import Recording
from tests.api.node import SDP, Node

DESK = Actor("desk 4", "control")
NS = "urn:ietf:params:xml:ns:recording:1"


def offer(call_id: str = "call", **changes: Any) -> Offer:
    return replace(
        Offer(
            f"dialog {call_id}",
            call_id,
            frozenset({"require"}),
            "127.0.0.1",
            datetime.now(UTC),
            sdp.parse(SDP),
        ),
        **changes,
    )


def document(mode: str, inner: str) -> metadata.Document:
    text = f'<recording xmlns="{NS}"><datamode>{mode}</datamode>{inner}</recording>'
    return metadata.parse(text.encode())


ALICE = '<participant participant_id="YQ=="><nameID aor="sip:alice@a.example"/></participant>'
BOB = '<participant participant_id="Yg=="><nameID aor="sip:bob@b.example"/></participant>'
SESSION = '<session session_id="c2Vzc2lvbg=="/>'


async def finished(node: Node, recording_id: str) -> Recording:
    async with asyncio.timeout(20):
        with node.services.feed.subscribe() as events:
            if (row := await node.services.library.get(recording_id)).status in {
                "recording",
                "processing",
            }:
                async for event in events:
                    if event.recording_id == recording_id and event.type.rpartition(".")[2] in {
                        "complete",
                        "partial",
                        "failed",
                    }:
                        break
                row = await node.services.library.get(recording_id)
    return row


async def test_an_offer_is_answered_and_recorded_at_once(node: Node) -> None:
    recorder = node.services.recorder
    answer = recorder.begin(offer())
    (live,) = recorder.sessions()
    assert live.state is State.RECORDING and live.recording is not None
    ports = [media.port for media in answer.media]
    assert all(port and port % 2 == 0 for port in ports) and len(set(ports)) == 2
    assert [media.direction for media in answer.media] == ["recvonly", "recvonly"]
    assert [media.label for media in answer.media] == ["1", "2"]
    assert recorder.find(live.id) is live


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"signs": frozenset()}, 403),
        ({"sdp": None}, 488),
        ({"sdp": sdp.parse(SDP.replace(b" 0 101", b" 97").replace(b" 8\r", b" 97\r"))}, 488),
    ],
)
async def test_what_cannot_be_recorded_leaves_nothing(
    node: Node, changes: dict[str, Any], status: int
) -> None:
    with pytest.raises(Refused) as refusal:
        node.services.recorder.begin(offer(**changes))
    assert refusal.value.status == status
    assert node.services.recorder.sessions() == []


async def test_draining_refuses_with_503(node: Node) -> None:
    node.services.recorder.accepting = False
    with pytest.raises(Refused) as refusal:
        node.services.recorder.begin(offer())
    assert (refusal.value.status, refusal.value.retry_after_s) == (503, 5)


async def test_every_command_moves_the_state_and_is_written_down(node: Node) -> None:
    recorder = node.services.recorder
    recorder.begin(offer())
    live = recorder.sessions()[0]
    first = live.recording
    assert first
    steps = [
        (Action.PAUSE, State.PAUSED),
        (Action.MARK, State.PAUSED),
        (Action.RESUME, State.RECORDING),
        (Action.SPLIT, State.RECORDING),
        (Action.STOP, State.STOPPED),
        (Action.START, State.RECORDING),
    ]
    for action, state in steps:
        assert (await recorder.control(live.id, action, DESK, Terms(reason="why"))).state is state
    history = [(e.action, e.actor, e.reason) for e in (await finished(node, first.id)).history]
    assert history[0] == ("start", "src", "")
    assert history[1:] == [
        (action, "desk 4", "why") for action in ("pause", "mark", "resume", "split")
    ]
    assert live.recording and [e.action for e in live.recording.history] == ["start"]


@pytest.mark.parametrize("action", [Action.START, Action.RESUME])
async def test_asking_for_what_is_so_is_told_apart(node: Node, action: Action) -> None:
    recorder = node.services.recorder
    recorder.begin(offer())
    with pytest.raises(AlreadyInState):
        await recorder.control(recorder.sessions()[0].id, action, DESK)


async def test_an_impossible_move_changes_nothing(node: Node) -> None:
    recorder = node.services.recorder
    recorder.begin(offer())
    live = recorder.sessions()[0]
    await recorder.control(live.id, Action.STOP, DESK)
    with pytest.raises(InvalidTransition):
        await recorder.control(live.id, Action.PAUSE, DESK)
    assert live.state is State.STOPPED
    with pytest.raises(UnknownSession):
        await recorder.control("nobody", Action.PAUSE, DESK)


async def test_of_two_simultaneous_pauses_one_wins_and_both_are_confirmed(node: Node) -> None:
    recorder = node.services.recorder
    recorder.begin(offer())
    live = recorder.sessions()[0]
    outcomes = await asyncio.gather(
        *(recorder.control(live.id, Action.PAUSE, Actor(str(n))) for n in range(3)),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [LiveSession, AlreadyInState, AlreadyInState]
    assert len(live.pauses) == 1


async def test_streams_come_and_go_with_offers(node: Node) -> None:
    recorder = node.services.recorder
    before = recorder.begin(offer())
    third = SDP + b"m=audio 40004 RTP/AVP 0\r\na=label:3\r\n"
    more = recorder.update(offer(sdp=sdp.parse(third)))
    assert [m.port for m in more.media[:2]] == [m.port for m in before.media]
    assert more.media[2].port not in {0, *(m.port for m in before.media)}
    less = recorder.update(offer(sdp=sdp.parse(third.replace(b"audio 40002", b"audio 0"))))
    assert [bool(m.port) for m in less.media] == [True, False, True]
    live = recorder.sessions()[0]
    assert [stream.closed for stream in live.streams] == [False, True, False]
    versions = [int(each.origin.split()[2]) for each in (before, more, less)]
    assert versions == [1, 2, 3]


async def test_a_refused_offer_changes_neither_media_nor_metadata(node: Node) -> None:
    recorder = node.services.recorder
    recorder.begin(offer(metadata=document("complete", SESSION + ALICE)))
    bad = sdp.parse(SDP.replace(b" 0 101", b" 97").replace(b" 8\r", b" 97\r"))
    with pytest.raises(Refused):
        recorder.update(offer(sdp=bad, metadata=document("partial", BOB)))
    live = recorder.sessions()[0]
    assert [person.aor for person in live.participants] == ["sip:alice@a.example"]
    assert not any(stream.closed for stream in live.streams)


async def test_metadata_alone_changes_people_and_not_media(node: Node) -> None:
    recorder = node.services.recorder
    answer = recorder.begin(offer(metadata=document("complete", SESSION + ALICE)))
    again = recorder.update(offer(sdp=None, metadata=document("partial", BOB)))
    assert again is answer
    live = recorder.sessions()[0]
    assert [p.aor for p in live.participants] == ["sip:alice@a.example", "sip:bob@b.example"]
    assert live.recording and live.recording.participants == live.participants


async def test_a_full_port_range_is_answered_503_and_mends_itself(node: Node) -> None:
    recorder = node.services.recorder
    many = SDP + b"m=audio 40004 RTP/AVP 0\r\n" * 20
    sessions = 0
    with pytest.raises(Refused) as refusal:
        while sessions < 1000:
            recorder.begin(offer(f"call {sessions}", sdp=sdp.parse(many)))
            sessions += 1
    assert refusal.value.status == 503 and refusal.value.retry_after_s
    assert len(recorder.sessions()) == sessions > 100


async def test_the_end_finishes_the_recording_and_takes_last_words(node: Node) -> None:
    recorder = node.services.recorder
    answer = recorder.begin(offer(metadata=document("complete", SESSION + ALICE)))
    live = recorder.sessions()[0]
    assert live.recording
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        packet = bytes.fromhex("80000001000000a0 0badcafe") + b"\x10" * 160
        sock.sendto(packet, ("127.0.0.1", answer.media[0].port))
        recording_id = live.recording.id
        last = offer(sdp=None, metadata=document("partial", BOB))
        recorder.end("dialog call", "bye", last)
        recorder.end("dialog call", "bye", last)
    assert recorder.sessions() == [] and recorder.dialogs() == []
    row = await finished(node, recording_id)
    assert (row.status, row.streams[0].packets) == ("complete", 1)
    assert [person.aor for person in row.participants][-1] == "sip:bob@b.example"
    assert row.warnings == ("no_media:2",)


async def test_a_call_without_a_packet_is_never_complete(node: Node) -> None:
    recorder = node.services.recorder
    recorder.begin(offer())
    live = recorder.sessions()[0]
    assert live.recording
    recording_id = live.recording.id
    recorder.end("dialog call", "bye")
    row = await finished(node, recording_id)
    assert (row.status, row.reason) == ("failed", "no_media")


async def test_live_figures_are_counted_per_stream(node: Node) -> None:
    recorder = node.services.recorder
    answer = recorder.begin(offer())
    live = recorder.sessions()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in (1, 2, 5):
            head = bytes([0x80, 0, 0, number]) + (number * 160).to_bytes(4, "big") + b"ssrc"
            sock.sendto(head + b"\x10" * 160, ("127.0.0.1", answer.media[0].port))
    async with asyncio.timeout(5):
        while True:
            views = (await recorder.reports([live.id]))[live.id]
            first = views[live.streams[0].spec.stream_id]
            if first.packets == 3:
                break
            await asyncio.sleep(0.02)
    assert (first.lost, first.active) == (2, True)
    assert views[live.streams[1].spec.stream_id].packets == 0


async def test_a_paused_call_that_comes_back_starts_paused_until_resumed(node: Node) -> None:
    recorder = node.services.recorder
    words = document("complete", SESSION)
    recorder.begin(offer("one", metadata=words))
    await recorder.control(recorder.sessions()[0].id, Action.PAUSE, DESK)
    recorder.end("dialog one", "bye")
    recorder.begin(offer("two", metadata=words))
    live = recorder.sessions()[0]
    assert live.state is State.PAUSED and live.warnings == ("paused_before_restart",)
    await recorder.control(live.id, Action.RESUME, DESK)
    recorder.end("dialog two", "bye")
    recorder.begin(offer("three", metadata=words))
    assert recorder.sessions()[0].state is State.RECORDING


async def test_trouble_with_the_disk_is_told_once_in_the_recording(node: Node) -> None:
    recorder = node.services.recorder
    recorder.begin(offer())
    live = recorder.sessions()[0]
    assert live.recording
    for _ in range(2):
        node.engine.on_trouble(live.recording.id, "enospc")
    assert live.recording.warnings == ("enospc",)


async def test_who_is_no_longer_named_stays_in_the_recording(node: Node) -> None:
    recorder = node.services.recorder
    recorder.begin(offer(metadata=document("complete", SESSION + ALICE + BOB)))
    recorder.update(offer(sdp=None, metadata=document("complete", SESSION + BOB)))
    live = recorder.sessions()[0]
    assert live.recording
    assert [p.aor for p in live.participants] == ["sip:bob@b.example"]
    assert {p.aor for p in live.recording.participants} == {
        "sip:alice@a.example",
        "sip:bob@b.example",
    }


async def test_metadata_that_comes_after_the_media_finds_its_labels(node: Node) -> None:
    recorder = node.services.recorder
    recorder.begin(offer())
    sends = (
        ALICE + '<stream stream_id="czE="><label>2</label></stream>'
        '<participantstreamassoc participant_id="YQ=="><send>czE=</send></participantstreamassoc>'
    )
    recorder.update(offer(sdp=None, metadata=document("complete", SESSION + sends)))
    live = recorder.sessions()[0]
    assert live.recording and live.warnings == ()
    left = live.recording.streams[0]
    assert (left.label, left.channel, left.participant_id) == ("2", 0, "YQ==")


async def on_demand(node: Node, **changes: Any) -> LiveSession:
    """A call of a route that holds ten seconds."""
    await node.services.directory.put(Route(10, 1, record="on_demand", prebuffer_s=10))
    node.services.recorder.begin(offer(**changes))
    return node.services.recorder.sessions()[0]


async def test_a_call_on_demand_waits_for_its_start(node: Node) -> None:
    recorder = node.services.recorder
    live = await on_demand(node)
    assert (live.state, live.recording) == (State.IDLE, None)
    await asyncio.sleep(0.2)
    await recorder.control(live.id, Action.START, DESK, Terms(prebuffer=True))
    assert live.recording
    assert live.recording.started_at == live.started_at
    assert [e.action for e in live.recording.history] == ["start"]
    await recorder.control(live.id, Action.STOP, DESK)
    stopped_at = datetime.now(UTC)
    await recorder.control(live.id, Action.START, DESK, Terms(prebuffer=True))
    assert live.recording.segment == 2
    assert live.recording.started_at >= stopped_at, "after a stop nothing is held"


async def test_who_asks_for_a_pause_of_what_is_only_held_ends_the_holding(node: Node) -> None:
    """The card number that is being read out must not come with a start a moment later."""
    recorder = node.services.recorder
    live = await on_demand(node)
    with pytest.raises(InvalidTransition):
        await recorder.control(live.id, Action.PAUSE, DESK)
    asked_at = datetime.now(UTC)
    await recorder.control(live.id, Action.START, DESK, Terms(prebuffer=True))
    assert live.recording and live.recording.started_at >= asked_at


async def test_a_call_on_demand_that_was_paused_comes_back_paused(node: Node) -> None:
    recorder = node.services.recorder
    live = await on_demand(node)
    await recorder.control(live.id, Action.START, DESK)
    await recorder.control(live.id, Action.PAUSE, DESK)
    recorder.end(live.dialog_id, "timeout")
    again = await on_demand(node, dialog_id="another")
    assert again.state is State.PAUSED and again.recording


async def test_open_recordings_can_be_annotated_and_others_cannot(node: Node) -> None:
    recorder = node.services.recorder
    live = await node.call()
    assert live.recording
    changes = Changes(agent_id="7", note="angry")
    found = recorder.annotate(live.recording.id, changes, DESK)
    assert found and (found.agent_id, found.note) == ("7", "angry")
    assert recorder.open_recording(found.id) and live.recording.agent_id == "7"
    assert recorder.annotate("nobody", changes, DESK) is None
    assert recorder.open_recording("nobody") is None


async def test_what_a_client_stated_once_stays(node: Node) -> None:
    live = await node.call(ucid="00FA08;encoding=hex")
    assert live.identity.ucid == "00FA08;encoding=hex"
    assert live.recording and live.recording.ucid == live.identity.ucid
    assert live.recording.filename.startswith("bob-00FA08")


async def test_an_open_recording_is_known_until_it_is_closed(node: Node) -> None:
    recorder = node.services.recorder
    live = await node.call()
    first = live.recording
    assert first and recorder.open_recording(first.id)
    await recorder.control(live.id, Action.SPLIT, DESK)
    second = live.recording
    assert second and recorder.open_recording(first.id) is None
    assert recorder.open_recording(second.id)
    recorder.end(live.dialog_id, "bye")
    assert recorder.open_recording(second.id) is None and not recorder._registry.recorded


async def test_a_start_can_say_name_and_profile_of_its_recording(node: Node) -> None:
    live = await on_demand(node)
    terms = Terms(filename="order 17.wav", profile="small")
    await node.services.recorder.control(live.id, Action.START, DESK, terms)
    assert live.recording
    assert (live.recording.filename, live.recording.profile) == ("order 17.wav", "small")
    await node.services.recorder.control(live.id, Action.SPLIT, DESK)
    assert live.recording.filename != "order 17.wav" and live.recording.profile == "default"


async def test_being_there_already_is_told_as_a_failure_only_to_who_wants_it(node: Node) -> None:
    recorder = node.services.recorder
    live = await node.call()
    told: list[tuple[str, str]] = []

    def tell(occurrence: Occurrence) -> None:
        told.append((occurrence.event, occurrence.result))

    recorder.journal.on_occurrence = tell
    for terms, expected in ((PLAIN, []), (Terms(is_strict=True), [(STARTED, "fail")])):
        with pytest.raises(AlreadyInState):
            await recorder.control(live.id, Action.START, DESK, terms)
        assert told == expected


async def test_a_session_without_a_recording_has_an_outline_of_one(node: Node) -> None:
    recorder = node.services.recorder
    body = document("complete", f"{SESSION}{ALICE}{BOB}")
    live = await on_demand(node, metadata=body, ucid="U1")
    outline = recorder.outline(live)
    assert (outline.id, outline.filename, outline.number) == ("", "", 0)
    assert (outline.ucid, outline.started_at, outline.route) == ("U1", live.started_at, 10)
    assert [each.session_id for each in outline.siprec_sessions] == ["c2Vzc2lvbg=="]
    assert recorder.outline(live) is outline, "made once"
    update = document(
        "partial",
        '<participant participant_id="Yg=="><nameID aor="sip:c@c.example"/></participant>',
    )
    recorder.update(offer(dialog_id=live.dialog_id, sdp=None, metadata=update))
    assert recorder.outline(live).participants[-1].aor == "sip:c@c.example", "made anew"
    await recorder.control(live.id, Action.START, DESK)
    assert live.recording and recorder.outline(live).id == live.recording.id
    assert [row.id for row in recorder.open_recordings()] == [live.recording.id]
    await recorder.control(live.id, Action.STOP, DESK)
    assert recorder.outline(live).id == "" and not recorder.open_recordings()


@contextmanager
def hanging(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One media process after the other hangs."""
    monkeypatch.setattr(process, "ACKNOWLEDGE_S", 1.0)
    monkeypatch.setattr(process, "HEARTBEAT_S", 0.1)
    usual = node.engine.on_trouble

    def hang(recording_id: str, code: str) -> None:
        usual(recording_id, code)
        assert node.engine.worker_pid
        os.kill(node.engine.worker_pid, signal.SIGSTOP)

    node.engine.on_trouble = hang
    hang("", "")
    yield
    node.engine.on_trouble = usual


@pytest.mark.parametrize(
    ("before", "action", "state", "again"),
    [
        ([], Action.PAUSE, State.PAUSED, AlreadyInState),
        ([Action.PAUSE], Action.RESUME, State.PAUSED, None),
        ([Action.STOP], Action.START, State.RECORDING, AlreadyInState),
        ([], Action.SPLIT, State.RECORDING, None),
        ([], Action.STOP, State.STOPPED, AlreadyInState),
    ],
    ids=str,
)
async def test_a_command_nobody_confirms_stays_asked_for_unless_it_ends_a_pause(
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    before: list[Action],
    action: Action,
    state: State,
    again: type[Exception] | None,
) -> None:
    recorder = node.services.recorder
    await node.call("another")
    live = await node.call()
    for command in before:
        await recorder.control(live.id, command, DESK)
    pauses = live.pauses
    await recorder.reports([live.id])
    with hanging(node, monkeypatch), pytest.raises(ControlFailed):
        await recorder.control(live.id, action, DESK)
    assert live.state is state
    if action is Action.RESUME:
        assert live.pauses == pauses and live.pauses[-1].ended_at is None
    if again:
        with pytest.raises(again):
            await recorder.control(live.id, action, DESK)
    else:
        assert (await recorder.control(live.id, action, DESK)).state is State.RECORDING


async def test_media_goes_where_the_state_says_after_a_command_nobody_confirmed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = node.services.recorder
    live = await node.call()
    first = live.recording
    await recorder.reports([live.id])
    with hanging(node, monkeypatch), pytest.raises(ControlFailed):
        await recorder.control(live.id, Action.SPLIT, DESK)
    assert first and live.recording and live.recording.id != first.id
    await recorder.reports([live.id])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        port = live.streams[0].port.rtp_port
        for number in range(3):
            header = struct.pack(">BBHII", 0x80, 0, number, 160 * number, 7)
            sender.sendto(header + bytes(160), ("127.0.0.1", port))
    second = live.recording.id
    recorder.end(live.dialog_id, "bye")
    row = await finished(node, second)
    assert row.streams[0].packets == 3
