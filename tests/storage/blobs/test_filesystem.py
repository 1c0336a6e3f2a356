import os
import resource
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.blobs import from_url
from storage.blobs.base import BlobStore
from storage.blobs.filesystem import FileSystemStore
from storage.records import StorageError, StorageUnavailable, UnknownFile
from tests.storage.blobs.test_base import BAD_KEYS

KEY = "2026-11-22/14/05/rec-0001.wav"

Source = Callable[[bytes], Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


@pytest.fixture
def store(root: Path) -> FileSystemStore:
    return FileSystemStore(root)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    def write(octets: bytes) -> Path:
        path = tmp_path / "rendered.wav"
        path.write_bytes(octets)
        return path

    return write


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system to write to")
    with TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def content(store: BlobStore, key: str) -> bytes:
    file, size = store.open(key)
    with file:
        octets = file.read()
    assert len(octets) == size
    return octets


def test_a_file_put_is_the_file_found(store: FileSystemStore, source: Source, root: Path) -> None:
    path = source(b"RIFF")
    assert not store.exists(KEY)
    store.put(KEY, path)
    assert content(store, KEY) == b"RIFF"
    assert store.exists(KEY)
    assert store.path(KEY) == root / KEY
    assert not path.exists()
    assert files(root) == [KEY]


def test_modes_keep_others_out(store: FileSystemStore, source: Source, root: Path) -> None:
    store.put(KEY, source(b"RIFF"))
    assert stat.S_IMODE((root / KEY).stat().st_mode) == 0o640
    for folder in (root / KEY).parents:
        assert stat.S_IMODE(folder.stat().st_mode) & 0o027 == 0
        if folder == root:
            break


def test_putting_again_replaces(store: FileSystemStore, source: Source, root: Path) -> None:
    store.put(KEY, source(b"old"))
    with store.open(KEY)[0] as reader:
        store.put(KEY, source(b"new!"))
        assert reader.read() == b"old"
    assert content(store, KEY) == b"new!"
    assert files(root) == [KEY]


def test_a_file_comes_from_another_disk(
    store: FileSystemStore, other_disk: Path, root: Path
) -> None:
    path = other_disk / "rendered.wav"
    path.write_bytes(b"RIFF")
    store.put(KEY, path)
    assert content(store, KEY) == b"RIFF"
    assert stat.S_IMODE((root / KEY).stat().st_mode) == 0o640
    assert not path.exists()
    assert files(root) == [KEY]


def test_a_full_disk_is_unavailable_and_the_source_is_kept(
    store: FileSystemStore, other_disk: Path, root: Path
) -> None:
    path = other_disk / "rendered.wav"
    path.write_bytes(bytes(100_000))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageUnavailable, match=KEY):
            store.put(KEY, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert files(root) == []
    store.put(KEY, path)
    assert content(store, KEY) == bytes(100_000)


def test_file_and_folders_are_synced_before_put_returns(
    store: FileSystemStore, source: Source, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    path = source(b"RIFF")
    store.put(KEY, path)
    assert synced[0] == str(path)
    assert {str(folder) for folder in (root / KEY).parents if folder >= root} <= set(synced)


def test_deleting_takes_the_file_and_empty_folders(
    store: FileSystemStore, source: Source, root: Path
) -> None:
    store.put("2026/14/a.wav", source(b"a"))
    store.put("2026/15/b.wav", source(b"b"))
    for _ in range(2):
        store.delete("2026/14/a.wav")
    assert files(root) == ["2026/15/b.wav"]
    assert [path.name for path in (root / "2026").iterdir()] == ["15"]
    store.delete("2026/15/b.wav")
    assert list(root.iterdir()) == []


def test_folders_tidied_away_do_not_fail_a_put(store: FileSystemStore, tmp_path: Path) -> None:
    def work(number: int) -> None:
        for turn in range(30):
            path = tmp_path / f"{number}.wav"
            path.write_bytes(b"RIFF")
            store.put(f"2026/{turn % 2}/{number}.wav", path)
            store.delete(f"2026/{turn % 2}/{number}.wav")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


@pytest.mark.parametrize("key", ["none.wav", "2026/none.wav", "2026", "2026/14/a.wav/b.wav"])
def test_what_is_not_there(store: FileSystemStore, source: Source, root: Path, key: str) -> None:
    store.put("2026/14/a.wav", source(b"a"))
    with pytest.raises(UnknownFile, match=key):
        store.open(key)
    assert not store.exists(key)
    store.delete(key)
    assert files(root) == ["2026/14/a.wav"]


def test_a_source_that_is_not_there(store: FileSystemStore, tmp_path: Path) -> None:
    with pytest.raises(UnknownFile):
        store.put(KEY, tmp_path / "none")


def test_a_store_that_cannot_be_made_is_unavailable(source: Source, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = FileSystemStore(tmp_path / "file" / "recordings")
    path = source(b"RIFF")
    with pytest.raises(StorageError):
        store.put(KEY, path)
    assert path.exists()


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_reach_nothing(store: FileSystemStore, source: Source, key: str) -> None:
    path = source(b"RIFF")
    with pytest.raises(StorageError, match="is not a key"):
        store.put(key, path)
    for act in (store.open, store.exists, store.delete, store.path):
        with pytest.raises(StorageError, match="is not a key"):
            act(key)
    assert path.exists()


@given(st.text("./\\ab\x00-", max_size=15))
def test_no_key_leads_out_of_the_store(key: str) -> None:
    root = Path("/srv/recordings")
    try:
        path = FileSystemStore(root).path(key)
    except StorageError:
        return
    assert Path(os.path.normpath(path)).is_relative_to(root)
    assert path != root


@pytest.mark.parametrize("link", ["2026", "2026/14", "2026/14/a.wav"])
def test_links_are_not_followed(
    store: FileSystemStore, source: Source, root: Path, tmp_path: Path, link: str
) -> None:
    outside = tmp_path / "outside" / "14"
    outside.mkdir(parents=True)
    (outside / "a.wav").write_bytes(b"precious")
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(
        {"2026": outside.parent, "2026/14": outside}.get(link, outside / "a.wav")
    )
    path = source(b"RIFF")
    for act in (store.open, store.exists, store.delete, store.path):
        with pytest.raises(StorageError, match="symbolic link"):
            act("2026/14/a.wav")
    with pytest.raises(StorageError, match="symbolic link"):
        store.put("2026/14/a.wav", path)
    assert (outside / "a.wav").read_bytes() == b"precious"


def test_the_root_itself_may_be_a_link(source: Source, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "recordings").symlink_to(tmp_path / "disk")
    store = from_url(f"file://{tmp_path}/recordings")
    store.put(KEY, source(b"RIFF"))
    assert content(store, KEY) == b"RIFF"


def test_a_relative_root_stays_where_it_was(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = from_url("file://data/recordings")
    store.put(KEY, source(b"RIFF"))
    monkeypatch.chdir("/")
    assert content(store, KEY) == b"RIFF"
    assert (tmp_path / "data" / "recordings" / KEY).exists()
