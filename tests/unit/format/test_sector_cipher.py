"""XTS over live data: known answers, any range, and holes."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS
from hypothesis import given, settings
from hypothesis import strategies as st

from ebsim.format.sector_cipher import (
    HOLE_SIZE,
    SECTOR_SIZE,
    SLACK,
    SectorCipher,
    alpha_power,
    zero_units,
)
from ebsim.units import BLOCK_SIZE

KEY = bytes.fromhex(
    "27182818284590452353602874713526624977572470936999595749669676273141592653589793"
    "238462643383279502884197169399375105820974944592"
)
SECTORS = BLOCK_SIZE // SECTOR_SIZE

VECTOR_10 = (
    "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b5d31e276f8fe4a8d66b317f9"
    "ac683f44680a86ac35adfc3345befecb4bb188fd5776926c49a3095eb108fd1098baec70aaa66999a72a82f2"
    "7d848b21d4a741b0c5cd4d5fff9dac89aeba122961d03a757123e9870f8acf1000020887891429ca2a3e7a7d"
    "7df7b10355165c8b9a6d0a7de8b062c4500dc4cd120c0f7418dae3d0b5781c34803fa75421c790dfe1de1834"
    "f280d7667b327f6c8cd7557e12ac3a0f93ec05c52e0493ef31a12d3d9260f79a289d6a379bc70c50841473d1"
    "a8cc81ec583e9645e07b8d9670655ba5bbcfecc6dc3966380ad8fecb17b6ba02469a020a84e18e8f84252070"
    "c13e9f1f289be54fbc481457778f616015e1327a02b140f1505eb309326d68378f8374595c849d84f4c333ec"
    "4423885143cb47bd71c5edae9be69a2ffeceb1bec9de244fbe15992b11b77c040f12bd8f6a975a44a0f90c29"
    "a9abc3d4d893927284c58754cce294529f8614dcd2aba991925fedc4ae74ffac6e333b93eb4aff0479da9a41"
    "0e4450e0dd7ae4c6e2910900575da401fc07059f645e8b7e9bfdef33943054ff84011493c27b3429eaedb4ed"
    "5376441a77ed43851ad77f16f541dfd269d50d6a5f14fb0aab1cbb4c1550be97f7ab4066193c4caa773dad38"
    "014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151"
)
"""IEEE 1619-2007, vector 10: XTS-AES-256, data unit 0xff."""


def content(length: int, seed: int = 1) -> bytes:
    import random

    return random.Random(seed).randbytes(length)


def encrypted(data: bytes, offset: int = 0, key: bytes = KEY) -> bytes:
    out = bytearray(len(data))
    SectorCipher(key).encrypt_into(offset, memoryview(data), memoryview(out))
    return bytes(out)


def decrypted(data: bytes, offset: int = 0) -> bytes:
    out = bytearray(len(data))
    SectorCipher(KEY).decrypt_into(offset, memoryview(data), memoryview(out))
    return bytes(out)


def reference(data: bytes, block: int) -> bytes:
    """Return what one call of the library makes of a whole data unit."""
    return Cipher(AES(KEY), XTS(block.to_bytes(16, "little"))).encryptor().update(data)


# known answers


def test_cipher_has_the_answer_of_ieee_1619() -> None:
    """The units of 16 bytes do not depend on those behind them, so a longer unit may follow."""
    plain = bytes(range(256)) * 2

    found = encrypted(plain + bytes(SECTOR_SIZE - 512), 0xFF * BLOCK_SIZE)

    assert found[:512].hex() == VECTOR_10


def test_sector_in_the_middle_is_what_it_is_in_the_whole_unit() -> None:
    plain = content(BLOCK_SIZE)
    whole = reference(plain, 12345)

    for sector in range(SECTORS):
        start, end = sector * SECTOR_SIZE, (sector + 1) * SECTOR_SIZE
        offset = 12345 * BLOCK_SIZE + start
        assert encrypted(plain[start:end], offset) == whole[start:end], sector
        assert decrypted(whole[start:end], offset) == plain[start:end], sector


def test_powers_of_alpha_are_those_of_doubling() -> None:
    element = 1
    for exponent in range(33_000):
        if exponent % 61 == 0 or exponent < 300:
            assert alpha_power(exponent) == element, exponent
        element <<= 1
        if element >> 128:
            element ^= 1 << 128 | 0x87


# ranges


@settings(max_examples=25)
@given(st.integers(0, 3 * SECTORS), st.integers(1, 2 * SECTORS), st.integers(0, 2**45))
def test_any_range_is_the_same_as_its_blocks(first: int, count: int, block: int) -> None:
    base = block * BLOCK_SIZE
    plain = content(5 * BLOCK_SIZE)
    stored = b"".join(
        reference(plain[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE], block + number)
        for number in range(5)
    )
    start, end = first * SECTOR_SIZE, (first + count) * SECTOR_SIZE

    assert encrypted(plain[start:end], base + start) == stored[start:end]
    assert decrypted(stored[start:end], base + start) == plain[start:end]


@pytest.mark.parametrize("slack", [0, SLACK - 1, SLACK, 4096])
def test_target_may_have_slack_or_none(slack: int) -> None:
    plain, out = content(BLOCK_SIZE + SECTOR_SIZE), bytearray(BLOCK_SIZE + SECTOR_SIZE + slack)

    SectorCipher(KEY).encrypt_into(SECTOR_SIZE, memoryview(plain), memoryview(out))

    assert bytes(out[: len(plain)]) == encrypted(plain, SECTOR_SIZE)


def test_target_may_be_the_source() -> None:
    plain = content(3 * SECTOR_SIZE)
    buffer = memoryview(bytearray(plain + bytes(100)))
    part = buffer[: len(plain)]

    SectorCipher(KEY).encrypt_into(BLOCK_SIZE - SECTOR_SIZE, part, buffer)

    assert bytes(part) == encrypted(plain, BLOCK_SIZE - SECTOR_SIZE)
    SectorCipher(KEY).decrypt_into(BLOCK_SIZE - SECTOR_SIZE, part, part)
    assert bytes(part) == plain


@pytest.mark.parametrize(
    "call",
    [
        lambda each: each.encrypt_into(100, memoryview(bytes(4096)), memoryview(bytearray(4096))),
        lambda each: each.encrypt_into(0, memoryview(bytes(100)), memoryview(bytearray(4096))),
        lambda each: each.encrypt_into(0, memoryview(bytes(8192)), memoryview(bytearray(4096))),
        lambda _each: SectorCipher(bytes(32)),
    ],
    ids=["offset", "length", "target", "key"],
)
def test_mistakes_of_ours_are_found(call: Callable[[SectorCipher], object]) -> None:
    with pytest.raises(AssertionError):
        call(SectorCipher(KEY))


def test_equal_sectors_look_different_everywhere() -> None:
    plain = bytes(2 * BLOCK_SIZE)
    stored = encrypted(plain)

    assert (
        len({stored[start : start + 16] for start in range(0, len(stored), 16)})
        == len(stored) // 16
    )


def test_another_of_the_same_key_decrypts() -> None:
    out = bytearray(SECTOR_SIZE)
    stored = encrypted(content(SECTOR_SIZE))

    SectorCipher(KEY).another().decrypt_into(0, memoryview(stored), memoryview(out))

    assert out == content(SECTOR_SIZE)


# holes


def test_units_of_zeros_are_found() -> None:
    stored = bytearray(content(4 * HOLE_SIZE))
    stored[HOLE_SIZE : 2 * HOLE_SIZE] = bytes(HOLE_SIZE)
    stored[2 * HOLE_SIZE : 3 * HOLE_SIZE - 1] = bytes(HOLE_SIZE - 1)
    stored[3 * HOLE_SIZE - 1] = 9

    assert zero_units(memoryview(stored)) == [1]
    assert zero_units(memoryview(bytes(SECTOR_SIZE))) == list(range(SECTOR_SIZE // HOLE_SIZE))
    assert zero_units(memoryview(b"")) == []


@settings(max_examples=40)
@given(
    st.sets(st.integers(0, 2 * SECTORS - 1)),
    st.sets(st.integers(0, 2 * BLOCK_SIZE // HOLE_SIZE - 1)),
    st.integers(0, SECTORS),
)
def test_holes_read_as_zeros_and_the_rest_as_written(
    sectors: set[int], units: set[int], first: int
) -> None:
    """Whole sectors, and the units of a sector that a power cut left of its first write."""
    offset = first * SECTOR_SIZE
    plain = bytearray(content(2 * BLOCK_SIZE))
    stored = bytearray(encrypted(bytes(plain), offset))
    holes = {(unit * HOLE_SIZE, HOLE_SIZE) for unit in units}
    holes |= {(sector * SECTOR_SIZE, SECTOR_SIZE) for sector in sectors}
    for start, size in holes:
        plain[start : start + size] = stored[start : start + size] = bytes(size)
    out = bytearray(b"\xff" * len(stored))

    SectorCipher(KEY).decrypt_run_into(offset, memoryview(stored), memoryview(out))

    assert out == plain


def test_run_of_holes_alone_reads_as_zeros() -> None:
    out = bytearray(b"\xff" * BLOCK_SIZE)

    SectorCipher(KEY).decrypt_run_into(0, memoryview(bytes(BLOCK_SIZE)), memoryview(out))

    assert out == bytes(BLOCK_SIZE)
