"""Where finished files are kept: one `BlobStore` per URL scheme."""

from collections.abc import Callable
from pathlib import Path

from storage.blobs.base import BlobStore
from storage.blobs.filesystem import FileSystemStore
from storage.records import StorageError


def _file(rest: str) -> BlobStore:
    return FileSystemStore(Path(rest))


SCHEMES: dict[str, Callable[[str], BlobStore]] = {"file": _file}
"""URL scheme -> store from what follows `://`."""


def from_url(url: str) -> BlobStore:
    """The store at a URL: `file://FOLDER`. Raises StorageError for any other."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or not rest:
        raise StorageError("the URL of the file store must be file://FOLDER")
    return SCHEMES[scheme](rest)
