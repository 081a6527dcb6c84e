"""The block hash is keyed BLAKE3 of the plain bytes, and the stored checksum is XXH3-128."""

import pytest
import xxhash
from blake3 import blake3

from ebsim.format.block_hash import hash_block, zero_block_hash
from ebsim.format.checksum import stored_checksum
from ebsim.testing.contents import NOISE, TEXT
from ebsim.units import BLOCK_SIZE

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


def test_hash_is_keyed_blake3() -> None:
    assert hash_block(NOISE, KEY) == blake3(NOISE, key=KEY).digest()
    assert hash_block(NOISE, KEY) != blake3(NOISE).digest()
    assert len(hash_block(NOISE, KEY)) == 32


def test_hash_tells_nothing_without_the_key() -> None:
    assert hash_block(NOISE, KEY) != hash_block(NOISE, OTHER_KEY)
    assert zero_block_hash(KEY) != zero_block_hash(OTHER_KEY)


def test_hash_is_that_of_the_content() -> None:
    altered = bytearray(NOISE)
    altered[-1] ^= 1

    assert hash_block(altered, KEY) != hash_block(NOISE, KEY)
    assert hash_block(memoryview(NOISE), KEY) == hash_block(bytearray(NOISE), KEY)
    assert hash_block(NOISE, KEY) != hash_block(TEXT, KEY)


def test_zero_block_is_a_whole_block() -> None:
    assert zero_block_hash(KEY) == hash_block(bytes(BLOCK_SIZE), KEY)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="32"):
        hash_block(NOISE, key)


def test_checksum_is_that_of_all_parts() -> None:
    parts = (b"header", bytearray(b""), memoryview(b"payload"))

    assert stored_checksum(parts) == xxhash.xxh3_128_digest(b"headerpayload")
    assert stored_checksum(()) == xxhash.xxh3_128_digest(b"")
