"""From byte ranges to blocks, against brute force."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.core.block_maps import LEAF_BLOCKS
from ebsim.core.extents import block_runs, leaf_work
from ebsim.units import BLOCK_SIZE

LEAF_SIZE = LEAF_BLOCKS * BLOCK_SIZE
LEAVES_MAX = 6
BORDERS = [leaf * LEAF_SIZE + d for leaf in range(LEAVES_MAX) for d in (0, 1, 511, BLOCK_SIZE)]
OFFSETS = st.one_of(
    st.integers(0, LEAVES_MAX * LEAF_SIZE),
    st.integers(0, LEAVES_MAX * LEAF_BLOCKS).map(lambda block: block * BLOCK_SIZE),
    st.sampled_from(BORDERS),
    st.sampled_from([border - 1 for border in BORDERS if border]),
)
RANGES = st.sets(OFFSETS, max_size=20).map(
    lambda ends: list(zip(sorted(ends)[::2], sorted(ends)[1::2], strict=False))
)
PARENTS = st.dictionaries(st.integers(0, LEAVES_MAX), st.integers(1, 999)).map(
    lambda leaves: sorted(leaves.items())
)


class Extents:
    """A source of which only the extents are known."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        self.size_bytes = max((end for _, end in ranges), default=0)
        self._ranges = ranges

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        assert (start, end) == (0, self.size_bytes)
        yield from self._ranges


def blocks_with_data(ranges: list[tuple[int, int]]) -> set[int]:
    """Return the blocks of which any byte may hold data."""
    blocks: set[int] = set()
    for start, end in ranges:
        blocks.update(range(start // BLOCK_SIZE, (end - 1) // BLOCK_SIZE + 1))
    return blocks


def runs_of(blocks: set[int]) -> list[tuple[int, int]]:
    """Return the longest runs that end at the borders of leaves."""
    runs: list[tuple[int, int]] = []
    for block in sorted(blocks):
        if runs and runs[-1][1] == block and block % LEAF_BLOCKS:
            runs[-1] = (runs[-1][0], block + 1)
        else:
            runs.append((block, block + 1))
    return runs


@given(RANGES)
def test_runs_are_those_of_the_blocks_that_may_hold_data(ranges: list[tuple[int, int]]) -> None:
    assert list(block_runs(Extents(ranges))) == runs_of(blocks_with_data(ranges))


@given(RANGES, PARENTS)
def test_each_leaf_with_data_or_a_parent_is_work(
    ranges: list[tuple[int, int]], parents: list[tuple[int, int]]
) -> None:
    runs = runs_of(blocks_with_data(ranges))
    leaves = sorted({start // LEAF_BLOCKS for start, _ in runs} | dict(parents).keys())

    assert list(leaf_work(Extents(ranges), parents)) == [
        (leaf, dict(parents).get(leaf, 0), [r for r in runs if r[0] // LEAF_BLOCKS == leaf])
        for leaf in leaves
    ]


@pytest.mark.parametrize(
    ("ranges", "runs"),
    [
        ([], []),
        ([(0, 1)], [(0, 1)]),
        ([(BLOCK_SIZE - 1, BLOCK_SIZE + 1)], [(0, 2)]),
        ([(0, 10), (20, 30)], [(0, 1)]),
        ([(0, 10), (BLOCK_SIZE, BLOCK_SIZE + 1)], [(0, 2)]),
        ([(0, 10), (2 * BLOCK_SIZE, 2 * BLOCK_SIZE + 1)], [(0, 1), (2, 3)]),
        ([(LEAF_SIZE - 1, LEAF_SIZE + 1)], [(255, 256), (256, 257)]),
        ([(0, 2 * LEAF_SIZE)], [(0, 256), (256, 512)]),
        ([(2**46 - 1, 2**46)], [(2**27 - 1, 2**27)]),
    ],
)
def test_runs_by_example(ranges: list[tuple[int, int]], runs: list[tuple[int, int]]) -> None:
    assert list(block_runs(Extents(ranges))) == runs


def test_large_volume_without_data_is_no_work() -> None:
    source = Extents([])
    source.size_bytes = 2**46

    assert list(leaf_work(source, [])) == []
    assert list(leaf_work(source, [(7, 3), (400_000, 4)])) == [(7, 3, []), (400_000, 4, [])]
