"""A small file of allocated space that is given up so that deleting works on a full disk.

Deleting needs a few pages of the catalog and one journal record before it gives space back. The
reserve is removed for as long as that takes, and made again when there is room.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ebsim.storage.files import Files
from ebsim.units import MIB

RESERVE_SIZE = 16 * MIB
"""A deletion commits in steps. The first is the largest: about 2 MiB for each TiB it frees."""

ROOM_MIN = 2 * RESERVE_SIZE
"""With less than this free, the reserve is given up before a deletion starts."""


class Reserve:
    """The file `STORE/reserve`."""

    def __init__(self, path: Path, files: Files) -> None:
        self._path = path
        self._files = files

    def fill(self) -> bool:
        """Make the reserve if it is missing and there is room; return whether it exists.

        It is a comfort, not a need: where it cannot be made, nothing fails.
        """
        try:
            if self._files.allocated_bytes(self._path) >= RESERVE_SIZE:
                return True
            self._files.remove(self._path)  # somebody died while making it
            return self._make()
        except FileNotFoundError:
            return self._make()
        except OSError:
            return False

    def _make(self) -> bool:
        try:
            if self._files.free_bytes(self._path.parent) < ROOM_MIN:
                return False
            file = self._files.create(self._path)
        except OSError:
            return False
        try:
            file.reserve(RESERVE_SIZE)
            return True
        except OSError:
            with suppress(OSError):
                self._files.remove(self._path)
            return False
        finally:
            file.close()

    @contextmanager
    def released_if_low(self) -> Iterator[None]:
        """Give up the reserve for the block if space is low, and make it again afterwards."""
        with suppress(OSError):
            if self._files.free_bytes(self._path.parent) < ROOM_MIN:
                self._files.remove(self._path)
        try:
            yield
        finally:
            self.fill()
