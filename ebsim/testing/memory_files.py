"""Files in memory: a verified fake of `ebsim.storage.files.PosixFiles`.

It passes the suite that the real files pass (`tests/conformance/test_files.py`). There are no
symbolic links and no permissions, and every write is durable at once. Directories take no space,
files take whole pages.
"""

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ebsim.storage.files import Buffer, File
from ebsim.units import GIB

PAGE_SIZE = 4096
"""What a file occupies is counted in pages, as on most file systems."""

_PIECE_SIZE = 16 * PAGE_SIZE
"""Small beside a block, so that scattered writes need little; large enough to be quick."""


def _failure(number: int, path: Path | None = None) -> OSError:
    """Return the error as the kernel would raise it: of the subclass that fits its number."""
    name = None if path is None else str(path)
    return OSError(number, os.strerror(number), name)


class Content:
    """What a file holds, whoever has it open and whatever its name is.

    Its bytes lie in pieces of 64 KiB; where there is none, they are zeros. So a file of a volume
    of many GiB needs memory for what was written to it only.

    Attributes:
        size: Its size in bytes.
        pages: The numbers of the pages that take space; the rest are holes.
    """

    def __init__(self) -> None:
        self.size = 0
        self.pages: set[int] = set()
        self._pieces: dict[int, bytearray] = {}

    def read(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from `offset` on; return how many bytes, fewer only at the end."""
        length = max(0, min(len(buffer), self.size - offset))
        for number, start, end, at in _parts(offset, length):
            piece = self._pieces.get(number)
            part = bytes(end - start) if piece is None else piece[start:end]
            buffer[at : at + end - start] = part
        return length

    def pieces(self) -> Iterator[bytes]:
        """Yield what was ever written, in parts."""
        yield from map(bytes, self._pieces.values())

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at an offset; the size grows where needed."""
        for number, start, end, at in _parts(offset, len(data)):
            piece = self._pieces.get(number)
            if piece is None:
                piece = self._pieces.setdefault(number, bytearray(_PIECE_SIZE))
            piece[start:end] = data[at : at + end - start]
        self.size = max(self.size, offset + len(data))

    def clear(self, offset: int, length: int) -> None:
        """Make bytes zero; whole pages of them take no space any more."""
        for number in list(self._pieces):
            start = max(0, offset - number * _PIECE_SIZE)
            end = min(_PIECE_SIZE, offset + length - number * _PIECE_SIZE)
            if end - start == _PIECE_SIZE:
                del self._pieces[number]
            elif start < end:
                self._pieces[number][start:end] = bytes(end - start)
        first, last = -(-offset // PAGE_SIZE), (offset + length) // PAGE_SIZE
        self.pages = {page for page in self.pages if not first <= page < last}

    def resize(self, size: int) -> None:
        """Cut off, or extend by a hole."""
        if size < self.size:
            self.clear(size, -(-self.size // _PIECE_SIZE) * _PIECE_SIZE - size)
        self.size = size


def _parts(offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the parts of a range: number of the piece, start and end in it, place in the range."""
    done = 0
    while done < length:
        number, start = divmod(offset + done, _PIECE_SIZE)
        end = min(_PIECE_SIZE, start + length - done)
        yield number, start, end, done
        done += end - start


class MemoryFile:
    """An open file of a `MemoryFiles`."""

    def __init__(self, files: "MemoryFiles", content: Content, *, writable: bool) -> None:
        self._files = files
        self._content: Content | None = content
        self._writable = writable

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""
        content = self._opened()
        buffer = bytearray(max(0, min(length, content.size - offset)))
        return bytes(buffer[: content.read(offset, memoryview(buffer))])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from `offset` on; return how many bytes, fewer only at the file's end."""
        return self._opened().read(offset, buffer)

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
            content.write(offset, data)

    def size(self) -> int:
        """Return the size in bytes."""
        return self._opened().size

    def sync(self) -> None:
        """Do nothing: all is as durable as it ever will be."""
        self._opened()

    def truncate(self, size: int) -> None:
        """Cut the file off at `size`, or extend it by a hole."""
        content = self._opened(write=True)
        with self._files.lock:
            content.resize(size)

    def punch(self, offset: int, length: int) -> bool:
        """Give the bytes back: they read as zeros, and whole pages take no space any more."""
        content = self._opened(write=True)
        with self._files.lock:
            content.clear(offset, length)
        return True

    def is_hole(self, offset: int, length: int) -> bool:
        """Return whether the bytes take no space, and so are zeros."""
        content = self._opened()
        pages = range(offset // PAGE_SIZE, -(-(offset + length) // PAGE_SIZE))
        with self._files.lock:
            return content.pages.isdisjoint(pages)

    def reserve(self, size: int) -> None:
        """Allocate the first `size` bytes.

        Raises:
            OSError: No space (ENOSPC).
        """
        content = self._opened(write=True)
        with self._files.lock:
            self._files.allocate(content, range(-(-size // PAGE_SIZE)))
            content.size = max(content.size, size)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._content = None

    def _opened(self, *, write: bool = False) -> Content:
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
        self._contents: dict[Path, Content] = {}
        self.lock = threading.RLock()

    def pieces(self) -> Iterator[bytes]:
        """Yield what all files hold, in parts."""
        for content in list(self._contents.values()):
            yield from content.pieces()

    def create(self, path: Path) -> File:
        """Create a file that must not exist, for reading and writing."""
        self._require_directory(path.parent)
        if path in self._contents or path in self._directories:
            raise _failure(errno.EEXIST, path)
        content = self._contents[path] = Content()
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

    def allocate(self, content: Content, pages: range) -> None:
        """Take the space for pages of a file.

        Raises:
            OSError: There is not enough (ENOSPC); nothing was taken.
        """
        with self.lock:
            new = set(pages) - content.pages
            if len(new) * PAGE_SIZE > self.free_bytes(Path("/")):
                raise _failure(errno.ENOSPC)
            content.pages |= new

    def _content(self, path: Path) -> Content:
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
