"""Stored recordings for people: who sees them, what they change, what is left after deleting."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from media import spool
from media.spec import Rendered
from siprec import conversion
from siprec.feed import CAPACITY, FeedEvent
from siprec.logbook import Changes, InvalidChange, changed
from siprec.session import Action, Actor, ConversionTimeout, NotFinished
from storage import sidecar, writer
from storage.entries import Route
from storage.records import (
    FileRecord,
    InvalidQuery,
    NameTaken,
    OnHold,
    Recording,
    RecordingQuery,
    StorageUnavailable,
    SupplementalFile,
    UnknownFile,
    UnknownRecording,
)
from tests.api.node import Node
from tests.siprec.shelves import ANN, BOB, ROUTED, STARTED, Shelf
from tests.siprec.shelves import shelf as opened

ADMIN = Actor("root")
HOSTILE = (
    "",
    "../x.wav",
    "/etc/passwd",
    "..%2fx.wav",
    "%252e%252e.wav",
    "..\\x.wav",
    "a\0.wav",
    "．．／x.wav",
    "a\nb.wav",
    "-i.wav",
    "~root.wav",
    ".hidden.wav",
    "x" * 300,
    "trailing.",
    "trailing.wav ",
)


@pytest.fixture
async def shelf(tmp_path: Path, migrated: Path) -> AsyncIterator[Shelf]:
    async with opened(tmp_path, migrated) as shelf:
        yield shelf


async def _gone(shelf: Shelf, recording_id: str = "r1") -> bool:
    try:
        await shelf.library.get(recording_id)
    except UnknownRecording:
        return True
    return False


# who sees what


@pytest.mark.parametrize(
    "actor", [BOB, ROUTED, Actor("mallory", "admin", 300)], ids=lambda actor: actor.name
)
async def test_what_somebody_may_not_see_is_not_there(shelf: Shelf, actor: Actor) -> None:
    row = await shelf.stored()
    library = shelf.library
    for refused in (
        library.get("r1", actor),
        library.update("r1", Changes(note="mine"), actor),
        library.mp3("r1", actor),
        library.delete("r1", actor),
    ):
        with pytest.raises(UnknownRecording):
            await refused
    assert (await library.find(RecordingQuery(), actor)).items == ()
    assert await shelf.catalog.get("r1") == replace(row, number=1)


async def test_live_and_unfinished_recordings_are_hidden_as_well(shelf: Shelf) -> None:
    live = shelf.ended("live", status="recording")
    shelf.library.live = {"live": live}.get
    shelf.archive.take(shelf.ended("processing"))
    for recording_id in ("live", "processing"):
        assert (await shelf.library.get(recording_id, ANN)).id == recording_id
        with pytest.raises(UnknownRecording):
            await shelf.library.get(recording_id, BOB)


async def test_pages_are_full_of_what_one_may_see(shelf: Shelf) -> None:
    for number in range(12):
        account, route = [(100, 7), (200, 17), (100, 8)][number % 3]
        at = STARTED + timedelta(minutes=number)
        await shelf.stored(f"r{number:02}", account=account, route=route, started_at=at)

    async def pages(actor: Actor, **query: Any) -> list[list[str]]:
        found: list[list[str]] = []
        cursor = None
        while cursor or not found:
            page = await shelf.library.find(RecordingQuery(limit=3, cursor=cursor, **query), actor)
            found.append([row.id for row in page.items])
            cursor = page.next
        return found

    assert await pages(ANN, oldest_first=True) == [
        ["r00", "r02", "r03"],
        ["r05", "r06", "r08"],
        ["r09", "r11"],
    ]
    assert await pages(ROUTED) == [["r11", "r08", "r05"], ["r02"]]
    assert await pages(BOB) == [["r10", "r07", "r04"], ["r01"]]
    assert await pages(BOB, accounts=frozenset({100})) == [[]]
    assert await pages(ROUTED, routes=frozenset({7})) == [[]]
    assert await pages(ANN, accounts=frozenset({100, 200}), routes=frozenset({8, 17})) == [
        ["r11", "r08", "r05"],
        ["r02"],
    ]
    assert sum(map(len, await pages(ADMIN))) == 12
    assert await pages(ADMIN, accounts=frozenset({200})) == await pages(BOB)


async def test_what_is_found_is_as_of_now(shelf: Shelf) -> None:
    live = shelf.ended("live", status="recording")
    await shelf.catalog.save(live, shelf.ended("processing"))
    shelf.library.live = {"live": replace(live, duration_ms=777)}.get
    shelf.archive.take(shelf.ended("processing", note="newest"))
    page = await shelf.library.find(RecordingQuery(), ANN)
    found = {row.id: row for row in page.items}
    assert (found["live"].duration_ms, found["live"].number) == (777, 1)
    assert (found["processing"].note, found["processing"].number) == ("newest", 2)


async def test_only_what_the_directory_makes_searchable_is_searched_for(shelf: Shelf) -> None:
    await shelf.stored(custom={"case": "4711", "remark": "x"})
    found = await shelf.library.find(RecordingQuery(custom={"case": "4711"}), ANN)
    assert [row.id for row in found.items] == ["r1"]
    with pytest.raises(InvalidQuery, match="remark"):
        await shelf.library.find(RecordingQuery(custom={"remark": "x"}), ANN)


async def test_what_matches_is_what_one_may_see_and_search_for(shelf: Shelf) -> None:
    await shelf.stored("r1", custom={"case": "1"})
    await shelf.stored("r2", account=200, route=17, custom={"case": "1"})
    live = shelf.ended("live", status="recording", route=8, custom={"case": "1"})
    shelf.library.live, shelf.library.open = {"live": live}.get, lambda: [live]
    query = RecordingQuery(custom={"case": "1"}, limit=1001)
    for actor, expected in (
        (ADMIN, ["live", "r1", "r2"]),
        (ANN, ["live", "r1"]),
        (BOB, ["r2"]),
        (ROUTED, ["live"]),
    ):
        assert [row.id for row in await shelf.library.match(query, actor)] == expected
    kept = await shelf.library.match(query, ANN, lambda row: row.status == "complete")
    assert [row.id for row in kept] == ["r1"]
    with pytest.raises(InvalidQuery, match="remark"):
        await shelf.library.match(RecordingQuery(custom={"remark": "x"}), ADMIN)


async def test_a_segment_of_a_call_is_found_wherever_it_is(shelf: Shelf) -> None:
    for number in (1, 2):
        await shelf.stored(f"r{number}", session_id="s", segment=number)
    await shelf.stored("other", session_id="t", segment=3)
    live = shelf.ended("live", status="recording", session_id="s", segment=3)
    shelf.library.live, shelf.library.open = {"live": live}.get, lambda: [live]
    for segment, expected in ((1, "r1"), (2, "r2"), (3, "live")):
        assert (await shelf.library.segment("s", segment)).id == expected
    with pytest.raises(UnknownRecording, match="s, segment 4"):
        await shelf.library.segment("s", 4)


async def test_calls_of_the_recorder_are_found(node: Node) -> None:
    """The library knows the recorder once the rooms are put together."""
    library, recorder = node.services.library, node.services.recorder
    first, second = await node.call("call-1"), await node.call("call-2")
    assert first.recording and second.recording
    both = [first.recording.id, second.recording.id]
    found = await library.match(RecordingQuery(limit=9))
    assert [(row.id, row.status) for row in found] == [(each, "recording") for each in both]
    booked = [await library.booked(each) for each in both]
    assert {row.number for row in booked} == {1, 2}
    one = await library.match(RecordingQuery(number=booked[1].number))
    assert [(row.id, row.number) for row in one] == [(both[1], booked[1].number)]
    await recorder.control(first.id, Action.STOP, ADMIN)
    found = await library.match(RecordingQuery(call_id="call-1"))
    assert [(row.id, row.number) for row in found] == [(both[0], booked[0].number)]
    assert found[0].status != "recording"
    assert await library.free_name(second.recording.filename, second.recording.started_at) != (
        second.recording.filename
    )


# finished


async def test_one_waits_for_the_files_of_what_has_ended(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = _slowly(shelf, monkeypatch)
    shelf.archive.finish(shelf.ended(), [])
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(shelf.library.finished("r1", ANN))
        assert not (await asyncio.wait([waiting], timeout=0.1))[0]
        go_on.set()
    found = waiting.result()
    assert (found.status, [file.format for file in found.files]) == ("complete", ["wav", "peaks"])
    assert (await shelf.library.finished("r1", ANN)).files == found.files
    with pytest.raises(UnknownRecording):
        await shelf.library.finished("r1", BOB)


async def test_an_event_that_was_missed_is_noticed(shelf: Shelf) -> None:
    shelf.archive.take(shelf.ended())
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(shelf.library.finished("r1"))
        await asyncio.sleep(0)
        shelf.archive._book(replace(shelf.archive.unfinished["r1"], status="failed"))
        for _ in range(CAPACITY):
            shelf.feed.publish(FeedEvent("session.updated", datetime.now(UTC), recording_id="r2"))
    assert waiting.result().status == "failed"


async def test_one_does_not_wait_for_what_is_open_nor_for_ever(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = shelf.ended("live", status="recording")
    shelf.library.live = {"live": live}.get
    with pytest.raises(NotFinished):
        await shelf.library.finished("live")
    shelf.archive.take(shelf.ended())
    monkeypatch.setattr(conversion, "LIMIT_S", 0.05)
    with pytest.raises(ConversionTimeout):
        await shelf.library.finished("r1")
    assert not shelf.feed._subscriptions


def _slowly(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Rendering waits for the event that is returned."""
    go_on = asyncio.Event()
    render = shelf.renderer.render

    async def slow(*args: Any) -> Rendered:
        await go_on.wait()
        return await render(*args)

    monkeypatch.setattr(shelf.renderer, "render", slow)
    return go_on


