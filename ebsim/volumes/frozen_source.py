"""What a pending snapshot of a managed volume is read from."""

from collections.abc import Iterator

import numpy as np

from ebsim.core.block_maps import LEAF_BLOCKS, find_leaf
from ebsim.core.extents import LeafWork
from ebsim.core.stopping import StoppedError
from ebsim.core.written_blocks import Flags, LeafWrites, find_writes
from ebsim.errors import KEYRING_FAILURES, ErrorCode, SourceError, StoreError
from ebsim.ids import SnapshotId, VolumeId
from ebsim.storage.catalog import Catalog
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.frozen import Frozen, find_point
from ebsim.volumes.live_volume import LiveVolume
from ebsim.volumes.registry import Share


class FrozenSource:
    """A volume at a point in time, as a source; whole blocks only.

    Between two blocks, other processes may use the volume: then the next one waits.
    """

    def __init__(self, share: Share, snapshot_id: SnapshotId, size_bytes: int) -> None:
        self._share = share
        self._snapshot_id = snapshot_id
        self._size_bytes = size_bytes
        self.stopped = False

    @property
    def identity(self) -> str:
        """The volume's id."""
        return self._share.volume_id

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
        try:
            with self._share.using(lambda: self.stopped) as live:
                point = ensure_kept(live, self._snapshot_id)
                live.read_frozen(point, offset // BLOCK_SIZE, buffer)
                ensure_kept(live, self._snapshot_id)  # it may be lent before anybody asks again
        except StoreError as error:
            if error.code in KEYRING_FAILURES:
                raise
            raise SourceError(
                f"{self.identity} at offset {offset}: {error}", ErrorCode.SOURCE_READ_FAILED
            ) from error

    def ensure_unchanged(self) -> None:
        """Prove that the point in time still exists; what was read of a lent volume was there.

        Raises:
            SourceError: A block could not be kept.
        """
        with self._share.if_open() as live:
            if live is not None:
                ensure_kept(live, self._snapshot_id)

    def close(self) -> None:
        """Do nothing: the volume stays open for others."""


def ensure_kept(live: LiveVolume, needed_by: SnapshotId | VolumeId) -> Frozen:
    """Return the point in time of a snapshot, or of a copy.

    Raises:
        SourceError: A block could not be kept, or another process ended what needs it.
    """
    point = find_point(live.frozen, needed_by)
    failure = f"{needed_by} is not pending any more" if point is None else point.failure
    if point is None or failure:
        raise SourceError(failure, ErrorCode.SOURCE_READ_FAILED)
    return point


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
