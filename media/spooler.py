"""The writing side of spools: blocks appended at once, kept back while the disk refuses them.

The format is `media.spool`. A process that is killed loses what it had not appended yet; a machine
that stops loses what was not yet on the disk, at most a second with `Synchroniser`.
"""

import errno
import os
from collections import deque
from pathlib import Path
from threading import Event, Thread
from typing import Any

from cffi import FFI
from google_crc32c import value as crc32c

from media import spool

BACKLOG_OCTETS = 512 << 10
"""Kept per recording while nothing can be written: some 25 s of two G.711 streams."""
SYNC_INTERVAL_S = 1.0

_TAIL_OCTETS = 64 << 10
_MAGIC = spool.MAGIC.to_bytes(4, "little")

_ffi = FFI()
_ffi.cdef("int syncfs(int fd);")
_libc: Any = _ffi.dlopen(None)


class Spooler:
    """The growing file of one recording."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        """Packets given up because they could not be written."""
        self._descriptor = -1
        self._size = 0
        self._backlog: deque[tuple[bytes, int]] = deque()
        self._reported: set[str] = set()

    def open(self) -> bool:
        """Open or create the file: True if it holds blocks of an earlier process.

        A torn last block is cut off. Does not raise: what cannot be opened now is tried again with
        every block.
        """
        try:
            self._open()
        except OSError:
            return False
        return self._size > 0

    def append(self, block: bytes, packets: int) -> str:
        """Write a block holding `packets` packets, after all that was kept back.

        Returns what is wrong, `enospc` or `spool_write_failed`, or an empty string; each cause is
        told once.
        """
        self._backlog.append((block, packets))
        try:
            self._write_backlog()
        except OSError as error:
            self._bound(BACKLOG_OCTETS)
            return self._tell(error)
        return ""

    def close(self, last: spool.SpoolEvent | None) -> str:
        """Write the event `last`, if any, and close: what cannot be written now never will be.

        Returns what is wrong as `append` does.
        """
        trouble = ""
        try:
            self._write_backlog()
        except OSError as error:
            trouble = self._tell(error)
            self._bound(0)
        if last is not None:
            event = spool.SpoolEvent(last.kind, last.at_ns, dropped=self.dropped)
            trouble = self.append(spool.encode_event(event), 0) or trouble
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        return trouble

    def _tell(self, error: OSError) -> str:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        code = "enospc" if full else "spool_write_failed"
        if code in self._reported:
            return ""
        self._reported.add(code)
        return code

    def _bound(self, octets: int) -> None:
        """Give up the oldest packets until at most `octets` are kept back; events all stay."""
        kept = sum(len(block) for block, packets in self._backlog)
        for _ in range(len(self._backlog)):
            block, packets = self._backlog.popleft()
            if packets and kept > octets:
                kept -= len(block)
                self.dropped += packets
            else:
                self._backlog.append((block, packets))

    def _write_backlog(self) -> None:
        """Write what is kept back, oldest first, as far as it goes; raises OSError."""
        if self._descriptor < 0:
            self._open()
        while self._backlog:
            self._write(self._backlog[0][0])
            self._backlog.popleft()

    def _write(self, block: bytes) -> None:
        """Append one block, whole or not at all; raises OSError."""
        written = 0
        try:
            while written < len(block):
                written += os.write(self._descriptor, block[written:] if written else block)
        except OSError:
            self._cut_off()
            raise
        self._size += written

    def _cut_off(self) -> None:
        """Remove what was written of a block; a file that refuses is mended when opened again."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, flags, 0o600)
        try:
            self._size = self._mend(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _mend(self, descriptor: int) -> int:
        """Cut off a torn last block: octets that are left; raises OSError.

        A process that is killed tears the file it writes to and no other, so most are whole, and
        that is found out without reading them.
        """
        size = os.fstat(descriptor).st_size
        if size == 0 or _ends_whole(descriptor, size):
            return size
        good = spool.good_octets(self.path)
        os.ftruncate(descriptor, good)
        return good


def _ends_whole(descriptor: int, size: int) -> bool:
    """Does a block of the last `_TAIL_OCTETS` end, with the right checksum, where the file ends?"""
    tail = os.pread(descriptor, _TAIL_OCTETS, max(0, size - _TAIL_OCTETS))
    at = tail.rfind(_MAGIC)
    while at >= 0:
        if at + spool.HEADER.size <= len(tail):
            _, _, _, rows, payload_octets, checksum, _, _ = spool.HEADER.unpack_from(tail, at)
            body = tail[at + spool.HEADER.size :]
            if len(body) == rows * spool.ROW.itemsize + payload_octets and crc32c(body) == checksum:
                return True
        at = tail.rfind(_MAGIC, 0, at)
    return False


class Synchroniser:
    """Brings everything below a folder to the disk once a second, in a thread of its own.

    The tick loop never waits for a disk.
    """

    def __init__(self, folder: Path) -> None:
        self.wanted = True
        """Something was written since the last time."""
        self._folder = folder
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="spool-sync", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Bring everything to the disk a last time."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(SYNC_INTERVAL_S):
            self._sync()
        self._sync()

    def _sync(self) -> None:
        """One syncfs, if wanted; a folder that is gone has nothing to bring."""
        if not self.wanted:
            return
        self.wanted = False
        try:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        _libc.syncfs(descriptor)
        os.close(descriptor)
