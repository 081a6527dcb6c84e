"""A small palette of block contents, the same in every run."""

import random
from functools import lru_cache

from ebsim.units import BLOCK_SIZE


@lru_cache(maxsize=64)
def palette_block(number: int) -> bytes:
    """Return one block of content, the same for the same number; 0 is the block of zeros.

    The others take turns in being incompressible (4, 8, ...), compressible (1, 5, ...), all zeros
    but the first byte (2, 6, ...), and all zeros but the last byte (3, 7, ...).

    Args:
        number: 0 to 255.
    """
    if number == 0:
        return bytes(BLOCK_SIZE)
    kind = number % 4
    if kind == 0:
        return random.Random(number).randbytes(BLOCK_SIZE)  # noqa: S311 - the same in every run
    if kind == 1:
        return f"block content {number}\n".encode().ljust(64).ljust(BLOCK_SIZE, b".")
    mark = bytes([number])
    return mark.ljust(BLOCK_SIZE, b"\0") if kind == 2 else mark.rjust(BLOCK_SIZE, b"\0")


def noise_block(number: int) -> bytes:
    """Return an incompressible block, another one for each number from 0 to 62."""
    return palette_block(4 * (number + 1))


ZEROS, NOISE, TEXT, HEAD, TAIL = (palette_block(number) for number in (0, 4, 5, 6, 7))
"""All zeros; incompressible; compressible; zeros but the first byte; zeros but the last byte."""
