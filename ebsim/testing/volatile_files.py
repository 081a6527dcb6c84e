"""Files in memory that forget, at a power cut, what was not synced.

What is written to a file is durable once it is synced; a name is durable once its directory is. At
a power cut each write that is not durable is kept, forgotten, or kept in part, by chance; so is
each change of a name, whatever the order in which they were made. Nothing weaker is promised by a
disk with a cache.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from ebsim.storage.files import Buffer, File
from ebsim.testing.memory_files import Content, MemoryFile, MemoryFiles

_TORN_UNIT = 512
"""A sector is written or not."""


class VolatileFile(MemoryFile):
    """An open file of a `VolatileFiles`."""

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        """Write, and remember what was there."""
        data = b"".join(bytes(part) for part in parts)
        self._remember(offset, len(data)).written = True
        super().write_at(offset, [data])

    def truncate(self, size: int) -> None:
        """Cut off, and remember what was there."""
        self._remember(size, max(0, self.size() - size))
        super().truncate(size)

    def punch(self, offset: int, length: int) -> bool:
        """Make a hole, and remember what was there."""
        self._remember(offset, length)
        return super().punch(offset, length)

    def sync(self) -> None:
        """Make everything written so far durable."""
        content = self._opened()
        if self._volatile().is_off():
            return
        with self._files.lock:
            self._volatile().unsynced.pop(id(content), None)

    def _volatile(self) -> "VolatileFiles":
        assert isinstance(self._files, VolatileFiles)
        return self._files

    def _remember(self, offset: int, length: int) -> "_Change":
        content = self._opened(write=True)
        with self._files.lock:
            change = _Change(content, offset, length)
            self._volatile().unsynced.setdefault(id(content), []).append(change)
        return change


class _Change:
    """A change of a file that is not durable: what was there before, and on demand what is now.

    Attributes:
        length: How many bytes it is about.
        written: Whether they were written, and not cut off or punched out.
    """

    def __init__(self, content: Content, offset: int, length: int) -> None:
        self._content = content
        self._offset = offset
        self.length = length
        self.written = False
        self._old_size = content.size
        self._old = self._read()
        self._new = b""
        self._new_size = 0

    def undo(self) -> None:
        """Note what is there now, and put back what was there."""
        self._new, self._new_size = self._read(), self._content.size
        self._content.write(self._offset, self._old)
        self._content.resize(self._old_size)

    def apply(self, chance: random.Random) -> None:
        """Do it again, whole or in part, or not at all."""
        how = chance.choice(("not", "whole", "torn"))
        if how == "not":
            return
        if self._new_size < self._old_size:
            self._content.resize(self._new_size)
        if how == "whole":
            self._content.write(self._offset, self._new)
            return
        for start in range(0, len(self._new), _TORN_UNIT):
            if chance.random() < 0.5:
                part = self._new[start : start + _TORN_UNIT]
                self._content.write(self._offset + start, part)

    def _read(self) -> bytes:
        buffer = bytearray(max(0, min(self.length, self._content.size - self._offset)))
        return bytes(buffer[: self._content.read(self._offset, memoryview(buffer))])


class VolatileFiles(MemoryFiles):
    """See the module.

    Attributes:
        unsynced: What is not durable of each file's content, oldest first.
        is_off: Asked by each sync whether it is to do nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unsynced: dict[int, list[_Change]] = {}
        self.is_off: Callable[[], bool] = lambda: False
        self._renamed: list[tuple[Path, Callable[[], None], Callable[[], None]]] = []

    def create(self, path: Path) -> File:
        """Create a file; its name is not durable yet."""
        super().create(path).close()
        content = self._contents[path]
        self._note_name(
            path.parent,
            lambda: self._forget(path),
            lambda: self._contents.__setitem__(path, content),
        )
        return VolatileFile(self, content, writable=True)

    def open(self, path: Path, *, writable: bool = False) -> File:
        """Open an existing file."""
        return VolatileFile(self, self._content(path), writable=writable)

    def make_directory(self, path: Path) -> None:
        """Create a directory and its parents; none of their names is durable yet."""
        new = [each for each in (*reversed(path.parents), path) if each not in self._directories]
        super().make_directory(path)
        for each in new:
            self._note_name(each.parent, *self._coming_and_going(each))

    def _coming_and_going(self, path: Path) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return what has a directory go with all that is in it, and what has it come again."""
        held: dict[Path, Content] = {}

        def undo() -> None:
            self._directories.discard(path)
            for name in [each for each in self._contents if each.parent == path]:
                held[name] = self._contents.pop(name)

        def again() -> None:
            self._directories.add(path)
            self._contents.update(held)

        return undo, again

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file; that is not durable yet."""
        content, before = self._content(source), self._contents.get(target)
        super().rename(source, target)

        def undo() -> None:
            self._contents[source] = content
            if before is None:
                self._forget(target)
            else:
                self._contents[target] = before

        def again() -> None:
            self._forget(source)
            self._contents[target] = content

        self._note_name(target.parent, undo, again)

    def remove(self, path: Path) -> None:
        """Remove a file; it may come back."""
        content = self._content(path)
        super().remove(path)
        self._note_name(
            path.parent,
            lambda: self._contents.__setitem__(path, content),
            lambda: self._forget(path),
        )

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        super().sync_directory(path)
        if self.is_off():
            return
        with self.lock:
            self._renamed = [change for change in self._renamed if change[0] != path]

    def unsynced_bytes(self, path: Path) -> int:
        """Return how many bytes were written to a file and are not durable."""
        changes = self.unsynced.get(id(self._content(path)), [])
        return sum(change.length for change in changes if change.written)

    def cut_power(self, chance: random.Random) -> None:
        """Forget, by chance, what is not durable. Nobody may use an open file afterwards."""
        for _, undo, _ in reversed(self._renamed):
            undo()
        for _, _, again in self._renamed:
            if chance.random() < 0.5:
                again()
        for name in [each for each in self._contents if each.parent not in self._directories]:
            del self._contents[name]  # of a directory that did not come back
        for changes in self.unsynced.values():
            for change in reversed(changes):
                change.undo()
            for change in changes:
                change.apply(chance)
        self._renamed.clear()
        self.unsynced.clear()

    def _note_name(self, folder: Path, undo: Callable[[], None], again: Callable[[], None]) -> None:
        with self.lock:
            self._renamed.append((folder, undo, again))

    def _forget(self, path: Path) -> None:
        self._contents.pop(path, None)
