"""BlobStore: where finished files are kept, by key.

A key is `/`-separated segments of letters, digits, `.`, `_` and `-`, none beginning with a dot. All
methods block and belong in a worker thread; all raise StorageError for a bad key and
StorageUnavailable when the store does not answer or is full.
"""

import re
from pathlib import Path
from typing import BinaryIO, Protocol

from storage.records import StorageError

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}){0,15}")
"""Segments short enough for any file system with a temporary name around them."""


class BlobStore(Protocol):
    """One place for files."""

    def put(self, key: str, source: Path) -> None:
        """Move the local file `source` here, replacing what is under `key`; durable on return.

        Raises UnknownFile if there is no `source`.
        """

    def open(self, key: str) -> tuple[BinaryIO, int]:
        """The file, open for reading, and its size in octets. Raises UnknownFile."""

    def exists(self, key: str) -> bool:
        """Whether there is a file under this key."""

    def delete(self, key: str) -> None:
        """Remove the file; nothing happens if there is none."""

    def path(self, key: str) -> Path | None:
        """The file on a local disk, for sendfile; None if the store is not local."""


def check_key(key: str) -> str:
    """The key itself. Raises StorageError if it is none."""
    if not _KEY.fullmatch(key):
        raise StorageError(f"{key[:200]!r} is not a key")
    return key
