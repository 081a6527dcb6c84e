"""From byte ranges that may hold data to runs of blocks, leaf by leaf."""

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from typing import Protocol

from ebsim.core.block_maps import LEAF_BLOCKS, walk_leaves
from ebsim.storage.catalog import Catalog
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


LeafWork = tuple[int, int, list[tuple[int, int]]]
"""Leaf number, the parent's page id (0 if none), and runs of blocks to be read, as half-open ranges
of block indices within the leaf."""


class ScanPlan(Protocol):
    """Which blocks of a source have to be read for a snapshot, and what the others are."""

    @property
    def rest_is_zeros(self) -> bool:
        """Whether blocks that are not read are holes; else they are what the parent has."""
        ...

    def work(self, catalog: Catalog, root: int) -> Iterator[LeafWork]:
        """Yield what there is to read, ascending, given the root of the parent's map."""
        ...

    def is_written(self, index: int) -> bool:
        """Return whether a block of zeros that the parent does not have counts as written."""
        ...

    def progress(self, end: int, size: int) -> int:
        """Return how far the reading is, out of `size`, when all below the byte `end` is read."""
        ...


class SourcePlan:
    """The plan for a scanned source: all of its data; holes are zeros."""

    rest_is_zeros = True

    def __init__(self, source: HasExtents) -> None:
        self._source = source

    def work(self, catalog: Catalog, root: int) -> Iterator[LeafWork]:
        """Yield each leaf with data or with a page of the parent's."""
        with catalog.read() as reader:
            parent_leaves = list(walk_leaves(reader, root))
        return leaf_work(self._source, parent_leaves)

    def is_written(self, index: int) -> bool:
        """Return False: such a block is unwritten (design section 2)."""
        return False

    def progress(self, end: int, size: int) -> int:
        """Return the place."""
        return end


def leaf_work(source: HasExtents, parent_leaves: list[tuple[int, int]]) -> Iterator[LeafWork]:
    """Yield, for each leaf with data or with a parent's page, what there is to do, ascending."""
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
