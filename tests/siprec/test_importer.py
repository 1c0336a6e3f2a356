"""Recordings from outside: what is written down, what is refused, what is left after a crash."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from media.importing import REPAIRED
from media.wav import header
from siprec import importer as module
from siprec.feed import FeedEvent
from siprec.importer import (
    DIFFERS,
    FOLDER,
    MOST,
    Importer,
    OutOfRetention,
    TooManyUploads,
    UnknownOwner,
    UnusableUpload,
    Upload,
)
from siprec.logbook import InvalidChange
from siprec.session import Actor, ConversionFailed
from storage.database import Database
from storage.entries import Account, Route, User
from storage.records import Recording, StorageUnavailable, UnknownRecording
from tests.siprec.shelves import Shelf
from tests.siprec.shelves import shelf as opened

NOW = datetime.now(UTC)
SECOND = header(1, 8_000, 8_000) + bytes(range(1, 201)) * 80
ROOT = Actor("root@system.example")
ANN = Actor("ann@shop.example", "operator", 100)
GIULIANO = User("Giuliano@shop.example", 100, username="giuliano")
USERS = (
    GIULIANO,
    User("rossi@shop.example", 100, username="Rossi"),
    User("rossi@bank.example", 200, username="rossi"),
    User("nameless@shop.example", 100),
    User("root@system.example", 1, username="root"),
)


def importer(shelf: Shelf) -> Importer:
    """A new one on the books of a shelf, as after a start."""
    return Importer(
        shelf.folder / "spool",
        7,
        shelf.renderer,
        shelf.catalog,
        shelf.blobs,
        shelf.feed,
        shelf.directory,
    )


def upload(**fields: Any) -> Upload:
    usual = {"started_at": NOW - timedelta(days=2), "duration_ms": 1_000, "local_party": "376"}
    return Upload(**{"username": "giuliano", **usual, **fields})


@pytest.fixture
async def shelf(tmp_path: Path, migrated: Path) -> AsyncIterator[Shelf]:
    async with opened(tmp_path, migrated) as shelf:
        for user in USERS:
            await shelf.directory.put(user)
        yield shelf


@pytest.fixture
def door(shelf: Shelf) -> Importer:
    return importer(shelf)


async def take(door: Importer, said: Upload, octets: bytes = SECOND, who: Actor = ANN) -> Recording:
    with door.draft() as draft:
        for begin in range(0, len(octets), 5_000):
            await draft.write(octets[begin : begin + 5_000])
        return await door.take(said, draft.path, who)


def files(folder: Path) -> list[str]:
    """What is stored, and what is left below the spool."""
    places = (folder / "recordings", folder / "spool" / FOLDER)
    return [path.name for place in places for path in place.rglob("*") if path.is_file()]


# what is written down


async def test_an_upload_becomes_a_finished_recording(shelf: Shelf, door: Importer) -> None:
    began = datetime(2026, 11, 21, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    said = upload(
        started_at=began,
        remote_party="123456",
        direction="outgoing",
        call_id="pbx-1",
        note="text describing recording content",
        never_expire=True,
        filename="sample.wav",
    )
    await shelf.directory.put(Account(100, "Contact centre", profile="small"))
    before = datetime.now(UTC)
    with shelf.feed.subscribe() as events:
        row = await take(door, said)
        event: FeedEvent = await anext(aiter(events))
    assert await shelf.catalog.get(row.id) == row
    wav, peaks = row.files
    assert row == Recording(
        row.id,
        row.session_id,
        "pbx-1",
        "complete",
        datetime(2026, 11, 22, 1, 30, tzinfo=UTC),
        number=row.number,
        node=7,
        account=100,
        route=1,
        profile="small",
        ended_at=datetime(2026, 11, 22, 1, 30, 1, tzinfo=UTC),
        duration_ms=1_000,
        filename="sample.wav",
        ani="376",
        dnis="123456",
        note="text describing recording content",
        never_expire=True,
        owner="giuliano@shop.example",
        local_party="376",
        remote_party="123456",
        direction="outgoing",
        files=row.files,
        history=row.history,
    )
    assert row.number > 0
    assert (wav.key, peaks.key) == tuple(
        f"2026-11-22/01/30/{row.id}.{suffix}" for suffix in ("wav", "peaks.json")
    )
    assert (wav.format, wav.channels, wav.sample_rate_hz) == ("wav", 1, 8_000)
    for file in row.files:
        stored = shelf.folder / "recordings" / file.key
        assert stored.stat().st_size == file.size_bytes
    assert (shelf.folder / "recordings" / wav.key).read_bytes() == SECOND
    assert [(each.actor, each.action, each.reason) for each in row.history] == [
        ("ann@shop.example", "upload", ""),
        ("ann@shop.example", "update", "note, never_expire=true"),
    ]
    assert all(before <= each.at <= datetime.now(UTC) for each in row.history)
    assert replace(event, at=before) == FeedEvent(
        "recording.complete",
        before,
        row.session_id,
        row.id,
        "pbx-1",
        "ann@shop.example",
        "",
        100,
        1,
    )
    assert len(files(shelf.folder)) == 2


async def test_what_is_not_said(shelf: Shelf, door: Importer) -> None:
    row = await take(door, upload(remote_party="5"))
    assert (row.call_id, row.note, row.never_expire) == (row.session_id, "", False)
    assert (row.direction, row.ani, row.dnis, row.filename) == ("", "5", "376", "376.wav")
    assert [each.action for each in row.history] == ["upload"]
    other = await take(door, upload(direction="incoming", remote_party="5", call_id="c"))
    assert (other.ani, other.dnis, other.filename) == ("5", "376", "376-c.wav")
    assert len({row.id, row.session_id, other.id, other.session_id}) == 4


@pytest.mark.parametrize(
    "name, kept",
    [
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("a\0b\n.wav", "a_b_"),
        ("con", "_con"),
        ("x" * 400, "x" * 150),
        ("Gespräch 1.wav", "Gespräch_1"),
    ],
)
def test_a_name_from_outside_is_made_fit(name: str, kept: str) -> None:
    found = module._name(upload(filename=name), "")
    assert found == f"{kept.strip('.-~ ')}.wav"


@pytest.mark.parametrize(
    "name, who, owner",
    [
        ("GIULIANO", ANN, "giuliano@shop.example"),
        ("giuliano@SHOP.example", ANN, "giuliano@shop.example"),
        ("rossi", ANN, "rossi@shop.example"),
        ("rossi", Actor("b", account=200), "rossi@bank.example"),
        ("root", ROOT, "root@system.example"),
        ("rossi@bank.example", ROOT, "rossi@bank.example"),
        ("rossi", ROOT, None),
        ("root", ANN, None),
        ("rossi@bank.example", ANN, None),
        ("nobody", ANN, None),
        ("", ANN, None),
    ],
)
async def test_whose_call_it_was(door: Importer, name: str, who: Actor, owner: str | None) -> None:
    if owner is None:
        with pytest.raises(UnknownOwner):
            door._owner(name, who)
    else:
        assert door._owner(name, who).email.lower() == owner


async def test_stereo_is_mixed_unless_it_is_wanted(shelf: Shelf, door: Importer) -> None:
    stereo = header(2, 16_000, 4_000) + bytes(range(250)) * 64
    mixed = await take(door, upload(), stereo)
    kept = await take(door, upload(keep_stereo=True), stereo)
    assert [row.files[0].channels for row in (mixed, kept)] == [1, 2]
    assert [row.files[0].sample_rate_hz for row in (mixed, kept)] == [16_000, 16_000]


@pytest.mark.parametrize(
    "stated_ms, warned", [(1_000, False), (2_000, False), (1, False), (2_001, True)]
)
async def test_a_duration_that_is_not_so_is_noticed(
    door: Importer, stated_ms: int, warned: bool
) -> None:
    row = await take(door, upload(duration_ms=stated_ms))
    assert row.warnings == ((DIFFERS,) if warned else ())
    assert row.duration_ms == 1_000


async def test_what_was_repaired_is_said(door: Importer) -> None:
    row = await take(door, upload(duration_ms=500), SECOND[: 44 + 8_000])
    assert (row.warnings, row.duration_ms) == ((REPAIRED,), 500)


# what is refused


@pytest.mark.parametrize(
    "entry, owner, age_days, is_kept",
    [
        (Account(100, retention_days=0), "giuliano", 9_000, True),
        (Account(100, retention_days=30), "giuliano", 29.9, True),
        (Account(100, retention_days=30), "giuliano", 30.1, False),
        (Account(1, retention_days=30), "root", 30.1, False),
        (Route(1, 1, priority=0, retention_days=5), "giuliano", 6, True),
        (Route(1, 1, priority=0, retention_days=5), "root", 4.9, True),
        (Route(1, 1, priority=0, retention_days=5), "root", 5.1, False),
    ],
)
async def test_what_would_be_deleted_at_once_is_not_taken(
    shelf: Shelf,
    door: Importer,
    entry: Account | Route,
    owner: str,
    age_days: float,
    is_kept: bool,
) -> None:
    await shelf.directory.put(entry)
    began = datetime.now(UTC) - timedelta(days=age_days)
    said = upload(username=owner, started_at=began, never_expire=True)
    if is_kept:
        assert (await take(door, said, who=ROOT)).started_at == began
    else:
        with pytest.raises(OutOfRetention):
            await take(door, said, who=ROOT)
        assert files(shelf.folder) == []


async def test_what_is_no_audio_leaves_nothing(shelf: Shelf, door: Importer) -> None:
    with pytest.raises(UnusableUpload, match="not a WAV file"):
        await take(door, upload(), b"hello")
    with pytest.raises(InvalidChange, match="1025 characters"):
        await take(door, upload(note="x" * 1_025))
    assert files(shelf.folder) == []
    assert await shelf.catalog.count() == 0


async def test_no_more_than_some_at_once(door: Importer) -> None:
    drafts = [door.draft() for _ in range(MOST)]
    paths = [draft.__enter__().path for draft in drafts]
    assert len(set(paths)) == MOST
    with pytest.raises(TooManyUploads), door.draft():
        pass
    drafts[0].__exit__(None, None, None)
    with door.draft() as draft:
        assert draft.path.exists() and draft.path.stat().st_mode & 0o777 == 0o600
    for each in drafts[1:]:
        each.__exit__(None, None, None)
    assert not any(path.exists() for path in paths)


async def test_an_upload_leaves_room_for_calls(
    shelf: Shelf, door: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with door.draft() as draft:
        await draft.write(SECOND)
        monkeypatch.setattr(module, "KEPT_FREE", 1 << 62)
        with pytest.raises(StorageUnavailable, match="MiB are left"):
            await draft.write(b"more")
        with pytest.raises(StorageUnavailable, match="MiB are left"):
            await door.take(upload(), draft.path, ANN)
    assert files(shelf.folder) == []


async def test_a_renderer_that_fails_leaves_nothing(shelf: Shelf, door: Importer) -> None:
    await shelf.renderer.close()
    with pytest.raises(ConversionFailed, match="closed"):
        await take(door, upload())
    assert files(shelf.folder) == []


# when something is away


async def test_a_catalogue_that_is_away_is_noticed_before_the_work(
    shelf: Shelf, door: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: str) -> Recording:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(shelf.catalog, "get", away)
        with pytest.raises(StorageUnavailable):
            await take(door, upload())
    assert files(shelf.folder) == []


async def test_what_cannot_be_booked_leaves_nothing(
    shelf: Shelf, door: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: Recording) -> dict[str, int]:
        raise StorageUnavailable("full")

    monkeypatch.setattr(shelf.catalog, "save", refuse)
    with pytest.raises(StorageUnavailable, match="full"):
        await take(door, upload())
    assert files(shelf.folder) == []


async def test_an_answer_of_the_catalogue_that_is_lost_loses_nothing(
    shelf: Shelf, door: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = shelf.catalog.save

    async def half(row: Recording) -> dict[str, int]:
        await save(row)
        raise StorageUnavailable("connection lost")

    monkeypatch.setattr(shelf.catalog, "save", half)
    row = await take(door, upload())
    assert await shelf.catalog.get(row.id) == row
    assert len(files(shelf.folder)) == 2


@pytest.mark.parametrize("was_booked", [True, False])
async def test_what_could_not_be_told_is_settled_before_the_next_upload(
    shelf: Shelf, door: Importer, monkeypatch: pytest.MonkeyPatch, was_booked: bool
) -> None:
    save, get = shelf.catalog.save, shelf.catalog.get
    lost: list[str] = []

    async def away(_: str) -> Recording:
        raise StorageUnavailable("away")

    async def go(row: Recording) -> dict[str, int]:
        if was_booked:
            await save(row)
        lost.append(row.id)
        monkeypatch.setattr(shelf.catalog, "get", away)
        raise StorageUnavailable("connection lost")

    monkeypatch.setattr(shelf.catalog, "save", go)
    with pytest.raises(StorageUnavailable, match="lost"):
        await take(door, upload())
    assert len(files(shelf.folder)) == 3  # with the note
    monkeypatch.setattr(shelf.catalog, "save", save)
    monkeypatch.setattr(shelf.catalog, "get", get)
    await take(door, upload())
    assert len(files(shelf.folder)) == (4 if was_booked else 2)
    if was_booked:
        assert (await shelf.catalog.get(lost[0])).status == "complete"


# a crash


@pytest.mark.parametrize(
    "point, stays",
    [
        ("draft", False),
        ("one file", False),
        ("booked", True),
        ("answered", True),
    ],
)
async def test_what_was_answered_is_there_after_a_kill_and_nothing_else(
    tmp_path: Path, shelf: Shelf, migrated: Path, point: str, stays: bool
) -> None:
    folder, audio = tmp_path / "killed", tmp_path / "audio"
    folder.mkdir()
    audio.write_bytes(SECOND)
    command = [sys.executable, "-m", "tests.siprec.import_process"]
    process = await asyncio.create_subprocess_exec(
        *[*command, str(folder), str(migrated), str(audio), point],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == -9, err.decode()
    assert bool(out) == (point == "answered")
    left = files(folder)
    assert left
    database = Database(f"sqlite:///{folder}/siprecd.db")
    catalog, feed = type(shelf.catalog)(database), shelf.feed
    blobs = type(shelf.blobs)(folder / "recordings")  # type: ignore[call-arg]
    spool = folder / "spool"
    again = Importer(spool, 7, shelf.renderer, catalog, blobs, feed, shelf.directory)
    await again.resume()
    rows = await catalog.count()
    assert rows == stays
    assert len(files(folder)) == (2 if stays else 0)
    assert [*(spool / FOLDER).iterdir()] == []
    if out:
        row = await catalog.get(out.decode().strip())
        assert blobs.path(row.files[0].key).read_bytes() == SECOND  # type: ignore[union-attr]
    await database.close()


async def test_what_goes_on_is_left_alone(shelf: Shelf, door: Importer) -> None:
    with door.draft() as draft:
        await draft.write(SECOND)
        await door.resume()
        assert draft.path.read_bytes() == SECOND
        await importer(shelf).resume()
        assert not draft.path.exists()


async def test_what_lies_about_does_not_matter(shelf: Shelf, door: Importer) -> None:
    folder = shelf.folder / "spool" / FOLDER
    await door.resume()
    assert not folder.exists()
    folder.mkdir()
    damaged = "0" * 32
    (folder / f"{damaged}.json").write_text("{")
    (folder / "lost+found.d").mkdir()
    await door.resume()
    assert [path.name for path in folder.iterdir()] == ["lost+found.d"]
    with pytest.raises(UnknownRecording):
        await shelf.catalog.get(damaged)
