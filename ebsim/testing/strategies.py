"""What hypothesis draws from to make histories of volumes.

The block size is not scaled down, so the strategies keep volumes small (at most `BLOCKS_MAX`
blocks) and contents few: of a palette of a dozen, two draws are often equal, so that deduplication,
returning contents and rewrites of the same content happen all the time.
"""

from hypothesis import strategies as st

from ebsim.testing.contents import palette_block
from ebsim.units import BLOCK_SIZE

BLOCKS_MAX = 8
"""Enough for gaps, runs and partial blocks; every further one costs time at every step."""

PALETTE_SIZE = 12
"""Small, so that contents repeat."""

EXACT_SIZES = (
    1,
    511,
    512,
    513,
    BLOCK_SIZE - 1,
    BLOCK_SIZE,
    BLOCK_SIZE + 1,
    2 * BLOCK_SIZE - 512,
    3 * BLOCK_SIZE,
    BLOCKS_MAX * BLOCK_SIZE - 4097,
)
"""Sizes at both sides of the borders: byte, sector, block."""


def contents() -> st.SearchStrategy[bytes]:
    """Draw the content of one block: zeros in one of four, else one of the palette."""
    numbers = st.one_of(st.just(0), *[st.integers(0, PALETTE_SIZE - 1)] * 3)
    return numbers.map(palette_block)


def sizes() -> st.SearchStrategy[int]:
    """Draw an exact size in bytes: whole blocks, a border, or any, up to `BLOCKS_MAX` blocks."""
    return st.one_of(
        st.integers(1, BLOCKS_MAX).map(lambda blocks: blocks * BLOCK_SIZE),
        st.sampled_from(EXACT_SIZES),
        st.integers(1, BLOCKS_MAX * BLOCK_SIZE),
    )


def sets_in_order(members: list[str]) -> st.SearchStrategy[list[str]]:
    """Draw some of the members, at least one, each once, in any order."""
    return st.lists(st.sampled_from(members), min_size=1, unique=True)