# change


async def test_a_change_is_in_the_catalogue_when_it_is_answered(shelf: Shelf) -> None:
    await shelf.stored()
    changes = Changes(
        agent_id="007",
        agent_terminal="T1",
        note="called\nback",
        third_party_id="scr-1",
        sensitive=True,
        never_expire=True,
        hold=True,
        custom={"case": "4711", "ticket": "9"},
    )
    with shelf.feed.subscribe() as events:
        answered = await shelf.library.update("r1", changes, ANN)
        told = await anext(aiter(events))
    stored = await shelf.catalog.get("r1")
    assert stored == replace(answered, number=1)
    assert (stored.agent_id, stored.agent_terminal, stored.note) == ("007", "T1", "called\nback")
    assert (stored.sensitive, stored.never_expire, stored.hold) == (True, True, True)
    assert stored.custom == {"case": "4711", "ticket": "9"}
    assert [(e.actor, e.action) for e in stored.history] == [("ann", "update")]
    assert isinstance(told, FeedEvent)
    assert (told.type, told.recording_id, told.account) == ("recording.changed", "r1", 100)
    await shelf.library.update("r1", Changes(custom={"case": "", "ticket": "10"}), ANN)
    assert (await shelf.catalog.get("r1")).custom == {"ticket": "10"}
    assert [row.id for row in (await _find(shelf, custom={"ticket": "10"})).items] == ["r1"]


