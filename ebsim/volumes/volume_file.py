"""A volume as a file object."""

import io
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ebsim.errors import ErrorCode, InvalidInputError, StoreError
from ebsim.volumes.live_volume import LiveVolume

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class VolumeFile(io.RawIOBase):
    """A volume's bytes, from 0 to its size. Any number may be open on a volume, in one process.

    `pread` and `pwrite` do not move the position and may be called from several threads. What was
    written is seen by every reader at once; it is durable when `flush` has returned. A write that
    would reach behind the end is refused whole. Errors are ebsim's, not OSError.

    A child that was forked with the volume open is refused: nobody would note what it writes.
    """

    def __init__(self, live: LiveVolume, release: Callable[[], None]) -> None:
        super().__init__()
        self._live = live
        self._release = release
        self._position = 0
        self._pid = os.getpid()
        self.mode = "rb+"
        self.name = live.volume_id

    @property
    def size(self) -> int:
        """The volume's size in bytes."""
        return self._live.size

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position and return it; it may lie behind the end.

        Raises:
            InvalidInputError: It would be negative, or `whence` is none.
        """
        self._ensure_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._live.size}
        if whence not in base or base[whence] + offset < 0:
            raise InvalidInputError(f"cannot seek to {offset} (whence {whence}) in a volume")
        self._position = base[whence] + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill the buffer from the position on; return how many bytes, 0 at the end."""
        self._ensure_open()
        got = self._live.read_into(self._position, memoryview(buffer).cast("B"))
        self._position += got
        return got

    def write(self, data: "ReadableBuffer") -> int:
        """Write all of the bytes at the position and return how many there are.

        Raises:
            InvalidInputError: They reach behind the end; nothing is written.
            LimitExceededError, StoreError: No space, or the device failed.
        """
        self._ensure_open()
        done = self._live.write(self._position, memoryview(data).cast("B"))
        self._position += done
        return done

    def pread(self, length: int, offset: int) -> bytes:
        """Return up to `length` bytes from `offset` on; fewer only at the end of the volume.

        Raises:
            InvalidInputError: The length or the offset is negative.
            CorruptionError, StoreError: As `readinto`.
        """
        self._ensure_open()
        if length < 0:
            raise InvalidInputError(f"Cannot read {length} bytes of a volume.")
        return self._live.read(offset, length)

    def pread_into(self, buffer: "WriteableBuffer", offset: int) -> int:
        """Fill the buffer from `offset` on; return how many bytes: fewer only at the end."""
        self._ensure_open()
        return self._live.read_into(offset, memoryview(buffer).cast("B"))

    def pwrite(self, data: "ReadableBuffer", offset: int) -> int:
        """Write all of the bytes at `offset` and return how many there are.

        Raises:
            As `write`.
        """
        self._ensure_open()
        return self._live.write(offset, memoryview(data).cast("B"))

    def discard(self, offset: int, length: int) -> None:
        """Make bytes zero and give their space back.

        Raises:
            As `write`.
        """
        self._ensure_open()
        self._live.discard(offset, length)

    def truncate(self, size: int | None = None) -> int:
        """Refuse: a volume's size is changed by `VolumeOperations.modify`, and only grows.

        Raises:
            InvalidInputError: Always.
        """
        raise InvalidInputError("a volume cannot be truncated; modify it to make it larger")

    def flush(self) -> None:
        """Make everything written to the volume durable.

        Raises:
            StoreError: The device failed; the store must be opened anew.
        """
        if not self.closed:
            self._ensure_open()
            self._live.flush()

    def close(self) -> None:
        """Flush and close; a second call does nothing. A forked child leaves both to its parent."""
        if self.closed:
            return
        if os.getpid() != self._pid or self._live.closed:  # a store that is closed has flushed it
            with suppress(StoreError):
                super().close()  # refused to flush, and closed
            return
        try:
            super().close()  # flushes
        finally:
            self._release()

    def _ensure_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed volume")
        if os.getpid() != self._pid:
            raise StoreError(
                f"this process was forked while volume {self.name} was open: open the store again "
                "in it",
                ErrorCode.STORE_FORKED,
            )
        if self._live.closed:
            raise StoreError(
                f"the store of volume {self.name} is closed: open it again", ErrorCode.STORE_CLOSED
            )
