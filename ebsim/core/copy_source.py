"""A completed snapshot as the source of a copy in another Region or account."""

from collections.abc import Iterator

from ebsim.core.block_maps import LEAF_BLOCKS, find_leaf, load_page, walk_leaves
from ebsim.core.block_places import find_place
from ebsim.core.context import StoreContext
from ebsim.core.extents import LeafWork
from ebsim.core.read import BlockLoader
from ebsim.core.snapshots import get_completed
from ebsim.core.version_table import version_blocks
from ebsim.errors import CorruptionError, ErrorCode, NotFoundError, SourceError, StoreError
from ebsim.format.catalog_values import ZERO_BLOCK
from ebsim.format.records import SnapshotRecord
from ebsim.storage.catalog import Catalog
from ebsim.units import BLOCK_SIZE


class SnapshotSource:
    """The blocks of a completed snapshot, read with every check. Safe for several threads."""

    def __init__(self, context: StoreContext, record: SnapshotRecord, identity: str) -> None:
        self._context = context
        self._record = record
        self._identity = identity
        self._loader = BlockLoader(context)

    @property
    def identity(self) -> str:
        """What all copies of the snapshot's lineage are known by."""
        return self._identity

    @property
    def size_bytes(self) -> int:
        """The snapshot's size."""
        return self._record.size_bytes

    @property
    def modified_since_open(self) -> bool:
        """Return False: a snapshot does not change."""
        return False

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield all of it: which blocks are to be read is said by `CopyPlan`."""
        yield start, end

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with the block at `offset`.

        Raises:
            SourceError: The snapshot was deleted meanwhile, is damaged, or cannot be read.
        """
        try:
            with self._context.catalog.read() as reader:
                place = find_place(reader, self._record.root, offset // BLOCK_SIZE)
            if place is None:
                buffer[:] = bytes(len(buffer))
            else:
                buffer[:] = self._loader.load(place)[: len(buffer)]
        except (CorruptionError, StoreError) as error:
            self.ensure_unchanged()
            raise SourceError(
                f"{self._record.snapshot_id} at offset {offset}: {error}",
                ErrorCode.SOURCE_READ_FAILED,
            ) from error

    def ensure_unchanged(self) -> None:
        """Prove that the snapshot is still there.

        Raises:
            SourceError: It was deleted.
        """
        with self._context.catalog.read() as reader:
            try:
                get_completed(reader, self._record.snapshot_id)
            except NotFoundError:
                raise SourceError(
                    f"{self._record.snapshot_id} was deleted while it was copied",
                    ErrorCode.SOURCE_CHANGED,
                ) from None

    def close(self) -> None:
        """Do nothing: nothing is open."""


class CopyPlan:
    """Which blocks a copy reads: those that the snapshot has, zeros that were written included."""

    rest_is_zeros = True

    def __init__(self, root: int) -> None:
        self._root = root
        self._zeros: set[int] = set()

    def work(self, catalog: Catalog, root: int) -> Iterator[LeafWork]:
        """Yield each leaf of the snapshot's map and of the parent's, ascending."""
        with catalog.read() as reader:
            own = dict(walk_leaves(reader, self._root))
            leaves = sorted(own.keys() | {leaf for leaf, _ in walk_leaves(reader, root)})
        for leaf in leaves:
            with catalog.read() as reader:
                page = find_leaf(reader, root, leaf)
                blocks = []
                if leaf in own:
                    blocks = version_blocks(reader, load_page(reader, own[leaf])).tolist()
            base = leaf * LEAF_BLOCKS
            self._zeros.update(
                base + place for place, block in enumerate(blocks) if block == ZERO_BLOCK
            )
            yield leaf, page, list(_runs(base, blocks))

    def is_written(self, index: int) -> bool:
        """Return whether the snapshot has a block of zeros there."""
        return index in self._zeros

    def progress(self, end: int, size: int) -> int:
        """Return the place."""
        return end


def _runs(base: int, blocks: list[int]) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of block indices that a leaf has something at."""
    start: int | None = None
    for place, block in enumerate([*blocks, 0]):
        if block and start is None:
            start = place
        elif not block and start is not None:
            yield base + start, base + place
            start = None