async def _find(shelf: Shelf, **query: Any) -> Any:
    return await shelf.library.find(RecordingQuery(**query), ANN)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (Changes(custom={"unheard of": "x"}), "unheard of"),
        (Changes(custom={"budget": "x"}), "budget"),  # another account's
        (Changes(custom={"Case": "x"}), "Case"),
        (Changes(custom={"case": "x" * 1025}), "case"),
        (Changes(note="x" * 1025), "note"),
        (Changes(filename="../x.wav"), "filename"),
    ],
)
async def test_a_change_that_cannot_be_made_changes_nothing(
    shelf: Shelf, changes: Changes, named: str
) -> None:
    row = await shelf.stored()
    with pytest.raises(InvalidChange, match=named):
        await shelf.library.update("r1", replace(changes, agent_id="007"), ADMIN)
    assert await shelf.catalog.get("r1") == replace(row, number=1)


async def test_no_change_leaves_no_trace(shelf: Shelf) -> None:
    await shelf.stored(note="as it was", hold=True)
    await shelf.library.update("r1", Changes(note="as it was", hold=True), ANN)
    assert (await shelf.catalog.get("r1")).history == ()


async def test_an_open_recording_is_changed_by_the_recorder(shelf: Shelf) -> None:
    live = {"r1": shelf.ended(status="recording")}

    def annotate(recording_id: str, changes: Changes, actor: Actor) -> Recording | None:
        live[recording_id] = changed(live[recording_id], changes, datetime.now(UTC), actor)
        return live[recording_id]

    shelf.library.live, shelf.library.annotate_live = live.get, annotate
    found = await shelf.library.update("r1", Changes(note="live"), ANN)
    assert found is live["r1"] and found.note == "live"
    with pytest.raises(InvalidChange, match="ended"):
        await shelf.library.update("r1", Changes(filename="new.wav"), ANN)
    with pytest.raises(InvalidChange, match="budget"):
        await shelf.library.update("r1", Changes(custom={"budget": "1"}), ANN)


