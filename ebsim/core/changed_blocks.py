"""Changed blocks: in which blocks two snapshots of one lineage differ."""

import numpy as np
import numpy.typing as npt

from ebsim.core.block_maps import LEAF_BLOCKS, load_page, walk_differences
from ebsim.core.context import StoreContext
from ebsim.core.snapshots import get_completed
from ebsim.core.version_table import version_blocks
from ebsim.errors import ErrorCode, InvalidInputError
from ebsim.format.map_page import Page
from ebsim.ids import SnapshotId
from ebsim.results import ChangedBlocks
from ebsim.storage.catalog import CatalogReader

Indices = npt.NDArray[np.int64]


def changed_blocks(context: StoreContext, first: SnapshotId, second: SnapshotId) -> ChangedBlocks:
    """Return the blocks whose content differs, or that only one of the two holds.

    Costs as many look-ups as there are map pages that differ.

    Raises:
        NotFoundError: Either id is unknown.
        ConflictError: Either is not completed.
        InvalidInputError: The two are of different lineages (semantics section 4.3).
    """
    with context.catalog.read() as reader:
        one, two = get_completed(reader, first), get_completed(reader, second)
        if one.lineage != two.lineage:
            raise InvalidInputError(
                f"The snapshots {first} and {second} are unrelated: only snapshots that descend "
                "from one first snapshot can be compared.",
                ErrorCode.UNRELATED_SNAPSHOTS,
            )
        found = [
            leaf * LEAF_BLOCKS + _differing(reader, load_page(reader, a), load_page(reader, b))
            for leaf, a, b in walk_differences(reader, one.root, two.root)
        ]
    indices = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
    return ChangedBlocks(ranges=index_ranges(indices))


def _differing(reader: CatalogReader, one: Page, two: Page) -> Indices:
    """Return the places of a leaf where two pages hold different content."""
    places = np.flatnonzero(one != two)
    here, there = one[places], two[places]
    both = (here != 0) & (there != 0)
    same = both.copy()
    same[both] = version_blocks(reader, here[both]) == version_blocks(reader, there[both])
    differing: Indices = places[~same].astype(np.int64)
    return differing


def index_ranges(indices: Indices) -> tuple[tuple[int, int], ...]:
    """Return ascending block indices as half-open ranges."""
    if not len(indices):
        return ()
    breaks = np.flatnonzero(np.diff(indices) != 1)
    starts = indices[np.concatenate(([0], breaks + 1))]
    ends = indices[np.concatenate((breaks, [len(indices) - 1]))] + 1
    return tuple(zip(starts.tolist(), ends.tolist(), strict=True))
