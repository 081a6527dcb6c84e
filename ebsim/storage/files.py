"""Files: the one place that opens, reads, writes, syncs, renames and removes a store's own files.

`Files` is the seam: tests put a simulated disk behind it. `PosixFiles` is the real one. LMDB keeps
its own files; everything else in a store goes through here. Sources and targets, which are not the
store's, use `sync_fd` and `sync_directory`.
"""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ebsim import failpoints
from ebsim.storage import native

Buffer = bytes | bytearray | memoryview
"""Bytes in any form; whoever receives one must not keep it."""

FILE_MODE = 0o600

NO_SEEK_DATA = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})
"""How a file system answers that it cannot tell holes from data."""

DIRECTORY_MODE = 0o700


def why_unsafe(facts: os.stat_result) -> str:
    """Return why what is in a file or folder may not be its user's; empty if it is."""
    if facts.st_uid != os.geteuid():
        return f"belongs to another user (number {facts.st_uid})"
    mode = stat.S_IMODE(facts.st_mode)
    return f"may be written to by other users (mode {mode:04o})" if mode & 0o022 else ""


def sync_fd(fd: int) -> None:
    """Make a file's data, and what is needed to read it back, durable.

    Raises:
        OSError: The device failed. The kernel may report it only once and drop the pages, so the
            caller must not try again but write the data elsewhere (`docs/durability.md`).
    """
    failpoints.reach("file.before-sync")
    os.fdatasync(fd)
    failpoints.reach("file.synced")


def forget_cached(path: Path) -> None:
    """Have the kernel forget what it remembers of a file, but for what is not written yet.

    After a failed sync it remembers blocks that the disk does not have. What is then written to the
    same places of an ext4 would be lost too, although its sync succeeds, until the kernel has
    forgotten them. A file that is not there, or not the operating system's, is left alone.
    """
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        OSError: The device failed.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        failpoints.reach("folder.before-sync")
        os.fsync(fd)
        failpoints.reach("folder.synced")
    finally:
        os.close(fd)


def write_fully(fd: int, parts: Sequence[Buffer], offset: int) -> None:
    """Write all parts one after the other at `offset`, continuing after short writes.

    Raises:
        OSError: The device failed or is full; some of the bytes may have been written.
    """
    views = [memoryview(part).cast("B") for part in parts if len(part)]
    while views:
        written = os.pwritev(fd, views, offset)
        offset += written
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]


class File(Protocol):
    """An open file. Reading and writing at an offset may be done from several threads.

    A file nobody refers to any more closes itself, so that a cache may forget one that another
    thread is just reading.
    """

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""
        ...

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from `offset` on; return how many bytes, fewer only at the file's end."""
        ...

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        """Write all parts one after the other at `offset`."""
        ...

    def size(self) -> int:
        """Return the size in bytes."""
        ...

    def sync(self) -> None:
        """Make everything written so far durable."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file off at `size`."""
        ...

    def punch(self, offset: int, length: int) -> bool:
        """Give the bytes back to the file system; False where it cannot."""
        ...

    def is_hole(self, offset: int, length: int) -> bool:
        """Return whether the bytes take no space, and so are zeros; False where unknown."""
        ...

    def reserve(self, size: int) -> None:
        """Allocate the first `size` bytes."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Files(Protocol):
    """A place where a store's files lie. Every method raises OSError as the kernel would."""

    def create(self, path: Path) -> File:
        """Create a file that must not exist, for reading and writing, readable by its owner."""
        ...

    def open(self, path: Path, *, writable: bool = False) -> File:
        """Open an existing regular file; a symbolic link is refused."""
        ...

    def list(self, path: Path) -> list[str]:
        """Return the names in a directory."""
        ...

    def make_directory(self, path: Path) -> None:
        """Create a directory and its parents, accessible to its owner only; it may exist."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file, replacing the target."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        ...

    def allocated_bytes(self, path: Path) -> int:
        """Return the bytes a file occupies on disk, holes not counted."""
        ...

    def free_bytes(self, path: Path) -> int:
        """Return the bytes free for an ordinary user on the file system of `path`."""
        ...


class PosixFile:
    """A file of the operating system."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        got = len(data)
        while got < length and (data := os.pread(self._fd, length - got, offset + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from `offset` on; return how many bytes, fewer only at the file's end."""
        wanted = len(buffer)
        got = os.preadv(self._fd, (buffer,), offset)
        while 0 < got < wanted:
            more = os.preadv(self._fd, (buffer[got:],), offset + got)
            if not more:
                break
            got += more
        return got

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        """Write all parts one after the other at `offset`."""
        written = os.pwritev(self._fd, parts, offset)
        if written < sum(map(len, parts)):
            whole = b"".join(parts)
            write_fully(self._fd, (memoryview(whole)[written:],), offset + written)

    def size(self) -> int:
        """Return the size in bytes."""
        return os.fstat(self._fd).st_size

    def sync(self) -> None:
        """Make everything written so far durable."""
        sync_fd(self._fd)

    def truncate(self, size: int) -> None:
        """Cut the file off at `size`."""
        os.ftruncate(self._fd, size)

    def punch(self, offset: int, length: int) -> bool:
        """Give the bytes back to the file system; False where it cannot."""
        return native.try_punch_hole(self._fd, offset, length)

    def is_hole(self, offset: int, length: int) -> bool:
        """Return whether the bytes take no space, and so are zeros; False where unknown."""
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA) >= offset + length
        except OSError as error:
            if error.errno != errno.ENXIO and error.errno not in NO_SEEK_DATA:
                raise
            return error.errno == errno.ENXIO  # no data at or after the offset

    def reserve(self, size: int) -> None:
        """Allocate the first `size` bytes."""
        os.posix_fallocate(self._fd, 0, size)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class PosixFiles:
    """The operating system's files.

    Args:
        trust_others: Also open files that are another user's, or that others may write to.
    """

    trust_others = False

    def __init__(self, *, trust_others: bool = False) -> None:
        self.trust_others = trust_others

    def create(self, path: Path) -> File:
        """Create a file that must not exist, for reading and writing, readable by its owner."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return PosixFile(os.open(path, flags, FILE_MODE))

    def open(self, path: Path, *, writable: bool = False) -> File:
        """Open an existing regular file; a symbolic link, or one of others, is refused."""
        access = os.O_RDWR if writable else os.O_RDONLY
        fd = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if not self.trust_others and (problem := why_unsafe(facts)):
            os.close(fd)
            raise OSError(errno.EPERM, f"it {problem}", str(path))
        return PosixFile(fd)

    def list(self, path: Path) -> list[str]:
        """Return the names in a directory."""
        return os.listdir(path)

    def make_directory(self, path: Path) -> None:
        """Create a directory and its parents, accessible to its owner only; it may exist."""
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file, replacing the target."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        sync_directory(path)

    def allocated_bytes(self, path: Path) -> int:
        """Return the bytes a file occupies on disk, holes not counted."""
        return path.lstat().st_blocks * 512

    def free_bytes(self, path: Path) -> int:
        """Return the bytes free for an ordinary user on the file system of `path`."""
        facts = os.statvfs(path)
        return facts.f_bavail * facts.f_frsize
