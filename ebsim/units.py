"""Sizes and the arithmetic between bytes, blocks and GiB.

A *block* is the unit in which snapshots are incremental: 512 KiB, as EBS has it. A *block index*
is the number of a block within its volume, from 0. Ranges are half-open everywhere.
"""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

BLOCK_SIZE = 512 * KIB
"""Bytes in a block. EBS reports the same number as `BlockSize` (semantics section 2.1)."""

BLOCKS_PER_GIB = GIB // BLOCK_SIZE

VOLUME_SIZE_MAX = 64 * TIB
"""The largest EBS volume (semantics section 3.1)."""


def block_count(size_bytes: int) -> int:
    """Return how many blocks a volume of `size_bytes` has; the last may be partial."""
    return -(-size_bytes // BLOCK_SIZE)


def size_gib(size_bytes: int) -> int:
    """Return `size_bytes` in GiB, rounded up, at least 1: EC2's `VolumeSize`."""
    return max(1, -(-size_bytes // GIB))


def format_size(size_bytes: int) -> str:
    """Return a size for people: `0 B`, `512 KiB`, `9.5 GiB`."""
    if abs(size_bytes) < KIB:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1023.95 or unit == "TiB":
            return f"{value:.1f} {unit}".replace(".0 ", " ")
        value /= 1024
    raise AssertionError("unreachable")
