"""Finished files in a folder tree on a local disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EXDEV
from os.path import realpath
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from storage.blobs.base import check_key
from storage.records import StorageError, StorageUnavailable, UnknownFile

FILE_MODE, FOLDER_MODE = 0o640, 0o750


class FileSystemStore:
    """A `BlobStore` under `root`, which is made when the first file comes."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._tidying = Lock()
        """Held from making a folder to having a file in it, else `delete` may tidy it away."""

    def put(self, key: str, source: Path) -> None:
        """See `BlobStore.put`; a rename where both are on one file system, else a copy."""
        target = self._locate(key)
        with _failures(key):
            _sync(source, FILE_MODE)
            try:
                self._rename(source, target)
            except OSError as error:
                if error.errno != EXDEV:
                    raise
                self._rename(self._copy(source, target.name), target)
                source.unlink()
            for folder in self._above(target):
                _sync(folder)

    def open(self, key: str) -> tuple[BinaryIO, int]:
        """See `BlobStore.open`."""
        with _failures(key):
            file = self._locate(key).open("rb")
            return file, os.fstat(file.fileno()).st_size

    def exists(self, key: str) -> bool:
        """See `BlobStore.exists`."""
        with _failures(key):
            return self._locate(key).is_file()

    def delete(self, key: str) -> None:
        """See `BlobStore.delete`; folders left empty go too."""
        path = self._locate(key)
        with suppress(UnknownFile), _failures(key), self._tidying:
            path.unlink()
            for folder in self._above(path):
                if folder == self._root or any(folder.iterdir()):
                    break
                folder.rmdir()

    def path(self, key: str) -> Path:
        """See `BlobStore.path`; there need not be a file yet."""
        return self._locate(key)

    def _locate(self, key: str) -> Path:
        """The place of a key. Raises StorageError if a link on the way leads elsewhere."""
        check_key(key)
        if realpath(self._root / key) != f"{realpath(self._root)}/{key}":
            raise StorageError(f"{key}: there is a symbolic link on the way")
        return self._root / key

    def _rename(self, source: Path, target: Path) -> None:
        with self._tidying:
            self._make(target.parent)
            source.replace(target)

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(mode=FOLDER_MODE)

    def _copy(self, source: Path, name: str) -> Path:
        """A durable copy in `root`, hidden: no key begins with a dot."""
        copy = self._root / f".{name}.part"
        try:
            shutil.copyfile(source, copy)
            _sync(copy, FILE_MODE)
        except OSError:
            copy.unlink(missing_ok=True)
            raise
        return copy

    def _above(self, path: Path) -> Iterator[Path]:
        """The folders from that of `path` up to `root`."""
        for folder in path.parents:
            yield folder
            if folder == self._root:
                return


@contextmanager
def _failures(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UnknownFile(f"{key}: {error.strerror}") from error
    except OSError as error:
        raise StorageUnavailable(f"{key}: {error.strerror or error}") from error


def _sync(path: Path, mode: int | None = None) -> None:
    """Make what was written to a file or folder durable, after setting its mode."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if mode is not None:
            os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)
