"""Changed blocks: in which blocks two snapshots of one lineage differ."""

from collections.abc import Iterable

from ebsim.core.access import usable_snapshot
from ebsim.core.block_maps import LEAF_BLOCKS, load_page, walk_differences
from ebsim.core.context import StoreContext
from ebsim.core.version_table import version_blocks
from ebsim.errors import ErrorCode, InvalidInputError
from ebsim.format.map_page import Page
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.results import ChangedBlocks
from ebsim.storage.catalog import CatalogReader


def changed_blocks(context: StoreContext, first: SnapshotId, second: SnapshotId) -> ChangedBlocks:
    """Return the blocks whose content differs, or that only one of the two holds.

    Costs as many look-ups as there are map pages that differ.

    Raises:
        NotFoundError: Either id is unknown.
        ConflictError: Either is not completed.
        InvalidInputError: The two are of different lineages (semantics section 4.3).
    """
    with context.catalog.read() as reader:
        one, two = (usable_snapshot(context, reader, each) for each in (first, second))
        ensure_related(one, two)
        indices = (
            leaf * LEAF_BLOCKS + place
            for leaf, a, b in walk_differences(reader, one.root, two.root)
            for place in _differing(reader, load_page(reader, a), load_page(reader, b))
        )
        return ChangedBlocks(ranges=index_ranges(indices))


def ensure_related(one: SnapshotRecord, two: SnapshotRecord) -> None:
    """Refuse to compare snapshots of different lineages (semantics section 4.3).

    Raises:
        InvalidInputError: UnrelatedSnapshots.
    """
    if one.lineage != two.lineage:
        raise InvalidInputError(
            f"The snapshots {one.snapshot_id} and {two.snapshot_id} are unrelated: only snapshots "
            "that descend from one first snapshot can be compared.",
            ErrorCode.UNRELATED_SNAPSHOTS,
        )


def _differing(reader: CatalogReader, one: Page, two: Page) -> list[int]:
    """Return the places of a leaf where two pages hold different content."""
    places = [place for place, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
    here = version_blocks(reader, [one[place] for place in places])
    there = version_blocks(reader, [two[place] for place in places])
    return [place for place, a, b in zip(places, here, there, strict=True) if a != b]


def index_ranges(indices: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return ascending block indices as half-open ranges."""
    ranges: list[tuple[int, int]] = []
    for index in indices:
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)
