"""A small file of allocated space that is given up so that deleting works on a full disk.

Deleting needs a few pages of the catalog and one journal record before it gives space back. The
reserve is removed for as long as that takes, and made again when there is room.

Recording that a snapshot failed gives nothing back. It may use only what is more than the part for
deletions, and what it leaves is taken back at once. Nobody else may use space up while that part is
missing and could not be made again: `Reserve.ensure_room`.

What a file system says is free is not free for a user whose quota is used up (ext4, XFS). So what
finds no space is done once more with the reserve given up: `Room.give`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from ebsim.errors import ErrorCode, LimitExceededError
from ebsim.storage.files import File, Files
from ebsim.units import KIB, MIB

T = TypeVar("T")

RESERVE_SIZE = 16 * MIB
"""A deletion commits in steps. The first is the largest: about 2 MiB for each TiB it frees."""

DELETION_PART = 8 * MIB
"""What is kept for deletions alone."""

ROOM_MIN = 2 * RESERVE_SIZE
"""With less than this free, the reserve is given up before a deletion starts."""

PART_MIN = 2 * MIB
"""Where there is no room for all of it, a smaller part is not worth making."""

LEFT_FREE = 256 * KIB
"""What is left free when the reserve takes all there is: a file system counts a little more."""


class Room:
    """What `Reserve.released_if_low` gives to its block.

    Args:
        shrink: Gives the reserve up.
        size: Returns how large it is.

    Attributes:
        released: How large the reserve was that was given up; 0: it was not.
    """

    def __init__(self, shrink: Callable[[], None], size: Callable[[], int]) -> None:
        self._shrink = shrink
        self._size = size
        self.released = 0

    def release(self) -> None:
        """Give the reserve up; raises OSError where there is none."""
        self.released = self._size()
        self._shrink()

    def give(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; where it finds no space, once more without the reserve.

        Args:
            work: Leaves nothing behind where it finds no space.

        Raises:
            Exception: What `work` raises; LimitExceededError (NoSpace) only without a reserve.
        """
        try:
            return work()
        except LimitExceededError as error:
            if error.code != ErrorCode.NO_SPACE or self.released:
                raise
            try:
                self.release()
            except OSError:
                raise error from None
        return work()


class Reserve:
    """The file `STORE/reserve`."""

    def __init__(self, path: Path, files: Files) -> None:
        self._path = path
        self._files = files

    def fill(self) -> bool:
        """Make the reserve, or what is missing of it, if there is room; return whether it is whole.

        It is a comfort, not a need: where it cannot be made, nothing fails.
        """
        try:
            have = self._size()
            if have < RESERVE_SIZE:
                free = self._files.free_bytes(self._path.parent)
                return free + have >= ROOM_MIN and self._extend(RESERVE_SIZE)
            return True
        except OSError:
            return False

    def ensure_room(self, wanted_for: Path) -> None:
        """Let somebody use space up, unless it is what deletions need.

        Args:
            wanted_for: The file, to be named in the refusal.

        Raises:
            LimitExceededError: NoSpace: the reserve is gone, and could not be made afterwards.
        """
        try:
            if self._size() >= DELETION_PART:
                return
            if self._files.free_bytes(self._path.parent) >= RESERVE_SIZE + MIB:
                return
        except OSError:
            return  # whoever writes will see
        raise LimitExceededError(
            f"no space left for {wanted_for}: the rest is kept for deleting; delete snapshots, or "
            "free space otherwise, and try again",
            ErrorCode.NO_SPACE,
        )

    @contextmanager
    def released_if_low(self, *, keep: int = 0) -> Iterator["Room"]:
        """Give up the reserve for the block if space is low, and make it again afterwards.

        Args:
            keep: So many bytes of it are not given up: for what gives nothing back itself.
        """
        room = Room(lambda: self._shrink(keep), self._size)
        with suppress(OSError):
            if self._files.free_bytes(self._path.parent) < ROOM_MIN:
                room.release()
        try:
            yield room
        finally:
            if not self.fill() and room.released:
                self._take_back(room.released)

    def _size(self) -> int:
        try:
            return self._files.allocated_bytes(self._path)
        except FileNotFoundError:
            return 0

    def _shrink(self, keep: int) -> None:
        if not keep:
            self._files.remove(self._path)
            return
        file = self._files.open(self._path, writable=True)
        try:
            if file.size() > keep:
                file.truncate(keep)
        finally:
            file.close()

    def _take_back(self, before: int) -> None:
        """Make as much of the reserve again as there is room for, up to what there was."""
        with suppress(OSError):
            have = self._size()
            size = before
            while have + LEFT_FREE <= size and size >= PART_MIN:
                free = self._files.free_bytes(self._path.parent)
                size = min(size, have + free - LEFT_FREE)
                if size < max(have, PART_MIN) or self._extend(size):
                    return
                size -= MIB

    def _extend(self, size: int) -> bool:
        """Have the file take so many bytes; where that fails it takes what it took before."""
        try:
            file = self._open()
        except OSError:
            return False
        before = file.size()
        try:
            file.reserve(size)
            return True
        except OSError:
            with suppress(OSError):
                if before:
                    file.truncate(before)
                else:
                    self._files.remove(self._path)
            return False
        finally:
            file.close()

    def _open(self) -> File:
        try:
            return self._files.open(self._path, writable=True)
        except FileNotFoundError:
            return self._files.create(self._path)
