"""Which blocks a copy to another store reads.

Where the other store has a copy of a relative of the snapshot, and that relative is still here, the
two maps are compared: blocks that are the same here are the same there, and are not read. Else all
that the snapshot has is read, and compared by content.
"""

from collections.abc import Iterator
from itertools import groupby

from ebsim.core.block_maps import LEAF_BLOCKS, find_leaf, load_page, walk_differences, walk_leaves
from ebsim.core.context import StoreContext
from ebsim.core.extents import LeafWork
from ebsim.core.version_table import version_blocks
from ebsim.format.catalog_values import ZERO_BLOCK
from ebsim.format.records import SnapshotRecord
from ebsim.storage.catalog import Catalog, CatalogReader
from ebsim.units import BLOCK_SIZE

_LEAF_BYTES = LEAF_BLOCKS * BLOCK_SIZE


class OffSitePlan:
    """The plan of one copy. Its maps are looked at once, before anything is read.

    Args:
        context: The store that is copied from.
        record: The snapshot.
        base_root: The root of the map, in this store, of what the copy is incremental on; None
            where it is not here, or there is nothing.
        start: All below this byte was copied before.
    """

    def __init__(
        self, context: StoreContext, record: SnapshotRecord, base_root: int | None, start: int = 0
    ) -> None:
        self.rest_is_zeros = base_root is None
        self._first_leaf = -(-start // _LEAF_BYTES)
        self._zeros: set[int] = set()
        self._places: dict[int, bytes] = {}
        with context.catalog.read() as reader:
            for leaf, mine, theirs in _leaves(reader, record.root, base_root):
                if leaf >= self._first_leaf:
                    self._look_at(reader, leaf, mine, theirs)

    @property
    def block_count(self) -> int:
        """How many blocks are read."""
        return sum(len(places) for places in self._places.values())

    def work(self, catalog: Catalog, root: int) -> Iterator[LeafWork]:
        """Yield each leaf in which there is something to read, ascending.

        Where blocks that are not read are zeros, those of the parent's map count too.
        """
        leaves = set(self._places)
        if self.rest_is_zeros and root:
            with catalog.read() as reader:
                known = {leaf for leaf, _ in walk_leaves(reader, root)}
            leaves |= {leaf for leaf in known if leaf >= self._first_leaf}
        for leaf in sorted(leaves):
            with catalog.read() as reader:
                page = find_leaf(reader, root, leaf)
            yield leaf, page, list(_runs(leaf * LEAF_BLOCKS, self._places.get(leaf, b"")))

    def is_written(self, index: int) -> bool:
        """Return whether the snapshot has a block of zeros there."""
        return index in self._zeros

    def progress(self, end: int, size: int) -> int:
        """Return the place."""
        return end

    def _look_at(self, reader: CatalogReader, leaf: int, mine: int, theirs: int) -> None:
        """Note the places of a leaf where two pages have different blocks."""
        here = version_blocks(reader, load_page(reader, mine))
        there = version_blocks(reader, load_page(reader, theirs))
        pairs = enumerate(zip(here, there, strict=True))
        places = bytes(place for place, (one, other) in pairs if one != other)
        if places:
            self._places[leaf] = places
        base = leaf * LEAF_BLOCKS
        self._zeros.update(base + place for place in places if here[place] == ZERO_BLOCK)


def _leaves(
    reader: CatalogReader, root: int, base_root: int | None
) -> Iterator[tuple[int, int, int]]:
    """Yield number and both page ids of each leaf that may differ, ascending."""
    if base_root is not None:
        yield from walk_differences(reader, root, base_root)
        return
    for leaf, page in walk_leaves(reader, root):
        yield leaf, page, 0


def _runs(base: int, places: bytes) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of block indices for ascending places within a leaf."""
    for _, group in groupby(enumerate(places), key=lambda item: item[1] - item[0]):
        run = [place for _, place in group]
        yield base + run[0], base + run[-1] + 1