async def test_changes_made_while_files_are_made_are_kept(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering, go_on = asyncio.Event(), asyncio.Event()
    render = shelf.renderer.render

    async def slow(*args: Any) -> Rendered:
        rendering.set()
        await go_on.wait()
        return await render(*args)

    monkeypatch.setattr(shelf.renderer, "render", slow)
    row = shelf.ended(filename="auto.wav")
    shelf.archive.take(row)
    await shelf.library.update("r1", Changes(note="before"), ANN)
    shelf.archive.finish(row, [])
    await rendering.wait()
    await shelf.library.update("r1", Changes(filename="named", custom={"case": "1"}), ANN)
    assert (await shelf.library.get("r1")).filename == "named.wav"
    go_on.set()
    async with asyncio.timeout(20):
        while not (found := await shelf.library.get("r1")).is_finished:
            await asyncio.sleep(0.01)
    assert (found.status, found.duration_ms, found.note) == ("complete", 1000, "before")
    assert (found.filename, found.previous_filename) == ("named.wav", "auto.wav")
    assert found.custom == {"case": "1"}
    assert found.files[0].key == "2026-11-22/14/05/r1.wav"
    await shelf.writer.stored("r1")
    assert await shelf.catalog.get("r1") == replace(found, number=1)


async def test_a_recording_is_renamed_right_after_its_stop(node: Node) -> None:
    """While the media process still reports, while files are made, and once they are."""
    library, recorder = node.services.library, node.services.recorder
    live = await node.call()
    assert live.recording
    recording_id = live.recording.id
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.control(live.id, Action.STOP, ADMIN))
        await asyncio.sleep(0)
        before = await library.update(recording_id, Changes(filename="a.wav"), ADMIN)
        assert (before.status, before.filename) == ("processing", "a.wav")
    renamed = await library.update(recording_id, Changes(filename="b", note="n"), ADMIN)
    assert (renamed.filename, renamed.previous_filename) == ("b.wav", "a.wav")
    booked = await library.booked(recording_id)
    assert (booked.filename, booked.number) == ("b.wav", 1)
    found = await library.finished(recording_id)
    assert (found.filename, found.note, found.status) == ("b.wav", "n", "failed")
    last = await library.update(recording_id, Changes(filename="c"), ADMIN)
    assert (last.filename, last.previous_filename, last.number) == ("c.wav", "b.wav", 1)
    stored = await node.services.catalog.get(recording_id)
    assert (stored.filename, stored.note, stored.status) == ("c.wav", "n", "failed")


