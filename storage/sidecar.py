"""The record beside a spool: what is known of a recording when there is no database to ask.

One file `<id>.json` for each spool, replaced as a whole. It is not synced by itself: the media
process syncs the file system of the spool folder once a second, sidecars included.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from storage.records import Recording, SiprecSession, StorageError, StorageUnavailable
from storage.text import clean

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class _Earlier(msgspec.Struct):
    """What version 0.1 wrote under another name: its spools are finished by this one."""

    siprec_session_ids: tuple[str, ...] = ()


def write(folder: Path, recording: Recording) -> None:
    """Put the record beside its spool, in place of the one before, readable by us only.

    Blocks; for a worker thread. Raises StorageUnavailable if the folder cannot be written,
    StorageError for an id that is no file name.
    """
    path = _path(folder, recording.id)
    temporary = path.with_suffix(".part")
    octets = msgspec.json.encode(clean(recording))
    with _failures(path), os.fdopen(os.open(temporary, _FLAGS, 0o600), "wb") as file:
        file.write(octets)
    with _failures(path):
        temporary.replace(path)


def read(path: Path) -> Recording:
    """The record in a sidecar. Raises StorageUnavailable, or StorageError if it is damaged."""
    with _failures(path):
        octets = path.read_bytes()
    try:
        recording = msgspec.json.decode(octets, type=Recording)
        earlier = msgspec.json.decode(octets, type=_Earlier)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise StorageError(f"{path}: damaged: {error}") from error
    if recording.id != path.stem:
        raise StorageError(f"{path}: damaged: holds recording {recording.id}")
    sessions = tuple(map(SiprecSession, earlier.siprec_session_ids))
    return replace(recording, siprec_sessions=recording.siprec_sessions or sessions)


def scan(folder: Path) -> list[tuple[str, Path]]:
    """(recording id, path) of every sidecar, by id; none if there is no such folder."""
    with _failures(folder):
        paths = sorted(folder.glob("*.json"))
    return [(path.stem, path) for path in paths if _ID.fullmatch(path.stem) and path.is_file()]


def remove(folder: Path, recording_id: str) -> None:
    """Delete the sidecar of a recording, if there is one. Raises StorageError as `write` does."""
    path = _path(folder, recording_id)
    with _failures(path):
        path.unlink(missing_ok=True)


def _path(folder: Path, recording_id: str) -> Path:
    if not _ID.fullmatch(recording_id):
        raise StorageError(f"{recording_id[:200]!r} is no name for a sidecar")
    return folder / f"{recording_id}.json"


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"{path}: {error.strerror or error}") from error
