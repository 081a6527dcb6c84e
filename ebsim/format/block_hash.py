"""The block hash: keyed BLAKE3 over the plain 512 KiB of a block.

It is a block's identity in the store, and the answer to "is this block still what the parent
snapshot recorded?". Both must withstand data made on purpose, hence a cryptographic hash. The key
is random for each dedup domain: hashes reveal nothing, and nobody can look for known content.
"""

from typing import NewType

from blake3 import blake3

from ebsim.units import BLOCK_SIZE

BlockHash = NewType("BlockHash", bytes)

HASH_SIZE = 32
HASH_KEY_SIZE = 32


def hash_block(block: bytes | bytearray | memoryview, key: bytes) -> BlockHash:
    """Return the 32-byte hash of a whole block under a 32-byte key."""
    return BlockHash(blake3(block, key=key).digest())


def zero_block_hash(key: bytes) -> BlockHash:
    """Return the hash of a block of zeros."""
    return hash_block(bytes(BLOCK_SIZE), key)
