"""Files in memory: a verified fake of `ebsim.storage.files.PosixFiles`.

It passes the suite that the real files pass (`tests/conformance/test_files.py`). There are no
symbolic links and no permissions, and every write is durable at once. Directories take no space,
files take whole pages.
"""

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from ebsim.storage.files import Buffer, File
from ebsim.units import GIB

PAGE_SIZE = 4096
"""What a file occupies is counted in pages, as on most file systems."""


def _failure(number: int, path: Path | None = None) -> OSError:
    """Return the error as the kernel would raise it: of the subclass that fits its number."""
    name = None if path is None else str(path)
    return OSError(number, os.strerror(number), name)


class _Content:
    """What a file holds, whoever has it open and whatever its name is.

    Attributes:
        data: Its bytes, holes as zeros.
        pages: The numbers of the pages that take space; the rest are holes.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.pages: set[int] = set()

    def resize(self, size: int) -> None:
        """Cut off, or extend by a hole."""
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        self.pages = {page for page in self.pages if page * PAGE_SIZE < size}


class MemoryFile:
    """An open file of a `MemoryFiles`."""

    def __init__(self, files: "MemoryFiles", content: _Content, *, writable: bool) -> None:
        self._files = files
        self._content: _Content | None = content
        self._writable = writable

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""
        return bytes(self._opened().data[offset : offset + length])

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        """Write all parts one after the other at `offset`.

        Raises:
            OSError: No space (ENOSPC), and nothing was written; or opened for reading (EBADF).
        """
        content = self._opened(write=True)
        data = b"".join(bytes(part) for part in parts)
        end = offset + len(data)
        if not data:
            return
        with self._files.lock:
            self._files.allocate(content, range(offset // PAGE_SIZE, -(-end // PAGE_SIZE)))
            content.data.extend(bytes(max(0, offset - len(content.data))))
            content.data[offset:end] = data

    def size(self) -> int:
        """Return the size in bytes."""
        return len(self._opened().data)

    def sync(self) -> None:
        """Do nothing: all is as durable as it ever will be."""
        self._opened()

    def truncate(self, size: int) -> None:
        """Cut the file off at `size`, or extend it by a hole."""
        self._opened(write=True).resize(size)

    def punch(self, offset: int, length: int) -> bool:
        """Give the bytes back: they read as zeros, and whole pages take no space any more."""
        content = self._opened(write=True)
        end = min(offset + length, len(content.data))
        content.data[offset:end] = bytes(max(0, end - offset))
        content.pages -= set(range(-(-offset // PAGE_SIZE), (offset + length) // PAGE_SIZE))
        return True

    def reserve(self, size: int) -> None:
        """Allocate the first `size` bytes.

        Raises:
            OSError: No space (ENOSPC).
        """
        content = self._opened(write=True)
        with self._files.lock:
            self._files.allocate(content, range(-(-size // PAGE_SIZE)))
            content.data.extend(bytes(max(0, size - len(content.data))))

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._content = None

    def _opened(self, *, write: bool = False) -> _Content:
        if self._content is None or (write and not self._writable):
            raise _failure(errno.EBADF)
        return self._content


class MemoryFiles:
    """Files in memory, below the directories `/` and `.`, which exist.

    Args:
        capacity_bytes: How much space there is.

    Attributes:
        lock: Held while space is allocated.
    """

    def __init__(self, capacity_bytes: int = GIB) -> None:
        self._capacity_bytes = capacity_bytes
        self._directories = {Path("/"), Path()}
        self._contents: dict[Path, _Content] = {}
        self.lock = threading.RLock()

    def create(self, path: Path) -> File:
        """Create a file that must not exist, for reading and writing."""
        self._require_directory(path.parent)
        if path in self._contents or path in self._directories:
            raise _failure(errno.EEXIST, path)
        content = self._contents[path] = _Content()
        return MemoryFile(self, content, writable=True)

    def open(self, path: Path, *, writable: bool = False) -> File:
        """Open an existing file."""
        return MemoryFile(self, self._content(path), writable=writable)

    def list(self, path: Path) -> list[str]:
        """Return the names in a directory."""
        self._require_directory(path)
        present = [*self._contents, *self._directories]
        return [entry.name for entry in present if entry.parent == path and entry != path]

    def make_directory(self, path: Path) -> None:
        """Create a directory and its parents; it may exist."""
        for parent in path.parents:
            if parent in self._contents:
                raise _failure(errno.ENOTDIR, path)
        if path in self._contents:
            raise _failure(errno.EEXIST, path)
        self._directories.update((path, *path.parents))

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file, replacing the target."""
        content = self._content(source)
        self._require_directory(target.parent)
        if target in self._directories:
            raise _failure(errno.EISDIR, target)
        del self._contents[source]
        self._contents[target] = content

    def remove(self, path: Path) -> None:
        """Remove a file; who has it open may go on using it."""
        self._content(path)
        del self._contents[path]

    def sync_directory(self, path: Path) -> None:
        """Do nothing but look that the directory exists."""
        self._require_directory(path)

    def allocated_bytes(self, path: Path) -> int:
        """Return the bytes a file occupies, holes not counted."""
        return len(self._content(path).pages) * PAGE_SIZE

    def free_bytes(self, path: Path) -> int:
        """Return the bytes that are free."""
        if path not in self._contents:
            self._require_directory(path)
        with self.lock:
            used = sum(len(content.pages) for content in self._contents.values())
        return self._capacity_bytes - used * PAGE_SIZE

    def allocate(self, content: _Content, pages: range) -> None:
        """Take the space for pages of a file.

        Raises:
            OSError: There is not enough (ENOSPC); nothing was taken.
        """
        with self.lock:
            new = set(pages) - content.pages
            if len(new) * PAGE_SIZE > self.free_bytes(Path("/")):
                raise _failure(errno.ENOSPC)
            content.pages |= new

    def _content(self, path: Path) -> _Content:
        content = self._contents.get(path)
        if content is None:
            if path in self._directories:
                raise _failure(errno.EISDIR, path)
            self._require_directory(path.parent)
            raise _failure(errno.ENOENT, path)
        return content

    def _require_directory(self, path: Path) -> None:
        if path not in self._directories:
            on_the_way = [path, *path.parents]
            number = errno.ENOTDIR if set(on_the_way) & self._contents.keys() else errno.ENOENT
            raise _failure(number, path)
