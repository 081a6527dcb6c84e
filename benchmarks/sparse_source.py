"""A volume of any size of which only a few blocks are written, made of numbers and not of bytes."""

import random
from collections.abc import Iterator
from functools import lru_cache

from ebsim.testing.synthetic import block_content
from ebsim.units import BLOCK_SIZE

STAMPS = 16
"""Contents that blocks take turns in having, where they need not differ: no data to store."""


class SparseSource:
    """A source that holds data in few places. It stays open: `close` does nothing.

    Args:
        identity: The name under which a store remembers its volume.
        size_bytes: A whole number of blocks.
        stamps: What each written block holds, by block index: a number above 0.
        seed: For the choice of blocks to change.
    """

    def __init__(self, identity: str, size_bytes: int, stamps: dict[int, int], seed: int) -> None:
        self._identity = identity
        self._size_bytes = size_bytes
        self._stamps = dict(sorted(stamps.items()))
        self._chooser = random.Random(seed)

    @classmethod
    def scattered(cls, size_bytes: int, blocks: int, seed: int) -> "SparseSource":
        """Return a source with blocks written at random places, with `STAMPS` contents."""
        places = random.Random(seed).sample(range(size_bytes // BLOCK_SIZE), blocks)
        stamps = {index: 1 + at % STAMPS for at, index in enumerate(places)}
        return cls("memory:scattered", size_bytes, stamps, seed)

    @property
    def identity(self) -> str:
        """The name under which a store remembers its volume."""
        return self._identity

    @property
    def size_bytes(self) -> int:
        """The size."""
        return self._size_bytes

    @property
    def written(self) -> list[int]:
        """The indices of the written blocks, ascending."""
        return list(self._stamps)

    def change(self, blocks: int) -> None:
        """Give so many written blocks, chosen at random, another of the `STAMPS` contents."""
        for index in self._chooser.sample(self.written, blocks):
            self._stamps[index] = 1 + self._stamps[index] % STAMPS

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the byte range of each written block that touches [start, end), ascending."""
        for index in self._stamps:
            low, high = index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE
            if low < end and high > start:
                yield max(low, start), min(high, end)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with (the beginning of) a block."""
        assert offset % BLOCK_SIZE == 0, "blocks are read from their beginning"
        buffer[:] = _content(self._stamps[offset // BLOCK_SIZE])[: len(buffer)]

    def ensure_unchanged(self) -> None:
        """Do nothing: its size is always what it says."""

    @property
    def modified_since_open(self) -> bool:
        """Never: nothing else writes to it."""
        return False

    def close(self) -> None:
        """Do nothing: it can be used again."""


@lru_cache(maxsize=STAMPS)
def _content(stamp: int) -> bytes:
    return block_content(stamp)
