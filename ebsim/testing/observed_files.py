"""Files that tell what is about to happen to them: to count, or to fail at that moment."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ebsim.storage.files import Buffer, File, Files

Observer = Callable[[str, Path], None]
"""Called with the name of a method of `File` or `Files` and the path that it is about."""


class ObservedFile:
    """An open file of an `ObservedFiles`."""

    def __init__(self, file: File, path: Path, before: Observer) -> None:
        self._file = file
        self._path = path
        self._before = before

    def read_at(self, offset: int, length: int) -> bytes:
        """Tell `read_at`, then read."""
        self._before("read_at", self._path)
        return self._file.read_at(offset, length)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Tell `read_into`, then read."""
        self._before("read_into", self._path)
        return self._file.read_into(offset, buffer)

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        """Tell `write_at`, then write."""
        self._before("write_at", self._path)
        self._file.write_at(offset, parts)

    def size(self) -> int:
        """Tell `size`, then return it."""
        self._before("size", self._path)
        return self._file.size()

    def sync(self) -> None:
        """Tell `sync`, then sync."""
        self._before("sync", self._path)
        self._file.sync()

    def truncate(self, size: int) -> None:
        """Tell `truncate`, then cut the file off."""
        self._before("truncate", self._path)
        self._file.truncate(size)

    def punch(self, offset: int, length: int) -> bool:
        """Tell `punch`, then give the bytes back."""
        self._before("punch", self._path)
        return self._file.punch(offset, length)

    def is_hole(self, offset: int, length: int) -> bool:
        """Tell `is_hole`, then look."""
        self._before("is_hole", self._path)
        return self._file.is_hole(offset, length)

    def reserve(self, size: int) -> None:
        """Tell `reserve`, then allocate."""
        self._before("reserve", self._path)
        self._file.reserve(size)

    def close(self) -> None:
        """Close the file. Nobody is told: it may happen at any time."""
        self._file.close()


class ObservedFiles:
    """Files that tell before each call; what the observer raises comes out of the call.

    Args:
        files: What does the work.
        before: Told the method and the path, from any thread.
    """

    def __init__(self, files: Files, before: Observer) -> None:
        self._files = files
        self._before = before

    def create(self, path: Path) -> File:
        """Tell `create`, then create the file."""
        self._before("create", path)
        return ObservedFile(self._files.create(path), path, self._before)

    def open(self, path: Path, *, writable: bool = False) -> File:
        """Tell `open`, then open the file."""
        self._before("open", path)
        return ObservedFile(self._files.open(path, writable=writable), path, self._before)

    def list(self, path: Path) -> list[str]:
        """Tell `list`, then return the names in a directory."""
        self._before("list", path)
        return self._files.list(path)

    def make_directory(self, path: Path) -> None:
        """Tell `make_directory`, then make it."""
        self._before("make_directory", path)
        self._files.make_directory(path)

    def rename(self, source: Path, target: Path) -> None:
        """Tell `rename` with the source's path, then rename it."""
        self._before("rename", source)
        self._files.rename(source, target)

    def remove(self, path: Path) -> None:
        """Tell `remove`, then remove the file."""
        self._before("remove", path)
        self._files.remove(path)

    def sync_directory(self, path: Path) -> None:
        """Tell `sync_directory`, then sync it."""
        self._before("sync_directory", path)
        self._files.sync_directory(path)

    def allocated_bytes(self, path: Path) -> int:
        """Tell `allocated_bytes`, then return them."""
        self._before("allocated_bytes", path)
        return self._files.allocated_bytes(path)

    def free_bytes(self, path: Path) -> int:
        """Tell `free_bytes`, then return them."""
        self._before("free_bytes", path)
        return self._files.free_bytes(path)
