"""From byte ranges that may hold data to runs of blocks, leaf by leaf."""

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from typing import Protocol

from ebsim.core.block_maps import LEAF_BLOCKS
from ebsim.units import BLOCK_SIZE, block_count


class HasExtents(Protocol):
    """A source or target that knows where it may hold data."""

    @property
    def size_bytes(self) -> int:
        """Its size."""
        ...

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield half-open byte ranges that may hold data, ascending; the rest is zeros."""
        ...


def leaf_work(
    source: HasExtents, parent_leaves: list[tuple[int, int]]
) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Yield, for each leaf with data or with a parent's page, what there is to do.

    Returns:
        Leaf number, the parent's page id (0 if none), and the runs of blocks that may hold data,
        as half-open ranges of block indices within the leaf. Ascending.
    """
    data = ((start // LEAF_BLOCKS, 0, (start, end)) for start, end in block_runs(source))
    parents = ((leaf, page_id, None) for leaf, page_id in parent_leaves)
    work = merge(parents, data, key=lambda item: item[0])
    for leaf, group in groupby(work, key=lambda item: item[0]):
        page, runs = 0, []
        for _, page_id, run in group:
            page |= page_id
            if run is not None:
                runs.append(run)
        yield leaf, page, runs


def block_runs(source: HasExtents) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of blocks that may hold data, ascending, none across two leaves."""
    begin, end = 0, 0
    for byte_start, byte_end in source.data_ranges(0, source.size_bytes):
        start, stop = byte_start // BLOCK_SIZE, block_count(byte_end)
        if start <= end:
            end = max(end, stop)
            continue
        yield from _within_leaves(begin, end)
        begin, end = start, stop
    yield from _within_leaves(begin, end)


def _within_leaves(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = min(end, (start // LEAF_BLOCKS + 1) * LEAF_BLOCKS)
        yield start, stop
        start = stop
