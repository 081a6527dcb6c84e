"""Block hashes that are remembered, for tests that write and read the same few contents.

BLAKE3 over 512 KiB takes ten times as long as finding out, with another hash of 128 bits, that this
content was hashed before. That other hash withstands no enemy, so that the engine cannot do this;
a test that makes all the contents itself can. Its seed is not that of the engine's fingerprints,
for which there are tests with contents that collide. Each content is still hashed once under each
key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from xxhash import xxh3_128_digest

from ebsim.core import open_domains
from ebsim.format.block_hash import BlockHash, hash_block

_SEED = 0x5EED_0F_7E57
REMEMBERED_MAX = 100_000
"""Then all are forgotten: 20 MB of memory."""


@contextmanager
def remembered_hashes() -> Iterator[None]:
    """Have stores remember the block hash of each content, in this process and until the end."""
    known: dict[tuple[bytes, bytes], BlockHash] = {}

    def remembered(block: bytes | bytearray | memoryview, key: bytes) -> BlockHash:
        if len(known) > REMEMBERED_MAX:
            known.clear()
        name = xxh3_128_digest(block, _SEED), key
        found = known.get(name)
        if found is None:
            found = known[name] = hash_block(block, key)
        return found

    with mock.patch.object(open_domains, "hash_block", remembered):
        yield
