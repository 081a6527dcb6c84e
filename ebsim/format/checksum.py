"""Which checksum guards what.

The *stored checksum* is XXH3-128 over bytes as they lie on disk: a segment record with its header,
a catalog value with its table and key. It finds accidents: bit rot, torn tails, misplaced writes.
It is never compared to decide that two blocks are equal; that is the block hash's job
(`ebsim.format.block_hash`), because blocks with equal XXH3 are built in microseconds.
"""

from collections.abc import Iterable

import xxhash

CHECKSUM_SIZE = 16


def stored_checksum(parts: Iterable[bytes | bytearray | memoryview]) -> bytes:
    """Return the 16-byte XXH3-128 of the concatenated parts."""
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return state.digest()


def stored_checksum_of(whole: bytes) -> bytes:
    """Return the same of bytes that are there in one piece: cheaper where they are few."""
    return xxhash.xxh3_128_digest(whole)
