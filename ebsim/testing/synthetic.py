"""A source of any size that is made of numbers: one stamp for each block, and no bytes at all.

Volumes of the EBS documentation's examples hold 10 GiB and more. Their block counts matter and
their contents do not, so each block's content is its stamp repeated: distinct for each stamp, made
at memory speed, and compressed to almost nothing.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ebsim.errors import ErrorCode, SourceError
from ebsim.units import BLOCK_SIZE, block_count

Stamps: TypeAlias = npt.NDArray[np.uint64]

HOLE = 0
"""The stamp of a block that was never written."""

_STAMP_SIZE = 8
_BLOCKS_AT_ONCE = 1 << 20
"""Stamps looked at in one step of `data_ranges`: a 64 TiB volume has 134 million."""


def block_content(stamp: int) -> bytes:
    """Return the 524,288 bytes of a block with this stamp, 0 to 2**64 - 1; zeros for a hole."""
    return stamp.to_bytes(_STAMP_SIZE, "little") * (BLOCK_SIZE // _STAMP_SIZE)


class SyntheticSource:
    """A source whose blocks are given by stamps. It stays open: `close` does nothing.

    Args:
        identity: The name under which a store remembers its volume, such as `memory:example`.
        size_bytes: The exact size, 1 or more.
        stamps: One number for each block, 0 for a hole. Not copied: change them between snapshots.
    """

    def __init__(self, identity: str, size_bytes: int, stamps: Stamps) -> None:
        assert len(stamps) == block_count(size_bytes), "one stamp for each block"
        self._identity = identity
        self._size_bytes = size_bytes
        self._stamps = stamps

    @property
    def identity(self) -> str:
        """The name under which a store remembers its volume."""
        return self._identity

    @property
    def size_bytes(self) -> int:
        """The exact size."""
        return self._size_bytes

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the byte ranges in [start, end) that are no holes, ascending, runs merged."""
        first, last = start // BLOCK_SIZE, block_count(end)
        pending: tuple[int, int] | None = None  # a run that may go on in the next step
        for step in range(first, last, _BLOCKS_AT_ONCE):
            for run in _runs(self._stamps[step : min(step + _BLOCKS_AT_ONCE, last)], step):
                if pending is not None and pending[1] == run[0]:
                    pending = (pending[0], run[1])
                    continue
                if pending is not None:
                    yield _clip(pending, start, end)
                pending = run
        if pending is not None:
            yield _clip(pending, start, end)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from `offset`; both may be of any alignment. Thread-safe.

        Raises:
            SourceError: The range ends beyond the size (SOURCE_CHANGED).
        """
        end = offset + len(buffer)
        if end > self._size_bytes:
            raise SourceError(
                f"{self._identity} ends at {self._size_bytes}, before offset {end}",
                ErrorCode.SOURCE_CHANGED,
            )
        for index in range(offset // BLOCK_SIZE, block_count(end)):
            block_start = index * BLOCK_SIZE
            low, high = max(offset, block_start), min(end, block_start + BLOCK_SIZE)
            part = buffer[low - offset : high - offset]
            _fill(part, int(self._stamps[index]), phase=(low - block_start) % _STAMP_SIZE)

    def ensure_unchanged(self) -> None:
        """Do nothing: its size is always what it says."""

    @property
    def modified_since_open(self) -> bool:
        """Never: nothing else writes to it."""
        return False

    def close(self) -> None:
        """Do nothing: it can be used again."""


def _runs(stamps: Stamps, first: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of blocks that are no holes, as block indices; `first` is that of stamp 0."""
    data = np.concatenate(([False], stamps != HOLE, [False]))
    edges = np.flatnonzero(data[1:] != data[:-1]) + first
    yield from zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True)


def _clip(run: tuple[int, int], start: int, end: int) -> tuple[int, int]:
    return (max(start, run[0] * BLOCK_SIZE), min(end, run[1] * BLOCK_SIZE))


def _fill(part: memoryview, stamp: int, phase: int) -> None:
    """Fill `part` with the stamp repeated, beginning at byte `phase` of it."""
    twice = stamp.to_bytes(_STAMP_SIZE, "little") * 2
    pattern = twice[phase : phase + _STAMP_SIZE]
    whole = len(part) // _STAMP_SIZE
    if whole:
        words = np.frombuffer(part, dtype="<u8", count=whole)
        words[:] = int.from_bytes(pattern, "little")
    rest = len(part) - whole * _STAMP_SIZE
    if rest:
        part[whole * _STAMP_SIZE :] = pattern[:rest]
