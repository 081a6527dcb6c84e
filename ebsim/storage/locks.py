"""Kernel locks between processes (and threads) that die with their holder.

All locks of a store are byte ranges ("regions") of one empty file, `STORE/lock`, held through open
file descriptions (`F_OFD_SETLK`): each `Lock` has a descriptor of its own, so that two threads of a
process exclude each other as two processes do. There is nothing to clean up after SIGKILL.

Regions:
    RECLAIM    Exclusive while freed bytes are given back, and while a store is made.
    COMPACT    Exclusive while segments are compacted or repaired.
    LIFECYCLE  Exclusive while lifecycle policies are run.
    CATALOG_WRITERS  Shared by those who write to the catalog; exclusive while it is proved.
    CATALOG_PROOF    Exclusive while the catalog is proved: who else wants to waits.
    CATALOG_COMMIT   Exclusive while one commits, and looks how a failed commit ended.
    SESSION    One for each writing session: free means that its process is dead.
    VOLUME     Many, by hash of a source's identity or a volume's id: exclusive while a snapshot of
               the source is made, or while a process has the volume's live data open; and shared
               by those who wait for a volume (`ebsim.volumes.turns`).
"""

import errno
import fcntl
import os
import struct
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from ebsim.errors import StoreError

_FLOCK = struct.Struct("hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length, pid."""


class Region(IntEnum):
    """Where a family of locks begins in the lock file."""

    RECLAIM = 0
    LIFECYCLE = 1
    COMPACT = 2
    CATALOG_WRITERS = 3
    CATALOG_PROOF = 4
    CATALOG_COMMIT = 5
    SESSION = 1 << 40
    VOLUME = 1 << 41


def named_region(name: str) -> int:
    """Return the region of a source or volume, by what it is called."""
    import hashlib  # only for who writes

    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return Region.VOLUME + int.from_bytes(digest[:5], "big")


class Lock:
    """A held lock. Releasing it, or the death of the process, ends it."""

    def __init__(self, fd: int, region: int, length: int = 1) -> None:
        self._fd = fd
        self._length = length
        self._region = region
        self._pid = os.getpid()

    def extend(self, region: int, length: int = 1) -> bool:
        """Hold another region too, or all with length 0; return False if another holds any of it.

        Raises:
            StoreError: It cannot be locked.
        """
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, region, length, 0)
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, wanted)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise StoreError(f"cannot lock: {error.strerror}") from error
        self._region, self._length = 0, 0  # releasing lets go of all that this descriptor has
        return True

    def release(self) -> None:
        """Release the lock; a second call does nothing.

        A child that was forked while it was held shares its descriptor, so that closing ours would
        not release it, and the child's closing must not.
        """
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if os.getpid() == self._pid:
            unlock = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, self._region, self._length, 0)
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, unlock)
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class LockFile:
    """The lock file of one store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def try_hold(self, region: int, *, exclusive: bool = True) -> Lock | None:
        """Return the lock, or None at once when another holds it.

        Raises:
            StoreError: The lock file cannot be opened, or its file system has no locks.
        """
        return self._hold(region, exclusive=exclusive, wait=False)

    def try_hold_all(self) -> Lock | None:
        """Return a lock on all regions at once, or None at once when another holds any.

        Raises:
            StoreError: The lock file cannot be opened, or its file system has no locks.
        """
        return self._hold(0, exclusive=True, wait=False, length=0)

    def is_held(self, region: int) -> bool:
        """Return whether anybody holds a lock on the region, of this process or another.

        Raises:
            StoreError: The lock file cannot be opened, or its file system has no locks.
        """
        fd = self._open()
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, region, 1, 0)
        try:
            found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, wanted)
        except OSError as error:
            raise StoreError(f"cannot lock {self._path}: {error.strerror}") from error
        finally:
            os.close(fd)
        kind: int = _FLOCK.unpack(found)[0]
        return kind != fcntl.F_UNLCK

    def hold(self, region: int, *, exclusive: bool = True) -> Lock:
        """Wait for the lock and return it.

        Raises:
            StoreError: The lock file cannot be opened, or its file system has no locks.
        """
        lock = self._hold(region, exclusive=exclusive, wait=True)
        assert lock is not None
        return lock

    def _hold(self, region: int, *, exclusive: bool, wait: bool, length: int = 1) -> Lock | None:
        fd = self._open()
        kind = fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK
        command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
        try:
            fcntl.fcntl(fd, command, _FLOCK.pack(kind, os.SEEK_SET, region, length, 0))
        except BaseException as error:
            os.close(fd)
            if not isinstance(error, OSError):
                raise
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise StoreError(f"cannot lock {self._path}: {error.strerror}") from error
        return Lock(fd, region, length)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot open {self._path}: {error.strerror}") from error