async def test_a_change_waits_for_no_collecting(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LINGER_S", 3600.0)
    row = await shelf.stored()
    for note in ("first", "second"):
        shelf.writer.put(replace(row, reason=note))
        assert (await shelf.library.update("r1", Changes(note=note), ANN)).number == 1
        stored = await shelf.catalog.get("r1")
        assert (stored.reason, stored.note) == (note, note)


async def test_a_change_to_an_unfinished_recording_outlives_the_process(shelf: Shelf) -> None:
    notes = asyncio.get_running_loop().create_task(shelf.archive.write_notes())
    shelf.archive.take(shelf.ended())
    await shelf.library.update("r1", Changes(note="kept"), ANN)
    async with asyncio.timeout(5):
        while not any((shelf.folder / "spool").glob("*.json")):
            await asyncio.sleep(0.01)
    assert sidecar.read(shelf.folder / "spool" / "r1.json").note == "kept"
    notes.cancel()
    await asyncio.wait([notes])


async def test_a_recording_between_two_owners_is_not_changed(shelf: Shelf) -> None:
    await shelf.catalog.save(shelf.ended(status="recording"))
    with pytest.raises(StorageUnavailable):
        await shelf.library.update("r1", Changes(note="lost"), ANN)
    assert (await shelf.catalog.get("r1")).note == ""


async def test_a_change_is_not_overtaken_by_an_older_state(shelf: Shelf) -> None:
    row = await shelf.stored()
    shelf.writer.put(replace(row, reason="first"))
    await shelf.writer.stored("r1")
    shelf.writer.put(replace(row, reason="second"))  # waits: the writer collects for a while
    assert shelf.writer.get_pending("r1")
    await shelf.library.update("r1", Changes(note="newest"), ANN)
    assert await shelf.writer.drain(5)
    stored = await shelf.catalog.get("r1")
    assert (stored.reason, stored.note) == ("second", "newest")


async def test_simultaneous_changes_are_all_made(shelf: Shelf) -> None:
    await shelf.stored()
    changes = [Changes(custom={"case": "1"}), Changes(custom={"ticket": "2"})]
    changes += [Changes(note="n"), Changes(agent_id="a"), Changes(filename="f"), Changes(hold=True)]
    library = shelf.library
    found, *_ = await asyncio.gather(
        library.mp3("r1", ANN), *(library.update("r1", each, ANN) for each in changes)
    )
    assert [file.format for file in found.files] == ["wav", "mp3"]
    stored = await shelf.catalog.get("r1")
    assert stored.custom == {"case": "1", "ticket": "2"}
    assert (stored.note, stored.agent_id, stored.filename) == ("n", "a", "f.wav")
    assert stored.hold and [file.format for file in stored.files] == ["wav", "mp3"]
    assert len(stored.history) == 6
    assert not library._turns


async def test_a_database_that_is_away_refuses_changes_whole(shelf: Shelf) -> None:
    await shelf.stored()
    with closing(sqlite3.connect(shelf.folder / "siprecd.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable):
            await shelf.library.update("r1", Changes(note="n"), ANN)
        with pytest.raises(StorageUnavailable):
            await shelf.library.delete("r1", ANN)
        other.execute("ROLLBACK")
    stored = await shelf.library.get("r1")
    assert (stored.note, stored.deleting, stored.history) == ("", False, ())
    assert shelf.blobs.exists(stored.files[0].key)


# rename


async def test_a_new_name_moves_nothing_and_keeps_the_old_one(shelf: Shelf) -> None:
    row = await shelf.stored()
    found = await shelf.library.update("r1", Changes(filename="Gespräch"), ANN)
    assert (found.filename, found.previous_filename) == ("Gespräch.wav", "r1.wav")
    assert found.files == row.files and shelf.blobs.exists(row.files[0].key)
    found = await shelf.library.update("r1", Changes(filename="B.WAV"), ANN)
    assert (found.filename, found.previous_filename) == ("B.WAV", "Gespräch.wav")
    found = await shelf.library.update("r1", Changes(filename="b.wav"), ANN)
    assert (found.filename, found.previous_filename) == ("b.wav", "B.WAV")


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_name_that_would_be_a_path_is_refused(shelf: Shelf, name: str) -> None:
    await shelf.stored()
    before = {*shelf.folder.rglob("*")}
    with pytest.raises(InvalidChange, match="filename"):
        await shelf.library.update("r1", Changes(filename=name), ADMIN)
    assert (await shelf.library.get("r1")).filename == "r1.wav"
    assert {*shelf.folder.rglob("*")} <= before


async def test_names_are_unique_in_a_folder_case_twins_included(shelf: Shelf) -> None:
    await shelf.stored("r1")
    await shelf.stored("r2", filename="Taken.wav")
    await shelf.stored("r3", filename="other.wav", started_at=STARTED + timedelta(minutes=1))
    shelf.archive.take(shelf.ended("r4", filename="unfinished.wav"))
    shelf.library.open = lambda: [shelf.ended("r5", status="recording", filename="open.wav")]
    for name in ("Taken.wav", "taken", "TAKEN.WAV", "UNFINISHED.wav", "Open"):
        with pytest.raises(NameTaken):
            await shelf.library.update("r1", Changes(filename=name, note="n"), ANN)
    assert (await shelf.library.get("r1")).note == ""
    assert (await shelf.library.update("r1", Changes(filename="other.wav"), ANN)).filename


async def test_of_two_who_want_a_name_one_gets_it(shelf: Shelf) -> None:
    for number in range(5):
        await shelf.stored(f"r{number}")
    wanted = (shelf.library.update(f"r{n}", Changes(filename="the one"), ANN) for n in range(5))
    found = await asyncio.gather(*wanted, return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["NameTaken"] * 4 + ["Recording"]


# delete


def _supplement(recording_id: str) -> SupplementalFile:
    file = FileRecord("mp4", f"2026-11-22/14/05/{recording_id}.1.mp4", 1, "")
    return SupplementalFile(1, "video", "video.mp4", file)


async def test_deleting_takes_files_and_row_and_leaves_the_trail(shelf: Shelf) -> None:
    row = await shelf.stored(supplemental_files=(_supplement("r1"),), never_expire=True)
    orphan = "2026-11-22/14/05/r1.mp3"  # made, but a crash kept it from being booked
    shelf.put(orphan, b"mp3")
    await shelf.stored("r2")
    with shelf.feed.subscribe() as events:
        await shelf.library.delete("r1", ANN)
        told = await anext(aiter(events))
    assert await _gone(shelf)
    keys = [row.files[0].key, row.supplemental_files[0].file.key, orphan]
    assert not any(map(shelf.blobs.exists, keys))
    assert await shelf.trail() == [("ann", "delete", "")]
    assert (told.type, told.actor, told.account) == ("recording.deleted", "ann", 100)
    assert (await shelf.library.get("r2")).files
    with pytest.raises(UnknownRecording):
        await shelf.library.delete("r1", ANN)


async def test_what_another_recorder_made_is_marked_for_it_and_left_to_it(shelf: Shelf) -> None:
    """They share a database, not their files."""
    row = await shelf.stored(node=2)
    await shelf.library.delete("r1", ANN)
    stored = await shelf.library.get("r1")
    assert stored.deleting and shelf.blobs.exists(row.files[0].key)
    await shelf.library.resume()
    assert (await shelf.library.get("r1")).deleting
    assert await shelf.trail() == [("ann", "delete", "")]


async def test_what_is_held_is_not_deleted_and_who_tried_is_written_down(shelf: Shelf) -> None:
    row = await shelf.stored(hold=True)
    for actor in (ANN, ANN, ADMIN):
        with pytest.raises(OnHold):
            await shelf.library.delete("r1", actor)
    stored = await shelf.library.get("r1")
    assert not stored.deleting and shelf.blobs.exists(row.files[0].key)
    refused = ("delete refused", "hold")
    assert await shelf.trail() == [("ann", *refused), ("root", *refused)]
    await shelf.library.update("r1", Changes(hold=False), ADMIN)
    await shelf.library.delete("r1", ANN)
    assert await _gone(shelf)


async def test_what_has_not_ended_is_not_deleted(shelf: Shelf) -> None:
    shelf.library.live = {"live": shelf.ended("live", status="recording")}.get
    shelf.archive.take(shelf.ended("processing"))
    for recording_id in ("live", "processing"):
        with pytest.raises(NotFinished):
            await shelf.library.delete(recording_id, ADMIN)
        with pytest.raises(NotFinished):
            await shelf.library.mp3(recording_id, ADMIN)


async def test_a_deletion_that_was_cut_off_is_finished_at_the_next_start(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(key: str) -> None:
        raise StorageUnavailable(f"{key}: Input/output error")

    row = await shelf.stored()
    with monkeypatch.context() as patched:
        patched.setattr(shelf.blobs, "delete", away)
        with pytest.raises(StorageUnavailable):
            await shelf.library.delete("r1", ANN)
    stored = await shelf.library.get("r1", ANN)
    assert stored.deleting and (await shelf.library.find(RecordingQuery(), ANN)).items == (stored,)
    with pytest.raises(InvalidChange, match="deleted"):
        await shelf.library.update("r1", Changes(filename="saved.wav"), ADMIN)
    with pytest.raises(InvalidChange):
        await shelf.library.update("r1", Changes(hold=True), ADMIN)
    with pytest.raises(UnknownFile):
        await shelf.library.mp3("r1", ANN)
    await shelf.library.resume()
    assert await _gone(shelf) and not shelf.blobs.exists(row.files[0].key)
    assert await shelf.trail() == [("ann", "delete", "")]
    await shelf.library.resume()


async def test_one_deletion_that_fails_does_not_keep_others_from_going_on(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = shelf.blobs.delete

    def partly(key: str) -> None:
        if "r2" in key:
            raise StorageUnavailable("away")
        delete(key)

    for number in range(1, 4):
        await shelf.stored(f"r{number}", deleting=True)
    monkeypatch.setattr(shelf.blobs, "delete", partly)
    await shelf.library.resume()
    left = await shelf.library.find(RecordingQuery())
    assert [row.id for row in left.items] == ["r2"]


async def test_the_spool_of_a_failed_recording_goes_with_it(shelf: Shelf) -> None:
    shelf.ended()
    path = spool.path_of(shelf.folder / "spool", "r1")
    sidecar.write(shelf.folder / "spool", await shelf.stored(status="failed", files=()))
    other = path.with_stem("r10")
    other.write_bytes(path.read_bytes())
    await shelf.library.delete("r1", ADMIN)
    assert [each.name for each in (shelf.folder / "spool").iterdir()] == [other.name]
    assert [row.id for row in await shelf.archive.leftovers()] == ["r10"]


# retention


async def test_what_changed_since_the_plan_is_not_deleted(shelf: Shelf) -> None:
    for recording_id in ("due", "held", "kept", "moved"):
        ended = datetime.now(UTC) - timedelta(days=31)
        route = 8 if recording_id == "moved" else 7
        await shelf.stored(recording_id, ended_at=ended, route=route)
    plan = await shelf.library.plan_retention()
    assert (plan.count, plan.total) == (4, 4)
    await shelf.library.update("held", Changes(hold=True), ADMIN)
    await shelf.library.update("kept", Changes(never_expire=True), ADMIN)
    await shelf.directory.put(Route(8, 100, retention_days=90))
    assert await shelf.library.retire(plan) == 1
    left = {row.id for row in (await shelf.library.find(RecordingQuery())).items}
    assert left == {"held", "kept", "moved"}
    assert await shelf.trail("due") == [("siprecd", "delete", "retention")]
    assert await shelf.library.retire(plan) == 0


async def test_nobody_expires_what_ended_after_the_limit_of_the_plan(shelf: Shelf) -> None:
    ended = datetime.now(UTC) - timedelta(days=31)
    await shelf.stored(ended_at=ended)
    assert not await shelf.library.expire("r1", ended)
    assert not await shelf.library.expire("unknown", ended)
    assert await shelf.library.expire("r1", ended + timedelta(microseconds=1))


async def test_matches_are_counted_as_far_as_one_may_see_them(shelf: Shelf) -> None:
    await shelf.stored("r1", ani="7")
    await shelf.stored("r2", ani="7")
    await shelf.stored("r3", account=200, route=17)
    library = shelf.library
    assert await library.count(RecordingQuery(ani="7"), ANN) == 2
    assert await library.count(RecordingQuery(), ANN) == 2
    assert await library.count(RecordingQuery(limit=1)) == 3
    with pytest.raises(InvalidQuery, match="custom"):
        await library.count(RecordingQuery(custom={"remark": "x"}), ANN)


async def test_what_somebody_did_with_a_recording_is_in_its_history(shelf: Shelf) -> None:
    await shelf.stored()
    await shelf.library.noted("r1", "Download Recording", ANN)
    (entry,) = (await shelf.library.get("r1")).history
    assert (entry.actor, entry.action, entry.sequence) == ("ann", "Download Recording", 1)
    assert await shelf.trail() == [("ann", "Download Recording", "")]
    with pytest.raises(UnknownRecording):
        await shelf.library.noted("r2", "Download Recording", ANN)
