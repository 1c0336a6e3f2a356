"""Files that grow, on disks that fill up and after processes that were killed."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import spool, spooler
from media.spool import ROW, SpoolEvent
from media.spooler import Spooler, Synchroniser

STOP = SpoolEvent("stop", 9)


def packets(number: int, payload: bytes = b"x" * 160) -> bytes:
    """A block of one packet."""
    rows = np.zeros(1, ROW)
    rows["sequence_number"], rows["length"] = number, len(payload)
    return spool.encode_packets(rows, payload, 0)


def event(kind: str) -> bytes:
    return spool.encode_event(SpoolEvent(kind, 1))


def content(path: Path) -> tuple[list[str], list[int]]:
    """Kinds of events and sequence numbers; the file has no torn end."""
    found = spool.read(path)
    assert found.truncated == 0
    return [e.kind for e in found.events], found.packets["sequence_number"].tolist()


@contextmanager
def file_size_limit(octets: int) -> Iterator[None]:
    """Have the kernel refuse to let files grow beyond a size (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_blocks_are_in_the_file_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.srsp"
    file = Spooler(path)
    assert not file.open()
    assert file.append(event("start"), 0) == ""
    assert content(path) == (["start"], [])
    assert file.append(packets(1), 1) == ""
    assert content(path) == (["start"], [1])
    assert file.close(STOP) == ""
    assert content(path) == (["start", "stop"], [1])
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_last_event_the_file_just_ends(tmp_path: Path) -> None:
    file = Spooler(tmp_path / "a")
    file.append(event("start"), 0)
    file.close(None)
    assert content(file.path) == (["start"], [])


def test_a_file_that_is_there_goes_on(tmp_path: Path) -> None:
    first = Spooler(tmp_path / "a")
    first.append(packets(1), 1)
    first.close(None)
    second = Spooler(tmp_path / "a")
    assert second.open()
    second.append(packets(2), 1)
    second.close(None)
    assert content(tmp_path / "a") == ([], [1, 2])


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(0, 600), payload=st.binary(max_size=150))
def test_a_torn_end_is_cut_off_before_the_file_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int, payload: bytes
) -> None:
    blocks = [packets(n, spool.MAGIC.to_bytes(4, "little") + payload) for n in range(3)]
    path = tmp_path_factory.mktemp("torn") / "a"
    path.write_bytes(b"".join(blocks)[:cut])
    whole = min(3, cut // len(blocks[0]))
    file = Spooler(path)
    assert file.open() == (whole > 0)
    file.append(packets(9), 1)
    file.close(None)
    assert content(path) == ([], [*range(whole), 9])


def test_a_payload_that_looks_like_the_end_does_not_hide_a_torn_one(tmp_path: Path) -> None:
    fake = packets(7)
    torn = packets(2, fake + bytes(100))
    path = tmp_path / "a"
    path.write_bytes(packets(1) + torn[:-50])
    file = Spooler(path)
    file.append(packets(3), 1)
    file.close(None)
    assert content(path) == ([], [1, 3])


def test_a_long_last_block_is_recognised(tmp_path: Path) -> None:
    rows = np.zeros(2_000, ROW)
    rows["length"] = 160
    path = tmp_path / "a"
    path.write_bytes(packets(1) + spool.encode_packets(rows, bytes(320_000), 0))
    file = Spooler(path)
    assert file.open()
    file.append(packets(3), 1)
    file.close(None)
    assert len(content(path)[1]) == 2_002


def test_a_full_disk_keeps_blocks_back_until_there_is_room(tmp_path: Path) -> None:
    file = Spooler(tmp_path / "a")
    file.append(packets(1), 1)
    with file_size_limit(2 * len(packets(1)) - 10):
        assert file.append(packets(2), 1) == "enospc"
        assert content(file.path) == ([], [1])
        assert file.append(event("pause"), 0) == ""
        assert file.append(packets(3), 1) == ""
    assert file.append(packets(4), 1) == ""
    assert file.close(STOP) == ""
    assert content(file.path) == (["pause", "stop"], [1, 2, 3, 4])
    assert spool.read(file.path).events[-1].dropped == 0


def test_what_is_kept_back_is_bounded_and_the_oldest_packets_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooler, "BACKLOG_OCTETS", 4 * len(packets(0)))
    file = Spooler(tmp_path / "a")
    with file_size_limit(0):
        file.append(event("start"), 0)
        for number in range(10):
            file.append(packets(number), 1)
        file.append(event("pause"), 0)
    file.append(packets(10), 1)
    file.close(STOP)
    kinds, numbers = content(file.path)
    assert kinds == ["start", "pause", "stop"]
    assert numbers == [8, 9, 10]
    assert spool.read(file.path).events[-1].dropped == 8


def test_what_cannot_be_written_at_the_end_is_given_up_and_counted(tmp_path: Path) -> None:
    file = Spooler(tmp_path / "a")
    file.append(packets(1), 1)
    room = len(packets(1)) + len(spool.encode_event(STOP)) + 8
    with file_size_limit(room):
        assert file.append(packets(2), 1) == "enospc"
        assert file.append(packets(3), 1) == ""
        assert file.close(STOP) == ""
    assert content(file.path) == (["stop"], [1])
    assert spool.read(file.path).events[-1].dropped == 2


def test_a_file_that_cannot_be_cut_off_is_mended_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.symlink_to("/dev/full")
    file = Spooler(path)
    assert not file.open()
    assert file.append(packets(1), 1) == "enospc"
    path.unlink()
    assert file.append(packets(2), 1) == ""
    file.close(None)
    assert content(path) == ([], [1, 2])


def test_a_file_that_cannot_be_opened_is_told_once_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    file = Spooler(path)
    assert not file.open()
    assert file.append(packets(1), 1) == "spool_write_failed"
    assert file.append(packets(2), 1) == ""
    path.rmdir()
    assert file.append(packets(3), 1) == ""
    file.close(None)
    assert content(path) == ([], [1, 2, 3])


def test_a_folder_that_is_gone_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    first = Spooler(folder / "a")
    folder.rmdir()
    assert first.append(packets(1), 1) == ""
    first.close(None)
    assert content(folder / "a") == ([], [1])


def test_closing_what_never_opened_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    file = Spooler(tmp_path / "a")
    assert file.close(STOP) == "spool_write_failed"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_synchroniser_brings_the_folder_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    class Library:
        def syncfs(self, descriptor: int) -> int:
            synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
            return 0

    monkeypatch.setattr(spooler, "_libc", Library())
    Synchroniser(tmp_path).close()
    assert synced == [tmp_path]
    idle = Synchroniser(tmp_path)
    idle.wanted = False
    idle.close()
    Synchroniser(tmp_path / "gone").close()
    assert synced == [tmp_path]
