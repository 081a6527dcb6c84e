"""Sources made of memory, and sources that fail.

All of them are a `BlockSource` (ebsim/storage/sources.py) and can be handed to
`Store.create_snapshot`. None of them touches the disk.
"""

from collections.abc import Callable, Iterator

from ebsim.errors import ErrorCode, SourceError
from ebsim.storage.sources import BlockSource
from ebsim.units import BLOCK_SIZE, block_count


class MemorySource:
    """A source over a bytearray: write to it, snapshot it, write on.

    It stays open: `close` does nothing, so one object can be snapshotted any number of times.

    Args:
        identity: The name under which a store remembers its volume, such as `memory:web1`.
        data: The bytes of the volume, not copied; or its size in bytes, all zeros. 1 or more.
        report_holes: Report a block as a hole until `write` puts something there. Otherwise the
            whole range is reported as data, as a file system without holes does.
    """

    def __init__(self, identity: str, data: bytearray | int, *, report_holes: bool = False) -> None:
        self._identity = identity
        self._data = bytearray(data) if isinstance(data, int) else data
        self._report_holes = report_holes
        self._written: set[int] = set()

    @property
    def identity(self) -> str:
        """The name under which a store remembers its volume."""
        return self._identity

    @property
    def size_bytes(self) -> int:
        """The exact size."""
        return len(self._data)

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at an offset; both in bytes, and within the size."""
        end = offset + len(data)
        assert 0 <= offset <= end <= len(self._data), "a write lies within the volume"
        self._data[offset:end] = data
        self._written.update(range(offset // BLOCK_SIZE, block_count(end)))

    def put(self, index: int, block: bytes) -> None:
        """Put a block, or its beginning, at a block index."""
        self.write(index * BLOCK_SIZE, block)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes in [start, end)."""
        return bytes(self._data[start:end])

    def grow(self, size_bytes: int) -> None:
        """Make it larger; the new range holds zeros that were never written."""
        assert size_bytes >= len(self._data), "grow never shrinks"
        self._data.extend(bytes(size_bytes - len(self._data)))

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges in [start, end) that may hold data, in bytes, ascending."""
        if not self._report_holes:
            yield (start, end)
            return
        for index in range(start // BLOCK_SIZE, block_count(end)):
            if index in self._written:
                yield (max(start, index * BLOCK_SIZE), min(end, (index + 1) * BLOCK_SIZE))

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from `offset`.

        Raises:
            SourceError: The range ends beyond the size (SOURCE_CHANGED).
        """
        data = memoryview(self._data)[offset : offset + len(buffer)]
        if len(data) != len(buffer):
            raise SourceError(
                f"{self._identity} ends at {len(self._data)}, before offset {offset + len(buffer)}",
                ErrorCode.SOURCE_CHANGED,
            )
        buffer[:] = data

    def ensure_unchanged(self) -> None:
        """Do nothing: its size is always what it says."""

    @property
    def modified_since_open(self) -> bool:
        """Never: nothing else writes to it."""
        return False

    def close(self) -> None:
        """Do nothing: it can be used again."""


def disk_of(*blocks: bytes, name: str = "memory:disk") -> MemorySource:
    """Return a source that holds these blocks; the last may be partial."""
    return MemorySource(name, bytearray(b"".join(blocks)))


class ObservedSource:
    """A source that tells when it is read: to stop, count, or change something at that moment.

    Args:
        source: The source that is really read.
        before_read: Called with the offset and the length in bytes of each read, before it, and
            from any thread. What it raises comes out of `read_into`.
    """

    def __init__(self, source: BlockSource, before_read: Callable[[int, int], None]) -> None:
        self._source = source
        self._before_read = before_read

    @property
    def identity(self) -> str:
        """The identity of the source that is really read."""
        return self._source.identity

    @property
    def size_bytes(self) -> int:
        """The size of the source that is really read."""
        return self._source.size_bytes

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges that may hold data."""
        return self._source.data_ranges(start, end)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Tell, then fill the buffer.

        Raises:
            SourceError: The source that is really read says so.
        """
        self._before_read(offset, len(buffer))
        self._source.read_into(offset, buffer)

    def ensure_unchanged(self) -> None:
        """Ask the source that is really read.

        Raises:
            SourceError: It changed (SOURCE_CHANGED).
        """
        self._source.ensure_unchanged()

    @property
    def modified_since_open(self) -> bool:
        """What the source that is really read says."""
        return self._source.modified_since_open

    def close(self) -> None:
        """Close the source that is really read."""
        self._source.close()


class FailingSource(ObservedSource):
    """A source that fails in one of three ways, at the same place every time.

    Args:
        source: The source that is read as long as all is well.
        unreadable_block: Reading this block index fails as a bad sector does (EIO).
        ends_at: From now on the source ends at this offset in bytes: reads beyond it fail, and at
            the end its size is not what it was.
        grows: The size is found to be larger at the end. All reads go well.
    """

    def __init__(
        self,
        source: BlockSource,
        *,
        unreadable_block: int | None = None,
        ends_at: int | None = None,
        grows: bool = False,
    ) -> None:
        super().__init__(source, self._fail_if_due)
        self._unreadable_block = unreadable_block
        self._ends_at = ends_at
        self._grows = grows

    def ensure_unchanged(self) -> None:
        """Say whether the size is still what it was.

        Raises:
            SourceError: It shrank or grew (SOURCE_CHANGED).
        """
        if self._ends_at is not None:
            raise self._changed(f"it shrank to {self._ends_at} bytes")
        if self._grows:
            raise self._changed(f"it grew to {self.size_bytes + BLOCK_SIZE} bytes")
        super().ensure_unchanged()

    def _fail_if_due(self, offset: int, length: int) -> None:
        end = offset + length
        if self._unreadable_block is not None:
            bad = self._unreadable_block * BLOCK_SIZE
            if offset < bad + BLOCK_SIZE and bad < end:
                raise SourceError(
                    f"cannot read {self.identity} at offset {bad}: [Errno 5] Input/output error",
                    ErrorCode.SOURCE_READ_FAILED,
                )
        if self._ends_at is not None and end > self._ends_at:
            raise self._changed(f"it ends at {self._ends_at}, before offset {end}")

    def _changed(self, how: str) -> SourceError:
        return SourceError(
            f"{self.identity} changed while it was read: {how}", ErrorCode.SOURCE_CHANGED
        )
