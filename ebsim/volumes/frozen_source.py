"""What a pending snapshot of a managed volume is read from."""

from collections.abc import Iterator

import numpy as np

from ebsim.core.block_maps import LEAF_BLOCKS, find_leaf
from ebsim.core.extents import LeafWork
from ebsim.core.written_blocks import Flags, LeafWrites, find_writes
from ebsim.errors import KEYRING_FAILURES, ErrorCode, SourceError, StoreError
from ebsim.storage.catalog import Catalog
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.frozen import Frozen
from ebsim.volumes.live_volume import LiveVolume


class StoppedError(BaseException):
    """The store is being closed: the snapshot stays pending. Not an `Exception`: no failure."""


class FrozenSource:
    """A volume at a point in time, as a source; whole blocks only."""

    def __init__(self, live: LiveVolume, frozen: Frozen, size_bytes: int) -> None:
        self._live = live
        self._frozen = frozen
        self._size_bytes = size_bytes
        self.stopped = False

    @property
    def identity(self) -> str:
        """The volume's id."""
        return self._live.volume_id

    @property
    def size_bytes(self) -> int:
        """The volume's size at the point in time."""
        return self._size_bytes

    @property
    def modified_since_open(self) -> bool:
        """Return False: it is a point in time."""
        return False

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield all of it: which blocks are to be read is said by `WrittenPlan`."""
        yield start, end

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with the block at `offset`.

        Raises:
            SourceError: It cannot be read, or could not be kept for this snapshot.
            CorruptionError: It is damaged.
            EbsimError: The key of the volume cannot be had.
            StoppedError: The store is being closed.
        """
        if self.stopped:
            raise StoppedError
        self.ensure_unchanged()
        try:
            self._live.read_frozen(self._frozen, offset // BLOCK_SIZE, buffer)
        except StoreError as error:
            if error.code in KEYRING_FAILURES:
                raise
            raise SourceError(
                f"{self.identity} at offset {offset}: {error}", ErrorCode.SOURCE_READ_FAILED
            ) from error

    def ensure_unchanged(self) -> None:
        """Prove that the point in time still exists.

        Raises:
            SourceError: A block could not be kept.
        """
        if self._frozen.failure:
            raise SourceError(self._frozen.failure, ErrorCode.SOURCE_READ_FAILED)

    def close(self) -> None:
        """Do nothing: the volume stays open for others."""


class WrittenPlan:
    """Which blocks of a managed volume a snapshot reads: those written since its parent."""

    rest_is_zeros = False

    def __init__(self, number: int, base_epoch: int, epoch: int) -> None:
        self._number = number
        self._base_epoch = base_epoch
        self._epoch = epoch
        self._writes: dict[int, LeafWrites] = {}
        self._total_blocks = 0
        self._done_blocks = 0

    def work(self, catalog: Catalog, root: int) -> Iterator[LeafWork]:
        """Yield each leaf that was written to, with the blocks to be read."""
        with catalog.read() as reader:
            self._writes = find_writes(reader, self._number, self._base_epoch, self._epoch)
            pages = {leaf: find_leaf(reader, root, leaf) for leaf in self._writes}
        flags = {leaf: each.written | each.suspect for leaf, each in sorted(self._writes.items())}
        self._total_blocks = sum(int(each.sum()) for each in flags.values())
        for leaf, each in flags.items():
            self._done_blocks += int(each.sum())
            yield leaf, pages[leaf], list(_runs(leaf, each))

    def is_written(self, index: int) -> bool:
        """Return whether something wrote to the block for certain: then its zeros count."""
        return bool(self._writes[index // LEAF_BLOCKS].written[index % LEAF_BLOCKS])

    def progress(self, end: int, size: int) -> int:
        """Return the share of the blocks to be read that are: a volume may be mostly unwritten."""
        return size * self._done_blocks // max(1, self._total_blocks)


def _runs(leaf: int, flags: Flags) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of block indices in which all flags are set."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    base = leaf * LEAF_BLOCKS
    for start, end in edges.reshape(-1, 2).tolist():
        yield base + start, base + end
