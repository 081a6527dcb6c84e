"""Pages of 256 unsigned 64-bit numbers: the nodes of block maps and of the version table.

A block map is a persistent radix tree of four levels. A page of the lowest level (a *leaf*) holds
the version ids of 256 consecutive blocks (128 MiB of a volume); a page above holds the page ids of
256 pages. 0 means: nothing here. Snapshots share the pages that did not change, so two maps are
compared by page ids first. Four levels reach 2^32 blocks, 2 PiB.

On disk a page is the difference from entry to entry, byte-transposed and zstd-compressed: version
ids mostly count upwards, so 2048 bytes become 25 to 1300 (decision 001). In memory it is an
`array`: at 256 entries that is as fast as numpy, which takes 0.1 s to import.
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import sub
from typing import TypeAlias, TypeVar

import zstandard

from ebsim.errors import CorruptionError, ErrorCode

PAGE_ENTRIES = 256
MAP_LEVELS = 4
_COMPRESSION_LEVEL = 1
_NUMBER_BYTES = 8
_NUMBER_MASK = (1 << 64) - 1
_PAGES_REMEMBERED = 1024
"""The upper pages of a map are asked for again and again; 1,024 take 2 MiB."""

_COMPRESSORS: list[zstandard.ZstdCompressor] = []
_DECOMPRESSORS: list[zstandard.ZstdDecompressor] = []
"""Those that no thread is using. To make one takes longer than to use it for a page."""

T = TypeVar("T")

Page: TypeAlias = "array[int]"
"""Unsigned 64-bit numbers, of type code `Q`; a page has 256 of them."""


def numbers_of(values: Iterable[int]) -> Page:
    """Return numbers from 0 to 2^64 - 1 in the form of a page, of any length."""
    return array("Q", values)


def empty_page() -> Page:
    """Return a page of zeros."""
    return array("Q", bytes(PAGE_ENTRIES * _NUMBER_BYTES))


def own_places(page: Page, others: Sequence[Page]) -> list[int]:
    """Return the places at which a page has an entry that none of the others has there."""
    places = [place for place, entry in enumerate(page) if entry]
    for other in others:
        places = [place for place in places if page[place] != other[place]]
    return places


def encode_numbers(numbers: Sequence[int]) -> bytes:
    """Return any 64-bit numbers in the compressed form of a page."""
    before = [0, *numbers]  # one more than needed
    try:
        steps = array("q", map(sub, numbers, before))
    except OverflowError:
        steps = array(
            "Q", [(one - two) & _NUMBER_MASK for one, two in zip(numbers, before, strict=False)]
        )
    raw = _little_endian(steps).tobytes()
    transposed = b"".join([raw[place::_NUMBER_BYTES] for place in range(_NUMBER_BYTES)])
    compressor = _take(_COMPRESSORS) or zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL)
    data = compressor.compress(transposed)
    _COMPRESSORS.append(compressor)
    return data


def decode_numbers(data: bytes, count_max: int) -> Page:
    """Return the numbers that `encode_numbers` made `data` of.

    Raises:
        CorruptionError: It is no such array, or holds more than `count_max` numbers.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 < size <= count_max * _NUMBER_BYTES or size % _NUMBER_BYTES:
            raise CorruptionError("a page of a wrong size", ErrorCode.CORRUPT_CATALOG)
        decompressor = _take(_DECOMPRESSORS) or zstandard.ZstdDecompressor()
        transposed = decompressor.decompress(data, max_output_size=size, allow_extra_data=False)
        _DECOMPRESSORS.append(decompressor)
    except zstandard.ZstdError as error:
        raise CorruptionError(f"no page: {error}", ErrorCode.CORRUPT_CATALOG) from None
    raw = bytearray(size)
    count = size // _NUMBER_BYTES
    for place in range(_NUMBER_BYTES):
        raw[place::_NUMBER_BYTES] = transposed[place * count : (place + 1) * count]
    steps = _little_endian(array("q", bytes(raw)))
    try:
        return array("Q", accumulate(steps))
    except OverflowError:  # a step of more than half the range, the other way round
        return array("Q", [number & _NUMBER_MASK for number in accumulate(steps)])


def _take(idle: list[T]) -> T | None:
    """Take one of what no other thread is using, if there is one."""
    try:
        return idle.pop()
    except IndexError:
        return None


def _little_endian(numbers: Page) -> Page:
    """Turn the bytes of numbers round on a machine that has them the other way."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def encode_page(page: Page) -> bytes:
    """Return a page as it is stored."""
    assert len(page) == PAGE_ENTRIES
    return encode_numbers(page)


def decode_page(data: bytes) -> Page:
    """Return the page that `data` holds.

    Raises:
        CorruptionError: It is no page of 256 entries.
    """
    return kept_page(data)[:]


@lru_cache(maxsize=_PAGES_REMEMBERED)
def kept_page(data: bytes) -> Page:
    """Return the page that `data` holds; do not change it: those used last are kept, decoded.

    Raises:
        CorruptionError: It is no page of 256 entries.
    """
    page = decode_numbers(data, PAGE_ENTRIES)
    if len(page) != PAGE_ENTRIES:
        raise CorruptionError("a page of a wrong size", ErrorCode.CORRUPT_CATALOG)
    return page
